"""Words of commands, as shells take them."""

import shlex
import subprocess
import sys

import pytest

from tokex_gguf.system.words import shell_word


@pytest.mark.parametrize("text", ["mine", "my own", "it's", "$HOME", "a;b", ""])
def test_a_posix_shell_reads_the_word(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert shlex.split(shell_word(text)) == [text]


@pytest.mark.parametrize("text", ["mine", "my own", r"C:\models\a b.gguf", r"C:\models\a.gguf"])
def test_windows_reads_the_word(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert shell_word(text) == subprocess.list2cmdline([text])
