"""What `Command.now` says: importance and word for the footer, where these are others now than else."""

from collections.abc import Callable

from tokex_gguf.play.command import Hint
from tokex_gguf.play.session import EngineStatus, Session
from tokex_gguf.play.versus import ALONE


def _where(holds: Callable[[Session], object]) -> Callable[[int, str], Hint]:
    """Other ones where something holds; each command says which."""

    def of(importance: int, label: str) -> Hint:
        return lambda session: (importance, label) if holds(session) else None

    return of


comparing = _where(lambda session: session.game.versus is not ALONE)
inside = _where(lambda session: session.game.prompts and session.game.prompt.cursor is not None)
"""A token inside the prompt is looked at."""
cut_otherwise = _where(lambda session: session.game.prompts and session.game.prompt.tip.differs is not None)
"""The prompt is not cut as the tokenizer does it."""
limited = _where(lambda session: session.game.sampling.constraint is not None)


def without_engine(importance: int, label: str, of_server: str) -> Hint:
    """Other ones while the engine, or the connection to a server, is gone."""

    def hint(session: Session) -> tuple[int, str] | None:
        told = of_server if session.game.server else label
        return (importance, told) if session.game.engine is EngineStatus.DEAD else None

    return hint


def playing(session: Session) -> tuple[int, str] | None:
    """The key that lets it play stops it as well."""
    return (45, "stop") if session.game.pressed.autoplay else inside(0, "")(session)


def taking(session: Session) -> tuple[int, str] | None:
    """What tab does: A and B change places, or text that most likely follows is taken up."""
    if session.game.versus is not ALONE:
        return 65, "A ⇄ B"
    return (65, "take up") if session.options.ghost else None


def compares(session: Session) -> tuple[int, str] | None:
    """The key that compares ends comparing as well."""
    if session.game.versus is not ALONE:
        return 48, "end comparing"
    several = len(session.game.prompts) > 1 or (session.game.prompts and session.game.prompt.parent is not None)
    return (43, "compare") if several else None
