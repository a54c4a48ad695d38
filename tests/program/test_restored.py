"""However the program ends, and whatever it was doing: the terminal is as it was, and the engine is gone.

The long form: `pytest -m soak tests/program/test_restored.py`.
"""

import array
import fcntl
import os
import re
import select
import shutil
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.figures import Figure
from tests.program.test_play import elsewhere
from tests.sampling import few, some
from tests.terminal import Terminal

__all__ = ["elsewhere"]

SHELL = """
import os, signal, sys
notes, command = sys.argv[1], sys.argv[2:]
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_DFL)  # one that comes before exec must not be lost
pid = os.fork()
if not pid:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(command[0], command)
def foreground(*_):
    os.tcsetpgrp(0, pid)
    os.killpg(pid, signal.SIGCONT)
signal.signal(signal.SIGUSR1, foreground)
open(notes + "~", "w").write(str(pid))
os.rename(notes + "~", notes)
while True:
    _, status = os.waitpid(pid, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)
    os.write(1, b"[stopped]")
"""
"""A shell with one job, that leaves the terminal's modes alone: what is wrong with them is the job's doing."""

FAULTY = """
import asyncio, signal, sys, threading
from tokex_gguf.__main__ import run
from tokex_gguf.ui.app import App
def fail(*_):
    raise {error}("wrong")
prepare = App._prepare
def prepared(app):
    prepare(app)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, fail)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, lambda: threading.Thread(target=fail).start())
App._prepare = prepared
sys.exit(run())
"""
"""The program with two ways to fail, in the event loop and in a thread."""

STUCK = """
import asyncio, os, re, signal, sys, threading, time
from tokex_gguf.__main__ import run
from tokex_gguf.ui.app import App
def told():
    os.write(2, b"[stuck]")
def computing():
    told()
    while True:
        pass
def drawing():
    app._renderer.screen = lambda *_: computing()
    app._application.invalidate()
def swallowing():
    told()
    while True:
        try:
            time.sleep(0.001)
        except BaseException:
            pass
def asleep():
    told()
    time.sleep(1000)
def locked():
    lock = threading.Lock()
    lock.acquire()
    told()
    lock.acquire()
def writing():
    told()
    while True:
        os.write(1, b"a" * 1000)
def faulty():
    import ctypes
    ctypes.string_at(0)
prepare = App._prepare
def prepared(self):
    global app
    app = self
    prepare(self)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, {stuck})
App._prepare = prepared
sys.exit(run())
"""
"""The program, which hangs after a signal, with the terminal in its hands."""

PAIRS = {
    "the alternate screen": (b"\x1b[?1049h", b"\x1b[?1049l"),
    "bracketed paste": (b"\x1b[?2004h", b"\x1b[?2004l"),
    "the mouse": (b"\x1b[?1000h", b"\x1b[?1000l"),
    "the mouse's movements": (b"\x1b[?1003h", b"\x1b[?1003l"),
    "the mouse's numbers": (b"\x1b[?1006h", b"\x1b[?1006l"),
    "the hidden cursor": (b"\x1b[?25l", b"\x1b[?25h"),
}
"""What is entered, and left."""

LEAVING = 0.4
"""Seconds that quitting may take; 0.2 on a machine with nothing else to do."""

BUSY = "The quick brown fox jumps over the lazy dog. " * 400


