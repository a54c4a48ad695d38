"""What this program runs on, and what is wrong with it: one screen to paste into a bug report."""

import importlib.metadata
import json
import os
import platform
import queue
import re
import shutil
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from tokex_gguf import __version__, config
from tokex_gguf.cli import cache
from tokex_gguf.engine import process
from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.client import remote
from tokex_gguf.engine.protocol import ConnectServer, EngineDied, Failed, Loaded
from tokex_gguf.models import discovery, hub_cache, resolve
from tokex_gguf.models.discovery import ModelOnDisk
from tokex_gguf.models.gguf import metadata
from tokex_gguf.models.gguf.metadata import BadHeader
from tokex_gguf.models.memory import CELL_BYTES, TooLarge, WorkerMemory, layers_on, over_workers
from tokex_gguf.models.preflight import UnusableModel, prepare
from tokex_gguf.system import machine
from tokex_gguf.system.limits import limits
from tokex_gguf.values.formatting import size_of, system_reason
from tokex_gguf.values.tokens import visible
from tokex_gguf.values.workers import workers_of

PACKAGES = ("llama-cpp-python", "prompt_toolkit", "numpy", "huggingface_hub")
WIDTH = 80
"""Columns of the report."""
SERVER_WAIT = 30.0
"""Seconds that a server has to say what it is."""
SETTINGS = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_ENDPOINT",
    "HF_TOKEN",
    "HF_HUB_OFFLINE",
    "LLAMA_CACHE",
    "OLLAMA_MODELS",
)
"""Environment variables that change where models are looked for."""
_FEATURE = re.compile(r"(\w+) = 1\b")
"""A thing that llama.cpp was built to use, as it tells it itself."""


@dataclass(slots=True)
class Report:
    """What was found, line by line."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def tell(self, name: str, value: str) -> None:
        """Adds a line."""
        self.lines.append((name, visible(value)))

    def wrong(self, problem: str) -> None:
        """Adds something that is wrong, and what to do about it."""
        self.problems.append(visible(problem))

    def text(self) -> str:
        """All of it."""
        lines = [*(_wrapped(f"{name:<14}", value) for name, value in self.lines), ""]
        lines += [_wrapped("! ", problem) for problem in self.problems] or ["nothing wrong found"]
        return "\n".join(lines) + "\n"


def _wrapped(head: str, text: str) -> str:
    """A text beside its heading, on as many lines as it needs; a path stays in one piece, to be copied."""
    lines = textwrap.wrap(text, WIDTH - len(head), break_long_words=False, break_on_hyphens=False)
    return "\n".join((head if not index else " " * len(head)) + line for index, line in enumerate(lines))


def examine(model: str | None, rpc: tuple[str, ...] | None) -> Report:
    """Looks at everything that the program needs. Nothing is downloaded, no weights are loaded."""
    report = Report()
    _versions(report)
    _engine(report)
    _memory(report)
    _model(report, model, rpc)
    _server(report)
    _terminal(report)
    _folders(report)
    return report


def _versions(report: Report) -> None:
    report.tell("tokex-gguf", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            report.wrong(f"{package} is not installed: install tokex-gguf anew")
    report.tell("packages", ", ".join(found))


def _engine(report: Report) -> None:
    """What the engine's process says of itself; llama.cpp is loaded there and not here."""
    done = process.about()
    try:
        about = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines()
        report.wrong(f"llama-cpp-python cannot be used ({lines[-1] if lines else 'no answer'}): install it anew")
        return
    features = _FEATURE.findall(about["system"])
    pool = "OpenMP" if "OPENMP" in features else "without OpenMP"
    gpu = "can be used: --gpu-layers" if about["gpu"] else "not built in"
    used = ", ".join(name for name in features if name != "OPENMP") or "no special features"
    report.tell("llama.cpp", about["build"])
    report.tell("processor", f"{machine.processor()}; in use: {used}")
    rpc = "can be used: --rpc" if about["rpc"] else "not built in"
    report.tell("threads", f"{about['threads']} of {os.cpu_count()} processors, {pool}; GPU {gpu}; RPC {rpc}")


def _memory(report: Report) -> None:
    free, total = machine.memory()
    report.tell("memory", f"{size_of(free)} available of {size_of(total)}" if total else "unknown on this system")
    allowed = limits()
    told = [f"{size_of(allowed.memory)} of memory"] if allowed.memory else []
    told += [f"{allowed.processors:g} processor{'' if allowed.processors == 1 else 's'}"] if allowed.processors else []
    if told:
        report.tell("limits", f"{', '.join(told)}: of the group that this program runs in, or by ulimit")


def _workers(report: Report, workers: tuple[str, ...]) -> list[WorkerMemory]:
    """What RPC workers have, each of their devices; each is connected to. None where one cannot be had."""
    found: list[WorkerMemory] = []
    faults = len(report.problems)
    for name in workers:
        try:
            told = json.loads(process.about(name).stdout)
        except ValueError:
            told = {"fault": f"the RPC worker {name} cannot be looked at"}
        if fault := told.get("fault"):
            report.wrong(str(fault))
            continue
        devices = [f"{size_of(free)} available of {size_of(total)}" for free, total in told["memories"]]
        report.tell("RPC worker", f"{name}: {'; '.join(devices)}")
        found += [WorkerMemory(name, free, total) for free, total in told["memories"]]
    return found if len(report.problems) == faults else []


