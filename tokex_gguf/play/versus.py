"""What the active prompt, A, is compared with: B. Pure."""

from typing import TypeAlias

from tokex_gguf.values.layers import Layer
from tokex_gguf.values.record import record
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


Versus: TypeAlias = Alone | AgainstPrompt | AgainstModel
