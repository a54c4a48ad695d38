"""Downloads from the Hugging Face hub. The only importer of huggingface_hub, and only for a download:

the import takes longer than the program's first frame.
"""

import errno
import hashlib
import logging
import os
import re
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

from tokex_gguf.models import hub_cache
from tokex_gguf.models.reference import DownloadFailed, HubName, NoChoice, choose, is_file_name, parts_of
from tokex_gguf.system import locks
from tokex_gguf.system.files import same_file
from tokex_gguf.values.formatting import reason, short, size_of, system_reason

log = logging.getLogger(__name__)

T = TypeVar("T")

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes of a model downloaded so far, and the total."""

HUB_WAIT = 8.0
"""Seconds to wait for the hub's first answer."""

ABANDONED_AFTER = 3600.0
"""Seconds without a write after which an unfinished file without a checksum is removed."""

PARTIAL_KEPT = 30 * 24 * 3600.0
"""Seconds for which the beginning of a file is kept for the next try."""

CHUNK_BYTES = 1 << 18
"""Bytes of one write: so many are lost, at the most, when the program ends."""

POLL_INTERVAL = 0.25
"""Seconds between two polls of another program's download."""

LONGEST_LISTING = 16 << 20
"""Bytes of an answer other than a file, at the most."""

MOST_BYTES = 10**12
"""Bytes of a file of unknown size, at the most."""

MOST_ANSWERS = 200
"""Answers for one file, at the most: after each cut connection the rest is requested."""

BAR = "{percentage:3.0f} % {bar} {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left"

RESUMES = "the next try goes on where it was"
STARTS_OVER = "the next try starts from the beginning"

