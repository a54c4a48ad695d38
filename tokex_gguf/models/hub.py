"""Downloading from the Hugging Face hub. The only importer of huggingface_hub, and only when it is needed:

the import takes longer than the whole program needs to its first frame.
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
"""Called with the bytes of a model that are here, and with those that it has in all."""

HUB_WAIT = 8.0
"""Seconds that the hub may take to answer at all."""

ABANDONED = 3600.0
"""Seconds after which nobody is still writing to a file that was not written to."""

PARTIAL_KEPT = 30 * 24 * 3600.0
"""Seconds for which the beginning of a file waits for the next try."""

PIECE = 1 << 18
"""Bytes that are written at once: so much is lost, at the most, where the program ends."""

LOOK = 0.25
"""Seconds between two looks at what another program downloads."""

LONGEST_LISTING = 16 << 20
"""Bytes of an answer that is no file, at the most."""

MOST_BYTES = 10**12
"""Bytes of a file whose size the hub does not tell, at the most."""

MOST_ANSWERS = 200
"""Answers that one file may come in: after each cut connection the rest is asked for."""

BAR = "{percentage:3.0f} % {bar} {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left"

ON = "the next try goes on where it was"
FROM_THE_BEGINNING = "the next try starts from the beginning"

_IDENTITY = re.compile(r"(?a:\w[\w-]{6,127})")
"""The form of a commit or an ETag that may become a file's name: too long for a device's, without dots and slashes."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(asked: HubName, tell: Callable[[str], None], progress: Progress | None = None) -> Path:
    """Downloads a model into the hub's cache and verifies it; returns its first file.

    `tell` gets a line before the download; without `progress`, a bar goes to standard error where that is a terminal.
    However it ends, no file has its name before it was verified. The beginning of one stays, for the next try.
    Raises DownloadFailed.
    """
    what, repo = str(asked), asked.repo
    if hub_cache.offline():
        raise DownloadFailed(f"{what} is not here, and HF_HUB_OFFLINE is set: unset it to fetch this")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    hub_cache.forget_empty()
    guard = _Guard()
    began = False
    try:
        hub = _client(guard)
        files = _within(HUB_WAIT, lambda: _files(asked))
        model = choose(files.sizes, asked.wanted)
        parts = parts_of(model)
        if absent := next((part for part in parts if part not in files.sizes), None):
            raise NoChoice(f"of the {len(parts)} parts of {model}, the hub lacks {absent}")
        missing = [part for part in parts if part not in files.here]
        total = sum(files.sizes[part] for part in missing)
        begun = sum(_size(_beginning(repo, files, part)) for part in missing)
        _check_space(total - begun, f"{repo}:{model}")
        tell(f"downloading {repo}:{model} ({size_of(total)}{_count(parts, missing, begun)})")
        began = True
        paths = []
        there = 0
        for part in parts:
            size = files.sizes[part] or MOST_BYTES
            guard.expect(size)
            came = progress and partial(_came, progress, there, sum(files.sizes[one] for one in parts))
            bar = _bar(size, part, came)
            with warnings.catch_warnings(action="ignore"):  # the client warns of a full disk, and then it is full
                blob = _bring(asked, files, part, bar, came, tell) if part in missing else None
                path = hub.hf_hub_download(
                    repo, part, revision=asked.revision or None, cache_dir=hub_cache.folder(), tqdm_class=bar
                )
            paths.append(Path(path))
            if blob is None or not same_file(paths[-1], blob):
                _verify(paths[-1], hub_cache.repository(repo), files, part)
            there += files.sizes[part]
    except Exception as error:
        raise _failed(error, what, began) from None
    finally:
        _tidy(repo)
    return paths[0]


def _came(progress: Progress, before: int, total: int, count: int) -> None:
    progress(before + count, total)


def _beginning(repo: str, files: "_Files", part: str) -> Path | None:
    """Where the beginning of a file waits until all of it is there; None where no checksum says which file it is."""
    if (sha256 := files.sums.get(part)) is None:
        return None
    return hub_cache.repository(repo) / "blobs" / f"{sha256}.incomplete"


def _size(path: Path | None) -> int:
    with suppress(OSError):
        return path.stat().st_size if path else 0
    return 0


