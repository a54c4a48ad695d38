"""Paths on their way to the engine arrive whole, whatever went before them."""

from hypothesis import given
from hypothesis import strategies as st

from tests.engine.test_protocol import EXAMPLES
from tokex_gguf.engine.path_delta import Receiver, Sender
from tokex_gguf.engine.protocol import Check, Continue, Evaluate, Lookahead, Message, Request, Search

paths = st.lists(st.integers(0, 3), min_size=1, max_size=12)
requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(Evaluate, st.integers(), paths, st.integers(), st.integers(), st.none() | st.integers()),
    st.builds(Lookahead, st.integers(), paths, paths, st.integers()),
    st.builds(Continue, st.integers(), paths, st.integers()),
    st.builds(Search, st.integers(), paths, st.text(), st.integers()),
    st.builds(Check, st.integers(), paths, st.booleans()),
    st.sampled_from([example for example in EXAMPLES if isinstance(example, Request)]),
)


@given(st.lists(requests, max_size=8))
def test_requests_arrive_as_they_were_sent(sent: list[Request]) -> None:
    sender, receiver = Sender(), Receiver()
    arrived: list[Message] = [receiver.decode(sender.encode(request)) for request in sent]
    assert arrived == sent


def test_what_is_kept_is_not_changed_later() -> None:
    sender, receiver = Sender(), Receiver()
    first = receiver.decode(sender.encode(Continue(1, [1, 2, 3], 5)))
    receiver.decode(sender.encode(Continue(2, [1, 9], 5)))
    assert first == Continue(1, [1, 2, 3], 5)


def test_a_key_at_a_long_path_sends_a_short_line() -> None:
    sender = Sender()
    path = list(range(3000))
    sender.encode(Evaluate(1, path, 0, 30))
    for longer_or_shorter in ([*path, 7], path, path[:-1], [*path[:-1], 8]):
        assert len(sender.encode(Evaluate(2, longer_or_shorter, 2998, 30))) < 110
