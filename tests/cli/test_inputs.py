"""Files and arguments of every wrong kind, given on the real command line: a documented exit code, and one line.

Where an input is fine, a fake engine answers; what becomes of such texts in a model, other tests tell.
"""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from tests import fake
from tests.fake import started
from tests.figures import Figure
from tests.sampling import few
from tests.ui.test_app import FakeEngine
from tokex_gguf.cli import inputs, main
from tokex_gguf.sessions import codec

SECONDS = 5.0
"""Of a processor, for what the program says of an input."""
SEED = int(os.environ.get("INPUTS_SEED", "1"))
PIPE, SOCKET, FOLDER, DANGLING, LOOP, SPARSE = "pipe", "socket", "folder", "dangling", "loop", "sparse"

Content = bytes | str
"""A file's bytes, or what stands there in place of a plain file."""

chance = random.Random(SEED)

# --- texts, and what the program does with them

INPUTS: dict[str, tuple[Content, int]] = {
    "plain": (b"hello", 0),
    "final line break": (b"hello\n", 0),
    "CRLF": (b"one\r\ntwo\r\n", 0),
    "lone CR": (b"one\rtwo\r", 0),
    "only CR": (b"\r", 0),
    "LF CR": (b"a\n\r", 0),
    "two line breaks": (b"\n\n", 0),
    "space": (b" ", 0),
    "BOM": (b"\xef\xbb\xbfhello", 0),
    "only a BOM": (b"\xef\xbb\xbf", 2),
    "control characters": (bytes(range(1, 32)), 0),
    "escape sequences": (b"\x1b]0;x\x07\x1b[2J\x1b[?1049h", 0),
    "C1": ("\x9b31m\x85\x90".encode(), 0),
    "writing directions": ("\u202e\u2066\u200f".encode(), 0),
    "line separators": ("\u2028\u2029\x0b\x0c".encode(), 0),
    "last character": ("\U0010ffff\ufffe\uffff".encode(), 0),
    "marks": (("e" + "\u0301" * 500).encode(), 0),
    "family": ("👨‍👩‍👧‍👦🇩🇪".encode(), 0),
    "a long line": (b"x" * 500, 0),
    "many lines": (b"\n" * 500, 0),
    "special names": (b"<|im_start|><s></s><unk><0x00>", 0),
    "percent": (b"%s %d {} {0} \\N{BEL} $HOME `id`", 0),
    "empty": (b"", 2),
    "one line break": (b"\n", 2),
    "one CRLF": (b"\r\n", 2),
    "zero": (b"\0", 2),
    "zero at the end": (b"hello\0", 2),
    "zeros": (bytes(100_000), 2),
    "Latin-1": (b"caf\xe9", 2),
    "cp1252": (b"\x93quoted\x94", 2),
    "Shift JIS": ("日本語".encode("shift_jis"), 2),
    "UTF-16": ("hi".encode("utf-16"), 0),
    "half of UTF-16": ("hi".encode("utf-16")[:-1], 2),
    "UTF-16 BE": ("hi".encode("utf-16-be"), 2),
    "UTF-32": ("hi".encode("utf-32"), 0),
    "UTF-7 is ASCII": (b"+AGE-", 0),
    "half a character": (b"caf\xc3", 2),
    "half an emoji": (b"\xf0\x9f\x99", 2),
    "overlong": (b"\xc0\x80", 2),
    "surrogate": (b"\xed\xa0\x80", 2),
    "beyond Unicode": (b"\xf4\x90\x80\x80", 2),
    "continuation": (b"\x80", 2),
    "FE FF": (b"\xfe\xff", 2),
    "gzip": (b"\x1f\x8b\x08\x00\x00", 2),
    "PNG": (b"\x89PNG\r\n\x1a\n\x00", 2),
    "ELF": (b"\x7fELF\x02\x01\x01\x00", 2),
    "GGUF": (b"GGUF\x03\x00\x00\x00", 2),
    "noise": (chance.randbytes(5000), 2),
    "too large": (b"a" * (inputs.MOST_BYTES + 1), 2),
    PIPE: (PIPE, 2),
    SOCKET: (SOCKET, 2),
    FOLDER: (FOLDER, 2),
    DANGLING: (DANGLING, 2),
    LOOP: (LOOP, 2),
    SPARSE: (SPARSE, 2),
}
"""Given with --input."""