def _shares(report: Report, path: Path, devices: list[WorkerMemory], engine: config.EngineOptions) -> None:
    """What each device of RPC workers gets of a model. Raises Unusable."""
    try:
        layers = metadata.tensor_bytes(ModelOnDisk("", "", path).parts)
    except (BadHeader, OSError) as error:
        raise UnusableModel(f"{path}: {error}") from None
    for device, own in zip(devices, layers_on(len(layers), [one.free for one in devices]), strict=True):
        weights = size_of(sum(layers[own.start : own.stop]))
        report.tell("", f"{device.worker}: {len(own)} of {len(layers)} layers, {weights}")
    try:
        over_workers(metadata.glance(path), layers, devices, context=engine.context, kv=engine.kv)
    except TooLarge as error:
        raise UnusableModel(f"{path}: {error}") from None


def _model(report: Report, name: str | None, rpc: tuple[str, ...] | None) -> None:
    try:
        settings, path, notices = config.find()
        report.tell("configuration", "; ".join([str(path) if path else "none: defaults", *notices]))
    except config.ConfigError as error:
        report.wrong(str(error))
        settings = config.Config()
    name = name or settings.model.name
    workers = rpc or (workers_of(settings.engine.rpc) if settings.engine.rpc else ())
    devices = _workers(report, workers)
    found = discovery.on_disk()
    report.tell("models", f"{len(found)} on this machine" + (": tokex-gguf models lists them" if found else ""))
    try:
        resolved = resolve.find(name)
    except resolve.UnknownModel as error:
        report.wrong(str(error))
        return
    if resolved is None:
        bundled = name == config.DEFAULT_MODEL and discovery.bundled_model() is not None
        if hub_cache.offline():
            missing = f"{name}: not here, and not fetched while HF_HUB_OFFLINE is set"
            if bundled:
                report.tell("model", f"{missing}: the bundled SmolLM2-135M is played")
            else:
                report.wrong(missing)
            return
        instead = "; until then the bundled SmolLM2-135M" if bundled else ""
        report.tell("model", f"{name}: not here yet, fetched at the first start{instead}")
        return
    path, engine = resolved.path, settings.engine
    report.tell("model", f"{path}")
    try:
        notice = prepare(path, context=engine.context, kv=engine.kv, rpc=",".join(workers)).notice
        about = metadata.glance(path)
        if any(device.free for device in devices):
            _shares(report, path, devices, engine)
    except UnusableModel as error:
        report.wrong(str(error))
        return
    cells = size_of(4096 * about.kv_bytes_per_token(CELL_BYTES[engine.kv]))
    size = size_of(ModelOnDisk("", "", path).size)
    report.tell("", f"{about.architecture} {about.quantization}, {size}; 4,096 tokens take {cells}")
    if notice:
        report.wrong(notice)


def _server(report: Report) -> None:
    """Whether the server that is configured answers. Its key is not told."""
    try:
        settings, path, _ = config.find()
    except config.ConfigError:
        return  # told already
    own, has_key = settings.server, bool(os.environ.get(process.SERVER_KEY))
    if own.url and has_key and path == config.HERE:
        why = f"a file of the current folder chooses it, and {process.SERVER_KEY} is set: it would be sent there"
        report.tell("server", f"{own.url}: not asked, as {why}")
    elif own.url:
        key = f"; {process.SERVER_KEY} is set" if has_key else ""
        answer = _asked(ConnectServer(own.url, own.model, own.candidates, insecure=own.insecure))
        if isinstance(answer, Loaded):
            told = f"{answer.name}, {answer.context:,} tokens, {answer.candidates or 'all'} candidates"
            report.tell("server", f"{own.url}: {answer.server}, {told}{key}")
        else:
            report.tell("server", f"{own.url}{key}")
            report.wrong(answer)


def _asked(connect: ConnectServer) -> Loaded | str:
    """What a server says of itself, or why it says nothing."""
    replies: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    try:
        engine = remote(replies.put)
    except OSError as error:
        return system_reason(error)
    try:
        engine.send(connect)
        match replies.get(timeout=SERVER_WAIT):
            case Loaded() as loaded:
                return loaded
            case Failed(reason=reason) | EngineDied(reason):
                return reason
            case _:
                return "the server's answer makes no sense"
    except queue.Empty:
        return f"the server has not answered for {SERVER_WAIT:.0f} seconds"
    finally:
        engine.close()


def _terminal(report: Report) -> None:
    size = shutil.get_terminal_size()
    environ = os.environ
    colours = "256 colours or fewer"
    if environ.get("NO_COLOR"):
        colours = "none (NO_COLOR)"
    elif environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        colours = "true colour"
    kind = environ.get("TERM", "unknown")
    report.tell("terminal", f"{kind}, {size.columns}x{size.lines}, {colours}, {sys.stdout.encoding}")
    if size.columns < 60 or size.lines < 16:
        report.wrong("the terminal is smaller than 60x16: make it larger")
    if not sys.stdout.encoding.lower().startswith("utf"):
        report.wrong("the terminal's encoding is not UTF-8: set LANG to one that ends in UTF-8")


def _below_home(path: Path) -> str:
    """A path, as short as a shell takes it."""
    home = Path("~").expanduser()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _folders(report: Report) -> None:
    state = config.state_folder()
    try:
        state.mkdir(parents=True, exist_ok=True)
        writable = os.access(state, os.W_OK)
    except OSError:
        writable = False
    report.tell("state, log", _below_home(state))
    if not writable:
        report.wrong(f"{state} cannot be written: there will be no log and no saved sessions")
    try:
        report.tell("prompt cache", cache.summary(config.find().config.engine, _below_home(config.cache_folder())))
    except config.ConfigError:
        pass  # told already
    hub = hub_cache.folder()
    room: Path = hub
    while not room.exists() and room != room.parent:
        room = room.parent
    if given := [name for name in SETTINGS if name in os.environ]:
        report.tell("environment", f"{', '.join(given)}: set")
    report.tell("hub's cache", f"{hub}, {size_of(shutil.disk_usage(room).free)} free on its disk")
