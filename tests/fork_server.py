"""Starts the programs of tests by forking a process that has imported all their modules.

Importing is most of what a start costs, and tests start hundreds of programs. A forked one is what a started one is
for whoever looks from outside: a child of the test's own process, with its arguments, environment, folder, standard
streams and terminal, and with an engine of its own. The models that most of them play are loaded before: an engine
gets from llama.cpp what is loaded, where it asks for the same file in the same way.

On Linux alone. Elsewhere, where the environment tells Python or its libraries something, in tests with the mark
`real_start`, and where a shell or a script starts the program, it is started as users start it.

This file is the program of that process as well: it then imports nothing of the tests.
"""

import contextlib
import ctypes
import fcntl
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROGRAM = (sys.executable, "-m", "tokex_gguf")
ENGINE = (sys.executable, "-P", "-m", "tokex_gguf.engine")
READ_EARLY = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "COVERAGE_")
"""Beginnings of variables that are read before, or while, modules are imported."""
OF_THE_HUB = ("filelock", "httpcore2", "httpx2", "truststore", "yaml")
"""What huggingface_hub imports, as far as there is it: half of the time that its import takes."""
LONGEST = 100_000
"""Bytes of a request."""
READY = b"ready"
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Request:
    """What is to be started, and how."""

    command: list[str]
    environment: dict[str, str]
    folder: str
    mask: int
    cores: list[int]
    session: bool
    """In a session of its own."""
    terminal: bool
    """Whose terminal is its standard input."""
    parent: int

    @classmethod
    def here(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: str | None,
        *,
        session: bool,
        terminal: bool,
    ) -> "Request":
        """A child of this process, in its folder and with what children inherit."""
        os.umask(mask := os.umask(0))
        place, cores = folder or str(Path.cwd()), sorted(os.sched_getaffinity(0))
        return cls([*command], {**environment}, place, mask, cores, session, terminal, os.getpid())


# --- in the tests' process


class ForkServer:
    """The process that forks, as its client sees it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", __file__, str(theirs.fileno()), "-" * 300]
        with theirs:
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment
            )
        self.works = self._control.recv(9) == READY
        """Whether it could import everything."""

    def keep(self, model: Path) -> None:
        """Loads a model, for the engines that it will start."""
        with self._lock:
            self._control.send(json.dumps(str(model)).encode())
            self._control.recv(20)

    def close(self) -> None:
        """Ends it; what it has started goes on."""
        self._control.close()
        self._process.wait(10)

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        streams: Sequence[int],
        *,
        folder: str | None = None,
        session: bool = False,
        terminal: bool = False,
    ) -> int:
        """Starts a program with these standard streams; its process id, which is a child of this process."""
        request = Request.here(command, environment, folder, session=session, terminal=terminal)
        library = ctypes.CDLL(None)
        with self._lock:
            # Its parent is gone at once, and then it is this process that it belongs to.
            library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._control, [json.dumps(asdict(request)).encode()], [*streams])
                pid = int(self._control.recv(20))
                self._control.recv(20)
            finally:
                library.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        return pid


def early(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are read too early for a fork to have others."""
    return {name: value for name, value in environment.items() if name.startswith(READ_EARLY)}


def can_start(command: Sequence[str], environment: Mapping[str, str], its_own: Mapping[str, str]) -> bool:
    """Whether a command is one that a process with that environment of its own can fork."""
    return (tuple(command) == ENGINE or tuple(command[: len(PROGRAM)]) == PROGRAM) and (
        early(environment) == early(its_own) and sum(map(len, [*command, *environment.values()])) < LONGEST // 4
    )


_environment: dict[str, str] | None = None
_server: ForkServer | None = None
_is_off = False
_lock = threading.Lock()
_kept: list[Path] = []
"""Models that the process which forks has loaded, or will load."""


def keep(model: Path) -> None:
    """Has a model loaded once for all engines that play it."""
    with _lock:
        _kept.append(model)
        if _server and _server.works:
            _server.keep(model)


