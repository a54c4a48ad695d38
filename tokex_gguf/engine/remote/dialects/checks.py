"""What no server is believed in: every number of an answer is checked, and what cannot be right is `Nonsense`.

An answer is checked in the order of what was asked, so what it costs is bounded by that and not by the answer.
"""

import json
import math
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from operator import itemgetter
from typing import Any

from tokex_gguf.engine.remote.dialects.dialect import Nonsense, ServerAnswer
from tokex_gguf.values.tokens import visible

LARGEST_ID = 2**31 - 1
LONGEST_PIECE = 4096
"""Bytes of a token that are believed."""
LONGEST_NAME = 512
"""Characters of a name or a version that are believed."""
ROUNDING = 1e-3
"""What float32 sums over a vocabulary are off by, as a rule: of a log-probability, and of some probabilities."""
LOST = 2**-24
"""What each of many probabilities may add to that: a sum in float32, one after the other, loses the least of them."""


FINGERPRINTED = "Fingerprint: na\u00efve \u5317\u4eac \U0001f642 def f(x):\n\treturn 3.14159 <s> Hello"
"""A text whose tokens tell vocabularies apart."""


def dig(answer: object, *keys: str | int) -> Any:
    """What stands in an answer behind some keys and places, one in the other.

    >>> dig({"choices": [{"text": "a"}]}, "choices", 0, "text")
    'a'
    """
    at: Any = answer
    for key in keys:
        fits = type(at) is (dict if isinstance(key, str) else list)
        try:
            at = at[key] if fits else None
        except LookupError:
            fits = False
        if not fits:
            raise Nonsense(
                "an answer without its " + "/".join(str(key) for key in keys if isinstance(key, str))
            ) from None
    return at


def found(answer: object, *keys: str | int) -> Any:
    """The same; None where it is not there."""
    try:
        return dig(answer, *keys)
    except Nonsense:
        return None


def columns(rows: object, *keys: str | int) -> list[tuple[Any, ...]]:
    """What stands behind some keys in each of some rows: as `dig` does, and fast.

    >>> columns([{"id": 5, "logprob": -1.0}], "id", "logprob")
    [(5, -1.0)]
    """
    try:
        assert type(rows) is list
        get = itemgetter(*keys)
        return [get(row) for row in rows]
    except (AssertionError, LookupError, TypeError):
        raise Nonsense("rows without what belongs into them") from None


def name(value: object) -> str:
    """A name or a version, as it can be shown; empty where there is none."""
    return visible(value[:LONGEST_NAME]) if isinstance(value, str) else ""


def digest(*parts: object) -> str:
    """What tells a model from others, made from what its server says of it."""
    return sha256(json.dumps(parts).encode()).hexdigest()


def count(value: object) -> int:
    """A number of things, from 1; 0 where the server does not tell."""
    return value if type(value) is int and 0 < value <= LARGEST_ID else 0


def token(value: object, vocab_size: int) -> int:
    """A token's id. `vocab_size`: 0 where it is not known."""
    if type(value) is not int or not 0 <= value <= (vocab_size or LARGEST_ID + 1) - 1:
        raise Nonsense("an id that is not in the vocabulary")
    return value


def tokens(value: object, vocab_size: int, most: int) -> list[int]:
    """The ids of a text that has no more than `most` tokens."""
    if not isinstance(value, list) or len(value) > most:
        raise Nonsense("tokens that cannot be of the text")
    return [token(one, vocab_size) for one in value]


def data_of(value: object) -> bytes:
    """A token's bytes: a text, or a list of numbers."""
    try:
        if isinstance(value, str):
            data = value.encode()
        else:
            assert isinstance(value, list) and len(value) <= LONGEST_PIECE
            data = bytes(value)
        assert len(data) <= LONGEST_PIECE
    except (ValueError, TypeError, AssertionError):  # also of half a surrogate pair
        raise Nonsense("a token whose bytes are none") from None
    return data


def logprob(value: object, floor: float) -> float:
    """A log-probability; `floor` for what the server could not tell from 0, which it calls null or a huge number."""
    if value is None:
        return floor
    if type(value) not in (int, float) or not value <= ROUNDING:  # type: ignore[operator]
        raise Nonsense("a log-probability that is none")
    assert isinstance(value, int | float)
    # Not floor for all that are below it: only what says that it is not told.
    return floor if value <= -9000 else min(float(value), 0.0)


def distribution(
    rows: Iterable[tuple[object, object]],
    vocab_size: int,
    top: int,
    floor: float,
    asked: int | None = None,
    told: float | None = None,
) -> ServerAnswer:
    """An answer from (id, log-probability) of the likeliest tokens, in any order.

    `told`: the log-probability of `asked`, where the server has told it apart from these; it need not.
    """
    likely: dict[int, float] = {}
    for each, value in rows:
        one = token(each, vocab_size)
        if one in likely:
            raise Nonsense("one token twice in a distribution")
        likely[one] = logprob(value, floor)
        if len(likely) > top:
            raise Nonsense("more tokens than were asked for")
    if not likely:
        raise Nonsense("a distribution without tokens")
    ordered = sorted(likely.items(), key=lambda pair: (-pair[1], pair[0]))
    ids, logprobs = [one for one, _ in ordered], [value for _, value in ordered]
    if math.fsum(map(math.exp, logprobs)) > 1 + ROUNDING + LOST * len(logprobs):
        raise Nonsense("probabilities that sum up to more than 1")
    rank = ids.index(asked) + 1 if asked in likely else None
    if rank is not None:
        told = logprobs[rank - 1]
    elif told is not None and told > logprobs[-1] + ROUNDING:
        raise Nonsense("a likely token that is not among the likeliest")
    return ServerAnswer(ids, logprobs, told, rank)


def descending(values: Sequence[object]) -> None:
    """That a list which a server has sorted is so."""
    known = [value for value in values if isinstance(value, int | float)]
    if any(later > earlier for earlier, later in pairwise(known)):
        raise Nonsense("a distribution in the wrong order")
