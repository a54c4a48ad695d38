"""Layout of a prompt: nothing too wide, nothing lost, and the same whatever was laid out before."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokex_gguf.ui.cells import cells_of
from tokex_gguf.ui.wrap import WrappedLine, wrap

ASIDE = "◌"
MARK = "\u0301"
SPACING = "\u093e"
"""A Devanagari vowel sign, which takes a cell and belongs to the character before it."""

# Short words over few characters, so that everything meets at the lines' ends.
texts_strategy = st.lists(
    st.text("ab漢", max_size=4)
    | st.text("abcd", min_size=3, max_size=12)
    | st.sampled_from(["", " ", "\n", "⏎\n", " a", "b ", " ab", MARK, MARK + "a", "a" + MARK, "漢" + MARK, MARK * 2])
    | st.text("ab \n漢" + MARK, max_size=6)
    | st.text("क" + MARK + SPACING, max_size=12)
    | st.sampled_from([SPACING, SPACING * 2, "क" + SPACING]),
    max_size=12,
)
widths = st.integers(2, 9)


def shown(line: WrappedLine) -> str:
    return "".join(span.text for span in line.spans)


def lines(texts: list[str], width: int) -> list[str]:
    return [shown(line) for line in wrap(texts, width).lines]


# --- examples


@pytest.mark.parametrize(
    ("texts", "width", "expected"),
    [
        ([], 5, [""]),
        ([""], 5, [""]),
        (["every", "body", " is"], 9, ["everybody", " is"]),
        (["every", "body", " is"], 10, ["everybody ", "is"]),
        (["every", "body", " is"], 12, ["everybody is"]),
        ([" every", "body", " is"], 9, [" ", "everybody", " is"]),
        (["a ", "bcd", "ef"], 5, ["a ", "bcdef"]),
        (["a ", "bcd", "e"], 5, ["a ", "bcde"]),
        (["a ", "bcd", "漢"], 5, ["a bcd", "漢"]),
        (["abcdefgh"], 3, ["abc", "def", "gh"]),
        (["a ", "bcdefgh"], 4, ["a bc", "defg", "h"]),
        (["a⏎\n", "b"], 9, ["a⏎\n", "b"]),
        (["⏎\n", "⏎\n"], 9, ["⏎\n", "⏎\n"]),
        (["漢字漢字"], 4, ["漢字", "漢字"]),
        (["漢字漢字"], 5, ["漢字", "漢字"]),
        (["a漢字b"], 3, ["a漢", "字b"]),
        (["漢字"], 1, ["漢", "字"]),  # too narrow for any of it, yet no line is empty
        (["ab 漢字"], 4, ["ab ", "漢字"]),
        (["abc" + MARK], 3, ["abc" + MARK]),
        ([MARK + "b"], 3, [ASIDE + MARK + "b"]),
        (["a⏎\n", MARK], 3, ["a⏎\n", ASIDE + MARK]),
        (["काका"], 4, ["काका"]),
        (["काका"], 3, ["का", "का"]),
        (["कका", "क"], 2, ["क", "का", "क"]),
        (["क", "क", SPACING, "क"], 2, ["क", "का", "क"]),  # also where it is a token of its own
        (["ab ", "का"], 4, ["ab ", "का"]),
        ([MARK + MARK + "कक"], 2, [ASIDE + MARK + MARK, "कक"]),
        (["a", MARK + MARK + MARK + "bcd"], 3, ["a" + MARK + MARK + MARK + "bc", "d"]),
        (["कमि"], 2, ["क", "मि"]),
    ],
)
def test_lines(texts: list[str], width: int, expected: list[str]) -> None:
    assert lines(texts, width) == expected


def test_lines_know_where_they_begin() -> None:
    layout = wrap(["ab ", "cd", "ef g⏎\n", "", "hijklmno"], 5)
    assert [(line.token, line.offset, shown(line)) for line in layout.lines] == [
        (0, 0, "ab "),
        (1, 0, "cdef "),
        (2, 3, "g⏎\n"),
        (2, 6, "hijkl"),
        (4, 5, "mno"),
    ]


def test_spans_know_their_token() -> None:
    (line,) = wrap(["a", "", "b c"], 9).lines
    assert line.spans == ((0, "a"), (2, "b c"))


# --- what holds for every text


@given(texts_strategy, widths)
def test_no_line_is_too_wide(texts: list[str], width: int) -> None:
    for line in wrap(texts, width).lines:
        assert cells_of(shown(line).removesuffix("\n")) <= width
        assert "\n" not in shown(line)[:-1]


@given(texts_strategy, widths)
def test_nothing_is_lost(texts: list[str], width: int) -> None:
    by_token = [""] * len(texts)
    for line in wrap(texts, width).lines:
        for index, span in enumerate(line.spans):
            # Only a mark that begins a line gets something to stand on.
            aside = index == 0 and span.text.startswith(ASIDE)
            by_token[span.token] += span.text[aside:]
    assert by_token == texts


@given(st.lists(st.sampled_from(["क", "a", SPACING, " ", "का", "b" + MARK]), max_size=30), st.integers(3, 9))
def test_a_spacing_mark_stays_with_its_character(texts: list[str], width: int) -> None:
    """Unless it has none, or so many marks that they need several lines."""
    laid_out = [shown(line) for line in wrap(texts, width).lines]
    for before, line in pairwise(laid_out):
        if line.startswith(SPACING) and not before.endswith(" "):
            assert re.search(f"(^| )[^ ]?[{SPACING}{MARK}]*$", before) and cells_of(before) == width


@given(st.lists(st.text("abc", min_size=1, max_size=5), max_size=12), st.integers(5, 12), st.data())
def test_words_that_fit_are_not_broken(words: list[str], width: int, data: st.DataObject) -> None:
    text = " ".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    tokens = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    laid_out = lines(tokens, width)
    assert [word for line in laid_out for word in line.split(" ") if word] == words
    # And no line ends early: the word after it would not have fitted.
    for line, following in pairwise(laid_out):
        following_word = re.match(r" |[^ ]*", following)
        assert following_word and len(line) + len(following_word[0]) > width


@given(texts_strategy, widths)
def test_lines_begin_where_they_say(texts: list[str], width: int) -> None:
    laid_out = wrap(texts, width).lines
    joined = "".join(texts)
    begins = [len("".join(texts[: line.token])) + line.offset for line in laid_out]
    for line, begin, end in zip(laid_out, begins, [*begins[1:], len(joined)], strict=True):
        own = joined[begin:end]
        assert shown(line) in (own, ASIDE + own)


# --- an earlier layout changes nothing

append = st.tuples(st.just("append"), texts_strategy)
pop = st.tuples(st.just("pop"), st.integers(1, 4))
change = st.tuples(st.just("change"), texts_strategy.filter(lambda texts: len(texts) <= 4))
switch = st.tuples(st.just("switch"), texts_strategy)


def edit(texts: list[str], kind: str, value: list[str] | int) -> list[str]:
    if isinstance(value, int):
        return texts[:-value]
    if kind == "append":
        return texts + value
    return (texts[: max(0, len(texts) - len(value))] if kind == "change" else []) + value


def assert_same_as_fresh(versions: list[list[str]], width: int) -> None:
    layout = wrap(versions[0], width)
    for texts in versions[1:]:
        layout = wrap(texts, width, layout)
        assert layout == wrap(texts, width)


@given(texts_strategy, st.lists(append | pop | change | switch, max_size=8), widths)
def test_incremental_is_fresh(texts: list[str], edits: list[tuple[str, list[str] | int]], width: int) -> None:
    versions = [texts]
    for kind, value in edits:
        versions.append(edit(versions[-1], kind, value))
    assert_same_as_fresh(versions, width)


def test_marks_that_go_give_back_what_they_took_to_the_next_line() -> None:
    texts = ["aaa", "漢a漢a", "ककाााक", "ााा"]
    assert_same_as_fresh([texts, texts[:-1], texts], 7)


@given(texts_strategy, st.integers(0, 11), st.text("ab 漢" + MARK, max_size=4), widths)
def test_one_text_changed_anywhere(texts: list[str], index: int, text: str, width: int) -> None:
    """As when a later token completes a character: a text in the middle may change too."""
    changed = [*texts[:index], text, *texts[index + 1 :]]
    assert_same_as_fresh([texts, changed, texts], width)


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(["a"] * 40, id="one word over many lines"),
        pytest.param(["ab", " ", "c"] * 12, id="short words"),
        pytest.param(["漢"] * 20 + ["a"] * 20, id="wide, then a word"),
        pytest.param(["a⏎\n"] * 10 + [""] * 5 + ["b"] * 10, id="line breaks"),
        pytest.param(["", "", " ", "", "abcdefghijklmnopqrstuvwxyz", "", " ", ""] * 3, id="empty texts"),
        # What a mark at a line's beginning stands on takes a cell, which goes when the word grows
        # too long to begin there.
        pytest.param(["zz⏎\n"] * 2 + ["a ", MARK] + ["b"] * 15, id="a mark, then a word"),
    ],
)
def test_growing_and_shrinking_token_by_token(texts: list[str]) -> None:
    lengths = [*range(len(texts) + 1), *range(len(texts), -1, -1)]
    for width in range(2, 12):
        assert_same_as_fresh([texts[:n] for n in lengths], width)


@given(texts_strategy, widths, widths)
@example(["abc def"], 9, 4)
def test_layout_for_another_width_is_not_used(texts: list[str], width: int, other: int) -> None:
    assert wrap(texts, width, wrap(texts, other)) == wrap(texts, width)


def test_an_earlier_layout_saves_work() -> None:
    """A token more at the end of a long prompt leaves the lines before it the same objects."""
    texts = ["ab ", "cde "] * 500
    before = wrap(texts, 20)
    after = wrap([*texts, "f"], 20, before)
    same = sum(a is b for a, b in zip(before.lines, after.lines, strict=False))
    assert same >= len(before.lines) - 4
