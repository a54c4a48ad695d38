"""What a model's file recommends to draw by, as a chain."""

import pytest

from tokex_gguf.values.model_sampling import KEYS, chain_of_metadata
from tokex_gguf.values.samplers import DEFAULT, DEFAULT_ORDER, NO_CHAIN, Kind


def test_a_file_that_says_nothing_of_use_has_no_chain() -> None:
    for told in ({}, {"top_k": "many"}, {"sequence": ""}, {"sequence": "none of them"}, {"other": "1"}):
        assert chain_of_metadata(told) == NO_CHAIN


def test_what_it_says_takes_the_place_of_llama_cpps_own_values() -> None:
    chain = chain_of_metadata({"top_k": "20", "temp": "0.600000", "penalty_repeat": "1.05", "min_p": "x"})
    assert [one.kind for one in chain.samplers] == list(DEFAULT_ORDER)
    changed = {one.kind: one.values for one in chain.samplers if one != DEFAULT.get(one.kind)}
    assert changed == {
        Kind.TOP_K: (20.0,),
        Kind.TEMPERATURE: (0.6, 0.0, 1.0),
        Kind.PENALTIES: (1.05, 64.0, 0.0, 0.0),
    }


def test_its_order_is_the_chain() -> None:
    chain = chain_of_metadata({"sequence": "min_p;no_such;top-k;min_p", "top_p": "0.5", "top_k": "5"})
    assert [(one.kind, one.values) for one in chain.samplers] == [(Kind.MIN_P, (0.05,)), (Kind.TOP_K, (5.0,))]


def test_mirostat_is_there_where_it_is_on() -> None:
    assert chain_of_metadata({"mirostat_tau": "4", "top_k": "5"}).get(Kind.MIROSTAT) is None
    on = chain_of_metadata({"mirostat": "2", "mirostat_tau": "4"}).get(Kind.MIROSTAT)
    assert on and on.values == (2.0, 4.0, 0.1)


def test_a_files_minus_one_is_no_token() -> None:
    """llama.cpp takes no more than 0 of it, and leaves the penalties out."""
    penalties = chain_of_metadata({"penalty_last_n": "-1", "penalty_repeat": "1.1"}).get(Kind.PENALTIES)
    assert penalties and penalties.values[1] == 0 and not penalties.acts


def test_mirostat_has_a_temperature_before_it_whatever_the_order_names() -> None:
    chain = chain_of_metadata({"sequence": "top_k", "mirostat": "2", "temp": "0.5"})
    assert [one.kind for one in chain.samplers] == [Kind.TOP_K, Kind.TEMPERATURE, Kind.MIROSTAT]
    assert chain.samplers[1].values[0] == 0.5
    assert chain_of_metadata({"sequence": "top_k", "mirostat": "1"}).samplers[1].values[0] == 0.8
    assert chain_of_metadata({"sequence": "top_k", "mirostat": "0", "temp": "0.5"}).get(Kind.TEMPERATURE) is None


@pytest.mark.parametrize("key", KEYS)
def test_every_key_sets_its_parameter(key: str) -> None:
    kind, index = KEYS[key]
    text = "1" if key == "mirostat" else "0.3" if not kind_is_whole(key) else "7"
    sampler = chain_of_metadata({"mirostat": "1", key: text}).get(kind)
    assert sampler and sampler.values[index] == float(text)


def kind_is_whole(key: str) -> bool:
    return key in ("top_k", "penalty_last_n")
