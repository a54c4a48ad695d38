"""The models on this machine, with their headers."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tokex_gguf.models import discovery
from tokex_gguf.models.discovery import ModelOnDisk
from tokex_gguf.models.gguf.cache import Headers
from tokex_gguf.models.gguf.metadata import BadHeader, Header
from tokex_gguf.values.formatting import size_of, system_reason
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.record import replace
from tokex_gguf.values.tokens import visible


class CatalogueEntry(NamedTuple):
    """A model, with its header or the reason why it cannot be used."""

    file: ModelOnDisk
    size: int
    """Bytes of all files of the model."""
    about: Header | str


def catalogue(opened: Iterable[Path] = ()) -> tuple[CatalogueEntry, ...]:
    """All models found, and those `opened` by path. Reads headers, no weights."""
    headers = Headers()
    files = discovery.on_disk()
    paths = {file.path.resolve() for file in files}
    opened_files = {path.resolve(): ModelOnDisk(path.name, "opened", path) for path in opened}
    files += [file for path, file in opened_files.items() if path not in paths and file.path.is_file()]
    entries = tuple(CatalogueEntry(file, file.size, _about(file, headers)) for file in files)
    headers.save()
    return entries


def _about(file: ModelOnDisk, headers: Headers) -> Header | str:
    if missing := file.missing:
        return f"part {missing.name} is missing"
    try:
        about = headers.glance(file.path)
        others = sum(headers.glance(part).parameters for part in file.parts[1:])
        return replace(about, parameters=about.parameters + others)
    except BadHeader as error:
        return str(error)
    except OSError as error:
        return system_reason(error)


def row(entry: CatalogueEntry) -> tuple[str, ...]:
    """Name, source, architecture, quantisation, parameters, size and training context, as text; "" if unknown."""
    file, size, about = entry
    name = visible(file.name)
    if isinstance(about, str):
        return name, file.source, "", "", "", size_of(size), ""
    context = f"{about.context_trained:,}" if about.context_trained else ""
    kind = (visible(about.architecture), visible(about.quantization))
    return name, file.source, *kind, parameters(about.parameters), size_of(size), context


def listed(entry: CatalogueEntry) -> ModelEntry:
    """An entry for the list on the screen."""
    file, size, about = entry
    if isinstance(about, str):
        return ModelEntry(str(file.path), file.name, "", size_of(size), about)
    return ModelEntry(str(file.path), file.name, about.quantization or about.architecture, size_of(size))


def parameters(count: int) -> str:
    """A number of parameters, rounded, with its unit.

    >>> parameters(494_032_768), parameters(7_615_616_512), parameters(210_000), parameters(0)
    ('494M', '7.6B', '210K', '')
    """
    if count >= 1e9:
        return f"{count / 1e9:.1f}B"
    if count >= 1e6:
        return f"{count / 1e6:.0f}M"
    return f"{count / 1e3:.0f}K" if count else ""
