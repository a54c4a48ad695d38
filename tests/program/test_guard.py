"""The terminal after a death that the program cannot see coming: put back once, and never touched after another end."""

import os
import shlex
import shutil
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sampling import few, some
from tests.terminal import Terminal
from tokex_gguf.ui.terminal_input.guard import Guard
from tokex_gguf.ui.terminal_input.posix import LEAVE

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"),
    pytest.mark.real_start,
]

CRASHING = """
import ctypes, signal, sys
from tokex_gguf.ui.app import App
from tokex_gguf.play.actions import Action
take = App._dispatch
def crash(self, message):
    ctypes.string_at(0) if message is Action.HELP else take(self, message)
App._dispatch = crash
sys.argv[0] = "tokex-gguf"
from tokex_gguf.__main__ import run
sys.exit(run())
"""
"""The program, with a real fault at the key for help."""
MODEL = ("--model", "light.gguf", "--no-config", "--prompt", "the cat")


def guards(parent: int) -> list[int]:
    """The shells that wait for a process."""
    named = b"tokex-gguf-guard"
    return [child for child in children(parent) if named in Path(f"/proc/{child}/cmdline").read_bytes()]


def wait(terminal: Terminal, holds: Callable[[], bool]) -> None:
    """Reads what comes until something holds."""
    for _ in range(6000):
        terminal.pump()
        if holds():
            return
    raise AssertionError("this never came to be:\n" + terminal.text())


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def guarded(terminal: Terminal) -> int:
    """Waits until the program is played and guarded; the guard's process id."""
    terminal.shows(r"tokens: \d+ .* ready")
    wait(terminal, lambda: bool(guards(terminal.child.pid)))
    (guard,) = guards(terminal.child.pid)
    return guard


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, light: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert light in MODEL
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(*MODEL)
    yield terminal
    terminal.child.close(force=True)


def put_back(terminal: Terminal, guard: int) -> None:
    # The other end is held open, as a shell does it: a terminal that nobody has is none.
    wait(terminal, lambda: gone(guard))
    while terminal.pump():  # more than is read at once may have come
        pass
    assert terminal.raw.endswith(LEAVE) and terminal.raw.count(LEAVE) == 1
    assert termios.tcgetattr(terminal.child.child_fd) == terminal.before


def test_a_killed_program_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    guard = guarded(terminal)
    os.kill(terminal.child.pid, signal.SIGKILL)
    put_back(terminal, guard)


def test_a_real_fault_leaves_the_terminal_as_it_was() -> None:
    terminal = Terminal(command=[sys.executable, "-c", CRASHING, *MODEL])
    guard = guarded(terminal)
    terminal.press("?")
    put_back(terminal, guard)
    terminal.child.close(force=True)
    assert terminal.child.signalstatus == signal.SIGSEGV


def test_the_shell_is_told_that_the_terminal_is_taken_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a death right behind its beginning would leave the terminal as it was then."""
    told: list[bytes] = []

    def begun(*_: object, file_actions: list[tuple[int, ...]], **__: object) -> None:
        pipe = file_actions[0][1]
        os.set_blocking(pipe, False)
        told.append(os.read(pipe, 99))

    monkeypatch.setattr(os, "posix_spawn", begun)
    terminal, other = os.openpty()
    modes = termios.tcgetattr(other)
    guard = Guard(other, modes, modes, LEAVE)
    assert told == [b"taken\n"]
    for descriptor in (terminal, other, guard._pipe):
        os.close(descriptor)


def test_modes_that_others_have_set_stay(terminal: Terminal) -> None:
    """As a shell sets them for its own line."""
    guard = guarded(terminal)
    os.kill(terminal.child.pid, signal.SIGSTOP)
    modes = termios.tcgetattr(terminal.child.child_fd)
    modes[3] ^= termios.ECHO
    termios.tcsetattr(terminal.child.child_fd, termios.TCSANOW, modes)
    os.kill(terminal.child.pid, signal.SIGKILL)
    wait(terminal, lambda: gone(guard))
    while terminal.pump():  # more than is read at once may have come
        pass
    assert terminal.raw.endswith(LEAVE)
    assert termios.tcgetattr(terminal.child.child_fd) == modes


@pytest.mark.parametrize("how", some(["ctrl-q", "SIGTERM", "SIGSEGV", "SIGHUP"], of=4))
def test_an_end_that_the_program_sees_is_its_own(how: str, terminal: Terminal) -> None:
    guard = guarded(terminal)
    if how == "ctrl-q":
        terminal.press(how)
    else:
        os.kill(terminal.child.pid, signal.Signals[how])
    wait(terminal, lambda: gone(terminal.child.pid))
    wait(terminal, lambda: gone(guard))
    terminal.pump()
    assert LEAVE not in terminal.raw, "the guard has written nothing"


def children(parent: int) -> list[int]:
    return list(map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()))


def stopped(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("back", few([False, True], of=2))
def test_a_suspended_program_has_not_taken_the_terminal(back: bool) -> None:
    """In a shell: one that is killed while it is suspended writes nothing, one that came back is guarded again."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    terminal = Terminal(command=[bash, "--norc", "--noprofile", "-i"])
    program = shlex.join([sys.executable, "-m", "tokex_gguf", *MODEL])
    terminal.press(f"PS1='$?''> '; {program}\n")
    terminal.shows(r"tokens: \d+ .* ready")
    (process,) = children(terminal.child.pid)
    wait(terminal, lambda: bool(guards(process)))
    (guard,) = guards(process)
    terminal.press("\x1a")
    terminal.shows(r"(?m)^148> *$")
    if back:
        terminal.press("fg\n")
        wait(terminal, lambda: not stopped(process))
        terminal.press("d")
        terminal.shows("Prompt 2/2")
    os.kill(process, signal.SIGKILL)
    wait(terminal, lambda: gone(guard))
    terminal.press("echo $((6 * 7))\n")
    terminal.shows("(?m)^42")
    assert terminal.raw.count(LEAVE) == back
    terminal.child.close(force=True)


@pytest.mark.thorough
def test_the_program_goes_on_without_its_guard(terminal: Terminal) -> None:
    os.kill(guarded(terminal), signal.SIGKILL)
    terminal.press("ctrl-q")
    wait(terminal, lambda: gone(terminal.child.pid))
    assert termios.tcgetattr(terminal.child.child_fd) == terminal.before
    assert terminal.ends() == 0
