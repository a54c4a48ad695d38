"""What the active prompt, A, is compared with: B. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from itertools import accumulate
from typing import TypeAlias

from tokex_gguf.play.purposes import Positions
from tokex_gguf.values.figures import FLOOR_DELTA_BITS
from tokex_gguf.values.layers import Layer
from tokex_gguf.values.model_comparison import ModelComparison
from tokex_gguf.values.record import record
from tokex_gguf.values.sequence import common_prefix
from tokex_gguf.values.text_comparison import TextComparison
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node


class Alone:
    """With nothing."""

    __slots__ = ()


ALONE = Alone()


@record
class AgainstPrompt:
    """With another path of the same tree. It stays what it is, whatever becomes of the prompt that it was."""

    a: Node
    """Where the active prompt ended when it was first compared with this one."""
    b: Node
    """The other path's end."""
    before: Layer
    """The layer that was shown before."""


@record
class AgainstModel:
    """With what another model says of the same path."""

    key: str
    """The other model's."""
    before: Layer
    comparison: ModelComparison | TextComparison
    floor: float
    """Bits up to which a difference is one of kernels, and says nothing of the models."""

    @classmethod
    def of(cls, key: str, before: Layer, comparison: ModelComparison, *, same_file: bool) -> "AgainstModel":
        """With a model of which nothing is known yet."""
        return cls(key, before, comparison, 0.0 if same_file else FLOOR_DELTA_BITS)


Versus: TypeAlias = Alone | AgainstPrompt | AgainstModel


class Unpaired:
    """There is one model."""

    __slots__ = ()


UNPAIRED = Unpaired()


@record
class Parting:
    """Where two models part that both go on greedily from one path."""

    a: Node
    """The first model's way, as far as it came: in its own tree."""
    b: Node
    """The second one's, in that one's."""
    base: tuple[int, int]
    """How many tokens the path has that they go on from, in each."""
    pieces: tuple[Mapping[int, Piece], Mapping[int, Piece]]
    """Of either model's tokens; these are only ever added to."""
    one_vocabulary: bool
    done: tuple[bool, bool] = (False, False)
    """Whether each has come as far as it is to."""
    told: bool = False
    """Whether the player knows."""

    @property
    def ways(self) -> tuple[list[Node], list[Node]]:
        """The tokens that each went on by."""
        return self.a.nodes(self.base[0]), self.b.nodes(self.base[1])

    @property
    def apart(self) -> tuple[int, int] | None:
        """How many tokens each goes on by before they part: before their texts do, where the vocabularies differ.

        None where they have not parted, as far as both came.
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
    """The file of a model to compare with is looked at."""

    path: str


class Turn(Enum):
    """Which of two engines are there."""

    BOTH = "both"
    A = "A"
    """There is memory for one of the two models, and A's is loaded."""
    DUE = "due"
    """As `A`, until nothing else is asked for: B is to be asked for what lacks."""
    B = "B"
    """B computes its numbers meanwhile; A's engine comes back behind it."""


@record
class ByDistributions:
    """Two models of one vocabulary: what one says of a place goes to the other through a file."""

    comparison: ModelComparison
    ahead_of: Node | None = None
    """A path of A's: both models were asked for what comes after the tokens that likely follow it."""
    held: Positions | None = None
    """Whose rows of B the file holds."""


@record
class ByText:
    """Two models of different vocabularies: B reads the text of A's prompt in its own tokens."""

    comparison: TextComparison
    companion: tuple[Node, Node] | None = None
    """A path of A's, and B's tokens for its text."""

    def of(self, tip: Node) -> Node | None:
        """B's tokens for the text of a path of A's; None until they are there."""
        return self.companion[1] if self.companion and self.companion[0] is tip else None


@record
class Pair:
    """A second model, B, is there beside the one that is played, A."""

    key: str
    """B's game is the one of this key among the others; the played one itself where B is the same file."""
    way: ByDistributions | ByText
    """How the two are compared: by distributions, until it is known that the vocabularies differ."""
    turn: Turn = Turn.BOTH
    file: str = ""
    """Where rows go from one engine to the other; empty until it is made."""
    fault: str = ""
    """Why it cannot be made."""
    parting: Parting | None = None

    @property
    def held(self) -> Positions | None:
        """Whose rows of B the file holds."""
        return self.way.held if isinstance(self.way, ByDistributions) else None

    def holding(self, part: Positions | None) -> "Pair":
        """The pair where the file holds B's rows of this part."""
        way = replace(self.way, held=part) if isinstance(self.way, ByDistributions) else self.way
        return replace(self, way=way)


Paired: TypeAlias = Unpaired | Opening | Pair
