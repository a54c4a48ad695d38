"""Through what a distribution is seen: the part of a question that is not the path.

A lens is a value that can be a key: frozen, and equal to another where the two
make the same of the same logits. `RAW` is what the model says itself.
"""

from functools import lru_cache

from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.record import record
from tokex_gguf.values.samplers import NO_CHAIN, Chain, Kind


@record
class Lens:
    """The base of all lenses. One that changes the numbers carries what it changes them by."""


@record
class Raw(Lens):
    """What the model says, as it is."""


RAW = Raw()

GRAMMAR = "grammar"
"""What cuts a token that a constraint does not allow."""
LOGIT_BIAS = "logit bias"
"""What cuts a token that is banned."""


@record
class Sampled(Lens):
    """What a constraint and a sampler chain leave of it."""

    chain: Chain
    """As `Chain.acting` gives it."""
    constraint: Constraint | None = None
    """Applied before the chain."""
    start: int = 0
    """How many tokens of the path come before the constraint, or before what mirostat and adaptive-p have chosen."""

    @property
    def stages(self) -> tuple[str, ...]:
        """What cuts tokens, in order, by the names that the screen has for it."""
        grammar = (GRAMMAR,) if self.constraint else ()
        bias = (LOGIT_BIAS,) if self.chain.bias else ()
        return (*grammar, *bias, *(one.row.title for one in self.chain.samplers))

    def stage(self, number: int) -> str:
        """What a stage is called; what an engine says of one that there is not, is told as it is."""
        return self.stages[number] if 0 <= number < len(self.stages) else f"stage {number + 1}"

    @property
    def remembers(self) -> bool:
        """Whether what it does depends on what was chosen before, beyond the tokens themselves."""
        return any(one.row.chooses for one in self.chain.samplers)


@lru_cache(64)
def lens_of(
    chain: Chain, constraint: Constraint | None = None, start: int = 0, suppressed: tuple[int, ...] = ()
) -> Raw | Sampled:
    """The lens of a chain and a constraint; what changes nothing is left out of it, so that equal ones are equal.

    `suppressed`: tokens that the model's own file bans. As in llama.cpp's tools they join the biased ones, but what
    is drawn by the model's own probabilities is left as it is.

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
    """A lens as one that can be drawn through: raw, everything is left as it is."""
    return Sampled(NO_CHAIN) if isinstance(one, Raw) else one
