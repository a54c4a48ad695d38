"""What a key does, and what the screen is used for, by name."""

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
    CURSOR_BACK = auto()
    CURSOR_ON = auto()
    CURSOR_FAR_BACK = auto()
    CURSOR_FAR_ON = auto()
    CURSOR_FIRST = auto()
    CURSOR_TIP = auto()
    NEXT_SURPRISAL = auto()
    PREVIOUS_SURPRISAL = auto()
    NEXT_ENTROPY = auto()
    PREVIOUS_ENTROPY = auto()
    HIGHEST_SURPRISAL = auto()
    HIGHEST_ENTROPY = auto()
    MORE_LAYERS = auto()
    PALETTE = auto()
    MOUSE = auto()
    SEARCH = auto()
    INPUT = auto()
    EDIT = auto()
    TREE = auto()
    PROMPTS = auto()
    MODELS = auto()
    GO = auto()
    """A digit: the open prompt of that number."""
    UNDO = auto()
    NAME = auto()
    ENTER = auto()
    SCORE = auto()
    CLEAR_SCORES = auto()
    LINE_BREAK = auto()
    EARLIER = auto()
    """Back in the history of what was typed."""
    LATER = auto()
    ERASE = auto()
    DELETE = auto()
    ERASE_WORD = auto()
    ERASE_LINE = auto()
    CARET_LEFT = auto()
    CARET_RIGHT = auto()
    CARET_START = auto()
    CARET_END = auto()
    OPEN = auto()
    """Open the selected line of a list as a prompt of its own."""
    RESTART = auto()
    HELP = auto()
    CLOSE = auto()
    SUSPEND = auto()
    QUIT = auto()


class Mode(Enum):
    """What the screen is used for; each mode has its own keys."""

    PLAY = auto()
    HELP = auto()
    BROKEN = auto()
    """The engine is gone: everything of PLAY, and a key that restarts it."""
    SEARCH = auto()
    """A part of a token is typed; the table shows what has it."""
    INPUT = auto()
    """Text to go on with, or to score, is typed."""
    TREE = auto()
    """All paths that were visited."""
    PROMPTS = auto()
    """Open prompts, and texts to start others with."""
    MODELS = auto()
    """Models on this machine."""
    NAME = auto()
    """A name for the session is typed."""

    @property
    def typing(self) -> bool:
        """Whether keys that print are text here."""
        return self in (Mode.SEARCH, Mode.INPUT, Mode.NAME)
