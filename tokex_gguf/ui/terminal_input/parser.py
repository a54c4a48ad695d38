"""Parses a terminal's bytes into keys, text, pastes and mouse events. No input or output here.

Keys and the terminal's answers to queries (colours, version, cursor position) share one stream, cut into reads
anywhere. `KeyParser` follows the syntax of ECMA-48 and xterm: bytes with the syntax of an answer press no key, wherever
they are cut and however late the rest comes. Key encodings: plain VT and xterm, the Linux console, rxvt, xterm's
modifyOtherKeys and the kitty keyboard protocol.

Three cases can be told apart only by time, not by bytes:

- Escape or the beginning of a sequence: after `ESCAPE_WAIT` without a byte it was the key.
- Alt+[ (or another character that begins sequences) or the beginning of a sequence: after `PAUSE` it was the key.
- A paste or an answer whose end is lost or late: after `PAUSE`, bytes that one key can send are a key again.
"""

import re
from typing import TypeAlias

from tokex_gguf.ui.terminal_input.key_codes import CONTROLS, csi_key, ss3_key, with_alt
from tokex_gguf.values.record import record

ESCAPE_WAIT = 0.05
"""Seconds without a byte after which ESC was the Escape key."""
PAUSE = 0.8
"""Seconds without a byte after which an unfinished sequence may be abandoned."""
LARGEST_PASTE = 16 * 2**20
"""Bytes of a paste, at the most. A larger one is dropped as a whole."""
LONGEST_ANSWER = 64
"""Bytes of an OSC string that are looked at. No answer to our queries is longer."""
LONGEST_SEQUENCE = 256
"""Bytes of a control sequence that are looked at. The rest of a longer one is skipped."""


@record
class TypedText:
    """Typed characters without control characters."""

    text: str


@record
class Key:
    """A key other than a character."""

    name: str
    """As in `play.commands`, with `a-` before it for Alt: `up`, `c-c`, `a-b`. Empty: a key without a name."""


@record
class Paste:
    """Pasted text, with its control characters."""

    text: str


@record
class OversizedPaste:
    """A paste of more than `LARGEST_PASTE` bytes was dropped."""


@record
class Mouse:
    """An event of the mouse."""

    report: str
    """In xterm's SGR form: ESC [ < button ; column ; row M, or m for a release."""


@record
class Background:
    """Answer: the colour of the terminal's background, red, green and blue from 0 to 255."""

    colour: tuple[int, int, int]


@record
class Attributes:
    """Answer of every terminal: its device attributes. Earlier queries are answered before it, or never."""


TerminalEvent: TypeAlias = TypedText | Key | Paste | OversizedPaste | Mouse | Background | Attributes

_PASTE_END = b"\x1b[201~"
_WAYS_OUT = b"\x03\x11"
"""ctrl+c and ctrl+q. Alone in a read, they are keys even inside an unfinished sequence."""

