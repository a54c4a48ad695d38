"""What the player does, by mode: the table from actions to functions."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from tokex_gguf.keymap import Action, Mode
from tokex_gguf.line import Line
from tokex_gguf.rules import browsing, composing, exploring, playing, program, switching
from tokex_gguf.rules.effects import Edited, Event, Go, Outcome, PointedAtRow, PointedAtToken, Typed, Unbound
from tokex_gguf.rules.typed import base_mode, keep_pasted
from tokex_gguf.session import Cost, Layer, Session

PLAYERS = (Action, Typed, Unbound, Go, PointedAtToken, PointedAtRow, Edited)
"""The messages that come from the player."""

UNREAD = "the starting prompt is not read yet"

Key: TypeAlias = Callable[[Session], Outcome]


def act(session: Session, message: Action | Event) -> Outcome:
    """What the player does. Any key ends autoplay; space does nothing else then."""
    if message is Action.RESTART and session.mode is Mode.PLAY and (session.silence or not session.autoplay):
        return program.insist(session)  # before the notice is taken away: it may ask for the second press
    # What is told of the cost is told of this key, unless an earlier one's answer is still awaited.
    session = replace(session, notice="", cost=Cost() if session.ready else session.cost)
    if not session.autoplay:
        return _take(session, message)
    session, effects = playing.halt(session)
    if message is not Action.AUTOPLAY and not isinstance(message, Unbound):
        session, more = _take(session, message)
        effects = effects + more
    return session, effects


def _take(session: Session, message: Action | Event) -> Outcome:
    if isinstance(message, Action):
        key = _KEYS[session.mode].get(message)
        possible = session.prompts or session.mode in (Mode.HELP, Mode.MODELS) or message in _ALWAYS
        if key is None:
            return session, []
        return key(session) if possible else (replace(session, notice=UNREAD), [])
    if not session.prompts and session.mode in (Mode.PLAY, Mode.BROKEN) and not isinstance(message, Unbound | Edited):
        if isinstance(message, Typed):
            return keep_pasted(session, message.text, UNREAD), []
        return replace(session, notice=UNREAD), []
    return _event(session, message)


def _explain(session: Session, key: str) -> Session:
    """Why nothing happens."""
    way = "Esc goes back" if session.mode not in (Mode.PLAY, Mode.BROKEN) else "? shows the keys, ctrl+q quits"
    return replace(session, notice=f"{key or 'this key'} does nothing here: {way}")


def _event(session: Session, message: Event) -> Outcome:
    match message:
        case Unbound():
            return _explain(session, message.key), []
        case Typed():
            if session.mode.typing:
                return composing.typed(session, message.text)
            if session.mode in (Mode.PLAY, Mode.BROKEN):
                return composing.paste(session, message.text)
            return keep_pasted(session, message.text, "text is not wanted here: Esc goes back"), []
        case Go():
            if session.mode not in (Mode.PLAY, Mode.BROKEN, Mode.PROMPTS):
                return session, []
            return playing.go_to(replace(session, mode=base_mode(session)), message.index)
        case PointedAtToken():
            if session.mode in (Mode.PLAY, Mode.BROKEN):
                return exploring.point(session, message.position)
            return _explain(session, "a click"), []
        case PointedAtRow():
            return _point_at_row(session, message.row)
        case Edited():
            return composing.edited(session, message.text)


def _point_at_row(session: Session, row: int) -> Outcome:
    if session.mode in (Mode.TREE, Mode.PROMPTS, Mode.MODELS):
        return browsing.move(row - session.row)(session)
    if session.mode is Mode.SEARCH and session.hunt:
        return composing.select_found(row - session.hunt.row)(session)
    if session.mode in (Mode.PLAY, Mode.BROKEN):
        return playing.select_row(session, row)
    return _explain(session, "a click"), []


def _escape(session: Session) -> Outcome:
    """Leaves a model that was chosen, until there is something to play with it; else to the tip."""
    if session.preparing:
        return replace(session, preparing="", notice="the model stays: the other one is not opened"), []
    if session.origin:
        return switching.back(session, "loading was broken off")
    return exploring.back_to_tip(session) if session.prompts else (replace(session, notice=UNREAD), [])


def _moves(move: Callable[[int], Key]) -> Mapping[Action, Key]:
    """The keys that move a selection."""
    steps = {
        Action.UP: -1,
        Action.DOWN: 1,
        Action.PAGE_UP: -playing.PAGE,
        Action.PAGE_DOWN: playing.PAGE,
        Action.TOP: -playing.ALL,
        Action.BOTTOM: playing.ALL,
    }
    return {action: move(rows) for action, rows in steps.items()}


_ALWAYS = frozenset(
    {
        Action.QUIT,
        Action.SUSPEND,
        Action.HELP,
        Action.LAYER,
        Action.MORE_LAYERS,
        Action.PALETTE,
        Action.MOUSE,
        Action.SAVE,
        Action.RESTART,
        Action.CURSOR_TIP,
        Action.MODELS,
    }
)
"""What can be done before the starting prompt is there."""

_PLAY: dict[Action, Key] = {
    **_moves(playing.select),
    Action.APPEND: playing.append,
    Action.POP: playing.pop,
    Action.AUTOPLAY: playing.autoplay,
    Action.NEXT: playing.cycle(1),
    Action.PREVIOUS: playing.cycle(-1),
    Action.COPY: playing.copy,
    Action.REMOVE: playing.remove,
    Action.UNDO: playing.undo,
    Action.CURSOR_BACK: exploring.step(-1),
    Action.CURSOR_ON: exploring.step(1),
    Action.CURSOR_FAR_BACK: exploring.step(-exploring.FAR),
    Action.CURSOR_FAR_ON: exploring.step(exploring.FAR),
    Action.CURSOR_FIRST: exploring.first,
    Action.CURSOR_TIP: _escape,
    Action.NEXT_SURPRISE: exploring.jump(Layer.SURPRISAL, 1, lambda session: session.settings.surprise),
    Action.LAST_SURPRISE: exploring.jump(Layer.SURPRISAL, -1, lambda session: session.settings.surprise),
    Action.NEXT_DOUBT: exploring.jump(Layer.ENTROPY, 1, lambda _: 0.0),
    Action.LAST_DOUBT: exploring.jump(Layer.ENTROPY, -1, lambda _: 0.0),
    Action.MOST_SURPRISE: exploring.most(Layer.SURPRISAL),
    Action.MOST_DOUBT: exploring.most(Layer.ENTROPY),
    Action.SEARCH: composing.search,
    Action.INPUT: composing.compose,
    Action.EDIT: composing.edit,
    Action.CLEAR_SCORES: composing.clear_scores,
    Action.TREE: browsing.tree,
    Action.PROMPTS: browsing.prompts,
    Action.MODELS: switching.models,
    Action.LAYER: program.layer(program.LAYERS),
    Action.MORE_LAYERS: program.layer(program.MORE_LAYERS),
    Action.PALETTE: program.palette,
    Action.MOUSE: program.mouse,
    Action.SAVE: program.save,
    Action.NAME: program.name,
    Action.HELP: program.open_help,
    Action.SUSPEND: program.suspend,
    Action.QUIT: program.leave,
}

_TYPING: dict[Action, Key] = {
    Action.ERASE: composing.edit_line(Line.erased),
    Action.ERASE_WORD: composing.edit_line(Line.word_erased),
    Action.ERASE_LINE: composing.edit_line(Line.cleared),
    Action.CLOSE: composing.close,
    Action.HELP: program.open_help,
    Action.SUSPEND: program.suspend,
    Action.QUIT: program.leave,
}

_LIST: dict[Action, Key] = {
    **_moves(browsing.move),
    Action.CLOSE: browsing.close,
    Action.HELP: program.open_help,
    Action.SUSPEND: program.suspend,
    Action.QUIT: program.leave,
}

_KEYS: dict[Mode, dict[Action, Key]] = {
    Mode.PLAY: _PLAY,
    Mode.BROKEN: {**_PLAY, Action.RESTART: program.restart},
    Mode.HELP: {
        **_moves(program.scroll),
        Action.CLOSE: program.close_help,
        Action.SUSPEND: program.suspend,
        Action.QUIT: program.leave,
    },
    Mode.SEARCH: {
        **_TYPING,
        **_moves(composing.select_found),
        Action.APPEND: composing.append_found,
        Action.EARLIER: composing.walk(-1),
        Action.LATER: composing.walk(1),
    },
    Mode.NAME: {**_TYPING, Action.ENTER: program.keep},
    Mode.INPUT: {
        **_TYPING,
        Action.ENTER: composing.enter,
        Action.SCORE: composing.score,
        Action.CLEAR_SCORES: composing.clear_scores,
        Action.LINE_BREAK: lambda session: composing.typed(session, "\n"),
        Action.EARLIER: composing.walk(-1),
        Action.LATER: composing.walk(1),
        Action.DELETE: composing.edit_line(Line.deleted),
        Action.CARET_LEFT: composing.edit_line(lambda line: line.moved(-1)),
        Action.CARET_RIGHT: composing.edit_line(lambda line: line.moved(1)),
        Action.CARET_START: composing.edit_line(lambda line: line.moved(-len(line.text))),
        Action.CARET_END: composing.edit_line(lambda line: line.moved(len(line.text))),
    },
    Mode.TREE: {**_LIST, Action.ENTER: browsing.go_there, Action.OPEN: browsing.open_there},
    Mode.PROMPTS: {**_LIST, Action.ENTER: browsing.choose},
    Mode.MODELS: {**_LIST, Action.ENTER: switching.choose},
}
