"""What does not fit into a context; of a text that is found out without tokenising all of it. Pure."""

from collections.abc import Callable, Iterator

TOKEN_BYTES = 16
"""Bytes of a token, generously: most texts have three to five. Shorter texts are simply tokenised."""
EXTRA_TOKENS = 1024
"""Tokens above the context's that a text may have: the end of a prompt that is a little too long can be popped."""


class ContextFull(Exception):
    """A path is longer than the context can be made."""

    def __init__(self, needed: int, room: int) -> None:
        super().__init__(f"context full ({room}/{room}): the prompt has {needed} tokens, {room} fit")
        self.room = room


class TooLong(Exception):
    """A text has more tokens than fit. The message is one line that says how much fits."""


def beginnings(text: str, limit: int) -> Iterator[str]:
    """Parts of a long text that tell enough, each four times the one before; none of it for a short text."""
    characters = TOKEN_BYTES * limit
    while characters < len(text):
        yield text[:characters]
        characters *= 4


def check_text(text: str, limit: int, count: Callable[[str], int]) -> None:
    """Raises TooLong where a text surely has more tokens than `limit`, the most that the context can hold.

    `count` gives the tokens of a text. What follows a beginning can change the last tokens of it and not the others.
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
