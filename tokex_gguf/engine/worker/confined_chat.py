"""Runs chat templates in a separate process with limits of memory and time.

A template is code from a stranger. jinja2's sandbox restricts what it can reach; this restricts memory and time.
`python -m tokex_gguf.engine.worker.confined_chat` is the process: it reads one JSON array with the arguments of
`chat_template.render` from standard input, and writes one with its result or error to standard output.
"""

import json
import sys
import threading
from collections.abc import Mapping
from typing import Any

from tokex_gguf.engine import confinement
from tokex_gguf.engine.worker.chat_template import Rendered, TemplateFailed, render

MEMORY = 2**30
"""Bytes of the process's address space; Python and jinja2 take a tenth of it."""
SECONDS = 10
"""From the process's start to its result."""
_MOST_OUTPUT = 2**26
"""The most bytes of its output that are read."""


def render_confined(template: str, conversation: Mapping[str, Any], special: Mapping[str, str]) -> Rendered:
    """`chat_template.render` within MEMORY and SECONDS. Raises TemplateFailed."""
    import subprocess  # not at the start of an engine, nor of this module's own process

    if not template:
        return render(template, conversation, special)  # raises the error
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "tokex_gguf.engine.worker.confined_chat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise TemplateFailed(f"no process for the model's chat template: {error.strerror or error}") from None
    timer = threading.Timer(SECONDS, child.kill)  # the process may be too busy to end itself
    timer.start()
    try:
        with child:
            assert child.stdin and child.stdout
            try:
                child.stdin.write(json.dumps([template, conversation, special]).encode())
                child.stdin.close()
            except OSError:
                pass  # it ended before it read everything; its exit code says why
            output = child.stdout.read(_MOST_OUTPUT)
            child.stdout.close()
    finally:
        in_time = timer.is_alive()
        timer.cancel()
    return _result(output, child.returncode, in_time)


def _result(output: bytes, code: int, in_time: bool) -> Rendered:
    try:
        kind, *values = json.loads(output)
    except ValueError:
        if not in_time or code in (confinement.OUT_OF_TIME, -24):  # SIGXCPU
            raise TemplateFailed(f"the model's chat template takes longer than {SECONDS} s") from None
        if code == confinement.OUT_OF_MEMORY:
            raise TemplateFailed("the model's chat template takes too much memory") from None
        raise TemplateFailed(f"the model's chat template fails (its process ended with {code})") from None
    if kind == "failed":
        raise TemplateFailed(values[0])
    text, turns = values
    return Rendered(text, None if turns is None else [(start, end) for start, end in turns])


def main() -> None:
    """Renders the one chat on standard input."""
    confinement.confine()
    confinement.limit(MEMORY, SECONDS)
    template, conversation, special = json.load(sys.stdin.buffer)
    try:
        text, turns = render(template, conversation, special)
        output: list[Any] = ["rendered", text, turns]
    except TemplateFailed as error:
        starved = isinstance(error.__context__, MemoryError)
        output = ["failed", "the model's chat template takes too much memory" if starved else str(error)]
    except MemoryError:
        output = ["failed", "the model's chat template takes too much memory"]
    sys.stdout.buffer.write(json.dumps(output).encode())


if __name__ == "__main__":
    main()
