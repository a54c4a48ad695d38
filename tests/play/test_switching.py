"""Another model in the app: the texts come along, what was played stays, loading can be broken off."""

import math
from dataclasses import replace

import pytest

from tests.fake import OTHER, PIECES, Play, on, started, text_to_path
from tokex_gguf.engine.protocol import EngineDied, EngineFailed, Failed, Load, Loading, Tokenize, Tokenized
from tokex_gguf.models.gguf.metadata import Header
from tokex_gguf.models.memory import Fit
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EngineStatus, Game, Sampling
from tokex_gguf.play.messages import (
    BackgroundReported,
    Close,
    ListedModels,
    ListModels,
    Message,
    NotPrepared,
    PointedAtRow,
    PointedAtToken,
    Prepare,
    Prepared,
    Quit,
    Typed,
    Unbound,
)
from tokex_gguf.play.screens import ListScreen
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values import layers
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.samplers import Chain, Kind, Sampler

HEADER = Header(
    version=3,
    architecture="qwen2",
    name="",
    quantization="Q8_0",
    parameters=5,
    tensors=1,
    weight_bytes=5,
    repacked_bytes=0,
    context_trained=7,
    layers=1,
    heads_kv=1,
    key_length=1,
    value_length=1,
    state_bytes=0,
    vocab_size=64,
    chat_template="",
    split=(0, 1),
)


def entry(name: str, fault: str = "") -> ModelEntry:
    return ModelEntry(name, name, "" if fault else "Q8_0", "500 MB", fault)


ENTRIES = (entry("fake.gguf"), entry("other.gguf"), entry("bad.gguf", "it ends too early"), entry("third.gguf"))


def listed(text: str = "hello") -> Play:
    """A game with the list of models open."""
    play = started(text)
    play.take(Action.MODELS)
    assert ListModels() in play.effects
    play.take(ListedModels(ENTRIES))
    return play


def chosen(play: Play) -> Play:
    """Asks for the other model, whose file is fine."""
    play.take(Action.DOWN)
    play.take(Action.ENTER)
    assert play.effects == [Prepare("other.gguf", "other.gguf")]
    play.take(Prepared("other.gguf", Fit(0, 5000)))
    return play


def other(play: Play) -> Play:
    """Plays the other model."""
    chosen(play)
    (load,) = play.asked
    assert isinstance(load, Load) and (load.path, load.most) == ("other.gguf", 5000)
    play.asked.clear()
    play.take(OTHER)
    return play.answer()


def paths(play: Play) -> list[list[int]]:
    return [prompt.tip.path() for prompt in play.session.game.prompts]


def test_the_list_shows_the_models_and_which_is_played() -> None:
    play = listed()
    assert isinstance(play.session.screen, screens.Models) and on(play.session, ListScreen).row == 0
    lines = ["".join(text for _, text in line) for line in ScreenRenderer().screen(play.session, 130, 40)]
    assert any("› fake.gguf" in line and "Q8_0" in line and "500 MB" in line for line in lines)
    assert any("bad.gguf" in line and "unusable" in line for line in lines)
    play.take(Action.CLOSE)
    assert isinstance(play.session.screen, screens.Play)


def test_a_light_background_is_light_with_every_model() -> None:
    play = other(listed())
    play.take(BackgroundReported(True))
    assert play.session.game.settings.light and play.session.other_games["fake.gguf"].settings.light
    before = play.session
    play.take(BackgroundReported(True))
    assert play.session is before and play.effects == []
    play.take(BackgroundReported(False))
    assert not play.session.game.settings.light


def test_what_cannot_be_chosen_says_why() -> None:
    assert "this is the model" in listed().press(Action.ENTER).session.notice
    play = listed().press(Action.DOWN, Action.DOWN, Action.ENTER)
    assert play.session.notice == "bad.gguf cannot be used: it ends too early"
    play = listed().press(Action.DOWN, Action.ENTER)
    play.take(NotPrepared("other.gguf", "other.gguf: it needs 9 GB"))
    assert play.session.notice == "other.gguf: it needs 9 GB" and play.session.game.settings.model.key == "fake.gguf"


