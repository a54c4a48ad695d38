"""What each open request is for: one value for each request that may still be answered.

A reply or a refusal is matched against these exhaustively: a new purpose is a type error
wherever it is not handled.
"""

from typing import ClassVar, TypeAlias

from tokex_gguf.engine.protocol import (
    Against,
    Apply,
    Check,
    Compare,
    Constrain,
    Continue,
    Evaluate,
    EvaluateStrictly,
    Export,
    Force,
    Lookahead,
    LookaheadStrictly,
    MeasureNoise,
    Recall,
    Request,
    Roll,
    Search,
    Spell,
    Tokenize,
    Walk,
)
from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.fan_out import FanOut
from tokex_gguf.values.lens import RAW, Raw, Sampled
from tokex_gguf.values.record import record
from tokex_gguf.values.tree import Node


@record
class _Awaited:
    """The player waits for the answer, and for each of several."""

    asks: ClassVar[type[Request]] = Tokenize
    """The type of the request, for the rules of the engine's queue."""
    awaited: ClassVar[bool] = True
    sole: ClassVar[bool] = False
    """Whether a newer request of the same kind replaces this one."""


@record
class ForStart(_Awaited):
    """The tokens of the starting prompt."""


@record
class ForContinuation(_Awaited):
    """The tokens of the typed text."""

    sole: ClassVar[bool] = True
    entered: bool = False
    """Whether Enter was pressed: the tokens are appended once they come."""


@record
class ForScore(_Awaited):
    """The tokens of a phrase to score."""

    base: Node
    """The path that the phrase continues."""


@record
class ForNewPrompt(_Awaited):
    """The tokens of a text that becomes a new prompt."""

    text: str


@record
class ForEdited(_Awaited):
    """The tokens of an edited text, whose prompt replaces the one that was edited."""

    replacing: Node
    """The tip of the edited prompt."""


@record
class ForInsertion(_Awaited):
    """The tokens of text typed into the middle of a prompt."""

    sole: ClassVar[bool] = True


@record
class ForRetokenized(_Awaited):
    """The tokens that the tokenizer makes of a prompt's text."""

    sole: ClassVar[bool] = True
    tip: Node
    """The prompt's tip."""


@record
class ForCarried(_Awaited):
    """The tokens of the first text carried over from another model."""


@record
class ForSearch(_Awaited):
    """The tokens that a search of the vocabulary finds."""

    asks: ClassVar[type[Request]] = Search
    sole: ClassVar[bool] = True


@record
class ForBan(_Awaited):
    """The tokens that spell a text, to be banned."""

    asks: ClassVar[type[Request]] = Spell
    text: str


@record
class ForEvaluation:
    """The distributions at consecutive positions of a path."""

    asks: ClassVar[type[Request]] = Evaluate
    nodes: tuple[Node, ...]
    """The nodes that the distributions belong to, in order."""
    start: int
    """Position of the first node."""
    asked: int | None
    """A token whose probability after the last node is requested too."""
    lens: Raw | Sampled = RAW
    """The lens whose verdicts come along."""
    awaited: bool = True
    """Whether the screen waits for this; late answers are kept either way."""
    reached: int = 0
    """The position after the last one that was answered."""
    sole: ClassVar[bool] = False

    @property
    def target(self) -> Node:
        """The path whose table is wanted."""
        return self.nodes[-1]


@record
class ForAutoplay:
    """The most likely tokens, or drawn ones, one after the other."""

    asks: ClassVar[type[Request]] = Continue
    target: Node
    """The path with the tokens that came so far."""
    lens: Raw | Sampled = RAW
    awaited: bool = True
    """Whether autoplay goes on; answers after its end are kept too."""
    sole: ClassVar[bool] = False


@record
class ForLookahead:
    """The distributions after a path and each of some branches. Answered never, once or several times."""

    asks: ClassVar[type[Request]] = Lookahead
    target: Node
    branches: tuple[tuple[int, ...], ...]
    best_first: bool = False
    """Whether branches go beyond the next token, by joint probability: results are kept beside the tree of paths."""
    going: bool = True
    """Whether no later request ended this; late answers are kept either way."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = False

    @property
    def base(self) -> Node:
        """The path that the branches continue."""
        return self.target


@record
class ForFanOut:
    """The distributions after some continuations of a path, for a search for answers. Answered in parts."""

    asks: ClassVar[type[Request]] = Lookahead
    out: FanOut
    nodes: tuple[Node, ...]
    """The paths whose distributions are still missing."""
    awaited: bool = True
    """Whether no later request ended this; late answers are kept either way."""
    sole: ClassVar[bool] = False

    @property
    def base(self) -> Node:
        """The path that all of them continue."""
        return self.out.base

    @property
    def going(self) -> bool:
        """As with `ForLookahead`."""
        return self.awaited


@record
class ForCritical:
    """The distribution after a path, to continue the second choice at a doubtful place."""

    asks: ClassVar[type[Request]] = Lookahead
    node: Node
    awaited: bool = True
    """Whether no later request ended this; late answers are kept either way."""
    sole: ClassVar[bool] = False

    @property
    def base(self) -> Node | None:
        """The path without its last token."""
        return self.node.parent


@record
class ForWalk:
    """The distributions at some positions of a path, where the engine does not give all of a prompt at once.

    Answered one by one, in the order given, until a later request ends it.
    """

    asks: ClassVar[type[Request]] = Walk
    target: Node
    """The path."""
    nodes: tuple[Node, ...]
    """The nodes whose distributions are still missing, the most wanted first."""
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = False


@record
class ForVerdicts:
    """A lens's verdicts on a path's tokens from some position on."""

    asks: ClassVar[type[Request]] = Evaluate
    nodes: tuple[Node, ...]
    """The nodes whose distributions come along, in order."""
    start: int
    """Position of the first node."""
    lens: Sampled
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = True


@record
class ForView(_Awaited):
    """What a lens leaves of the distribution after a path."""

    asks: ClassVar[type[Request]] = Apply
    sole: ClassVar[bool] = True
    node: Node
    lens: Sampled


@record
class ForRoll(_Awaited):
    """A token drawn through a lens, to append it; or many draws, to count them."""

    asks: ClassVar[type[Request]] = Roll
    node: Node
    lens: Raw | Sampled
    seed: int
    """The seed of these draws, even if the player changes it meanwhile."""
    many: bool
    """Whether the draws are only counted."""


@record
class ForConstraint(_Awaited):
    """Whether the engine accepts a constraint, and where a prompt breaks it."""

    asks: ClassVar[type[Request]] = Constrain
    sole: ClassVar[bool] = True
    constraint: Constraint
    place: Node
    """The constraint begins after this path."""
    tip: Node
    """The prompt's tip."""


