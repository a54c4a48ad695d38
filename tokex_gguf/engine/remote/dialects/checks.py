"""Checks of servers' answers: every number is checked, and an invalid one raises `InvalidAnswer`.

Checks follow the request, so that their cost is bounded by the request and not by the answer.
"""

import json
import math
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from operator import itemgetter
from typing import Any

from tokex_gguf.engine.remote.dialects.dialect import InvalidAnswer, ServerAnswer
from tokex_gguf.values.tokens import visible

LARGEST_ID = 2**31 - 1
LONGEST_PIECE = 4096
"""The most bytes of a token."""
LONGEST_NAME = 512
"""The most characters of a name or a version."""
ROUNDING = 1e-3
"""The usual error of float32 sums over a vocabulary, in a log-probability and in a sum of probabilities."""
LOST = 2**-24
"""The further error for each of many probabilities: a sequential float32 sum loses the smallest ones."""


FINGERPRINTED = "Fingerprint: na\u00efve \u5317\u4eac \U0001f642 def f(x):\n\treturn 3.14159 <s> Hello"
"""A text whose tokens differ between vocabularies."""


def dig(answer: object, *keys: str | int) -> Any:
    """The value in an answer at nested keys and indexes. Raises InvalidAnswer.

    >>> dig({"choices": [{"text": "a"}]}, "choices", 0, "text")
    'a'
    """
    value: Any = answer
    for key in keys:
        fits = type(value) is (dict if isinstance(key, str) else list)
        try:
            value = value[key] if fits else None
        except LookupError:
            fits = False
        if not fits:
            raise InvalidAnswer(
                "an answer without its " + "/".join(str(key) for key in keys if isinstance(key, str))
            ) from None
    return value


def found(answer: object, *keys: str | int) -> Any:
    """As `dig`; None where the value is missing."""
    try:
        return dig(answer, *keys)
    except InvalidAnswer:
        return None


def columns(rows: object, *keys: str | int) -> list[tuple[Any, ...]]:
    """The values at some keys in each row: as `dig`, but fast.

    >>> columns([{"id": 5, "logprob": -1.0}], "id", "logprob")
    [(5, -1.0)]
    """
    try:
        assert type(rows) is list
        get = itemgetter(*keys)
        return [get(row) for row in rows]
    except (AssertionError, LookupError, TypeError):
        raise InvalidAnswer("rows without what belongs into them") from None


def name(value: object) -> str:
    """A name or a version as printable text; empty where there is none."""
    return visible(value[:LONGEST_NAME]) if isinstance(value, str) else ""


def digest(*parts: object) -> str:
    """A digest of facts that a server gives about its model."""
    return sha256(json.dumps(parts).encode()).hexdigest()


def count(value: object) -> int:
    """A count from 1; 0 where the server does not give it."""
    return value if type(value) is int and 0 < value <= LARGEST_ID else 0


def token(value: object, vocab_size: int) -> int:
    """A token's id. `vocab_size`: 0 where it is not known."""
    if type(value) is not int or not 0 <= value <= (vocab_size or LARGEST_ID + 1) - 1:
        raise InvalidAnswer("an id that is not in the vocabulary")
    return value


def tokens(value: object, vocab_size: int, most: int) -> list[int]:
    """The ids of a text that has no more than `most` tokens."""
    if not isinstance(value, list) or len(value) > most:
        raise InvalidAnswer("tokens that cannot be of the text")
    return [token(one, vocab_size) for one in value]


def data_of(value: object) -> bytes:
    """A token's bytes, from a text or a list of numbers."""
    try:
        if isinstance(value, str):
            data = value.encode()
        else:
            assert isinstance(value, list) and len(value) <= LONGEST_PIECE
            data = bytes(value)
        assert len(data) <= LONGEST_PIECE
    except (ValueError, TypeError, AssertionError):  # also for a lone surrogate
        raise InvalidAnswer("a token whose bytes are none") from None
    return data


def logprob(value: object, floor: float) -> float:
    """A log-probability; `floor` for null and huge negative numbers, which servers give for a probability of 0."""
    if value is None:
        return floor
    if type(value) not in (int, float) or not value <= ROUNDING:  # type: ignore[operator]
        raise InvalidAnswer("a log-probability that is none")
    assert isinstance(value, int | float)
    # Other values below `floor` stay as they are.
    return floor if value <= -9000 else min(float(value), 0.0)


def distribution(
    rows: Iterable[tuple[object, object]],
    vocab_size: int,
    top: int,
    floor: float,
    asked: int | None = None,
    asked_logprob: float | None = None,
) -> ServerAnswer:
    """An answer from (id, log-probability) of the likeliest tokens, in any order.

    `asked_logprob`: the log-probability of `asked`, if the server gives it separately.
    """
    likely: dict[int, float] = {}
    for each, value in rows:
        one = token(each, vocab_size)
        if one in likely:
            raise InvalidAnswer("one token twice in a distribution")
        likely[one] = logprob(value, floor)
        if len(likely) > top:
            raise InvalidAnswer("more tokens than were asked for")
    if not likely:
        raise InvalidAnswer("a distribution without tokens")
    ordered = sorted(likely.items(), key=lambda pair: (-pair[1], pair[0]))
    ids, logprobs = [one for one, _ in ordered], [value for _, value in ordered]
    if math.fsum(map(math.exp, logprobs)) > 1 + ROUNDING + LOST * len(logprobs):
        raise InvalidAnswer("probabilities that sum up to more than 1")
    rank = ids.index(asked) + 1 if asked in likely else None
    if rank is not None:
        asked_logprob = logprobs[rank - 1]
    elif asked_logprob is not None and asked_logprob > logprobs[-1] + ROUNDING:
        raise InvalidAnswer("a likely token that is not among the likeliest")
    return ServerAnswer(ids, logprobs, asked_logprob, rank)


def descending(values: Sequence[object]) -> None:
    """Raises InvalidAnswer unless a list is in descending order."""
    known = [value for value in values if isinstance(value, int | float)]
    if any(later > earlier for earlier, later in pairwise(known)):
        raise InvalidAnswer("a distribution in the wrong order")