def test_all_texts_come_along_in_their_places_and_are_tokenised_anew() -> None:
    play = listed("ab").press(Action.CLOSE, Action.COPY, Action.APPEND, Action.COPY, Action.APPEND, Action.PREVIOUS)
    play.press(Action.LAYER)
    texts = [bytes(byte for token in path for byte in PIECES[token].data).decode() for path in paths(play)]
    other(_relisted(play))
    assert paths(play) == [text_to_path(text) for text in texts]
    assert (play.session.game.active, len(paths(play))) == (1, 3)
    assert play.session.options.layer is layers.PROBABILITY and play.session.game.ready
    assert play.session.game.model == OTHER


def test_the_samplers_come_along_without_what_is_said_of_tokens() -> None:
    chain = Chain((Sampler.of(Kind.TOP_K, 5), Sampler.of(Kind.MIN_P, 0.1).switched()), bias=((5, -math.inf),))
    limit = Constraint(ConstraintKind.REGEX, "a")
    play = started("hello", begins=0)
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling(chain, limit, 7)))
    play.take(Action.MODELS)
    play.take(ListedModels(ENTRIES))
    game = chosen(play).session.game
    assert game.sampling == Sampling(replace(chain, bias=()), limit, 7)
    assert game.settings.begins == 0, "all of the text is under the constraint there, too"


def _relisted(play: Play) -> Play:
    play.take(Action.MODELS)
    play.take(ListedModels(ENTRIES))
    return play


FAKE = GgufFile("fake.gguf", "maker/fake:Q8_0")


def test_the_names_of_the_prompts_come_along() -> None:
    play = started("ab").press(Action.COPY, Action.APPEND, Action.PROMPTS, Action.UP)
    play.press(Action.RENAME, Typed("first"), Action.ENTER, Action.DOWN)
    play.press(Action.RENAME, Typed("second"), Action.ENTER, Action.CLOSE)
    play = other(_relisted(play))
    assert [prompt.name for prompt in play.session.game.prompts] == ["first", "second"]
    assert play.session.game.active == 1


def test_the_names_stay_with_prompts_that_were_left_before_they_had_tokens() -> None:
    play = started("ab").press(Action.COPY, Action.APPEND, Action.PROMPTS, Action.UP)
    play.press(Action.RENAME, Typed("first"), Action.ENTER, Action.CLOSE)
    chosen(_relisted(play))
    play.asked.clear()
    play.take(OTHER)
    start = play.asked.pop(0)
    assert isinstance(start, Tokenize)
    play.take(Tokenized(start.request, [1, 2], PIECES))
    play.asked.clear()
    assert len(play.session.game.carried) == 1
    play.take(Action.MODELS)
    play.take(ListedModels(ENTRIES))
    play.press(PointedAtRow(3), Action.ENTER)
    play.take(Prepared("third.gguf", Fit(0, 5000)))
    play.answer()
    assert sorted(prompt.name for prompt in play.session.game.prompts) == ["", "first"]


def test_each_game_knows_what_its_model_was_asked_for_as() -> None:
    play = listed()
    play.session = replace(
        play.session,
        game=replace(play.session.game, settings=replace(play.session.game.settings, model=FAKE)),
    )
    chosen(play)
    assert play.session.game.settings.model.key == "other.gguf"
    play.take(OTHER)
    assert play.answer().session.other_games["fake.gguf"].settings.model.asked == "maker/fake:Q8_0"
    play.session = replace(play.session, preparing="fake.gguf")
    play.take(Prepared("fake.gguf", Fit(0, 5000)))
    assert play.session.game.settings.model == FAKE


def test_a_new_listing_moves_no_selection() -> None:
    play = listed().press(Action.CLOSE)
    play.take(Action.MODELS)
    play.take(Action.DOWN)
    play.take(ListedModels((entry("a-new-one.gguf"), *ENTRIES)))
    assert str(play.session.models[on(play.session, ListScreen).row].path) == "other.gguf"
    # One that is gone gives the present model's line.
    play.take(ListedModels(ENTRIES[:1]))
    assert on(play.session, ListScreen).row == 0


def test_going_back_brings_everything_as_it_was_without_a_decode() -> None:
    play = listed().press(Action.CLOSE, Action.APPEND, Action.COPY, Action.POP)
    before, prompts = play.session, paths(play)
    other(_relisted(play)).press(Action.APPEND, Action.APPEND)
    decoded = play.decoded
    play.take(Action.MODELS)
    play.take(ListedModels(ENTRIES))
    play.take(Action.UP)
    play.take(Action.ENTER)
    play.take(Prepared("fake.gguf", Fit(0)))
    play.answer()
    assert paths(play) == prompts and play.decoded == decoded
    assert play.session.game.prompts == before.game.prompts and play.session.game.known.root is before.game.known.root
    assert play.session.game.ready and list(play.session.other_games) == ["other.gguf"]
    # And to the other one again: as that was left.
    other_paths = [prompt.tip.path() for prompt in play.session.other_games["other.gguf"].prompts]
    other(_relisted(play))
    assert paths(play) == other_paths and play.decoded == decoded


