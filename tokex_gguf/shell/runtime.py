"""The shell around `update`: holds the session, carries effects out, collects messages.

The full-screen application and the plain output both play through it.
"""

import errno
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tokex_gguf import config
from tokex_gguf.engine.backend import Connect, Engine
from tokex_gguf.engine.client import local, remote
from tokex_gguf.engine.protocol import EngineDied, Loaded, Reply, Request
from tokex_gguf.models import resolve
from tokex_gguf.models.catalogue import catalogue, listed
from tokex_gguf.models.preflight import UnusableModel, prepare, together
from tokex_gguf.play.messages import (
    INTERNAL_ERROR,
    Align,
    Aligned,
    Begin,
    Close,
    CompareFurther,
    CopiedOut,
    CopyOut,
    Download,
    Downloaded,
    Downloading,
    Edit,
    Effect,
    FanFurther,
    GiveBack,
    GoOn,
    Heard,
    JudgeFurther,
    Keep,
    Listed,
    ListedModels,
    ListedSessions,
    ListModels,
    ListSessions,
    ListStarters,
    MakeRows,
    Message,
    NoRows,
    NotDownloaded,
    NotListed,
    NotPrepared,
    NotResumed,
    Prepare,
    PrepareBeside,
    Prepared,
    PreparedBeside,
    Quit,
    ReadText,
    Remark,
    Resume,
    Resumed,
    RowsReady,
    Save,
    Saved,
    SaveFailed,
    Send,
    SessionSaved,
    SessionsNotListed,
    Start,
    Suspend,
    TextNotRead,
    TextRead,
    Unsaved,
)
from tokex_gguf.play.session import EditState, Sampling, Score, Session
from tokex_gguf.play.update import update
from tokex_gguf.shell.reading import Unreadable, text_of_file
from tokex_gguf.shell.rows import RowsFolder
from tokex_gguf.shell.starters import starters
from tokex_gguf.system import machine
from tokex_gguf.system.files import save_prompt
from tokex_gguf.values.alignment import aligned
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.model_ref import GgufFile, ModelRef, ServerModel
from tokex_gguf.values.record import record
from tokex_gguf.values.tree import Node

if TYPE_CHECKING:
    from tokex_gguf.sessions.autosave import Autosave, SaveOutcome
    from tokex_gguf.sessions.codec import Encoder
    from tokex_gguf.sessions.store import Slot
    from tokex_gguf.shell.resuming import Opened

log = logging.getLogger(__name__)

LEAVING_WAIT = 5.0
"""Seconds that the disk has for a session that is left for another one."""
WAITING = 256
"""Replies that may wait to be taken. An engine that says more has to wait itself."""
CHAINS = "samplers"
"""The folder for sampler chains, beside that of prompts."""
MESSAGES_AT_ONCE, TURN = 64, 0.01
"""Messages, and seconds, that one turn of the event loop takes at the most."""


def _identity(model: Loaded) -> tuple[str, str, str, str]:
    return model.name, model.architecture, model.quantization, model.fingerprint


_Position: TypeAlias = tuple[
    str, int, tuple[tuple[Node, str], ...], tuple[Node, ...], tuple[Score, ...], tuple[Node, ...]
]


def _position(session: Session) -> _Position | None:
    """What a move changes: the model, open paths, their names, the active one, the removed, scores, what is pruned.

    Looking (at the table, along the path, with a layer) is no move.

    None where the texts that prompts begin with are not read yet.
    """
    if not session.game.prompts:
        return None
    game = session.game
    tips = tuple((prompt.tip, prompt.name) for prompt in game.prompts)
    removed = tuple(prompt.tip for _, prompt in game.removed)
    return game.settings.model.key, game.active, tips, removed, game.results.scores, game.hidden.pruned


class _Stays(Exception):
    """The present session cannot be left. The message is one line that says why."""


@record
class _Of:
    """What is told of the session that is saved in a place: nothing of it is for the one after it."""

    slot: "Slot"
    message: Message


