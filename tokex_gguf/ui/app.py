"""The full-screen application: keys in, frames out. The only place that builds one.

All it knows is how to bind the key table, hand messages to the game, and draw what
`ScreenRenderer` gives. Nothing here computes: a key that needs the engine returns at once.
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
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import Layout
from prompt_toolkit.mouse_events import MouseEvent, MouseEventType
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.renderer import Renderer
from prompt_toolkit.styles import DEFAULT_ATTRS, Attrs, BaseStyle, DynamicStyle, Style

from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import action, all_commands
from tokex_gguf.play.messages import (
    INTERNAL_ERROR,
    Beat,
    CopyOut,
    Edit,
    Go,
    InternalError,
    Lit,
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
from tokex_gguf.play.session import BEAT, Palette, Session
from tokex_gguf.shell.editor import Editor
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.system import signals
from tokex_gguf.system.console import say
from tokex_gguf.ui.cells import Line, fit
from tokex_gguf.ui.paint import Painting
from tokex_gguf.ui.screen import ScreenRenderer, help_page, rows_of
from tokex_gguf.ui.terminal_input import Keyboard
from tokex_gguf.ui.theme import FEWEST_COLOURS, SCALES, is_light, styles
from tokex_gguf.values.key_names import shown
from tokex_gguf.values.text_field import is_text, pasted

log = logging.getLogger(__name__)

WORKING_AFTER = 0.05
"""Seconds that an answer may take before the screen says `working`.

A frame drawn at once for every key would flicker, and take its time from the decode
that runs beside it.
"""


YIELD = 0.0005
"""Seconds after which a thread that computes, as one that saves, lets a key be answered. Python's 5 ms would be added
again and again."""


ENDING = 0.7
"""Seconds after a signal in which the program ends by itself; then it is ended, whatever it does."""


FAULTS = 0.5
"""Seconds after the first frame until the signals of faults are caught and the terminal's guard waits: it takes time
that a start does not have."""


COLLECTED = (5_000, 3, 500)
"""Objects, net, until the youngest are searched for garbage, and how often before older ones are. A tree of paths is
no garbage: by Python's own figures the tokens of a prompt of 100,000 took 0.6 s to become one, and the longest search
0.29 s; by these it is 0.3 s and 0.02 s."""


POLLING = 0.5
"""Seconds between two looks at the terminal's size, where no signal tells of a resize."""


PLAYING = 0.15
"""Seconds between two frames of autoplay: each frame takes its time from the decodes."""


FOR_THE_EDITOR = [getattr(signal, name) for name in ("SIGINT", "SIGQUIT") if hasattr(signal, name)]
"""Signals that keys send to everybody in the foreground. While an editor runs, they are meant for it."""


class _Application(Application[None]):
    """One without text fields. prompt_toolkit asks for theirs at each key, and would make one each time."""

    @cached_property
    def current_buffer(self) -> Buffer:
        """See Application."""
        return Buffer()


def _under_way(session: Session) -> set[int]:
    """The requests whose answers the next frame waits for: the table's numbers, and what the samplers make of them."""
    view, walk = session.game.newest(ForView), session.game.newest(ForWalk)
    if walk and not (session.game.prompts and session.game.prompt.unseen is walk[1].nodes[0]):
        walk = None
    return {number for number in (session.game.pending, view and view[0], walk and walk[0]) if number is not None}


def _walked(before: Session, session: Session) -> bool:
    """Whether nothing else came than numbers of the prompt's tokens, of which there are more to come."""
    if not (session.game.prompts and session.game.walking):
        return False
    game = replace(before.game, asked=session.game.asked, context=session.game.context)
    return replace(before, game=game, counts=replace(before.counts, requests=session.counts.requests)) == session


def _grows(session: Session) -> bool:
    """Whether parts of an answer come that are seen, and leave the session equal: they go to what sessions share."""
    results = session.game.results
    lists_grow = any(fan.due for fan in results.fans) or any(one.due for one in results.criticals)
    return lists_grow or session.under_way.comparing or session.game.newest(ForVerdicts) is not None


