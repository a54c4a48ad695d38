"""Whether a text can fit into the context, without tokenising what cannot."""

import queue
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake import started
from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.capacity import EXTRA_TOKENS, TOKEN_BYTES, TooLong, check_text, check_tokens
from tokex_gguf.engine.client import EngineClient
from tokex_gguf.engine.protocol import Failed, Load, Loading, Tokenize, Tokenized
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Typed
from tokex_gguf.play.rules import text_entry


@given(st.integers(1, 50), st.integers(0, 20_000), st.integers(1, 200))
def test_a_text_that_fits_is_never_refused(limit: int, length: int, of_a_token: int) -> None:
    """Whatever the tokens' lengths are: only tokens that are counted speak against a text."""
    text = "a" * length
    tokens = -(-length // of_a_token)
    if tokens <= limit:
        check_text(text, limit, lambda part: -(-len(part) // of_a_token))
        check_tokens(tokens, limit)


@pytest.mark.parametrize("of_a_token", [1, 4, 15, 16, 30, 1000])
def test_of_a_text_that_is_far_too_long_only_a_beginning_is_tokenised(of_a_token: int) -> None:
    limit, seen = 1000, []

    def count(part: str) -> int:
        seen.append(len(part))
        return len(part) // of_a_token

    text = "a" * (100 * of_a_token * limit + 100 * TOKEN_BYTES * limit)
    with pytest.raises(TooLong, match=r"^this text is too long: [\d,]+ of its [\d,]+ characters have [\d,]+ tokens "):
        check_text(text, limit, count)
    assert sum(seen) < len(text) / 5


def test_what_is_a_little_too_long_can_be_popped() -> None:
    check_tokens(300, 256)
    with pytest.raises(TooLong, match=r"it has 100,000 tokens, and the context can hold 256"):
        check_tokens(100_000, 256)
    with pytest.raises(TooLong):
        check_tokens(2 * 256 + EXTRA_TOKENS + 1, 256)


def test_the_engine_refuses_a_text_in_one_line_and_goes_on(model_path: Path) -> None:
    told: queue.Queue[Delivery] = queue.Queue()
    client = EngineClient(told.put)
    try:
        client.send(Load(str(model_path), 0, 0, most=8192))
        while isinstance(told.get(timeout=60), Loading):
            pass
        for request, continues in ((1, False), (2, True)):
            client.send(Tokenize(request, "every body " * 400_000, True, continues))
            reply = told.get(timeout=60)
            assert isinstance(reply, Failed) and reply.request == request
            assert "too long" in reply.reason and "8,192" in reply.reason and "\n" not in reply.reason
        client.send(Tokenize(3, "every body", True))
        assert isinstance(told.get(timeout=60), Tokenized)
    finally:
        client.close()


def test_a_long_text_is_not_tokenised_at_each_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_entry, "MAX_LIVE_CHARACTERS", 2000)
    play = started().press(Action.INPUT)
    assert isinstance(play.session.screen, screens.Input)
    play.press(Typed("b" * text_entry.MAX_LIVE_CHARACTERS))
    play.take(Typed("b"))
    assert not any(isinstance(request, Tokenize) for request in play.asked)
    assert f"{text_entry.MAX_LIVE_CHARACTERS + 1:,} characters: Enter appends them" in play.session.notice
    play.take(Action.ENTER)
    assert [request.text for request in play.asked if isinstance(request, Tokenize)] == [play.session.line.text]
    play.answer()
    assert play.session.game.prompt.tip.depth == 5 + text_entry.MAX_LIVE_CHARACTERS + 1
