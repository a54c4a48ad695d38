"""docs/reference/supported-models.md says what is measured."""

from pathlib import Path

import pytest

from tests.models_table import PAGE, page


@pytest.mark.thorough
def test_the_table_of_models_is_true(tmp_path: Path, tiny: dict[str, Path]) -> None:
    assert page(tmp_path, tiny) == PAGE.read_text(encoding="utf-8")
