"""What is kept on disk of prompts, told and removed."""

from tokex_gguf import config
from tokex_gguf.engine import kv_folder
from tokex_gguf.sessions.store import when
from tokex_gguf.system.console import FAILED, USAGE, Exit, say, show
from tokex_gguf.values.formatting import counted, size_of, system_reason
from tokex_gguf.values.tokens import visible

LEAST_CELLS = 12
"""Cells that a model's name keeps, where a terminal is narrow."""


def summary(engine: config.EngineOptions, folder: str) -> str:
    """How much is kept, how much may be, and where: the folder as it is to be told."""
    size = sum(one.size for one in kv_folder.files(config.cache_folder()))
    allowed = f" of {size_of(engine.cache << 20)}" if engine.cache else ", and no more (cache = 0)"
    return f"{size_of(size)}{allowed} in {folder}"


def show_all(width: int | None) -> int:
    """Prints what is kept, model by model, the one used last first; returns the exit code. Raises Exit.

    Models' lines have at most `width` cells. Without a width nothing is cut off.
    """
    try:
        engine = config.find().config.engine
    except config.ConfigError as error:
        raise Exit(str(error), USAGE) from None
    show(summary(engine, str(config.cache_folder())))
    for one in kv_folder.contents(config.cache_folder()):
        show(line(one, width))
    return 0


def line(one: kv_folder.Content, width: int | None) -> str:
    """What is kept of a model. Where there is no room, its name is shortened before what kind of model it is."""
    files = "file " if one.files == 1 else "files"
    before = f"{size_of(one.size):>8}  {one.files:>5,} {files}  {when(one.used)}  "
    if width is None:
        return before + one.model
    from tokex_gguf.ui.cells import cells_of, clip  # for a terminal alone

    name, bracket, kind = visible(one.model).rpartition(" (")
    name, kind = (name, bracket + kind) if bracket else (kind, "")
    return clip(before + clip(name, max(LEAST_CELLS, width - cells_of(before + kind))) + kind, width)


def clear() -> int:
    """Removes all of it; returns the exit code. Raises Exit."""
    folder = config.cache_folder()
    try:
        count, size = kv_folder.clear(folder)
    except OSError as error:
        raise Exit(f"{error.filename}: {system_reason(error)}", FAILED) from None
    say(f"{counted(count, 'file')} removed, {size_of(size)}" if count else f"nothing is kept in {folder}")
    return 0
