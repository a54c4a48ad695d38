"""The shell around `update`: holds the session, carries out effects, collects messages.

Both the full-screen application and the plain output use it.
"""

import errno
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tokex_gguf import config
from tokex_gguf.engine.backend import Connect, Engine
from tokex_gguf.engine.client import local, remote
from tokex_gguf.engine.protocol import EngineDied, Loaded, Reply, Request
from tokex_gguf.play.messages import (
    INTERNAL_ERROR,
    Align,
    Begin,
    Close,
    CompareFurther,
    CopyOut,
    Download,
    Edit,
    Effect,
    EngineReplied,
    InternalError,
    JudgeFurther,
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
    PrepareSecond,
    Quit,
    ReadText,
    ReleaseSession,
    Remark,
    Resume,
    Save,
    SaveFailed,
    SearchFurther,
    Send,
    SessionsNotListed,
    Start,
    Suspend,
    SwitchSession,
    TextNotRead,
)
from tokex_gguf.play.session import Session
from tokex_gguf.play.update import frame_first, handle, plan
from tokex_gguf.shell import background
from tokex_gguf.shell.rows import RowsFolder
from tokex_gguf.shell.saving import OfSlot, SessionSaver
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.model_ref import GgufFile, ModelRef, ServerModel
from tokex_gguf.values.record import replace

if TYPE_CHECKING:
    from tokex_gguf.sessions.autosave import SaveOutcome
    from tokex_gguf.sessions.codec import Encoder
    from tokex_gguf.sessions.store import Slot

log = logging.getLogger(__name__)

CLOSING_WAIT = 5.0
"""Seconds for an engine to close, at the end of the program."""
MOST_QUEUED_REPLIES = 256
"""Replies in the inbox, at the most. An engine with more has to wait."""
CHAINS_FOLDER = "samplers"
"""The folder for sampler chains, beside that of prompts."""
MESSAGES_PER_TURN, TURN_SECONDS = 64, 0.01
"""Messages, and seconds, of one turn of the event loop, at the most."""


def _identity(model: Loaded) -> tuple[str, str, str, str]:
    return model.name, model.architecture, model.quantization, model.fingerprint


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
        self._saver = SessionSaver(session, slot, moves=moves, encoder=encoder, tell=self._enqueue)
        self._closing_engines: list[threading.Thread] = []
        """Threads that close engines."""
        self._rows = RowsFolder(config.state_folder() / "rows")
        self._making_rows = threading.Lock()
        self._inbox: queue.SimpleQueue[Message | OfSlot] = queue.SimpleQueue()
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
            return self._saver.close(self.session, self._folder, patience, hurry or threading.Event(), waits)
        finally:
            for thread in self._closing_engines:
                thread.join(CLOSING_WAIT)
            if self._making_rows.acquire(timeout=1.0):  # if the disk hangs, the next program removes the folder
                self._rows.close()

    def save_now(self, patience: float) -> None:
        """Saves what is not saved yet, and waits at most so many seconds for the disk."""
        self._saver.save_now(patience)

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
        self._saver.expect()

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
        self._saver.follow(before, self.session)

    def plan(self) -> None:
        """Gives the engines work while nobody waits for them."""
        self.plan_due = False
        self.session, effects = plan(self.session)
        self._carry_out(effects)

    def receive(self) -> bool:
        """Handles waiting messages; returns whether there were any. Never blocks.

        Handles a limited number, and calls `notify` for the others, so that keys and signals come between them.
        """
        self._notified = False
        received = False
        end = self._clock() + TURN_SECONDS
        try:
            for _ in range(MESSAGES_PER_TURN):
                if self._inbox.empty() or (received and self._clock() > end):
                    break
                self._handle(self._inbox.get())
                received = True
        finally:  # also where a message has failed: those behind it wait
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
            inner = message.message if isinstance(message, OfSlot) else message
            if isinstance(inner, EngineReplied):
                yield inner.reply

    def _handle(self, message: Message | OfSlot) -> None:
        if isinstance(message, OfSlot):
            if message.slot is not self._saver.slot:
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

    def _enqueue(self, message: Message | OfSlot) -> None:
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
                    self._in_thread(partial(background.save_text, self._folder, effect.text), SaveFailed, daemon=False)
                case CopyOut():
                    self.terminal(effect)
                    folder = self._folder.with_name(CHAINS_FOLDER)
                    self._in_thread(partial(background.save_chain, folder, effect.file), SaveFailed, daemon=False)
                case Edit() | Suspend():
                    self.terminal(effect)
                case ListStarters():
                    example = self.session.game.settings.example
                    self._in_thread(partial(background.list_starters, self._folder, example), Remark)
                case NameSession():
                    self._in_thread(self._saver.rename(effect.name, self.session), SaveFailed)
                case ReadText():
                    self._in_thread(partial(background.read_text, effect.name), partial(TextNotRead, effect.name))
                case ListModels():
                    servers, files = self._servers(), list(self._files)
                    self._in_thread(partial(background.list_models, servers, files), ModelsNotListed)
                case ListSessions():
                    self._in_thread(self._saver.list_sessions, SessionsNotListed)
                case Resume():
                    resume = partial(self._saver.resume, effect.name, self._started_with)
                    self._in_thread(resume, partial(NotResumed, effect.name))
                case SwitchSession():
                    self._saver.switch(effect.name, self.session)
                    kv = self.session.game.settings.load.kv
                    self._started_with = replace(self._started_with, load=replace(self._started_with.load, kv=kv))
                case ReleaseSession():
                    self._saver.release(effect.name)
                case Prepare():
                    prepare = partial(background.prepare_model, effect.path, effect.asked, self._started_with.load)
                    self._in_thread(prepare, partial(NotPrepared, effect.path))
                case PrepareSecond():
                    second = partial(background.prepare_second, effect.path, effect.asked, self._started_with.load)
                    self._in_thread(second, partial(NotPrepared, effect.path))
                case MakeRows():
                    self._in_thread(self._make_rows, NoRows)
                case Download():
                    # A daemon thread: an unfinished download stays on the disk, for the next start.
                    self._in_thread(partial(background.download, effect.name, self._enqueue), NotDownloaded)
                case JudgeFurther() | CompareFurther() | SearchFurther():
                    self._enqueue(effect)
                case Align():
                    self._in_thread(partial(background.align, effect), Remark)
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

    def _in_thread(
        self, work: Callable[[], Message | OfSlot | None], failed: Callable[[str], Message], *, daemon: bool = True
    ) -> None:
        """Does `work` in a thread, and enqueues its message.

        An exception there is reported by the message that `failed` makes from a line.
        """

        def run() -> None:
            message: Message | OfSlot | None
            try:
                message = work()
            except Exception:
                log.exception("internal error")
                message = failed(INTERNAL_ERROR)
            if message is not None:
                self._enqueue(message)

        try:
            threading.Thread(target=run, daemon=daemon).start()
        except RuntimeError:  # the system gives no more threads
            self._enqueue(failed(system_reason(OSError(errno.EAGAIN, ""))))

    def _servers(self) -> list[ServerModel]:
        """The configured server, and those that were played on."""
        session, configured = self.session, self._started_with.server
        models: list[ModelRef] = [ServerModel(configured.url, configured.model)] if configured.url else []
        models += [game.settings.model for game in (session.game, *session.other_games.values())]
        return [model for model in models if isinstance(model, ServerModel)]

    def _make_rows(self) -> Message:
        with self._making_rows:
            return background.make_rows(self._rows)
