r"""Where an answer ends: what its text is, token by token. Pure.

A stop may be inside a token, or begin in one and end in a later one. The token that ends an answer belongs to the path
and to its probability; the text is cut:

- before a line break, a text that is given, and a token by which the model ends;
- behind a sentence's mark, and behind so many tokens.
"""

import re
from typing import NamedTuple, TypeAlias

from tokex_gguf.values.formatting import counted
from tokex_gguf.values.record import record
from tokex_gguf.values.tokens import Piece, visible

MOST_TOKENS = 1_000
"""Tokens of an answer at the most: what is longer is no answer, but a loop."""
LONGEST_STOP = 200
"""Characters of a text that ends an answer, at the most."""


@record
class AtLine:
    """Before the first line break."""


@record
class AtSentence:
    """Behind the first mark that ends a sentence, with closing quotes in the same token; or before a line break.

    A mark with a letter or a digit behind it in the same token ends none. Of a full stop behind a digit the next token
    says whether it ends a sentence, or has decimals behind it.
    """


@record
class AtText:
    """Before the first place that has this text."""

    text: str


@record
class AfterTokens:
    """Behind so many tokens."""

    count: int


@record
class AtEnd:
    """Where the model ends: that ends an answer in any case."""


StopRule: TypeAlias = AtLine | AtSentence | AtText | AfterTokens | AtEnd
PLAIN_STOPS: tuple[StopRule, ...] = (AtLine(), AtSentence(), AtEnd())
"""Those that need no further word."""


def told(stop: StopRule) -> str:
    r"""Where an answer ends, in words that go on after “until”.

    >>> told(AtText("\n\n")), told(AfterTokens(1)), told(AtLine())
    ('“⏎⏎”', '1 token', 'the line ends')
    """
    match stop:
        case AtLine():
            return "the line ends"
        case AtSentence():
            return "the sentence ends"
        case AtText(text):
            return f"“{visible(text)}”"
        case AfterTokens(count):
            return counted(count, "token")
        case AtEnd():
            return "the model ends"


_COUNTED = re.compile(r"(\d{1,6}) ?tokens?")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


def stop_of(text: str) -> StopRule:
    r"""What is written for a stop: line, sentence, end, a number of tokens, or a text with \n, \t and \\ in it.

    `text:` before it makes a text of what would be another stop: text:line. Raises ValueError with what is wrong, in
    one line.

    >>> stop_of("line"), stop_of("12 tokens"), stop_of(r"\n\n"), stop_of("text:line")
    (AtLine(), AfterTokens(count=12), AtText(text='\n\n'), AtText(text='line'))
    """
    plain: dict[str, StopRule] = {"line": AtLine(), "sentence": AtSentence(), "end": AtEnd()}
    if text in plain:
        return plain[text]
    if found := _COUNTED.fullmatch(text):
        count = int(found[1])
        if not 1 <= count <= MOST_TOKENS:
            raise ValueError(f"an answer has 1 to {MOST_TOKENS:,} tokens")
        return AfterTokens(count)
    literal = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), text.removeprefix("text:"))
    if not literal:
        raise ValueError("a text that ends an answer has a character at the least")
    if len(literal) > LONGEST_STOP:
        raise ValueError(f"a text that ends an answer has {LONGEST_STOP} characters at the most")
    if any("\ud800" <= char <= "\udfff" for char in literal):
        raise ValueError("a text that ends an answer is UTF-8")
    return AtText(literal)


def written(stop: StopRule) -> str:
    r"""What `stop_of` makes this stop of.

    >>> written(AtText("end")), written(AtText("\n"))
    ('text:end', '\\n')
    """
    match stop:
        case AtLine():
            return "line"
        case AtSentence():
            return "sentence"
        case AtEnd():
            return "end"
        case AfterTokens(count):
            return f"{count} tokens"
        case AtText(text):
            escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
            return escaped if _same(escaped, stop) else f"text:{escaped}"


def _same(text: str, stop: StopRule) -> bool:
    try:
        return stop_of(text) == stop
    except ValueError:
        return False


class Looked(NamedTuple):
    """What a token does to an answer."""

    end: int | None
    """Bytes of its piece that belong to the answer, where it ends that; below 0: so many before it do not either."""
    begun: bytes
    """What of a stop the text ends with now, where it goes on."""


_NOTHING = Looked(None, b"")
_LINES = (b"\n", b"\r")
_MARKS = tuple(mark.encode() for mark in ("…", "。", "！", "？"))
_ENDS = re.compile(rb"(?:[.!?]|" + b"|".join(_MARKS) + rb")[.!?\"')\]]*|[\n\r]")
_CLOSERS = tuple(mark.encode() for mark in ("”", "’", "»"))
_DECIMAL = re.compile(rb"[0-9]\.?\Z")
"""What a text ends with that may go on as a number."""


class Finder:
    """Looks for a stop in texts that grow token by token. What it found once of a token it knows."""

    def __init__(self, stop: StopRule) -> None:
        self.stop = stop
        self._known: dict[tuple[bytes, int], Looked] = {}

    def begin(self, before: bytes) -> bytes:
        """What of a stop an answer begins with, behind this text: a digit, as decimals may follow it."""
        last = before[-1:]
        return last if isinstance(self.stop, AtSentence) and last.isdigit() else b""

    def look(self, begun: bytes, token: int, piece: Piece) -> Looked:
        """What a token does to an answer that ends with `begun` of a stop; the number of its tokens does not matter."""
        looked = self._known.get((begun, token))
        if looked is None:
            looked = self._known[begun, token] = self._look(begun, piece)
        return looked

    def fresh(self, begun: bytes, piece: Piece) -> Looked:
        """The same of a text that may be a part of a token: nothing of it is remembered."""
        return self._look(begun, piece)

    def _look(self, begun: bytes, piece: Piece) -> Looked:
        if piece.ends:
            return Looked(0, b"")
        data = begun + piece.data
        match self.stop:
            case AtLine():
                end, rest = _first(data, _LINES), b""
            case AtText(text):
                wanted = text.encode()
                end, rest = _first(data, (wanted,)), _unfinished(data, (wanted,))
            case AtSentence():
                end = _sentence_end(data)
                number = _DECIMAL.search(data)
                rest = number[0] if number else _unfinished(data, _MARKS)
            case AfterTokens() | AtEnd():
                return _NOTHING
        return Looked(None, rest) if end is None else Looked(end - len(begun), b"")


def _first(data: bytes, marks: tuple[bytes, ...]) -> int | None:
    """Where the first of some texts begins."""
    found = [at for mark in marks if (at := data.find(mark)) >= 0]
    return min(found, default=None)


def _sentence_end(data: bytes) -> int | None:
    """Where the first sentence ends: behind its mark, or before the line break."""
    at = 0
    while found := _ENDS.search(data, at):
        if found[0] in _LINES:
            return found.start()
        at = found.end()
        while closer := next((one for one in _CLOSERS if data.startswith(one, at)), None):
            at += len(closer)
        after_digit = found[0] == b"." and data[found.start() - 1 : found.start()].isdigit()
        if at == len(data):
            return None if after_digit else at
        if not data[at : at + 4].decode("utf-8", "ignore")[:1].isalnum():
            return at
    return None


def _unfinished(data: bytes, marks: tuple[bytes, ...]) -> bytes:
    """The longest end of a text that is the beginning, and not all, of one of some others."""
    most = min(len(data), max(map(len, marks)) - 1)
    for size in range(most, 0, -1):
        if any(len(mark) > size and mark.startswith(data[-size:]) for mark in marks):
            return data[-size:]
    return b""
