"""Whether tokens spell the text that they were made of, and the notice where they do not. Pure."""

import unicodedata
from collections.abc import Callable, Sequence
from itertools import accumulate

_MOST_NAMED = 3
"""The most characters that a notice names."""


def difference(text: str, spelled: bytes, *, space_prefix: bool = False) -> str:
    """A notice of one line where tokens spell another text, else "".

    `spelled`: the tokens' bytes without BOS. With `space_prefix` they may start with a space that
    the tokenizer puts before a text.

    >>> difference("a", b"a"), difference("a", b" a", space_prefix=True)
    ('', '')
    """
    data = text.encode("utf-8", "surrogatepass")
    if spelled == data or (space_prefix and spelled == b" " + data):
        return ""
    actual = spelled.decode("utf-8", "replace")
    if space_prefix:
        actual = actual.removeprefix(" ")
    for form in ("NFC", "NFKC", "NFD", "NFKD"):
        if unicodedata.normalize(form, text) == actual:
            return f"the tokenizer changed the text: it normalises to {form}"
    if text.lower() == actual:
        return "the tokenizer changed the text: it knows no capitals"
    if unspelled := sorted(set(text) - set(actual), key=text.index):
        named = ", ".join(map(_named, unspelled[:_MOST_NAMED]))
        more = f" and {len(unspelled) - _MOST_NAMED} more" if len(unspelled) > _MOST_NAMED else ""
        return f"the vocabulary cannot spell {named}{more}: the numbers are of another text"
    place = next((index for index, (a, b) in enumerate(zip(text, actual, strict=False)) if a != b), None)
    return f"the tokenizer changed the text from character {min(len(text), len(actual)) if place is None else place} on"


def without_bos(text: str, path: list[int], bos: int | None, name: bytes, spelled: Callable[[list[int]], bytes]) -> str:
    """A text without the BOS token's name at its start, if that became the path's BOS, as in many chat templates.

    `name`: the BOS token's; `spelled` gives the bytes of tokens without a BOS at their start.
    """
    if bos is None or path[:1] != [bos]:
        return text
    after_bos = spelled(path[: len(name) + 2]).lstrip(b" ")
    typed = path[1:2] != [bos] and after_bos.startswith(name)  # as ordinary tokens, after a BOS that was added
    return text if typed else text.removeprefix(name.decode(errors="replace"))


def no_text(pieces: Sequence[bytes]) -> int | None:
    r"""The first token with invalid UTF-8; None where there is none, also if the last character is only incomplete.

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
