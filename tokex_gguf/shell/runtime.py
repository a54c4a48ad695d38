"""The shell around `update`: holds the session, carries out effects, collects messages.

Both the full-screen application and the plain output use it.
"""

import errno
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
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
from tokex_gguf.play.game import EditState, Sampling
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
    EngineReplied,
    InternalError,
    JudgeFurther,
    ListedModels,
    ListedSessions,
    ListedStarters,
    ListModels,
    ListSessions,
    ListStarters,
    MakeRows,
    Message,
    ModelsNotListed,
    NameSession,
    NoRows,
    NotDownloaded,
    NotPrepared,
    NotResumed,
    Prepare,
    Prepared,
    PreparedSecond,
    PrepareSecond,
    Quit,
    ReadText,
    ReleaseSession,
    Remark,
    Resume,
    Resumed,
    RowsReady,
    Save,
    Saved,
    SaveFailed,
    SearchFurther,
    Send,
    SessionSaved,
    SessionsNotListed,
    Start,
    Suspend,
    SwitchSession,
    TextNotRead,
    TextRead,
    Unsaved,
)
from tokex_gguf.play.session import Session
from tokex_gguf.play.update import frame_first, handle, plan
from tokex_gguf.shell.reading import Unreadable, text_of_file
from tokex_gguf.shell.rows import RowsFolder
from tokex_gguf.shell.starters import starters
from tokex_gguf.system import machine
from tokex_gguf.system.files import save_prompt
from tokex_gguf.values.alignment import aligned
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.model_ref import GgufFile, ModelRef, ServerModel
from tokex_gguf.values.record import record, replace
from tokex_gguf.values.score import Score
from tokex_gguf.values.text_files import is_utf_8
from tokex_gguf.values.tree import Node

if TYPE_CHECKING:
    from tokex_gguf.sessions.autosave import Autosave, SaveOutcome
    from tokex_gguf.sessions.codec import Encoder
    from tokex_gguf.sessions.store import Slot
    from tokex_gguf.shell.resuming import Opened

log = logging.getLogger(__name__)

LEAVING_WAIT = 5.0
"""Seconds to save a session that is left for another one."""
MOST_QUEUED_REPLIES = 256
"""Replies in the inbox, at the most. An engine with more has to wait."""
CHAINS_FOLDER = "samplers"
"""The folder for sampler chains, beside that of prompts."""
MESSAGES_PER_TURN, TURN_SECONDS = 64, 0.01
"""Messages, and seconds, of one turn of the event loop, at the most."""


def _identity(model: Loaded) -> tuple[str, str, str, str]:
    return model.name, model.architecture, model.quantization, model.fingerprint


_Position: TypeAlias = tuple[
    str, int, tuple[tuple[Node, str], ...], tuple[Node, ...], tuple[Score, ...], tuple[Node, ...]
]


def _position(session: Session) -> _Position | None:
    """All that a move changes: model, open paths, their names, the active and removed ones, scores, pruned nodes.

    Moving the cursor, selecting rows and changing the layer are no moves.

    None while the starting texts are not tokenised yet.
    """
    if not session.game.prompts:
        return None
    game = session.game
    tips = tuple((prompt.tip, prompt.name) for prompt in game.prompts)
    removed = tuple(prompt.tip for _, prompt in game.removed)
    return game.settings.model.key, game.active, tips, removed, game.results.scores, game.hidden.pruned


def _save_into(find: Callable[[], Path], text: bytes, paths: list[Path]) -> None:
    """Saves a text in the folder of `find`, and appends its path. Raises OSError."""
    paths.append(save_prompt(find(), text, datetime.now()))


class _CannotLeave(Exception):
    """The present session cannot be left, for this reason."""


@record
class _ForSlot:
    """A message about the session of a slot. It is dropped once another session is played."""

    slot: "Slot"
    message: Message


