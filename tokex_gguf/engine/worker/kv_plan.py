"""Which of llama.cpp's KV sequences serves a path best: pure planning, no llama.cpp.

llama.cpp's cache holds a few sequences, each a run of tokens from position 0.
Sequences may share cells: copying a prefix costs nothing. So every path that is
left stays cached as a sequence of its own until its place is needed.
"""

from collections.abc import Collection
from itertools import pairwise

from tokex_gguf.values.record import record
from tokex_gguf.values.sequence import common_prefix


@record
class Plan:
    """How to make `sequence` hold the first `keep` tokens of a path."""

    sequence: int
    keep: int
    """Tokens of the path that need no decode."""
    source: int | None = None
    """The sequence whose first `keep` cells `sequence` shares first; None: it has them itself."""


class Sequences:
    """The tokens of each of llama.cpp's sequences, and which was used last.

    The caller carries out plans and records with `hold` what a sequence holds afterwards.
    """

    def __init__(self, count: int, *, can_cut: bool) -> None:
        self._held: list[list[int]] = [[] for _ in range(count)]
        self._strict = [0] * count
        self._used = [0] * count
        self._clock = 0
        self._can_cut = can_cut
        """Whether llama.cpp can drop a sequence's tail (not for recurrent models)."""
        self.trunk: list[int] = []
        """The path of the last lookahead."""
        self.branches: list[int] = []
        """The sequences that hold the trunk and a branch after it."""

    def held(self, sequence: int) -> list[int]:
        """The tokens whose cells a sequence has."""
        return self._held[sequence]

    def strict(self, sequence: int) -> int:
        """How many of its first tokens were computed strictly: their cells do not depend on earlier decodes."""
        return self._strict[sequence]

    def hold(self, sequence: int, tokens: list[int], strict: int = 0) -> None:
        """Records the tokens of a sequence, and how many of its first were computed strictly."""
        self._held[sequence] = tokens
        self._strict[sequence] = strict
        self.use(sequence)

    def clear(self, sequence: int) -> None:
        """Records that a sequence is empty."""
        self.hold(sequence, [])
        if sequence in self.branches:
            self.branches.remove(sequence)

    def use(self, sequence: int) -> None:
        """Records that a sequence was used as it is."""
        self._clock += 1
        self._used[sequence] = self._clock

    def latest(self) -> list[int]:
        """The sequences that hold cells, the one used last first."""
        return sorted((s for s, held in enumerate(self._held) if held), key=self._used.__getitem__, reverse=True)

    def free(self) -> int:
        """How many sequences are empty."""
        return self._held.count([])

    def strictly_held(self, path: list[int], limit: int) -> int:
        """The longest strict prefix of `path` in a sequence, at most `limit` tokens."""
        return max(self._shared(path, limit, strict=True))

    def worth_keeping(self, path: list[int], limit: int) -> list[int]:
        """The sequences that are strict as a whole, without those that hold only a prefix of another.

        First the one that has most of the first `limit` tokens of `path`, then by last use.
        """
        whole: list[int] = []
        for sequence in sorted(self.latest(), key=lambda s: -len(self._held[s])):
            held = self._held[sequence]
            if self._strict[sequence] == len(held) and not any(
                self._held[other][: len(held)] == held for other in whole
            ):
                whole.append(sequence)
        shared = self._shared(path, limit, strict=True)
        whole.sort(key=self._used.__getitem__, reverse=True)
        best = max(whole, key=shared.__getitem__, default=None)
        return whole if best is None else [best, *(sequence for sequence in whole if sequence != best)]

    def held_best(self, path: list[int], limit: int) -> int:
        """The longest prefix of `path` in a sequence, at most `limit` tokens."""
        latest = max(range(len(self._held)), key=self._used.__getitem__)
        if self._held[latest] == path[:limit]:
            return limit  # as when a prompt goes on token by token
        return max(self._shared(path, limit, strict=False))

    def holding(self, path: list[int], *, whole: bool) -> int | None:
        """The sequence with the longest prefix of `path`; with `whole`, among those that hold only such a prefix."""
        shared = self._in_common(path)
        if whole:
            shared = [n if n == len(held) else 0 for n, held in zip(shared, self._held, strict=True)]
        best = max(range(len(shared)), key=lambda s: (shared[s], -len(self._held[s]), self._strict[s]))
        return best if shared[best] else None

    def cells(self) -> int:
        """How many cells all sequences take; shared cells count once."""
        ordered = sorted(self._held)
        return sum(map(len, ordered)) - sum(common_prefix(a, b) for a, b in pairwise(ordered))

    def _in_common(self, path: list[int]) -> list[int]:
        """The length of each sequence's common prefix with a path. The trunk of branches is compared once."""
        size, branches = len(self.trunk), set(self.branches)
        trunk_prefix = common_prefix(self.trunk, path) if branches else 0
        after_trunk = path[size:] if trunk_prefix == size else []
        return [
            common_prefix(held, path)
            if sequence not in branches
            else trunk_prefix + common_prefix(held[size:], after_trunk)
            for sequence, held in enumerate(self._held)
        ]

    def _shared(self, path: list[int], limit: int, *, strict: bool) -> list[int]:
        """How many of the first `limit` tokens of `path` can be reused from each sequence."""
        shared = [min(n, limit) for n in self._in_common(path)]
        if strict:
            shared = [min(n, strict_count) for n, strict_count in zip(shared, self._strict, strict=True)]
        if not self._can_cut:
            shared = [n if n == len(held) else 0 for n, held in zip(shared, self._held, strict=True)]
        return shared

    def plan(self, path: list[int], limit: int, *, strict: bool = False) -> Plan:
        """How to reuse the longest prefix of `path`, at most its first `limit` tokens.

        With `strict`, only strict cells.

        A sequence that `path` only extends is used in place. One that holds more, or
        diverges, keeps its cells: the shared prefix is copied to the sequence that
        `victim` gives up. Where tails cannot be cut, only a whole sequence can be used.
        """
        latest = max(range(len(self._held)), key=self._used.__getitem__)
        usable = not strict or self._strict[latest] >= limit
        if usable and len(self._held[latest]) == limit and self._held[latest] == path[:limit]:
            return Plan(latest, limit)  # as when a prompt goes on token by token
        shared = self._shared(path, limit, strict=strict)
        best = max(range(len(shared)), key=lambda s: (shared[s], -len(self._held[s]), self._strict[s], self._used[s]))
        keep = shared[best]
        if keep and keep == len(self._held[best]):
            return Plan(best, keep)
        victim = self.victim(without=[best] if keep else [])
        if victim is None:
            return Plan(best, keep)
        return Plan(victim, keep, best if keep else None)

    def victim(self, without: Collection[int]) -> int | None:
        """The sequence to give up next: an empty one, else the one that is cheapest to decode again.

        The cost is the part that no other sequence holds; in sorted order, the paths with the
        longest common prefixes are neighbours. Among equals, the one used longest ago.
        """
        others = [s for s in range(len(self._held)) if s not in without]
        for sequence in others:
            if not self._held[sequence]:
                return sequence
        ordered = sorted(range(len(self._held)), key=self._held.__getitem__)
        shared = [common_prefix(self._held[a], self._held[b]) for a, b in pairwise(ordered)]
        loss = {
            sequence: len(self._held[sequence]) - max(before, after)
            for sequence, before, after in zip(ordered, [0, *shared], [*shared, 0], strict=True)
        }
        return min(others, key=lambda s: (loss[s], self._used[s]), default=None)

    def same(self, path: list[int], without: int) -> list[int]:
        """The sequences, other than `without`, that hold just this path."""
        return [sequence for sequence, held in enumerate(self._held) if sequence != without and held == path]

    def prefixes_of(self, path: list[int], without: int) -> list[int]:
        """The sequences, other than `without`, that hold a part of `path` from its start and nothing else."""
        return [
            sequence
            for sequence, held in enumerate(self._held)
            if held and sequence != without and held == path[: len(held)]
        ]

    def evictable(self, without: int) -> int | None:
        """The least recently used sequence that holds cells, other than `without`."""
        others = [s for s in range(len(self._held)) if s != without and self._held[s]]
        return min(others, key=lambda s: self._used[s], default=None)
