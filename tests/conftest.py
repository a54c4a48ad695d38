"""Fixtures shared by the tests: the real small model, loaded once."""

import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from llama_cpp import llama_cpp

from tests import figures
from tests.figures import Figure
from tests.tiny_models import MODELS
from tokex_gguf.engine import rows
from tokex_gguf.engine.evaluation import Evaluator
from tokex_gguf.engine.llama import Llama
from tokex_gguf.models import bundled_model

FIGURES = pytest.StashKey[dict[str, Figure]]()
LONG = pytest.StashKey[set[str]]()
"""Tests that the page is about, as far as they ran."""
FAILED = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", action="store_true", help="write what the long tests find into its page in docs/")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = {}
    config.stash[LONG] = set()
    config.stash[FAILED] = set()


@pytest.fixture
def figure() -> Figure:
    """For a test to say how much it tried and what it found."""
    return Figure()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    found = getattr(item, "funcargs", {}).get("figure")
    if found is not None and call.when == "call":
        name = f"{item.path.name}::{item.originalname}"  # type: ignore[attr-defined]
        found.seconds = call.duration
        item.config.stash[FIGURES].setdefault(name, Figure()).add(found)
        if item.get_closest_marker("soak"):
            item.config.stash[LONG].add(name)
        if not report.passed:
            item.config.stash[FAILED].add(name)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found, failed = config.stash[FIGURES], config.stash[FAILED]
    if found:
        terminalreporter.section("figures")
    for name, one in found.items():
        row = one.row()
        terminalreporter.line(f"{name}: {row.tried}; seed {row.seed}; {row.found}; {row.seconds} s")
    if config.getoption("--reliability"):
        rows = figures.read(figures.PAGE.read_text(encoding="utf-8")) if figures.PAGE.exists() else {}
        rows |= {name: found[name].row() for name in config.stash[LONG]}
        rows = {name: row for name, row in rows.items() if name not in failed}
        figures.PAGE.write_text(figures.write(rows) + figures.foot(rows), encoding="utf-8")


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Logs and sessions of tests are not the user's."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The real SmolLM2-135M that the development dependencies bring."""
    path = bundled_model()
    assert path is not None, "install the dev group: it holds the model"
    return path


Loader = Callable[..., Llama]


@pytest.fixture(scope="session")
def load(model_path: Path) -> Loader:
    """Loads the real model into a new context."""

    def load_model(context: int = 0, should_stop: Callable[[], bool] = lambda: False) -> Llama:
        return Llama(model_path, context=context, threads=0, progress=lambda _: None, should_stop=should_stop)

    return load_model


@pytest.fixture(scope="session")
def llama(load: Loader) -> Llama:
    """A context of the real model that tests share."""
    return load()


@pytest.fixture
def evaluator(llama: Llama) -> Evaluator:
    """An evaluator that knows of no cached path."""
    for sequence in range(llama.sequences):
        llama.cut(sequence, 0)
    return Evaluator(llama)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each layout that the engine plays with."""
    folder = tmp_path_factory.mktemp("tiny")
    return {name: write(folder) for name, write in MODELS.items()}


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts that compute in float32, so that only wrong numbers differ by more than a little.

    Flash attention adds up in half precision, in the cells' order.
    """
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
    monkeypatch.setattr(rows, "BYTES", 0)
