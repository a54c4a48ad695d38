"""What the engine's answers are for: one value for each request that may still be answered.

A reply, or the engine's refusal, is matched against these, so that none is forgotten: a new
purpose is a type error wherever it is not handled.
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
    """The player waits for the answer, and for each one."""

    asks: ClassVar[type[Request]] = Tokenize
    """What is asked of the engine, for its queue's rules."""
    awaited: ClassVar[bool] = True
    sole: ClassVar[bool] = False
    """Whether a newer request of the same kind makes this one's answer worthless."""


@record
class ForStart(_Awaited):
    """The tokens of the starting prompt."""


@record
class ForContinuation(_Awaited):
    """The tokens of the text that is typed."""

    sole: ClassVar[bool] = True
    entered: bool = False
    """Whether Enter was pressed: the text is appended once they are there."""


@record
class ForScore(_Awaited):
    """The tokens of a phrase that is to be scored."""

    base: Node
    """The path it goes on from."""


@record
class ForNewPrompt(_Awaited):
    """The tokens of a text that becomes one more prompt."""

    text: str


@record
class ForEdited(_Awaited):
    """The tokens of a text that becomes a prompt in place of the one that was edited."""

    replacing: Node
    """The end of that one."""


@record
class ForInsertion(_Awaited):
    """The tokens of the text that is typed into the middle of a prompt."""

    sole: ClassVar[bool] = True


@record
class ForRetokenized(_Awaited):
    """The tokens that the tokenizer makes of a prompt's text."""

    sole: ClassVar[bool] = True
    tip: Node
    """The prompt's end."""


@record
class ForCarried(_Awaited):
    """The tokens of the first text that came along from another model."""


@record
class ForSearch(_Awaited):
    """What the search finds."""

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
    """The nodes they belong to, in order."""
    start: int
    """Position of the first."""
    asked: int | None
    """A token whose probability after the last one is asked for too."""
    lens: Raw | Sampled = RAW
    """Through which verdicts come along."""
    awaited: bool = True
    """Whether the screen waits for them; what comes of others is kept all the same."""
    reached: int = 0
    """Positions up to the last one that came."""
    sole: ClassVar[bool] = False

    @property
    def target(self) -> Node:
        """The path that they were asked for."""
        return self.nodes[-1]


@record
class ForAutoplay:
    """The most likely tokens, or those drawn through a lens, one after the other."""

    asks: ClassVar[type[Request]] = Continue
    target: Node
    """The last one that came, or the path they go on from."""
    lens: Raw | Sampled = RAW
    awaited: bool = True
    """Whether autoplay goes on; what still comes after its end is kept all the same."""
    sole: ClassVar[bool] = False


@record
class ForLookahead:
    """The distributions after a path and each of some branches. May be answered never, once or several times."""

    asks: ClassVar[type[Request]] = Lookahead
    target: Node
    branches: tuple[tuple[int, ...], ...]
    best_first: bool = False
    """Whether they go on behind the likeliest next tokens, by joint probability: what comes is kept beside the tree
    of paths."""
    going: bool = True
    """Whether nothing was asked behind it that ends it; what still comes is kept all the same."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = False

    @property
    def base(self) -> Node:
        """The path from which it is looked ahead."""
        return self.target


@record
class ForFanOut:
    """The distributions after some paths behind one, among which answers are looked for. Answered in parts."""

    asks: ClassVar[type[Request]] = Lookahead
    out: FanOut
    nodes: tuple[Node, ...]
    """The paths that are still to come."""
    awaited: bool = True
    """Whether nothing was asked behind it that ends it; what still comes is kept all the same."""
    sole: ClassVar[bool] = False

    @property
    def base(self) -> Node:
        """The path behind which they are."""
        return self.out.base

    @property
    def going(self) -> bool:
        """Whether it is still to be answered."""
        return self.awaited


@record
class ForCritical:
    """The distribution after a path, by which the second choice of a doubtful place is gone on from."""

    asks: ClassVar[type[Request]] = Lookahead
    node: Node
    awaited: bool = True
    """Whether nothing was asked behind it that ends it; what still comes is kept all the same."""
    sole: ClassVar[bool] = False

    @property
    def base(self) -> Node | None:
        """The path without its last token."""
        return self.node.parent


@record
class ForWalk:
    """The distributions at some positions of a path, where the engine does not give all of a prompt at once.

    Answered one by one, in any order, until something is asked behind it.
    """

    asks: ClassVar[type[Request]] = Walk
    target: Node
    """The path."""
    nodes: tuple[Node, ...]
    """The nodes that they belong to and that are still to come, the most wanted first."""
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = False


@record
class ForVerdicts:
    """What a lens made of a path's tokens from some position on."""

    asks: ClassVar[type[Request]] = Evaluate
    nodes: tuple[Node, ...]
    """The nodes whose distributions come along, in order."""
    start: int
    """Position of the first."""
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
    """A token drawn through a lens, to be appended; or many, to be counted."""

    asks: ClassVar[type[Request]] = Roll
    node: Node
    lens: Raw | Sampled
    seed: int
    """That of the numbers, whatever it is by the time that they come."""
    many: bool
    """Whether they are only counted."""


