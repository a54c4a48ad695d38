"""Whether a model fits into memory, and what is done where it does not."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sampling import few
from tokex_gguf.models.gguf import metadata
from tokex_gguf.models.memory import (
    BYTES_PER_VOCABULARY_TOKEN,
    CELL_BYTES,
    OVERHEAD,
    RECURRENT_SEQUENCES,
    SMALLEST_CONTEXT,
    WORKER_BUFFER_BYTES,
    WORKER_BYTES_PER_LOGIT,
    Fit,
    TooLarge,
    WorkerMemory,
    fit,
    layers_on,
    needed,
    over_workers,
)

GB = 10**9


@dataclass(frozen=True)
class Model:
    weight_bytes: int = 4 * GB
    repacked_bytes: int = 0
    values: int = 50_000
    """Of a KV cell."""
    vocab_size: int = 100_000
    state_bytes: int = 0
    architecture: str = "llama"
    context_trained: int = 0
    """Unknown."""

    def kv_bytes_per_token(self, bytes_per_value: float) -> int:
        return int(self.values * bytes_per_value)


MODEL = Model()
BESIDE = OVERHEAD + BYTES_PER_VOCABULARY_TOKEN * MODEL.vocab_size


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


@pytest.mark.parametrize("memory", [0, 16 * GB])
@pytest.mark.parametrize("values", [0, 50_000])
def test_a_context_beyond_what_the_model_was_trained_for_is_told(memory: int, values: int) -> None:
    model = Model(context_trained=8192, values=values)
    made = fit(model, context=9000, kv="f16", free=memory, total=memory)
    assert made.context == 9000
    assert made.notice == (
        "context 9000: the model was trained for 8,192 tokens, numbers behind that are not to be trusted"
    )
    for context in (0, 8192):
        assert not fit(model, context=context, kv="f16", free=memory, total=memory).notice


def test_a_context_that_shrinks_is_held_against_the_training_by_what_is_left_of_it() -> None:
    def notice(trained: int) -> str:
        return fit(Model(context_trained=trained), context=100_000, kv="f16", free=10 * GB, total=16 * GB).notice

    assert notice(70_000).endswith(" tokens instead")
    assert "tokens instead; context 5" in notice(8192)
    assert notice(8192).endswith("trained for 8,192 tokens, numbers behind that are not to be trusted")


def test_models_with_a_table_of_positions_never_have_more_of_them() -> None:
    model = Model(context_trained=1024, architecture="gpt2")
    made = fit(model, context=100_000, kv="f16", free=5 * GB, total=16 * GB)
    assert made == Fit(1024, notice="context 100000: the model has 1,024 positions, and no more")
    assert fit(model, context=1024, kv="f16", free=5 * GB, total=16 * GB) == Fit(1024)


def test_what_fits_only_by_swapping_is_told() -> None:
    made = fit(MODEL, context=0, kv="f16", free=3 * GB, total=16 * GB)
    assert made.notice == "4.2 GB of memory are needed and 3.0 GB available: this will be slow"
    assert made.most == SMALLEST_CONTEXT


def test_what_cannot_fit_is_refused_with_the_numbers() -> None:
    with pytest.raises(TooLarge, match=r"it needs 4\.2 GB of memory \(4\.0 GB for its weights\) .* can have 4\.1 GB"):
        fit(MODEL, context=0, kv="f16", free=4 * GB, total=4 * GB + GB // 10)


def test_what_a_model_takes_is_what_it_is_refused_by() -> None:
    least = needed(MODEL, cells=0, kv="f16")
    assert not fit(MODEL, context=0, kv="f16", free=least, total=least).notice
    with pytest.raises(TooLarge):
        fit(MODEL, context=0, kv="f16", free=least, total=least - 1)
    assert (
        needed(MODEL, cells=1000, kv="f16") - needed(MODEL, cells=SMALLEST_CONTEXT, kv="f16")
        == (1000 - SMALLEST_CONTEXT) * 100_000
    )
    assert needed(MODEL, cells=0, kv="f16", weights=9 * GB) - least == 5 * GB


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
from tokex_gguf.engine.worker.llama import BatchEntry, Llama
path, cells, kv = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
llama = Llama(path, context=cells, threads=1, progress=lambda _: None, abort=Abort(), kv=kv)
llama.decode([BatchEntry(40 + i, 0, i, True) for i in range(48)])
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)
"""


