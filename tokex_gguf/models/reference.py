"""The meaning of a model's name, and the file that it selects in a repository. Pure."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import takewhile
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

PREFERRED = ("Q4_K_M", "Q5_K_M", "Q8_0")
"""The default quantisations, the best first."""

_QUANTIZATION = re.compile(r"(?i)(?:^|[-._])(I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_MOE)?|BF16|F16|F32)(?=[-._]|$)")
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_REPO = re.compile(r"(?a:[\w.-]{1,96}/[\w.-]{1,96})")
_REVISION = re.compile(r"(?a:\w[\w.-]*(/\w[\w.-]*)*)")
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?")
"""Names that mean a device on Windows, with any ending."""

HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
"""The hub's hosts."""
MOST_PARTS = 4096
"""Files of a split model, at the most; a name with more is no part's name."""


class NoChoice(Exception):
    """The name means no file, or several. The message lists the files."""


class DownloadFailed(Exception):
    """The model could not be downloaded. The message has the reason and what to do."""


class HubName(NamedTuple):
    """A repository, and the file wanted from it."""

    repo: str
    wanted: str = ""
    """A file's name, or a quantisation; empty: the preferred one."""
    explicit: bool = False
    """Whether the name is a URL or begins with hf:, and so cannot mean a local model."""
    revision: str = ""
    """A branch, a tag or a commit; empty: main."""

    def __str__(self) -> str:
        """As `hub_name` reads it."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repo}{revision}" + (f":{self.wanted}" if self.wanted else "")


def hub_name(name: str, hosts: Collection[str] = HOSTS) -> HubName | None:
    """The repository that a name can mean; None if it cannot mean one.

    `hosts`: hosts of URLs, besides `HOSTS`.

    >>> hub_name("maker/model-GGUF:Q8_0")
    HubName(repo='maker/model-GGUF', wanted='Q8_0', explicit=False, revision='')
    >>> hub_name("https://huggingface.co/maker/model/resolve/v2/a.gguf?download=true")
    HubName(repo='maker/model', wanted='a.gguf', explicit=True, revision='v2')
    >>> str(hub_name("hf://maker/model@v2/sub/a.gguf"))
    'maker/model@v2:sub/a.gguf'
    >>> hub_name("./model.gguf") is None
    True
    """
    if is_url(name):
        return _from_url(name, {*HOSTS, *hosts})
    if name.startswith("hf://"):
        pieces = name.removeprefix("hf://").removeprefix("models/").split("/")
        repo, at, revision = "/".join(pieces[:2]).partition("@")
        return _validated(HubName(repo, "/".join(pieces[2:]), True, revision), given=bool(at))
    host, _, rest = name.partition("/")
    if host.casefold() in {*HOSTS, *hosts} and "/" in rest:
        found = _from_path(rest)
        return found and found._replace(explicit=False)  # Ollama has local models with such names
    bare = name.removeprefix("hf:")
    repo, _, wanted = bare.partition(":")
    repo, at, revision = repo.partition("@")
    return _validated(HubName(repo, wanted, bare != name, revision), given=bool(at))


def is_url(name: str) -> bool:
    """Whether a name is a web address."""
    return name[:8].casefold().startswith(("http://", "https://"))


def _from_url(url: str, hosts: Collection[str]) -> HubName | None:
    try:
        parts = urlsplit(url)
        if (parts.hostname or "").casefold() not in hosts:
            return None
        (shown,) = parse_qs(parts.query).get("show_file_info", [""])[:1]
    except ValueError:
        return None
    found = _from_path(parts.path.strip("/"))
    return found._replace(wanted=shown) if found and shown and not found.wanted else found


def _from_path(path: str) -> HubName | None:
    """The meaning of a path on the hub's host: R/N, R/N:Q, R/N/tree/REV, R/N/resolve/REV/FILE and so on."""
    owner, _, rest = path.partition("/")
    model, _, rest = rest.partition("/")
    if not rest:
        model, _, wanted = model.partition(":")
        model, at, revision = model.partition("@")
        return _validated(HubName(f"{owner}/{model}", wanted, True, revision), given=bool(at))
    kind, _, rest = rest.partition("/")
    if kind not in ("resolve", "blob", "raw", "tree"):
        return None
    if rest.startswith("refs/"):  # refs/pr/1, not escaped
        pieces = rest.split("/")
        revision, file = "/".join(pieces[:3]), "/".join(pieces[3:])
    else:
        revision, _, file = rest.partition("/")
    wanted = "" if kind == "tree" else unquote(file)
    return _validated(HubName(f"{owner}/{model}", wanted, True, unquote(revision)), given=True)


