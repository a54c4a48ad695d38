r"""Error messages of llguidance and llama.cpp's grammar as plain lines, with the place in the constraint. Pure.

>>> regex = Constraint(ConstraintKind.REGEX, "a(b")
>>> explain(regex, "at 1(8): regex parse error:\n    a(b\n     ^\nerror: unclosed group")
('unclosed group', 1)
"""

import json
import re
from collections.abc import Callable

from tokex_gguf.values.constraint import Constraint, ConstraintKind

NOTHING = "nothing fits it"
"""The message for a constraint that allows no text."""
TOO_COMPLEX = "too complex"

_SAYINGS: tuple[tuple[str, str], ...] = (
    (r"NoExtension(Bias)?", NOTHING),
    (r"Unsatisfiable schema: Regex is empty: .*", f"{NOTHING}: pattern, format and length allow no text together"),
    (
        r"Unsatisfiable schema: required > maxProperties",
        f"{NOTHING}: it requires more properties than maxProperties",
    ),
    (
        r"Unsatisfiable schema: minProperties > maxProperties",
        f"{NOTHING}: minProperties is greater than maxProperties",
    ),
    (
        r"Unsatisfiable schema: required property (.*) is unsatisfiable",
        rf"{NOTHING}: the required property \1 has no value",
    ),
    (
        r"Unsatisfiable schema: (prefixItems\[\d+\]) is unsatisfiable but (.*)",
        rf"{NOTHING}: \1 has no value, and \2",
    ),
    (r"Unsatisfiable schema: All options in anyOf are unsatisfiable", f"{NOTHING}: no option of anyOf has a value"),
    (r"Unsatisfiable schema: (.*) is unsatisfiable", rf"{NOTHING}: \1 has no value"),
    (r"Unsatisfiable schema: incompatible types", f"{NOTHING}: its types exclude each other"),
    (
        r"Unsatisfiable schema: integer interval [(\[](.*), (.*)[)\]] contains no integer values",
        rf"{NOTHING}: no whole number is between \1 and \2",
    ),
    (r"Unsatisfiable schema: anyOf is empty", f"{NOTHING}: enum, type or anyOf is empty"),
    (r"Unsatisfiable schema: (.*)", rf"{NOTHING}: \1"),
    (r"lookarounds not supported yet; .*", r"look-around, also as $, ^ or \\b inside, is not supported"),
    (r'Unimplemented keys: \["([^"]*)"\]', r'"\1" is not supported'),
    (r"Unimplemented keys: \[(.*)\]", r"\1 are not supported"),
    (r"oneOf constraints are not supported.*", "oneOf is not supported where two of its options overlap: anyOf is"),
    (r"Resource '(.*)' is not present in a registry.*", r"'\1' is another schema, and none is fetched"),
    (r"Expected f64 for (.*), got (.*)", r"\1 must be a number, not \2"),
    (r"Expected positive integer for (.*), got (.*)", r"\1 must be a whole number from 0 on, not \2"),
    (r"Expected (array|object|integer) for (.*), got (.*)", r"\2 must be an \1, not \3"),
    (r"Expected (\w+) for (.*), got (.*)", r"\2 must be a \1, not \3"),
    (r"Value for (.*) has too many digits.*", r"\1 has too many digits"),
    (r"(?:.*: )?expected value", "this is no JSON value"),
    (r"(?:Failed to generate|Unable to generate).*range.*", "bounds of this size are not supported"),
    (r"invalid multiple of", "multipleOf must not be 0"),
    (r"invalid type: ([\w ]*\w).*, expected struct \w+", r"an object is wanted, not: \1"),
    (r"unknown field [`'\"](.*?)[`'\"], expected .*", r'there is no option "\1"'),
    (r"schema too large", "too large: too many combinations of its parts"),
    (r"(?:.*: )?recursion limit exceeded", "nested too deeply"),
    (r"lark grammar too deeply nested", "nested too deeply"),
    (r"nest limit.*|.*exceeds? the .*nest.*limit.*", "nested too deeply"),
    (
        r"(?:.*: )?(?:unexpected end of hex escape|lone leading surrogate in hex escape)",
        "half a surrogate pair, which is no character",
    ),
    (r"(?:.*: )?number out of range", "a number that is too large"),
    (r"(?:.*: )?number too large to fit in target type", "a number that is too large"),
    (r"(?:.*: )?invalid digit found in string", "no number"),
    (r"unsupported grammar, left recursion detected.*", "left recursion: a rule begins with itself"),
    (r"grammar does not contain a 'root' symbol", "no rule is called root"),
    (r"no start rule found", "no rule is called start"),
    (r"failed to parse grammar", "no rule in it"),
    (r"expecting preceding item to .*", "nothing before this can be repeated"),
    (r"expecting (?:an )?int", "a whole number expected"),
    (r"expecting ([^,]*)", r"\1 expected"),
    (r"(?:at EOF: )?Expected value", "something is missing"),
    (r"Expected token (.*), found (.*)", r"\1 expected, not \2"),
    (r"lexer error", "this cannot be read"),
    (r"Undefined rule identifier (.*)", r"there is no rule \1"),
    (r"Undefined rule", "a rule is used that there is not"),
    (r"unknown name: (.*)", r"nothing is called \1"),
    (r"rule (.*) not found", r"there is no rule \1"),
    (r"unknown grammar (.*)", r"there is no grammar \1"),
    (r"Unknown attribute: (.*)", r"a rule has no attribute \1"),
    (r"Unknown common regex: ([^;]*).*", r"there is no \1 to import"),
    (r"unknown special token: ([^;]*).*", r"the model has no special token \1"),
    (r"Current row has (\d+) items; max is (\d+).*", rf"{TOO_COMPLEX}: \1 possibilities at once, \2 are the most"),
    (r".*(?:fuel|[Tt]oo many|too big|[Tt]oo[Cc]omplex|too large|limit|maximum|max_).*", TOO_COMPLEX),
)
"""Patterns for a whole message of a library, and what the player reads instead; the first match counts."""

