"""Text that was typed is never lost: Esc, the engine's death, refusals, other models, the editor."""

import os
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import fake
from tests.fake import Play, on, started
from tests.figures import Figure
from tokex_gguf.engine.protocol import EngineDied, EngineFailed, Failed, Tokenize
from tokex_gguf.models.memory import Fit
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EditState, EngineStatus, Settings
from tokex_gguf.play.messages import Edit, Edited, EditFailed, NameSession, Prepared, SaveFailed, SessionSaved, Typed
from tokex_gguf.play.rules.histories import BRINGS_BACK
from tokex_gguf.play.screens import TypingScreen
from tokex_gguf.play.session import Session
from tokex_gguf.sessions.codec import dump, load
from tokex_gguf.values.history import MOST_CHARACTERS, MOST_TEXTS, History
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.tree import Node

DIED = EngineDied("SIGSEGV")


def typed(text: str = "abc", mode: Action = Action.INPUT) -> Play:
    return started("hello").press(mode, Typed(text))


def path(*texts: str) -> list[int]:
    return fake.text_to_path("".join(("hello", *texts)))


def restart(play: Play) -> Play:
    """Esc as often as needed, then r."""
    for _ in range(3):
        if not isinstance(play.session.screen, screens.Play):
            play.press(Action.CLOSE)
    return play.press(Action.RESTART)


# --- Esc


@pytest.mark.parametrize(("key", "name"), [(Action.INPUT, "i"), (Action.SEARCH, "/")])
def test_esc_keeps_the_text_and_the_next_time_it_is_back(key: Action, name: str) -> None:
    play = typed("k", key).press(Action.CLOSE)
    assert (
        isinstance(play.session.screen, screens.Play)
        and play.session.notice == f"the text is kept: {name} brings it back"
    )
    play.press(Action.APPEND, key)
    assert play.session.line.text == "k" and play.session.line.caret == 1 and "ctrl+u" in play.session.notice
    play.press(Action.ERASE_LINE, Action.CLOSE, key)
    assert play.session.line.text == "" and not play.session.notice


def test_what_comes_back_is_gone_on_from_where_the_player_is_now() -> None:
    play = typed("abc").press(Action.CLOSE, Action.APPEND)
    before = play.session.game.prompt.tip.path()
    play.press(Action.INPUT)
    assert on(play.session, screens.Input).tip.path() == [*before, *fake.text_to_path("abc")]
    play.press(Typed("d"), Action.ENTER)
    assert play.session.game.prompt.tip.path() == [*before, *fake.text_to_path("abcd")]


def test_a_name_that_was_left_comes_back_and_the_name_there_is_stays() -> None:
    play = started("hello").press(Action.NAME, Typed("mine"), Action.CLOSE, Action.NAME)
    assert play.session.line.text == "mine"
    play.take(Action.ENTER)
    assert play.effects == [NameSession("mine")]
    play.take(SaveFailed("the disk is full"))
    assert play.press(Action.NAME).session.line.text == "mine", "it was not kept"
    play.take(Action.ENTER)
    play.take(SessionSaved("mine"))
    play.press(Action.NAME, Action.CLOSE)
    assert not play.session.typed.histories[screens.Name].unfinished and not play.session.notice


# --- the history


def test_up_leads_through_what_was_typed_and_down_to_what_is_typed_now() -> None:
    play = started("hello")
    for text in ("one", "two", "three"):
        play.press(Action.INPUT, Typed(text), Action.ENTER)
    play.press(Action.INPUT, Typed("new"))
    seen = [play.press(Action.EARLIER).session.line.text for _ in range(4)]
    assert seen == ["three", "two", "one", "one"] and play.session.notice == "this is the oldest text"
    seen = [play.press(Action.LATER).session.line.text for _ in range(4)]
    assert seen == ["two", "three", "new", "new"] and play.session.notice == "this is the newest text"
    tip = play.session.game.prompt.tip.path()
    play.press(Action.EARLIER, Action.EARLIER)
    assert on(play.session, screens.Input).tip.path() == [*tip, *fake.text_to_path("two")], "its numbers, too"
    play.press(Action.ENTER)
    assert play.session.game.prompt.tip.path() == [*tip, *fake.text_to_path("two")]
    assert play.session.typed.histories[screens.Input].texts == ("one", "three", "new", "two"), "nothing typed is gone"