_IDENTITY = re.compile(r"(?a:\w[\w-]{6,127})")
"""A commit or an ETag that is safe as a file's name: longer than a device's name, without dots and slashes."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(asked: HubName, tell: Callable[[str], None], progress: Progress | None = None) -> Path:
    """Downloads a model into the hub's cache and verifies it; returns its first file.

    `tell` gets a line before the download; without `progress`, a bar goes to standard error if that is a terminal.
    A file gets its name only after verification. The beginning of an unfinished file stays for the next try.
    Raises DownloadFailed.
    """
    what, repo = str(asked), asked.repo
    if hub_cache.offline():
        raise DownloadFailed(f"{what} is not here, and HF_HUB_OFFLINE is set: unset it to fetch this")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    hub_cache.forget_empty()
    guard = _Guard()
    started = False
    try:
        hub = _client(guard)
        files = _within(HUB_WAIT, lambda: _files(asked))
        model = choose(files.sizes, asked.wanted)
        parts = parts_of(model)
        if absent := next((part for part in parts if part not in files.sizes), None):
            raise NoChoice(f"of the {len(parts)} parts of {model}, the hub lacks {absent}")
        missing = [part for part in parts if part not in files.here]
        total = sum(files.sizes[part] for part in missing)
        resumed = sum(_size(_partial_file(repo, files, part)) for part in missing)
        _check_space(total - resumed, f"{repo}:{model}")
        tell(f"downloading {repo}:{model} ({size_of(total)}{_download_summary(parts, missing, resumed)})")
        started = True
        paths = []
        done = 0
        for part in parts:
            size = files.sizes[part] or MOST_BYTES
            guard.expect(size)
            report = progress and partial(_report_total, progress, done, sum(files.sizes[name] for name in parts))
            bar = _bar(size, part, report)
            with warnings.catch_warnings(action="ignore"):  # the client warns of a full disk before the write fails
                blob = _download(asked, files, part, bar, report, tell) if part in missing else None
                path = hub.hf_hub_download(
                    repo, part, revision=asked.revision or None, cache_dir=hub_cache.folder(), tqdm_class=bar
                )
            paths.append(Path(path))
            if blob is None or not same_file(paths[-1], blob):
                _verify(paths[-1], hub_cache.repository(repo), files, part)
            done += files.sizes[part]
    except Exception as error:
        raise _failure(error, what, started) from None
    finally:
        _tidy(repo)
    return paths[0]


def _report_total(progress: Progress, before: int, total: int, count: int) -> None:
    progress(before + count, total)


def _partial_file(repo: str, files: "_HubFiles", part: str) -> Path | None:
    """The path of an unfinished file; None if the hub gives no checksum to identify it."""
    if (sha256 := files.sums.get(part)) is None:
        return None
    return hub_cache.repository(repo) / "blobs" / f"{sha256}.incomplete"


def _size(path: Path | None) -> int:
    with suppress(OSError):
        return path.stat().st_size if path else 0
    return 0


def _download(
    asked: HubName,
    files: "_HubFiles",
    part: str,
    bar: type[Any],
    report: Callable[[int], None] | None,
    tell: Callable[[str], None],
) -> Path | None:
    """Downloads a file to where the hub's client looks for it, after the part that is there already.

    The client itself would start over. One program downloads at a time: others wait, and continue if it
    ends. Returns the verified file; None if the client is to download it.
    Raises DownloadFailed and what the client raises.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, utils
    from huggingface_hub.file_download import are_symlinks_supported, http_get

    file = _partial_file(asked.repo, files, part)
    if file is None or files.sizes[part] > constants.MAX_HTTP_DOWNLOAD_SIZE:
        return None
    url = hf_hub_url(asked.repo, part, revision=asked.revision or None)
    metadata = get_hf_file_metadata(url)
    blob = file.with_suffix("")
    if metadata.etag != blob.name or not metadata.commit_hash or blob.exists():
        return None
    place = blob
    if not are_symlinks_supported(hub_cache.folder()):
        # The client would copy the blob, and leave half a copy under the model's name if interrupted.
        place = hub_cache.repository(asked.repo) / "snapshots" / metadata.commit_hash / part
    headers = cast(Any, utils).build_hf_headers()
    if metadata.xet_file_data is None and metadata.location != url:
        url, first = metadata.location, urlsplit(url)
        if urlsplit(url).netloc != first.netloc and urlsplit(url).hostname not in hub_cache.hosts():
            headers.pop("authorization", None)  # the token is for the hub only
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock_download(file, report, tell)
    try:
        if place.exists():
            return None
        if file.is_symlink():  # its target must not be written
            file.unlink()
        constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
        with file.open("ab") as end:
            if end.tell() > files.sizes[part]:
                end.seek(0)
                end.truncate()
            http_get(url, end, resume_size=end.tell(), headers=headers, expected_size=metadata.size, tqdm_class=bar)
        if not _matches(file, files, part):
            raise _checksum_failure(part)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
    except DownloadFailed:
        file.unlink(missing_ok=True)  # an invalid file must not be resumed
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            file.unlink(missing_ok=True)
        raise
    finally:
        if not _size(file):
            file.unlink(missing_ok=True)
        lock.release()
    return place


def _lock_download(file: Path, report: Callable[[int], None] | None, tell: Callable[[str], None]) -> locks.Lock:
    """Locks a file's download; waits while another program holds the lock."""
    path = file.with_name(f"{file.name}.lock")
    lock = locks.acquire(path)
    if lock is None:
        tell("another program downloads the same file: waiting for it")
    while lock is None:
        if report:
            report(_size(file))
        time.sleep(POLL_INTERVAL)
        lock = locks.acquire(path)
    return lock


def _client(guard: "_Guard") -> Any:
    """The hub's client, with every answer checked by a guard."""
    try:
        import huggingface_hub
        from huggingface_hub.utils._http import default_client_factory, set_client_factory
    except ValueError as error:  # its import reads numbers from the environment
        raise DownloadFailed(f"a variable HF_... of the environment is not a number: {reason(error)}") from None
    huggingface_hub.logging.set_verbosity(50)  # we report errors ourselves, in one line

    def guarded() -> Any:
        client = default_client_factory()
        client.event_hooks = {**client.event_hooks, "response": [guard.check]}
        client.headers["Accept-Encoding"] = "identity"  # a limit of bytes does not hold for compressed answers
        return client

    set_client_factory(guarded)
    return huggingface_hub


