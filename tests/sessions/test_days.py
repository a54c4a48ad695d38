"""Days of use, as the disk sees them: many programs, clocks that are wrong, disks that fail, and nothing lost.

What the programs did is kept beside in a plain table. After every step each file is read and compared with it.
`DAYS_SEED` gives another run.
"""

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.fake import MODEL, Play, started
from tests.figures import Figure
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Settings
from tokex_gguf.play.session import Session
from tokex_gguf.sessions import autosave, codec, store, summary
from tokex_gguf.sessions.autosave import Autosave, Lost, Rescued, SavedWhole
from tokex_gguf.sessions.codec import Encoder
from tokex_gguf.sessions.store import CannotChange, NoSession, Slot
from tokex_gguf.sessions.summary import Stamp
from tokex_gguf.system import files
from tokex_gguf.values.model_ref import GgufFile

SEED = int(os.environ.get("DAYS_SEED", "1"))
MOST, NEWEST = 12, 3
DAY = 86400.0
FUTURE = b'{"format":"tokex-gguf session","version":3,"crc32":1,"session":{"about":{}}}'


class Killed(BaseException):
    """The program ends here: nothing that would follow is done."""


class Clock:
    """In the place of the module `time`, and of `datetime`: a clock that says what it is told to say."""

    strftime, localtime = staticmethod(time.strftime), staticmethod(time.localtime)
    fromtimestamp = staticmethod(datetime.fromtimestamp)

    def __init__(self) -> None:
        self.moment = 1_790_000_000.0
        self.passed = 0.0

    def time(self) -> float:
        return self.moment

    def monotonic(self) -> float:
        return self.passed

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.moment, UTC)

    def goes(self, seconds: float) -> None:
        self.moment += seconds
        self.passed += abs(seconds)


class Disk:
    """The steps of a save, one of which can fail, wait, or be the last that the program does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        """Steps that go well before one that does not."""
        self.error: Callable[[], BaseException] = Killed
        self.stays = True
        """Whether what follows the failing step fails as well."""
        self.gate = threading.Event()
        self.gate.set()
        for owner, name in (
            (os, "fsync"),
            (os, "link"),
            (Path, "replace"),
            (Path, "unlink"),
            (files, "create_private"),
        ):
            monkeypatch.setattr(owner, name, self._step(getattr(owner, name), waits=name == "fsync"))

    def _step(self, function: Callable[..., object], *, waits: bool) -> Callable[..., object]:
        def step(*arguments: object, **named: object) -> object:
            if waits:
                self.gate.wait(20)
            if self.left is not None:
                self.left -= 1
                if self.left == -1 or (self.left < 0 and self.stays):
                    raise self.error()
            return function(*arguments, **named)

        return step

    @contextmanager
    def fails(self, after: int, error: Callable[[], BaseException], *, stays: bool) -> Iterator[None]:
        self.left, self.error, self.stays = after, error, stays
        try:
            yield
        finally:
            self.left = None


@dataclass
class Record:
    """What a session's file has to hold."""

    states: list[bytes]
    """Any of these: after a program was killed in a save, the state before or the new one."""
    weight: int


@dataclass
class Program:
    """A program that plays one session."""

    slot: Slot
    play: Play
    moves: int = 0
    lines: list[str] = field(default_factory=list)
    pruned: bool = False
    encoder: Encoder | None = None
    """That of what was read."""
    saver: Autosave = field(init=False)

    def __post_init__(self) -> None:
        self.saver = Autosave(self.slot, lambda _: None, self.lines.append, self.encoder)


def state(session: Session) -> bytes:
    """A session without the stamp of its file."""
    return codec.dump(codec.load(codec.dump(session), Settings("", GgufFile(""))))


def loaded(data: bytes) -> tuple[Session, int, Encoder]:
    about = summary.parse(data[: summary.SUMMARY_BYTES])
    session, encoder = codec.read(data, Settings("", GgufFile("")))
    return session, about.moves if about else 0, encoder


def weight(folder: Path, name: str) -> int:
    about = summary.parse((folder / f"{name}.json").read_bytes()[: summary.SUMMARY_BYTES])
    assert about is not None, f"{name} has no summary that is believed"
    return about.weight


