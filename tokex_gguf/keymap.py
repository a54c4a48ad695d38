"""The key table: every key, what it does, and how it is told, as data.

Bindings, footer, help screen and the table in the README all come from here.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Action(Enum):
    """What a key does."""

    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    TOP = auto()
    BOTTOM = auto()
    APPEND = auto()
    POP = auto()
    NEXT = auto()
    PREVIOUS = auto()
    COPY = auto()
    REMOVE = auto()
    LAYER = auto()
    SAVE = auto()
    AUTOPLAY = auto()
    HALT = auto()
    """Any key without a meaning of its own: it only ends autoplay."""
    RESTART = auto()
    HELP = auto()
    CLOSE = auto()
    QUIT = auto()


class Mode(Enum):
    """What the screen is used for; each mode has its own keys."""

    PLAY = auto()
    HELP = auto()
    BROKEN = auto()
    """The engine is gone: everything of PLAY, and a key that restarts it."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One row of the key table."""

    action: Action
    keys: tuple[str, ...]
    """As prompt_toolkit names them."""
    topic: str
    label: str
    """A word for the footer; neighbours that share it stand there together."""
    help: str
    """A sentence for help screen and README."""
    modes: tuple[Mode, ...] = (Mode.PLAY, Mode.BROKEN)
    footer: int = 0
    """Larger is shown first when the footer is short of room; 0 never."""


_ALL = (Mode.PLAY, Mode.BROKEN, Mode.HELP)

BINDINGS: tuple[Binding, ...] = (
    Binding(Action.UP, ("up", "k"), "Table", "row", "Select the token above.", footer=70),
    Binding(Action.DOWN, ("down", "j"), "Table", "row", "Select the token below.", footer=70),
    Binding(Action.PAGE_UP, ("pageup",), "Table", "page up", "Select ten rows up."),
    Binding(Action.PAGE_DOWN, ("pagedown",), "Table", "page down", "Select ten rows down."),
    Binding(Action.TOP, ("home",), "Table", "top", "Select the most likely token."),
    Binding(Action.BOTTOM, ("end",), "Table", "bottom", "Select the last token of the table."),
    Binding(Action.APPEND, ("right", "l"), "Tokens", "append", "Append the selected token to the prompt.", footer=90),
    Binding(
        Action.POP,
        ("left", "h"),
        "Tokens",
        "pop",
        "Pop the prompt's last token. It becomes the selected row, so that → takes it back.",
        footer=90,
    ),
    Binding(Action.NEXT, ("w",), "Prompts", "prompt", "Go to the next prompt.", footer=50),
    Binding(Action.PREVIOUS, ("s",), "Prompts", "prompt", "Go to the previous prompt.", footer=50),
    Binding(Action.COPY, ("d",), "Prompts", "copy", "Add a copy of the prompt and go to it.", footer=60),
    Binding(Action.REMOVE, ("a",), "Prompts", "drop", "Remove the prompt (the last one stays).", footer=40),
    Binding(
        Action.AUTOPLAY,
        (" ",),
        "Tokens",
        "play",
        "Append the most likely token again and again, until any key is pressed or the model ends.",
        footer=45,
    ),
    Binding(
        Action.LAYER,
        ("e",),
        "View",
        "layer",
        "Colour the prompt: plain, by probability, by entropy, and plain again.",
        footer=80,
    ),
    Binding(Action.SAVE, ("x",), "Files", "save", "Save the prompt as text into prompts/.", footer=30),
    Binding(
        Action.RESTART,
        ("r",),
        "Program",
        "restart engine",
        "Start the engine again after it has stopped.",
        modes=(Mode.BROKEN,),
        footer=100,
    ),
    Binding(Action.HELP, ("?",), "Program", "help", "Show these keys.", footer=95),
    Binding(Action.CLOSE, ("escape", "?"), "Program", "close", "Close the help.", modes=(Mode.HELP,), footer=99),
    Binding(Action.UP, ("up", "k"), "Program", "scroll", "Scroll the help up.", modes=(Mode.HELP,), footer=70),
    Binding(Action.DOWN, ("down", "j"), "Program", "scroll", "Scroll the help down.", modes=(Mode.HELP,), footer=70),
    Binding(Action.QUIT, ("c-q", "c-c"), "Program", "quit", "Quit.", modes=_ALL, footer=85),
)

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
    " ": "space",
}


def shown(key: str) -> str:
    """A key as it stands on a keyboard.

    >>> shown("c-q"), shown("right"), shown("w")
    ('ctrl+q', '→', 'w')
    """
    if key.startswith("c-"):
        return "ctrl+" + key[2:]
    return _SHOWN.get(key, key)


def keys_of(binding: Binding) -> str:
    """All keys of a binding, as on a keyboard."""
    return " ".join(map(shown, binding.keys))


def in_mode(mode: Mode) -> tuple[Binding, ...]:
    """The bindings that a mode has."""
    return tuple(binding for binding in BINDINGS if mode in binding.modes)


def hints(mode: Mode) -> list[tuple[int, str, str]]:
    """What the footer shows: importance, keys and label, neighbours of one label joined."""
    shortest: list[tuple[int, str, str]] = []
    for binding in in_mode(mode):
        if not binding.footer:
            continue
        key = shown(binding.keys[0]).replace("ctrl+", "^")
        if shortest and shortest[-1][2] == binding.label:
            importance, before, label = shortest[-1]
            shortest[-1] = (importance, f"{before}/{key}", label)
        else:
            shortest.append((binding.footer, key, binding.label))
    return shortest


def action(mode: Mode, key: str) -> Action | None:
    """What a key does in a mode."""
    return next((b.action for b in BINDINGS if key in b.keys and mode in b.modes), None)


def topics(mode: Mode) -> dict[str, list[Binding]]:
    """The bindings of a mode by topic, for the help."""
    by_topic: dict[str, list[Binding]] = {}
    for binding in in_mode(mode):
        by_topic.setdefault(binding.topic, []).append(binding)
    return by_topic


def markdown() -> str:
    """The key table for the README."""
    rows = ["| key | does |", "|---|---|"]
    rows += [
        f"| {' '.join(f'`{shown(key)}`' for key in binding.keys)} | {binding.help} |"
        for binding in BINDINGS
        if binding.modes != (Mode.HELP,)
    ]
    return "\n".join(rows)
