"""Work that takes a while, for threads. Each function returns the message that says what came of it."""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from tokex_gguf.engine.protocol import Load
from tokex_gguf.models import resolve
from tokex_gguf.models.catalogue import catalogue, listed
from tokex_gguf.models.memory import Fit
from tokex_gguf.models.preflight import UnusableModel, prepare, together
from tokex_gguf.play.messages import (
    Align,
    Aligned,
    CopiedOut,
    Downloaded,
    Downloading,
    ListedModels,
    ListedStarters,
    NoRows,
    NotDownloaded,
    NotPrepared,
    Prepared,
    PreparedSecond,
    RowsReady,
    Saved,
    SaveFailed,
    TextNotRead,
    TextRead,
)
from tokex_gguf.shell.reading import Unreadable, text_of_file
from tokex_gguf.shell.rows import RowsFolder
from tokex_gguf.shell.starters import starters
from tokex_gguf.system import machine
from tokex_gguf.system.files import save_prompt
from tokex_gguf.values.alignment import aligned
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.model_ref import ServerModel
from tokex_gguf.values.text_files import is_utf_8

log = logging.getLogger(__name__)


def align(effect: Align) -> Aligned:
    """Aligns two texts."""
    return Aligned(effect.a, effect.b, aligned(effect.first, effect.second))


def list_starters(folder: Path, example: str) -> ListedStarters:
    """Lists the texts that prompts can start with."""
    return ListedStarters(starters(folder, example))


def read_text(name: str) -> TextRead | TextNotRead:
    """Reads a text file."""
    try:
        return TextRead(name, text_of_file(name))
    except Unreadable as error:
        return TextNotRead(name, str(error))


def save_text(folder: Path, text: bytes) -> Saved | SaveFailed:
    """Saves a prompt's text in a new file."""
    try:
        path = save_prompt(folder, text, datetime.now())
    except OSError as error:
        return SaveFailed(f"{folder}: {system_reason(error)}")
    return Saved(str(path), is_utf_8(text))


def save_chain(folder: Path, text: str) -> CopiedOut | SaveFailed:
    """Saves a sampler chain in a new file."""
    try:
        path = save_prompt(folder, text.encode().rstrip(b"\n"), datetime.now(), "samplers")
    except OSError as error:
        return SaveFailed(f"{folder}: {system_reason(error)}")
    return CopiedOut(str(path))


def list_models(servers: Iterable[ServerModel], files: Iterable[Path]) -> ListedModels:
    """Lists servers and all models that are found on this machine; `files` are others that were played."""
    entries = {server.key: ModelEntry(server.key, server.called, "server", "") for server in servers}
    return ListedModels((*entries.values(), *map(listed, catalogue(files))))


def prepare_model(path: str, asked: str, load: Load) -> Prepared | NotPrepared:
    """Checks a model's file, and whether memory has room for it."""
    try:
        return Prepared(path, _fit(path, load), asked)
    except UnusableModel as error:
        return NotPrepared(path, str(error))


def prepare_second(path: str, asked: str, load: Load) -> PreparedSecond | NotPrepared:
    """The same for a second model, beside the first one."""
    try:
        fit = _fit(path, load)
        # The first model's memory is not free any more.
        both = bool(load.rpc) or together([Path(path)], kv=load.kv, free=machine.memory()[0])
    except UnusableModel as error:
        return NotPrepared(path, str(error))
    return PreparedSecond(path, fit, asked, both)


def _fit(path: str, load: Load) -> Fit:
    return prepare(Path(path), context=load.context, kv=load.kv, rpc=load.rpc)


def make_rows(folder: RowsFolder) -> RowsReady | NoRows:
    """Makes the file through which two engines compare."""
    try:
        return RowsReady(str(folder.file()))
    except OSError as error:
        return NoRows(f"{error.filename or 'a file for it'}: {system_reason(error)}")


def download(name: str, report: Callable[[Downloading], None]) -> Downloaded | NotDownloaded:
    """Downloads a model; `report` is called with each percent."""
    reported = 0

    def progress(count: int, total: int) -> None:
        nonlocal reported
        percent = min(99, 100 * count // total) if total else 0
        if percent != reported:
            reported = percent
            report(Downloading(percent))

    try:
        resolved = resolve.obtain(name, log.info, progress)
    except (resolve.UnknownModel, resolve.DownloadFailed) as error:
        log.warning("not downloaded: %s", error)
        return NotDownloaded(str(error))
    log.info("downloaded: %s", resolved.path)
    return Downloaded(str(resolved.path))
