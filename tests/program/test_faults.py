"""However the engine fails, and whatever is being done: the screen, the prompts and all that was computed stay.

One line tells what happened, `r` starts another engine, and then everything is as it would have been. An engine that
hangs is one that has failed.

The long form, every fault in every state: `pytest -m soak tests/program/test_faults.py`.
"""

import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.broken_engine import FAULTS
from tests.fake import on
from tests.figures import Figure
from tests.fresh import Fresh, difference
from tests.patient import TEXT, Patient
from tests.sampling import few
from tests.terminal import Terminal
from tokex_gguf.engine import client
from tokex_gguf.engine.protocol import Evaluated
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import SILENT_AFTER, SILENT_AFTER_AT_START, EngineStatus
from tokex_gguf.play.messages import Beat, EngineReplied, Typed
from tokex_gguf.play.purposes import ForLookahead
from tokex_gguf.play.screens import TypingScreen
from tokex_gguf.play.session import Session
from tokex_gguf.values.distribution import Distribution

ROOT = Path(__file__).parent.parent.parent
SEED = int(os.environ.get("FAULTS_SEED", "1"))
SLOWER = 0.02
"""Seconds that each decode takes longer, so that faults meet it."""
TOLERANCE = 0.02
LONG = "the cat and one answer " * 100
"""More tokens than SLOWER lets pass in a moment, and fewer than the model was trained for."""

State = Callable[[Patient], None]


# --- what the program is doing when it happens


def loading(_: Patient) -> None:
    pass


def loaded(player: Patient) -> None:
    player.until(lambda session: session.game.engine is EngineStatus.READY)


def ready(player: Patient) -> None:
    player.ready()


def evaluating(player: Patient) -> None:
    def is_under_way(session: Session) -> bool:
        tip = session.game.prompt.tip if session.game.prompts else None
        return tip is not None and 0 < session.game.evaluated(tip) < tip.depth

    player.until(is_under_way)


def decoding(player: Patient) -> None:
    player.ready()
    player.press(Action.BOTTOM, Action.APPEND)


def looking_ahead(player: Patient) -> None:
    player.until(lambda session: session.game.ready and session.game.newest(ForLookahead))


def playing(player: Patient) -> None:
    player.ready()
    depth = player.session.game.prompt.tip.depth
    player.press(Action.AUTOPLAY)
    player.until(lambda session: session.game.prompt.tip.depth > depth + 3)


def searching(player: Patient) -> None:
    player.ready()
    player.press(Action.SEARCH, Typed("c"), Typed("a"))
    player.until(lambda session: on(session, screens.SearchScreen).rows)


def typing(player: Patient) -> None:
    player.ready()
    player.press(Action.INPUT, Typed(" the time"))
    player.until(lambda session: on(session, screens.Input).tip is not on(session, screens.Input).base)


def entered(player: Patient) -> None:
    player.ready()
    player.press(Action.INPUT, Typed(" the time"), Action.ENTER)


def scoring(player: Patient) -> None:
    player.ready()
    player.press(Action.INPUT, Typed(" the cat"), Action.SCORE)
    player.until(lambda session: session.game.results.scores)


def in_the_tree(player: Patient) -> None:
    player.ready()
    player.press(Action.POP, Action.POP, Action.BOTTOM, Action.APPEND)
    player.ready()
    player.press(Action.TREE)


def among_the_prompts(player: Patient) -> None:
    player.ready()
    player.press(Action.COPY, Action.PROMPTS)
    player.until(lambda session: session.starters)


def opening(player: Patient) -> None:
    among_the_prompts(player)
    player.press(Action.BOTTOM, Action.ENTER)


def in_the_help(player: Patient) -> None:
    player.ready()
    player.press(Action.HELP, Action.DOWN)


def help_while_typing(player: Patient) -> None:
    typing(player)
    player.press(Action.HELP)


def looking_back(player: Patient) -> None:
    player.ready()
    player.press(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.DOWN)


