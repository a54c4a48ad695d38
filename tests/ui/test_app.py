"""The real application without a terminal: keys through a pipe, the screen read back."""

import asyncio
import gc
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style, default_ui_style, merge_styles

from tests import fake
from tests.canvas import Canvas
from tests.play import test_ahead, test_critical_tokens, test_fan_out
from tests.play.test_switching import HEADER
from tests.ui.test_cost import steps
from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.protocol import (
    Apply,
    EngineDied,
    Evaluate,
    Load,
    Loaded,
    Lookahead,
    Request,
    Tokenize,
    Tokenized,
    Walk,
)
from tokex_gguf.models.catalogue import CatalogueEntry
from tokex_gguf.models.discovery import ModelOnDisk
from tokex_gguf.play import update as update_module
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Game, Sampling, Settings
from tokex_gguf.play.messages import SearchFurther, Typed
from tokex_gguf.play.session import Session
from tokex_gguf.shell import background
from tokex_gguf.shell import runtime as game_module
from tokex_gguf.shell.editor import Editor
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.system import signals
from tokex_gguf.ui import app as app_module
from tokex_gguf.ui.app import COLOURS, App, PaletteStyle, colour_depth
from tokex_gguf.ui.cells import Line
from tokex_gguf.ui.theme import styles
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.layers import COST
from tokex_gguf.values.lens import RAW
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.tokens import label
from tokex_gguf.values.view import NOT_CUT, Verdict

