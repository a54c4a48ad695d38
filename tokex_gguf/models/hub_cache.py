"""The cache of the Hugging Face hub's client: its place, by the client's own rules, and its files.

The rules are read from the client's module of constants only: importing the client takes longer than
the program's first frame.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from types import ModuleType

from tokex_gguf.models.reference import HubName, hub_name, is_file_name, is_revision
from tokex_gguf.system.files import read_plain

REFERENCE_BYTES = 1 << 10
"""The largest file that names a commit."""
VARIABLES = (
    *("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_ENDPOINT", "HF_TOKEN_PATH"),
    *("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_XET_CACHE", "HF_ASSETS_CACHE"),
)
"""Environment variables that the client uses even if they are empty, and so should be unset."""

_rules: tuple[tuple[str, ...], ModuleType] | None = None
"""The rules read last, and the environment variables by which they were read."""


def forget_empty() -> None:
    """Unsets empty environment variables, which the client would take for the current folder, or for no address."""
    for name in VARIABLES:
        if name in os.environ and not os.environ[name].strip():
            del os.environ[name]


def offline() -> bool:
    """Whether downloads are forbidden."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def rules() -> ModuleType:
    """The client's constants for the present environment. Raises ValueError if a variable is not a number."""
    global _rules
    forget_empty()
    variables = tuple(os.environ.get(name, "") for name in ("HOME", *VARIABLES))
    if _rules is None or _rules[0] != variables:
        client = importlib.util.find_spec("huggingface_hub")
        assert client is not None and client.submodule_search_locations  # a requirement of this package
        file = Path(client.submodule_search_locations[0]) / "constants.py"
        spec = importlib.util.spec_from_file_location("_hub_constants", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        _rules = variables, module
    return _rules[1]


def folder() -> Path:
    """The folder of all repositories."""
    try:
        return Path(rules().HF_HUB_CACHE).absolute()
    except ValueError:  # a variable unrelated to folders; a download reports it
        return (Path.home() / ".cache" / "huggingface" / "hub").absolute()


def hosts() -> frozenset[str]:
    """The hub's hosts: its own, and that of HF_ENDPOINT."""
    try:
        return frozenset(rules().HF_URL_HOSTS)
    except ValueError:
        return frozenset()


def repository(repo: str) -> Path:
    """The folder of a repository."""
    return folder() / f"models--{repo.replace('/', '--')}"


def snapshot(repo: str, revision: str = "") -> Path | None:
    """The folder with a repository's files at a branch, a tag or a commit; "": main. None if it does not exist.

    A commit may be shortened, if it is unique.
    """
    revision = revision or "main"
    base = repository(repo)
    if not is_revision(revision):
        return None
    if (commit := _commit(base, revision)) is not None:
        return base / "snapshots" / commit
    if len(revision) < 7:
        return None
    with suppress(OSError):
        matches = [path for path in (base / "snapshots").iterdir() if path.name.startswith(revision) and path.is_dir()]
        return matches[0] if len(matches) == 1 else None
    return None


def snapshots(base: Path) -> Iterator[tuple[str, Path]]:
    """The local revisions of a repository's folder, with the folders of their files; main first, as "".

    A commit without a branch or tag has its own name, shortened.
    """
    named: set[Path] = set()
    for revision in ("main", *_references(base)):
        if (commit := _commit(base, revision)) is not None:
            path = base / "snapshots" / commit
            if path not in named:
                named.add(path)
                yield "" if revision == "main" else revision, path
    with suppress(OSError):
        for path in sorted((base / "snapshots").iterdir()):
            if path not in named and is_revision(path.name) and path.is_dir():
                yield path.name[:12], path


def name_of(path: PurePath) -> HubName | None:
    """The hub's name of a file in the cache, by its path alone; None for any other file.

    >>> str(name_of(PurePath("/c/hub/models--maker--model/snapshots/0123abc/sub/a.gguf")))
    'maker/model@0123abc:sub/a.gguf'
    """
    parts = path.parts
    for index, part in enumerate(parts):
        if part.startswith("models--") and parts[index + 1 : index + 2] == ("snapshots",):
            repo, file = part.removeprefix("models--").replace("--", "/", 1), "/".join(parts[index + 3 :])
            asked = hub_name(f"hf:{repo}@{''.join(parts[index + 2 : index + 3])}:{file}")
            return asked._replace(explicit=False) if asked and is_file_name(file) else None
    return None


def _references(base: Path) -> list[str]:
    with suppress(OSError):
        names = (path.relative_to(base / "refs").as_posix() for path in (base / "refs").rglob("*") if path.is_file())
        return sorted(name for name in names if is_revision(name))
    return []


def _commit(base: Path, revision: str) -> str | None:
    """The commit of a branch or a tag, if its files are in the cache."""
    with suppress(OSError, ValueError):
        commit = read_plain(base / "refs" / revision, REFERENCE_BYTES).decode().strip()
        if is_revision(commit) and "/" not in commit and (base / "snapshots" / commit).is_dir():
            return commit
    return None