@record
class ForForced(_Awaited):
    """The tokens that a constraint forces."""

    asks: ClassVar[type[Request]] = Force
    sole: ClassVar[bool] = True
    node: Node
    lens: Sampled


@record
class ForPhrase:
    """Where a scored phrase breaks the constraint, if it does so."""

    asks: ClassVar[type[Request]] = Constrain
    node: Node
    """The phrase's end."""
    lens: Sampled
    """The constraint and where it begins, without samplers."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = True


@record
class ForCheck:
    """Whether a path is what the tokenizer makes of its text. May never be answered."""

    asks: ClassVar[type[Request]] = Check
    target: Node
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = True


@record
class ForStrict:
    """Strict distributions at consecutive positions of a path, for a comparison.

    Answered in parts, until a later request ends it.
    """

    asks: ClassVar[type[Request]] = EvaluateStrictly
    target: Node
    """The path."""
    start: int
    """The first position that is still missing."""
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = False


@record
class ForDifference:
    """How the distributions after two paths differ."""

    asks: ClassVar[type[Request]] = Compare
    a: Node
    b: Node
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = True


@record
class ForNoise:
    """How far apart two strict answers to one request can be."""

    asks: ClassVar[type[Request]] = MeasureNoise
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = True


@record
class Positions:
    """Consecutive positions of a path whose distributions of two models are compared."""

    tip: Node
    """The path up to the token after the last position, where there is one."""
    start: int
    end: int
    """The position after the last."""

    def same(self, other: "Positions") -> bool:
        """Whether `other` has the same positions and, up to the last of them, the same tokens."""
        same_range = (self.start, self.end) == (other.start, other.end)
        return same_range and self.tip.ancestor(self.end) is other.tip.ancestor(other.end)


@record
class ForExport:
    """The rows of a part, written to the file by the second model's engine, unless a later request ends this."""

    asks: ClassVar[type[Request]] = Export
    part: Positions
    awaited: bool = True
    """Whether no later request ended this."""
    sole: ClassVar[bool] = True


@record
class ForAgainst:
    """How a part's distributions differ from those in the file, unless a later request ends this."""

    asks: ClassVar[type[Request]] = Against
    part: Positions
    detailed: bool
    """Whether everything that a table shows is requested."""
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = True


@record
class ForRecall:
    """The differences of a part that are on the disk, unless a later request ends this."""

    asks: ClassVar[type[Request]] = Recall
    part: Positions
    detailed: bool
    """As with `ForAgainst`."""
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = True


@record
class ForStrictLookahead:
    """Strict lookahead by one of two models, which keeps the results, unless a later request ends this."""

    asks: ClassVar[type[Request]] = LookaheadStrictly
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = True


@record
class ForCompanion(_Awaited):
    """The second model's tokens for the text of a path of the first."""

    sole: ClassVar[bool] = True
    target: Node
    """The path of the first model."""


@record
class ForParting:
    """The most likely tokens of one of two models, one after the other, to see where the models part.

    A later request ends this.
    """

    asks: ClassVar[type[Request]] = Continue
    awaited: bool = True
    """Whether no later request ended this."""
    sole: ClassVar[bool] = True


OfTwo: TypeAlias = ForExport | ForParting
"""Requests to one of two models that are compared, which the player waits for."""
Computed: TypeAlias = ForEvaluation | ForAutoplay
"""Requests for the active prompt, typed text or a phrase: only the newest can be awaited."""
Comparing: TypeAlias = ForStrict | ForDifference | ForNoise | ForAgainst | ForRecall | ForStrictLookahead
"""Requests for a comparison while nothing else is open: any later request ends them."""
AheadOf: TypeAlias = ForLookahead | ForFanOut | ForCritical
"""Requests for distributions after continuations of a path."""
Decoded: TypeAlias = Computed | ForLookahead | ForFanOut | ForCritical | ForWalk | ForVerdicts | Comparing
"""Requests that are answered in order: an answer ends all those before its own."""
Tokens: TypeAlias = (
    ForStart
    | ForContinuation
    | ForScore
    | ForNewPrompt
    | ForEdited
    | ForInsertion
    | ForRetokenized
    | ForCarried
    | ForCompanion
)
"""Requests for the tokens of a text."""
OfLens: TypeAlias = ForView | ForRoll | ForConstraint | ForForced | ForPhrase
"""Requests to samplers and constraints."""
Purpose: TypeAlias = Tokens | ForSearch | ForBan | Decoded | OfLens | OfTwo | ForCheck
