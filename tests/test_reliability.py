"""docs/reliability.md has a row for each long test there is, and says what the tests would write; what judges times."""

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


# --- what judges times has the marker `timed`, or is no part of the normal suite

CLOCKS = {"monotonic", "perf_counter", "time", "process_time", "thread_time", "monotonic_ns", "perf_counter_ns"}
OUT_OF_THE_SUITE = ("pytest.mark.timed", "pytest.mark.thorough", "pytest.mark.soak")


def took(node: ast.AST, durations: set[str]) -> bool:
    """Whether an expression has the difference of a clock's readings, or a name that stands for one."""
    parts = list(ast.walk(node))
    differences = [part for part in parts if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub)]
    return any(isinstance(part, ast.Name) and part.id in durations for part in parts) or any(
        isinstance(part, ast.Attribute) and ast.unparse(part.value) == "time" and part.attr in CLOCKS
        for difference in differences
        for part in ast.walk(difference)
    )


def assigned(target: ast.AST) -> list[str]:
    """The names that an assignment gives a value."""
    names = [part for part in ast.walk(target) if isinstance(part, ast.Name)]
    return [name.id for name in names if isinstance(name.ctx, ast.Store)]


def judged_times(function: ast.AST) -> list[int]:
    """The lines that compare a duration. A loop may have an end: it keeps a broken program from hanging for ever."""
    durations: set[str] = set()
    for node in [*ast.walk(function)] * 2:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value and took(node.value, durations):
                durations |= {name for target in targets for name in assigned(target)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            durations |= {ast.unparse(node.func.value)} if any(took(one, durations) for one in node.args) else set()
    ends = {part for node in ast.walk(function) if isinstance(node, ast.While) for part in ast.walk(node.test)}
    compared = [node for node in ast.walk(function) if isinstance(node, ast.Compare) and node not in ends]
    return [node.lineno for node in compared if took(node, durations)]


def functions(source: str) -> list[ast.FunctionDef]:
    """The functions of a file, with methods, that run in the normal suite."""
    tree = ast.parse(source)
    of_all = [node for node in tree.body if isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node)]
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and not any(mark in ast.unparse(one) for one in (*node.decorator_list, *of_all) for mark in OUT_OF_THE_SUITE)
    ]


def test_no_test_of_the_normal_suite_judges_a_time() -> None:
    """On a machine that does something else meanwhile it would fail."""
    found = {
        f"{path.relative_to(TESTS)}:{line} {function.name}"
        for path in TESTS.rglob("test_*.py")
        if "import time" in (source := path.read_text(encoding="utf-8"))
        for function in functions(source)
        for line in judged_times(function)
    }
    assert found == set()


@pytest.mark.parametrize(
    ("body", "judges"),
    [
        ("assert time.monotonic() - began < 2", True),
        ("took = time.perf_counter() - began\n    assert took < 2", True),
        ("took.append(time.process_time() - began)\n    least = min(took)\n    assert 0 < least < 2", True),
        ("fine = time.monotonic() - began < 2\n    assert fine", True),
        ("end = time.monotonic() + 60\n    assert time.monotonic() < end", False),
        ("while time.monotonic() - began < 60:\n        pass", False),
        ("assert reply.seconds > 0", False),
    ],
)
def test_what_judges_a_time_is_seen(body: str, judges: bool) -> None:
    source = f"def test_it():\n    began = time.monotonic()\n    {body}\n"
    assert any(map(judged_times, functions(source))) == judges
    assert not functions(f"@pytest.mark.timed\n{source}")
    assert not functions(f"pytestmark = [pytest.mark.timed]\n{source}")
