"""Which branches of a lookahead are worth their cells: those from which it most likely goes on. Pure.

Also how many keys lead to each branch: rows of logits are kept by that number.
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
    """The distributions after the branches of one path, and how many longer branches continue each."""

    def __init__(self) -> None:
        self._distributions: dict[TokenPath, Distribution] = {}
        self._continuations: Counter[TokenPath] = Counter()

    def move(self, longer: TokenPath | None) -> None:
        """Changes the path: to the last one plus the tokens `longer`; None: to any other path."""
        if longer is None:
            self._distributions, self._continuations = {}, Counter()
            return
        size = len(longer)
        self._distributions = {
            branch[size:]: distribution
            for branch, distribution in self._distributions.items()
            if branch[:size] == longer
        }
        self._continuations = Counter(
            {branch[size:]: count for branch, count in self._continuations.items() if branch[:size] == longer}
        )

    def note(self, branch: TokenPath, distribution: Distribution) -> None:
        """Records the distribution after a branch."""
        if branch not in self._distributions and branch:
            self._continuations[branch[:-1]] += 1
        self._distributions[branch] = distribution

    def worth(self, held: Mapping[int, TokenPath]) -> dict[int, float]:
        """For each sequence, by the branch that it holds: the joint log-probability of its likeliest continuation.

        Prefixes that several sequences hold do not count.
        """
        holders = Counter(branch[:end] for branch in held.values() for end in range(1, len(branch) + 1))
        return {sequence: self._best(branch, holders) for sequence, branch in held.items()}

    def keys(self, branch: TokenPath) -> int:
        """Keys that lead from the path to a branch: one for each token, and one for each row above it."""
        return sum(1 + self._row(branch[:end], token) for end, token in enumerate(branch))

    def _row(self, before: TokenPath, token: int) -> int:
        distribution = self._distributions.get(before)
        return 0 if distribution is None else distribution.rows.get(token, len(distribution))

    def _best(self, branch: TokenPath, holders: Counter[TokenPath]) -> float:
        best, joint = -math.inf, 0.0
        for end in range(1, len(branch) + 1):
            joint += self._logprob(branch[: end - 1], branch[end - 1])
            distribution = self._distributions.get(branch[:end])
            following = self._continuations[branch[:end]]
            if distribution and holders[branch[:end]] == 1 and following < len(distribution):
                best = max(best, joint + distribution.logprobs[following])
        return best

    def _logprob(self, before: TokenPath, token: int) -> float:
        distribution = self._distributions.get(before)
        if distribution is None:
            return 0.0
        return distribution.logprobs[distribution.rows[token]] if token in distribution.rows else UNLIKELY
