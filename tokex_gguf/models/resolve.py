"""From a model's name to a file on disk: a path, `models/`, other programs' folders, the hub."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
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
from tokex_gguf.values.record import record

__all__ = ["DownloadFailed", "Resolved", "UnknownModel", "find", "obtain", "played", "resolve"]


class UnknownModel(Exception):
    """The name leads to no model, or to several: wrong input."""


@record
class Resolved:
    """A model's file."""

    path: Path
    notice: str = ""
    """What the player should know of how it was chosen."""
    asked: str = ""
    """The name that leads to this file; empty where it was found by its path in a session, or stands in for another."""
    wanted: str = ""
    """The model that it stands in for until that is downloaded; empty where it stands in for none."""


def resolve(name: str, tell: Callable[[str], None], *, at_once: bool = False) -> Resolved:
    """As `obtain`; where the default model cannot be had and the bundled one is installed, that is used instead.

    `at_once`: also where it only has to be downloaded. Raises UnknownModel or DownloadFailed.
    """
    bundled = bundled_model() if name == DEFAULT_MODEL else None
    if at_once and bundled and not hub_cache.offline():
        found = find(name)
        return replace(found, asked=name) if found else Resolved(bundled, wanted=name)
    try:
        return replace(obtain(name, tell), asked=_shown(name))
    except DownloadFailed as error:
        if bundled is None:
            raise
        return Resolved(bundled, f"{error}; using the bundled SmolLM2-135M instead")


def stands_in(model: Path, name: str) -> bool:
    """Whether this is the bundled model, and the default one, of this name, is still to be downloaded."""
    if name != DEFAULT_MODEL or model != bundled_model() or hub_cache.offline():
        return False
    return find(name) is None


def _shown(name: str) -> str:
    """A model's name, to be kept: of a web address, which may hold a password, what it means on the hub."""
    return name if not is_url(name) else str(_on_the_hub(name) or "")


def obtain(name: str, tell: Callable[[str], None], progress: Callable[[int, int], None] | None = None) -> Resolved:
    """Finds the model, downloading it if need be. `tell` gets a line before a download.

    `progress` gets the bytes that are here, and those that it has in all; without it, a bar is drawn.

    Raises UnknownModel or DownloadFailed.
    """
    if (found := find(name)) is not None:
        return found
    asked = _on_the_hub(name)
    assert asked is not None  # else nothing was found, and `find` said so
    from tokex_gguf.models import hub  # only where something must be downloaded

    return Resolved(_checked(hub.fetch(asked, tell, progress)))


def played(file: str, asked: str = "") -> Resolved:
    """The model of a session, by the path that the session has for it, or moved within this machine's folders.

    A session is data: what it says is a path and never a name, and nothing is downloaded for it. `asked`, the
    name that the player gave once, is for the line that says what to do. Raises UnknownModel.
    """
    path, name = Path(file), PurePath(file).name
    try:
        if path.is_file():
            return Resolved(_checked(path))
    except (OSError, ValueError):
        pass  # no path of this system
    moved = [place for place in discovery.on_disk() if place.path.name == name and not place.missing]
    if len(moved) == 1:
        return Resolved(_checked(moved[0].path), f"the session's model is at {moved[0].path} now")
    told = f"the session's model is not there any more: {file}"
    if asked and asked != file:
        told += f" (asked for as {short(asked)})"
    # The path says which commit it was: only with that one are the numbers the same.
    if (pulled := hub_cache.name_of(path) or _pullable(asked)) is not None:
        raise UnknownModel(f"{told}: tokex-gguf pull {shell_word(str(pulled))} fetches it again")
    raise UnknownModel(f"{told}: put it back, or name one with --model")


def _pullable(asked: str) -> HubName | None:
    """The repository that a session's name for its model means, if it can mean nothing that does harm as a command."""
    found = _on_the_hub(asked)
    return found if found and (not found.wanted or is_file_name(found.wanted)) else None


def find(name: str) -> Resolved | None:
    """The model on this machine that a name means; None where only the hub may have it. Raises UnknownModel."""
    try:
        path = _at(name)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnknownModel(f"{short(name)}: cannot be a file's name ({reason(error)})") from None
    if path is not None:
        return Resolved(_checked(path))
    asked = _on_the_hub(name)
    if asked is None and is_url(name):
        raise UnknownModel(
            f"{short(name)}: not a model's address on the hub (https://huggingface.co/OWNER/NAME/...): "
            "download the file and give its path, or let HF_ENDPOINT name a mirror of the hub"
        )
    if asked is not None and (path := _cached(asked)) is not None:
        return Resolved(_checked(path), "" if asked.wanted else f"{asked.repo}: using {path.name}")
    if asked is not None and asked.explicit:
        return None
    if (place := _known(name, asked)) is not None:
        notice = "" if place.name == name else f"{name}: using {place.name} ({place.source})"
        return Resolved(_checked(place.path), notice)
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


def _checked(path: Path) -> Path:
    """The first file of a model that is all there and can be a GGUF. Raises UnknownModel."""
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


def _cached(asked: HubName) -> Path | None:
    """The file of a repository that is in the hub's cache already."""
    folder = hub_cache.snapshot(asked.repo, asked.revision)
    if folder is None:
        return None
    files = {}
    for path in folder.rglob("*.gguf"):
        with suppress(OSError):  # a link to nowhere, or to itself
            if path.is_file():
                files[path.relative_to(folder).as_posix()] = path.stat().st_size
    try:
        path = folder / choose(files, asked.wanted)
    except NoChoice:
        return None
    # What is missing of a split model, the hub has.
    return None if ModelOnDisk("", "", path).missing else path


def _known(name: str, asked: HubName | None) -> ModelOnDisk | None:
    """The model on this machine that a name means. Raises UnknownModel where it can mean several.

    A part of a model's name is enough, unless it can mean a repository: of those, other programs keep files, too.
    """
    wanted = name.casefold()
    # What is missing can be had from the hub.
    found = [place for place in discovery.on_disk() if asked is None or not place.missing]
    matching = [place for place in found if wanted in _names(place)]
    if not matching and asked is not None:
        # Where nothing of main is here, another revision that is here is better than none.
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
    """All that can be written for a model, in lower case."""
    file = place.path.name if place.source != "Ollama" else place.name
    names = {place.name, file, file.removesuffix(".gguf"), place.name.removesuffix(":latest")}
    return {one.casefold() for one in names}
