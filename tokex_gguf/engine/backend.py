"""What an engine is to the rest of the program: requests go in, replies come out.

The engine of this machine is `engine.client.EngineClient`, a process over llama.cpp. Tests bring their own.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from tokex_gguf.engine.protocol import EngineDied, Reply, Request

Delivery: TypeAlias = Reply | EngineDied
"""What an engine says. After EngineDied it says nothing more."""


class Engine(Protocol):
    """An engine that was connected to."""

    @property
    def pid(self) -> int | None:
        """Its process id on this machine; None where it has none here."""

    def send(self, request: Request) -> None:
        """Takes a request; returns at once. What is sent after the engine's end is dropped."""

    def close(self) -> None:
        """Ends it, whatever it is doing. Nothing is delivered afterwards."""


Connect: TypeAlias = Callable[[Callable[[Delivery], None]], Engine]
"""Makes a new engine. It calls the function that it is given, from any thread, for each thing that the engine says.
Raises OSError where there is none to be had."""
