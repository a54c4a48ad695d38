"""Resolves a model's name to a file on disk: a path, `models/`, other programs' folders, the hub."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePath

from tokex_gguf.config import DEFAULT_MODEL
from tokex_gguf.models import discovery, hub_cache
from tokex_gguf.models.discovery import BUNDLED_FILE, ModelOnDisk, bundled_model
from tokex_gguf.models.reference import (
    DownloadFailed,
    HubName,
    NoChoice,
    choose,
    first_part,
    hub_name,
    is_file_name,
    is_url,
)
from tokex_gguf.system.words import shell_word
from tokex_gguf.values.formatting import reason, short, system_reason
from tokex_gguf.values.record import record, replace

__all__ = ["DownloadFailed", "Resolved", "UnknownModel", "find", "obtain", "played", "resolve"]


class UnknownModel(Exception):
    """The name means no model, or several: wrong input."""


@record
class Resolved:
    """A model's file."""

    path: Path
    notice: str = ""
    """A line for the player about the choice."""
    asked: str = ""
    """The name that means this file; empty if the file is from a session's path, or replaces another model."""
    wanted: str = ""
    """The model that this one replaces during the download; empty if there is none."""


def resolve(name: str, tell: Callable[[str], None], *, at_once: bool = False) -> Resolved:
    """As `obtain`; but the bundled model, if installed, replaces the default one if that cannot be downloaded.

    `at_once`: also if the default model still has to be downloaded. Raises UnknownModel or DownloadFailed.
    """
    bundled = bundled_model() if name == DEFAULT_MODEL else None
    if at_once and bundled and not hub_cache.offline():
        found = find(name)
        return replace(found, asked=name) if found else Resolved(bundled, wanted=name)
    try:
        return replace(obtain(name, tell), asked=_without_url(name))
    except DownloadFailed as error:
        if bundled is None:
            raise
        return Resolved(bundled, f"{error}; using the bundled SmolLM2-135M instead")


def stands_in(model: Path, name: str) -> bool:
    """Whether this is the bundled model, and `name` the default one, not downloaded yet."""
    if name != DEFAULT_MODEL or model != bundled_model() or hub_cache.offline():
        return False
    return find(name) is None


def _without_url(name: str) -> str:
    """A model's name to be saved: a URL, which may hold a password, is replaced by its name on the hub."""
    return name if not is_url(name) else str(_on_the_hub(name) or "")


def obtain(name: str, tell: Callable[[str], None], progress: Callable[[int, int], None] | None = None) -> Resolved:
    """Finds the model, and downloads it if necessary. `tell` gets a line before a download.

    `progress` gets the bytes downloaded, and the total; without it, a bar is drawn.

    Raises UnknownModel or DownloadFailed.
    """
    if (found := find(name)) is not None:
        return found
    asked = _on_the_hub(name)
    assert asked is not None  # else `find` has raised
    from tokex_gguf.models import hub  # imported for downloads only

    return Resolved(_first_file(hub.fetch(asked, tell, progress)))


def played(file: str, asked: str = "") -> Resolved:
    """The model of a session, by the session's path for it, or by its file name in this machine's folders.

    A session is data: its path is never taken for a name, and nothing is downloaded. `asked`, the name that
    the player once gave, is for the error message only. Raises UnknownModel.
    """
    path, name = Path(file), PurePath(file).name
    try:
        if path.is_file():
            return Resolved(_first_file(path))
    except (OSError, ValueError):
        pass  # no path of this system
    moved = [place for place in discovery.on_disk() if place.path.name == name and not place.missing]
    if len(moved) == 1:
        return Resolved(_first_file(moved[0].path), f"the session's model is at {moved[0].path} now")
    problem = f"the session's model is not there any more: {file}"
    if asked and asked != file:
        problem += f" (asked for as {short(asked)})"
    # The path has the commit: other commits may have other numbers.
    if (pulled := hub_cache.name_of(path) or _pullable(asked)) is not None:
        raise UnknownModel(f"{problem}: tokex-gguf pull {shell_word(str(pulled))} fetches it again")
    raise UnknownModel(f"{problem}: put it back, or name one with --model")


def _pullable(asked: str) -> HubName | None:
    """The repository that a session's name for its model means, if the name is safe in a command."""
    found = _on_the_hub(asked)
    return found if found and (not found.wanted or is_file_name(found.wanted)) else None


