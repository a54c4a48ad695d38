"""The process of an engine over a server: requests on standard input, replies on standard output.

It imports neither llama_cpp nor numpy, and has no terminal: a server's answers are parsed only here.
"""

import os
import sys

from tokex_gguf.engine import confinement, pipes


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
    inbox.serve(Server(inbox, sink, abort, key).serve)


if __name__ == "__main__":
    main()
