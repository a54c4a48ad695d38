"""The names of keys, as on a keyboard. Pure."""

from functools import lru_cache

_SHOWN = {
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "escape": "Esc",
    "enter": "Enter",
    "backspace": "Backspace",
    "delete": "Del",
    "f1": "F1",
    " ": "space",
}


@lru_cache(512)
def shown(key: str) -> str:
    """A key's name as on a keyboard.

    >>> shown("c-q"), shown("right"), shown("a-s-up")
    ('ctrl+q', '→', 'alt+shift+↑')
    """
    for prefix, name in (("c-", "ctrl+"), ("s-", "shift+"), ("a-", "alt+"), ("super-", "super+")):
        if key.startswith(prefix) and len(key) > len(prefix):
            return name + shown(key.removeprefix(prefix))
    return _SHOWN.get(key, key)
