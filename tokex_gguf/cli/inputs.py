"""The starting text: from an argument, a file, a pipe, or the configuration."""

import argparse
import os
import re
import stat
import sys
import threading
from pathlib import Path
from typing import NamedTuple

from tokex_gguf import COMMANDS
from tokex_gguf.system.console import USAGE, Exit, say
from tokex_gguf.values import text_files
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.text_files import NotText

MOST_BYTES = 16 * 2**20
"""Bytes of a starting text, at the most."""
SILENT_PIPE = 3.0
"""Seconds to wait for a pipe that nobody asked to read, before a line says what is waited for."""

_SUBSTITUTED = re.compile(r"/dev/(stdin|fd/\d+)|/proc/self/fd/\d+")
"""What a shell puts in the place of <(command): a pipe with a writer."""


class Given(NamedTuple):
    """The text to begin with."""

    text: str
    notices: tuple[str, ...] = ()
    """What the player should know of how it was read."""


def source(options: argparse.Namespace) -> str | None:
    """The file to read, `-` for standard input; None where the text comes from elsewhere."""
    if options.file is not None or options.input is not None:
        named: str = options.input if options.file is None else options.file
        return named
    if options.prompt is None and options.resume is None and "-" not in _limits(options) and _piped():
        return "-"
    return None


def starting_text(options: argparse.Namespace, example: str, *, screen: bool) -> Given:
    """The text that was asked for, else `example`. Raises Exit for what cannot be one.

    `screen`: whether keys are needed as well.
    """
    standard_input_read = "-" in (options.input, *_limits(options))
    if screen and (sys.stdin is None or not sys.stdin.isatty()) and not standard_input_read:
        raise Exit(
            "standard input is not a terminal: --input - reads the prompt from it, --plain and --json need no keys",
            USAGE,
        )
    notices: list[str] = []
    if options.input is not None:
        name = "standard input" if options.input == "-" else options.input
        text = _decode(name, _read(options.input, waited_for=options.unasked), notices)
    elif options.prompt is not None:
        name, text = "--prompt", options.prompt.removeprefix("\ufeff")
    else:
        name, text = "example_prompt", example
        if not screen:
            notices.append("no text was given: these are the numbers of the configuration's example_prompt")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise Exit(f"{name}: not UTF-8", USAGE)
    if not text:
        raise Exit(f"{name}: empty; there must be some text to go on from", USAGE)
    return Given(text, tuple(notices))


def _limits(options: argparse.Namespace) -> tuple[str | None, ...]:
    """The files that constraints are read from."""
    return options.json_schema, options.grammar, options.lark


def limit(options: argparse.Namespace, flag: str, name: str) -> str:
    """The text of a constraint's file, `-` for standard input. Raises Exit for what cannot be one.

    What no file is called is the text itself, as llama.cpp's `--grammar` and `--json-schema` take it.
    """
    if "::=" in name or name.lstrip().startswith("{"):
        return name
    if name == "-" and options.input == "-":
        raise Exit(f"{flag} -: standard input is the prompt already; --prompt gives one instead", USAGE)
    try:
        if name == "-":
            data = _standard_input(waited_for=False)
        elif Path(name).is_dir():
            raise Exit(f"{flag} {name}: a folder; it takes a file", USAGE)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise Exit(f"{flag} {name}: larger than 16 MiB", USAGE)
        return text_files.decode(data).text
    except OSError as error:
        raise Exit(f"{flag} {name}: cannot be read: {system_reason(error)}", USAGE) from None
    except NotText as error:
        raise Exit(f"{flag} {name}: {error}", USAGE) from None
    except ValueError:
        raise Exit(f"{flag} {name!r}: not a file name", USAGE) from None


def _piped() -> bool:
    """Whether somebody gave standard input something to read: a pipe or a file, no terminal and no null device."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False  # closed
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _read(name: str, *, waited_for: bool) -> bytes:
    try:
        if name == "-":
            return _bounded("standard input", _standard_input(waited_for))
        path = Path(name)
        if path.is_dir():
            raise Exit(f"{name}: a folder; --input takes a text file{_hint(name)}", USAGE)
        if not _SUBSTITUTED.fullmatch(name) and not stat.S_ISREG(path.stat().st_mode):
            # Whoever opens a pipe waits for its other end, and devices may have none.
            raise Exit(f"{name}: not a plain file; - reads standard input", USAGE)
        with path.open("rb") as file:
            return _bounded(name, file.read(MOST_BYTES + 1))
    except FileNotFoundError as error:
        raise Exit(f"{name}: cannot be read: {system_reason(error)}{_hint(name)}", USAGE) from None
    except OSError as error:
        raise Exit(f"{name}: cannot be read: {system_reason(error)}", USAGE) from None
    except ValueError:
        raise Exit(f"{name!r}: not a file name", USAGE) from None


def _hint(name: str) -> str:
    """What somebody may have meant by a file that is not there."""
    if name in COMMANDS:
        return f"; the command comes first: tokex-gguf {name}"
    return "; a text itself is given with --prompt" if " " in name.strip() else ""


def _standard_input(waited_for: bool) -> bytes:
    if sys.stdin is None or sys.stdin.closed:
        raise Exit("standard input is closed", USAGE)
    waiting = threading.Timer(
        SILENT_PIPE, say, ["waiting for a text on standard input; a file's name, or --prompt, gives one instead"]
    )
    waiting.daemon = True
    if waited_for:
        waiting.start()
    try:
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    finally:
        waiting.cancel()


def _bounded(name: str, data: bytes) -> bytes:
    if data.startswith(b"GGUF"):
        raise Exit(f"{name}: a model, not a text: --model takes it", USAGE)
    if len(data) > MOST_BYTES:
        raise Exit(f"{name}: larger than 16 MiB: no model's context holds that", USAGE)
    return data


def _decode(name: str, data: bytes, notices: list[str]) -> str:
    """Text of a file, less one final line break."""
    try:
        text, encoding = text_files.decode(data)
    except NotText as error:
        raise Exit(f"{name}: {error}", USAGE) from None
    if encoding != "UTF-8":
        notices.append(f"{name}: read as {encoding}")
    if text_files.has_crlf_only(text):
        text = text_files.with_line_feeds(text)
        if "\n" in text.removesuffix("\n"):
            notices.append(f"{name}: its line ends, CRLF, are read as LF")
    return text_files.without_last_break(text)