def coloured(player: Patient) -> None:
    player.ready()
    player.press(Action.LAYER, Action.PALETTE)


def two_prompts(player: Patient) -> None:
    player.ready()
    player.press(Action.COPY, Action.BOTTOM, Action.APPEND)
    player.ready()


def popped(player: Patient) -> None:
    player.ready()
    player.press(Action.POP, Action.POP, Action.POP)


def removed(player: Patient) -> None:
    two_prompts(player)
    player.press(Action.REMOVE)


def full(player: Patient) -> None:
    player.until(lambda session: session.game.full)


def copied_while_evaluating(player: Patient) -> None:
    evaluating(player)
    player.press(Action.COPY, Action.POP, Action.LAYER)


def broken_before(player: Patient) -> None:
    player.ready()
    assert player.game.engine_pid
    os.kill(player.game.engine_pid, signal.SIGKILL)
    player.until(lambda session: session.game.engine is EngineStatus.DEAD)
    player.press(Action.RESTART)


STATES: dict[State, str] = {
    **dict.fromkeys((loading, loaded, ready, decoding, looking_ahead, playing, searching, typing, entered), ""),
    **dict.fromkeys((scoring, in_the_tree, among_the_prompts, opening, in_the_help, help_while_typing), ""),
    **dict.fromkeys((looking_back, coloured, two_prompts, popped, removed, broken_before), ""),
    evaluating: LONG,
    copied_while_evaluating: LONG,
    full: LONG * 3,
}
"""What is being done, and the text that it takes where that matters."""

HANG = "SIGSTOP"
SIGNALS = ("SIGABRT", "SIGSEGV", "SIGKILL", "SIGBUS", HANG)
FILES = ("truncated", "overwritten")
"""What happens to the model's file under the engine's map of it."""
LATENT = ("nan", *FILES)
"""Faults that show with the next decode only."""


# --- what is looked at


def kept(session: Session) -> object:
    """All that a player would miss."""
    return (
        [(prompt.tip.path(), prompt.cursor and prompt.cursor.depth, prompt.chosen) for prompt in session.game.prompts],
        [prompt.tip.path() for _, prompt in session.game.removed],
        *(
            session.game.active,
            session.options.layer,
            session.options.palette,
            session.options.mouse,
            session.game.results.scores,
        ),
    )


def computed(session: Session) -> int:
    """How many distributions there are."""
    waiting, count = [session.game.known.root], 0
    while waiting:
        node = waiting.pop()
        waiting += node.children.values()
        count += node.distribution is not None
    return count