class App:
    """A game on a terminal."""

    def __init__(
        self, game: Runtime, keys: Input | None = None, output: Output | None = None, *, ask_background: bool = False
    ) -> None:
        """`ask_background`: whether the terminal has to say if its background is light."""
        self._game = game
        self._ask_background = ask_background
        self._view = ScreenRenderer()
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: set[int] = set()
        """What the last frame did not have yet."""
        self._beat: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._editor: Editor | None = None
        self._edits: list[Editor] = []
        """All runs of the editor: some may leave a text that could not be taken."""
        self._signals: deque[int] = deque()
        self._wanted: deque[Edit | Suspend | CopyOut] = deque()
        """What needs the terminal, and has not got it yet."""
        game.terminal = self._wanted.append
        self._ended_by = 0
        self._away = False
        self._cut_short = False
        self._watchdog: signals.Watchdog | None = None
        self._application = _Application(
            layout=Layout(
                Painting(
                    self._screen,
                    self._point,
                    lambda: self._game.session.options.mouse,
                    self._terminal,
                    lambda: self._application.invalidate(),
                )
            ),
            key_bindings=self._bindings(),
            mouse_support=Condition(lambda: self._game.session.options.mouse),
            full_screen=True,
            color_depth=colour_depth,
            max_render_postpone_time=0,
            # Where a signal tells of a resize, asking for the size as well would draw all of it a second time.
            terminal_size_polling_interval=None if hasattr(signal, "SIGWINCH") else POLLING,
            input=keys,
            output=output,
        )
        # Not as the application's style: that is merged with those of prompt_toolkit's own widgets, for each palette.
        self._application.renderer.style = DynamicStyle(self._style)
        # Escape is a key of its own here: wait only for the rest of an arrow key's sequence.
        self._application.ttimeoutlen = 0.05
        self._application.timeoutlen = 0.3

    def _terminal(self) -> tuple[Renderer, ColorDepth]:
        return self._application.renderer, self._application.color_depth

    def _style(self) -> BaseStyle:
        session = self._game.session
        return PaletteStyle(session.options.palette.value, session.game.settings.light, self._application.color_depth)

    @property
    def application(self) -> Application[None]:
        """prompt_toolkit's application."""
        return self._application

    def run(self) -> int:
        """Plays until the player quits, or a signal does; the terminal is then as it was. Returns the exit code."""
        gc.freeze()  # collecting garbage is 4 ms with what was played and 25 with all that is imported
        gc.set_threshold(*COLLECTED)
        gc.enable()
        sys.setswitchinterval(YIELD)
        self._watchdog = signals.Watchdog(ENDING, self._end_at_once)
        signals.listen(self._signal)
        if isinstance(keys := self._application.input, Keyboard):
            keys.ending = lambda: bool(self._ended_by) or any(number in signals.ENDING for number in self._signals)
        before, threading.excepthook = threading.excepthook, self._thread_failed
        try:
            asyncio.run(self.run_async())
        except (EOFError, OSError) as error:
            # A terminal that is gone takes the program with it; whether its signal came first is chance.
            if not self._ended_by and not isinstance(error, EOFError):
                raise
            self._ended_by = self._ended_by or getattr(signal, "SIGHUP", 1)
        finally:
            threading.excepthook = before
            self._restore()
            self._watchdog.dismiss()
            for kept in [path for editor in self._edits if (path := editor.kept)]:
                log.warning("the edited text is in %s", kept)
                say(f"the edited text is in {kept}")
        return 128 + self._ended_by if self._ended_by else 0

    async def run_async(self) -> None:
        """`run` inside a running event loop, without listening to signals."""
        if isinstance(keys := self._application.input, Keyboard):
            keys.coming = self._game.expect
        # Control characters typed before the first frame are keys, too.
        await self._application.run_async(pre_run=self._prepare, handle_sigint=False, set_exception_handler=False)

    def _restore(self) -> None:
        """Leaves the terminal also where prompt_toolkit had no chance to, or an editor was killed."""
        try:
            if self._cut_short:
                self._application.output.quit_alternate_screen()
                self._application.output.disable_mouse_support()
                self._application.output.disable_bracketed_paste()
            self._application.renderer.reset()
        except OSError:
            pass  # there is no terminal any more

    def _end_at_once(self) -> None:
        """The program was told to end, and does not: its main thread is busy, or waits for a terminal that is stuck."""
        if isinstance(keys := self._application.input, Keyboard):
            keys.restore_now()

    def _screen(self, width: int, height: int) -> list[Line]:
        """The present frame."""
        try:
            if (rows := rows_of(width, height)) != self._game.session.rows:
                self._game.dispatch(Resized(rows))
            session = self._game.session
            if COLOURS[self._application.color_depth] < FEWEST_COLOURS:
                # As its styles are.
                session = replace(session, options=replace(session.options, palette=Palette.MONOCHROME))
            return self._view.screen(session, width, height)
        except Exception:
            log.exception("internal error while drawing")
            told: Line = [("class:fault", "this cannot be drawn: the log file has the details; ctrl+q quits")]
            return [fit(line, width) for line in [told, *[[]] * (height - 1)]]

    def _prepare(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)

        def notify() -> None:
            try:
                loop.call_soon_threadsafe(self._receive)
            except RuntimeError:
                pass  # the loop is closed: the game is over

        self._game.notify = notify
        loop.call_soon(self._receive)
        loop.call_soon(self._heed)
        if self._ask_background:
            loop.call_soon(self._ask)  # behind the first frame, which does not wait for it
        if self._watchdog:  # this process is the program's own, and not a test's
            loop.call_later(FAULTS, signals.catch_faults)
            if isinstance(keys := self._application.input, Keyboard):
                loop.call_later(FAULTS, keys.guard)

    def _ask(self) -> None:
        if isinstance(keys := self._application.input, Keyboard):
            keys.ask_background(lambda colour: self._take(Lit(is_light(colour))))

    def _signal(self, number: int) -> None:
        """A signal came: in the main thread, but in the middle of anything."""
        if number == signals.CONTINUE and self._away:
            return  # who went away comes back by itself
        self._signals.append(number)
        if self._watchdog and self._ends(number):
            self._watchdog.warn(number)
        try:
            if self._loop:
                self._loop.call_soon_threadsafe(self._heed)
        except RuntimeError:
            pass  # the game is over

    def _ends(self, number: int) -> bool:
        """Whether a signal ends the program."""
        if number in (signals.STOP, signals.CONTINUE):
            return False
        return self._editor is None or number not in FOR_THE_EDITOR

    def _heed(self) -> None:
        while self._signals:
            number = self._signals.popleft()
            if number == signals.STOP:
                self._go_away(job=False)
            elif number == signals.CONTINUE:
                self._come_back()
            elif self._ends(number):
                self._ended_by = self._ended_by or number
                self._leave()

    def _go_away(self, *, job: bool) -> None:
        """Stops, with the terminal as it was before the program; returns when it goes on."""
        if self._editor is not None:
            signals.stop(job=False)  # the editor has the terminal, and got the signal itself
            return
        self._application.renderer.erase()
        with self._application.input.cooked_mode():
            self._away = True
            signals.stop(job=job)
            self._away = False
        self._draw_anew()

    def _come_back(self) -> None:
        """Takes the terminal as one that others have used."""
        if self._editor is not None or self._ended_by or self._application.is_done:
            return
        if isinstance(keys := self._application.input, Keyboard):
            keys.again()
        self._draw_anew()

    def _draw_anew(self) -> None:
        self._application.renderer.erase()
        self._application.invalidate()

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something failed outside of all keys and messages: whether it can go on is unknown."""
        error = context.get("exception")
        log.error("internal error: %s", context.get("message"), exc_info=error)
        if isinstance(error, Exception):
            self._leave(error)

    def _thread_failed(self, fault: threading.ExceptHookArgs) -> None:
        """A thread beside the screen's has failed: what it did is not done, and the game goes on."""
        log.error("internal error in a thread", exc_info=fault.exc_value)
        self._game.remark(INTERNAL_ERROR)

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()
        bindings.add(Keys.Any)(self._any_key)
        bindings.add(Keys.BracketedPaste)(self._paste)
        bindings.add(Keys.Ignore)(self._other_key)
        for key in sorted({key for command in all_commands() for key in command.keys}):
            # There is no buffer whose text a key might change: nothing to save before it.
            bindings.add(key, eager=True, save_before=lambda _: False)(self._handler(key))
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
            screen = self._game.session.screen
            meant = action(screen, key)
            if meant is Action.GO:
                self._take(Go(int(key) - 1))
            elif isinstance(screen, Help) and meant in (Action.PAGE_UP, Action.PAGE_DOWN):
                size = self._application.output.get_size()
                direction = 1 if meant is Action.PAGE_DOWN else -1
                self._take(PointedAtRow(help_page(screen, size.columns, size.rows, direction)))
            elif meant is Action.NUMBER and is_text(event.data):
                self._take(Typed(event.data))
            elif meant:
                self._take(meant)
            else:
                self._type(event, shown(key))
            return NotImplemented  # `_take` draws where that is wanted

        return handle

    def _any_key(self, event: KeyPressEvent) -> object:
        self._type(event, event.data if event.data.isprintable() and len(event.data) == 1 else "")
        return NotImplemented

    def _type(self, event: KeyPressEvent, name: str) -> None:
        """Takes a key that means nothing else: text where that is typed. `name`: what it is called."""
        typing = isinstance(self._game.session.screen, TypingScreen)
        if typing and event.data == "\t":
            self._take(Typed("\t"))
        elif typing and is_text(event.data):
            self._take(Typed(event.data + self._typed_next(event)))
        else:
            self._take(Unbound(name))

    def _typed_next(self, event: KeyPressEvent) -> str:
        """What has been typed behind a character already. Text that comes at once costs no more than a paste."""
        screen, queue = self._game.session.screen, event.key_processor.input_queue
        text = ""
        while queue and len(queue[0].data) == 1 and is_text(queue[0].data) and not action(screen, queue[0].key):
            text += queue.popleft().data
        return text

    def _other_key(self, event: KeyPressEvent) -> object:
        """A key that prompt_toolkit has no name for: its data is ours."""
        meant = action(self._game.session.screen, event.data)
        self._take(meant or Unbound(shown(event.data)))
        return NotImplemented

    def _paste(self, event: KeyPressEvent) -> object:
        if event.data:
            self._take(Typed(pasted(event.data)))
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
        try:
            self._game.dispatch(InternalError())
        except Exception:
            log.exception("internal error")  # the notice is missing, and nothing else

    def _draw(self, before: Session) -> None:
        """Draws the next frame; where an answer is under way, not before it had its chance."""
        session = self._game.session
        # What was under way, as it was then: the session before shares its tree with this one.
        under_way, then = _under_way(session), self._under_way
        self._under_way = under_way
        owes = session.game.waiting or (session.beside is not None and session.beside.waiting)
        if owes and self._beat is None:
            self._beat = asyncio.get_running_loop().call_later(BEAT, self._listen)
        if self._game.quit:
            self._leave()
        elif self._wanted:
            match self._wanted.popleft():
                case Suspend():
                    self._suspend()
                case Edit(text):
                    self._application.create_background_task(self._edit(text))
                case CopyOut(text):
                    self._copy_out(text)
        elif (
            replace(
                before,
                game=replace(before.game, pressed=replace(before.game.pressed, ahead=session.game.pressed.ahead)),
            )
            == session
        ):
            if _grows(session):  # with its end the session is another, and drawn at once
                self._later(PLAYING)
        elif session.game.pressed.autoplay and before.game.pressed.autoplay:
            self._later(PLAYING)
        elif under_way - then:
            self._later(WORKING_AFTER)
        elif under_way == then and _walked(before, session):
            self._later(PLAYING)
        else:
            self._application.invalidate()

    def _suspend(self) -> None:
        """Gives the terminal to the shell until the player comes back."""
        if reason := signals.why_not_stop():
            self._take(NotSuspended(reason))
        else:
            self._go_away(job=True)

    def _copy_out(self, text: str) -> None:
        """Gives a text to the terminal's clipboard, where it lets programs do that (OSC 52); others pass it over."""
        # On Windows there is one inside another.
        output = getattr(self._application.output, "vt100_output", self._application.output)
        if isinstance(output, Vt100_Output):
            output.write_raw(f"\x1b]52;c;{b64encode(text.encode()).decode()}\x07")
            output.flush()
        self._application.invalidate()

    async def _edit(self, text: str) -> None:
        """Gives the terminal to an editor, and takes what it leaves."""
        editor = self._editor = Editor()
        self._edits.append(editor)
        try:
            edited = await run_in_terminal(lambda: editor.edit(text), in_executor=True)
        except Exception:
            self._confess()
        else:
            self._take(edited)
        finally:
            self._editor = None
        self._application.invalidate()

    def _later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._impatient)

    def _impatient(self) -> None:
        self._timer = None
        session = self._game.session
        game = session.game
        if _under_way(session) or (game.prompts and game.walking) or _grows(session):
            self._application.invalidate()

    def _listen(self) -> None:
        """Asks whether the engine is alive, again and again while it owes an answer."""
        self._beat = None
        self._take(Beat())

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
    """A palette's styles for prompt_toolkit. Those of a layer are made when it is first shown, and not at the start."""

    def __init__(self, palette: str, light: bool, depth: ColorDepth) -> None:
        """For as many colours as the terminal has."""
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
    """True colour where the terminal says it has it; None leaves the choice to prompt_toolkit."""
    environ = os.environ
    if environ.get("NO_COLOR") or "PROMPT_TOOLKIT_COLOR_DEPTH" in environ:
        return None
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return ColorDepth.DEPTH_24_BIT
    return None