def server(command: Sequence[str], environment: Mapping[str, str]) -> ForkServer | None:
    """The process that forks; none where this command is to be started as users start it."""
    global _server
    if _is_off or _environment is None or not can_start(command, environment, _environment):
        return None
    with _lock:
        if _server is None:
            _server = ForkServer(_environment)
            for model in _kept if _server.works else ():
                _server.keep(model)
    return _server if _server.works else None


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """Meanwhile programs are forked where they can be, also by `subprocess`."""
    global _environment, _server
    execute = subprocess.Popen._execute_child  # type: ignore[attr-defined]
    _environment = {**os.environ}
    subprocess.Popen._execute_child = _execute_child(execute)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        subprocess.Popen._execute_child = execute  # type: ignore[attr-defined]
        if _server:
            _server.close()
        _environment = _server = None


@contextlib.contextmanager
def off() -> Iterator[None]:
    """Meanwhile every program is started as users start it."""
    global _is_off
    _is_off = True
    try:
        yield
    finally:
        _is_off = False


def _execute_child(execute: Any) -> Any:
    """In place of `Popen._execute_child`."""

    def execute_child(self: Any, args: Any, *more: Any) -> None:
        _, preexec, close, passed, folder, environment, _, _, shell, *pipes = more[:15]
        environment = os.environ if environment is None else environment
        plain = isinstance(args, list) and not (shell or preexec or passed) and close
        forking = server(args, environment) if plain and all(isinstance(one, str) for one in args) else None
        if forking is None:
            execute(self, args, *more)
            return
        streams = [pipes[number] if pipes[number] != -1 else number // 2 for number in (0, 3, 5)]
        place = None if folder is None else os.fspath(folder)
        self.pid = forking.start(args, environment, streams, folder=place, session=more[20])
        self._child_created = True
        self._close_pipe_fds(*pipes)

    return execute_child


# --- in the process that forks


def main() -> None:
    """Imports, and forks for whoever is at the other end of a socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    import gc

    # What the engine sets before its imports.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000000")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    import tokex_gguf.__main__
    import tokex_gguf.cli.main
    import tokex_gguf.engine.__main__
    import tokex_gguf.engine.inbox
    import tokex_gguf.engine.worker.server
    import tokex_gguf.sessions.autosave
    import tokex_gguf.sessions.writer
    import tokex_gguf.shell.runtime
    import tokex_gguf.ui.app

    for name in OF_THE_HUB:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    assert threading.active_count() == 1 and "huggingface_hub" not in sys.modules  # which reads its variables early
    models = Models()
    gc.collect()
    gc.freeze()
    control.send(READY)
    request, streams = forked(control, models)
    become(request, streams)
    if tuple(request.command) == ENGINE:
        tokex_gguf.engine.__main__.main()
    else:
        subprocess.Popen._execute_child = _fork_engine(subprocess.Popen._execute_child)  # type: ignore[attr-defined]
        sys.exit(tokex_gguf.__main__.run())


class Models:
    """Models that are loaded, in place of llama.cpp's own loading where that would load the same."""

    def __init__(self) -> None:
        from llama_cpp import llama_cpp

        from tokex_gguf.engine.worker.llama import built_for

        self._can_repack = "AMX_INT8 = 1" not in built_for()
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)
        self._load = llama_cpp.llama_model_load_from_file
        self._default_params = llama_cpp.llama_model_default_params
        self._loaded: dict[tuple[int, ...], tuple[list[object], int]] = {}
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        llama_cpp.llama_model_load_from_file = self._loaded_or_not

    def keep(self, model: str) -> None:
        """Loads one, as engines do on a machine like this. It starts no thread, and nothing has computed with it."""
        from tokex_gguf.models.preflight import prepare

        params = self._default_params()
        params.n_gpu_layers = 0
        params.use_extra_bufts = self._can_repack and prepare(Path(model), context=0, kv="f16").repack
        self._loaded[self._file(model)] = self._asked(params), self._load(os.fsencode(model), params)
        assert len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208

    def _loaded_or_not(self, path: bytes, params: Any) -> int | None:
        # Each process takes one once: it may free it.
        asked, model = self._loaded.pop(self._file(os.fsdecode(path)), ([], 0))
        if model and asked == self._asked(params):
            reports = all(params.progress_callback(part / 2, None) for part in range(3))
            return model if reports else None
        return self._load(path, params)  # type: ignore[no-any-return]

    @staticmethod
    def _file(model: str) -> tuple[int, ...]:
        about = os.stat(model)  # noqa: PTH116
        return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns

    @staticmethod
    def _asked(params: Any) -> list[object]:
        """What is asked for, but for the reports of its progress."""
        values = [getattr(params, name) for name, _ in params._fields_ if not name.startswith("progress_")]
        return [value if isinstance(value, int) else bool(value) for value in values]


