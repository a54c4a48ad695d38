"""Whether a path or a text fits into a context, without tokenising all of a long text. Pure."""

from collections.abc import Callable, Iterator

TOKEN_BYTES = 16
"""More bytes than an average token has: most texts have three to five. Texts below that are simply tokenised."""
EXTRA_TOKENS = 1024
"""Tokens by which a text may exceed the context: the end of a prompt that is a little too long can be popped."""


class ContextFull(Exception):
    """A path is longer than the largest context."""

    def __init__(self, needed: int, room: int) -> None:
        super().__init__(f"context full ({room}/{room}): the prompt has {needed} tokens, {room} fit")
        self.room = room


class TooLong(Exception):
    """A text has more tokens than fit. The message is one line that says how much fits."""


def beginnings(text: str, limit: int) -> Iterator[str]:
    """Prefixes of a long text, each four times as long as the one before; none for a short text."""
    characters = TOKEN_BYTES * limit
    while characters < len(text):
        yield text[:characters]
        characters *= 4


def check_text(text: str, limit: int, count: Callable[[str], int]) -> None:
    """Raises TooLong where a text certainly has more tokens than `limit`, the largest context.

    `count` gives the number of tokens of a text. Text after a prefix can change only the prefix's last tokens.
    """
    for beginning in beginnings(text, limit):
        tokens = count(beginning)
        if tokens > limit + EXTRA_TOKENS:
            raise TooLong(
                f"this text is too long: {len(beginning):,} of its {len(text):,} characters have {tokens:,} tokens "
                f"already, and the context can hold {limit:,}"
            )


def check_tokens(tokens: int, limit: int) -> None:
    """Raises TooLong where a text's tokens are far more than `limit`."""
    if tokens > 2 * limit + EXTRA_TOKENS:
        raise TooLong(f"this text is too long: it has {tokens:,} tokens, and the context can hold {limit:,}")
