"""Through what a distribution is seen: the part of a question that is not the path.

A lens is a value that can be a key: frozen, and equal to another where the two
make the same of the same logits. `RAW` is what the model says itself.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lens:
    """The base of all lenses. One that changes the numbers carries what it changes them by."""


@dataclass(frozen=True, slots=True)
class Raw(Lens):
    """What the model says, as it is."""


RAW = Raw()
