"""Typed text: searching the vocabulary, appending text, scoring phrases, the editor."""

from collections.abc import Callable

from tokex_gguf.engine import protocol
from tokex_gguf.engine.protocol import Found
from tokex_gguf.play.game import Editing, EditState, EngineStatus, Prompt, text_of
from tokex_gguf.play.messages import Edit, EditFailed, NameSession, Outcome
from tokex_gguf.play.purposes import (
    ForConstraint,
    ForContinuation,
    ForEdited,
    ForInsertion,
    ForNewPrompt,
    ForScore,
    ForSearch,
    Purpose,
)
from tokex_gguf.play.requests import ask, request, tokenize, without
from tokex_gguf.play.rules import find, list_search, sessions
from tokex_gguf.play.rules.editing import SAME_TOKEN, from_editor, no_cursor, replaced_by
from tokex_gguf.play.rules.histories import BRINGS_BACK, history, keep_pasted, put_aside, used_up, with_history
from tokex_gguf.play.rules.prompt import TYPED_BEFORE, UNREAD, insert, no_room, show, with_prompt
from tokex_gguf.play.screens import (
    Commands,
    Constraining,
    Find,
    Input,
    Insert,
    ListSearch,
    Name,
    NewPrompt,
    SearchScreen,
    Sessions,
    TreeSearch,
    TypingScreen,
)
from tokex_gguf.play.session import Session
from tokex_gguf.values.names import valid_name
from tokex_gguf.values.record import replace
from tokex_gguf.values.score import Score
from tokex_gguf.values.text_field import EMPTY, TextField
from tokex_gguf.values.tree import Node

MAX_LIVE_CHARACTERS = 20_000
"""Longest text, in characters, that each key tokenises and evaluates. Longer texts wait for Enter or ctrl+p."""


def _base(session: Session) -> Node | None:
    """The path to continue: before the cursor's token, else the whole prompt; None before the first token."""
    tip = session.game.prompt.place.tip
    return tip if tip.depth else None


def stopped(session: Session) -> str:
    """A line saying that the engine is not there, what helps, and that the typed text is kept."""
    if session.game.engine is EngineStatus.LOADING:
        return f"{session.game.unavailable}: the text is kept"
    return f"{session.game.engine_stopped}: Esc, then {session.game.reconnect_hint}; the text is kept"


def _unavailable(session: Session) -> str:
    if reason := session.game.unavailable:
        return reason
    if _base(session) is None:
        return "nothing comes before the first token"
    return ""


def close(session: Session) -> Outcome:
    """Leaves the typed text for the next time; nothing else changes."""
    typing = session.on(TypingScreen)
    session, effects = ask(put_aside(find.back_to_origin(session)))
    if typing and history(session, type(typing)).unfinished:
        session = replace(session, notice=f"the text is kept: {BRINGS_BACK[type(typing)]} brings it back")
    return session, effects


def go_on(session: Session, base: Node, tip: Node) -> Outcome:
    """Extends the prompt to `tip`; where `base` is not its tip, opens a new prompt there."""
    before, begins = session.game.prompt, _begins(session, base, tip)
    if before.cursor is None and base is before.tip:
        return show(with_prompt(used_up(session), Prompt(tip, begins=begins)))
    if reason := no_room(session):
        return ask(replace(session, notice=reason))  # the typed text stays
    return insert(used_up(session), Prompt(tip, begins=begins, parent=before.tip))


def _begins(session: Session, base: Node, tip: Node) -> int:
    """Where the model's part begins after typed text: after that text, unless the model wrote tokens before it.

    Under a constraint it stays, so that the typed text is checked.
    """
    begins = min(session.game.prompt.begins, base.depth)
    return tip.depth if begins == base.depth and session.game.sampling.constraint is None else begins


# --- the line


