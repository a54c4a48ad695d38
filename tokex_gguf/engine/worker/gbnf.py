r"""Finds parts of a GBNF grammar that would hang or end the process, before llama.cpp gets it.

llama.cpp's parser and stacks have no limits for them.

>>> danger('root ::= "a"{3,2}')
(12, 'a repetition whose end is before its beginning')
>>> danger('root ::= "a{3,2}" [{3,2}]') is None
True
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

DEEPEST_NESTING = 200
"""Nested brackets: llama.cpp's parser recurses for each."""
LONGEST_CHAIN = 1_000
"""Rules that each start with the next: the parser recurses for each of them as well."""
MOST_WAYS = 2_000
"""Ways to start a rule, through all rules that it starts with. llama.cpp follows each separately: twenty rules of two
alternatives, each starting with the next rule, take a million stacks."""
MOST_ELEMENTS = 20_000
"""Characters and references that repetitions are written out as: each kept state has a copy of all rules."""

_TOKEN = re.compile(
    r"""
    (?P<text>"(?:\\.|[^"\\])*"?)
  | (?P<set>\[(?:\\.|[^\]\\])*\]?|\.)
  | (?P<comment>\#[^\r\n]*)
  | (?P<special>!?<[^>]*>?)
  | (?P<times>\{[^}]*\}?|[*+?])
  | (?P<define>[A-Za-z0-9-]+[ \t]*(?:\#[^\r\n]*)?::=)
  | (?P<name>[A-Za-z0-9-]+)
  | (?P<sign>[()|])
    """,
    re.VERBOSE | re.DOTALL,
)
_TIMES = re.compile(r"\{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}")


class Times(NamedTuple):
    """How often a symbol is repeated."""

    least: int
    most: int | None
    """None: no limit."""


ONCE = Times(1, 1)


@dataclass(slots=True)
class Symbol:
    """One item of a sequence: a rule's name, or a character or token where it has none."""

    rule: str = ""
    size: int = 1
    least: int = 1
    """The least number of times; only whether it is 0 matters."""
    can_match: bool = True
    """Whether any character matches it."""
    written: str = ""
    """The source of the text or the set."""
    times: Times = ONCE


Rules: TypeAlias = dict[str, list[list[Symbol]]]
"""The alternatives of each rule; each bracket is a rule named by its place."""


@dataclass(slots=True)
class _Read:
    """The result of reading a grammar."""

    rules: Rules = field(default_factory=dict)
    danger: tuple[int, str] | None = None
    elements: int = 0


def danger(text: str) -> tuple[int, str] | None:
    """The place and kind of a part that llama.cpp would not survive; None where there is none.

    Syntax errors are left to llama.cpp.
    """
    if (at := text.find("\0")) >= 0:
        return at, "a NUL character"
    read = _read(text)
    if read.danger:
        return read.danger
    return _ways(text, read.rules)


def _read(text: str) -> _Read:
    """Reads the rules of a text, roughly: errors are skipped."""
    read = _Read()
    name = ""
    open_brackets: list[tuple[str, list[list[Symbol]]]] = []
    alternatives: list[list[Symbol]] = [[]]
    for match in _TOKEN.finditer(text):
        found = match[0]
        match match.lastgroup:
            case "define":
                name = found.partition("#")[0].removesuffix("::=").strip()
                open_brackets.clear()
                alternatives = read.rules[name] = [[]]
            case "name":
                alternatives[-1].append(Symbol(found))
            case "special":
                # llama.cpp finds tokens legal here for which its grammar then ends the process.
                read.danger = match.start(), "a token by its name; a Lark grammar can have that"
                return read
            case "text" | "set":
                size = max(0, len(found) - 2)
                can_match = match.lastgroup == "text" or _matches_some(found)
                alternatives[-1].append(Symbol("", size, int(size > 0 or found == "."), can_match, found))
            case "sign" if found == "|":
                alternatives.append([])
            case "sign" if found == "(":
                inner: list[list[Symbol]] = [[]]
                bracket = f"({match.start()}"
                read.rules[bracket] = inner
                alternatives[-1].append(Symbol(bracket))
                open_brackets.append((bracket, alternatives))
                alternatives = inner
                if len(open_brackets) > DEEPEST_NESTING:
                    read.danger = match.start(), f"more than {DEEPEST_NESTING} brackets inside each other"
                    return read
            case "sign" if open_brackets:
                _, alternatives = open_brackets.pop()
            case "times" if alternatives[-1]:
                if wrong := _repeat(alternatives[-1][-1], found, read):
                    read.danger = match.start(), wrong
                    return read
            case _:
                pass
    return read


def _repeat(symbol: Symbol, times: str, read: _Read) -> str:
    """Records the repetition of a symbol; returns what is wrong with it, or ""."""
    if times in ("*", "?"):
        symbol.least = 0
        symbol.times = Times(0, None if times == "*" else 1)
    elif times == "+":
        symbol.times = Times(1, None)
    else:
        if "#" in times:
            return "a comment inside a repetition"
        if (bounds := _TIMES.fullmatch(times)) is None or len(bounds[1]) > 9:
            return ""  # llama.cpp reports it
        least, most = int(bounds[1]), int(bounds[3] or bounds[1])
        if most < least:
            return "a repetition whose end is before its beginning"
        symbol.least = min(symbol.least, least)
        symbol.times = Times(least, None if bounds[2] and not bounds[3] else most)
        read.elements += max(1, symbol.size) * max(least, most)
        if read.elements > MOST_ELEMENTS:
            return "repetitions of too much text"
    return ""


