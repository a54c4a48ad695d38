"""Whether a model fits into memory, and what is done where it does not."""

from dataclasses import dataclass

import pytest

from tokex_gguf.fit import OVERHEAD, SMALLEST, Fit, TooLarge, fit

GB = 10**9


@dataclass(frozen=True)
class Model:
    weight_bytes: int = 4 * GB
    values: int = 50_000
    """Of a KV cell."""

    def kv_bytes_per_token(self, bytes_per_value: float) -> int:
        return int(self.values * bytes_per_value)


MODEL = Model()


def test_with_room_enough_nothing_is_said_and_the_context_may_grow_into_it() -> None:
    made = fit(MODEL, context=0, kv="f16", free=10 * GB, total=16 * GB)
    assert (made.context, made.notice) == (0, "")
    assert made.most == (6 * GB - OVERHEAD) // 100_000


def test_quantised_cells_leave_room_for_nearly_twice_as_many() -> None:
    most = {kv: fit(MODEL, context=0, kv=kv, free=10 * GB, total=16 * GB).most for kv in ("f16", "q8_0")}
    assert 1.8 < most["q8_0"] / most["f16"] < 2


def test_a_context_that_fits_is_taken_as_asked() -> None:
    assert fit(MODEL, context=8192, kv="f16", free=10 * GB, total=16 * GB) == Fit(8192)


def test_a_context_that_does_not_fit_shrinks_and_the_numbers_are_told() -> None:
    made = fit(MODEL, context=100_000, kv="f16", free=10 * GB, total=16 * GB)
    cells = (6 * GB - OVERHEAD) // 100_000
    assert (made.context, made.most) == (cells, cells)
    assert made.notice == (
        f"context 100000 needs 10.0 GB beside 4.0 GB of weights, 10.0 GB are available: {cells} tokens instead"
    )


def test_what_fits_only_by_swapping_is_told() -> None:
    made = fit(MODEL, context=0, kv="f16", free=3 * GB, total=16 * GB)
    assert made.notice == "4.3 GB of memory are needed and 3.0 GB available: this will be slow"
    assert made.most == SMALLEST


def test_what_cannot_fit_is_refused_with_the_numbers() -> None:
    with pytest.raises(TooLarge, match=r"it needs 4\.3 GB of memory \(4\.0 GB for its weights\) .* has 4\.1 GB"):
        fit(MODEL, context=0, kv="f16", free=4 * GB, total=4 * GB + GB // 10)


def test_all_parts_of_a_split_model_count() -> None:
    with pytest.raises(TooLarge, match="9"):
        fit(MODEL, context=0, kv="f16", free=8 * GB, total=8 * GB, weights=9 * GB)


def test_unknown_memory_is_no_obstacle() -> None:
    assert fit(MODEL, context=50_000, kv="f16", free=0, total=0) == Fit(50_000)


def test_models_without_cells_have_no_limit_of_ours() -> None:
    assert fit(Model(values=0), context=5000, kv="f16", free=10 * GB, total=16 * GB) == Fit(5000)
