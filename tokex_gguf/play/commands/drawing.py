"""Screens that set what is drawn, and how: the constraint, bans, the seed, the number of draws."""

from dataclasses import replace

from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command, Handler, ScreenRow
from tokex_gguf.play.commands.common import CARET, ERASING, leaving
from tokex_gguf.play.rules import bias, constraint, dice, lists, text_entry

_OF_CONSTRAINTS: dict[Action, tuple[Handler, str]] = {
    Action.EARLIER: (constraint.walk(-1), "Back to a constraint that was typed before, in the kind that it had."),
    Action.LATER: (constraint.walk(1), "On to the one typed after it."),
    Action.CARET_RIGHT: (constraint.right, "One character right. In an empty line, take the example that is shown."),
}
"""Keys of the line that do a little more here."""

CONSTRAINING = ScreenRow(
    "Typing a constraint (`C`)",
    (
        Command(
            Action.ENTER,
            constraint.enter,
            ("enter",),
            "Typing",
            "set",
            "Let the constraint hold from here on, or from the token on that is looked at. An empty line lifts it. "
            "@ and a file's name, as @schema.json, reads that file.",
            footer=90,
        ),
        Command(
            Action.KIND,
            constraint.next_kind,
            ("tab",),
            "Typing",
            "kind",
            "Write it in another way: regex, JSON schema, GBNF grammar, Lark grammar, choices with commas between "
            "them.",
            footer=80,
        ),
        *(
            replace(one, handler=_OF_CONSTRAINTS[one.action][0], help=_OF_CONSTRAINTS[one.action][1])
            if one.action in _OF_CONSTRAINTS
            else one
            for one in CARET
        ),
        *ERASING,
        *leaving(constraint.close, "Leave the constraint as it was; the text comes back the next time."),
    ),
    typed=text_entry.typed,
)

BAN = ScreenRow(
    "Banning a text (`:ban`)",
    (
        Command(Action.ENTER, bias.enter, ("enter",), "Ban", "ban", "Ban the tokens that spell the text.", footer=90),
        *ERASING,
        *leaving(lists.close, "Go back; nothing is banned."),
    ),
    typed=text_entry.typed,
)

SEED = ScreenRow(
    "Setting the seed (`:seed`)",
    (
        Command(
            Action.ENTER,
            dice.enter_seed,
            ("enter",),
            "Seed",
            "set",
            "Draw by this seed from now on; by a new one where the line is empty.",
            footer=90,
        ),
        *ERASING,
        *leaving(lists.close, "Go back; the seed stays as it was."),
    ),
    typed=text_entry.typed,
)

DRAW_COUNT = ScreenRow(
    "Drawing many times (`:draw`)",
    (
        Command(Action.ENTER, dice.enter_count, ("enter",), "Draws", "draw", "Draw so many times.", footer=90),
        *ERASING,
        *leaving(lists.close, "Go back; nothing is drawn."),
    ),
    typed=text_entry.typed,
)
