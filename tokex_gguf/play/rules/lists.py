"""The lists: all paths visited, the open prompts, texts to start with."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tokex_gguf.play.messages import ListStarters, Outcome
from tokex_gguf.play.rules.prompt import go_to, insert, show, with_prompt
from tokex_gguf.play.rules.text_entry import open_text
from tokex_gguf.play.screens import PLAY, ListScreen, Prompts, Tree
from tokex_gguf.play.session import EngineStatus, Prompt, Session
from tokex_gguf.values.outline import Branch, branches
from tokex_gguf.values.tree import Node


def tree_lines(session: Session) -> Sequence[Branch]:
    """The tree of the active prompt; a line ends at the tip of each open one."""
    return branches(session.game.prompt.tip, {prompt.tip for prompt in session.game.prompts})


def tree_length(session: Session) -> int:
    """How many lines the tree has."""
    return len(tree_lines(session))


def prompts_length(session: Session) -> int:
    """How many lines the list of prompts and starting texts has."""
    return len(session.game.prompts) + len(session.starters)


def models_length(session: Session) -> int:
    """How many models are listed."""
    return len(session.models)


def close(session: Session) -> Outcome:
    """Leaves the list."""
    return replace(session, screen=PLAY), []


def move(rows: int, length: Callable[[Session], int]) -> Callable[[Session], Outcome]:
    """Moves the selection in a list of a length."""

    def go(session: Session) -> Outcome:
        return _select(session, lambda row: row + rows, length)

    return go


def pick(length: Callable[[Session], int]) -> Callable[[Session, int], Outcome]:
    """Selects a line of a list of a length."""

    def go(session: Session, row: int) -> Outcome:
        return _select(session, lambda _: row, length)

    return go


def _select(session: Session, wanted: Callable[[int], int], length: Callable[[Session], int]) -> Outcome:
    screen = session.on(ListScreen)
    assert screen is not None
    row = max(0, min(length(session) - 1, wanted(screen.row)))
    if row == screen.row and wanted(row) != row:
        return replace(session, notice=f"this is the {'first' if wanted(row) < row else 'last'} line"), []
    return session.turned(replace(screen, row=row)), []


def tree(session: Session) -> Outcome:
    """Shows the tree, the active prompt's line selected."""
    ends = [branch.end for branch in tree_lines(session)]
    row = ends.index(session.game.prompt.tip) if session.game.prompt.tip in ends else 0
    return replace(session, screen=Tree(row=row)), []


def go_there(session: Session) -> Outcome:
    """Lets the active prompt go to the selected line's end."""
    return show(with_prompt(replace(session, screen=PLAY), Prompt(selected_end(session))))


def open_there(session: Session) -> Outcome:
    """Opens the selected line's end as a new prompt."""
    return insert(replace(session, screen=PLAY), Prompt(selected_end(session)))


def selected_end(session: Session) -> Node:
    """The end of the tree's selected line."""
    shown, screen = tree_lines(session), session.on(Tree)
    return shown[min(screen.row if screen else 0, len(shown) - 1)].end


def prompts(session: Session) -> Outcome:
    """Shows the open prompts and the texts to start with."""
    return replace(session, screen=Prompts(row=session.game.active)), [ListStarters()]


def choose(session: Session) -> Outcome:
    """Goes to the selected prompt, or opens the selected text."""
    screen = session.on(Prompts)
    assert screen is not None
    if screen.row < len(session.game.prompts):
        return go_to(replace(session, screen=PLAY), screen.row)
    index = screen.row - len(session.game.prompts)
    if index >= len(session.starters):
        return session, []
    if session.game.engine is not EngineStatus.READY:
        return replace(session, notice="the engine is not there: r restarts it"), []
    if len(session.game.prompts) >= session.game.settings.max_prompts:
        return insert(session, session.game.prompt)  # says why not
    return open_text(replace(session, screen=PLAY), session.starters[index].text)
