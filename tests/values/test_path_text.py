"""Searching a path's text: every match and its token, against the plainest search."""

from hypothesis import given
from hypothesis import strategies as st

from tokex_gguf.values.path_text import PathText

ALPHABET = st.text(st.sampled_from(["a", "A", "b", "é", "É", "İ", "\u212a", "k", "字", "😀", " ", "\n"]), max_size=12)


@st.composite
def cut(draw: st.DrawFn) -> list[bytes]:
    """A text's bytes in pieces, cut anywhere, some of them empty or no text."""
    data = draw(ALPHABET).encode() + draw(st.sampled_from([b"", b"\xff", b"\xe5\xad"]))
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(cut(), st.text(st.sampled_from(["a", "B", "É", "İ", "k", "字", "😀", " "]), min_size=1, max_size=2))
def test_matches_are_those_of_a_plain_search(pieces: list[bytes], query: str) -> None:
    text, whole = PathText.of(pieces), b"".join(pieces).decode("utf-8", "surrogateescape")
    plain = [at for at in range(len(whole)) if _same(whole[at : at + len(query)], query)]
    here, seen = text.next(query, 0), []
    while here is not None and here not in seen:
        seen.append(here)
        here = text.next(query, here + 1)
    assert seen == plain
    for place in range(len(whole) + 1):
        before = [at for at in plain if at < place]
        assert text.previous(query, place) == next(reversed(before or plain), None)
    for at in plain:
        begin = len(whole[:at].encode("utf-8", "surrogateescape"))
        owners = [index for index in range(len(pieces)) if sum(map(len, pieces[: index + 1])) > begin]
        assert text.token(at) == owners[0]


def _same(a: str, b: str) -> bool:
    return [*map(_lower, a)] == [*map(_lower, b)]


def _lower(char: str) -> str:
    """What upper case is written as, where that takes as many bytes."""
    lower = char.lower()
    return lower if len(lower.encode("utf-8", "replace")) == len(char.encode("utf-8", "replace")) else char


@given(cut())
def test_characters_of_tokens(pieces: list[bytes]) -> None:
    text, whole = PathText.of(pieces), b"".join(pieces).decode("utf-8", "surrogateescape")
    begins = [len(whole[:at].encode("utf-8", "surrogateescape")) for at in range(len(whole))]
    for token in range(len(pieces)):
        start = sum(map(len, pieces[:token]))
        assert text.character(token) == sum(begin < start for begin in begins)


def test_matches_are_counted() -> None:
    text = PathText.of([b"one", b" two ", b"ONE", b" one"])
    assert [text.match("One", at) for at in (0, 8, 12)] == [(0, 1, 3), (8, 2, 3), (12, 3, 3)]