def test_scored_phrases_are_in_the_history() -> None:
    play = typed("abc").press(Action.SCORE, Typed("d"), Action.EARLIER)
    assert play.session.line.text == "abc"


def test_searches_have_a_history_of_their_own() -> None:
    play = started("hello").press(Action.SEARCH, Typed("k"), Action.APPEND, Action.SEARCH, Typed("a"), Action.APPEND)
    play.press(Action.INPUT, Action.EARLIER)
    assert play.session.line.text == ""
    play.press(Action.CLOSE, Action.SEARCH, Action.EARLIER)
    assert play.session.line.text == "a" and on(play.session, screens.SearchScreen).rows
    assert play.press(Action.EARLIER).session.line.text == "k"
    assert play.press(Action.LATER).session.line.text == "a"
    play.press(Action.ERASE_LINE, Action.DOWN, Action.UP)
    assert play.session.line.text == "", "↑ selects rows"
    assert play.press(Action.UP).session.line.text == "a", "and leads back from the first one"


@given(st.lists(st.tuples(st.sampled_from(["type", "use", "leave", "earlier", "later"]), st.text("ab", max_size=2))))
def test_no_text_leaves_a_history(steps: list[tuple[str, str]]) -> None:
    history, line, ever = History(), "", set[str]()
    for step, text in steps:
        if step == "type" and text:
            history, line = history.change(), line + text
        elif step == "use":
            history, line = history.use(line), ""
        elif step == "leave":
            history = history.leave(line)
            line, history = history.unfinished, History(history.texts)
        elif found := history.earlier(line) if step == "earlier" else history.later():
            history, line = found
        # What a change was typed into is part of it.
        ever = {one for one in ever if step != "type" or not line.startswith(one)} | {line} - {""}
        assert len(history.texts) == len(set(history.texts))
        assert ever <= {*history.texts, history.unfinished, line}
        assert history.place is None or history.texts[history.place] == line


def test_a_history_has_an_end() -> None:
    history = History()
    for number in range(MOST_TEXTS + 5):
        history = history.remember(str(number))
    assert history.texts == tuple(str(number) for number in range(5, MOST_TEXTS + 5))
    history = history.remember("x" * MOST_CHARACTERS * 2)
    assert len(history.texts) == 1, "the newest is kept, whatever its size"
    assert len(history.remember("y").texts) == 1


# --- the engine


@pytest.mark.parametrize("key", [Action.INPUT, Action.SEARCH, Action.NAME])
@pytest.mark.parametrize("helped", [False, True])
def test_an_engine_that_dies_while_one_types_leaves_the_text_in_the_line(key: Action, helped: bool) -> None:
    play = typed("k", key)
    kind = type(play.session.screen)
    if helped:
        play.press(Action.HELP)
    play.take(DIED)
    if helped:
        assert isinstance(play.session.screen, screens.Help)
        play.press(Action.CLOSE)
    assert type(play.session.screen) is kind and play.session.line.text == "k"
    before = play.session.game.prompts
    play.press(Typed("a"), Typed("x"), Typed("r"))
    assert play.session.line.text == "kaxr" and play.session.game.prompts == before, "keys are still text"
    assert not play.asked and not play.session.game.open_requests
    play.press(Action.CLOSE, Action.RESTART, key)
    assert play.session.line.text == "kaxr" and type(play.session.screen) is kind


def test_enter_without_an_engine_says_so_and_keeps_the_text() -> None:
    for key in (Action.ENTER, Action.SCORE):
        play = typed()
        play.take(DIED)
        play.press(key)
        assert (
            isinstance(play.session.screen, screens.Input)
            and play.session.line.text == "abc"
            and "is kept" in play.session.notice
        )
        restart(play).press(Action.INPUT, Action.ENTER)
        assert play.session.game.prompt.tip.path() == path("abc")


