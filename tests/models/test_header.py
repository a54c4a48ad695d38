"""Reading GGUF headers: what real files say, and one refusal for each way to be damaged."""

import ctypes
import dataclasses
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import llama_cpp
import pytest

from tests.figures import Figure
from tests.patient import Patient
from tests.tiny_models import NO_MODELS, REFUSED
from tokex_gguf.cli import main
from tokex_gguf.engine.worker.abort import Abort
from tokex_gguf.engine.worker.llama import Llama
from tokex_gguf.models.gguf import checks, metadata
from tokex_gguf.models.gguf import reader as gguf_reader
from tokex_gguf.models.gguf.metadata import BadHeader, Header, glance, read
from tokex_gguf.models.preflight import UnusableModel, prepare
from tokex_gguf.play.game import EngineStatus

SEED = int(os.environ.get("HEADER_SEED", "1"))

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
PACKS = {0: "<B", 2: "<H", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q"}


# --- files by hand


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def item(kind: int, value: Any) -> bytes:
    return text(value) if kind == STRING else struct.pack(PACKS[kind], value)


def number(value: float, kind: int = U32) -> bytes:
    return struct.pack("<I", kind) + item(kind, value)


def string(value: str | bytes) -> bytes:
    return struct.pack("<I", STRING) + text(value)


def array(kind: int, values: list[Any], count: int | None = None) -> bytes:
    head = struct.pack("<IIQ", ARRAY, kind, len(values) if count is None else count)
    return head + b"".join(item(kind, value) for value in values)


TENSORS: list[tuple[str, list[int], int, int]] = [
    ("token_embd.weight", [32, 3], 8, 0),  # Q8_0: 102 bytes, padded to 128
    ("blk.0.attn_q.weight", [8, 4], 0, 128),  # F32: 128 bytes
]


def keys(**changes: bytes | None) -> dict[str | bytes, bytes]:
    """A small model's keys as bytes; `__` stands for a dot, and None takes a key out."""
    values: dict[str | bytes, bytes] = {
        "general.architecture": string("llama"),
        "general.name": string("by hand"),
        "general.file_type": number(7),
        "llama.context_length": number(64),
        "llama.embedding_length": number(32),
        "llama.block_count": number(2),
        "llama.attention.head_count": number(4),
        "llama.attention.head_count_kv": number(2),
        "tokenizer.ggml.model": string("llama"),
        "tokenizer.ggml.tokens": array(STRING, ["<s>", "a", "b"]),
        "tokenizer.ggml.scores": array(F32, [0, 0, 0]),
        "tokenizer.ggml.token_type": array(I32, [3, 1, 1]),
        "tokenizer.ggml.bos_token_id": number(0),
    }
    for name, value in changes.items():
        key = name.replace("__", ".")
        if value is None:
            del values[key]
        else:
            values[key] = value
    return values


def build(
    values: dict[str | bytes, bytes] | None = None,
    tensors: list[tuple[str, list[int], int, int]] = TENSORS,
    *,
    again: bytes = b"",
    version: int = 3,
    counts: tuple[int, int] | None = None,
    alignment: int = 32,
    data: int = 256,
) -> bytes:
    """A file's bytes. `again` is one more key, raw; `data` is the bytes of weights."""
    values = keys() if values is None else values
    n_tensors, n_keys = counts or (len(tensors), len(values) + bool(again))
    out = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys)
    out += b"".join(text(key) + value for key, value in values.items()) + again
    for name, shape, kind, offset in tensors:
        out += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    return out + bytes(-len(out) % alignment) + bytes(data)


def refusal(path: Path, raw: bytes) -> str:
    path.write_bytes(raw)
    with pytest.raises(BadHeader) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_a_file_by_hand_is_read(path: Path) -> None:
    path.write_bytes(build())
    assert read(path) == Header(
        version=3,
        architecture="llama",
        name="by hand",
        quantization="Q8_0",
        parameters=96 + 32,
        tensors=2,
        weight_bytes=102 + 128,
        repacked_bytes=0,
        context_trained=64,
        layers=2,
        heads_kv=2,
        key_length=8,
        value_length=8,
        state_bytes=0,
        vocab_size=3,
        chat_template="",
        split=(0, 1),
    )
    assert read(path) == glance(path)
    assert read(path).kv_bytes_per_token() == 2 * 2 * 16 * 2
    assert read(path).kv_bytes_per_token(1.0625) == 68


