"""Switching models: the list of models, loading one, and returning to the one before.

The text of every prompt is carried over and tokenised again. The old model's game
stays as it was, to return to.
"""

from tokex_gguf.engine.protocol import Loaded
from tokex_gguf.play.game import (
    WHOLE_PROMPT,
    Carried,
    Cost,
    Editing,
    EditState,
    EngineStatus,
    Game,
    Places,
    Prompt,
    Sampling,
    Settings,
    Turns,
    text_of,
)
from tokex_gguf.play.messages import Close, ListModels, NotPrepared, Outcome, Prepare, Prepared
from tokex_gguf.play.purposes import ForCarried
from tokex_gguf.play.requests import begin, end_comparing, tokenize
from tokex_gguf.play.rules import list_search
from tokex_gguf.play.rules.command_line import under, with_under
from tokex_gguf.play.rules.cursor import back_to_tip
from tokex_gguf.play.rules.histories import put_aside
from tokex_gguf.play.rules.prompt import UNREAD, with_along
from tokex_gguf.play.rules.selected_prompt import keep_selected
from tokex_gguf.play.rules.view_options import asking_nothing, with_engine_restarted
from tokex_gguf.play.screens import PLAY, Models, Name, SecondModels, TypingScreen
from tokex_gguf.play.session import Session
from tokex_gguf.play.versus import ALONE, UNPAIRED, AgainstModel, Opening, Pair, Turn
from tokex_gguf.values.layers import DELTA
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.model_ref import GgufFile, ModelRef, ServerModel, model_of
from tokex_gguf.values.record import replace

NOT_OPENED = "nothing is compared: the other model is not opened"


def models(session: Session) -> Outcome:
    """Shows the models as they were listed last, and lists them again.

    Selected is the downloaded one, if any, else the present one.
    """
    if session.arrived and session.arrived.path not in [entry.path for entry in session.models]:
        session = replace(session, models=())  # Enter must not load another model on its line
    return replace(session, screen=Models(row=line_of(_first(session), session.models))), [ListModels()]


def _first(session: Session) -> str:
    """The model that is selected when the list opens."""
    return session.arrived.path if session.arrived else session.game.settings.model.key


def listed(session: Session, entries: tuple[ModelEntry, ...]) -> Session:
    """Shows the new list; the selected model stays selected."""
    screen = under(session)
    if not isinstance(screen, Models):
        return replace(session, models=entries)
    if not entries:
        return not_listed(session, "no model was found in models/ or where other programs keep theirs")
    before = [entry.path for entry in session.models]
    if screen.row < len(before):
        row = line_of(before[screen.row], entries)
    else:
        row = first_other(session, entries) if isinstance(screen, SecondModels) else line_of(_first(session), entries)
    session = with_under(replace(session, models=entries), replace(screen, row=row))
    return list_search.renewed(session)


def not_listed(session: Session, reason: str) -> Session:
    """There is no list to choose from: closes the screen."""
    listing = isinstance(under(session), Models)
    session = replace(session, models=(), notice=reason)
    return with_under(session, PLAY) if listing else session


def line_of(file: str, entries: tuple[ModelEntry, ...]) -> int:
    """The line of a model in the list; the first line if it is not there."""
    files = [entry.path for entry in entries]
    return files.index(file) if file in files else 0


def first_other(session: Session, entries: tuple[ModelEntry, ...]) -> int:
    """The line of the first model to compare the current one with; the current one's if there is none."""
    played = session.game.settings.model.key
    comparable_rows = (
        row
        for row, entry in enumerate(entries)
        if entry.path != played and not entry.fault and not isinstance(model_of(entry.path), ServerModel)
    )
    return next(comparable_rows, line_of(played, entries))


def choose(session: Session) -> Outcome:
    """Requests a check of the selected model's file."""
    screen = session.on(Models)
    if screen is None or screen.row >= len(session.models):
        return session, []
    entry = session.models[screen.row]
    session = replace(session, screen=PLAY, preparing="")
    if entry.path == session.game.settings.model.key and session.game.engine is not EngineStatus.DEAD:
        return replace(session, notice="this is the model that is played"), []
    if entry.fault:
        return replace(session, notice=f"{entry.name} cannot be used: {entry.fault}"), []
    if isinstance(model := model_of(entry.path), ServerModel):
        return turned_to(session, model, session.game.settings, f"connecting to {model.name}")
    return replace(session, preparing=entry.path, notice=f"opening {entry.name}"), [Prepare(entry.path, entry.name)]


def prepared(session: Session, message: Prepared) -> Outcome:
    """Loads the chosen model, whose file is sound and fits, in place of the present one."""
    if message.path != session.preparing:
        return session, []  # another one was chosen meanwhile, or none
    if session.on(TypingScreen):  # further typed text would act as keys
        return replace(session, preparing="", notice="the model is not loaded while text is typed: o chooses it"), []
    fit = message.fit
    load = replace(session.game.settings.load, context=fit.context, most=fit.most, repack=fit.repack)
    settings = replace(session.game.settings, load=load)
    return turned_to(session, GgufFile(message.path, message.asked), settings, fit.notice)


