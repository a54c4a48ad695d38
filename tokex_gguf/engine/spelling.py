"""Whether tokens spell the text that they were made of, and what is told where they do not. Pure."""

import unicodedata
from collections.abc import Callable, Sequence
from itertools import accumulate

_SHOWN = 3
"""Characters that are named."""


def difference(text: str, spelled: bytes, *, space_prefix: bool = False) -> str:
    """One line where tokens spell another text, else nothing.

    `spelled` is the tokens' bytes without BOS. With `space_prefix` they may begin with a space that
    the tokenizer puts before a text.

    >>> difference("a", b"a"), difference("a", b" a", space_prefix=True)
    ('', '')
    """
    data = text.encode("utf-8", "surrogatepass")
    if spelled == data or (space_prefix and spelled == b" " + data):
        return ""
    there = spelled.decode("utf-8", "replace")
    if space_prefix:
        there = there.removeprefix(" ")
    for form in ("NFC", "NFKC", "NFD", "NFKD"):
        if unicodedata.normalize(form, text) == there:
            return f"the tokenizer changed the text: it normalises to {form}"
    if text.lower() == there:
        return "the tokenizer changed the text: it knows no capitals"
    if unspelled := sorted(set(text) - set(there), key=text.index):
        named = ", ".join(map(_named, unspelled[:_SHOWN]))
        more = f" and {len(unspelled) - _SHOWN} more" if len(unspelled) > _SHOWN else ""
        return f"the vocabulary cannot spell {named}{more}: the numbers are of another text"
    place = next((index for index, (a, b) in enumerate(zip(text, there, strict=False)) if a != b), None)
    return f"the tokenizer changed the text from character {min(len(text), len(there)) if place is None else place} on"


def without_bos(text: str, path: list[int], bos: int | None, name: bytes, spelled: Callable[[list[int]], bytes]) -> str:
    """A text without the BOS token's name where the path's BOS was made of it, as in chats by many templates.

    `name`: the BOS token's; `spelled` gives the bytes of tokens, without a BOS at their beginning.
    """
    if bos is None or path[:1] != [bos]:
        return text
    behind = spelled(path[: len(name) + 2]).lstrip(b" ")
    typed = path[1:2] != [bos] and behind.startswith(name)  # as other tokens, behind a BOS that was added
    return text if typed else text.removeprefix(name.decode(errors="replace"))


def no_text(pieces: Sequence[bytes]) -> int | None:
    r"""The first token with a byte that no text has; None where there is none, and where the end is only missing.

    >>> no_text([b"a", b"\xf0\x9f", b"b"]), no_text([b"a", b"\xf0\x9f"])
    (1, None)
    """
    try:
        b"".join(pieces).decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return None
        ends = accumulate(map(len, pieces))
        return next(index for index, end in enumerate(ends) if end > error.start)
    return None


def _named(char: str) -> str:
    code = f"U+{ord(char):04X}"
    return f"{char} ({code})" if char.isprintable() and not char.isspace() else code
