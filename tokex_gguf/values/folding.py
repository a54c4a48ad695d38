"""Case folding for searches that keeps positions. Pure."""


def folded(text: str) -> str:
    """The text in lower case, with every character at the same position and in as many bytes of UTF-8.

    A character whose lower case has another length stays as it is. Each is folded on its own.

    >>> folded("ΟΔΟΣ"), folded("ὀδός")[-1], folded("İ"), len(folded("İSTANBUL"))
    ('οδοσ', 'σ', 'İ', 8)
    """
    if text.isascii():
        return text.lower()
    lower = {ord(char): char.lower() for char in set(text) if _alike(char, char.lower())}
    return text.translate({**lower, ord("ς"): "σ"})


def _alike(char: str, lower: str) -> bool:
    sizes = [len(one.encode("utf-8", "surrogatepass")) for one in (char, lower)]
    return len(lower) == 1 and sizes[0] == sizes[1]
