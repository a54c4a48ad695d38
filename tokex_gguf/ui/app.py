"""The full-screen application: keys in, frames out. The only module that creates one.

It binds keys, passes messages to the game, and draws the lines of `ScreenRenderer`.
Nothing here computes: a key that needs the engine returns at once.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Hashable
from functools import cached_property, lru_cache
from typing import Any

from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from prompt_toolkit.key_binding.bindings.cpr import load_cpr_bindings
from prompt_toolkit.key_binding.bindings.mouse import load_mouse_bindings
from prompt_toolkit.key_binding.key_processor import KeyProcessor
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import Layout
from prompt_toolkit.mouse_events import MouseEvent, MouseEventType
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.renderer import Renderer
from prompt_toolkit.styles import DEFAULT_ATTRS, Attrs, BaseStyle, DynamicStyle, Style

from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import action, all_commands
from tokex_gguf.play.game import BEAT
from tokex_gguf.play.messages import (
    INTERNAL_ERROR,
    BackgroundReported,
    Beat,
    CopyOut,
    Edit,
    Go,
    InternalError,
    Message,
    NotSuspended,
    PointedAtRow,
    Resized,
    Suspend,
    Typed,
    Unbound,
)
from tokex_gguf.play.purposes import ForVerdicts, ForView, ForWalk
from tokex_gguf.play.screens import Help, TypingScreen
from tokex_gguf.play.session import Palette, Session
from tokex_gguf.shell.editor import Editor
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.system import signals
from tokex_gguf.system.console import say
from tokex_gguf.ui.cells import Line, fit
from tokex_gguf.ui.help import help_page
from tokex_gguf.ui.paint import Painting
from tokex_gguf.ui.screen import ScreenRenderer, body_lines, rows_of
from tokex_gguf.ui.terminal_input import Keyboard
from tokex_gguf.ui.terminal_output import terminal_output
from tokex_gguf.ui.theme import FEWEST_COLOURS, SCALES, is_light, styles
from tokex_gguf.values.key_names import shown
from tokex_gguf.values.record import replace
from tokex_gguf.values.text_field import is_text, pasted

log = logging.getLogger(__name__)

SUSPEND_WAIT = 1.0
"""Seconds for which ctrl+z waits for the disk at the most."""
WORKING_AFTER = 0.05
"""Seconds that an answer may take before the screen says `working`.

A frame at once for every key would flicker, and take its time from the decode that
runs at the same time.
"""


SWITCH_INTERVAL = 0.0005
"""Seconds until a busy thread, such as one that saves, yields to the screen's. Python's 5 ms would add up."""


SECONDS_TO_END = 0.7
"""Seconds that the program has to end after a signal; then the watchdog kills it."""


GUARD_AFTER = 0.5
"""Seconds after the first frame until fault signals are caught and the terminal's guard starts: both would slow the
start."""


GC_THRESHOLDS = (5_000, 3, 500)
"""For `gc.set_threshold`. A tree of paths is no garbage: with Python's own thresholds the tokens of a prompt of 100,000
took 0.6 s to become one, and the longest collection 0.29 s; with these it is 0.3 s and 0.02 s."""


SIZE_POLL_INTERVAL = 0.5
"""Seconds between two polls of the terminal's size, where no signal reports a resize."""


BACKGROUND_FRAME_INTERVAL = 0.15
"""Seconds between two frames of autoplay, or of lookahead: each frame takes its time from the decodes."""


EDITOR_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGQUIT") if hasattr(signal, name)]
"""Signals that keys send to the whole foreground job. While an editor runs, they are ignored here."""


class _Application(Application[None]):
    """An application without text fields. prompt_toolkit asks for the current buffer at each key: one for all."""

    @cached_property
    def current_buffer(self) -> Buffer:
        """See Application."""
        return Buffer()


def _under_way(session: Session) -> set[int]:
    """Numbers of the requests that the next frame waits for: the table's, its view through the lens, the walk."""
    view, walk = session.game.newest(ForView), session.game.newest(ForWalk)
    if walk and not (session.game.prompts and session.game.prompt.unseen is walk[1].nodes[0]):
        walk = None
    return {number for number in (session.game.pending, view and view[0], walk and walk[0]) if number is not None}


