"""The lists of prompts, models and sessions, searching a list, and texts and names of prompts."""

from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command, CommandsOf, ScreenRow, unread
from tokex_gguf.play.commands import conditions
from tokex_gguf.play.commands.common import CARET, ERASING, FIND_LINE, GO, leaving, leaving_list, rows
from tokex_gguf.play.rules import list_search, lists, model_switch, second_model, sessions, text_entry, versus
from tokex_gguf.values.record import replace

_no_prompt = conditions.either(unread, lists.no_prompt)

_drops_nothing = conditions.either(lists.no_prompt, conditions.removes_nothing)

_compares_no_prompt = conditions.either(lists.no_prompt, conditions.cannot_compare)

PROMPTS = ScreenRow(
    "The list of prompts (`p`)",
    (
        GO,
        *rows(lambda lines: lists.move(lines, list_search.prompts_length)),
        Command(
            Action.ENTER,
            lists.choose,
            ("enter",),
            "List",
            "open",
            "Go to the open prompt, or open the text as a new one.",
            footer=90,
        ),
        FIND_LINE,
        Command(
            Action.NEW,
            lists.new_prompt,
            ("n",),
            "List",
            "new",
            "Open an empty prompt: type what it begins with.",
            footer=88,
        ),
        Command(
            Action.RENAME,
            lists.rename,
            ("r",),
            "List",
            "name",
            "Give the prompt a name.",
            footer=69,
            disabled=_no_prompt,
        ),
        Command(
            Action.MOVE_DOWN,
            lists.move_prompt(1),
            ("J", "s-down"),
            "List",
            "move",
            "Move the prompt one place down.",
            footer=50,
            disabled=_no_prompt,
        ),
        Command(
            Action.MOVE_UP,
            lists.move_prompt(-1),
            ("K", "s-up"),
            "List",
            "move",
            "Move the prompt one place up.",
            footer=50,
            disabled=_no_prompt,
        ),
        Command(
            Action.REMOVE,
            lists.remove,
            ("a",),
            "List",
            "drop",
            "Remove the prompt; press twice. A brings it back. The last one stays.",
            footer=40,
            disabled=_drops_nothing,
        ),
        Command(
            Action.VERSUS,
            versus.choose,
            ("v",),
            "List",
            "compare",
            "Compare the prompt that is played, A, with this one, B.",
            footer=45,
            disabled=_compares_no_prompt,
        ),
        Command(
            Action.BRING_BACK,
            lists.bring_back,
            ("A",),
            "List",
            "bring back",
            "Bring the prompt back that was removed last.",
        ),
        *leaving_list(lists.close, "p"),
    ),
    (
        ("› before a number", "The prompt that is played."),
        ("… and dim text", "What another prompt begins with, too: only its end is shown."),
        ("from", "Where the prompt leaves the others: the first token that none of them has there."),
        ("+", "A text to start with."),
    ),
    pick_row=lists.pick(list_search.prompts_length),
)


def list_search_row(of: CommandsOf) -> ScreenRow:
    """The row of a list search. `of`: the commands of the list, whose Enter chooses a match."""
    return ScreenRow(
        "Finding a line of a list (`/` there)",
        (
            *rows(list_search.select, letters=False, now=conditions.of_found(list_search.found)),
            Command(
                Action.ENTER,
                list_search.choose(of),
                ("enter",),
                "List",
                "choose",
                "Do with the line what Enter does in the list.",
                footer=90,
                now=conditions.of_found(list_search.found),
            ),
            *ERASING,
            *leaving(
                list_search.leave, "Go back to the whole list, with the line selected that was found.", label="list"
            ),
        ),
        typed=text_entry.typed,
        pick_row=list_search.pick,
    )


NEW_PROMPT = ScreenRow(
    "Typing a new prompt (`n` in the list)",
    (
        Command(
            Action.ENTER, lists.open_new, ("enter",), "Typing", "open", "Open what is typed as a new prompt.", footer=90
        ),
        *CARET,
        *ERASING,
        *leaving(lists.leave_new, "Go back to the list; the text comes back the next time."),
    ),
    typed=text_entry.typed,
)

PROMPT_NAME = ScreenRow(
    "Naming a prompt (`r` in the list)",
    (
        Command(
            Action.ENTER,
            lists.keep_name,
            ("enter",),
            "Name",
            "keep",
            "Give the prompt this name; without one, it has none.",
            footer=90,
        ),
        *ERASING,
        *leaving(lists.leave_name, "Go back; the name stays as it was."),
    ),
    typed=text_entry.typed,
)

MODELS = ScreenRow(
    "The list of models (`o`)",
    (
        *rows(lambda lines: lists.move(lines, list_search.models_length)),
        Command(
            Action.ENTER,
            model_switch.choose,
            ("enter",),
            "List",
            "load",
            "Load the model; the prompts' texts come along. Esc while it loads goes back.",
            footer=90,
        ),
        FIND_LINE,
        *leaving_list(lists.close, "o"),
    ),
    pick_row=lists.pick(list_search.models_length),
)

SECOND_MODELS = ScreenRow(
    "The list of models to compare with (`V`)",
    tuple(
        replace(one, handler=second_model.choose, label="compare", help="Load the model beside the one that is played.")
        if one.action is Action.ENTER
        else replace(one, keys=("escape", "V"))
        if one.action is Action.CLOSE
        else one
        for one in MODELS.commands
    ),
    pick_row=lists.pick(list_search.models_length),
)

SESSIONS = ScreenRow(
    "The list of sessions (`y`): typing filters it",
    (
        *rows(sessions.select, letters=False, now=conditions.of_found(sessions.found)),
        Command(
            Action.ENTER,
            sessions.choose,
            ("enter",),
            "List",
            "go on",
            "Save this session and go on with the selected one.",
            footer=90,
            now=conditions.of_found(sessions.found),
        ),
        *ERASING,
        *leaving(lists.close, "Go back; this session stays."),
    ),
    (
        ("› before a line", "The session that is played."),
        ("* before a line", "One that another program plays: what is played here is kept apart from it."),
        ("tokens", "Those of the prompt whose beginning is shown."),
    ),
    typed=text_entry.typed,
    pick_row=sessions.pick,
)
