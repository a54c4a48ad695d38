"""Where the played session is saved, and how it is left for another one.

What saves is imported when it is first needed: it is not on the way to the first frame.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tokex_gguf.models.preflight import UnusableModel
from tokex_gguf.models.resolve import UnknownModel
from tokex_gguf.play.game import EditState, Sampling, Settings
from tokex_gguf.play.messages import (
    ListedSessions,
    Message,
    NotResumed,
    Remark,
    Resumed,
    SaveFailed,
    SessionSaved,
    SessionsNotListed,
    Unsaved,
)
from tokex_gguf.play.session import Session
from tokex_gguf.system.files import save_prompt
from tokex_gguf.values.record import record, replace
from tokex_gguf.values.score import Score
from tokex_gguf.values.tree import Node

if TYPE_CHECKING:
    from tokex_gguf.sessions.autosave import Autosave, SaveOutcome
    from tokex_gguf.sessions.codec import Encoder
    from tokex_gguf.sessions.store import Slot
    from tokex_gguf.shell.resuming import Opened

log = logging.getLogger(__name__)

LEAVING_WAIT = 5.0
"""Seconds to save a session that is left for another one."""

Position: TypeAlias = tuple[
    str, int, tuple[tuple[Node, str], ...], tuple[Node, ...], tuple[Score, ...], tuple[Node, ...]
]


def position(session: Session) -> Position | None:
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


def saved_besides_moves(session: Session) -> tuple[tuple[str, ...], str, Sampling, tuple[Node, Node] | str]:
    """What is saved without being a move: typed and edited text, samplers, and what is compared."""
    editing = session.game.editing
    edited = editing.text if editing and editing.state is not EditState.OPEN else ""
    return session.unused, edited, session.game.sampling, session.compared


def _save_into(find: Callable[[], Path], text: bytes, paths: list[Path]) -> None:
    """Saves a text in the folder of `find`, and appends its path. Raises OSError."""
    paths.append(save_prompt(find(), text, datetime.now()))


def keep_text(text: str, folder: Path) -> "SaveOutcome":
    """Saves text that came before the first prompt, without which there is no session."""
    from tokex_gguf.sessions.autosave import RESCUE_FOLDERS, SILENT_WAIT, Lost, TextSaved, within

    data = text.encode(errors="surrogateescape")
    paths: list[Path] = []
    for find in (lambda: folder, *RESCUE_FOLDERS):
        if within(SILENT_WAIT, partial(_save_into, find, data, paths)):
            return TextSaved(paths[0])
    return Lost("no folder takes a file: the log says more")


class _CannotLeave(Exception):
    """The present session cannot be left, for this reason."""


@record
class OfSlot:
    """A message about the session of a slot. It is dropped once another session is played."""

    slot: "Slot"
    message: Message


class SessionSaver:
    """Saves the session that is played after each of its moves, and reads and locks the one to play next."""

    def __init__(
        self,
        session: Session,
        slot: "Slot | None",
        *,
        moves: int,
        encoder: "Encoder | None",
        tell: Callable[[Message | OfSlot], None],
    ) -> None:
        """`slot`: where the session is saved after its first move; None: nowhere. `moves`: its moves so far.

        `encoder`: the encoder of a session that was read. `tell` is called with messages, from any thread.
        """
        self.slot = slot
        self.changed = False
        """Whether there is something to save: a move or a name."""
        self.moves = moves
        self._encoder = encoder
        self._tell = tell
        self._last_position = position(session)
        """The position after the last move; None before there is one."""
        self._at_start = saved_besides_moves(session)
        """The state that is saved without being a move, as it was at the start."""
        self._autosave: Autosave | None = None
        self._opened: dict[str, Opened] = {}
        """Sessions that were read, to be played or given back next."""
        self._resuming = threading.Lock()
        """Held while a session is read."""
        self._leaving: list[threading.Thread] = []
        """Threads that save sessions that were left."""

    def expect(self) -> None:
        """A key was pressed: saving pauses for its answer. Returns at once."""
        if self._autosave:
            self._autosave.expect()

    def follow(self, before: Session, session: Session) -> None:
        """Saves the session soon, if anything that is saved has changed."""
        if self.slot is None or session is before:
            return
        self.count_move(before, session)
        if self.changed:
            self.autosave_in(self.slot).follow(session, self.moves)

    def count_move(self, before: Session, session: Session) -> None:
        """Counts a move, if there was one. Typed text, samplers and comparisons are saved without being a move."""
        reached = position(session)
        if reached is not None or session.other_games:
            self.changed = self.changed or saved_besides_moves(session) != self._at_start
        if reached is None or reached == self._last_position:
            return
        # Prompts that are carried to another model arrive one by one, without a move.
        came = before.game.carried != session.game.carried and before.game.settings.model == session.game.settings.model
        if self._last_position is not None and not (came and self._last_position[0] == reached[0]):
            self.moves += 1
            self.changed = True
        self._last_position = reached

    def autosave_in(self, slot: "Slot") -> "Autosave":
        """What saves in the slot, in a thread of its own."""
        if self._autosave is None:
            from tokex_gguf.sessions.autosave import Autosave

            self._autosave = Autosave(
                slot,
                tell=lambda reason: self._tell(OfSlot(slot, Unsaved(reason))),
                remark=lambda line: self._tell(Remark(line)),
                encoder=self._encoder,
            )
            self._encoder = None
        return self._autosave

    def save_now(self, patience: float) -> None:
        """Saves what is not saved yet, and waits at most so many seconds for the disk."""
        if self._autosave:
            self._autosave.save(patience)

    def rename(self, name: str, session: Session) -> Callable[[], Message | OfSlot]:
        """Names the session: a function for a thread, which saves it and returns what came of it."""
        slot = self.slot
        if slot is None or not (session.game.prompts or session.other_games):
            return lambda: SaveFailed("there is nothing to keep yet")
        self.changed = True
        saver, moves = self.autosave_in(slot), self.moves

        def work() -> OfSlot:
            reason = saver.rename(name, session, moves)
            return OfSlot(slot, SaveFailed(reason) if reason else SessionSaved(name))

        return work

    def list_sessions(self) -> ListedSessions | SessionsNotListed:
        """Lists the other sessions. For a thread."""
        if self.slot is None:
            return SessionsNotListed("no sessions are kept here")
        from tokex_gguf.sessions.listing import listed

        self._wait_for_leaving()
        return ListedSessions(listed(self.slot.folder, self.slot.name))

    def resume(self, name: str, started: Settings) -> Resumed | NotResumed | None:
        """Saves the present session, then reads and locks another one. For a thread. None if that was done before."""
        from tokex_gguf.sessions.store import NoSession

        with self._resuming:
            if name in self._opened:
                return None
            try:
                return self._open(name, started)
            except (NoSession, UnknownModel, UnusableModel, _CannotLeave) as error:
                return NotResumed(name, str(error))

    def _open(self, name: str, started: Settings) -> Resumed:
        """Raises NoSession, UnknownModel, UnusableModel, or _CannotLeave."""
        from tokex_gguf.shell import resuming

        if self.slot is None:
            raise _CannotLeave("no sessions are kept here")
        if name == self.slot.name:  # the present session was named after the list was made
            raise _CannotLeave("it is the one that is played")
        self._wait_for_leaving()
        if self._autosave and (reason := self._autosave.save(LEAVING_WAIT)):
            raise _CannotLeave(f"it cannot be saved: {reason}")
        opened = resuming.opened(self.slot.folder, name)
        try:
            session, model_notice = resuming.with_its_model(opened.session, started)
        except BaseException:
            opened.slot.close()
            raise
        self._opened[name] = opened
        notice = "; ".join(filter(None, [opened.notice, model_notice]))
        return Resumed(name, replace(session, name=opened.named), notice)

    def release(self, name: str) -> None:
        """Gives a session back that was read, and is not played."""
        self._opened.pop(name).slot.close()

    def switch(self, name: str, session: Session) -> None:
        """Saves a session that was read, in its own slot. The one before is saved to its end in a thread."""
        opened = self._opened.pop(name)
        slot_before, saver = self.slot, self._autosave
        assert slot_before is not None
        self.slot, self.moves, self._encoder, self._autosave = opened.slot, opened.moves, opened.encoder, None
        self._last_position, self.changed = position(session), False
        self._at_start = saved_besides_moves(session)
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
            self._leaving = [saving for saving in self._leaving if saving.is_alive()] + [thread]

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
        self._tell(Remark(line))

    def _wait_for_leaving(self) -> None:
        """Waits until sessions that were left are saved and unlocked."""
        for thread in self._leaving[:]:
            thread.join()

    def close(
        self, session: Session, folder: Path, patience: float, hurry: threading.Event, waits: Callable[[], None]
    ) -> "SaveOutcome | None":
        """Saves the session to its end; returns the outcome, None if nothing is saved.

        Saving may take `patience` seconds, and stops waiting once `hurry` is set; `waits` is called if it is slow.
        Text that was typed before the first prompt is saved in `folder`.
        """
        for thread in self._leaving:
            thread.join(LEAVING_WAIT)
        from tokex_gguf.sessions.autosave import left

        for opened in self._opened.values():
            left(opened.slot)
        if self._autosave:
            return self._autosave.close(patience, hurry, waits)
        end = left(self.slot) if self.slot else None
        texts = [] if session.game.prompts or session.other_games else session.all_typed
        return keep_text("\n".join(texts), folder) if texts else end
