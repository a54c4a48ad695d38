"""Long play leaves nothing behind: memory, open files, KV sequences.

The long form: `pytest -m soak tests/engine/test_leaks.py`.
"""

import os
import random
from pathlib import Path

import pytest

from tests.fake import on
from tests.figures import Figure
from tests.fresh import Fresh, Stopper, difference, open_model, tip
from tests.patient import Patient
from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.kv_plan import Sequences
from tokex_gguf.engine.worker.llama import Interrupted, Llama
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Typed

SEED = int(os.environ.get("LEAKS_SEED", "1"))
GROWTH = 1.05
LONGEST = 200

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")


def memory(pid: int) -> int:
    """Bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def step(player: Patient, chance: random.Random) -> None:
    """Something that a player does, and the answer to it."""
    kind = chance.choice(["append"] * 6 + ["pop"] * 4 + ["next"] * 2 + ["copy", "remove", "play", "search", "type"])
    if player.session.game.prompt.tip.depth > LONGEST:
        kind = "pop"
    if kind == "append":
        player.press(*[Action.DOWN] * chance.randrange(4), Action.APPEND)
    elif kind == "pop":
        player.press(*[Action.POP] * chance.choice([1, 1, 2, 20]))
    elif kind == "play":
        depth = player.session.game.prompt.tip.depth
        player.press(Action.AUTOPLAY)
        player.until(lambda session: session.game.prompt.tip.depth > depth + 3 or not session.game.pressed.autoplay)
        if player.session.game.pressed.autoplay:
            player.press(Action.AUTOPLAY)
    elif kind == "search":
        player.press(Action.SEARCH, Action.ERASE_LINE, Typed(chance.choice("cato")))
        player.until(lambda session: on(session, screens.SearchScreen).rows)
        player.press(Action.CLOSE)
    elif kind == "type":
        player.press(
            Action.INPUT, Typed(chance.choice([" the cat", " one"])), chance.choice([Action.ENTER, Action.SCORE])
        )
        player.until(lambda session: session.on(screens.Input) is None or session.game.results.scores)
        player.press(Action.CLOSE, Action.CLEAR_SCORES)
    else:
        player.press({"next": Action.NEXT, "copy": Action.COPY, "remove": Action.REMOVE}[kind])
    player.ready()


def fewest_files(player: Patient, chance: random.Random, pid: int) -> tuple[int, int]:
    """Open files of the engine and of this process: the fewest of a few steps, as a save has one for a moment."""
    counts: list[tuple[int, int]] = []
    for _ in range(5):
        step(player, chance)
        counts.append((files(pid), files(os.getpid())))
    engine, own = zip(*counts, strict=True)
    return min(engine), min(own)


def play(steps: int, warm: int, model: Path, folder: Path, figure: Figure) -> None:
    chance = random.Random(SEED)
    # A model of this size plays hundreds of tokens at once: what they take would be the longest path's, and no leak's.
    player = Patient(folder, model, max_prompts=6, context=256)
    player.ready()
    pid = player.game.engine_pid
    assert pid
    for _ in range(warm):
        step(player, chance)
    before = memory(pid), *fewest_files(player, chance, pid)
    for _ in range(steps):
        step(player, chance)
    after = memory(pid), *fewest_files(player, chance, pid)
    assert player.game.engine_pid == pid
    player.game.close()
    figure(
        steps,
        "steps",
        seed=SEED,
        per_cent_more_memory=100 * (after[0] / before[0] - 1),
        more_open_files=after[1] - before[1],
    )
    assert after[0] < GROWTH * before[0]
    assert after[1] <= before[1] and after[2] <= before[2]


@pytest.mark.thorough
def test_leaks(tiny: dict[str, Path], tmp_path: Path, figure: Figure) -> None:
    play(500, 200, tiny["qwen2"], tmp_path, figure)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["qwen2", "gemma3", "mamba"])
def test_leaks_of_long_play(name: str, tiny: dict[str, Path], tmp_path: Path, figure: Figure) -> None:
    # It takes so many steps until every cell of the cache, and all that is kept of paths, was in use once.
    play(10_000, 4_000, tiny[name], tmp_path, figure)


def agree(model: Llama, sequences: Sequences) -> int:
    """Holds what is recorded against what llama.cpp has; returns how many sequences have any."""
    counts = [model.count(sequence) for sequence in range(model.sequences)]
    assert counts == [len(sequences.held(sequence)) for sequence in range(model.sequences)]
    return sum(count > 0 for count in counts)


def hold(steps: int, path: Path, figure: Figure) -> None:
    """Plays with the evaluator alone, interrupted now and then."""
    chance, stop = random.Random(SEED), Stopper()
    model = open_model(path, 256, stop)
    evaluator = Evaluator(model)
    paths = [[chance.randrange(model.vocabulary.size) for _ in range(20)] for _ in range(6)]
    most = 0
    for _ in range(steps):
        place = chance.randrange(len(paths))
        kind = chance.random()
        if kind < 0.3 or len(paths[place]) > 100:
            paths[place] = paths[place][: -chance.choice([1, 1, 5, 30])] or paths[place][:1]
        elif kind < 0.4:
            paths[place] = list(chance.choice(paths))
        else:
            paths[place] = [*paths[place], chance.randrange(model.vocabulary.size)]
        stop.left = chance.randrange(100) if chance.random() < 0.1 else None
        try:
            distribution, _ = tip(evaluator, paths[place], 10)
            if chance.random() < 0.3:
                evaluator.ahead.look(paths[place], [[token] for token in distribution.ids[:4]], 10)
        except (Interrupted, ContextFull):
            pass
        stop.left = None
        most = max(most, agree(model, evaluator.cells.sequences))
    figure(steps, "steps with each KV sequence on record", seed=SEED, sequences_held=most)


@pytest.mark.parametrize("name", ["qwen2", "mamba"])
def test_every_sequence_is_on_record(name: str, tiny: dict[str, Path], figure: Figure) -> None:
    hold(500, tiny[name], figure)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["qwen2", "gemma3", "jamba"])
def test_every_sequence_is_on_record_in_long_play(name: str, tiny: dict[str, Path], figure: Figure) -> None:
    hold(10_000, tiny[name], figure)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", ["qwen2", "mamba", "jamba", "gemma3"])
def test_look_ahead_from_a_path_whose_cells_are_gone(name: str, tiny: dict[str, Path]) -> None:
    """The logits after it are kept, its cells are not: what is looked ahead to must not begin further up."""
    model, fresh = open_model(tiny[name], 256), Fresh(tiny[name])
    evaluator = Evaluator(model)
    path = [5, 6, 7, 8, 9]
    tip(evaluator, path, 10)
    for sequence in range(model.sequences):
        model.cut(sequence, 2)
        evaluator.cells.sequences.hold(sequence, path[: model.count(sequence)])
    for branches in ([[1]], [[2], [3]], [[2, 4], [5, 6, 7], [3]]):
        for branch, distribution in zip(branches, evaluator.ahead.look(path, branches, 10), strict=False):
            assert difference(distribution, fresh.probabilities([*path, *branch])) < 1e-3
    fresh.close()
