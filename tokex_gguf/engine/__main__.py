"""The engine process: requests on standard input, replies on standard output, log on standard error."""

import gc
import os
import sys
import threading
from types import TracebackType

from tokex_gguf.engine.worker import confinement

PATIENCE = 2
"""Seconds that this process has for what it is doing, once nobody is there to be answered."""


def about() -> None:
    """Prints which llama.cpp this is, what it was built with, and the threads it would get, as one JSON object."""
    import json

    from tokex_gguf.engine.worker import llama

    about = {"build": llama.build(), "system": llama.built_for(), "threads": llama.default_threads()}
    print(json.dumps({**about, "gpu": llama.has_gpu(), "rpc": llama.has_rpc()}))


def about_worker(name: str) -> None:
    """Prints what an RPC worker has, or what is wrong with it, as one JSON object."""
    import json

    from tokex_gguf.engine.protocol import Failed, Reply
    from tokex_gguf.engine.worker import llama

    def tell(reply: Reply) -> None:
        if isinstance(reply, Failed):
            print(json.dumps({"fault": reply.reason}), flush=True)

    try:
        workers = llama.connect((name,), tell)
    except llama.ModelError as error:
        tell(Failed(None, str(error)))
    else:
        memories = [device.memory() for device in workers.all[0].devices]
        workers.leave()
        print(json.dumps({"memories": memories}), flush=True)
    os._exit(0)  # a worker that does not answer would be waited for


def _tell(kind: type[BaseException], trace: TracebackType | None) -> None:
    """Writes what nothing has caught to the log: its kind and place, for its words may hold anything."""
    import traceback

    from tokex_gguf.values.tokens import visible

    lines = [kind.__name__, *"".join(traceback.format_tb(trace)).splitlines()]
    print("\n".join(map(visible, lines)), file=sys.stderr, flush=True)


def main() -> None:
    """Serves one client until it closes the pipe."""
    if sys.argv[1:] == ["--about"]:
        about()
        return
    if sys.argv[1:2] == ["--worker"]:
        about_worker(sys.argv[2])
        return
    confinement.confine()
    sys.excepthook = lambda kind, _, trace: _tell(kind, trace)
    threading.excepthook = lambda fault: _tell(fault.exc_type, fault.exc_traceback)
    # Native code may print to descriptor 1: replies get a descriptor of their own.
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # A key press that interrupts the terminal's whole process group is the client's to handle.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # ggml's threads go on waiting awake for about a third of a second after a decode. Sooner
    # asleep, they are woken on a core that is taken, and the next decode takes twice as long.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000000")
    # numpy's own threads would wait awake as well, from its import on. Nothing here is large enough for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()  # what is imported is no garbage, and searching it took a fifth of the time
    try:
        from tokex_gguf.engine.worker.server import Inbox, Server
    except Exception as error:  # llama-cpp-python is a native library: much can be wrong with it
        from tokex_gguf.engine.protocol import Failed, encode

        sink.write(encode(Failed(None, f"llama-cpp-python cannot be imported ({error}): install tokex-gguf anew")))
        sink.flush()
        return
    gc.freeze()
    gc.enable()
    inbox = Inbox(sys.stdin.buffer, sink)

    def read() -> None:
        inbox.read()
        confinement.end_soon(PATIENCE)

    threading.Thread(target=read, daemon=True).start()
    try:
        Server(inbox, sink).serve()
    except BrokenPipeError:
        pass
    sys.stderr.flush()
    # The reading thread may hold standard input's lock, which would stop an orderly exit.
    os._exit(0)


if __name__ == "__main__":
    main()