def _validated(name: HubName, *, given: bool) -> HubName | None:
    """The name, if its parts are valid on the hub, else None. `given`: whether a revision was given."""
    repo = name.repo
    if not _REPO.fullmatch(repo) or repo.endswith((".gguf", ".git")) or "--" in repo or ".." in repo:
        return None
    if not all(part[:1] not in ".-" and part[-1:] not in ".-" for part in repo.split("/")):
        return None
    if given and not is_revision(name.revision):
        return None
    return name._replace(
        revision="" if name.revision == "main" else name.revision,
        wanted="" if name.wanted == "latest" else name.wanted,  # Ollama's name for its default
    )


def is_revision(text: str) -> bool:
    """Whether a text is a valid branch, tag or commit, without path traversal."""
    return len(text) <= 255 and _REVISION.fullmatch(text) is not None and ".." not in text


def is_file_name(name: str) -> bool:
    r"""Whether a file's name in a repository is a valid relative path on every system.

    >>> [is_file_name(name) for name in ("sub/a.gguf", "../a.gguf", "/a.gguf", "a\\b.gguf", "nul.gguf", "a\nb")]
    [True, False, False, False, False, False]
    """
    return len(name.encode(errors="replace")) <= 1024 and all(map(_is_part, name.split("/")))


def _is_part(part: str) -> bool:
    return (
        part not in ("", ".", "..")
        and part.isprintable()
        and len(part.encode()) <= 255
        and not any(char in part for char in '\\:*?"<>|')
        and part[-1] not in ". "
        and part[0] not in " ~"
        and not _DEVICE.fullmatch(part)
    )


def quantization(file: str) -> str:
    """The quantisation in a file's name, in upper case; empty without one.

    >>> quantization("Qwen2.5-0.5B.Q4_K_M.gguf"), quantization("big-f16-00001-of-00003.gguf"), quantization("a.gguf")
    ('Q4_K_M', 'F16', '')
    """
    stem = _PART.sub("", file.rpartition("/")[2]).removesuffix(".gguf")
    matches = _QUANTIZATION.findall(stem)
    return matches[-1].upper() if matches else ""


def count_parts(file: str) -> int:
    """The number of files of the model that a file belongs to, by its name.

    >>> count_parts("big-00002-of-00003.gguf"), count_parts("big.gguf"), count_parts("big-00001-of-99999.gguf")
    (3, 1, 1)
    """
    part = _PART.search(file)
    return int(part[2]) if part and 1 <= int(part[1]) <= int(part[2]) <= MOST_PARTS else 1


def first_part(file: str) -> str:
    """The first part of the split model that a file belongs to; else the file itself."""
    return file if count_parts(file) == 1 else _PART.sub(r"-00001-of-\2.gguf", file)


def parts_of(file: str) -> list[str]:
    """All parts of the split model that a file belongs to, in order; else the file alone.

    >>> parts_of("big-00002-of-00002.gguf")
    ['big-00001-of-00002.gguf', 'big-00002-of-00002.gguf']
    """
    return list(each_part(file))


def each_part(file: str) -> Iterator[str]:
    """As `parts_of`, one by one: a name can claim more parts than exist."""
    part, count = _PART.search(file), count_parts(file)
    if part is None or count == 1:
        yield file
        return
    for index in range(1, count + 1):
        yield f"{file[: part.start()]}-{index:05}-of-{part[2]}.gguf"


def firsts(files: Iterable[str]) -> list[str]:
    """The models among some files: without further parts, and without projectors (mmproj)."""
    return sorted(
        file
        for file in files
        if file.endswith(".gguf") and first_part(file) == file and "mmproj" not in file.rpartition("/")[2]
    )


def choose(files: Mapping[str, int], wanted: str = "") -> str:
    """The first part of the wanted model among a repository's files, given with sizes in bytes.

    `wanted`: a file's name, with or without its folder, a quantisation, or "": then it is the first
    of PREFERRED, else the smallest one of more than four bits. Raises NoChoice.
    """
    models = firsts(files)
    if not models:
        raise NoChoice("it has no GGUF file")
    if wanted.endswith(".gguf"):
        asked = [first_part(wanted)]
        return _single([m for m in models if m in asked or m.rpartition("/")[2] in asked], models, f"no file {wanted}")
    if wanted:
        same = [model for model in models if quantization(model) == wanted.upper()]
        return _single(same, models, f"no {wanted}")
    for preferred in PREFERRED:
        if same := [model for model in models if quantization(model) == preferred]:
            return _single(same, models, "")
    if len(models) == 1:
        return models[0]
    larger = [m for m in models if (q := quantization(m)) and not re.match(r"(I|T)?Q[1-4]|MXFP4", q)]
    if not larger:
        raise NoChoice(f"none of the usual quantisations; it has {_listed(models)}")
    return min(larger, key=lambda model: sum(files[part] for part in takewhile(files.__contains__, each_part(model))))


def _single(found: list[str], models: list[str], otherwise: str) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise NoChoice(f"several files are meant: {_listed(found)}")
    raise NoChoice(f"{otherwise}; it has {_listed(models)}")


def _listed(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
