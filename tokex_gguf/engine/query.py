"""What a search for tokens looks for. Pure."""

from tokex_gguf.values.tokens import meant

_BLANK = " \t\r\n"
"""What is around a query without being meant. Other spaces, as U+3000, are typed on purpose."""


def query_texts(query: str) -> list[bytes]:
    r"""The texts of which a token that is found contains one, in lower case; none where all tokens are found.

    Blanks, tabs and line breaks around the query count only inside double quotes; other spaces always do.

    >>> query_texts(' The '), query_texts('"␣the'), query_texts('')
    ([b'the'], [b'\xe2\x90\xa3the', b' the'], [])
    """
    if not (wanted := as_bytes(_wanted(query))):
        return []
    texts = [wanted]
    if (typed := _meant(query)) != query:
        texts.append(as_bytes(_wanted(typed)))
    return texts


def token_id(query: str) -> int | None:
    """The token whose id the query is; None where it is none.

    >>> token_id(" 42 "), token_id("a")
    (42, None)
    """
    number = query.strip()
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None


def as_bytes(text: str) -> bytes:
    """A text as UTF-8; half a surrogate pair becomes bytes that no token's text has."""
    return text.encode("utf-8", "surrogatepass")


def _meant(query: str) -> str:
    """A query in which white space may be typed as it is shown, and counts then.

    >>> _meant('␣the'), _meant('"␣the'), _meant('the')
    ('" the"', '" the', 'the')
    """
    text = meant(query)
    return text if text == query or query.lstrip(_BLANK).startswith('"') else f'"{text}"'


def _wanted(query: str) -> str:
    r"""The text to look for.

    >>> _wanted(' The '), _wanted('" the"'), _wanted('"'), _wanted('\u3000')
    ('the', ' the', '"', '\u3000')
    """
    text = query.strip(_BLANK)
    if text.startswith('"') and len(text) > 1:
        text = query.lstrip(_BLANK)[1:]
        text = text.removesuffix('"')
    return text.lower()