def typed(session: Session, text: str) -> Outcome:
    """Text from the keyboard."""
    if waiting := _still_read(session):
        return (_kept_for_later(session, text) if len(text) > 1 else waiting), []
    tokens = session.game.newest(ForContinuation)
    if (tokens and tokens[1].entered) or session.game.newest(ForInsertion):
        # Keys after Enter are not part of the text: they are meant for the prompt to come.
        return (keep_pasted(session, text, "Enter was pressed before") if len(text) > 1 else session), []
    typing = _typing(session)
    if typing.line.selected:  # the history keeps the replaced text
        kind = type(typing)
        session = with_history(session, kind, history(session, kind).remember(typing.line.text))
    return _edited(session, typing.line.typed(text))


def _still_read(session: Session) -> Session | None:
    """A notice that the constraint in the line is being read; None where none is."""
    typing = session.on(Constraining)
    if typing is None or not (typing.file or session.game.newest(ForConstraint)):
        return None
    return replace(session, notice="the constraint is being read; Esc leaves it")


def _kept_for_later(session: Session, text: str) -> Session:
    """Keeps a constraint that was pasted while the one in the line is being read."""
    kept = history(session, Constraining).change().remember(text)
    notice = "the constraint is being read; the text is kept: ↑ brings it back"
    return replace(with_history(session, Constraining, kept), notice=notice)


def line_break(session: Session) -> Outcome:
    """Types a line break."""
    return typed(session, "\n")


def edit_line(change: Callable[[TextField], TextField]) -> Callable[[Session], Outcome]:
    """Changes the line, or moves in it."""

    def go(session: Session) -> Outcome:
        typing = _typing(session)
        line = change(typing.line)
        if line.text != typing.line.text and (waiting := _still_read(session)):
            return waiting, []
        if line.text == typing.line.text:
            return session.turned(replace(typing, line=line)), []
        return _edited(session, line)

    return go


def walk(step: int) -> Callable[[Session], Outcome]:
    """Goes to an earlier (-1) or a later (1) text of the screen's history."""

    def go(session: Session) -> Outcome:
        typing = _typing(session)
        before = history(session, type(typing))
        stepped = before.earlier(typing.line.text) if step < 0 else before.later()
        if stepped is None:
            oldest = "this is the oldest text" if before.texts else "no text was typed before"
            return replace(session, notice=oldest if step < 0 else "this is the newest text"), []
        session = with_history(session, type(typing), stepped[0])
        return _changed(session, EMPTY.typed(stepped[1]))

    return go


def _typing(session: Session) -> TypingScreen:
    typing = session.on(TypingScreen)
    assert typing is not None
    return typing


def _edited(session: Session, line: TextField) -> Outcome:
    """Handles a change of the line by the player."""
    kind = type(_typing(session))
    return _changed(with_history(session, kind, history(session, kind).change()), line)


def again(session: Session, typing: TypingScreen) -> Session:
    """Begins to type, with the unfinished text from the last time."""
    kind = type(typing)
    before = history(session, kind)
    session = with_history(session, kind, replace(before, unfinished=""))
    line, notice = EMPTY.typed(before.unfinished), ""
    if kind is Find and not line.text and before.texts:
        line = EMPTY.typed(before.texts[-1])
    if line.text and kind in (SearchScreen, Find):
        # A new search rarely extends the old one.
        line, notice = replace(line, selected=True), "typing replaces it; ctrl+u clears it"
    elif line.text:
        notice = TYPED_BEFORE
    return replace(session, screen=replace(typing, line=line), notice=notice)


def _changed(session: Session, line: TextField) -> Outcome:
    typing = replace(_typing(session), line=line)
    session = session.turned(typing)
    match typing:
        case SearchScreen():
            return _search(session, typing)
        case Input():
            return _continue(session, typing)
        case Insert():
            return without(session, ForInsertion), []
        case Find():
            return find.changed(session)
        case Commands() | TreeSearch():
            return session.turned(replace(typing, row=0)), []
        case Sessions():
            return sessions.typed(session), []
        case ListSearch():
            return list_search.typed(session), []
        case _:
            return session, []


# --- searching


def search(session: Session) -> Outcome:
    """Begins a search."""
    if reason := _unavailable(session):
        return replace(session, notice=reason), []
    session = again(session, SearchScreen(tip=session.game.prompt.place.tip))
    searching = session.on(SearchScreen)
    assert searching is not None
    return (session, []) if _costs(session) else _search(session, searching)


