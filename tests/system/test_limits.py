"""What control groups allow, by files as Linux has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokex_gguf.engine.worker import llama
from tokex_gguf.system import limits as limits_module
from tokex_gguf.system import machine
from tokex_gguf.system.limits import Limits, limits

GIB = 1 << 30
SECOND = "35 24 0:30 {base} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
FIRST = (
    "36 24 0:31 {base} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "37 24 0:32 {base} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)


@pytest.fixture(autouse=True)
def no_own_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "_process_limits", Limits)


def system(root: Path, mounts: str, groups: str, files: dict[str, str]) -> Path:
    """A machine's files."""
    for name, text in {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def second(folder: str = "", **values: object) -> dict[str, str]:
    names = {"max": "memory.max", "high": "memory.high", "current": "memory.current", "stat": "memory.stat"}
    base = f"sys/fs/cgroup/{folder}"
    return {f"{base}/{names.get(name, 'cpu.max')}": f"{value}\n" for name, value in values.items()}


def test_the_second_version(tmp_path: Path) -> None:
    stat = "anon 5\nfile 9\ninactive_file 1000\nactive_file 500\n"
    files = second("a/b", max=2 * GIB, high="max", current=GIB, stat=stat, cpu="150000 100000")
    found = limits(system(tmp_path, SECOND.format(base="/"), "0::/a/b\n", files))
    assert found == Limits(2 * GIB, GIB + 1500, 1.5)


def test_the_narrowest_of_all_groups_counts(tmp_path: Path) -> None:
    files = {
        **second("a", max=4 * GIB, high=GIB, current=0, cpu="max 100000"),
        **second("a/b", max="max", high="max", current=0, cpu="300000 100000"),
        **second("a/b/c", max=3 * GIB, high="max", current=0, cpu="800000 100000"),
    }
    assert limits(system(tmp_path, SECOND.format(base="/"), "0::/a/b/c\n", files)) == Limits(GIB, GIB, 3.0)


@pytest.mark.parametrize(
    ("base", "group"),
    [("/", "/"), ("/docker/abc", "/docker/abc"), ("/", "/docker/abc"), ("/../..", "/"), ("/docker/abc", "/../other")],
)
def test_a_container_sees_its_own_group_as_the_root(base: str, group: str, tmp_path: Path) -> None:
    files = second(max=GIB, current=GIB // 4, cpu="50000 100000")
    found = limits(system(tmp_path, SECOND.format(base=base), f"0::{group}\n", files))
    assert found == Limits(GIB, 3 * GIB // 4, 0.5)


def test_the_first_version(tmp_path: Path) -> None:
    memory, cpu = "sys/fs/cgroup/memory/docker/abc", "sys/fs/cgroup/cpu,cpuacct/docker/abc"
    files = {
        f"{memory}/memory.limit_in_bytes": str(GIB),
        f"{memory}/memory.usage_in_bytes": str(GIB // 2),
        f"{memory}/memory.stat": "inactive_file 7\ntotal_inactive_file 100\ntotal_active_file 10\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        f"{cpu}/cpu.cfs_quota_us": "200000",
        f"{cpu}/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    groups = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n"
    mounts = FIRST.format(base="/") + SECOND.format(base="/").replace("cgroup rw", "cgroup/unified rw", 1)
    assert limits(system(tmp_path, mounts, groups, files)) == Limits(GIB, GIB // 2 + 110, 2.0)


@pytest.mark.parametrize("told", ["", "max", "-1", "0", "none", "9" * 40, "\0", "1 2 3", "é"])
def test_what_says_nothing_limits_nothing(told: str, tmp_path: Path) -> None:
    files = second("a", max=told, high=told, current=told, stat=told, cpu=told)
    assert limits(system(tmp_path, SECOND.format(base="/"), "0::/a\n", files)) == Limits()
    assert limits(tmp_path / "nothing") == Limits()
    assert limits(system(tmp_path, told, told, files)) == Limits()
    assert limits(system(tmp_path, f"1 2 3 - cgroup2\n{told}", "0::", files)) == Limits()


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (Limits(), (5 * GIB, 8 * GIB)),
        (Limits(2 * GIB, GIB), (GIB, 2 * GIB)),
        (Limits(7 * GIB, 6 * GIB), (5 * GIB, 7 * GIB)),
        (Limits(64 * GIB, 60 * GIB), (5 * GIB, 8 * GIB)),
    ],
)
def test_memory_is_what_the_group_may_have(
    allowed: Limits, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_physical", lambda: (5 * GIB, 8 * GIB))
    monkeypatch.setattr(machine, "limits", lambda: allowed)
    assert machine.memory() == expected
    monkeypatch.setattr(machine, "_physical", lambda: (0, 0))
    assert machine.memory() == (allowed.free, allowed.memory)


@pytest.mark.parametrize(("processors", "expected"), [(0.0, 4), (0.5, 1), (1.0, 1), (1.9, 1), (3.0, 3), (9.0, 4)])
def test_threads_are_no_more_than_the_group_has_time_for(
    processors: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(9000, 9004)), raising=False)
    monkeypatch.setattr(llama, "limits", lambda: Limits(processors=processors))
    assert llama.default_threads() == expected


@pytest.mark.skipif("sys.platform == 'win32'", reason="POSIX has limits of a process's own")
def test_the_limit_of_the_address_space_counts() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)); "
        "from tokex_gguf.system.limits import limits; print(limits().memory)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert 0 < int(told) <= (4 << 30) - limits_module.ENGINE_BASE_BYTES


@pytest.mark.skipif("sys.platform == 'win32'", reason="POSIX has limits of a process's own")
@pytest.mark.parametrize(
    ("limit", "value", "expected"),
    [
        ("RLIMIT_NOFILE", 8, "the limit of open files is too low: raise it with ulimit -n"),
        ("RLIMIT_AS", 300_000 << 10, "the limit of address space, 307 MB, is too low for it: raise it with ulimit -v"),
    ],
)
def test_a_limit_that_is_too_low_is_named(
    limit: str, value: int, expected: str, tmp_path: Path, model_path: Path
) -> None:
    script = (
        f"import resource, sys; from tokex_gguf.cli.main import main\n"
        f"resource.setrlimit(resource.{limit}, ({value},) * 2); "
        "sys.exit(main(sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "--plain", "--prompt", "Hi", "--model", str(model_path)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )
    assert expected in result.stderr and result.stderr.count("\n") == 1
    assert "/dev/null" not in result.stderr and "quantisation" not in result.stderr
    assert result.returncode in (1, 2)
