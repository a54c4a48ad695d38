"""The player's editor: its command, one run of it, and the edited text."""

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

KILL_AFTER = 0.4
"""Seconds from SIGTERM until the editor is killed: less than this program has itself after a signal."""
ENDED_AT_ONCE = 1.0
"""Seconds: an editor that ends sooner without a change may have left its window open, as `code` does."""
DEFAULT_EDITORS = ("notepad",) if sys.platform == "win32" else ("vi", "nano")
"""Editors to try where the environment names none."""

_SHOWN_CHARACTERS = 40
"""Characters of a command that are shown, at the most."""


class NoEditor(Exception):
    """There is no editor, for this reason."""


class EditorCommand(NamedTuple):
    """The command of an editor."""

    arguments: list[str]
    """The program and its arguments; the file's name is appended."""
    shown: str
    """The command for the player, with the variable that it comes from."""


def command(environ: Mapping[str, str], *, windows: bool = sys.platform == "win32") -> EditorCommand:
    """The editor of $VISUAL or $EDITOR, else a default one. Raises NoEditor."""
    for variable in ("VISUAL", "EDITOR"):
        if named := environ.get(variable, "").strip():
            try:
                arguments = [named] if Path(named).is_file() else split(named, windows=windows)
            except (ValueError, OSError) as error:
                raise NoEditor(f"{_short(f'{variable}={named}')} cannot be read as a command ({error})") from None
            shown = f"{variable}={named}"
            shown = _short(shown if len(shown) <= _SHOWN_CHARACTERS else f"{variable}=…/{Path(arguments[0]).name}")
            program = str(Path(arguments[0]).expanduser()) if arguments[0].startswith("~") else arguments[0]
            # Without an extension, CreateProcess finds .exe files only, and no code.cmd.
            program = (windows and shutil.which(program)) or program
            return EditorCommand([program, *arguments[1:]], shown)
    editor = next((name for name in DEFAULT_EDITORS if shutil.which(name)), None)
    if editor is None:
        raise NoEditor(f"no editor: there is no {' and no '.join(DEFAULT_EDITORS)}; set EDITOR to one")
    return EditorCommand([editor], editor)


def split(text: str, *, windows: bool) -> list[str]:
    r"""A command's words, as a shell of the system reads them. Raises ValueError for an unclosed quote.

    >>> split(r'"C:\Program Files\Vim\gvim.exe" --nofork', windows=True)
    ['C:\\Program Files\\Vim\\gvim.exe', '--nofork']
    """
    words = shlex.shlex(text, posix=True, punctuation_chars=False)
    words.whitespace_split = True
    words.commenters = ""
    if windows:
        words.escape = ""  # on Windows, \ is the path separator
    return list(words)


def _short(text: str) -> str:
    text = visible(text)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _how_ended(code: int) -> str:
    """How a process ended with a non-zero code."""
    if code > 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class Editor:
    """One run of the editor.

    The text is in a file that only the player can read. The file is kept if its text was not
    read back: see `kept`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = False
        self._folder: Path | None = None
        self._written = b""

    @property
    def kept(self) -> Path | None:
        """The file of a text that was not read back, or None. For use after the run, however it ended.

        Removes the folder if it holds nothing but the unchanged text.
        """
        if self._folder is None:
            return None
        path = self._folder / "prompt.txt"
        try:
            names = [file.name for file in self._folder.iterdir()]
            if not names or (names == [path.name] and path.read_bytes() == self._written):
                self._remove()
                return None
            if path.is_file():
                path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        except OSError:
            pass  # an unreadable folder is not removed
        return path if path.exists() else self._folder

    def edit(self, text: str) -> Edited | EditFailed:
        """Opens a text and waits for the editor's end. A text that cannot be read back stays in its file."""
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
            return self._not_read_back(
                f"{editor.shown} {_how_ended(code) if code else 'was ended'}: the prompt stays as it was"
            )
        return self._read_back(text, path, at_once=self._clock() - began < ENDED_AT_ONCE, editor=editor)

    def _write(self, text: str) -> Path:
        self._written = text.encode()
        self._folder = Path(tempfile.mkdtemp(prefix="tokex-gguf-"))  # of mode 700
        path = self._folder / "prompt.txt"
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(self._written)
        except OSError:
            self._remove()
            raise
        return path

    def _read_back(self, text: str, path: Path, *, at_once: bool, editor: EditorCommand) -> Edited | EditFailed:
        try:
            data = path.read_bytes()
            if data == self._written:
                if at_once:  # the file stays: the editor may have it open in a window
                    return EditFailed(
                        f"the text is unchanged; an editor that returns at once needs an option to wait: {editor.shown}"
                    )
                self._remove()
                return Edited(text)
            edited = decode(data).text
        except OSError as error:
            return self._not_read_back(f"the edited text cannot be read ({system_reason(error)})")
        except NotText as error:
            return self._not_read_back(f"the prompt stays as it was: {error}")
        if text.startswith("\ufeff") and data.startswith("\ufeff".encode()):
            edited = f"\ufeff{edited}"  # part of the prompt, and no byte order mark
        self._remove()
        return Edited(edited if "\r\n" in text else with_line_feeds(edited))

    def _not_read_back(self, reason: str) -> EditFailed:
        """The failure, with the file of the text, which is kept."""
        path = self.kept
        return EditFailed(reason, str(path) if path else "")

    def _remove(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def end(self) -> None:
        """Terminates the editor, from another thread, and kills it after `KILL_AFTER` seconds."""
        self._ending = True
        if process := self._process:
            process.terminate()
            timer = threading.Timer(KILL_AFTER, process.kill)
            timer.daemon = True
            timer.start()
