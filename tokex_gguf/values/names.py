"""Names of sessions."""

import re

_NAME = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_. -]{0,62}[A-Za-z0-9_-])?")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
"""Names of devices, which Windows does not allow for files."""


def valid_name(name: str) -> bool:
    """Whether a session can have this name: 1 to 64 ASCII letters, digits and `-_. `.

    Neither end may be a dot or a space, and the name may not end with `.1`, which marks
    the previous version of another session.

    >>> valid_name("A first try"), valid_name("../etc"), valid_name("a.1"), valid_name("")
    (True, False, False, False)
    """
    return bool(_NAME.fullmatch(name)) and not name.endswith(".1") and not _RESERVED.fullmatch(name)
