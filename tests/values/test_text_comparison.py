"""Two paths that spell one text, compared on and on as it grows, is cut back and branches."""

import random
from collections.abc import Mapping

import pytest

from tests.sampling import few
from tokex_gguf.values.distribution import TokenLogprob
from tokex_gguf.values.text_comparison import TextComparison
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node

WORDS = ["a", "b", " ", "ab", " a", "b ", "é", " ba", "\n"]
SPELL = {index: Piece(word.encode()) for index, word in enumerate(WORDS)} | {
    100: Piece(b"\xc3"),
    101: Piece(b"\xa9"),
    102: Piece(b""),
}


def root() -> Node:
    return Node(None, -1)


def spelled(tip: Node) -> bytes:
    return b"".join(SPELL[token].data for token in tip.path())


def cut(tree: Node, text: bytes, chance: random.Random) -> Node:
    """A path that spells a text, of random tokens, each of which has a probability of its own."""
    node, at = tree, 0
    while at < len(text):
        # Mostly as before: paths of one tree begin alike.
        fits = [token for token, piece in SPELL.items() if piece.data and text.startswith(piece.data, at)]
        old = [token for token in fits if (token in node.children)]
        token = chance.choice(old if old and chance.random() < 0.9 else fits)
        fresh = token not in node.children
        node = node.child(token)
        if fresh:
            node.attach_strict_taken(TokenLogprob(-chance.uniform(0, 9), 1))
        at += len(SPELL[token].data)
    return node


def whole(a: Node, b: Node, text: bytes) -> TextComparison:
    found = TextComparison()
    found.take((a, SPELL), (b, SPELL), text)
    return found


def told(found: TextComparison, tip: Node) -> list[object]:
    nodes = tip.nodes()
    return [
        [found.delta(node) for node in nodes],
        [found.place(node) for node in nodes],
        [found.deltas.bits(node.depth) for node in nodes],
        [found.comparable(node, None) for node in nodes],
        found.deltas.total,
        found.shared(tip),
        found.rates,
    ]


@pytest.mark.parametrize("seed", few(range(40), of=4))
def test_a_text_that_grows_is_compared_as_if_it_were_the_first(seed: int) -> None:
    chance = random.Random(seed)
    tree, other = root(), root()
    known, text = TextComparison(), b""
    for _ in range(40):
        if chance.random() < 0.3:
            text = text[: chance.randrange(len(text) + 1)].decode(errors="ignore").encode()
        text += "".join(chance.choices(WORDS, k=chance.randrange(1, 6))).encode()
        a, b = cut(tree, text, chance), cut(other, text, chance)
        known.take((a, SPELL), (b, SPELL), text)
        assert told(known, a) == told(whole(a, b, text), a), f"seed {seed}: {text!r}"


@pytest.mark.parametrize("seed", few(range(40), of=4))
def test_of_another_path_nothing_is_told_but_what_it_begins_with(seed: int) -> None:
    chance = random.Random(seed)
    tree, other = root(), root()
    known = TextComparison()
    for _ in range(40):
        text = "".join(chance.choices(WORDS, k=chance.randrange(1, 20))).encode()
        if known.tip and chance.random() < 0.5:
            text = spelled(known.tip)[: chance.randrange(20)].decode(errors="ignore").encode() + text
        a, b = cut(tree, text, chance), cut(other, text, chance)
        before = known.tip
        deltas = [known.delta(node) for node in a.nodes()]
        known.follow(a)
        told_of, end = known.deltas.total, a.common(before) if before else 0
        assert known.tip is before if before and a.descends_from(before) else known.tip is None
        assert known.rates is None or known.rates.bytes <= len(spelled(a.ancestor(end)))
        now = [known.delta(node) for node in a.nodes()]
        assert all(told in (None, was) for told, was in zip(now, deltas, strict=True))
        assert all(told is None for told in now[end:])
        assert all(depth <= end for depth in [known.deltas.greatest(None, 1)] if depth)
        known.follow(a)
        assert known.deltas.total == told_of, "once"
        known.take((a, SPELL), (b, SPELL), text)
        assert told(known, a) == told(whole(a, b, text), a), f"seed {seed}: {text!r}"


def test_only_what_is_new_is_looked_at() -> None:
    chance = random.Random(1)
    tree, other, text = root(), root(), b"ab " * 2_000
    a, b = cut(tree, text, chance), cut(other, text, chance)

    class Counting(dict[int, Piece]):
        looked = 0

        def __getitem__(self, token: int) -> Piece:
            Counting.looked += 1
            return super().__getitem__(token)

    pieces: Mapping[int, Piece] = Counting(SPELL)
    known = TextComparison()
    known.take((a, pieces), (b, pieces), text)
    assert Counting.looked == a.depth + b.depth
    Counting.looked = 0
    a, b = a.child(1), b.child(1)
    for node in (a, b):
        node.attach_strict_taken(TokenLogprob(-1.0, 1))
    known.take((a, pieces), (b, pieces), text + b"b")
    assert Counting.looked < 30
    assert told(known, a) == told(whole(a, b, text + b"b"), a)
