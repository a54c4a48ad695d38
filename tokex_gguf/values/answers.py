"""What lenses make of the distributions of a tree: by lens, then by path."""

import math
from collections import OrderedDict
from typing import TypeVar

from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.reachability import cut_by, decidable
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import KEPT, Verdict, View


def verdict_on(answers: "Answers", lens: Sampled, node: Node) -> Verdict | None:
    """What became of a path's last token: as the engine told, else by the numbers that its place keeps."""
    verdict = answers.verdict(lens, node)
    before = node.parent.distribution if node.parent else None
    if verdict is None and before is not None and node.taken is not None and decidable(lens):
        cut = cut_by(lens, before, node.taken)
        if cut is not None:
            verdict = Verdict(0.0 if cut != KEPT else math.nan, cut)
            answers.attach_verdict(lens, node, verdict)
    return verdict


def first_unjudged(answers: "Answers", lens: Sampled, tip: Node) -> int | None:
    """The first position whose distribution must be seen again for a verdict on the token after it; None: none."""
    known = answers.judged.get(lens)
    for node in tip.nodes(max(1, known.common(tip) if known else 1)):
        if node.taken is not None and verdict_on(answers, lens, node) is None:
            return node.depth - 2
    answers.judged[lens] = tip
    return None


T = TypeVar("T", View, Verdict)

LENSES = 16
"""Lenses whose answers are kept, the latest: a value that is turned up and down comes back to one of them."""


class Answers:
    """Answers to the questions (path, lens). The first answer to each stays, until its lens is forgotten."""

    def __init__(self) -> None:
        self._views: OrderedDict[Sampled, dict[Node, View]] = OrderedDict()
        self._verdicts: OrderedDict[Sampled, dict[Node, Verdict]] = OrderedDict()
        self.judged: dict[Sampled, Node] = {}
        """By lens, a path all of whose tokens have their verdicts: what is added to it is looked at alone."""

    def view(self, lens: Sampled, node: Node) -> View | None:
        """What the lens leaves of the distribution after a path; None until told."""
        return self._views.get(lens, {}).get(node)

    def verdict(self, lens: Sampled, node: Node) -> Verdict | None:
        """What the lens made of a path's last token; None until told."""
        verdict = self._verdicts.get(lens, {}).get(node)
        if verdict is None and node.parent is not None and (view := self.view(lens, node.parent)):
            verdict = view.verdicts.get(node.token)
        return verdict

    def attach(self, lens: Sampled, node: Node, view: View) -> None:
        """Keeps a view. One that tells of a token more replaces the one before: its numbers are the same."""
        _of(self._views, lens)[node] = view

    def attach_verdict(self, lens: Sampled, node: Node, verdict: Verdict) -> None:
        """Keeps a verdict."""
        _of(self._verdicts, lens).setdefault(node, verdict)
        if len(self.judged) > LENSES:
            self.judged = {one: tip for one, tip in self.judged.items() if one in self._verdicts}


def _of(kept: OrderedDict[Sampled, dict[Node, T]], lens: Sampled) -> dict[Node, T]:
    """The answers through one lens; the one that was not used for the longest time is forgotten for it."""
    answers = kept.setdefault(lens, {})
    kept.move_to_end(lens)
    if len(kept) > LENSES:
        kept.popitem(last=False)
    return answers
