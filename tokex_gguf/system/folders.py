"""Folders of this system for a user's own files: the only importer of platformdirs."""

from pathlib import Path

import platformdirs


def state(program: str) -> Path:
    """The folder for a program's state between its runs, such as logs."""
    return Path(platformdirs.user_state_dir(program, appauthor=False))


def cache(program: str, *, opinion: bool = True) -> Path:
    """The folder for a program's cache. On Windows it is the program's `Cache` folder, unless `opinion` is False."""
    return Path(platformdirs.user_cache_dir(program, appauthor=False, opinion=opinion))


def configuration(program: str) -> Path:
    """The folder for a program's configuration."""
    return Path(platformdirs.user_config_dir(program, appauthor=False))
