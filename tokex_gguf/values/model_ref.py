"""References to models. Pure."""

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
        """The key of its game: one for each file, whatever name was given."""
        return self.path

    @property
    def name(self) -> str:
        """In one word."""
        return PurePath(self.path).name

    @property
    def called(self) -> str:
        """The name that the player gave, for a list; empty: not known."""
        return self.asked

    @property
    def server(self) -> str:
        """Empty: no server has it."""
        return ""


@record
class ServerModel:
    """A model on a server."""

    url: str
    """Scheme, host and port, and a path where the server is behind one."""
    asked: str = ""
    """Which of the server's models; empty: its only one, or its first."""

    @property
    def key(self) -> str:
        """The key of its game."""
        return f"{self.url}#{self.asked}" if self.asked else self.url

    @property
    def name(self) -> str:
        """In one word: the server's host and port."""
        return self.url.partition("://")[2].strip("/")

    @property
    def called(self) -> str:
        """The name that the player gave, for a list."""
        return f"{self.url} {self.asked}".rstrip()

    @property
    def server(self) -> str:
        """The server that has it."""
        return self.name


ModelRef: TypeAlias = GgufFile | ServerModel


def model_at(place: str, asked: str = "") -> ModelRef:
    """The model of a file's path, or of a server's address: a normalised path never starts with http://.

    >>> model_at("models/a.gguf"), model_at("http://127.0.0.1:8080", "qwen")
    (GgufFile(path='models/a.gguf', asked=''), ServerModel(url='http://127.0.0.1:8080', asked='qwen'))
    """
    return ServerModel(place, asked) if place.startswith(("http://", "https://")) else GgufFile(place, asked)


def model_of(key: str) -> ModelRef:
    """The model of a `key`. A server's address has no #.

    >>> model_of("http://127.0.0.1:8080#qwen")
    ServerModel(url='http://127.0.0.1:8080', asked='qwen')
    """
    model = model_at(key)
    if isinstance(model, GgufFile):
        return model
    url, _, asked = key.partition("#")
    return ServerModel(url, asked)
