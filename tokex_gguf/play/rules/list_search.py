"""Searching the lists of prompts, models and samplers to add."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import CommandsOf
from tokex_gguf.play.game import EngineStatus, Prompt, text_of
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules import chain, tree
from tokex_gguf.play.rules.selection import NO_LINE, moved
from tokex_gguf.play.screens import (
    MOST_CHARACTERS,
    PLAY,
    ListScreen,
    ListSearch,
    Models,
    Prompts,
    SamplersToAdd,
    SecondModels,
)
from tokex_gguf.play.session import Session
from tokex_gguf.values.outline import Outline, searchable
from tokex_gguf.values.record import replace
from tokex_gguf.values.samplers import KINDS


class SearchableList(NamedTuple):
    """A list that can be searched."""

    length: Callable[[Session], int]
    texts: Callable[[Session], Iterator[str]]
    """The searchable text of each line."""


def prompts_length(session: Session) -> int:
    """How many lines the list of prompts and starting texts has."""
    return len(session.game.prompts) + len(session.starters)


def models_length(session: Session) -> int:
    """How many models are listed."""
    return len(session.models)


def _prompts(session: Session) -> Iterator[str]:
    visited = tree.whole(session)
    for prompt in session.game.prompts:
        yield f"{prompt.name}\n{_text(session, visited, prompt)}"
    for starter in session.starters:
        yield f"{starter.name}\n{starter.text}"


def _text(session: Session, visited: Outline, prompt: Prompt) -> str:
    """A prompt's text, joined from the tree's branches: a common prefix of many prompts is read once."""
    branch = visited.by_end.get(prompt.tip)
    if branch is None:
        return text_of(session.game, prompt.tip).decode("utf-8", "replace")
    parts = []
    while branch is not None:
        if branch.text is None:
            branch.text = tree.text_of(session, branch)
        parts.append(branch.text)
        branch = branch.parent
    return "".join(reversed(parts))


def _models(session: Session) -> Iterator[str]:
    return (f"{entry.name} {entry.kind} {entry.fault}" for entry in session.models)


def _samplers(session: Session) -> Iterator[str]:
    for kind in chain.missing(session):
        row = KINDS[kind]
        yield f"{row.title} {row.help} {' '.join(parameter.flag for parameter in row.parameters)}"


LISTS: dict[type[ListScreen], SearchableList] = {
    Prompts: SearchableList(prompts_length, _prompts),
    Models: SearchableList(models_length, _models),
    SecondModels: SearchableList(models_length, _models),
    SamplersToAdd: SearchableList(chain.missing_length, _samplers),
}


def selected(session: Session) -> int:
    """The selected line of the list in use, also while it is searched."""
    search = session.on(ListSearch)
    screen = search.over if search else session.on(ListScreen)
    return screen.row if screen else 0


def rows(session: Session, length: int) -> Sequence[int]:
    """The shown lines of a list of `length` lines: all, or the matches of a search."""
    search = session.on(ListSearch)
    if search is None or not search.line.text:
        return range(length)
    return [row for row in search.found if row < length]


def found(session: Session) -> Sequence[int]:
    """The lines of the searched list that match."""
    return rows(session, LISTS[type(_screen(session).over)].length(session))


def search(session: Session) -> Outcome:
    """Begins to search the list."""
    screen = session.on(ListScreen)
    assert screen is not None
    return replace(session, screen=ListSearch(over=screen, before=screen.row)), []


def typed(session: Session) -> Session:
    """Handles a changed query: selects the first match."""
    session = renewed(session)
    screen = _screen(session)
    row = screen.found[0] if screen.found else screen.before
    return pick(session, row)[0]


def renewed(session: Session) -> Session:
    """Finds the matches of a list search again, as the list may have changed."""
    screen = session.on(ListSearch)
    if screen is None:
        return session
    query, texts = searchable(screen.line.text[:MOST_CHARACTERS]), LISTS[type(screen.over)].texts
    matches = (row for row, text in enumerate(texts(session)) if query in searchable(text)) if query else ()
    return session.turned(replace(screen, found=tuple(matches)))


def select(lines: int) -> Callable[[Session], Outcome]:
    """Moves the selection among the matches."""

    def go(session: Session) -> Outcome:
        matches, row = found(session), selected(session)
        place = matches.index(row) if row in matches else 0
        target = moved(place, place + lines, len(matches))
        if isinstance(target, str):
            return replace(session, notice=target), []
        return pick(session, matches[target])

    return go


def pick(session: Session, row: int) -> Outcome:
    """Selects a match."""
    screen = _screen(session)
    return session.turned(replace(screen, over=replace(screen.over, row=row))), []


def choose(commands: CommandsOf) -> Callable[[Session], Outcome]:
    """Runs the list's command for Enter on the selected match."""

    def go(session: Session) -> Outcome:
        screen = _screen(session)
        if screen.over.row not in found(session):
            return replace(session, notice=NO_LINE), []
        command = next(one for one in commands(screen.over) if one.action is Action.ENTER)
        assert command.handler is not None
        session = session.turned(screen.over)
        reason = command.disabled(session)
        return (replace(session, notice=reason), []) if reason else command.handler(session)

    return go


def leave(session: Session) -> Outcome:
    """Returns to the whole list, with the match selected; the query is not kept."""
    screen = _screen(session)
    if session.game.engine is EngineStatus.DEAD:  # this closes every list
        return replace(session, screen=PLAY), []
    row = screen.over.row if screen.line.text and found(session) else screen.before
    return replace(session, screen=replace(screen.over, row=row)), []


def _screen(session: Session) -> ListSearch:
    screen = session.on(ListSearch)
    assert screen is not None
    return screen
