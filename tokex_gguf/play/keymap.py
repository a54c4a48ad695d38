"""The key table: every key, what it does, and how it is told, as data.

Bindings, footer, help screen and the key tables in the documentation all come from here.
"""

from collections.abc import Container
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
    """A sentence for the help screen and the documentation."""
    modes: tuple[Mode, ...] = (Mode.PLAY, Mode.BROKEN)
    footer: int = 0
    """Larger is shown first when the footer is short of room; 0 never."""
    inner: tuple[int, str] | None = None
    """The same and the word, where these are others while an inner token is looked at."""
    several: bool = False
    """Whether it is of use only where several prompts are open."""
    chooses: bool = False
    """Whether it is of no use at the first token: nothing comes before it, so there is nothing to choose from."""


_ALL = tuple(Mode)
_LISTS = (Mode.TREE, Mode.PROMPTS, Mode.MODELS)
_TYPING = (Mode.SEARCH, Mode.INPUT, Mode.NAME)

BINDINGS: tuple[Binding, ...] = (
    Binding(Action.UP, ("up", "k"), "Table", "row", "Select the token above.", footer=70, chooses=True),
    Binding(Action.DOWN, ("down", "j"), "Table", "row", "Select the token below.", footer=70, chooses=True),
    Binding(Action.PAGE_UP, ("pageup",), "Table", "page up", "Select ten rows up."),
    Binding(Action.PAGE_DOWN, ("pagedown",), "Table", "page down", "Select ten rows down."),
    Binding(Action.TOP, ("home",), "Table", "top", "Select the most likely token."),
    Binding(Action.BOTTOM, ("end",), "Table", "bottom", "Select the last token of the table."),
    Binding(
        Action.APPEND,
        ("right", "l"),
        "Tokens",
        "append",
        "Append the selected token to the prompt. Inside the prompt, open a new one that goes on with it from there.",
        footer=90,
        inner=(90, "branch"),
        chooses=True,
    ),
    Binding(
        Action.POP,
        ("left", "h"),
        "Tokens",
        "pop",
        "Pop the prompt's last token. It becomes the selected row, so that → takes it back.",
        footer=90,
        inner=(0, ""),
    ),
    Binding(
        Action.AUTOPLAY,
        (" ",),
        "Tokens",
        "play",
        "Append the most likely token again and again, until space or another key, or the model's end.",
        footer=45,
        inner=(0, ""),
    ),
    Binding(Action.CURSOR_BACK, (",", "s-left"), "Look back", "look", "Look at the token before.", footer=69),
    Binding(Action.CURSOR_ON, (".", "s-right"), "Look back", "look", "Look at the token after.", footer=69),
    Binding(Action.CURSOR_FAR_BACK, ("<", "c-s-left"), "Look back", "far", "Look ten tokens back."),
    Binding(Action.CURSOR_FAR_ON, (">", "c-s-right"), "Look back", "far", "Look ten tokens on."),
    Binding(Action.CURSOR_FIRST, ("s-home", "["), "Look back", "first", "Look at the first token."),
    Binding(
        Action.CURSOR_TIP,
        ("escape", "s-end", "]"),
        "Look back",
        "tip",
        "Go back to the prompt's end.",
        inner=(89, "end"),
    ),
    Binding(
        Action.NEXT_SURPRISAL,
        ("n",),
        "Look back",
        "jump",
        "Look at the next token of high surprisal: one of the tenth that the model expected least.",
        footer=67,
    ),
    Binding(Action.PREVIOUS_SURPRISAL, ("N",), "Look back", "jump", "Look at the previous token of high surprisal."),
    Binding(
        Action.NEXT_ENTROPY,
        ("m",),
        "Look back",
        "jump",
        "Look at the next place of high entropy: one of the highest tenth.",
        footer=67,
    ),
    Binding(Action.PREVIOUS_ENTROPY, ("M",), "Look back", "jump", "Look at the previous place of high entropy."),
    Binding(
        Action.HIGHEST_SURPRISAL,
        ("b",),
        "Look back",
        "most",
        "Look at the token of the highest surprisal, #1. Press again for #2 and so on.",
    ),
    Binding(
        Action.HIGHEST_ENTROPY,
        ("B",),
        "Look back",
        "most",
        "Look at the place of the highest entropy, #1, where the model was least sure. Press again for #2 and so on.",
    ),
    Binding(
        Action.SEARCH,
        ("/",),
        "Any token",
        "find",
        "Search the whole vocabulary, sorted by probability here.",
        footer=66,
        chooses=True,
    ),
    Binding(
        Action.INPUT,
        ("i",),
        "Any token",
        "type",
        "Type text to go on with, also inside the prompt. See how likely it is; score it against other phrases.",
        footer=68,
        chooses=True,
    ),
    Binding(Action.EDIT, ("c-e",), "Any token", "edit", "Open the prompt's text in $EDITOR."),
    Binding(Action.CLEAR_SCORES, ("c-l",), "Any token", "clear scores", "Forget the phrases that were scored."),
    Binding(Action.NEXT, ("w",), "Prompts", "prompt", "Go to the next prompt.", footer=50, several=True),
    Binding(Action.PREVIOUS, ("s",), "Prompts", "prompt", "Go to the previous prompt.", footer=50, several=True),
    Binding(Action.COPY, ("d",), "Prompts", "copy", "Add a copy of the prompt and go to it.", footer=52),
    Binding(
        Action.REMOVE, ("a",), "Prompts", "drop", "Remove the prompt (the last one stays).", footer=40, several=True
    ),
    Binding(Action.UNDO, ("A",), "Prompts", "undo", "Bring the prompt back that was removed last."),
    Binding(
        Action.GO,
        tuple("123456789"),
        "Prompts",
        "go to",
        "Go to the prompt of that number.",
        modes=(Mode.PLAY, Mode.BROKEN, Mode.PROMPTS),
    ),
    Binding(Action.PROMPTS, ("p",), "Prompts", "list", "List the open prompts, and texts to start with.", footer=41),
    Binding(Action.TREE, ("t",), "Prompts", "tree", "Show all paths visited so far as a tree.", footer=34),
    Binding(
        Action.LAYER,
        ("e",),
        "View",
        "layer",
        "Colour the prompt: plain, by probability, by entropy, and plain again.",
        footer=80,
    ),
    Binding(
        Action.MORE_LAYERS, ("E",), "View", "more layers", "Colour it by rank, by surprisal, or by token boundaries."
    ),
    Binding(Action.PALETTE, ("c",), "View", "colours", "Other colours: standard, colour-blind safe, none."),
    Binding(Action.MOUSE, ("z",), "View", "mouse", "Let clicks and the wheel choose tokens, or stop it."),
    Binding(Action.SAVE, ("x",), "Files", "save", "Save the prompt as text into prompts/.", footer=30),
    Binding(
        Action.NAME, ("c-s",), "Files", "name", "Give this session a name, to come back to it with --session NAME."
    ),
    Binding(Action.MODELS, ("o",), "Program", "model", "Play with another model on this machine.", footer=26),
    Binding(
        Action.RESTART,
        ("r",),
        "Program",
        "restart engine",
        "Start the engine again after it has stopped, or is silent; pressed twice, also one that is at work.",
        modes=(Mode.BROKEN,),
        footer=100,
    ),
    Binding(
        Action.RESTART,
        ("r",),
        "Program",
        "restart engine",
        "Pressed twice while the engine does not answer: start it again.",
        modes=(Mode.PLAY,),
    ),
    # Searching.
    Binding(Action.UP, ("up",), "Search", "row", "Select the token above.", modes=(Mode.SEARCH,), footer=70),
    Binding(Action.DOWN, ("down",), "Search", "row", "Select the token below.", modes=(Mode.SEARCH,), footer=70),
    Binding(Action.PAGE_UP, ("pageup",), "Search", "page up", "Select ten rows up.", modes=(Mode.SEARCH,)),
    Binding(Action.PAGE_DOWN, ("pagedown",), "Search", "page down", "Select ten rows down.", modes=(Mode.SEARCH,)),
    Binding(
        Action.APPEND,
        ("right", "enter"),
        "Search",
        "append",
        "Append the selected token. Inside the prompt, open a new one that goes on with it from there.",
        modes=(Mode.SEARCH,),
        footer=90,
        inner=(90, "branch"),
    ),
    Binding(
        Action.EARLIER,
        ("c-p",),
        "Search",
        "earlier",
        "Back to what was searched for before; ↑ does the same from the first row, while nothing is typed.",
        modes=(Mode.SEARCH,),
    ),
    Binding(Action.LATER, ("c-n",), "Search", "later", "On to what was searched for after it.", modes=(Mode.SEARCH,)),
    # Naming.
    Binding(Action.ENTER, ("enter",), "Name", "keep", "Give the session this name.", modes=(Mode.NAME,), footer=90),
    # Typing.
    Binding(
        Action.ENTER,
        ("enter",),
        "Typing",
        "append",
        "Append what is typed. Inside the prompt, open a new one that goes on with it from there.",
        modes=(Mode.INPUT,),
        footer=90,
        inner=(90, "branch"),
    ),
    Binding(
        Action.SCORE,
        ("c-p",),
        "Typing",
        "score",
        "Score it instead: it becomes a row among the phrases that are compared.",
        modes=(Mode.INPUT,),
        footer=88,
    ),
    Binding(
        Action.CLEAR_SCORES, ("c-l",), "Typing", "clear scores", "Forget the phrases.", modes=(Mode.INPUT,), footer=40
    ),
    Binding(
        Action.EARLIER,
        ("up",),
        "Typing",
        "earlier",
        "Back to a text that was typed before. What is typed now stays: ↓ leads to it.",
        modes=(Mode.INPUT,),
        footer=36,
    ),
    Binding(Action.LATER, ("down",), "Typing", "later", "On to the text typed after it.", modes=(Mode.INPUT,)),
    Binding(Action.LINE_BREAK, ("c-j",), "Typing", "line break", "Add a line break.", modes=(Mode.INPUT,), footer=35),
    Binding(Action.CARET_LEFT, ("left",), "Typing", "left", "One character left.", modes=(Mode.INPUT,)),
    Binding(Action.CARET_RIGHT, ("right",), "Typing", "right", "One character right.", modes=(Mode.INPUT,)),
    Binding(Action.CARET_START, ("home", "c-a"), "Typing", "start", "To the start of the text.", modes=(Mode.INPUT,)),
    Binding(Action.CARET_END, ("end",), "Typing", "end", "To the end of the text.", modes=(Mode.INPUT,)),
    Binding(Action.DELETE, ("delete",), "Typing", "delete", "Remove the character here.", modes=(Mode.INPUT,)),
    Binding(Action.ERASE, ("backspace",), "Typing", "erase", "Remove the character before.", modes=_TYPING),
    Binding(Action.ERASE_WORD, ("c-w",), "Typing", "erase word", "Remove the word before.", modes=_TYPING),
    Binding(Action.ERASE_LINE, ("c-u",), "Typing", "erase all", "Remove all that is before.", modes=_TYPING),
    # Lists.
    Binding(Action.UP, ("up", "k"), "List", "row", "Select the line above.", modes=_LISTS, footer=70),
    Binding(Action.DOWN, ("down", "j"), "List", "row", "Select the line below.", modes=_LISTS, footer=70),
    Binding(Action.PAGE_UP, ("pageup",), "List", "page up", "Select ten lines up.", modes=_LISTS),
    Binding(Action.PAGE_DOWN, ("pagedown",), "List", "page down", "Select ten lines down.", modes=_LISTS),
    Binding(Action.TOP, ("home",), "List", "top", "Select the first line.", modes=_LISTS),
    Binding(Action.BOTTOM, ("end",), "List", "bottom", "Select the last line.", modes=_LISTS),
    Binding(Action.ENTER, ("enter",), "List", "go there", "Let the prompt go there.", modes=(Mode.TREE,), footer=90),
    Binding(
        Action.OPEN, ("d",), "List", "open a copy", "Open the place as a new prompt.", modes=(Mode.TREE,), footer=88
    ),
    Binding(
        Action.ENTER,
        ("enter",),
        "List",
        "open",
        "Go to the open prompt, or open the text as a new one.",
        modes=(Mode.PROMPTS,),
        footer=90,
    ),
    Binding(
        Action.ENTER,
        ("enter",),
        "List",
        "load",
        "Load the model; the prompts' texts come along. Esc while it loads goes back.",
        modes=(Mode.MODELS,),
        footer=90,
    ),
    # The help.
    Binding(Action.UP, ("up", "k"), "Help", "read", "One key up.", modes=(Mode.HELP,), footer=70),
    Binding(Action.DOWN, ("down", "j"), "Help", "read", "One key down.", modes=(Mode.HELP,), footer=70),
    Binding(Action.PAGE_UP, ("pageup",), "Help", "page up", "Ten keys up.", modes=(Mode.HELP,)),
    Binding(Action.PAGE_DOWN, ("pagedown",), "Help", "page down", "Ten keys down.", modes=(Mode.HELP,)),
    Binding(Action.TOP, ("home",), "Help", "top", "To the beginning of the help.", modes=(Mode.HELP,)),
    Binding(Action.BOTTOM, ("end",), "Help", "end", "To the end of the help.", modes=(Mode.HELP,)),
    # Everywhere.
    Binding(Action.HELP, ("?", "f1"), "Program", "help", "Show these keys.", footer=95),
    Binding(Action.HELP, ("f1",), "Program", "help", "Show these keys.", modes=_TYPING, footer=60),
    Binding(Action.HELP, ("?", "f1"), "Program", "help", "Show these keys.", modes=_LISTS, footer=60),
    Binding(
        Action.CLOSE,
        ("escape",),
        "Program",
        "back",
        "Go back; nothing is changed, and the text comes back the next time.",
        modes=_TYPING,
        footer=99,
    ),
    Binding(Action.CLOSE, ("escape", "t"), "Program", "back", "Go back.", modes=(Mode.TREE,), footer=99),
    Binding(Action.CLOSE, ("escape", "p"), "Program", "back", "Go back.", modes=(Mode.PROMPTS,), footer=99),
    Binding(Action.CLOSE, ("escape", "o"), "Program", "back", "Go back.", modes=(Mode.MODELS,), footer=99),
    Binding(Action.CLOSE, ("escape", "?", "f1"), "Program", "close", "Close the help.", modes=(Mode.HELP,), footer=99),
    Binding(Action.SUSPEND, ("c-z",), "Program", "suspend", "Go to the shell; `fg` there comes back.", modes=_ALL),
    Binding(Action.QUIT, ("c-q", "c-c"), "Program", "quit", "Quit.", modes=_ALL, footer=85),
)

