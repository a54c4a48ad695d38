"""Two models over one text, without a terminal: real engines, and figures that are computed here once more.

The long form, with 500 tokens: `pytest -m soak tests/cli/test_versus_report.py`.
"""

import json
import math
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests import tiny_models
from tests.figures import Figure
from tests.sampling import few, some
from tokex_gguf import config
from tokex_gguf.cli import main, versus
from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.client import EngineClient
from tokex_gguf.engine.protocol import Against, EvaluateStrictly, Export, Load, MeasureNoise, Request, Tokenize
from tokex_gguf.models.preflight import prepare
from tokex_gguf.shell.rows import RowsFolder
from tokex_gguf.system import machine

TEXT = "once upon a time there was the cat, and one answer that it is to two in the one time\n" * 3
CHAT = "{% for one in messages %}<|im_start|>{{ one.role }}\n{{ one.content }}<|im_end|>\n{% endfor %}"
_RUN = "import sys; from tokex_gguf.__main__ import run; sys.exit(run())"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a folder of its own, with its own place for files of a moment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models with the same tokens and other weights."""
    folder = tmp_path_factory.mktemp("pair")
    written = []
    for name in ("first", "second"):
        file = tiny_models.qwen2(folder, name, change=lambda writer, seed=name: _stir(writer, seed))  # type: ignore[misc]
        written.append(file)
    return written[0], written[1]


def _stir(writer: Any, seed: str) -> None:
    """Other weights, by the name of the file, and how a chat's turns are written."""
    writer.add_chat_template(CHAT)
    random = np.random.default_rng(list(seed.encode()))
    for tensors in writer.tensors:
        for name, info in tensors.items():
            if name.startswith("blk"):
                info.tensor = (info.tensor + 0.1 * random.standard_normal(info.tensor.shape)).astype(np.float32)


