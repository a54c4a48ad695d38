r"""What in a GBNF grammar would hang or end the process, found before llama.cpp gets it.

Its parser and its stacks have no limits for these.

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
"""Brackets inside each other: llama.cpp's parser calls itself for each."""
LONGEST_CHAIN = 1_000
"""Rules that each begin with the next: it calls itself for each of them, too."""
MOST_WAYS = 2_000
"""Ways in which one rule can begin, by all the rules that it begins with. llama.cpp follows each of them on its own,
so twenty rules of two alternatives, each beginning with the next one, take a million stacks."""
MOST_ELEMENTS = 20_000
"""Characters and references that repetitions write out: each kept state has a copy of all rules."""

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
    """How often a symbol comes."""

    least: int
    most: int | None
    """None: as often as one likes."""


ONCE = Times(1, 1)


@dataclass(slots=True)
class Symbol:
    """One item of a sequence: a rule's name, or a character or token where it has none."""

    rule: str = ""
    size: int = 1
    least: int = 1
    """How often it comes at the least, as far as that tells whether it can be left out."""
    can_match: bool = True
    """Whether any character fits it."""
    written: str = ""
    """The text or the set as it is written."""
    times: Times = ONCE


Rules: TypeAlias = dict[str, list[list[Symbol]]]
"""The alternatives of each rule; brackets are rules without a name of their own."""


@dataclass(slots=True)
class _Read:
    """What was read of a grammar."""

    rules: Rules = field(default_factory=dict)
    danger: tuple[int, str] | None = None
    elements: int = 0


def danger(text: str) -> tuple[int, str] | None:
    """Where in a grammar is what llama.cpp would not survive, and what; None where nothing is.

    What is no grammar at all is left to llama.cpp to say.
    """
    if (at := text.find("\0")) >= 0:
        return at, "a NUL character"
    read = _read(text)
    if read.danger:
        return read.danger
    return _ways(text, read.rules)


def _read(text: str) -> _Read:
    """The rules of a text, roughly: what is wrong in it is passed over."""
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
                # llama.cpp calls tokens legal here with which its grammar then ends the process.
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
    """Notes that a symbol is repeated; returns what is wrong with that."""
    if times in ("*", "?"):
        symbol.least = 0
        symbol.times = Times(0, None if times == "*" else 1)
    elif times == "+":
        symbol.times = Times(1, None)
    else:
        if "#" in times:
            return "a comment inside a repetition"
        if (bounds := _TIMES.fullmatch(times)) is None or len(bounds[1]) > 9:
            return ""  # llama.cpp says so
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
    """Whether a set of characters as it is written has any."""
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
    """The code points that are written one after the other; within a set a hyphen makes a range of two."""
    at = 0
    while at < len(text):
        first, at = _code_at(text, at)
        last = first
        if within_set and text[at : at + 1] == "-" and at + 1 < len(text):
            last, at = _code_at(text, at + 1)
        yield first, last


def _code_at(text: str, at: int) -> tuple[int, int]:
    """The character that is written at a place, and the place behind it."""
    found = _CHARACTER.match(text, at)
    assert found  # there is a character
    if found[4] is None:
        return int(found[1] or found[2] or found[3], 16), found.end()
    escaped = found.end() - at > 1
    return ord(_CONTROLS.get(found[4], found[4]) if escaped else found[4]), found.end()


def rules_of(text: str) -> Rules:
    """The rules of a grammar that is no danger, roughly."""
    return _read(text).rules


def reached(rules: Rules, needed: Callable[[Symbol], str | None]) -> set[str]:
    """The rules with an alternative that needs nothing but rules which are reached themselves.

    `needed`: the rule that a symbol needs; the name of none that there is where it can never be; None: it needs none.
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
    """Which rule begins with itself, or in too many ways."""
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
    """Where a rule is written: a bracket's name is its place."""
    if rule.startswith("("):
        return int(rule[1:])
    found = re.search(rf"^[ \t]*{re.escape(rule)}(?![\w-])", text, re.MULTILINE)
    return found.start() if found else 0


def _firsts(sequence: list[Symbol], empty: set[str]) -> Iterator[Symbol]:
    """What a sequence can begin with."""
    for symbol in sequence:
        yield symbol
        if symbol.least and symbol.rule not in empty:
            return


def _can_be_empty(rules: Rules) -> set[str]:
    """The rules that the empty text fits."""
    return reached(rules, lambda symbol: symbol.rule if symbol.least else None)


def place(text: str, at: int) -> tuple[int, int]:
    r"""A place in a text as line and column, from 1 on.

    >>> place("ab\ncd", 4)
    (2, 2)
    """
    before = text[:at]
    return before.count("\n") + 1, at - before.rfind("\n")


def literals(texts: list[str]) -> Iterator[str]:
    r"""Texts as they are written in a grammar.

    >>> list(literals(['a"b', '\x01']))
    ['"a\\"b"', '"\\x01"']
    """
    for text in texts:
        written = "".join(
            f"\\{char}" if char in '"\\' else f"\\x{ord(char):02X}" if char < " " or char == "\x7f" else char
            for char in text
        )
        yield f'"{written}"'
