"""The default model, downloaded while the bundled one is played."""

from dataclasses import replace

from tokex_gguf.play.messages import Download, ListModels, Outcome
from tokex_gguf.play.rules.command_line import under
from tokex_gguf.play.screens import Models
from tokex_gguf.play.session import Meanwhile, Session
from tokex_gguf.values.download import Coming, Here, Wanted, title


def begin(session: Session) -> Outcome:
    """Asks for the download, once the first table is there: until then the start has the machine for itself."""
    wanted = session.download
    if not isinstance(wanted, Wanted) or not session.game.prompts or session.game.waiting:
        return session, []
    standing = session.standing or Meanwhile(wanted.name)
    return replace(session, download=Coming(wanted.name), standing=standing), [Download(wanted.name)]


def came(session: Session, percent: int) -> Session:
    """So much of it is here."""
    coming = session.download
    return replace(session, download=replace(coming, percent=percent)) if isinstance(coming, Coming) else session


def arrived(session: Session, path: str) -> Outcome:
    """All of it is here: the list of models has it, and selects it."""
    if not isinstance(session.download, Coming):
        return session, []
    name = session.download.name
    told = f"{title(name)} is here: o, then Enter, plays with it; your prompts come along"
    session = replace(_told(session, told), download=Here(name, path))
    return session, [ListModels()] if isinstance(under(session), Models) else []


def failed(session: Session, reason: str) -> Session:
    """It cannot be had: the next start tries again."""
    if not isinstance(session.download, Coming):
        return session
    name = session.download.name
    told = f"{title(name)} is not downloaded, the next start tries again: {reason}"
    return replace(_told(session, told), download=None)


def _told(session: Session, line: str) -> Session:
    """With a line for the player, behind what is told already of other things."""
    return replace(session, notice=f"{session.notice}; {line}" if session.notice else line)
