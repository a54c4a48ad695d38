"""Where programs keep what is a user's own, on this system: the only importer of platformdirs."""

from pathlib import Path

import platformdirs


def state(program: str) -> Path:
    """What a program keeps between its starts: logs, what was done."""
    return Path(platformdirs.user_state_dir(program, appauthor=False))


def cache(program: str, *, opinion: bool = True) -> Path:
    """What a program can make again. On Windows that is a folder `Cache` of the program's, unless without `opinion`."""
    return Path(platformdirs.user_cache_dir(program, appauthor=False, opinion=opinion))


def configuration(program: str) -> Path:
    """What the user configures a program by."""
    return Path(platformdirs.user_config_dir(program, appauthor=False))
