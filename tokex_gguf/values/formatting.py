"""Sizes and errors in words. Pure."""

import errno
import math
import re
from collections.abc import Callable

from tokex_gguf.values.distribution import Candidate, TokenLogprob


def size_of(count: float) -> str:
    """A number of bytes as MB or GB.

    >>> size_of(397_808_192), size_of(1_234_567_890_123)
    ('398 MB', '1,234.6 GB')
    """
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def counted(count: int, what: str) -> str:
    """A number and a noun, in the plural where needed.

    >>> counted(1, "token"), counted(0, "token"), counted(1234, "such token")
    ('1 token', '0 tokens', '1,234 such tokens')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def reason(error: Exception) -> str:
    """An error in one line, without the system's number.

    >>> reason(OSError("[Errno -2] Name or service not known")), reason(KeyError())
    ('Name or service not known', 'KeyError')
    """
    lines = re.sub(r"^\[Errno -?\d+\] ", "", str(error).strip()).splitlines()
    return short(lines[0] if lines else type(error).__name__)


def system_reason(error: OSError) -> str:
    """Why the system refused something; for a limit, how to raise it.

    >>> system_reason(OSError(errno.EMFILE, "Too many open files"))
    'the limit of open files is too low: raise it with ulimit -n'
    """
    if error.errno == errno.EMFILE:
        return "the limit of open files is too low: raise it with ulimit -n"
    if error.errno == errno.ENFILE:
        return "too many files are open on this machine: end other programs"
    if error.errno == errno.EAGAIN:
        return "the limit of processes and threads is too low: raise it with ulimit -u"
    return error.strerror or str(error) or type(error).__name__


def short(text: str) -> str:
    """A text of at most 100 characters."""
    return text if len(text) <= 100 else text[:99] + "…"


def bias_text(amount: float) -> str:
    """A bias as the table shows it; empty for 0.

    >>> bias_text(2), bias_text(-0.5), bias_text(-math.inf), bias_text(0)
    ('+2', '-0.5', 'banned', '')
    """
    return "" if not amount else "banned" if amount == -math.inf else f"{amount:+g}"


NARROW = 0.05
"""The widest interval of an entropy, in bits, that is shown as one number."""


def between(low: float, high: float, text: Callable[[float], str], *, wide: bool) -> str:
    """A number between two bounds: both with `wide`, else their middle with ≈.

    >>> between(3.98, 4.35, "{:.2f}".format, wide=True), between(3.98, 4.01, "{:.2f}".format, wide=False)
    ('3.98–4.35', '≈ 4.00')
    >>> between(3.98, 3.98, "{:.2f}".format, wide=False)
    '3.98'
    """
    ends = text(low), text(high)
    if ends[0] == ends[1]:
        return ends[0]
    return "–".join(ends) if wide else f"≈ {text((low + high) / 2)}"


def share_text(share: float, blank: str = " ") -> str:
    """A share, 0 to 1, in percent: less than all is never shown as 100, and more than nothing never as 0.

    >>> share_text(0.941), share_text(0.9996), share_text(1 - 1e-15), share_text(0.0003), share_text(0)
    ('94.1 %', '> 99.9 %', '100.0 %', '< 0.1 %', '0.0 %')
    >>> share_text(0.9996, ""), share_text(1.0006, "")
    ('>99.9%', '100.0%')
    """
    share = min(share, 1.0)
    if 0 < share < 0.0005:
        return f"<{blank}0.1{blank}%"
    if 0.9995 <= share < 1 - 1e-12:  # closer to 1 than rounding errors of the sum
        return f">{blank}99.9{blank}%"
    return f"{100 * share:.1f}{blank}%"


def number(value: float) -> str:
    """A probability in at most seven characters, however small.

    >>> number(0.97312), number(0.0000031), number(1.2e-105)
    ('0.9731', '3.1e-06', '1e-105')
    """
    if value >= 0.0001 or value == 0:
        return f"{value:.4f}"
    text = f"{value:.1e}"
    return text if len(text) <= 7 else f"{value:.0e}"


def rank_text(one: Candidate | TokenLogprob) -> str:
    """A rank in at most six characters; for a lower bound, the number that it is higher than.

    >>> rank_text(TokenLogprob(-3.0, 7)), rank_text(TokenLogprob(-9.0, 152_001, at_least=True))
    ('7', '> 152k')
    """
    if not one.at_least:
        return str(one.rank)
    least = one.rank - 1
    return f"> {least}" if least < 10_000 else f"> {least // 1000}k"


def short_text(value: float) -> str:
    """A number of 0 or more that may be very large, such as a perplexity.

    >>> short_text(1.234), short_text(123456.0), short_text(float("inf"))
    ('1.23', '1.23e+05', '∞')
    """
    if math.isinf(value):
        return "∞"
    return f"{value:.2f}" if value < 10_000 else f"{value:.2e}"


def bits_text(bits: float) -> str:
    """A difference in bits, with its sign, in at most seven characters.

    >>> bits_text(0.0), bits_text(-1.234), bits_text(0.0123), bits_text(123.4), bits_text(float("inf"))
    ('0', '−1.23', '+0.012', '+123.4', '+∞')
    >>> bits_text(-0.00004), bits_text(float("nan"))
    ('−4e-05', '?')
    """
    size = abs(bits)
    if math.isnan(bits):
        return "?"
    if math.isinf(bits):
        text = "∞"
    elif size == 0:
        return "0"
    elif size >= 10_000 or size < 0.0005:
        text = f"{size:.0e}"
    else:
        text = f"{size:.3f}" if size < 0.0995 else f"{size:.2f}" if size < 99.995 else f"{size:.1f}"
    return ("+" if bits > 0 else "−") + text
