"""What a key does, by name."""

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
    AHEAD = auto()
    """Show where each row leads to."""
    GHOST = auto()
    """Show how the prompt most likely goes on."""
    SEARCH = auto()
    INPUT = auto()
    EDIT = auto()
    REPLACE = auto()
    """Put the selected token in place of the one that is looked at."""
    DELETE_TOKEN = auto()
    INSERT = auto()
    """Type into the middle of the prompt."""
    TAKE_IN = auto()
    """Let what is typed there take the place of one more token."""
    GIVE_BACK = auto()
    RETOKENIZE = auto()
    """Cut the prompt's text into tokens anew."""
    ANSWERS = auto()
    """List the answers that may follow."""
    PAUSE = auto()
    COVERAGE = auto()
    GROUP = auto()
    PATTERN = auto()
    """Type by what to group."""
    STOP = auto()
    """Let answers end elsewhere."""
    STOP_TEXT = auto()
    """Type where."""
    CRITICAL = auto()
    """List the critical tokens."""
    LEAD = auto()
    """Type what stands before an answer."""
    TREE = auto()
    PROMPTS = auto()
    MODELS = auto()
    VERSUS_MODEL = auto()
    """Compare with another model."""
    PART = auto()
    """Where two models part."""
    GO = auto()
    """A digit: the open prompt of that number."""
    BRING_BACK = auto()
    """The prompt that was removed last."""
    ROLL = auto()
    """Draw a token."""
    DRAW_MANY = auto()
    CONSTRAINT = auto()
    """Type a constraint."""
    KIND = auto()
    """Write it in another way."""
    FORCE = auto()
    SAMPLERS = auto()
    """Open the sampler chain."""
    LESS = auto()
    """A smaller value."""
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
    """Draw as often as is typed."""
    SEED = auto()
    LIKELIER = auto()
    """Add to the selected token's logit."""
    UNLIKELIER = auto()
    BAN = auto()
    """Ban what spells a text."""
    UNBAN = auto()
    ORDER = auto()
    """Sort the table by what the samplers leave."""
    UNDO = auto()
    REDO = auto()
    VERSUS = auto()
    """Compare with another prompt, or no more."""
    FLIP = auto()
    """Look where another token is the most likely."""
    SWAP = auto()
    """Go to what the prompt is compared with."""
    FIND = auto()
    """Find text in the prompt."""
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
    FILTER = auto()
    """Find lines of the tree by their text."""
    FOLD = auto()
    UNFOLD = auto()
    SORT = auto()
    PRUNE = auto()
    """Take a part of the tree out of sight."""
    GRAFT = auto()
    """Bring back what was pruned last."""
    MOVE_UP = auto()
    MOVE_DOWN = auto()
    RENAME = auto()
    """Name a prompt."""
    NEW = auto()
    """Type what a new prompt begins with."""
    SESSIONS = auto()
    """Go on with another session."""
    RESTART = auto()
    COMMANDS = auto()
    """Find a command by its name."""
    HELP = auto()
    CLOSE = auto()
    SUSPEND = auto()
    QUIT = auto()
