"""Fixtures shared by the tests: the real small model, loaded once."""

import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest
from hypothesis import settings

from tests import figures
from tests.figures import Figure
from tokex_gguf.models.discovery import bundled_model

if TYPE_CHECKING:  # pure tests run without llama.cpp and numpy
    from tokex_gguf.engine.worker.abort import Abort
    from tokex_gguf.engine.worker.evaluator import Evaluator
    from tokex_gguf.engine.worker.llama import Llama


class Found:
    """What the tests have found, wherever they ran."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}
        self.long: set[str] = set()
        """Tests that the page is about, as far as they ran."""
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for each report, also from another process."""
        if report.failed:  # also one without a figure: in its setup, or with the process that it ran in
            path, _, name = report.nodeid.partition("::")
            self.failed.add(f"{Path(path).name}::{name.partition('[')[0]}")
        for key, value in report.user_properties:
            if key != "figure" or report.when != "call":
                continue  # a test's later reports have its properties, too
            name, told, is_long = cast("tuple[str, dict[str, Any], bool]", value)
            self.figures.setdefault(name, Figure()).add(Figure.of(told))
            if is_long:
                self.long.add(name)


# Tests start hundreds of programs. Without bytecode each of them compiles all its modules first.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Random tests with examples of hypothesis; the long form is `--hypothesis-profile=long`.
settings.register_profile("normal", deadline=None, max_examples=40)
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile("normal")

FOUND = pytest.StashKey[Found]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-screens", action="store_true", help="write the screens in tests/ui/golden anew")
    parser.addoption("--reliability", action="store_true", help="write what the long tests find into its page in docs/")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite, and the long forms, take their turns on all cores; `-n 0` has them one by one."""
    one_of_them = hasattr(config, "workerinput")
    long = config.option.markexpr == "soak"
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    if (long or whole) and not one_of_them:
        if config.option.numprocesses is None:
            # One more than there are cores, as many wait for a program. Long ones look at memory and time.
            config.option.numprocesses = len(cores()) + (0 if long else 1)
        if config.option.maxschedchunk is None:
            config.option.maxschedchunk = 4  # few, as some take a hundred times as long as others


def cores() -> list[int]:
    """The processors that the tests may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


ALL = cores()


SLOW = ("program", "engine", "cli", "models")
"""Folders with tests that take seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that want all cores come first: later, each would wait for what the others have begun.

    Then those that take long: at the end, no core waits for another one.
    """
    items.sort(key=lambda item: (item.get_closest_marker("timed") is None, item.path.parent.name not in SLOW))


def pytest_collection_finish() -> None:
    """What is there now stays, and what tests leave waits for a while: to collect it took a seventh of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FOUND] = Found()
    config.pluginmanager.register(config.stash[FOUND])


@pytest.fixture
def figure() -> Figure:
    """For a test to say how much it tried and what it found."""
    return Figure()


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where tests run side by side, each has a core; one with the mark `timed` has them all, and nobody beside it."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None or sys.platform != "linux":
        yield
        return
    import fcntl

    timed = request.node.get_closest_marker("timed") is not None
    with (tmp_path_factory.getbasetemp().parent / "turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if timed else fcntl.LOCK_SH)
        os.sched_setaffinity(0, ALL if timed else [ALL[int(worker.removeprefix("gw")) % len(ALL)]])
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    found = getattr(item, "funcargs", {}).get("figure")
    if found is not None and call.when == "call":
        found.seconds = call.duration
        name = f"{item.path.name}::{item.originalname}"  # type: ignore[attr-defined]
        # A report comes from the process that ran the test to the one that tells.
        report.user_properties.append(("figure", (name, found.told(), item.get_closest_marker("soak") is not None)))
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode, config: pytest.Config
) -> None:
    found = config.stash[FOUND]
    if found.figures:
        terminalreporter.section("figures")
    for name, one in found.figures.items():
        row = one.row()
        terminalreporter.line(f"{name}: {row.tried}; seed {row.seed}; {row.found}; {row.seconds} s")
    if config.getoption("--reliability") and exitstatus != pytest.ExitCode.INTERRUPTED:
        rows = figures.read(figures.PAGE.read_text(encoding="utf-8")) if figures.PAGE.exists() else {}
        rows |= {name: found.figures[name].row() for name in found.long}
        rows = {name: row for name, row in rows.items() if name not in found.failed}
        figures.PAGE.write_text(figures.write(rows) + figures.foot(rows), encoding="utf-8")


@pytest.fixture(scope="session", autouse=True)
def forking() -> Iterator[None]:
    """Programs are forked, where they can be, from one process that has imported their modules."""
    if sys.platform != "linux":
        yield
        return
    from tests import fork_server

    with fork_server.serving():
        yield


@pytest.fixture(autouse=True)
def started_as_users_start_it(request: pytest.FixtureRequest) -> Iterator[None]:
    """Not so in tests with the mark `real_start`."""
    if sys.platform != "linux" or request.node.get_closest_marker("real_start") is None:
        yield
        return
    from tests import fork_server

    with fork_server.off():
        yield


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Logs and sessions of tests are not the user's."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What programs keep of prompts is each test's own: it is there at a second start, and in no other test."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.getbasetemp() / f"cache-{os.urandom(8).hex()}")
    yield
    if before is None:
        os.environ.pop("XDG_CACHE_HOME", None)
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The real SmolLM2-135M that the development dependencies bring."""
    path = bundled_model()
    assert path is not None, "install the dev group: it holds the model"
    keep_for_programs(path)
    return path


