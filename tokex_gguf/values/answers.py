"""What lenses make of the distributions of a tree: by lens, then by path."""

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from tokex_gguf.values.judged import Judged
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.reachability import cut_by, decidable
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT, Verdict, View

LENSES = 16
"""Lenses whose answers are kept, the latest: a value that is turned up and down comes back to one of them."""
PATHS = 4
"""Paths of a lens whose verdicts are kept sorted, the latest: prompts that the player goes back and forth between."""


@dataclass(slots=True)
class _Through:
    """The answers through one lens."""

    views: dict[Node, View] = field(default_factory=dict)
    verdicts: dict[Node, Verdict] = field(default_factory=dict)
    paths: list[Judged] = field(default_factory=list)
    """The latest last. Of what goes on from one of them, only what is new is looked at."""
    broken: dict[Node, int] = field(default_factory=dict)
    """The first token of paths that the constraint does not allow, by its position; -1: there is none."""
    costs: dict[Node, float] = field(default_factory=dict)
    """Bits that the constraint cost along paths, as far as those are known without a gap."""

    def settle(self, node: Node, verdict: Verdict) -> None:
        """Sorts a verdict in that was waited for."""
        for one in self.paths:
            one.settle(node, verdict)

    def judged(self, tip: Node) -> Judged:
        """What is kept sorted of a path; it may go on from there elsewhere, or not be looked at to its end."""
        if self.paths and self.paths[-1].tip is tip:
            return self.paths[-1]
        known = max(self.paths, key=lambda one: one.tip.common(tip), default=None)
        same = known.tip.common(tip) if known else 0
        if known is None or not same:
            known = Judged(tip.ancestor(1))  # nothing comes before the first token
        elif same < min(known.tip.depth, tip.depth):
            known = known.beginning(tip.ancestor(same))
        else:
            self.paths.remove(known)
        self.paths = [*self.paths, known][-PATHS:]
        return known


class LensResults:
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
        """Keeps a view, in place of one that told of other tokens: its numbers are the same."""
        through = self._through(lens)
        before = through.views.get(node)
        for told in (before, view) if before else (view,):
            for child in node.children.values():
                if (verdict := told.verdicts.get(child.token)) is not None:
                    self.attach_verdict(lens, child, verdict)
        through.views[node] = view

    def attach_verdict(self, lens: Sampled, node: Node, verdict: Verdict) -> None:
        """Keeps what the lens made of a path's last token."""
        through = self._through(lens)
        verdict = through.verdicts.setdefault(node, verdict)
        through.settle(node, verdict)
        if node.parent is not None and (before := _cost_before(through, lens, node.parent)) is not None:
            # Else the first look at what a long path cost would go through all of it at once.
            through.costs.setdefault(node, before + verdict.cost_bits)

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
                verdict = Verdict(math.nan if cut == NOT_CUT else 0.0, cut)
                self.attach_verdict(lens, node, verdict)
        return verdict

    def look_on(self, lens: Sampled, tip: Node, most: int) -> bool:
        """Looks at so many further tokens of a path at the most; returns whether that was all of it.

        It ends where what the model says of a token is not there yet.
        """
        judged = self._through(lens).judged(tip)
        seen = judged.tip.depth
        for node in tip.ancestor(seen + most).nodes(seen):
            if node.taken is None:
                return True
            judged.go_on(node, self.verdict(lens, node))
        return judged.tip.depth >= tip.depth

    def judged(self, lens: Sampled, tip: Node) -> Judged:
        """A path's tokens by their verdicts, as far as they were looked at."""
        return self._through(lens).judged(tip)

    def attach_broken(self, lens: Sampled, node: Node, position: int) -> None:
        """Keeps where a path breaks the lens's constraint."""
        self._through(lens).broken[node] = position

    def broken(self, lens: Sampled, node: Node) -> int | None:
        """The position of a path's first token that the constraint does not allow; -1: none is; None until told."""
        kept = self._kept.get(lens)
        return kept.broken.get(node) if kept else None

    def first_unjudged(self, lens: Sampled, tip: Node) -> int | None:
        """The first position whose distribution must be seen again for a verdict on the token after it.

        None where there is none among those that were looked at.
        """
        node = next(iter(self._through(lens).judged(tip).unknown), None)
        return node.depth - 2 if node and node.depth <= tip.depth else None

    def cost(self, lens: Sampled, tip: Node) -> float | None:
        """The bits that the constraint cost along a path; None while not known for all of its tokens."""
        through = self._through(lens)
        unseen: list[tuple[Node, float]] = []
        node = tip
        while (total := _cost_before(through, lens, node)) is None:
            verdict = self.verdict(lens, node)
            if verdict is None or node.parent is None:
                return None
            unseen.append((node, verdict.cost_bits))
            node = node.parent
        for node, bits in reversed(unseen):
            total += bits
            through.costs[node] = total
        return total


def _cost_before(through: _Through, lens: Sampled, node: Node) -> float | None:
    """The bits that the constraint cost up to the end of a path, as far as that was added up."""
    if node.depth <= max(1, lens.start):  # it governs nothing before that
        return 0.0
    return through.costs.get(node)
