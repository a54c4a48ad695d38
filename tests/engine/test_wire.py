"""Paths on their way to the engine arrive whole, whatever went before them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.test_protocol import EXAMPLES
from tokex_gguf.engine.path_delta import OutOfStep, Receiver, Sender
from tokex_gguf.engine.protocol import Apply, Check, Continue, Evaluate, Lookahead, Request, Search, WireMessage
from tokex_gguf.values.lens import Sampled, lens_of
from tokex_gguf.values.samplers import Chain, Kind, Sampler

paths = st.lists(st.integers(0, 3), min_size=1, max_size=12)
requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(Evaluate, st.integers(), paths, st.integers(), st.integers(), st.none() | st.integers()),
    st.builds(Lookahead, st.integers(), paths, st.lists(paths, max_size=4), st.integers()),
    st.builds(Continue, st.integers(), paths, st.integers()),
    st.builds(Search, st.integers(), paths, st.text(), st.integers()),
    st.builds(Check, st.integers(), paths, st.booleans()),
    st.sampled_from([example for example in EXAMPLES if isinstance(example, Request)]),
)


@given(st.lists(requests, max_size=8))
def test_requests_arrive_as_they_were_sent(sent: list[Request]) -> None:
    sender, receiver = Sender(), Receiver()
    arrived: list[WireMessage] = [receiver.decode(sender.encode(request)) for request in sent]
    assert arrived == sent


def through(chain: Chain, number: int = 1) -> Apply:
    lens = lens_of(chain)
    assert isinstance(lens, Sampled)
    return Apply(number, [1, 2, 3], lens, [], 9)


chains = st.builds(
    Chain,
    st.lists(st.sampled_from([Sampler.of(Kind.TOP_K, 5), Sampler.of(Kind.MIN_P, 0.1)]), min_size=1, max_size=1).map(
        tuple
    ),
    st.sampled_from([(), ((3, 1.0),), ((3, 1.0), (4, 2.0)), ((3, float("-inf")),)]),
)


@given(st.lists(chains | requests, max_size=8))
def test_lenses_arrive_as_they_were_sent(chosen: list[Chain | Request]) -> None:
    sender, receiver = Sender(), Receiver()
    sent = [through(one) if isinstance(one, Chain) else one for one in chosen]
    assert [receiver.decode(sender.encode(request)) for request in sent] == sent


def test_biases_are_sent_once_and_a_lens_is_made_once() -> None:
    sender, receiver = Sender(), Receiver()
    many = tuple((token, 0.5) for token in range(50_000))
    first, *later = [through(Chain((Sampler.of(Kind.TOP_K, top),), many), top) for top in (5, 5, 6)]
    one = receiver.decode(sender.encode(first))
    lines = [sender.encode(request) for request in later]
    assert max(map(len, lines)) < 300
    same, other = map(receiver.decode, lines)
    assert isinstance(one, Apply) and isinstance(same, Apply) and isinstance(other, Apply)
    assert same.lens is one.lens and other.lens.chain.bias is one.lens.chain.bias
    with pytest.raises(OutOfStep):
        Receiver().decode(lines[0].replace(b"[3]", b"[0,1,2,3]"))


def test_what_could_not_be_sent_is_not_gone_on_from() -> None:
    sender, receiver = Sender(), Receiver()
    receiver.decode(sender.encode(Continue(1, [1, 2, 3], 5)))
    with pytest.raises(TypeError):
        sender.encode(Continue(2, [1, 2, object()], 5))  # type: ignore[list-item]
    assert receiver.decode(sender.encode(Continue(3, [1, 2, 4], 5))) == Continue(3, [1, 2, 4], 5)


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
