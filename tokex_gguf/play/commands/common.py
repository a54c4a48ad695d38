"""Commands that many screens have: for lines, for typing, and the ways out."""

from collections.abc import Callable

from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command, Handler, Hint, Reason, no_hint, unread
from tokex_gguf.play.commands import conditions
from tokex_gguf.play.rules import command_line, help_screen, list_search, prompt, text_entry, view_options
from tokex_gguf.values.text_field import TextField

COLON = Command(
    Action.COMMANDS,
    command_line.open_commands,
    (":",),
    "Program",
    "commands",
    "Find a command by its name, and do it.",
    footer=20,
    disabled=conditions.never,
)

GO = Command(Action.GO, None, tuple("123456789"), "Prompts", "go to", "Go to the prompt of that number.")
"""Used in the list of prompts, too."""

EVERYWHERE: tuple[Command, ...] = (
    Command(
        Action.SUSPEND,
        view_options.suspend,
        ("c-z",),
        "Program",
        "suspend",
        "Go to the shell; `fg` there comes back.",
        disabled=conditions.never,
    ),
    Command(
        Action.QUIT,
        view_options.leave,
        ("c-q", "c-c"),
        "Program",
        "quit",
        "Quit.",
        footer=85,
        disabled=conditions.never,
    ),
)

CARET: tuple[Command, ...] = (
    Command(
        Action.EARLIER,
        text_entry.walk(-1),
        ("up",),
        "Typing",
        "earlier",
        "Back to a text that was typed before. What is typed now stays: ↓ leads to it.",
        footer=36,
    ),
    Command(Action.LATER, text_entry.walk(1), ("down",), "Typing", "later", "On to the text typed after it."),
    Command(Action.LINE_BREAK, text_entry.line_break, ("c-j",), "Typing", "line break", "Add a line break.", footer=35),
    Command(
        Action.CARET_LEFT,
        text_entry.edit_line(lambda line: line.moved(-1)),
        ("left",),
        "Typing",
        "left",
        "One character left.",
    ),
    Command(
        Action.CARET_RIGHT,
        text_entry.edit_line(lambda line: line.moved(1)),
        ("right",),
        "Typing",
        "right",
        "One character right.",
    ),
    Command(
        Action.CARET_START,
        text_entry.edit_line(lambda line: line.moved(-len(line.text))),
        ("home", "c-a"),
        "Typing",
        "start",
        "To the start of the text.",
    ),
    Command(
        Action.CARET_END,
        text_entry.edit_line(lambda line: line.moved(len(line.text))),
        ("end",),
        "Typing",
        "end",
        "To the end of the text.",
    ),
    Command(
        Action.DELETE,
        text_entry.edit_line(TextField.deleted),
        ("delete",),
        "Typing",
        "delete",
        "Remove the character here.",
    ),
)
"""Commands for moving in a text that may have several lines."""

ERASING: tuple[Command, ...] = (
    Command(
        Action.ERASE,
        text_entry.edit_line(TextField.erased),
        ("backspace",),
        "Typing",
        "erase",
        "Remove the character before.",
    ),
    Command(
        Action.ERASE_WORD,
        text_entry.edit_line(TextField.word_erased),
        ("c-w",),
        "Typing",
        "erase word",
        "Remove the word before.",
    ),
    Command(
        Action.ERASE_LINE,
        text_entry.edit_line(TextField.cleared),
        ("c-u",),
        "Typing",
        "erase all",
        "Remove all that is before.",
    ),
)


def helping(*keys: str, footer: int = 60) -> Command:
    """The command that opens the help."""
    return Command(
        Action.HELP,
        help_screen.open_help,
        keys,
        "Program",
        "help",
        "Show these keys.",
        footer=footer,
        disabled=conditions.never,
    )


def leaving(close: Handler, sentence: str, label: str = "back") -> tuple[Command, ...]:
    """Commands that leave a screen for typing."""
    return (
        helping("f1"),
        Command(Action.CLOSE, close, ("escape",), "Program", label, sentence, footer=99),
        *EVERYWHERE,
    )


def leaving_list(
    close: Handler, *keys: str, sentence: str = "Go back.", label: str = "back", disabled: Reason = unread
) -> tuple[Command, ...]:
    """Commands that leave a list, by Esc and some other keys."""
    return (
        COLON,
        helping("?", "f1"),
        Command(Action.CLOSE, close, ("escape", *keys), "Program", label, sentence, footer=99, disabled=disabled),
        *EVERYWHERE,
    )


def rows(
    move: Callable[[int], Handler],
    topic: str = "List",
    one: str = "line",
    several: str = "lines",
    *,
    letters: bool = True,
    disabled: Reason = unread,
    now: Hint = no_hint,
) -> tuple[Command, ...]:
    """Commands that move the selection. Where text is typed, letters do not."""
    up, down = (("up", "k"), ("down", "j")) if letters else (("up",), ("down",))
    commands = (
        Command(
            Action.UP, move(-1), up, topic, "row", f"Select the {one} above.", footer=70, now=now, disabled=disabled
        ),
        Command(
            Action.DOWN, move(1), down, topic, "row", f"Select the {one} below.", footer=70, now=now, disabled=disabled
        ),
        Command(Action.PAGE_UP, move(-prompt.PAGE), ("pageup",), topic, "page up", f"Select ten {several} up."),
        Command(Action.PAGE_DOWN, move(prompt.PAGE), ("pagedown",), topic, "page down", f"Select ten {several} down."),
        Command(Action.TOP, move(-prompt.ALL_ROWS), ("home", "g"), topic, "top", f"Select the first {one}."),
        Command(Action.BOTTOM, move(prompt.ALL_ROWS), ("end", "G"), topic, "bottom", f"Select the last {one}."),
    )
    return commands if letters else commands[:4]


FIND_LINE = Command(
    Action.FILTER, list_search.search, ("/",), "List", "find", "Find a line of the list by what it says.", footer=87
)