@pytest.mark.parametrize("moment", ["at once", "while it loads"])
def test_escape_while_loading_goes_back(moment: str) -> None:
    play = listed()
    before = play.session.game.prompts
    chosen(play)
    if moment == "while it loads":
        play.take(Loading(0.5))
        assert "Esc goes back" in "".join(
            text for line in ScreenRenderer().screen(play.session, 130, 40) for _, text in line
        )
    play.asked.clear()
    play.take(Action.CURSOR_TIP)
    assert isinstance(play.asked[0], Load) and play.asked[0].path == "fake.gguf"
    play.answer()
    assert play.session.game.prompts == before and play.session.game.ready and not play.session.origin
    assert play.session.notice == "loading was broken off"


@pytest.mark.parametrize("fault", [EngineFailed("it is broken"), EngineDied("SIGSEGV")])
def test_a_model_that_cannot_be_loaded_leads_back(fault: Failed | EngineDied) -> None:
    play = chosen(listed())
    play.asked.clear()
    play.take(fault)
    assert not any(isinstance(effect, Quit) for effect in play.effects)
    play.answer()
    assert play.session.game.ready and play.session.game.settings.model.key == "fake.gguf"
    assert "back to the model before" in play.session.notice
    # If that one fails as well, nothing goes round in circles.
    play.take(EngineDied("SIGSEGV"))
    assert play.session.game.engine is EngineStatus.DEAD and isinstance(play.session.screen, screens.Play)


def test_a_text_without_tokens_there_is_left_out() -> None:
    play = chosen(_relisted(started("ab").press(Action.COPY)))
    play.asked.clear()
    play.take(OTHER)
    first = play.asked.pop(0)
    assert isinstance(first, Tokenize)
    play.take(Tokenized(first.request, [1, 2], PIECES))
    (second,) = [request for request in play.asked if isinstance(request, Tokenize)]
    play.asked.remove(second)
    play.take(Failed(second.request, "this text has no tokens"))
    play.answer()
    assert paths(play) == [[1, 2]] and not play.session.game.carried


def test_a_dead_engine_is_no_obstacle() -> None:
    play = started()
    play.take(EngineDied("SIGKILL"))
    play.take(Action.MODELS)
    play.take(ListedModels(ENTRIES))
    other(play)
    assert play.session.game.ready


def again(play: Play, file: str = "fake.gguf") -> Play:
    """Chooses a model in the list by its file, which is sound."""
    play.take(Action.MODELS)
    play.take(ListedModels(ENTRIES))
    play.take(PointedAtRow([one.path for one in ENTRIES].index(file)))
    play.take(Action.ENTER)
    play.asked.clear()
    play.take(Prepared(file, Fit(0, 5000)))
    return play


def rich() -> Play:
    """A game with prompts, a removed one, a branch and a score."""
    play = started("ab").press(Action.APPEND, Action.POP, Action.DOWN, Action.APPEND, Action.COPY, Action.POP)
    play.press(Action.COPY, Action.REMOVE, Action.INPUT, Typed("c"), Action.SCORE, Action.CLOSE)
    assert len(play.session.game.removed) == len(play.session.game.results.scores) == 1
    return play


def game(one: Game) -> tuple[object, ...]:
    """What was played, as it must be found again."""
    return one.known.root, one.prompts, one.active, one.removed, one.results.scores


def test_a_dead_engine_loads_its_own_model_again_and_loses_nothing() -> None:
    play = rich()
    before = game(play.session.game)
    play.take(EngineDied("SIGSEGV"))
    again(play)
    assert play.session.game.engine is EngineStatus.LOADING and game(play.session.game) == before
    assert not play.session.origin and not play.session.other_games
    play.take(Action.CURSOR_TIP)  # there is no model to go back to
    play.take(Loading(0.5))
    play.answer()
    assert game(play.session.game) == before and play.session.game.ready
    # Also where it dies again, after another model in between.
    again(again(play, "other.gguf").answer()).answer()
    play.take(EngineDied("SIGKILL"))
    again(play)
    play.take(EngineFailed("it is broken"))
    assert game(play.session.game) == before and play.session.game.engine is EngineStatus.DEAD
    assert list(play.session.other_games) == ["other.gguf"]


