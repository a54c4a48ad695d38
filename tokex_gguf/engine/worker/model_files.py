"""The files of a loaded model: llama.cpp maps them, so what is written into them changes the model's numbers."""

from pathlib import Path

from tokex_gguf.engine.worker.fingerprints import content
from tokex_gguf.engine.worker.llama import ModelError
from tokex_gguf.models.reference import parts_of
from tokex_gguf.system.stamps import stamp


class Overwritten(Exception):
    """A file of the model has other content than was loaded: later numbers would be of neither."""


class ModelFiles:
    """Whether a model's files are as they were when they were loaded. A check takes some microseconds."""

    def __init__(self, path: Path) -> None:
        """`path`: the first file. Raises ModelError where a file cannot be read."""
        self._files = [path.with_name(part) for part in parts_of(path.name)]
        self._content = ""
        self._stamps = self._read_stamps()

    def loaded(self, fingerprint: str) -> None:
        """The model was loaded. `fingerprint`: of the content that was loaded. Raises ModelError."""
        self._content = fingerprint
        if self._read_stamps() != self._stamps:
            raise ModelError(f"{self._files[0]}: the file was replaced while it was loaded: load it again")

    def check(self) -> None:
        """Raises Overwritten. A file that was removed, or replaced by another one, stays mapped as it was."""
        try:
            now = [stamp(file.stat()) for file in self._files]
            if now == self._stamps or [inode for *_, inode in now] != [inode for *_, inode in self._stamps]:
                return
            if content(self._files) != self._content:
                raise Overwritten
        except OSError:
            return
        self._stamps = now  # touched, or given other rights, and no more

    def _read_stamps(self) -> list[list[int]]:
        try:
            return [stamp(file.stat()) for file in self._files]
        except OSError as error:
            raise ModelError(f"{self._files[0]}: cannot be read: {error.strerror or error}") from None
