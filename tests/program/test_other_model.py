"""The real program in a real pseudo-terminal: another model, and back."""

from pathlib import Path

import pytest

from tests.terminal import Terminal


def test_another_model_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: dict[str, Path]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.gguf").symlink_to(tiny["llama"])
    terminal = Terminal("--model", "bundled", "--prompt", "Once upon a time")
    terminal.shows(r"tokens: 4 .* ready")
    terminal.press("right")
    terminal.shows(r"tokens: 5 .* ready")
    terminal.press("o")
    terminal.shows(r"tiny\.gguf .*F32")
    terminal.press("up", "\r")
    terminal.shows("tiny llama .* F32")
    terminal.shows(" ready")
    assert "Once upon a time," in terminal.text()
    terminal.press("o")
    terminal.shows(r"bundled .*Q4_1")
    terminal.press("down", "\r")
    terminal.shows(r"(?s)Smollm2.*tokens: 5 .* ready")
    assert "known, 0 tokens" in terminal.text()
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
