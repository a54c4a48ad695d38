"""The screens of answers and critical tokens, and those for typing stops, patterns and leads."""

from collections.abc import Callable

from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command, Hint, ScreenRow
from tokex_gguf.play.commands import conditions
from tokex_gguf.play.commands.common import ERASING, leaving, leaving_list, rows
from tokex_gguf.play.critical import CriticalState, CriticalTokens
from tokex_gguf.play.fan import Fan, FanState
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.rules import critical, fan_out, text_entry
from tokex_gguf.play.session import Session

_ENDED = (FanState.DONE, FanState.FULL, CriticalState.DONE, CriticalState.LONGEST)
"""The states in which space does nothing."""


def _paused(importance: int, shown: Callable[[Session], Fan | CriticalTokens | None]) -> Hint:
    """A hint while the search does not run: the same key goes on, or does nothing."""

    def hint(session: Session) -> tuple[int, str] | None:
        search = shown(session)
        if session.game.engine is EngineStatus.DEAD:
            return 0, ""
        if search is None or search.state in (FanState.RUNNING, CriticalState.RUNNING):
            return None
        return (0, "") if search.state in _ENDED else (importance, "go on")

    return hint


ANSWER_LIST = ScreenRow(
    "The answers that may follow (`W`)",
    (
        *rows(fan_out.select),
        Command(
            Action.APPEND,
            fan_out.append,
            ("right", "l", "enter"),
            "List",
            "append",
            "Append the answer to the prompt. Inside the prompt, open a new one that goes on with it from there.",
            footer=90,
            now=conditions.inside(90, "branch"),
        ),
        Command(Action.OPEN, fan_out.open_new, ("d",), "List", "open", "Open it as a new prompt.", footer=86),
        Command(
            Action.SORT,
            fan_out.sort,
            ("O",),
            "List",
            "order",
            "Sort answers by their first token, and groups by what was found in them; or the likeliest first again.",
            footer=66,
        ),
        Command(
            Action.GROUP,
            fan_out.group,
            ("r",),
            "List",
            "group",
            "Group the answers by what a pattern finds in them, at first by their first number; or list each again.",
            footer=68,
        ),
        Command(
            Action.PATTERN,
            fan_out.type_pattern,
            ("R",),
            "List",
            "pattern",
            "Type a regular expression to group them by; its first group counts, where it has one.",
            footer=50,
        ),
        Command(
            Action.PAUSE,
            fan_out.pause,
            (" ",),
            "Looking",
            "pause",
            "Look no further, or go on; where the budget is spent or enough is seen, with more.",
            footer=88,
            now=_paused(88, fan_out.shown),
        ),
        Command(
            Action.STOP,
            fan_out.next_stop,
            ("s",),
            "Looking",
            "until",
            "Let answers end elsewhere: where the line, the sentence or the model ends. Nothing is computed twice.",
            footer=67,
        ),
        Command(
            Action.STOP_TEXT,
            fan_out.type_stop,
            ("S",),
            "Looking",
            "type until",
            "Type where they end: a text, or a number of tokens.",
            footer=51,
        ),
        Command(Action.MORE, fan_out.more(1), ("+",), "Looking", "budget", "Let it look at more tokens.", footer=60),
        Command(Action.LESS, fan_out.more(-1), ("-",), "Looking", "budget", "Let it look at fewer tokens.", footer=60),
        Command(
            Action.COVERAGE,
            fan_out.coverage,
            ("c",),
            "Looking",
            "coverage",
            "Look until another part of the mass is seen: 50, 90, 99, 99.9 or 100 %.",
            footer=49,
        ),
        Command(
            Action.CRITICAL,
            critical.open_list,
            ("y",),
            "Looking",
            "critical",
            "List the critical tokens: from the most doubtful places of the text before, does the answer flip where "
            "the second choice is taken?",
            footer=69,
        ),
        *leaving_list(
            fan_out.close,
            *("W", "left", "h"),
            sentence="Go back. What was found is kept, and no more is looked for until you come back.",
            disabled=conditions.never,
        ),
    ),
    (
        ("seen", "The probability of all answers that were found, together."),
        ("still open", "That of what may go on, and was not looked at yet."),
        (
            "below the cut",
            "That of what is not followed: paths less likely than one in a million, and the tokens beyond the "
            "candidates of each table. The three are 100 % together.",
        ),
        ("prob", "The answer's joint probability: of all its tokens, and of the one that ends it."),
        ("tokens", "How many that is in the likeliest way to spell it."),
        ("weakest", "The least likely token among them, and its probability there."),
        ("×3", "Three ways to spell or to end the answer were found; their probabilities are added up."),
        ("in 3", "So many answers are in the group; what is shown is the likeliest of them."),
    ),
    pick_row=fan_out.pick,
)