_BEYOND_ASCII = (
    rb"\xc2[\xa0-\xbf]|[\xc3-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    rb"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
"""One UTF-8 character beyond ASCII, no control character."""
_TEXT = re.compile(rb"(?:[\x20-\x7e]+|" + _BEYOND_ASCII + rb")+")
_ONE_CHARACTER = re.compile(rb"[\x00-\x7f]|" + _BEYOND_ASCII)
_CUT_CHARACTER = re.compile(rb"[\xc2-\xdf]\Z|[\xe0-\xef][\x80-\xbf]?\Z|[\xf0-\xf4][\x80-\xbf]{0,2}\Z")
_CONTROL_8_BITS = re.compile(rb"\xc2?[\x80-\x9f]")
_NOT_UTF8 = re.compile(rb"[\x80-\xff]+")

_INTRODUCER = re.compile(rb"\x1b([\[O\]P_^X])|\xc2?([\x8f\x90\x98\x9b\x9d-\x9f])")
"""The beginning of a sequence: ESC and a character, or one 8-bit control character, UTF-8 or raw."""
_CSI = re.compile(rb"([0-?]*)([ -/]*)([@-~])")
_CSI_BEGUN = re.compile(rb"[0-?]*[ -/]*")
_CSI_END = re.compile(rb"[^ -?]")
_CONSOLE_KEY = re.compile(rb"\[([A-E])")
_SS3 = re.compile(rb"([0-9;]{0,8})([ -:<-~])")
_SS3_BEGUN = re.compile(rb"[0-9;]{0,8}\Z")
_RXVT_SHIFTED = re.compile(rb"(?:\x1b\[|\xc2?\x9b)(\d{1,2})\$")
"""rxvt's form of shift with Del and similar keys: by the standard an unfinished sequence."""
_MOUSE_BYTES = re.compile(rb"M((?:[\xc2-\xdf][\x80-\xbf]|[\x20-\xc1\xe0-\xff]|[\xc2-\xdf](?![\x80-\xbf]|\Z)){3})")
"""The mouse in xterm's oldest form, one byte for each number, or one character of UTF-8."""
_MOUSE_BEGUN = re.compile(rb"(?:\x1b\[|\xc2?\x9b)M[\x20-\xff]{0,5}\Z")

_STRINGS = b"]P_^X"
"""With ESC before: OSC, DCS, APC, PM, SOS."""
_STRING_END = {
    True: re.compile(rb"[\x07\x18\x1a\x1b]|\xc2\x9c"),
    False: re.compile(rb"[\x18\x1a\x1b]|\xc2\x9c"),
}
"""The end of a string, by whether BEL ends it, as in OSC."""
_INTRODUCERS = {bytes([0x1B, character]) for character in b"[O" + _STRINGS}
"""These may also be keys with Alt."""
_SLOW_STRING = {b"]": b"0123456789lL", b"P": b"0123456789>!$+=|", b"_": b"G", b"^": b"", b"X": b""}
"""The next byte of an answer whose first two bytes came alone. With another byte they were a key with Alt."""
_BACKGROUND = re.compile(rb"11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})(?:/[0-9a-fA-F]{1,4})?")
"""An OSC string, without its introducer: a colour as xterm writes it."""
_LATE_REST = re.compile(
    rb"\[[0-?]+[ -/]*(?:[@-~]|\Z)|\[[A-HIOPQSZa-d]\Z|\[\[[A-E]\Z|\[M.{3,6}\Z"
    rb"|\][0-9lL]|P[0-9>!$+=|]|_G|[_^X].*\x1b\\|O[A-DFHMP-S]\Z",
    re.DOTALL,
)
"""The rest of a sequence after an ESC that was taken for a key, as the rest came late. No one types it in one read."""


class KeyParser:
    """Parses bytes to events.

    `feed` takes the bytes read. If `wait` is not None afterwards, and no byte comes for that many seconds, `silence`
    must be called.
    """

    def __init__(self, *, escape_wait: float = ESCAPE_WAIT) -> None:
        self._escape_wait = escape_wait
        self._incomplete = b""
        """An incomplete sequence or character."""
        self._string_kind = b""
        """The character after ESC of the unfinished string; `[`: a control sequence that is too long."""
        self._osc_content = b""
        """The content so far of the unfinished OSC string."""
        self._paste: list[bytes] | None = None
        self._paste_size = 0
        """Bytes of the paste so far."""
        self._timed_out = False
        """Whether no byte of the unfinished sequence came for `PAUSE`."""
        self._introducer_alone = False
        """Whether the two bytes of an introducer came without the rest."""
        self._late = b""
        """Bytes already taken for a key, which may be the beginning of what is read next."""
        self._late_end = b""
        """The rest of an end that may still come, of a paste or string taken for ended."""

    @property
    def pasting(self) -> bool:
        """Whether a paste is unfinished."""
        return self._paste is not None

    @property
    def wait(self) -> float | None:
        """Seconds without a byte after which to call `silence`; None: never."""
        if self._paste is not None:
            return PAUSE
        if self._string_kind:
            return None if self._timed_out else PAUSE
        if self._incomplete in (b"\x1b", b"\x1b\x1b") or _RXVT_SHIFTED.fullmatch(self._incomplete):
            return self._escape_wait
        if self._incomplete in _INTRODUCERS:
            return PAUSE if self._introducer_alone else self._escape_wait
        if _MOUSE_BEGUN.match(self._incomplete) and not self._timed_out:
            return PAUSE
        return None

    def silence(self) -> list[TerminalEvent]:
        """Called when no byte has come for `wait` seconds; returns events."""
        held = self._incomplete
        if self._paste is not None:
            self._incomplete, self._late_end = b"", _PASTE_END[len(held) :] if held else b""
            return self._end_paste()
        if self._string_kind and held == b"\x1b":
            self._incomplete, self._late_end = b"", b"\\"  # ESC ended the string
            return self._answer()
        if self._string_kind or _MOUSE_BEGUN.match(held):
            self._timed_out = True
            return []
        if held == b"\x1b":
            self._incomplete, self._late = b"", held
            return [Key("escape")]
        if held == b"\x1b\x1b":
            self._incomplete, self._late = b"", b"\x1b"
            return [Key("escape"), Key("escape")]
        if shifted := _RXVT_SHIFTED.fullmatch(held):
            self._incomplete = b""
            return _keys(csi_key(shifted[1], b"", b"$"))
        if held in _INTRODUCERS and not self._introducer_alone:
            self._introducer_alone = True
            return []
        if held in _INTRODUCERS:
            self._incomplete, self._late = b"", held
            return [Key(with_alt(held[1:].decode()))]
        return []

    def feed(self, data: bytes) -> list[TerminalEvent]:
        """Takes the bytes read; returns their events in order."""
        events: list[TerminalEvent] = []
        if not data:
            return events
        late, self._late = self._late, b""
        if self._late_end:
            data = self._without_late_end(data)
            if not data:
                return events
        unfinished = self._paste is not None or bool(self._string_kind)
        if (unfinished and not data.strip(_WAYS_OUT)) or (self._timed_out and self._is_one_key(data)):
            events += self._abandon()
        elif late and len(data) > 1 and _LATE_REST.match(late[1:] + data):
            data = late + data
        elif (
            self._introducer_alone
            and self._incomplete[1:] in _SLOW_STRING
            and len(data) == 1
            and data not in _SLOW_STRING[self._incomplete[1:]]
        ):
            events.append(Key(with_alt(self._incomplete[1:].decode())))
            self._incomplete = b""
        self._timed_out = self._introducer_alone = False
        data, self._incomplete = self._incomplete + data, b""
        position = 0
        while position < len(data):
            position = self._step(data, position, events)
        return events

    def _without_late_end(self, data: bytes) -> bytes:
        """The bytes read, without the late rest of an end."""
        size = 0
        while size < min(len(data), len(self._late_end)) and data[size] == self._late_end[size]:
            size += 1
        self._late_end = self._late_end[size:] if size == len(data) else b""
        return data[size:]

    def _is_one_key(self, data: bytes) -> bool:
        """Whether one key may have sent these bytes, and they are not the end of the unfinished string."""
        if data == b"\x07" or (data == b"\\" and self._incomplete == b"\x1b"):
            return False
        return _ONE_CHARACTER.fullmatch(data) is not None and data != b"\x1b"

    def _abandon(self) -> list[TerminalEvent]:
        """Ends the unfinished paste or string."""
        events = self._end_paste() if self._paste is not None else []
        self._incomplete = self._string_kind = b""
        return events

    def _step(self, data: bytes, at: int, events: list[TerminalEvent]) -> int:
        """Parses one event at an offset; returns the offset after it."""
        if self._paste is not None:
            return self._in_paste(data, at, events)
        if self._string_kind:
            return self._in_string(data, at, events)
        if text := _TEXT.match(data, at):
            events.append(TypedText(text[0].decode()))
            return text.end()
        byte = data[at]
        if byte == 0x1B:
            return self._escape(data, at, events)
        if byte < 0x80:
            events.append(Key(CONTROLS[byte]))
            return at + 1
        if _CUT_CHARACTER.match(data, at):
            return self._hold(data, at)
        if _INTRODUCER.match(data, at):
            return self._sequence(data, at, events)
        if control := _CONTROL_8_BITS.match(data, at):
            return control.end()
        events.append(Key(""))
        wrong = _NOT_UTF8.match(data, at)
        assert wrong is not None
        following = _TEXT.search(data, at, wrong.end()) or _INTRODUCER.search(data, at, wrong.end())
        return following.start() if following else wrong.end()

    def _hold(self, data: bytes, at: int) -> int:
        """Keeps the rest until more bytes come."""
        self._incomplete = data[at:]
        return len(data)

    def _escape(self, data: bytes, at: int, events: list[TerminalEvent]) -> int:
        """Parses a key or sequence that begins with ESC."""
        if at + 1 == len(data):
            return self._hold(data, at)
        if _INTRODUCER.match(data, at):
            return self._sequence(data, at, events)
        following = data[at + 1]
        if following == 0x1B:
            return self._two_escapes(data, at, events)
        if following == 0x5C:
            return at + 2  # the late end of a string that was taken for ended
        if following < 0x20 or following == 0x7F:
            events.append(Key(with_alt(CONTROLS[following])))
            return at + 2
        if _CUT_CHARACTER.match(data, at + 1):
            return self._hold(data, at)
        if character := _ONE_CHARACTER.match(data, at + 1):
            events.append(Key(with_alt(character[0].decode())))
            return character.end()
        if _CONTROL_8_BITS.match(data, at + 1):
            return at + 1  # cut off by another sequence
        events.append(Key(""))
        return at + 2

    def _two_escapes(self, data: bytes, at: int, events: list[TerminalEvent]) -> int:
        """Parses ESC ESC: Alt before a key's sequence, as rxvt sends it, else the Escape key."""
        if at + 2 == len(data):
            return self._hold(data, at)
        if data[at + 2 : at + 3] not in (b"[", b"O"):
            events.append(Key("escape"))
            return at + 1
        sequence: list[TerminalEvent] = []
        end = self._sequence(data, at + 1, sequence)
        if self._incomplete:
            return self._hold(data, at)
        match sequence:
            case [Key(name)] if name:
                events.append(Key(with_alt(name)))
            case _:
                events += [Key("escape"), *sequence]
        return end

    def _sequence(self, data: bytes, at: int, events: list[TerminalEvent]) -> int:
        """Parses a sequence or string from its introducer on."""
        introducer = _INTRODUCER.match(data, at)
        assert introducer is not None
        kind = introducer[1] or bytes([introducer[2][0] - 0x40])
        body = introducer.end()
        if kind == b"[":
            return self._control_sequence(data, at, body, events)
        if kind == b"O":
            return self._single_shift(data, at, body, events)
        if body == len(data):
            return self._hold(data, at)
        self._string_kind, self._osc_content = kind, b""
        return body

    def _control_sequence(self, data: bytes, at: int, body: int, events: list[TerminalEvent]) -> int:
        if console := _CONSOLE_KEY.match(data, body):
            events.append(Key(f"f{console[1][0] - 0x40}"))
            return console.end()
        if data[body : body + 1] == b"M":
            report = _MOUSE_BYTES.match(data, body)
            if report is None and _MOUSE_BEGUN.match(data, at):
                return self._hold(data, at)
            if report is None:  # a control character cuts it off
                return next(index for index in range(body, len(data)) if data[index] < 0x20)
            events += _mouse(*_numbers(report[1]))
            return report.end()
        if data[body:] == b"[":
            return self._hold(data, at)
        if sequence := _CSI.match(data, body):
            parameters, intermediates, final = sequence.groups()
            if len(sequence[0]) > LONGEST_SEQUENCE:
                pass
            elif (parameters, final) == (b"200", b"~"):
                self._paste, self._paste_size = [], 0
            elif final in b"Mm" and not intermediates:
                events += _mouse_report(parameters, final)
            elif final == b"c" and parameters[:1] == b"?" and not intermediates:
                events.append(Attributes())
            else:
                events += _keys(csi_key(parameters, intermediates, final))
            return sequence.end()
        begun = _CSI_BEGUN.match(data, body)
        assert begun is not None
        if begun.end() == len(data):
            if len(data) - at <= LONGEST_SEQUENCE:
                return self._hold(data, at)
            self._string_kind = b"["
        elif shifted := _RXVT_SHIFTED.fullmatch(data, at, begun.end()):
            events += _keys(csi_key(shifted[1], b"", b"$"))
        return begun.end()

    def _single_shift(self, data: bytes, at: int, body: int, events: list[TerminalEvent]) -> int:
        if _SS3_BEGUN.match(data, body):
            return self._hold(data, at)
        sequence = _SS3.match(data, body)
        name = ss3_key(*sequence.groups()) if sequence else None
        if sequence and name is not None:
            events.append(TypedText(name) if len(name) == 1 else Key(name))
            return sequence.end()
        if data[at] == 0x1B:
            events.append(Key(with_alt("O")))
        return body

    def _answer(self) -> list[TerminalEvent]:
        """Ends the string; returns its event, if it is an answer to one of our queries."""
        kind, self._string_kind = self._string_kind, b""
        colour = _BACKGROUND.fullmatch(self._osc_content) if kind == b"]" else None
        if colour is None:
            return []
        red, green, blue = (int(part, 16) * 255 // (16 ** len(part) - 1) for part in colour.groups())
        return [Background((red, green, blue))]

    def _in_string(self, data: bytes, at: int, events: list[TerminalEvent]) -> int:
        """Parses a string up to its end, or to a byte that cuts it off."""
        if self._string_kind == b"[":
            end = _CSI_END.search(data, at)
            if end is None:
                return len(data)
            self._string_kind = b""
            return end.start() + (0x40 <= data[end.start()] < 0x7F)
        end = _STRING_END[self._string_kind == b"]"].search(data, at)
        inside = end.start() if end else len(data) - (data[-1] == 0xC2)
        if len(self._osc_content) <= LONGEST_ANSWER:
            self._osc_content += data[at : min(inside, at + LONGEST_ANSWER + 1)]
        if end is None:
            return self._hold(data, inside) if inside < len(data) else inside
        if end[0] == b"\x1b":
            if end.end() == len(data):
                return self._hold(data, end.start())
            following = data[end.end()]
            if following == 0x5C:
                events += self._answer()
                return end.end() + 1
            self._string_kind = b""
            return end.end() if following == 0x1B else end.start()
        if end[0] in (b"\x07", b"\xc2\x9c"):
            events += self._answer()
        self._string_kind = b""
        return end.end()

    def _in_paste(self, data: bytes, at: int, events: list[TerminalEvent]) -> int:
        """Takes pasted bytes, up to the paste's end or a possible beginning of it."""
        assert self._paste is not None
        end = data.find(_PASTE_END, at)
        if end >= 0:
            self._add_to_paste(data[at:end])
            events += self._end_paste()
            return end + len(_PASTE_END)
        end_bytes = next(
            (size for size in range(len(_PASTE_END) - 1, 0, -1) if data.endswith(_PASTE_END[:size], at)), 0
        )
        self._add_to_paste(data[at : len(data) - end_bytes])
        return self._hold(data, len(data) - end_bytes)

    def _add_to_paste(self, data: bytes) -> None:
        assert self._paste is not None
        self._paste_size += len(data)
        if self._paste_size <= LARGEST_PASTE:
            self._paste.append(data)
        else:
            self._paste.clear()

    def _end_paste(self) -> list[TerminalEvent]:
        pasted = b"".join(self._paste or ())
        self._paste = None
        if self._paste_size > LARGEST_PASTE:
            return [OversizedPaste()]
        return [Paste(pasted.decode(errors="replace"))]


def _keys(name: str | None) -> list[TerminalEvent]:
    """The event of a key; empty for None."""
    if name is None:
        return []
    return [TypedText(name) if len(name) == 1 else Key(name)]


def _numbers(report: bytes) -> tuple[int, int, int]:
    """The three numbers of a mouse report in the oldest form."""
    units = re.findall(rb"[\xc2-\xdf][\x80-\xbf]|[\x00-\xff]", report, re.DOTALL)
    button, column, row = (ord(unit.decode()) if len(unit) > 1 else unit[0] for unit in units)
    return button, column, row


def _mouse(button: int, column: int, row: int) -> list[TerminalEvent]:
    """A mouse event of the oldest form: each number has 32 added, and a release does not name its button."""
    button, column, row = button - 32, column - 32, row - 32
    if button < 0 or column < 1 or row < 1:
        return []
    released = button & 3 == 3 and button < 32
    return [Mouse(f"\x1b[<{button & ~3 if released else button};{column};{row}{'m' if released else 'M'}")]


def _mouse_report(parameters: bytes, final: bytes) -> list[TerminalEvent]:
    """A mouse event with decimal numbers: SGR (with `<`), or rxvt's form."""
    numbers = parameters.removeprefix(b"<").split(b";")
    if len(numbers) != 3 or not all(number.isdigit() and len(number) < 6 for number in numbers):
        return []
    if parameters[:1] == b"<":
        return [Mouse(f"\x1b[{(parameters + final).decode()}")]
    if final == b"m":
        return []
    button, column, row = map(int, numbers)
    return _mouse(button, column + 32, row + 32)
