"""Chains as llama.cpp's flags and JSON: what is written does the same again; what is read means the same there."""

import json
import math
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokex_gguf.values.sampler_text import OPTIONS, chain_of_flags, flags_of, json_of, read_flags, read_json, seed_of
from tokex_gguf.values.samplers import BREAKERS, DEFAULT, DEFAULT_ORDER, KINDS, PRESETS, Chain, Kind, Sampler


@st.composite
def samplers(draw: st.DrawFn, kind: Kind) -> Sampler:
    values = [
        draw(
            st.sampled_from(one.steps)
            | (
                st.integers(int(one.least), int(one.most)).map(float)
                if one.whole
                else st.floats(one.least, one.most, allow_nan=False)
            )
        )
        for one in KINDS[kind].parameters
    ]
    return Sampler(kind, tuple(map(float, values)), draw(st.booleans()))


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    kinds = draw(st.lists(st.sampled_from(list(Kind)), unique=True))
    amounts = st.floats(-100, 100) | st.just(-math.inf)
    bias = draw(st.dictionaries(st.integers(0, 200_000), amounts, max_size=4))
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    breakers = draw(st.just(BREAKERS) | st.lists(texts | st.sampled_from(["none", "\\n", "\\x41", '"'])).map(tuple))
    return Chain(tuple(draw(samplers(kind)) for kind in kinds), tuple(bias.items()), breakers)


@given(chains())
def test_flags_give_the_same_chain_again(chain: Chain) -> None:
    assert chain_of_flags(flags_of(chain)).acting == chain.acting


@given(chains())
def test_json_gives_the_same_chain_again(chain: Chain) -> None:
    assert read_json(json_of(chain)).chain.acting == chain.acting


@given(chains())
def test_flags_name_every_sampler_that_acts_and_no_other(chain: Chain) -> None:
    words = shlex.split(flags_of(chain))
    named = words[words.index("--samplers") + 1]
    heat = {Kind.TEMPERATURE} if any(one.kind is Kind.MIROSTAT for one in chain.acting.samplers) else set()
    acting = {one.kind for one in chain.acting.samplers if one.kind is not Kind.MIROSTAT} | heat
    assert set(filter(None, named.split(";"))) == {kind.value for kind in acting}


def test_nothing_given_is_llama_cpps_own_chain() -> None:
    assert chain_of_flags("") == read_json("{}").chain == DEFAULT
    assert [one.kind for one in DEFAULT.samplers] == list(DEFAULT_ORDER)
    assert flags_of(DEFAULT) == (
        '--samplers "top_k;top_p;min_p;temperature" --top-k 40 --top-p 0.95 --min-p 0.05 --temp 0.8'
    )


@pytest.mark.parametrize("name", PRESETS)
def test_presets_come_back(name: str) -> None:
    chain = PRESETS[name]
    assert chain_of_flags(flags_of(chain)).acting == read_json(json_of(chain)).chain.acting == chain.acting


@pytest.mark.parametrize(
    ("flags", "short"),
    [
        ("--samplers typ;nucleus;minp;temp --typical 0.5", "typical 0.5 · top-p 0.95 · min-p 0.05 · T 0.8"),
        ("--sampler-seq kpt --top_k 3", "top-k 3 · top-p 0.95 · T 0.8"),
        ("--samplers temperature --temp 0.5 --temp 0.7 --top-k 3", "T 0.7"),
        ("--top-k -1 --top-p 1 --min-p -1 --temperature -3", "T 0"),
        ("--samplers top_k --mirostat 2", "T 0.8 · mirostat 2"),
        ("--samplers temperature --temp 1 --dynatemp-range 0.5", "T 1±0.5"),
        ("--samplers penalties;temp --frequency-penalty 0.5 --presence-penalty 1", "penalties frequency 0.5 · T 0.8"),
        ("--samplers penalties --repeat-penalty 1.1 --presence-penalty 1", "penalties 1.1"),
        ("--adaptive-target 0.5", "top-k 40 · top-p 0.95 · min-p 0.05 · T 0.8"),
        ("--samplers adaptive-p;top-k --adaptive-target 0.5", "top-k 40 · adaptive-p 0.5"),
        ("--samplers '' -l 5+1 -l 5-0.5 --logit-bias 7-inf --seed 3", "2 biased"),
        ("--samplers '' -l 5+1 -l 5-1", ""),
        ("--samplers top_k \\\n  --top-k 7", "top-k 7"),
    ],
)  # fmt: skip
def test_flags_mean_what_they_mean_in_llama_cpp(flags: str, short: str) -> None:
    assert chain_of_flags(flags.replace(";", r"\;")).short == short


