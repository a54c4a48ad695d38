"""The command line: what it prints, what it refuses, and its exit codes."""

import errno
import gc
import itertools
import json
import logging
import math
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.models.test_header import string, with_keys
from tests.sampling import few, some
from tests.terminal import Terminal
from tokex_gguf import __version__, config
from tokex_gguf.__main__ import run as run_program
from tokex_gguf.cli import inputs, main
from tokex_gguf.cli.arguments import parsed
from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.client import EngineClient
from tokex_gguf.engine.protocol import EngineDied, Load
from tokex_gguf.engine.worker import llama
from tokex_gguf.models import resolve
from tokex_gguf.sessions.autosave import Lost, Rescued, SaveOutcome
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.system import home, machine, signals
from tokex_gguf.system.console import Exit

ROOT = Path(__file__).parent.parent.parent
NATALIA = ROOT / "prompts" / "natalia.txt"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a folder of its own, away from the user's files and the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The program in a process of its own, with nothing connected to a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "tokex_gguf", *arguments], input=stdin, capture_output=True, timeout=120, check=False
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which the program refuses arguments with exit code 2."""
    assert main.main([*arguments, "--plain"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("tokex-gguf: ")
    assert told.err.count("\n") == 1
    return told.err


def played(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What the program prints as JSON, run in this process; the engine has its own all the same."""
    assert main.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def text_of(told: Any) -> str:
    return "".join(token["text"] for token in told["tokens"])


# --- what it prints


@pytest.mark.real_start
def test_json_has_all_the_numbers() -> None:
    done = run("--json", "--input", str(NATALIA))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"model", "tokens", "next", "logprob", "perplexity", "assistant", "notices"}
    assert told["model"].pop("path").endswith(".gguf")
    assert told["model"] == {
        "name": "Smollm2 135M 8k Lc100K Mix1 Ep2",
        "architecture": "llama",
        "quantization": "Q4_1",
        "vocab_size": 49152,
        "context": 4096,
    }
    first, *rest = told["tokens"]
    assert first == {
        "id": 17872, "text": "Question", "bytes": list(b"Question"), "offset": 0,
        "prob": None, "logprob": None, "rank": None, "entropy_bits": None,
        "entropy": None,
    }  # fmt: skip
    assert "".join(token["text"] for token in told["tokens"]) == NATALIA.read_text().removesuffix("\n")
    for token in rest:
        assert token["prob"] == pytest.approx(math.exp(token["logprob"]))
        assert token["rank"] >= 1
        assert token["entropy"] == pytest.approx(token["entropy_bits"] / math.log2(49152))
    assert told["logprob"] == pytest.approx(sum(token["logprob"] for token in rest))
    assert told["perplexity"] == pytest.approx(math.exp(-told["logprob"] / len(rest)))
    assert [row["rank"] for row in told["next"]["candidates"]] == list(range(1, 31))
    assert 0 < told["next"]["entropy"] < 1


@pytest.mark.parametrize("arguments", [["--json", "--prompt", "a"], ["sessions"]])
def test_garbage_is_collected_where_a_start_is_over(arguments: list[str], tiny: dict[str, Path]) -> None:
    gc.disable()  # as `run` does
    try:
        assert main.main([*arguments, *(["--model", str(tiny["qwen2"])] if len(arguments) > 1 else [])]) == 0
        assert gc.isenabled() and gc.get_freeze_count()
    finally:
        gc.unfreeze()
        gc.enable()


def test_without_a_terminal_plain_text_is_printed(tiny: dict[str, Path]) -> None:
    done = run("--model", str(tiny["qwen2"]), "--prompt", "Once upon a \x1b[31mtime")
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout
    text = done.stdout.decode()
    assert "␛" in text
    assert "perplexity" in text
    assert text.count("\n") > 35


def test_a_prompt_from_standard_input(tiny: dict[str, Path]) -> None:
    done = run("--json", "--model", str(tiny["qwen2"]), "--input", "-", stdin=b"Once upon\n")
    assert text_of(json.loads(done.stdout)) == "Once upon"


def test_a_pipe_is_read_and_so_is_a_file_that_is_named(tmp_path: Path, tiny: dict[str, Path]) -> None:
    arguments = ("--json", "--model", str(tiny["qwen2"]))
    (tmp_path / "text.txt").write_bytes(b"Once upon\n")
    for done in (run(*arguments, stdin=b"Once upon\n"), run(*arguments, "text.txt"), run("text.txt", *arguments)):
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (text_of(told), told["notices"], done.stderr) == ("Once upon", [], b"")
    with (tmp_path / "text.txt").open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "tokex_gguf", *arguments], stdin=file, capture_output=True, check=True
        )
    assert text_of(json.loads(done.stdout)) == "Once upon"
    assert text_of(json.loads(run(*arguments, "--prompt", "Hi", stdin=b"Once upon").stdout)) == "Hi", "as asked for"


