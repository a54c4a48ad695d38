"""The command line: what it prints, what it refuses, and its exit codes."""

import errno
import json
import math
import os
import queue
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.terminal import Terminal
from tokex_gguf import __version__, cli, machine, models
from tokex_gguf.__main__ import run as run_program
from tokex_gguf.engine import llama
from tokex_gguf.engine.client import Delivery, EngineClient
from tokex_gguf.engine.protocol import EngineDied
from tokex_gguf.keymap import markdown

ROOT = Path(__file__).parent.parent
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
    assert cli.main([*arguments, "--plain"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("tokex-gguf: ")
    assert told.err.count("\n") == 1
    return told.err


def played(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What the program prints as JSON, run in this process; the engine has its own all the same."""
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def text_of(told: Any) -> str:
    return "".join(token["text"] for token in told["tokens"])


# --- what it prints


def test_json_has_all_the_numbers() -> None:
    done = run("--json", "--input", str(NATALIA))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"model", "tokens", "next", "logprob", "perplexity"}
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
        "id": 17872, "text": "Question", "prob": None, "logprob": None, "rank": None, "entropy_bits": None,
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
    assert cli.main(["--json", *arguments, "the" * 257]) == 2
    refusal = capsys.readouterr()
    assert refusal.out == ""
    assert "context full (256/256): the prompt has 257" in refusal.err and "256 fit" in refusal.err


def test_the_context_can_be_left_to_grow(tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line, whatever the configuration says."""
    Path("config.toml").write_text("[engine]\ncontext = 300\n")
    for arguments, cells in (((), 300), (("--context", "auto"), 1024)):
        told = played(capsys, "--model", str(tiny["qwen2"]), "--prompt", "the", *arguments)
        assert told["model"]["context"] == cells


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--version", "--help"):
        assert cli.main([option]) == 0
    assert f"tokex-gguf {__version__}" in capsys.readouterr().out


def test_a_log_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: dict[str, Path]
) -> None:
    (tmp_path / "file").touch()
    assert "the log cannot be written there" in refused(capsys, "--log", "file/below")
    (tmp_path / "xdg_state_home").touch()
    arguments = ("--plain", "--prompt", "a", "--model", str(tiny["qwen2"]))
    assert cli.main(arguments) == 0, "nobody asked for a log"
    assert b"Traceback" not in run(*arguments, "--log", "/dev/full").stderr


def test_an_output_that_cannot_be_written_is_one_line_and_exit_code_1(tiny: dict[str, Path]) -> None:
    command = f"{sys.executable} -m tokex_gguf --plain --prompt a --model {tiny['qwen2']}"
    done = subprocess.run(["sh", "-c", f"{command} > /dev/full"], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(b"tokex-gguf: the output cannot be written: No space left on device\n")
    assert b"Exception" not in done.stderr
    done = subprocess.run(["sh", "-c", f"{command} >&-"], capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)


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
    for told in (refused(capsys), refused(capsys, "--config", "a\x1bb"), refused(capsys, "--model", "\x1b[2J")):
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

    monkeypatch.setattr(models, "resolve", interrupted)
    assert cli.main(["--plain", "--prompt", "a"]) == 130
    assert capsys.readouterr().err == "tokex-gguf: interrupted\n"
    monkeypatch.setattr(cli, "main", interrupted)
    assert run_program() == 130


# --- what it refuses


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "prompt.txt: empty"),
        (b"\n", "prompt.txt: empty"),
        (b"caf\xe9 and more", "prompt.txt: not UTF-8 at byte offset 3"),
        (b"\xff\xfeh\x00i\x00", "prompt.txt: not text: a zero byte at offset 3"),
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
    (tmp_path / "huge.txt").write_bytes(b"a" * (cli.LARGEST + 1))
    assert "huge.txt: larger than 16 MiB" in refused(capsys, "--input", "huge.txt")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--context", "0"),
        ("--context", "many"),
        ("--threads", "-1"),
        ("--nonsense",),
        ("--input", "a", "--prompt", "b"),
        ("--json",),
        ("stray",),
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
    assert cli.main(["--plain", "--model", "maker/model:file.gguf"]) == 1
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
    assert re.fullmatch(f"tokex-gguf: {expected}\n", refused(capsys, "--model", "cut.gguf"))


def test_playing_needs_a_terminal_for_the_keys() -> None:
    # Standard output looks like a terminal, standard input does not.
    script = (
        "import sys; sys.stdout.isatty = lambda: True\n"
        "from tokex_gguf.cli import main; sys.exit(main(['--prompt', 'a']))"
    )
    done = subprocess.run([sys.executable, "-c", script], input=b"", capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert b"standard input is not a terminal" in done.stderr


# --- the documents


def test_the_readme_has_the_key_table() -> None:
    readme = (ROOT / "README.md").read_text()
    begin, end = "<!-- keys -->", "<!-- /keys -->"
    assert readme.split(begin)[1].split(end)[0].strip() == markdown(), "run: uv run python scripts/readme.py"


def test_natalia_has_the_text_of_the_reference() -> None:
    reference = json.loads((Path(__file__).parent / "reference-smollm2-135m-q4_1.json").read_text())
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
    assert cli.main(["--json", "--model", "bundled", "--prompt", "a", "--context", "8000"]) == 0
    told = capsys.readouterr()
    said = re.search(r"context 8000 needs 184 MB beside 98 MB of weights, .* available: (\d+) tokens instead", told.err)
    assert said and json.loads(told.out)["model"]["context"] == int(said[1])
    monkeypatch.setattr(machine, "memory", lambda: (200_000_000, 200_000_000))
    told_too = refused(capsys, "--model", "bundled", "--prompt", "a")
    assert "it needs 246 MB of memory (98 MB for its weights) and this machine has 200 MB" in told_too


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


def test_the_log_of_a_game_has_no_text_of_the_player(tmp_path: Path, tiny: dict[str, Path]) -> None:
    """Also where the engine dies and comes back, something fails, or nothing that it says makes sense."""
    log = tmp_path / "log"
    faulty = (
        "import sys, tokex_gguf.game as game; from tokex_gguf.__main__ import run\n"
        "def fail(game, text): raise ValueError('wrong')\n"
        "game.Game._save = fail\n"
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
    assert terminal.ends() == 1
    text = log.read_text()
    assert "SIGKILL" in text and "ValueError: wrong" in text
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


def test_fingerprints_tell_files_apart(tmp_path: Path) -> None:
    data = bytes(300_000)
    prints = set()
    for index, changed in enumerate((data, data + b"\0", b"\1" + data[1:], data[:-1] + b"\1")):
        path = tmp_path / str(index)
        path.write_bytes(changed)
        prints.add(llama.fingerprint(path))
    assert len(prints) == 4