def test_breakers() -> None:
    flags = "--dry-multiplier 1 --dry-sequence-breaker"
    assert chain_of_flags("--dry-multiplier 1").breakers == BREAKERS
    assert chain_of_flags(rf"{flags} '\n' --dry-sequence-breaker ab").breakers == ("\n", "ab")
    assert chain_of_flags(f"{flags} ab --dry-sequence-breaker none").breakers == ()
    assert chain_of_flags(rf"{flags} '\x6eone'").breakers == ("none",)
    assert read_json('{"dry_sequence_breakers": [""]}').chain.breakers == ()
    dry = Chain((Sampler.of(Kind.DRY, 1),))
    assert "breaker" not in flags_of(dry), "llama.cpp's own need not be told"
    assert "--dry-sequence-breaker none" in flags_of(replace(dry, breakers=()))


@pytest.mark.parametrize(
    ("document", "chain"),
    [
        ('{"samplers": "kt", "top_k": 3, "temperature": null}', "--sampler-seq kt --top-k 3"),
        ('{"samplers": ["top-k"], "top_k": 3.0, "seed": 1}', "--sampler-seq k --top-k 3"),
        ('{"logit_bias": {"5": -1, "7": false}}', "-l 5-1 -l 7-inf"),
        ('{"logit_bias": [[5, -1], [7, false], [7, 2]]}', "-l 5-1 -l 7-inf"),
        ('{"mirostat": 1, "mirostat_tau": 3}', "--mirostat 1 --mirostat-ent 3"),
    ],
)
def test_json_means_what_it_means_in_llama_server(document: str, chain: str) -> None:
    assert read_json(document).chain == chain_of_flags(chain)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("--top-z 3", "--top-z: no flag of a sampler"),
        ("stray", "stray: no flag of a sampler"),
        ("--top-k", "--top-k takes a value"),
        ("--top-k 3.5", "--top-k takes a whole number from 0 to 1000000, not '3.5'"),
        ("--top-p many", "--top-p takes a number from 0 to 1, not 'many'"),
        ("--top-p nan", "--top-p takes a number from 0 to 1, not 'nan'"),
        ("--repeat-last-n -1", "--repeat-last-n takes a whole number from 0 to 1000000, not '-1'"),
        ("--mirostat 3", "--mirostat takes a whole number from 0 to 2, not '3'"),
        ("--samplers top_q", "--samplers: there is no sampler 'top_q': there are penalties, dry, top_n_sigma, top_k"),
        ("--samplers mirostat", "--samplers: there is no sampler 'mirostat'"),
        ("--samplers top_k\\;topk", "--samplers has top_k twice"),
        ("--sampler-seq kz", "--sampler-seq: there is no sampler 'z': there are e for penalties"),
        ("-l 5", "-l takes the number of a token, + or -, and a number or inf, not '5'"),
        ("-l x+1", "-l takes the number"),
        ("-l 99999999999+1", "-l takes the number"),
        ("-l 5+inf", "-l: only a number up to 1,000,000, or minus infinity, can be added to a logit"),
        ("--seed -2", "--seed takes a whole number from 0 to 4294967295, or -1 for a random one"),
        ("--samplers 'a", "not a command line: no closing quotation"),
    ],
)
def test_bad_flags_are_one_line(flags: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        chain_of_flags(flags)
    assert str(caught.value).startswith(reason) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes in line 1"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ('{"n_probs": 3}', "n_probs: no key of a sampler"),
        ('{"top_k": "3"}', "top_k is not a number"),
        ('{"top_k": true}', "top_k is not a number"),
        ('{"top_p": NaN}', "top_p takes a number from 0 to 1, not 'nan'"),
        (f'{{"repeat_last_n": 1{"0" * 400}}}', "repeat_last_n takes a whole number"),
        ('{"samplers": [3]}', "samplers is not a list of texts"),
        ('{"samplers": ["x"]}', "samplers: there is no sampler 'x'"),
        ('{"dry_sequence_breakers": []}', 'dry_sequence_breakers is empty: [""] is for none'),
        ('{"logit_bias": [[5]]}', "logit_bias is not an object or a list of pairs"),
        ('{"logit_bias": {"the": 1}}', "logit_bias: 'the' is not the number of a token"),
        ('{"logit_bias": [["5", 1]]}', "logit_bias: '5' is not the number of a token"),
        ('{"logit_bias": [[5.0, 1]]}', "logit_bias: '5.0' is not the number of a token"),
        ('{"logit_bias": {"4294967296": 1}}', "logit_bias: '4294967296' is not the number of a token"),
        ('{"logit_bias": {"٥": 1}}', "logit_bias: '٥' is not the number of a token"),
        ('{"logit_bias": [[5, true]]}', "logit_bias: what is added to token 5 is not a number or false"),
        ('{"logit_bias": [[5, Infinity]]}', "logit_bias: only a number"),
        ('{"seed": -7}', "seed takes a whole number"),
    ],
)
def test_bad_json_is_one_line(document: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_json(document)
    assert str(caught.value).startswith(reason) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--temp 0.7", []),
        ("-m a --temp 0.7 --threads 4 --mlock", ["left alone: -m, --threads, --mlock"]),
        ("server --temp 0.7 --n-gpu-layers -1 -m a -m b", ["left alone: --n-gpu-layers, -m"]),
        ("--top_k -1 --min-p 7", ["--top-k -1 is taken as 0", "--min-p 7 is taken as 1"]),
        ("--top-p 1.5 --top-p 0.5", []),
        ("--temp 1 -a -b -c -d -e -f -g -h", ["left alone: -a, -b, -c, -d, -e, -f and 2 more"]),
    ],
)
def test_what_is_not_as_it_was_written_is_told(flags: str, told: list[str]) -> None:
    assert read_flags(flags).remarks == told


