"""The codes that terminals send for keys, and the keys' names.

Names are those of `play.commands`: a character, or a word as `up`, `f1`, `enter`; before it `a-`, `c-` and `s-`, in
this order, for Alt, Ctrl and Shift. None stands for what is no key.
"""

import unicodedata

CONTROLS = {code: f"c-{chr(code + 0x60)}" for code in range(1, 27)} | {
    0x00: "c-@",
    0x08: "backspace",
    0x09: "tab",
    0x0D: "enter",
    0x1B: "escape",
    0x1C: "c-\\",
    0x1D: "c-]",
    0x1E: "c-^",
    0x1F: "c-_",
    0x7F: "backspace",
}
"""Control characters."""

_FINALS = (
    {"A": "up", "B": "down", "C": "right", "D": "left", "F": "end", "H": "home"}
    | {"P": "f1", "Q": "f2", "R": "f3", "S": "f4"}
    | {"E": "", "G": ""}
)
"""CSI and these. The last two are the 5 of a keypad without NumLock."""
_NUMBERED = (
    {1: "home", 2: "insert", 3: "delete", 4: "end", 5: "pageup", 6: "pagedown", 7: "home", 8: "end"}
    | {11: "f1", 12: "f2", 13: "f3", 14: "f4", 15: "f5", 17: "f6", 18: "f7", 19: "f8", 20: "f9", 21: "f10"}
    | {23: "f11", 24: "f12", 25: "f13", 26: "f14", 28: "f15", 29: "f16", 31: "f17", 32: "f18", 33: "f19", 34: "f20"}
    | {57427: ""}
)
"""CSI, the number and ~."""
_RXVT = {"$": 1, "^": 4, "@": 5}
"""In the place of ~, with these modifiers."""
_RXVT_ARROWS = {"a": "up", "b": "down", "c": "right", "d": "left"}
_KEYPAD = dict(zip("jklmnopqrstuvwxyX I", "*+,-./0123456789= \t", strict=True))
"""SS3 and these: keys of a keypad in application mode."""

_KITTY = (
    {27: "escape", 13: "enter", 9: "tab", 127: "backspace", 57414: "enter"}
    | {code: str(code - 57399) for code in range(57399, 57409)}
    | dict(zip(range(57409, 57417), "./*-+", strict=False))
    | {57415: "=", 57416: ",", 57417: "left", 57418: "right", 57419: "up", 57420: "down", 57421: "pageup"}
    | {57422: "pagedown", 57423: "home", 57424: "end", 57425: "insert", 57426: "delete", 57427: ""}
    | {57361: "", 57362: "", 57363: ""}
    | {code: f"f{code - 57376 + 13}" for code in range(57376, 57399)}
)
"""Numbers of the kitty keyboard protocol that are no characters; without a name: PrtSc, Pause, Menu. Those that are
not here are modifiers, locks and media keys."""
_PRIVATE = range(57344, 63744)
"""Where that protocol has such keys."""

_SHIFT, _ALT, _CTRL, _SUPER, _HYPER, _META = 1, 2, 4, 8, 16, 32
_AS_BEFORE = ("enter", "backspace", "escape", " ")
"""Keys for which terminals send the same with Shift as without, unless a protocol is on."""


def with_alt(name: str) -> str:
    """The key with Alt."""
    return f"a-{name}" if name and not name.startswith("a-") else name


def ss3_key(parameters: bytes, final: bytes) -> str | None:
    """The key of SS3, parameters and a final character."""
    last = final.decode()
    if last == "M":
        return "enter"
    if last in _KEYPAD and not parameters:
        return "tab" if last == "I" else _KEYPAD[last]
    if last in _RXVT_ARROWS and not parameters:
        return f"c-{_RXVT_ARROWS[last]}"
    if last in _FINALS and last != "G":
        modifiers = _number(parameters.rpartition(b";")[2], 1)
        return None if modifiers is None else _modified(_FINALS[last], modifiers - 1)
    return None


