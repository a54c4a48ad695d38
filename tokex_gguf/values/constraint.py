r"""What a text must fit: a regex, a JSON schema, a grammar, or one of some choices.

>>> choices(r"yes,no,well\, perhaps").text
'["yes", "no", "well, perhaps"]'
"""

import json
import re
from enum import StrEnum

from tokex_gguf.values.record import record
from tokex_gguf.values.tokens import visible

TITLE = 40
"""Characters of a constraint's title at the most."""


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
"""What can be taken and changed by who has not written one yet."""


@record
class Constraint:
    """What the tokens from some place on must spell."""

    kind: ConstraintKind
    text: str

    @property
    def title(self) -> str:
        r"""A few words for a status line: the text too where it is one line that says it.

        >>> Constraint(ConstraintKind.REGEX, "[0-9]+\n").title
        'regex [0-9]+⏎'
        >>> Constraint(ConstraintKind.JSON_SCHEMA, '{"type": "integer"}').title
        'json-schema'
        """
        match self.kind:
            case ConstraintKind.REGEX:
                told = self.text
            case ConstraintKind.CHOICES:
                told = ", ".join(listed(self.text)) or self.text
            case _:
                return self.kind.value
        room = TITLE - len(self.kind.value) - 1
        told = visible(told[: TITLE + 1])
        return f"{self.kind.value} {told if len(told) <= room else f'{told[: room - 1]}…'}"


def listed(text: str) -> list[str]:
    """The choices of a JSON array of strings; none where it is no such array."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return values if isinstance(values, list) and all(isinstance(value, str) for value in values) else []


_PART = re.compile(r"(?:\\[\\,]|[^,])*")


def choices(text: str) -> Constraint:
    r"""The constraint of a list as it is typed: a JSON array of strings, or choices with commas between them.

    In the second form a backslash before a comma or a backslash takes it into the choice; white space counts.

    >>> choices('["a,b", "c"]') == choices(r"a\,b,c")
    True
    """
    parts = listed(text)
    if not parts:
        at, parts = 0, []
        while at <= len(text):
            found = _PART.match(text, at)
            assert found  # it matches the empty text
            parts.append(re.sub(r"\\([\\,])", r"\1", found[0]))
            at = found.end() + 1
    return Constraint(ConstraintKind.CHOICES, json.dumps(parts, ensure_ascii=False))