@pytest.mark.parametrize("flags", ["-m model.gguf -c 9", "model.gguf", "llama-cli -m a -s 7"])
def test_a_command_line_without_a_chain_is_none(flags: str) -> None:
    with pytest.raises(ValueError, match="no flag of a sampler"):
        read_flags(flags)


def test_a_request_without_a_chain_is_none() -> None:
    for document in ('{"prompt": "a", "seed": 3}', '{"prompt": "a", "top_k": null}'):
        with pytest.raises(ValueError, match="prompt: no key of a sampler"):
            read_json(document)


def test_a_preset_has_no_other_flags() -> None:
    with pytest.raises(ValueError, match="top-z: no flag of a sampler"):
        chain_of_flags("--temp 0.7 --top-z 3")


def test_seeds() -> None:
    assert [seed_of(text) for text in ("0", "7", "4294967294", "4294967295", "-1")] == [0, 7, 4294967294, -1, -1]


def test_no_flag_stands_for_two_things() -> None:
    names = [name for option in OPTIONS for name in option.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("flags", ["-l 5+1e10", "-l 5+1e308 -l 5+1e308", "-l 5-1e7"])
def test_a_bias_that_is_no_bias_is_refused(flags: str) -> None:
    with pytest.raises(ValueError, match="added to a logit"):
        chain_of_flags(flags)


@pytest.mark.parametrize("breakers", [["\ud800"], ["x"] * 2000])
def test_breakers_that_no_session_could_keep_are_refused(breakers: list[str]) -> None:
    with pytest.raises(ValueError, match="Unicode"):
        read_json(json.dumps({"samplers": ["dry"], "dry_multiplier": 1, "dry_sequence_breakers": breakers}))