@pytest.mark.skipif("sys.platform != 'linux'", reason="only Linux tells a process's peak of memory")
@pytest.mark.parametrize(
    ("name", "cells", "kv"),
    few([("real", 4096, "f16"), ("real", 4096, "q8_0"), ("gemma3", 1024, "f16"), ("jamba", 1024, "f16")], of=2),
)
def test_the_engine_takes_what_was_looked_ahead_to(
    name: str, cells: int, kv: str, tiny: dict[str, Path], model_path: Path
) -> None:
    """The engine alone: the screen's process takes 40 to 80 MB more, which the estimate has room for."""
    path = tiny.get(name, model_path)
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, path, str(cells), kv], capture_output=True, text=True, check=True
    ).stdout
    about = metadata.read(path)
    model = about.weight_bytes + BYTES_PER_VOCABULARY_TOKEN * about.vocab_size + RECURRENT_SEQUENCES * about.state_bytes
    lookaheads = model + cells * about.kv_bytes_per_token(CELL_BYTES[kv])
    beside = int(told) - lookaheads
    print(f"{name}: {int(told) / 1e6:.0f} MB, of which {beside / 1e6:.0f} MB are the process itself")
    assert 0.2 * OVERHEAD < beside < 0.8 * OVERHEAD


@pytest.mark.parametrize(("share", "repack"), [(0.0, False), (0.06, False), (0.5, True), (1.0, True)])
@pytest.mark.parametrize("memory", [0, 16 * GB])
def test_weights_are_rearranged_where_that_makes_most_of_them_faster(share: float, repack: bool, memory: int) -> None:
    model = Model(repacked_bytes=int(share * 4 * GB))
    assert fit(model, context=0, kv="f16", free=memory, total=memory).repack is repack


# --- RPC workers

LAYERS = [*[100_000_000] * 40, 200_000_000]
"""Bytes of each layer, and of the output."""
BESIDE_ON_A_WORKER = WORKER_BUFFER_BYTES + WORKER_BYTES_PER_LOGIT * MODEL.vocab_size


@pytest.mark.parametrize("free", [[1], [1, 1], [3, 1], [1, 0], [0, 1], [5, 1, 9, 1], [1] * 16, [0, 0, 1, 0]])
@pytest.mark.parametrize("count", [1, 2, 5, 31, 81])
def test_each_layer_is_on_one_device_and_the_shares_are_those_of_the_memory(free: list[int], count: int) -> None:
    ranges = layers_on(count, free)
    assert [layer for each in ranges for layer in each] == list(range(count))
    assert all(abs(len(each) - count * one / sum(free)) < 1 for each, one in zip(ranges, free, strict=True))


def test_the_context_may_grow_into_what_the_fullest_worker_has_left() -> None:
    places = [WorkerMemory("a:1", 4 * GB, 8 * GB), WorkerMemory("b:1", 4 * GB, 8 * GB)]
    first, second = layers_on(41, [1, 1])
    assert (first, second) == (range(21), range(21, 41))
    weights = {"a": 21 * 100_000_000, "b": 19 * 100_000_000 + 200_000_000}
    cells = {"a": 100_000 * 21 // 40, "b": 100_000 * 19 // 40}
    room = {name: (4 * GB - weights[name] - BESIDE_ON_A_WORKER) // cells[name] for name in "ab"}
    assert over_workers(MODEL, LAYERS, places, context=0, kv="f16") == min(room.values())


def test_a_worker_without_room_for_its_layers_is_named() -> None:
    places = [WorkerMemory("a:1", 2 * GB, 8 * GB), WorkerMemory("b:1", 2 * GB, 8 * GB)]
    with pytest.raises(
        TooLarge, match=r"^the RPC worker a:1 needs 2\.2 GB of memory \(2\.1 GB for 21 of 41 layers\) and ha"
    ):
        over_workers(MODEL, LAYERS, places, context=0, kv="f16")
    three = [*places, WorkerMemory("c:1", 2 * GB, 8 * GB)]
    assert over_workers(MODEL, LAYERS, three, context=0, kv="f16") > 0, "a third one helps"


def test_a_context_without_room_on_a_worker_is_told_with_its_size() -> None:
    places = [WorkerMemory("a:1", 4 * GB, 8 * GB), WorkerMemory("b:1", 4 * GB, 8 * GB)]
    with pytest.raises(
        TooLarge, match=r"2\.1 GB for 21 of 41 layers, 5\.2 GB for a context of 100000\) and has 4\.0 GB"
    ):
        over_workers(MODEL, LAYERS, places, context=100_000, kv="f16")


def test_workers_that_do_not_tell_their_memory_are_believed() -> None:
    assert over_workers(MODEL, LAYERS, [WorkerMemory("a:1", 0, 0)], context=0, kv="f16") == 0
    assert (
        over_workers(MODEL, LAYERS, [WorkerMemory("a:1", GB, GB), WorkerMemory("b:1", 0, 0)], context=0, kv="f16") == 0
    )


def test_the_weights_of_layers_are_read_from_the_header(model_path: Path) -> None:
    layers = metadata.tensor_bytes([model_path])
    about = metadata.read(model_path)
    assert len(layers) == about.layers + 1
    assert sum(layers) == about.weight_bytes, "its embeddings are its output as well"
    assert len(set(layers[:-1])) == 1