def test_a_text_that_was_entered_when_the_engine_died_is_kept() -> None:
    play = typed()
    play.take(Typed("d"))
    play.take(Action.ENTER)
    play.asked.clear()
    play.take(DIED)
    assert play.session.line.text == "abcd"
    restart(play).press(Action.INPUT, Action.ENTER)
    assert play.session.game.prompt.tip.path() == path("abcd")


def test_a_phrase_that_was_to_be_scored_when_the_engine_died_is_in_the_history() -> None:
    play = started("hello").press(Action.INPUT)
    play.take(Typed("abc"))
    play.take(Action.SCORE)
    play.asked.clear()
    play.take(DIED)
    restart(play).press(Action.INPUT, Action.EARLIER)
    assert play.session.line.text == "abc"


@pytest.mark.parametrize("key", [Action.ENTER, Action.SCORE])
def test_a_text_that_the_tokenizer_refuses_is_kept(key: Action) -> None:
    play = started("hello").press(Action.INPUT)
    play.take(Typed("abc"))
    play.take(key)
    (request,) = (one for one in play.asked if isinstance(one, Tokenize))
    play.asked.clear()
    play.take(Failed(request.request, "this text has no tokens"))
    assert "this text has no tokens" in play.session.notice
    if key is Action.SCORE:
        assert "↑ brings the phrase back" in play.session.notice
        play.press(Action.EARLIER)
    assert isinstance(play.session.screen, screens.Input) and play.session.line.text == "abc"


def test_a_silent_engine_that_is_restarted_keeps_the_text() -> None:
    play = typed().press(Action.CLOSE)
    play.take(DIED)
    play.press(Action.RESTART, Action.INPUT)
    assert play.session.line.text == "abc"


# --- no room


@pytest.mark.parametrize("key", [Action.INPUT, Action.SEARCH])
def test_where_no_prompt_can_be_added_the_text_stays(key: Action) -> None:
    play = started("hello", max_prompts=1).press(Action.CURSOR_BACK, key, Typed("k"))
    play.press(Action.ENTER if key is Action.INPUT else Action.APPEND)
    assert (
        isinstance(play.session.screen, TypingScreen)
        and play.session.line.text == "k"
        and "no more than 1 can be open" in play.session.notice
    )
    play.take(Typed("l"))
    play.take(Action.ENTER)  # before the tokens are there
    play.answer()
    assert play.session.line.text == "kl" and len(play.session.game.prompts) == 1


# --- pasting where nothing can be typed


def pasted_while(case: str) -> tuple[Play, str]:
    if case == "the first text is not there":
        return Play("hello"), "i"
    play = started("hello")
    if case == "the engine is dead":
        play.take(DIED)
    elif case == "it is loading":
        play.take(DIED)
        play.take(Action.RESTART)
    elif case == "nothing comes before":
        play.press(Action.CURSOR_FIRST)
    elif case == "a list is open":
        play.press(Action.TREE)
    elif case == "the help is open":
        play.press(Action.HELP)
    return play, "i"


CASES = ["the first text is not there", "the engine is dead", "it is loading", "nothing comes before", "a list is open"]
CASES += ["the help is open"]


@pytest.mark.parametrize("case", CASES)
def test_a_paste_that_cannot_be_typed_is_kept(case: str) -> None:
    play, _ = pasted_while(case)
    play.take(Typed("first\nline"))
    play.take(Typed("pasted\nlines"))
    assert play.session.notice.endswith("the text is kept: i brings it back")
    if play.session.game.engine is EngineStatus.DEAD:
        play.take(Action.RESTART)
    play.answer().press(Action.CLOSE, Action.CURSOR_TIP, Action.INPUT)
    assert play.session.line.text == "pasted\nlines"
    assert play.press(Action.EARLIER).session.line.text == "first\nline"


def test_a_paste_into_the_help_over_a_text_is_kept_beside_it() -> None:
    play = typed().press(Action.HELP, Typed("pasted" * 9), Action.CLOSE)
    assert play.session.line.text == "abc"
    assert play.press(Action.EARLIER).session.line.text == "pasted" * 9


