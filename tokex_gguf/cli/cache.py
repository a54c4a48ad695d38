"""The `cache` command: lists and removes the files of the prompt cache."""

from tokex_gguf import config
from tokex_gguf.engine import kv_folder
from tokex_gguf.sessions.store import when
from tokex_gguf.system.console import FAILED, USAGE, Exit, say, show
from tokex_gguf.values.formatting import counted, size_of, system_reason
from tokex_gguf.values.tokens import visible

LEAST_CELLS = 12
"""Cells of a model's name on a narrow terminal, at the least."""


def summary(engine: config.EngineOptions, folder: str) -> str:
    """The cache's size, its limit and its folder, as `folder` names it."""
    size = sum(file.size for file in kv_folder.files(config.cache_folder()))
    allowed = f" of {size_of(engine.cache << 20)}" if engine.cache else ", and no more (cache = 0)"
    return f"{size_of(size)}{allowed} in {folder}"


def show_all(width: int | None) -> int:
    """Prints the cache's contents by model, the last used first; returns the exit code. Raises Exit.

    Models' lines have at most `width` cells. Without a width nothing is cut off.
    """
    try:
        engine = config.find().config.engine
    except config.ConfigError as error:
        raise Exit(str(error), USAGE) from None
    show(summary(engine, str(config.cache_folder())))
    for content in kv_folder.contents(config.cache_folder()):
        show(line(content, width))
    return 0


def line(content: kv_folder.Content, width: int | None) -> str:
    """A line about a model's files. Where room is short, the name is clipped before the kind of model."""
    files = "file " if content.files == 1 else "files"
    before = f"{size_of(content.size):>8}  {content.files:>5,} {files}  {when(content.used)}  "
    if width is None:
        return before + content.model
    from tokex_gguf.ui.cells import cells_of, clip  # for a terminal alone

    name, bracket, kind = visible(content.model).rpartition(" (")
    name, kind = (name, bracket + kind) if bracket else (kind, "")
    return clip(before + clip(name, max(LEAST_CELLS, width - cells_of(before + kind))) + kind, width)


def clear() -> int:
    """Removes all files; returns the exit code. Raises Exit."""
    folder = config.cache_folder()
    try:
        count, size = kv_folder.clear(folder)
    except OSError as error:
        raise Exit(f"{error.filename}: {system_reason(error)}", FAILED) from None
    say(f"{counted(count, 'file')} removed, {size_of(size)}" if count else f"nothing is kept in {folder}")
    return 0
