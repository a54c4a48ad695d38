"""The worked example on a real llama-server, as on the same file here."""

import re
from pathlib import Path

import pytest

from tests.engine.test_served_llama import serving
from tests.program import test_play
from tests.terminal import Terminal


@pytest.mark.thorough
def test_the_worked_example_plays_on_a_llama_server(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "config.toml").write_text("[engine]\nlookahead = 0\n")
    with serving(model_path) as address:
        terminal = Terminal("--server", address, "--input", str(test_play.NATALIA))
        terminal.shows(r"tokens: 103 .* ready")
        assert re.search(r"⇄ 127\.0\.0\.1:\d+ · llama-server.* · top 100", terminal.text())
        terminal.shows(r"tokens: 103  logprob -\d+")  # it is walked to its end
        test_play.test_the_worked_example(terminal)
        terminal.child.close(force=True)