def find(name: str) -> Resolved | None:
    """The model on this machine that a name means; None if only the hub may have it. Raises UnknownModel."""
    try:
        path = _at(name)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnknownModel(f"{short(name)}: cannot be a file's name ({reason(error)})") from None
    if path is not None:
        return Resolved(_first_file(path))
    asked = _on_the_hub(name)
    if asked is None and is_url(name):
        raise UnknownModel(
            f"{short(name)}: not a model's address on the hub (https://huggingface.co/OWNER/NAME/...): "
            "download the file and give its path, or let HF_ENDPOINT name a mirror of the hub"
        )
    if asked is not None and (path := _in_hub_cache(asked)) is not None:
        return Resolved(_first_file(path), "" if asked.wanted else f"{asked.repo}: using {path.name}")
    if asked is not None and asked.explicit:
        return None
    if (place := _local_model(name, asked)) is not None:
        notice = "" if place.name == name else f"{name}: using {place.name} ({place.source})"
        return Resolved(_first_file(place.path), notice)
    if asked is None:
        raise UnknownModel(
            f"{short(name)}: no such file, and no model here has this in its name: tokex-gguf models "
            "lists them; a model on the hub is named REPO/NAME or REPO/NAME:FILE.gguf"
        )
    return None


def _on_the_hub(name: str) -> HubName | None:
    """The repository that a name can mean."""
    return hub_name(name, hub_cache.hosts() if "." in name.partition("/")[0] or is_url(name) else ())


def _at(name: str) -> Path | None:
    """The bundled model, a path that exists, or a file in a `models` folder."""
    if name in ("bundled", BUNDLED_FILE) and (bundled := bundled_model()):
        return bundled
    path = Path(name).expanduser()
    if is_url(name):
        return None
    if path.is_dir():
        raise UnknownModel(f"{path}: a folder; a model is one .gguf file")
    if path.exists() and not path.is_file():
        raise UnknownModel(f"{path}: not a file; a model is one .gguf file")
    if path.is_file():
        return path
    file = name.rpartition(":")[2] if name.endswith(".gguf") else name
    for folder in discovery.own_folders():
        candidate = folder / file
        if Path(file).name == file and candidate.is_file():
            return candidate
    return None


def _first_file(path: Path) -> Path:
    """The first file of a complete model, if it begins as a GGUF. Raises UnknownModel."""
    first = path.with_name(first_part(path.name)).absolute()
    place = ModelOnDisk(first.name, "", first)
    if missing := place.missing:
        raise UnknownModel(f"{first}: of its {place.files} parts, {missing.name} is missing")
    try:
        with first.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UnknownModel(f"{first}: cannot be read: {system_reason(error)}") from None
    if magic != b"GGUF":
        raise UnknownModel(f"{first}: not a GGUF file (it does not begin with GGUF)")
    return first


def _in_hub_cache(asked: HubName) -> Path | None:
    """A repository's file in the hub's cache."""
    folder = hub_cache.snapshot(asked.repo, asked.revision)
    if folder is None:
        return None
    files = {}
    for path in folder.rglob("*.gguf"):
        with suppress(OSError):  # a dangling or cyclic link
            if path.is_file():
                files[path.relative_to(folder).as_posix()] = path.stat().st_size
    try:
        path = folder / choose(files, asked.wanted)
    except NoChoice:
        return None
    # Missing parts of a split model can be downloaded.
    return None if ModelOnDisk("", "", path).missing else path


def _local_model(name: str, asked: HubName | None) -> ModelOnDisk | None:
    """The model on this machine that a name means. Raises UnknownModel if it can mean several.

    A part of a model's name is enough, unless it can mean a repository, of which other programs may have files.
    """
    wanted = name.casefold()
    # A model with missing parts can be downloaded.
    found = [place for place in discovery.on_disk() if asked is None or not place.missing]
    matching = [place for place in found if wanted in _names(place)]
    if not matching and asked is not None:
        # Without files of main, another local revision is better than none.
        for start in () if asked.revision else (f"{asked.repo}:", f"{asked.repo}@"):
            files: dict[str, ModelOnDisk] = {}
            for place in found:
                if place.name.startswith(start):
                    files.setdefault(place.name.partition(":")[2], place)
            with suppress(NoChoice):
                return files[choose({file: place.size for file, place in files.items()}, asked.wanted)]
    elif not matching and not name.endswith(".gguf"):
        matching = [place for place in found if wanted in place.name.casefold()]
    if len(matching) > 1:
        listed = ", ".join(f"{place.name} ({place.source})" for place in matching[:8])
        more = f" and {len(matching) - 8} more" if len(matching) > 8 else ""
        raise UnknownModel(f"{name}: several models have this name: {listed}{more}: write one of these, or a path")
    return matching[0] if matching else None


def _names(place: ModelOnDisk) -> set[str]:
    """All names for a model, in lower case."""
    file = place.path.name if place.source != "Ollama" else place.name
    names = {place.name, file, file.removesuffix(".gguf"), place.name.removesuffix(":latest")}
    return {one.casefold() for one in names}
