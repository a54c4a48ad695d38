"""The summary in the first bytes of a session's file, so that a list need not read whole files. Pure."""

import json
import re
from dataclasses import MISSING, asdict, fields

from tokex_gguf.values.record import record

FORMAT = "tokex-gguf session"
VERSION = 2
SUMMARY_BYTES = 4096
"""Bytes at the beginning of a file that hold its summary."""
TEXT_CHARACTERS = 60
"""Characters of a text's beginning, or of a model's name, in a summary, at the most."""

NAME_CHARACTERS = 100
"""Characters of the end of the name that the player gave for a model, at the most."""

_HEAD = re.compile(rb'\{"format":"%s","version":%d,"crc32":\d{1,10},"session":\{"about":' % (FORMAT.encode(), VERSION))
MOST_COUNT = 2**52
"""The largest valid number."""
_VERSION = re.compile(rb'\{"format":"%s","version":(\d{1,9}),' % FORMAT.encode())


@record
class Stamp:
    """The fields of a summary that the saving program sets."""

    sequence: int = 0
    """Larger than in any session saved before: orders sessions independently of clocks."""
    saved: int = 0
    """The time of the save in seconds since 1970, by this machine's clock."""
    moves: int = 0
    """Changes by the player: tokens appended, popped or typed, prompts opened or removed."""


@record
class Summary:
    """A session in a few values."""

    sequence: int
    saved: int
    moves: int
    tokens: int
    """Tokens on all visited paths of all games."""
    length: int
    """Tokens of the active prompt."""
    prompts: int
    """Open prompts of the active game."""
    games: int
    """Models played."""
    model: str
    """The name of the active game's model."""
    text: str
    """The beginning of the active prompt."""
    asked: str = ""
    """The name that the player gave for the model; older files do not have it."""

    @property
    def weight(self) -> int:
        """How much was played: a move counts for ten tokens, since texts can be read again, but not moves."""
        return self.tokens + 10 * self.moves

    def encoded(self) -> bytes:
        """As JSON, in ASCII."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def is_newer(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a newer version of the program."""
    match = _VERSION.match(head)
    return match is not None and int(match[1]) > VERSION


def parse(head: bytes) -> Summary | None:
    """The summary in the first `SUMMARY_BYTES` bytes of a file; None without a valid one."""
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
