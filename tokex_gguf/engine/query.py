"""Queries of a search for tokens. Pure."""

from tokex_gguf.values.tokens import meant

_BLANK = " \t\r\n"
"""Blanks that are stripped from a query. Other spaces, such as U+3000, are typed on purpose."""


def query_texts(query: str) -> list[bytes]:
    r"""The texts in lower case of which a matching token contains one; empty: all tokens match.

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
    """The query as a token id; None where it is none.

    >>> token_id(" 42 "), token_id("a")
    (42, None)
    """
    number = query.strip()
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None


def as_bytes(text: str) -> bytes:
    """A text as UTF-8; a lone surrogate becomes bytes that no token has."""
    return text.encode("utf-8", "surrogatepass")


def _meant(query: str) -> str:
    """The query with the signs for white space replaced, and in quotes if there were any, so that it counts.

    >>> _meant('␣the'), _meant('"␣the'), _meant('the')
    ('" the"', '" the', 'the')
    """
    text = meant(query)
    return text if text == query or query.lstrip(_BLANK).startswith('"') else f'"{text}"'


def _wanted(query: str) -> str:
    r"""The text of a query without its quotes.

    >>> _wanted(' The '), _wanted('" the"'), _wanted('"'), _wanted('\u3000')
    ('the', ' the', '"', '\u3000')
    """
    text = query.strip(_BLANK)
    if text.startswith('"') and len(text) > 1:
        text = query.lstrip(_BLANK)[1:]
        text = text.removesuffix('"')
    return text.lower()
