r"""The ambiguity of a text under a GBNF grammar: the cost of a question to llama.cpp, before it is asked.

llama.cpp follows each parse separately through a token, without a limit: here parses are counted, and equal states
merged.

>>> ways = Ways('root ::= "a" root "x" | "a" root "y" | ""')
>>> len(ways.after(ways.start, "aaa")), ways.steps(ways.start, "aaa"), ways.steps(ways.start, "aaab")
(24, 8.0, 46.0)
>>> ways.are_few(ways.start, longest=16)
False
>>> ways = Ways('root ::= "[" ([0-9]+ ",")* "]"')
>>> ways.are_few(ways.start, longest=16)
True
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from tokex_gguf.engine.worker.gbnf import ONCE, Symbol, ranges_of, rules_of

MOST_WAYS = 300_000
"""The most steps through one token, each about a microsecond in llama.cpp."""
MOST_STACKS = 10_000
"""The most different states at a time: llama.cpp compares each with each."""
FREE_STEPS = 2_000
"""Steps through all parses of a text that are cheap for any number of tokens."""
TRIED = 60
"""States that `are_few` explores, the most ambiguous first."""
DEPTH = 2
"""Changes of state that `plain` follows."""
BRANCHES = 12
"""The most next states that `plain` follows from one."""
COPIES = 1_000
"""The most copies of a repeated item, which llama.cpp writes out; a larger count is treated as unlimited."""

Characters: TypeAlias = tuple[tuple[int, int], ...]
"""Ranges of code points, both ends included."""


class TooMany(Exception):
    """There are too many parses."""


class _Frame(NamedTuple):
    """The top of a parser stack: an item of a sequence, and the stack below it. 0 is the empty stack."""

    sequence: int
    at: int
    below: int


class Ways:
    """The parses of a grammar that llama.cpp accepts. Rules are read roughly."""

    def __init__(self, text: str) -> None:
        self._sequences: list[list[str | Characters]] = []
        self._rules: dict[str, list[int]] = {}
        self._frames: list[_Frame | None] = [None]
        self._known: dict[_Frame, int] = {}
        self._next: dict[int, tuple[int, ...]] = {}
        """The stacks after a character, by the stack with that character at its top."""
        for name, alternatives in rules_of(text).items():
            self._rules[name] = [self._sequence(name, sequence) for sequence in alternatives]
        self._few: dict[frozenset[int], bool] = {}
        self.start = frozenset(self._begin("root"))

    # --- reading

    def _sequence(self, name: str, symbols: list[Symbol]) -> int:
        items: list[str | Characters] = []
        for number, symbol in enumerate(symbols):
            one = list(self._items(symbol))
            if symbol.times == ONCE:
                items += one
                continue
            least, most = symbol.times
            items += one * min(least, COPIES)
            name_of = f"*{name}/{len(self._sequences)}/{number}".__add__
            further = ""
            if most is None or most - least > COPIES:
                further = name_of("")
                self._rules[further] = [self._added([*one, further]), self._added([])]
            else:  # each may be the last
                for left in map(str, range(most - least)):
                    self._rules[name_of(left)] = [self._added([*one, *filter(None, [further])]), self._added([])]
                    further = name_of(left)
            items += filter(None, [further])
        return self._added(items)

    def _added(self, items: list[str | Characters]) -> int:
        self._sequences.append(items)
        return len(self._sequences) - 1

    @staticmethod
    def _items(symbol: Symbol) -> Iterator[str | Characters]:
        if symbol.rule:
            yield symbol.rule
        elif symbol.written.startswith('"'):
            for first, _ in ranges_of(symbol.written[1:].removesuffix('"'), within_set=False):
                yield ((first, first),)
        elif symbol.written:
            yield _characters(symbol.written)

    # --- following

    def _stack(self, sequence: int, index: int, below: int) -> int:
        frame = _Frame(sequence, index, below)
        found = self._known.get(frame)
        if found is None:
            found = self._known[frame] = len(self._frames)
            self._frames.append(frame)
        return found

    def _begin(self, rule: str) -> tuple[int, ...]:
        return self._settled([(sequence, 0, 0) for sequence in self._rules.get(rule, ())])

    def _settled(self, todo: list[tuple[int, int, int]]) -> tuple[int, ...]:
        """Expands rules until characters are at the tops; returns the stacks, each once, in llama.cpp's order."""
        found: dict[int, None] = {}
        seen: set[tuple[int, int, int]] = set()
        while todo:
            sequence, index, below = todo.pop()
            if (sequence, index, below) in seen:
                continue
            seen.add((sequence, index, below))
            if len(seen) > MOST_STACKS:
                raise TooMany
            items = self._sequences[sequence]
            if index == len(items):
                frame = self._frames[below]
                if frame is None:
                    found[0] = None
                else:
                    todo.append((frame.sequence, frame.at, frame.below))
                continue
            item = items[index]
            if isinstance(item, str):
                rest = below if index + 1 == len(items) else self._stack(sequence, index + 1, below)
                todo += [(alternative, 0, rest) for alternative in self._rules.get(item, ())]
            else:
                found[self._stack(sequence, index, below)] = None
        return tuple(found)

    def _following(self, stack: int, code: int) -> tuple[int, ...]:
        """The stacks after a character, from one stack."""
        if not any(first <= code <= last for first, last in self._top(stack)):
            return ()
        frame = self._frames[stack]
        assert frame is not None
        if (known := self._next.get(stack)) is None:
            known = self._next[stack] = self._settled([(frame.sequence, frame.at + 1, frame.below)])
        return known

    def after(self, stacks: frozenset[int], text: str) -> frozenset[int]:
        """The states after a text. Raises TooMany."""
        return frozenset(self._layers(stacks, text)[-1])

    def _layers(self, stacks: frozenset[int], text: str) -> list[dict[int, float]]:
        """The states before each character of a text and after the last, in order of discovery, with counts."""
        layers = [dict.fromkeys(sorted(stacks), 1.0)]
        for char in text:
            layers.append(self._further(layers[-1], ord(char)))
        return layers

    def steps(self, stacks: frozenset[int], text: str) -> float:
        """The steps of llama.cpp to decide whether a text is legal: it stops at the first parse that succeeds.

        Raises TooMany.
        """
        layers = self._layers(stacks, text)
        later = dict.fromkeys(layers[-1], (True, 1.0))
        for layer, char in zip(reversed(layers[:-1]), reversed(text), strict=True):
            current: dict[int, tuple[bool, float]] = {}
            for stack in layer:
                current[stack] = self._until_first(self._following(stack, ord(char)), later)
            later = current
        steps = self._until_first(tuple(layers[0]), later)[1]
        if steps > MOST_WAYS:
            raise TooMany
        return steps

    @staticmethod
    def _until_first(stacks: tuple[int, ...], known: dict[int, tuple[bool, float]]) -> tuple[bool, float]:
        """Whether one of some states succeeds, and the steps up to that one."""
        steps = 1.0
        for stack in stacks:
            goes_on, more = known[stack]
            steps += more
            if goes_on:
                return True, steps
        return False, steps

    def _further(self, counts: dict[int, float], code: int) -> dict[int, float]:
        following: dict[int, float] = {}
        for stack, count in counts.items():
            for other in self._following(stack, code):
                following[other] = following.get(other, 0.0) + count
            if len(following) > MOST_STACKS:
                raise TooMany
        return following

    def are_few(self, stacks: frozenset[int], longest: int) -> bool:
        """Whether no text of up to `longest` characters has many parses from some states, as far as was tried.

        The most ambiguous prefixes are extended first, by one character of each range.
        """
        if stacks not in self._few:
            self._few[stacks] = self._look(stacks, longest)
        return self._few[stacks]

    def _look(self, stacks: frozenset[int], longest: int) -> bool:
        number, waiting = 0, [(-float(len(stacks)), 0)]
        places: dict[int, tuple[dict[int, float], float, int]] = {0: (dict.fromkeys(stacks, 1.0), 0.0, 0)}
        seen: set[tuple[tuple[int, float], ...]] = set()
        try:
            for _ in range(TRIED):
                if not waiting:
                    break
                counts, ways, length = places.pop(heappop(waiting)[1])
                for code in self._codes(counts) if length < longest else ():
                    following = self._further(counts, code)
                    further = sum(following.values())
                    if ways + further > FREE_STEPS:
                        return False
                    key = tuple(sorted(following.items()))
                    if following and key not in seen:
                        seen.add(key)
                        number += 1
                        places[number] = following, ways + further, length + 1
                        heappush(waiting, (-further, number))
        except TooMany:
            return False
        return True

    def plain(self, stacks: frozenset[int], depth: int = DEPTH) -> str:
        """A regex of texts with one parse from each state, or with none: inside a string, most texts are such."""
        bounds = {0, 0x110000}
        for stack in stacks:
            for first, last in self._top(stack):
                bounds |= {first, last + 1}
        groups: dict[frozenset[int], str] = {}
        for first, stop in pairwise(sorted(bounds)):
            try:
                following = self._further(dict.fromkeys(stacks, 1.0), first)
            except TooMany:
                continue
            if all(count == 1 for count in following.values()):
                found = frozenset(following)
                groups[found] = groups.get(found, "") + f"\\U{first:08x}-\\U{stop - 1:08x}"
        stays, dies = groups.pop(stacks, ""), groups.pop(frozenset(), "")
        further = [f"[{dies}].*"] if dies else []
        if depth and len(groups) <= BRANCHES:
            further += [f"[{ranges}]{self.plain(found, depth - 1)}" for found, ranges in groups.items()]
        else:
            further += [f"[{ranges}]" for ranges in groups.values()]
        return (f"[{stays}]*" if stays else "") + (f"(?:{'|'.join(further)})?" if further else "")

    def _top(self, stack: int) -> Characters:
        """The characters at the top of a stack; none for the empty one."""
        frame = self._frames[stack]
        item: str | Characters = () if frame is None else self._sequences[frame.sequence][frame.at]
        assert not isinstance(item, str)
        return item

    def _codes(self, stacks: dict[int, float]) -> set[int]:
        """Representatives of all next characters: the first of each range, where most ranges overlap."""
        codes: set[int] = set()
        for stack in stacks:
            codes |= {first for first, _ in self._top(stack) if not 0xD800 <= first <= 0xDFFF}
        return codes


def _characters(written: str) -> Characters:
    """Parses a set of characters."""
    if written == ".":
        return ((0, 0x10FFFF),)
    negated = written.startswith("[^")
    ranges = sorted(one for one in ranges_of(written[1 + negated :].removesuffix("]")) if one[0] <= one[1])
    if not negated:
        return tuple(ranges)
    others: list[tuple[int, int]] = []
    at = 0
    for first, last in ranges:
        if first > at:
            others.append((at, first - 1))
        at = max(at, last + 1)
    return (*others, (at, 0x10FFFF)) if at <= 0x10FFFF else tuple(others)
