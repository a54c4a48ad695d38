"""The lists: moving in any of them; open prompts, texts to start with, and names of prompts."""

from collections.abc import Callable

from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.messages import ListStarters, Outcome
from tokex_gguf.play.purposes import ForNewPrompt
from tokex_gguf.play.rules import prompt
from tokex_gguf.play.rules.histories import history, put_aside, used_up, with_history
from tokex_gguf.play.rules.prompt import TYPED_BEFORE, go_to, no_room
from tokex_gguf.play.rules.selection import moved, or_play
from tokex_gguf.play.rules.text_entry import open_text, stopped
from tokex_gguf.play.screens import PLAY, ListScreen, NewPrompt, PromptName, Prompts
from tokex_gguf.play.session import Question, Session
from tokex_gguf.values.record import replace
from tokex_gguf.values.text_field import EMPTY


def close(session: Session) -> Outcome:
    """Returns to the table; nothing is changed."""
    return replace(session, screen=PLAY), []


def move(rows: int, length: Callable[[Session], int]) -> Callable[[Session], Outcome]:
    """Moves the selection in a list. `length`: how many lines it has."""

    def go(session: Session) -> Outcome:
        return _select(session, lambda row: row + rows, length)

    return go


def pick(length: Callable[[Session], int]) -> Callable[[Session, int], Outcome]:
    """Selects a line of a list. `length`: how many lines it has."""

    def go(session: Session, row: int) -> Outcome:
        return _select(session, lambda _: row, length)

    return go


def _select(session: Session, target: Callable[[int], int], length: Callable[[Session], int]) -> Outcome:
    screen = session.on(ListScreen)
    assert screen is not None
    row = moved(screen.row, target(screen.row), length(session))
    if isinstance(row, str):
        return replace(session, notice=row), []
    return session.turned(replace(screen, row=row)), []


def prompts(session: Session) -> Outcome:
    """Shows the open prompts and the texts to start with."""
    return replace(session, screen=Prompts(row=session.game.active)), [ListStarters()]


def choose(session: Session) -> Outcome:
    """Goes to the selected prompt, or opens the selected text."""
    screen = _screen(session)
    if screen.row < len(session.game.prompts):
        return go_to(replace(session, screen=PLAY), screen.row)
    index = screen.row - len(session.game.prompts)
    if index >= len(session.starters):
        return session, []
    if reason := session.game.unavailable or no_room(session):
        return replace(session, notice=reason), []
    return open_text(replace(session, screen=PLAY), session.starters[index].text)


def _screen(session: Session) -> Prompts:
    screen = session.on(Prompts)
    assert screen is not None
    return screen


def no_prompt(session: Session) -> str:
    """Why the selected line is no prompt; empty where it is one."""
    screen = session.on(Prompts)
    text = screen is not None and screen.row >= len(session.game.prompts)
    return "this is a text to start with: Enter opens it" if text else ""


def move_prompt(step: int) -> Callable[[Session], Outcome]:
    """Moves the selected prompt among the open ones."""

    def go(session: Session) -> Outcome:
        screen = _screen(session)
        target = screen.row + step
        if not 0 <= target < len(session.game.prompts):
            return replace(session, notice=f"this is the {'first' if step < 0 else 'last'} prompt"), []
        return prompt.move(session, screen.row, step).turned(Prompts(row=target)), []

    return go


def remove(session: Session) -> Outcome:
    """Removes the selected prompt, at the second press."""
    row = _screen(session).row
    if not session.asks(Action.REMOVE):
        asks = f"a again removes prompt {row + 1}; A brings it back, / finds a line by its text"
        return replace(session, standing=Question(Action.REMOVE, asks)), []
    session = replace(session, standing=None)
    session, effects = prompt.remove_at(session, row)
    return session.turned(Prompts(row=min(row, len(session.game.prompts) - 1))), effects


def bring_back(session: Session) -> Outcome:
    """Restores the prompt that was removed last, and selects it."""
    before = len(session.game.prompts)
    session, effects = prompt.bring_back(session)
    restored = len(session.game.prompts) > before
    return session.turned(Prompts(row=session.game.active)) if restored else session, effects


# --- names of prompts


def rename(session: Session) -> Outcome:
    """Begins to type a name for the selected prompt."""
    row = _screen(session).row
    return replace(session, screen=PromptName(row=row, line=EMPTY.typed(session.game.prompts[row].name))), []


def _naming(session: Session) -> PromptName:
    screen = session.on(PromptName)
    assert screen is not None
    return screen


LONGEST_NAME = 40
"""The most characters of a prompt's name."""


def keep_name(session: Session) -> Outcome:
    """Gives the prompt the typed name; none if the line is empty."""
    screen = _naming(session)
    name = " ".join(screen.line.text.split())
    if len(name) > LONGEST_NAME:
        return replace(session, notice=f"no more than {LONGEST_NAME} characters"), []
    prompts = list(session.game.prompts)
    if screen.row < len(prompts):
        prompts[screen.row] = replace(prompts[screen.row], name=name)
    session, effects = leave_name(session)
    return replace(session, game=replace(session.game, prompts=tuple(prompts))), effects


def leave_name(session: Session) -> Outcome:
    """Returns to the list of prompts."""
    row = min(_naming(session).row, len(session.game.prompts) - 1)
    return replace(session, screen=or_play(session, Prompts(row=row))), []


# --- a new prompt


def new_prompt(session: Session) -> Outcome:
    """Begins to type the text of a new prompt, with the unfinished one from the last time."""
    if reason := no_room(session):
        return replace(session, notice=reason), []
    before = history(session, NewPrompt)
    opening = session.game.newest(ForNewPrompt)
    if opening and opening[1].text == before.unfinished:  # being opened, and kept until it is a prompt
        return replace(session, screen=NewPrompt()), []
    notice = TYPED_BEFORE if before.unfinished else ""
    session = with_history(session, NewPrompt, replace(before, unfinished=""))
    return replace(session, screen=NewPrompt(line=EMPTY.typed(before.unfinished)), notice=notice), []


def open_new(session: Session) -> Outcome:
    """Opens the typed text as a new prompt. Without text, the prompt is the model's BOS token alone."""
    text, model = session.line.text, session.game.model
    if session.game.engine is not EngineStatus.READY:
        return replace(session, notice=stopped(session)), []
    if not text and model and model.bos is None:
        return replace(session, notice="no token begins this model's texts: type one"), []
    if reason := no_room(session):
        return replace(session, notice=reason), []
    session = used_up(session)
    # Kept until it is a prompt: the engine may refuse it or die.
    session = with_history(session, NewPrompt, replace(history(session, NewPrompt), unfinished=text))
    return open_text(session, text)


def leave_new(session: Session) -> Outcome:
    """Returns to the list of prompts; the text comes back the next time."""
    notice = "the text is kept: n brings it back" if session.line.text else ""
    session = put_aside(session)
    screen = or_play(session, Prompts(row=session.game.active))
    return replace(session, screen=screen, notice=notice), []
