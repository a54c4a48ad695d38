"""The baselines: plain scripts over llama_cpp, as short as they can be. Run as a program of its own.

python benchmarks/bare.py MODEL decode DEPTH STEPS    milliseconds of each of STEPS single-token decodes
python benchmarks/bare.py MODEL paused DEPTH STEPS    the same, with a pause before each, as between two keys
python benchmarks/bare.py MODEL evaluate LENGTH CHUNK tokens/s with the logits of every token, nothing done with them
python benchmarks/bare.py MODEL suffix DEPTH COUNT    milliseconds of COUNT tokens behind DEPTH others, in batches of 48
python benchmarks/bare.py MODEL branches DEPTH STEPS  tokens/s of 16 branches behind DEPTH tokens, 16 in a batch
python benchmarks/bare.py MODEL greedy DEPTH STEPS [THREADS]    tokens/s of a greedy loop
python benchmarks/bare.py MODEL first TEXT            imports, loads, tokenises, decodes, and ends
python benchmarks/bare.py MODEL uncached LENGTH       milliseconds of the whole prompt again, for one token's logits
"""

import json
import sys
import time

import llama_cpp
import numpy as np

silent = llama_cpp.llama_log_callback(lambda *_: None)
"""llama.cpp's log is not wanted here."""


class Bare:
    """A model and a context with the program's own settings, and nothing around them."""

    def __init__(self, path: str, cells: int, batch: int, threads: int = 0, sequences: int = 1) -> None:
        from tokex_gguf.engine.worker.llama import default_threads

        llama_cpp.llama_log_set(silent, None)
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        params.use_extra_bufts = b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.size = llama_cpp.llama_vocab_n_tokens(self.vocab)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = cells, batch, batch
        settings.n_seq_max, settings.kv_unified = sequences, True
        settings.n_threads = settings.n_threads_batch = threads or default_threads()
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        self.batch = llama_cpp.llama_batch_init(batch, 0, 1)

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text."""
        data = text.encode()
        ids = (llama_cpp.llama_token * (len(data) + 8))()
        return list(ids[: llama_cpp.llama_tokenize(self.vocab, data, len(data), ids, len(ids), True, True)])

    def decode(self, tokens: list[int], position: int, *, every: bool, beside: bool = False) -> None:
        """One batch; with the logits of every token, or of the last. `beside`: each in a sequence of its own."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index], batch.pos[index] = token, position if beside else position + index
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 1 + index if beside else 0
            batch.logits[index] = every or index == len(tokens) - 1
        if llama_cpp.llama_decode(self.context, batch):
            raise SystemExit("llama_decode failed")

    def fill(self, tokens: list[int], chunk: int, *, every: bool = False) -> None:
        """A whole prompt."""
        for at in range(0, len(tokens), chunk):
            self.decode(tokens[at : at + chunk], at, every=every)

    def likeliest(self) -> int:
        """The token with the largest logit."""
        logits = llama_cpp.llama_get_logits_ith(self.context, -1)
        return int(np.ctypeslib.as_array(logits, shape=(self.size,)).argmax())


WIDE = 16
"""Branches that are decoded in one batch."""
PAUSE = 0.15
"""Seconds between two decodes that wait for a player."""


def text_of(length: int) -> str:
    """A text of about `length` tokens that no model finds strange."""
    return "The quick brown fox jumps over the lazy dog, and then it sleeps. " * (length // 15 + 1)


def main() -> None:
    """Prints one JSON value."""
    path, what, *rest = sys.argv[1:]
    if what == "first":
        bare = Bare(path, 4096, 64)
        bare.fill(bare.tokenize(rest[0]), 64, every=True)
        print(json.dumps(None))
        return
    length = int(rest[0])
    chunk = int(rest[1]) if what == "evaluate" else 64
    steps = int(rest[1]) if len(rest) > 1 else 0
    threads, sequences = int(rest[2]) if len(rest) > 2 else 0, 1 + WIDE if what == "branches" else 1
    bare = Bare(path, length + max(WIDE * steps, 512), chunk, threads, sequences)
    tokens = bare.tokenize(text_of(length))[:length]
    if what == "uncached":
        began = time.perf_counter()
        bare.fill(tokens, chunk)
        print(json.dumps((time.perf_counter() - began) * 1000))
        return
    if what == "evaluate":
        began = time.perf_counter()
        bare.fill(tokens, chunk, every=True)
        print(json.dumps(length / (time.perf_counter() - began)))
        return
    bare.fill(tokens, chunk)
    if what == "suffix":
        began = time.perf_counter()
        for at in range(0, steps, 48):
            bare.decode(tokens[at : min(at + 48, steps)], length + at, every=True)
        print(json.dumps((time.perf_counter() - began) * 1000))
        return
    if what == "branches":
        memory = llama_cpp.llama_get_memory(bare.context)
        for branch in range(1, 1 + WIDE):
            llama_cpp.llama_memory_seq_cp(memory, 0, branch, 0, length)
        began = time.perf_counter()
        for step in range(steps):
            bare.decode(tokens[step : step + WIDE], length + step, every=True, beside=True)
        print(json.dumps(WIDE * steps / (time.perf_counter() - began)))
        return
    times = []
    for step in range(steps):
        if what == "paused":
            time.sleep(PAUSE)
        began = time.perf_counter()
        token = bare.likeliest() if what == "greedy" else tokens[step]
        bare.decode([token], length + step, every=True)
        times.append(time.perf_counter() - began)
    print(json.dumps(steps / sum(times) if what == "greedy" else [seconds * 1000 for seconds in times]))


if __name__ == "__main__":
    main()
