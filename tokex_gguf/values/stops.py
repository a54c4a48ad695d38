r"""Stop rules: where an answer ends, token by token. Pure.

A stop may be inside a token, or begin in one and end in a later one. The token that ends an answer belongs to the path
and to its probability; the text is cut:

- before a line break, a given text, and a token that ends generation;
- after a sentence's mark, and after a number of tokens.
"""

import re
from typing import NamedTuple, TypeAlias

from tokex_gguf.values.formatting import counted
from tokex_gguf.values.record import record
from tokex_gguf.values.tokens import Piece, visible

MOST_TOKENS = 1_000
"""The most tokens of an answer: a longer text is a loop."""
LONGEST_STOP = 200
"""The most characters of a text that ends an answer."""


@record
class AtLine:
    """Before the first line break."""


@record
class AtSentence:
    """After the first mark that ends a sentence, with closing quotes in the same token; or before a line break.

    A mark followed by a letter or a digit in the same token ends no sentence. After a digit and a full stop, the next
    token decides whether the sentence has ended or decimals follow.
    """


@record
class AtText:
    """Before the first occurrence of this text."""

    text: str


@record
class AfterTokens:
    """After `count` tokens."""

    count: int


@record
class AtEnd:
    """Where the model ends, which ends an answer under any rule."""


StopRule: TypeAlias = AtLine | AtSentence | AtText | AfterTokens | AtEnd
PLAIN_STOPS: tuple[StopRule, ...] = (AtLine(), AtSentence(), AtEnd())
"""The stops without parameters."""


def describe_stop(stop: StopRule) -> str:
    r"""Where an answer ends, in words that follow “until”.

    >>> describe_stop(AtText("\n\n")), describe_stop(AfterTokens(1)), describe_stop(AtLine())
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


_COUNTED = re.compile(r" *([0-9]+) *tokens? *", re.IGNORECASE)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


def stop_of(text: str) -> StopRule:
    r"""Parses a stop: line, sentence, end, a number of tokens, or a text with \n, \t and \\ in it.

    The prefix `text:` makes a text of any other stop: text:line. Raises ValueError with the reason in one line.

    >>> stop_of("line"), stop_of("12 tokens"), stop_of(r"\n\n"), stop_of("text:line")
    (AtLine(), AfterTokens(count=12), AtText(text='\n\n'), AtText(text='line'))
    """
    plain: dict[str, StopRule] = {"line": AtLine(), "sentence": AtSentence(), "end": AtEnd()}
    if text in plain:
        return plain[text]
    if match := _COUNTED.fullmatch(text):
        digits = match[1].lstrip("0")
        count = int(digits) if 0 < len(digits) < 10 else 0
        if not 1 <= count <= MOST_TOKENS:
            raise ValueError(f"an answer has 1 to {MOST_TOKENS:,} tokens")
        return AfterTokens(count)
    literal = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), text.removeprefix("text:"))
    if not literal:
        raise ValueError("a text that ends an answer has a character at the least")
    if len(literal) > LONGEST_STOP:
        raise ValueError(f"a text that ends an answer has {LONGEST_STOP} characters at the most")
    if any("\ud800" <= char <= "\udfff" for char in literal):
        raise ValueError("a text that ends an answer is UTF-8")
    return AtText(literal)


def written(stop: StopRule) -> str:
    r"""The text that `stop_of` parses to this stop.

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


class StopSearch(NamedTuple):
    """Whether a token ends an answer."""

    end: int | None
    """Bytes of the token that belong to the answer, if it ends that; negative: bytes before the token do not either."""
    begun: bytes
    """The begun part of a stop at the end of the text, if the answer goes on."""


_NOTHING = StopSearch(None, b"")
_LINES = (b"\n", b"\r")
_MARKS = tuple(mark.encode() for mark in ("…", "。", "！", "？"))
_ENDS = re.compile(rb"(?:[.!?]|" + b"|".join(_MARKS) + rb")[.!?\"')\]]*|[\n\r]")
_CLOSERS = tuple(mark.encode() for mark in ("”", "’", "»"))
_DECIMAL = re.compile(rb"[0-9]\.?\Z")
"""The end of a text that may go on as a number."""


class Finder:
    """Searches for a stop in texts that grow token by token. Results are cached by token."""

    def __init__(self, stop: StopRule) -> None:
        self.stop = stop
        self._known: dict[tuple[bytes, int], StopSearch] = {}

    def begin(self, before: bytes) -> bytes:
        """The begun part of a stop before an answer's first token: the digit that `before` ends with, if any."""
        last = before[-1:]
        return last if isinstance(self.stop, AtSentence) and last.isdigit() else b""

    def look(self, begun: bytes, token: int, piece: Piece) -> StopSearch:
        """Whether a token ends an answer whose text ends with the part `begun` of a stop. Does not count tokens."""
        result = self._known.get((begun, token))
        if result is None:
            result = self._known[begun, token] = self._look(begun, piece)
        return result

    def fresh(self, begun: bytes, piece: Piece) -> StopSearch:
        """As `look`, for a part of a token: not cached."""
        return self._look(begun, piece)

    def _look(self, begun: bytes, piece: Piece) -> StopSearch:
        if piece.ends:
            return StopSearch(0, b"")
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
        return StopSearch(None, rest) if end is None else StopSearch(end - len(begun), b"")


def _first(data: bytes, marks: tuple[bytes, ...]) -> int | None:
    """The first position of any of some texts."""
    places = [at for mark in marks if (at := data.find(mark)) >= 0]
    return min(places, default=None)


def _sentence_end(data: bytes) -> int | None:
    """Where the first sentence ends: after its mark, or before the line break."""
    at = 0
    while match := _ENDS.search(data, at):
        if match[0] in _LINES:
            return match.start()
        at = match.end()
        while closer := next((one for one in _CLOSERS if data.startswith(one, at)), None):
            at += len(closer)
        after_digit = match[0] == b"." and data[match.start() - 1 : match.start()].isdigit()
        if at == len(data):
            return None if after_digit else at
        if not data[at : at + 4].decode("utf-8", "ignore")[:1].isalnum():
            return at
    return None


def _unfinished(data: bytes, marks: tuple[bytes, ...]) -> bytes:
    """The longest end of a text that is an incomplete prefix of one of `marks`."""
    most = min(len(data), max(map(len, marks)) - 1)
    for size in range(most, 0, -1):
        if any(len(mark) > size and mark.startswith(data[-size:]) for mark in marks):
            return data[-size:]
    return b""
