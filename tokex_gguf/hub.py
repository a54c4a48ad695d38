"""Downloading from the Hugging Face hub. The only importer of huggingface_hub, and only when it is needed:

the import takes longer than the whole program needs to its first frame.
"""

import errno
import hashlib
import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tokex_gguf.naming import DownloadFailed, NoChoice, choose, parts_of
from tokex_gguf.places import hub_cache, snapshot
from tokex_gguf.words import reason, size_of

T = TypeVar("T")

PATIENCE = 8.0
"""Seconds that the hub may take to answer at all."""

ABANDONED = 3600.0
"""Seconds after which nobody is still writing to a file that was not written to."""

BAR = "{percentage:3.0f} % {bar} {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left"

AGAIN = "run the same command again; the file starts from the beginning"


def fetch(repo: str, wanted: str, tell: Callable[[str], None]) -> Path:
    """Downloads a model into the hub's cache and verifies it; returns its first file.

    `wanted` as for `naming.choose`. `tell` gets a line before the download; a progress bar goes to
    standard error where that is a terminal. However it ends, no file stays that was not verified.
    Raises DownloadFailed.
    """
    what = f"{repo}:{wanted}" if wanted else repo
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise DownloadFailed(f"{what} is not here, and HF_HUB_OFFLINE is set: unset it to fetch this")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub

    huggingface_hub.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what it would tell, we tell in one line
    began = False
    try:
        files = _within(PATIENCE, lambda: _files(repo))
        model = choose(files.sizes, wanted)
        parts = parts_of(model)
        missing = [part for part in parts if part not in files.here]
        total = sum(files.sizes.get(part, 0) for part in missing)
        _check_space(total, f"{repo}:{model}")
        tell(f"downloading {repo}:{model} ({size_of(total)}{_count(parts, missing)})")
        began = True
        paths = []
        for part in parts:
            with warnings.catch_warnings(action="ignore"):  # the client warns of a full disk, and then it is full
                paths.append(Path(huggingface_hub.hf_hub_download(repo, part, tqdm_class=_bar())))
            _verify(paths[-1], files.sums.get(part, ""), f"{repo}:{part}")
    except Exception as error:
        raise _failed(error, what, began) from None
    finally:
        _tidy(repo)
    return paths[0]


def _count(parts: list[str], missing: list[str]) -> str:
    """How a model is fetched: no file is ever gone on with, but those of a split model that are whole stay."""
    if len(parts) == 1:
        return ", from the beginning"
    if len(missing) < len(parts):
        return f", going on: {len(missing)} of {len(parts)} files, the others are here"
    return f", {len(parts)} files, from the beginning"


def _failed(error: Exception, what: str, began: bool) -> DownloadFailed:
    """What the player is told of an error, with the next step."""
    from huggingface_hub import errors as hub

    match error:
        case DownloadFailed():
            return error
        case NoChoice():
            return DownloadFailed(f"{what}: {error}")
        case hub.GatedRepoError():
            return DownloadFailed(f"{what} is gated: accept its terms on the hub, then set HF_TOKEN")
        case hub.RepositoryNotFoundError():
            return DownloadFailed(
                f"{what}: no such repository on the hub, or a private one: check the name, or set HF_TOKEN"
            )
        case hub.EntryNotFoundError():
            return DownloadFailed(f"{what}: the hub does not have this file any more: try again")
        case hub.HfHubHTTPError():
            return DownloadFailed(_refusal(what, error.response.status_code if error.response is not None else 0))
    # The hub's client raises what its layers below raise; to the player it is all one.
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadFailed(f"{what}: the disk is full; nothing was kept: make room in {hub_cache()}")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        why = f"{hub_cache()} cannot be written ({error.strerror})"
        return DownloadFailed(f"{what}: {why}: let HF_HOME name another folder")
    if began:
        return DownloadFailed(f"{what}: the download broke off ({reason(error)}): {AGAIN}")
    why = "no answer" if isinstance(error, TimeoutError) else reason(error)
    return DownloadFailed(f"the hub cannot be reached for {what}: {why}: check the connection")


def _bar() -> type[Any]:
    """A progress bar of a file: how much of it, how fast, and how long still. As wide as the terminal."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **more: Any) -> None:
            ours = {"bar_format": BAR, "dynamic_ncols": True, "position": 0}
            super().__init__(*args, **{**more, **ours})  # type: ignore[no-untyped-call]

        # With these the hub's client takes one bar for what comes and what is written, and not two.

        def update_transfer(self, count: int) -> None:
            """Does nothing: what is written counts."""

        def set_transfer_postfix_str(self, text: str, refresh: bool = True) -> None:
            """Does nothing."""

    return Bar


def _refusal(what: str, status: int) -> str:
    if status == 429:
        return f"the hub refuses {what} for now (too many requests): try again in some minutes, or set HF_TOKEN"
    if status in (401, 403):
        return f"the hub refuses {what} (status {status}): set HF_TOKEN to a token that may read it"
    return f"the hub cannot be reached for {what}: it answers with status {status}; try again later"


class _Files(NamedTuple):
    """What the hub has of a repository."""

    sizes: dict[str, int]
    """Bytes of each file."""
    sums: dict[str, str]
    """The SHA-256 of those that the hub gives one for."""
    here: set[str]
    """Those that are in the cache already."""


def _files(repo: str) -> _Files:
    from huggingface_hub import HfApi

    # Longer than anybody waits for this: its own way to say that the time is over is another one.
    info = HfApi().model_info(repo, files_metadata=True, timeout=2 * PATIENCE)
    files = info.siblings or []
    sums = {file.rfilename: file.lfs.sha256 for file in files if file.lfs is not None}
    cached = snapshot(repo)
    same = cached is not None and cached.name == info.sha
    here = {file.rfilename for file in files if cached and same and (cached / file.rfilename).is_file()}
    return _Files({file.rfilename: file.size or 0 for file in files}, sums, here)


def _check_space(needed: int, what: str) -> None:
    folder = hub_cache()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadFailed(
            f"{what} needs {size_of(needed)}, and {hub_cache()} has {size_of(free)} free: make room, "
            "or let HF_HOME name another disk"
        )


def _verify(path: Path, sha256: str, what: str) -> None:
    """Removes a file that is not what the hub said, or that nobody waited for. Raises DownloadFailed."""
    sound = not sha256
    try:
        if sha256:
            with path.open("rb") as file:
                sound = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    finally:
        if not sound:
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    if not sound:
        raise DownloadFailed(f"{what} came with a wrong checksum (SHA-256) and was removed: {AGAIN}")


def _tidy(repo: str) -> None:
    """Removes what is left in the cache of downloads that were killed, and the folders that hold no file then."""
    name = f"models--{repo.replace('/', '--')}"
    folder = hub_cache() / name
    for left in folder.glob("blobs/*.incomplete"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
    if not any(path.is_file() for part in ("blobs", "snapshots") for path in (folder / part).rglob("*")):
        for empty in (folder, hub_cache() / ".locks" / name):
            shutil.rmtree(empty, ignore_errors=True)


def _within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` returns, in at most so long: name resolution alone can hang for longer. Raises its error."""
    answer: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answer.append(call())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answer:
        raise TimeoutError
    return answer[0]
