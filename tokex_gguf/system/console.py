"""Exit codes, and all output but the screen: lines, JSON, and the log.

Strings reach a terminal or a log only through this module, the screen, or `tokens.visible`: names of models, sessions
and files may hold control characters.
"""

import argparse
import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from tokex_gguf.values.tokens import visible

FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes: a failure at run time; wrong input, configuration or arguments; interrupted."""


class Exit(Exception):
    """Ends the program with a line and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def place_of(error: BaseException) -> str:
    """An error's class and stack, for the log; not its message, which may hold a prompt's text."""
    import traceback  # not on the way to the first frame

    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def say(line: str) -> None:
    """Prints a line to standard error, with control characters made visible; a long line is shortened."""
    if len(line) > 800:
        line = f"{line[:500]}…{line[-250:]}"
    if sys.stderr is None:  # closed; `print` would take standard output
        return
    try:
        print(f"tokex-gguf: {visible(line)}", file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def dumps(value: object, *, ascii_only: bool, indent: int | None = 1) -> str:
    """JSON with control characters and surrogates escaped; on one line if `indent` is None."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    return _UNSAFE.sub(lambda char: f"\\u{ord(char[0]):04x}", text)


_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters that JSON allows unescaped, those that change the writing direction, and surrogates."""


def show(text: str) -> None:
    """Prints a line: to a terminal with control characters made visible, else unchanged, for programs.

    Raises OSError if its reader has gone.
    """
    terminal = sys.stdout is not None and sys.stdout.isatty()
    print(visible(text) if terminal else text)


class LogFormatter(logging.Formatter):
    """Formats an entry as one line, and a traceback's lines, with control characters made visible."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        """The entry without its traceback."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  logging's own name
        """The traceback."""
        return "\n".join(map(visible, super().formatException(ei).split("\n")))


class Once(argparse.Action):
    """Stores an option's value. A second value is refused, as it would replace the first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Raises argparse.ArgumentError."""
        given = vars(namespace).setdefault("_given", set())
        if option_string is not None and self.dest in given:
            raise argparse.ArgumentError(self, "given twice")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class _HelpFormatter(argparse.HelpFormatter):
    """Lines that break at blanks alone: paths and commands can be copied."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(f"{indent}{line}" for line in _wrapped(text, width - len(indent)))


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap  # not on the way to the first frame

    return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)


class CommandParser(argparse.ArgumentParser):
    """Reports an error in one line, without the usage. Options cannot be abbreviated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _HelpFormatter, **options})
        self.register("action", None, Once)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """As argparse has it, but `--prompt=--` is given `--`: argparse takes that for the end of the options."""
        if action.option_strings and action.nargs is None and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, arg_strings)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Raises Exit where nothing can be written, as on a full disk: argparse would pass that over."""
        try:
            (file or sys.stderr).write(message)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Exit(f"the output cannot be written: {error.strerror}", FAILED) from None

    def error(self, message: str) -> NoReturn:
        """Raises Exit."""
        raise Exit(f"{message}; try --help", USAGE)
