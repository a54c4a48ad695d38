"""What is kept on disk of prompts, told and removed."""

from tokex_gguf import config
from tokex_gguf.engine import kv_folder
from tokex_gguf.sessions.store import when
from tokex_gguf.system.console import FAILED, USAGE, Exit, say, show
from tokex_gguf.values.formatting import size_of, system_reason


def summary(engine: config.EngineOptions) -> str:
    """The folder, how much is in it, and how much may be."""
    folder = config.cache_folder()
    found = list(kv_folder.files(folder))
    size = sum(one.size for one in found)
    allowed = f"of {size_of(engine.cache << 20)}" if engine.cache else "nothing more is kept (engine.cache = 0)"
    return f"{folder}, {len(found):,} files, {size_of(size)} {allowed}"


def show_all() -> int:
    """Prints what is kept, model by model, the one used last first; returns the exit code. Raises Exit."""
    try:
        engine = config.find().config.engine
    except config.ConfigError as error:
        raise Exit(str(error), USAGE) from None
    show(summary(engine))
    for one in kv_folder.contents(config.cache_folder()):
        show(f"{size_of(one.size):>8}  {one.files:>5,} files  {when(one.used)}  {one.model}")
    return 0


def clear() -> int:
    """Removes all of it; returns the exit code. Raises Exit."""
    folder = config.cache_folder()
    try:
        count, size = kv_folder.clear(folder)
    except OSError as error:
        raise Exit(f"{error.filename}: {system_reason(error)}", FAILED) from None
    say(f"{count:,} files removed, {size_of(size)}" if count else f"nothing is kept in {folder}")
    return 0
