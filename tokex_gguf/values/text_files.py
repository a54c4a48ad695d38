"""Decoding text files: UTF-8, and the encodings of Windows programs. Pure."""

import re
from typing import NamedTuple

# UTF-32 first: its little-endian mark begins with the one of UTF-16.
_MARKS = (
    (b"\xef\xbb\xbf", "UTF-8"),
    (b"\xff\xfe\0\0", "UTF-32-LE"),
    (b"\0\0\xfe\xff", "UTF-32-BE"),
    (b"\xff\xfe", "UTF-16-LE"),
    (b"\xfe\xff", "UTF-16-BE"),
)
_LONE_LF = re.compile(r"(?<!\r)\n")


class NotText(Exception):
    """The bytes are no text. The message says why, and how to repair that, if possible."""


class DecodedText(NamedTuple):
    """The text of a file."""

    text: str
    """Without a byte order mark."""
    encoding: str
    """UTF-8, UTF-16 or UTF-32."""


def decode(data: bytes) -> DecodedText:
    r"""The text of a file. UTF-16 and UTF-32 are read where a byte order mark says so. Raises NotText.

    >>> decode(b"\xef\xbb\xbfhi")
    DecodedText(text='hi', encoding='UTF-8')
    >>> decode(b"\xff\xfeh\0i\0")
    DecodedText(text='hi', encoding='UTF-16')
    """
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "UTF-8"))
    rest, name = data[len(mark) :], encoding[:6].rstrip("-")
    if not mark and b"\0" in data:
        if _looks_like_utf_16(data):
            raise NotText("UTF-16 without a byte order mark: save it as UTF-8")
        raise NotText(f"not text: a zero byte at offset {data.index(0)}")
    try:
        text = rest.decode(encoding)
    except UnicodeDecodeError as error:
        raise NotText(f"not {name} at byte offset {len(mark) + error.start}: save it as UTF-8") from None
    if "\0" in text:
        raise NotText(f"not text: U+0000 at character {text.index(chr(0))}")
    return DecodedText(text, name)


def _looks_like_utf_16(data: bytes) -> bool:
    """Whether about half of the bytes are zero, at every second place: UTF-16 of a Latin alphabet."""
    sample = data[: 1 << 12]
    halves = sample[::2], sample[1::2]
    zeros = [half.count(0) for half in halves]
    many = max(zeros) > 0.4 * len(halves[0]) if len(sample) > 16 else max(zeros) == len(halves[0])
    return len(sample) % 2 == 0 and min(zeros) == 0 and many


def is_utf_8(data: bytes) -> bool:
    """Whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def has_crlf_only(text: str) -> bool:
    """Whether all line ends are CRLF, as in files of Windows; False for a text of one line."""
    return "\r\n" in text and _LONE_LF.search(text) is None


def with_line_feeds(text: str) -> str:
    r"""The text with LF for CRLF, if all line ends are CRLF; else unchanged.

    >>> with_line_feeds("a\r\nb\r\n"), with_line_feeds("a\r\nb\n")
    ('a\nb\n', 'a\r\nb\n')
    """
    return text.replace("\r\n", "\n") if has_crlf_only(text) else text


def without_last_break(text: str) -> str:
    r"""The text without one line break at its end, which editors add.

    >>> without_last_break("a\n\n"), without_last_break("a\r\n"), without_last_break("a")
    ('a\n', 'a', 'a')
    """
    return text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