def turned_to(session: Session, model: ModelRef, settings: Settings, notice: str) -> Outcome:
    """Switches to a model: loads it, or connects to its server."""
    present_key, origin = session.game.settings.model.key, session.origin
    if model.key == present_key:
        if session.game.engine is not EngineStatus.DEAD:
            return replace(session, preparing="", notice="this is the model that is played"), []
        settings = replace(settings, model=session.game.settings.model)
        return with_engine_restarted(replace(session, game=replace(session.game, settings=settings), preparing=""))
    earlier = session.other_games.get(model.key)
    # A game that was only a second model's has no prompts: carry over all of this one's.
    target = earlier if earlier and earlier.prompts else _carried(session.game)
    target_settings = target.settings
    model = earlier.settings.model if earlier and not model.asked else model
    target = replace(
        target,
        settings=replace(
            settings,
            model=model,
            text=target_settings.text,
            name=target_settings.name,
            chat=target_settings.chat,
            begins=target_settings.begins,
        ),
    )
    # From a model that is still loading, the way back leads to the one before it.
    return _switch(session, target, origin="" if model.key == origin else origin or present_key, notice=notice)


def not_prepared(session: Session, message: NotPrepared) -> Session:
    """The chosen model's file cannot be loaded: the present model stays."""
    if message.path == session.preparing:
        return replace(session, preparing="", notice=message.reason)
    if session.paired == Opening(message.path):
        return replace(session, paired=UNPAIRED, notice=message.reason)
    return session  # the player no longer wants it


def _carried(game: Game) -> Game:
    """A new game without tokens, with the texts and names of another game's prompts, and its sampling."""
    sampling = _sampling_elsewhere(game)
    if not game.prompts:
        return Game(game.settings, sampling=sampling, carried=game.carried, turns=Turns(of_chat=game.is_chat))
    texts = [(text_of(game, prompt.tip).decode("utf-8", "replace"), prompt.name) for prompt in game.prompts]
    active = game.active
    for index, text, name in game.carried:
        texts.insert(index, (text, name))
        active += index <= active
    others = tuple(Carried(index, text, name) for index, (text, name) in enumerate(texts) if index != active)
    text, name = texts[active]
    # A prompt wholly under the constraint stays so; a position inside one has no meaning in other tokens.
    begins = 0 if game.prompt.begins == 0 else WHOLE_PROMPT
    settings = replace(game.settings, text=text, name=name, chat="", begins=begins)
    return Game(settings, sampling=sampling, carried=others, turns=Turns(of_chat=game.is_chat))


def _sampling_elsewhere(game: Game) -> Sampling:
    """The sampling for another model: without biases, which are of this model's tokens."""
    return replace(game.sampling, chain=replace(game.sampling.chain, bias=()))


def _switch(session: Session, target: Game, *, origin: str, notice: str, again: bool = False) -> Outcome:
    """Switches to another game; the present one is kept if it has prompts, or is the one to return to."""
    session, closing = end_pair(session)
    target = resting(target) if target.address else target
    session = session if session.on(Name) else put_aside(session)
    present_key, present = session.game.settings.model.key, session.game
    other_games = dict(session.other_games)
    if present.prompts or present_key == origin:
        other_games[present_key] = resting(present)
    else:
        target = _with_text_of(target, present)
    other_games.pop(target.settings.model.key, None)
    # The present game's engine ends: there is one at a time.
    session = replace(
        session,
        game=replace(target, address=present.address),
        other_games=other_games,
        origin=origin,
        preparing="",
        standing=None,
        notice=notice,
    )
    session, effects = begin(_at_play(session), again=again)
    return session, closing + effects


def _with_text_of(game: Game, given_up: Game) -> Game:
    """Carries an edited text that a game, which is given up, has not opened yet."""
    edited = given_up.editing
    if edited is None or edited.state is EditState.OPEN:
        return game
    # It replaces the prompt whose text it was, if that is this game's.
    target = game.editing.target if game.editing else game.known.root
    return replace(game, editing=Editing(target, edited.text, EditState.WAITING))


def _at_play(session: Session) -> Session:
    """Closes screens that belong to a game, but not one where a name is typed: its text must not act as keys."""
    return session if session.on(Name) else with_under(session, PLAY)


def way_back(session: Session) -> str:
    """The key of the model to return to if the present one gives nothing to play; empty where there is none."""
    if session.origin or session.game.prompts:
        return session.origin
    return next((key for key, game in reversed([*session.other_games.items()]) if game.prompts), "")


def back(session: Session, why: str) -> Outcome:
    """Returns to the model before, as the new one cannot be loaded or is not wanted any more."""
    return _switch(session, session.other_games[way_back(session)], origin="", notice=why, again=True)


