"""What the engine's numbers are compared with: llama.cpp alone, and models to do it with."""

import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
from llama_cpp import llama_cpp
from numpy.typing import NDArray

from tests import opened  # noqa: F401  notes what is opened
from tokex_gguf.engine.worker.abort import CALLBACK, Abort
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import Llama
from tokex_gguf.values.distribution import Distribution

Probabilities = NDArray[np.float64]


class Fresh:
    """llama.cpp without the engine: every path into an empty cache, in batches of one size."""

    def __init__(
        self,
        path: Path,
        *,
        size: int = 64,
        cells: int = 1024,
        threads: int = 1,
        flash: int = -1,
        repack: bool = True,
    ) -> None:
        llama_cpp.llama_backend_init()
        model = llama_cpp.llama_model_default_params()
        model.n_gpu_layers = 0
        model.use_extra_bufts = repack and b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info()
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), model)
        assert self._model
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = max(size, 32)
        params.n_threads = params.n_threads_batch = threads
        if flash >= 0:
            params.flash_attn_type = flash
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        assert self._context
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self.size = size

    def close(self) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def probabilities(self, path: list[int]) -> Probabilities:
        """The probability of every token after a path."""
        llama_cpp.llama_memory_clear(self._memory, True)
        for start in range(0, len(path), self.size):
            tokens = path[start : start + self.size]
            array = (llama_cpp.llama_token * len(tokens))(*tokens)
            assert llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(array, len(tokens))) == 0
        row = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self._context, -1), (self._vocabulary,))
        logits = row.astype(np.float64)
        weights = np.exp(logits - logits.max())
        return np.asarray(weights / weights.sum())

    def logits(self, path: list[int]) -> Probabilities:
        """The logits of every token at all positions of a path, shape (tokens, vocabulary)."""
        llama_cpp.llama_memory_clear(self._memory, True)
        batch = llama_cpp.llama_batch_init(self.size, 0, 1)
        count = -(-len(path) // self.size)  # parts as equal as can be
        bounds = [len(path) * part // count for part in range(count + 1)]
        found = np.empty((len(path), self._vocabulary))
        for start, end in pairwise(bounds):
            batch.n_tokens = end - start
            for index, token in enumerate(path[start:end]):
                batch.token[index], batch.pos[index] = token, start + index
                batch.n_seq_id[index], batch.seq_id[index][0], batch.logits[index] = 1, 0, 1
            assert llama_cpp.llama_decode(self._context, batch) == 0
            for index in range(end - start):
                row = llama_cpp.llama_get_logits_ith(self._context, index)
                found[start + index] = np.ctypeslib.as_array(row, (self._vocabulary,))
        llama_cpp.llama_batch_free(batch)
        return found


def quantised(model: Path, to: Path, kind: int) -> Path:
    """A model's weights in another type of numbers, by llama.cpp."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = kind, True
    assert llama_cpp.llama_model_quantize(os.fsencode(model), os.fsencode(to), params) == 0
    return to


def difference(distribution: Distribution, fresh: Probabilities) -> float:
    """The largest difference of a candidate's probability."""
    worst = float(np.abs(np.exp(np.array(distribution.logprobs)) - fresh[list(distribution.ids)]).max())
    assert math.isfinite(worst), "a number that is none is never the larger of two"
    return worst


def tip(evaluator: Evaluator, path: list[int], top: int) -> tuple[Distribution, int]:
    """The distribution after a path, and the number of tokens decoded for it."""
    chunks = list(evaluator.evaluate(path, len(path) - 1, top))
    return chunks[-1].distributions[-1], sum(chunk.decoded for chunk in chunks)


def open_model(path: Path, context: int = 0, stop: Abort | None = None, threads: int = 1) -> Llama:
    return Llama(path, context=context, threads=threads, progress=lambda _: None, abort=stop or Abort())


class Stopper(Abort):
    """Asks a decode to end after so many questions."""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None
        self.callback = CALLBACK(lambda _: self.asked)

    @property  # type: ignore[misc]
    def asked(self) -> bool:  # nobody sets it: it counts
        if self.left is None:
            return False
        self.left -= 1
        return self.left < 0