class Job(Terminal):
    """The program as a job of a shell."""

    def __init__(self, tmp_path: Path, *arguments: str, program: tuple[str, ...] = ("-m", "tokex_gguf")) -> None:
        notes = tmp_path / f"pid-{time.monotonic_ns()}"
        (tmp_path / "config.toml").write_text("[engine]\nlookahead = 0\n")
        shell = [sys.executable, "-S", "-c", SHELL, str(notes), sys.executable, *program, *arguments]
        super().__init__(command=shell)
        while not notes.exists():
            self.pump()
        self.pid = int(notes.read_text())

    def children(self) -> list[int]:
        """The processes that the program has started: the engine, and an editor."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def engine_pid(self) -> int:
        (pid,) = (pid for pid in self.children() if "tokex_gguf.engine" in Path(f"/proc/{pid}/cmdline").read_text())
        return pid

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def suspend(self, *keys: str, number: int = 0) -> None:
        """Stops the program by keys or a signal, and waits until the shell has the terminal."""
        count = self.raw.count(b"[stopped]")
        self.press(*keys)
        if number:
            self.kill(number)
        self.until(lambda _: self.raw.count(b"[stopped]") > count)

    def give(self) -> None:
        """Gives it the terminal."""
        os.kill(self.child.pid, signal.SIGUSR1)
        self.until(lambda _: os.tcgetpgrp(self.child.child_fd) == self.pid)

    def foreground(self) -> None:
        """Lets it go on; waits until it has drawn its screen anew."""
        self.screen.reset()
        frames = self.raw.count(b"\x1b[?1049h")
        self.give()
        self.until(lambda _: self.raw.count(b"\x1b[?1049h") > frames)

    def until_gone(self, pid: int) -> None:
        """Waits for another process's end."""
        end = time.monotonic() + 10
        while not gone(pid):
            assert time.monotonic() < end, "a process is left"

    def end(self) -> int:
        """Waits for the program's end, and looks at what it leaves; its exit code."""
        end = time.monotonic() + 20
        while self.child.isalive() and time.monotonic() < end:
            self.pump()
        for _ in range(5):
            self.pump()
        self.is_restored()
        return self.ends()

    def is_restored(self) -> None:
        """Says what is not as it was."""
        assert termios.tcgetattr(self.child.child_fd) == self.before, "the terminal's modes"
        for name, (entered, left) in PAIRS.items():
            assert self.raw.rfind(left) >= self.raw.rfind(entered), name
        assert b"Traceback" not in self.raw


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has asked for its end yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def shown(job: Job, *keys: str, until: str) -> None:
    job.shows(r"\bready\b")
    job.press(*keys)
    job.shows(until)


def engine_died(job: Job) -> None:
    job.shows(r"\bready\b")
    os.kill(job.engine_pid(), signal.SIGSEGV)
    job.shows("press r to restart it")


def engine_hangs(job: Job) -> None:
    job.shows(r"\bready\b")
    os.kill(job.engine_pid(), signal.SIGSTOP)
    job.press("right")
    job.shows("working")


def suspended(job: Job) -> None:
    job.shows(r"\bready\b")
    job.suspend("\x1a")
    job.is_restored()


def resumed(job: Job) -> None:
    suspended(job)
    job.foreground()
    job.shows(r"\bready\b")


def pasting(job: Job) -> None:
    job.shows(r"\bready\b")
    paste = "\x1b[200~half a paste"
    before = has_read(job.pid)
    job.press(paste)
    slave = os.open(f"/proc/{job.pid}/fd/0", os.O_RDONLY | os.O_NOCTTY)
    waiting = array.array("i", [1])
    # A key that comes in one piece with the paste is a part of it; and the system hands bytes over when it likes.
    while waiting[0] or has_read(job.pid) < before + len(paste):
        job.pump()
        fcntl.ioctl(slave, termios.FIONREAD, waiting)
    os.close(slave)


def has_read(pid: int) -> int:
    """Bytes that a process has read, from anywhere."""
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


def too_small(job: Job) -> None:
    job.shows(r"\bready\b")
    job.child.setwinsize(10, 50)
    job.screen.resize(10, 50)
    job.shows("needs 60x16 cells")


State = Callable[[Job], object]

STATES: dict[str, State] = {
    # Before that, a signal meets Python's own start and nothing of the program's.
    "starting": lambda job: job.until(lambda _: job.children()),
    "loading": lambda job: job.until(lambda _: b"\x1b[?1049h" in job.raw),
    "ready": lambda job: shown(job, until="ready"),
    "working": lambda job: job.shows(r"working +[1-9]\d*/"),
    "help": lambda job: shown(job, "?", until="Pop the prompt's last token"),
    "search": lambda job: shown(job, "/", until="search:"),
    "searched": lambda job: shown(job, "/", "the", until=r"\d+ found"),
    "typing": lambda job: shown(job, "i", until="ctrl|\\^P|score"),
    "typed": lambda job: shown(job, "i", " there", until="joint p"),
    "tree": lambda job: shown(job, "t", until="go there"),
    "prompts": lambda job: shown(job, "p", until="example|open"),
    "looking back": lambda job: shown(job, ",", until="looking at"),
    "layer": lambda job: shown(job, "e", until="probability 0 "),
    "mouse": lambda job: shown(job, "z", until="mouse on"),
    "autoplay": lambda job: shown(job, " ", until=r"tokens: [\d,]{2,} "),
    "editor": lambda job: shown(job, "ctrl-e", until="editing now"),
    "paste": pasting,
    "engine died": engine_died,
    "engine hangs": engine_hangs,
    "suspended": suspended,
    "resumed": resumed,
    "too small": too_small,
}


