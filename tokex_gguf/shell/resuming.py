"""A session on the disk, gone on with: at the start, or in place of the one that is played."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tokex_gguf.engine.protocol import Load
from tokex_gguf.models import resolve
from tokex_gguf.models.memory import Fit
from tokex_gguf.models.preflight import UnusableModel, prepare, together
from tokex_gguf.play.rules import second_model
from tokex_gguf.play.rules.model_switch import turned_to
from tokex_gguf.play.session import Session, Settings
from tokex_gguf.play.versus import Pair, Turn
from tokex_gguf.sessions import codec, store, summary
from tokex_gguf.sessions.codec import Encoder
from tokex_gguf.sessions.store import Slot
from tokex_gguf.system import machine
from tokex_gguf.system.files import same_file
from tokex_gguf.values.layers import DELTA
from tokex_gguf.values.model_ref import GgufFile, ModelRef, ServerModel


class Opened(NamedTuple):
    """A session that was read, and the place where it is saved from now on."""

    slot: Slot
    session: Session
    moves: int
    """Those made in it so far."""
    named: str
    """The player's own name for it."""
    notice: str
    """What there is to tell about it; empty where there is nothing."""
    encoder: Encoder
    """By which it is saved."""


def opened(folder: Path, name: str) -> Opened:
    """Reads a session and holds it. One that another program plays is copied. Raises NoSession."""
    named, told = "" if store.is_autosave(name) else name, ""
    slot = store.claim(folder, name)
    if slot is None:
        # Whoever plays it goes on saving it: this program's copy is a session of its own.
        slot, named = Slot(folder), ""
        told = f"the session {name} is open in another program: what is played here is kept apart from it"
    try:
        (session, moves, encoder), damaged = store.read(folder, name, _loaded)
    except BaseException:
        slot.close()
        raise
    return Opened(slot, session, moves, named, told or damaged, encoder)


def _loaded(data: bytes) -> tuple[Session, int, Encoder]:
    """A session's document, how many moves were made in it, and what encodes it."""
    about = summary.parse(data[: summary.SUMMARY_BYTES])
    session, encoder = codec.read(data, Settings("", GgufFile("")))
    return session, about.moves if about else 0, encoder


def with_its_model(session: Session, started: Settings) -> tuple[Session, str]:
    """A session that was read, as a program that was started so goes on with it, and a line about its model's file.

    Raises UnknownModel or Unusable.
    """
    model = session.game.settings.model
    begun = replace(started, text=started.example, name="", chat="")
    if isinstance(model, ServerModel):
        return resumed(session, replace(begun, model=model), started.load.kv), ""
    found = resolve.played(model.path, model.asked)
    kv = (session.game.model and session.game.model.cells) or started.load.kv
    fit = prepare(found.path, context=started.load.context, kv=kv, rpc=started.load.rpc)
    settings = replace(
        begun,
        model=GgufFile(str(found.path), model.asked),
        load=replace(started.load, context=fit.context, most=fit.most, repack=fit.repack, kv=kv),
    )
    return resumed(session, settings, kv), "; ".join(filter(None, [found.notice, fit.notice]))


def resumed(session: Session, started: Settings, kv: str) -> Session:
    """A session that was read, with the settings of this start and the model that was asked for."""
    own = session.game.settings.model
    if _same(own, started.model):
        model = replace(own, asked=started.model.asked)
        session = replace(session, game=replace(session.game, settings=replace(started, model=model)))
        return _with_second(session, started, kv)
    # As if the player chose the other model: what was played with the one before waits for it.
    settings = replace(started, model=own, load=_load(own, started.load, kv))
    session, _ = turned_to(
        replace(session, game=replace(session.game, settings=settings)), started.model, started, notice=""
    )
    # The engine is started as that of any other game: by the first message.
    return replace(session, counts=replace(session.counts, engines=0), game=replace(session.game, address=0))


def with_beside(session: Session, model: GgufFile, fit: Fit) -> Session:
    """A session that begins, with another model beside the one that is played. Raises Unusable."""
    own = session.game.settings
    if isinstance(own.model, GgufFile) and _same_file(own.model.path, model.path):
        second = session.game
    else:
        load = replace(own.load, context=fit.context, most=fit.most, repack=fit.repack)
        second = second_model.second_game(session, replace(own, model=model, load=load))
    both = _together(own, second.settings)
    said = [session.notice, fit.notice and f"B: {fit.notice}", "" if both else second_model.IN_TURN]
    told = "; ".join(filter(None, said)) or second_model.HOW
    return replace(
        second_model.beside(session, second, together=both),
        options=replace(second_model.beside(session, second, together=both).options, layer=DELTA),
        notice=told,
    )


def _together(one: Settings, other: Settings) -> bool:
    """Whether there is memory for the models of two games at once. Raises Unusable."""
    paths = [Path(model.path) for model in (one.model, other.model) if isinstance(model, GgufFile)]
    free = machine.memory()[0]
    return bool(one.load.rpc) or len(set(paths)) < 2 or together(paths, kv=one.load.kv, free=free)


def _with_second(session: Session, started: Settings, kv: str) -> Session:
    """A session that was read, with the settings of this start also for the model beside."""
    pair, second = session.paired, session.beside
    if not isinstance(pair, Pair) or second is None or second is session.game:
        return session
    settings = replace(started, model=second.settings.model, load=_load(second.settings.model, started.load, kv))
    others = {**session.other_games, pair.key: replace(second, settings=settings)}
    try:
        turn = Turn.BOTH if _together(session.game.settings, settings) else Turn.DUE
    except UnusableModel:
        turn = Turn.BOTH  # loading it says why
    return replace(session, other_games=others, paired=replace(pair, turn=turn))


def _load(model: ModelRef, started: Load, kv: str) -> Load:
    """How the engine of a session's model is started."""
    if isinstance(model, ServerModel):
        return started
    try:
        own = prepare(Path(model.path), context=started.context, kv=kv, rpc=started.rpc)
    except UnusableModel:
        return started  # loading it says why, if it comes to that
    return replace(started, context=own.context, most=own.most, repack=own.repack)


def _same(one: ModelRef, other: ModelRef) -> bool:
    """Whether two are one model, whatever its file is called."""
    if isinstance(one, GgufFile) and isinstance(other, GgufFile):
        return _same_file(one.path, other.path)
    return one.key == other.key


def _same_file(one: str, other: str) -> bool:
    try:
        return one == other or same_file(Path(one), Path(other))
    except (OSError, ValueError):
        return False
