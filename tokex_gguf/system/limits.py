"""Limits of a process: those of its control groups (Linux, containers) and its own (POSIX).

Zeros on other systems, and without limits.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

UNLIMITED = 1 << 60
"""Bytes from which a limit in version 1 of control groups means none."""
ENGINE_BASE_BYTES = 700_000_000
"""Bytes of address space that the engine's process takes without a model: code, arenas and threads' stacks."""


class Limits(NamedTuple):
    """Limits by the system; 0: none."""

    memory: int = 0
    """Bytes of memory."""
    free: int = 0
    """Bytes of `memory` that are unused; cached files count as unused. 0 if `memory` is 0."""
    processors: float = 0.0
    """Processors: seconds of processor time per second."""


def limits(root: Path = Path("/")) -> Limits:
    """The lowest of the limits of all groups of this process, and its own."""
    all_limits = [*_groups(root), _process_limits()]
    memory = [limit for limit in all_limits if limit.memory]
    processors = [limit.processors for limit in all_limits if limit.processors]
    return Limits(
        min((limit.memory for limit in memory), default=0),
        min((limit.free for limit in memory), default=0),
        min(processors, default=0.0),
    )


def _process_limits() -> Limits:
    """The limit of the process's address space, which includes a model's mapped file."""
    soft = address_space()
    if not soft:
        return Limits()
    # The engine's process is a new one: none of its address space is used yet.
    room = max(1, soft - ENGINE_BASE_BYTES)
    return Limits(room, room)


def address_space() -> int:
    """The limit of a process's address space in bytes (`ulimit -v`); 0: none."""
    if sys.platform == "win32":
        return 0
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    # A limit of 0 bytes counts as a limit.
    return 0 if soft == resource.RLIM_INFINITY or soft >= UNLIMITED else max(1, soft)


def _groups(root: Path) -> Iterator[Limits]:
    """The limits of each group of this process, from the innermost outwards."""
    with suppress(OSError, ValueError):
        groups = _group_paths((root / "proc/self/cgroup").read_text())
        for version, controllers, base, mounted in _mounts((root / "proc/self/mountinfo").read_text()):
            for controller in controllers & groups.keys():
                folder = root / mounted.lstrip("/")
                for group in _group_and_parents(folder, _path_below_mount(groups[controller], base)):
                    yield _limits_v2(group) if version == 2 else _limits_v1(group, controller)


def _group_paths(cgroup: str) -> dict[str, str]:
    """The group's path for each controller; "" is version 2, with all controllers."""
    lines = [line.split(":", 2) for line in cgroup.splitlines() if line.count(":") >= 2]
    return {controller: path for _, controllers, path in lines for controller in controllers.split(",")}


def _mounts(mountinfo: str) -> Iterator[tuple[int, set[str], str, str]]:
    """Mounts of control groups: version, controllers, the mounted part of the tree, and the mount point."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        base, mounted = (field.replace("\\040", " ") for field in fields[3:5])
        if kind[0] == "cgroup2":
            yield 2, {""}, base, mounted
        elif kind[0] == "cgroup":
            yield 1, {"memory", "cpu"} & set(kind[2].split(",")), base, mounted


def _path_below_mount(path: str, base: str) -> str:
    """A group's path below the mount. A container can see its own group as the root, under another name."""
    if base != "/" and not f"{path}/".startswith(f"{base}/"):
        return ""
    inside = path.removeprefix(base) if base != "/" else path
    return "" if ".." in inside.split("/") else inside.strip("/")


def _group_and_parents(folder: Path, inside: str) -> Iterator[Path]:
    group = folder / inside
    if not group.is_dir():  # in another namespace
        group = folder
    yield group
    while group != folder:
        group = group.parent
        yield group


def _limits_v1(group: Path, controller: str) -> Limits:
    """Limits of a group of version 1."""
    if controller == "cpu":
        quota, period = _read_number(group / "cpu.cfs_quota_us"), _read_number(group / "cpu.cfs_period_us")
        return Limits(processors=quota / period if quota > 0 and period > 0 else 0.0)
    limit = _read_number(group / "memory.limit_in_bytes")
    if not 0 < limit < UNLIMITED:
        return Limits()
    return _memory_limits(limit, group / "memory.usage_in_bytes", group / "memory.stat", "total_")


def _limits_v2(group: Path) -> Limits:
    """Limits of a group of version 2."""
    values = [_read_number(group / name) for name in ("memory.max", "memory.high")]
    limit = min((value for value in values if 0 < value < UNLIMITED), default=0)
    memory = _memory_limits(limit, group / "memory.current", group / "memory.stat", "") if limit else Limits()
    quota, _, period = _read_text(group / "cpu.max").partition(" ")
    shared = int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else 0.0
    return memory._replace(processors=shared)


def _memory_limits(limit: int, usage: Path, stat: Path, prefix: str) -> Limits:
    lines = (line.split() for line in _read_text(stat).splitlines())
    values = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
    cached = sum(values.get(f"{prefix}{kind}_file", 0) for kind in ("inactive", "active"))
    return Limits(limit, min(limit, max(0, limit - max(0, _read_number(usage) - cached))))


def _read_number(path: Path) -> int:
    """The number in a file; -1 if there is none, or a word."""
    text = _read_text(path)
    return int(text) if text.isdigit() else -1


def _read_text(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text().strip()
    return ""
