"""`models` and `doctor`; `pull` is in test_hub.py."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake import started
from tests.pace import pace
from tests.sampling import few
from tokex_gguf.cli import cache, commands
from tokex_gguf.cli.model_table import model_lines
from tokex_gguf.engine.kv_folder import Content
from tokex_gguf.engine.worker.llama import default_threads
from tokex_gguf.models.catalogue import catalogue
from tokex_gguf.models.gguf import metadata
from tokex_gguf.sessions import codec
from tokex_gguf.system.console import Exit
from tokex_gguf.ui.cells import cells_of
from tokex_gguf.values.model_ref import GgufFile


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HOME", "HF_HUB_CACHE", "LLAMA_CACHE", "OLLAMA_MODELS", "XDG_CACHE_HOME", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "work" / "models").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tokex_gguf", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_models_lists_what_is_here(home: Path, tiny: dict[str, Path]) -> None:
    (home / "work" / "models" / "mine.gguf").symlink_to(tiny["qwen2"])
    (home / "work" / "models" / "broken.gguf").write_bytes(b"GGUF\3\0\0\0")
    done = run("models")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines["name"].split() == ["name", "from", "architecture", "quantization", "parameters", "size", "context"]
    assert lines["bundled"].split() == ["bundled", "bundled", "llama", "Q4_1", "135M", "98", "MB", "8,192"]
    assert lines["mine.gguf"].split()[1:4] == ["models/", "qwen2", "F32"]
    assert re.fullmatch(
        r"broken\.gguf +models/ +0 MB +unusable: the file ends inside its counts: .*", lines["broken.gguf"]
    )


WIDE = "qwen2.5-coder-漢字-1.5b-instruct-q4_k_m-and-more.gguf"


@pytest.mark.parametrize("width", [60, 80, 100, 130])
def test_the_lines_of_models_fit_a_terminal(home: Path, tiny: dict[str, Path], width: int) -> None:
    (home / "work" / "models" / WIDE).symlink_to(tiny["qwen2"])
    (home / "work" / "models" / "broken.gguf").write_bytes(b"GGUF\3\0\0\0")
    found = catalogue()
    head, *lines = model_lines(found, width)
    assert all(cells_of(line) <= width for line in (head, *lines))
    told = {place.name: line for (place, *_), line in zip(found, lines, strict=True)}
    assert "models/ " in told["broken.gguf"] and "  unusable: the file" in told["broken.gguf"]
    assert told[WIDE].startswith(WIDE if width == 130 else "qwen2.5-cod"), "as much of it as there is room for"
    if width >= 80:
        assert head.split()[-1] == "context" and told["bundled"].endswith("135M  98 MB    8,192")
        assert len({line.index("models/") for line in told.values() if "models/" in line and "漢" not in line}) == 1
    whole = model_lines(found, None)
    assert any(line.startswith(f"{WIDE}  models/") for line in whole) and "architecture" in whole[0]


def test_models_as_json(home: Path, tiny: dict[str, Path]) -> None:
    (home / "work" / "models" / "mine.gguf").symlink_to(tiny["qwen2"])
    (home / "work" / "models" / "broken.gguf").write_bytes(b"no GGUF")
    for part in ("big-00001-of-00002.gguf", "big-00002-of-00002.gguf"):
        (home / "work" / "models" / part).write_bytes(tiny["qwen2"].read_bytes())
    told = {model["name"]: model for model in json.loads(run("models", "--json").stdout)}
    about = metadata.read(tiny["qwen2"])
    assert told["mine.gguf"]["parameters"] == about.parameters
    assert told["mine.gguf"]["bytes"] == tiny["qwen2"].stat().st_size
    split = told["big-00001-of-00002.gguf"]
    assert [split[key] for key in ("files", "parameters", "bytes")] == [
        2 * count for count in (1, about.parameters, tiny["qwen2"].stat().st_size)
    ]
    assert told["bundled"]["architecture"] == "llama"
    assert "unusable" in told["broken.gguf"]


@pytest.mark.thorough
def test_a_thousand_models_are_listed_in_a_second(home: Path, tiny: dict[str, Path]) -> None:
    """Headers alone are read: the weights of these are longer by far."""
    folder = home / "work" / "models"
    shutil.copyfile(tiny["qwen2"], folder / "0.gguf")
    for index in range(1, 1000):
        (folder / f"{index}.gguf").hardlink_to(folder / "0.gguf")
    began = time.perf_counter()
    done = run("models")
    took = time.perf_counter() - began
    assert len(done.stdout.splitlines()) == 1002
    print(f"1,000 models listed in {took:.2f} s")
    assert took < 10 * pace(), "a noisy machine; one second on a quiet one"


def test_no_models_at_all_say_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from tokex_gguf.cli.commands import run as command
    from tokex_gguf.models import discovery

    monkeypatch.setattr(discovery, "on_disk", list)
    assert command("models", []) == 0
    assert "tokex-gguf pull NAME fetches one" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [("models", "--nonsense"), ("models", "--js"), ("pull", "a", "b"), ("pull", ""), ("doctor", "x")]
)
def test_wrong_arguments_are_one_line(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "try --help" in done.stderr


def test_doctor_on_a_sound_machine(home: Path, model_path: Path) -> None:
    (home / "work" / "models" / "here.gguf").symlink_to(model_path)
    done = run("doctor", "--model", "here.gguf", PYTHONUTF8="1", LINES="24", COLUMNS="80", HF_TOKEN="hf_secret")
    assert done.returncode == 0, done.stdout
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line and not line.startswith(" "))
    assert told["threads"].startswith(f"{default_threads()} of {os.cpu_count()} processors")
    assert "llama-cpp-python 0.3.36" in told["packages"]
    assert re.match(r"\d+\.\d+\.\d+\S* \(\S+\), CPU code ", told["llama.cpp"])
    assert re.search(r"; in use: \w+", told["processor"]) and "OPENMP" not in told["processor"]
    assert re.search(r"processors, (without )?OpenMP; GPU ", told["threads"])
    assert told["model"] == str(home / "work" / "models" / "here.gguf")
    assert "llama Q4_1, 98 MB; 4,096 tokens take 94 MB" in done.stdout
    assert told["environment"] == "HF_TOKEN: set"
    assert done.stdout.endswith("nothing wrong found\n")
    assert sum(len(line) // 80 + 1 for line in done.stdout.splitlines()) < 24, "one screen"


def test_doctor_says_what_is_played_where_nothing_is_fetched() -> None:
    done = run("doctor", HF_HUB_OFFLINE="1")
    assert done.returncode == 0 and "fetched at the first start" not in done.stdout
    assert "not fetched while HF_HUB_OFFLINE is set: the bundled SmolLM2-135M is played" in " ".join(
        done.stdout.split()
    )
    done = run("doctor", "--model", "nobody/nothing", HF_HUB_OFFLINE="1")
    assert done.returncode == 1 and "not fetched while HF_HUB_OFFLINE is set" in " ".join(done.stdout.split())


def test_doctor_says_that_a_model_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokex_gguf.cli.commands import run as command
    from tokex_gguf.system import machine

    monkeypatch.setattr(machine, "memory", lambda: (10**8, 10**8))
    assert command("doctor", ["-m", "bundled"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "this program can have 100 MB: take a smaller quantisation, or a smaller model" in said


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    few(
        [
            (("--model", "none.gguf"), {}, "no such file"),
            (("--model", "broken.gguf"), {}, "broken.gguf: "),
            ((), {"XDG_STATE_HOME": "/dev/null"}, "cannot be written: there will be no log"),
            ((), {"PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"}, "encoding is not UTF-8: set LANG"),
            ((), {"COLUMNS": "40", "LINES": "10"}, "smaller than 60x16"),
        ],
        of=2,
    ),
)
def test_doctor_names_what_is_wrong(
    arguments: tuple[str, ...], environment: dict[str, str], expected: str, home: Path
) -> None:
    (home / "work" / "models" / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    done = run("doctor", *arguments, **environment)
    assert done.returncode == 1
    assert expected in " ".join(done.stdout.partition("\n! ")[2].split()), done.stdout


def test_doctor_sees_a_broken_llama_cpp(home: Path) -> None:
    (home / "llama_cpp.py").write_text("raise OSError('libllama.so: cannot open')")
    done = run("doctor", PYTHONPATH=str(home))
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "! llama-cpp-python cannot be used (OSError: libllama.so: cannot open): install it anew" in said


def test_doctor_sees_a_broken_configuration(home: Path) -> None:
    (home / "work" / "config.toml").write_text("[engine]\nthreads = 'two'\n")
    done = run("doctor")
    assert done.returncode == 1 and "! config.toml: engine.threads: expected" in done.stdout


def test_sessions_shows_what_models_were_asked_for_as(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = home / "state" / "tokex-gguf" / "sessions"
    folder.mkdir(parents=True)
    game = started("abc").session
    names = {"one": "maker/model:Q8_0", "two": "", "three": "\x1b[2J" + "x" * 200 + "/end.gguf"}
    for name, asked in names.items():
        settings = replace(game.game.settings, model=GgufFile("fake.gguf", asked))
        session = replace(game, game=replace(game.game, settings=settings))
        (folder / f"{name}.json").write_bytes(codec.dump(session))
    assert commands.run("sessions", []) == 0
    lines = {line.split()[-1]: line for line in capsys.readouterr().out.splitlines()}
    assert re.search(r" 3  Fake   maker/model:Q8_0 +one$", lines["one"])
    assert re.search(r" 3  Fake +two$", lines["two"])
    assert re.search(r" 3  Fake +…?x+/end\.gguf +three$", lines["three"]) and "\x1b" not in lines["three"]
    assert len({line.index("Fake") for name, line in lines.items() if name != "name"}) == 1


@pytest.mark.parametrize(("arguments", "action"), [(["rm", "one", "2"], "rm"), (["rename", "2", "other"], "rename")])
def test_sessions_are_not_changed_by_their_numbers(home: Path, arguments: list[str], action: str) -> None:
    folder = home / "state" / "tokex-gguf" / "sessions"
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        (folder / f"{name}.json").write_bytes(codec.dump(started("abc").session))
    with pytest.raises(Exit, match=f"^there is no session 2: {action} takes the name, in the list's last column$"):
        commands.run("sessions", arguments)
    assert {path.name for path in folder.glob("*.json")} == {"one.json", "two.json"}, "none of them"


def test_a_session_may_be_called_by_a_number(home: Path) -> None:
    folder = home / "state" / "tokex-gguf" / "sessions"
    folder.mkdir(parents=True)
    (folder / "2.json").write_bytes(codec.dump(started("abc").session))
    assert commands.run("sessions", ["rm", "2"]) == 0
    assert not list(folder.glob("*.json"))


# --- cache


def kept(home: Path, model: str, size: int) -> None:
    """A part of a path in the cache."""
    from tokex_gguf.engine.kv_file import KvPart
    from tokex_gguf.engine.kv_folder import KvFolder

    folder = KvFolder(home / ".cache" / "tokex-gguf" / "kv", f"{size}\n{model}", whole=False)
    folder.keep(KvPart(0, [1, 2, 3], 0, [], None), [], bytes(size), 1 << 30)


def test_a_line_of_the_cache_fits_a_terminal() -> None:
    for name in ("Smollm2 135M 8k Lc100K Mix1 Ep2", "漢" * 40):
        one = Content(f"{name} (llama Q4_1)", 1, 3_000_000, 0.0)
        narrow, whole = cache.line(one, 80), cache.line(one, None)
        assert 78 < cells_of(narrow) <= 80 and narrow.endswith("… (llama Q4_1)")
        assert cache.line(one, 200) == whole and whole.endswith(f"  {name} (llama Q4_1)")
    assert cells_of(cache.line(one, 50)) <= 50
    assert cache.line(Content("unreadable", 1, 0, 0.0), 80).endswith("  unreadable")
    assert "\x1b" not in cache.line(Content("\x1b[2J", 1, 0, 0.0), 80)


@pytest.mark.skipif(sys.platform != "linux", reason="the folder's place is that of Linux")
def test_the_cache_is_told_by_models_and_cleared(home: Path) -> None:
    folder = home / ".cache" / "tokex-gguf" / "kv"
    assert run("cache").stdout == f"0 MB of 1.1 GB in {folder}\n"
    kept(home, "one \x1b[31m model", 2_000_000)
    kept(home, "another", 3_000_000)
    done = run("cache")
    assert (done.returncode, done.stderr) == (0, "")
    first, *models = done.stdout.splitlines()
    assert first == f"5 MB of 1.1 GB in {folder}"
    assert [line.split()[:4] for line in models] == [["3", "MB", "1", "file"], ["2", "MB", "1", "file"]]
    assert models[0].endswith("  another")
    assert "prompt cache  5 MB of 1.1 GB in ~/.cache/tokex-gguf/kv\n" in run("doctor", "--model", "bundled").stdout
    done = run("cache", "clear")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "tokex-gguf: 2 files removed, 5 MB\n")
    assert run("cache", "clear").stderr == f"tokex-gguf: nothing is kept in {folder}\n"
    (home / "work" / "config.toml").write_text("[engine]\ncache = 0\n")
    assert run("cache").stdout == f"0 MB, and no more (cache = 0) in {folder}\n"
    (home / "work" / "config.toml").write_text("[engine]\ncache = -1\n")
    done = run("cache")
    assert done.returncode == 2 and "engine.cache: expected a whole number from 0 to 1000000" in done.stderr