def test_an_empty_pipe_is_no_example_and_the_example_is_told(tiny: dict[str, Path]) -> None:
    arguments = ["--json", "--model", str(tiny["qwen2"])]
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"standard input: empty" in done.stderr
    command = [sys.executable, "-m", "tokex_gguf", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    told = json.loads(done.stdout)
    assert told["notices"] == ["no text was given: these are the numbers of the configuration's example_prompt"]
    assert text_of(told) == "Once upon a time, there was a"
    assert done.stderr.decode() == f"tokex-gguf: {told['notices'][0]}\n"


@pytest.mark.thorough
def test_a_pipe_that_says_nothing_is_told(tiny: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "tokex_gguf", "--plain", "--model", str(tiny["qwen2"])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr and process.stdin
        assert b"waiting for a text on standard input" in process.stderr.readline()
        process.stdin.close()
        assert b"standard input: empty" in process.stderr.readline()
        process.stdout.close()  # type: ignore[union-attr]
    assert process.returncode == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le with a mark", "utf-32"])
def test_windows_text_files(encoding: str, tmp_path: Path, tiny: dict[str, Path], capsys: Any) -> None:
    mark = "\ufeff" if "mark" in encoding else ""
    (tmp_path / "text.txt").write_bytes(f"{mark}Größe\r\nzwei\r\n".encode(encoding.split()[0]))
    told = played(capsys, "--model", str(tiny["qwen2"]), "text.txt")
    assert b"".join(bytes(token["bytes"]) for token in told["tokens"]).decode() == "Größe\nzwei"
    assert "text.txt: its line ends, CRLF, are read as LF" in told["notices"]
    assert any("read as UTF-" in notice for notice in told["notices"]) == (encoding != "utf-8-sig")


def test_mixed_line_ends_are_left_alone(tmp_path: Path, tiny: dict[str, Path], capsys: Any) -> None:
    (tmp_path / "text.txt").write_bytes(b"one\r\ntwo\nthree")
    told = played(capsys, "--model", str(tiny["qwen2"]), "text.txt")
    assert b"".join(bytes(token["bytes"]) for token in told["tokens"]) == b"one\r\ntwo\nthree"
    assert told["notices"] == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("Once upon a time",), "a text itself is given with --prompt"),
        (("sessions",), "the command comes first: tokex-gguf sessions"),
        (("session",), "session: cannot be read: No such file or directory; did you mean tokex-gguf sessions?"),
        (("-p", "hi", "-t", "-2"), "expected a whole number from 0 to 1024, got '-2', or -1"),
        (("model.gguf",), "model.gguf: a model, not a text: --model takes it"),
        (("--prompt", "a", "--prompt", "b"), "argument -p/--prompt: given twice"),
        (("text.txt", "--prompt", "b"), "not allowed with argument"),
        (("--prompt", "b", "text.txt"), "not allowed with argument"),
        (("--cache-type-k", "q8_0", "-p", "hi"), "there is no option --cache-type-k: --kv is its name here"),
        (("-f", "text.txt", "-ctk", "q8_0"), "there is no option -ctk: --kv is its name here"),
        (("-hf", "someone/model", "-p", "hi"), "there is no option -hf: --model REPO/NAME[:FILE] is its name here"),
        (("--grammer", "x.gbnf", "-p", "hi"), "there is no option --grammer: did you mean --grammar?"),
        (("--flash-attn", "on", "-p", "hi"), "there is no option --flash-attn: try --help"),
        (("-p", "hi", "--foo=\x1b[1mx"), "there is no option --foo: try --help"),
        (("-p", "hi", "-ngl99"), "there is no option -ngl99: try --help"),
        (("-p", "hi", "--regex", "-?[0-9]"), "--regex takes a value: one that begins with - is given as --regex=VALUE"),
        (("-p", "--json"), "argument -p/--prompt: expected one argument"),
        (("--no", "-p", "hi"), "there is no option --no: did you mean --no-config or --no-cache?"),
        (("-p", "hi", "-fa", "on"), "there is no option -fa: try --help"),
        (("-p", "hi", "-m", "bundled", "-mu", "url"), "there is no option -mu: try --help"),
        (("-p", "hi", "-lv", "3"), "there is no option -lv: try --help"),
        (("-p", "hi", "--mode", "x"), "there is no option --mode: did you mean --model?"),
        (("-p", "hi", "--mode=x"), "there is no option --mode: did you mean --model?"),
        (("",), "argument FILE: expected a name, got an empty one"),
        (("-m", "", "-p", "hi"), "argument -m/--model: expected a name, got an empty one"),
        (("--log=", "-p", "hi"), "argument --log: expected a name, got an empty one"),
        (("--grammar", "", "-p", "hi"), "argument --grammar/--grammar-file: expected a name, got an empty one"),
        (("-c4x", "-p", "hi"), "expected a whole number"),
        (("--resume", "mine"), "got 'mine'; a session's name goes with --session"),
    ],
)
def test_what_cannot_be_meant_is_told(
    arguments: tuple[str, ...], expected: str, tmp_path: Path, tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.gguf").write_bytes(tiny["qwen2"].read_bytes())
    (tmp_path / "text.txt").write_text("a")
    assert expected in refused(capsys, "--no-config", *arguments)


def test_options_are_known_however_llama_cpp_takes_them(tiny: dict[str, Path], capsys: Any) -> None:
    for given in (["--top_k", "2"], ["--top_k=2"], ["--top-k", "2"]):
        told = played(capsys, "--model", str(tiny["qwen2"]), *given, "-c512", "-p", "Hi")
        assert told["next"]["kept"] == 2
    told = played(capsys, "--model", str(tiny["qwen2"]), "--prompt=-a")
    assert text_of(told) == "-a"


# --- where it runs


@pytest.mark.parametrize(
    ("closed", "arguments"),
    some(
        itertools.product(
            ["0<&-", "1>&-", "2>&-", "0<&- 2>&-", "0<&- 1>&- 2>&-"],
            [["--help"], ["--json", "--prompt", "Hi"], ["models"], ["--version"], ["sessions"]],
        ),
        of=4,
    ),
)
def test_standard_streams_that_are_closed(closed: str, arguments: list[str], tiny: dict[str, Path]) -> None:
    command = f"'{sys.executable}' -m tokex_gguf \"$@\" {closed}"
    more = ["--model", str(tiny["qwen2"])] if "--json" in arguments else []
    done = subprocess.run(["sh", "-c", command, "sh", *arguments, *more], capture_output=True, timeout=60, check=False)
    assert done.returncode == (1 if "1>" in closed else 0), done.stderr
    assert b"Traceback" not in done.stdout + done.stderr
    assert (done.stderr == b"") == ("2>" in closed or ("1>" not in closed and arguments != ["sessions"]))
    if "1>" not in closed and more:
        assert text_of(json.loads(done.stdout)) == "Hi"
    assert "tokex-gguf: " not in done.stdout.decode()


NO_HOME = "this user has no home folder: log, sessions and downloads go to "


@pytest.mark.skipif(sys.platform != "linux", reason="containers' users")
@pytest.mark.parametrize(
    ("environment", "arguments", "expected"),
    few(
        [
            ({}, ["--help"], NO_HOME),
            ({}, ["--plain", "--prompt", "Hi"], NO_HOME),
            ({}, ["doctor"], NO_HOME),
            ({"HOME": ""}, ["sessions"], NO_HOME),
            ({"HOME": "/"}, ["--plain", "--prompt", "Hi"], "/ cannot be written: log and sessions go to "),
            ({"HOME": "/nonexistent"}, ["sessions"], "/nonexistent cannot be written: log and sessions go to "),
        ],
        of=2,
    ),
)
def test_a_user_without_a_home(
    arguments: list[str], environment: dict[str, str], expected: str, tmp_path: Path, tiny: dict[str, Path]
) -> None:
    """As in a container with a user that it does not know; who may write where is simulated."""
    script = (
        "import os, pwd, sys\n"
        "def unknown(_): raise KeyError\n"
        "pwd.getpwuid, access = unknown, os.access\n"
        f"os.access = lambda path, mode: str(path).startswith({str(tmp_path)!r}) and access(path, mode)\n"
        "from tokex_gguf.__main__ import run\n"
        "sys.exit(run())"
    )
    more = ["--model", str(tiny["qwen2"])] if "--plain" in arguments or "doctor" in arguments else []
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, *more],
        env={"TMPDIR": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    place = tmp_path / f"tokex-gguf-{os.getuid()}"
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.splitlines()[0] == f"tokex-gguf: {expected}{place}"
    assert place.stat().st_mode & 0o777 == 0o700
    assert ("--plain" in arguments) == (len(list(place.rglob("tokex-gguf.log"))) == 1)
    assert not (tmp_path / "~").exists()


def test_a_temporary_home_is_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first = home._temporary()
    assert first == home._temporary() and first.stat().st_mode & 0o777 == 0o700
    first.chmod(0o777)
    other = home._temporary()
    assert other not in (first, home._temporary()), "somebody else may have made it"
    first.rmdir()
    first.symlink_to(tmp_path)
    assert home._temporary() != first


@pytest.mark.parametrize(
    ("fault", "code", "expected"),
    [
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise ValueError('wrong\\n\\x1b[2J')", 1, "internal error (ValueError: wrong??[2J)"),
        ("raise ImportError('no such library')", 1, "internal error (ImportError: no such library)"),
        ("raise RecursionError", 1, "internal error (RecursionError: )"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", 130, "interrupted"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143, "interrupted"),
    ],
)
@pytest.mark.parametrize("module", ["argparse", "tokex_gguf.cli.main"])
def test_a_fault_while_importing_is_one_line(module: str, fault: str, code: int, expected: str) -> None:
    script = (
        "import sys\n"
        "class Fault:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        f"            {fault}\n"
        "sys.meta_path.insert(0, Fault())\n"
        f"sys.modules.pop({module!r}, None)\n"
        "from tokex_gguf.__main__ import run\n"
        "sys.argv[1:] = ['--version']\n"
        "sys.exit(run())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (code, f"tokex-gguf: {expected}\n")


def test_an_internal_error_before_there_is_a_log_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **_more: object) -> None:
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(main, "_log_path", fail)
    assert main.main(["--plain", "--prompt", "a"]) == 1
    told = capsys.readouterr()
    assert told.err == "tokex-gguf: internal error (RuntimeError: could not determine home directory)\n"


def test_bytes_and_offsets_of_tokens(tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A character of several tokens is three U+FFFD as text; its bytes are told, and where they stand."""
    text = "a 🦜 <s>é"
    for name in tiny:
        told = played(capsys, "--model", str(tiny[name]), "--prompt", text)
        data = text.encode()
        tokens = [token for token in told["tokens"] if token["offset"] or token["bytes"] != list(b"<s>")]
        for token, after in zip(tokens, [*tokens[1:], {"offset": len(data)}], strict=True):
            here = data[token["offset"] : after["offset"]]
            assert bytes(token["bytes"]).removeprefix(b" ") == here.removeprefix(b" "), (name, token)
            assert token["text"] == bytes(token["bytes"]).decode(errors="replace")


def test_small_probabilities_have_digits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--plain", "--model", "bundled", "--prompt", "Once upon a qqzzx"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.match(r" *\d\.\d\de-\d\d ", line) for line in lines)
    assert not any(line.lstrip().startswith("0.000000") for line in lines)


def test_a_traceback_in_the_log_is_lines_of_text(tmp_path: Path) -> None:
    log = main._open_log(tmp_path / "log", asked=True)
    try:
        raise ValueError("a\x1b[2J\x9b\x07b\nc")
    except ValueError:
        logging.getLogger("tokex_gguf").exception("wrong: %s", "\x1b]0;x\x07\n\u202e")
    head, *trace = log.read_text(encoding="utf-8").splitlines()
    assert head.endswith("ERROR wrong: ␛]0;x␇⏎‹U+202E›")
    assert trace[0].startswith("Traceback") and trace[-2:] == ["ValueError: a␛[2J‹U+009B›␇b", "c"]


@pytest.mark.parametrize("shape", ["--json", "--plain"])
def test_nothing_printed_is_obeyed_by_a_terminal(
    shape: str, tmp_path: Path, tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a file says of itself, its own name, and the text."""
    wild = "".join(map(chr, [*range(1, 32), *range(127, 160), 0x202E, 0x2066, 0x2028, 0x200F]))
    path = tmp_path / "wild\x1b[2J\x9b\x07.gguf"
    changed = {key: string(wild.encode()) for key in (b"general.name", b"general.description", b"general.author")}
    path.write_bytes(with_keys(tiny["qwen2"].read_bytes().replace(b"general.name", b"general.same"), changed))
    log = tmp_path / "log"
    assert main.main([shape, "--model", str(path), "--prompt", f"a{wild}", "--log", str(log)]) == 0
    told = capsys.readouterr()
    entries = log.read_text(encoding="utf-8").split("\n")
    assert sum("fingerprint" in line for line in entries) == 1
    for line in (told.out + told.err).split("\n") + entries:
        assert line.isprintable(), [char for char in line if not char.isprintable()]
    if shape == "--json":
        about = json.loads(told.out)
        assert about["model"]["name"] == wild and about["model"]["path"] == str(path)


def test_special_tokens_and_how_to_turn_them_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: dict[str, Path]
) -> None:
    arguments = ("--model", str(tiny["qwen2"]), "--prompt", "<|im_start|>a")
    assert [token["text"] for token in played(capsys, *arguments)["tokens"]] == ["<|im_start|>", "a"]
    (tmp_path / "config.toml").write_text("[prompt]\nparse_special = false\n")
    told = played(capsys, *arguments)
    assert len(told["tokens"]) > 2 and text_of(told) == "<|im_start|>a"


def test_the_configuration_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: dict[str, Path]) -> None:
    (tmp_path / "config.toml").write_text(
        f'[model]\nname = "{tiny["qwen2"]}"\n[prompt]\nexample_prompt = "Two words"\n'
        "[display]\ntokens_to_show = 3\n[engine]\ncontext = 512\nthreads = 1\n"
    )
    told = played(capsys)
    assert text_of(told) == "Two words"
    assert len(told["next"]["candidates"]) == 3
    assert (told["model"]["name"], told["model"]["context"]) == ("tiny qwen2", 512)
    (tmp_path / "other.toml").write_text("[display]\ntokens_to_show = 2\n")
    told = played(capsys, "--config", "other.toml", "--model", str(tiny["qwen2"]))
    assert len(told["next"]["candidates"]) == 2
    assert text_of(told) == "Once upon a time, there was a", "the default"


def test_the_bundled_model_stands_in_and_a_line_says_so() -> None:
    done = run("--plain", "--prompt", "a")
    assert done.returncode == 0
    assert b"using the bundled SmolLM2-135M instead" in done.stderr
    assert b"HF_HUB_OFFLINE" in done.stderr


def test_a_prompt_must_fit_into_the_context(tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """One as long as the context fits; of a longer one the numbers are told."""
    arguments = ["--model", str(tiny["qwen2"]), "--context", "256", "--prompt"]
    told = played(capsys, *arguments, "the" * 256)
    assert len(told["tokens"]) == told["model"]["context"] == 256
    assert main.main(["--json", *arguments, "the" * 257]) == 2
    refusal = capsys.readouterr()
    assert refusal.out == ""
    assert "context full (256/256): the prompt has 257" in refusal.err and "256 fit" in refusal.err


def test_the_context_can_be_left_to_grow(tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line, whatever the configuration says."""
    Path("config.toml").write_text("[engine]\ncontext = 300\n")
    for arguments, cells in (((), 300), (("--context", "auto"), 1024)):
        told = played(capsys, "--model", str(tiny["qwen2"]), "--prompt", "the", *arguments)
        assert told["model"]["context"] == cells


def test_the_help_breaks_no_path_and_no_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    for columns in range(60, 130, 7):
        monkeypatch.setenv("COLUMNS", str(columns))
        for arguments in (["--help"], ["completion", "--help"]):
            assert main.main(arguments) == 0
            texts.append(capsys.readouterr().out)
    assert not [line for text in texts for line in text.splitlines() if line.endswith(("tokex-", "/tokex-"))]
    assert all("tokex-gguf/config.toml" in text for text in texts[::2])


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--version", "--help"):
        assert main.main([option]) == 0
    assert f"tokex-gguf {__version__}" in capsys.readouterr().out


def test_a_log_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: dict[str, Path]
) -> None:
    (tmp_path / "file").touch()
    assert "the log cannot be written there" in refused(capsys, "--log", "file/below")
    (tmp_path / "xdg_state_home").touch()
    arguments = ("--plain", "--prompt", "a", "--model", str(tiny["qwen2"]))
    assert main.main(arguments) == 0, "nobody asked for a log"
    assert b"Traceback" not in run(*arguments, "--log", "/dev/full").stderr


def test_an_output_that_cannot_be_written_is_one_line_and_exit_code_1(tiny: dict[str, Path]) -> None:
    command = f"{sys.executable} -m tokex_gguf --plain --prompt a --model {tiny['qwen2']}"
    done = subprocess.run(["sh", "-c", f"{command} > /dev/full"], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(b"tokex-gguf: the output cannot be written: No space left on device\n")
    assert b"Exception" not in done.stderr
    done = subprocess.run(["sh", "-c", f"{command} >&-"], capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)
    for argument, unbuffered in (("--version", ""), ("--version", "1"), ("help", "1"), ("pull --help", "1")):
        shell = f"PYTHONUNBUFFERED={unbuffered} {sys.executable} -m tokex_gguf {argument} > /dev/full"
        done = subprocess.run(["sh", "-c", shell], capture_output=True, check=False)
        assert done.returncode == 1, argument
        assert done.stderr == b"tokex-gguf: the output cannot be written: No space left on device\n"


def test_an_output_without_unicode_gets_escapes(monkeypatch: pytest.MonkeyPatch, tiny: dict[str, Path]) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    for shape in ("--plain", "--json"):
        done = run(shape, "--prompt", "caf\u00e9", "--model", str(tiny["qwen2"]))
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tokens"]


def test_the_engine_runs_no_code_from_the_current_folder(tmp_path: Path, tiny: dict[str, Path]) -> None:
    (tmp_path / "numpy.py").write_text("open('owned', 'w')")
    script = Path(sys.executable).with_name("tokex-gguf")
    command = [str(script), "--plain", "--prompt", "a", "--model", str(tiny["qwen2"])]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "owned").exists()


def test_errors_carry_no_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.toml").write_text('"\\u001b[2Jx" = 1')
    for told in (
        refused(capsys, "--config", "config.toml"),
        refused(capsys, "--config", "a\x1bb"),
        refused(capsys, "--model", "\x1b[2J"),
    ):
        assert "\x1b" not in told
        assert "␛" in told


@pytest.mark.parametrize("name", ["a" * 5000, "~nosuchuser/x.gguf", "a\0b.gguf"])
def test_names_that_no_file_can_have(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.toml").write_text("")
    assert len(refused(capsys, "--model", name)) < 400


def test_a_number_of_too_many_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("9" * 5000, "0x" + "f" * 5000):
        (tmp_path / "config.toml").write_text(f"[prompt]\nmax_prompts = {number}")
        assert "config.toml: " in refused(capsys)


def test_a_reader_that_goes_away_is_no_traceback(tiny: dict[str, Path]) -> None:
    command = f"{sys.executable} -m tokex_gguf --plain --prompt a --model {tiny['qwen2']} | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr


def test_an_interruption_before_the_start_is_exit_code_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(resolve, "resolve", interrupted)
    assert main.main(["--plain", "--prompt", "a"]) == 130
    assert capsys.readouterr().err == "tokex-gguf: interrupted\n"
    monkeypatch.setattr(main, "main", interrupted)
    assert run_program() == 130


# --- what it refuses


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "prompt.txt: empty"),
        (b"\n", "prompt.txt: empty"),
        (b"caf\xe9 and more", "prompt.txt: not UTF-8 at byte offset 3"),
        (b"\xef\xbb\xbf", "prompt.txt: empty"),
        (b"h\x00i\x00", "prompt.txt: UTF-16 without a byte order mark: save it as UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00", "prompt.txt: not text: a zero byte at offset 7"),
    ],
)
def test_input_files_that_are_no_text(
    content: bytes, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompt.txt").write_bytes(content)
    assert expected in refused(capsys, "--input", "prompt.txt")


def test_input_files_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing.txt: cannot be read: No such file" in refused(capsys, "--input", "missing.txt")
    assert f"{tmp_path}: a folder" in refused(capsys, "--input", str(tmp_path))
    assert "not a file name" in refused(capsys, "--input", "a\0b")
    assert "--prompt: empty" in refused(capsys, "--prompt", "")
    assert "--prompt: not UTF-8" in refused(capsys, "--prompt", "\udcff")


def test_an_unreadable_input_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def refuse(path: Path, *how: Any) -> object:  # permissions would not stop a test that runs as root
        if path.name == "secret.txt":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *how)

    (tmp_path / "secret.txt").write_text("x")
    monkeypatch.setattr(Path, "open", refuse)
    assert "secret.txt: cannot be read: Permission denied" in refused(capsys, "--input", "secret.txt")


def test_an_input_file_too_large_to_be_a_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "huge.txt").write_bytes(b"a" * (inputs.MOST_BYTES + 1))
    assert "huge.txt: larger than 16 MiB" in refused(capsys, "--input", "huge.txt")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--context", "-1"),
        ("--context", "many"),
        ("--threads", "-2"),
        ("--nonsense",),
        ("--input", "a", "--prompt", "b"),
        ("--json",),
        ("stray", "--prompt", "a"),
        ("stray", "stray"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert "try --help" in refused(capsys, *arguments)


def test_a_wrong_configuration_names_file_key_and_what_was_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text("[prompt]\nmax_prompts = 'nine'\n")
    assert "config.toml: prompt.max_prompts: expected a whole number from 1 to 99, got 'nine'" in refused(capsys)
    assert "missing.toml: cannot be read" in refused(capsys, "--config", "missing.toml")


def test_models_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.gguf").write_text("not a model")
    assert "text.gguf: not a GGUF file" in refused(capsys, "--model", "text.gguf")
    assert "missing.gguf: no such file" in refused(capsys, "--model", "missing.gguf")
    assert f"{tmp_path}: a folder" in refused(capsys, "--model", str(tmp_path))


def test_a_model_that_is_not_here_and_no_hub_is_a_failure_not_a_usage_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.main(["--plain", "--model", "maker/model:file.gguf"]) == 1
    assert "maker/model:file.gguf is not here, and HF_HUB_OFFLINE is set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (100, "cut.gguf: it claims 33 keys in a file of 100 bytes"),
        (5_000_000, r"cut.gguf: the file ends inside tensor 'token_embd.weight': [\d,]+ bytes are missing"),
    ],
)
def test_a_truncated_model_is_one_line(
    keep: int, expected: str, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with model_path.open("rb") as file:
        (tmp_path / "cut.gguf").write_bytes(file.read(keep))
    assert re.fullmatch(rf"tokex-gguf: (\S*/)?{expected}\n", refused(capsys, "--model", "cut.gguf"))


def test_playing_needs_a_terminal_for_the_keys() -> None:
    # Standard output looks like a terminal, standard input does not.
    script = (
        "import sys; sys.stdout.isatty = lambda: True\n"
        "from tokex_gguf.cli.main import main; sys.exit(main(['--prompt', 'a']))"
    )
    done = subprocess.run([sys.executable, "-c", script], input=b"", capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert b"standard input is not a terminal" in done.stderr


# --- the documents


def test_natalia_has_the_text_of_the_reference() -> None:
    reference = json.loads((Path(__file__).parent.parent / "reference-smollm2-135m-q4_1.json").read_text())
    assert NATALIA.read_text().removesuffix("\n") == reference["texts"]["natalia"]["text"]


# --- how a model is loaded


def test_quantised_cells_and_a_fixed_context(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--model", "bundled", "--prompt", "Once upon a")
    told = played(capsys, *arguments, "--kv", "q8_0", "--context", "300")
    assert told["model"]["context"] == 300
    exact = played(capsys, *arguments)
    for one, other in zip(told["tokens"], exact["tokens"], strict=True):
        assert one["id"] == other["id"]
        assert one["prob"] == other["prob"] or abs(one["prob"] - other["prob"]) < 0.05


def test_layers_for_a_graphics_processor_that_is_not_there_are_refused() -> None:
    if llama.has_gpu():
        pytest.skip("this machine has one")
    done = run("--plain", "--model", "bundled", "--prompt", "a", "--gpu-layers", "3")
    assert done.returncode == 2
    assert done.stderr == (
        b"tokex-gguf: this llama.cpp was built without a graphics processor: leave --gpu-layers out\n"
    )


@pytest.mark.parametrize("arguments", [("--kv", "q4"), ("--gpu-layers", "-1"), ("--gpu-layers", "many")])
def test_wrong_ways_of_loading(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert "try --help" in refused(capsys, *arguments)


def test_a_context_that_no_memory_holds_is_made_smaller_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sums are tested in test_fit.py; here, that the program makes them."""
    monkeypatch.setattr(machine, "memory", lambda: (400_000_000, 400_000_000))
    assert main.main(["--json", "--model", "bundled", "--prompt", "a", "--context", "8000"]) == 0
    told = capsys.readouterr()
    said = re.search(r"context 8000 needs 184 MB beside 98 MB of weights, .* available: (\d+) tokens instead", told.err)
    assert said and json.loads(told.out)["model"]["context"] == int(said[1])
    monkeypatch.setattr(machine, "memory", lambda: (200_000_000, 200_000_000))
    told_too = refused(capsys, "--model", "bundled", "--prompt", "a")
    assert "it needs 246 MB of memory (98 MB for its weights) and this program can have 200 MB" in told_too


# --- the log


def test_the_log_tells_versions_and_fingerprint_and_no_prompt(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"old\n" * 300_000)
    done = run("--plain", "--model", "bundled", "--prompt", "a secret thought", "--log", str(log))
    assert done.returncode == 0
    assert (tmp_path / "log.1").stat().st_size == 1_200_000, "a large one is put aside"
    text = log.read_text()
    assert re.search(r"tokex-gguf [\d.]+, Python 3\S+, with .*SmolLM2", text)
    assert re.search(r"engine \d+: .*Q4_1, fingerprint [0-9a-f]{16}", text)
    assert "secret" not in text


@pytest.mark.thorough
def test_the_log_of_a_game_has_no_text_of_the_player(tmp_path: Path, tiny: dict[str, Path]) -> None:
    """Also where the engine dies and comes back, something fails, or nothing that it says makes sense."""
    log = tmp_path / "log"
    faulty = (
        "import sys, tokex_gguf.shell.background as work, tokex_gguf.sessions.store as keep\n"
        "from tokex_gguf.__main__ import run\n"
        "def fail(*_): raise ValueError('wrong')\n"
        "work.save_text = fail\n"
        "keep.prune = fail\n"
        "sys.exit(run())"
    )
    arguments = ["--model", str(tiny["qwen2"]), "--prompt", "a secret thought", "--log", str(log)]
    terminal = Terminal(command=[sys.executable, "-c", faulty, *arguments])
    terminal.shows(" ready")
    terminal.press("i", " hidden words", "\r")
    terminal.shows("hidden words(.|\\n)* ready")
    terminal.press("/", "covert")
    terminal.shows("search: covert")
    terminal.press("esc")
    terminal.until(lambda text: "search:" not in text)
    os.kill(terminal.engine(), signal.SIGKILL)
    terminal.shows("press r to restart it")
    terminal.press("r")
    terminal.shows(" ready")
    terminal.press("\x13", "private name", "\r")
    terminal.shows("kept as private name")
    terminal.press("x")
    terminal.shows("internal error: the log file has the details")
    terminal.press("\x11")
    assert terminal.ends() == 0
    text = log.read_text()
    assert "SIGKILL" in text and text.count("ValueError: wrong") == 2
    assert text.count("fingerprint") == 2, "of each engine"
    for word in ("secret", "thought", "hidden", "covert", "private"):
        assert word not in text


@pytest.mark.parametrize(
    "line",
    [
        b'["Tokenized",{"text":"a secret"}]',
        b"a secret",
        b'["Tokenize",{"request":1,"text":"a secret","parse_special":true}]',
    ],
)
def test_the_log_has_no_text_of_a_reply_that_is_none(line: bytes, caplog: pytest.LogCaptureFixture) -> None:
    script = f"import sys; sys.stdout.buffer.write({line!r} + b'\\n'); sys.stdout.flush(); sys.stdin.read()"
    engine = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    told: queue.Queue[Delivery] = queue.Queue()
    client = EngineClient(told.put, engine)
    assert told.get(timeout=60) == EngineDied("unreadable reply")
    client.close()
    assert "unreadable reply" in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (Lost("no room"), ["what was played last is not saved: no room"]),
        (
            Rescued(Path("/tmp/a.json"), Path("/s/my own.json"), "no room"),
            [
                "not saved: no room",
                "is in /tmp/a.json",
                "move it to /s/my own.json, then tokex-gguf --session 'my own'",
            ],
        ),
    ],
)
def test_what_is_not_saved_at_the_end_is_told_and_no_success(
    end: SaveOutcome, said: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signals, "listen", lambda _: None)
    monkeypatch.setattr(signals, "hold", lambda: None)
    game = cast("Runtime", SimpleNamespace(close=lambda *_: end))
    assert main._leave(game, 1.0) is False
    told = capsys.readouterr().err.splitlines()
    assert len(told) == len(said) and all(part in line for part, line in zip(said, told, strict=True))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_the_log_is_for_its_owner_alone(umask: int, tmp_path: Path) -> None:
    """Also one that version 0.1.0 made, and what is put aside of it."""
    log = tmp_path / "state" / "tokex-gguf" / "tokex-gguf.log"
    before = os.umask(umask)
    try:
        assert main._open_log(log, asked=False) == log
    finally:
        os.umask(before)
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.parent.stat().st_mode & 0o777 == log.parent.parent.stat().st_mode & 0o777 == 0o700
    for size in (10, main.LARGEST_LOG + 1):
        log.write_bytes(b"x" * size)
        log.chmod(0o644)
        main._open_log(log, asked=False)
        assert {path.stat().st_mode & 0o777 for path in log.parent.iterdir()} == {0o600}
    assert len(list(log.parent.iterdir())) == 2
    asked = tmp_path / "asked"
    main._open_log(asked, asked=True)
    assert asked.stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_renamed_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows while another program has it open."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "it is being used by another process")

    monkeypatch.setattr(Path, "replace", refuse)
    log = tmp_path / "log"
    log.write_bytes(b"x" * (main.LARGEST_LOG + 1))
    assert main._open_log(log, asked=True) == log and list(tmp_path.iterdir()) == [log]


@pytest.mark.thorough
def test_the_log_before_is_kept_and_no_more(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for size in (300_000, 400_000):
        log.write_bytes(b"old\n" * size)
        assert run("--plain", "--model", "bundled", "--prompt", "a", "--log", str(log)).returncode == 0
        assert (tmp_path / "log.1").stat().st_size == 4 * size
    assert sorted(path.name for path in tmp_path.glob("log*")) == ["log", "log.1"]
    before = log.read_text()
    assert run("--plain", "--model", "bundled", "--prompt", "a", "--log", str(log)).returncode == 0
    assert log.read_text().startswith(before), "a small one is gone on with"


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        (["-p", "-t is not far"], "prompt", "-t is not far"),
        (["--prompt", "--not an option"], "prompt", "--not an option"),
        (["-p", "- an item"], "prompt", "- an item"),
        (["-p", "-x=3 is an equation"], "prompt", "-x=3 is an equation"),
        (['--json_schema={"type": "object"}'], "json_schema", '{"type": "object"}'),
        (["-ngl", "0"], "gpu_layers", 0),
        (["-ngl", "all"], "gpu_layers", 1000),
        (["--n_gpu_layers=99"], "gpu_layers", 99),
        (["-t", "00000000050"], "threads", 50),
        (["-t", "1024"], "threads", 1024),
        (["-c", "0000000000512"], "context", 512),
        (["-n20", "--draw", "1"], "predict", 20),
        (["-p", "a", "-m./here.gguf"], "model", "./here.gguf"),
        (["-c", "0"], "context", 0),
        (["-c0", "-p", "hi"], "context", 0),
        (["-c", "auto"], "context", 0),
        (["-t", "0"], "threads", 0),
        (["-t", "-1"], "threads", 0),
        (["-t-1", "-p", "hi"], "threads", 0),
        (["--threads=-1"], "threads", 0),
        (["--seconds", "0"], "seconds", 0),
    ],
)
def test_values_are_read_as_they_are_meant(given: list[str], name: str, value: object) -> None:
    assert getattr(parsed(given), name) == value


@pytest.mark.parametrize("threads", ["-2", "1025", "1000000", "10000000", "1" * 4000])
def test_more_threads_than_llama_cpp_bears_are_refused(threads: str) -> None:
    with pytest.raises(Exit, match="a whole number from 0 to 1024"):
        parsed(["-t", threads])


def test_layers_of_the_configuration_are_switched_off() -> None:
    assert main._given_or(0, 20) == 0 and main._given_or(None, 20) == 20


def test_0_takes_the_place_of_what_is_configured(
    tmp_path: Path, tiny: dict[str, Path], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("[engine]\ncontext = 512\nthreads = 1\n[answers]\nseconds = 5\n")
    loads: list[Load] = []

    def load(*arguments: Any, **options: Any) -> Load:
        loads.append(Load(*arguments, **options))
        return loads[-1]

    monkeypatch.setattr(main, "Load", load)
    for more in ((), ("-c", "0", "-t", "-1")):
        played(capsys, "--model", str(tiny["qwen2"]), "-p", "Hi", *more)
    assert [(one.context, one.threads) for one in loads] == [(512, 1), (0, 0)]
    settings = config.find().config
    assert [main._answers(parsed(given), settings)[1].seconds for given in ([], ["--seconds", "0"])] == [5, 0]