def test_a_paste_behind_enter_is_kept() -> None:
    play = started("hello").press(Action.INPUT)
    play.take(Typed("abc"))
    play.take(Action.ENTER)
    play.take(Typed("pasted"))
    play.answer()
    assert play.session.game.prompt.tip.path() == path("abc")
    play.press(Action.INPUT, Action.EARLIER, Action.EARLIER)
    assert play.session.line.text == "pasted"


def test_a_paste_while_a_constraint_is_being_read_is_kept() -> None:
    play = started("hello").press(Action.CONSTRAINT, Typed("[0-9]"))
    play.take(Action.ENTER)
    play.take(Typed("x"))
    assert play.session.notice == "the constraint is being read; Esc leaves it", "a key is for what comes then"
    play.take(Typed("an hour of typing"))
    assert play.session.notice.endswith("the text is kept: ↑ brings it back") and play.session.line.text == "[0-9]"
    play.answer()
    constraint = play.session.game.sampling.constraint
    assert constraint is not None and constraint.text == "[0-9]"
    assert play.press(Action.CONSTRAINT, Action.EARLIER, Action.EARLIER).session.line.text == "an hour of typing"


def test_a_paste_while_a_text_was_left_begins_a_new_one() -> None:
    play = typed("left").press(Action.CLOSE, Typed("pasted"))
    assert play.session.line.text == "pasted"
    assert play.press(Action.EARLIER).session.line.text == "left"


# --- another model


def test_no_model_is_loaded_under_the_players_hands() -> None:
    play = started("hello")
    play.session = fake_choice(play.session, "other.gguf")
    play.press(Action.INPUT, Typed("abc"))
    play.take(Prepared("other.gguf", Fit(0, 0, "", True)))
    assert isinstance(play.session.screen, screens.Input) and play.session.line.text == "abc"
    assert (
        play.session.game.settings.model.key == "fake.gguf" and "not loaded while text is typed" in play.session.notice
    )


def test_what_was_typed_comes_along_to_another_model() -> None:
    play = typed().press(Action.CLOSE)
    play.session = fake_choice(play.session, "other.gguf")
    play.press(Prepared("other.gguf", Fit(0, 0, "", True)))
    assert play.session.game.settings.model.key == "other.gguf"
    assert play.press(Action.INPUT).session.line.text == "abc"


def fake_choice(session: Session, file: str) -> Session:
    return replace(session, preparing=file)


# --- the editor


def edited() -> Play:
    play = started("hello")
    play.take(Action.EDIT)
    return play


def test_a_text_edited_while_the_engine_died_becomes_the_prompt_once_it_is_back() -> None:
    play = edited()
    play.take(DIED)
    play.press(Edited("help me"))
    assert "r restarts it, and the text becomes the prompt" in play.session.notice
    assert play.session.game.prompt.tip.path() == path()
    play.press(Action.RESTART)
    assert play.session.game.prompt.tip.path() == fake.text_to_path("help me") and play.session.game.editing is None


def test_a_text_edited_while_the_engine_is_dead_is_opened_again_by_the_editor() -> None:
    play = edited()
    play.take(DIED)
    play.take(Edited("help me"))
    play.take(Action.EDIT)
    assert play.effects == [Edit("help me")]
    play.take(EditFailed("no editor"))
    play.take(Action.EDIT)
    assert play.effects == [Edit("help me")], "an editor that fails takes nothing away"
    play.take(Edited("help you"))
    play.press(Action.RESTART)
    assert play.session.game.prompt.tip.path() == fake.text_to_path("help you")


