"""The `doctor` command: the environment and its problems, on one screen to paste into a bug report."""

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
from tokex_gguf.engine.protocol import ConnectServer, EngineDied, EngineFailed, Loaded
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
"""Seconds that a server has to answer."""
VARIABLES = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_ENDPOINT",
    "HF_TOKEN",
    "HF_HUB_OFFLINE",
    "LLAMA_CACHE",
    "OLLAMA_MODELS",
)
"""Environment variables that change where models are searched."""
_FEATURE = re.compile(r"(\w+) = 1\b")
"""A CPU feature in llama.cpp's own report."""


@dataclass(slots=True)
class Report:
    """The report, line by line, and the problems."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add_line(self, name: str, value: str) -> None:
        """Adds a line."""
        self.lines.append((name, visible(value)))

    def add_problem(self, problem: str) -> None:
        """Adds a problem, and what to do about it."""
        self.problems.append(visible(problem))

    def text(self) -> str:
        """The whole report."""
        lines = [*(_wrap_beside(f"{name:<14}", value) for name, value in self.lines), ""]
        lines += [_wrap_beside("! ", problem) for problem in self.problems] or ["nothing wrong found"]
        return "\n".join(lines) + "\n"


def _wrap_beside(head: str, text: str) -> str:
    """A text beside its heading, on as many lines as it needs. Paths are not broken, so that they can be copied."""
    lines = textwrap.wrap(text, WIDTH - len(head), break_long_words=False, break_on_hyphens=False)
    return "\n".join((head if not index else " " * len(head)) + line for index, line in enumerate(lines))


def examine(model: str | None, rpc: tuple[str, ...] | None) -> Report:
    """Examines all that the program needs. Nothing is downloaded, no weights are loaded."""
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
    report.add_line("tokex-gguf", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            report.add_problem(f"{package} is not installed: install tokex-gguf anew")
    report.add_line("packages", ", ".join(versions))


def _engine(report: Report) -> None:
    """What the engine's process reports of llama.cpp, which is loaded there and not here."""
    process_result = process.about()
    try:
        about = json.loads(process_result.stdout)
    except ValueError:
        lines = process_result.stderr.strip().splitlines()
        report.add_problem(f"llama-cpp-python cannot be used ({lines[-1] if lines else 'no answer'}): install it anew")
        return
    features = _FEATURE.findall(about["system"])
    pool = "OpenMP" if "OPENMP" in features else "without OpenMP"
    gpu = "can be used: --gpu-layers" if about["gpu"] else "not built in"
    features_used = ", ".join(name for name in features if name != "OPENMP") or "no special features"
    report.add_line("llama.cpp", about["build"])
    report.add_line("processor", f"{machine.processor()}; in use: {features_used}")
    rpc = "can be used: --rpc" if about["rpc"] else "not built in"
    report.add_line("threads", f"{about['threads']} of {os.cpu_count()} processors, {pool}; GPU {gpu}; RPC {rpc}")


def _memory(report: Report) -> None:
    free, total = machine.memory()
    report.add_line("memory", f"{size_of(free)} available of {size_of(total)}" if total else "unknown on this system")
    allowed = limits()
    parts = [f"{size_of(allowed.memory)} of memory"] if allowed.memory else []
    parts += [f"{allowed.processors:g} processor{'' if allowed.processors == 1 else 's'}"] if allowed.processors else []
    if parts:
        report.add_line("limits", f"{', '.join(parts)}: of the group that this program runs in, or by ulimit")


def _workers(report: Report, workers: tuple[str, ...]) -> list[WorkerMemory]:
    """The memory of each device of RPC workers, to which it connects. Empty if one of the workers cannot be reached."""
    devices_found: list[WorkerMemory] = []
    faults = len(report.problems)
    for name in workers:
        try:
            answer = json.loads(process.about(name).stdout)
        except ValueError:
            answer = {"fault": f"the RPC worker {name} cannot be looked at"}
        if fault := answer.get("fault"):
            report.add_problem(str(fault))
            continue
        devices = [f"{size_of(free)} available of {size_of(total)}" for free, total in answer["memories"]]
        report.add_line("RPC worker", f"{name}: {'; '.join(devices)}")
        devices_found += [WorkerMemory(name, free, total) for free, total in answer["memories"]]
    return devices_found if len(report.problems) == faults else []


def _report_layers(report: Report, path: Path, devices: list[WorkerMemory], engine: config.EngineOptions) -> None:
    """Reports the layers that each device of RPC workers gets. Raises UnusableModel."""
    try:
        layers = metadata.tensor_bytes(ModelOnDisk("", "", path).parts)
    except (BadHeader, OSError) as error:
        raise UnusableModel(f"{path}: {error}") from None
    for device, share in zip(devices, layers_on(len(layers), [one.free for one in devices]), strict=True):
        weights = size_of(sum(layers[share.start : share.stop]))
        report.add_line("", f"{device.worker}: {len(share)} of {len(layers)} layers, {weights}")
    try:
        over_workers(metadata.glance(path), layers, devices, context=engine.context, kv=engine.kv)
    except TooLarge as error:
        raise UnusableModel(f"{path}: {error}") from None


