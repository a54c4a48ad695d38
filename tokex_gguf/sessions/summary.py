"""What the first bytes of a session's file tell of it, so that listing sessions need not read them whole. Pure."""

import json
import re
from dataclasses import MISSING, asdict, fields

from tokex_gguf.values.record import record

FORMAT = "tokex-gguf session"
VERSION = 2
SUMMARY_BYTES = 4096
"""Bytes at the beginning of a file that hold its summary."""
TEXT = 60
"""Characters of a text's beginning, or of a model's name, that a summary holds at the most."""

NAME = 100
"""Characters at the end of the name that a model was asked for by, at the most."""

_HEAD = re.compile(rb'\{"format":"%s","version":%d,"crc32":\d{1,10},"session":\{"about":' % (FORMAT.encode(), VERSION))
MOST_COUNT = 2**52
"""The largest number that is believed."""
_VERSION = re.compile(rb'\{"format":"%s","version":(\d{1,9}),' % FORMAT.encode())


@record
class Stamp:
    """What a saved session gets from the program that saves it."""

    sequence: int = 0
    """Larger than that of every session saved before: the order of sessions, which no clock can disturb."""
    saved: int = 0
    """When, in seconds since 1970, by this machine's clock."""
    moves: int = 0
    """How often the player changed what is kept: tokens appended, popped or typed, prompts opened or removed."""


@record
class Summary:
    """A session in a few values."""

    sequence: int
    saved: int
    moves: int
    tokens: int
    """Tokens on all paths visited, of all games."""
    length: int
    """Tokens of the active prompt."""
    prompts: int
    """Open prompts of the active game."""
    games: int
    """Models played."""
    model: str
    """The active game's."""
    text: str
    """The beginning of the active prompt."""
    asked: str = ""
    """The name that the player gave for the model; older files do not have it."""

    @property
    def weight(self) -> int:
        """How much was played: a move counts for ten tokens, since a text can be read again and moves cannot."""
        return self.tokens + 10 * self.moves

    def encoded(self) -> bytes:
        """As JSON, in ASCII."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def is_newer(head: bytes) -> bool:
    """Whether the first bytes of a file say that a newer version of the program made it."""
    match = _VERSION.match(head)
    return match is not None and int(match[1]) > VERSION


def parse(head: bytes) -> Summary | None:
    """The summary in the first `SUMMARY_BYTES` bytes of a file; None where there is none that makes sense."""
    match = _HEAD.match(head)
    if match is None:
        return None
    try:
        table, _ = json.JSONDecoder().raw_decode(head[match.end() : SUMMARY_BYTES].decode("ascii"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(table, dict):
        return None
    values: dict[str, int | str] = {}
    for field in fields(Summary):
        value = table.get(field.name, None if field.default is MISSING else field.default)
        if type(value) is not field.type or (isinstance(value, int) and not 0 <= value <= MOST_COUNT):
            return None
        values[field.name] = value  # type: ignore[assignment]
    return Summary(**values)  # type: ignore[arg-type]