def escape(session: Session) -> Outcome:
    """Cancels the opening of a model; else moves the cursor back to the tip."""
    if session.preparing:
        return replace(session, preparing="", notice="the model stays: the other one is not opened"), []
    if isinstance(session.paired, Opening):
        return replace(session, paired=UNPAIRED, notice=NOT_OPENED), []
    if session.origin:
        return back(session, "loading was broken off")
    return back_to_tip(session) if session.game.prompts else (replace(session, notice=UNREAD), [])


def settled(session: Session) -> Session:
    """Forgets the way back: the present model has a prompt now."""
    second_key = session.paired.key if isinstance(session.paired, Pair) else ""
    other_games = {key: game for key, game in session.other_games.items() if game.prompts or key == second_key}
    return replace(session, origin="", other_games=other_games) if session.origin else session


def adopted(session: Session, model: Loaded) -> Session:
    """Continues an earlier game with the same model from another file's path."""
    second_key = session.paired.key if isinstance(session.paired, Pair) else ""
    same_model = (
        file
        for file, game in session.other_games.items()
        if file != second_key and game.prompts and game.model and model.same(game.model)
    )
    if not model.fingerprint or (file := next(same_model, None)) is None:
        return session
    earlier, origin_game = session.other_games[file], session.other_games.get(session.origin)
    # Keep sampling that was set since, as with --resume.
    unchanged = origin_game is None or session.game.sampling == _sampling_elsewhere(origin_game)
    game = replace(
        earlier,
        settings=session.game.settings,
        turns=replace(earlier.turns, of_chat=earlier.is_chat),
        address=session.game.address,
        sampling=earlier.sampling if unchanged else session.game.sampling,
    )
    game = _with_text_of(game, session.game)
    other_games = {other_key: other_game for other_key, other_game in session.other_games.items() if other_key != file}
    return _at_play(replace(session, game=game, other_games=other_games))


def resting(game: Game) -> Game:
    """A game without an engine, to be played again later."""
    game = asking_nothing(game)
    health = replace(game.health, fault="", fault_at_start=False)
    return replace(game, address=0, engine=EngineStatus.LOADING, cost=Cost(), health=health)


def end_pair(session: Session) -> Outcome:
    """Ends the comparison with another model, and that model's engine. Its game stays.

    Also cancels the opening of a second model, which was meant for the present one only.
    """
    pair, second = session.paired, session.second
    if not isinstance(pair, Pair) or second is None:
        return replace(session, paired=UNPAIRED), []
    session, effects = end_comparing(replace(session, game=with_along(session.game, None), paired=UNPAIRED))
    second = with_along(second, None)
    against = session.game.versus
    if isinstance(against, AgainstModel):
        layer = against.before if session.options.layer is DELTA else session.options.layer
        session = replace(
            session, game=replace(session.game, versus=ALONE), options=replace(session.options, layer=layer)
        )
    if pair.key == session.game.settings.model.key:
        return session, effects
    other_games = {**session.other_games, pair.key: resting(second)}
    if not second.prompts:
        del other_games[pair.key]
    effects += [Close(second.address)] if second.address else []
    session = replace(session, other_games=other_games)
    if pair.turn is not Turn.B:
        return session, effects
    session, more = begin(session)  # the first model's engine was ended meanwhile
    return session, effects + more


def carry(session: Session) -> Outcome:
    """Requests the tokens of the next carried text."""
    if not session.game.carried or session.game.newest(ForCarried):
        return session, []
    return tokenize(session, session.game.carried[0].text, ForCarried())


def arrived(session: Session, path: list[int]) -> Outcome:
    """Handles the tokens of a carried text: it becomes a prompt again, at its index."""
    (index, _, name), *remaining = session.game.carried
    prompt = replace(Prompt.at(session.game.known.root.descend(path)), name=name)
    prompts = (*session.game.prompts[:index], prompt, *session.game.prompts[index:])
    active = session.game.active + (index <= session.game.active)
    undo = session.game.undo
    past, undone = (
        tuple(_with_prompt_inserted(one, index, prompt) for one in places) for places in (undo.past, undo.undone)
    )
    # It counts as always open: undoing does not remove it.
    undo = replace(undo, past=past, undone=undone)
    game = replace(session.game, prompts=prompts, active=active, carried=tuple(remaining), undo=undo)
    return carry(keep_selected(replace(session, game=game), index))


def _with_prompt_inserted(places: Places, index: int, prompt: Prompt) -> Places:
    """Inserts a prompt into a state of the undo history."""
    prompts = (*places.prompts[:index], prompt, *places.prompts[index:])
    return places._replace(prompts=prompts, active=places.active + (index <= places.active))


def dropped(session: Session, reason: str) -> Outcome:
    """A carried text has no tokens here: it is left out, and stays with the model that it came from."""
    (index, *_), *remaining = session.game.carried
    # The indices of those after it are one less.
    carried = tuple(text._replace(place=text.place - 1) for text in remaining)
    return carry(
        replace(
            session,
            game=replace(session.game, carried=carried),
            notice=f"prompt {index + 1} does not come along: {reason}",
        )
    )
