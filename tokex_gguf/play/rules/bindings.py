"""What the player does, by mode: the table from actions to functions."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from tokex_gguf.play.keymap import Action, Mode
from tokex_gguf.play.messages import Edited, Event, Go, Outcome, PointedAtRow, PointedAtToken, Typed, Unbound
from tokex_gguf.play.rules import cursor, lists, model_switch, prompt, text_entry, view_options
from tokex_gguf.play.rules.histories import base_mode, keep_pasted
from tokex_gguf.play.session import Cost, Layer, Session
from tokex_gguf.values.text_field import TextField

PLAYERS = (Action, Typed, Unbound, Go, PointedAtToken, PointedAtRow, Edited)
"""The messages that come from the player."""

UNREAD = "the starting prompt is not read yet"

Key: TypeAlias = Callable[[Session], Outcome]


def act(session: Session, message: Action | Event) -> Outcome:
    """What the player does. Any key ends autoplay; space does nothing else then."""
    if message is Action.RESTART and session.mode is Mode.PLAY and (session.silence or not session.autoplay):
        return view_options.confirm_restart(session)  # before the notice is taken away: it may ask for the second press
    # What is told of the cost is told of this key, unless an earlier one's answer is still awaited.
    session = replace(session, notice="", cost=Cost() if session.ready else session.cost)
    if not session.autoplay:
        return _take(session, message)
    session, effects = prompt.stop_autoplay(session)
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
                return text_entry.typed(session, message.text)
            if session.mode in (Mode.PLAY, Mode.BROKEN):
                return text_entry.paste(session, message.text)
            return keep_pasted(session, message.text, "text is not wanted here: Esc goes back"), []
        case Go():
            if session.mode not in (Mode.PLAY, Mode.BROKEN, Mode.PROMPTS):
                return session, []
            return prompt.go_to(replace(session, mode=base_mode(session)), message.index)
        case PointedAtToken():
            if session.mode in (Mode.PLAY, Mode.BROKEN):
                return cursor.point(session, message.position)
            return _explain(session, "a click"), []
        case PointedAtRow():
            return _point_at_row(session, message.row)
        case Edited():
            return text_entry.edited(session, message.text)


def _point_at_row(session: Session, row: int) -> Outcome:
    if session.mode in (Mode.TREE, Mode.PROMPTS, Mode.MODELS):
        return lists.move(row - session.row)(session)
    if session.mode is Mode.SEARCH and session.token_search:
        return text_entry.select_found(row - session.token_search.row)(session)
    if session.mode in (Mode.PLAY, Mode.BROKEN):
        return prompt.select_row(session, row)
    return _explain(session, "a click"), []


def _escape(session: Session) -> Outcome:
    """Leaves a model that was chosen, until there is something to play with it; else to the tip."""
    if session.preparing:
        return replace(session, preparing="", notice="the model stays: the other one is not opened"), []
    if session.origin:
        return model_switch.back(session, "loading was broken off")
    return cursor.back_to_tip(session) if session.prompts else (replace(session, notice=UNREAD), [])


def _moves(move: Callable[[int], Key]) -> Mapping[Action, Key]:
    """The keys that move a selection."""
    steps = {
        Action.UP: -1,
        Action.DOWN: 1,
        Action.PAGE_UP: -prompt.PAGE,
        Action.PAGE_DOWN: prompt.PAGE,
        Action.TOP: -prompt.ALL,
        Action.BOTTOM: prompt.ALL,
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
    **_moves(prompt.select),
    Action.APPEND: prompt.append,
    Action.POP: prompt.pop,
    Action.AUTOPLAY: prompt.autoplay,
    Action.NEXT: prompt.cycle(1),
    Action.PREVIOUS: prompt.cycle(-1),
    Action.COPY: prompt.copy,
    Action.REMOVE: prompt.remove,
    Action.UNDO: prompt.undo,
    Action.CURSOR_BACK: cursor.step(-1),
    Action.CURSOR_ON: cursor.step(1),
    Action.CURSOR_FAR_BACK: cursor.step(-cursor.FAR),
    Action.CURSOR_FAR_ON: cursor.step(cursor.FAR),
    Action.CURSOR_FIRST: cursor.first,
    Action.CURSOR_TIP: _escape,
    Action.NEXT_SURPRISAL: cursor.jump(Layer.SURPRISAL, 1, lambda session: session.settings.surprise),
    Action.PREVIOUS_SURPRISAL: cursor.jump(Layer.SURPRISAL, -1, lambda session: session.settings.surprise),
    Action.NEXT_ENTROPY: cursor.jump(Layer.ENTROPY, 1, lambda _: 0.0),
    Action.PREVIOUS_ENTROPY: cursor.jump(Layer.ENTROPY, -1, lambda _: 0.0),
    Action.HIGHEST_SURPRISAL: cursor.most(Layer.SURPRISAL),
    Action.HIGHEST_ENTROPY: cursor.most(Layer.ENTROPY),
    Action.SEARCH: text_entry.search,
    Action.INPUT: text_entry.compose,
    Action.EDIT: text_entry.edit,
    Action.CLEAR_SCORES: text_entry.clear_scores,
    Action.TREE: lists.tree,
    Action.PROMPTS: lists.prompts,
    Action.MODELS: model_switch.models,
    Action.LAYER: view_options.layer(view_options.LAYERS),
    Action.MORE_LAYERS: view_options.layer(view_options.MORE_LAYERS),
    Action.PALETTE: view_options.palette,
    Action.MOUSE: view_options.mouse,
    Action.SAVE: view_options.save,
    Action.NAME: view_options.name,
    Action.HELP: view_options.open_help,
    Action.SUSPEND: view_options.suspend,
    Action.QUIT: view_options.leave,
}

_TYPING: dict[Action, Key] = {
    Action.ERASE: text_entry.edit_line(TextField.erased),
    Action.ERASE_WORD: text_entry.edit_line(TextField.word_erased),
    Action.ERASE_LINE: text_entry.edit_line(TextField.cleared),
    Action.CLOSE: text_entry.close,
    Action.HELP: view_options.open_help,
    Action.SUSPEND: view_options.suspend,
    Action.QUIT: view_options.leave,
}

_LIST: dict[Action, Key] = {
    **_moves(lists.move),
    Action.CLOSE: lists.close,
    Action.HELP: view_options.open_help,
    Action.SUSPEND: view_options.suspend,
    Action.QUIT: view_options.leave,
}

_KEYS: dict[Mode, dict[Action, Key]] = {
    Mode.PLAY: _PLAY,
    Mode.BROKEN: {**_PLAY, Action.RESTART: view_options.restart},
    Mode.HELP: {
        **_moves(view_options.scroll),
        Action.CLOSE: view_options.close_help,
        Action.SUSPEND: view_options.suspend,
        Action.QUIT: view_options.leave,
    },
    Mode.SEARCH: {
        **_TYPING,
        **_moves(text_entry.select_found),
        Action.APPEND: text_entry.append_found,
        Action.EARLIER: text_entry.walk(-1),
        Action.LATER: text_entry.walk(1),
    },
    Mode.NAME: {**_TYPING, Action.ENTER: view_options.keep},
    Mode.INPUT: {
        **_TYPING,
        Action.ENTER: text_entry.enter,
        Action.SCORE: text_entry.score,
        Action.CLEAR_SCORES: text_entry.clear_scores,
        Action.LINE_BREAK: lambda session: text_entry.typed(session, "\n"),
        Action.EARLIER: text_entry.walk(-1),
        Action.LATER: text_entry.walk(1),
        Action.DELETE: text_entry.edit_line(TextField.deleted),
        Action.CARET_LEFT: text_entry.edit_line(lambda line: line.moved(-1)),
        Action.CARET_RIGHT: text_entry.edit_line(lambda line: line.moved(1)),
        Action.CARET_START: text_entry.edit_line(lambda line: line.moved(-len(line.text))),
        Action.CARET_END: text_entry.edit_line(lambda line: line.moved(len(line.text))),
    },
    Mode.TREE: {**_LIST, Action.ENTER: lists.go_there, Action.OPEN: lists.open_there},
    Mode.PROMPTS: {**_LIST, Action.ENTER: lists.choose},
    Mode.MODELS: {**_LIST, Action.ENTER: model_switch.choose},
}
