"""Which model is meant. Pure."""

from pathlib import PurePath
from typing import TypeAlias

from tokex_gguf.values.record import record


@record
class GgufFile:
    """A file on this machine."""

    path: str
    asked: str = ""
    """The name that the player gave for it, such as REPO:QUANT; empty: not known. Only ever shown."""

    @property
    def key(self) -> str:
        """What its game is kept by: there is one for each file, whatever it was asked for as."""
        return self.path

    @property
    def name(self) -> str:
        """In one word."""
        return PurePath(self.path).name

    @property
    def server(self) -> str:
        """The server that has it: none."""
        return ""


@record
class ServerModel:
    """A model that a server has."""

    url: str
    """Scheme, host and port, and a path where the server is behind one."""
    asked: str = ""
    """Which of the server's models; empty: its only one, or its first."""

    @property
    def key(self) -> str:
        """What its game is kept by."""
        return f"{self.url}#{self.asked}" if self.asked else self.url

    @property
    def name(self) -> str:
        """In one word: the server's host and port."""
        return self.url.partition("://")[2].strip("/")

    @property
    def server(self) -> str:
        """The server that has it."""
        return self.name


ModelRef: TypeAlias = GgufFile