BYTES_PER_TOKEN = 96
"""About how many bytes a server sends for a token of its vocabulary."""


def _costs(session: Session) -> bool:
    """Whether a search reads the whole vocabulary from a server: it then starts with the first typed text only."""
    model = session.game.model
    return bool(session.game.server and model and model.candidates)


def search_cost(session: Session) -> str:
    """What a search will cost that was not begun yet; empty where it costs little."""
    searching, model = session.on(SearchScreen), session.game.model
    if not searching or searching.rows is not None or not _costs(session) or session.game.newest(ForSearch):
        return ""
    size = model.vocab_size * BYTES_PER_TOKEN / 1e6 if model else 0
    size_text = f"about {max(1, round(size))} MB" if size else "some MB"
    return f"needs the whole vocabulary from the server: {size_text} "


def _search(session: Session, searching: SearchScreen) -> Outcome:
    if session.game.unavailable:
        # Results for an older text are not this one's.
        session = session.turned(replace(searching, rows=None, total=0, row=0, fault=""))
        return replace(session, notice=stopped(session)), []
    path, query, top = searching.tip.path(), searching.line.text, max(100, session.game.settings.tokens_to_show)
    return request(session, ForSearch(), lambda number: protocol.Search(number, path, query, top))


def found(session: Session, message: Found) -> Outcome:
    """Shows the results of a search."""
    searching = session.on(SearchScreen)
    assert searching is not None
    rows = tuple(taken.row(token) for token, taken in zip(message.tokens, message.taken, strict=True))
    return session.turned(replace(searching, rows=rows, total=message.total, row=0, fault="")), []


def not_found(session: Session, reason: str) -> Session:
    """Says why the engine could not search; results of an earlier search are cleared."""
    searching = session.on(SearchScreen)
    assert searching is not None
    return session.turned(replace(searching, rows=(), total=0, row=0, fault=reason))


def select_found(rows: int) -> Callable[[Session], Outcome]:
    """Moves the selection in the results."""

    def go(session: Session) -> Outcome:
        searching = session.on(SearchScreen)
        if searching is None or not searching.rows:
            return session, []
        before = history(session, SearchScreen)
        new_text = searching.line.text != "" and before.place is None
        if rows == -1 and searching.row == 0 and not new_text and before.earlier(searching.line.text):
            return walk(-1)(session)
        row = max(0, min(len(searching.rows) - 1, searching.row + rows))
        if row == searching.row and rows:
            shown, total = len(searching.rows), searching.total
            below = f"the likeliest {shown} of {total}: type more of it" if shown < total else "this is the last one"
            return replace(session, notice="this is the likeliest one" if rows < 0 else below), []
        return session.turned(replace(searching, row=row)), []

    return go


def pick_found(session: Session, row: int) -> Outcome:
    """Selects a row of the results."""
    searching = session.on(SearchScreen)
    return select_found(row - searching.row)(session) if searching else (session, [])


def append_found(session: Session) -> Outcome:
    """Appends the selected result."""
    searching = session.on(SearchScreen)
    if searching is None or not searching.rows:
        if searching and searching.rows is None and not session.game.newest(ForSearch):
            return _search(session, searching)  # the search was not begun yet
        waiting = searching is not None and searching.rows is None
        nothing = (searching.fault if searching else "") or "no token has this text"
        return replace(session, notice="still searching" if waiting else nothing), []
    row = searching.rows[searching.row]
    node = searching.tip.child(row.token)
    node.attach_taken(row.taken)
    if not no_room(session) or session.game.prompt.tip is searching.tip:
        node.play()
    return go_on(session, searching.tip, node)


def cannot_replace_found(session: Session) -> str:
    """Why no result can replace the token at the cursor; empty where one can."""
    if reason := no_cursor(session, "ctrl+k replaces the token that is looked at: this is the prompt's end"):
        return reason
    searching = session.on(SearchScreen)
    if searching is None or not searching.rows:
        return "nothing is found yet"
    if searching.tip is not session.game.prompt.place.tip:
        return "another token is looked at now: Esc, then / again"
    taken = searching.rows[searching.row].token == session.game.prompt.place.popped
    return SAME_TOKEN if taken else ""


