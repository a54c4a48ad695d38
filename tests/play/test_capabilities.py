"""What an engine cannot do is not asked of it. Of what it knows only nearly: test_served.py."""

from dataclasses import replace

import pytest

from tests.fake import MODEL, Play, on, started
from tokex_gguf.engine.protocol import Capability, Lookahead, Request, Search, decode, encode
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import hints
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.messages import ListedStarters
from tokex_gguf.play.rules import bias, lists
from tokex_gguf.play.session import Starter
from tokex_gguf.sessions.codec import dump, load
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.text_field import TextField


class Without(Play):
    """A game over an engine that lacks something."""

    def __init__(self, *lacking: Capability) -> None:
        self.seen: list[Request] = []
        self.model = replace(MODEL, capabilities=frozenset(Capability) - set(lacking))
        super().__init__("hello", lookahead=3)
        self.asked.clear()
        self.take(self.model)
        self.answer()

    def take(self, message: object) -> None:
        super().take(message)  # type: ignore[arg-type]
        self.seen += self.asked


def screen(play: Play) -> str:
    return "\n".join("".join(text for _, text in line) for line in ScreenRenderer().screen(play.session, 140, 40))


def test_an_engine_that_cannot_search_is_not_asked_to() -> None:
    play = Without(Capability.VOCABULARY_SEARCH)
    assert play.session.game.ready and "search" not in [label for _, _, label in hints(play.session)]
    play.press(Action.SEARCH)
    assert isinstance(play.session.screen, screens.Play)
    assert play.session.notice == "this engine cannot search its vocabulary: i types any token"
    assert not any(isinstance(request, Search) for request in play.seen)
    assert on(Without().press(Action.SEARCH).session, screens.SearchScreen).rows


def test_an_engine_without_batches_is_asked_for_no_lookahead() -> None:
    play, able = Without(Capability.BATCHES), Without()
    play.press(Action.APPEND, Action.APPEND)
    assert play.session.game.ready and not any(isinstance(request, Lookahead) for request in play.seen)
    able.press(Action.APPEND)
    assert any(isinstance(request, Lookahead) for request in able.seen)


def test_what_an_engine_can_do_is_no_part_of_a_session() -> None:
    play = Without(Capability.BATCHES)
    assert b"capabilities" not in dump(play.session)
    again = load(dump(play.session), play.session.game.settings)
    assert again.game.model is not None and again.game.model.same(play.model)


def test_a_capability_that_is_not_known_here_is_passed_over() -> None:
    line = encode(MODEL).replace(b'["batches"', b'["mind reading","batches"')
    assert b"mind reading" in line and decode(line) == MODEL


@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize("capability", Capability)
def test_each_capability_that_lacks_has_a_reason_of_its_own(capability: Capability, *, served: bool) -> None:
    play = Without(capability)
    model = replace(play.model, candidates=20 if served else 0)
    reasons = {one: replace(play.session.game, model=model).cannot(one) for one in Capability}
    assert [one for one, reason in reasons.items() if reason] == [capability]
    others = {
        one: replace(play.session.game, model=replace(model, capabilities=frozenset())).cannot(one) for one in reasons
    }
    same = {one for one, reason in others.items() if reason == reasons[capability]}
    bounds = {Capability.EXACT_ENTROPY, Capability.EXACT_RANKS}
    assert same == (bounds if capability in bounds else {capability})


def test_where_the_engine_is_loading_it_is_not_said_to_have_stopped() -> None:
    play = started()
    loading = replace(play.session, game=replace(play.session.game, engine=EngineStatus.LOADING))
    play.take(ListedStarters((Starter("one", "some text"),)))
    session, _ = lists.choose(replace(play.session, game=loading.game, screen=screens.Prompts(row=1)))
    assert session.notice == "still loading"
    session, _ = bias.enter(replace(loading, screen=screens.Ban(line=TextField("word"))))
    assert session.notice == "still loading" and on(session, screens.Ban).line.text == "word"
