"""The full-screen application: keys in, frames out. The only place that builds one.

All it knows is how to bind the key table, hand messages to the game, and draw what
`View` gives. Nothing here computes: a key that needs the engine returns at once.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.filters import Condition
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import Layout
from prompt_toolkit.mouse_events import MouseEvent, MouseEventType
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.styles import BaseStyle, DynamicStyle, Style

from tokex_gguf.editor import edit_text
from tokex_gguf.game import Game
from tokex_gguf.keymap import BINDINGS, Action, action
from tokex_gguf.session import Session
from tokex_gguf.ui.cells import Line
from tokex_gguf.ui.paint import Painting
from tokex_gguf.ui.theme import styles
from tokex_gguf.ui.view import View
from tokex_gguf.update import Go, Message, Typed

log = logging.getLogger(__name__)

PATIENCE = 0.05
"""Seconds that an answer may take before the screen says `working`.

A frame drawn at once for every key would flicker, and take its time from the decode
that runs beside it.
"""


PLAYING = 0.15
"""Seconds between two frames of autoplay: each frame takes its time from the decodes."""


class App:
    """A game on a terminal."""

    def __init__(self, game: Game, keys: Input | None = None, output: Output | None = None) -> None:
        self._game = game
        self._view = View()
        self._timer: asyncio.TimerHandle | None = None
        self._application: Application[None] = Application(
            layout=Layout(Painting(self._screen, self._point, lambda: self._game.session.mouse)),
            key_bindings=self._bindings(),
            style=DynamicStyle(self._style),
            mouse_support=Condition(lambda: self._game.session.mouse),
            full_screen=True,
            color_depth=colour_depth,
            max_render_postpone_time=0,
            input=keys,
            output=output,
        )
        # Escape is a key of its own here: wait only for the rest of an arrow key's sequence.
        self._application.ttimeoutlen = 0.05
        self._application.timeoutlen = 0.3

    def _style(self) -> BaseStyle:
        session = self._game.session
        return palette_style(session.palette.value, session.settings.light)

    @property
    def application(self) -> Application[None]:
        """prompt_toolkit's application."""
        return self._application

    def run(self) -> None:
        """Plays until the player quits; the terminal is then as it was."""
        # Control characters typed before the first frame are keys, too.
        self._application.run(pre_run=self._prepare, handle_sigint=False)

    async def run_async(self) -> None:
        """`run` inside a running event loop."""
        await self._application.run_async(pre_run=self._prepare, handle_sigint=False)

    def _screen(self, width: int, height: int) -> list[Line]:
        """The present frame."""
        try:
            return self._view.screen(self._game.session, width, height)
        except Exception:
            log.exception("internal error while drawing")
            return [[("class:fault", "this cannot be drawn: the log file has the details; ctrl+q quits")]]

    def _prepare(self) -> None:
        loop = asyncio.get_running_loop()

        def notify() -> None:
            try:
                loop.call_soon_threadsafe(self._receive)
            except RuntimeError:
                pass  # the loop is closed: the game is over

        self._game.notify = notify
        loop.call_soon(self._receive)
        for name in ("SIGTERM", "SIGHUP", "SIGINT"):
            if number := getattr(signal, name, None):
                try:
                    loop.add_signal_handler(number, self._leave)
                except (NotImplementedError, RuntimeError, ValueError):
                    pass  # not on this system, or not in this thread

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()
        bindings.add(Keys.Any)(self._any_key)
        bindings.add(Keys.BracketedPaste)(self._paste)
        for key in sorted({key for binding in BINDINGS for key in binding.keys}):
            bindings.add(key, eager=True)(self._handler(key))
        return bindings

    def _point(self, event: MouseEvent) -> None:
        """A click, or a turn of the wheel."""
        size = self._application.output.get_size()
        if event.event_type is MouseEventType.SCROLL_UP:
            self._take(Action.UP)
        elif event.event_type is MouseEventType.SCROLL_DOWN:
            self._take(Action.DOWN)
        elif event.event_type is MouseEventType.MOUSE_UP:
            place = event.position
            if meant := self._view.hit(self._game.session, size.columns, size.rows, place.x, place.y):
                self._take(meant)

    def _handler(self, key: str) -> Callable[[KeyPressEvent], object]:
        def handle(event: KeyPressEvent) -> object:
            mode = self._game.session.mode
            meant = action(mode, key)
            if meant is Action.GO:
                self._take(Go(int(key) - 1))
            elif meant:
                self._take(meant)
            elif mode.typing and event.data.isprintable():
                self._take(Typed(event.data))
            return NotImplemented  # `_take` draws where that is wanted

        return handle

    def _any_key(self, event: KeyPressEvent) -> object:
        if self._game.session.mode.typing and event.data == "\t":
            self._take(Typed("\t"))
        elif self._game.session.mode.typing and event.data.isprintable():
            self._take(Typed(event.data))
        else:
            self._take(Action.HALT)
        return NotImplemented

    def _paste(self, event: KeyPressEvent) -> object:
        self._take(Typed(event.data.replace("\r\n", "\n").replace("\r", "\n")))
        return NotImplemented

    def _receive(self) -> None:
        before = self._game.session
        try:
            self._game.receive()
        except Exception:
            self._confess()
        self._draw(before)

    def _take(self, message: Message) -> None:
        before = self._game.session
        try:
            self._game.dispatch(message)
        except Exception:
            self._confess()
        self._draw(before)

    def _confess(self) -> None:
        """A fault of this program: the log gets it, the player a line, the game goes on."""
        log.exception("internal error")
        self._game.session = replace(self._game.session, notice="internal error: the log file has the details")

    def _draw(self, before: Session) -> None:
        """Draws the next frame; where an answer is under way, not before it had its chance."""
        session = self._game.session
        if self._game.quit:
            self._leave()
        elif (text := self._game.edit) is not None:
            self._game.edit = None
            self._application.create_background_task(self._edit(text))
        elif replace(before, ahead=session.ahead) == session:
            return
        elif session.autoplay and before.autoplay:
            self._later(PLAYING)
        elif session.pending is not None and session.pending != before.pending:
            self._later(PATIENCE)
        else:
            self._application.invalidate()

    async def _edit(self, text: str) -> None:
        """Gives the terminal to an editor, and takes what it leaves."""
        edited = await run_in_terminal(lambda: edit_text(text), in_executor=True)
        self._take(edited)
        self._application.invalidate()

    def _later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._impatient)

    def _impatient(self) -> None:
        self._timer = None
        if self._game.session.pending is not None:
            self._application.invalidate()

    def _leave(self) -> None:
        if self._application.is_running and not self._application.is_done:
            self._application.exit()


@lru_cache(maxsize=8)
def palette_style(palette: str, light: bool) -> Style:
    """prompt_toolkit's form of a palette's styles."""
    return Style.from_dict(styles(palette, light=light))


def colour_depth() -> ColorDepth | None:
    """True colour where the terminal says it has it; None leaves the choice to prompt_toolkit."""
    environ = os.environ
    if "NO_COLOR" in environ or "PROMPT_TOOLKIT_COLOR_DEPTH" in environ:
        return None
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return ColorDepth.DEPTH_24_BIT
    return None