def replace_by_found(session: Session) -> Outcome:
    """Replaces the token at the cursor by the selected result, and keeps what follows."""
    searching = session.on(SearchScreen)
    assert searching is not None and searching.rows
    row = searching.rows[searching.row]
    searching.tip.child(row.token).attach_taken(row.taken)
    return replaced_by(used_up(session), row.token)


# --- finding in the prompt


def find_text(session: Session) -> Outcome:
    """Begins to find text in the prompt, with the last query in the line."""
    return again(session, find.opened(session.game)), []


def stay(session: Session) -> Outcome:
    """Closes the find and keeps the cursor at the match."""
    screen = session.on(Find)
    assert screen is not None
    if not screen.query:
        return put_aside(session), []
    if screen.match is None:
        session, effects = find.step(1)(session)
        if session.notice:  # no match
            return session, effects
    return used_up(session), []


# --- typing


def compose(session: Session) -> Outcome:
    """Begins to type."""
    if reason := _unavailable(session):
        return replace(session, notice=reason), []
    base = session.game.prompt.place.tip
    session = again(session, Input(base=base, tip=base))
    return _continue(session, _input(session)) if session.line.text else (session, [])


def _input(session: Session) -> Input:
    typing = session.on(Input)
    assert typing is not None
    return typing


def paste(session: Session, text: str) -> Outcome:
    """Types the pasted text. An unfinished text goes to the history."""
    if reason := UNREAD if not session.game.prompts else _unavailable(session):
        return keep_pasted(session, text, reason), []
    before = history(session, Input)
    session = with_history(session, Input, replace(before.remember(before.unfinished), unfinished=""))
    session, _ = compose(session)
    return typed(session, text)


def _continue(session: Session, typing: Input) -> Outcome:
    cleared = session.turned(replace(typing, tip=typing.base))
    if not typing.line.text or session.game.engine is not EngineStatus.READY:
        return ask(without(cleared, ForContinuation))
    if len(typing.line.text) > MAX_LIVE_CHARACTERS:
        notice = f"{len(typing.line.text):,} characters: Enter appends them"
        return ask(replace(without(cleared, ForContinuation), notice=notice))
    # Results for the previous text are not wanted any more; finished ones stay in the tree.
    session, effects = ask(cleared)
    session, more = tokenize(session, typing.line.text, ForContinuation(), continues=True)
    return session.turned(typing), effects + more


def continuation_tokenized(session: Session, path: list[int], *, entered: bool) -> Outcome:
    """Handles the tokens of typed text; where Enter was pressed, they are appended."""
    typing = _input(session)
    session = session.turned(replace(typing, tip=typing.base.descend(path)))
    return enter(session) if entered else ask(session)


def not_tokenized(session: Session) -> Outcome:
    """The engine could not tokenise the typed text: the tokens of an earlier text are cleared."""
    typing = _input(session)
    return ask(session.turned(replace(typing, tip=typing.base)))


def scored(session: Session, base: Node, path: list[int]) -> Outcome:
    """Handles the tokens of a phrase to score."""
    return _with_score(session, Score(base, base.descend(path)))


def _with_score(session: Session, score: Score) -> Outcome:
    # The latest score is the last, also where a phrase is scored again: its tokens are shown.
    scores = (*(other for other in session.game.results.scores if other != score), score)[-50:]
    spaced = {session.game.piece(other.nodes[0].token).data[:1].isspace() for other in scores if other.nodes}
    notice = "scored; type another phrase, or Esc"
    first = session.game.piece(score.nodes[0].token).data[:1] if score.nodes else b""
    if len(spaced) > 1:
        notice = "scored; mind that only some of the phrases begin with a space"
    elif first == b" " and session.game.piece(score.base.token).data.endswith(b" "):
        notice = "scored; mind that there was a space before it already"
    return ask(
        replace(
            session, game=replace(session.game, results=replace(session.game.results, scores=scores)), notice=notice
        )
    )


