"""Which kind of server is there, and whether it can be played on."""

from tokex_gguf.engine.remote.dialects import llama_server
from tokex_gguf.engine.remote.dialects.checks import dig
from tokex_gguf.engine.remote.dialects.dialect import Call, Dialect, Nonsense, Refused, Steps, Unsuited

SUITED = "llama-server, vLLM or SGLang"


def probe(model: str) -> Steps[Dialect]:
    """Finds out how to talk to a server. `model`: which of its models; empty: its only one, or its first.

    Raises Unsuited where it is none that takes and gives the ids of tokens.
    """
    try:
        listed = yield Call("/v1/models")
        owner = dig(listed, "data", 0, "owned_by")
    except (Refused, Nonsense):
        raise Unsuited(f"that is no server of models as {SUITED} is") from None
    if owner == "llamacpp":
        return (yield from llama_server.connect(model))
    who = {"library": "Ollama"}.get(owner, "this server") if isinstance(owner, str) else "this server"
    raise Unsuited(f"{who} takes and gives no ids of tokens: {SUITED} does")
