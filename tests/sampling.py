"""Many cases of one kind: some of them in the normal suite, all of them in the long one."""

from collections.abc import Iterable
from typing import Any

import pytest


def some(cases: Iterable[Any], of: int) -> list[Any]:
    """Every `of`-th case, from the first one on, for the normal suite; the others with the mark `soak`.

    A case is an argument, or a tuple of them.
    """
    every = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*case, marks=[pytest.mark.soak] if index % of else []) for index, case in enumerate(every)]