CONFIGS: dict[str, tuple[Content, int]] = {
    "empty": (b"", 0),
    "comment": (b"# nothing", 0),
    "CRLF": (b"[engine]\r\nthreads = 1\r\n", 0),
    "blank": (b"\n\n\t \n", 0),
    "dotted": (b"engine.threads = 1", 0),
    "quoted": (b'"engine"."threads" = 1', 0),
    "inline": (b"engine = {threads = 1}", 0),
    "hexadecimal": (b"[engine]\nthreads = 0x1", 0),
    "underscores": (b"[engine]\nthreads = 1_0", 0),
    "dots in a text": (b'[prompt]\nexample_prompt = "' + b"a. b. " * 15 + b'"', 0),
    "ellipses": (b'[prompt]\nexample_prompt = "' + b"... " * 500 + b'"', 0),
    "long text": (b"[prompt]\nexample_prompt = '" + b"a" * 500 + b"'", 0),
    "several lines": (b'[prompt]\nexample_prompt = """\na\nb"""', 0),
    "escapes": (rb"[prompt]" b"\n" rb'example_prompt = "\u001b[2J\u202e"', 0),
    "comments": (b"# a\n" * 50_000, 0),
    "BOM": (b"\xef\xbb\xbf[engine]\n", 0),
    "lone CR": (b"[engine]\rthreads = 1\r", 2),
    "zero": (b"[engine]\0", 2),
    "Latin-1": (b"# caf\xe9", 2),
    "UTF-16": ("[engine]".encode("utf-16"), 0),
    "UTF-16 BE": ("[engine]".encode("utf-16-be"), 2),
    "noise": (chance.randbytes(5000), 2),
    "too large": (b"#" * 300_000, 2),
    "a key of many parts": (b".".join([b"a"] * 100_000) + b" = 1", 2),
    "a quoted key of many parts": (b" . ".join([b'"a"', b"'b'"] * 20_000) + b" = 1", 2),
    "a table of many parts": (b"[" + b".".join([b"a"] * 100_000) + b"]", 2),
    "below a table of many parts": (b"[" + b".".join([b"a"] * 5000) + b"]\n" + b"b.c = 1\n" * 20_000, 2),
    "many parts within": (b"x = {" + b".".join([b"a"] * 100_000) + b" = 1}", 2),
    "many keys": (b"".join(b"a.b%d.c = 1\n" % n for n in range(15_000)), 2),
    "many parts, almost": (b"".join(b".".join([b"a"] * 31 + [b"b%d" % n]) + b" = 1\n" for n in range(3000)), 2),
    "a word": (b"a" * 250_000, 2),
    "words": (b"a " * 120_000, 2),
    "quotes": (b"'\"" * 120_000, 2),
    "many tables": (b"[[engine]]\n" * 20_000, 2),
    "brackets": (b"x = " + b"[" * 100_000, 2),
    "lists": (b"x = " + b"[" * 500 + b"]" * 500, 2),
    "braces": (b"x = " + b"{a=" * 10_000, 2),
    "nested tables": (b"x = " + b"{a=" * 300 + b"1" + b"}" * 300, 2),
    "an open text": (b"[model]\nname = 'x", 2),
    "an open long text": (b"[model]\nname = '''" + b"x\n" * 1000, 2),
    "twice a key": (b"[engine]\nthreads = 1\nthreads = 2", 2),
    "twice a table": (b"[engine]\n[engine]", 2),
    "a table and a key": (b"engine = 1\n[engine]", 2),
    "an array of tables": (b"[[engine]]\nthreads = 1", 2),
    "a text for a number": (b"[engine]\nthreads = '1'", 2),
    "a fraction": (b"[engine]\nthreads = 1.5", 2),
    "no number": (b"[engine]\nthreads = nan", 2),
    "no end": (b"[engine]\nthreads = inf", 2),
    "octal": (b"[engine]\nthreads = 010", 2),
    "a date": (b"[engine]\nthreads = 1979-05-27", 2),
    "a wrong date": (b"[engine]\nthreads = 1979-02-31", 2),
    "too many digits": (b"[engine]\nthreads = " + b"9" * 5000, 2),
    "too many hexadecimal digits": (b"[engine]\nthreads = 0x" + b"f" * 100_000, 2),
    "negative": (b"[engine]\nthreads = -1", 2),
    "too much": (b"[engine]\ncontext = 10000001", 2),
    "a truth value": (b"[engine]\nthreads = true", 2),
    "a number for a truth value": (b"[prompt]\nparse_special = 1", 2),
    "a list for a text": (b"[model]\nname = ['a']", 2),
    "a list for a choice": (b"[display]\ntheme = ['auto']", 2),
    "a table for a choice": (b"[display.theme]\na = 1", 2),
    "an empty text": (b"[prompt]\nexample_prompt = ''", 2),
    "an unknown table": (b"[engines]", 2),
    "an unknown key": (b"[engine]\nthread = 1", 2),
    "an empty key": (b"'' = 1", 2),
    "a key of control characters": (rb'"\u001b[2J\n\u202e" = 1', 2),
    "a key of surrogates": (rb'"\ud800" = 1', 2),
    "a text of surrogates": (rb"[model]" b"\n" rb'name = "\udfff"', 2),
    "an escape that is none": (rb"[model]" b"\n" rb'name = "\x41"', 2),
    "a bare text": (b"[model]\nname = qwen", 2),
    "JSON": (b'{"engine": {"threads": 1}}', 2),
    "YAML": (b"engine:\n  threads: 1\n", 2),
    PIPE: (PIPE, 2),
    SOCKET: (SOCKET, 2),
    FOLDER: (FOLDER, 2),
    DANGLING: (DANGLING, 2),
    LOOP: (LOOP, 2),
    SPARSE: (SPARSE, 2),
}
"""Given with --config."""