SIGNS: tuple[tuple[str, str], ...] = (
    ("· before a row", "The table after this token is known already: → shows it at once."),
    ("• before a row", "You were there: the tree has this path."),
    ("› before a row", "The token that was taken here."),
    ("␣ ⏎ ⇥ ‹E2›", "A space, a line break, a tab; a byte that is no whole character by itself."),
    (
        "not the tokenizer's own",
        "From there on it would cut this text into other tokens, so they are odd ones to the model.",
    ),
    ("tokens, logprob", "The prompt's length, and the natural logarithm of its probability given its first token."),
    ("ppl", "Perplexity: as unsure as if each token had been one of so many equal ones."),
    ("surprisal", "Bits: −log2 of the probability of the token that came. Large: it was unlikely."),
    ("entropy", "Bits: large where many tokens were likely. In brackets from 0 (certain) to 1 (all alike)."),
    ("#3", "The third largest of its kind in this prompt."),
    ("known, 0 tokens", "The last key cost no decode; else how many tokens it decoded, and how long that took."),
)
"""What stands on the screen while it is played, for the help."""

_SIGNS: dict[Mode, tuple[tuple[str, str], ...]] = {
    Mode.PLAY: SIGNS,
    Mode.BROKEN: SIGNS,
    Mode.SEARCH: (
        ("rank", "Of all tokens of the vocabulary, not only of those found."),
        ('" the"', "In double quotes white space counts: it finds ␣the, but not other."),
        ("␣ ⏎ ⇥", "May be typed as they are shown, for a space, a line break and a tab."),
        ("a number", "Finds the token of that id as well."),
    ),
    Mode.INPUT: (
        ("joint p", "The probability of all tokens of the phrase, one after the other, after what stands before them."),
        ("ln p", "Its natural logarithm."),
        ("share", "The phrase's part of the probability of all that were scored at the same place."),
        ("odds", "So many times less likely than the best of them."),
        ("after …", "What stands before the phrases below it. Only phrases after the same text are compared."),
    ),
    Mode.TREE: (
        ("first p", "The probability of the line's first token after what it branches from."),
        ("joint p", "That of all the line's tokens, one after the other."),
        ("1 before a line", "Here open prompt 1 ends."),
        ("above, or to the left", "The text and the numbers of the selected line."),
    ),
}

