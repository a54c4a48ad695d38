"""The prompt that is selected in the list of prompts, while others come."""

from tokex_gguf.play.screens import Commands, ListSearch, PromptName, Prompts, Screen
from tokex_gguf.play.session import Question, Session
from tokex_gguf.values.record import replace


def keep_selected(session: Session, index: int) -> Session:
    """Keeps the same prompt selected, searched or named where one is inserted at `index`.

    A key that was asked about another list is asked about again.
    """
    standing = None if isinstance(session.standing, Question) else session.standing
    return replace(session.turned(_shifted(session.current, index)), standing=standing)


def _shifted(screen: Screen, index: int) -> Screen:
    def row(before: int) -> int:
        return before + (before >= index)

    match screen:
        case Prompts() | PromptName():
            return replace(screen, row=row(screen.row))
        case Commands():
            return replace(screen, over=_shifted(screen.over, index))
        case ListSearch(over=Prompts() as over):
            found = tuple(map(row, screen.found))
            return replace(screen, over=replace(over, row=row(over.row)), before=row(screen.before), found=found)
        case _:
            return screen
