"""What a model's name means, and which of a repository's files it picks. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

PREFERRED = ("Q4_K_M", "Q5_K_M", "Q8_0")
"""The quantisations taken where none is named, the best first."""

_QUANTIZATION = re.compile(r"(?i)(?:^|[-._])(I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_MOE)?|BF16|F16|F32)(?=[-._]|$)")
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


class NoChoice(Exception):
    """No file, or no single one, is meant; says which there are."""


class DownloadFailed(Exception):
    """The model could not be fetched; says why and what to do, in one line."""


class HubName(NamedTuple):
    """A repository, and what is wanted of it."""

    repo: str
    wanted: str = ""
    """A file's name, or a quantisation; empty: whichever is preferred."""
    explicit: bool = False
    """Whether it began with hf: and can mean nothing else."""


def hub_name(name: str) -> HubName | None:
    """The repository that a name can mean; None where it cannot mean one.

    >>> hub_name("maker/model-GGUF:Q8_0")
    HubName(repo='maker/model-GGUF', wanted='Q8_0', explicit=False)
    >>> hub_name("hf:maker/model")
    HubName(repo='maker/model', wanted='', explicit=True)
    >>> hub_name("./model.gguf") is None
    True
    """
    bare = name.removeprefix("hf:")
    repo, _, wanted = bare.partition(":")
    if not _REPO.fullmatch(repo) or repo.endswith(".gguf") or repo.split("/")[0] in (".", ".."):
        return None
    return HubName(repo, wanted, explicit=bare != name)


def quantization(file: str) -> str:
    """The quantisation that a file's name tells, in upper case; empty where it tells none.

    >>> quantization("Qwen2.5-0.5B.Q4_K_M.gguf"), quantization("big-f16-00001-of-00003.gguf"), quantization("a.gguf")
    ('Q4_K_M', 'F16', '')
    """
    stem = _PART.sub("", file.rpartition("/")[2]).removesuffix(".gguf")
    found = _QUANTIZATION.findall(stem)
    return found[-1].upper() if found else ""


def parts_of(file: str) -> list[str]:
    """All files of a split model, the first part first; of any other, the file alone.

    >>> parts_of("big-00002-of-00002.gguf")
    ['big-00001-of-00002.gguf', 'big-00002-of-00002.gguf']
    """
    part = _PART.search(file)
    if not part or not 1 <= int(part[1]) <= int(part[2]):
        return [file]
    stem = file[: part.start()]
    return [f"{stem}-{index:05}-of-{part[2]}.gguf" for index in range(1, int(part[2]) + 1)]


def firsts(files: Iterable[str]) -> list[str]:
    """The models among some files: no second parts, and nothing that only goes with a model."""
    return sorted(
        file
        for file in files
        if file.endswith(".gguf") and parts_of(file)[0] == file and "mmproj" not in file.rpartition("/")[2]
    )


def choose(files: Mapping[str, int], wanted: str = "") -> str:
    """The model that is wanted among a repository's files (sizes in bytes): its first part.

    `wanted`: a file's name, with or without its folder, a quantisation, or nothing. Then it is the first
    of PREFERRED, else the smallest one of more than four bits. Raises NoChoice.
    """
    models = firsts(files)
    if not models:
        raise NoChoice("it has no GGUF file")
    if wanted.endswith(".gguf"):
        asked = [parts_of(wanted)[0]]
        return _only([m for m in models if m in asked or m.rpartition("/")[2] in asked], models, f"no file {wanted}")
    if wanted:
        same = [model for model in models if quantization(model) == wanted.upper()]
        return _only(same, models, f"no {wanted}")
    for preferred in PREFERRED:
        if same := [model for model in models if quantization(model) == preferred]:
            return _only(same, models, "")
    if len(models) == 1:
        return models[0]
    larger = [m for m in models if (q := quantization(m)) and not re.match(r"(I|T)?Q[1-4]|MXFP4", q)]
    if not larger:
        raise NoChoice(f"none of the usual quantisations; it has {_listed(models)}")
    return min(larger, key=lambda model: sum(files.get(part, 0) for part in parts_of(model)))


def _only(found: list[str], models: list[str], otherwise: str) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise NoChoice(f"several files are meant: {_listed(found)}")
    raise NoChoice(f"{otherwise}; it has {_listed(models)}")


def _listed(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
