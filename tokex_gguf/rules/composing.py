"""Text that is typed: searching the vocabulary, going on with words of one's own, scoring phrases, the editor."""

from collections.abc import Callable
from dataclasses import replace

from tokex_gguf.distribution import Candidate, Taken
from tokex_gguf.engine.protocol import Found, Search
from tokex_gguf.keymap import Mode
from tokex_gguf.line import Line
from tokex_gguf.purposes import ForContinuation, ForNewPrompt, ForScore, ForSearch
from tokex_gguf.rules.asking import ask, request, tokenize, without
from tokex_gguf.rules.effects import Edit, EditFailed, Outcome
from tokex_gguf.rules.playing import insert, show, with_prompt
from tokex_gguf.rules.program import base_mode
from tokex_gguf.session import Draft, Engine, Hunt, Prompt, Score, Session, text_of
from tokex_gguf.tree import Node


def _place(session: Session) -> Node | None:
    """The path to go on from: before the cursor's token, else the whole prompt; None before the first token."""
    tip = session.prompt.place.tip
    return tip if tip.depth else None


def _unavailable(session: Session) -> str:
    if session.engine is not Engine.READY:
        return "the engine is not there: r restarts it" if session.engine is Engine.DEAD else "still loading"
    if _place(session) is None:
        return "nothing comes before the first token"
    return ""


def _left(session: Session) -> Session:
    """The session when nothing is typed any more."""
    return replace(
        without(session, ForSearch, ForContinuation), mode=base_mode(session), line=Line(), draft=None, hunt=None
    )


def close(session: Session) -> Outcome:
    """Leaves what is typed; nothing is changed."""
    return ask(_left(session))


def go_on(session: Session, base: Node, tip: Node) -> Outcome:
    """Lets the prompt go on to `tip`; where `base` is not its end, opens a new one that does."""
    session = _left(session)
    if session.prompt.cursor is None and base is session.prompt.tip:
        return show(with_prompt(session, Prompt(tip)))
    return insert(session, Prompt(tip))


# --- the line


def typed(session: Session, text: str) -> Outcome:
    """Text from the keyboard."""
    if (tokens := session.newest(ForContinuation)) and tokens[1].entered:
        return session, []  # Enter was pressed: what comes after it is not part of the text
    return _changed(replace(session, line=session.line.typed(text)))


def edit_line(change: Callable[[Line], Line]) -> Callable[[Session], Outcome]:
    """A key that changes the line, or moves in it."""

    def go(session: Session) -> Outcome:
        line = change(session.line)
        if line.text == session.line.text:
            return replace(session, line=line), []
        return _changed(replace(session, line=line))

    return go


def _changed(session: Session) -> Outcome:
    if session.mode is Mode.NAME:
        return session, []
    return _search(session) if session.mode is Mode.SEARCH else _draft(session)


# --- searching


def search(session: Session) -> Outcome:
    """Begins a search."""
    if reason := _unavailable(session):
        return replace(session, notice=reason), []
    place = session.prompt.place.tip
    return _search(replace(session, mode=Mode.SEARCH, line=Line(), hunt=Hunt(place)))


def _search(session: Session) -> Outcome:
    hunt = session.hunt
    assert hunt is not None
    path, query, top = hunt.tip.path(), session.line.text, max(100, session.settings.tokens_to_show)
    return request(session, ForSearch(), lambda number: Search(number, path, query, top))


def found(session: Session, message: Found) -> Outcome:
    """Shows what a search found."""
    hunt = session.hunt
    assert hunt is not None
    rows = tuple(
        Candidate(taken.rank, token, taken.logprob) for token, taken in zip(message.tokens, message.taken, strict=True)
    )
    return replace(session, hunt=replace(hunt, rows=rows, total=message.total, row=0, fault="")), []


def not_found(session: Session, reason: str) -> Session:
    """Says why the engine could not search; what an earlier search found is no answer to this one."""
    hunt = session.hunt
    assert hunt is not None
    return replace(session, hunt=replace(hunt, rows=(), total=0, row=0, fault=reason))


def select_found(rows: int) -> Callable[[Session], Outcome]:
    """Moves the selection among what was found."""

    def go(session: Session) -> Outcome:
        hunt = session.hunt
        if hunt is None or not hunt.rows:
            return session, []
        row = max(0, min(len(hunt.rows) - 1, hunt.row + rows))
        if row == hunt.row and rows:
            shown, total = len(hunt.rows), hunt.total
            below = f"the likeliest {shown} of {total}: type more of it" if shown < total else "this is the last one"
            return replace(session, notice="this is the likeliest one" if rows < 0 else below), []
        return replace(session, hunt=replace(hunt, row=row)), []

    return go


def append_found(session: Session) -> Outcome:
    """Goes on with the token selected among what was found."""
    hunt = session.hunt
    if hunt is None or not hunt.rows:
        waiting = hunt is not None and hunt.rows is None
        nothing = (hunt.fault if hunt else "") or "no token has this text"
        return replace(session, notice="still searching" if waiting else nothing), []
    row = hunt.rows[hunt.row]
    node = hunt.tip.child(row.token)
    node.attach_taken(Taken(row.logprob, row.rank))
    return go_on(session, hunt.tip, node)


# --- typing


def compose(session: Session) -> Outcome:
    """Begins to type."""
    if reason := _unavailable(session):
        return replace(session, notice=reason), []
    base = session.prompt.place.tip
    return replace(session, mode=Mode.INPUT, line=Line(), draft=Draft(base, base)), []


