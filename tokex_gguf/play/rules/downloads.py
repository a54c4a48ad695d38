"""The default model, downloaded while the bundled one is played."""

from tokex_gguf.play.messages import Download, ListModels, Outcome
from tokex_gguf.play.rules.command_line import under
from tokex_gguf.play.screens import Models
from tokex_gguf.play.session import Meanwhile, Session
from tokex_gguf.values.download import Coming, Here, Wanted, title
from tokex_gguf.values.record import replace


def begin(session: Session) -> Outcome:
    """Starts the download once the first table is there: until then, starting up has the machine for itself."""
    download = session.download
    if not isinstance(download, Wanted) or not session.game.prompts or session.game.waiting:
        return session, []
    standing = session.standing or Meanwhile(download.name)
    return replace(session, download=Coming(download.name), standing=standing), [Download(download.name)]


def progressed(session: Session, percent: int) -> Session:
    """Shows the progress of the download."""
    download = session.download
    return replace(session, download=replace(download, percent=percent)) if isinstance(download, Coming) else session


def arrived(session: Session, path: str) -> Outcome:
    """The download is complete: the list of models has the model, and selects it."""
    if not isinstance(session.download, Coming):
        return session, []
    name = session.download.name
    notice = f"{title(name)} is here: o, then Enter, plays with it; your prompts come along"
    session = replace(_with_notice_added(session, notice), download=Here(name, path))
    return session, [ListModels()] if isinstance(under(session), Models) else []


def failed(session: Session, reason: str) -> Session:
    """The download has failed: the next start tries again."""
    if not isinstance(session.download, Coming):
        return session
    name = session.download.name
    reason = reason.replace(f" for {name}", "").removeprefix(f"{name}: ")  # the title names it already
    notice = f"{title(name)} is not downloaded, the next start tries again: {reason}"
    return replace(_with_notice_added(session, notice), download=None)


def _with_notice_added(session: Session, line: str) -> Session:
    """Adds a line to the notice, after what is there."""
    return replace(session, notice=f"{session.notice}; {line}" if session.notice else line)