def by_key(*keys: str) -> Callable[[Job, str], int]:
    def end(job: Job, state: str) -> int:
        if state == "suspended":
            job.foreground()
            job.shows(r"\bready\b|engine stopped")
        if state == "starting":
            STATES["loading"](job)  # before, the terminal itself makes something else of these keys
        if state == "editor":
            job.press("\n")  # which ends this editor
            job.shows("unchanged")
        job.press(*keys)
        return 0

    return end


def by_signal(name: str) -> Callable[[Job, str], int]:
    def end(job: Job, state: str) -> int:
        # An interrupt is the editor's.
        number = signal.SIGTERM if (state, name) == ("editor", "SIGINT") else signal.Signals[name]
        job.kill(number)
        if state == "suspended":
            job.kill(signal.SIGCONT)  # as shells do; the terminal stays the shell's
        return 128 + number

    return end


def there_and_back(job: Job, state: str) -> int:
    """To the shell and back, and the screen is as it was."""
    if state in ("starting", "editor", "suspended", "paste"):
        return by_key("ctrl-q")(job, state)
    job.suspend("\x1a")
    job.is_restored()
    job.foreground()
    job.shows("tokex|needs 60x16")
    assert termios.tcgetattr(job.child.child_fd) != job.before
    assert job.raw.rfind(b"\x1b[?2004h") > job.raw.rfind(b"\x1b[?2004l")
    assert state != "mouse" or job.raw.rfind(b"\x1b[?1000h") > job.raw.rfind(b"\x1b[?1000l")
    job.press("ctrl-q")
    return 0


def by_fault(job: Job, state: str) -> int:
    if state in ("starting", "suspended"):
        return by_key("ctrl-q")(job, state)  # nothing of it runs
    job.kill(signal.SIGUSR1)
    return 1


def after_fault_in_a_thread(job: Job, state: str) -> int:
    """It ends nothing but what the thread did."""
    if state not in ("starting", "suspended"):
        job.kill(signal.SIGUSR2)
    return by_key("ctrl-q")(job, state) if state != "editor" else by_signal("SIGTERM")(job, state)


def engine_crash(job: Job, state: str) -> int:
    if state not in ("starting", "engine died"):
        os.kill(job.engine_pid(), signal.SIGKILL)
    return by_key("ctrl-q")(job, state) if state != "editor" else by_signal("SIGTERM")(job, state)


WAYS: dict[str, Callable[[Job, str], int]] = {
    "ctrl+q": by_key("ctrl-q"),
    "ctrl+c": by_key("ctrl-c"),
    "INT": by_signal("SIGINT"),
    "TERM": by_signal("SIGTERM"),
    "HUP": by_signal("SIGHUP"),
    "XCPU": by_signal("SIGXCPU"),
    "ctrl+z": there_and_back,
    "fault": by_fault,
    "fault in a thread": after_fault_in_a_thread,
    "engine crash": engine_crash,
}


def ends_well(way: str, state: str, tmp_path: Path, model: Path) -> None:
    """Lets the program end in some way while it does something; the real model where that takes time."""
    arguments: tuple[str, ...] = ("--prompt", BUSY if state == "working" else "Once upon a time, there was a")
    if state not in ("working", "autoplay"):
        arguments += ("--model", str(model))
    faulty = way.startswith("fault") and state not in ("starting", "suspended")
    program = ("-c", FAULTY.format(error="MemoryError")) if faulty else ("-m", "tokex_gguf")
    job = Job(tmp_path, *arguments, program=program)
    try:
        STATES[state](job)
        children = job.children()
        code = WAYS[way](job, state)
        assert job.end() == code
        for pid in children:
            end = time.monotonic() + 5
            while not gone(pid):
                assert time.monotonic() < end, "a process is left"
        if code == 1:
            assert re.search(r"internal error \(MemoryError\); details in /\S+\.log", job.raw.decode(errors="replace"))
    finally:
        job.child.close(force=True)