def test_a_file_that_is_loaded_again_is_checked_again() -> None:
    """It was sound when it was chosen, which may be long ago."""
    play = again(rich(), "other.gguf")
    checks = [request.check for request in play.asked if isinstance(request, Load)]
    play.asked.clear()
    play.take(Action.CURSOR_TIP)
    checks += [request.check for request in play.asked if isinstance(request, Load)]
    play.answer()
    play.take(EngineDied("SIGKILL"))
    play.asked.clear()
    play.take(Action.RESTART)
    checks += [request.check for request in play.asked if isinstance(request, Load)]
    assert checks == [False, True, True]


@pytest.mark.parametrize("fault", [EngineFailed("it is broken"), EngineDied("SIGSEGV"), Action.CURSOR_TIP])
def test_a_game_is_kept_where_its_model_cannot_be_loaded_again(fault: Message) -> None:
    play = again(rich(), "other.gguf").answer().press(Action.APPEND, Action.COPY)
    there = game(play.session.game)
    again(play).answer()
    again(play, "other.gguf")
    play.take(Loading(0.5))
    play.take(fault)
    play.answer()
    assert play.session.game.settings.model.key == "fake.gguf" and play.session.game.ready
    assert game(play.session.other_games["other.gguf"]) == there
    again(play, "other.gguf").answer()
    assert game(play.session.game) == there


def test_from_a_model_that_is_loading_the_way_back_leads_to_what_was_played() -> None:
    play = rich()
    before = game(play.session.game)
    again(play, "other.gguf")
    again(play, "third.gguf")
    assert play.session.origin == "fake.gguf" and list(play.session.other_games) == ["fake.gguf"]
    assert (play.session.game.settings.text, len(play.session.game.carried)) == (" Q R", 1)
    play.asked.clear()
    play.take(Action.CURSOR_TIP)
    play.answer()
    assert game(play.session.game) == before and play.session.game.ready


def test_the_model_that_was_left_while_it_was_loading_can_be_chosen() -> None:
    play = rich()
    before = game(play.session.game)
    again(again(play, "other.gguf"))
    assert play.session.origin == "" and game(play.session.game) == before
    assert play.answer().session.game.ready and not play.session.other_games


def test_texts_without_tokens_in_the_other_model_lead_back() -> None:
    play = rich()
    before = game(play.session.game)
    again(play, "other.gguf")
    play.asked.clear()
    play.take(OTHER)
    (request,) = play.asked
    assert isinstance(request, Tokenize)
    play.asked.clear()
    play.take(Failed(request.request, "this text has no tokens"))
    assert not any(isinstance(effect, Quit) for effect in play.effects)
    assert "this text has no tokens: back to the model before" in play.session.notice
    play.answer()
    assert game(play.session.game) == before and play.session.game.ready


def test_only_the_model_chosen_last_is_loaded() -> None:
    play = listed()
    for row, file in ((1, "other.gguf"), (3, "third.gguf")):
        play.take(Action.MODELS)
        play.take(PointedAtRow(row))
        play.take(Action.ENTER)
        assert Prepare(file, file) in play.effects
    play.take(NotPrepared("other.gguf", "it needs 9 GB"))
    play.take(Prepared("other.gguf", Fit(0)))
    assert play.session.game.settings.model.key == "fake.gguf" and play.session.game.ready
    play.take(Prepared("third.gguf", Fit(0)))
    assert play.session.game.settings.model.key == "third.gguf"


def test_escape_keeps_the_model_while_the_other_ones_file_is_read() -> None:
    play = listed()
    play.take(Action.DOWN)
    play.take(Action.ENTER)
    play.take(Action.CURSOR_TIP)
    assert "the model stays" in play.session.notice
    play.take(Prepared("other.gguf", Fit(0)))
    assert play.session.game.settings.model.key == "fake.gguf" and play.session.game.ready


def test_texts_that_have_no_tokens_yet_are_kept_when_the_model_is_left() -> None:
    play = again(rich(), "other.gguf")
    play.asked.clear()
    play.take(OTHER)
    start = play.asked.pop()
    assert isinstance(start, Tokenize)
    play.take(Tokenized(start.request, text_to_path(start.text), PIECES))
    assert (len(play.session.game.prompts), len(play.session.game.carried)) == (1, 1)
    again(play, "third.gguf")
    assert play.session.other_games["other.gguf"].carried and len(play.session.game.carried) == 1
    assert len(play.answer().session.game.prompts) == 2
    assert len(again(play, "other.gguf").answer().session.game.prompts) == 2


