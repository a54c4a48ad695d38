"""Setting a constraint, lifting it, and what is forced under it."""

import pytest

from tests.fake import Play, on, started
from tokex_gguf.engine.protocol import Constrain
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Typed
from tokex_gguf.play.screens import PLAY, Constraining
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.lens import GRAMMAR, RAW, Sampled


def constrained(text: str) -> Play:
    """A game under a constraint from its prompt's end on."""
    return started().press(Action.CONSTRAINT, Typed(text), Action.ENTER)


def test_a_constraint_holds_from_the_prompts_end_on() -> None:
    play = constrained("02468")
    game, lens = play.session.game, play.session.lens
    assert play.session.screen is PLAY
    assert game.sampling.constraint == Constraint(ConstraintKind.REGEX, "02468")
    assert isinstance(lens, Sampled) and lens.start == game.prompt.tip.depth and lens.stages == (GRAMMAR,)
    view = play.session.view
    assert view is not None and view.left == 5
    assert play.session.by_final, "what is legal comes first, however unlikely it is"
    tip = game.prompt.tip
    play.press(Action.APPEND)
    assert play.session.game.prompt.tip is tip.child(view.likeliest[0])
    illegal = [token for token in view.ids if view.verdicts[token].final == 0]
    assert illegal and all(view.verdicts[token].cut_by == 0 for token in illegal)


def test_the_start_stays_while_one_goes_on_and_moves_with_what_is_popped() -> None:
    play = constrained("02468")
    begins = play.session.game.prompt.begins
    play.press(Action.APPEND, Action.APPEND, Action.COPY)
    assert play.session.game.prompt.begins == begins
    play.press(Action.POP, Action.POP)
    assert play.session.game.prompt.begins == begins
    play.press(Action.POP)
    assert play.session.game.prompt.begins == begins - 1, "it cannot begin behind the prompt's end"


def test_an_existing_text_is_checked_and_its_first_illegal_token_looked_at() -> None:
    play = started("hello").press(Action.CURSOR_FIRST, Action.CURSOR_ON, Action.CONSTRAINT, Typed("05<?"), Action.ENTER)
    prompt = play.session.game.prompt
    assert prompt.cursor is not None and prompt.begins == 1
    assert "the first that is not legal" in play.session.notice
    assert play.session.view is not None, "what was legal there is shown"


def test_what_the_engine_refuses_stays_in_the_line_and_the_one_before_holds() -> None:
    play = constrained("02468").press(Action.CONSTRAINT, Action.ERASE_LINE, Typed("["), Action.ENTER)
    assert play.session.notice == "regex:1:1: unclosed"
    assert on(play.session, Constraining).line.text == "["
    assert play.session.game.sampling.constraint == Constraint(ConstraintKind.REGEX, "02468")


def test_an_empty_line_lifts_it() -> None:
    play = constrained("02468").press(Action.CONSTRAINT)
    assert on(play.session, Constraining).line.text == "02468", "the present one is there to be changed"
    play.press(Action.ERASE_LINE, Action.ENTER)
    assert not play.session.by_final
    assert play.session.game.sampling.constraint is None and play.session.lens == RAW
    assert play.session.screen is PLAY and "no constraint" in play.session.notice


def test_leaving_keeps_the_text_for_the_next_time() -> None:
    play = started().press(Action.CONSTRAINT, Typed("[0-9]"), Action.CLOSE)
    assert play.session.game.sampling.constraint is None
    play.press(Action.CONSTRAINT)
    assert on(play.session, Constraining).line.text == "[0-9]"


def test_tab_goes_through_the_kinds() -> None:
    play = started().press(Action.CONSTRAINT)
    kinds = []
    for _ in ConstraintKind:
        kinds.append(on(play.session, Constraining).kind)
        play.press(Action.KIND)
    assert kinds == list(ConstraintKind) and on(play.session, Constraining).kind is kinds[0]


@pytest.mark.parametrize("typed", ["a,b", '["a", "b"]'])
def test_choices_are_typed_with_commas_or_as_json(typed: str) -> None:
    play = started().press(Action.CONSTRAINT, *[Action.KIND] * 4, Typed(typed))
    play.take(Action.ENTER)
    (request,) = [one for one in play.asked if isinstance(one, Constrain)]
    assert request.constraint == Constraint(ConstraintKind.CHOICES, '["a", "b"]')


def test_what_is_forced_is_appended_at_once() -> None:
    play = constrained("7")
    depth = play.session.game.prompt.tip.depth
    play.press(Action.FORCE)
    assert play.session.game.prompt.tip.depth == depth + 3
    assert "3 tokens forced" in play.session.notice
    free = constrained("78").press(Action.FORCE)
    assert free.session.game.prompt.tip.depth == depth and "choice" in free.session.notice


def test_without_a_constraint_nothing_is_forced() -> None:
    play = started().press(Action.FORCE)
    assert not play.asked and "no constraint" in play.session.notice


def test_text_that_is_typed_under_a_constraint_is_checked() -> None:
    play = constrained("02468")
    begins = play.session.game.prompt.begins
    play.press(Action.INPUT, Typed("ab"), Action.ENTER)
    assert play.session.game.prompt.begins == begins, "its beginning does not move behind what was typed"


def test_the_same_constraint_again_changes_nothing() -> None:
    play = constrained("02468").press(Action.APPEND, Action.APPEND)
    begins = play.session.game.prompt.begins
    play.press(Action.CONSTRAINT)
    play.take(Action.ENTER)
    assert not play.asked and play.session.screen is PLAY
    assert play.session.game.prompt.begins == begins and f"behind token {begins}" in play.session.notice


def test_keys_do_not_land_in_a_constraint_that_is_being_read() -> None:
    play = started().press(Action.CONSTRAINT, Typed("024"))
    play.take(Action.ENTER)
    play.take(Typed("RR"))
    assert on(play.session, Constraining).line.text == "024" and "being read" in play.session.notice
    play.answer()
    assert play.session.game.sampling.constraint == Constraint(ConstraintKind.REGEX, "024")


def test_what_was_left_comes_back_in_its_kind() -> None:
    play = started().press(
        Action.CONSTRAINT, Action.KIND, Typed('{"type": "integer"}'), Action.CLOSE, Action.CONSTRAINT
    )
    assert on(play.session, Constraining).kind is ConstraintKind.JSON_SCHEMA


def test_an_illegal_token_that_is_taken_is_told_of() -> None:
    play = constrained("02468").press(Action.ORDER, Action.TOP)
    view = play.session.view
    assert view is not None
    play.press(Action.APPEND)
    cut = view.verdicts[play.session.game.prompt.tip.token].cut_by == 0
    assert ("would not be drawn: grammar cuts it" in play.session.notice) == cut
