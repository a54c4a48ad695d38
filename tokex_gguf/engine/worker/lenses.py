"""Rows of logits through a lens: a constraint first, then the sampler chain; views, verdicts and draws."""

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokex_gguf.engine.worker.constraints import BadConstraint, Broken, Constraints, Legal
from tokex_gguf.engine.worker.llama import ModelError, Vocabulary
from tokex_gguf.engine.worker.logit_math import Logits, reaching, top_ids
from tokex_gguf.engine.worker.sampling import BuiltChain, Remaining, SamplerState, TokenIds, Workshop, mass_of
from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.record import record
from tokex_gguf.values.samplers import NO_CHAIN, Chain
from tokex_gguf.values.sequence import common_prefix
from tokex_gguf.values.view import Draw, Standing, Verdict, View

ORDERED = 1024
"""The most likely tokens, which come first on the bar of a draw; the others follow by their ids."""
VIEW_TOKENS = 100
"""The most likely remaining tokens in a view, besides the requested ones."""
CHAINS = 8
"""Chains kept with their samplers: as many as keys change in a moment."""


_NOTHING: TokenIds = np.zeros(0, np.int32)


class ConstraintState(NamedTuple):
    """A constraint's answer at a position."""

    standing: Standing
    legal: TokenIds | None
    """The tokens that may follow; None: all."""
    broken: int = -1
    """The position of the path's first token that is not legal."""


@record
class SeenRow:
    """A row through a lens."""

    remaining: Remaining
    constraint: ConstraintState
    legal_mass: float

    def verdict(self, token: int) -> Verdict:
        """The verdict on one token."""
        return Verdict(self.remaining.final(token), int(self.remaining.cuts[token]), self.legal_mass)


class _Remembered:
    """The states of mirostat or adaptive-p along the last path."""

    def __init__(self) -> None:
        self.path: list[int] = []
        self.memories: list[SamplerState] = []
        """By position from the lens's start on; the first is the state before any choice."""


def _first_choice(lens: Sampled) -> int:
    """The first position whose token the lens chose: never a path's first token."""
    return max(1, lens.start)


