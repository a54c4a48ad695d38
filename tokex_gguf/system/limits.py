"""What a process may use of its machine: limits of its control group (Linux, containers) and of its own (POSIX).

Elsewhere, and where nothing is limited, the answers are zero.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

UNLIMITED = 1 << 60
"""Bytes from which the first version of control groups means none by a limit."""
LIBRARIES = 700_000_000
"""Bytes of address space that the engine's process takes without a model: code, arenas and threads' stacks."""


class Limits(NamedTuple):
    """What the system allows. Zeros: whatever there is."""

    memory: int = 0
    """Bytes."""
    free: int = 0
    """Bytes of those that nothing uses; what is cached of files counts as unused. Where `memory` is 0, nothing."""
    processors: float = 0.0
    """Processors' time per time."""


def limits(root: Path = Path("/")) -> Limits:
    """The narrowest limits of all groups that this process is in, and its own."""
    found = [*_groups(root), _own()]
    memory = [limit for limit in found if limit.memory]
    processors = [limit.processors for limit in found if limit.processors]
    return Limits(
        min((limit.memory for limit in memory), default=0),
        min((limit.free for limit in memory), default=0),
        min(processors, default=0.0),
    )


def _own() -> Limits:
    """The limit of a process's address space, which a model's file counts in, too."""
    soft = address_space()
    if not soft:
        return Limits()
    # The engine's process begins with none of it used.
    room = max(1, soft - LIBRARIES)
    return Limits(room, room)


def address_space() -> int:
    """Bytes of address space that each process may have (`ulimit -v`); 0: no limit."""
    if sys.platform == "win32":
        return 0
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    # A limit of nothing is one, too.
    return 0 if soft == resource.RLIM_INFINITY or soft >= UNLIMITED else max(1, soft)


def _groups(root: Path) -> Iterator[Limits]:
    """The limits of each group that this process is in, from the innermost outwards."""
    with suppress(OSError, ValueError):
        groups = _paths((root / "proc/self/cgroup").read_text())
        for version, controllers, base, mounted in _mounts((root / "proc/self/mountinfo").read_text()):
            for controller in controllers & groups.keys():
                folder = root / mounted.lstrip("/")
                for group in _outwards(folder, _inside(groups[controller], base)):
                    yield _second(group) if version == 2 else _first(group, controller)


def _paths(told: str) -> dict[str, str]:
    """The group's path for each controller; "" is the second version's, which has all of them."""
    lines = [line.split(":", 2) for line in told.splitlines() if line.count(":") >= 2]
    return {controller: path for _, controllers, path in lines for controller in controllers.split(",")}


def _mounts(told: str) -> Iterator[tuple[int, set[str], str, str]]:
    """Where control groups can be seen: version, controllers, what of the tree is seen, and where."""
    for line in told.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        base, mounted = (field.replace("\\040", " ") for field in fields[3:5])
        if kind[0] == "cgroup2":
            yield 2, {""}, base, mounted
        elif kind[0] == "cgroup":
            yield 1, {"memory", "cpu"} & set(kind[2].split(",")), base, mounted


def _inside(path: str, base: str) -> str:
    """A group's path below what is mounted. A container can see its own group as the root, under another name."""
    if base != "/" and not f"{path}/".startswith(f"{base}/"):
        return ""
    inside = path.removeprefix(base) if base != "/" else path
    return "" if ".." in inside.split("/") else inside.strip("/")


def _outwards(folder: Path, inside: str) -> Iterator[Path]:
    group = folder / inside
    if not group.is_dir():  # seen from another name space
        group = folder
    yield group
    while group != folder:
        group = group.parent
        yield group


def _first(group: Path, controller: str) -> Limits:
    """Limits of a group of the first version."""
    if controller == "cpu":
        quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        return Limits(processors=quota / period if quota > 0 and period > 0 else 0.0)
    limit = _number(group / "memory.limit_in_bytes")
    if not 0 < limit < UNLIMITED:
        return Limits()
    return _memory(limit, group / "memory.usage_in_bytes", group / "memory.stat", "total_")


def _second(group: Path) -> Limits:
    """Limits of a group of the second version."""
    told = [_number(group / name) for name in ("memory.max", "memory.high")]
    limit = min((value for value in told if 0 < value < UNLIMITED), default=0)
    memory = _memory(limit, group / "memory.current", group / "memory.stat", "") if limit else Limits()
    quota, _, period = _text(group / "cpu.max").partition(" ")
    shared = int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else 0.0
    return memory._replace(processors=shared)


def _memory(limit: int, usage: Path, stat: Path, prefix: str) -> Limits:
    lines = (line.split() for line in _text(stat).splitlines())
    values = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
    cached = sum(values.get(f"{prefix}{kind}_file", 0) for kind in ("inactive", "active"))
    return Limits(limit, min(limit, max(0, limit - max(0, _number(usage) - cached))))


def _number(path: Path) -> int:
    """A file's number; -1 where there is none, or a word."""
    text = _text(path)
    return int(text) if text.isdigit() else -1


def _text(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text().strip()
    return ""
