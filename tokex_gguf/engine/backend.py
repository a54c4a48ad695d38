"""The interface of an engine: requests go in, replies come out.

`engine.client.EngineClient` implements it with a process. Tests have their own engines.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from tokex_gguf.engine.protocol import EngineDied, Reply, Request

Delivery: TypeAlias = Reply | EngineDied
"""What an engine delivers; EngineDied is the last."""


class Engine(Protocol):
    """A connected engine."""

    @property
    def pid(self) -> int | None:
        """Its process id; None where it has no process on this machine."""

    def send(self, request: Request) -> None:
        """Queues a request; returns at once. Requests after the engine's end are dropped."""

    def close(self) -> None:
        """Ends the engine, even in the middle of a request. Nothing is delivered afterwards."""


Connect: TypeAlias = Callable[[Callable[[Delivery], None]], Engine]
"""Connects to a new engine, which calls the given function from any thread with each delivery. Raises OSError."""