@pytest.mark.parametrize("how", [Failed(0, "it does not fit"), DIED])
def test_an_edited_text_that_fails_is_kept_and_not_sent_again_unasked(how: Failed | EngineDied) -> None:
    play = edited()
    play.take(Edited("help me"))
    (request,) = (one for one in play.asked if isinstance(one, Tokenize))
    play.asked.clear()
    play.take(Failed(request.request, how.reason) if isinstance(how, Failed) else how)
    assert play.session.game.editing and play.session.game.editing.state is EditState.SENT
    if isinstance(how, Failed):
        assert play.session.notice == "it does not fit; ctrl+e opens the text again"
    else:
        play.take(Action.RESTART)
        play.answer()
        assert play.session.game.prompt.tip.path() == path(), "what the engine died of is not sent again"
    play.take(Action.EDIT)
    assert play.effects == [Edit("help me")]
    play.press(Edited("help you"))
    assert play.session.game.prompt.tip.path() == fake.text_to_path("help you")


def test_an_edited_text_takes_the_place_of_the_prompt_that_was_edited() -> None:
    play = started("hello").press(Action.COPY, Action.APPEND)
    other = play.session.game.prompt.tip.path()
    play.press(Action.PREVIOUS)
    play.take(Action.EDIT)
    play.take(Edited("help me"))
    play.take(Action.NEXT)
    play.answer()
    assert [one.tip.path() for one in play.session.game.prompts] == [fake.text_to_path("help me"), other]


def test_an_edited_text_whose_prompt_is_gone_is_a_new_one_or_kept() -> None:
    for limit in (3, 2):
        play = started("hello", max_prompts=limit).press(Action.COPY, Action.APPEND, Action.PREVIOUS)
        play.take(Action.EDIT)
        play.take(Edited("help me"))
        play.take(Action.APPEND)
        play.answer()
        if limit == 3:
            assert (
                play.session.game.prompt.tip.path() == fake.text_to_path("help me")
                and len(play.session.game.prompts) == 3
            )
        else:
            assert "removes one; ctrl+e opens the text again" in play.session.notice
            assert play.session.game.editing and play.session.game.editing.text == "help me"


def test_an_edited_text_takes_no_place_in_another_models_game() -> None:
    play = started("hello")
    play.session = fake_choice(play.session, "other.gguf")
    play.press(Prepared("other.gguf", Fit(0, 0, "", True)))
    play.take(Action.EDIT)
    play.session = fake_choice(play.session, "fake.gguf")
    play.press(Prepared("fake.gguf", Fit(0, 0, "", True)))
    play.press(Edited("help me"))
    assert [one.tip.path() for one in play.session.game.prompts] == [path(), fake.text_to_path("help me")]


def test_an_unchanged_or_emptied_text_is_done_with() -> None:
    for text in ("hello", ""):
        play = edited()
        (effect,) = play.effects
        assert isinstance(effect, Edit)
        play.take(Edited(effect.text if text else ""))
        assert play.session.game.editing is None


# --- everything at once

SEED = int(os.environ.get("TYPED_SEED", "1"))
KEYS = [
    *(
        Action.INPUT,
        Action.SEARCH,
        Action.NAME,
        Action.ENTER,
        Action.SCORE,
        Action.CLOSE,
        Action.HELP,
        Action.BRING_BACK,
    ),
    *(Action.UNDO, Action.UNDO, Action.REDO),
    *(Action.EARLIER, Action.LATER, Action.APPEND, Action.POP, Action.COPY, Action.NEXT, Action.RESTART, Action.UP),
    *(Action.CURSOR_BACK, Action.CURSOR_FIRST, Action.CURSOR_TIP, Action.TREE, Action.EDIT, Action.PROMPTS),
    *(Action.CARET_START, Action.CARET_END, Action.AUTOPLAY, Action.CLEAR_SCORES),
    *(Action.INSERT, Action.INSERT, Action.TAKE_IN, Action.GIVE_BACK, Action.REPLACE, Action.DELETE_TOKEN),
    *(Action.CONSTRAINT, Action.CONSTRAINT, Action.KIND, Action.SAMPLERS, Action.READ_IN, Action.NEW, Action.FIND),
]