@pytest.fixture(autouse=True)
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor that changes nothing, and ends with a line of input."""
    script = tmp_path / "editor"
    script.write_text("#!/bin/sh\nprintf 'editing now'\nread line\n")
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))


SHORT = [
    *(("ctrl+q", "paste"), ("INT", "suspended"), ("TERM", "starting"), ("TERM", "editor"), ("HUP", "working")),
    *(("ctrl+z", "mouse"), ("fault", "search"), ("fault in a thread", "help"), ("engine crash", "tree")),
]


@pytest.mark.parametrize(("way", "state"), few(SHORT, of=4))
def test_the_terminal_is_restored(way: str, state: str, tmp_path: Path, tiny: dict[str, Path], figure: Figure) -> None:
    ends_well(way, state, tmp_path, tiny["qwen2"])
    figure(1, "endings")


@pytest.fixture
def job(tmp_path: Path, light: str) -> Iterator[Job]:
    job = Job(tmp_path, "--model", light, "--prompt", "Once upon a time, there was a")
    job.shows(r"\bready\b")
    yield job
    job.child.close(force=True)


def quits(job: Job) -> None:
    job.press("ctrl-q")
    assert job.end() == 0


@pytest.mark.parametrize("number", few([signal.SIGTSTP, signal.SIGSTOP], of=2))
def test_stopped_from_outside_it_comes_back_in_a_terminal_that_others_used(number: int, job: Job) -> None:
    engine = job.engine_pid()
    job.press("right")
    job.shows("tokens: 9 .*ready")
    playing = termios.tcgetattr(job.child.child_fd)
    job.suspend(number=number)
    if number == signal.SIGTSTP:
        job.is_restored()
    termios.tcsetattr(job.child.child_fd, termios.TCSANOW, job.before)  # as shells do
    job.child.setwinsize(24, 90)
    job.screen.resize(24, 90)
    job.foreground()
    job.shows("tokens: 9 .*ready")
    job.until(lambda _: termios.tcgetattr(job.child.child_fd) == playing)
    assert job.engine_pid() == engine
    job.press("right")
    job.shows("tokens: 10 .*ready")
    quits(job)


def caught(job: Job, number: int) -> bool:
    """Whether the program has a handler for a signal."""
    (mask,) = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{job.pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


UNCAUGHT = (signal.SIGKILL, signal.SIGSTOP)
HARMLESS = (
    *(signal.SIGCHLD, signal.SIGCONT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGURG, signal.SIGWINCH),
    *(signal.SIGPIPE, signal.SIGXFSZ),  # ignored by Python
)
ENDINGS = sorted(set(map(int, signal.valid_signals())) - set(UNCAUGHT + HARMLESS))


def ends_by(number: int, folder: Path, model: Path) -> None:
    job = Job(folder, "--prompt", "Once upon", "--model", str(model))
    try:
        job.shows(r"\bready\b")
        engine = job.engine_pid()
        job.until(lambda _: caught(job, number))
        job.kill(number)
        assert job.end() == 128 + number
        job.until_gone(engine)
    finally:
        job.child.close(force=True)


@pytest.mark.parametrize("name", few(["USR1", "XCPU", "ABRT", "SEGV", "RTMAX"], of=5))
def test_a_signal_that_ends_programs_ends_this_one_well(name: str, tmp_path: Path, tiny: dict[str, Path]) -> None:
    ends_by(int(getattr(signal, f"SIG{name}")), tmp_path, tiny["qwen2"])


@pytest.mark.soak
def test_every_signal_that_ends_programs_ends_this_one_well(
    tmp_path: Path, tiny: dict[str, Path], figure: Figure
) -> None:
    for number in ENDINGS:
        folder = tmp_path / str(number)
        folder.mkdir()
        ends_by(number, folder, tiny["qwen2"])
    figure(len(ENDINGS), "signals, each of which ends a program that does not catch it")


@pytest.mark.thorough
def test_what_python_ignores_changes_nothing(job: Job) -> None:
    job.kill(signal.SIGPIPE)
    job.press("right")
    job.shows(r"tokens: 9 .*\bready\b")
    quits(job)


def stuck(how: str, folder: Path, model: Path) -> Job:
    """A program that hangs. What it writes from then on is not read, unless something waits for it."""
    program = ("-c", STUCK.format(stuck=how))
    job = Job(folder, "--prompt", "Once upon", "--model", str(model), program=program)
    job.shows(r"\bready\b")
    job.kill(signal.SIGUSR1)
    return job


@pytest.mark.parametrize(
    ("how", "number"),
    some(
        [
            *(("computing", number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)),
            *((how, signal.SIGTERM) for how in ("swallowing", "drawing", "asleep", "locked")),
        ],
        of=4,
    ),
)
def test_a_signal_ends_a_program_that_hangs(how: str, number: int, tmp_path: Path, tiny: dict[str, Path]) -> None:
    job = stuck(how, tmp_path, tiny["qwen2"])
    engine = job.engine_pid()
    job.until(lambda _: b"[stuck]" in job.raw)
    job.kill(number)
    assert job.end() == 128 + number
    job.until_gone(engine)


def test_a_signal_ends_a_program_whose_terminal_takes_nothing(tmp_path: Path, tiny: dict[str, Path]) -> None:
    job = stuck("writing", tmp_path, tiny["qwen2"])
    while not blocked(job.pid):
        time.sleep(0.01)  # reading would let it go on
    job.kill(signal.SIGTERM)
    end = time.monotonic() + 20
    while not gone(job.pid):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert termios.tcgetattr(job.child.child_fd) == job.before
    job.child.close(force=True)


def blocked(pid: int) -> bool:
    """Whether a process waits for a terminal that does not read."""
    try:
        return "tty_write" in Path(f"/proc/{pid}/wchan").read_text() or not writable(pid)
    except OSError:
        return False


def writable(pid: int) -> bool:
    slave = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY | os.O_NOCTTY)
    try:
        return bool(select.select([], [slave], [], 0.05)[1])
    finally:
        os.close(slave)


@pytest.mark.thorough
def test_a_real_fault_still_ends_the_program(tmp_path: Path, tiny: dict[str, Path]) -> None:
    """The one thing that is not tidied up after: but it must not go on for ever."""
    job = Job(
        tmp_path, "--prompt", "Once upon", "--model", str(tiny["qwen2"]), program=("-c", STUCK.format(stuck="faulty"))
    )
    job.shows(r"\bready\b")
    job.until(lambda _: caught(job, signal.SIGSEGV))
    job.kill(signal.SIGUSR1)
    assert job.ends() == 128 + signal.SIGSEGV


@pytest.mark.parametrize("number", few([signal.SIGTERM, signal.SIGHUP], of=2))
def test_a_job_sent_to_the_background_waits_and_can_be_ended_there(number: int, job: Job) -> None:
    job.suspend("\x1a")
    before = len(job.raw)
    job.suspend(number=signal.SIGCONT)  # it asks for the terminal, which stops it again
    assert job.raw[before:].replace(b"[stopped]", b"") == b""
    job.kill(number)
    job.kill(signal.SIGCONT)
    assert job.end() == 128 + number
    assert job.raw[before:].replace(b"[stopped]", b"") == b"", "the terminal is the shell's"


@pytest.mark.thorough
def test_a_real_shell(tmp_path: Path, light: str) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    terminal = Terminal(command=[bash, "--norc", "--noprofile", "-i"])
    program = f"{sys.executable} -m tokex_gguf --model {light} --prompt 'Once upon a time'"
    terminal.press(f"PS1='$?''> '; cd {tmp_path}; {program}\n")
    terminal.shows(r"\bready\b")
    terminal.press("i", " there", "\x1a")
    terminal.shows(r"(?m)^148> *$")
    terminal.press("fg\n")
    terminal.shows("joint p")
    terminal.press("\x1a")
    terminal.shows(r"(?m)^148> *$")
    (pid,) = Path(f"/proc/{terminal.child.pid}/task/{terminal.child.pid}/children").read_text().split()
    terminal.press("kill %1\n")
    terminal.until(lambda _: gone(int(pid)))
    terminal.press("wait %1\n")
    terminal.shows(r"(?m)^143> *$")
    terminal.press("exit 0\n")
    assert terminal.ends() == 0


def test_without_a_shell_nothing_is_suspended(light: str) -> None:
    terminal = Terminal("--model", light, "--prompt", "Once upon a time")
    terminal.shows(r"\bready\b")
    terminal.press("\x1a")
    terminal.shows("no shell here to come back from")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.thorough
def test_in_the_editor_an_interrupt_and_a_suspension_are_the_editors(job: Job) -> None:
    job.press("ctrl-e")
    job.shows("editing now")
    assert termios.tcgetattr(job.child.child_fd) == job.before
    job.suspend("\x1a")  # from the terminal, to everybody in the foreground
    job.screen.reset()
    job.give()
    job.press("ctrl-c")
    job.shows("VISUAL=…/editor was ended by SIGINT: the prompt stays as it was")
    quits(job)


@pytest.mark.thorough
def test_an_editor_that_does_not_want_to_end_is_killed_and_its_text_kept(job: Job, tmp_path: Path) -> None:
    saved = 'printf mine > "$1"; echo "$1" > where'
    (tmp_path / "editor").write_text(f"#!/bin/sh\ntrap '' TERM\n{saved}\nprintf '\\033[?1049hediting now'\nread line\n")
    job.press("ctrl-e")
    job.shows("editing now")
    job.kill(signal.SIGTERM)
    assert job.end() == 128 + signal.SIGTERM
    where = Path((tmp_path / "where").read_text().strip())
    assert where.read_text() == "mine"
    assert f"the edited text is in {where}" in job.text()
    shutil.rmtree(where.parent)


@pytest.mark.thorough
def test_a_paste_without_an_end_is_taken_as_it_is(job: Job) -> None:
    job.press("\x1b[200~ and a half")
    job.shows("and a half")
    job.press(" more", "\x1b[201~", "!")
    job.shows("and a half more!")
    job.press("esc")
    job.until(lambda text: "and a half" not in text)
    quits(job)


@pytest.mark.thorough
def test_an_engine_that_hangs_is_restarted_by_r_twice(job: Job) -> None:
    engine = job.engine_pid()
    job.press("r")
    job.shows("nothing to restart")
    os.kill(engine, signal.SIGSTOP)
    job.press("right")
    job.shows("working")
    job.press("r")
    job.shows("press r again")
    job.press("r")
    job.shows(r"tokens: 9 .*\bready\b")
    assert gone(engine)
    assert job.engine_pid() != engine
    quits(job)


@pytest.mark.thorough
def test_quitting_does_not_wait_for_an_engine_that_hangs(job: Job) -> None:
    engine = job.engine_pid()
    os.kill(engine, signal.SIGSTOP)
    job.press("right")
    job.shows("working")
    began = time.perf_counter()
    job.press("ctrl-q")
    assert job.ended() - began < LEAVING
    assert job.end() == 0
    assert gone(engine)


def test_a_terminal_that_goes_away_takes_the_program_with_it(job: Job) -> None:
    children = [job.pid, *job.children()]
    job.child.close(force=True)  # this ends the shell; the program is told by the system
    end = time.monotonic() + 10
    while not all(map(gone, children)):
        assert time.monotonic() < end, "a process is left"


def one(way: str, model: Path, state: str, folder: Path) -> str:
    """Lets one program end, in a folder of its own and in a process of its own; returns what is wrong."""
    folder.mkdir()
    os.chdir(folder)
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    try:
        ends_well(way, state, folder, model)
    except (AssertionError, OSError) as error:
        return f"{way}, {state}: {error}"
    return ""


def instead(way: str, state: str) -> bool:
    """Whether a program in this state ends in another way, as this one is not to be had there."""
    return (
        (way == "ctrl+z" and state in ("starting", "editor", "suspended", "paste"))
        or (way.startswith("fault") and state in ("starting", "suspended"))
        or (way == "engine crash" and state in ("starting", "engine died"))
        or (way == "INT" and state == "editor")
    )


@pytest.mark.soak
@pytest.mark.parametrize("way", WAYS)
def test_the_terminal_is_restored_in_every_state(
    way: str, tmp_path: Path, tiny: dict[str, Path], figure: Figure
) -> None:
    """Several at once: each waits most of the time."""
    times = int(os.environ.get("TIMES", "5"))
    with ProcessPoolExecutor(3, get_context("spawn")) as pool:
        states = [state for state in STATES if not instead(way, state)]
        pairs = [(state, tmp_path / f"{state}-{time}".replace(" ", "-")) for state in states for time in range(times)]
        wrong = list(filter(None, pool.map(one, repeat(way), repeat(tiny["qwen2"]), *zip(*pairs, strict=True))))
    assert not wrong, "\n".join(wrong)
    figure(len(pairs), f"endings in {len(WAYS)} ways and {len(STATES)} states")


def test_what_was_played_last_survives_a_kill_of_the_suspended_program(light: str, tmp_path: Path) -> None:
    job = Job(tmp_path, "--model", light, "--prompt", "Once upon a time, there was a")
    try:
        job.shows(r"\bready\b")
        job.press("d")
        job.shows("Prompt 2/2")
        job.suspend("\x1a")
        job.kill(signal.SIGKILL)
        job.until_gone(job.pid)
    finally:
        job.child.close(force=True)
    again = Terminal("--model", light, "--resume")
    again.shows("Prompt 2/2")
    again.press("ctrl-q")
