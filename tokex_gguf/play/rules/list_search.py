"""Finding a line of a list by what it says: the same in the lists of prompts, of models and of samplers to add."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import CommandsOf
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules import chain, tree
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
from tokex_gguf.play.session import EngineStatus, Prompt, Session, text_of
from tokex_gguf.values.outline import Outline, searchable
from tokex_gguf.values.samplers import KINDS


class Searched(NamedTuple):
    """A list whose lines can be found."""

    length: Callable[[Session], int]
    texts: Callable[[Session], Iterator[str]]
    """What each line says."""


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
    """A prompt's text, made of those of the tree's branches: what many prompts begin with is read once."""
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


LISTS: dict[type[ListScreen], Searched] = {
    Prompts: Searched(prompts_length, _prompts),
    Models: Searched(models_length, _models),
    SecondModels: Searched(models_length, _models),
    SamplersToAdd: Searched(chain.missing_length, _samplers),
}


def selected(session: Session) -> int:
    """The selected line of the list that is used, or searched."""
    search = session.on(ListSearch)
    screen = search.over if search else session.on(ListScreen)
    return screen.row if screen else 0


def rows(session: Session, length: int) -> Sequence[int]:
    """The lines of a list of a length that are shown: where it is searched, those that have what is typed."""
    search = session.on(ListSearch)
    if search is None or not search.line.text:
        return range(length)
    return [row for row in search.found if row < length]


def found(session: Session) -> Sequence[int]:
    """The lines of the list that is searched that have what is typed."""
    return rows(session, LISTS[type(_screen(session).over)].length(session))


def search(session: Session) -> Outcome:
    """Begins to type what a line has."""
    screen = session.on(ListScreen)
    assert screen is not None
    return replace(session, screen=ListSearch(over=screen, before=screen.row)), []


def typed(session: Session) -> Session:
    """The text in the line is another one: the first line that has it is selected."""
    session = renewed(session)
    screen = _screen(session)
    row = screen.found[0] if screen.found else screen.before
    return pick(session, row)[0]


def renewed(session: Session) -> Session:
    """The session that knows which lines have what is typed, where a list is searched: it may have others by now."""
    screen = session.on(ListSearch)
    if screen is None:
        return session
    wanted, texts = searchable(screen.line.text[:MOST_CHARACTERS]), LISTS[type(screen.over)].texts
    there = (row for row, text in enumerate(texts(session)) if wanted in searchable(text)) if wanted else ()
    return session.turned(replace(screen, found=tuple(there)))


def select(lines: int) -> Callable[[Session], Outcome]:
    """Moves the selection among the lines that were found."""

    def go(session: Session) -> Outcome:
        there, row = found(session), selected(session)
        if not there:
            return replace(session, notice=NO_LINE), []
        place = there.index(row) if row in there else 0
        further = max(0, min(len(there) - 1, place + lines))
        if further == place:
            return replace(session, notice=f"this is the {'first' if lines < 0 else 'last'} line"), []
        return pick(session, there[further])

    return go


def pick(session: Session, row: int) -> Outcome:
    """Selects a line that was found."""
    screen = _screen(session)
    return session.turned(replace(screen, over=replace(screen.over, row=row))), []


def choose(commands: CommandsOf) -> Callable[[Session], Outcome]:
    """Does what Enter does in the list, with the line that was found."""

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


NO_LINE = "no line has this text"


def leave(session: Session) -> Outcome:
    """Back to the whole list, with the line selected that was found; what was typed is not kept."""
    screen = _screen(session)
    if session.game.engine is EngineStatus.DEAD:  # which closes every list
        return replace(session, screen=PLAY), []
    row = screen.over.row if screen.line.text and found(session) else screen.before
    return replace(session, screen=replace(screen.over, row=row)), []


def _screen(session: Session) -> ListSearch:
    screen = session.on(ListSearch)
    assert screen is not None
    return screen