def _bring(
    asked: HubName,
    files: "_Files",
    part: str,
    bar: type[Any],
    came: Callable[[int], None] | None,
    tell: Callable[[str], None],
) -> Path | None:
    """Downloads a file into the place where the hub's client looks for it, going on with what is there of it.

    The client itself begins each time from the beginning. One program at a time: the others wait, and go on if
    it ends. Returns the file, which is verified; None where the client is to do it, by its own ways.
    Raises DownloadFailed and what the client raises.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, utils
    from huggingface_hub.file_download import are_symlinks_supported, http_get

    file = _beginning(asked.repo, files, part)
    if file is None or files.sizes[part] > constants.MAX_HTTP_DOWNLOAD_SIZE:
        return None
    url = hf_hub_url(asked.repo, part, revision=asked.revision or None)
    about = get_hf_file_metadata(url)
    blob = file.with_suffix("")
    if about.etag != blob.name or not about.commit_hash or blob.exists():
        return None
    place = blob
    if not are_symlinks_supported(hub_cache.folder()):
        # The client would copy the blob, and leave half a copy under the model's name where it is stopped.
        place = hub_cache.repository(asked.repo) / "snapshots" / about.commit_hash / part
    headers = cast(Any, utils).build_hf_headers()
    if about.xet_file_data is None and about.location != url:
        url, first = about.location, urlsplit(url)
        if urlsplit(url).netloc != first.netloc and urlsplit(url).hostname not in hub_cache.hosts():
            headers.pop("authorization", None)  # it is for the hub alone
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = _alone(file, came, tell)
    try:
        if place.exists():
            return None
        if file.is_symlink():  # whatever it leads to is not ours to write to
            file.unlink()
        constants.DOWNLOAD_CHUNK_SIZE = PIECE
        with file.open("ab") as end:
            if end.tell() > files.sizes[part]:
                end.seek(0)
                end.truncate()
            http_get(url, end, resume_size=end.tell(), headers=headers, expected_size=about.size, tqdm_class=bar)
        if not _is_sound(file, files, part):
            raise _wrong(part)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
    except DownloadFailed:
        file.unlink(missing_ok=True)  # what makes no sense is no beginning of anything
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


def _alone(file: Path, came: Callable[[int], None] | None, tell: Callable[[str], None]) -> locks.Lock:
    """Waits until no other program downloads this file."""
    path = file.with_name(f"{file.name}.lock")
    lock = locks.acquire(path)
    if lock is None:
        tell("another program downloads the same file: waiting for it")
    while lock is None:
        if came:
            came(_size(file))
        time.sleep(LOOK)
        lock = locks.acquire(path)
    return lock


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
        """Called with the head of each answer. Raises DownloadFailed for what no hub says, ConnectionError for many."""
        headers, request = response.headers, response.request
        self._left -= 1
        if self._left < 0:
            raise ConnectionError(f"the hub cut the connection {MOST_ANSWERS} times")
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


def _count(parts: list[str], missing: list[str], begun: int) -> str:
    """How a model is fetched: what is here of it, of files that are whole and of others, is gone on with."""
    how = f", going on at {size_of(begun)}" if begun else ", from the beginning"
    if len(parts) == 1:
        return how
    if len(missing) < len(parts):
        here = f": {len(missing)} of {len(parts)} files, the others are here"
        return f"{how}{here}" if begun else f", going on{here}"
    return f", {len(parts)} files{how}"


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
    # The hub's client raises what its layers below raise; to the player it is all one. The log says where it was.
    log.warning("%s", what, exc_info=error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadFailed(f"{what}: the disk is full; nothing was kept: make room in {hub_cache.folder()}")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        why = f"{hub_cache.folder()} cannot be written ({system_reason(error)})"
        return DownloadFailed(f"{what}: {why}: let HF_HOME name another folder")
    if began:
        return DownloadFailed(f"{what}: the download broke off ({reason(error)}): {ON}")
    why = "no answer" if isinstance(error, TimeoutError) else reason(error)
    return DownloadFailed(f"the hub cannot be reached for {what}: {why}: check the connection")


def _bar(size: int, what: str, told: Callable[[int], None] | None) -> type[Any]:
    """A progress bar of a file of at most `size` bytes: how much of it, how fast, and how long still.

    As wide as the terminal. With `told`, that is called with the bytes that are there, and nothing is drawn.
    """
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **more: Any) -> None:
            ours = {"bar_format": BAR, "dynamic_ncols": True, "position": 0}
            if told:
                ours["disable"] = True
            super().__init__(*args, **{**more, **ours})  # type: ignore[no-untyped-call]
            self.came = int(more.get("initial") or 0)

        def update(self, n: float | None = 1) -> Any:
            """Called before what came is written. Raises DownloadFailed where it is too much."""
            self.came += int(n or 0)
            if self.came > size:
                raise DownloadFailed(f"{what}: the hub sends more than the {size:,} bytes that it told of")
            if told:
                told(self.came)
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
    wait = 2 * HUB_WAIT
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
    sound = False
    try:
        sound = _is_sound(path, files, part)
    finally:
        if not sound:
            _remove(path, folder)
    if not sound:
        raise _wrong(part)


def _is_sound(path: Path, files: _Files, part: str) -> bool:
    """Whether a file is what the hub said, as far as it says anything."""
    size, sha256 = files.sizes[part], files.sums.get(part, "")
    if size and path.stat().st_size != size:
        return False
    if not sha256:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _wrong(part: str) -> DownloadFailed:
    return DownloadFailed(f"{part} came with a wrong checksum (SHA-256) and was removed: {FROM_THE_BEGINNING}")


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
            old = PARTIAL_KEPT if _SHA256.fullmatch(left.stem) else ABANDONED
            if time.time() - left.stat().st_mtime > old:
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