_CHARACTER = re.compile(r"\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8})|\\?(.)", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_LAST = 0x10FFFF


def _matches_some(written: str) -> bool:
    """Whether a set of characters is not empty."""
    if written == "." or len(written) < 3:
        return True
    negated = written.startswith("[^")
    ranges = list(ranges_of(written[1 + negated : -1]))
    real = sorted(one for one in ranges if one[0] <= one[1])
    if not negated:
        return bool(real) or not ranges
    covered = 0
    for first, last in real:
        if first > covered:
            break
        covered = max(covered, last + 1)
    return covered <= _LAST


def ranges_of(text: str, *, within_set: bool = True) -> Iterator[tuple[int, int]]:
    """The code points of a source text; within a set, a hyphen makes a range."""
    at = 0
    while at < len(text):
        first, at = _code_at(text, at)
        last = first
        if within_set and text[at : at + 1] == "-" and at + 1 < len(text):
            last, at = _code_at(text, at + 1)
        yield first, last


def _code_at(text: str, at: int) -> tuple[int, int]:
    """The character at a place of a source text, and the place after it."""
    match = _CHARACTER.match(text, at)
    assert match  # there is a character
    if match[4] is None:
        return int(match[1] or match[2] or match[3], 16), match.end()
    escaped = match.end() - at > 1
    return ord(_CONTROLS.get(match[4], match[4]) if escaped else match[4]), match.end()


def rules_of(text: str) -> Rules:
    """The rules of a grammar without `danger`, roughly."""
    return _read(text).rules


def reached(rules: Rules, needed: Callable[[Symbol], str | None]) -> set[str]:
    """The rules with an alternative that needs only rules which are reached themselves.

    `needed`: the rule that a symbol needs; None: none; a name without a rule: the symbol is never reached.
    """
    found: set[str] = set()
    missing: list[tuple[str, set[str]]] = []
    waiting: dict[str, list[int]] = {}
    following: list[str] = []
    for name, alternatives in rules.items():
        for sequence in alternatives:
            needs = {need for symbol in sequence if (need := needed(symbol)) is not None}
            if not needs:
                following.append(name)
            for need in needs:
                waiting.setdefault(need, []).append(len(missing))
            missing.append((name, needs))
    while following:
        name = following.pop()
        if name in found:
            continue
        found.add(name)
        for index in waiting.get(name, ()):
            whose, needs = missing[index]
            needs.discard(name)
            if not needs:
                following.append(whose)
    return found


def _ways(text: str, rules: Rules) -> tuple[int, str] | None:
    """A rule that starts with itself, or in too many ways; with its place."""
    empty = _can_be_empty(rules)
    first = {
        name: [list(_firsts(sequence, empty)) for sequence in alternatives] for name, alternatives in rules.items()
    }
    ways: dict[str, int] = {}
    for each in rules:
        chain: list[tuple[str, Iterator[str]]] = []
        waiting: dict[str, None] = {}
        following = [each]
        while following or chain:
            if following:
                name = following.pop()
                if name in waiting:
                    return where(text, name), "left recursion: this rule begins with itself"
                if name in ways or name not in rules:
                    continue
                if len(chain) == LONGEST_CHAIN:
                    return where(text, name), f"more than {LONGEST_CHAIN} rules that each begin with the next"
                waiting[name] = None
                chain.append((name, iter([one.rule for sequence in first[name] for one in sequence if one.rule])))
            name, left = chain[-1]
            if (following_one := next(left, None)) is not None:
                following.append(following_one)
                continue
            chain.pop()
            del waiting[name]
            ways[name] = sum(1 + sum(ways.get(one.rule, 1) for one in sequence) for sequence in first[name])
            if ways[name] > MOST_WAYS:
                return where(text, name), "too many ways to begin this rule"
    return None


def where(text: str, rule: str) -> int:
    """The place of a rule; a bracket's name has its place."""
    if rule.startswith("("):
        return int(rule[1:])
    match = re.search(rf"^[ \t]*{re.escape(rule)}(?![\w-])", text, re.MULTILINE)
    return match.start() if match else 0


def _firsts(sequence: list[Symbol], empty: set[str]) -> Iterator[Symbol]:
    """The symbols that a sequence can start with."""
    for symbol in sequence:
        yield symbol
        if symbol.least and symbol.rule not in empty:
            return


def _can_be_empty(rules: Rules) -> set[str]:
    """The rules that match the empty text."""
    return reached(rules, lambda symbol: symbol.rule if symbol.least else None)


def place(text: str, at: int) -> tuple[int, int]:
    r"""A place in a text as line and column, from 1.

    >>> place("ab\ncd", 4)
    (2, 2)
    """
    before = text[:at]
    return before.count("\n") + 1, at - before.rfind("\n")


def literals(texts: list[str]) -> Iterator[str]:
    r"""Texts as literals of a grammar.

    >>> list(literals(['a"b', '\x01']))
    ['"a\\"b"', '"\\x01"']
    """
    for text in texts:
        written = "".join(
            f"\\{char}" if char in '"\\' else f"\\x{ord(char):02X}" if char < " " or char == "\x7f" else char
            for char in text
        )
        yield f'"{written}"'
