"""A model that is downloaded while another one is played. Pure."""

from typing import TypeAlias

from tokex_gguf.values.record import record


@record
class Wanted:
    """It is not asked for yet."""

    name: str
    """As `--model` takes it."""


@record
class Coming:
    """It is on its way."""

    name: str
    percent: int = 0


@record
class Here:
    """It can be played."""

    name: str
    path: str


DownloadState: TypeAlias = Wanted | Coming | Here


def meanwhile(name: str) -> str:
    """What the player is told of the model that stands in for this one."""
    return f"this is the small bundled model: play with it while {title(name)} is downloaded"


def title(name: str) -> str:
    """A model on the hub in one word.

    >>> title("QuantFactory/Qwen2.5-0.5B-GGUF:Qwen2.5-0.5B.Q4_K_M.gguf")
    'Qwen2.5-0.5B'
    """
    repo = name.partition(":")[0].partition("@")[0]
    return repo.rpartition("/")[2].removesuffix("-GGUF")