class Writer:
    """Types words that can be told apart, while anything happens: each one is somewhere, and stays there."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.play = Play("hello", max_prompts=3)
        self.words: set[str] = set()
        self.steps = [self.press] * 4 + [self.word] * 4 + [self.answer] * 4
        self.steps += [self.edit, self.edit_and_leave, self.die, self.refuse, self.choose_a_model]
        self.steps += [self.open_the_editor, self.leave_the_editor, self.break_off]
        self.opened: str | None = None
        """What is in the editor, while anything happens."""

    def new(self) -> str:
        word = f"<{len(self.words)}>"
        self.words.add(word)
        return word

    def press(self) -> None:
        self.play.take(self.chance.choice(KEYS))

    def word(self) -> None:
        current = self.play.session.current
        if isinstance(current, TypingScreen) and type(current) not in BRINGS_BACK:
            return  # as names and numbers, which are short
        # A word alone filters the help, and is no text of the player's; a pasted line is kept.
        end = "\n" if isinstance(self.play.session.screen, screens.Help) else ""
        self.play.take(Typed(self.new() + end))

    def answer(self) -> None:
        if self.play.session.game.engine is not EngineStatus.DEAD:
            self.play.answer()

    def open_the_editor(self) -> None:
        if self.opened is not None:
            return
        self.play.take(Action.EDIT)
        for effect in self.play.effects:
            if isinstance(effect, Edit):
                self.opened = effect.text

    def leave_the_editor(self) -> None:
        if self.opened is not None:
            text, self.opened = self.opened, None
            self.play.take(Edited(text + self.new()))

    def break_off(self) -> None:
        """Loading a model is left, or fails."""
        if self.play.session.game.engine is EngineStatus.LOADING:
            self.play.asked.clear()
            ways: list[Action | EngineFailed | EngineDied] = [Action.CURSOR_TIP, EngineFailed("it is broken"), DIED]
            self.play.take(self.chance.choice(ways))

    def edit(self) -> None:
        if self.opened is not None:
            return
        self.play.take(Action.EDIT)
        for effect in self.play.effects:
            if isinstance(effect, Edit):
                self.play.take(Edited(effect.text + self.new()))

    def edit_and_leave(self) -> None:
        if self.opened is not None:
            return
        self.play.take(Action.EDIT)
        if any(isinstance(effect, Edit) for effect in self.play.effects):
            self.play.take(EditFailed("it failed"))

    def die(self) -> None:
        if self.play.session.game.engine is not EngineStatus.DEAD:
            self.play.asked.clear()
            self.play.take(DIED)

    def refuse(self) -> None:
        if (
            not self.play.session.game.prompts
            or self.play.session.game.engine is not EngineStatus.READY
            or not self.play.asked
        ):
            return
        if number := getattr(self.play.asked.pop(0), "request", 0):
            self.play.take(Failed(number, "no"))

    def choose_a_model(self) -> None:
        if self.play.session.game.engine is EngineStatus.READY:
            file = self.chance.choice(["one.gguf", "two.gguf"])
            self.play.session = replace(self.play.session, preparing=file)
            self.play.take(Prepared(file, Fit(0, 0, "", True)))

    def missing(self) -> list[str]:
        """Words that are nowhere: in no line, no history, and no prompt's or phrase's tokens."""
        texts: list[str] = [self.play.session.line.text]
        session = self.play.session
        for game in (session.game, *session.other_games.values()):
            texts += [game.editing.text if game.editing else "", *played(game.known.root)]
        texts += [text for history in session.typed.histories.values() for text in (*history.texts, history.unfinished)]
        everything = "\n".join(texts)
        if self.chance.random() < 0.05:
            self.saved()
        return [word for word in self.words if word not in everything]

    def saved(self) -> None:
        """What was edited or typed, and what is a prompt, is in the session's file."""
        session = self.play.session
        if not any(game.prompts for game in (session.game, *session.other_games.values())):
            return
        again = load(dump(session), Settings("", GgufFile("")))
        kept = [*(one.editing.text for one in (again.game, *again.other_games.values()) if one.editing)]
        kept += [text for one in (again.game, *again.other_games.values()) for text in played(one.known.root)]
        kept += [text for history in again.typed.histories.values() for text in (*history.texts, history.unfinished)]
        typed = [session.typed_histories.get(kind, History()) for kind in BRINGS_BACK if kind is not screens.Name]
        texts = [text for history in typed for text in (*history.texts, history.unfinished)]
        if isinstance(session.current, screens.Input | screens.Insert | screens.SearchScreen):
            texts.append(session.line.text)
        lost = [word for word in self.words if any(word in text for text in texts)]
        assert all(any(word in text for text in kept) for word in lost), "not saved"
        for game in (session.game, *session.other_games.values()):
            waiting = game.editing and game.editing.state is not EditState.OPEN
            texts = [game.editing.text] if waiting and game.editing else []
            texts += [text for prompt in game.prompts for text in [played_to(prompt.tip)]]
            words = [word for word in self.words if any(word in text for text in texts)]
            assert all(any(word in text for text in kept) for word in words), "not saved"


