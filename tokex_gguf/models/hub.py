"""Downloading from the Hugging Face hub. The only importer of huggingface_hub, and only when it is needed:

the import takes longer than the whole program needs to its first frame.
"""

import errno
import hashlib
import os
import re
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tokex_gguf.models import hub_cache
from tokex_gguf.models.reference import DownloadFailed, HubName, NoChoice, choose, is_file_name, parts_of
from tokex_gguf.values.formatting import reason, short, size_of, system_reason

T = TypeVar("T")

PATIENCE = 8.0
"""Seconds that the hub may take to answer at all."""

ABANDONED = 3600.0
"""Seconds after which nobody is still writing to a file that was not written to."""

LONGEST_LISTING = 16 << 20
"""Bytes of an answer that is no file, at the most."""

LARGEST = 10**12
"""Bytes of a file whose size the hub does not tell, at the most."""

MOST_ANSWERS = 200
"""Answers that one file may come in: after each cut connection the rest is asked for."""

BAR = "{percentage:3.0f} % {bar} {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left"

AGAIN = "run the same command again; the file starts from the beginning"

_IDENTITY = re.compile(r"(?a:\w[\w-]{6,127})")
"""The form of a commit or an ETag that may become a file's name: too long for a device's, without dots and slashes."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(asked: HubName, tell: Callable[[str], None]) -> Path:
    """Downloads a model into the hub's cache and verifies it; returns its first file.

    `tell` gets a line before the download; a progress bar goes to
    standard error where that is a terminal. However it ends, no file stays that was not verified.
    Raises DownloadFailed.
    """
    what, repo = str(asked), asked.repo
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise DownloadFailed(f"{what} is not here, and HF_HUB_OFFLINE is set: unset it to fetch this")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    hub_cache.forget_empty()
    guard = _Guard()
    began = False
    try:
        hub = _client(guard)
        files = _within(PATIENCE, lambda: _files(asked))
        model = choose(files.sizes, asked.wanted)
        parts = parts_of(model)
        if absent := next((part for part in parts if part not in files.sizes), None):
            raise NoChoice(f"of the {len(parts)} parts of {model}, the hub lacks {absent}")
        missing = [part for part in parts if part not in files.here]
        total = sum(files.sizes[part] for part in missing)
        _check_space(total, f"{repo}:{model}")
        tell(f"downloading {repo}:{model} ({size_of(total)}{_count(parts, missing)})")
        began = True
        paths = []
        for part in parts:
            size = files.sizes[part] or LARGEST
            guard.expect(size)
            with warnings.catch_warnings(action="ignore"):  # the client warns of a full disk, and then it is full
                path = hub.hf_hub_download(
                    repo,
                    part,
                    revision=asked.revision or None,
                    cache_dir=hub_cache.folder(),
                    tqdm_class=_bar(size, part),
                )
            paths.append(Path(path))
            _verify(paths[-1], hub_cache.repository(repo), files, part)
    except Exception as error:
        raise _failed(error, what, began) from None
    finally:
        _tidy(repo)
    return paths[0]


def _client(guard: "_Guard") -> Any:
    """The hub's client, with every answer seen by a guard."""
    try:
        import huggingface_hub
        from huggingface_hub.utils._http import default_client_factory, set_client_factory
    except ValueError as error:  # it reads its numbers from the environment when it is imported
        raise DownloadFailed(f"a variable HF_... of the environment is not a number: {reason(error)}") from None
    huggingface_hub.logging.set_verbosity(50)  # what it would tell, we tell in one line

    def guarded() -> Any:
        client = default_client_factory()
        client.event_hooks = {**client.event_hooks, "response": [guard.check]}
        client.headers["Accept-Encoding"] = "identity"  # a limit of bytes is one only where nothing is unpacked
        return client

    set_client_factory(guarded)
    return huggingface_hub


class _Guard:
    """Sees every answer of the hub, or of a mirror, before the hub's client makes files' names and files of it."""

    def __init__(self) -> None:
        self._limit = LONGEST_LISTING
        self._left = MOST_ANSWERS

    def expect(self, size: int) -> None:
        """From now on, the answers bring a file of at most so many bytes."""
        self._limit = max(size, LONGEST_LISTING)
        self._left = MOST_ANSWERS

    def check(self, response: Any) -> None:
        """Called with the head of each answer. Raises DownloadFailed for what no hub says."""
        headers, request = response.headers, response.request
        self._left -= 1
        if self._left < 0:
            raise DownloadFailed(f"the hub cut the connection {MOST_ANSWERS} times: try again later")
        if (commit := headers.get("X-Repo-Commit")) is not None:
            _check_identity("X-Repo-Commit", commit)
        if (xet := headers.get("X-Xet-Hash")) is not None:
            _check_identity("X-Xet-Hash", xet)
        if request.method == "HEAD":
            # Which of the two counts, and how it is read, is as the hub's client does it.
            name = "X-Linked-Etag" if headers.get("X-Linked-Etag") else "ETag"
            if (etag := headers.get(name)) is not None:
                _check_identity(name, etag.lstrip("W/").strip('"'))
        if headers.get("Content-Encoding", "identity") != "identity":
            raise DownloadFailed("the hub answers in a packed form that was not asked for: is a proxy between?")
        target = headers.get("Location", "")
        if request.url.scheme == "https" and target.split(":")[0].casefold() == "http":
            raise DownloadFailed("the hub leads to an address without encryption (http:), which is not followed")
        response.stream = _bounded(response.stream, self._limit)