class Lenses:
    """All lenses of one model."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._workshop = Workshop(vocabulary)
        self._constraints = Constraints(vocabulary)
        self._chains: OrderedDict[Chain, BuiltChain] = OrderedDict()
        self._remembered: OrderedDict[Sampled, _Remembered] = OrderedDict()

    def _chain(self, chain: Chain) -> BuiltChain:
        built = self._chains.get(chain)
        if built is None:
            built = self._chains[chain] = BuiltChain(self._workshop, chain)
            if len(self._chains) > CHAINS:
                self._chains.popitem(last=False)
        self._chains.move_to_end(chain)
        return built

    def constraint_state(self, lens: Sampled, path: Sequence[int]) -> ConstraintState:
        """The answer of the lens's constraint after a path."""
        if lens.constraint is None or len(path) < lens.start:
            return ConstraintState(Standing.FREE, None)
        try:
            state = self._constraints.state(lens.constraint, list(path[lens.start :]))
        except BadConstraint as error:
            raise ModelError(str(error)) from None
        match state:
            case Broken(at):
                return ConstraintState(Standing.BROKEN, _NOTHING, lens.start + at)
            case Legal(mask, complete, must_end):
                legal = np.flatnonzero(mask).astype(np.int32)
                open_ = Standing.OPEN if len(legal) else Standing.STUCK
                return ConstraintState(Standing.ENDED if must_end else Standing.COMPLETE if complete else open_, legal)

    def broken(self, constraint: Constraint, path: list[int], start: int) -> int:
        """The position of a path's first token that a constraint from `start` on does not allow; -1: all are legal.

        Raises ModelError where the constraint is invalid.
        """
        return self.constraint_state(Sampled(NO_CHAIN, constraint, start), path).broken

    def forced(self, lens: Sampled, path: list[int]) -> tuple[list[int], bool]:
        """The tokens after a path that a lens's constraint leaves no choice in; whether more may follow."""
        if lens.constraint is None:
            return [], False
        try:
            return self._constraints.forced(lens.constraint, path[lens.start :])
        except BadConstraint as error:
            raise ModelError(str(error)) from None

    # --- samplers with memory

    def remembered(self, lens: Sampled, path: Sequence[int]) -> int:
        """The length of the longest prefix of a path whose sampler states are known; at least the lens's start."""
        first = _first_choice(lens)
        if not lens.remembers or len(path) <= first:
            return len(path)
        kept = self._remembered.get(lens)
        if kept is None:
            return first
        same = common_prefix(kept.path, list(path))
        return max(first, min(same, first + len(kept.memories) - 1, len(path)))

    def _memory(self, lens: Sampled, built: BuiltChain, path: Sequence[int]) -> SamplerState:
        """The sampler state after a path. Raises ModelError where it is not known."""
        if not lens.remembers or len(path) <= _first_choice(lens):
            return built.beginning()
        if (known := self.remembered(lens, path)) < len(path):
            raise ModelError(
                f"what {lens.stages[-1]} remembers is not known: the constraint fails at token {known + 1}"
            )
        return self._remembered[lens].memories[len(path) - _first_choice(lens)]

    def chose(self, lens: Sampled, path: Sequence[int], seen: SeenRow, token: int) -> None:
        """Records the choice of a token after a path whose sampler states are known."""
        if not lens.remembers or len(path) < _first_choice(lens):
            return
        built = self._chain(lens.chain)
        kept = self._remembered.setdefault(lens, _Remembered())
        self._remembered.move_to_end(lens)
        if len(self._remembered) > CHAINS:
            self._remembered.popitem(last=False)
        before = self._memory(lens, built, path)
        count = len(path) - _first_choice(lens)
        kept.memories = [*(kept.memories[: count + 1] or [before]), built.after(before, seen.remaining, token)]
        kept.path = [*path, token]

    # --- rows

    def see(self, lens: Sampled, row: Logits, log_sum: float, path: Sequence[int]) -> SeenRow:
        """A row of logits, shape (vocabulary size,), after a path, through a lens.

        The choices on the path must be recorded: see `remembered` and `chose`. Raises ModelError.
        """
        built = self._chain(lens.chain)
        constraint = self.constraint_state(lens, path)
        legal = constraint.legal
        if lens.constraint is not None and legal is None:
            legal = np.arange(len(row), dtype=np.int32)
        remaining = built.apply(row, log_sum, path, self._memory(lens, built, path), legal)
        mass = 1.0 if constraint.legal is None else mass_of(row, log_sum, constraint.legal)
        return SeenRow(remaining, constraint, mass)

    @staticmethod
    def view(seen: SeenRow, tokens: Iterable[int]) -> View:
        """The view of a row, with its likeliest tokens and `tokens`."""
        remaining = seen.remaining
        order = _likeliest(remaining, VIEW_TOKENS)
        finals = dict(zip(remaining.ids[order].tolist(), remaining.finals[order].tolist(), strict=True))
        for token in tokens:
            if token not in finals:
                finals[token] = 0.0 if remaining.cuts[token] >= 0 else remaining.final(token)
        ids = list(finals)
        return View(
            left=len(remaining.ids),
            mass=remaining.mass,
            entropy_bits=remaining.entropy_bits,
            legal_mass=seen.legal_mass,
            stages=remaining.stages,
            standing=seen.constraint.standing,
            broken=seen.constraint.broken,
            ids=array("i", ids),
            finals=array("d", finals.values()),
            cuts=array("b", remaining.cuts[ids].tolist()),
        )

    @staticmethod
    def draws(seen: SeenRow, numbers: Iterable[float]) -> Iterator[Draw]:
        """The tokens that numbers from 0 to 1 draw, the most likely first on the bar; none where no token remains."""
        remaining = seen.remaining
        if not len(remaining.ids):
            return
        order = _likeliest(remaining, ORDERED)
        bar, whole = _bar(remaining, order), len(order) == len(remaining.ids)
        for number in numbers:
            if not whole and number >= bar[-1]:
                order, whole = _with_all_others(remaining, order), True
                bar = _bar(remaining, order)
            place = int(np.searchsorted(bar, number, side="right"))
            low = float(bar[place - 1]) if place else 0.0
            yield Draw(int(remaining.ids[order[place]]), number, low, float(bar[place]))


def _bar(remaining: Remaining, order: TokenIds) -> NDArray[np.float64]:
    """The end of each token's part on the bar from 0 to 1, in the given order."""
    finals = remaining.finals[order]
    bar: NDArray[np.float64] = np.cumsum(finals)
    if len(order) == len(remaining.ids):  # rounding must not leave a gap after the last token that can be drawn
        bar[np.flatnonzero(finals)[-1] :] = 1
    return bar


def _likeliest(remaining: Remaining, count: int) -> TokenIds:
    """Indexes of the `count` most likely remaining tokens, the smaller id first among equals."""
    candidates = reaching(remaining.finals, count)
    order = np.lexsort((remaining.ids[candidates], -remaining.finals[candidates]))[:count]
    return candidates[order].astype(np.int32)


def _with_all_others(remaining: Remaining, first: TokenIds) -> TokenIds:
    """The indexes `first`, and all others after them, by id."""
    rest = np.ones(len(remaining.ids), np.bool_)
    rest[first] = False
    others = np.flatnonzero(rest)
    return np.concatenate([first, others[np.argsort(remaining.ids[others])]]).astype(np.int32)


def likeliest(seen: SeenRow, row: Logits, top: int) -> list[int]:
    """The `top` likeliest tokens by the model, the likeliest first."""
    known = seen.remaining.likeliest
    tokens: list[int] = (known[:top] if len(known) >= top else top_ids(row, top)).tolist()
    return tokens
