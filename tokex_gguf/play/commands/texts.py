"""Screens for typing while playing: text to search, append, insert or find, and a name."""

from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command, ScreenRow, unread
from tokex_gguf.play.commands import conditions
from tokex_gguf.play.commands.common import CARET, ERASING, leaving, rows
from tokex_gguf.play.rules import find, insertion, text_entry

_cannot_replace_found = conditions.either(unread, text_entry.cannot_replace_found)

_LEAVING = leaving(text_entry.close, "Go back; nothing is changed, and the text comes back the next time.")

SEARCH = ScreenRow(
    "Searching the vocabulary (`/`)",
    (
        *rows(text_entry.select_found, "Search", "token", "rows", letters=False),
        Command(
            Action.APPEND,
            text_entry.append_found,
            ("right", "enter"),
            "Search",
            "append",
            "Append the selected token. Inside the prompt, open a new one that goes on with it from there.",
            footer=90,
            now=conditions.inside(90, "branch"),
        ),
        Command(
            Action.REPLACE,
            text_entry.replace_by_found,
            ("c-k",),
            "Search",
            "replace",
            "Inside the prompt, put the selected token in place of the one that is looked at and keep what follows.",
            now=conditions.inside(88, "replace"),
            disabled=_cannot_replace_found,
        ),
        Command(
            Action.EARLIER,
            text_entry.walk(-1),
            ("c-p",),
            "Search",
            "earlier",
            "Back to what was searched for before; ↑ does the same from the first row, while nothing is typed.",
        ),
        Command(Action.LATER, text_entry.walk(1), ("c-n",), "Search", "later", "On to what was searched for after it."),
        *ERASING,
        *_LEAVING,
    ),
    (
        ("rank", "Of all tokens of the vocabulary, not only of those found."),
        ('" the"', "In double quotes white space counts: it finds ␣the, but not other."),
        ("␣ ⏎ ⇥", "May be typed as they are shown, for a space, a line break and a tab."),
        ("a number", "Finds the token of that id as well."),
    ),
    typed=text_entry.typed,
    pick_row=text_entry.pick_found,
)

INPUT = ScreenRow(
    "Typing (`i`)",
    (
        Command(
            Action.ENTER,
            text_entry.enter,
            ("enter",),
            "Typing",
            "append",
            "Append what is typed. Inside the prompt, open a new one that goes on with it from there.",
            footer=90,
            now=conditions.inside(90, "branch"),
        ),
        Command(
            Action.SCORE,
            text_entry.score,
            ("c-p",),
            "Typing",
            "score",
            "Score it instead: it becomes a row among the phrases that are compared.",
            footer=88,
        ),
        Command(
            Action.CLEAR_SCORES,
            text_entry.clear_scores,
            ("c-l",),
            "Typing",
            "clear scores",
            "Forget the phrases.",
            footer=40,
            disabled=conditions.nothing_scored,
        ),
        *CARET,
        *ERASING,
        *_LEAVING,
    ),
    (
        (
            "joint p",
            "The probability of all tokens of the phrase, one after the other, after what stands before them.",
        ),
        ("ln p", "Its natural logarithm."),
        ("share", "The phrase's part of the probability of all that were scored at the same place."),
        ("odds", "So many times less likely than the best of them."),
        ("after …", "What stands before the phrases below it. Only phrases after the same text are compared."),
        (
            "legal, breaks",
            "Whether the constraint allows the phrase; what is not legal is struck through.",
        ),
    ),
    typed=text_entry.typed,
)

INSERT = ScreenRow(
    "Typing inside the prompt (`I`)",
    (
        Command(
            Action.ENTER,
            insertion.enter,
            ("enter",),
            "Typing",
            "put in",
            "Put what is typed into the prompt, before the token that is looked at or in place of those taken in. "
            "What follows is kept.",
            footer=90,
        ),
        Command(
            Action.TAKE_IN,
            insertion.take_in(1),
            ("tab",),
            "Typing",
            "take in",
            "Take in the next token: what is typed takes its place. Its text stands in the line, to be changed.",
            footer=88,
        ),
        Command(
            Action.GIVE_BACK, insertion.take_in(-1), ("s-tab",), "Typing", "give back", "Give the last token back."
        ),
        *CARET,
        *ERASING,
        *_LEAVING,
    ),
    (
        ("before ␣the", "The text goes before that token."),
        ("in place of 2 tokens", "It takes the place of those that are marked in the prompt."),
    ),
    typed=text_entry.typed,
)

FIND = ScreenRow(
    "Finding text in the prompt (`f`)",
    (
        Command(Action.UP, find.step(-1), ("up", "c-p"), "Find", "match", "Look at the match before.", footer=70),
        Command(Action.DOWN, find.step(1), ("down", "c-n"), "Find", "match", "Look at the next match.", footer=70),
        Command(Action.ENTER, text_entry.stay, ("enter",), "Find", "stay", "Go on looking there.", footer=90),
        *ERASING,
        *_LEAVING,
    ),
    (("2 of 5", "The second of five matches. Upper and lower case are the same."),),
    typed=text_entry.typed,
)

NAME = ScreenRow(
    "Naming the session (`ctrl+s`)",
    (
        Command(
            Action.ENTER, text_entry.keep_session, ("enter",), "Name", "keep", "Give the session this name.", footer=90
        ),
        *ERASING,
        *_LEAVING,
    ),
    typed=text_entry.typed,
)