MODELS: dict[str, tuple[Content, int]] = {
    "empty": (b"", 2),
    "magic": (b"GGUF", 2),
    "magic and noise": (b"GGUF" + chance.randbytes(5000), 2),
    "version 2**32 - 1": (b"GGUF" + b"\xff" * 100, 2),
    "zeros": (b"GGUF" + bytes(100_000), 2),
    "text": (b"a model", 2),
    PIPE: (PIPE, 2),
    SOCKET: (SOCKET, 2),
    FOLDER: (FOLDER, 2),
    DANGLING: (DANGLING, 2),
    LOOP: (LOOP, 2),
    SPARSE: (SPARSE, 2),
}
"""Given with --model."""

LOGS: dict[str, tuple[Content, int]] = {
    "there": (b"older\n", 0),
    PIPE: (PIPE, 2),
    SOCKET: (SOCKET, 2),
    FOLDER: (FOLDER, 2),
    LOOP: (LOOP, 2),
    "not in a folder": ("not in a folder", 0),
}
"""Given with --log."""

NAMES = [
    *("name\nwith\nlines", "\x1b[2J", "\x07\x08\x7f", "\u202egpj", " ", "tab\there", "quote'\"", "--dashes", "ünï"),
    *("\udcff\udc80", "%s%n", "*", "a" * 255, "🙂" * 60),
]
"""Files of these names can be."""