def test_what_belongs_to_the_screen_stays() -> None:
    play = rich()
    play.session = replace(play.session, name="mine", options=replace(play.session.options, layer=layers.RANK))
    again(play, "other.gguf").answer()
    assert (play.session.name, play.session.options.layer) == ("mine", layers.RANK)


def test_late_answers_of_the_engine_before_change_nothing() -> None:
    play = listed()
    requests = play.session.counts.requests
    chosen(play)
    assert play.session.counts.requests == requests
    before = replace(play.session, notice="")
    play.take(Tokenized(requests, [9, 9], {}))
    play.take(Unbound("q"))
    assert (
        replace(play.session, game=replace(play.session.game, prompts=()), notice="")
        == replace(before, game=replace(before.game, prompts=()))
        or not play.session.game.prompts
    )


def test_a_click_chooses_among_models_also_before_the_starting_prompt_is_read() -> None:
    play = Play("hello")
    play.take(Action.MODELS)
    play.take(ListedModels(ENTRIES))
    play.take(PointedAtRow(2))
    assert on(play.session, ListScreen).row == 2 and play.session.notice == ""
    play.take(PointedAtRow(0))
    assert on(play.session, ListScreen).row == 0
    play.take(PointedAtToken(0))
    assert play.session.notice == "a click does nothing here: Esc goes back"


def carrying() -> Play:
    """Three prompts are on their way to another model, of which the active one has come."""
    play = started("ab").press(Action.COPY, Action.APPEND, Action.COPY, Action.APPEND)
    chosen(_relisted(play))
    play.asked.clear()
    play.take(OTHER)
    while not play.session.game.prompts or play.session.game.waiting:
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
        if len(play.session.game.prompts) == 1 and not play.session.game.pending:
            break
    assert (len(play.session.game.prompts), len(play.session.game.carried)) == (1, 2)
    return play


def test_what_has_come_along_is_nothing_to_undo() -> None:
    play = other(_relisted(started("ab").press(Action.COPY, Action.APPEND, Action.COPY, Action.APPEND)))
    before = paths(play)
    assert len(before) == 3
    assert play.press(Action.UNDO).session.notice == "there is nothing to undo" and paths(play) == before
    assert paths(play.press(Action.APPEND, Action.UNDO)) == before


def test_what_comes_along_meanwhile_is_not_undone() -> None:
    play = carrying()
    play.take(Action.DOWN)
    play.take(Action.APPEND)
    play.answer()
    appended = paths(play)
    assert len(appended) == 3
    play.press(Action.UNDO)
    assert [len(path) for path in paths(play)] == [len(path) - (index == 2) for index, path in enumerate(appended)]
    assert play.session.game.active == 2
    assert paths(play.press(Action.REDO)) == appended


def test_the_line_of_a_list_stays_that_prompts_while_others_come() -> None:
    play = carrying()
    play.take(Action.PROMPTS)
    play.take(Action.RENAME)
    play.take(Typed("mine"))
    play.answer()
    play.press(Action.ENTER)
    assert [prompt.name for prompt in play.session.game.prompts] == ["", "", "mine"]


def test_an_engine_that_has_loaded_another_model_is_ended() -> None:
    play = started()
    play.take(replace(play.session.game.model or OTHER, vocab_size=77, fingerprint="another"))
    assert play.session.game.engine is EngineStatus.DEAD and "another model now" in play.session.notice
    assert play.effects == [Close(play.session.game.address)]


@pytest.mark.parametrize(("begins", "settings"), [(0, 3), (5, 0)])
def test_what_a_constraint_governs_goes_along_to_another_model(begins: int, settings: int) -> None:
    play = started("hello", begins=settings)
    prompt = replace(play.session.game.prompt, begins=begins)
    play.session = replace(play.session, game=replace(play.session.game, prompts=(prompt,)))
    play.press(Action.MODELS, ListedModels(ENTRIES), Action.DOWN, Action.ENTER, Prepared("other.gguf", Fit(0)))
    assert play.session.game.settings.model.key == "other.gguf"
    after = play.session.game.prompt
    assert after.begins == (0 if begins == 0 else after.tip.depth), "all of it, or what the model writes"
