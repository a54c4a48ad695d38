"""How the number of threads follows what they get of the processor."""

import itertools

from tokex_gguf.engine.pace import PROBATION, WINDOW, Pace


def after(pace: Pace, seconds: float, share: float, count: int = 1) -> list[int]:
    """The threads after each of some decodes in which every thread got a share of a core."""
    threads = []
    for _ in range(count):
        pace.took(seconds, seconds * share * pace.threads)
        threads.append(pace.threads)
    return threads


def test_threads_that_get_their_cores_stay() -> None:
    assert set(after(Pace(4), 0.010, 0.99, 500)) == {4}
    assert set(after(Pace(2), 0.010, 0.95, 500)) == {2}, "the screen is drawn meanwhile"


def test_one_that_shares_its_core_is_left_out_for_a_while() -> None:
    pace = Pace(2)
    threads = after(pace, 0.010, 0.7, 11)
    assert threads[:9] == [2] * 9 and threads[10] == 1
    assert after(pace, PROBATION / 2, 1.0) == [1]
    assert after(pace, PROBATION / 2, 1.0) == [2]
    # The other load is still there.
    assert after(pace, WINDOW, 0.5) == [1]


def test_one_long_decode_is_enough() -> None:
    assert after(Pace(2), 5.0, 0.6) == [1]


def test_as_many_are_left_out_as_others_need() -> None:
    assert after(Pace(8), 1.0, 7.4 / 8) == [7]
    assert after(Pace(8), 1.0, 5.2 / 8) == [5]
    assert after(Pace(8), 1.0, 0.0) == [1], "while a file is read for the first time, say"


def test_one_thread_stays_one() -> None:
    assert set(after(Pace(1), 0.010, 0.3, 100)) == {1}


def test_clocks_of_coarse_steps_do_no_harm() -> None:
    """Processor time may come in steps of 1/64 s, as on Windows."""
    pace = Pace(2)
    for step in itertools.accumulate([0.0071] * 400):
        before, now = ((step - 0.0071) * 2 * 64) // 1 / 64, (step * 2 * 64) // 1 / 64
        pace.took(0.0071, now - before)
        assert pace.threads == 2
