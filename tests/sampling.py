"""Many cases of one kind: some of them in the normal suite, all of them in a longer one."""

from collections.abc import Iterable
from typing import Any

import pytest


def few(cases: Iterable[Any], of: int) -> list[Any]:
    """Every `of`-th case, from the first one on, for the normal suite; the others with the mark `thorough`.

    A case is an argument, or a tuple of them.
    """
    return _parted(cases, of, pytest.mark.thorough)


def some(cases: Iterable[Any], of: int) -> list[Any]:
    """The same, the others with the mark `soak`."""
    return _parted(cases, of, pytest.mark.soak)


def _parted(cases: Iterable[Any], of: int, mark: pytest.MarkDecorator) -> list[Any]:
    every = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*case, marks=[mark] if index % of else []) for index, case in enumerate(every)]
