"""Commands that play nothing, run within the test's own process: a start costs a second, and they need none."""

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import NamedTuple

import pytest

from tokex_gguf.cli import commands, main
from tokex_gguf.cli.arguments import make_parser
from tokex_gguf.system.console import Exit, say


class Done(NamedTuple):
    """What a command wrote, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def run(name: str, *arguments: str) -> Done:
    """A command, as `main` runs it."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            code = commands.run(name, arguments)
        except Exit as end:
            say(str(end))
            code = end.code
    return Done(code, out.getvalue(), err.getvalue())


def refusal(*arguments: str) -> str:
    """Why a session that is asked for by these arguments cannot be gone on with."""
    with pytest.raises(Exit) as end:
        main._open_session(make_parser().parse_args(arguments))
    assert end.value.code == 2
    return str(end.value)
