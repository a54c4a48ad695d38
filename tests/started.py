"""A server that is started for a while."""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def started(command: Sequence[str], *, folder: Path, seconds: float = 600) -> Iterator[str]:
    """Starts a server on a free port of this machine, in place of `{port}`, and gives its address when it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    filled = [argument.replace("{port}", str(port)) for argument in command]
    with subprocess.Popen(filled, cwd=folder, stdout=sys.stderr, stderr=sys.stderr) as server:
        try:
            deadline = time.monotonic() + seconds
            while not _is_ready(url):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{filled[0]} did not start: {server.poll()}")
                time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
