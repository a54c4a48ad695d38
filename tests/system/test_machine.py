"""What a machine says of itself, on each system."""

import os
import sys
import time

import pytest

from tokex_gguf.system import machine

MACOS = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                              100.
Pages active:                          50000.
Pages inactive:                           20.
Pages speculative:                         3.
Pages purgeable:                           1.
"""


def test_this_machine_has_memory_and_a_processor() -> None:
    free, total = machine.memory()
    assert 0 < free <= total
    assert total > 500_000_000
    assert machine.processor()


def test_linux_and_macos_tell_what_is_available() -> None:
    assert machine._linux("MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable:  1024 kB\n") == (1 << 20, 2 << 20)
    assert machine._vm_stat(MACOS) == 124 * 16384


def test_where_the_system_says_nothing_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_told: str) -> tuple[int, int]:
        raise KeyError("MemAvailable")

    monkeypatch.setattr(machine, "_linux", silent)
    monkeypatch.setattr(sys, "platform", "linux")
    assert machine.memory() == (0, 0)


def test_the_load_is_of_each_processor_and_nothing_where_it_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (6.0, 1.0, 1.0), raising=False)
    assert machine.load() == 1.5
    monkeypatch.delattr(os, "getloadavg")
    assert machine.load() == 0.0


STAT = """cpu  100 20 30 4000 50 6 7 8 9 0
cpu0 50 10 20 2000 30 1 2 3 4 0
cpu1 10 2 3 2000 20 5 5 5 5 0
cpu12 1 1 1 1 1 1 1 1 1 1
intr 5 6 7
"""


def test_linux_tells_how_long_processors_were_used() -> None:
    assert machine.busy(STAT, {0}) == 86
    assert machine.busy(STAT, {1}) == 30
    assert machine.busy(STAT, {0, 1, 7}) == 116
    with pytest.raises(ValueError, match="not enough values"):
        machine.busy("cpu0 1 2\n", {0})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_what_others_leave_is_the_mean_since_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    used: list[machine._ProcessorUse | None] = [machine._ProcessorUse(100.0, 4, 50.0, 1)]
    monkeypatch.setattr(machine.OtherPrograms, "_now", staticmethod(lambda: used[0]))
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    others = machine.OtherPrograms()
    now[0] = 100.1
    assert others.left() is None, "too short"
    now[0], used[0] = 101.0, machine._ProcessorUse(101.0, 4, 51.5, 9)
    assert others.left() == 2.5
    now[0], used[0] = 101.1, machine._ProcessorUse(101.1, 4, 60.0, 9)
    assert others.left() == 2.5
    now[0], used[0] = 101.5, machine._ProcessorUse(101.5, 4, 51.4, 9)
    assert others.left() == 4.0, "counters of ticks and of nanoseconds are a little apart"
    now[0], used[0] = 161.5, machine._ProcessorUse(161.5, 4, 291.4, 3)
    assert others.left() == 4.0, "they were there all the time, and are gone"
    now[0], used[0] = 221.5, machine._ProcessorUse(221.5, 4, 291.4, 6)
    assert others.left() == 1.0, "they have just come"
    now[0], used[0] = 281.5, machine._ProcessorUse(281.5, 4, 411.4, None)
    assert others.left() == 2.0, "who may use some processors alone goes by the mean"
    now[0], used[0] = 282.0, None
    assert others.left() is None and others.left() is None, "it is not known any more"


def test_where_it_is_not_known_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SHORTEST_MEAN", 0.0)
    monkeypatch.setattr(sys, "platform", "darwin")
    others = machine.OtherPrograms()
    assert others.left() is None and others.left() is None and not others.known


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_what_this_machine_leaves_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SHORTEST_MEAN", 0.0)
    others = machine.OtherPrograms()
    left = others.left()
    assert left is not None and left <= len(os.sched_getaffinity(0))
