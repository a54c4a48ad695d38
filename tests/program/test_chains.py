"""The real program with a sampler chain from the command line: what is drawn, and what a session keeps of it."""

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import run
from tests.terminal import Terminal
from tokex_gguf.play.game import Settings
from tokex_gguf.play.session import Session
from tokex_gguf.sessions import codec
from tokex_gguf.values.model_ref import GgufFile

ARGUMENTS = ("--model", "bundled", "--prompt", "Once upon a time", "--temp", "1.5", "--seed", "7")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def kept(folder: Path) -> Session:
    """The one session that was kept."""
    (path,) = (
        path
        for path in (folder / "state" / "tokex-gguf" / "sessions").glob("*.json")
        if not path.name.endswith(".1.json")
    )
    return codec.load(path.read_bytes(), Settings("", GgufFile("")))


def test_rolls_are_what_the_seed_says_also_after_a_restart(tmp_path: Path) -> None:
    terminal = Terminal(*ARGUMENTS)
    terminal.shows(r"tokens: 4 .* ready")
    for count in (5, 6):
        terminal.press("R")
        terminal.shows(rf"tokens: {count} .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    game = kept(tmp_path).game
    assert game.sampling.seed == 7 and game.sampling.chain.short == "top-k 40 · top-p 0.95 · min-p 0.05 · T 1.5"
    done = run(*ARGUMENTS, "--draw", "1", "-n", "2")
    assert done.returncode == 0
    assert game.prompt.tip.path()[4:] == json.loads(done.stdout)["tokens"], "what is drawn without the screen"

    again = Terminal("--resume", "--top-k", "3")
    again.shows(r"tokens: 6 .* ready")
    again.press("R")
    again.shows(r"tokens: 7 .* ready")
    again.press("ctrl-q")
    assert again.ends() == 0
    game = kept(tmp_path).game
    assert game.sampling.seed == 7 and game.sampling.chain.short == "top-k 3 · top-p 0.95 · min-p 0.05 · T 0.8"
    assert len(game.known.rolls) == 3
