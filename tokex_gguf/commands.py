"""The commands that play nothing: `models`, `pull`, `sessions`, `doctor`."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tokex_gguf import COMMANDS, archive, config, doctor, keep, models
from tokex_gguf.catalogue import Entry, catalogue, row
from tokex_gguf.exits import FAILED, USAGE, Exit, Parser, dumps, say, show
from tokex_gguf.session import Settings, text_of
from tokex_gguf.tokens import visible

BEGINNING = 40
"""Characters of a session's text that its line in the list shows."""


def run(name: str, arguments: Sequence[str]) -> int:
    """Carries a command out; returns the exit code. Raises Exit."""
    return _RUN[name](arguments)


def _models(arguments: Sequence[str]) -> int:
    parser = Parser(prog="tokex-gguf models", description="List the models on this machine.")
    parser.add_argument("--json", action="store_true", help="as JSON")
    options = parser.parse_args(arguments)
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
    parser = Parser(prog="tokex-gguf pull", description="Fetch a model from the hub, if it is not here yet.")
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        default=config.DEFAULT_MODEL,
        help=f"REPO, REPO:QUANTISATION or REPO:FILE.gguf on the hub (default: {config.DEFAULT_MODEL})",
    )
    options = parser.parse_args(arguments)
    try:
        resolved = models.obtain(options.name, say)
    except models.UnknownModel as error:
        raise Exit(str(error), USAGE) from None
    except models.DownloadFailed as error:
        raise Exit(str(error), FAILED) from None
    if resolved.notice:
        say(resolved.notice)
    show(str(resolved.path))
    return 0


def _sessions(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="tokex-gguf sessions", description="List the sessions that can be gone on with, the last first."
    )
    parser.parse_args(arguments)
    folder = config.state_folder() / "sessions"
    found = keep.names(folder)
    if not found:
        say("no sessions yet: each game is kept by itself while it is played")
    for number, kept in enumerate(found, 1):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.modified))
        print(visible(f"{number:>2}  {when}  {kept.name}  {_content(folder, kept.name)}"))
    return 0


def _content(folder: Path, name: str) -> str:
    """What a session holds, in a few words."""
    try:
        session, _ = keep.read(folder, name, lambda data: archive.load(data, Settings("", "")))
    except keep.NoSession as error:
        return f"cannot be read: {visible(str(error))}"
    if not session.prompts:
        return "nothing played"
    tip, count = session.prompt.tip, len(session.prompts)
    text = visible(text_of(session, tip).decode(errors="replace"))
    prompts = f"{count} prompts, this one " if count > 1 else ""
    return f"{prompts}{tip.depth} tokens: {text[:BEGINNING]}{'…' if len(text) > BEGINNING else ''}"


def _doctor(arguments: Sequence[str]) -> int:
    parser = Parser(prog="tokex-gguf doctor", description="Tell what this program runs on, and what is wrong.")
    parser.add_argument("--model", metavar="MODEL", help="the model to look at (default: the configured one)")
    options = parser.parse_args(arguments)
    report = doctor.examine(options.model)
    sys.stdout.write(report.text())
    return FAILED if report.problems else 0


_RUN: dict[str, Callable[[Sequence[str]], int]] = dict(zip(COMMANDS, (_models, _pull, _sessions, _doctor), strict=True))
