"""Finds out which kind of server answers, and whether it can be used."""

from collections.abc import Mapping
from typing import Any

from tokex_gguf.engine.remote.dialects import llama_server
from tokex_gguf.engine.remote.dialects.by_text import listed
from tokex_gguf.engine.remote.dialects.checks import dig, found, name
from tokex_gguf.engine.remote.dialects.dialect import (
    Call,
    CallRefused,
    Dialect,
    InvalidAnswer,
    Steps,
    UnsupportedServer,
)
from tokex_gguf.engine.remote.dialects.sglang import SGLang
from tokex_gguf.engine.remote.dialects.vllm import VLLM

SUITED = "llama-server, vLLM or SGLang"


def probe(model: str) -> Steps[Dialect]:
    """Finds the dialect of a server. `model`: which of its models; empty: its only one, or its first.

    Raises UnsupportedServer for a server that does not work with token ids.
    """
    try:
        rows = dig((yield Call("/v1/models")), "data")
        owner = name(dig(rows, 0, "owned_by"))
    except (CallRefused, InvalidAnswer):
        raise UnsupportedServer(f"that is no server of models as {SUITED} is") from None
    try:
        if owner == "llamacpp":
            return (yield from llama_server.connect(model))
        if owner == "vllm" or found(rows, 0, "max_model_len"):
            row: Mapping[str, Any] = yield from listed(model)
            identifier = name(row.get("id"))
            # Behind a proxy, a server may not give its name.
            if owner == "sglang" or (owner != "vllm" and (yield from _is_there("/model_info"))):
                return (yield from SGLang(identifier).connect(row))
            if owner == "vllm" or (yield from _is_there("/version")):
                return (yield from VLLM(identifier).connect(row))
    except CallRefused as refused:
        if refused.status not in (404, 405, 501):
            raise
    who = {"library": "Ollama"}.get(owner, "this server")
    raise UnsupportedServer(f"{who} takes and gives no ids of tokens: {SUITED} does")


def _is_there(path: str) -> Steps[bool]:
    try:
        yield Call(path)
    except (CallRefused, InvalidAnswer):
        return False
    return True
