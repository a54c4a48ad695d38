"""The engine process: requests on standard input, replies on standard output, log on standard error."""

import gc
import os
import sys

from tokex_gguf.engine import confinement, pipes


def about() -> None:
    """Prints llama.cpp's version, build and number of threads, as one JSON object."""
    import json

    from tokex_gguf.engine.worker import llama

    about = {"build": llama.build(), "system": llama.built_for(), "threads": llama.default_threads()}
    print(json.dumps({**about, "gpu": llama.has_gpu(), "rpc": llama.has_rpc()}))


def about_worker(name: str) -> None:
    """Prints the memory of an RPC worker, or its fault, as one JSON object."""
    import json

    from tokex_gguf.engine.protocol import EngineFailed, Reply
    from tokex_gguf.engine.worker import llama

    def tell(reply: Reply) -> None:
        if isinstance(reply, EngineFailed):
            print(json.dumps({"fault": reply.reason}), flush=True)

    try:
        workers = llama.connect((name,), tell)
    except llama.ModelError as error:
        tell(EngineFailed(str(error)))
    else:
        memories = [device.memory() for device in workers.all[0].devices]
        workers.leave()
        print(json.dumps({"memories": memories}), flush=True)
    os._exit(0)  # an orderly exit would wait for a worker that does not answer


def main() -> None:
    """Serves one client until it closes the pipe."""
    if sys.argv[1:] == ["--about"]:
        about()
        return
    if sys.argv[1:2] == ["--worker"]:
        about_worker(sys.argv[2])
        return
    confinement.confine()
    sink = pipes.replies()
    # ggml's threads busy-wait for about a third of a second after a decode. If they slept sooner,
    # they could wake up on a busy core, and the next decode would take twice as long.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000000")
    # numpy's own threads would busy-wait as well, from its import on. No array here is large enough for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()  # imports make no garbage, and collecting took a fifth of their time
    try:
        from tokex_gguf.engine.inbox import Inbox
        from tokex_gguf.engine.worker.abort import Abort
        from tokex_gguf.engine.worker.server import Server
    except Exception as error:  # llama-cpp-python is a native library: many things can fail
        from tokex_gguf.engine.protocol import EngineFailed, encode

        sink.write(encode(EngineFailed(f"llama-cpp-python cannot be imported ({error}): install tokex-gguf anew")))
        sink.flush()
        return
    gc.freeze()
    gc.enable()
    abort = Abort()
    inbox = Inbox(sys.stdin.buffer, sink, abort)
    inbox.serve(Server(inbox, sink, abort).serve)


if __name__ == "__main__":
    main()
