"""B, with which the active prompt, A, is compared: another prompt or another model. Pure."""

from collections.abc import Mapping
from enum import Enum
from itertools import accumulate
from typing import TypeAlias

from tokex_gguf.play.purposes import Positions
from tokex_gguf.values.figures import FLOOR_DELTA_BITS
from tokex_gguf.values.layers import Layer
from tokex_gguf.values.model_comparison import ModelComparison
from tokex_gguf.values.record import record, replace
from tokex_gguf.values.sequence import common_prefix
from tokex_gguf.values.text_comparison import TextComparison
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node


class Alone:
    """A is compared with nothing."""

    __slots__ = ()


ALONE = Alone()


@record
class AgainstPrompt:
    """A is compared with another path of the same tree, which stays even if its prompt changes."""

    a: Node
    """The active prompt's tip when the comparison began."""
    b: Node
    """The tip of the other path."""
    before: Layer
    """The layer shown before the comparison."""

    def end_of_a(self, tip: Node) -> Node:
        """Where A ends, behind which tokens count as appended to both; `tip`: the active prompt's.

        Where tokens of A were popped and others appended, all that the prompt has is A.
        """
        return self.a if tip.descends_from(self.a) or self.a.descends_from(tip) else tip


@record
class AgainstModel:
    """A is compared with another model's numbers of the same path."""

    key: str
    """The other model's key."""
    before: Layer
    comparison: ModelComparison | TextComparison
    floor: float
    """Bits up to which a difference may come from kernels and not from the models."""

    @classmethod
    def of(cls, key: str, before: Layer, comparison: ModelComparison, *, same_file: bool) -> "AgainstModel":
        """The beginning of a comparison with a model."""
        return cls(key, before, comparison, 0.0 if same_file else FLOOR_DELTA_BITS)


Versus: TypeAlias = Alone | AgainstPrompt | AgainstModel


class Unpaired:
    """There is no second model."""

    __slots__ = ()


UNPAIRED = Unpaired()


@record
class Parting:
    """Two models' greedy continuations of one path, to find where they part."""

    a: Node
    """The end of the first model's way so far, in its own tree."""
    b: Node
    """The end of the second model's way so far, in its own tree."""
    base: tuple[int, int]
    """Tokens of the path before the ways, in each tree."""
    pieces: tuple[Mapping[int, Piece], Mapping[int, Piece]]
    """The pieces of each model's tokens; the mappings only grow."""
    one_vocabulary: bool
    done: tuple[bool, bool] = (False, False)
    """Whether each way is finished."""
    reported: bool = False
    """Whether the result was shown."""

    @property
    def ways(self) -> tuple[list[Node], list[Node]]:
        """The nodes of both ways."""
        return self.a.nodes(self.base[0]), self.b.nodes(self.base[1])

    @property
    def apart(self) -> tuple[int, int] | None:
        """How many tokens each way has before they part; with different vocabularies, before their texts do.

        None where they have not parted so far.
        """
        ways = self.ways
        if self.one_vocabulary:
            same = common_prefix(*([node.token for node in way] for way in ways))
            return (same, same) if same < min(map(len, ways)) else None
        texts = [[pieces[node.token].data for node in way] for pieces, way in zip(self.pieces, ways, strict=True)]
        a, b = (b"".join(text) for text in texts)
        alike = next((place for place, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), None)
        if alike is None:
            return None
        one, other = (sum(end <= alike for end in accumulate(map(len, text))) for text in texts)
        return one, other


@record
class Opening:
    """The file of a model to compare with is being checked."""

    path: str


class Turn(Enum):
    """Which of two engines are loaded."""

    BOTH = "both"
    A = "A"
    """There is memory for one of the two models, and A's is loaded."""
    DUE = "due"
    """As `A`; once that is idle, B will compute what the comparison lacks."""
    B = "B"
    """B is loaded and computes its numbers; A's engine comes back afterwards."""


@record
class ByDistributions:
    """Two models of one vocabulary: B's distributions go to A's engine through a file."""

    comparison: ModelComparison
    ahead_of: Node | None = None
    """The path of A for which both models were sent strict lookahead."""
    recalled: Positions | None = None
    """The positions whose differences were last looked for on the disk."""
    held: Positions | None = None
    """The positions whose rows of B are in the file."""


@record
class ByText:
    """Two models of different vocabularies: B reads the text of A's prompt in its own tokens."""

    comparison: TextComparison
    companion: tuple[Node, Node] | None = None
    """A path of A's, and the path of B's tokens for its text."""

    def of(self, tip: Node) -> Node | None:
        """The path of B's tokens for the text of a path of A's; None until it is there."""
        return self.companion[1] if self.companion and self.companion[0] is tip else None


@record
class Pair:
    """A second model, B, is loaded beside the current one, A."""

    key: str
    """The key of B's game among the other games; that of the current game where B is the same file."""
    way: ByDistributions | ByText
    """How the two are compared: by distributions, until the vocabularies are known to differ."""
    turn: Turn = Turn.BOTH
    file: str = ""
    """The file through which rows go from B to A; empty until it is made."""
    fault: str = ""
    """Why the file cannot be made."""
    parting: Parting | None = None

    @property
    def held(self) -> Positions | None:
        """The positions whose rows of B are in the file."""
        return self.way.held if isinstance(self.way, ByDistributions) else None

    @property
    def is_parting(self) -> bool:
        """Whether both models are continuing greedily to see where they part."""
        return self.parting is not None and not self.parting.reported

    def looked_up(self, part: Positions) -> bool:
        """Whether the differences of a part were looked for on the disk."""
        before = self.way.recalled if isinstance(self.way, ByDistributions) else None
        return before is not None and before.same(part)

    def holding(self, part: Positions | None) -> "Pair":
        """The pair where the file holds B's rows of this part."""
        way = replace(self.way, held=part) if isinstance(self.way, ByDistributions) else self.way
        return replace(self, way=way)


Paired: TypeAlias = Unpaired | Opening | Pair
