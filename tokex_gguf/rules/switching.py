"""Another model: the list of those on this machine, and the way there and back.

The text of every prompt comes along and is tokenised anew. What was played with the
model before stays as it was, for going back.
"""

from dataclasses import replace

from tokex_gguf.catalogue import Entry
from tokex_gguf.keymap import Mode
from tokex_gguf.purposes import ForCarried
from tokex_gguf.rules.asking import begin, tokenize
from tokex_gguf.rules.effects import ListModels, Outcome, Prepare, Prepared
from tokex_gguf.rules.program import base_mode, lost
from tokex_gguf.session import Cost, Engine, Prompt, Session, Settings, text_of


def models(session: Session) -> Outcome:
    """Shows the models as they were listed last, the present one selected, and lists them anew."""
    row = _line_of(session.settings.model, session.models)
    return replace(session, mode=Mode.MODELS, row=row), [ListModels()]


def listed(session: Session, entries: tuple[Entry, ...]) -> Session:
    """The new list is there: what was selected in the one before stays selected."""
    if session.mode is not Mode.MODELS:
        return replace(session, models=entries)
    before = [str(entry.place.path) for entry in session.models]
    selected = before[session.row] if session.row < len(before) else session.settings.model
    return replace(session, models=entries, row=_line_of(selected, entries))


def _line_of(file: str, entries: tuple[Entry, ...]) -> int:
    """The line of a model in the list; the first one's if it is not there."""
    files = [str(entry.place.path) for entry in entries]
    return files.index(file) if file in files else 0


def choose(session: Session) -> Outcome:
    """Asks for the selected model to be looked at."""
    if session.row >= len(session.models):
        return session, []
    entry = session.models[session.row]
    session = replace(session, mode=base_mode(session))
    if str(entry.place.path) == session.settings.model and session.engine is not Engine.DEAD:
        return replace(session, notice="this is the model that is played"), []
    if isinstance(entry.about, str):
        return replace(session, notice=f"{entry.place.name} cannot be used: {entry.about}"), []
    return replace(session, notice=f"opening {entry.place.name}"), [Prepare(str(entry.place.path))]


def prepared(session: Session, message: Prepared) -> Outcome:
    """The model's file is sound and fits: loads it in place of the one before."""
    here = session.settings.model
    fit = message.fit
    settings = replace(session.settings, model=message.path, context=fit.context, most=fit.most, repack=fit.repack)
    settings = replace(settings, chat=(), text="")
    if (known := session.shelf.get(message.path)) is not None:
        there = replace(known, settings=replace(settings, text=known.settings.text))
    else:
        there = _carried(session, settings)
    return _turn(session, there, {**session.shelf, here: resting(session)}, origin=here, notice=fit.notice)


def _carried(session: Session, settings: Settings) -> Session:
    """A session without tokens yet, with the texts of another's prompts."""
    texts = [text_of(session, prompt.tip).decode("utf-8", "replace") for prompt in session.prompts]
    if not texts:
        return Session(replace(settings, text=session.settings.text))
    others = tuple((index, text) for index, text in enumerate(texts) if index != session.active)
    return Session(replace(settings, text=texts[session.active]), carried=others)


def _turn(session: Session, there: Session, shelf: dict[str, Session], *, origin: str, notice: str) -> Outcome:
    shelf.pop(there.settings.model, None)
    there = replace(
        there,
        layer=session.layer,
        palette=session.palette,
        mouse=session.mouse,
        models=session.models,
        # Numbers go on, so that no late answer of the other engine's is taken for one of this one's.
        requests=session.requests,
        shelf=shelf,
        origin=origin,
        notice=notice,
        mode=Mode.PLAY,
        engine=Engine.LOADING,
        progress=0.0,
        cost=Cost(),
    )
    return there, begin(there)


def back(session: Session, why: str) -> Outcome:
    """To the model before, as the other one cannot be loaded or is not wanted any more."""
    there = session.shelf[session.origin]
    return _turn(session, there, dict(session.shelf), origin="", notice=why)


def resting(session: Session) -> Session:
    """A session that waits for nothing, without those that it keeps itself."""
    return replace(lost(session), shelf={}, origin="", carried=())


def carry(session: Session) -> Outcome:
    """Asks for the tokens of the next text that came along."""
    if not session.carried or session.newest(ForCarried):
        return session, []
    (_, text), *_ = session.carried
    return tokenize(session, text, ForCarried())


def arrived(session: Session, path: list[int]) -> Outcome:
    """A text that came along has its tokens: it is a prompt again, in its place."""
    (index, _), *others = session.carried
    prompt = Prompt(session.root.descend(path))
    prompts = (*session.prompts[:index], prompt, *session.prompts[index:])
    active = session.active + (index <= session.active)
    return carry(replace(session, prompts=prompts, active=active, carried=tuple(others)))


def dropped(session: Session) -> Outcome:
    """A text that came along has no tokens here: it is left out."""
    return carry(replace(session, carried=session.carried[1:]))
