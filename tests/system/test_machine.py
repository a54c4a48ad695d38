"""What a machine says of itself, on each system."""

import os
import sys

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
