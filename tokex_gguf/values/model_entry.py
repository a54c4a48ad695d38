"""A model in the list that the player chooses from."""

from typing import NamedTuple


class ModelEntry(NamedTuple):
    """The line of the list for a model on this machine."""

    path: str
    """Its file; of a split model, the first part."""
    name: str
    """Its name for `--model`."""
    kind: str
    """Its quantisation, else its architecture; empty where it cannot be played."""
    size: str
    """Of all its files, as text."""
    fault: str = ""
    """Why it cannot be played; empty where it can."""