class _Guard:
    """Checks every answer of the hub, or of a mirror, before the hub's client makes files of it."""

    def __init__(self) -> None:
        self._limit = LONGEST_LISTING
        self._left = MOST_ANSWERS

    def expect(self, size: int) -> None:
        """The next answers are a file of at most so many bytes."""
        self._limit = max(size, LONGEST_LISTING)
        self._left = MOST_ANSWERS

    def check(self, response: Any) -> None:
        """Checks the head of an answer. Raises DownloadFailed for invalid ones, ConnectionError for too many."""
        headers, request = response.headers, response.request
        self._left -= 1
        if self._left < 0:
            raise ConnectionError(f"the hub cut the connection {MOST_ANSWERS} times")
        if (commit := headers.get("X-Repo-Commit")) is not None:
            _check_identity("X-Repo-Commit", commit)
        if (xet := headers.get("X-Xet-Hash")) is not None:
            _check_identity("X-Xet-Hash", xet)
        if request.method == "HEAD":
            # The same header, read in the same way as by the hub's client.
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
    """An answer's body that raises DownloadFailed after `limit` bytes."""
    http = sys.modules[type(stream).__module__.partition(".")[0]]  # the HTTP library of the hub's client

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


def _download_summary(parts: list[str], missing: list[str], resumed: int) -> str:
    """How a model is downloaded: the number of files, and where the download resumes."""
    how = f", going on at {size_of(resumed)}" if resumed else ", from the beginning"
    if len(parts) == 1:
        return how
    if len(missing) < len(parts):
        files_left = f": {len(missing)} of {len(parts)} files, the others are here"
        return f"{how}{files_left}" if resumed else f", going on{files_left}"
    return f", {len(parts)} files{how}"


def _failure(error: Exception, what: str, started: bool) -> DownloadFailed:
    """The error for the player, with the next step."""
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
    # Any error of the layers below the hub's client. The log has the traceback.
    log.warning("%s", what, exc_info=error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadFailed(f"{what}: the disk is full; nothing was kept: make room in {hub_cache.folder()}")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        cause = f"{hub_cache.folder()} cannot be written ({system_reason(error)})"
        return DownloadFailed(f"{what}: {cause}: let HF_HOME name another folder")
    if started:
        return DownloadFailed(f"{what}: the download broke off ({reason(error)}): {RESUMES}")
    cause = "no answer" if isinstance(error, TimeoutError) else reason(error)
    return DownloadFailed(f"the hub cannot be reached for {what}: {cause}: check the connection")


def _bar(size: int, what: str, report: Callable[[int], None] | None) -> type[Any]:
    """A progress bar for a file of at most `size` bytes, with rate and remaining time.

    As wide as the terminal. `report`, if given, is called with the bytes so far, and nothing is drawn.
    """
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **more: Any) -> None:
            ours = {"bar_format": BAR, "dynamic_ncols": True, "position": 0}
            if report:
                ours["disable"] = True
            super().__init__(*args, **{**more, **ours})  # type: ignore[no-untyped-call]
            self.came = int(more.get("initial") or 0)

        def update(self, n: float | None = 1) -> Any:
            """Called before received bytes are written. Raises DownloadFailed if they exceed `size`."""
            self.came += int(n or 0)
            if self.came > size:
                raise DownloadFailed(f"{what}: the hub sends more than the {size:,} bytes that it told of")
            if report:
                report(self.came)
            return super().update(n)

        # With these methods the hub's client uses one bar for receiving and writing, and not two.

        def update_transfer(self, count: int) -> None:
            """Does nothing: written bytes count."""

        def set_transfer_postfix_str(self, text: str, refresh: bool = True) -> None:
            """Does nothing."""

    return Bar


def _refusal(what: str, status: int) -> str:
    if status == 429:
        return f"the hub refuses {what} for now (too many requests): try again in some minutes, or set HF_TOKEN"
    if status in (401, 403):
        return f"the hub refuses {what} (status {status}): set HF_TOKEN to a token that may read it"
    return f"the hub cannot be reached for {what}: it answers with status {status}; try again later"


