r"""Constraints: a regex, a JSON schema, a grammar, or choices, which a text must fit.

>>> choices(r"yes,no,well\, perhaps").text
'["yes", "no", "well, perhaps"]'
"""

import json
import re
from enum import StrEnum

from tokex_gguf.values.record import record
from tokex_gguf.values.tokens import visible

TITLE = 40
"""The most characters of a constraint's title."""


class ConstraintKind(StrEnum):
    """How a constraint is written."""

    REGEX = "regex"
    JSON_SCHEMA = "json-schema"
    GRAMMAR = "grammar"
    """GBNF, llama.cpp's own."""
    LARK = "lark"
    CHOICES = "choices"
    """A JSON array of strings."""


EXAMPLES = {
    ConstraintKind.REGEX: "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    ConstraintKind.JSON_SCHEMA: '{"type": "object", "properties": {"answer": {"type": "integer"}}, '
    '"required": ["answer"], "additionalProperties": false}',
    ConstraintKind.GRAMMAR: 'root ::= "yes" | "no, " [a-z]+',
    ConstraintKind.LARK: 'start: "yes" | "no, " /[a-z]+/',
    ConstraintKind.CHOICES: "yes,no",
}
"""Examples to start from."""


@record
class Constraint:
    """A rule for the text from some place on."""

    kind: ConstraintKind
    text: str

    @property
    def title(self) -> str:
        r"""A few words for a status line, with the text of a regex or of choices.

        >>> Constraint(ConstraintKind.REGEX, "[0-9]+\n").title
        'regex [0-9]+⏎'
        >>> Constraint(ConstraintKind.JSON_SCHEMA, '{"type": "integer"}').title
        'json-schema'
        """
        match self.kind:
            case ConstraintKind.REGEX:
                text = self.text
            case ConstraintKind.CHOICES:
                text = ", ".join(listed(self.text)) or self.text
            case _:
                return self.kind.value
        room = TITLE - len(self.kind.value) - 1
        text = visible(text[: TITLE + 1])
        return f"{self.kind.value} {text if len(text) <= room else f'{text[: room - 1]}…'}"


def listed(text: str) -> list[str]:
    """The choices of a JSON array of strings; empty for any other text."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return values if isinstance(values, list) and all(isinstance(value, str) for value in values) else []


_PART = re.compile(r"(?:\\[\\,]|[^,])*")


def choices(text: str) -> Constraint:
    r"""Parses typed choices: a JSON array of strings, or choices with commas between them.

    In the second form a backslash escapes a comma or a backslash; white space counts.

    >>> choices('["a,b", "c"]') == choices(r"a\,b,c")
    True
    """
    parts = listed(text)
    if not parts:
        at, parts = 0, []
        while at <= len(text):
            match = _PART.match(text, at)
            assert match  # it matches the empty text
            parts.append(re.sub(r"\\([\\,])", r"\1", match[0]))
            at = match.end() + 1
    return Constraint(ConstraintKind.CHOICES, json.dumps(parts, ensure_ascii=False))