_PREFIX = re.compile(
    r"(?:at )?\d+\(\d+\): |failed to compile JSON schema: |failed to parse \"?%\w+\"?(?: declaration)?: "
    r"|Parser Error: |lexer error: (?=.)|error parsing string: |error parsing signed integer: "
    r"|invalid regex \".*\" \(in regex\): |(?:compile|parse) error: "
)
_SUFFIX = re.compile(
    r" \(at .*\)$| at line \d+ column \d+$| in regex /.*|; try .*|; consider .*|; following special .*"
)
_NAMES = {"'TOKEN_NAME'": "a terminal's name", "'rule_name'": "a rule's name", "/regexp.../": "a regex", "`": "'"}
"""The names of llguidance for the parts of its language."""
_INTERNAL = re.compile(
    r"panic|::|\b[a-z]+_[a-z_]+\b|\b[A-Z][a-z]+[A-Z]\w*\b|\.rs\b|assert|unwrap|[{}<>\[\]]\w*::|\bSome\(|\bNone\b"
)
"""Words about a program's internals, which do not help a player."""


def plain(message: str) -> str:
    """A library's message without its internals."""
    line = message.strip().partition("\n")[0]
    while match := _PREFIX.match(line):
        line = line[match.end() :]
    line = _SUFFIX.sub("", line)
    for name, meant in _NAMES.items():
        line = line.replace(name, meant)
    for pattern, meaning in _SAYINGS:
        if match := re.fullmatch(pattern, line, re.DOTALL):
            return match.expand(meaning)
    unquoted = re.sub(r"\"[^\"]*\"|'[^']*'", "", line)
    return f"{TOO_COMPLEX} for the library that follows it" if not line or _INTERNAL.search(unquoted) else line


def explain(constraint: Constraint, message: str, escaped: Callable[[str], str] = str) -> tuple[str, int | None]:
    """The message of llguidance as a plain line, and the place in the constraint's text, if it is known.

    `escaped`: the form of a regex in the grammar for llguidance.
    """
    text, first = constraint.text, message.partition("\n")[0]
    regex = re.search(r"regex parse error:\n(.*)\nerror: ([^\n]+)", message, re.DOTALL)
    if regex:
        shown, error = regex[1].split("\n"), regex[2]
        column = next((len(line) - len(line.lstrip(" ")) - 4 for line in shown if re.fullmatch(r" *\^[\^ ]*", line)), 0)
        at = _in_regex(text, column, escaped) if constraint.kind is ConstraintKind.REGEX else None
        if constraint.kind is ConstraintKind.JSON_SCHEMA:
            at = _named(text, shown[0].removeprefix("    "))
        if constraint.kind is ConstraintKind.LARK:
            at = _in_lark(text, first)
        return error, at
    match constraint.kind:
        case ConstraintKind.LARK:
            return plain(message), _in_lark(text, first)
        case ConstraintKind.JSON_SCHEMA:
            return plain(message), _in_schema(text, first)
        case _:
            return plain(message), None


def _in_regex(text: str, column: int, escaped: Callable[[str], str]) -> int:
    """The place in a regex of a column of its escaped form."""
    at = 0
    while at < len(text) and len(escaped(text[: at + 1])) <= column:
        at += 1
    # A lone backslash of `\d` is no regex, and its escaped form is shorter than within `\d`.
    return at - 1 if at and (len(text[:at]) - len(text[:at].rstrip("\\"))) % 2 else at


def _in_lark(text: str, first: str) -> int | None:
    match = re.match(r"(?:at )?(\d+)\((\d+)\): ", first)
    if not match:
        return None
    lines = text.split("\n")
    line, column = int(match[1]), int(match[2])
    if line > len(lines):  # the error is after the end
        return len(text)
    return min(len(text), sum(len(each) + 1 for each in lines[: line - 1]) + column - 1)


def _in_schema(text: str, first: str) -> int | None:
    if match := re.search(r" at line (\d+) column (\d+)$", first):
        lines = text.split("\n")
        line, column = int(match[1]), int(match[2])
        return min(len(text), sum(len(each) + 1 for each in lines[: line - 1]) + max(0, column - 2))
    if "JsonCompileOptions" in first:
        return _named(text, "x-guidance")
    # Other errors have no place: the names in them are searched.
    names = re.findall(
        r"\"([^\"]+)\"|'([^']+)'|: (\w+)$|\b(anyOf|allOf|oneOf|enum|properties|items|prefixItems)\b|"
        r"\b((?:exclusive)?M(?:in|ax)imum|m(?:in|ax)(?:imum|Length|Items|Properties)|multipleOf)\b",
        first,
    )
    for groups in names:
        if (at := _named(text, next(filter(None, groups)))) is not None:
            return at
    return None


def _named(text: str, name: str) -> int | None:
    """The place of a name in a schema; for a pointer, of its last part."""
    for written in (json.dumps(name), json.dumps(name, ensure_ascii=False), f'"{name.rpartition("/")[2]}"'):
        if (at := text.find(written)) >= 0:
            return at
    at = text.find(f'/{name.rpartition("/")[2]}"')
    return at if at >= 0 else None
