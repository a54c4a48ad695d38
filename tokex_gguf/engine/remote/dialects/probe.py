"""Which kind of server it is."""

from tokex_gguf.engine.remote.dialects.dialect import Dialect, Steps
from tokex_gguf.engine.remote.dialects.llama_server import connect


def probe(model: str) -> Steps[Dialect]:
    """Finds out what a server is. `model`: which of its models; empty: its only one."""
    return (yield from connect(model))
