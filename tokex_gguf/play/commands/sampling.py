"""The screens of sampling: the chain, the constraint, bans, the seed and the number of draws."""

from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command, Handler, ScreenRow, unread
from tokex_gguf.play.commands import conditions
from tokex_gguf.play.commands.common import CARET, ERASING, FIND_LINE, leaving, leaving_list, rows
from tokex_gguf.play.rules import bias, chain, constraint, drawing, lists, text_entry, undo
from tokex_gguf.play.session import Session
from tokex_gguf.values.record import replace

_no_value = conditions.either(unread, chain.no_value)


def _offered(session: Session) -> tuple[int, str] | None:
    if chain.offers_preset(session):
        return 90, chain.OFFERED
    return (0, "") if chain.no_value(session) else None


SAMPLERS = ScreenRow(
    "The sampler chain (`S`)",
    (
        *rows(lambda lines: lists.move(lines, chain.length), disabled=conditions.either(unread, chain.no_line)),
        Command(
            Action.LESS,
            chain.change(-1),
            ("left", "h"),
            "Value",
            "value",
            "Make the value smaller.",
            footer=90,
            disabled=_no_value,
        ),
        Command(
            Action.MORE,
            chain.change(1),
            ("right", "l"),
            "Value",
            "value",
            "Make the value larger.",
            footer=90,
            disabled=_no_value,
        ),
        Command(
            Action.MUCH_LESS,
            chain.change(-chain.FAR_STEPS),
            ("s-left", "H"),
            "Value",
            "ten steps",
            "Make it ten steps smaller.",
            disabled=_no_value,
        ),
        Command(
            Action.MUCH_MORE,
            chain.change(chain.FAR_STEPS),
            ("s-right", "L"),
            "Value",
            "ten steps",
            "Make it ten steps larger.",
            disabled=_no_value,
        ),
        Command(
            Action.ENTER,
            chain.begin_number,
            ("enter",),
            "Value",
            "type",
            "Type another value. In an empty chain, put llama.cpp's samplers there.",
            footer=75,
            now=_offered,
        ),
        Command(
            Action.NUMBER,
            chain.begin_number,
            tuple("0.-123456789"),
            "Value",
            "number",
            "Begin to type a value, with this digit; a point or a minus begins one, too.",
            disabled=_no_value,
        ),
        Command(
            Action.SWITCH,
            chain.switch,
            (" ",),
            "Chain",
            "on/off",
            "Switch the sampler off, or on.",
            footer=85,
            disabled=_no_value,
        ),
        Command(
            Action.MOVE_UP,
            chain.move(-1),
            ("<", "K", "s-up"),
            "Chain",
            "move",
            "Let the sampler come one place earlier.",
            footer=65,
            disabled=_no_value,
        ),
        Command(
            Action.MOVE_DOWN,
            chain.move(1),
            (">", "J", "s-down"),
            "Chain",
            "move",
            "Let the sampler come one place later.",
            footer=65,
            disabled=_no_value,
        ),
        Command(
            Action.ADD, chain.list_missing, ("a",), "Chain", "add", "Add a sampler that the chain lacks.", footer=64
        ),
        Command(
            Action.REMOVE,
            chain.remove,
            ("delete", "x"),
            "Chain",
            "remove",
            "Remove the sampler from the chain.",
            footer=63,
            disabled=conditions.either(unread, chain.cannot_remove),
        ),
        Command(
            Action.PRESET,
            chain.preset,
            ("p",),
            "Chain",
            "preset",
            "Go to the next preset: none, llama.cpp's, greedy, creative, the model's own, those of config.toml, yours.",
            footer=80,
        ),
        Command(
            Action.UNDO, undo.undo, ("u",), "Chain", "undo", "Undo the last change of the chain, or what was before."
        ),
        Command(Action.REDO, undo.redo, ("U",), "Chain", "redo", "Redo what was undone last."),
        Command(
            Action.COPY_OUT,
            chain.copy_out,
            ("y",),
            "Other programs",
            "copy",
            "Copy the chain as flags of llama-server and llama-cli; a file in samplers/ has them, and "
            "llama-server's JSON.",
            footer=50,
        ),
        Command(
            Action.READ_IN,
            chain.read_in,
            ("i",),
            "Other programs",
            "read",
            "Read a chain from flags or JSON: type or paste them. Pasted here, they are read at once.",
            footer=49,
        ),
        *leaving_list(chain.close, "S", sentence="Go back to the table."),
    ),
    (
        ("cut", "Tokens that the sampler cut from what the one before it had left, in the table that is shown."),
        ("mass", "The probability by the model of what is left."),
        ("entropy (bits)", "How uncertain it is what comes next, among what is left."),
        ("off", "It changes nothing: it is switched off, or its value is one that does nothing."),
        ("left out by mirostat", "llama.cpp does without it where mirostat is on."),
        ("! before a line", "llama.cpp does something wrong here: it is told below."),
    ),
    typed=chain.typed,
    pick_row=lists.pick(chain.length),
)

SAMPLERS_TO_ADD = ScreenRow(
    "Adding a sampler (`a` in the chain)",
    (
        *rows(lambda lines: lists.move(lines, chain.missing_length)),
        Command(
            Action.ENTER,
            chain.add,
            ("enter",),
            "List",
            "add",
            "Add the sampler, where llama.cpp's order has it.",
            footer=90,
        ),
        FIND_LINE,
        *leaving_list(chain.leave_missing, "a"),
    ),
    pick_row=lists.pick(chain.missing_length),
)

SAMPLER_VALUE = ScreenRow(
    "Typing a value of the chain",
    (
        Command(Action.ENTER, chain.set_number, ("enter",), "Value", "set", "Set this value.", footer=90),
        *ERASING,
        *leaving(chain.leave_number, "Go back; the value stays as it was."),
    ),
    typed=text_entry.typed,
)

SAMPLER_TEXT = ScreenRow(
    "Reading a chain (`i` in the chain)",
    (
        Command(
            Action.ENTER,
            chain.take_in,
            ("enter",),
            "Typing",
            "read",
            "Read it as a chain in place of this one, which stays among the presets.",
            footer=90,
        ),
        *CARET,
        *ERASING,
        *leaving(chain.leave_text, "Go back to the chain; the text comes back the next time."),
    ),
    typed=text_entry.typed,
)

_CONSTRAINT_KEYS: dict[Action, tuple[Handler, str]] = {
    Action.EARLIER: (constraint.walk(-1), "Back to a constraint that was typed before, in the kind that it had."),
    Action.LATER: (constraint.walk(1), "On to the one typed after it."),
    Action.CARET_RIGHT: (constraint.right, "One character right. In an empty line, take the example that is shown."),
}
"""Keys of the line that do more here than elsewhere."""

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
            replace(one, handler=_CONSTRAINT_KEYS[one.action][0], help=_CONSTRAINT_KEYS[one.action][1])
            if one.action in _CONSTRAINT_KEYS
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
            drawing.enter_seed,
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
        Command(Action.ENTER, drawing.enter_count, ("enter",), "Draws", "draw", "Draw so many times.", footer=90),
        *ERASING,
        *leaving(lists.close, "Go back; nothing is drawn."),
    ),
    typed=text_entry.typed,
)
