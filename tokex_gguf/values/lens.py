"""Lenses: raw, or a constraint and a sampler chain.

A path and a lens are the key of an answer. So a lens is frozen, and equal to another
where both give the same result for all logits. `RAW` leaves the model's own numbers.
"""

from functools import lru_cache

from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.record import record
from tokex_gguf.values.samplers import NO_CHAIN, Chain, Kind


@record
class Lens:
    """The base of all lenses."""


@record
class Raw(Lens):
    """The model's own distribution."""


RAW = Raw()

GRAMMAR = "grammar"
"""The stage that cuts tokens that a constraint does not allow."""
LOGIT_BIAS = "logit bias"
"""The stage that cuts banned tokens."""


@record
class Sampled(Lens):
    """A constraint and a sampler chain."""

    chain: Chain
    """As `Chain.acting` gives it."""
    constraint: Constraint | None = None
    """Applied before the chain."""
    start: int = 0
    """How many tokens of the path come before the constraint, or before the first choice of mirostat and adaptive-p."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages that cut tokens, in order, as the screen shows them."""
        grammar = (GRAMMAR,) if self.constraint else ()
        bias = (LOGIT_BIAS,) if self.chain.bias else ()
        return (*grammar, *bias, *(one.row.title for one in self.chain.samplers))

    def stage(self, number: int) -> str:
        """The name of a stage; for a number that no stage has, the number itself."""
        return self.stages[number] if 0 <= number < len(self.stages) else f"stage {number + 1}"

    @property
    def remembers(self) -> bool:
        """Whether a sampler has a memory of earlier choices, beyond the tokens themselves."""
        return any(one.row.chooses for one in self.chain.samplers)


@lru_cache(64)
def lens_of(
    chain: Chain, constraint: Constraint | None = None, start: int = 0, suppressed: tuple[int, ...] = ()
) -> Raw | Sampled:
    """The lens of a chain and a constraint, without parts that change nothing: lenses with one effect are equal.

    `suppressed`: tokens that the model's own file bans. As in llama.cpp's tools they become biases, but the raw lens
    does not ban them.

    >>> lens_of(NO_CHAIN)
    Raw()
    """
    acting = chain.acting
    if acting == NO_CHAIN and constraint is None:
        return RAW
    acting = acting.banning(suppressed) if suppressed else acting
    counts = constraint is not None or any(one.kind in (Kind.MIROSTAT, Kind.ADAPTIVE_P) for one in acting.samplers)
    return Sampled(acting, constraint, start if counts else 0)


def as_sampled(one: Raw | Sampled) -> Sampled:
    """A lens that can be drawn through; for the raw lens, an empty chain."""
    return Sampled(NO_CHAIN) if isinstance(one, Raw) else one