class World:
    """A folder of sessions, the programs that use it, and what must be there."""

    def __init__(self, folder: Path, chance: random.Random, clock: Clock, disk: Disk) -> None:
        self.folder, self.chance, self.clock, self.disk = folder, chance, clock, disk
        self.known: dict[str, Record] = {}
        self.foreign: dict[str, bytes] = {}
        """Files of programs to come, and what is in them."""
        self.programs: list[Program] = []
        self.count = 0
        self.pruned = self.kills = self.refused = self.slow = 0

    # --- what players do

    def start(self) -> None:
        """A new game, or one that is gone on with; where another program plays it, a copy."""
        chance, names = self.chance, sorted(self.known)
        if names and chance.random() < 0.4:
            name = chance.choice(names)
            slot = store.claim(self.folder, name)
            open_elsewhere = any(program.slot.name == name for program in self.programs)
            assert (slot is None) == open_elsewhere
            (session, moves, encoder), _ = store.read(self.folder, name, loaded)
            play = Play()
            play.session = session
            play.take(MODEL)
            self.programs.append(Program(slot or Slot(self.folder), play.answer(), moves, encoder=encoder))
            return
        text = "".join(chance.choices("abcdefgh ", k=chance.choice((1, 3, 10, 40))))
        self.programs.append(Program(Slot(self.folder), started(text)))

    def plays(self, program: Program) -> None:
        for _ in range(self.chance.choice((1, 1, 2, 6))):
            deep = program.play.session.game.prompt.tip.depth > 1
            program.play.press(Action.POP if deep and self.chance.random() < 0.2 else Action.APPEND)
            program.moves += 1

    def saves(self, program: Program) -> None:
        program.saver.follow(program.play.session, program.moves)
        assert program.saver._keeper.save_now(20), program.saver._reason
        self.saved(program)

    def saved(self, program: Program) -> None:
        name = program.slot.name
        self.known[name] = Record([state(program.play.session)], weight(self.folder, name))
        if not program.pruned:
            program.pruned = True
            self.prunes(name)

    def names(self, program: Program) -> None:
        """Gives a name that is free, taken, or none at all."""
        self.saves(program)
        old = program.slot.name
        self.count += 1
        taken = [name for name in self.known if name != old]
        new = self.chance.choice([f"mine {self.count}", f"mine {self.count}", "no/good", *taken[:1]])
        fault = self.chance.random() < 0.3
        if fault:
            steps = self.chance.randrange(8)
            with self.disk.fails(steps, lambda: OSError(errno.EIO, "Input/output error"), stays=False):
                reason = program.saver.rename(new, program.play.session, program.moves)
        else:
            reason = program.saver.rename(new, program.play.session, program.moves)
            assert bool(reason) == (new in taken or new == "no/good"), reason
        assert program.slot.name == (old if reason else new)
        if not reason:
            self.known[new] = self.known.pop(old)

    def quits(self, program: Program) -> None:
        """Ends in peace, on a disk that answers, refuses or waits."""
        self.programs.remove(program)
        session, way = program.play.session, self.chance.random()
        if way < 0.3:  # nothing more was played
            before = program.slot.name
            assert program.saver.close(20, threading.Event(), lambda: None) == autosave.kept(program.slot) or before
            return
        self.plays(program)
        session = program.play.session
        if way < 0.45:
            self.refused += 1
            program.saver.follow(session, program.moves)
            code = self.chance.choice((errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS))
            with self.disk.fails(0, lambda: OSError(code, os.strerror(code)), stays=False):
                # The first try fails; what is written beside is not refused.
                end = program.saver.close(20, threading.Event(), lambda: None)
        elif way < 0.5:
            self.slow += 1
            self.disk.gate.clear()
            program.saver.follow(session, program.moves)
            hurry = threading.Event()
            hurry.set()
            end = program.saver.close(20, hurry, lambda: None)
            self.disk.gate.set()
            program.saver.close(20, hurry, lambda: None)
        else:
            program.saver.follow(session, program.moves)
            end = program.saver.close(20, threading.Event(), lambda: None)
        match end:
            case SavedWhole(name, _):
                self.known[name] = Record([state(session)], weight(self.folder, name))
            case Rescued(path, _, _):
                assert state(codec.load(path.read_bytes(), Settings("", GgufFile("")))) == state(session)
                path.unlink()
            case Lost(reason):
                raise AssertionError(reason)

    def killed(self, program: Program) -> None:
        """Ends at any step of a save; the system gives its lock back."""
        self.kills += 1
        self.programs.remove(program)
        before = self.known.get(program.slot.name)
        self.plays(program)
        session, slot = program.play.session, program.slot
        data = Encoder().encode(
            session, Stamp(slot.sequence(), min(max(0, int(self.clock.time())), summary.MOST_COUNT), program.moves)
        )
        with self.disk.fails(self.chance.randrange(9), Killed, stays=True), suppress(Killed):
            slot.save(data)
        program.saver._keeper.close(20)
        if slot._lock:
            os.close(slot._lock._file)
        if slot.name and (self.folder / f"{slot.name}.json").exists():
            states = [state(session), *(before.states if before else [])]
            self.known[slot.name] = Record(states, weight(self.folder, slot.name))

    # --- what the world does

    def clocks(self) -> None:
        year = 365 * DAY
        self.clock.goes(self.chance.choice((1, 3600, DAY, DAY, 3 * DAY, -DAY, -7 * year, 5 * year, -DAY * 40)))
        if self.chance.random() < 0.05:
            self.clock.moment = self.chance.choice((-1e6, 0.0, 4e9, 2.6e11, 1e18, -6e10, 1_790_000_000.0))

    def future(self) -> None:
        """Files of a program that is not written yet."""
        self.count += 1
        name = f"autosave-20990101-000000-{self.count:x}" if self.chance.random() < 0.8 else f"new {self.count}"
        self.foreign[name] = FUTURE
        (self.folder / f"{name}.json").write_bytes(FUTURE)

    def largest(self) -> None:
        """Gives the file of a session the largest number that there is: no program after it can give a larger one."""
        free = sorted(self.known.keys() - {program.slot.name for program in self.programs})
        if free:
            name = self.chance.choice(free)
            (session, moves, _), _ = store.read(self.folder, name, loaded)
            data = b"".join(Encoder().encode(session, Stamp(summary.MOST_COUNT, 1_600_000_000, moves)))
            (self.folder / f"{name}.json").write_bytes(data)

    def removes(self) -> None:
        name = self.chance.choice(sorted(self.known))
        if any(program.slot.name == name for program in self.programs):
            with pytest.raises(CannotChange):
                store.remove(self.folder, name)
            return
        store.remove(self.folder, name)
        del self.known[name]

    def prunes(self, playing: str) -> None:
        """Checks what was removed against the rule as docs/reference/session-file.md has it."""
        listed = store.sessions(self.folder)
        before = [one for one in listed if one.name in self.known and store.is_autosave(one.name)]
        lines = store.prune(self.folder, playing)
        gone = [one for one in before if not (self.folder / f"{one.name}.json").exists()]
        names = {one.name for one in gone}
        left = [one for one in before if one.name not in names]
        opened = {program.slot.name for program in self.programs}
        spared = opened | {one.name for one in before[:NEWEST]}
        assert not names & spared
        last: dict[str, str] = {}
        for one in reversed(before):
            last[store.when(one.saved)[:10]] = one.name
        kept_days = set(last.values())
        free = [one for one in left if one.name not in spared]
        assert len(gone) == max(0, min(len(before) - MOST, len(gone) + len(free))), "no more than is needed"
        if names & kept_days:
            assert all(one.name in kept_days for one in free), "the last of a day goes after all others"
        for one in gone:
            if one.name not in kept_days:
                assert all(
                    self.known[other.name].weight >= self.known[one.name].weight
                    for other in free
                    if other.name not in kept_days
                ), "the smallest goes first"
            if any(self.known[other.name].weight < self.known[one.name].weight for other in left):
                assert any(one.name in line for line in lines), "not without a line"
        self.pruned += len(gone)
        for name in names:
            del self.known[name]

    # --- what must hold

    def check(self) -> None:
        there = {one.name for one in store.sessions(self.folder)}
        assert there == self.known.keys() | self.foreign.keys(), there ^ (self.known.keys() | self.foreign.keys())
        for name, data in self.foreign.items():
            assert (self.folder / f"{name}.json").read_bytes() == data
            with pytest.raises(NoSession, match="made by a newer version"):
                store.read(self.folder, name, loaded)
        for name, record in self.known.items():
            (session, *_), _ = store.read(self.folder, name, loaded)
            assert state(session) in record.states, name

    def step(self) -> None:
        chance = self.chance.random()
        program = self.chance.choice(self.programs) if self.programs else None
        if program is None or (chance < 0.25 and len(self.programs) < 4):
            self.start()
        elif chance < 0.5:
            self.plays(program)
            self.saves(program)
        elif chance < 0.6:
            self.names(program)
        elif chance < 0.8:
            self.quits(program)
        elif chance < 0.88:
            self.killed(program)
        elif chance < 0.96 or not self.known:
            self.clocks()
        elif chance < 0.98:
            self.future()
        elif chance < 0.985:
            self.largest()
        else:
            self.removes()


