"""docs/reliability.md has a row for each long test there is, and says what the tests would write."""

import ast
from pathlib import Path

import pytest

from tests import figures
from tests.conftest import Found
from tests.figures import Figure, long_tests

TESTS = Path(__file__).parent


def page() -> str:
    return figures.PAGE.read_text(encoding="utf-8")


def test_every_long_test_has_a_row_and_every_row_a_test() -> None:
    rows, absent = set(figures.read(page())), figures.absent(page())
    assert rows | absent == set(long_tests()) and not rows & absent, "uv run pytest -m soak --reliability"


def test_every_long_test_tells_what_it_found() -> None:
    assert [name for name, arguments in long_tests().items() if "figure" not in arguments] == []


def test_every_suite_has_a_promise_and_every_promise_a_suite() -> None:
    assert {name.partition(".py::")[0] for name in long_tests()} == set(figures.PROMISES)


def test_the_rest_of_the_page_is_as_it_would_be_written() -> None:
    rows = figures.read(page())
    text, _, machine = page().rpartition("\nAll of this took ")
    assert text == figures.write(rows) + figures.foot(rows).rpartition("\nAll of this took ")[0]
    assert machine.endswith(").\n")


def test_nothing_was_found_without_a_try() -> None:
    assert [row.tried for row in figures.read(page()).values() if row.tried.startswith("0 ")] == []


def test_rows_are_read_back() -> None:
    one, other = Figure(), Figure()
    one(1000, "kills", seed=1, unfinished_files=3)
    other(500, "kills", seed=1, unfinished_files=7)
    one.seconds, other.seconds = 3.0, 4.4
    one.add(other)
    rows = {"test_keep.py::test_killed": one.row(), "test_leaks.py::test_leaks": other.row()}
    assert rows["test_keep.py::test_killed"] == ("1,500 kills", "1", "unfinished files 7", "7")
    assert figures.read(figures.write(rows) + figures.foot(rows)) == rows


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_one_part_that_is_lost_costs_the_whole_row(when: str) -> None:
    found = Found()
    place = ("tests/sessions/test_keep.py", 1, "test_killed[3]")
    found.pytest_runtest_logreport(
        pytest.TestReport("tests/sessions/test_keep.py::test_killed[3]", place, {}, "failed", None, when)  # type: ignore[arg-type]
    )
    assert found.failed == {"test_keep.py::test_killed"}


@pytest.mark.parametrize("name", figures.PROMISES)
def test_short_forms_run_in_the_normal_suite(name: str) -> None:
    (path,) = TESTS.rglob(f"{name}.py")
    source = ast.parse(path.read_text(encoding="utf-8"))
    short = [
        node.name
        for node in source.body
        if isinstance(node, ast.FunctionDef)
        and "figure" in [argument.arg for argument in node.args.args]
        and node.name.startswith("test_")
        and not {"pytest.mark.soak", "pytest.mark.thorough"} & {*map(ast.unparse, node.decorator_list)}
    ]
    assert short, "its short form, which tells its figure as well"
