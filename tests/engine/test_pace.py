"""How the number of threads follows what they get of the processor."""

import itertools

from tokex_gguf.engine.worker.threads import PROBATION, ThreadTuner


def after(pace: ThreadTuner, seconds: float, share: float, count: int = 1) -> list[int]:
    """The threads after each of some decodes in which every thread got a share of a core."""
    threads = []
    for _ in range(count):
        pace.took(seconds, seconds * share * pace.threads)
        threads.append(pace.threads)
    return threads


def test_threads_that_get_their_cores_stay() -> None:
    assert set(after(ThreadTuner(4), 0.010, 0.99, 500)) == {4}
    assert set(after(ThreadTuner(2), 0.010, 0.95, 500)) == {2}, "the screen is drawn meanwhile"


def test_one_that_shares_its_core_is_left_out_for_a_while() -> None:
    pace = ThreadTuner(2)
    threads = after(pace, 0.010, 0.7, 11)
    assert threads[:9] == [2] * 9 and threads[10] == 1
    assert set(after(pace, 0.009, 1.0, int(PROBATION / 0.009))) == {1}
    assert after(pace, 0.009, 1.0) == [2]
    # The other load is still there.
    assert after(pace, 0.010, 0.5, 11)[-1] == 1


def test_fewer_that_are_slower_are_given_up_at_once_and_tried_ever_more_rarely() -> None:
    pace = ThreadTuner(2)
    tried = [n for n in range(2000) if after(pace, 0.010 if pace.threads == 2 else 0.019, 0.7) == [1]]
    between = [b - a for a, b in itertools.pairwise(tried)]
    assert between[0] < 25 and between[-1] > 300 and len(tried) < 12
    after(pace, 0.010, 0.99, 4000)  # all was well for a while
    assert 1 in after(pace, 0.010, 0.7, 25)


def test_one_decode_that_was_held_up_is_no_measure() -> None:
    pace = ThreadTuner(2)
    after(pace, 0.008, 0.8, 10)
    pace.took(0.025, 0.025)
    assert pace.threads == 1
    pace.took(0.014, 0.014)
    assert pace.threads == 2


def test_one_token_is_not_compared_with_many() -> None:
    pace = ThreadTuner(2)
    pace.took(0.2, 0.25, 48)
    assert pace.threads == 1
    pace.took(0.018, 0.018, 1)
    assert pace.threads == 1
    pace.took(0.3, 0.3, 48)
    assert pace.threads == 2


def test_one_long_decode_is_enough() -> None:
    assert after(ThreadTuner(2), 5.0, 0.6) == [1]


def test_as_many_are_left_out_as_others_need() -> None:
    assert after(ThreadTuner(8), 1.0, 7.4 / 8) == [7]
    assert after(ThreadTuner(8), 1.0, 5.2 / 8) == [5]
    assert after(ThreadTuner(8), 1.0, 0.0) == [1], "while a file is read for the first time, say"


def test_a_decode_with_all_comes_ever_more_rarely_while_it_is_as_slow() -> None:
    pace = ThreadTuner(2)
    tried = [n for n in range(4000) if after(pace, 0.2 if pace.threads == 2 else 0.01, 0.6 * 2 / pace.threads) == [2]]
    between = [b - a for a, b in itertools.pairwise(tried)]
    assert 50 <= tried[0] < 60 and 95 <= between[0] < 110 and between[-1] == between[-2] > 350
    after(pace, 0.010, 0.99, 500)  # the others are gone
    after(pace, 0.200, 0.6)
    assert len(list(itertools.takewhile(lambda _: after(pace, 0.01, 1.0) == [1], range(1000)))) < 60


def test_while_the_few_do_not_get_their_cores_all_are_not_tried() -> None:
    pace = ThreadTuner(4)
    assert after(pace, 1.0, 0.3) == [1]
    assert set(after(pace, 0.1, 0.6, 500)) == {1}
    assert 4 in after(pace, 0.1, 1.0, 20)


def test_on_a_machine_that_is_known_to_be_busy_few_begin() -> None:
    for load, threads in ((0.0, 8), (1.9, 8), (2.0, 2), (3.0, 2), (50.0, 1)):
        assert ThreadTuner(8, load).threads == threads
    assert ThreadTuner(2, 2.5).threads == ThreadTuner(1, 9.0).threads == 1
    pace = ThreadTuner(2, 2.5)
    assert 2 in after(pace, 0.1, 1.0, 6), "it is no more so"


def test_a_decode_does_not_begin_with_threads_that_others_leave_no_room_for() -> None:
    for left, threads in ((None, 8), (16.0, 8), (8.0, 8), (7.3, 8), (7.2, 7), (4.5, 4), (0.0, 1), (-3.0, 1)):
        assert ThreadTuner(8).begin(left) == threads
    pace = ThreadTuner(2)
    after(pace, 0.007, 0.99, 10)
    assert pace.begin(1.0) == 1
    assert set(after(pace, 0.014, 1.0, int(PROBATION / 0.014))) == {1}, "they were faster while nobody else was there"


def test_all_are_tried_again_as_soon_as_others_are_gone_and_not_before() -> None:
    pace = ThreadTuner(2)
    pace.begin(0.6)
    for _ in range(1000):
        pace.begin(1.1)
        assert after(pace, 0.014, 1.0) == [1]
    assert pace.begin(1.9) == 2
    pace = ThreadTuner(8)
    assert pace.begin(1.0) == 1
    pace.begin(5.0)
    assert after(pace, PROBATION, 1.0) == [5]
    # Of those that a trial has ended others say nothing.
    pace = ThreadTuner(2)
    assert after(pace, 0.010, 0.7, 11)[-1] == 1
    assert pace.begin(2.0) == 1


def test_fewer_that_were_slower_are_not_begun_with_at_once() -> None:
    pace = ThreadTuner(2)
    assert after(pace, 0.010, 0.7, 11)[-1] == 1
    assert after(pace, 0.019, 1.0) == [2], "slower"
    assert pace.begin(0.5) == 2
    after(pace, 0.010, 0.99, 30)  # all is well
    assert pace.begin(0.5) == 1


def test_one_thread_stays_one() -> None:
    assert set(after(ThreadTuner(1), 0.010, 0.3, 100)) == {1}


def test_clocks_of_coarse_steps_do_no_harm() -> None:
    """Processor time may come in steps of 1/64 s, as on Windows."""
    pace = ThreadTuner(2)
    for step in itertools.accumulate([0.0071] * 400):
        before, now = ((step - 0.0071) * 2 * 64) // 1 / 64, (step * 2 * 64) // 1 / 64
        pace.took(0.0071, now - before)
        assert pace.threads == 2