def _in_background(before: Session, session: Session) -> bool:
    """Whether the only change is further numbers of a walk that goes on, or of lookahead that does."""
    looks_ahead = session.counts.lookaheads != before.counts.lookaheads and session.game.lookahead_awaited
    if not looks_ahead and not (session.game.prompts and session.game.walking):
        return False
    game = replace(before.game, open_requests=session.game.open_requests, context=session.game.context)
    counts = replace(before.counts, requests=session.counts.requests, lookaheads=session.counts.lookaheads)
    return replace(before, game=game, counts=counts) == session


def _results_grow(session: Session) -> bool:
    """Whether answers are growing in state that sessions share, so that the new session equals the old one."""
    results = session.game.results
    lists_grow = any(fan.due for fan in results.fans) or any(one.due for one in results.criticals)
    return lists_grow or session.under_way.comparing or session.game.newest(ForVerdicts) is not None


class App:
    """A game on a terminal."""

    def __init__(
        self, runtime: Runtime, keys: Input | None = None, output: Output | None = None, *, ask_background: bool = False
    ) -> None:
        """`ask_background`: whether the terminal has to say if its background is light."""
        self._runtime = runtime
        self._ask_background = ask_background
        self._renderer = ScreenRenderer()
        self._frame_timer: asyncio.TimerHandle | None = None
        """Until the next frame of results that grow by themselves."""
        self._not_drawn = False
        """Whether something since the last frame waits for the frame timer."""
        self._answer_timer: asyncio.TimerHandle | None = None
        """Until a frame is drawn without the answers under way; None where there are none, or that frame was drawn."""
        self._under_way: set[int] = set()
        """Requests that the last frame waited for."""
        self._heartbeat_timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._editor: Editor | None = None
        self._edits: list[Editor] = []
        """All runs of the editor: some may leave a text that could not be read back."""
        self._signals: deque[int] = deque()
        self._terminal_effects: deque[Edit | Suspend | CopyOut] = deque()
        """Effects that need the terminal and are not done yet."""
        runtime.terminal = self._terminal_effects.append
        runtime.plans_later = True
        self._ended_by = 0
        self._suspended = False
        self._cut_short = False
        self._watchdog: signals.Watchdog | None = None
        self._application = _Application(
            layout=Layout(
                Painting(
                    self._screen,
                    self._mouse,
                    lambda: self._runtime.session.options.mouse,
                    self._terminal,
                    lambda: self._application.invalidate(),
                )
            ),
            mouse_support=Condition(lambda: self._runtime.session.options.mouse),
            full_screen=True,
            color_depth=colour_depth,
            max_render_postpone_time=0,
            # Where a signal reports a resize, polling the size as well would draw everything twice.
            terminal_size_polling_interval=None if hasattr(signal, "SIGWINCH") else SIZE_POLL_INTERVAL,
            input=keys,
            output=output or terminal_output(),
        )
        # Not the application's own one: that asks all bindings for text fields, too, which cannot be used here.
        self._application.key_processor = KeyProcessor(
            merge_key_bindings([load_mouse_bindings(), load_cpr_bindings(), self._bindings()])
        )
        # Not the application's style: that is merged with the styles of prompt_toolkit's own widgets, for each palette.
        self._application.renderer.style = DynamicStyle(self._style)
        # Escape is a key of its own here: wait no longer than the rest of an arrow key's sequence takes.
        self._application.ttimeoutlen = 0.05
        self._application.timeoutlen = 0.3

    def _terminal(self) -> tuple[Renderer, ColorDepth]:
        return self._application.renderer, self._application.color_depth

    def _style(self) -> BaseStyle:
        session = self._runtime.session
        return PaletteStyle(session.options.palette.value, session.game.settings.light, self._application.color_depth)

    @property
    def application(self) -> Application[None]:
        """prompt_toolkit's application."""
        return self._application

    def run(self) -> int:
        """Plays until the player quits or a signal ends it, and restores the terminal. Returns the exit code."""
        gc.freeze()  # a collection takes 4 ms for the game alone, and 25 with all imported modules
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()
        sys.setswitchinterval(SWITCH_INTERVAL)
        self._watchdog = signals.Watchdog(SECONDS_TO_END, self._end_at_once)
        signals.listen(self._signal)
        if isinstance(keys := self._application.input, Keyboard):
            keys.ending = lambda: bool(self._ended_by) or any(number in signals.ENDING for number in self._signals)
        before, threading.excepthook = threading.excepthook, self._thread_failed
        try:
            asyncio.run(self.run_async())
        except (EOFError, OSError) as error:
            # The terminal is gone, and the program ends; its signal may come before or after.
            if not self._ended_by and not isinstance(error, EOFError):
                raise
            self._ended_by = self._ended_by or getattr(signal, "SIGHUP", 1)
        finally:
            threading.excepthook = before
            self._restore()
            self._watchdog.dismiss()
            for path in [kept for editor in self._edits if (kept := editor.kept)]:
                log.warning("the edited text is in %s", path)
                say(f"the edited text is in {path}")
        return 128 + self._ended_by if self._ended_by else 0

    async def run_async(self) -> None:
        """`run` inside a running event loop, without signal handlers."""
        if isinstance(keys := self._application.input, Keyboard):
            keys.coming = self._runtime.expect
        # Control characters typed before the first frame count as keys.
        await self._application.run_async(pre_run=self._prepare, handle_sigint=False, set_exception_handler=False)

    def _restore(self) -> None:
        """Restores the terminal where prompt_toolkit had no chance to, or an editor was killed."""
        try:
            if self._cut_short:
                self._application.output.quit_alternate_screen()
                self._application.output.disable_mouse_support()
                self._application.output.disable_bracketed_paste()
            self._application.renderer.reset()
        except OSError:
            pass  # there is no terminal any more

    def _end_at_once(self) -> None:
        """The watchdog's last step: the main thread is busy, or blocked by a stuck terminal."""
        if isinstance(keys := self._application.input, Keyboard):
            keys.restore_now()

    def _screen(self, width: int, height: int) -> list[Line]:
        """Draws the present frame."""
        try:
            if (rows := rows_of(width, height)) != self._runtime.session.rows:
                self._runtime.dispatch(Resized(rows))
            session, self._not_drawn = self._runtime.session, False
            if COLOURS[self._application.color_depth] < FEWEST_COLOURS:
                # The styles are monochrome, too.
                session = replace(session, options=replace(session.options, palette=Palette.MONOCHROME))
            return self._renderer.screen(session, width, height)
        except Exception:
            log.exception("internal error while drawing")
            fault: Line = [("class:fault", "this cannot be drawn: the log file has the details; ctrl+q quits")]
            return [fit(line, width) for line in [fault, *[[]] * (height - 1)]]

    def _prepare(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._loop_failed)

        def notify() -> None:
            try:
                loop.call_soon_threadsafe(self._receive)
            except RuntimeError:
                pass  # the loop is closed: the game is over

        self._runtime.notify = notify
        loop.call_soon(self._receive)
        loop.call_soon(self._handle_signals)
        if self._ask_background:
            loop.call_soon(self._ask_terminal_background)  # after the first frame, which does not wait for it
        if self._watchdog:  # this process is the program's own, and not a test's
            loop.call_later(GUARD_AFTER, signals.catch_faults)
            if isinstance(keys := self._application.input, Keyboard):
                loop.call_later(GUARD_AFTER, keys.guard)

    def _ask_terminal_background(self) -> None:
        if isinstance(keys := self._application.input, Keyboard):
            keys.ask_background(lambda colour: self._dispatch(BackgroundReported(is_light(colour)), from_outside=True))

    def _signal(self, number: int) -> None:
        """Signal handler: runs in the main thread, at any point of it."""
        if number == signals.CONTINUE and self._suspended:
            return  # `_suspend_process` comes back by itself
        self._signals.append(number)
        if self._watchdog and self._ends(number):
            self._watchdog.warn(number)
        try:
            if self._loop:
                self._loop.call_soon_threadsafe(self._handle_signals)
        except RuntimeError:
            pass  # the game is over

    def _ends(self, number: int) -> bool:
        """Whether a signal ends the program."""
        if number in (signals.STOP, signals.CONTINUE):
            return False
        return self._editor is None or number not in EDITOR_SIGNALS

    def _handle_signals(self) -> None:
        while self._signals:
            number = self._signals.popleft()
            if number == signals.STOP:
                self._suspend_process(job=False)
            elif number == signals.CONTINUE:
                self._come_back()
            elif self._ends(number):
                self._ended_by = self._ended_by or number
                self._leave()

    def _suspend_process(self, *, job: bool) -> None:
        """Restores the terminal and stops the process; returns when it continues."""
        if self._editor is not None:
            signals.stop(job=False)  # the editor has the terminal, and got the signal, too
            return
        self._application.renderer.erase()
        with self._application.input.cooked_mode():
            self._runtime.save_now(SUSPEND_WAIT)  # it may never continue
            self._suspended = True
            signals.stop(job=job)
            self._suspended = False
        self._redraw_all()

    def _come_back(self) -> None:
        """Takes the terminal back after another program used it."""
        if self._editor is not None or self._ended_by or self._application.is_done:
            return
        if isinstance(keys := self._application.input, Keyboard):
            keys.again()
        self._redraw_all()

    def _redraw_all(self) -> None:
        self._application.renderer.erase()
        self._application.invalidate()

    def _loop_failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handles an exception outside of keys and messages: the program ends, as its state is unknown."""
        error = context.get("exception")
        log.error("internal error: %s", context.get("message"), exc_info=error)
        if isinstance(error, Exception):
            self._leave(error)

    def _thread_failed(self, fault: threading.ExceptHookArgs) -> None:
        """Handles an exception in another thread: its work is lost, and the game goes on."""
        log.error("internal error in a thread", exc_info=fault.exc_value)
        self._runtime.remark(INTERNAL_ERROR)

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()
        bindings.add(Keys.Any)(self._any_key)
        bindings.add(Keys.BracketedPaste)(self._paste)
        bindings.add(Keys.Ignore)(self._other_key)
        for key in sorted({key for command in all_commands() for key in command.keys}):
            # No buffer's text changes: there is nothing to save before a key.
            bindings.add(key, eager=True, save_before=lambda _: False)(self._handler(key))
        return bindings

    def _mouse(self, event: MouseEvent) -> None:
        """Handles a click or a turn of the wheel."""
        size = self._application.output.get_size()
        if event.event_type is MouseEventType.SCROLL_UP:
            self._dispatch(Action.UP)
        elif event.event_type is MouseEventType.SCROLL_DOWN:
            self._dispatch(Action.DOWN)
        elif event.event_type is MouseEventType.MOUSE_UP:
            place = event.position
            if meant := self._renderer.hit(self._runtime.session, size.columns, size.rows, place.x, place.y):
                self._dispatch(meant)

    def _handler(self, key: str) -> Callable[[KeyPressEvent], object]:
        def handle(event: KeyPressEvent) -> object:
            screen = self._runtime.session.screen
            meant = action(screen, key)
            if meant is Action.GO:
                self._dispatch(Go(int(key) - 1))
            elif isinstance(screen, Help) and meant in (Action.PAGE_UP, Action.PAGE_DOWN):
                size = self._application.output.get_size()
                direction = 1 if meant is Action.PAGE_DOWN else -1
                self._dispatch(PointedAtRow(help_page(screen, size.columns, body_lines(size.rows), direction)))
            elif meant is Action.NUMBER and is_text(event.data):
                self._dispatch(Typed(event.data))
            elif meant:
                self._dispatch(meant)
            else:
                self._type(event, shown(key))
            return NotImplemented  # `_dispatch` draws

        return handle

    def _any_key(self, event: KeyPressEvent) -> object:
        self._type(event, event.data if event.data.isprintable() and len(event.data) == 1 else "")
        return NotImplemented

    def _type(self, event: KeyPressEvent, name: str) -> None:
        """Takes a key without a binding: text, while text is typed. `name`: the key's name."""
        typing = isinstance(self._runtime.session.screen, TypingScreen)
        if typing and event.data == "\t":
            self._dispatch(Typed("\t"))
        elif typing and is_text(event.data):
            self._dispatch(Typed(event.data + self._typed_next(event)))
        else:
            self._dispatch(Unbound(name))

    def _typed_next(self, event: KeyPressEvent) -> str:
        """Takes the characters queued after the present one: text that arrives at once costs no more than a paste."""
        screen, queue = self._runtime.session.screen, event.key_processor.input_queue
        text = ""
        while queue and len(queue[0].data) == 1 and is_text(queue[0].data) and not action(screen, queue[0].key):
            text += queue.popleft().data
        return text

    def _other_key(self, event: KeyPressEvent) -> object:
        """Takes a key that prompt_toolkit has no name for: its data is our name."""
        meant = action(self._runtime.session.screen, event.data)
        self._dispatch(meant or Unbound(shown(event.data)))
        return NotImplemented

    def _paste(self, event: KeyPressEvent) -> object:
        if event.data:
            self._dispatch(Typed(pasted(event.data)))
        return NotImplemented

    def _receive(self) -> None:
        before = self._runtime.session
        try:
            self._runtime.receive()
        except Exception:
            self._report_fault()
        self._draw(before, from_outside=True)

    def _dispatch(self, message: Message, *, from_outside: bool = False) -> None:
        before = self._runtime.session
        try:
            self._runtime.dispatch(message)
        except Exception:
            self._report_fault()
        self._draw(before, from_outside=from_outside)

    def _report_fault(self) -> None:
        """Reports an internal error to the log and the player; the game goes on."""
        log.exception("internal error")
        try:
            self._runtime.dispatch(InternalError())
        except Exception:
            log.exception("internal error")  # only the notice is lost

    def _draw(self, before: Session, *, from_outside: bool = False) -> None:
        """Draws the next frame, or sets a timer: an answer under way gets a short time to come first. Then it plans.

        `from_outside`: whether no key made the change, but a message or a timer. It waits for that answer, too.
        """
        session = self._runtime.session
        # `before` shares its tree with the session, so that what it waited for was stored at the last frame.
        under_way, previous = _under_way(session), self._under_way
        self._under_way = under_way
        if self._answer_timer and not under_way:  # draw what has waited; the next answer gets all of its time
            self._answer_timer.cancel()
            self._answer_timer = None
            self._application.invalidate()
        awaits_answer = session.game.waiting or (session.second is not None and session.second.waiting)
        if awaits_answer and self._heartbeat_timer is None:
            self._heartbeat_timer = asyncio.get_running_loop().call_later(BEAT, self._heartbeat)
        if self._runtime.quit:
            self._leave()
        elif self._terminal_effects:
            match self._terminal_effects.popleft():
                case Suspend():
                    self._suspend()
                case Edit(text):
                    self._application.create_background_task(self._edit(text))
                case CopyOut(text):
                    self._copy_out(text)
        elif (
            replace(
                before,
                game=replace(before.game, pressed=replace(before.game.pressed, appends=session.game.pressed.appends)),
            )
            == session
        ):
            if _results_grow(session):  # the last part changes the session, and is drawn at once
                self._draw_after(BACKGROUND_FRAME_INTERVAL)
        elif session.game.pressed.autoplay and before.game.pressed.autoplay:
            self._draw_after(BACKGROUND_FRAME_INTERVAL)
        elif under_way - previous:
            if self._answer_timer is None:
                self._answer_timer = asyncio.get_running_loop().call_later(WORKING_AFTER, self._answer_is_late)
        elif from_outside and self._answer_timer:
            pass  # drawn with the answer, or when the timer fires
        elif under_way == previous and _in_background(before, session):
            self._draw_after(BACKGROUND_FRAME_INTERVAL)
        else:
            self._application.invalidate()
        if self._runtime.plan_due:
            asyncio.get_running_loop().call_soon(self._plan)  # after the frame, if there is one

    def _plan(self) -> None:
        """Gives the engine work after a frame, if no other message did meanwhile."""
        if not self._runtime.plan_due or self._runtime.quit:
            return
        lookahead = self._runtime.session.game.known.lookahead
        answers = lookahead.answers
        try:
            self._runtime.plan()
        except Exception:
            self._report_fault()
            self._application.invalidate()
        if lookahead.answers != answers:
            self._application.invalidate()

    def _suspend(self) -> None:
        """Suspends the program until the shell continues it."""
        if reason := signals.why_not_stop():
            self._dispatch(NotSuspended(reason))
        else:
            self._suspend_process(job=True)

    def _copy_out(self, text: str) -> None:
        """Copies a text to the terminal's clipboard by OSC 52; terminals without it ignore that."""
        # On Windows, one output wraps another.
        output = getattr(self._application.output, "vt100_output", self._application.output)
        if isinstance(output, Vt100_Output):
            output.write_raw(f"\x1b]52;c;{b64encode(text.encode()).decode()}\x07")
            output.flush()
        self._application.invalidate()

    async def _edit(self, text: str) -> None:
        """Gives the terminal to an editor, and dispatches its result."""
        editor = self._editor = Editor()
        self._edits.append(editor)
        try:
            edited = await run_in_terminal(lambda: editor.edit(text), in_executor=True)
        except Exception:
            self._report_fault()
        else:
            self._dispatch(edited)
        finally:
            self._editor = None
        self._application.invalidate()

    def _draw_after(self, seconds: float) -> None:
        self._not_drawn = True
        if self._frame_timer is None:
            self._frame_timer = asyncio.get_running_loop().call_later(seconds, self._frame_timer_fired)

    def _frame_timer_fired(self) -> None:
        self._frame_timer = None
        if self._not_drawn and self._answer_timer is None:
            self._application.invalidate()

    def _answer_is_late(self) -> None:
        self._answer_timer = None
        self._application.invalidate()

    def _heartbeat(self) -> None:
        """Heartbeat timer fired: checks that the engine is alive, while it owes an answer."""
        self._heartbeat_timer = None
        self._dispatch(Beat(), from_outside=True)

    def _leave(self, error: Exception | None = None) -> None:
        if self._editor:
            self._cut_short = True
            self._editor.end()
        if self._application.is_running and not self._application.is_done:
            if error:
                self._application.exit(exception=error)
            else:
                self._application.exit()


