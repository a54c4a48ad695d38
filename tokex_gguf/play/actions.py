"""The names of the commands that keys run."""

from enum import Enum, auto


class Action(Enum):
    """The name of a command."""

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
    AHEAD = auto()
    """Show or hide where each row leads to."""
    GHOST = auto()
    """Show or hide the ghost text."""
    SEARCH = auto()
    INPUT = auto()
    EDIT = auto()
    REPLACE = auto()
    """Replace the token at the cursor by the selected one."""
    DELETE_TOKEN = auto()
    INSERT = auto()
    """Type text to insert at the cursor."""
    TAKE_IN = auto()
    """Let the typed text replace one more token."""
    GIVE_BACK = auto()
    RETOKENIZE = auto()
    """Tokenise the prompt's text again."""
    ANSWERS = auto()
    """List the answers that may follow."""
    PAUSE = auto()
    COVERAGE = auto()
    GROUP = auto()
    PATTERN = auto()
    """Type the pattern to group by."""
    STOP = auto()
    """Select the next stop of answers."""
    STOP_TEXT = auto()
    """Type a stop."""
    CRITICAL = auto()
    """List the critical tokens."""
    LEAD = auto()
    """Type the lead of answers."""
    TREE = auto()
    PROMPTS = auto()
    MODELS = auto()
    VERSUS_MODEL = auto()
    """Compare with another model."""
    PART = auto()
    """Show where two models part."""
    GO = auto()
    """Go to the open prompt of a digit."""
    BRING_BACK = auto()
    """Restore the prompt that was removed last."""
    ROLL = auto()
    """Draw a token."""
    DRAW_MANY = auto()
    CONSTRAINT = auto()
    """Type a constraint."""
    KIND = auto()
    """Select the next kind of constraint."""
    FORCE = auto()
    SAMPLERS = auto()
    """Open the sampler chain."""
    LESS = auto()
    """Make the value smaller."""
    MORE = auto()
    MUCH_LESS = auto()
    MUCH_MORE = auto()
    NUMBER = auto()
    """Type a value."""
    SWITCH = auto()
    """Switch a sampler off, or on."""
    ADD = auto()
    PRESET = auto()
    COPY_OUT = auto()
    """Copy the chain for other programs."""
    READ_IN = auto()
    """Read a chain of other programs."""
    DRAW = auto()
    """Draw a typed number of times."""
    SEED = auto()
    LIKELIER = auto()
    """Add to the selected token's logit."""
    UNLIKELIER = auto()
    BAN = auto()
    """Ban the tokens that spell a text."""
    UNBAN = auto()
    ORDER = auto()
    """Sort the table by final probabilities."""
    UNDO = auto()
    REDO = auto()
    VERSUS = auto()
    """Compare with another prompt, or end that."""
    FLIP = auto()
    """Move the cursor to the next flip."""
    SWAP = auto()
    """Go to what the prompt is compared with, B."""
    FIND = auto()
    """Find text in the prompt."""
    NAME = auto()
    ENTER = auto()
    SCORE = auto()
    CLEAR_SCORES = auto()
    LINE_BREAK = auto()
    EARLIER = auto()
    """Go back in the history of typed text."""
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
    FILTER = auto()
    """Find lines of the tree by their text."""
    FOLD = auto()
    UNFOLD = auto()
    SORT = auto()
    PRUNE = auto()
    """Prune a part of the tree."""
    GRAFT = auto()
    """Restore what was pruned last."""
    MOVE_UP = auto()
    MOVE_DOWN = auto()
    RENAME = auto()
    """Name a prompt."""
    NEW = auto()
    """Type the text of a new prompt."""
    SESSIONS = auto()
    """Continue another session."""
    RESTART = auto()
    COMMANDS = auto()
    """Find a command by its name."""
    HELP = auto()
    CLOSE = auto()
    SUSPEND = auto()
    QUIT = auto()
