"""Memory and processors of this machine. Zero or None where the system does not report them."""

import os
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tokex_gguf.system.limits import limits


def memory() -> tuple[int, int]:
    """Bytes of memory available to this program without swapping, and in total; zeros if unknown."""
    free, total = _physical()
    allowed = limits()
    if not allowed.memory or (total and allowed.memory >= total):
        return free, total
    return min(allowed.free, free) if total else allowed.free, allowed.memory


def _physical() -> tuple[int, int]:
    """Bytes available on the machine, and installed; zeros if unknown."""
    try:
        if sys.platform == "win32":
            return _windows()
        if sys.platform == "darwin":
            return _macos()
        return _linux(Path("/proc/meminfo").read_text())
    except (OSError, ValueError, AttributeError, KeyError):
        return 0, 0


def _linux(meminfo: str) -> tuple[int, int]:
    values = {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", meminfo, re.MULTILINE)}
    return values["MemAvailable"], values["MemTotal"]


def _macos() -> tuple[int, int]:
    import subprocess

    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    output = subprocess.run(["vm_stat"], capture_output=True, text=True, check=False).stdout
    return _vm_stat(output), total


def _vm_stat(output: str) -> int:
    """Bytes available, from the output of macOS's vm_stat."""
    size = re.search(r"page size of (\d+) bytes", output)
    pages = dict(re.findall(r"^Pages ([\w ]+):\s+(\d+)\.", output, re.MULTILINE))
    kinds = ("free", "inactive", "speculative", "purgeable")
    return (int(size[1]) if size else 4096) * sum(int(pages.get(kind, 0)) for kind in kinds)


def _windows() -> tuple[int, int]:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            *((name, ctypes.c_uint64) for name in ("total", "free", "t1", "f1", "t2", "f2", "f3")),
        )

    status = Status()
    status.length = ctypes.sizeof(status)
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined,unused-ignore]
    return int(status.free), int(status.total)


LONGEST_MEAN = 1.0
"""Seconds over which a mean is meaningful, at the most."""
KEY_THREADS = 2
"""Threads that run for a moment when a key is answered: the screen's, and the terminal's."""
SHORTEST_MEAN = 0.2
"""Seconds over which the use of processors is measured, at the least: Linux counts in hundredths."""


def load() -> float:
    """The load average of the last minute per processor; 0 if unknown, as on Windows."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (OSError, AttributeError):
        return 0.0


class _ProcessorUse(NamedTuple):
    """Linux's counters at some time."""

    time: float
    processors: int
    """Processors that this program may use."""
    used: float
    """Seconds of these processors that other programs have used so far."""
    running: int | None
    """Runnable threads, this one included; None if they may be on other processors."""


class OtherPrograms:
    """The processor time that other programs leave unused. Known on Linux only."""

    def __init__(self) -> None:
        self._left: float | None = None
        self._before = self._now()

    @property
    def known(self) -> bool:
        """Whether the system reports it."""
        return self._before is not None

    def left(self) -> float | None:
        """Processors that other programs leave unused, of those that this program may use; None if unknown.

        The mean since the last call, SHORTEST_MEAN seconds ago or more; if that was long ago, the present number.
        Programs of lower priority count: Linux groups programs by their terminals, and priorities mean nothing between
        groups.
        """
        then = self._before
        if then is None or time.monotonic() - then.time < SHORTEST_MEAN:
            return self._left
        self._before = now = self._now()
        if now is None:
            self._left = None
        elif now.time - then.time > LONGEST_MEAN and now.running is not None:
            self._left = now.processors - max(0.0, now.running - 1.0 - KEY_THREADS)
        else:
            self._left = now.processors - max(0.0, (now.used - then.used) / (now.time - then.time))
        return self._left

    @staticmethod
    def _now() -> "_ProcessorUse | None":
        if sys.platform != "linux":
            return None
        try:
            stat, processors = Path("/proc/stat").read_text(), os.sched_getaffinity(0)
            used = busy(stat, processors) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            return None
        match = re.search(r"^procs_running (\d+)", stat, re.MULTILINE)
        running = int(match[1]) if match and len(processors) == os.cpu_count() else None
        return _ProcessorUse(time.monotonic(), len(processors), used - time.process_time(), running)


def busy(stat: str, processors: set[int]) -> int:
    """Ticks for which some processors were in use, from Linux's /proc/stat. Raises ValueError."""
    ticks = 0
    for number, line in re.findall(r"^cpu(\d+) (.*)", stat, re.MULTILINE):
        if int(number) in processors:
            user, niced, system, _idle, _waiting, interrupts, soft, stolen, *_ = map(int, line.split())
            ticks += user + niced + system + interrupts + soft + stolen
    return ticks


def processor() -> str:
    """The processor's name."""
    try:
        match = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        match = None
    if match:
        return match[1]
    import platform  # not on the way to the first frame

    return platform.processor() or platform.machine()
