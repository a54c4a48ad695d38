"""The player's own editor: which one it is, one run of it, and what becomes of its text."""

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tokex_gguf.play.messages import Edited, EditFailed
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.text_files import NotText, decode, with_line_feeds
from tokex_gguf.values.tokens import visible

GRACE = 0.4
"""Seconds that an editor has to end before it is killed: less than this program has itself, after a signal."""
ENDED_AT_ONCE = 1.0
"""Seconds; an editor that ends sooner and changes nothing may have left its window open, as `code` does."""
PLAINEST = ("notepad",) if sys.platform == "win32" else ("vi", "nano")
"""Editors to look for where the environment names none."""

_LONGEST = 40
"""Characters of a command that are shown."""


class NoEditor(Exception):
    """There is no editor; says why, and what to set."""


class EditorCommand(NamedTuple):
    """How an editor is run."""

    arguments: list[str]
    """The program and its own arguments; the file's name follows them."""
    shown: str
    """The same for the player, with the variable that it comes from."""


def command(environ: Mapping[str, str], *, windows: bool = sys.platform == "win32") -> EditorCommand:
    """What $VISUAL or $EDITOR says, else one of the system's plainest. Raises NoEditor."""
    for variable in ("VISUAL", "EDITOR"):
        if named := environ.get(variable, "").strip():
            try:
                arguments = [named] if Path(named).is_file() else split(named, windows=windows)
            except (ValueError, OSError) as error:
                raise NoEditor(f"{_short(f'{variable}={named}')} cannot be read as a command ({error})") from None
            shown = f"{variable}={named}"
            shown = _short(shown if len(shown) <= _LONGEST else f"{variable}=…/{Path(arguments[0]).name}")
            program = str(Path(arguments[0]).expanduser()) if arguments[0].startswith("~") else arguments[0]
            # CreateProcess finds only .exe files by themselves, and no code.cmd.
            program = (windows and shutil.which(program)) or program
            return EditorCommand([program, *arguments[1:]], shown)
    found = next((name for name in PLAINEST if shutil.which(name)), None)
    if found is None:
        raise NoEditor(f"no editor: there is no {' and no '.join(PLAINEST)}; set EDITOR to one")
    return EditorCommand([found], found)


def split(text: str, *, windows: bool) -> list[str]:
    r"""A command's words, as a shell of the system reads them. Raises ValueError for a quote without its twin.

    >>> split(r'"C:\Program Files\Vim\gvim.exe" --nofork', windows=True)
    ['C:\\Program Files\\Vim\\gvim.exe', '--nofork']
    """
    words = shlex.shlex(text, posix=True, punctuation_chars=False)
    words.whitespace_split = True
    words.commenters = ""
    if windows:
        words.escape = ""  # there it parts folders
    return list(words)


def _short(text: str) -> str:
    text = visible(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _ended(code: int) -> str:
    """How a process ended that did not end well."""
    if code > 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class Editor:
    """One run of the editor.

    The text is in a file that only the player can read. The file stays where its text was not
    taken: see `kept`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = False
        self._folder: Path | None = None
        self._given = b""

    @property
    def kept(self) -> Path | None:
        """The file with a text that was not taken, or None: after the run, also after one that was ended.

        Removes the folder where there is nothing in it that the program did not write itself.
        """
        if self._folder is None:
            return None
        path = self._folder / "prompt.txt"
        try:
            names = [one.name for one in self._folder.iterdir()]
            if not names or (names == [path.name] and path.read_bytes() == self._given):
                self._remove()
                return None
            if path.is_file():
                path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        except OSError:
            pass  # what cannot be looked at is not removed
        return path if path.exists() else self._folder

    def edit(self, text: str) -> Edited | EditFailed:
        """Opens a text and waits for the editor's end. What cannot be taken back is kept in its file."""
        try:
            editor = command(os.environ)
        except NoEditor as error:
            return EditFailed(str(error))
        try:
            path = self._write(text)
        except OSError as error:
            place = error.filename or tempfile.gettempdir()
            return EditFailed(f"the editor's file cannot be written ({place}: {system_reason(error)})")
        began = self._clock()
        try:
            self._process = subprocess.Popen([*editor.arguments, str(path)])
        except (OSError, ValueError) as error:
            reason = system_reason(error) if isinstance(error, OSError) else str(error)
            self._remove()
            return EditFailed(f"{editor.shown} cannot be run ({reason}): set it to an editor")
        if self._ending:
            self.end()
        code = self._process.wait()
        if code or self._ending:
            return self._left(f"{editor.shown} {_ended(code) if code else 'was ended'}: the prompt stays as it was")
        return self._taken(text, path, at_once=self._clock() - began < ENDED_AT_ONCE, editor=editor)

    def _write(self, text: str) -> Path:
        self._given = text.encode()
        self._folder = Path(tempfile.mkdtemp(prefix="tokex-gguf-"))  # of mode 700
        path = self._folder / "prompt.txt"
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(self._given)
        except OSError:
            self._remove()
            raise
        return path

    def _taken(self, text: str, path: Path, *, at_once: bool, editor: EditorCommand) -> Edited | EditFailed:
        try:
            data = path.read_bytes()
            if data == self._given:
                if at_once:  # the file stays: the editor may have a window with it
                    return EditFailed(
                        f"the text is unchanged; an editor that returns at once needs an option to wait: {editor.shown}"
                    )
                self._remove()
                return Edited(text)
            edited = decode(data).text
        except OSError as error:
            return self._left(f"the edited text cannot be read ({system_reason(error)})")
        except NotText as error:
            return self._left(f"the prompt stays as it was: {error}")
        if text.startswith("\ufeff") and data.startswith("\ufeff".encode()):
            edited = f"\ufeff{edited}"  # the prompt's own, and no mark
        self._remove()
        return Edited(edited if "\r\n" in text else with_line_feeds(edited))

    def _left(self, reason: str) -> EditFailed:
        """What is told where the text was not taken. Its file stays."""
        path = self.kept
        return EditFailed(reason, str(path) if path else "")

    def _remove(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def end(self) -> None:
        """Ends the editor, from another thread: by asking, and soon by force."""
        self._ending = True
        if process := self._process:
            process.terminate()
            timer = threading.Timer(GRACE, process.kill)
            timer.daemon = True
            timer.start()