def live(folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int, steps: int, figure: Figure) -> None:
    clock = Clock()
    monkeypatch.setattr(store, "time", clock)
    monkeypatch.setattr(store, "datetime", clock)
    monkeypatch.setattr(store, "MOST_AUTOSAVES", MOST)
    monkeypatch.setattr(store, "NEWEST_KEPT", NEWEST)
    monkeypatch.setattr(autosave, "time", clock)
    monkeypatch.setattr(autosave, "SILENT_WAIT", 0.2)
    monkeypatch.setattr(Autosave, "_prune", lambda _: None)  # done by this test, at a moment that it knows
    folder.mkdir()
    world = World(folder, random.Random(seed), clock, Disk(monkeypatch))
    for number in range(steps):
        try:
            world.step()
            if number % 5 == 0:
                world.check()
        except BaseException as error:
            error.add_note(f"DAYS_SEED={seed}, step {number}")
            raise
    while world.programs:
        world.quits(world.programs[0])
    world.check()
    figure(
        steps,
        "steps of programs that start, play, name, quit, are killed or refused, under clocks that jump",
        seed=seed,
        programs_killed_in_a_save=world.kills,
        disks_that_refused=world.refused,
        disks_that_did_not_answer=world.slow,
        sessions_pruned=world.pruned,
    )


def test_days_of_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    live(tmp_path / "sessions", monkeypatch, SEED, 60, figure)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
def test_months_of_use(part: int, tmp_path: Path, figure: Figure) -> None:
    for seed in range(SEED + part, SEED + 16, 4):
        with pytest.MonkeyPatch.context() as patch:
            live(tmp_path / str(seed), patch, seed, 500, figure)