@pytest.fixture
def prompt(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text(TEXT)
    return "text.txt"


def compared(capsys: pytest.CaptureFixture[str], *arguments: object, connect: Any = None) -> Any:
    """What the program prints as JSON."""
    assert main.main(["--no-config", "--json", *map(str, arguments)], connect) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def failed(
    capsys: pytest.CaptureFixture[str], code: int, *arguments: object, connect: Any = None, more: int = 0
) -> str:
    """The one line with which it fails, behind `more` lines that tell how it went before."""
    assert main.main(["--no-config", "--json", *map(str, arguments)], connect) == code
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 + more, told
    return told.err.splitlines()[-1].removeprefix("tokex-gguf: ")


def nothing_left(tmp_path: Path) -> None:
    left = [*(tmp_path / "tmp").iterdir(), *(config.state_folder() / "rows").glob("*")]
    assert not left, "rows of a model are left behind"


# --- the numbers


def test_a_file_against_itself_is_the_same_exactly(
    pair: tuple[Path, Path], prompt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = compared(capsys, "--model", pair[0], "--versus", pair[0], prompt)
    figures = told["versus"]
    assert [figures[name] for name in ("mean_kl_bits", "same_top", "delta_p_rms", "perplexity_ratio")] == [0, 1, 0, 1]
    assert figures["median_kl_bits"] == figures["p99_kl_bits"] == figures["kl_error_bits"] == figures["delta_bits"] == 0
    assert figures["noise_bits"] == 0 and figures["same_vocabulary"] is True
    first, *rest = told["tokens"]
    assert [first[name] for name in ("delta_bits", "kl_bits", "flip")] == [None] * 3
    assert {(one["delta_bits"], one["kl_bits"], one["flip"]) for one in rest} == {(0.0, 0.0, False)}
    assert (told["next"]["kl_bits"], told["next"]["flip"]) == (0.0, False)
    assert figures["tokens"] == len(rest) and figures["perplexity_a"] == figures["perplexity_b"]
    assert figures["perplexity_a"] == pytest.approx(told["perplexity"], rel=1e-9), (
        "the same answers, added up in two ways"
    )
    assert figures["bits_per_byte_a"] == figures["bits_per_byte_b"]
    nothing_left(tmp_path)


@pytest.mark.parametrize("name", some(sorted(tiny_models.MODELS), of=3))
def test_so_is_one_of_any_layout(
    name: str, tiny: dict[str, Path], prompt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = compared(capsys, "--model", tiny[name], "--versus", tiny[name], prompt)
    figures = told["versus"]
    assert [figures[name] for name in ("mean_kl_bits", "same_top", "delta_p_rms", "perplexity_ratio")] == [0, 1, 0, 1]
    assert {token["delta_bits"] for token in told["tokens"]} == {None, 0.0}


class _Naive(NamedTuple):
    """The figures of two models, from all of their logits."""

    a: Any
    """Log-probabilities in float64, shape (tokens, vocabulary)."""
    b: Any
    path: list[int]

    @classmethod
    def of(cls, one: Path, other: Path, path: list[int]) -> "_Naive":
        from tests.fresh import Fresh

        both = []
        for model in (one, other):
            repack = prepare(model, context=0, kv="f16").repack
            fresh = Fresh(model, size=40, cells=len(path) + 64, repack=repack)
            logits = fresh.logits(path)
            fresh.close()
            top = logits.max(axis=1, keepdims=True)
            both.append(logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))
        return cls(both[0], both[1], path)

    def check(self, told: Any) -> None:
        """Holds what was printed against the figures. Raises AssertionError."""
        kl = (np.exp(self.a) * (self.a - self.b)).sum(axis=1) / math.log(2)
        flips = self.a.argmax(axis=1) != self.b.argmax(axis=1)
        places, came = range(len(self.path) - 1), self.path[1:]
        came_a, came_b = self.a[places, came], self.b[places, came]
        figures = told["versus"]
        close: dict[str, Any] = {"rel": 1e-3, "abs": 1e-9}
        rms = np.sqrt(((np.exp(came_b) - np.exp(came_a)) ** 2).mean())
        assert figures["mean_kl_bits"] == pytest.approx(kl[:-1].mean(), **close)
        assert figures["median_kl_bits"] == pytest.approx(np.median(kl[:-1]), **close)
        assert figures["p99_kl_bits"] == pytest.approx(np.percentile(kl[:-1], 99), **close)
        assert figures["same_top"] == pytest.approx(1 - flips[:-1].mean(), **close)
        assert figures["delta_p_rms"] == pytest.approx(rms, **close)
        assert figures["perplexity_ratio"] == pytest.approx(np.exp((came_a - came_b).mean()), **close)
        assert figures["perplexity_a"] == pytest.approx(np.exp(-came_a.mean()), **close)
        assert figures["perplexity_b"] == pytest.approx(np.exp(-came_b.mean()), **close)
        assert figures["tokens"] == len(came)
        tokens = told["tokens"][1:]
        assert [token["flip"] for token in tokens] == flips[:-1].tolist()
        assert [token["kl_bits"] for token in tokens] == pytest.approx(kl[:-1].tolist(), rel=1e-3, abs=1e-5)
        deltas = ((came_a - came_b) / math.log(2)).tolist()
        assert [token["delta_bits"] for token in tokens] == pytest.approx(deltas, rel=1e-3, abs=1e-4)
        assert [token["logprob"] for token in tokens] == pytest.approx(came_a.tolist(), rel=1e-3, abs=1e-4)
        entropies = (-(np.exp(self.a) * self.a).sum(axis=1) / math.log(2)).tolist()
        assert [token["entropy_bits"] for token in tokens] == pytest.approx(entropies[:-1], rel=1e-3, abs=1e-4)
        assert told["next"]["kl_bits"] == pytest.approx(kl[-1], rel=1e-3, abs=1e-5)
        assert told["next"]["flip"] == flips[-1]
        assert told["next"]["entropy_bits"] == pytest.approx(entropies[-1], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("text", ["a time", TEXT, TEXT * 3], ids=["few", "some", "many"])
def test_two_models_differ_by_what_their_logits_say(
    text: str, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], figure: Figure
) -> None:
    (tmp_path / "text.txt").write_text(text)
    told = compared(capsys, "--model", pair[0], "--versus", pair[1], "text.txt")
    figure(told["versus"]["tokens"], "tokens compared with two models, and all their logits in float64")
    path = [token["id"] for token in told["tokens"]]
    _Naive.of(*pair, path).check(told)
    assert told["versus"]["mean_kl_bits"] > 0.1, "the two say something else"
    nothing_left(tmp_path)


def _real_text(count: int) -> str:
    """English text of about so many tokens."""
    return (ROOT / "docs" / "explanation" / "numbers.md").read_text(encoding="utf-8")[: 4 * count]


@pytest.mark.thorough
def test_a_quantisation_costs_what_the_logits_say(
    quantisations: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], figure: Figure
) -> None:
    _tell(figure, _against_the_logits(quantisations, _real_text(60), tmp_path, capsys))


@pytest.mark.soak
def test_a_quantisation_costs_what_the_logits_say_over_500_tokens(
    quantisations: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], figure: Figure
) -> None:
    _tell(figure, _against_the_logits(quantisations, _real_text(500), tmp_path, capsys))