class Runtime:
    """One game. `session` is its present state; only `dispatch` changes it."""

    def __init__(
        self,
        session: Session,
        *,
        folder: Path,
        connect: Connect | None = None,
        remote: Connect = remote,
        slot: "Slot | None" = None,
        moves: int = 0,
        encoder: "Encoder | None" = None,
    ) -> None:
        """`folder` is where prompts are saved; `connect` makes an engine for a model's file, as often as one is needed.

        `remote` makes one for the model of a server.

        `slot`: where the session is saved once it is played; None: it is not. `moves`: those made in it before;
        `encoder`: by which one that was read is saved.
        """
        self.session = session
        self._asked = session.game.settings
        """What the game was started with."""
        self.quit: Quit | None = None
        """Set once the game is over."""
        self.terminal: Callable[[Edit | Suspend | CopyOut], None] = lambda _: None
        """Called with what needs the terminal."""
        self.notify: Callable[[], None] = lambda: None
        """Called, from any thread, when a message waits for `receive`."""
        self._connect: dict[type[ModelRef], Connect] = {GgufFile: connect or local(), ServerModel: remote}
        self._folder = folder
        self._files: dict[Path, None] = {}
        """Of all models that engines were started for, in that order."""
        self._engines: dict[int, Engine] = {}
        """Those that are listened to, by their addresses."""
        self._ended: set[int] = set()
        """Addresses of those that were ended."""
        self._slot = slot
        self._moves = moves
        self._encoder = encoder
        self._before: _Position | None = _position(session)
        """What was played at the last move; None before there is anything to play."""
        self._changed = False
        """Whether anything was played, or named: else there is nothing to save."""
        self._typed = self._beside_moves(session)
        """What is kept though it is no move, as it was before the start."""
        self._autosave: Autosave | None = None
        self._opened: dict[str, Opened] = {}
        """Sessions that were read, and are played or given back next."""
        self._resuming = threading.Lock()
        """Held while one is read."""
        self._ending: list[threading.Thread] = []
        """What ends engines that take their time."""
        self._leaving: list[threading.Thread] = []
        """What saves the sessions that were left for others."""
        self._rows = RowsFolder(config.state_folder() / "rows")
        self._making_rows = threading.Lock()
        self._inbox: queue.SimpleQueue[Message | _Of] = queue.SimpleQueue()
        self._room = threading.Semaphore(WAITING)
        self._clock = time.monotonic
        self._notified = False

    def start(self) -> None:
        """Starts the engine, which loads the model while the caller goes on."""
        self.dispatch(Begin())

    def close(
        self, patience: float = 5.0, hurry: threading.Event | None = None, waits: Callable[[], None] = lambda: None
    ) -> "SaveOutcome | None":
        """Ends the engine, and saves what is unsaved; returns how that ended, None where nothing is kept.

        The disk gets `patience` seconds, and no more once `hurry` is set; `waits` is called where it needs them.
        """
        self._end_all()
        try:
            return self._kept(patience, hurry or threading.Event(), waits)
        finally:
            for thread in self._ending:
                thread.join(LEAVING_WAIT)
            if self._making_rows.acquire(timeout=1.0):  # on a disk that hangs it is left for the next program
                self._rows.close()

    def _kept(self, patience: float, hurry: threading.Event, waits: Callable[[], None]) -> "SaveOutcome | None":
        for thread in self._leaving:
            thread.join(LEAVING_WAIT)
        from tokex_gguf.sessions.autosave import left  # a session may only have been looked at

        for waiting in self._opened.values():
            left(waiting.slot)
        if self._autosave:
            return self._autosave.close(patience, hurry, waits)
        return left(self._slot) if self._slot else None

    def _end_all(self) -> None:
        for address in list(self._engines):
            self._end(address)

    def _end(self, address: int) -> None:
        self._ended.add(address)
        engine = self._engines.pop(address, None)
        if engine and (self._asked.load.rpc or self._asked.load.cache):
            # It takes its leave of workers, or keeps prompts. Nobody waits for that, least of all what is to be saved.
            thread = threading.Thread(target=engine.close)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads
                engine.close()
            else:
                self._ending = [one for one in self._ending if one.is_alive()] + [thread]
        elif engine:
            engine.close()

    @property
    def engine_pid(self) -> int | None:
        """The process id of the engine that is played with, while there is one."""
        engine = self._engines.get(self.session.game.address)
        return engine.pid if engine else None

    def expect(self) -> None:
        """A key is to be answered: what is saved gives way. Returns at once."""
        if self._autosave:
            self._autosave.expect()

    def dispatch(self, message: Message) -> None:
        """Takes one message in."""
        self.expect()
        before = self.session
        self.session, effects = update(before, message)
        self._carry_out(effects)  # before all else: the engine may begin
        if self._slot and self.session is not before:
            self._count(before)
            if self._changed:
                self._saver(self._slot).follow(self.session, self._moves)

    def _count(self, before: Session) -> None:
        """Counts a move, where this is one. Typed text and samplers are no move, and kept all the same."""
        session, position = self.session, _position(self.session)
        if position is not None or session.other_games:
            self._changed = self._changed or self._beside_moves(session) != self._typed
        if position is None or position == self._before:
            return
        # Texts that come along to another model come one after the other, and by themselves.
        came = before.game.carried != session.game.carried and before.game.settings.model == session.game.settings.model
        if self._before is not None and not (came and self._before[0] == position[0]):
            self._moves += 1
            self._changed = True
        self._before = position

    @staticmethod
    def _beside_moves(session: Session) -> tuple[str, str, str, str, Sampling]:
        editing = session.game.editing
        edited = editing.text if editing and editing.state is not EditState.OPEN else ""
        return session.unfinished, session.unopened, session.uninserted, edited, session.game.sampling

    def _saver(self, slot: "Slot") -> "Autosave":
        if self._autosave is None:
            from tokex_gguf.sessions.autosave import Autosave  # not on the way to the first frame

            self._autosave = Autosave(
                slot,
                tell=lambda reason: self._put(_Of(slot, Unsaved(reason))),
                remark=self.remark,
                encoder=self._encoder,
            )
            self._encoder = None
        return self._autosave

    def receive(self) -> bool:
        """Takes in messages that wait; returns whether there were any. Never blocks.

        Of many it takes some, and `notify` is called for the others: between them keys are answered and signals heeded.
        """
        self._notified = False
        received = False
        end = self._clock() + TURN
        for _ in range(MESSAGES_AT_ONCE):
            if self._inbox.empty() or (received and self._clock() > end):
                break
            self._hear(self._inbox.get())
            received = True
        if not self._inbox.empty():
            self._tell()
        return received

    def wait(self) -> None:
        """Waits for a message and takes it in."""
        self._hear(self._inbox.get())

    def ask(self, request: Request) -> Iterator[Reply | EngineDied]:
        """Asks the engine that is played with something that is no move; gives all that it says from then on.

        The request's number must be none of the game's.
        """
        if engine := self._engines.get(self.session.game.address):
            engine.send(request)
        while True:
            message = self._inbox.get()
            self._hear(message)
            inner = message.message if isinstance(message, _Of) else message
            if isinstance(inner, Heard):
                yield inner.reply

    def _hear(self, message: Message | _Of) -> None:
        if isinstance(message, _Of):
            if message.slot is not self._slot:
                return
            message = message.message
        if not isinstance(message, Heard):
            self.dispatch(message)
            return
        self._room.release()
        reply = message.reply
        if isinstance(reply, Loaded):
            engine = self._engines.get(message.engine)
            log.info("engine %s: %s, %s, %s, fingerprint %s", engine and engine.pid, *_identity(reply))
        try:
            self.dispatch(message)
        except Exception:
            if isinstance(reply, EngineDied):
                raise
            # An engine whose reply makes no sense is no more to be trusted: it ends.
            log.exception("the engine's reply makes no sense")
            self._end(message.engine)
            self.dispatch(Heard(message.engine, EngineDied("its reply makes no sense")))

    def remark(self, line: str) -> None:
        """Tells the player a line. Can be called from any thread."""
        self._put(Remark(line))

    def _put(self, message: Message | _Of) -> None:
        self._inbox.put(message)
        self._tell()

    def _tell(self) -> None:
        """Says once that messages wait, until they are taken."""
        if not self._notified:
            self._notified = True
            self.notify()

    def _listen(self, reply: Reply | EngineDied, engine: int) -> None:
        """Takes a reply from the thread that reads them, which waits here while many are not taken yet."""
        while engine not in self._ended:
            if self._room.acquire(timeout=0.02):
                self._put(Heard(engine, reply))
                return

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start():
                    self._start(effect.engine, effect.model)
                case Close():
                    self._end(effect.engine)
                case Send():
                    if engine := self._engines.get(effect.engine):
                        engine.send(effect.request)
                case Save():
                    # Not a daemon: a save that has begun is finished before the program ends.
                    self._beside(partial(self._save, effect.text), SaveFailed, daemon=False)
                case CopyOut():
                    self.terminal(effect)
                    self._beside(partial(self._save_chain, effect.file), SaveFailed, daemon=False)
                case Edit() | Suspend():
                    self.terminal(effect)
                case ListStarters():
                    self._beside(self._list, Remark)
                case Keep():
                    self._name(effect.name)
                case ReadText():
                    self._beside(partial(self._read, effect.name), partial(TextNotRead, effect.name))
                case ListModels():
                    self._beside(self._list_models, NotListed)
                case ListSessions():
                    self._beside(self._list_sessions, SessionsNotListed)
                case Resume():
                    self._beside(partial(self._resume, effect.name), partial(NotResumed, effect.name))
                case GoOn():
                    self._go_on(self._opened.pop(effect.name))
                case GiveBack():
                    self._opened.pop(effect.name).slot.close()
                case Prepare():
                    self._beside(partial(self._prepare, effect.path, effect.asked), partial(NotPrepared, effect.path))
                case PrepareBeside():
                    work = partial(self._prepare_beside, effect.path, effect.asked)
                    self._beside(work, partial(NotPrepared, effect.path))
                case MakeRows():
                    self._beside(self._make_rows, NoRows)
                case Download():
                    # Nobody waits for its end: what came of it is on the disk, for the next start.
                    self._beside(partial(self._download, effect.name), NotDownloaded)
                case JudgeFurther() | CompareFurther() | FanFurther():
                    self._put(effect)
                case Align():
                    self._beside(partial(self._align, effect), Remark)
                case Quit():
                    self.quit = effect

    def _start(self, address: int, model: ModelRef) -> None:
        """Starts an engine. Raises OSError where that cannot be and there was none before."""
        if isinstance(model, GgufFile):
            self._files[Path(model.path)] = None
        try:
            self._engines[address] = self._connect[type(model)](partial(self._listen, engine=address))
        except OSError as error:
            if address == 1:
                raise
            # What was played stays on the screen, and another start may succeed.
            log.error("no engine could be started: %s", error)
            self._room.acquire(blocking=False)
            self._put(Heard(address, EngineDied(system_reason(error))))

    def _beside(self, work: Callable[[], None], failed: Callable[[str], Message], *, daemon: bool = True) -> None:
        """Does something in a thread. What goes wrong there is told by the message that `failed` makes of a line."""

        def run() -> None:
            try:
                work()
            except Exception:
                log.exception("internal error")
                self._put(failed(INTERNAL_ERROR))

        try:
            threading.Thread(target=run, daemon=daemon).start()
        except RuntimeError:  # the system gives no more threads
            self._put(failed(system_reason(OSError(errno.EAGAIN, ""))))

    def _align(self, asked: Align) -> None:
        self._put(Aligned(asked.a, asked.b, aligned(asked.first, asked.second)))

    def _name(self, name: str) -> None:
        if self._slot is None or not (self.session.game.prompts or self.session.other_games):
            self._put(SaveFailed("there is nothing to keep yet"))
            return
        self._changed = True
        work = partial(self._keep, self._slot, self._saver(self._slot), name, self.session, self._moves)
        self._beside(work, SaveFailed)

    def _list(self) -> None:
        self._put(Listed(starters(self._folder, self.session.game.settings.example)))

    def _read(self, name: str) -> None:
        try:
            self._put(TextRead(name, text_of_file(name)))
        except Unreadable as error:
            self._put(TextNotRead(name, str(error)))

    def _list_models(self) -> None:
        self._put(ListedModels((*self._servers(), *map(listed, catalogue(self._files)))))

    def _servers(self) -> list[ModelEntry]:
        """The server that is configured, and those that were played on."""
        session, own = self.session, self._asked.server
        known: list[ModelRef] = [ServerModel(own.url, own.model)] if own.url else []
        known += [game.settings.model for game in (session.game, *session.other_games.values())]
        servers = {model.key: model for model in known if isinstance(model, ServerModel)}
        return [ModelEntry(key, model.called, "server", "") for key, model in servers.items()]

    def _prepare(self, path: str, asked: str) -> None:
        settings = self._asked
        try:
            load = settings.load
            fit = prepare(Path(path), context=load.context, kv=load.kv, rpc=load.rpc)
        except UnusableModel as error:
            self._put(NotPrepared(path, str(error)))
        else:
            self._put(Prepared(path, fit, asked))

    def _prepare_beside(self, path: str, asked: str) -> None:
        load = self._asked.load
        try:
            fit = prepare(Path(path), context=load.context, kv=load.kv, rpc=load.rpc)
            # What the first one takes is no more free.
            both = bool(load.rpc) or together([Path(path)], kv=load.kv, free=machine.memory()[0])
        except UnusableModel as error:
            self._put(NotPrepared(path, str(error)))
        else:
            self._put(PreparedBeside(path, fit, asked, both))

    def _make_rows(self) -> None:
        with self._making_rows:
            try:
                self._put(RowsReady(str(self._rows.file())))
            except OSError as error:
                self._put(NoRows(f"{error.filename or 'a file for it'}: {system_reason(error)}"))

    def _download(self, name: str) -> None:
        told = 0

        def came(count: int, total: int) -> None:
            nonlocal told
            percent = min(99, 100 * count // total) if total else 0
            if percent != told:
                told = percent
                self._put(Downloading(percent))

        try:
            found = resolve.obtain(name, log.info, came)
        except (resolve.UnknownModel, resolve.DownloadFailed) as error:
            log.warning("not downloaded: %s", error)
            self._put(NotDownloaded(str(error)))
        else:
            log.info("downloaded: %s", found.path)
            self._put(Downloaded(str(found.path)))

    def _keep(self, slot: "Slot", saver: "Autosave", name: str, session: Session, moves: int) -> None:
        reason = saver.rename(name, session, moves)
        self._put(_Of(slot, SaveFailed(reason) if reason else SessionSaved(name)))

    def _list_sessions(self) -> None:
        if self._slot is None:
            self._put(SessionsNotListed("no sessions are kept here"))
            return
        from tokex_gguf.sessions.listing import listed as sessions_listed

        self._wait_for_those_left()
        self._put(ListedSessions(sessions_listed(self._slot.folder, self._slot.name)))

    def _resume(self, name: str) -> None:
        """Saves the present session and reads another one, which is held from then on."""
        from tokex_gguf.sessions.store import NoSession

        with self._resuming:
            if name in self._opened:
                return  # asked for twice: it is on its way
            try:
                self._open(name)
            except (NoSession, resolve.UnknownModel, UnusableModel, _Stays) as error:
                self._put(NotResumed(name, str(error)))

    def _open(self, name: str) -> None:
        """Raises NoSession, UnknownModel, Unusable, or _Stays."""
        from tokex_gguf.shell import resuming

        if self._slot is None:
            raise _Stays("no sessions are kept here")
        if name == self._slot.name:  # the list is older than its name
            raise _Stays("it is the one that is played")
        self._wait_for_those_left()
        if self._autosave and (reason := self._autosave.save(LEAVING_WAIT)):
            raise _Stays(f"it cannot be saved: {reason}")
        found = resuming.opened(self._slot.folder, name)
        try:
            session, told = resuming.with_its_model(found.session, self._asked)
        except BaseException:
            found.slot.close()
            raise
        self._opened[name] = found
        notice = "; ".join(filter(None, [found.notice, told]))
        self._put(Resumed(name, replace(session, name=found.named), notice))

    def _wait_for_those_left(self) -> None:
        """A session that was left is as it should be, and free, once its last state is saved."""
        for thread in self._leaving[:]:
            thread.join()

    def _go_on(self, found: "Opened") -> None:
        """The session is another one now: the one before is saved to its end, beside, and this one in its own place."""
        before, saver = self._slot, self._autosave
        assert before is not None
        self._slot, self._moves, self._encoder, self._autosave = found.slot, found.moves, found.encoder, None
        self._before, self._changed = _position(self.session), False
        self._typed = self._beside_moves(self.session)
        kv = self.session.game.settings.load.kv
        self._asked = replace(self._asked, load=replace(self._asked.load, kv=kv))
        log.info("goes on with the session %s", found.slot.name or found.named)
        if saver is None:
            before.close()
            return
        # Not a daemon: it is finished before the program ends.
        thread = threading.Thread(target=partial(self._leave, saver))
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads
            self._leave(saver)
        else:
            self._leaving = [one for one in self._leaving if one.is_alive()] + [thread]

    def _leave(self, saver: "Autosave") -> None:
        """Saves a session that was left for another one to its end."""
        from tokex_gguf.sessions.autosave import Lost, Rescued

        match saver.close(LEAVING_WAIT, threading.Event(), lambda: None):
            case Rescued(path, place, reason):
                line = f"the session before is not saved ({reason}): it is in {path}, move it to {place}"
            case Lost(reason):
                line = f"what was played last in the session before is not saved: {reason}"
            case _:
                return
        log.warning("%s", line)
        self.remark(line)

    def _save(self, text: bytes) -> None:
        try:
            path = save_prompt(self._folder, text, datetime.now())
        except OSError as error:
            self._put(SaveFailed(f"{self._folder}: {system_reason(error)}"))
        else:
            self._put(Saved(str(path)))

    def _save_chain(self, text: str) -> None:
        folder = self._folder.with_name(CHAINS)
        try:
            path = save_prompt(folder, text.encode().rstrip(b"\n"), datetime.now(), "samplers")
        except OSError as error:
            self._put(SaveFailed(f"{folder}: {system_reason(error)}"))
        else:
            self._put(CopiedOut(str(path)))
