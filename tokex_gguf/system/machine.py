"""What this machine has, by whatever way its system tells. Where it does not, zero or nothing."""

import os
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tokex_gguf.system.limits import limits


def memory() -> tuple[int, int]:
    """Bytes of memory that this program can have without swapping, and at all; zeros where unknown."""
    free, total = _physical()
    allowed = limits()
    if not allowed.memory or (total and allowed.memory >= total):
        return free, total
    return min(allowed.free, free) if total else allowed.free, allowed.memory


def _physical() -> tuple[int, int]:
    """Bytes available on the whole machine, and built into it; zeros where unknown."""
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
    told = subprocess.run(["vm_stat"], capture_output=True, text=True, check=False).stdout
    return _vm_stat(told), total


def _vm_stat(told: str) -> int:
    """Bytes available, from what macOS's vm_stat prints."""
    size = re.search(r"page size of (\d+) bytes", told)
    pages = dict(re.findall(r"^Pages ([\w ]+):\s+(\d+)\.", told, re.MULTILINE))
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


LONG_AGO = 1.0
"""Seconds for which a mean says nothing of now."""
FOR_A_KEY = 2
"""Threads that run for a moment where a key is answered: the screen's, and the terminal's."""
LATELY = 0.2
"""Seconds over which it is judged how busy the processors are, at the least: Linux counts in hundredths."""


def load() -> float:
    """Programs that wanted a processor in the last minute, for each processor; 0 where unknown, as on Windows."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (OSError, AttributeError):
        return 0.0


class _Use(NamedTuple):
    """What Linux tells at some time."""

    time: float
    processors: int
    """Those that this program may use."""
    used: float
    """Seconds for which other programs have used them by then."""
    running: int | None
    """Threads that run or want to, this one among them; None where they may be on other processors."""


class OtherPrograms:
    """What other programs leave of the processors. On Linux; elsewhere that is not known."""

    def __init__(self) -> None:
        self._left: float | None = None
        self._before = self._now()

    @property
    def known(self) -> bool:
        """Whether the system tells it."""
        return self._before is not None

    def left(self) -> float | None:
        """Processors that they did not use, of those that this program may use; None where unknown.

        On the average since this was asked for last, LATELY seconds ago or more; if that was long ago, at this moment.
        What runs at a lower priority counts: Linux groups programs by their terminals, and a priority says nothing
        between groups.
        """
        then = self._before
        if then is None or time.monotonic() - then.time < LATELY:
            return self._left
        self._before = now = self._now()
        if now is None:
            self._left = None
        elif now.time - then.time > LONG_AGO and now.running is not None:
            self._left = now.processors - max(0.0, now.running - 1.0 - FOR_A_KEY)
        else:
            self._left = now.processors - max(0.0, (now.used - then.used) / (now.time - then.time))
        return self._left

    @staticmethod
    def _now() -> "_Use | None":
        if sys.platform != "linux":
            return None
        try:
            told, own = Path("/proc/stat").read_text(), os.sched_getaffinity(0)
            used = busy(told, own) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            return None
        found = re.search(r"^procs_running (\d+)", told, re.MULTILINE)
        running = int(found[1]) if found and len(own) == os.cpu_count() else None
        return _Use(time.monotonic(), len(own), used - time.process_time(), running)


def busy(told: str, processors: set[int]) -> int:
    """Ticks for which some processors were in use, from what Linux tells in /proc/stat. Raises ValueError."""
    ticks = 0
    for number, line in re.findall(r"^cpu(\d+) (.*)", told, re.MULTILINE):
        if int(number) in processors:
            user, niced, system, _idle, _waiting, interrupts, soft, stolen, *_ = map(int, line.split())
            ticks += user + niced + system + interrupts + soft + stolen
    return ticks


def processor() -> str:
    """The processor's name."""
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    if found:
        return found[1]
    import platform  # not on the way to the first frame

    return platform.processor() or platform.machine()
