"""Layers, colours, help, saving, the engine's restart, the end."""

from collections.abc import Callable
from dataclasses import replace

from tokex_gguf.engine.protocol import Ping
from tokex_gguf.play.actions import Mode
from tokex_gguf.play.messages import Keep, Outcome, Quit, Save, Send, Suspend
from tokex_gguf.play.requests import begin
from tokex_gguf.play.rules.histories import base_mode, history, put_aside
from tokex_gguf.play.session import Continuation, EngineStatus, Layer, Palette, Session, TokenSearch, text_of
from tokex_gguf.values.names import valid_name
from tokex_gguf.values.text_field import EMPTY

CONFIRM = "the engine is still at it: press r again to start it anew; your prompts are safe"

LAYERS = (Layer.PLAIN, Layer.PROBABILITY, Layer.ENTROPY)
MORE_LAYERS = (Layer.PLAIN, Layer.RANK, Layer.SURPRISAL, Layer.BOUNDARIES)


def layer(layers: tuple[Layer, ...]) -> Callable[[Session], Outcome]:
    """To the next of some layers; from a layer that is not among them, to the first that colours."""

    def go(session: Session) -> Outcome:
        index = layers.index(session.layer) if session.layer in layers else 0
        return replace(session, layer=layers[(index + 1) % len(layers)]), []

    return go


def palette(session: Session) -> Outcome:
    """To the next palette."""
    if not session.settings.colours:
        return replace(session, notice="NO_COLOR is set: there are no colours to choose from"), []
    palettes = list(Palette)
    following = palettes[(palettes.index(session.palette) + 1) % len(palettes)]
    return replace(session, palette=following, notice=f"colours: {following.value}"), []


def mouse(session: Session) -> Outcome:
    """Turns the mouse on or off."""
    told = "off: the terminal selects text again" if session.mouse else "on: click a token or a row, turn the wheel"
    return replace(session, mouse=not session.mouse, notice=f"mouse {told}"), []


def scroll(rows: int, entries: Callable[[Mode], int]) -> Callable[[Session], Outcome]:
    """Moves the selection in the help; `entries` tells how many it has about a mode."""

    def go(session: Session) -> Outcome:
        last = entries(session.explained) - 1
        return replace(session, scroll=max(0, min(last, session.scroll + rows))), []

    return go


def save(session: Session) -> Outcome:
    """Saves the prompt's text."""
    if not session.prompts:
        return replace(session, notice="nothing to save yet"), []
    return replace(session, notice="saving"), [Save(text_of(session, session.prompt.tip))]


def name(session: Session) -> Outcome:
    """Asks for a name for the session."""
    line = EMPTY.typed(history(session, Mode.NAME).unfinished or session.name)
    return replace(session, mode=Mode.NAME, line=line), []


def keep(session: Session) -> Outcome:
    """Keeps the session under the name that is typed."""
    wanted = session.line.text.strip()
    if not valid_name(wanted):
        return replace(session, notice="1 to 64 letters, digits, - _ . and blanks"), []
    # Put aside, and not used up: it may not be possible to write it.
    return replace(put_aside(session), notice="keeping"), [Keep(wanted)]


def open_help(session: Session) -> Outcome:
    """Shows the keys of the present mode."""
    return replace(session, mode=Mode.HELP, explained=session.mode, scroll=0), []


def close_help(session: Session) -> Outcome:
    """Back to where the help was asked for."""
    mode = session.explained
    if mode in (Mode.PLAY, Mode.BROKEN):
        mode = base_mode(session)
    return replace(session, mode=mode), []


def restart(session: Session) -> Outcome:
    """Starts the engine again."""
    session = replace(put_aside(session), engine=EngineStatus.LOADING, mode=Mode.PLAY, notice="")
    return session, begin(session, again=True)


def beat(session: Session) -> Outcome:
    """Asks an engine that owes an answer whether it is alive."""
    if not session.waiting:
        return replace(session, unanswered=0) if session.unanswered else session, []
    return replace(session, unanswered=session.unanswered + 1), [Send(Ping())]


def confirm_restart(session: Session) -> Outcome:
    """Restarts an engine that does not answer. Asks first, unless it is silent: a long answer may be near its end."""
    if session.silence:
        return restart(without_engine(session))
    if session.engine is EngineStatus.READY and not session.waiting:
        return replace(session, notice="the engine answers: there is nothing to restart"), []
    if session.notice != CONFIRM:
        return replace(session, notice=CONFIRM), []
    return restart(without_engine(session))


def without_engine(session: Session) -> Session:
    """A session whose engine is gone: nothing is asked for any more. What is being typed stays in the line."""
    continuation, token_search = session.continuation, session.token_search
    return replace(
        session,
        asked={},
        ahead=0,
        appending=False,
        autoplay=False,
        continuation=continuation and Continuation(continuation.base, continuation.base),
        token_search=token_search and TokenSearch(token_search.tip, rows=(), fault="the engine stopped"),
        progress=0.0,
        unanswered=0,
    )


def suspend(session: Session) -> Outcome:
    """To the shell, for a while."""
    return session, [Suspend()]


def leave(session: Session) -> Outcome:
    """Ends the game."""
    return session, [Quit()]