ARGUMENTS: list[tuple[list[str], int]] = [
    (["--prompt", "a"], 0),
    (["--prompt", "a\x1b[2J\nb"], 0),
    (["--prompt", "-"], 0),
    (["--prompt=--json"], 0),
    (["--prompt", ""], 2),
    (["--prompt", "\udcff"], 2),
    (["--prompt", "a\ud800b"], 2),
    (["--prompt"], 2),
    (["--input"], 2),
    (["--input", ""], 2),
    (["--input", "a\0b"], 2),
    (["--input", "a" * 5000], 2),
    (["--input", "a/" * 3000], 2),
    (["--input", "\udcff"], 2),
    (["--input", "missing\n\x1b[2J"], 2),
    (["--input", "/dev/zero"], 2),
    (["--input", "/dev/null"], 2),
    (["--input", "/dev/full"], 2),
    (["--input", "/dev/random"], 2),
    (["--input", "/dev/tty"], 2),
    (["--input", "/dev/fd/987"], 2),
    (["--input", "/proc/self/mem"], 2),
    (["--input", "/"], 2),
    (["--input", "."], 2),
    (["--input", "a", "--prompt", "b"], 2),
    (["--config", ""], 2),
    (["--config", "a\0b"], 2),
    (["--config", "a" * 5000], 2),
    (["--config", "\udcff"], 2),
    (["--config", "/dev/zero"], 2),
    (["--config", "/dev/null"], 0),
    (["--no-config"], 0),
    (["--no-config", "--config", "/dev/null"], 2),
    (["--prompt", "a", "--prompt", "b"], 2),
    (["--prompt", "a", "-p", "a"], 2),
    (["--input", "a", "--file", "b"], 2),
    (["--model", "a", "--model", "b"], 2),
    (["--model", "sound.gguf", "--threads", "1", "-t", "1", "--prompt", "a"], 2),
    (["a", "--prompt", "b"], 2),
    (["--prompt", "b", "a"], 2),
    (["a", "--input", "b"], 2),
    (["a", "--resume", "1"], 2),
    (["a", "b"], 2),
    (["sound.gguf"], 2),
    (["models"], 2),
    (["--json", "pull"], 2),
    (["Once upon a time"], 2),
    (["--chat", "--resume"], 2),
    (["--config", "missing"], 2),
    (["--log", "a\0b", "--prompt", "a"], 2),
    (["--log", "a" * 5000, "--prompt", "a"], 2),
    (["--log", "/proc/nothing/log", "--prompt", "a"], 2),
    (["--log", "", "--prompt", "a"], 2),
    (["--log", "/dev/null", "--prompt", "a"], 0),
    (["--log", "\udcff", "--prompt", "a"], 0),
    (["--model", ""], 2),
    (["--model", "a\0b"], 2),
    (["--model", "a" * 5000], 2),
    (["--model", "\udcff"], 2),
    (["--model", "\x1b[2J\n"], 2),
    (["--model", "/dev/zero"], 2),
    (["--model", "~nobody/x.gguf"], 2),
    (["--context", "0", "--prompt", "a"], 0),
    (["--context", "-1"], 2),
    (["--context", "1e3"], 2),
    (["--context", "٣"], 2),
    (["--context", "9" * 5000], 2),
    (["--context", "0x10"], 2),
    (["--context", " 5"], 2),
    (["--context", "\n"], 2),
    (["--context", "\udcff"], 2),
    (["--threads", "²"], 2),
    (["--threads", ""], 2),
    (["--kv", "f32"], 2),
    (["--kv", "\x1b"], 2),
    (["--gpu-layers", "nan"], 2),
    (["--nonsense"], 2),
    (["--\x1b[2J"], 2),
    (["--\udcff"], 2),
    (["stray", "\n"], 2),
    (["--plain", "--json"], 2),
    (["a" * 100_000], 2),
    (["--chat", "--prompt", '[{"role": "pirate", "content": "a"}]'], 2),
    (["--chat", "--prompt", '[{"role": "user", "content": 5}]'], 2),
    (["--chat", "--prompt", '[{"role": "user"}]'], 2),
]
"""Given as they are."""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, a model that is there, and an engine that answers at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    (tmp_path / "sound.gguf").write_bytes(tiny["qwen2"].read_bytes())


