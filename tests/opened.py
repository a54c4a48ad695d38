"""What a test opens of llama.cpp is closed with it: an engine has one model as long as it lives, and tests have many.

Noted is what passes through the binding. Whoever imports this module does that for all that is opened behind it.
"""

import gc
from collections.abc import Set
from typing import Any
from weakref import WeakSet

from llama_cpp import llama_cpp

from tokex_gguf.engine.worker.llama import Llama

_models: set[int] = set()
"""The addresses of those that are open."""
_contexts: dict[int, int] = {}
"""Of those that are open, with their models."""
_played: "WeakSet[Llama]" = WeakSet()
"""Objects that have a context, and may open another one in its place."""

_load, _free_model = llama_cpp.llama_model_load_from_file, llama_cpp.llama_model_free
_init, _free = llama_cpp.llama_init_from_model, llama_cpp.llama_free
_open = Llama._open


def _note_model(*arguments: Any) -> int | None:
    model: int | None = _load(*arguments)
    if model:
        _models.add(model)
    return model


def _forget_model(model: int) -> None:
    _models.discard(model)
    _free_model(model)


def _note_context(model: int, *arguments: Any) -> int | None:
    context: int | None = _init(model, *arguments)
    if context:
        _contexts[context] = model
    return context


def _forget_context(context: int) -> None:
    _contexts.pop(context, None)
    _free(context)


def _note_object(self: Llama, cells: int) -> int | None:
    _played.add(self)
    return _open(self, cells)


for _where, _name, _noting in (
    (llama_cpp, "llama_model_load_from_file", _note_model),
    (llama_cpp, "llama_model_free", _forget_model),
    (llama_cpp, "llama_init_from_model", _note_context),
    (llama_cpp, "llama_free", _forget_context),
    (Llama, "_open", _note_object),
):
    setattr(_where, _name, _noting)


def now() -> frozenset[int]:
    """The addresses of all that is open."""
    return frozenset(_models | _contexts.keys())


def close_all_but(before: Set[int]) -> None:
    """Closes what is open now and was not before.

    A context of an older model may have taken another one's place: it stays while something plays with it.
    """
    contexts = [context for context in _contexts if context not in before]
    if any(_contexts[context] in before for context in contexts):
        gc.collect()
        used = {one._context for one in _played}
        contexts = [one for one in contexts if _contexts[one] not in before or one not in used]
    for context in contexts:
        _forget_context(context)
    for model in _models - before:
        _forget_model(model)
