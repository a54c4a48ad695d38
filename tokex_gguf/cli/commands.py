"""The commands that play nothing: `models`, `pull`, `sessions`, `doctor`, `completion`, `help`."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tokex_gguf import COMMANDS, config
from tokex_gguf.cli import completion, doctor
from tokex_gguf.cli.arguments import make_parser
from tokex_gguf.cli.tables import parser_of, tables
from tokex_gguf.models import resolve
from tokex_gguf.models.catalogue import Entry, catalogue, row
from tokex_gguf.play.session import Settings
from tokex_gguf.sessions import codec, store
from tokex_gguf.system.console import FAILED, USAGE, Exit, dumps, say, show
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.tokens import visible

BEGINNING = 40
"""Characters of a session's text that its line in the list shows."""


def run(name: str, arguments: Sequence[str]) -> int:
    """Carries a command out; returns the exit code. Raises Exit."""
    return _RUN[name](arguments)


def _models(arguments: Sequence[str]) -> int:
    options = parser_of("models").parse_args(arguments)
    found = catalogue()
    if options.json:
        print(dumps([_as_json(entry) for entry in found], ascii_only=True))
        return 0
    if not found:
        say("no models here yet: tokex-gguf pull NAME fetches one, or put a .gguf file into models/")
        return 0
    rows = [row(entry) for entry in found]
    head = ("name", "from", "architecture", "quantization", "parameters", "size", "context")
    widths = [max(len(cells[column]) for cells in [head, *rows]) for column in range(len(head))]
    for cells, about in zip([head, *rows], ["", *(entry.about for entry in found)], strict=True):
        padded = zip(cells, widths, strict=True)
        line = "  ".join(c.ljust(w) if i < 4 else c.rjust(w) for i, (c, w) in enumerate(padded)).rstrip()
        print(visible(f"{line}  unusable: {about}" if about and isinstance(about, str) else line))
    return 0


def _as_json(entry: Entry) -> dict[str, object]:
    place, size, about = entry
    told: dict[str, object] = {
        "name": place.name,
        "from": place.source,
        "path": str(place.path),
        "files": place.files,
        "bytes": size,
    }
    if isinstance(about, str):
        return {**told, "unusable": about}
    return {
        **told,
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
        return _each(options.names, lambda name: store.remove(folder, name))
    if options.action == "rename":
        return _each([options.old], lambda name: store.rename(folder, name, options.new))
    _list_sessions(folder)
    return 0


def _each(names: Sequence[str], change: Callable[[str], None]) -> int:
    """Changes sessions, and says for each why that cannot be done; returns the exit code."""
    code = 0
    for name in names:
        try:
            change(name)
        except store.Refused as error:
            say(str(error))
            code = code or USAGE
        except OSError as error:
            say(f"{name}: {system_reason(error)}")
            code = FAILED
    return code


def _list_sessions(folder: Path) -> None:
    found = store.sessions(folder)
    if not found:
        say("no sessions yet: each game is kept by itself while it is played")
    rows = [(saved.name, *_content(folder, saved)) for saved in found]
    names, models, asked = (max((len(row[column]) for row in rows), default=0) for column in (0, 1, 2))
    for number, (saved, (name, model, by, content)) in enumerate(zip(found, rows, strict=True), 1):
        mark = "*" if store.is_open(folder, name) else " "
        columns = [f"{name:<{names}}", f"{model:<{models}}", *([f"{by:<{asked}}"] if asked else []), content]
        print(visible(f"{number:>2}{mark} {store.when(saved.saved)}  {'  '.join(columns)}".rstrip()))


def _content(folder: Path, saved: store.SavedSession) -> tuple[str, str, str]:
    """A session's model, the name that it was asked for by, and what the session holds in a few words."""
    about = saved.summary
    if about is None:
        try:
            session, _ = store.read(folder, saved.name, lambda data: codec.load(data, Settings("", GgufFile(""))))
        except store.NoSession as error:
            return "", "", f"cannot be read: {visible(str(error))}"
        about = codec.summary_of(session)
    games = f" (and {about.games - 1} more)" if about.games > 1 else ""
    prompts = f"{about.prompts} prompts, this one " if about.prompts > 1 else ""
    text = visible(about.text)
    beginning = f"{text[:BEGINNING]}{'…' if len(text) > BEGINNING else ''}"
    return f"{visible(about.model)}{games}", _end(visible(about.asked)), f"{prompts}{about.length} tokens: {beginning}"


def _end(name: str) -> str:
    """A model's name in a list's line: of a long one its end, which says most of a path and of a file."""
    return name if len(name) <= BEGINNING else f"…{name[1 - BEGINNING :]}"


def _doctor(arguments: Sequence[str]) -> int:
    options = parser_of("doctor").parse_args(arguments)
    report = doctor.examine(options.model)
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
    zip(COMMANDS, (_models, _pull, _sessions, _doctor, _completion, _help), strict=True)
)