_ARROWS = "↑↓←→"
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


def shown(key: str) -> str:
    """A key as it stands on a keyboard.

    >>> shown("c-q"), shown("right"), shown("a-s-up")
    ('ctrl+q', '→', 'alt+shift+↑')
    """
    for prefix, name in (("c-", "ctrl+"), ("s-", "shift+"), ("a-", "alt+"), ("super-", "super+")):
        if key.startswith(prefix) and len(key) > len(prefix):
            return name + shown(key.removeprefix(prefix))
    return _SHOWN.get(key, key)


def keys_of(binding: Binding) -> str:
    """All keys of a binding, as on a keyboard.

    >>> keys_of(next(binding for binding in BINDINGS if binding.action is Action.GO))
    '1…9'
    """
    if len(binding.keys) > 3:
        return f"{shown(binding.keys[0])}…{shown(binding.keys[-1])}"
    return " ".join(map(shown, binding.keys))


def in_mode(mode: Mode) -> tuple[Binding, ...]:
    """The bindings that a mode has."""
    return tuple(binding for binding in BINDINGS if mode in binding.modes)


def hints(mode: Mode, *, inner: bool = False, several: bool = True, choices: bool = True) -> list[tuple[int, str, str]]:
    """What the footer shows: importance, keys and label, neighbours of one label joined.

    `inner`: while an inner token is looked at; `several`: where several prompts are open; `choices`: where there is
    something to choose from.
    """
    shortest: list[tuple[int, str, str]] = []
    for binding in in_mode(mode):
        importance, label = (inner and binding.inner) or (binding.footer, binding.label)
        if not importance or (binding.several and not several) or (binding.chooses and not choices):
            continue
        key = shown(binding.keys[0]).replace("ctrl+", "^")
        if shortest and shortest[-1][2] == label:
            importance, before, label = shortest[-1]
            between = "" if before in _ARROWS else "/"
            shortest[-1] = (importance, f"{before}{between}{key}", label)
        else:
            shortest.append((importance, key, label))
    return shortest


