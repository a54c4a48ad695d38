"""Text in which upper and lower case are the same, for searches. Pure."""


def folded(text: str) -> str:
    """In lower case, each character where it stands, in as many bytes of UTF-8 as before.

    One whose lower case takes others stays as it is. What a letter becomes depends on no other one.

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