def csi_key(parameters: bytes, intermediates: bytes, final: bytes) -> str | None:
    """The key of a control sequence, but for pastes and the mouse. None: an answer, a released key, a lone Shift."""
    last = final.decode()
    fields = [field.split(b":") for field in parameters.split(b";")]
    first = _number(fields[0][0], 1)
    pressed = _modifiers(fields[1] if len(fields) > 1 else [])
    if intermediates or (parameters and parameters[:1] in b"<=>?") or first is None or pressed is None:
        return None
    if last == "u":
        return _character(fields, pressed) if parameters else None
    if last == "~":
        if first == 27 and len(fields) == 3:
            return _character([fields[2]], pressed)
        return _modified(_NUMBERED[first], pressed) if first in _NUMBERED and parameters else None
    if last in _RXVT:
        return _modified(_NUMBERED[first], _RXVT[last]) if first in _NUMBERED and len(fields) == 1 else None
    if last == "Z":
        return "s-tab"
    if last in _RXVT_ARROWS and not parameters:
        return f"s-{_RXVT_ARROWS[last]}"
    if last not in _FINALS or len(fields) > 2 or (last == "R" and parameters):
        return None  # with numbers, R is where the cursor is
    if len(fields) == 1:
        return _modified(_FINALS[last], first - 1)
    return _modified(_FINALS[last], pressed) if first == 1 else None


def _number(field: bytes, otherwise: int) -> int | None:
    if not field:
        return otherwise
    return int(field) if field.isdigit() and len(field) <= 9 else None


def _modifiers(field: list[bytes]) -> int | None:
    """The modifiers of a field `modifiers:event`; None where the key is let go, or that is no such field."""
    modifiers = _number(field[0] if field else b"", 1)
    event = _number(field[1] if len(field) > 1 else b"", 1)
    return None if modifiers is None or event == 3 or not modifiers else modifiers - 1


def _modified(name: str, modifiers: int) -> str:
    """A key's name with its modifiers. Locks do not count."""
    if not name or modifiers < 0:
        return ""
    if modifiers & _SHIFT and name in _AS_BEFORE:
        modifiers &= ~_SHIFT
    if modifiers & _CTRL and name in ("enter", "backspace"):
        modifiers &= ~_CTRL
    prefix = "super-" if modifiers & (_SUPER | _HYPER) else ""
    prefix += "a-" if modifiers & (_ALT | _META) else ""
    return prefix + ("c-" if modifiers & _CTRL else "") + ("s-" if modifiers & _SHIFT else "") + name


def _character(fields: list[list[bytes]], modifiers: int) -> str | None:
    """The key whose number is a character's: fields `number:shifted:base`, modifiers, text."""
    numbers = [_number(number, 0) for number in fields[0]]
    code, shifted = numbers[0], numbers[1] if len(numbers) > 1 else 0
    if code is None or code > 0x10FFFF or 0xD800 <= code < 0xE000:
        return None
    others = modifiers & (_ALT | _CTRL | _SUPER | _HYPER | _META)
    if code in _KITTY:
        return _modified(_KITTY[code], modifiers)
    if code in _PRIVATE:
        return None
    if code in CONTROLS:
        return _modified(CONTROLS[code], modifiers & ~_CTRL) if code else None
    character = chr(code)
    if others & _CTRL:
        return _with_control(character, modifiers)
    if modifiers & _SHIFT and character not in _AS_BEFORE:
        upper = character.upper()
        character = chr(shifted) if shifted and _prints(shifted) else upper if len(upper) == 1 else character
        modifiers &= ~_SHIFT
    if not others and len(fields) > 2 and (text := _text(fields[2])):
        return text
    return _modified(character, modifiers) if _prints(ord(character)) else None


def _with_control(character: str, modifiers: int) -> str:
    """A character's key with Ctrl: where there is a control character for it, that one."""
    name = {" ": "c-@", "[": "escape", "?": "backspace"}.get(character)
    if name:
        return _modified(name, modifiers & ~(_CTRL | _SHIFT))
    return _modified(character.lower(), modifiers)


def _text(field: list[bytes]) -> str:
    """The one character that a key gives, by the number in the protocol's text field; empty where it says none."""
    number = _number(field[0], 0) if len(field) == 1 else 0
    return chr(number) if number and _prints(number) else ""


def _prints(code: int) -> bool:
    """Whether a code point is a character that may be typed."""
    return code <= 0x10FFFF and unicodedata.category(chr(code)) not in ("Cc", "Cs")