def _tell(figure: Figure, told: Any) -> None:
    numbers = {name: round(told["versus"][name], 4) for name in ("mean_kl_bits", "same_top")}
    what = "tokens compared with two quantisations, and all their logits in float64"
    figure(told["versus"]["tokens"], what, **numbers)


def _against_the_logits(
    quantisations: tuple[Path, Path], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Any:
    (tmp_path / "text.txt").write_text(text)
    told = compared(capsys, "--threads", 1, "--model", quantisations[0], "--versus", quantisations[1], "text.txt")
    _Naive.of(*quantisations, [token["id"] for token in told["tokens"]]).check(told)
    assert 0.3 < told["versus"]["mean_kl_bits"] < 2 and 1 < told["versus"]["perplexity_ratio"] < 3
    return told


def test_a_prompt_of_one_token_has_no_figures(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    told = compared(capsys, "--model", pair[0], "--versus", pair[1], "--prompt", "a")
    assert len(told["tokens"]) == 1 and told["versus"]["tokens"] is None and told["versus"]["mean_kl_bits"] is None
    assert told["next"]["kl_bits"] > 0
    assert (
        main.main(["--no-config", "--plain", "--model", str(pair[0]), "--versus", str(pair[1]), "--prompt", "a"]) == 0
    )
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "no part of the text was predicted by both models: give a longer one"


def test_the_numbers_do_not_depend_on_who_is_first(
    pair: tuple[Path, Path], prompt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    here = compared(capsys, "--model", pair[0], "--versus", pair[1], prompt)
    back = compared(capsys, "--model", pair[1], "--versus", pair[0], prompt)
    for one, other in zip(here["tokens"][1:], back["tokens"][1:], strict=True):
        assert one["delta_bits"] == -other["delta_bits"] and one["flip"] == other["flip"]
    for name in ("perplexity", "bits_per_byte", "bits_per_word"):
        assert here["versus"][f"{name}_a"] == back["versus"][f"{name}_b"]


def test_a_model_says_the_same_alone_and_beside_another(
    pair: tuple[Path, Path], prompt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = compared(capsys, "--model", pair[0], prompt)
    beside = compared(capsys, "--model", pair[0], "--versus", pair[1], prompt)
    assert "versus" not in alone and not {"delta_bits", "kl_bits", "flip"} & {*alone["tokens"][1], *alone["next"]}
    for one, other in zip(alone["tokens"][1:], beside["tokens"][1:], strict=True):
        assert list(other)[: len(one)] == list(one)
        assert other["logprob"] == pytest.approx(one["logprob"], abs=1e-4)
    assert list(beside) == [*list(alone)[:-1], "versus", "notices"]


def test_a_chat_of_one_vocabulary_is_compared(
    pair: tuple[Path, Path], tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    messages = json.dumps([{"role": "user", "content": "a time"}, {"role": "assistant", "content": "is it"}])
    chat = ("--chat", "--prompt", messages)
    told = compared(capsys, "--model", pair[0], "--versus", pair[1], *chat)
    assert told["versus"]["mean_kl_bits"] > 0 and told["assistant"]["tokens"] > 0
    assert [token["assistant"] for token in told["tokens"]].count(True) == told["assistant"]["tokens"]
    assert told["versus"]["bytes"] == sum(len(token["bytes"]) for token in told["tokens"][1:])
    refused = failed(capsys, 2, "--model", pair[0], "--versus", tiny["llama"], *chat)
    assert refused.startswith("--chat --versus: llama.gguf") and "leave --chat out" in refused


# --- other vocabularies


def test_other_tokens_are_compared_by_their_bytes(
    pair: tuple[Path, Path], tiny: dict[str, Path], prompt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = compared(capsys, "--model", pair[0], "--versus", tiny["llama"], prompt)
    alone = compared(capsys, "--model", tiny["llama"], prompt)
    figures = told["versus"]
    assert figures["same_vocabulary"] is False
    for name in ("tokens", "mean_kl_bits", "same_top", "delta_p_rms", "perplexity_ratio", "delta_bits", "noise_bits"):
        assert figures[name] is None, name
    assert figures["perplexity_a"] == pytest.approx(told["perplexity"], rel=1e-9)
    assert figures["perplexity_b"] == pytest.approx(alone["perplexity"], rel=1e-4)

    def bits(token: Any) -> float:
        return float(-token["logprob"] / math.log(2))

    # A has not predicted its first token, and the others are all of the text behind it.
    text = TEXT.removesuffix("\n").encode()
    first = told["tokens"][1]["offset"]
    assert figures["bytes"] == len(text) - first and figures["words"] == len(text.split()) - 1
    own = sum(bits(token) for token in told["tokens"][1:])
    others = sum(bits(token) for token in alone["tokens"] if token["logprob"] and token["offset"] >= first)
    assert figures["bits_per_byte_a"] == pytest.approx(own / figures["bytes"], rel=1e-4)
    assert figures["bits_per_byte_b"] == pytest.approx(others / figures["bytes"], rel=1e-4)
    assert figures["bits_per_word_b"] == pytest.approx(others / figures["words"], rel=1e-4)

    theirs = {(one["offset"], end): one for one, end in _with_ends(alone["tokens"], len(text))}
    shared = 0
    for token, end in _with_ends(told["tokens"], len(text)):
        assert token["kl_bits"] is None and token["flip"] is None
        other = theirs.get((token["offset"], end))
        if other and token["logprob"] is not None:
            assert token["delta_bits"] == pytest.approx(bits(other) - bits(token), abs=1e-4)
            shared += 1
    assert shared > 5
    nothing_left(tmp_path)


def _with_ends(tokens: Any, end: int) -> list[tuple[Any, int]]:
    return list(zip(tokens, [*(token["offset"] for token in tokens[1:]), end], strict=True))


# --- as text


def test_the_figures_are_told_in_llama_perplexitys_words(
    pair: tuple[Path, Path], tiny: dict[str, Path], prompt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = compared(capsys, "--model", pair[0], "--versus", pair[1], prompt)["versus"]
    arguments = ["--no-config", "--plain", "--model", str(pair[0]), prompt]
    assert main.main([*arguments, "--versus", str(pair[1])]) == 0
    out = capsys.readouterr().out
    assert "Δ bits" in out and "  flip" in out
    assert f"Mean PPL(Q)/PPL(base): {figures['perplexity_ratio']:.6f}" in out
    assert f"Mean    KLD: {figures['mean_kl_bits']:.6f} ± {figures['kl_error_bits']:.6f} bits" in out
    assert f"Same top p:  {100 * figures['same_top']:.3f} %" in out
    assert f"RMS Δp:      {100 * figures['delta_p_rms']:.3f} %" in out
    assert main.main([*arguments, "--versus", str(tiny["llama"])]) == 0
    out = capsys.readouterr().out
    assert "the vocabularies differ" in out and "bits per byte: " in out and "KLD" not in out.split("versus:")[1]
    assert main.main(arguments) == 0
    assert "Δ bits" not in capsys.readouterr().out


# --- one after the other


def _scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much memory as one of the models takes, and a little more."""

    def memory() -> tuple[int, int]:
        return 130_000_000, 16_000_000_000

    monkeypatch.setattr(machine, "memory", memory)


class Watched:
    """Engines of this machine, with a record of who began and ended when; one of them is killed at a request."""

    def __init__(self, at: type[Request] | None = None, model: Path | None = None) -> None:
        self.at, self.model = at, model
        self.living: list[_Watched] = []
        self.most = 0
        self.order: list[str] = []

    def __call__(self, deliver: Callable[[Delivery], None]) -> "_Watched":
        return _Watched(self, deliver)


class _Watched:
    def __init__(self, all_of_them: Watched, deliver: Callable[[Delivery], None]) -> None:
        self._all = all_of_them
        self._engine = EngineClient(deliver)
        self.name = ""
        self._all.living.append(self)
        self._all.most = max(self._all.most, len(self._all.living))

    @property
    def pid(self) -> int:
        return self._engine.pid

    def send(self, request: Request) -> None:
        if isinstance(request, Load):
            self.name = Path(request.path).name
            self._all.order.append(self.name)
        self._engine.send(request)
        if self._all.at and isinstance(request, self._all.at) and self._all.model and self.name == self._all.model.name:
            os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def close(self) -> None:
        self._engine.close()
        if self in self._all.living:
            self._all.living.remove(self)


@pytest.mark.thorough
def test_where_memory_is_short_they_run_one_after_the_other(
    pair: tuple[Path, Path],
    tiny: dict[str, Path],
    prompt: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engines = Watched()
    arguments = ("--model", pair[0], "--versus", pair[1], prompt)
    at_once = compared(capsys, *arguments, connect=engines)
    assert engines.most == 2 and engines.order == ["first.gguf", "second.gguf"]
    _scarce(monkeypatch)
    engines = Watched()
    assert main.main(["--no-config", "--json", *map(str, arguments)], engines) == 0
    told = capsys.readouterr()
    assert engines.most == 1 and engines.order == ["first.gguf", "second.gguf", "first.gguf"] and not engines.living
    assert json.loads(told.out) == at_once
    first, second = told.err.splitlines()
    assert first == ("tokex-gguf: memory has no room for both models at once: second.gguf runs after the other one")
    assert second.startswith("tokex-gguf: its numbers take ") and str(config.state_folder()) in second
    nothing_left(tmp_path)
    engines = Watched()
    assert compared(capsys, "--model", pair[0], "--versus", tiny["llama"], prompt, connect=engines)["versus"]["bytes"]
    assert engines.most == 1 and engines.order == ["first.gguf", "llama.gguf"], (
        "the second time there is nothing to ask"
    )


def test_a_disk_without_room_is_told_with_the_sizes(
    pair: tuple[Path, Path],
    prompt: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _scarce(monkeypatch)
    usage = shutil.disk_usage(tmp_path)._replace(free=versus.FREE_DISK + 10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    line = failed(capsys, 1, "--model", pair[0], "--versus", pair[1], prompt, more=1)
    assert line.startswith("second.gguf: its numbers take ") and line.endswith(": take a shorter text")
    assert "0 MB" in line
    nothing_left(tmp_path)


def test_what_a_killed_program_left_is_removed_and_what_another_one_uses_stays(
    pair: tuple[Path, Path], prompt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    used = RowsFolder(config.state_folder() / "rows")
    theirs = used.file()
    left = config.state_folder() / "rows" / "left"
    left.mkdir()
    (left / "0").write_bytes(b"rows")
    left.with_suffix(".lock").touch()
    compared(capsys, "--model", pair[0], "--versus", pair[1], prompt)
    assert not left.exists() and theirs.exists()
    used.close()


# --- what goes wrong


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("turn", few(["at once", "in turn"], of=2))
@pytest.mark.parametrize("at", [Load, MeasureNoise, Export])
def test_a_second_engine_that_dies_is_one_line(
    at: type[Request],
    turn: str,
    pair: tuple[Path, Path],
    prompt: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if turn == "in turn":
        _scarce(monkeypatch)
    engines = Watched(at, pair[1])
    told = 0 if turn == "at once" else 1 if at is Load else 2
    line = failed(capsys, 1, "--model", pair[0], "--versus", pair[1], prompt, connect=engines, more=told)
    assert line == "second.gguf: the engine stopped (SIGKILL)"
    assert not engines.living
    nothing_left(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("at", [Tokenize, EvaluateStrictly])
def test_so_is_one_with_other_tokens(
    at: type[Request],
    pair: tuple[Path, Path],
    tiny: dict[str, Path],
    prompt: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engines = Watched(at, tiny["llama"])
    line = failed(capsys, 1, "--model", pair[0], "--versus", tiny["llama"], prompt, connect=engines)
    assert line == "llama.gguf: the engine stopped (SIGKILL)" and not engines.living
    nothing_left(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("turn", few(["at once", "in turn"], of=2))
@pytest.mark.parametrize("at", [MeasureNoise, Against])
def test_so_is_the_first_one(
    at: type[Request],
    turn: str,
    pair: tuple[Path, Path],
    prompt: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if turn == "in turn":
        _scarce(monkeypatch)
    engines = Watched(at, pair[0])
    arguments = ("--model", pair[0], "--versus", pair[1], prompt)
    line = failed(capsys, 1, *arguments, connect=engines, more=0 if turn == "at once" else 2)
    assert line == ("the engine stopped (SIGKILL)" if turn == "at once" else "first.gguf: the engine stopped (SIGKILL)")
    assert not engines.living
    nothing_left(tmp_path)


def test_an_engine_that_cannot_be_started_is_one_line(
    pair: tuple[Path, Path], prompt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made: queue.SimpleQueue[int] = queue.SimpleQueue()

    def connect(deliver: Callable[[Delivery], None]) -> EngineClient:
        made.put(1)
        if made.qsize() > 1:
            raise OSError(11, "Resource temporarily unavailable")
        return EngineClient(deliver)

    line = failed(capsys, 1, "--model", pair[0], "--versus", pair[1], prompt, connect=connect)
    assert line.startswith("second.gguf: the limit of processes and threads is too low")
    nothing_left(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ended_in_the_middle_nothing_is_left(
    pair: tuple[Path, Path], prompt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(Watched):
        def __call__(self, deliver: Callable[[Delivery], None]) -> "_Watched":
            one = super().__call__(deliver)
            send = one.send

            def interrupted(request: Request) -> None:
                send(request)
                if isinstance(request, Export):
                    raise KeyboardInterrupt

            one.send = interrupted  # type: ignore[method-assign]
            return one

    engines = Interrupted()
    line = failed(capsys, 130, "--model", pair[0], "--versus", pair[1], prompt, connect=engines)
    assert line == "interrupted" and not engines.living
    nothing_left(tmp_path)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", few([signal.SIGTERM, signal.SIGINT], of=2))
def test_a_signal_leaves_nothing_behind(number: int, light_model: Path, tmp_path: Path) -> None:
    text = _real_text(2000)
    arguments = ["--no-config", "--json", "--model", str(light_model), "--versus", str(light_model), "--prompt", text]
    # What is ignored where the tests run would be ignored by the program, too.
    command = [sys.executable, "-c", f"import signal; signal.signal({int(number)}, signal.default_int_handler)\n{_RUN}"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen([*command, *arguments], env=environment, stderr=subprocess.PIPE) as program:
        while not list((config.state_folder() / "rows").glob("*/*")):  # until rows are on their way
            assert program.poll() is None
            time.sleep(0.01)
        program.send_signal(number)
        _, told = program.communicate(timeout=60)
    assert program.returncode == 128 + number
    assert told == b"tokex-gguf: interrupted\n"
    nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--versus", "none.gguf"), "none.gguf: no such file"),
        (("--versus", ""), ""),
        (("--versus", "broken.gguf"), "broken.gguf"),
        (("--versus", "encoder.gguf"), "encoder.gguf"),
        (("--versus", "."), "a folder"),
        (("--versus", "a.gguf", "--versus", "b.gguf"), "given twice"),
        (("--versus", "ok.gguf", "--temp", "0.5"), "before any sampler or constraint"),
        (("--versus", "ok.gguf", "--regex", "a"), "before any sampler or constraint"),
        (("--versus", "ok.gguf", "--server", "http://127.0.0.1:9"), "models on this machine"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    arguments: tuple[str, ...],
    expected: str,
    pair: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny_models.encoder(tmp_path)
    (tmp_path / "ok.gguf").write_bytes(pair[0].read_bytes())
    (tmp_path / "broken.gguf").write_bytes(pair[0].read_bytes()[:2000])
    model = () if "--server" in arguments else ("--model", pair[0])
    assert expected in failed(capsys, 2, *model, "--prompt", "a time", *arguments)


def test_samples_are_one_models(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--no-config", "--draw", "2", "--model", str(pair[0]), "--versus", str(pair[1]), "--prompt", "a"]
    assert main.main(arguments) == 2
    assert capsys.readouterr().err == "tokex-gguf: --draw: samples are one model's: leave --versus out\n"


def test_a_text_too_long_for_the_second_model_is_told_with_the_numbers(
    pair: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tiny_models, "TRAINED", 32)
    short = tiny_models.qwen2(tmp_path, "short")
    line = failed(capsys, 2, "--model", pair[0], "--versus", short, "--prompt", TEXT * 6)
    assert line.startswith("short.gguf: context full (")
    nothing_left(tmp_path)
