"""The commands that do not play: `models`, `pull`, `sessions`, `cache`, `doctor`, `completion`, `help`."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tokex_gguf import COMMANDS, config
from tokex_gguf.cli import cache, completion, doctor
from tokex_gguf.cli.arguments import make_parser
from tokex_gguf.cli.tables import parser_of, tables
from tokex_gguf.models import resolve
from tokex_gguf.models.catalogue import CatalogueEntry, catalogue
from tokex_gguf.sessions import listing, store
from tokex_gguf.system.console import FAILED, USAGE, Exit, dumps, say, show
from tokex_gguf.values.formatting import system_reason


def run(name: str, arguments: Sequence[str]) -> int:
    """Runs a command; returns the exit code. Raises Exit."""
    return _RUN[name](arguments)


def _models(arguments: Sequence[str]) -> int:
    options = parser_of("models").parse_args(arguments)
    entries = catalogue()
    if options.json:
        print(dumps([_as_json(entry) for entry in entries], ascii_only=True))
        return 0
    if not entries:
        say("no models here yet: tokex-gguf pull NAME fetches one, or put a .gguf file into models/")
        return 0
    from tokex_gguf.cli.model_table import model_lines  # it measures in cells, which the other commands need not

    for line in model_lines(entries, _width()):
        print(line)
    return 0


def _as_json(entry: CatalogueEntry) -> dict[str, object]:
    file, size, about = entry
    fields: dict[str, object] = {
        "name": file.name,
        "from": file.source,
        "path": str(file.path),
        "files": file.files,
        "bytes": size,
    }
    if isinstance(about, str):
        return {**fields, "unusable": about}
    return {
        **fields,
        "title": about.name,
        "architecture": about.architecture,
        "quantization": about.quantization,
        "parameters": about.parameters,
        "context": about.context_trained,
    }


def _pull(arguments: Sequence[str]) -> int:
    options = parser_of("pull").parse_args(arguments)
    try:
        resolved = resolve.obtain(options.name, say)
    except resolve.UnknownModel as error:
        raise Exit(str(error), USAGE) from None
    except resolve.DownloadFailed as error:
        raise Exit(str(error), FAILED) from None
    if resolved.notice:
        say(resolved.notice)
    show(str(resolved.path))
    return 0


def _sessions(arguments: Sequence[str]) -> int:
    options = parser_of("sessions").parse_args(arguments)
    folder = config.state_folder() / "sessions"
    if options.action == "rm":
        # All names are resolved before any removal, after which other names may be unique.
        names = [_session_named(folder, name, "rm") for name in options.names]
        return _change_each(names, lambda name: store.remove(folder, name))
    if options.action == "rename":
        old = _session_named(folder, options.old, "rename")
        return _change_each([old], lambda name: store.rename(folder, name, options.new))
    _list_sessions(folder)
    return 0


def _session_named(folder: Path, given: str, action: str) -> str:
    """The name of the session meant by `given`. Raises Exit for a number, as numbers change between commands."""
    name = listing.named(folder, given)
    if given.isdecimal() and all(saved.name != name for saved in store.sessions(folder)):
        raise Exit(f"there is no session {given}: {action} takes the name, in the list's last column", USAGE)
    return name


def _change_each(names: Sequence[str], change: Callable[[str], None]) -> int:
    """Changes sessions, and says for each why it failed; returns the exit code."""
    code = 0
    for name in names:
        try:
            change(name)
        except store.CannotChange as error:
            say(str(error))
            code = code or USAGE
        except OSError as error:
            say(f"{name}: {system_reason(error)}")
            code = FAILED
    return code


def _list_sessions(folder: Path) -> None:
    entries = listing.listed(folder)
    if not entries:
        say("no sessions yet: what you play is saved by itself, and listed here")
        return
    from tokex_gguf.cli.session_table import session_lines  # it measures in cells, which the other commands need not

    for line in session_lines(entries, _width()):
        print(line)


def _width() -> int | None:
    """Columns of the terminal; None where standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _cache(arguments: Sequence[str]) -> int:
    options = parser_of("cache").parse_args(arguments)
    return cache.clear() if options.action == "clear" else cache.show_all(_width())


def _doctor(arguments: Sequence[str]) -> int:
    options = parser_of("doctor").parse_args(arguments)
    report = doctor.examine(options.model, options.rpc)
    sys.stdout.write(report.text())
    return FAILED if report.problems else 0


def _completion(arguments: Sequence[str]) -> int:
    options = parser_of("completion").parse_args(arguments)
    sys.stdout.write(completion.script(options.shell, tables()))
    return 0


def _help(arguments: Sequence[str]) -> int:
    options = parser_of("help").parse_args(arguments)
    (parser_of(options.command) if options.command else make_parser()).print_help()
    return 0


_RUN: dict[str, Callable[[Sequence[str]], int]] = dict(
    zip(COMMANDS, (_models, _pull, _sessions, _cache, _doctor, _completion, _help), strict=True)
)
