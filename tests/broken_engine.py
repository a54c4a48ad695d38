"""The real engine with a fault built in, which SIGUSR1 lets happen: `python -m tests.broken_engine FAULT SECONDS`.

Each decode takes SECONDS longer, so that there is time to meet it.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from tokex_gguf.engine import __main__ as engine
from tokex_gguf.engine.worker.llama import BatchEntry, Llama
from tokex_gguf.engine.worker.logit_math import Logits

PIPE = os.dup(1)
"""The pipe to the other process, before the engine takes it."""


def says(data: bytes, *, ends: bool = False) -> Callable[[], None]:
    """Writes to the other process, and is then no better than before, or at an end."""

    def happen() -> None:
        os.write(PIPE, data)
        if ends:
            os._exit(0)

    return happen


def crash() -> None:
    ctypes.string_at(0)


FAULTS: dict[str, Callable[[], None]] = {
    "abort": os.abort,
    "crash": crash,
    "exit": lambda: os._exit(3),
    "leave": lambda: os._exit(0),
    "garbage": says(b"\xff\xfe\x00 no JSON \x1b[2J\n"),
    "half": says(b'["Evaluated",{"request":1,"dist', ends=True),
    "cut": says(b'["Evaluated",{"request":1,"dist\n'),
    "unknown": says(b'["Surprise",{}]\n'),
    "request": says(b'["Stop",{}]\n'),
    "deep": says(b"[" * 50_000 + b"\n"),
    "types": says(b'["Loading",{"fraction":"half"}]\n'),
    "shape": says(b'["Tokenized",{"request":[],"path":7,"pieces":[]}]\n'),
    "numbers": says(b'["Found",{"request":"x","tokens":[1],"taken":[[1,2,3]],"total":1,"pieces":[],'
                    b'"decoded":0,"seconds":0}]\n'),
    "nan": lambda: None,
}  # fmt: skip
"""What can happen. With `nan`, every decode from then on gives no numbers."""


def floods(data: bytes) -> Callable[[], None]:
    """Writes the same again and again, as fast as it is read, beside whatever else it says."""

    def happen() -> None:
        def write() -> None:
            while True:
                os.write(PIPE, data)

        threading.Thread(target=write, daemon=True).start()

    return happen


FAULTS_WITHOUT_END: dict[str, Callable[[], None]] = {
    "pongs": floods(b'["Pong",{}]\n' * 1000),
    "progress": floods(b'["Loading",{"fraction":0.5}]\n' * 1000),
    "refusals": floods(b'["Failed",{"request":999999,"reason":"no","context":0}]\n' * 1000),
    "a long reason": floods(b'["Failed",{"request":999999,"reason":"' + b"no " * 1_000_000 + b'","context":0}]\n'),
    "no line break": floods(b"1" * 1_000_000),
    "numbers": floods(b"[" + b"1," * 10_000_000 + b"1]\n"),
    "line breaks": floods(b"\n" * 100_000),
    "silence": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}
"""What goes on until somebody ends it."""


def main() -> None:
    fault, slower = sys.argv[1], float(sys.argv[2])
    del sys.argv[1:]
    happened = False
    decode = Llama.decode

    def happen(_number: int, _frame: object) -> None:
        nonlocal happened
        happened = True
        {**FAULTS, **FAULTS_WITHOUT_END}[fault]()

    def decode_slowly(model: Llama, entries: list[BatchEntry], threads: int = 0) -> Logits:
        time.sleep(slower)
        logits = decode(model, entries, threads)
        return np.full_like(logits, np.nan) if happened and fault == "nan" else logits

    signal.signal(signal.SIGUSR1, happen)
    Llama.decode = decode_slowly  # type: ignore[assignment, method-assign]
    engine.main()


if __name__ == "__main__":
    main()
