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
SILENT_PIPE_SECONDS = 3.0
"""Seconds without a text on a pipe that no option named, until a line says that the program waits for it."""
SAYING_SECONDS = 1.0
"""Seconds that this line may take, at the most, once the text is there."""

_SUBSTITUTED = re.compile(r"/dev/(stdin|fd/\d+)|/proc/self/fd/\d+")
"""The file name that a shell puts in the place of <(command): a pipe with a writer."""


_LARK_START = re.compile(r"^\s*start\s*:", re.MULTILINE)
"""The rule that each Lark grammar has."""


class StartingText(NamedTuple):
    """The text to begin with."""

    text: str
    notices: tuple[str, ...] = ()
    """Remarks for the player on how the text was read."""


def source(options: argparse.Namespace) -> str | None:
    """The file to read, `-` for standard input; None if the text does not come from a file."""
    if options.file is not None or options.input is not None:
        named: str = options.input if options.file is None else options.file
        return named
    if options.prompt is None and options.resume is None and "-" not in _constraint_files(options) and _piped():
        return "-"
    return None


def starting_text(options: argparse.Namespace, example: str, *, screen: bool) -> StartingText:
    """The text of the options, else `example`. Raises Exit for an unusable text.

    `screen`: whether keys are needed as well.
    """
    standard_input_read = "-" in (options.input, *_constraint_files(options))
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
    return StartingText(text, tuple(notices))


def _constraint_files(options: argparse.Namespace) -> tuple[str | None, ...]:
    """The files of constraints."""
    return options.json_schema, options.grammar, options.lark


def constraint_text(options: argparse.Namespace, flag: str, name: str) -> str:
    """The text of a constraint's file, `-` for standard input. Raises Exit for an unusable file.

    A name that looks like a constraint is the text itself, as for llama.cpp's `--grammar` and `--json-schema`.
    """
    if "::=" in name or name.lstrip().startswith("{") or _LARK_START.search(name):
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
    """Whether standard input is a pipe or a file, and no terminal or null device."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False  # closed
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _read(name: str, *, waited_for: bool) -> bytes:
    try:
        if name == "-":
            return _check_text_size("standard input", _standard_input(waited_for))
        path = Path(name)
        if path.is_dir():
            raise Exit(f"{name}: a folder; --input takes a text file{_hint(name)}", USAGE)
        if not _SUBSTITUTED.fullmatch(name) and not stat.S_ISREG(path.stat().st_mode):
            # Opening a pipe would wait for its writer, and devices may not end.
            raise Exit(f"{name}: not a plain file; - reads standard input", USAGE)
        with path.open("rb") as file:
            return _check_text_size(name, file.read(MOST_BYTES + 1))
    except FileNotFoundError as error:
        raise Exit(f"{name}: cannot be read: {system_reason(error)}{_hint(name)}", USAGE) from None
    except OSError as error:
        raise Exit(f"{name}: cannot be read: {system_reason(error)}", USAGE) from None
    except ValueError:
        raise Exit(f"{name!r}: not a file name", USAGE) from None


def _hint(name: str) -> str:
    """A hint on what a missing file's name may have meant."""
    if name in COMMANDS:
        return f"; the command comes first: tokex-gguf {name}"
    if " " in name.strip():
        return "; a text itself is given with --prompt"
    import difflib  # not on the way to the first frame

    near = difflib.get_close_matches(name, COMMANDS, 1, 0.8)
    return f"; did you mean tokex-gguf {near[0]}?" if near else ""


def _standard_input(waited_for: bool) -> bytes:
    if sys.stdin is None or sys.stdin.closed:
        raise Exit("standard input is closed", USAGE)
    waiting = threading.Timer(
        SILENT_PIPE_SECONDS,
        say,
        ["waiting for a text on standard input; a file's name, or --prompt, gives one instead"],
    )
    waiting.daemon = True
    if waited_for:
        waiting.start()
    try:
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    finally:
        waiting.cancel()


def _check_text_size(name: str, data: bytes) -> bytes:
    if data.startswith(b"GGUF"):
        raise Exit(f"{name}: a model, not a text: --model takes it", USAGE)
    if len(data) > MOST_BYTES:
        raise Exit(f"{name}: larger than 16 MiB: no model's context holds that", USAGE)
    return data


def _decode(name: str, data: bytes, notices: list[str]) -> str:
    """The text of a file, without one final line break."""
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