GOOD = {
    "version 2": build(version=2),
    "alignment": build(keys(general__alignment=number(64)), alignment=64),
    "no UTF-8": build({b"\xff\n": number(1), **keys()}),
    "a key that hides another": build({**keys(), "general.architecture\0x": number(1)}),
    "a list of windows": build(keys(llama__attention__sliding_window=array(U32, [1, 2]))),
    "a large epsilon": build(keys(llama__attention__layer_norm_epsilon=number(2, F32))),
    "a template that is none": build(keys(tokenizer__chat_template=number(1))),
    "one number": build(tensors=[*TENSORS, ("scale", [], 0, 256)], data=260),
    "no padding after the last tensor": build(data=256),
    "heads by layer": build(keys(llama__attention__head_count_kv=array(I32, [0, 2]))),
    "a token that is none": build(keys(tokenizer__ggml__eos_token_id=number(0xFFFFFFFF))),
    "a token beyond the vocabulary": build(keys(tokenizer__ggml__bos_token_id=number(3))),
    "empty tokens": build(keys(tokenizer__ggml__tokens=array(STRING, ["", "", "\0"]))),
    "zero bytes": build(keys(general__architecture=string("llama\0x"), general__name=string("by hand\0"))),
    "more scores than tokens": build(keys(tokenizer__ggml__scores=array(F32, [0] * 9))),
    "experts": build(keys(llama__expert_count=number(1024), llama__expert_used_count=number(8))),
    "experts by layer": build(keys(llama__expert_count=number(4), llama__expert_used_count=array(U32, [0, 2]))),
    "any other key": build(keys(x=array(BOOL, [True]), y=number(1, U64), z=array(STRING, []))),
    "a later part": build({"split.no": number(1, 2), "split.count": number(3, 2)}),
}