def _model(report: Report, name: str | None, rpc: tuple[str, ...] | None) -> None:
    try:
        settings, path, notices = config.find()
        report.add_line("configuration", "; ".join([str(path) if path else "none: defaults", *notices]))
    except config.ConfigError as error:
        report.add_problem(str(error))
        settings = config.Config()
    name = name or settings.model.name
    workers = rpc or (workers_of(settings.engine.rpc) if settings.engine.rpc else ())
    devices = _workers(report, workers)
    models = discovery.on_disk()
    report.add_line("models", f"{len(models)} on this machine" + (": tokex-gguf models lists them" if models else ""))
    try:
        resolved = resolve.find(name)
    except resolve.UnknownModel as error:
        report.add_problem(str(error))
        return
    if resolved is None:
        bundled = name == config.DEFAULT_MODEL and discovery.bundled_model() is not None
        if hub_cache.offline():
            missing = f"{name}: not here, and not fetched while HF_HUB_OFFLINE is set"
            if bundled:
                report.add_line("model", f"{missing}: the bundled SmolLM2-135M is played")
            else:
                report.add_problem(missing)
            return
        meanwhile = "; until then the bundled SmolLM2-135M" if bundled else ""
        report.add_line("model", f"{name}: not here yet, fetched at the first start{meanwhile}")
        return
    path, engine = resolved.path, settings.engine
    report.add_line("model", f"{path}")
    try:
        notice = prepare(path, context=engine.context, kv=engine.kv, rpc=",".join(workers)).notice
        about = metadata.glance(path)
        if any(device.free for device in devices):
            _report_layers(report, path, devices, engine)
    except UnusableModel as error:
        report.add_problem(str(error))
        return
    cells = size_of(4096 * about.kv_bytes_per_token(CELL_BYTES[engine.kv]))
    size = size_of(ModelOnDisk("", "", path).size)
    report.add_line("", f"{about.architecture} {about.quantization}, {size}; 4,096 tokens take {cells}")
    if notice:
        report.add_problem(notice)


def _server(report: Report) -> None:
    """Whether the configured server answers. Its key is not reported."""
    try:
        settings, path, _ = config.find()
    except config.ConfigError:
        return  # reported already
    server, has_key = settings.server, bool(os.environ.get(process.SERVER_KEY))
    if server.url and has_key and path == config.HERE:
        reason = f"a file of the current folder chooses it, and {process.SERVER_KEY} is set: it would be sent there"
        report.add_line("server", f"{server.url}: not asked, as {reason}")
    elif server.url:
        key = f"; {process.SERVER_KEY} is set" if has_key else ""
        answer = _answer_of_server(ConnectServer(server.url, server.model, server.candidates, insecure=server.insecure))
        if isinstance(answer, Loaded):
            summary = f"{answer.name}, {answer.context:,} tokens, {answer.candidates or 'all'} candidates"
            report.add_line("server", f"{server.url}: {answer.server}, {summary}{key}")
        else:
            report.add_line("server", f"{server.url}{key}")
            report.add_problem(answer)


def _answer_of_server(connect: ConnectServer) -> Loaded | str:
    """A server's description of itself, or the reason why there is none."""
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
            case EngineFailed(reason) | EngineDied(reason):
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
    report.add_line("terminal", f"{kind}, {size.columns}x{size.lines}, {colours}, {sys.stdout.encoding}")
    if size.columns < 60 or size.lines < 16:
        report.add_problem("the terminal is smaller than 60x16: make it larger")
    if not sys.stdout.encoding.lower().startswith("utf"):
        report.add_problem("the terminal's encoding is not UTF-8: set LANG to one that ends in UTF-8")


def _below_home(path: Path) -> str:
    """A path with the home folder as ~."""
    home = Path("~").expanduser()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _folders(report: Report) -> None:
    state = config.state_folder()
    try:
        state.mkdir(parents=True, exist_ok=True)
        writable = os.access(state, os.W_OK)
    except OSError:
        writable = False
    report.add_line("state, log", _below_home(state))
    if not writable:
        report.add_problem(f"{state} cannot be written: there will be no log and no saved sessions")
    try:
        report.add_line("prompt cache", cache.summary(config.find().config.engine, _below_home(config.cache_folder())))
    except config.ConfigError:
        pass  # reported already
    hub = hub_cache.folder()
    existing: Path = hub
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if names := [name for name in VARIABLES if name in os.environ]:
        report.add_line("environment", f"{', '.join(names)}: set")
    report.add_line("hub's cache", f"{hub}, {size_of(shutil.disk_usage(existing).free)} free on its disk")
