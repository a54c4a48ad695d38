"""A model that is downloaded while another one is played. Pure."""

from typing import TypeAlias

from tokex_gguf.values.record import record


@record
class Wanted:
    """The download has not been requested yet."""

    name: str
    """As `--model` takes it."""


@record
class Coming:
    """The download is running."""

    name: str
    percent: int = 0


@record
class Here:
    """The model is downloaded."""

    name: str
    path: str


DownloadState: TypeAlias = Wanted | Coming | Here


def meanwhile(name: str) -> str:
    """The notice while the bundled model is played instead."""
    return f"this is the small bundled model: play with it while {title(name)} is downloaded"


def title(name: str) -> str:
    """The short name of a model on the hub.

    >>> title("QuantFactory/Qwen2.5-0.5B-GGUF:Qwen2.5-0.5B.Q4_K_M.gguf")
    'Qwen2.5-0.5B'
    """
    repo = name.partition(":")[0].partition("@")[0]
    return repo.rpartition("/")[2].removesuffix("-GGUF")