class PaletteStyle(BaseStyle):
    """A palette's styles for prompt_toolkit. A layer's styles are created when it is first shown."""

    def __init__(self, palette: str, light: bool, depth: ColorDepth) -> None:
        """`depth`: the colours that the terminal has."""
        self._palette = palette, light, depth

    def get_attrs_for_style_str(self, style_str: str, default: Attrs = DEFAULT_ATTRS) -> Attrs:
        """See BaseStyle."""
        named = (part.removeprefix("class:").partition(".") for part in style_str.split())
        layers = SCALES.keys() & {layer for layer, dot, _ in named if dot}
        return _rules(*self._palette, frozenset(layers)).get_attrs_for_style_str(style_str, default)

    @property
    def style_rules(self) -> list[tuple[str, str]]:
        """See BaseStyle."""
        return _rules(*self._palette, frozenset(SCALES)).style_rules

    def invalidation_hash(self) -> Hashable:
        """See BaseStyle."""
        return self._palette


@lru_cache(maxsize=64)
def _rules(palette: str, light: bool, depth: ColorDepth, layers: frozenset[str]) -> Style:
    return Style.from_dict(styles(palette, light=light, colours=COLOURS[depth], layers=layers))


COLOURS = {
    ColorDepth.DEPTH_1_BIT: 2,
    ColorDepth.DEPTH_4_BIT: 16,
    ColorDepth.DEPTH_8_BIT: 256,
    ColorDepth.DEPTH_24_BIT: 1 << 24,
}


def colour_depth() -> ColorDepth | None:
    """True colour where the environment says so; None leaves the choice to prompt_toolkit."""
    environ = os.environ
    if environ.get("NO_COLOR") or "PROMPT_TOOLKIT_COLOR_DEPTH" in environ:
        return None
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return ColorDepth.DEPTH_24_BIT
    return None