class _HubFiles(NamedTuple):
    """The files of a repository on the hub."""

    sizes: dict[str, int]
    """Bytes of each file."""
    sums: dict[str, str]
    """SHA-256 by file, where the hub gives one."""
    here: set[str]
    """The files in the cache."""


def _files(asked: HubName) -> _HubFiles:
    """Lists a repository, without names that are unsafe as paths. Raises DownloadFailed."""
    from huggingface_hub import HfApi

    # Longer than `_within` waits, so that its TimeoutError wins.
    wait = 2 * HUB_WAIT
    try:
        info = HfApi().model_info(asked.repo, revision=asked.revision or None, files_metadata=True, timeout=wait)
    except (TypeError, KeyError, AttributeError, ValueError) as error:  # no list of files, such as a login page
        problem = f"its list of files cannot be read ({reason(error)})"
        raise DownloadFailed(f"the hub's answer makes no sense: {problem}: is a proxy between?") from None
    files = [file for file in info.siblings or [] if isinstance(file.rfilename, str) and is_file_name(file.rfilename)]
    sizes, sums = {}, {}
    for file in files:
        size = file.size or 0
        if not isinstance(size, int) or size < 0:
            raise DownloadFailed(f"the hub's answer makes no sense: {file.rfilename} has {short(repr(size))} bytes")
        sizes[file.rfilename] = size
        if file.lfs is not None and file.lfs.sha256 is not None:
            if not isinstance(file.lfs.sha256, str) or not _SHA256.fullmatch(file.lfs.sha256):
                checksum = short(repr(file.lfs.sha256))
                raise DownloadFailed(f"the hub's answer makes no sense: the checksum of {file.rfilename} is {checksum}")
            sums[file.rfilename] = file.lfs.sha256
    cached = hub_cache.snapshot(asked.repo, asked.revision)
    same = cached is not None and cached.name == info.sha
    here = {file for file in sizes if cached and same and (cached / file).is_file()}
    return _HubFiles(sizes, sums, here)


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


def _verify(path: Path, folder: Path, files: _HubFiles, part: str) -> None:
    """Verifies a file; removes it if it is wrong, or if this is interrupted. Raises DownloadFailed."""
    sound = False
    try:
        sound = _matches(path, files, part)
    finally:
        if not sound:
            _remove(path, folder)
    if not sound:
        raise _checksum_failure(part)


def _matches(path: Path, files: _HubFiles, part: str) -> bool:
    """Whether a file has the size and the checksum of the hub, if the hub gives them."""
    size, sha256 = files.sizes[part], files.sums.get(part, "")
    if size and path.stat().st_size != size:
        return False
    if not sha256:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _checksum_failure(part: str) -> DownloadFailed:
    return DownloadFailed(f"{part} came with a wrong checksum (SHA-256) and was removed: {STARTS_OVER}")


def _remove(path: Path, folder: Path) -> None:
    """Removes a file, and the target of a link if that is a blob of the same repository."""
    if path.is_symlink():
        target = Path(os.path.normpath(path.parent / path.readlink()))
        if target.parent == folder / "blobs":
            target.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _tidy(repo: str) -> None:
    """Removes old unfinished files from the cache, and folders without files."""
    folder = hub_cache.repository(repo)
    for unfinished in folder.glob("blobs/*.incomplete"):
        with suppress(OSError):
            limit = PARTIAL_KEPT if _SHA256.fullmatch(unfinished.stem) else ABANDONED_AFTER
            if time.time() - unfinished.stat().st_mtime > limit:
                unfinished.unlink()
    if not any(path.is_file() for part in ("blobs", "snapshots") for path in (folder / part).rglob("*")):
        for empty in (folder, folder.parent / ".locks" / folder.name):
            shutil.rmtree(empty, ignore_errors=True)


def _within(seconds: float, call: Callable[[], T]) -> T:
    """Calls a function for at most so many seconds: name resolution can hang longer. Raises its error, TimeoutError."""
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
