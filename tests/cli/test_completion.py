"""Help in other forms: completion in shells, `help`, `-V`, the manual page. All are made from the parsers' tables."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import run
from tokex_gguf import COMMANDS, __version__
from tokex_gguf.cli import main
from tokex_gguf.cli.completion import script
from tokex_gguf.cli.tables import SHELLS, Table, tables
from tokex_gguf.play.commands.registry import SCREENS, keys_of

MAN = Path(__file__).parent.parent.parent / "docs" / "tokex-gguf.1"

needs_bash = pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")


def completed(tmp_path: Path, *words: str) -> list[str]:
    """What bash offers for the last of some words."""
    (tmp_path / "script").write_text(script("bash", tables()))
    program = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        "_tokex_gguf 2>&1; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    (tmp_path / "here").mkdir(exist_ok=True)
    for name in ("my story.txt", "model.gguf"):
        (tmp_path / "here" / name).touch()
    done = subprocess.run(
        ["bash", "--norc", "-uc", program, "bash", str(tmp_path / "script"), "tokex-gguf", *words],
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.splitlines() if done.stdout.strip() else []


@needs_bash
def test_bash_completes_commands_and_files_first(tmp_path: Path) -> None:
    assert completed(tmp_path, "") == [*COMMANDS, *completed(tmp_path, "--chat", "")]
    assert sorted(completed(tmp_path, "--chat", "")) == ["model.gguf", "my story.txt"]
    assert completed(tmp_path, "pu") == ["pull"]
    assert completed(tmp_path, "my") == ["my story.txt"]


@needs_bash
def test_bash_completes_every_option_and_no_other(tmp_path: Path) -> None:
    for place, table in places():
        names = [name for one in table.arguments for name in one.names]
        assert sorted(completed(tmp_path, *place.split(), "-")) == sorted(names), place
        for name in names:
            assert name in completed(tmp_path, *place.split(), name)
    assert completed(tmp_path, "--mod") == ["--model"]
    assert "--kv" in completed(tmp_path, "--resume", "--k"), "a value that can be left out is none"


@needs_bash
def test_bash_completes_values(tmp_path: Path) -> None:
    assert completed(tmp_path, "--kv", "") == ["f16", "q8_0"]
    assert completed(tmp_path, "--kv", "q") == ["q8_0"]
    assert completed(tmp_path, "--kv", "=", "q") == ["q8_0"] and completed(tmp_path, "--kv", "=") == ["f16", "q8_0"]
    assert completed(tmp_path, "story", "-m", "mod") == ["model.gguf"]
    assert completed(tmp_path, "--prompt", "") == [] and completed(tmp_path, "-t", "") == []


@needs_bash
def test_bash_completes_what_commands_take(tmp_path: Path) -> None:
    assert completed(tmp_path, "completion", "") == list(SHELLS)
    assert completed(tmp_path, "help", "se") == ["sessions"]
    assert completed(tmp_path, "sessions", "") == ["rm", "rename"]
    assert completed(tmp_path, "sessions", "rm", "") == [] and completed(tmp_path, "models", "") == []
    assert completed(tmp_path, "doctor", "--model", "mod") == ["model.gguf"]
    assert "models" not in completed(tmp_path, "--chat", "mo"), "a command comes first"


def places() -> Iterator[tuple[str, Table]]:
    for name, table in tables().items():
        yield name, table
        yield from ((f"{name} {action}", deeper) for action, deeper in table.actions.items())


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_all_options_commands_and_choices(shell: str) -> None:
    made = script(shell, tables())
    for _, table in places():
        for one in table.arguments:
            for name in one.names:
                bare = name.lstrip("-")
                assert re.search(rf"(-[slo] {bare} |{re.escape(name)}\b)", made), name
            assert all(choice in made for choice in one.choices)
        assert all(action in made for action in table.actions)
    assert all(command in made for command in COMMANDS)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_can_be_read_by_its_shell(shell: str, tmp_path: Path) -> None:
    """Where that is installed; else its quotes and brackets have their twins, at least."""
    path = tmp_path / "script"
    path.write_text(run("completion", shell).stdout)
    if program := shutil.which(shell):
        done = subprocess.run([program, "-n", str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    code = re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.MULTILINE)
    single = r"'(?:\\.|[^'\\])*'" if shell == "fish" else r"'[^']*'"
    bare = re.sub(rf'\\.|"(?:\\.|[^"\\])*"|{single}', "", code, flags=re.DOTALL)
    assert "'" not in bare and '"' not in bare
    assert all(bare.count(one) == bare.count(other) for one, other in ("{}", "[]"))


def test_help_is_what_the_option_prints(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*arguments: str) -> str:
        assert main.main(arguments) == 0
        return capsys.readouterr().out

    assert printed("help") == printed("--help")
    assert "?" in printed("help") and "Keys:" in printed("help")
    for command in COMMANDS:
        assert printed("help", command) == printed(command, "--help")


def test_an_unknown_topic_or_shell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["help", "me"], ["completion", "tcsh"], ["completion"]):
        assert main.main(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_the_version_has_a_short_form(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("-V", "--version"):
        assert main.main([option]) == 0
        assert capsys.readouterr().out == f"tokex-gguf {__version__}\n"


def test_they_start_no_engine_and_need_no_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tokex_gguf", "completion", "bash"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == script("bash", tables())
    assert "prompt_toolkit" not in done.stderr and "llama_cpp" not in done.stderr


# --- the manual page


def test_the_manual_page_has_all_options_commands_and_keys() -> None:
    plain = re.sub(r"\\f[BR]|\\&", "", MAN.read_text()).replace(r"\-", "-")
    for place, table in places():
        assert all(word in plain for word in place.split())
        for one in table.arguments:
            assert all(written in plain for written in one.written if one.names != ("-h", "--help")), one
    for row in SCREENS.values():
        for command in row.commands:
            if (keys := keys_of(command)).isascii() and not set(keys) & set("\\'`\"^~"):
                assert keys in plain, keys


@pytest.mark.skipif(not shutil.which("groff"), reason="there is no groff")
def test_the_manual_page_is_rendered_without_warnings() -> None:
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", str(MAN)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    text = re.sub(r".\x08|\x1b\[\d*m", "", done.stdout.decode())
    assert "--resume [N]" in text and "↑ k" in text and "\\" not in re.sub(r"\\(?: begins|n\s)", "", text)


def test_the_manual_page_is_in_the_wheel() -> None:
    project = tomllib.loads((MAN.parent.parent / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {"docs/tokex-gguf.1": "share/man/man1/tokex-gguf.1"}
