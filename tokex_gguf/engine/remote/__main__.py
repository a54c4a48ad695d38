"""The process of an engine whose model a server has: requests on standard input, replies on standard output.

It imports neither llama_cpp nor numpy, and has no terminal: what a server says reaches nothing else.
"""

import os
import sys
import threading

from tokex_gguf.engine import confinement, pipes

PATIENCE = 2
"""Seconds that this process has for what it is doing, once nobody is there to be answered."""


def main() -> None:
    """Serves one client until it closes the pipe."""
    confinement.confine()
    sink = pipes.replies()
    from tokex_gguf.engine.inbox import Inbox
    from tokex_gguf.engine.remote.http import KEY
    from tokex_gguf.engine.remote.server import Interruption, Server

    key = os.environ.pop(KEY, "")
    abort = Interruption()
    inbox = Inbox(sys.stdin.buffer, sink, abort)

    def read() -> None:
        inbox.read()
        confinement.end_soon(PATIENCE)

    threading.Thread(target=read, daemon=True).start()
    try:
        Server(inbox, sink, abort, key).serve()
    except BrokenPipeError:
        pass
    sys.stderr.flush()
    # The reading thread may hold standard input's lock, which would stop an orderly exit.
    os._exit(0)


if __name__ == "__main__":
    main()