class Runtime:
    """Plays a session: carries effects out, and hands on what comes of them. Only `dispatch` and `plan` change it."""

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
        """`folder`: where prompts are saved; `connect` starts an engine for a model's file, whenever one is needed.

        `remote` starts one for a server's model.

        `slot`: where the session is saved after its first move; None: nowhere. `moves`: the session's moves so far;
        `encoder`: the encoder of a session that was read.
        """
        self.session = session
        self._started_with = session.game.settings
        """The settings of the start."""
        self.quit: Quit | None = None
        """Set when the game is over."""
        self.terminal: Callable[[Edit | Suspend | CopyOut], None] = lambda _: None
        """Called with effects that need the terminal."""
        self.notify: Callable[[], None] = lambda: None
        """Called, from any thread, when a message waits for `receive`."""
        self._connect: dict[type[ModelRef], Connect] = {GgufFile: connect or local(), ServerModel: remote}
        self._folder = folder
        self._files: dict[Path, None] = {}
        """The files of all models that engines were started for, in that order."""
        self._engines: dict[int, Engine] = {}
        """Running engines by their addresses."""
        self._ended: set[int] = set()
        """Addresses of closed engines."""
        self._slot = slot
        self._moves = moves
        self._encoder = encoder
        self._last_position: _Position | None = _position(session)
        """The position after the last move; None before there is one."""
        self._changed = False
        """Whether there is something to save: a move or a name."""
        self._typed_at_start = self._kept_besides_moves(session)
        """The state that is saved without being a move, as it was at the start."""
        self._autosave: Autosave | None = None
        self._opened: dict[str, Opened] = {}
        """Sessions that were read, to be played or given back next."""
        self._resuming = threading.Lock()
        """Held while a session is read."""
        self._closing_engines: list[threading.Thread] = []
        """Threads that close engines."""
        self._leaving_sessions: list[threading.Thread] = []
        """Threads that save sessions that were left."""
        self._rows = RowsFolder(config.state_folder() / "rows")
        self._making_rows = threading.Lock()
        self._inbox: queue.SimpleQueue[Message | _ForSlot] = queue.SimpleQueue()
        self._queue_room = threading.Semaphore(MOST_QUEUED_REPLIES)
        self._clock = time.monotonic
        self._notified = False
        self.plans_later = False
        """Whether this game's owner calls `plan` after a frame that the player waits for, where it is due."""
        self.plan_due = False
        """Whether `plan` has to be called."""

    def start(self) -> None:
        """Starts the engine; returns at once, while it loads the model."""
        self.dispatch(Begin())

    def close(
        self, patience: float = 5.0, hurry: threading.Event | None = None, waits: Callable[[], None] = lambda: None
    ) -> "SaveOutcome | None":
        """Closes the engine and saves the session; returns the outcome, None if nothing is saved.

        Saving may take `patience` seconds, and stops waiting once `hurry` is set; `waits` is called if it is slow.
        """
        self._end_all()
        try:
            return self._close_session(patience, hurry or threading.Event(), waits)
        finally:
            for thread in self._closing_engines:
                thread.join(LEAVING_WAIT)
            if self._making_rows.acquire(timeout=1.0):  # if the disk hangs, the next program removes the folder
                self._rows.close()

    def save_now(self, patience: float) -> None:
        """Saves what is not saved yet, and waits at most so many seconds for the disk."""
        if self._autosave:
            self._autosave.save(patience)

    def _close_session(
        self, patience: float, hurry: threading.Event, waits: Callable[[], None]
    ) -> "SaveOutcome | None":
        for thread in self._leaving_sessions:
            thread.join(LEAVING_WAIT)
        from tokex_gguf.sessions.autosave import left  # not at the start: a session may end without a move

        for opened in self._opened.values():
            left(opened.slot)
        if self._autosave:
            return self._autosave.close(patience, hurry, waits)
        end = left(self._slot) if self._slot else None
        has_prompts = self.session.game.prompts or self.session.other_games
        texts = [] if has_prompts else self.session.all_typed
        return self._keep_text("\n".join(texts)) if texts else end

    def _keep_text(self, text: str) -> "SaveOutcome":
        """Keeps text that came before the first prompt, without which there is no session."""
        from tokex_gguf.sessions.autosave import RESCUE_FOLDERS, SILENT_WAIT, Lost, TextKept, within

        data = text.encode(errors="surrogateescape")
        paths: list[Path] = []
        for find in (lambda: self._folder, *RESCUE_FOLDERS):
            if within(SILENT_WAIT, partial(_save_into, find, data, paths)):
                return TextKept(paths[0])
        return Lost("no folder takes a file: the log says more")

    def _end_all(self) -> None:
        for address in list(self._engines):
            self._end(address)

    def _end(self, address: int) -> None:
        self._ended.add(address)
        engine = self._engines.pop(address, None)
        if engine and (self._started_with.load.rpc or self._started_with.load.cache):
            # Closing takes long with RPC workers or a prompt cache: in a thread, so that saving does not wait.
            thread = threading.Thread(target=engine.close)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads
                engine.close()
            else:
                self._closing_engines = [one for one in self._closing_engines if one.is_alive()] + [thread]
        elif engine:
            engine.close()

    @property
    def engine_pid(self) -> int | None:
        """The process id of the game's engine, while there is one."""
        engine = self._engines.get(self.session.game.address)
        return engine.pid if engine else None

    def expect(self) -> None:
        """A key was pressed: saving pauses for its answer. Returns at once."""
        if self._autosave:
            self._autosave.expect()

    def dispatch(self, message: Message) -> None:
        """Updates the session by a message, and carries out the effects. May leave planning for after the frame."""
        self.expect()
        before = self.session
        self.session, effects = handle(before, message)
        self._carry_out(effects)  # first, so that the engine begins at once
        if self.plans_later and frame_first(before, self.session, message):
            self.plan_due = True
        elif not isinstance(message, InternalError):  # a step of planning may be what failed
            self.plan()
        if self._slot and self.session is not before:
            self._count_move(before)
            if self._changed:
                self._autosave_of(self._slot).follow(self.session, self._moves)

    def plan(self) -> None:
        """Gives the engines work while nobody waits for them."""
        self.plan_due = False
        self.session, effects = plan(self.session)
        self._carry_out(effects)

    def _count_move(self, before: Session) -> None:
        """Counts a move, if there was one. Typed text, samplers and comparisons are saved without being a move."""
        session, position = self.session, _position(self.session)
        if position is not None or session.other_games:
            self._changed = self._changed or self._kept_besides_moves(session) != self._typed_at_start
        if position is None or position == self._last_position:
            return
        # Prompts that are carried to another model arrive one by one, without a move.
        came = before.game.carried != session.game.carried and before.game.settings.model == session.game.settings.model
        if self._last_position is not None and not (came and self._last_position[0] == position[0]):
            self._moves += 1
            self._changed = True
        self._last_position = position

    @staticmethod
    def _kept_besides_moves(session: Session) -> tuple[tuple[str, ...], str, Sampling, tuple[Node, Node] | str]:
        editing = session.game.editing
        edited = editing.text if editing and editing.state is not EditState.OPEN else ""
        return session.unused, edited, session.game.sampling, session.compared

    def _autosave_of(self, slot: "Slot") -> "Autosave":
        if self._autosave is None:
            from tokex_gguf.sessions.autosave import Autosave  # not on the way to the first frame

            self._autosave = Autosave(
                slot,
                tell=lambda reason: self._enqueue(_ForSlot(slot, Unsaved(reason))),
                remark=self.remark,
                encoder=self._encoder,
            )
            self._encoder = None
        return self._autosave

    def receive(self) -> bool:
        """Handles waiting messages; returns whether there were any. Never blocks.

        Handles a limited number, and calls `notify` for the others, so that keys and signals come between them.
        """
        self._notified = False
        received = False
        end = self._clock() + TURN_SECONDS
        for _ in range(MESSAGES_PER_TURN):
            if self._inbox.empty() or (received and self._clock() > end):
                break
            self._handle(self._inbox.get())
            received = True
        if not self._inbox.empty():
            self._notify_once()
        return received

    def wait(self) -> None:
        """Waits for a message and handles it."""
        self._handle(self._inbox.get())

    def ask(self, request: Request) -> Iterator[Reply | EngineDied]:
        """Sends the game's engine a request of its own; yields all replies from then on.

        The request's number must be none of the game's.
        """
        if engine := self._engines.get(self.session.game.address):
            engine.send(request)
        while True:
            message = self._inbox.get()
            self._handle(message)
            inner = message.message if isinstance(message, _ForSlot) else message
            if isinstance(inner, EngineReplied):
                yield inner.reply

    def _handle(self, message: Message | _ForSlot) -> None:
        if isinstance(message, _ForSlot):
            if message.slot is not self._slot:
                return
            message = message.message
        if not isinstance(message, EngineReplied):
            self.dispatch(message)
            return
        self._queue_room.release()
        reply = message.reply
        if isinstance(reply, Loaded):
            engine = self._engines.get(message.engine)
            log.info("engine %s: %s, %s, %s, fingerprint %s", engine and engine.pid, *_identity(reply))
        try:
            self.dispatch(message)
        except Exception:
            if isinstance(reply, EngineDied):
                raise
            # An engine with an invalid reply is not trusted any more, and closed.
            log.exception("the engine's reply makes no sense")
            self._end(message.engine)
            self.dispatch(EngineReplied(message.engine, EngineDied("its reply makes no sense")))

    def remark(self, line: str) -> None:
        """Shows the player a line. Can be called from any thread."""
        self._enqueue(Remark(line))

    def _enqueue(self, message: Message | _ForSlot) -> None:
        self._inbox.put(message)
        self._notify_once()

    def _notify_once(self) -> None:
        """Calls `notify`, once until messages are received."""
        if not self._notified:
            self._notified = True
            self.notify()

    def _listen(self, reply: Reply | EngineDied, engine: int) -> None:
        """Enqueues a reply, in the reader's thread; blocks while the queue is full."""
        while engine not in self._ended:
            if self._queue_room.acquire(timeout=0.02):
                self._enqueue(EngineReplied(engine, reply))
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
                    # Not a daemon thread: the program's end waits for the save.
                    self._in_thread(partial(self._save, effect.text), SaveFailed, daemon=False)
                case CopyOut():
                    self.terminal(effect)
                    self._in_thread(partial(self._save_chain, effect.file), SaveFailed, daemon=False)
                case Edit() | Suspend():
                    self.terminal(effect)
                case ListStarters():
                    self._in_thread(self._list_starters, Remark)
                case NameSession():
                    self._name_session(effect.name)
                case ReadText():
                    self._in_thread(partial(self._read_text, effect.name), partial(TextNotRead, effect.name))
                case ListModels():
                    self._in_thread(self._list_models, ModelsNotListed)
                case ListSessions():
                    self._in_thread(self._list_sessions, SessionsNotListed)
                case Resume():
                    self._in_thread(partial(self._resume, effect.name), partial(NotResumed, effect.name))
                case SwitchSession():
                    self._switch_session(self._opened.pop(effect.name))
                case ReleaseSession():
                    self._opened.pop(effect.name).slot.close()
                case Prepare():
                    self._in_thread(
                        partial(self._prepare, effect.path, effect.asked), partial(NotPrepared, effect.path)
                    )
                case PrepareSecond():
                    work = partial(self._prepare_second, effect.path, effect.asked)
                    self._in_thread(work, partial(NotPrepared, effect.path))
                case MakeRows():
                    self._in_thread(self._make_rows, NoRows)
                case Download():
                    # A daemon thread: an unfinished download stays on the disk, for the next start.
                    self._in_thread(partial(self._download, effect.name), NotDownloaded)
                case JudgeFurther() | CompareFurther() | SearchFurther():
                    self._enqueue(effect)
                case Align():
                    self._in_thread(partial(self._align, effect), Remark)
                case Quit():
                    self.quit = effect

    def _start(self, address: int, model: ModelRef) -> None:
        """Starts an engine. Raises OSError if the first one cannot be started."""
        if isinstance(model, GgufFile):
            self._files[Path(model.path)] = None
        try:
            self._engines[address] = self._connect[type(model)](partial(self._listen, engine=address))
        except OSError as error:
            if address == 1:
                raise
            # The game stays on the screen, and another start may succeed.
            log.error("no engine could be started: %s", error)
            self._queue_room.acquire(blocking=False)
            self._enqueue(EngineReplied(address, EngineDied(system_reason(error))))

    def _in_thread(self, work: Callable[[], None], failed: Callable[[str], Message], *, daemon: bool = True) -> None:
        """Does `work` in a thread. An exception there is reported by the message that `failed` makes from a line."""

        def run() -> None:
            try:
                work()
            except Exception:
                log.exception("internal error")
                self._enqueue(failed(INTERNAL_ERROR))

        try:
            threading.Thread(target=run, daemon=daemon).start()
        except RuntimeError:  # the system gives no more threads
            self._enqueue(failed(system_reason(OSError(errno.EAGAIN, ""))))

    def _align(self, effect: Align) -> None:
        self._enqueue(Aligned(effect.a, effect.b, aligned(effect.first, effect.second)))

    def _name_session(self, name: str) -> None:
        if self._slot is None or not (self.session.game.prompts or self.session.other_games):
            self._enqueue(SaveFailed("there is nothing to keep yet"))
            return
        self._changed = True
        work = partial(self._keep, self._slot, self._autosave_of(self._slot), name, self.session, self._moves)
        self._in_thread(work, SaveFailed)

    def _list_starters(self) -> None:
        self._enqueue(ListedStarters(starters(self._folder, self.session.game.settings.example)))

    def _read_text(self, name: str) -> None:
        try:
            self._enqueue(TextRead(name, text_of_file(name)))
        except Unreadable as error:
            self._enqueue(TextNotRead(name, str(error)))

    def _list_models(self) -> None:
        self._enqueue(ListedModels((*self._servers(), *map(listed, catalogue(self._files)))))

    def _servers(self) -> list[ModelEntry]:
        """The configured server, and those that were played on."""
        session, configured = self.session, self._started_with.server
        models: list[ModelRef] = [ServerModel(configured.url, configured.model)] if configured.url else []
        models += [game.settings.model for game in (session.game, *session.other_games.values())]
        servers = {model.key: model for model in models if isinstance(model, ServerModel)}
        return [ModelEntry(key, model.called, "server", "") for key, model in servers.items()]

    def _prepare(self, path: str, asked: str) -> None:
        settings = self._started_with
        try:
            load = settings.load
            fit = prepare(Path(path), context=load.context, kv=load.kv, rpc=load.rpc)
        except UnusableModel as error:
            self._enqueue(NotPrepared(path, str(error)))
        else:
            self._enqueue(Prepared(path, fit, asked))

    def _prepare_second(self, path: str, asked: str) -> None:
        load = self._started_with.load
        try:
            fit = prepare(Path(path), context=load.context, kv=load.kv, rpc=load.rpc)
            # The first model's memory is not free any more.
            both = bool(load.rpc) or together([Path(path)], kv=load.kv, free=machine.memory()[0])
        except UnusableModel as error:
            self._enqueue(NotPrepared(path, str(error)))
        else:
            self._enqueue(PreparedSecond(path, fit, asked, both))

    def _make_rows(self) -> None:
        with self._making_rows:
            try:
                self._enqueue(RowsReady(str(self._rows.file())))
            except OSError as error:
                self._enqueue(NoRows(f"{error.filename or 'a file for it'}: {system_reason(error)}"))

    def _download(self, name: str) -> None:
        reported = 0

        def progress(count: int, total: int) -> None:
            nonlocal reported
            percent = min(99, 100 * count // total) if total else 0
            if percent != reported:
                reported = percent
                self._enqueue(Downloading(percent))

        try:
            resolved = resolve.obtain(name, log.info, progress)
        except (resolve.UnknownModel, resolve.DownloadFailed) as error:
            log.warning("not downloaded: %s", error)
            self._enqueue(NotDownloaded(str(error)))
        else:
            log.info("downloaded: %s", resolved.path)
            self._enqueue(Downloaded(str(resolved.path)))

    def _keep(self, slot: "Slot", saver: "Autosave", name: str, session: Session, moves: int) -> None:
        reason = saver.rename(name, session, moves)
        self._enqueue(_ForSlot(slot, SaveFailed(reason) if reason else SessionSaved(name)))

    def _list_sessions(self) -> None:
        if self._slot is None:
            self._enqueue(SessionsNotListed("no sessions are kept here"))
            return
        from tokex_gguf.sessions.listing import listed as sessions_listed

        self._wait_for_leaving_sessions()
        self._enqueue(ListedSessions(sessions_listed(self._slot.folder, self._slot.name)))

    def _resume(self, name: str) -> None:
        """Saves the present session, then reads and locks another one."""
        from tokex_gguf.sessions.store import NoSession

        with self._resuming:
            if name in self._opened:
                return  # a second request for the same session
            try:
                self._open(name)
            except (NoSession, resolve.UnknownModel, UnusableModel, _CannotLeave) as error:
                self._enqueue(NotResumed(name, str(error)))

    def _open(self, name: str) -> None:
        """Raises NoSession, UnknownModel, UnusableModel, or _CannotLeave."""
        from tokex_gguf.shell import resuming

        if self._slot is None:
            raise _CannotLeave("no sessions are kept here")
        if name == self._slot.name:  # the present session was named after the list was made
            raise _CannotLeave("it is the one that is played")
        self._wait_for_leaving_sessions()
        if self._autosave and (reason := self._autosave.save(LEAVING_WAIT)):
            raise _CannotLeave(f"it cannot be saved: {reason}")
        opened = resuming.opened(self._slot.folder, name)
        try:
            session, model_notice = resuming.with_its_model(opened.session, self._started_with)
        except BaseException:
            opened.slot.close()
            raise
        self._opened[name] = opened
        notice = "; ".join(filter(None, [opened.notice, model_notice]))
        self._enqueue(Resumed(name, replace(session, name=opened.named), notice))

    def _wait_for_leaving_sessions(self) -> None:
        """Waits until sessions that were left are saved and unlocked."""
        for thread in self._leaving_sessions[:]:
            thread.join()

    def _switch_session(self, opened: "Opened") -> None:
        """Saves the session from now on in another slot; the session before is saved to its end in a thread."""
        slot_before, saver = self._slot, self._autosave
        assert slot_before is not None
        self._slot, self._moves, self._encoder, self._autosave = opened.slot, opened.moves, opened.encoder, None
        self._last_position, self._changed = _position(self.session), False
        self._typed_at_start = self._kept_besides_moves(self.session)
        kv = self.session.game.settings.load.kv
        self._started_with = replace(self._started_with, load=replace(self._started_with.load, kv=kv))
        log.info("goes on with the session %s", opened.slot.name or opened.named)
        if saver is None:
            slot_before.close()
            return
        # Not a daemon thread: the program's end waits for it.
        thread = threading.Thread(target=partial(self._leave, saver))
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads
            self._leave(saver)
        else:
            self._leaving_sessions = [saving for saving in self._leaving_sessions if saving.is_alive()] + [thread]

    def _leave(self, saver: "Autosave") -> None:
        """Saves a session that was left, and closes it."""
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
            self._enqueue(SaveFailed(f"{self._folder}: {system_reason(error)}"))
        else:
            self._enqueue(Saved(str(path), is_utf_8(text)))

    def _save_chain(self, text: str) -> None:
        folder = self._folder.with_name(CHAINS_FOLDER)
        try:
            path = save_prompt(folder, text.encode().rstrip(b"\n"), datetime.now(), "samplers")
        except OSError as error:
            self._enqueue(SaveFailed(f"{folder}: {system_reason(error)}"))
        else:
            self._enqueue(CopiedOut(str(path)))
