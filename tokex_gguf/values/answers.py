"""What lenses make of the distributions of a tree: by lens, then by path."""

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.reachability import cut_by, decidable
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import KEPT, Verdict, View

LENSES = 16
"""Lenses whose answers are kept, the latest: a value that is turned up and down comes back to one of them."""


@dataclass(slots=True)
class _Through:
    """The answers through one lens."""

    views: dict[Node, View] = field(default_factory=dict)
    verdicts: dict[Node, Verdict] = field(default_factory=dict)
    judged: Node | None = None
    """A path all of whose tokens have their verdicts: of what goes on from it, only what is new is looked at."""
    costs: dict[Node, float] = field(default_factory=dict)
    """Bits that the constraint cost along paths."""


class Answers:
    """Answers to the questions (path, lens). The first answer to each stays, until its lens is forgotten."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Sampled, _Through] = OrderedDict()

    def _through(self, lens: Sampled) -> _Through:
        """The answers through a lens; the one that was not used for the longest time is forgotten for it."""
        answers = self._kept.setdefault(lens, _Through())
        self._kept.move_to_end(lens)
        if len(self._kept) > LENSES:
            self._kept.popitem(last=False)
        return answers

    def view(self, lens: Sampled, node: Node) -> View | None:
        """What the lens leaves of the distribution after a path; None until told."""
        kept = self._kept.get(lens)
        return kept.views.get(node) if kept else None

    def attach(self, lens: Sampled, node: Node, view: View) -> None:
        """Keeps a view. One that tells of a token more replaces the one before: its numbers are the same."""
        self._through(lens).views[node] = view

    def attach_verdict(self, lens: Sampled, node: Node, verdict: Verdict) -> None:
        """Keeps what the lens made of a path's last token."""
        self._through(lens).verdicts.setdefault(node, verdict)

    def verdict(self, lens: Sampled, node: Node) -> Verdict | None:
        """What the lens made of a path's last token; None until told, where what its place keeps does not decide it."""
        kept = self._kept.get(lens)
        verdict = kept.verdicts.get(node) if kept else None
        if verdict is None and kept and node.parent in kept.views:
            verdict = kept.views[node.parent].verdicts.get(node.token)
        before = node.parent.distribution if node.parent else None
        if verdict is None and before is not None and node.taken is not None and decidable(lens):
            cut = cut_by(lens, before, node.taken)
            if cut is not None:
                verdict = Verdict(math.nan if cut == KEPT else 0.0, cut)
                self.attach_verdict(lens, node, verdict)
        return verdict

    def first_unjudged(self, lens: Sampled, tip: Node) -> int | None:
        """The first position whose distribution must be seen again for a verdict on the token after it; None: none."""
        through = self._through(lens)
        known = through.judged.common(tip) if through.judged else 1
        for node in tip.nodes(max(1, known)):
            if node.taken is not None and self.verdict(lens, node) is None:
                return node.depth - 2
        through.judged = tip
        return None

    def cost(self, lens: Sampled, tip: Node) -> float | None:
        """The bits that the constraint cost along a path; None while not known for all of its tokens."""
        costs = self._through(lens).costs
        unseen: list[tuple[Node, float]] = []
        node = tip
        while node not in costs and node.depth > max(1, lens.start):  # it governs nothing before that
            verdict = self.verdict(lens, node)
            if verdict is None or node.parent is None:
                return None
            unseen.append((node, verdict.cost_bits))
            node = node.parent
        total = costs.get(node, 0.0)
        for node, bits in reversed(unseen):
            total += bits
            costs[node] = total
        return total
