"""The lists: all paths visited, the open prompts, texts to start with."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tokex_gguf.play.actions import Mode
from tokex_gguf.play.messages import ListStarters, Outcome
from tokex_gguf.play.rules.histories import base_mode
from tokex_gguf.play.rules.prompt import go_to, insert, show, with_prompt
from tokex_gguf.play.rules.text_entry import open_text
from tokex_gguf.play.session import EngineStatus, Prompt, Session
from tokex_gguf.values.outline import Branch, branches
from tokex_gguf.values.tree import Node


def tree_lines(session: Session) -> Sequence[Branch]:
    """The tree of the active prompt; a line ends at the tip of each open one."""
    return branches(session.prompt.tip, {prompt.tip for prompt in session.prompts})


def lines(session: Session) -> int:
    """How many lines the present list has."""
    if session.mode is Mode.TREE:
        return len(tree_lines(session))
    if session.mode is Mode.MODELS:
        return len(session.models)
    return len(session.prompts) + len(session.starters)


def close(session: Session) -> Outcome:
    """Leaves the list."""
    return replace(session, mode=base_mode(session)), []


def move(rows: int) -> Callable[[Session], Outcome]:
    """Moves the selection."""

    def go(session: Session) -> Outcome:
        row = max(0, min(lines(session) - 1, session.row + rows))
        if row == session.row and rows:
            return replace(session, notice=f"this is the {'first' if rows < 0 else 'last'} line"), []
        return replace(session, row=row), []

    return go


def tree(session: Session) -> Outcome:
    """Shows the tree, the active prompt's line selected."""
    ends = [branch.end for branch in tree_lines(session)]
    row = ends.index(session.prompt.tip) if session.prompt.tip in ends else 0
    return replace(session, mode=Mode.TREE, row=row), []


def go_there(session: Session) -> Outcome:
    """Lets the active prompt go to the selected line's end."""
    return show(with_prompt(replace(session, mode=base_mode(session)), Prompt(selected_end(session))))


def open_there(session: Session) -> Outcome:
    """Opens the selected line's end as a new prompt."""
    return insert(replace(session, mode=base_mode(session)), Prompt(selected_end(session)))


def selected_end(session: Session) -> Node:
    """The end of the tree's selected line."""
    shown = tree_lines(session)
    return shown[min(session.row, len(shown) - 1)].end


def prompts(session: Session) -> Outcome:
    """Shows the open prompts and the texts to start with."""
    return replace(session, mode=Mode.PROMPTS, row=session.active), [ListStarters()]


def choose(session: Session) -> Outcome:
    """Goes to the selected prompt, or opens the selected text."""
    if session.row < len(session.prompts):
        return go_to(replace(session, mode=base_mode(session)), session.row)
    index = session.row - len(session.prompts)
    if index >= len(session.starters):
        return session, []
    if session.engine is not EngineStatus.READY:
        return replace(session, notice="the engine is not there: r restarts it"), []
    if len(session.prompts) >= session.settings.max_prompts:
        return insert(session, session.prompt)  # says why not
    return open_text(replace(session, mode=base_mode(session)), session.starters[index].text)
