"""The models on this machine with what their headers say."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tokex_gguf.models import discovery
from tokex_gguf.models.discovery import ModelOnDisk
from tokex_gguf.models.gguf.cache import Headers
from tokex_gguf.models.gguf.metadata import BadHeader, Header
from tokex_gguf.values.formatting import size_of, system_reason
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.tokens import visible


class CatalogueEntry(NamedTuple):
    """A model, and what its file says of itself or why it cannot be used."""

    place: ModelOnDisk
    size: int
    """Bytes of all its files."""
    about: Header | str


def catalogue(opened: Iterable[Path] = ()) -> tuple[CatalogueEntry, ...]:
    """All models found, and those that were opened by their path. Reads headers, no weights."""
    headers = Headers()
    places = discovery.on_disk()
    known = {place.path.resolve() for place in places}
    others = {path.resolve(): ModelOnDisk(path.name, "opened", path) for path in opened}
    places += [place for path, place in others.items() if path not in known and place.path.is_file()]
    entries = tuple(CatalogueEntry(place, place.size, _about(place, headers)) for place in places)
    headers.save()
    return entries


def _about(place: ModelOnDisk, headers: Headers) -> Header | str:
    if missing := place.missing:
        return f"part {missing.name} is missing"
    try:
        about = headers.glance(place.path)
        others = sum(headers.glance(part).parameters for part in place.parts[1:])
        return replace(about, parameters=about.parameters + others)
    except BadHeader as error:
        return str(error)
    except OSError as error:
        return system_reason(error)


def row(entry: CatalogueEntry) -> tuple[str, ...]:
    """Name, source, architecture, quantisation, parameters, size and training context, as text; "" if unknown."""
    place, size, about = entry
    name = visible(place.name)
    if isinstance(about, str):
        return name, place.source, "", "", "", size_of(size), ""
    context = f"{about.context_trained:,}" if about.context_trained else ""
    kind = (visible(about.architecture), visible(about.quantization))
    return name, place.source, *kind, parameters(about.parameters), size_of(size), context


def listed(entry: CatalogueEntry) -> ModelEntry:
    """The same for the list on the screen."""
    place, size, about = entry
    if isinstance(about, str):
        return ModelEntry(str(place.path), place.name, "", size_of(size), about)
    return ModelEntry(str(place.path), place.name, about.quantization or about.architecture, size_of(size))


def parameters(count: int) -> str:
    """A number of parameters for people.

    >>> parameters(494_032_768), parameters(7_615_616_512), parameters(210_000), parameters(0)
    ('494M', '7.6B', '210K', '')
    """
    if count >= 1e9:
        return f"{count / 1e9:.1f}B"
    if count >= 1e6:
        return f"{count / 1e6:.0f}M"
    return f"{count / 1e3:.0f}K" if count else ""