def enter(session: Session) -> Outcome:
    """Appends the typed text."""
    typing = session.on(Input)
    if typing is None or not typing.line.text:
        session, effects = close(session)
        return replace(session, notice="nothing was typed, nothing is appended"), effects
    if session.game.engine is not EngineStatus.READY:
        return replace(session, notice=stopped(session)), []
    if tokens := session.game.newest(ForContinuation):
        open_requests = {**session.game.open_requests, tokens[0]: ForContinuation(entered=True)}
        return replace(session, game=replace(session.game, open_requests=open_requests)), []
    if typing.tip is typing.base:  # the engine refused it before: try again
        return tokenize(session, typing.line.text, ForContinuation(entered=True), continues=True)
    return go_on(session, typing.base, typing.tip)


def score(session: Session) -> Outcome:
    """Scores the typed text as a phrase, and clears the line for the next."""
    typing = session.on(Input)
    if typing is None or not typing.line.text:
        return replace(session, notice="type a phrase first"), []
    if session.game.engine is not EngineStatus.READY:
        return replace(session, notice=stopped(session)), []
    text = typing.line.text
    session = with_history(session, Input, history(session, Input).use(text))
    session = session.turned(Input(base=typing.base, tip=typing.base))
    if tokens := session.game.newest(ForContinuation):
        return ask(
            replace(
                session,
                game=replace(
                    session.game, open_requests={**session.game.open_requests, tokens[0]: ForScore(typing.base)}
                ),
            )
        )
    if typing.tip is typing.base:  # as with Enter
        return tokenize(session, text, ForScore(typing.base), continues=True)
    return _with_score(session, Score(typing.base, typing.tip))


def clear_scores(session: Session) -> Outcome:
    """Forgets all phrases."""
    game = replace(session.game, results=replace(session.game.results, scores=()))
    return ask(replace(session, game=game, notice="the phrases are forgotten"))


# --- a name for the session


def name(session: Session) -> Outcome:
    """Asks for a name for the session."""
    line = EMPTY.typed(history(session, Name).unfinished or session.name)
    return replace(session, screen=Name(line=line)), []


def keep_session(session: Session) -> Outcome:
    """Keeps the session under the typed name."""
    session_name = session.line.text.strip()
    if not valid_name(session_name):
        return replace(session, notice="1 to 64 letters, digits, - _ . and blanks"), []
    # Put aside, not used up: writing may fail.
    return replace(put_aside(session), notice="keeping"), [NameSession(session_name)]


# --- the editor


OPENS_AGAIN = "ctrl+e opens the text again"


def edit(session: Session) -> Outcome:
    """Opens the prompt's text in an editor, or an edited text that is no prompt yet."""
    editing = session.game.editing
    if editing is not None and editing.state is not EditState.OPEN:
        return session, [Edit(editing.text)]
    tip = session.game.prompt.tip
    try:
        text = text_of(session.game, tip).decode()
    except UnicodeDecodeError:
        return replace(session, notice="the prompt ends inside a character: append or pop first"), []
    return replace(session, game=replace(session.game, editing=Editing(tip, text))), [Edit(text)]


def edited(session: Session, text: str) -> Outcome:
    """Makes the editor's text the prompt's text. Tokens of an unchanged beginning are known."""
    editing = session.game.editing
    other_games = {} if editing and editing.state is EditState.OPEN else session.other_games
    for key, game in other_games.items():  # another model was loaded meanwhile
        open_edit = game.editing if game.editing and game.editing.state is EditState.OPEN else None
        if open_edit and text.removesuffix("\n") == open_edit.text.removesuffix("\n"):
            others = {**session.other_games, key: replace(game, editing=None)}
            return replace(session, other_games=others, notice="the text is unchanged"), []
    if not session.game.prompts:  # the model has read nothing yet
        editing = Editing(session.game.known.root, text, EditState.WAITING)
        notice = "the edited text is opened once the model is there"
        return replace(session, game=replace(session.game, editing=editing), notice=notice), []
    # If another model was loaded meanwhile, the text replaces no prompt of this game.
    target = session.game.editing.target if session.game.editing else session.game.known.root
    before = text_of(session.game, target).decode("utf-8", "replace")
    if text.endswith("\n") and not before.endswith("\n"):
        text = text[:-1]  # editors add it
    if text == before:
        return replace(session, game=replace(session.game, editing=None), notice="the text is unchanged"), []
    if not text:
        return replace(
            session,
            game=replace(session.game, editing=None),
            notice="an empty text cannot be gone on from: the prompt stays",
        ), []
    session = replace(session, game=replace(session.game, editing=Editing(target, text, EditState.WAITING)))
    if session.game.engine is EngineStatus.LOADING:
        return replace(session, notice="still loading: the text becomes the prompt then"), []
    if session.game.engine is EngineStatus.DEAD:
        return replace(session, notice=f"{session.game.engine_missing}, and the text becomes the prompt"), []
    return send_edited(session)


