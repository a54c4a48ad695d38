"""The text of a file that the player names, or why there is none."""

import argparse
import os
from pathlib import Path

import pytest

from tokex_gguf.cli.inputs import starting_text
from tokex_gguf.play.game import Game, Settings
from tokex_gguf.play.messages import ReadText, TextNotRead, TextRead
from tokex_gguf.play.session import Session
from tokex_gguf.shell.reading import MOST_BYTES, Unreadable, text_of_file
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.shell.starters import starters
from tokex_gguf.values.model_ref import GgufFile


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"a": 1}\n', '{"a": 1}\n'),
        (b"\xef\xbb\xbfa\r\nb\r\n", "a\nb\n"),
        ("é".encode("utf-16"), "é"),
    ],
)
def test_text_is_read(data: bytes, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b.json").write_bytes(data)
    assert text_of_file(str(tmp_path / "a b.json")) == text
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert text_of_file("~/a b.json") == text
    monkeypatch.chdir(tmp_path)
    assert text_of_file("a b.json") == text


def test_starters_are_read_as_files_of_the_command_line_are(tmp_path: Path) -> None:
    files = {
        "bom.txt": b"\xef\xbb\xbfHello\n",
        "crlf.txt": b"One\r\nTwo\r\n",
        "mixed.txt": b"One\r\nTwo\n\r\n",
        "utf-16.txt": "é\n".encode("utf-16"),
    }
    others = {
        "bytes.txt": b"\xff\xff\xff",
        "empty.txt": b"\r\n",
        "large.txt": b"a" * (MOST_BYTES + 1),
        "notes.md": b"a",
    }
    for name, data in (files | others).items():
        (tmp_path / name).write_bytes(data)
    listed = starters(tmp_path, "an example")
    assert [starter.text for starter in listed] == ["an example", "Hello", "One\nTwo", "One\r\nTwo\n", "é"]
    for starter, name in zip(listed[1:], files, strict=True):
        options = argparse.Namespace(
            input=str(tmp_path / name), file=None, prompt=None, json_schema=None, grammar=None, lark=None, unasked=False
        )
        assert starter.text == starting_text(options, "", screen=False).text


def test_what_has_no_text_says_why(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"a" * (MOST_BYTES + 1))
    (tmp_path / "bytes").write_bytes(b"\xff\xff\xff")
    (tmp_path / "zero").write_bytes(b"a\0b")
    told = {
        "none": "No such file",
        ".": "a folder",
        "large": "larger than 1 MiB",
        "bytes": "not UTF-8 at byte offset 0",
        "zero": "not text",
        "a" * 5000: "",
        "a\0b": "not a file's name",
    }
    for name, reason in told.items():
        with pytest.raises(Unreadable) as raised:
            text_of_file(f"{tmp_path}/{name}")
        assert reason.lower() in str(raised.value).lower() and "\n" not in str(raised.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="not a plain file"):
        text_of_file(str(tmp_path / "pipe"))


def test_it_is_read_beside_the_keys(tmp_path: Path) -> None:
    game = Runtime(Session(Game(Settings(text="hello", model=GgufFile("fake.gguf")))), folder=tmp_path)
    (tmp_path / "a.json").write_text("{}")
    for name, answer in {"a.json": TextRead, "b.json": TextNotRead}.items():
        game._carry_out([ReadText(str(tmp_path / name))])
        assert isinstance(game._inbox.get(timeout=30), answer)
