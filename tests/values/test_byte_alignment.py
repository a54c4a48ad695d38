"""Two tokenisations of one text: what they share, and that nothing of the text or of its bits is lost."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokex_gguf.values.byte_alignment import Rates, Stretch, Tokenisation, align, rates, word_ends
from tokex_gguf.values.tokens import offsets

texts = st.text(st.sampled_from("aé \n🐕b"), max_size=30).map(str.encode)
surprisals = st.floats(0, 20)


@st.composite
def cuts(draw: st.DrawFn, length: int, first: bool = True) -> Tokenisation:
    """A text's bytes in tokens, with a token before it or without; the first one was predicted or not."""
    inner = draw(st.sets(st.integers(1, max(1, length - 1)), max_size=12)) if length > 1 else set()
    starts = sorted({0, *inner}) if length else []
    if draw(st.booleans()):
        starts = [0, *starts]
    bits: list[float | None] = [draw(surprisals) for _ in starts]
    if bits and first and draw(st.booleans()):
        bits[0] = None
    return Tokenisation.of(starts, bits, length)


@st.composite
def two_cuts(draw: st.DrawFn) -> tuple[bytes, Tokenisation, Tokenisation]:
    text = draw(texts)
    return text, draw(cuts(len(text))), draw(cuts(len(text)))


@given(two_cuts())
@settings(deadline=None)
def test_stretches_cover_the_text_and_each_token_once(case: tuple[bytes, Tokenisation, Tokenisation]) -> None:
    text, a, b = case
    found = align(a, b)
    if not text:
        assert found == []
        return
    assert [one.start for one in found] == [0, *(one.end for one in found[:-1])] and found[-1].end == len(text)
    for cut, ranges in ((a, [one.a for one in found]), (b, [one.b for one in found])):
        assert [token for one in ranges for token in one] == list(range(len(cut.bits)))
        for stretch, tokens in zip(found, ranges, strict=True):
            assert {cut.bounds[tokens.start], cut.bounds[tokens.stop]} == {stretch.start, stretch.end}
    inner = [set(cut.bounds) for cut in (a, b)]
    for one in found:
        assert not any(place in inner[0] & inner[1] for place in range(one.start + 1, one.end)), "it could be shorter"


@given(two_cuts())
@settings(deadline=None)
def test_no_bits_are_lost(case: tuple[bytes, Tokenisation, Tokenisation]) -> None:
    text, a, b = case
    found = align(a, b)
    for cut, bits in ((a, [one.bits_a for one in found]), (b, [one.bits_b for one in found])):
        if None not in cut.bits and text:
            assert math.fsum(one for one in bits if one is not None) == pytest.approx(
                math.fsum(one for one in cut.bits if one is not None)
            )
        roomy = [one for one in range(len(cut.bits)) if cut.bounds[one + 1] > cut.bounds[one]]
        unknown = any(cut.bits[one] is None for one in roomy)
        assert (None in bits) == (unknown and bool(text)), "only what was not predicted is unknown"


@given(two_cuts())
@settings(deadline=None)
def test_b_against_a_is_the_same_turned_round(case: tuple[bytes, Tokenisation, Tokenisation]) -> None:
    text, a, b = case
    here, back = align(a, b), align(b, a)
    turned = [Stretch(one.start, one.end, one.b, one.a, one.bits_b, one.bits_a) for one in back]
    assert here == turned
    mine, other = rates(here, text), rates(back, text)
    assert (mine is None) == (other is None)
    if mine and other:
        assert mine == Rates(other.bytes, other.words, other.bits_b, other.bits_a)
        assert mine.delta_bits == -other.delta_bits


@given(texts.flatmap(lambda text: st.tuples(st.just(text), cuts(len(text)))))
@settings(deadline=None)
def test_a_tokenisation_beside_itself_is_its_own_tokens(case: tuple[bytes, Tokenisation]) -> None:
    text, cut = case
    found = align(cut, cut)
    assert len(found) == len({*cut.bounds} - {len(text)})
    assert all(one.delta_bits in (0, None) for one in found)
    told = rates(found, text)
    assert told is None or (told.delta_bits == 0 and told.per_byte[0] == told.per_byte[1])


@given(two_cuts())
@settings(deadline=None)
def test_by_words_stretches_end_where_words_do(case: tuple[bytes, Tokenisation, Tokenisation]) -> None:
    text, a, b = case
    ends = word_ends(text)
    fine, coarse = align(a, b), align(a, b, ends)
    assert {one.end for one in coarse} == {one.end for one in fine} & set(ends)
    assert all(one.end == other.start for one, other in pairwise(coarse))


@given(texts)
def test_words_are_the_whole_text(text: bytes) -> None:
    ends = word_ends(text)
    parts = [text[start:end] for start, end in pairwise([0, *ends])]
    assert b"".join(parts) == text and all(len(part.split()) <= 1 for part in parts)
    assert len([part for part in parts if part.strip()]) == len(text.split())


def test_from_where_a_tokenizer_changed_the_text_nothing_is_aligned() -> None:
    text = "a ﬁ b".encode()
    changed = offsets([b"a", b" ", b"fi", b" b"], text)
    assert changed == [0, 1, None, None]  # where the second ends is not known for sure
    cut = Tokenisation.of(changed, [1.0] * 4, len(text))
    assert (cut.bounds, cut.bits) == ((0, 1), (1.0,))
    plain = Tokenisation.of(offsets([b"a", b" ", "ﬁ".encode(), b" b"], text), [2.0] * 4, len(text))
    assert [(one.start, one.end) for one in align(cut, plain)] == [(0, 1)]
    assert align(Tokenisation.of([None], [None], 3), plain) == [] == align(plain, Tokenisation.of([], [], 0))


def test_a_space_that_a_vocabulary_adds_takes_no_room_and_its_bits_count() -> None:
    text = "日本".encode()
    spm = Tokenisation.of(offsets([b"<s>", b" ", "日".encode(), "本".encode()], text), [None, 3.0, 1.0, 1.0], len(text))
    bpe = Tokenisation.of(offsets(["日本".encode()], text), [4.0], len(text))
    (one,) = align(spm, bpe)
    assert (one.a, one.bits_a, one.bits_b, one.delta_bits) == (range(4), 5.0, 4.0, -1.0)


def test_rates_are_over_what_both_have_predicted() -> None:
    text = b"the cat sat"
    a = Tokenisation.of([0, 3, 7], [None, 4.0, 8.0], len(text))
    b = Tokenisation.of([0, 0, 3, 7, 9], [None, 6.0, 2.0, 5.0, 5.0], len(text))
    found = rates(align(a, b), text)
    assert found == Rates(8, 2, 12.0, 12.0)
    assert found.per_byte == (1.5, 1.5) and found.per_word == (6.0, 6.0) and found.delta_bits == 0
    assert rates(align(a, a)[:1], text) is None


def test_what_is_impossible_for_both_is_no_difference() -> None:
    a = Tokenisation.of([0, 1], [None, math.inf], 2)
    assert [one.delta_bits for one in align(a, a)] == [None, 0.0]
    told = rates(align(a, a), b"ab")
    assert told is not None and told.delta_bits == 0