def send_edited(session: Session) -> Outcome:
    """Requests the tokens of an edited text that waits for an engine."""
    editing = session.game.editing
    if editing is None or editing.state is not EditState.WAITING:
        return session, []
    session = replace(session, game=replace(session.game, editing=replace(editing, state=EditState.SENT)))
    return tokenize(session, editing.text, ForEdited(editing.target))


def not_edited(session: Session, message: EditFailed) -> Session:
    """Says why the editor's text was not taken, and where it is: the path first, as a narrow screen cuts the line."""
    if session.game.editing is not None and session.game.editing.state is EditState.OPEN:
        session = replace(session, game=replace(session.game, editing=None))
    where = f"the edited text is in {message.kept}: " if message.kept else ""
    return replace(session, notice=where + message.reason)


def open_text(session: Session, text: str) -> Outcome:
    """Opens a text as a new prompt."""
    return tokenize(session, text, ForNewPrompt(text))


def opened(session: Session, path: list[int], text: str) -> Outcome:
    """Handles the tokens of a text that becomes a new prompt."""
    if reason := no_room(session):
        return not_opened(session, reason, text), []
    before = history(session, NewPrompt)
    if before.unfinished == text:  # kept until its prompt exists
        session = with_history(session, NewPrompt, replace(before, unfinished=""))
    return insert(session, Prompt.at(session.game.known.root.descend(path)))


def not_opened(session: Session, reason: str, text: str) -> Session:
    """Says why a text cannot become a new prompt; typed text is kept."""
    kept = text and history(session, NewPrompt).unfinished == text
    return replace(session, notice=f"{reason}; the text is kept: n brings it back" if kept else reason)


def edited_opened(session: Session, path: list[int], replacing: Node) -> Outcome:
    """Handles the tokens of an edited text; `replacing` is the tip of the prompt that it replaces."""
    if replacing.depth:
        session, prompt = from_editor(session, replacing, path)
    else:  # from another model's game
        prompt = Prompt.at(session.game.known.root.descend(path))
    indices = [index for index, open_prompt in enumerate(session.game.prompts) if open_prompt.tip is replacing]
    if indices:
        active = session.game.active if session.game.active in indices else indices[0]
        session = _edit_done(session, replacing, prompt.tip)
        session = replace(session, game=replace(session.game, active=active))
        return show(with_prompt(session, prompt))
    # The prompt was removed or has changed meanwhile: keep what was played since, and open a new one.
    if reason := no_room(session):
        return replace(session, notice=f"{reason}; {OPENS_AGAIN}"), []
    return insert(_edit_done(session, replacing, prompt.tip), prompt)


def _edit_done(session: Session, target: Node, tip: Node) -> Session:
    """Notes that an edited text became a prompt; a later edit of the same prompt will replace the new one."""
    open_requests: dict[int, Purpose] = {
        number: ForEdited(tip) if isinstance(purpose, ForEdited) and purpose.replacing is target else purpose
        for number, purpose in session.game.open_requests.items()
    }
    edit_pending = any(isinstance(purpose, ForEdited) for purpose in open_requests.values())
    editing = session.game.editing
    if editing is not None and editing.state is EditState.SENT and not edit_pending:
        editing = None
    elif editing is not None and editing.target is target:
        editing = replace(editing, target=tip)
    return replace(session, game=replace(session.game, open_requests=open_requests, editing=editing))