def action(mode: Mode, key: str) -> Action | None:
    """What a key does in a mode."""
    return next((b.action for b in BINDINGS if key in b.keys and mode in b.modes), None)


def explained(mode: Mode) -> dict[str, list[tuple[str, str]]]:
    """What the help tells of a mode, by topic: keys and what they do, signs and what they mean."""
    playing = mode in (Mode.PLAY, Mode.BROKEN)
    by_topic: dict[str, list[tuple[str, str]]] = {}
    for binding in in_mode(Mode.BROKEN if playing else mode):  # BROKEN has all that PLAY has
        by_topic.setdefault(binding.topic, []).append((keys_of(binding), binding.help))
    if signs := _SIGNS.get(mode):
        by_topic["What stands on the screen"] = list(signs)
    return by_topic


def markdown(mode: Mode = Mode.BROKEN, only: Container[Action] = frozenset(Action)) -> str:
    """The keys of a mode as a Markdown table: all, or those of some actions. BROKEN has all that PLAY has."""
    rows = ["| key | does |", "|---|---|"]
    for binding in in_mode(mode):
        if binding.action not in only:
            continue
        keys = [keys_of(binding)] if len(binding.keys) > 3 else map(shown, binding.keys)
        rows.append(f"| {' '.join(f'`{key}`' for key in keys)} | {binding.help} |")
    return "\n".join(rows)


_TITLES = {
    Mode.BROKEN: "Playing",
    Mode.SEARCH: "Searching the vocabulary (`/`)",
    Mode.INPUT: "Typing (`i`)",
    Mode.NAME: "Naming the session (`ctrl+s`)",
    Mode.TREE: "The tree (`t`)",
    Mode.PROMPTS: "The list of prompts (`p`)",
    Mode.MODELS: "The list of models (`o`)",
    Mode.HELP: "The help (`?`)",
}


def _signs(mode: Mode) -> str:
    """What stands on a mode's screen, as a table."""
    rows = [f"| {sign} | {meaning} |" for sign, meaning in _SIGNS.get(mode, ())]
    return "\n".join(["", "| on the screen | means |", "|---|---|", *rows, ""]) if rows else ""


def manual() -> str:
    """All keys of all modes, for docs/reference/keys.md."""
    parts = [f"## {title}\n\n{markdown(mode)}\n{_signs(mode)}" for mode, title in _TITLES.items()]
    return "# Keys\n\nGenerated by `scripts/docs.py` from the program's own key table.\n\n" + "\n".join(parts)
