"""What is remembered of a server's answers, and finding tokens among them. Pure."""

import math
import random

import pytest

from tests.stand_in_server import PIECES
from tokex_gguf.engine.remote.dialects.dialect import ServerAnswer
from tokex_gguf.engine.remote.evaluator import within_one
from tokex_gguf.engine.remote.memory import MOST_PATHS, RECENT_PATHS, TOTAL_CANDIDATES, Memory, Recent, Remembered
from tokex_gguf.engine.remote.vocabulary import Vocabulary
from tokex_gguf.engine.worker.vocabulary_search import Index
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.tokens import Piece


def known(token: int = 7) -> Remembered:
    return Remembered(Distribution.of(1.0, [token, token + 1, token + 2], [-0.5, -1.5, -2.5], 0.25))


def test_a_token_is_known_among_the_candidates_or_where_it_was_asked_for() -> None:
    one = known()
    one.asked[40] = TokenLogprob(-9.0, 4, at_least=True)
    assert (
        one.of(8) == TokenLogprob(-1.5, 2) and one.of(40) == TokenLogprob(-9.0, 4, at_least=True) and one.of(41) is None
    )


@pytest.mark.parametrize("probs", [(0.6, 0.4009), (1.0004,), (0.6, 0.4), (0.5, 0.3)])
def test_probabilities_are_one_together_at_the_most(probs: tuple[float, ...]) -> None:
    """Or the masses of answers were more than all."""
    told = ServerAnswer(list(range(len(probs))), [min(math.log(one), 0.0) for one in probs], -9.0)
    kept = within_one(told)
    assert kept.ids == told.ids and math.fsum(map(math.exp, kept.logprobs)) <= 1 + 1e-15
    if sum(map(math.exp, told.logprobs)) <= 1:
        assert kept == told
    else:
        assert kept.asked is not None and kept.asked - kept.logprobs[0] == pytest.approx(-9.0 - told.logprobs[0])


def test_fewer_candidates_keep_what_is_known_of_the_whole() -> None:
    cut = known().cut(2)
    assert (list(cut.ids), cut.entropy_bits, cut.slack_bits) == ([7, 8], 1.0, 0.25)
    assert len(known().cut(30)) == 3


def test_paths_are_told_apart_and_found_along_another() -> None:
    memory = Memory()
    memory.put([1, 2], known(10))
    memory.put_all([1, 2, 3, 4], 2, [known(20), known(30)])
    assert memory.get([1]) is None and memory.get([12]) is None
    found = [one.distribution.most_likely if one else None for one in memory.all([1, 2, 3, 4, 5], 0)]
    assert found == [None, 10, 20, 30, None]


def test_the_newest_paths_are_remembered() -> None:
    memory = Memory()
    for token in range(MOST_PATHS + 10):
        memory.put([token], known())
    assert len(memory) == MOST_PATHS
    assert memory.get([9]) is None and memory.get([10]) and memory.get([MOST_PATHS + 9])


def test_of_whole_distributions_fewer_are_remembered() -> None:
    memory, size = Memory(), 150_000
    whole = Remembered(Distribution.of(1.0, range(size), [-math.log(size)] * size))
    for token in range(30):
        memory.put([token], whole)
        memory.put([token], whole)  # in place of itself
        assert whole.of(size - 1) == TokenLogprob(-math.log(size), size)
    assert len(memory) == TOTAL_CANDIDATES // size
    assert memory.get([29]) and memory.get([10]) is None
    assert "rows" not in vars(whole.distribution), "they would take most of the memory"
    for token in range(MOST_PATHS):
        memory.put([token], known())
    assert len(memory) == MOST_PATHS, "there is room again"


def test_what_a_server_has_read_is_what_the_last_paths_begin_with() -> None:
    recent = Recent()
    assert recent.shared([1, 2, 3]) == 0
    recent.note([1, 2, 3, 4])
    for token in range(100):  # keys on another path, and tokens that are looked at ahead
        recent.note([9, 8, 7, token])
    assert recent.shared([1, 2, 3, 5, 6]) == 3 and recent.shared([9, 8, 7, 1000]) == 3
    for token in range(RECENT_PATHS):
        recent.note([token + 50, 1, 1, 1])
    assert recent.shared([1, 2, 3]) == 0, "more than so many are not remembered"


SEED = 1
QUERIES = ["the", "THE", '" the"', "␣the", "e", "", " ", "\n", "é", "12", "300", "99999", '"', "<|", "zzz"]


@pytest.mark.parametrize("query", QUERIES)
def test_a_search_finds_what_the_search_in_a_file_finds(query: str) -> None:
    pieces = {token: Piece(data, token < 5) for token, data in enumerate(PIECES)}
    index = Index(len(PIECES), lambda token: pieces[token].data)
    assert Vocabulary(pieces).matching(query) == set(index.matching(query).tolist())
    assert Vocabulary(pieces).spelling(query) == index.spelling(query).tolist()


def test_any_part_of_any_token_is_found_alike() -> None:
    chance = random.Random(SEED)
    pieces = {token: Piece(data) for token, data in enumerate(PIECES)}
    index, vocabulary = Index(len(PIECES), lambda token: pieces[token].data), Vocabulary(pieces)
    for _ in range(300):
        text = chance.choice(PIECES).decode("utf-8", "replace")
        start = chance.randrange(len(text))
        query = text[start : start + chance.randint(1, 4)]
        assert vocabulary.matching(query) == set(index.matching(query).tolist()), repr(query)
        assert vocabulary.spelling(query) == index.spelling(query).tolist(), repr(query)