KEYS = {"up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "esc": "\x1b", "ctrl-q": "\x11"}


class FakeEngine:
    """Takes the place of the engine's process; answers at once, or when `held` is let go."""

    latest: "FakeEngine"

    def __init__(self, deliver: Callable[[Delivery], None]) -> None:
        self.deliver, self.held, self.waiting, self.pid = deliver, False, [], 1  # type: ignore[var-annotated]
        self.sent: list[Request] = []
        FakeEngine.latest = self

    def send(self, request: Request) -> None:
        self.sent.append(request)
        if isinstance(request, Load):
            self.deliver(Loaded("Fake", "fake", "Q4_0", fake.VOCAB, 4096, 8192, None, False))
        elif isinstance(request, Tokenize):
            self.deliver(Tokenized(request.request, fake.text_to_path(request.text), fake.PIECES))
        elif isinstance(request, Evaluate):
            self.waiting.append(request)
            if not self.held:
                self.release()

    def release(self) -> None:
        while self.waiting:
            self.deliver(fake.evaluated(self.waiting.pop(0)))

    def close(self) -> None:
        pass


class Player:
    """Presses keys and reads the screen of a running application."""

    def __init__(self, app: App, keys: PipeInput, output: Canvas, game: Runtime) -> None:
        self.app, self.keys, self.output, self.game = app, keys, output, game
        self.task = asyncio.create_task(app.run_async())

    def text(self) -> str:
        return self.output.text() if self.app.application.renderer.last_rendered_screen else ""

    async def until(self, holds: Callable[[str], object]) -> str:
        for _ in range(2000):
            if self.task.done():
                self.task.result()
            if holds(text := self.text()):
                return text
            await asyncio.sleep(0.002)
        raise AssertionError("this never came to be on the screen:\n" + self.text())

    async def press(self, *names: str) -> None:
        for name in names:
            self.keys.send_text(KEYS.get(name, name))

    async def shows(self, pattern: str) -> str:
        return await self.until(lambda text: re.search(pattern, text))


@pytest.fixture
def played(tmp_path: Path) -> Callable[[Callable[[Player], Awaitable[None]]], Runtime]:
    """Runs a scenario against a running application; quits it afterwards."""

    @asynccontextmanager
    async def running() -> AsyncIterator[Player]:
        with create_pipe_input() as keys, create_app_session(input=keys, output=Canvas()):
            output = Canvas()
            game = Runtime(
                Session(Game(Settings("hello", GgufFile("fake.gguf")))), folder=tmp_path / "prompts", connect=FakeEngine
            )
            app = App(game, keys, output)
            game.start()
            player = Player(app, keys, output, game)
            await player.shows(r"\bready\b")
            yield player
            if not player.task.done():
                await player.press("ctrl-q")
            await asyncio.wait_for(player.task, 5)

    def play(scenario: Callable[[Player], Awaitable[None]]) -> Runtime:
        async def main() -> Runtime:
            async with running() as player:
                await scenario(player)
                return player.game

        return asyncio.run(main())

    return play


Played = Callable[[Callable[[Player], Awaitable[None]]], Runtime]


def test_arrows_append_and_pop(played: Played) -> None:
    async def scenario(player: Player) -> None:
        await player.press("down", "down", "right")
        await player.shows(r"tokens: 6 .*ready")
        await player.press("left")
        await player.shows(r"tokens: 5 .*ready")
        await player.press("left", "left")
        await player.shows(r"tokens: 3 .*ready")

    played(scenario)


def test_the_keys_beside_the_arrows_do_the_same(played: Played) -> None:
    async def scenario(player: Player) -> None:
        await player.press("j", "j", "k", "l")
        await player.shows(r"tokens: 6 .*ready")
        await player.press("h")
        await player.shows(r"tokens: 5 .*ready")

    played(scenario)


def test_wasd_handles_prompts(played: Played) -> None:
    async def scenario(player: Player) -> None:
        await player.press("d", "right")
        await player.shows(r"Prompt 2/2  tokens: 6 .*ready")
        await player.press("w")
        await player.shows(r"Prompt 1/2  tokens: 5 ")
        await player.press("s", "a")
        await player.shows(r"Prompt 1/1  tokens: 5 ")

    played(scenario)


def test_e_cycles_the_layers(played: Played) -> None:
    async def scenario(player: Player) -> None:
        await player.press("e")
        await player.shows("probability 0 ")
        await player.press("e")
        await player.shows("entropy 0 ")
        await player.press("e")
        await player.until(lambda text: "entropy 0 " not in text and "probability 0 " not in text)

    played(scenario)


def test_help_opens_and_closes(played: Played) -> None:
    async def scenario(player: Player) -> None:
        await player.press("?")
        await player.shows("Pop the prompt's last token")
        await player.press("esc")
        await player.until(lambda text: "Pop the prompt's last token" not in text)

    played(scenario)


def test_x_saves_and_tells_the_path(played: Played, tmp_path: Path) -> None:
    async def scenario(player: Player) -> None:
        await player.press("x")
        await player.shows(r"saved .*prompt-\d{8}-\d{6}\.txt")

    played(scenario)
    (saved,) = (tmp_path / "prompts").iterdir()
    assert saved.read_bytes() == b"".join(fake.PIECES[t].data for t in fake.text_to_path("hello")) + b"\n"


def test_a_save_that_fails_is_told(played: Played, tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("a file stands where the folder should be")

    async def scenario(player: Player) -> None:
        await player.press("x")
        await player.shows("not saved: ")

    played(scenario)


def test_a_slow_answer_shows_working_and_a_quick_one_does_not(played: Played) -> None:
    async def scenario(player: Player) -> None:
        seen: list[str] = []
        player.app.application.after_render += lambda _: seen.append(player.text())
        await player.press("right")
        await player.shows("tokens: 6 .*ready")
        assert not any("working" in text for text in seen)
        FakeEngine.latest.held = True
        await player.press("right")
        await player.shows("tokens: 7 .*working")
        FakeEngine.latest.release()
        await player.shows("tokens: 7 .*ready")

    played(scenario)


def test_ready_always_stands_with_the_right_table(played: Played) -> None:
    async def scenario(player: Player) -> None:
        wrong: list[str] = []

        def check(_: object) -> None:
            text = player.text()
            if " ready" in text:
                (count,) = re.findall(r"tokens: (\d+)", text)
                tip = player.game.session.game.prompt.tip
                first = fake.PIECES[fake.ranked(tip.path())[0]].data.decode().strip()
                if tip.depth != int(count) or f"1 ␣{first} " not in text:
                    wrong.append(text)

        player.app.application.after_render += check
        for keys in ("right", "down", "right", "left", "left", "d", "right", "w", "e", "right"):
            await player.press(keys)
            await player.shows("ready")
        assert not wrong, wrong[0]

    played(scenario)


def test_three_hundred_held_keys_do_not_delay_quitting(played: Played) -> None:
    async def scenario(player: Player) -> None:
        FakeEngine.latest.held = True
        await player.press(*["right"] * 300)
        await player.press("ctrl-q")

    assert played(scenario).session.counts.requests < 10


@pytest.mark.parametrize("key", ["\x11", "\x03"])
def test_quitting(played: Played, key: str) -> None:
    async def scenario(player: Player) -> None:
        await player.press(key)
        await player.until(lambda _: player.app.application.is_done or not player.app.application.is_running)

    assert played(scenario).quit is not None


def test_garbage_is_collected_while_a_game_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []

    def run(playing: Coroutine[object, object, None]) -> None:
        playing.close()
        found.append(gc.isenabled())

    monkeypatch.setattr(asyncio, "run", run)
    monkeypatch.setattr(signals, "listen", lambda _: None)
    before = gc.get_threshold(), sys.getswitchinterval()
    gc.disable()  # as the start of the program does
    try:
        with create_pipe_input() as keys:
            App(Runtime(Session(Game(Settings("hello", GgufFile("fake.gguf")))), folder=tmp_path), keys, Canvas()).run()
    finally:
        gc.unfreeze()
        gc.enable()
        gc.set_threshold(*before[0])
        sys.setswitchinterval(before[1])
    assert found == [True]


def test_resizing_redraws_for_the_new_size(played: Played) -> None:
    async def scenario(player: Player) -> None:
        for columns, rows in ((80, 24), (59, 10), (100, 30), (60, 16)):
            player.output.size = Size(rows=rows, columns=columns)
            player.app.application._on_resize()
            text = await player.until(lambda text: len(text.splitlines()[0]) == columns)  # noqa: B023
            assert ("needs 60x16" in text) == (columns < 60)

    played(scenario)


def test_the_engine_dies_and_r_restarts_it(played: Played) -> None:
    async def scenario(player: Player) -> None:
        first = FakeEngine.latest
        await player.press("right")
        await player.shows("tokens: 6 .*ready")
        first.deliver(EngineDied("SIGSEGV"))
        await player.shows(r"the engine stopped \(SIGSEGV\)")
        await player.press("d", "r")
        await player.shows("Prompt 2/2  tokens: 6 .*ready")
        assert FakeEngine.latest is not first

    played(scenario)


def test_an_engine_that_says_nothing_is_noticed(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "BEAT", 0.01)

    async def scenario(player: Player) -> None:
        first = FakeEngine.latest
        first.held = True
        await player.press("right")
        await player.shows(r"engine silent for \d+ s: r restarts it")
        await player.press("r")
        await player.shows("tokens: 6 .*ready")
        assert FakeEngine.latest is not first

    played(scenario)


def test_a_fault_of_the_program_is_a_line_and_the_game_goes_on(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(player: Player) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(update_module, "act", lambda *_: 1 / 0)
            await player.press("right")
            await player.shows("internal error: the log file has the details")
        await player.press("right")
        await player.shows("tokens: 6 .*ready")

    played(scenario)


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (["x"], "save_prompt"),
        (["o"], "catalogue"),
        (["o", "?", "\x1b"], "catalogue"),
        (["p"], "starters"),
    ],
)
def test_a_fault_in_a_thread_ends_what_it_did_with_a_line(
    keys: list[str], what: str, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, what, lambda *_: 1 / 0)

    async def scenario(player: Player) -> None:
        await player.press(*keys)
        await player.shows("internal error: the log file has the details")
        await player.until(lambda text: "looking for" not in text)
        await player.press("\x1b")
        await player.shows("ready")
        await player.press("right")
        await player.shows("tokens: 6 .*ready")

    played(scenario)


def test_a_fault_while_a_model_is_looked_at_ends_that(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        background, "catalogue", lambda _: (CatalogueEntry(ModelOnDisk("a", "", Path("/a.gguf")), 5, HEADER),)
    )
    monkeypatch.setattr(background, "prepare", lambda *_, **__: 1 / 0)

    async def scenario(player: Player) -> None:
        await player.press("o")
        await player.shows("models found here(.|\n)*a .*Q8_0")
        await player.press("\r")
        await player.shows("internal error: the log file has the details")
        assert not player.game.session.preparing
        await player.press("right")
        await player.shows("tokens: 6 .*ready")

    played(scenario)


def test_where_no_model_is_found_nobody_goes_on_looking(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "catalogue", lambda _: ())

    async def scenario(player: Player) -> None:
        await player.press("o")
        await player.shows("ready(.|\n)*no model was found")
        await player.press("right")
        await player.shows("tokens: 6 .*ready")

    played(scenario)


ODD = "\u3000\xa0\u2009\u202f\u1680\u200b\u200c\u200d\u2060\ufeff\xad"
ODD += "\ufe0f\U000e0100\u2028\u202e\ue000\U00100000\u0378\U0001f99c\u0301"
"""Spaces of all kinds, joiners, variation selectors, a mark of direction, private use, an unassigned one."""


@pytest.mark.parametrize("key", ["i", "/"])
def test_what_is_typed_is_what_is_meant(key: str, played: Played) -> None:
    async def scenario(player: Player) -> None:
        await player.press(key)
        for char in ODD:
            await player.press(char)
        await player.until(lambda _: player.game.session.line.text == ODD)

    played(scenario)


@pytest.mark.parametrize("key", ["i", "/", "f"])
def test_the_tab_key_is_text_where_it_means_nothing_else(key: str, played: Played) -> None:
    async def scenario(player: Player) -> None:
        await player.press(key, "a", "\t", "b")
        await player.until(lambda _: player.game.session.line.text == "a\tb")

    played(scenario)


def test_keys_that_send_control_characters_type_nothing(played: Played) -> None:
    async def scenario(player: Player) -> None:
        await player.press("i", "a")
        for code in (0, 2, 4, 6, 7, 11, 14, 15, 20, 24, 28, 29, 30, 31, *range(0x80, 0xA0)):
            await player.press(chr(code))
        player.keys.send_bytes(b"\xe9z")
        await player.until(lambda _: player.game.session.line.text == "az")

    played(scenario)


def test_a_fault_around_the_editor_is_a_line_and_the_game_goes_on(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Editor, "edit", lambda *_: 1 / 0)

    async def scenario(player: Player) -> None:
        await player.press("\x05")
        await player.shows("internal error: the log file has the details")
        await player.press("right")
        await player.shows("tokens: 6 .*ready")

    played(scenario)


@pytest.mark.parametrize("keys", ["", "?", "/", "i", "t", "p"])
def test_where_nothing_can_be_suspended_ctrl_z_says_so(
    keys: str, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "STOP", None)

    async def scenario(player: Player) -> None:
        await player.press(*keys, "\x1a")
        await player.until(lambda _: player.game.session.notice == "this system cannot suspend a program")

    played(scenario)


@pytest.mark.parametrize(
    ("environ", "depth"),
    [
        ({}, None),
        ({"COLORTERM": "truecolor"}, ColorDepth.DEPTH_24_BIT),
        ({"COLORTERM": "24bit"}, ColorDepth.DEPTH_24_BIT),
        ({"COLORTERM": "truecolor", "NO_COLOR": "1"}, None),
        ({"COLORTERM": "truecolor", "NO_COLOR": ""}, ColorDepth.DEPTH_24_BIT),
        ({"COLORTERM": "truecolor", "PROMPT_TOOLKIT_COLOR_DEPTH": "DEPTH_8_BIT"}, None),
    ],
)
def test_colours_follow_the_terminal(
    environ: dict[str, str], depth: ColorDepth | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLORTERM", "NO_COLOR", "PROMPT_TOOLKIT_COLOR_DEPTH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert colour_depth() == depth


def test_what_a_walk_brings_is_drawn_together_until_its_end() -> None:
    """A frame for each of a hundred answers in a second would take its time from them."""
    play = fake.walking("hello")
    walk = play.asked[0]
    assert isinstance(walk, Walk)
    for place in range(4):
        assert play.session.game.walking
        before = play.session
        play.take(fake.evaluated(walk, place, place + 1, fake.GIVEN))
        assert app_module._in_background(before, play.session) == (place < 3)
        if place < 3:
            before = play.session
            play.take(Action.LAYER)
            assert not app_module._in_background(before, play.session), "a key is drawn at once"


def test_what_lookahead_brings_is_drawn_together_until_its_end() -> None:
    """A frame for each of its answers would take its time from the next ones."""
    play = test_ahead.growing()
    drawn_later: list[bool] = []
    while requests := test_ahead.best_first(play):
        play.asked.remove(requests[0])
        for reply in play.replies(requests[0]):
            before = play.session
            play.take(reply)
            drawn_later.append(app_module._in_background(before, play.session))
    assert len(drawn_later) > 3 and drawn_later == [True] * (len(drawn_later) - 1) + [False]


def test_a_table_that_is_looked_at_and_on_its_way_is_waited_for_a_moment() -> None:
    """A frame without it would flicker."""
    play = fake.walking("hello " * 20)
    play.take(Action.CURSOR_FAR_BACK)
    walk = play.asked[-1]
    assert isinstance(walk, Walk) and app_module._under_way(play.session) == {walk.request}
    play.take(fake.evaluated(walk, walk.places[0], walk.places[0] + 1, fake.GIVEN))
    assert not app_module._under_way(play.session)


def test_what_comes_before_an_answer_that_is_waited_for_is_drawn_with_it(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two frames, one of them dimmed, would flicker. What a key changes is seen at once."""
    monkeypatch.setattr(app_module, "WORKING_AFTER", 3600)

    async def scenario(player: Player) -> None:
        frames: list[str] = []
        player.app.application.after_render += lambda _: frames.append(player.text())
        FakeEngine.latest.held = True
        await player.press("right")
        await player.until(lambda _: FakeEngine.latest.waiting)
        player.game.remark("something came")
        await player.until(lambda _: "something came" in player.game.session.notice_line)
        player.app._heartbeat()
        assert player.game.session.game.health.unanswered == 1
        for _ in range(20):
            await asyncio.sleep(0)
        assert not frames
        await player.press("e")
        await player.shows("probability 0")
        assert len(frames) == 1
        FakeEngine.latest.release()
        await player.shows("tokens: 6 .*ready")
        assert len(frames) == 2

    played(scenario)


def test_each_answer_has_its_time_before_a_frame_without_it(played: Played) -> None:
    """Not what is left of the time of the one before."""

    async def scenario(player: Player) -> None:
        await player.press("right")
        await player.shows("tokens: 6 .*ready")
        assert player.app._answer_timer is None

    played(scenario)


def test_parts_of_an_answer_about_a_layer_are_drawn_as_they_come(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are kept in what a session shares with the one before, which stays equal to it."""
    judging: list[Evaluate] = []

    def send(engine: FakeEngine, request: Request) -> None:
        if isinstance(request, Evaluate) and request.lens is not RAW:
            judging.append(request)
        elif isinstance(request, Apply):
            engine.deliver(fake.applied(request))
        else:
            otherwise(engine, request)

    async def scenario(player: Player) -> None:
        session = player.game.session
        sampling = Sampling(constraint=Constraint(ConstraintKind.REGEX, "[a-z]*"))
        game = replace(session.game, sampling=sampling, prompts=(replace(session.game.prompt, begins=1),))
        player.game.session = replace(session, game=game, options=replace(session.options, layer=COST))
        await player.press("c")
        await player.until(lambda _: judging)
        (request,) = judging
        monkeypatch.setattr(app_module, "BACKGROUND_FRAME_INTERVAL", 0.02)
        for place in range(4):
            await asyncio.sleep(2 * app_module.BACKGROUND_FRAME_INTERVAL)
            frames: list[object] = []
            player.app.application.after_render += frames.append
            part = replace(fake.evaluated(request, place, place + 1), verdicts=[Verdict(0.5, NOT_CUT, 0.5)])
            FakeEngine.latest.deliver(part)
            await player.until(lambda _: frames)  # noqa: B023
            player.app.application.after_render -= frames.append

    otherwise = FakeEngine.send
    monkeypatch.setattr(FakeEngine, "send", send)
    played(scenario)


def answers_to_group() -> fake.Play:
    play = test_fan_out.opened(coverage=1.0, tokens=3000).answer()
    play.take(Action.GROUP)
    return play


def known_second_choices() -> fake.Play:
    """Another lead is looked for, in what was computed for the one before."""
    play = test_critical_tokens.opened(each=128)
    for lead in ("nowhere", "never"):
        play.answer().press(Action.LEAD, Action.ERASE_LINE, *map(Typed, lead))
        play.take(Action.ENTER)
    return play


@pytest.mark.parametrize("opened", [answers_to_group, known_second_choices])
def test_a_list_that_is_read_in_parts_is_drawn_as_it_grows(opened: Callable[[], fake.Play]) -> None:
    play, equal = opened(), 0
    while play.fanning:
        before, frame = play.session, test_fan_out.seen(play)
        play.take(SearchFurther())
        if before == play.session and frame != test_fan_out.seen(play):
            assert app_module._results_grow(play.session)
            equal += 1
    assert equal and not app_module._results_grow(play.session)


def test_a_prompt_on_a_server_is_walked_on_the_screen(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[Walk] = []

    def send(engine: FakeEngine, request: Request) -> None:
        if isinstance(request, Load):
            engine.deliver(fake.SERVED)
        elif isinstance(request, Evaluate):
            last = len(request.path) - 1
            engine.deliver(fake.evaluated(request, last, last + 1, fake.GIVEN))
        elif isinstance(request, Walk):
            walks.append(request)
        elif isinstance(request, Tokenize):
            engine.deliver(Tokenized(request.request, fake.text_to_path(request.text), fake.PIECES))

    def walk(place: int) -> None:
        FakeEngine.latest.deliver(fake.evaluated(walks[-1], place, place + 1, fake.GIVEN))

    async def scenario(player: Player) -> None:
        await player.shows(r"… 0/5 .* ready")
        await player.press(",", ",")
        text = await player.shows("looking at 4")
        assert walks[-1].places[0] == 2 and " 0.1" not in text
        walk(2)
        await player.shows(rf"(?s)rank token.* 1 {re.escape(label(best(3)))} .*rank > 10  surprisal")
        for place in (0, 1, 3):
            walk(place)
        await player.press("esc")
        text = await player.shows("ppl")
        assert "…" not in text.splitlines()[-4]

    monkeypatch.setattr(FakeEngine, "send", send)
    played(scenario)


def best(tokens: int) -> bytes:
    """The likeliest token after so many of the prompt."""
    return fake.PIECES[fake.ranked(fake.text_to_path("hello")[:tokens])[0]].data


@pytest.mark.parametrize("depth", COLOURS)
@pytest.mark.parametrize("light", [False, True])
def test_styles_that_are_made_when_they_are_shown_are_those_of_the_whole_palette(
    depth: ColorDepth, light: bool
) -> None:
    """Also where prompt_toolkit's own styles are left out."""
    for palette in ("standard", "colour-blind", "monochrome"):
        rules = styles(palette, light=light, colours=COLOURS[depth])
        whole = merge_styles([default_ui_style(), Style.from_dict(rules)])
        lazy = PaletteStyle(palette, light, depth)
        assert sorted(lazy.style_rules) == sorted(rules.items())
        names = [name for rule in rules for name in rule.split() if "." not in name or name.endswith((".0", ".31"))]
        for name in ["", "bold", "class:unknown.3", *(f"class:{name}" for name in names)]:
            for shown in (name, f"{name} class:selected", f"class:cursor {name}", f"class:entropy.3 {name} reverse"):
                assert lazy.get_attrs_for_style_str(shown) == whole.get_attrs_for_style_str(shown), shown
    assert lazy.invalidation_hash() == PaletteStyle("monochrome", light, depth).invalidation_hash()
    assert lazy.invalidation_hash() != PaletteStyle("standard", light, depth).invalidation_hash()


def test_a_key_is_looked_up_among_this_programs_bindings_alone(played: Played) -> None:
    """Among those of prompt_toolkit's text fields as well, a key took 2,600 steps."""

    async def scenario(player: Player) -> None:
        processor = player.app.application.key_processor
        for key in (Keys.Down, Keys.Up, Keys.Down):
            processor.feed(KeyPress(key, ""))
            count = steps(processor.process_keys)
        assert count < 1_800

    played(scenario)


def test_lookahead_is_planned_after_each_frame(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key's frame is drawn before; and what is planned reaches the engine, whatever key it was."""
    order: list[str] = []
    plan, screen = Runtime.plan, App._screen

    def planned(game: Runtime) -> None:
        order.append("plan")
        plan(game)

    def drawn(app: App, width: int, height: int) -> list[Line]:
        order.append("frame")
        return screen(app, width, height)

    monkeypatch.setattr(Runtime, "plan", planned)
    monkeypatch.setattr(App, "_screen", drawn)

    async def scenario(player: Player) -> None:
        session = player.game.session
        settings = replace(session.game.settings, lookahead=4)
        player.game.session = replace(session, game=replace(session.game, settings=settings))
        sent = FakeEngine.latest.sent
        for key, asks in (("e", True), ("e", False), ("left", True), ("d", False), ("left", True), ("w", True)):
            order.clear()
            sent.clear()
            await player.press(key)
            await player.until(lambda _: "plan" in order)
            assert order[:2] == ["frame", "plan"], key
            assert not player.game.plan_due
            assert any(isinstance(one, Lookahead) for one in sent) == asks, key

    played(scenario)


def test_a_fault_in_planning_is_on_the_screen(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(player: Player) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(game_module, "plan", lambda _: 1 / 0)
            await player.press("e")
            await player.shows("internal error: the log file")
        await player.press("right")
        await player.shows(r"tokens: 6 .*ready")

    played(scenario)