def forked(control: socket.socket, models: Models) -> tuple[Request, list[int]]:
    """Forks for each request; returns in the new processes, each with what it is to be."""
    while True:
        data, streams, _, _ = socket.recv_fds(control, LONGEST, 3)
        if not data:
            os._exit(0)
        if isinstance(request := json.loads(data), str):
            models.keep(request)
            control.send(b"loaded")
            continue
        between = os.fork()
        if not between:
            pid = os.fork()
            if pid:
                control.send(str(pid).encode())
                os._exit(0)
            control.close()
            return Request(**request), streams
        os.waitpid(between, 0)
        control.send(b"it is yours")
        for stream in streams:
            os.close(stream)


def become(request: Request, streams: Sequence[int]) -> None:
    """Makes this process what the request says."""
    while os.getppid() != request.parent:
        time.sleep(0.0002)  # what ends with its parent must not end with the one that forked it
    if request.session or request.terminal:
        os.setsid()
    if request.terminal:
        fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in {*streams} - {0, 1, 2}:
        os.close(stream)
    os.chdir(request.folder)
    os.umask(request.mask)
    os.sched_setaffinity(0, request.cores)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    sys.argv = [sys.modules["tokex_gguf.__main__"].__file__ or "", *request.command[len(PROGRAM) :]]
    _new_streams()
    _rename(request.command)


def _new_streams() -> None:
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        like = getattr(sys, name)
        stream = open(number, "w" if number else "r", encoding=like.encoding, errors=like.errors, closefd=False)  # noqa: SIM115
        if number:
            stream.reconfigure(line_buffering=number == 2 or os.isatty(1), write_through=unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _rename(command: Sequence[str]) -> None:
    """Writes the command where others look for it."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    name = "\0".join(command).encode("utf-8", "surrogateescape")[: end - begin - 1]
    ctypes.memmove(begin, name.ljust(end - begin, b"\0"), end - begin)


def _fork_engine(execute: Any) -> Any:
    """In place of `Popen._execute_child` in a program: its engine is a fork, too, as long as it has one thread."""

    def execute_child(self: Any, args: Any, *others: Any) -> None:
        if not isinstance(args, list) or tuple(args) != ENGINE or threading.active_count() > 1:
            execute(self, args, *others)
            return
        environment, pipes = others[5], others[9:15]
        request = Request.here(args, environment, None, session=True, terminal=False)
        pid = os.fork()
        if pid:
            self.pid = pid
            self._child_created = True
            self._close_pipe_fds(*pipes)
            return
        code = 1
        try:
            for number in signal.valid_signals():
                if callable(signal.getsignal(number)):
                    signal.signal(number, signal.SIG_DFL)
            os.close(pipes[1])
            os.close(pipes[2])
            become(request, [pipes[0], pipes[3], pipes[5]])
            sys.modules["tokex_gguf.engine.__main__"].main()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    return execute_child


if __name__ == "__main__":
    main()
