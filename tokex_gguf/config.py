"""Configuration: frozen values from a `config.toml`, every fault in one line.

The file's tables and keys are the dataclasses' names and fields; the defaults stand here.
"""

import os
import re
import stat
from dataclasses import field, fields
from pathlib import Path
from typing import Any, NamedTuple

from tokex_gguf.system import folders
from tokex_gguf.values import samplers, text_files
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.record import record
from tokex_gguf.values.sampler_text import chain_of_flags
from tokex_gguf.values.text_files import NotText
from tokex_gguf.values.workers import FORM, workers_of

APP = "tokex-gguf"
DEFAULT_MODEL = "QuantFactory/Qwen2.5-0.5B-GGUF:Qwen2.5-0.5B.Q4_K_M.gguf"


HERE = Path("config.toml")
"""The configuration of the current folder. Whoever made the folder wrote it: it gets no secret sent anywhere."""
LONGEST_NAME = 30
"""Characters of the name of a sampler chain, at the most."""
MOST_BYTES = 2**18
"""Bytes of a configuration file, at the most."""
_PART = r"""(?:(?<![A-Za-z0-9_-])[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_DEEP = re.compile(rf"(?:^|[\[{{,])[ \t]*+(?:{_PART}\.[ \t]*+){{32}}", re.MULTILINE)
"""A key of many parts: the time to read one grows with the square of their number, and ours have two."""
_TEXTS = re.compile(r'''"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*+"|'[^'\n]*+'|#[^\n]*+''', re.DOTALL)
"""What no key is without quotes: texts, and comments."""
_PLAIN = re.compile(r"[\w-]+")
_OURS = re.compile(r"""^\s*+\[?\s*+["']?(model|prompt|display|engine|answers|samplers)["']?\s*+[].=]""", re.MULTILINE)
"""What begins a line of a file that is meant as ours."""
_OUR_SERVER = re.compile(r"""^\s*+\[\s*+server\s*+\](?:[^\[]*\n)?\s*+url\s*+=""", re.MULTILINE)
"""Many programs have a table of this name: ours has an address."""


def state_folder() -> Path:
    """Where the log and the sessions are kept."""
    return folders.state(APP)


def cache_folder() -> Path:
    """Where KV cells and answers stay from one start to the next."""
    return folders.cache(APP) / "kv"


def user_file() -> Path:
    """The user's own configuration, which counts where the current folder has none."""
    return folders.configuration(APP) / "config.toml"


class ConfigError(Exception):
    """A configuration that cannot be used: file, key and what was expected."""


@record
class ModelOptions:
    """[model]"""

    name: str = DEFAULT_MODEL
    """A path, a file name in models/, or REPO/NAME:FILE on the hub."""


@record
class PromptOptions:
    """[prompt]"""

    example_prompt: str = "Once upon a time, there was a"
    """The starting prompt where none is given."""
    max_prompts: int = field(default=99, metadata={"range": (1, 99)})
    parse_special: bool = True
    """Whether the name of a special token in a prompt becomes that token."""


@record
class DisplayOptions:
    """[display]"""

    tokens_to_show: int = field(default=30, metadata={"range": (1, 1000)})
    """Rows of the table; more where the screen has room, up to 100."""
    theme: str = field(default="auto", metadata={"choices": ("auto", "dark", "light")})
    """The terminal's background; auto: as COLORFGBG says, else as the terminal answers, else dark."""
    palette: str = field(default="standard", metadata={"choices": ("standard", "colour-blind", "monochrome")})
    """Colours of the layers. With NO_COLOR in the environment, monochrome."""
    surprise_bits: int = field(default=0, metadata={"range": (0, 50)})
    """Surprisal from which n and N stop at a token; 0: the most surprising tenth of the prompt."""


@record
class EngineOptions:
    """[engine]"""

    threads: int = field(default=0, metadata={"range": (0, 1024)})
    """0: choose by the processor."""
    context: int = field(default=0, metadata={"range": (0, 10_000_000)})
    """Tokens; 0: grow as needed."""
    kv: str = field(default="f16", metadata={"choices": ("f16", "q8_0")})
    """Type of the KV cells; q8_0 takes half of the memory and a little of the precision."""
    gpu_layers: int = field(default=0, metadata={"range": (0, 1000)})
    """Layers to compute on a graphics processor, where llama.cpp was built for one."""
    rpc: str = field(default="", metadata={"workers": True})
    """RPC workers that compute all layers, HOST:PORT with commas between; "": none. --rpc goes before it."""
    lookahead: int = field(default=4, metadata={"range": (0, 16)})
    """Likely next tokens to go on from before they are chosen; 0: none."""
    lookahead_tokens: int = field(default=256, metadata={"range": (0, 4096)})
    """Likely continuations to know behind them, in tokens, while nothing else is to be computed; 0: none."""
    cache: int = field(default=1024, metadata={"range": (0, 1_000_000)})
    """MiB of disk for what was computed of prompts, so that it is there at the next start; 0: nothing is kept."""


def _no_stop(text: str) -> str | None:
    """Why a text is nothing that an answer can end at; None where it is."""
    from tokex_gguf.values.stops import stop_of

    try:
        stop_of(text)
    except ValueError as error:
        return str(error)
    return None


@record
class AnswersOptions:
    """[answers]"""

    until: str = field(default="sentence", metadata={"fault": _no_stop})
    """Where answers end that are looked for: line, sentence, end, a number of tokens as in "12 tokens", or a text."""
    tokens: int = field(default=1000, metadata={"range": (1, 100_000)})
    """Tokens to look at, until you say to go on."""
    seconds: int = field(default=0, metadata={"range": (0, 100_000)})
    """Seconds of the engine's time that may take; 0: as many as it takes."""
    coverage: int = field(default=90, metadata={"range": (1, 100)})
    """Percent of the probability that are enough."""
    critical: int = field(default=8, metadata={"range": (1, 64)})
    """Most doubtful places of a text from which it is tried whether the second choice leads to another answer."""
    critical_tokens: int = field(default=128, metadata={"range": (1, 4096)})
    """Tokens to go on from each of them, at the most."""


def _no_address(text: str) -> str | None:
    """Why a text is no address of a server; None where it is one."""
    from tokex_gguf.values.server_url import BadAddress, parse  # not on the way to the first frame without one

    try:
        parse(text)
    except BadAddress as error:
        return str(error)
    return None


@record
class ServerOptions:
    """[server]"""

    url: str = field(default="", metadata={"fault": _no_address, "may_be_empty": True})
    """Address of a llama-server, vLLM or SGLang, such as http://127.0.0.1:8080, to play on in place of [model];
    empty: none."""
    model: str = field(default="", metadata={"may_be_empty": True})
    """Which of its models; empty: its only one, or the first."""
    candidates: int = field(default=100, metadata={"range": (1, 1_000_000)})
    """Candidates to ask it for at each place; many servers give no more than they are started to give."""
    insecure: bool = False
    """Whether its key, which TOKEX_SERVER_KEY in the environment holds, may go over plain http to another machine."""


@record
class Config:
    """A whole configuration."""

    model: ModelOptions = ModelOptions()
    server: ServerOptions = ServerOptions()
    prompt: PromptOptions = PromptOptions()
    display: DisplayOptions = DisplayOptions()
    engine: EngineOptions = EngineOptions()
    answers: AnswersOptions = AnswersOptions()
    samplers: dict[str, str] = field(default_factory=dict)
    """[samplers]: presets for the sampler chain: names of one's own, and flags as llama.cpp's programs take them."""


class FoundConfig(NamedTuple):
    """The configuration to use."""

    config: Config
    path: Path | None = None
    """Its file; None where the defaults are used."""
    notices: tuple[str, ...] = ()
    """What the player should know of how it was found."""


def find() -> FoundConfig:
    """The configuration of the current folder, else the user's, else the defaults. Raises ConfigError.

    A `config.toml` in the current folder that is another program's is passed over, and a notice says so.
    """
    here, own = HERE, user_file()
    notices: tuple[str, ...] = ()
    if _is_there(here):
        if (reason := _foreign(here)) is None:
            try:
                found = load(here)
            except ConfigError as error:
                raise ConfigError(f"{error}; --no-config starts without it") from None
            if found.server.url:
                notices = (f"{here} in the current folder chooses the server: {found.server.url}",)
            elif found.model.name != DEFAULT_MODEL:
                notices = (f"{here} in the current folder chooses the model: {found.model.name}",)
            return FoundConfig(found, here, notices)
        notices = (f"{here} in the current folder is passed over: {reason}",)
    if not _is_there(own):
        return FoundConfig(Config(), None, notices)
    try:
        return FoundConfig(load(own), own, notices)
    except ConfigError as error:
        raise ConfigError(f"{error}; --no-config starts without it") from None


def _is_there(path: Path) -> bool:
    """Whether there is a file, of whatever kind; also where that cannot be looked up: reading it says why."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _foreign(path: Path) -> str | None:
    """Why a file of our name is none of ours; None where it is one, sound or not."""
    import tomllib  # not at the start where there is no file

    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # whoever opens a pipe waits for its other end
            return "it is not a plain file"
        if about.st_size > MOST_BYTES:
            return f"larger than {MOST_BYTES // 1024} KiB"
        data = path.read_bytes()
        text = text_files.decode(data).text
    except OSError as error:
        return f"it cannot be read: {system_reason(error)}"
    except NotText as error:
        return None if _OURS.search(data.decode("latin-1")) else str(error)
    try:
        found = tomllib.loads(text) if not _is_deep(text) else None
    except (ValueError, RecursionError):
        found = None
    tables = None if found is None else set(found)
    names = {part.name for part in fields(Config)}
    if found and "url" not in (found["server"] if isinstance(found.get("server"), dict) else {}):
        names.discard("server")  # many programs have a table of this name
    # Where it is no TOML, what looks like one of our tables makes it ours, and its fault is told.
    ours = not tables or tables & names if tables is not None else _OURS.search(text) or _OUR_SERVER.search(text)
    return None if ours else f"it has no table of ours ({_list(dict.fromkeys(sorted(names)))})"


def _is_deep(text: str) -> bool:
    """Whether a file has a key of so many parts that to read it takes long."""
    return _DEEP.search(_TEXTS.sub('""', text)) is not None


def load(path: Path | None) -> Config:
    """Reads a configuration file; without one, the defaults. Raises ConfigError."""
    if path is None or str(path) == os.devnull:
        return Config()
    import tomllib

    try:
        about = path.stat()
        if stat.S_ISCHR(about.st_mode) and path.samefile(os.devnull):
            return Config()
        if not stat.S_ISREG(about.st_mode):
            # Whoever opens a pipe waits for its other end.
            raise ConfigError(f"{path}: cannot be read: not a plain file")
        if about.st_size > MOST_BYTES:
            raise ConfigError(f"{path}: larger than {MOST_BYTES // 1024} KiB: no configuration is")
        text = text_files.decode(path.read_bytes()).text
        if _is_deep(text):
            raise ConfigError(f"{path}: not TOML of ours: a key of more than 32 parts")
        tables = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {system_reason(error)}") from None
    except NotText as error:
        raise ConfigError(f"{path}: {error}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # a name may hold what no file's can; a number may have too many digits to be read
        raise ConfigError(f"{path}: not TOML: {str(error) or 'nested too deeply'}") from None
    parts = {part.name: part.type for part in fields(Config)}
    for name, value in tables.items():
        if name not in parts:
            raise ConfigError(f"{path}: [{name}]: unknown; expected one of {_list(parts)}")
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {name}: expected a table [{name}]")
    return Config(**{name: _table(path, name, parts[name], tables.get(name, {})) for name in parts})


def _table(path: Path, table: str, cls: Any, values: dict[str, Any]) -> Any:
    if cls == dict[str, str]:
        return _chains(path, table, values)
    known = {key.name: key for key in fields(cls)}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"{path}: {table}.{name}: unknown key; expected one of {_list(known)}")
        fault = known[name].metadata.get("fault")
        if fault and isinstance(value, str) and value and (told := fault(value)):
            raise ConfigError(f"{path}: {table}.{name}: {told}")
        expected = _expected(known[name], value)
        if expected:
            raise ConfigError(f"{path}: {table}.{name}: expected {expected}, got {_short(value)}")
    return cls(**values)


def _chains(path: Path, table: str, values: dict[str, Any]) -> dict[str, str]:
    """Flags of sampler chains, by names of the player's own."""
    for name, value in values.items():
        where = f"{path}: {table}.{name if _PLAIN.fullmatch(name) else _short(name)}"
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            raise ConfigError(f"{where}: expected a name of 1 to {LONGEST_NAME} characters that can be shown")
        if name in samplers.PRESETS:
            raise ConfigError(f"{where}: there is such a preset already: it needs another name")
        if not isinstance(value, str):
            raise ConfigError(f"{where}: expected flags of llama.cpp's samplers, got {_short(value)}")
        try:
            chain_of_flags(value)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None
    return values


def _expected(key: Any, value: object) -> str | None:
    """What a value should have been; None where it is right."""
    if key.type is bool:
        return None if isinstance(value, bool) else "true or false"
    if choices := key.metadata.get("choices"):
        return None if value in choices else " or ".join(map(repr, choices))
    if key.metadata.get("workers"):
        return _not_workers(value)
    if key.type is str:
        may_be_empty = key.metadata.get("may_be_empty", False)
        told = "a text" if may_be_empty else "a text that is not empty"
        return None if isinstance(value, str) and (value or may_be_empty) else told
    low, high = key.metadata["range"]
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return None
    return f"a whole number from {low} to {high}"


def _not_workers(value: object) -> str | None:
    """What should have been there in place of what is no list of RPC workers, nor empty."""
    if not isinstance(value, str):
        return FORM
    try:
        workers_of(value)
    except ValueError:
        return FORM if value else None
    return None


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:
        return "a number of too many digits"
    return text if len(text) <= 40 else text[:37] + "..."


def _list(names: dict[str, Any]) -> str:
    return ", ".join(names)