def played_to(tip: Node) -> str:
    return "".join(TEXT_OF.get(node.token, "?") for node in tip.nodes())


def played(root: Node) -> list[str]:
    """All paths of a tree as texts, by the characters that the fake tokenizer makes its tokens of."""
    texts = []
    waiting = [(root, "")]
    while waiting:
        node, before = waiting.pop()
        if not node.children:
            texts.append(before)
        waiting += [(child, before + TEXT_OF.get(child.token, "?")) for child in node.children.values()]
    return texts


TEXT_OF = {fake.text_to_path(char)[0]: char for char in "<0123456789>"}


def walks(count: int, figure: Figure) -> None:
    words = 0
    for number in range(count):
        writer = Writer(random.Random(f"{SEED}-{number}"))
        for _ in range(150):
            step = writer.chance.choice(writer.steps)
            step()
            assert not (lost := writer.missing()), f"{lost} lost by {step.__name__} in walk {SEED}-{number}"
        words += len(writer.words)
    figure(count, "walks in which words are typed while engines die, refuse and change", seed=SEED, words=words)


def test_no_word_is_lost_whatever_happens(figure: Figure) -> None:
    walks(60, figure)


@pytest.mark.soak
def test_no_word_is_lost_in_long_walks(figure: Figure) -> None:
    walks(3000, figure)


def test_a_search_from_before_is_replaced_by_typing_and_not_lost() -> None:
    play = typed("el", Action.SEARCH).press(Action.CLOSE, Action.SEARCH)
    assert play.session.line.text == "el"
    assert on(play.session, screens.SearchScreen).rows is not None
    play.press(Typed("o"))
    assert play.session.line.text == "o"
    play.press(Action.EARLIER)
    assert play.session.line.text == "el"


@pytest.mark.parametrize(("key", "text"), [(Action.ERASE, "eo"), (Action.ERASE_LINE, "o"), (Action.EARLIER, "hexo")])
def test_a_search_from_before_can_be_edited(key: Action, text: str) -> None:
    play = typed("hex", Action.SEARCH).press(Action.CLOSE, Action.SEARCH, Typed("el"), Action.CLOSE, Action.SEARCH, key)
    assert play.press(Typed("o")).session.line.text == text


def test_the_second_of_two_edits_of_a_prompt_replaces_the_first() -> None:
    play = started("hello").press(Action.COPY, Action.APPEND, Action.PREVIOUS)
    others = [one.tip for one in play.session.game.prompts[1:]]
    play.take(Action.EDIT)
    play.take(Edited("help me"))
    play.take(Action.EDIT)
    play.take(Edited("help you"))
    play.take(Action.NEXT)
    first, second = (one for one in play.asked if isinstance(one, Tokenize))
    play.asked.clear()
    play.take(play.reply(first))  # type: ignore[arg-type]
    assert play.session.game.editing and play.session.game.editing.text == "help you", "the engine may still die of it"
    play.take(play.reply(second))  # type: ignore[arg-type]
    play.answer()
    assert [one.tip.path() for one in play.session.game.prompts] == [
        fake.text_to_path("help you"),
        *[tip.path() for tip in others],
    ]
    assert play.session.game.editing is None