def place(content: Content, path: Path) -> None:
    """Makes what a path is to lead to."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == PIPE:
        os.mkfifo(path)
    elif content == SOCKET:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    elif content == FOLDER:
        path.mkdir()
    elif content == DANGLING:
        path.symlink_to("nowhere")
    elif content == LOOP:
        path.symlink_to(path.name)
    elif content == SPARSE:
        path.touch()
        os.truncate(path, 10**12)


class Told:
    """What the program says, held against what it may say."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys, self.count, self.slowest, self.wrong = capsys, 0, 0.0, list[str]()

    def given(self, name: str, arguments: list[str], *codes: int, screen: bool = False) -> None:
        """Runs the program; it must end with one of these codes."""
        shape: list[str] = [] if screen else [["--plain"], ["--json"]][self.count % 2]
        self.count += 1
        began = time.process_time()  # by the clock on the wall, others' work would count
        with patch.object(sys.stdout, "isatty", lambda: screen), patch.object(sys.stdin, "isatty", lambda: screen):
            got = main.main([*arguments, *shape], connect=FakeEngine)
        took = time.process_time() - began
        self.slowest = max(self.slowest, took)
        out, err = self.capsys.readouterr()
        lines = err.removesuffix("\n").split("\n") if err else []
        fine = (
            got in codes
            and (len(lines) == 1 and not out if got else bool(out))
            and all(line.startswith("tokex-gguf: ") and line.isprintable() for line in lines)
            and "internal error" not in err
            and len(err) < 1000
        )
        if not fine:
            self.wrong.append(f"{name}: exit code {got} for {codes}, {took:.1f} s: {err[:300]!r}")

    def end(self, figure: Figure, what: str, least: int) -> None:
        assert not self.wrong, "\n".join(self.wrong)
        assert self.count >= least
        figure(self.count, what, seed=SEED, seconds_of_the_slowest=self.slowest)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(capsys)


SOUND = ["--model", "sound.gguf"]


@pytest.mark.parametrize(
    ("option", "kinds", "more"),
    [
        ("--input", INPUTS, SOUND),
        ("--config", CONFIGS, SOUND),
        ("--model", MODELS, ["--prompt", "a"]),
        ("--log", LOGS, [*SOUND, "--prompt", "a"]),
    ],
    ids=["inputs", "configurations", "models", "logs"],
)
def test_files(
    option: str, kinds: dict[str, tuple[Content, int]], more: list[str], told: Told, tmp_path: Path, figure: Figure
) -> None:
    for number, (name, (content, code)) in enumerate(kinds.items()):
        path = tmp_path / f"{number}.gguf"
        place(content, path)
        told.given(name, [*more, f"{option}={path.name}"], code)
    told.end(figure, "files", len(kinds))


def test_names_of_files(told: Told, tmp_path: Path, figure: Figure) -> None:
    for name in NAMES:
        (tmp_path / name).write_text("hello")
        told.given(f"input {name!r}", [*SOUND, f"--input={name}"], 0)
        told.given(f"config {name!r}", [*SOUND, f"--config={name}"], 2)
        told.given(f"model {name!r}", [f"--model={name}", "--prompt=a"], 2)
        (tmp_path / name).write_text("caf\xe9", encoding="latin-1")
        told.given(f"wrong input {name!r}", [*SOUND, f"--input={name}"], 2)
        (tmp_path / name).unlink()
        told.given(f"log {name!r}", [*SOUND, f"--log={name}", "--prompt=a"], 0)
    told.end(figure, "names of files", 5 * len(NAMES))


def test_arguments(told: Told, figure: Figure) -> None:
    for arguments, code in ARGUMENTS:
        told.given(repr(arguments)[:80], [*([] if "--model" in arguments else SOUND), *arguments], code)
    told.end(figure, "arguments", len(ARGUMENTS))


# --- sessions


GOOD = codec.dump(started("hello").session)

