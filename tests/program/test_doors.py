"""Nothing from outside is obeyed by a terminal: strings of every source but this program, looked at in raw bytes."""

import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.models.test_header import string, with_keys
from tests.sampling import some
from tests.terminal import Terminal

WILD = "w\x1b[2J\x1b]0;t\x07\x9b31m\x0e\nx\u202ey\u2066z\x7f\x85"
"""ESC, an OSC with BEL, CSI as one character, SO, a new line, marks that turn the direction, DEL, NEL."""
NAME = WILD.replace("/", "")
REFUSING = "{{ raise_exception(messages[0].content) }}"

Way = tuple[tuple[str, ...], Mapping[str, str]]


def _model(folder: Path, tiny: Path, template: str = REFUSING) -> Path:
    path = folder / f"{NAME}.gguf"
    keys = {b"general.description": string(WILD), b"tokenizer.chat_template": string(template)}
    path.write_bytes(with_keys(tiny.read_bytes(), keys))
    return path


def _file(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def _sessions(folder: Path, _: Path) -> Way:
    for suffix in (".json", ".tokex", ""):
        _file(folder / "state" / "tokex-gguf" / "sessions" / f"{NAME}{suffix}", json.dumps({"name": WILD}))
    return ("sessions",), {"XDG_STATE_HOME": str(folder / "state")}


WAYS: dict[str, Callable[[Path, Path], Way]] = {
    "help": lambda folder, _: (("--help",), {"XDG_CONFIG_HOME": str(folder / NAME), "COLUMNS": "4000"}),
    "argument": lambda _, __: ((f"--{WILD}",), {}),
    "value": lambda _, __: (("--context", WILD), {}),
    "choice": lambda _, __: (("--kv", WILD), {}),
    "command's argument": lambda _, __: (("doctor", WILD), {}),
    "input": lambda folder, _: ((str(folder / NAME),), {}),
    "log": lambda folder, _: (("--log", _file(folder / NAME, "") + "/x", "--kv", "x"), {}),
    "session": lambda _, __: (("--session", WILD), {}),
    "sessions": _sessions,
    "sessions rm": lambda _, __: (("sessions", "rm", WILD), {}),
    "sessions rename": lambda _, __: (("sessions", "rename", WILD, WILD), {}),
    "model": lambda _, __: (("--no-config", "--model", WILD, "--json"), {}),
    "model's path": lambda folder, _: (("--no-config", "--model", str(folder / NAME / "x.gguf"), "--json"), {}),
    "no model": lambda folder, _: (("--no-config", "--json", "--model", _file(folder / f"{NAME}.gguf", "x")), {}),
    "pull": lambda folder, tiny: (("pull", str(_model(folder, tiny))), {}),
    "pull from nowhere": lambda _, __: (
        ("pull", f"a/b:{WILD}"),
        {"HF_ENDPOINT": f"http://127.0.0.1:9/{WILD}", "HF_HOME": "/nowhere"},
    ),
    "models": lambda folder, tiny: (("models",), {"LLAMA_CACHE": str(_model(folder, tiny).parent)}),
    "models as JSON": lambda folder, tiny: (
        ("models", "--json"),
        {"LLAMA_CACHE": str(_model(folder, tiny).parent)},
    ),
    "doctor": lambda folder, tiny: (
        ("doctor", "--model", str(_model(folder, tiny))),
        {"TERM": WILD, "LLAMA_CACHE": str(folder), "XDG_STATE_HOME": str(folder / NAME), "HF_HOME": str(folder / NAME)},
    ),
    "template": lambda folder, tiny: (
        ("--no-config", "--model", str(_model(folder, tiny)), "--chat", "--prompt", WILD, "--plain"),
        {},
    ),
    "key": lambda folder, _: (("--config", _file(folder / NAME, '[model]\n"w\\u001b[2J\\u009b" = 1\n')), {}),
    "configured": lambda folder, _: (
        ("--config", _file(folder / NAME, '[display]\ntheme = "w\\u001b[2J\\u009b\\u202e"\n')),
        {},
    ),
    "configured model": lambda folder, _: (
        ("--config", _file(folder / NAME, '[model]\nname = "w\\u001b[2J\\u009b\\u202e"\n'), "--json"),
        {},
    ),
    "no TOML": lambda folder, _: (("--config", _file(folder / NAME, WILD)), {}),
}


def obeyed(raw: bytes) -> list[str]:
    """What a terminal would obey, or show elsewhere, in what was written line by line."""
    text = raw.decode(errors="backslashreplace").replace("\r\n", "\n")
    return [char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")]


@pytest.mark.parametrize("name", some(WAYS, of=4))
def test_no_string_from_outside_is_obeyed(name: str, tmp_path: Path, tiny: dict[str, Path]) -> None:
    arguments, variables = WAYS[name](tmp_path, tiny["qwen2"])
    environment: dict[str, Any] = {"XDG_STATE_HOME": str(tmp_path), "HF_HUB_OFFLINE": "", **variables}
    terminal = Terminal(*arguments, **environment)
    terminal.ends()
    assert terminal.raw and not obeyed(terminal.raw), terminal.raw
    assert b"Traceback" not in terminal.raw and b"internal error" not in terminal.raw, terminal.raw
    for log in tmp_path.rglob("tokex-gguf.log"):
        assert not obeyed(log.read_bytes()), log.read_bytes()


def test_nothing_on_the_screen_is_obeyed(
    tmp_path: Path, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a model, a text, an editor, and the texts to start with."""
    monkeypatch.chdir(tmp_path)
    model = _model(tmp_path, tiny["qwen2"], "{{ messages[0].content }}")
    _file(tmp_path / "prompts" / f"{NAME}.txt", WILD)
    variables: dict[str, Any] = {
        "LLAMA_CACHE": str(tmp_path),
        "EDITOR": f"/none/{NAME}",
        "VISUAL": "",
        "XDG_STATE_HOME": str(tmp_path),
    }
    terminal = Terminal("--no-config", "--model", str(model), "--chat", "--prompt", WILD, **variables)
    terminal.shows(r"tokens: \d+ .* ready")
    assert "w␛[2J" in terminal.text()
    terminal.press("ctrl-e")
    terminal.shows("none")
    terminal.press("l")
    terminal.shows("w␛")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    for evil in ("\x1b]0;t", "\x9b", "\x0e", "\u202e", "\u2066", "\x85", "w\x1b[2J", "\x07"):
        assert evil.encode() not in terminal.raw, evil


def test_warnings_of_libraries_are_for_the_log(tmp_path: Path) -> None:
    script = (
        "import sys, warnings\nfrom tokex_gguf.cli import main as cli\n"
        f"cli._run = lambda *_: warnings.warn({WILD!r}) or 0\nsys.exit(cli.main(['--log', 'log']))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 0)
    log = (tmp_path / "log").read_bytes()
    assert b"WARNING" in log and not obeyed(log)


def test_what_ends_the_engine_is_logged_without_its_words() -> None:
    script = (
        "import sys\nfrom tokex_gguf.engine import __main__ as engine\nfrom tokex_gguf.engine.worker import server\n"
        f"def fail(self):\n    raise ValueError({WILD!r})\n"
        "server.Server.serve = fail\nengine.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode and b"ValueError" in done.stderr and b"in fail" in done.stderr
    assert not obeyed(done.stderr)