def keep_for_programs(model: Path) -> None:
    if sys.platform == "linux":
        from tests import fork_server

        fork_server.keep(model)


@pytest.fixture(scope="session")
def quantisations(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> tuple[Path, Path]:
    """The real one as Q8_0 and as Q2_K."""
    from llama_cpp import llama_cpp

    from tests.fresh import quantised

    kinds = {"Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "Q2_K": llama_cpp.LLAMA_FTYPE_MOSTLY_Q2_K}
    with made_once(tmp_path_factory, "quantisations") as folder:
        files = {folder / f"{name}.gguf": kind for name, kind in kinds.items()}
        for file, kind in files.items():
            if not file.exists():
                quantised(model_path, file, kind)
    one, other = files
    return one, other


@contextmanager
def made_once(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """A folder of all processes that run tests, for one of them at a time: the others find what it makes."""
    if os.environ.get("PYTEST_XDIST_WORKER") is None or sys.platform != "linux":
        yield tmp_path_factory.mktemp(name)
        return
    import fcntl

    folder = tmp_path_factory.getbasetemp().parent / name
    folder.mkdir(exist_ok=True)
    with (folder / "turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield folder


@pytest.fixture(scope="session")
def light_model(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> Path:
    """One with the real one's tokens that computes next to nothing, where what it says does not matter."""
    from tests import tiny_models

    path = tiny_models.light(tmp_path_factory.mktemp("light"), model_path)
    keep_for_programs(path)
    return path


@pytest.fixture
def light(light_model: Path, tmp_path: Path) -> str:
    """Its name in the test's own folder."""
    (tmp_path / "light.gguf").symlink_to(light_model)
    return "light.gguf"


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    """What a test opens of llama.cpp is closed with it; what fixtures of more tests opened is there before."""
    opened = sys.modules.get("tests.opened")  # pure tests run without llama.cpp
    before = opened.now() if opened else frozenset()
    yield
    if opened := sys.modules.get("tests.opened"):
        opened.close_all_but(before)


Loader: TypeAlias = "Callable[..., Llama]"


def _loader(path: Path) -> Loader:
    """Loads a model into a new context."""
    from tests.fresh import open_model

    def load_model(context: int = 0, abort: "Abort | None" = None) -> "Llama":
        return open_model(path, context, abort, threads=0)

    return load_model


@pytest.fixture
def load(model_path: Path) -> Loader:
    """Loads the real model into a new context, for as long as the test runs."""
    return _loader(model_path)


@pytest.fixture
def light_load(light_model: Path) -> Loader:
    """Loads a model with the real one's tokens into a new context: where only what is decoded counts."""
    return _loader(light_model)


@pytest.fixture(scope="session")
def llama(model_path: Path) -> "Llama":
    """A context of the real model that tests share."""
    return _loader(model_path)()


@pytest.fixture
def evaluator(llama: "Llama") -> "Evaluator":
    """An evaluator that knows of no cached path."""
    from tokex_gguf.engine.worker.evaluator import Evaluator

    for sequence in range(llama.sequences):
        llama.cut(sequence, 0)
    return Evaluator(llama)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each layout that the engine plays with."""
    from tests.tiny_models import MODELS

    folder = tmp_path_factory.mktemp("tiny")
    return {name: write(folder) for name, write in MODELS.items()}


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts that compute in float32, so that only wrong numbers differ by more than a little.

    Flash attention adds up in half precision, in the cells' order.
    """
    from llama_cpp import llama_cpp

    default = llama_cpp.llama_context_default_params

    def params() -> llama_cpp.llama_context_params:
        params: llama_cpp.llama_context_params = default()
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
        return params

    monkeypatch.setattr(llama_cpp, "llama_context_default_params", params)


@pytest.fixture
def no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is answered from logits that were kept: every answer is decoded."""
    from tokex_gguf.engine.worker import logits_cache

    monkeypatch.setattr(logits_cache, "MOST_ROWS", 0)
