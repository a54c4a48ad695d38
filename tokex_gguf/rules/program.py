"""Layers, colours, help, saving, the engine's restart, the end."""

from collections.abc import Callable
from dataclasses import replace

from tokex_gguf.keymap import BINDINGS, Mode
from tokex_gguf.rules.asking import begin
from tokex_gguf.rules.effects import Outcome, Quit, Save
from tokex_gguf.session import Engine, Layer, Palette, Session, text_of

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
    palettes = list(Palette)
    following = palettes[(palettes.index(session.palette) + 1) % len(palettes)]
    return replace(session, palette=following, notice=f"colours: {following.value}"), []


def mouse(session: Session) -> Outcome:
    """Turns the mouse on or off."""
    told = "off: the terminal selects text again" if session.mouse else "on: click a token or a row, turn the wheel"
    return replace(session, mouse=not session.mouse, notice=f"mouse {told}"), []


def scroll(rows: int) -> Callable[[Session], Outcome]:
    """Scrolls the help."""

    def go(session: Session) -> Outcome:
        # The screen's size is not known here: no further than the help can have lines.
        return replace(session, scroll=max(0, min(2 * len(BINDINGS), session.scroll + rows))), []

    return go


def save(session: Session) -> Outcome:
    """Saves the prompt's text."""
    if not session.prompts:
        return replace(session, notice="nothing to save yet"), []
    return replace(session, notice="saving"), [Save(text_of(session, session.prompt.tip))]


def open_help(session: Session) -> Outcome:
    """Shows the keys of the present mode."""
    return replace(session, mode=Mode.HELP, explained=session.mode, scroll=0), []


def close_help(session: Session) -> Outcome:
    """Back to where the help was asked for."""
    mode = session.explained
    if mode in (Mode.PLAY, Mode.BROKEN):
        mode = base_mode(session)
    return replace(session, mode=mode), []


def base_mode(session: Session) -> Mode:
    """The mode that all others go back to."""
    return Mode.BROKEN if session.engine is Engine.DEAD else Mode.PLAY


def restart(session: Session) -> Outcome:
    """Starts the engine again."""
    session = replace(session, engine=Engine.LOADING, mode=Mode.PLAY, notice="")
    return session, begin(session)


def leave(session: Session) -> Outcome:
    """Ends the game."""
    return session, [Quit()]