SESSIONS: dict[str, tuple[Content, int]] = {
    "good": (GOOD, 0),
    "without prompts": (codec.dump(fake.Play().session), 0),
    "empty": (b"", 1),
    "text": (b"a session", 1),
    "cut off": (GOOD[:-100], 1),
    "another checksum": (GOOD.replace(b'"crc32":', b'"crc32":1'), 1),
    "a newer version": (GOOD.replace(b'"version":2', b'"version":3'), 1),
    "BOM": (b"\xef\xbb\xbf" + GOOD, 1),
    "CRLF": (GOOD.replace(b",", b",\r\n"), 1),
    "UTF-16": (GOOD.decode().encode("utf-16"), 1),
    "zeros": (bytes(100_000), 1),
    "noise": (chance.randbytes(5000), 1),
    "a list": (b"[]", 1),
    "null": (b"null", 1),
    "a number": (b"1" * 5000, 1),
    "deep": (b"[" * 200_000, 1),
    "deep objects": (b'{"a":' * 100_000, 1),
    "another format": (b'{"format": "a game"}', 1),
    "nothing inside": (codec.seal(b"{}"), 1),
    "a list inside": (codec.seal(b"[]"), 1),
    "deep inside": (codec.seal(b"[" * 100_000 + b"]" * 100_000), 1),
    "keys twice": (codec.seal(b'{"file": "a", "file": "b", "file": "\\u001b[2J"}'), 1),
    "wrong types": (codec.seal(b'{"file": 1, "model": [], "prompts": {}, "nodes": null, "pieces": 1e400}'), 1),
    "a path with zero": (codec.seal(b'{"file": "a\\u0000b"}'), 1),
    PIPE: (PIPE, 1),
    SOCKET: (SOCKET, 1),
    FOLDER: (FOLDER, 1),
    SPARSE: (SPARSE, 1),
}
"""Given with --session."""


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Their folder; where one is there, it is not played."""
    monkeypatch.setattr(main, "_play", lambda *_: print("played") or 0)
    folder = tmp_path / "xdg_state_home" / "tokex-gguf" / "sessions"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("generation", ["", ".1"])
def test_sessions(generation: str, told: Told, sessions: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    for number, (name, (content, code)) in enumerate(SESSIONS.items()):
        monkeypatch.chdir(sessions)
        place(content, Path(f"s{number}{generation}.json"))
        monkeypatch.chdir(sessions.parents[2])
        told.given(name, [*SOUND, f"--session=s{number}"], code, screen=True)
    told.end(figure, "sessions", len(SESSIONS))


# --- damage at random


def spoiled(data: bytes, chance: random.Random) -> bytes:
    """A text with some of its bytes changed, moved or doubled."""
    data = data or b"x"
    for _ in range(chance.choice([1, 1, 2, 5])):
        at, length = chance.randrange(len(data)), chance.choice([1, 1, 4, 30])
        other = chance.randrange(len(data))
        new = chance.choice([chance.randbytes(length), b"", data[other : other + length], b"\0", b'"', b"[", b"\xff"])
        data = data[:at] + new + data[at + length :] or b"x"
    return data


def spoil(count: int, told: Told, folder: Path, sessions: Path, figure: Figure) -> None:
    """Gives the program damaged files of each kind."""
    chance = random.Random(SEED)
    kinds = [(option, list(kinds)) for option, kinds in (("--input", INPUTS.values()), ("--config", CONFIGS.values()))]
    whole = (Path(__file__).parent.parent.parent / "config.toml").read_bytes()
    for number in range(count):
        option, contents = chance.choice(kinds)
        data = b""
        while not data or len(data) > 10_000:
            content = chance.choice(contents)[0]
            data = content if isinstance(content, bytes) else whole
        path = folder / "spoiled"
        path.write_bytes(spoiled(data, chance))
        told.given(f"{option} {number}", [*SOUND, f"{option}={path}"], 0, 2)
        (sessions / "one.json").write_bytes(spoiled(GOOD, chance))
        told.given(f"session {number}", [*SOUND, "--session=one"], 0, 1, screen=True)
    told.end(figure, "damaged files", 2 * count)


def test_damaged_files(told: Told, tmp_path: Path, sessions: Path, figure: Figure) -> None:
    spoil(30, told, tmp_path, sessions, figure)


@pytest.mark.soak
def test_many_damaged_files(told: Told, tmp_path: Path, sessions: Path, figure: Figure) -> None:
    spoil(1500, told, tmp_path, sessions, figure)
    assert told.slowest < SECONDS


@pytest.mark.parametrize("make", few([lambda: "--input=<(printf hello)", lambda: "--input=/dev/stdin"], of=2))
def test_a_pipe_with_a_writer_is_read(make: Callable[[], str]) -> None:
    """Process substitution, and standard input by its name."""
    command = f"printf hello | {sys.executable} -m tokex_gguf --json --model sound.gguf {make().replace('=', ' ')}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert b'"text"' in done.stdout


@pytest.mark.parametrize("option", ["--input", "--config", "--log"])
def test_pipes_without_a_writer_are_refused_by_the_whole_program(option: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = subprocess.run(
        [sys.executable, "-m", "tokex_gguf", "--plain", "--model", "sound.gguf", option, "pipe"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert b"Traceback" not in done.stderr