@pytest.mark.parametrize("raw", GOOD.values(), ids=GOOD)
def test_good_files_pass(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    assert read(path) == glance(path)


def test_values_that_differ_by_layer_and_part(path: Path) -> None:
    path.write_bytes(GOOD["heads by layer"])
    assert read(path).heads_kv == (0, 2)
    assert read(path).kv_bytes_per_token() == 2 * 16 * 2
    path.write_bytes(GOOD["a later part"])
    assert (read(path).split, read(path).architecture, read(path).tensors) == ((1, 3), "", 2)


# --- refusals

HUGE = 1 << 60
SIZE = len(build())
SHORT = {
    "tensor": (build(data=200), "the file ends inside tensor 'blk.0.attn_q.weight': 56 bytes are missing"),
    "string": (
        build(keys(general__name=struct.pack("<IQ", STRING, HUGE) + b"abc")),
        "the file ends inside 'general.name': 1,152,921,504,606,8",
    ),
    "key": (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 9) + b"gene\0\0\0\0", "ends inside key 0: 1 bytes are missing"),
    "numbers": (build(keys(x=array(F32, [0], HUGE))), "the file ends inside 'x': 4,611,686,"),
    "strings": (build(keys(x=array(STRING, ["a"], HUGE))), "the file ends inside 'x': 9,223,372,"),
    "string in an array": (
        build(keys(x=struct.pack("<IIQQ", ARRAY, STRING, 1, (1 << 64) - 1))),
        "the file ends inside 'x': 18,446,744,",
    ),
    "description": (build()[:-300], "the file ends inside tensor"),
    "version": (b"GGUF", "the file ends inside its version: 4 bytes are missing"),
}
START = {
    "empty": (b"", "not a GGUF file (it does not begin with GGUF)"),
    "text": (b"hello", "not a GGUF file (it does not begin with GGUF)"),
    "GGJT": (b"tjgg" + bytes(99), "an old GGJT file, from before GGUF: it must be converted anew"),
    "GGML": (b"lmgg" + bytes(99), "an old GGML file, from before GGUF: it must be converted anew"),
    "big-endian": (b"GGUF\0\0\0\3" + bytes(99), "a big-endian GGUF file, for other machines"),
    "version 1": (build(version=1), "GGUF version 1; only 2 and 3 can be read"),
    "version 4": (build(version=4), "GGUF version 4; only 2 and 3 can be read"),
    "keys": (build(counts=(2, SIZE // 13 + 1)), f"it claims {SIZE // 13 + 1} keys in a file of {SIZE:,} bytes"),
    "tensors": (build(counts=(HUGE, 13)), f"it claims {HUGE:,} tensors in a file of {SIZE:,} bytes"),
}
KEYS = {
    "unknown type": (build(keys(x=struct.pack("<I", 13))), "'x' has the unknown type 13"),
    "unknown item": (build(keys(x=struct.pack("<IIQ", ARRAY, 77, 0))), "'x' is an array of the unknown type 77"),
    "nested": (build(keys(x=struct.pack("<IIQ", ARRAY, ARRAY, 1))), "'x' is an array of arrays"),
    "nameless": (build({"": number(1), **keys()}), "key 0 has no name"),
    "twice": (build(again=text("general.name") + number(1)), "the key 'general.name' is there twice"),
    "alignment": (build(keys(general__alignment=number(24))), "'general.alignment' is 24, which is no power of two"),
    "alignment 0": (build(keys(general__alignment=number(0))), "'general.alignment' is 0, which is no power of two"),
    "alignment's type": (
        build(keys(general__alignment=number(32, U64))),
        "'general.alignment' is not a 32-bit whole number",
    ),
}
MEANING = {
    "epsilon": (
        build(keys(llama__attention__layer_norm_rms_epsilon=number(float("nan"), F32))),
        "'llama.attention.layer_norm_rms_epsilon' is nan, which is below 0 or no number",
    ),
    "negative epsilon": (
        build(keys(llama__attention__layer_norm_epsilon=number(-1, F32))),
        "'llama.attention.layer_norm_epsilon' is -1, which is below 0 or no number",
    ),
    "inner size": (
        build(
            {k.replace("llama.", "jamba.") if isinstance(k, str) else k: v for k, v in keys().items()}
            | {"general.architecture": string("jamba"), "jamba.ssm.inner_size": number(63)}
        ),
        "'jamba.ssm.inner_size' is 63, not twice 32",
    ),
    "no experts": (
        build(tensors=[("blk.1.ffn_up_exps.weight", [8, 8], 0, 0)]),
        "'llama.expert_count' is 0, but there is a tensor 'blk.1.ffn_up_exps.weight'",
    ),
    "no architecture": (build(keys(general__architecture=None)), "'general.architecture' is missing"),
    "architecture": (build(keys(general__architecture=number(1))), "'general.architecture' is not a text"),
    "no name": (build(keys(general__architecture=string(""))), "'general.architecture' is empty"),
    "other architecture": (build(keys(general__architecture=string("qwen2"))), "'qwen2.block_count' is missing"),
    "no layers": (build(keys(llama__block_count=number(0))), "'llama.block_count' is 0, not 1 to 512"),
    "layers": (build(keys(llama__block_count=number(513))), "'llama.block_count' is 513, not 1 to 512"),
    "layers' type": (build(keys(llama__block_count=number(2, F32))), "'llama.block_count' is not a whole number"),
    "truth": (build(keys(llama__block_count=number(1, BOOL))), "'llama.block_count' is not a whole number"),
    "context": (build(keys(llama__context_length=number(0))), "'llama.context_length' is 0, not above 0"),
    "width": (build(keys(llama__embedding_length=number(0))), "'llama.embedding_length' is 0, not above 0"),
    "ahead": (
        build(keys(llama__nextn_predict_layers=number(3))),
        "'llama.nextn_predict_layers' is 3, more than the 2 layers",
    ),
    "rope": (build(keys(llama__rope__scaling__type=string("su"))), "'llama.rope.scaling.type' is unknown: 'su'"),
    "heads": (
        build(keys(llama__attention__head_count=number(0))),
        "'llama.attention.head_count' is 0, but there is a tensor 'blk.0.attn_q.weight'",
    ),
    "empty heads": (
        build(keys(llama__attention__key_length=number(0))),
        "'llama.attention.key_length' is 0 with 2 heads",
    ),
    "negative heads": (
        build(keys(llama__attention__head_count=number(-4, I32))),
        "'llama.attention.head_count' or that of keys and values is below 0",
    ),
    "groups of heads": (
        build(keys(llama__attention__head_count_kv=array(I32, [2, 3]))),
        "'llama.attention.head_count' is 4 in layer 1, no multiple of 3 for keys",
    ),
    "heads by layer": (
        build(keys(llama__attention__head_count_kv=array(I32, [2] * 3))),
        "'llama.attention.head_count_kv' has 3 numbers for 2 layers",
    ),
    "fractions of heads": (
        build(keys(llama__attention__head_count_kv=array(F32, [2, 2]))),
        "'llama.attention.head_count_kv' does not hold whole numbers",
    ),
    "experts": (build(keys(llama__expert_count=number(1025))), "'llama.expert_count' is 1,025, not 0 to 1024"),
    "idle experts": (build(keys(llama__expert_count=number(4))), "'llama.expert_used_count' is 0 of 4 experts"),
    "used experts": (
        build(keys(llama__expert_count=number(4), llama__expert_used_count=number(5))),
        "'llama.expert_used_count' is 5 of 4 experts",
    ),
    "experts in groups": (
        build(
            keys(llama__expert_count=number(4), llama__expert_used_count=number(2), llama__expert_group_count=number(3))
        ),
        "'llama.expert_group_count' is 3 (0 used) for 4 experts",
    ),
    "no tensors": (build(tensors=[]), "a vocabulary without a model (no tensors)"),
    "misplaced weights": (
        build(keys(general__alignment=number(2)), [("x", [1], 0, 0)], alignment=2),
        "which is no multiple of 32",
    ),
}
VOCABULARY = {
    "no vocabulary": (
        build(keys(tokenizer__ggml__model=string("no_vocab"), tokenizer__ggml__tokens=None)),
        "a model without a vocabulary, which cannot be given a text",
    ),
    "none": (build(keys(tokenizer__ggml__tokens=None)), "'tokenizer.ggml.tokens' is missing"),
    "empty": (build(keys(tokenizer__ggml__tokens=array(STRING, []))), "the vocabulary is empty"),
    "no texts": (
        build(keys(tokenizer__ggml__tokens=array(I32, [1]))),
        "'tokenizer.ggml.tokens' is not an array of texts",
    ),
    "twice": (
        build(keys(tokenizer__ggml__tokens=array(STRING, ["a", "b", "a"]))),
        "token 'a' is in the vocabulary twice (ids 0 and 2)",
    ),
    "twice up to a zero byte": (  # llama.cpp reads no further
        build(keys(tokenizer__ggml__tokens=array(STRING, ["a", "b", "a\0c"]))),
        "token 'a' is in the vocabulary twice (ids 0 and 2)",
    ),
    "scores": (
        build(keys(tokenizer__ggml__scores=array(F32, [0] * 2))),
        "'tokenizer.ggml.scores' has 2 entries for 3 tokens",
    ),
    "types": (
        build(keys(tokenizer__ggml__token_type=array(I32, []))),
        "'tokenizer.ggml.token_type' has 0 entries for 3 tokens",
    ),
    "types' type": (
        build(keys(tokenizer__ggml__token_type=array(F32, [1] * 3))),
        "'tokenizer.ggml.token_type' is not an array of numbers of the right type",
    ),
}


def one(name: str = "x", shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    return build(tensors=[(name, list(shape), kind, offset)])


TENSOR = {
    "twice": (build(tensors=[TENSORS[0], TENSORS[0]]), "the tensor 'token_embd.weight' is there twice"),
    "zero byte": (one("x\0y"), r"the tensor name 'x\x00y' has a zero byte"),
    "long name": (one("x" * 64), f"the tensor name '{'x' * 64}' has 64 bytes, more than 63"),
    "dimensions": (one(shape=(1, 1, 1, 1, 1)), "tensor 'x' has 5 dimensions, more than 4"),
    "empty": (one(shape=(32, 0)), "tensor 'x' has a dimension of 0"),
    "elements": (one(shape=(1 << 32, 1 << 31)), "tensor 'x' has more elements than can be counted"),
    "size": (one(shape=(1 << 40,)), "the file ends inside tensor 'x': 4,398,046,510,848 bytes are missing"),
    "removed type": (one(kind=4), "tensor 'x' has the unknown type 4"),
    "unknown type": (one(kind=43), "tensor 'x' has the unknown type 43"),
    "block": (one(shape=(33,), kind=2), "tensor 'x' has rows of 33, no multiple of its type's block of 32"),
    "norm": (
        one("blk.0.attn_norm.weight", kind=1),
        "tensor 'blk.0.attn_norm.weight' is not of type F32: no CPU can use it",
    ),
    "bias": (one("blk.7.attn_q.bias", kind=8), "tensor 'blk.7.attn_q.bias' is not of type F32: no CPU can use it"),
    "state": (
        one("blk.3.ssm_conv1d.weight", kind=1),
        "tensor 'blk.3.ssm_conv1d.weight' is not of type F32: no CPU can",
    ),
    "offset": (one(offset=5), "tensor 'x' starts at 5 of the data where 0 is expected"),
    "overlap": (
        build(tensors=[TENSORS[0], ("y", [1], 0, 96)]),
        "tensor 'y' starts at 96 of the data where 128 is expected",
    ),
}
BAD = {
    f"{group}: {name}": case
    for group, cases in (
        ("short", SHORT),
        ("start", START),
        ("keys", KEYS),
        ("meaning", MEANING),
        ("vocabulary", VOCABULARY),
        ("tensor", TENSOR),
    )
    for name, case in cases.items()
}


@pytest.mark.parametrize(("raw", "says"), BAD.values(), ids=BAD)
def test_bad_files_are_refused(path: Path, raw: bytes, says: str) -> None:
    said = refusal(path, raw)
    assert says in said


def test_a_header_may_not_be_endless(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_reader, "MOST_BYTES", 1 << 20)
    said = refusal(path, build(keys(x=array(F32, [0] * (1 << 18)))))
    assert said == "'x' reaches beyond 1 MiB: no model has a header that long"
    monkeypatch.setattr(checks, "MOST_TOKENS", 2)
    assert refusal(path, build()) == "a vocabulary of 3 tokens"


def test_what_cannot_be_opened_is_an_os_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(OSError):
            read(path)


# --- real files and tiny ones, against the gguf package


def as_gguf_reads(path: Path) -> dict[str, Any]:
    reader = gguf.GGUFReader(path)

    def value(key: str, default: Any) -> Any:
        field = reader.get_field(key)
        return default if field is None else field.contents()

    architecture = value("general.architecture", None)
    heads = value(f"{architecture}.attention.head_count", 0)
    head = value(f"{architecture}.embedding_length", 0) // heads if heads else 0
    heads_kv = value(f"{architecture}.attention.head_count_kv", heads)
    recurrent = heads_kv.count(0) if isinstance(heads_kv, list) else value(f"{architecture}.block_count", 0)
    inner, size, kernel = (value(f"{architecture}.ssm.{key}", 0) for key in ("inner_size", "state_size", "conv_kernel"))
    state = recurrent * inner * (size + kernel - 1) if inner else 0
    return {
        "version": int(reader.fields["GGUF.version"].contents()),
        "architecture": architecture,
        "name": value("general.name", ""),
        "quantization": gguf.LlamaFileType(value("general.file_type", 0))
        .name.removeprefix("MOSTLY_")
        .removeprefix("ALL_"),
        "parameters": sum(int(tensor.n_elements) for tensor in reader.tensors),
        "tensors": len(reader.tensors),
        "weight_bytes": sum(int(tensor.n_bytes) for tensor in reader.tensors),
        "repacked_bytes": sum(
            int(tensor.n_bytes)
            for tensor in reader.tensors
            if tensor.tensor_type.name in ("Q4_0", "Q2_K", "Q4_K", "IQ4_NL")
        ),
        "context_trained": value(f"{architecture}.context_length", 0),
        "layers": value(f"{architecture}.block_count", 0),
        "heads_kv": tuple(heads_kv) if isinstance(heads_kv, list) else heads_kv,
        "key_length": value(f"{architecture}.attention.key_length", head),
        "value_length": value(f"{architecture}.attention.value_length", head),
        "state_bytes": 4 * state,
        "vocab_size": len(reader.fields["tokenizer.ggml.tokens"].data),
        "chat_template": value("tokenizer.chat_template", ""),
        "split": (0, 1),
    }


def test_the_real_model(model_path: Path) -> None:
    said = read(model_path)
    assert (said.architecture, said.quantization, said.parameters) == ("llama", "Q4_1", 134515008)
    assert (said.layers, said.heads_kv, said.key_length, said.vocab_size) == (30, 3, 64, 49152)
    assert said.kv_bytes_per_token() == 30 * 3 * (64 + 64) * 2
    assert said == glance(model_path)
    # As the package gguf reads it, which takes ten seconds for its vocabulary.
    assert said.chat_template.startswith("{% for message in messages %}") and len(said.chat_template) == 368
    assert dataclasses.asdict(said) == {
        "version": 3,
        "architecture": "llama",
        "name": "Smollm2 135M 8k Lc100K Mix1 Ep2",
        "quantization": "Q4_1",
        "parameters": 134515008,
        "tensors": 272,
        "weight_bytes": 96576768,
        "repacked_bytes": 0,
        "context_trained": 8192,
        "layers": 30,
        "heads_kv": 3,
        "key_length": 64,
        "value_length": 64,
        "state_bytes": 0,
        "vocab_size": 49152,
        "chat_template": said.chat_template,
        "split": (0, 1),
    }


def test_tiny_models(tiny: dict[str, Path]) -> None:
    for name, path in tiny.items():
        said = read(path)
        assert said == glance(path)
        assert dataclasses.asdict(said) == as_gguf_reads(path), name
    assert read(tiny["mamba"]).kv_bytes_per_token() == 0
    assert read(tiny["jamba"]).heads_kv == (0, 2, 0, 0)
    assert read(tiny["jamba"]).state_bytes == read(tiny["mamba"]).state_bytes == 3 * 128 * (16 + 3) * 4


def test_an_encoder_passes_and_a_vocabulary_does_not(tmp_path: Path) -> None:
    assert read(REFUSED["encoder"](tmp_path)).architecture == "bert"
    path = REFUSED["vocabulary"](tmp_path)
    assert refusal(path, path.read_bytes()) == "a vocabulary without a model (no tensors)"
    with pytest.raises(BadHeader, match="a vocabulary without a model"):
        glance(path)


@pytest.mark.parametrize("name", NO_MODELS)
def test_what_is_no_language_model_is_named(name: str, tmp_path: Path) -> None:
    write, what = NO_MODELS[name]
    path = write(tmp_path)
    for function in (glance, read):
        with pytest.raises(BadHeader, match=f"^not a language model but {what}") as caught:
            function(path)
        assert "\n" not in str(caught.value)


def test_a_first_part_without_tensors_is_no_vocabulary(path: Path) -> None:
    path.write_bytes(build(keys(split__count=number(2, 2), split__no=number(0, 2)), tensors=[]))
    assert read(path) == glance(path)
    assert read(path).tensors == 0


def test_tables_are_those_of_llama_cpp() -> None:
    (library,) = (Path(llama_cpp.__file__).parent / "lib").glob("*ggml-base.*[yod]")
    ggml = ctypes.CDLL(str(library))
    ggml.ggml_type_size.restype, ggml.ggml_blck_size.restype = ctypes.c_size_t, ctypes.c_int64
    for kind in range(43):  # GGML_TYPE_COUNT
        sizes = ggml.ggml_blck_size(kind), ggml.ggml_type_size(kind)
        assert gguf_reader.TENSOR_TYPES.get(kind, (0, 0)) == sizes, kind
    for name in gguf.LlamaFileType:
        if name != gguf.LlamaFileType.GUESSED:
            assert name.name.removeprefix("MOSTLY_").removeprefix("ALL_") == metadata.FILE_TYPES[name]


# --- files that are odd and sound


def with_keys(raw: bytes, added: dict[bytes, bytes], version: int = 3) -> bytes:
    """A file with more keys. Another one fills up to its alignment, so that nothing else moves."""
    more = b"".join(text(key) + value for key, value in added.items())
    filler = -(len(more) + len(text("filler") + string(b""))) % 32
    more += text("filler") + string(b"x" * filler)
    (count,) = struct.unpack_from("<Q", raw, 16)
    return (
        raw[:4] + struct.pack("<I", version) + raw[8:16] + struct.pack("<Q", count + 1 + len(added)) + more + raw[24:]
    )


def with_token(raw: bytes, key: str, token: int) -> bytes:
    at = raw.index(text(key)) + len(text(key)) + 4
    return raw[:at] + struct.pack("<I", token) + raw[at + 4 :]


ODD: dict[str, Callable[[bytes], bytes]] = {
    "version 2": lambda raw: with_keys(raw, {}, version=2),
    "arrays of nothing": lambda raw: with_keys(raw, {b"x": array(STRING, []), b"y": array(U32, [])}),
    "a key that is not UTF-8": lambda raw: with_keys(raw, {b"\xff": number(1)}),
    "a key with a zero byte": lambda raw: with_keys(raw, {b"x\0y": number(1), b"x\0z": number(1)}),
    "much metadata": lambda raw: with_keys(raw, {b"x": array(0, [0] * 300_000), b"n" * 70_000: string(b"x" * 10**6)}),
    "an end beyond the vocabulary": lambda raw: with_token(raw, "tokenizer.ggml.eos_token_id", 100_000),
    "a beginning beyond the vocabulary": lambda raw: with_token(raw, "tokenizer.ggml.bos_token_id", 1 << 31),
    "a template that is a number": lambda raw: with_keys(raw, {b"tokenizer.chat_template": number(1)}),
    "a window that is a list": lambda raw: with_keys(raw, {b"qwen2.attention.sliding_window": array(U32, [1])}),
    "a window without an end": lambda raw: with_keys(raw, {b"qwen2.attention.sliding_window": number(0xFFFFFFFF)}),
    "a type that is no text": lambda raw: with_keys(raw, {b"general.type": number(1)}),
    "one part of one": lambda raw: with_keys(raw, {b"split.count": number(1, 2), b"split.no": number(0, 2)}),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_what_llama_cpp_loads_is_not_refused(
    path: Path, tiny: dict[str, Path], change: Callable[[bytes], bytes]
) -> None:
    path.write_bytes(change(tiny["qwen2"].read_bytes()))
    llama = Llama(path, context=256, threads=1, progress=lambda _: None, abort=Abort())
    assert llama.vocabulary.size == read(path).vocab_size


# --- damage at random


class Base(NamedTuple):
    """A file to damage: all up to its weights, and those of a small one."""

    header: bytes
    size: int
    weights: bytes

    def write(self, path: Path, raw: bytes, size: int | None = None) -> None:
        """Writes it with another header. A large file's weights are a hole."""
        path.write_bytes(raw + self.weights)
        os.truncate(path, self.size if size is None else size)


@pytest.fixture(scope="module")
def bases(tiny: dict[str, Path], model_path: Path) -> list[Base]:
    found = []
    for path in (tiny["qwen2"], tiny["llama"], model_path):
        start = gguf_reader.follow(path).start
        assert path == model_path or start == gguf.GGUFReader(path).data_offset, "of the real one, that takes long"
        with path.open("rb") as file:
            header, size = file.read(start), path.stat().st_size
            found.append(Base(header, size, file.read() if size < 4 << 20 else b""))
    return found


def passes(path: Path) -> bool:
    """Whether a file is read. If not, it must be by a refusal."""
    said = []
    for function in (glance, read):
        try:
            assert isinstance(function(path).kv_bytes_per_token(), int)
        except BadHeader as error:
            said.append(str(error))
    assert all(line and "\n" not in line and len(line) < 1000 for line in said)
    return not said


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """A few bytes of a header changed: mostly near its beginning or its end, where the structure is."""
    out = bytearray(raw)
    end = len(raw) - 16
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.choice((rng.randrange(min(1500, end)), rng.randrange(end), rng.randrange(max(0, end - 20000), end)))
        change = rng.randrange(4)
        if change == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            out[at] = rng.randrange(256)
        elif change == 2:
            width = rng.choice((4, 8))
            value = rng.choice((0, 1, 1 << 31, (1 << 32) - 1, 1 << 62, (1 << 64) - 1)) & ((1 << 8 * width) - 1)
            out[at : at + width] = value.to_bytes(width, "little")
        else:
            other = rng.randrange(end)
            out[at : at + 16] = raw[other : other + 16]
    return bytes(out)


def mutate(path: Path, bases: list[Base], seed: int, count: int, figure: Figure) -> None:
    rng = random.Random(seed)
    passed = 0
    for index in range(count):
        base = bases[index % len(bases)]
        base.write(path, damaged(base.header, rng))
        passed += passes(path)
    figure(count, "damaged headers", seed=seed, still_read=passed)


def outcome(path: Path, folder: Path) -> str:
    """What a real engine makes of a file whose header was read: it plays, is refused, or the engine stops."""
    try:
        fit = prepare(path, context=0, kv="f16")
    except UnusableModel:
        return "refused"
    player = Patient(folder, path, "the cat", context=min(fit.context or 256, 256), lookahead=0)
    try:
        player.until(lambda s: s.game.ready or s.game.full or s.game.engine is EngineStatus.DEAD or player.game.quit)
        player.screen(80, 24)
        told = player.game.quit.fault if player.game.quit else player.session.notice
        assert "\n" not in told
        if player.session.game.engine is EngineStatus.DEAD:
            assert told.startswith("the engine stopped ("), told
            return "stopped"
        assert player.game.quit is None or told
        return "refused" if player.game.quit else "plays"
    finally:
        player.game.close()


def play_damaged(path: Path, bases: list[Base], seed: int, count: int, figure: Figure) -> None:
    """Gives a real engine what passes; its process may end, and ours tells of it in one line."""
    rng = random.Random(seed)
    found = dict.fromkeys(("plays", "refused", "stopped"), 0)
    while sum(found.values()) < count:
        base = rng.choice(bases)
        base.write(path, damaged(base.header, rng))
        if passes(path):
            found[outcome(path, path.parent)] += 1
    assert found["plays"]
    names = {"that_play": found["plays"], "refused": found["refused"], "engines_stopped": found["stopped"]}
    figure(count, "models with damaged headers that pass the check, given to llama.cpp", seed=seed, **names)


def test_files_to_damage_pass(path: Path, bases: list[Base]) -> None:
    for base in bases:
        base.write(path, base.header)
        assert passes(path)


def test_damage_is_only_refused(path: Path, bases: list[Base], figure: Figure) -> None:
    mutate(path, bases, 20260101, 150, figure)


def test_damage_that_passes_is_survived(path: Path, bases: list[Base], figure: Figure) -> None:
    play_damaged(path, bases[:2], SEED, 6, figure)


@pytest.mark.soak
def test_much_damage_is_only_refused(path: Path, bases: list[Base], figure: Figure) -> None:
    mutate(path, bases, SEED, 10_000, figure)


@pytest.mark.soak
def test_much_damage_that_passes_is_survived(path: Path, bases: list[Base], figure: Figure) -> None:
    play_damaged(path, bases, SEED, 200, figure)


def cut_short(path: Path, bases: list[Base], count: int, figure: Figure, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(7)
    for index in range(count):
        base = bases[index % len(bases)]
        # In the header, and in the weights.
        cut = rng.randrange(len(base.header) if index % 2 else base.size)
        base.write(path, base.header[:cut], cut)
        assert not passes(path)
        assert main.main(["--model", str(path), "--prompt", "a", "--plain"]) == 2
        out, err = capsys.readouterr()
        assert not out and err.startswith("tokex-gguf: ") and err.count("\n") == 1, err
    figure(count, "files cut short, given to the program", seed=7)


def test_files_cut_short_are_refused(
    path: Path, bases: list[Base], figure: Figure, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_short(path, bases, 50, figure, capsys)


@pytest.mark.soak
def test_many_files_cut_short_are_refused(
    path: Path, bases: list[Base], figure: Figure, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_short(path, bases, 2000, figure, capsys)
