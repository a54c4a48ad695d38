"""Patterns by which answers are grouped: which ones are refused, as they could take for ever."""

import pytest

from tokex_gguf.values.grouping import FIRST_NUMBER, MOST_TRIES, READ, found, found_last, meaning, pattern_of, tries

HARMLESS = [
    *(FIRST_NUMBER, r"(\d+)\D*$", r"\$?(\d+(?:\.\d+)?)", r"\d{1,3}(?:,\d{3})*(?:\.\d+)?", r"-?\d+(?:\.\d+)?%?$"),
    *(r"answer:?\s*(\d+)", r"\b(yes|no|maybe)\b", r"(?i)the answer is (\w+)", r"(\w+)\s+(\w+)", r"\\boxed\{([^}]*)\}"),
    *(
        "(?:na)+",
        "(a|b)*",
        "(?:ab|cd){2}",
        ".*",
        r"^\s*(\w+)\s*$",
        r"(?<=is )\d+",
        r"(?:\w+ ?)?",
        r"x{400,500}",
        "(?:a?){0}",
        r"(?:Answer|answer)\s*:?\s*([A-D])",
        r"(\d+) .* (\d+)",
        r"\d{4}-\d{2}-\d{2}",
        "(?:(?!foo).)*bar",
        "(?:(?!b){10}a)+x",
        "(?!b){10}x",
    ),
]
ENDLESS = [
    *(
        r"(?:\d{1,3},?)+ dollars",
        "(?:a|aa)+b",
        r"(\d|\d\d)+x",
        r"(\w{1,10} ?)+!",
        "(a+)+",
        "(?:a?){20}x",
        "(?:(?:a?)*)*b",
    ),
    *(r"\w{0,9}" * 7 + "!", ".*.*.*x", "(?:.*a){9}", "(?:(?:a|ab)+b)?", "(?>.*.*.*x)", ".*+.*+.*+.*x", "(?=.*.*)(.*)x"),
    *("((((a{0,9}){0,9}){0,9}){0,9}){0,9}b", "(?m)^.*.*.*x"),
    *(".*" + "(?:|.)" * 12 + "x", "(?:aa?){0,5}" * 4 + "x"),
    *("((a){0,9}" + "(?!b){10}" * 15 + "){4}.{0,4}$", "([^b]{0,9}" + "(?!b)" * 20 + "){4}.$"),
    *("(?!b){99999999}x", "(?=a){20}(?!b){9999}.*x", "((?!b)*.{4}){11,40}a*x", "()" * 20 + ".*" + "()" * 20 + ".*x"),
    ".*[^" + "".join(map(chr, range(0x1F600, 0x1F680))) + "]*x",
]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        *(("x = -5", "-5", "-5"), ("(-5)", "-5", "-5"), ("$-5.50", "-5.50", "-5.50"), ("48 - 24", "48", "24")),
        *(("48-24", "48", "24"), ("on 2024-05-17", "2024", "17"), ("COVID-19", "19", "19"), ("(1+2)-3", "1", "3")),
        *(
            ("f[0]-1", "0", "1"),
            ("-1,200 to 7", "-1,200", "7"),
            ("\u22127", "\u22127", "\u22127"),
            ("none", None, None),
        ),
    ],
)
def test_a_minus_is_one_where_a_number_begins_with_it(text: str, first: str | None, last: str | None) -> None:
    pattern = pattern_of(FIRST_NUMBER)
    assert (found(pattern, text), found_last(pattern, text)) == (first, last)


def test_both_ways_to_write_a_minus_mean_one_number() -> None:
    assert meaning("\u22127.0") == meaning("-7") != meaning("7") and meaning("\u22120") == meaning("0")


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_patterns_are_taken(text: str) -> None:
    assert tries(pattern_of(text), READ) <= MOST_TRIES
    assert tries(pattern_of(text), 10) <= tries(pattern_of(text), 20)


@pytest.mark.parametrize("text", ENDLESS)
def test_what_could_take_for_ever_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="could take for ever"):
        pattern_of(text)


@pytest.mark.parametrize("text", [r"(\w)\1", "(a)?(?(1)b|c)"])
def test_what_refers_to_a_group_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="refers to one of its groups"):
        pattern_of(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_taken_ends_on_texts_that_it_nearly_fits(text: str) -> None:
    """At the worst half a second each, where what is refused would take years."""
    for answer in ("1" * READ, "a" * READ, "ab" * READ, " " * READ):
        found(pattern_of(text), answer)
