"""Constraints as values: how choices are typed, and what a status line says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokex_gguf.values.constraint import TITLE, Constraint, ConstraintKind, choices, listed


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("yes,no", ["yes", "no"]),
        ("yes, no", ["yes", " no"]),
        (r"well\, yes,no", ["well, yes", "no"]),
        (r"a\\,b", ["a\\", "b"]),
        (r"C:\new,\d", [r"C:\new", r"\d"]),
        ("a\\", ["a\\"]),
        ("one", ["one"]),
        ("a,,b", ["a", "", "b"]),
        ("", [""]),
        ('["a,b", "c"]', ["a,b", "c"]),
        ("[1,2]", ["[1", "2]"]),
        ("[]", ["[]"]),
    ],
)
def test_choices_as_they_are_typed(typed: str, meant: list[str]) -> None:
    constraint = choices(typed)
    assert constraint.kind is ConstraintKind.CHOICES
    assert listed(constraint.text) == meant


@given(st.lists(st.text(), min_size=1))
def test_any_choice_can_be_typed(texts: list[str]) -> None:
    typed = ",".join(text.replace("\\", "\\\\").replace(",", "\\,") for text in texts)
    if listed(typed):
        return  # a JSON array by chance, which has the other meaning
    assert listed(choices(typed).text) == texts
    assert listed(choices(json.dumps(texts)).text) == texts


@pytest.mark.parametrize("text", ["", "{}", '"a"', '["a", 1]', "[", "[" * 100_000])
def test_what_is_no_array_of_strings_has_no_choices(text: str) -> None:
    assert listed(text) == []


@given(st.sampled_from(ConstraintKind), st.text())
def test_a_title_is_short_and_printable(kind: ConstraintKind, text: str) -> None:
    title = Constraint(kind, text).title
    assert len(title) <= TITLE
    assert title.isprintable()
    assert title.startswith(kind.value)


@pytest.mark.parametrize(
    ("constraint", "title"),
    [
        (Constraint(ConstraintKind.REGEX, "[0-9]+"), "regex [0-9]+"),
        (Constraint(ConstraintKind.REGEX, "a" * 100), f"regex {'a' * 33}…"),
        (Constraint(ConstraintKind.REGEX, "\x1b[2J"), "regex ␛[2J"),
        (Constraint(ConstraintKind.GRAMMAR, 'root ::= "a"'), "grammar"),
        (Constraint(ConstraintKind.LARK, 'start: "a"'), "lark"),
        (choices("yes,no"), "choices yes, no"),
        (choices("a,b,c,d,e,f,g,h,i"), "choices a, b, c, d, e, f, g, h, i"),
        (choices(",".join(f"choice {number}" for number in range(9))), "choices choice 0, choice 1, choice 2, c…"),
    ],
)
def test_titles(constraint: Constraint, title: str) -> None:
    assert constraint.title == title


def test_equal_constraints_are_one_key() -> None:
    assert len({choices("a,b"), choices('["a","b"]'), choices("a")}) == 2
