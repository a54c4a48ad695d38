"""How tokens look: always printable, nothing lost, whatever the bytes are."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokex_gguf.values.tokens import label, spell, starts_combining, visible

# Signs that stand for something else: text with these in it is drawn otherwise than it is.
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ZWJ, VS15, VS16 = "\u200d", "\ufe0e", "\ufe0f"

DOG = "🐕".encode()

# Few and nasty bytes: beginnings, continuations, overlong forms, surrogates, plain text.
nasty_bytes = st.lists(st.sampled_from(b"a \n\x1b\x80\x9f\xa9\xc3\xc0\xe2\x8f\xed\xf0\xf4\xf5\xff\xef\xb8"), max_size=6)
pieces = st.lists(st.binary(max_size=6) | nasty_bytes.map(bytes), max_size=8)
special_text = st.text(st.sampled_from("aé \n\t\x00\x1b\x7f\x85" + BIDI + ZWJ + VS16 + "\u0301\u00a0漢🐕"), max_size=12)
FLAGS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
"""Their halves are spelled out: terminals disagree on the width of two."""

ordinary_text = st.text(
    st.characters(exclude_categories=["Cs"]).filter(
        lambda c: c == "\n" or (c.isprintable() and c not in VS15 + VS16 + FLAGS)
    ),
    max_size=20,
)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """The data in pieces, cut at these places."""
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


# --- one token by itself


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", ""),
        (b"word", "word"),
        (b" a b ", "␣a␣b␣"),
        (b"\n", "⏎"),
        (b"\n\n  ", "⏎⏎␣␣"),
        (b"\r\n", "␍⏎"),
        (b"\t", "⇥"),
        (b"\x00", "␀"),
        (b"\x1b[2J", "␛[2J"),
        (b"\x1f", "␟"),
        (b"\x7f", "␡"),
        ("\x85".encode(), "‹U+0085›"),
        ("\x9b".encode(), "‹U+009B›"),
        ("\u00a0".encode(), "⍽"),
        ("\u2003".encode(), "‹U+2003›"),
        ("\u2028".encode(), "‹U+2028›"),
        ("\ufeff".encode(), "‹U+FEFF›"),
        ("\u200b".encode(), "‹U+200B›"),
        ("\u00ad".encode(), "‹U+00AD›"),
        ("\ue000".encode(), "‹U+E000›"),
        ("\U000e0041".encode(), "‹U+E0041›"),
        ("a\u202eb".encode(), "a‹U+202E›b"),
        ("\u3000".encode(), "\u3000"),  # a blank as wide as the text around it
        ("漢字".encode(), "漢字"),
        ("e\u0301".encode(), "e\u0301"),
        ("\u0301".encode(), "◌\u0301"),
        ("\u0301e".encode(), "◌\u0301e"),
        ("\u20dd".encode(), "◌\u20dd"),
        ("\u3164".encode(), "‹U+3164›"),
        ("a\uffa0b".encode(), "a‹U+FFA0›b"),
        ("\u1161".encode(), "◌\u1161"),
        ("\ud7b0a".encode(), "◌\ud7b0a"),
        ("\u1112\u1161\u11ab".encode(), "\u1112\u1161\u11ab"),
        (VS16.encode(), "‹U+FE0F›"),
        (ZWJ.encode(), "‹U+200D›"),
        (("❤" + VS16).encode(), "❤"),
        ("👩\u200d👧".encode(), "👩👧"),
        (DOG, "🐕"),
        (DOG[:2], "‹F0›‹9F›"),
        (DOG[2:], "‹90›‹95›"),
        (b"<|im_start|>", "<|im_start|>"),
    ],
)
def test_label(data: bytes, shown: str) -> None:
    assert label(data) == shown


@given(st.binary(max_size=12) | special_text.map(str.encode))
def test_label_is_one_line_that_shows_white_space(data: bytes) -> None:
    text = label(data)
    assert not set(text) & set("\n \t\r")
    assert (text == "") == (data == b"")
    assert not starts_combining(text)


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0)])
def test_no_control_character_gets_through(code: int) -> None:
    shown = visible(f"a{chr(code)}b")
    assert shown.isprintable()
    assert (shown[0], shown[-1]) == ("a", "b") and len(shown) > 2


@pytest.mark.parametrize("mark", BIDI)
def test_no_mark_that_turns_the_writing_direction_gets_through(mark: str) -> None:
    assert visible(mark) == f"‹U+{ord(mark):04X}›"


def test_visible_keeps_spaces() -> None:
    assert visible(" a  b ") == " a  b "
    assert visible("a\nb") == "a⏎b"


@pytest.mark.parametrize(
    ("text", "combining"), [("", False), ("a\u0301", False), ("\u0301", True), ("\u20dda", True), ("\u0903", False)]
)
def test_starts_combining(text: str, combining: bool) -> None:
    assert starts_combining(text) is combining


# --- a path of tokens


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [
        ([], []),
        ([b"", b"a", b""], ["", "a", ""]),
        ([b"a\n", b"\nb"], ["a⏎\n", "⏎\nb"]),
        ([DOG[:1], DOG[1:2], DOG[2:3], DOG[3:]], ["", "", "", "🐕"]),
        ([b"a" + DOG[:2], DOG[2:] + b"b"], ["a", "🐕b"]),
        ([DOG[:3], b"", DOG[3:]], ["", "", "🐕"]),
        ([DOG[:3], DOG[3:] + DOG[:1], DOG[1:]], ["", "🐕", "🐕"]),
        # Bytes that never became a character: at the beginning, between, at the end.
        ([b"\x80a", b"b"], ["‹80›a", "b"]),
        ([b"a", b"\xff", b"b"], ["a", "‹FF›", "b"]),
        ([b"a", DOG[:3]], ["a", "‹F0›‹9F›‹90›"]),
        ([DOG[:1], DOG[1:2]], ["‹F0›", "‹9F›"]),
        ([DOG[:2], b"x"], ["‹F0›‹9F›", "x"]),
        ([DOG[:2], b"x", DOG[2:]], ["‹F0›‹9F›", "x", "‹90›‹95›"]),
        ([DOG[:1], DOG[1:2] + b"x"], ["‹F0›", "‹9F›x"]),
        ([DOG[:2], DOG], ["‹F0›‹9F›", "🐕"]),
        ([DOG[:2], b"\xc3", b"\xa9"], ["‹F0›‹9F›", "", "é"]),
        ([b"\xc0\x80"], ["‹C0›‹80›"]),  # overlong
        ([b"\xed\xa0\x80"], ["‹ED›‹A0›‹80›"]),  # half a surrogate pair
        ([b"\xf4\x90\x80\x80"], ["‹F4›‹90›‹80›‹80›"]),  # beyond the last character
        # What is spelled out in one token is spelled out over two.
        ([b"\xe2\x80", b"\xaea"], ["", "‹U+202E›a"]),
        ([b"\xc2", b"\x9b"], ["", "‹U+009B›"]),
        ([b"\xff\n", b"a"], ["‹FF›⏎\n", "a"]),
        ([b"e", "\u0301".encode()], ["e", "\u0301"]),
    ],
)
def test_spell(tokens: list[bytes], shown: list[str]) -> None:
    assert spell(tokens) == shown


@pytest.mark.parametrize("at", range(1, 4))
def test_joiner_beside_a_character_is_left_out_over_two_tokens_too(at: int) -> None:
    """A family of emoji is shown as its members, wherever its first character is cut."""
    data = "👩\u200d👧".encode()
    assert spell([data[:at], data[at:]]) == ["", "👩👧"]


@given(pieces)
def test_everything_spelled_is_safe(tokens: list[bytes]) -> None:
    texts = spell(tokens)
    assert len(texts) == len(tokens)
    for char in "".join(texts):
        assert char.isprintable() or char in "\n\u3000"
        assert char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        assert char not in BIDI + ZWJ + VS15 + VS16


@given(special_text, st.lists(st.integers(0, 60), max_size=4))
def test_special_text_is_safe_however_it_is_cut(text: str, at: list[int]) -> None:
    shown = "".join(spell(cut(text.encode(), at)))
    assert shown.replace("\n", "").isprintable()
    assert not set(shown) & set(BIDI + ZWJ + VS15 + VS16)


@given(ordinary_text, st.lists(st.integers(0, 60), max_size=6))
def test_ordinary_text_is_shown_as_it_is(text: str, at: list[int]) -> None:
    assert "".join(spell(cut(text.encode(), at))) == text.replace("\n", "⏎\n")


@given(st.binary(max_size=20) | nasty_bytes.map(bytes), st.lists(st.integers(0, 20), max_size=5))
def test_cutting_elsewhere_shows_the_same(data: bytes, at: list[int]) -> None:
    """Joiners aside, which look different alone (these bytes hardly ever make one)."""
    if not any(char in data.decode(errors="replace") for char in ZWJ + VS15 + VS16):
        assert "".join(spell(cut(data, at))) == "".join(spell([data]))


@given(pieces, st.binary(max_size=4))
def test_later_tokens_change_only_what_is_unfinished(tokens: list[bytes], more: bytes) -> None:
    """After an ASCII byte no character is open: what stands there stays while a prompt grows."""
    finished = max(n for n in range(len(tokens) + 1) if b"".join(tokens[:n])[-1:].isascii())
    assert spell([*tokens, more])[:finished] == spell(tokens)[:finished]


def test_halves_of_flags_are_spelled_out() -> None:
    assert spell(["🇩🇪".encode()]) == ["‹D›‹E›"]
    assert label("🇫".encode()) == "‹F›"