def paste(session: Session, text: str) -> Outcome:
    """Pasted text is typed text."""
    session, effects = compose(session)
    if session.draft is None:
        return session, effects
    return typed(session, text)


def _draft(session: Session) -> Outcome:
    draft = session.draft
    assert draft is not None
    fresh = Draft(draft.base, draft.base)
    if not session.line.text:
        return ask(replace(without(session, ForContinuation), draft=fresh))
    # What is computed for the text before is not wanted any more; what is finished of it, stays.
    session, effects = ask(replace(session, draft=fresh))
    session, more = tokenize(session, session.line.text, ForContinuation(), continues=True)
    return replace(session, draft=draft), effects + more


def drafted(session: Session, path: list[int], *, entered: bool) -> Outcome:
    """The tokens of what is typed are there; where Enter was pressed, they are appended."""
    draft = session.draft
    assert draft is not None
    session = replace(session, draft=replace(draft, tip=draft.base.descend(path)))
    return enter(session) if entered else ask(session)


def not_tokenized(session: Session) -> Outcome:
    """What is typed has no tokens, as far as the engine can tell: those of an earlier text are not shown for it."""
    draft = session.draft
    assert draft is not None
    return ask(replace(session, draft=replace(draft, tip=draft.base)))


def scored(session: Session, base: Node, path: list[int]) -> Outcome:
    """The tokens of a phrase that is to be scored are there."""
    return _keep(session, Score(base, base.descend(path)))


def _keep(session: Session, score: Score) -> Outcome:
    # The one scored last is the last, also where it is scored again: its tokens are shown.
    scores = (*(one for one in session.scores if one != score), score)[-50:]
    spaced = {session.piece(one.nodes[0].token).data[:1].isspace() for one in scores if one.nodes}
    told = "scored; type another phrase, or Esc"
    first = session.piece(score.nodes[0].token).data[:1] if score.nodes else b""
    if len(spaced) > 1:
        told = "scored; mind that only some of the phrases begin with a space"
    elif first == b" " and session.piece(score.base.token).data.endswith(b" "):
        told = "scored; mind that there was a space before it already"
    return ask(replace(session, scores=scores, notice=told))


def enter(session: Session) -> Outcome:
    """Appends what is typed."""
    draft = session.draft
    if draft is None or not session.line.text:
        session, effects = close(session)
        return replace(session, notice="nothing was typed, nothing is appended"), effects
    if tokens := session.newest(ForContinuation):
        return replace(session, asked={**session.asked, tokens[0]: ForContinuation(entered=True)}), []
    if draft.tip is draft.base:  # the engine has refused it: it may do better now, or says again why not
        return tokenize(session, session.line.text, ForContinuation(entered=True), continues=True)
    return go_on(session, draft.base, draft.tip)


def score(session: Session) -> Outcome:
    """Keeps what is typed as a phrase to compare, and makes room for the next."""
    draft = session.draft
    if draft is None or not session.line.text:
        return replace(session, notice="type a phrase first"), []
    text = session.line.text
    session = replace(session, line=Line(), draft=Draft(draft.base, draft.base))
    if tokens := session.newest(ForContinuation):
        return ask(replace(session, asked={**session.asked, tokens[0]: ForScore(draft.base)}))
    if draft.tip is draft.base:  # as with Enter
        return tokenize(session, text, ForScore(draft.base), continues=True)
    return _keep(session, Score(draft.base, draft.tip))


def clear_scores(session: Session) -> Outcome:
    """Forgets all phrases."""
    notice = "the phrases are forgotten" if session.scores else "no phrases were scored"
    return ask(replace(session, scores=(), notice=notice))


# --- the editor


def edit(session: Session) -> Outcome:
    """Opens the prompt's text in an editor."""
    try:
        text = text_of(session, session.prompt.tip).decode()
    except UnicodeDecodeError:
        return replace(session, notice="the prompt ends inside a character: append or pop first"), []
    return session, [Edit(text)]


def edited(session: Session, text: str) -> Outcome:
    """Makes what the editor left the prompt's text. What tokens it begins with as before, are known."""
    if not session.prompts:  # another model was loaded meanwhile, and has read nothing yet
        carried = (*session.carried, (len(session.carried) + 1, text))
        return replace(session, carried=carried, notice="the edited text is opened once the model is there"), []
    before = text_of(session, session.prompt.tip).decode("utf-8", "replace")
    if text.endswith("\n") and not before.endswith("\n"):
        text = text[:-1]  # editors put it there
    if text == before:
        return replace(session, notice="the text is unchanged"), []
    if not text:
        return replace(session, notice="an empty text cannot be gone on from: the prompt stays"), []
    if session.engine is not Engine.READY:
        return replace(session, notice="the engine is not there: the text is lost; r restarts it"), []
    return open_text(session, text, replacing=True)


def not_edited(session: Session, message: EditFailed) -> Session:
    """Says why the editor's text was not taken, and where it is: the path first, as a narrow screen cuts the line."""
    where = f"the edited text is in {message.kept}: " if message.kept else ""
    return replace(session, notice=where + message.reason)


def open_text(session: Session, text: str, *, replacing: bool = False) -> Outcome:
    """Opens a text as a new prompt, or in place of the active one."""
    return tokenize(session, text, ForNewPrompt(replacing))


def opened(session: Session, path: list[int], *, replacing: bool) -> Outcome:
    """The tokens of a text that becomes a prompt are there."""
    prompt = Prompt(session.root.descend(path))
    return show(with_prompt(session, prompt)) if replacing else insert(session, prompt)
