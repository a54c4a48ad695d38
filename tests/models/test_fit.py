"""Whether a model fits into memory, and what is done where it does not."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tokex_gguf.models.gguf import metadata
from tokex_gguf.models.memory import BYTES, OVERHEAD, PER_TOKEN, SMALLEST, STATES, Fit, TooLarge, fit

GB = 10**9


@dataclass(frozen=True)
class Model:
    weight_bytes: int = 4 * GB
    repacked_bytes: int = 0
    values: int = 50_000
    """Of a KV cell."""
    vocab_size: int = 100_000
    state_bytes: int = 0

    def kv_bytes_per_token(self, bytes_per_value: float) -> int:
        return int(self.values * bytes_per_value)


MODEL = Model()
BESIDE = OVERHEAD + PER_TOKEN * MODEL.vocab_size


def test_with_room_enough_nothing_is_said_and_the_context_may_grow_into_it() -> None:
    made = fit(MODEL, context=0, kv="f16", free=10 * GB, total=16 * GB)
    assert (made.context, made.notice) == (0, "")
    assert made.most == (6 * GB - BESIDE) // 100_000


def test_quantised_cells_leave_room_for_nearly_twice_as_many() -> None:
    most = {kv: fit(MODEL, context=0, kv=kv, free=10 * GB, total=16 * GB).most for kv in ("f16", "q8_0")}
    assert 1.8 < most["q8_0"] / most["f16"] < 2


def test_a_context_that_fits_is_taken_as_asked() -> None:
    assert fit(MODEL, context=8192, kv="f16", free=10 * GB, total=16 * GB) == Fit(8192)


def test_a_context_that_does_not_fit_shrinks_and_the_numbers_are_told() -> None:
    made = fit(MODEL, context=100_000, kv="f16", free=10 * GB, total=16 * GB)
    cells = (6 * GB - BESIDE) // 100_000
    assert (made.context, made.most) == (cells, cells)
    assert made.notice == (
        f"context 100000 needs 10.0 GB beside 4.0 GB of weights, 10.0 GB are available: {cells} tokens instead"
    )


def test_what_fits_only_by_swapping_is_told() -> None:
    made = fit(MODEL, context=0, kv="f16", free=3 * GB, total=16 * GB)
    assert made.notice == "4.2 GB of memory are needed and 3.0 GB available: this will be slow"
    assert made.most == SMALLEST


def test_what_cannot_fit_is_refused_with_the_numbers() -> None:
    with pytest.raises(TooLarge, match=r"it needs 4\.2 GB of memory \(4\.0 GB for its weights\) .* can have 4\.1 GB"):
        fit(MODEL, context=0, kv="f16", free=4 * GB, total=4 * GB + GB // 10)


def test_all_parts_of_a_split_model_count() -> None:
    with pytest.raises(TooLarge, match="9"):
        fit(MODEL, context=0, kv="f16", free=8 * GB, total=8 * GB, weights=9 * GB)


def test_unknown_memory_is_no_obstacle() -> None:
    assert fit(MODEL, context=50_000, kv="f16", free=0, total=0) == Fit(50_000)


def test_models_without_cells_have_no_limit_of_ours() -> None:
    assert fit(Model(values=0), context=5000, kv="f16", free=10 * GB, total=16 * GB) == Fit(5000)


def test_recurrent_states_count() -> None:
    with pytest.raises(TooLarge, match=r"it needs 8\.2 GB"):
        fit(Model(values=0, state_bytes=GB), context=0, kv="f16", free=8 * GB, total=8 * GB)


MEASURE = """
import re, sys
from pathlib import Path
from tokex_gguf.engine.worker.abort import Abort
from tokex_gguf.engine.worker.llama import Entry, Llama
path, cells, kv = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
llama = Llama(path, context=cells, threads=1, progress=lambda _: None, abort=Abort(), kv=kv)
llama.decode([Entry(40 + i, 0, i, True) for i in range(48)])
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)
"""


@pytest.mark.skipif("sys.platform != 'linux'", reason="only Linux tells a process's peak of memory")
@pytest.mark.parametrize(
    ("name", "cells", "kv"),
    [("real", 4096, "f16"), ("real", 4096, "q8_0"), ("gemma3", 1024, "f16"), ("jamba", 1024, "f16")],
)
def test_the_engine_takes_what_was_foreseen(
    name: str, cells: int, kv: str, tiny: dict[str, Path], model_path: Path
) -> None:
    """The engine alone: the screen's process takes 40 to 80 MB more, which the estimate has room for."""
    path = tiny.get(name, model_path)
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, path, str(cells), kv], capture_output=True, text=True, check=True
    ).stdout
    about = metadata.read(path)
    model = about.weight_bytes + PER_TOKEN * about.vocab_size + STATES * about.state_bytes
    lookaheads = model + cells * about.kv_bytes_per_token(BYTES[kv])
    beside = int(told) - lookaheads
    print(f"{name}: {int(told) / 1e6:.0f} MB, of which {beside / 1e6:.0f} MB are the process itself")
    assert 0.2 * OVERHEAD < beside < 0.8 * OVERHEAD


@pytest.mark.parametrize(("share", "repack"), [(0.0, False), (0.06, False), (0.5, True), (1.0, True)])
@pytest.mark.parametrize("memory", [0, 16 * GB])
def test_weights_are_rearranged_where_that_makes_most_of_them_faster(share: float, repack: bool, memory: int) -> None:
    model = Model(repacked_bytes=int(share * 4 * GB))
    assert fit(model, context=0, kv="f16", free=memory, total=memory).repack is repack
