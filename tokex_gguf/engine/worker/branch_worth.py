"""Which branches of a lookahead are worth their cells: those from which it most likely goes on. Pure.

And how many keys lead to each: by that, rows are kept.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

from tokex_gguf.values.distribution import Distribution

TokenPath: TypeAlias = tuple[int, ...]

UNLIKELY = -20.0
"""Log-probability of a token that is not among the candidates."""


class BranchWorth:
    """What was said after branches behind one path, and how often they were gone on from."""

    def __init__(self) -> None:
        self._told: dict[TokenPath, Distribution] = {}
        self._gone_on: Counter[TokenPath] = Counter()

    def move(self, longer: TokenPath | None) -> None:
        """Goes on with another path: the one before, longer by these tokens; None: any other."""
        if longer is None:
            self._told, self._gone_on = {}, Counter()
            return
        size = len(longer)
        self._told = {branch[size:]: one for branch, one in self._told.items() if branch[:size] == longer}
        self._gone_on = Counter(
            {branch[size:]: count for branch, count in self._gone_on.items() if branch[:size] == longer}
        )

    def note(self, branch: TokenPath, distribution: Distribution) -> None:
        """Learns what was said after a branch."""
        if branch not in self._told and branch:
            self._gone_on[branch[:-1]] += 1
        self._told[branch] = distribution

    def worth(self, held: Mapping[int, TokenPath]) -> dict[int, float]:
        """Of sequences, by the branches that they hold: the joint log-probability of the likeliest way on.

        What another one holds as well counts for none of them.
        """
        holders = Counter(branch[:end] for branch in held.values() for end in range(1, len(branch) + 1))
        return {sequence: self._best(branch, holders) for sequence, branch in held.items()}

    def keys(self, branch: TokenPath) -> int:
        """Keys that lead to a branch from the path: one for each token, and one for each row above it."""
        return sum(1 + self._row(branch[:end], token) for end, token in enumerate(branch))

    def _row(self, before: TokenPath, token: int) -> int:
        told = self._told.get(before)
        return 0 if told is None else told.rows.get(token, len(told))

    def _best(self, branch: TokenPath, holders: Counter[TokenPath]) -> float:
        best, joint = -math.inf, 0.0
        for end in range(1, len(branch) + 1):
            joint += self._logprob(branch[: end - 1], branch[end - 1])
            told = self._told.get(branch[:end])
            following = self._gone_on[branch[:end]]
            if told and holders[branch[:end]] == 1 and following < len(told):
                best = max(best, joint + told.logprobs[following])
        return best

    def _logprob(self, before: TokenPath, token: int) -> float:
        told = self._told.get(before)
        if told is None:
            return 0.0
        return told.logprobs[told.rows[token]] if token in told.rows else UNLIKELY
