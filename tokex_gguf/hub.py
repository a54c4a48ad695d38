"""Downloading from the Hugging Face hub. The only importer of huggingface_hub, and only when it is needed:

the import takes longer than the whole program needs to its first frame.
"""

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tokex_gguf.naming import DownloadFailed, NoChoice, choose, parts_of
from tokex_gguf.places import hub_cache
from tokex_gguf.words import reason, size_of

T = TypeVar("T")

PATIENCE = 8.0
"""Seconds that the hub may take to answer at all."""

AGAIN = "run the same command again; it starts from the beginning"


def fetch(repo: str, wanted: str, tell: Callable[[str], None]) -> Path:
    """Downloads a model into the hub's cache and verifies it; returns its first file.

    `wanted` as for `naming.choose`. `tell` gets a line before the download; a progress bar goes to
    standard error where that is a terminal. Raises DownloadFailed.
    """
    what = f"{repo}:{wanted}" if wanted else repo
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise DownloadFailed(f"{what} is not here, and HF_HUB_OFFLINE is set")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub
    from huggingface_hub import errors as hub

    huggingface_hub.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what it would tell, we tell in one line
    began = False
    try:
        sizes, sums = _within(PATIENCE, lambda: _files(repo))
        model = choose(sizes, wanted)
        parts = parts_of(model)
        total = sum(sizes.get(part, 0) for part in parts)
        _check_space(total, f"{repo}:{model}")
        count = f", {len(parts)} files" if len(parts) > 1 else ""
        tell(f"downloading {repo}:{model} ({size_of(total)}{count}) from the beginning")
        began = True
        paths = [Path(huggingface_hub.hf_hub_download(repo, part)) for part in parts]
        for part, path in zip(parts, paths, strict=True):
            _verify(path, sums.get(part, ""), f"{repo}:{part}")
    except DownloadFailed:
        raise
    except NoChoice as error:
        raise DownloadFailed(f"{what}: {error}") from None
    except hub.GatedRepoError:
        raise DownloadFailed(f"{repo} is gated: accept its terms on the hub, then set HF_TOKEN") from None
    except hub.RepositoryNotFoundError:
        raise DownloadFailed(f"{repo}: no such repository on the hub, or a private one: check the name") from None
    except hub.EntryNotFoundError:
        raise DownloadFailed(f"{what}: the hub does not have this file any more: try again") from None
    except hub.HfHubHTTPError as error:
        raise DownloadFailed(_refusal(what, error.response.status_code if error.response is not None else 0)) from None
    except TimeoutError:
        raise DownloadFailed(f"the hub cannot be reached for {what}: no answer") from None
    except Exception as error:
        # The hub's client raises what its layers below raise; to the player it is all one.
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadFailed(f"{what}: the disk is full; nothing was kept: make room in {hub_cache()}") from None
        if began:
            raise DownloadFailed(f"{what}: the download broke off ({reason(error)}): {AGAIN}") from None
        raise DownloadFailed(f"the hub cannot be reached for {what}: {reason(error)}") from None
    return paths[0]


def _refusal(what: str, status: int) -> str:
    if status == 429:
        return f"the hub refuses {what} for now (too many requests): try again in some minutes, or set HF_TOKEN"
    if status in (401, 403):
        return f"the hub refuses {what} (status {status}): set HF_TOKEN to a token that may read it"
    return f"the hub cannot be reached for {what}: it answers with status {status}; try again later"


def _files(repo: str) -> tuple[dict[str, int], dict[str, str]]:
    """The sizes of a repository's files, and the SHA-256 of those that the hub gives one for."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(repo, files_metadata=True, timeout=PATIENCE)
    files = info.siblings or []
    sums = {file.rfilename: file.lfs.sha256 for file in files if file.lfs is not None}
    return {file.rfilename: file.size or 0 for file in files}, sums


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
    """Removes a file that is not what the hub said. Raises DownloadFailed."""
    if not sha256:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise DownloadFailed(f"{what} came with a wrong checksum (SHA-256) and was removed: {AGAIN}")


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
