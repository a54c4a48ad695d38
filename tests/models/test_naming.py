"""What a model's name means, and which file of a repository it picks."""

import pytest

from tokex_gguf.models.reference import HubName, NoChoice, choose, firsts, hub_name, parts_of, quantization

MB = 1_000_000


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("maker/model", HubName("maker/model")),
        ("hf:maker/model:Q8_0", HubName("maker/model", "Q8_0", explicit=True)),
        ("maker/model:sub/file.gguf", HubName("maker/model", "sub/file.gguf")),
        ("maker/model.gguf", None),
        ("./model", None),
        ("../model", None),
        ("a/b/c", None),
        ("model", None),
        ("maker/mo del", None),
        ("llama3.2:1b", None),
        ("", None),
    ],
)
def test_names_on_the_hub(name: str, meant: HubName | None) -> None:
    assert hub_name(name) == meant


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("Qwen2.5-0.5B.Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-0.5b-instruct-q8_0.gguf", "Q8_0"),
        ("gemma-3-1b-it-IQ4_XS.gguf", "IQ4_XS"),
        ("sub/model-BF16-00001-of-00002.gguf", "BF16"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("model-f16.Q5_0.gguf", "Q5_0"),
        ("model.gguf", ""),
        ("Q4_K_M/model.gguf", ""),
    ],
)
def test_quantisations(file: str, expected: str) -> None:
    assert quantization(file) == expected


def test_split_models_are_known_by_their_first_part() -> None:
    parts = parts_of("a/big-q4_0-00002-of-00003.gguf")
    assert parts == [f"a/big-q4_0-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    assert parts_of("odd-00004-of-00003.gguf") == ["odd-00004-of-00003.gguf"]
    assert firsts([*parts, "b.gguf", "mmproj-b.gguf", "README.md"]) == [parts[0], "b.gguf"]


FILES = {
    "m.Q2_K.gguf": 300 * MB,
    "m.Q4_K_M.gguf": 400 * MB,
    "m.Q5_K_M.gguf": 430 * MB,
    "m.Q6_K.gguf": 500 * MB,
    "m.Q8_0.gguf": 530 * MB,
    "m.F16.gguf": 990 * MB,
}


def without(*quantizations: str) -> dict[str, int]:
    return {file: size for file, size in FILES.items() if quantization(file) not in quantizations}


def test_the_usual_quantisations_are_taken_in_order() -> None:
    assert choose(FILES) == "m.Q4_K_M.gguf"
    assert choose(without("Q4_K_M")) == "m.Q5_K_M.gguf"
    assert choose(without("Q4_K_M", "Q5_K_M")) == "m.Q8_0.gguf"
    assert choose(without("Q4_K_M", "Q5_K_M", "Q8_0")) == "m.Q6_K.gguf", "the smallest above four bits"


def test_the_smallest_counts_all_parts() -> None:
    split = {f"m-F16-0000{i}-of-00002.gguf": 600 * MB for i in (1, 2)}
    assert choose({**split, "m.BF16.gguf": 990 * MB, "m.Q3_K_S.gguf": MB}) == "m.BF16.gguf"


def test_what_is_named_is_taken() -> None:
    assert choose(FILES, "q2_k") == "m.Q2_K.gguf"
    assert choose(FILES, "m.F16.gguf") == "m.F16.gguf"
    assert choose({"sub/m.F16.gguf": 1}, "m.F16.gguf") == "sub/m.F16.gguf"
    split = {f"m-F16-0000{i}-of-00002.gguf": MB for i in (1, 2)}
    assert choose(split, "m-F16-00002-of-00002.gguf") == "m-F16-00001-of-00002.gguf"
    assert choose({"only.gguf": 1}) == "only.gguf"


@pytest.mark.parametrize(
    ("files", "wanted", "expected"),
    [
        ({}, "", "no GGUF file"),
        ({"model.safetensors": 1}, "", "no GGUF file"),
        (FILES, "Q3_K_S", "no Q3_K_S; it has m.F16.gguf, m.Q2_K.gguf"),
        (FILES, "other.gguf", "no file other.gguf; it has"),
        ({"a.Q8_0.gguf": 1, "b.Q8_0.gguf": 1}, "Q8_0", "several files are meant: a.Q8_0.gguf, b.Q8_0.gguf"),
        ({"a.Q4_K_M.gguf": 1, "b.Q4_K_M.gguf": 1}, "", "several files are meant"),
        ({"a.Q2_K.gguf": 1, "a.Q3_K_S.gguf": 1}, "", "none of the usual quantisations; it has a.Q2_K.gguf"),
        ({f"{i:02}.gguf": 1 for i in range(20)}, "", "00.gguf, .* and 8 more"),
    ],
)
def test_no_choice_tells_the_candidates(files: dict[str, int], wanted: str, expected: str) -> None:
    with pytest.raises(NoChoice, match=expected):
        choose(files, wanted)
