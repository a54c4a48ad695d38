"""Lines of styled text: always exactly as wide as asked for."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokex_gguf.ui.cells import Line, cells_of, choose, clip, fit, pad, spread, width_of
from tokex_gguf.values.tokens import label

chars = "ab …漢🐕\u0301"
texts = st.text(chars, max_size=8)
line_strategy = st.lists(st.tuples(st.sampled_from(["", "class:a", "class:b"]), texts), max_size=4)
widths = st.integers(0, 14)


def plain(line: Line) -> str:
    return "".join(text for _, text in line)


def test_width_counts_cells() -> None:
    assert width_of([("", "ab"), ("class:a", "漢e\u0301")]) == 5
    assert width_of([]) == 0


# --- clip and pad


@pytest.mark.parametrize(
    ("text", "width", "clipped"),
    [
        ("every", 5, "every"),
        ("every", 4, "eve…"),
        ("every", 1, "…"),
        ("every", 0, ""),
        ("", 0, ""),
        ("漢字", 4, "漢字"),
        ("漢字", 3, "漢…"),
        ("漢字", 2, "…"),  # half of a wide character cannot be shown
        ("漢字漢", 4, "漢…"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
        ("काका", 4, "काका"),
        ("काका", 3, "का…"),
        ("काका", 2, "…"),  # a vowel sign takes a cell, and its letter is not shown without it
        ("ककाका", 3, "क…"),
    ],
)
def test_clip(text: str, width: int, clipped: str) -> None:
    assert clip(text, width) == clipped


@given(texts, widths)
def test_clip_keeps_as_much_as_fits(text: str, width: int) -> None:
    clipped = clip(text, width)
    assert cells_of(clipped) <= width
    if cells_of(text) <= width:
        assert clipped == text
    elif width > 0:
        kept = clipped.removesuffix("…")
        assert clipped != kept and text.startswith(kept)
        # The next character would have left no room for the sign.
        assert cells_of(text[: len(kept) + 1]) >= width


@given(texts, widths)
def test_pad_is_exact(text: str, width: int) -> None:
    padded = pad(text, width)
    assert cells_of(padded) == width
    assert padded.startswith(clip(text, width))
    assert padded[len(clip(text, width)) :].strip(" ") == ""


# --- fit


@given(line_strategy, widths)
def test_fit_is_exact(line: Line, width: int) -> None:
    fitted = fit(line, width, "class:fill")
    assert width_of(fitted) == width
    if width_of(line) < width:
        assert fitted == [*line, ("class:fill", " " * (width - width_of(line)))]


@pytest.mark.parametrize(
    ("line", "width", "fitted"),
    [
        ([("a", "every"), ("b", "body")], 9, "everybody"),
        ([("a", "every"), ("b", "body")], 7, "everyb…"),
        ([("a", "every"), ("b", "body")], 5, "every"),
        ([("a", "every"), ("b", "body")], 3, "ev…"),
        ([("a", "every"), ("b", "body")], 11, "everybody  "),
        ([], 2, "  "),
        # A mark belongs to the character before it, also where that one takes the last cell.
        ([("a", "ab"), ("b", "\u0301")], 2, "ab\u0301"),
        # A wide character that is cut off may leave a cell more than the sign takes.
        ([("a", "漢字")], 2, "… "),
        ([("a", "漢字"), ("b", "body")], 2, "… "),
    ],
)
def test_fit(line: Line, width: int, fitted: str) -> None:
    assert plain(fit(line, width)) == fitted


@given(line_strategy.filter(lambda line: "…" not in plain(line)), widths)
def test_nothing_follows_what_was_cut_off(line: Line, width: int) -> None:
    fitted = plain(fit(line, width))
    kept, sign, rest = fitted.partition("…")
    assert plain(line).startswith(kept) if sign else True
    assert rest.strip(" ") == ""


def test_fit_keeps_styles() -> None:
    assert fit([("a", "every"), ("b", "body")], 7) == [("a", "every"), ("b", "b…")]


# --- spread


@given(line_strategy, line_strategy, widths)
@example([], [("", "ab"), ("", "\u0301")], 2)
def test_spread_is_exact_and_right_goes_first(left: Line, right: Line, width: int) -> None:
    line = spread(left, right, width)
    assert width_of(line) == width
    if width_of(right) <= width:
        assert plain(line).endswith(plain(right))


@pytest.mark.parametrize(("width", "expected"), [(9, "left  end"), (7, "left" + "end"), (6, "le…end"), (2, "e…")])
def test_spread(width: int, expected: str) -> None:
    assert plain(spread([("", "left")], [("", "end")], width)) == expected


# --- choose


def test_what_says_more_of_a_part_goes_with_it() -> None:
    parts: list[tuple[int, Line]] = [(9, [("", "a" * 8)]), (7, [("", "last token")]), (4, [("", "rank 5")])]
    assert plain(choose(parts, 40, further=(2,))) == "aaaaaaaa  last token  rank 5"
    assert plain(choose(parts, 21, further=(2,))) == "aaaaaaaa  last token"
    assert plain(choose(parts, 16)) == "aaaaaaaa  rank 5" and plain(choose(parts, 16, further=(2,))) == "aaaaaaaa"


PARTS: list[tuple[int, Line]] = [(1, [("", "low")]), (3, [("", "high")]), (2, [("", "middle")])]


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (17, "low  high  middle"),
        (16, "high  middle"),
        (12, "high  middle"),
        (11, "low  high"),  # no room for the second: the third may still go in
        (8, "high"),
        (4, "high"),
        (3, "low"),
        (2, ""),
    ],
)
def test_choose(width: int, expected: str) -> None:
    assert plain(choose(PARTS, width)) == expected


@given(
    st.lists(st.tuples(st.integers(0, 5), line_strategy), max_size=6),
    st.integers(0, 40),
    st.sampled_from(["", " ", "  "]),
)
def test_chosen_parts_fit(parts: list[tuple[int, Line]], width: int, gap: str) -> None:
    line = choose(parts, width, gap)
    assert width_of(line) <= width
    if width_of([piece for _, part in parts for piece in part]) + len(gap) * len(parts) <= width:
        assert plain(line).replace(" ", "") == "".join(plain(part) for _, part in parts).replace(" ", "")


def test_every_character_has_a_cell_where_it_stands_alone() -> None:
    alone = (chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000)
    assert not [char for char in alone if not cells_of(label(char.encode()))]
