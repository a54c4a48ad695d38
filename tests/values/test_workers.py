"""Lists of RPC workers: what is one, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokex_gguf.values.workers import MOST_WORKERS, workers_of

MANY = [f"10.0.0.{index}:50052" for index in range(1, MOST_WORKERS + 2)]


@given(st.text(max_size=60))
def test_any_text_is_a_list_of_workers_or_refused(text: str) -> None:
    try:
        workers = workers_of(text)
    except ValueError as error:
        told = str(error)
    else:
        told = ""
        assert workers_of(",".join(workers)) == workers
        for worker in workers:
            host, port = worker.rsplit(":", 1)
            assert host.isascii() and host and not host.startswith("-")
            assert 0 < int(port) < 65536
    assert not told or told.isprintable()


def test_as_many_as_llama_cpp_takes() -> None:
    assert len(workers_of(",".join(MANY[:MOST_WORKERS]))) == MOST_WORKERS
    with pytest.raises(ValueError, match=rf"^{MOST_WORKERS + 1} workers: llama.cpp takes {MOST_WORKERS} at the most$"):
        workers_of(",".join(MANY))


@pytest.mark.parametrize("text", ["a:1", "a-b.example.:65535", "10.0.0.1:1", "a_b:050", " a:1 , b:2 "])
def test_what_is_a_list(text: str) -> None:
    assert workers_of(text)


@pytest.mark.parametrize(
    "text", ["a", "a:", ":1", "a:0", "a:65536", "a:+1", "a:1:2", "-a:1", "a b:1", "a:1;b:2", "ü:1", "a:١"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected HOST:PORT"):
        workers_of(text)
