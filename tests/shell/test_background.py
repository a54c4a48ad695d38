"""Work in threads."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tokex_gguf.models.resolve import DownloadFailed, Resolved
from tokex_gguf.play.messages import Downloaded, Downloading, NotDownloaded
from tokex_gguf.shell import background


def test_a_download_is_told_a_hundred_times_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    def obtain(name: str, _tell: object, came: Callable[[int, int], None]) -> Resolved:
        for count in range(0, 10_001, 3):
            came(count, 10_000)
        return Resolved(Path(name))

    monkeypatch.setattr("tokex_gguf.models.resolve.obtain", obtain)
    told: list[Downloading] = []
    assert background.download("big.gguf", told.append) == Downloaded("big.gguf")
    assert told == [*map(Downloading, range(1, 100))]


def test_a_download_that_fails_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def obtain(*_: object) -> Resolved:
        raise DownloadFailed("the hub cannot be reached")

    monkeypatch.setattr("tokex_gguf.models.resolve.obtain", obtain)
    told: list[Downloading] = []
    assert background.download("big.gguf", told.append) == NotDownloaded("the hub cannot be reached")
    assert not told