@record
class ForConstraint(_Awaited):
    """Whether the engine understands a constraint, and where a prompt leaves it."""

    asks: ClassVar[type[Request]] = Constrain
    sole: ClassVar[bool] = True
    constraint: Constraint
    place: Node
    """It begins behind this path."""
    tip: Node
    """The prompt's end."""


@record
class ForForced(_Awaited):
    """The tokens that a constraint leaves no choice in."""

    asks: ClassVar[type[Request]] = Force
    sole: ClassVar[bool] = True
    node: Node
    lens: Sampled


@record
class ForPhrase:
    """Where a scored phrase breaks the constraint, if it does."""

    asks: ClassVar[type[Request]] = Constrain
    node: Node
    """The phrase's end."""
    lens: Sampled
    """The constraint and its place, without samplers."""
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
    """Strict distributions at consecutive positions of a path, for what is compared.

    Answered in parts, until something is asked behind it.
    """

    asks: ClassVar[type[Request]] = EvaluateStrictly
    target: Node
    """The path."""
    start: int
    """The first position that is still to come."""
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = False


@record
class ForDifference:
    """How what comes after one path differs from what comes after another."""

    asks: ClassVar[type[Request]] = Compare
    a: Node
    b: Node
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = True


@record
class ForNoise:
    """How far apart two strict answers to one question can be."""

    asks: ClassVar[type[Request]] = MeasureNoise
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = True


@record
class Positions:
    """Consecutive positions of a path whose distributions two models are asked to compare."""

    tip: Node
    """The path up to the token behind the last of them, where there is one."""
    start: int
    end: int
    """The position behind the last."""

    def same(self, other: "Positions") -> bool:
        """Whether another one has the same positions and, up to the last of them, the same tokens."""
        places = (self.start, self.end) == (other.start, other.end)
        return places and self.tip.ancestor(self.end) is other.tip.ancestor(other.end)


@record
class ForExport:
    """The rows of a part, written into the file by the second model's engine. Ended by what is asked behind it."""

    asks: ClassVar[type[Request]] = Export
    part: Positions
    awaited: bool = True
    """Whether nothing was asked behind it."""
    sole: ClassVar[bool] = True


@record
class ForAgainst:
    """How the distributions of a part differ from those in the file. Ended by what is asked behind it."""

    asks: ClassVar[type[Request]] = Against
    part: Positions
    detailed: bool
    """Whether all is asked for that a table shows."""
    going: bool = True
    """As with `ForLookahead`."""
    awaited: ClassVar[bool] = False
    sole: ClassVar[bool] = True


@record
class ForStrictLookahead:
    """That one of two models has computed strictly what likely comes next. Ended by what is asked behind it."""

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
    """That path."""


@record
class ForParting:
    """The most likely tokens of one of two models, one after the other, to see where they part.

    Ended by what is asked behind it.
    """

    asks: ClassVar[type[Request]] = Continue
    awaited: bool = True
    """Whether nothing was asked behind it."""
    sole: ClassVar[bool] = True


OfTwo: TypeAlias = ForExport | ForParting
"""What two models are asked to be compared by."""
Computed: TypeAlias = ForEvaluation | ForAutoplay
"""What the active prompt, typed text and phrases wait for: at most one of them is awaited, the newest."""
Comparing: TypeAlias = ForStrict | ForDifference | ForNoise | ForAgainst | ForStrictLookahead
"""What is asked while something is compared and nothing else is asked: whatever is asked behind it ends it."""
AheadOf: TypeAlias = ForLookahead | ForFanOut | ForCritical
"""What is looked ahead to from a path."""
Decoded: TypeAlias = Computed | ForLookahead | ForFanOut | ForCritical | ForWalk | ForVerdicts | Comparing
"""What is answered in order: after one's answer nothing comes for those asked before."""
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
"""What a text's tokens are asked for."""
OfLens: TypeAlias = ForView | ForRoll | ForConstraint | ForForced | ForPhrase
"""What is asked of samplers and constraints."""
Purpose: TypeAlias = Tokens | ForSearch | ForBan | Decoded | OfLens | OfTwo | ForCheck