class Faulty:
    """Engines that fail in one way, and a model's file of their own."""

    def __init__(self, name: str, model: Path, folder: Path) -> None:
        self.name = name
        self.model = folder / "model.gguf"
        self.sound = model.read_bytes()
        self.model.write_bytes(self.sound)

    def start(self) -> "subprocess.Popen[bytes]":
        fault = self.name if self.name in FAULTS else "abort"
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.broken_engine", fault, str(SLOWER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def happen(self, pid: int) -> None:
        if self.name == "truncated":
            os.truncate(self.model, 8192)
        elif self.name == "overwritten":
            with self.model.open("r+b") as file:
                file.seek(len(self.sound) // 4)
                file.write(b"\xff" * (len(self.sound) - len(self.sound) // 4))
        else:
            os.kill(pid, signal.Signals[self.name] if self.name in SIGNALS else signal.SIGUSR1)

    def mend(self) -> None:
        self.model.write_bytes(self.sound)


def provoke(player: Patient) -> None:
    """Asks for what must be decoded, until that fails."""
    for _ in range(4):
        if not isinstance(player.session.screen, screens.Play):
            player.press(Action.CLOSE)
    for _ in range(20):
        if player.session.game.engine is not EngineStatus.DEAD:
            player.until(
                lambda session: session.game.ready or session.game.full or session.game.engine is EngineStatus.DEAD
            )
        if player.session.game.engine is EngineStatus.DEAD:
            return
        if player.session.game.full:
            player.press(*[Action.POP] * (player.session.game.prompt.tip.depth - 10))
        player.press(Action.CURSOR_TIP, Action.BOTTOM, Action.APPEND)
    raise AssertionError("the fault does not show")


def listen(player: Patient) -> str:
    """Waits for an engine that says nothing, until that is told; returns what is told."""
    for _ in range(4):
        if not isinstance(player.session.screen, screens.Play):
            player.press(Action.CLOSE)
    for _ in range(20):
        if not player.session.game.waiting:
            if player.session.game.full:
                player.press(*[Action.POP] * (player.session.game.prompt.tip.depth - 10))
            player.press(Action.CURSOR_TIP, Action.BOTTOM, Action.APPEND)
    assert player.session.game.waiting
    player.press(
        *[Beat()] * (SILENT_AFTER_AT_START if player.session.game.engine is EngineStatus.LOADING else SILENT_AFTER)
    )
    assert player.session.game.silence
    for size in ((130, 40), (80, 24), (60, 16)):
        assert f"engine silent for {player.session.game.silence:.0f} s: r restarts it" in player.screen(*size)
    return "silent)"


def die(player: Patient, name: str) -> str:
    """Waits for the end of an engine; returns what is told."""
    if name in LATENT:
        provoke(player)
    player.until(lambda session: session.game.engine is EngineStatus.DEAD)
    told = player.session.notice
    way = "Esc, then r, restarts it" if player.session.on(TypingScreen) else "press r to restart it"
    assert told.startswith("the engine stopped (") and told.endswith(way), told
    assert "\n" not in told and len(told) < 130
    assert ("; your prompts" in told) == bool(player.session.game.prompts)
    for size in ((130, 40), (80, 24), (60, 16)):
        assert "engine stopped" in player.screen(*size)
    return told


def play(name: str, state: State, faulty: Faulty, folder: Path) -> str:
    """Lets a fault happen in a state; returns the line that tells of it."""
    player = Patient(folder, faulty.model, STATES[state] or TEXT, example="in two", max_prompts=5, context=1024)
    try:
        state(player)
        assert player.game.engine_pid
        before = kept(player.session)
        faulty.happen(player.game.engine_pid)
        told = listen(player) if name == HANG else die(player, name)
        session = player.session
        if name not in (HANG, *LATENT) and state not in (playing, entered, opening, scoring, loaded, loading):
            assert kept(session) == before
        after, known = kept(session), computed(session)

        faulty.mend()
        if isinstance(session.screen, screens.Help):
            player.press(Action.CLOSE)
        if isinstance(player.session.screen, TypingScreen):
            player.press(Action.CLOSE)
        if state in (typing, help_while_typing) and name != HANG:
            assert player.session.typed.histories[screens.Input].unfinished == " the time"
        assert isinstance(player.session.screen, screens.Play)
        player.press(Action.RESTART)
        player.until(lambda session: session.game.engine is not EngineStatus.LOADING)
        player.until(
            lambda session: session.game.ready or session.game.full or session.game.engine is EngineStatus.DEAD
        )
        session = player.session
        assert session.game.engine is EngineStatus.READY, session.notice
        assert isinstance(session.screen, screens.Play)
        if state not in (loading, loaded):
            assert kept(session) == after
        assert computed(session) >= known
        if session.game.ready:
            distribution = session.game.prompt.tip.distribution
            assert distribution
            fresh = Fresh(faulty.model)
            assert difference(distribution, fresh.probabilities(session.game.prompt.tip.path())) < TOLERANCE
            fresh.close()
            depth = session.game.prompt.tip.depth
            player.press(Action.CURSOR_TIP, Action.BOTTOM, Action.APPEND)
            player.until(lambda session: session.game.ready or session.game.full)
            assert player.session.game.prompt.tip.depth == depth + 1
        return told
    finally:
        player.game.close()


NAMES = (*SIGNALS, *FAULTS, *FILES)


def one(name: str, state: str, model: Path, folder: Path) -> str:
    """One fault in one state, in a process of its own; returns what is wrong."""
    folder.mkdir()
    faulty = Faulty(name, model, folder)
    client.start = faulty.start  # type: ignore[attr-defined, assignment]
    try:
        play(name, next(one for one in STATES if one.__name__ == state), faulty, folder)
    except AssertionError:
        return f"{name} while {state}:\n{traceback.format_exc()}"
    return ""


def faults(pairs: list[tuple[str, State]], model: Path, folder: Path, figure: Figure) -> None:
    """Lets faults happen, several at once: each waits most of the time."""
    # A file that is damaged before it is loaded is another matter.
    early = (loading, loaded, broken_before)
    pairs = [(name, state) for name, state in pairs if not (name in LATENT and state in early)]
    with ProcessPoolExecutor(3, get_context("spawn")) as pool:
        jobs = [
            pool.submit(one, name, state.__name__, model, folder / f"{name}-{state.__name__}") for name, state in pairs
        ]
        wrong = [told for job in jobs if (told := job.result())]
    assert not wrong, "\n".join(wrong)
    figure(len(pairs), f"faults of {len(NAMES)} kinds in {len(STATES)} states", seed=SEED)


@pytest.mark.parametrize("part", few(range(4), of=4))
def test_faults(part: int, tiny: dict[str, Path], tmp_path: Path, figure: Figure) -> None:
    """A third of the faults, each in another state, in four parts."""
    chance = random.Random(SEED)
    states, names = list(STATES), list(NAMES)
    chance.shuffle(states)
    chance.shuffle(names)
    faults(list(zip(names[::3], states, strict=False))[part::4], tiny["qwen2"], tmp_path, figure)


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_every_fault_in_every_state(name: str, tiny: dict[str, Path], tmp_path: Path, figure: Figure) -> None:
    faults([(name, state) for state in STATES], tiny["qwen2"], tmp_path, figure)


def test_an_engine_that_hangs_takes_no_key_away(tiny: dict[str, Path], tmp_path: Path) -> None:
    """All that is known can be played, quitting waits for nothing, and it may go on."""
    player = Patient(tmp_path, tiny["qwen2"])
    player.ready()
    pid = player.game.engine_pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    player.press(Action.BOTTOM, Action.APPEND)
    depth = player.session.game.prompt.tip.depth
    assert not player.session.game.ready
    player.press(Action.APPEND, Action.APPEND, Action.POP, Action.POP, Action.COPY, Action.LAYER, Action.TREE)
    player.press(Action.CLOSE, Action.HELP, Action.CLOSE, Action.CURSOR_BACK, Action.CURSOR_TIP, Action.PREVIOUS)
    assert player.session.game.ready, "both prompts are at a place that is known"
    assert "engine" not in player.session.notice
    player.press(Action.BOTTOM, Action.APPEND)
    assert player.session.game.prompt.tip.depth == depth - 1
    os.kill(pid, signal.SIGCONT)
    player.ready()
    os.kill(pid, signal.SIGSTOP)
    player.game.close()  # which does not wait for it


@pytest.mark.thorough
def test_a_long_decode_is_no_hang(tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process answers meanwhile."""
    faulty = Faulty("abort", tiny["qwen2"], tmp_path)
    monkeypatch.setattr(client, "start", faulty.start)
    player = Patient(tmp_path, faulty.model, LONG, context=1024)
    evaluating(player)
    beats = 0
    while not player.session.game.ready:
        player.press(Beat())
        beats += player.session.game.waiting
        assert player.session.game.health.unanswered <= 1
        player.until(lambda session: session.game.health.unanswered == 0)
    assert beats > SILENT_AFTER
    player.game.close()


def test_a_reply_that_makes_no_sense_is_a_failure(tiny: dict[str, Path], tmp_path: Path) -> None:
    player = Patient(tmp_path, tiny["qwen2"])
    player.ready()
    player.press(Action.BOTTOM, Action.APPEND)
    assert player.session.game.pending
    answer = Distribution.of(1.0, [1], [0.0])
    nonsense = Evaluated(player.session.game.pending, 1_000_000, [answer], [], {}, 1, 0.1, 1024)
    player.game._enqueue(EngineReplied(player.session.game.address, nonsense))
    player.until(lambda session: session.game.engine is EngineStatus.DEAD)
    assert player.session.notice.startswith("the engine stopped (its reply makes no sense); your prompts are safe")
    player.press(Action.RESTART)
    player.ready()
    player.game.close()


def test_a_header_that_was_damaged_meanwhile_is_not_given_to_llama_cpp(tiny: dict[str, Path], tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    whole = tiny["qwen2"].read_bytes()
    model.write_bytes(whole)
    player = Patient(tmp_path, model)
    player.ready()
    assert player.game.engine_pid
    os.kill(player.game.engine_pid, signal.SIGKILL)
    player.until(lambda session: session.game.engine is EngineStatus.DEAD)
    model.write_bytes(whole.replace(b"blk.1.attn_q.weight", b"blk.0.attn_q.weight"))
    player.press(Action.RESTART)
    player.until(lambda session: session.game.engine is EngineStatus.DEAD)
    assert "the tensor 'blk.0.attn_q.weight' is there twice" in player.session.notice, player.session.notice
    model.write_bytes(whole)
    player.press(Action.RESTART)
    player.ready()
    player.game.close()


def test_a_reply_without_an_end_is_a_failure(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MOST_REPLY_BYTES", 100)
    player = Patient(tmp_path, tiny["qwen2"])
    player.until(lambda session: session.game.engine is EngineStatus.DEAD)
    assert player.session.notice == "the engine stopped (unreadable reply): press r to restart it"
    player.game.close()


@pytest.fixture
def played(tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Terminal, Path]]:
    """The program in a terminal, with a model's file of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    model = tmp_path / "model.gguf"
    model.write_bytes(tiny["qwen2"].read_bytes())
    # Else the engine may come upon a fault by itself, before the key that a test presses.
    (tmp_path / "config.toml").write_text("[engine]\nlookahead = 0\n")
    terminal = Terminal("--model", str(model), "--prompt", TEXT)
    terminal.shows(r"tokens: 19 .* ready")
    yield terminal, model
    terminal.child.close(force=True)


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FILES)
def test_a_model_that_changes_under_the_engine_in_a_terminal(fault: str, played: tuple[Terminal, Path]) -> None:
    terminal, model = played
    faulty = Faulty(fault, model, model.parent)
    terminal.press("d", "e")
    terminal.shows(r"Prompt 2/2  tokens: 19 .* ready")
    faulty.happen(0)
    terminal.press(" ")
    text = terminal.shows(r"the engine stopped \(.*\); your prompts are safe: press r to restart it")
    assert text.count("the engine stopped") == 1
    assert "Prompt 2/2" in text and "probability 0 " not in text
    faulty.mend()
    terminal.press("w", "left")
    terminal.shows(r"Prompt 1/2  tokens: 18 ")
    terminal.press("r")
    terminal.shows(r"Prompt 1/2  tokens: 18 .* ready")
    terminal.press("s", "end", "right")
    terminal.shows(r"Prompt 2/2  .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.thorough
def test_an_engine_that_hangs_is_noticed_in_a_terminal(played: tuple[Terminal, Path]) -> None:
    terminal, _ = played
    os.kill(terminal.engine(), signal.SIGSTOP)
    terminal.press("end", "right", "end", "right")  # the first may be known ahead
    terminal.shows(r"engine silent for [46] s: r restarts it")
    terminal.press("r")
    terminal.shows(r"tokens: 2[01] .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.timed
def test_quitting_does_not_wait_for_an_engine_that_hangs(played: tuple[Terminal, Path]) -> None:
    terminal, _ = played
    os.kill(terminal.engine(), signal.SIGSTOP)
    terminal.press("end", "right", "left")
    terminal.shows(r"tokens: 19 .* ready")
    began = time.monotonic()
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    assert time.monotonic() - began < 2
