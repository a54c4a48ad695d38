"""Results of lenses over the distributions of a tree: by lens, then by path."""

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from tokex_gguf.values.judged import Judged
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.reachability import cut_by, decidable
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT, Verdict, View

LENSES = 16
"""The latest lenses whose results are kept: turning a value up and down returns to one of them."""
PATHS = 4
"""The latest paths of a lens whose verdicts are kept sorted: for prompts that the player switches between."""


@dataclass(slots=True)
class _LensAnswers:
    """The results of one lens."""

    views: dict[Node, View] = field(default_factory=dict)
    verdicts: dict[Node, Verdict] = field(default_factory=dict)
    paths: list[Judged] = field(default_factory=list)
    """The latest last. For a longer path, only the new tokens are read."""
    broken: dict[Node, int] = field(default_factory=dict)
    """By path, the position of the first token that the constraint does not allow; -1: none."""
    costs: dict[Node, float] = field(default_factory=dict)
    """By path, the bits that the constraint cost along it; only where all are known."""

    def settle(self, node: Node, verdict: Verdict) -> None:
        """Adds a late verdict to the sorted paths."""
        for judged in self.paths:
            judged.settle(node, verdict)

    def judged(self, tip: Node) -> Judged:
        """The sorted verdicts of a path. They may end before `tip`, or go on after it."""
        if self.paths and self.paths[-1].tip is tip:
            return self.paths[-1]
        judged = max(self.paths, key=lambda each: each.tip.common(tip), default=None)
        same = judged.tip.common(tip) if judged else 0
        if judged is None or not same:
            judged = Judged(tip.ancestor(1))  # the first token has no distribution before it
        elif same < min(judged.tip.depth, tip.depth):
            judged = judged.beginning(tip.ancestor(same))
        else:
            self.paths.remove(judged)
        self.paths = [*self.paths, judged][-PATHS:]
        return judged


class LensResults:
    """Results by path and lens. The first result of each stays, until its lens is dropped."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Sampled, _LensAnswers] = OrderedDict()

    def _results_of(self, lens: Sampled) -> _LensAnswers:
        """The results of a lens; a new lens drops the one used longest ago."""
        results = self._kept.setdefault(lens, _LensAnswers())
        self._kept.move_to_end(lens)
        if len(self._kept) > LENSES:
            self._kept.popitem(last=False)
        return results

    def view(self, lens: Sampled, node: Node) -> View | None:
        """The lens's view of the distribution after a path; None until it is known."""
        kept = self._kept.get(lens)
        return kept.views.get(node) if kept else None

    def attach(self, lens: Sampled, node: Node, view: View) -> None:
        """Stores a view, in place of one with other tokens: their numbers are the same."""
        results = self._results_of(lens)
        before = results.views.get(node)
        for each in (before, view) if before else (view,):
            for child in node.children.values():
                if (verdict := each.verdicts.get(child.token)) is not None:
                    self.attach_verdict(lens, child, verdict)
        results.views[node] = view

    def attach_verdict(self, lens: Sampled, node: Node, verdict: Verdict) -> None:
        """Stores the lens's verdict on a path's last token. A chance that is not known may come later."""
        results = self._results_of(lens)
        stored = results.verdicts.setdefault(node, verdict)
        if stored is not verdict and math.isnan(stored.final) and stored.cut_by == verdict.cut_by:
            stored = results.verdicts[node] = verdict
        results.settle(node, stored)
        if node.parent is not None and (before := _cost_before(results, lens, node.parent)) is not None:
            # Else the first `cost` of a long path would visit all of it at once.
            results.costs.setdefault(node, before + stored.cost_bits)

    def verdict(self, lens: Sampled, node: Node) -> Verdict | None:
        """The lens's verdict on a path's last token: as stored, else decided from the kept numbers; None: not known."""
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

    def judge_more(self, lens: Sampled, tip: Node, most: int) -> bool:
        """Reads the verdicts on up to `most` more tokens of a path; returns whether all are read.

        Stops early at a token whose own numbers are not known yet.
        """
        judged = self._results_of(lens).judged(tip)
        start = judged.tip.depth
        for node in tip.ancestor(start + most).nodes(start):
            if node.taken is None:
                return True
            judged.go_on(node, self.verdict(lens, node))
        return judged.tip.depth >= tip.depth

    def judged(self, lens: Sampled, tip: Node) -> Judged:
        """A path's tokens by their verdicts, as far as `judge_more` has read them."""
        return self._results_of(lens).judged(tip)

    def attach_broken(self, lens: Sampled, node: Node, position: int) -> None:
        """Stores the position where a path breaks the lens's constraint."""
        self._results_of(lens).broken[node] = position

    def broken(self, lens: Sampled, node: Node) -> int | None:
        """The position of a path's first token that the constraint does not allow; -1: none; None: not known."""
        kept = self._kept.get(lens)
        return kept.broken.get(node) if kept else None

    def first_unjudged(self, lens: Sampled, tip: Node) -> int | None:
        """The first position that must be evaluated through the lens for a verdict on the token after it.

        None where all tokens read so far have one.
        """
        node = next(iter(self._results_of(lens).judged(tip).unknown), None)
        return node.depth - 2 if node and node.depth <= tip.depth else None

    def cost(self, lens: Sampled, tip: Node) -> float | None:
        """The bits that the constraint cost along a path; None while not known for all of its tokens."""
        results = self._results_of(lens)
        unseen: list[tuple[Node, float]] = []
        node = tip
        while (total := _cost_before(results, lens, node)) is None:
            verdict = self.verdict(lens, node)
            if verdict is None or node.parent is None:
                return None
            unseen.append((node, verdict.cost_bits))
            node = node.parent
        for node, bits in reversed(unseen):
            total += bits
            results.costs[node] = total
        return total


def _cost_before(results: _LensAnswers, lens: Sampled, node: Node) -> float | None:
    """The stored cost of the constraint up to the end of a path, in bits."""
    if node.depth <= max(1, lens.start):  # the constraint starts later
        return 0.0
    return results.costs.get(node)
