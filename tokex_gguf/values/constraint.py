"""What a text may be: a regular expression, a JSON schema, a grammar, a choice of texts. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class ConstraintKind(StrEnum):
    """In what a constraint is written, named as its flag."""

    REGEX = "regex"
    JSON_SCHEMA = "json-schema"
    GRAMMAR = "grammar"
    LARK = "lark"
    CHOICES = "choices"


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the text from some place on may be."""

    kind: ConstraintKind
    text: str
