"""Layers, colours, mouse, saving, pings, the engine's restart, the end."""

from collections.abc import Callable, Mapping

from tokex_gguf.engine.protocol import Ping
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EngineStatus, Game, Pressed, text_of
from tokex_gguf.play.messages import Outcome, Quit, Save, Suspend
from tokex_gguf.play.pairing import in_front
from tokex_gguf.play.requests import begin, send
from tokex_gguf.play.rules.histories import put_aside
from tokex_gguf.play.screens import PLAY, Input, SearchScreen
from tokex_gguf.play.session import Palette, Question, Session
from tokex_gguf.values.formatting import short_text
from tokex_gguf.values.layers import COST, DELTA, MORE_LAYERS, PLAIN, Layer
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.record import replace


def layer(layers: Mapping[str, Layer]) -> Callable[[Session], Outcome]:
    """Selects the next of some layers, the plain one after the last; from other layers, the first."""

    def go(session: Session) -> Outcome:
        cycle = [PLAIN, *layers.values()]
        index = cycle.index(session.options.layer) if session.options.layer in cycle else 0
        return replace(session, options=replace(session.options, layer=cycle[(index + 1) % len(cycle)])), []

    return go


def more_layers(session: Session) -> Outcome:
    """Selects the next of the further layers. Under a constraint the first one is its cost."""
    limited = session.game.sampling.constraint is not None
    first = {DELTA.name: DELTA} if session.game.comparison else {}
    first |= {COST.name: COST} if limited else {}
    session, effects = layer({**first, **MORE_LAYERS})(session)
    if session.options.layer is not COST or not limited:
        return session, effects
    lens = session.lens
    total = session.game.known.lens_results.cost(lens, session.game.prompt.tip) if isinstance(lens, Sampled) else None
    cost_text = "" if total is None else f"the constraint cost {short_text(total)} bits; "
    return replace(session, notice=f"{cost_text}n looks at the token that cost most"), effects


def palette(session: Session) -> Outcome:
    """Selects the next palette."""
    if not session.game.settings.colours:
        return replace(session, notice="NO_COLOR is set: there are no colours to choose from"), []
    palettes = list(Palette)
    following = palettes[(palettes.index(session.options.palette) + 1) % len(palettes)]
    return replace(
        session, options=replace(session.options, palette=following), notice=f"colours: {following.value}"
    ), []


def mouse(session: Session) -> Outcome:
    """Turns the mouse on or off."""
    notice = (
        "off: the terminal selects text again"
        if session.options.mouse
        else "on: click a token or a row, turn the wheel"
    )
    return replace(
        session, options=replace(session.options, mouse=not session.options.mouse), notice=f"mouse {notice}"
    ), []


def save(session: Session) -> Outcome:
    """Saves the prompt's text."""
    if not session.game.prompts:
        return replace(session, notice="nothing to save yet"), []
    return replace(session, notice="saving"), [Save(text_of(session.game, session.game.prompt.tip))]


def restart(session: Session) -> Outcome:
    """Restarts an engine that has stopped or does not answer; reconnects to a server.

    Asks for confirmation unless the engine is silent: a long answer may be near its end.
    """
    server = session.game.server
    if session.game.engine is not EngineStatus.DEAD and not session.game.silence and not session.game.health.waits:
        if session.game.engine is EngineStatus.READY and not session.game.waiting:
            answer = "server answers: you are connected" if server else "engine answers: there is nothing to restart"
            return replace(session, notice=f"the {answer}"), []
        if not session.asks(Action.RESTART):
            who, what = ("server", "reconnect") if server else ("engine", "start it anew")
            question = f"the {who} is still at it: press r again to {what}; your prompts are safe"
            return replace(session, standing=Question(Action.RESTART, question)), []
    return with_engine_restarted(session)


def with_engine_restarted(session: Session) -> Outcome:
    """Restarts the engine."""
    session = put_aside(without_engine(session))
    session = replace(
        session, game=replace(session.game, engine=EngineStatus.LOADING), screen=PLAY, standing=None, notice=""
    )
    return begin(session, again=True)


def beat(session: Session) -> Outcome:
    """Pings each engine that owes an answer."""
    session, effects = _beat(session)
    if session.second is None or session.second is session.game:
        return session, effects
    session, second_effects = in_front(session, _beat)
    return session, effects + second_effects


def _beat(session: Session) -> Outcome:
    pings = session.game.waiting and bool(session.game.address)
    health = session.game.health
    unanswered = health.unanswered + 1 if pings else 0
    if unanswered != health.unanswered:
        session = replace(session, game=replace(session.game, health=replace(health, unanswered=unanswered)))
    return session, [send(session, Ping())] if pings else []


def without_engine(session: Session) -> Session:
    """A session without its engine: all requests are forgotten. Typed text stays in the line."""
    current = session.current
    match current:
        case Input():
            current = replace(current, tip=current.base)
        case SearchScreen():
            current = SearchScreen(line=current.line, tip=current.tip, rows=(), fault=session.game.engine_stopped)
    return replace(session.turned(current), game=asking_nothing(session.game))


def asking_nothing(game: Game) -> Game:
    """A game without its engine: all requests and refusals are forgotten."""
    return replace(
        game,
        open_requests={},
        pressed=Pressed(),
        health=replace(game.health, progress=0.0, unanswered=0, waits=None),
        refused=frozenset(),
    )


def suspend(session: Session) -> Outcome:
    """Suspends the program."""
    return session, [Suspend()]


def leave(session: Session) -> Outcome:
    """Ends the game."""
    return session, [Quit()]


def lit(session: Session, *, light: bool) -> Session:
    """Sets the theme for a light or a dark background in all games."""

    def themed(game: Game) -> Game:
        return replace(game, settings=replace(game.settings, light=light))

    if light == session.game.settings.light:
        return session
    others = {key: themed(game) for key, game in session.other_games.items()}
    return replace(session, game=themed(session.game), other_games=others)
