"""Resumes a session from the disk: at the start, or in place of the present one."""

from pathlib import Path
from typing import NamedTuple

from tokex_gguf.engine.protocol import Load
from tokex_gguf.models import resolve
from tokex_gguf.models.memory import Fit
from tokex_gguf.models.preflight import UnusableModel, prepare, together
from tokex_gguf.play.game import Settings
from tokex_gguf.play.rules import second_model
from tokex_gguf.play.rules.model_switch import turned_to
from tokex_gguf.play.session import Session
from tokex_gguf.play.versus import Pair, Turn
from tokex_gguf.sessions import codec, store, summary
from tokex_gguf.sessions.codec import Encoder
from tokex_gguf.sessions.store import Slot
from tokex_gguf.system import machine
from tokex_gguf.system.files import same_file
from tokex_gguf.values.model_ref import GgufFile, ModelRef, ServerModel
from tokex_gguf.values.record import replace


class Opened(NamedTuple):
    """A session that was read, and the slot where it is saved from now on."""

    slot: Slot
    session: Session
    moves: int
    """Moves of the session so far."""
    named: str
    """The name that the player gave the session."""
    notice: str
    """A line for the player; may be empty."""
    encoder: Encoder
    """The encoder by which the session is saved."""


def opened(folder: Path, name: str) -> Opened:
    """Reads and locks a session. One that another program has open is copied. Raises NoSession."""
    named, notice = "" if store.is_autosave(name) else name, ""
    slot = store.claim(folder, name)
    if slot is None:
        # The other program goes on saving the session: the copy becomes a session of its own.
        slot, named = Slot(folder), ""
        notice = f"the session {name} is open in another program: what is played here is kept apart from it"
    try:
        (session, moves, encoder), damaged = store.read(folder, name, _loaded)
    except BaseException:
        slot.close()
        raise
    return Opened(slot, session, moves, named, notice or damaged, encoder)


def _loaded(data: bytes) -> tuple[Session, int, Encoder]:
    """A session's document, its number of moves, and its encoder."""
    about = summary.parse(data[: summary.SUMMARY_BYTES])
    session, encoder = codec.read(data, Settings("", GgufFile("")))
    return session, about.moves if about else 0, encoder


def with_its_model(session: Session, started: Settings) -> tuple[Session, str]:
    """A session that was read, with the settings of this start and its own model; and a line about the model's file.

    Raises UnknownModel or UnusableModel.
    """
    model = session.game.settings.model
    base = replace(started, text=started.example, name="", chat="")
    if isinstance(model, ServerModel):
        return resumed(session, replace(base, model=model), started.load.kv), ""
    resolved = resolve.played(model.path, model.asked)
    kv = (session.game.model and session.game.model.cells) or started.load.kv
    fit = prepare(resolved.path, context=started.load.context, kv=kv, rpc=started.load.rpc)
    settings = replace(
        base,
        model=GgufFile(str(resolved.path), model.asked),
        load=replace(started.load, context=fit.context, most=fit.most, repack=fit.repack, kv=kv),
    )
    return resumed(session, settings, kv), "; ".join(filter(None, [resolved.notice, fit.notice]))


def resumed(session: Session, started: Settings, kv: str) -> Session:
    """A session that was read, with the settings of this start and the model of `started`."""
    model_before = session.game.settings.model
    if _same(model_before, started.model):
        model = replace(model_before, asked=started.model.asked)
        session = replace(session, game=replace(session.game, settings=replace(started, model=model)))
        return _with_second(session, started, kv)
    # As if the player had chosen the other model: the game with the model before stays in the session.
    settings = replace(started, model=model_before, load=_load(model_before, started.load, kv))
    session, _ = turned_to(
        replace(session, game=replace(session.game, settings=settings)), started.model, started, notice=""
    )
    # The first message starts the engine.
    return replace(session, counts=replace(session.counts, engines=0), game=replace(session.game, address=0))


def with_second(session: Session, model: GgufFile, fit: Fit) -> Session:
    """A starting session with a second model beside its own. Raises UnusableModel."""
    settings = session.game.settings
    if isinstance(settings.model, GgufFile) and _same_file(settings.model.path, model.path):
        second = session.game
    else:
        load = replace(settings.load, context=fit.context, most=fit.most, repack=fit.repack)
        second = second_model.second_game(session, replace(settings, model=model, load=load))
    both = _together(settings, second.settings)
    notices = [session.notice, fit.notice and f"B: {fit.notice}", "" if both else second_model.IN_TURN]
    notice = "; ".join(filter(None, notices)) or second_model.HOW
    return replace(second_model.add_second(session, second, together=both), notice=notice)


def _together(one: Settings, other: Settings) -> bool:
    """Whether memory has room for the models of two games at once. Raises UnusableModel."""
    paths = [Path(model.path) for model in (one.model, other.model) if isinstance(model, GgufFile)]
    free = machine.memory()[0]
    return bool(one.load.rpc) or len(set(paths)) < 2 or together(paths, kv=one.load.kv, free=free)


def _with_second(session: Session, started: Settings, kv: str) -> Session:
    """A session that was read, with the settings of this start for its second model, too."""
    pair, second = session.paired, session.second
    if not isinstance(pair, Pair) or second is None or second is session.game:
        return session
    settings = replace(started, model=second.settings.model, load=_load(second.settings.model, started.load, kv))
    games = {**session.other_games, pair.key: replace(second, settings=settings)}
    try:
        turn = Turn.BOTH if _together(session.game.settings, settings) else Turn.DUE
    except UnusableModel:
        turn = Turn.BOTH  # loading reports the reason
    return replace(session, other_games=games, paired=replace(pair, turn=turn))


def _load(model: ModelRef, started: Load, kv: str) -> Load:
    """The load message for the engine of a session's model."""
    if isinstance(model, ServerModel):
        return started
    try:
        fit = prepare(Path(model.path), context=started.context, kv=kv, rpc=started.rpc)
    except UnusableModel:
        return started  # loading reports the reason
    return replace(started, context=fit.context, most=fit.most, repack=fit.repack)


def _same(one: ModelRef, other: ModelRef) -> bool:
    """Whether two references mean one model, by whatever path."""
    if isinstance(one, GgufFile) and isinstance(other, GgufFile):
        return _same_file(one.path, other.path)
    return one.key == other.key


def _same_file(one: str, other: str) -> bool:
    try:
        return one == other or same_file(Path(one), Path(other))
    except (OSError, ValueError):
        return False