ANSWER_STOP = ScreenRow(
    "Typing where answers end (`S` in their list)",
    (
        Command(
            Action.ENTER,
            fan_out.enter_stop,
            ("enter",),
            "Typing",
            "set",
            "Let answers end there: line, sentence, end, 12 tokens, or a text, in which \\n is a line break.",
            footer=90,
        ),
        *ERASING,
        *leaving(fan_out.leave_typing, "Go back; they end where they did.", label="list"),
    ),
    typed=text_entry.typed,
)

ANSWER_PATTERN = ScreenRow(
    "Typing by what to group answers (`R` in their list)",
    (
        Command(Action.ENTER, fan_out.enter_pattern, ("enter",), "Typing", "group", "Group by this.", footer=90),
        *ERASING,
        *leaving(fan_out.leave_typing, "Go back; the list stays as it is.", label="list"),
    ),
    typed=text_entry.typed,
)

CRITICAL_LIST = ScreenRow(
    "The critical tokens (`y` in the list of answers)",
    (
        *rows(critical.select),
        Command(
            Action.APPEND,
            critical.append,
            ("right", "l", "enter"),
            "List",
            "go that way",
            "Let the prompt go on with the second choice, up to its answer. u takes that back.",
            footer=90,
        ),
        Command(Action.OPEN, critical.open_new, ("d",), "List", "open", "Open that as a new prompt.", footer=86),
        Command(
            Action.PAUSE,
            critical.pause,
            (" ",),
            "Looking",
            "pause",
            "Look no further, or go on; where some did not end, with twice as many tokens for each.",
            footer=88,
            now=_paused(88, critical.shown),
        ),
        Command(Action.MORE, critical.more(1), ("+",), "Looking", "places", "Look at more places.", footer=60),
        Command(Action.LESS, critical.more(-1), ("-",), "Looking", "places", "Look at fewer places.", footer=60),
        Command(
            Action.LEAD,
            critical.type_lead,
            ("R",),
            "Looking",
            "answers after",
            "Type what stands before an answer, such as “Answer:”. Where that does not come, and the model ends, the "
            "last number is the answer.",
            footer=67,
        ),
        *leaving_list(
            critical.close,
            *("y", "left", "h"),
            sentence="Go back to the list of answers. What was found is kept.",
            label="answers",
            disabled=conditions.never,
        ),
    ),
    (
        (
            "critical token",
            "A token in place of which the second choice leads to another answer. The second choice is the "
            "likeliest token that does not stand there.",
        ),
        (
            "most doubtful",
            "Where both tokens are likely: places are sorted by the probability of the less likely one of them.",
        ),
        ("as it stands", "The answer that the text itself leads to: what follows it most likely, token by token."),
        (
            "leads to",
            "What follows from the second choice on, by the most likely token each time, until the answer ends.",
        ),
        ("flips", "Its answer is another one. Numbers are compared, or what the list's pattern finds; else texts."),
        ("no end in 128", "It has no answer: it did not end in so many tokens. Or: the model ends before one."),
    ),
    pick_row=critical.pick,
)

CRITICAL_LEAD = ScreenRow(
    "Typing what stands before an answer (`R` in the critical tokens)",
    (
        Command(
            Action.ENTER, critical.enter_lead, ("enter",), "Typing", "set", "Look for answers after this.", footer=90
        ),
        *ERASING,
        *leaving(critical.leave_typing, "Go back; the list stays as it is.", label="list"),
    ),
    typed=text_entry.typed,
)
