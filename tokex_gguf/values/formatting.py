"""Sizes and errors in words. Pure."""

import errno
import math


def size_of(count: float) -> str:
    """Bytes for people.

    >>> size_of(397_808_192), size_of(1_234_567_890_123)
    ('398 MB', '1,234.6 GB')
    """
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def reason(error: Exception) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return short(lines[0] if lines else type(error).__name__)


def system_reason(error: OSError) -> str:
    """Why the system refused something; where a limit is the cause, what to do about it.

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
    """What is added to a token's logit, as the table tells it; empty for nothing.

    >>> bias_text(2), bias_text(-0.5), bias_text(-math.inf), bias_text(0)
    ('+2', '-0.5', 'banned', '')
    """
    return "" if not amount else "banned" if amount == -math.inf else f"{amount:+g}"