def _check_identity(name: str, value: str) -> None:
    if not _IDENTITY.fullmatch(value):
        raise DownloadFailed(f"the hub's answer makes no sense: its {name} is {short(repr(value))}")


def _bounded(stream: Any, limit: int) -> Any:
    """An answer's body that ends with DownloadFailed beyond `limit` bytes."""
    http = sys.modules[type(stream).__module__.partition(".")[0]]  # the library that the hub's client uses

    class Bounded(http.SyncByteStream):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[bytes]:
            count = 0
            for data in stream:
                count += len(data)
                if count > limit:
                    raise DownloadFailed(f"the hub sends more than {size_of(limit)}, which nothing of it can have")
                yield data

        def close(self) -> None:
            stream.close()

    return Bounded()


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
        return DownloadFailed(f"{what}: the disk is full; nothing was kept: make room in {hub_cache.folder()}")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        why = f"{hub_cache.folder()} cannot be written ({system_reason(error)})"
        return DownloadFailed(f"{what}: {why}: let HF_HOME name another folder")
    if began:
        return DownloadFailed(f"{what}: the download broke off ({reason(error)}): {AGAIN}")
    why = "no answer" if isinstance(error, TimeoutError) else reason(error)
    return DownloadFailed(f"the hub cannot be reached for {what}: {why}: check the connection")


def _bar(size: int, what: str) -> type[Any]:
    """A progress bar of a file of at most `size` bytes: how much of it, how fast, and how long still.

    As wide as the terminal.
    """
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **more: Any) -> None:
            ours = {"bar_format": BAR, "dynamic_ncols": True, "position": 0}
            super().__init__(*args, **{**more, **ours})  # type: ignore[no-untyped-call]
            self.came = int(more.get("initial") or 0)

        def update(self, n: float | None = 1) -> Any:
            """Called before what came is written. Raises DownloadFailed where it is too much."""
            self.came += int(n or 0)
            if self.came > size:
                raise DownloadFailed(f"{what}: the hub sends more than the {size:,} bytes that it told of")
            return super().update(n)

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


def _files(asked: HubName) -> _Files:
    """Lists a repository. Of names that can be no files below a folder, nothing is known. Raises DownloadFailed."""
    from huggingface_hub import HfApi

    # Longer than anybody waits for this: its own way to say that the time is over is another one.
    wait = 2 * PATIENCE
    try:
        info = HfApi().model_info(asked.repo, revision=asked.revision or None, files_metadata=True, timeout=wait)
    except (TypeError, KeyError, AttributeError, ValueError) as error:  # what is no list of files: a login page, say
        why = f"its list of files cannot be read ({reason(error)})"
        raise DownloadFailed(f"the hub's answer makes no sense: {why}: is a proxy between?") from None
    files = [file for file in info.siblings or [] if isinstance(file.rfilename, str) and is_file_name(file.rfilename)]
    sizes, sums = {}, {}
    for file in files:
        size = file.size or 0
        if not isinstance(size, int) or size < 0:
            raise DownloadFailed(f"the hub's answer makes no sense: {file.rfilename} has {short(repr(size))} bytes")
        sizes[file.rfilename] = size
        if file.lfs is not None and file.lfs.sha256 is not None:
            if not isinstance(file.lfs.sha256, str) or not _SHA256.fullmatch(file.lfs.sha256):
                told = short(repr(file.lfs.sha256))
                raise DownloadFailed(f"the hub's answer makes no sense: the checksum of {file.rfilename} is {told}")
            sums[file.rfilename] = file.lfs.sha256
    cached = hub_cache.snapshot(asked.repo, asked.revision)
    same = cached is not None and cached.name == info.sha
    here = {file for file in sizes if cached and same and (cached / file).is_file()}
    return _Files(sizes, sums, here)


def _check_space(needed: int, what: str) -> None:
    folder = hub_cache.folder()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadFailed(
            f"{what} needs {size_of(needed)}, and {hub_cache.folder()} has {size_of(free)} free: make room, "
            "or let HF_HOME name another disk"
        )


def _verify(path: Path, folder: Path, files: _Files, part: str) -> None:
    """Removes a file that is not what the hub said, or that nobody waited for. Raises DownloadFailed."""
    size, sha256 = files.sizes[part], files.sums.get(part, "")
    sound = False
    try:
        sound = not size or path.stat().st_size == size
        if sound and sha256:
            sound = False
            with path.open("rb") as file:
                sound = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    finally:
        if not sound:
            _remove(path, folder)
    if not sound:
        raise DownloadFailed(f"{part} came with a wrong checksum (SHA-256) and was removed: {AGAIN}")


def _remove(path: Path, folder: Path) -> None:
    """Removes a file of a repository's folder, and what it is a link to if that lies there, too; nothing else."""
    if path.is_symlink():
        target = Path(os.path.normpath(path.parent / path.readlink()))
        if target.parent == folder / "blobs":
            target.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _tidy(repo: str) -> None:
    """Removes what is left in the cache of downloads that were killed, and the folders that hold no file then."""
    folder = hub_cache.repository(repo)
    for left in folder.glob("blobs/*.incomplete"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
    if not any(path.is_file() for part in ("blobs", "snapshots") for path in (folder / part).rglob("*")):
        for empty in (folder, folder.parent / ".locks" / folder.name):
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
