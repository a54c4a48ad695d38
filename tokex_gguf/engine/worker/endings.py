r"""Whether a constraint allows any finite text: finds rules without an end, and schemas that contain themselves.

>>> endless(Constraint(ConstraintKind.GRAMMAR, 'root ::= "a" root'))
(0, 'nothing fits it: the rule root never comes to an end')
>>> endless(Constraint(ConstraintKind.GRAMMAR, 'root ::= "a" root | ""')) is None
True

Undecided cases count as finite: the library then reports at some place that no token can follow.
"""

import json
import re

from tokex_gguf.engine.worker.gbnf import Rules, Symbol, reached, rules_of, where
from tokex_gguf.values.constraint import Constraint, ConstraintKind

ROUNDS = 30
"""The most passes over the parts of a schema; an undecided one counts as finite."""


def endless(constraint: Constraint) -> tuple[int | None, str] | None:
    """The place and reason for which no text is finite; None where some text may be."""
    match constraint.kind:
        case ConstraintKind.GRAMMAR:
            return _never(constraint.text, rules_of(constraint.text), "root")
        case ConstraintKind.LARK:
            rules = _lark_rules(constraint.text)
            return None if rules is None else _never(constraint.text, rules, "start")
        case ConstraintKind.JSON_SCHEMA:
            if "$ref" not in constraint.text or _Schemas(json.loads(constraint.text)).can_end():
                return None
            return None, "nothing fits it: a value would have to hold another one, without an end"
        case _:
            return None


def _never(text: str, rules: Rules, start: str) -> tuple[int, str] | None:
    def needed(symbol: Symbol) -> str | None:
        if not symbol.least:
            return None
        return symbol.rule if symbol.rule in rules or not symbol.can_match else None

    if start not in rules or start in reached(rules, needed):
        return None
    return where(text, start), f"nothing fits it: the rule {start} never comes to an end"


# --- llguidance's language

_LARK = re.compile(
    r"""
    (?P<text>"(?:\\.|[^"\\\n])*"i?)
  | (?P<regex>/(?![/*])(?:\\.|[^/\\\n])+/[imslux]*)
  | (?P<comment>(?://|\#)[^\n]*)
  | (?P<value>%(?:json|regex)[ \t\n]*(?={))
  | (?P<directive>%[^\n]*)
  | (?P<special><[^>\n]*>|@[\w-]+)
  | (?P<alias>->[ \t]*\w+)
  | (?P<times>[*+?](?!\w+[ \t]*:)|~[ \t]*\d+(?:\.\.\d+)?|\{\s*\d*\s*(?:,\s*\d*\s*)?\})
  | (?P<define>^[ \t]*[?!]?[a-z_][\w-]*(?:\[[^\]\n]*\])?[ \t]*:(?!:)|^[ \t]*[A-Z_][\w-]*(?:\[[^\]\n]*\])?[ \t]*:)
  | (?P<name>[A-Za-z_][\w-]*(?P<parameter>::)?)
  | (?P<sign>[()|\[\]])
    """,
    re.VERBOSE | re.MULTILINE,
)


def _lark_rules(text: str) -> Rules | None:
    """The rules of a Lark grammar, roughly; None where they cannot be read."""
    rules: Rules = {}
    alternatives: list[list[Symbol]] = [[]]
    open_brackets: list[list[list[Symbol]]] = []
    at = 0
    while match := _LARK.search(text, at):
        at = match.end()
        match match.lastgroup:
            case "define":
                name = re.sub(r"[\s?!:]|\[.*", "", match[0])
                open_brackets.clear()
                alternatives = rules[name] = [[]]
            case "value":
                try:
                    _, at = json.JSONDecoder().raw_decode(text, at)
                except (ValueError, RecursionError):
                    return None
            case "directive" if match[0].startswith("%lark"):
                return None
            case "name" if match["parameter"]:
                return None
            case "name":
                alternatives[-1].append(Symbol(match[0]))
            case "times" if alternatives[-1]:
                if match[0][0] in "*?" or re.match(r"(~|\{)\s*(0|,)", match[0]):
                    alternatives[-1][-1].least = 0
            case "text" | "regex" | "special":
                alternatives[-1].append(Symbol())
            case "sign" if match[0] == "|":
                alternatives.append([])
            case "sign" if match[0] in "([":
                bracket = f"({match.start()}"
                inner: list[list[Symbol]] = [[]]
                rules[bracket] = inner
                alternatives[-1].append(Symbol(bracket, least=int(match[0] == "(")))
                open_brackets.append(alternatives)
                alternatives = inner
            case "sign" if open_brackets:
                alternatives = open_brackets.pop()
            case _:
                pass
    return rules


# --- schemas


class _Schemas:
    """A schema and its subschemas, by identity."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._ending: set[int] = set()
        """The schemas with a known finite value."""

    def can_end(self) -> bool:
        """Whether there may be a finite value. Each pass resolves one more level of references."""
        schemas: list[dict[str, object]] = []
        waiting = [self._root]
        while waiting:
            one = waiting.pop()
            if isinstance(one, dict):
                schemas.append(one)
            waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        for _ in range(ROUNDS):
            before = len(self._ending)
            for schema in reversed(schemas):  # those inside another one first
                if self._ends(schema):
                    self._ending.add(id(schema))
            if self._known(self._root) or len(self._ending) == before:
                return self._known(self._root)
        return True

    def _known(self, schema: object) -> bool:
        return not isinstance(schema, dict) or id(schema) in self._ending

    def _ends(self, schema: dict[str, object]) -> bool:
        """Whether a schema has a finite value, given the schemas in `_ending`."""
        referred = schema.get("$ref")
        if isinstance(referred, str) and not self._known(self._target(referred)):
            return False
        for name in ("anyOf", "oneOf"):
            options = schema.get(name)
            if isinstance(options, list) and options and not any(map(self._known, options)):
                return False
        together = schema.get("allOf")
        if isinstance(together, list) and not all(map(self._known, together)):
            return False
        types = schema.get("type")
        if isinstance(types, str):
            types = [types]
        if not isinstance(types, list) or "const" in schema or "enum" in schema:
            return True
        ends = {"object": self._object_ends, "array": self._array_ends}
        return not types or any(one not in ends or ends[one](schema) for one in types if isinstance(one, str))

    def _object_ends(self, schema: dict[str, object]) -> bool:
        required, properties = schema.get("required"), schema.get("properties")
        if not isinstance(required, list) or not isinstance(properties, dict):
            return True
        return all(self._known(properties.get(name)) for name in required if isinstance(name, str))

    def _array_ends(self, schema: dict[str, object]) -> bool:
        least, items, first = schema.get("minItems"), schema.get("items"), schema.get("prefixItems")
        least, first = least if isinstance(least, int) else 0, first if isinstance(first, list) else []
        return all(map(self._known, first[:least])) and (least <= len(first) or self._known(items))

    def _target(self, reference: str) -> object:
        """The schema that a reference points to; None for references that are not followed."""
        if reference != "#" and not reference.startswith("#/"):  # an $anchor's name, or another document
            return None
        target = self._root
        for name in reference.removeprefix("#").split("/")[1:]:
            name = name.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and name.isascii() and name.isdigit() and int(name) < len(target):
                target = target[int(name)]
            elif isinstance(target, dict):
                target = target.get(name)
            else:
                return None
        return target
