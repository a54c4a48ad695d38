"""Another model: the list of those on this machine, and the way there and back.

The text of every prompt comes along and is tokenised anew. What was played with the
model before stays as it was, for going back.
"""

from dataclasses import replace

from tokex_gguf.engine.protocol import Loaded
from tokex_gguf.play.messages import Close, ListModels, NotPrepared, Outcome, Prepare, Prepared
from tokex_gguf.play.purposes import ForCarried
from tokex_gguf.play.requests import begin, end_comparing, tokenize
from tokex_gguf.play.rules import list_search
from tokex_gguf.play.rules.command_line import under, with_under
from tokex_gguf.play.rules.cursor import back_to_tip
from tokex_gguf.play.rules.histories import put_aside
from tokex_gguf.play.rules.prompt import UNREAD, with_along
from tokex_gguf.play.rules.view_options import asking_nothing, with_engine_restarted
from tokex_gguf.play.screens import PLAY, Models, Name, PromptName, Prompts, SecondModels, TypingScreen
from tokex_gguf.play.session import (
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
    Session,
    Settings,
    text_of,
)
from tokex_gguf.play.versus import ALONE, UNPAIRED, AgainstModel, Opening, Pair, Turn
from tokex_gguf.values.layers import DELTA
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.model_ref import GgufFile, ModelRef, ServerModel, model_of


def models(session: Session) -> Outcome:
    """Shows the models as they were listed last, and lists them anew.

    Selected is the one that was downloaded meanwhile, else the present one.
    """
    if session.arrived and session.arrived.path not in [entry.path for entry in session.models]:
        session = replace(session, models=())  # Enter must not load another one, which stood in its place
    return replace(session, screen=Models(row=line_of(_first(session), session.models))), [ListModels()]


def _first(session: Session) -> str:
    """The model that is selected where the list is opened."""
    return session.arrived.path if session.arrived else session.game.settings.model.key


def listed(session: Session, entries: tuple[ModelEntry, ...]) -> Session:
    """The new list is there: what was selected in the one before stays selected."""
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
    """There is no list to choose from: nobody looks for one any more."""
    looking = isinstance(under(session), Models)
    session = replace(session, models=(), notice=reason)
    return with_under(session, PLAY) if looking else session


def line_of(file: str, entries: tuple[ModelEntry, ...]) -> int:
    """The line of a model in the list; the first one's if it is not there."""
    files = [entry.path for entry in entries]
    return files.index(file) if file in files else 0


def first_other(session: Session, entries: tuple[ModelEntry, ...]) -> int:
    """The line of the first model that the one that is played can be compared with; that one's if there is none."""
    played = session.game.settings.model.key
    there = (
        row
        for row, entry in enumerate(entries)
        if entry.path != played and not entry.fault and not isinstance(model_of(entry.path), ServerModel)
    )
    return next(there, line_of(played, entries))


def choose(session: Session) -> Outcome:
    """Asks for the selected model to be looked at."""
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
    """The chosen model's file is sound and fits: loads it in place of the present one."""
    if message.path != session.preparing:
        return session, []  # another one was chosen meanwhile, or none
    if session.on(TypingScreen):  # what is typed next would be keys
        return replace(session, preparing="", notice="the model is not loaded while text is typed: o chooses it"), []
    fit = message.fit
    load = replace(session.game.settings.load, context=fit.context, most=fit.most, repack=fit.repack)
    settings = replace(session.game.settings, load=load)
    return turned_to(session, GgufFile(message.path, message.asked), settings, fit.notice)


def turned_to(session: Session, model: ModelRef, settings: Settings, notice: str) -> Outcome:
    """Loads a model in place of the present one, or connects to its server."""
    here, origin = session.game.settings.model.key, session.origin
    if model.key == here:
        if session.game.engine is not EngineStatus.DEAD:
            return replace(session, preparing="", notice="this is the model that is played"), []
        settings = replace(settings, model=session.game.settings.model)
        return with_engine_restarted(replace(session, game=replace(session.game, settings=settings), preparing=""))
    known = session.other_games.get(model.key)
    # One that was only beside this one has no prompts of its own: they all come along.
    there = known if known and known.prompts else _carried(session.game)
    own = there.settings
    model = known.settings.model if known and not model.asked else model
    there = replace(
        there, settings=replace(settings, model=model, text=own.text, name=own.name, chat=own.chat, begins=own.begins)
    )
    # From a model that is still loading, the way back leads to the one before.
    return _turn(session, there, origin="" if model.key == origin else origin or here, notice=notice)


def not_prepared(session: Session, message: NotPrepared) -> Session:
    """The chosen model's file cannot be loaded: the present one stays."""
    preparing = "" if message.path == session.preparing else session.preparing
    paired = UNPAIRED if session.paired == Opening(message.path) else session.paired
    return replace(session, preparing=preparing, paired=paired, notice=message.reason)


def _carried(game: Game) -> Game:
    """A game without tokens yet, with the texts and names of all prompts of another, and what they are drawn by."""
    sampling = _sampling_elsewhere(game)
    if not game.prompts:
        return Game(game.settings, sampling=sampling, carried=game.carried)
    told = [(text_of(game, prompt.tip).decode("utf-8", "replace"), prompt.name) for prompt in game.prompts]
    active = game.active
    for index, text, name in game.carried:
        told.insert(index, (text, name))
        active += index <= active
    others = tuple(Carried(index, text, name) for index, (text, name) in enumerate(told) if index != active)
    text, name = told[active]
    # What is all under the constraint stays so; the place inside a text is one of this model's tokens.
    begins = 0 if game.prompt.begins == 0 else WHOLE_PROMPT
    settings = replace(game.settings, text=text, name=name, chat="", begins=begins)
    return Game(settings, sampling=sampling, carried=others)


def _sampling_elsewhere(game: Game) -> Sampling:
    """What prompts are drawn by that come along to another model: without a bias, as its tokens are others there."""
    return replace(game.sampling, chain=replace(game.sampling.chain, bias=()))


def _turn(session: Session, there: Game, *, origin: str, notice: str, again: bool = False) -> Outcome:
    """To another game; the present one is kept, where anything was played or where it is the one to go back to."""
    session, closed = parted(session)
    there = resting(there) if there.address else there
    session = session if session.on(Name) else put_aside(session)
    here, present = session.game.settings.model.key, session.game
    other_games = dict(session.other_games)
    if present.prompts or here == origin:
        other_games[here] = resting(present)
    else:
        there = _with_text_of(there, present)
    other_games.pop(there.settings.model.key, None)
    # The engine of the present one is given up with it: there is one at a time.
    session = replace(
        session,
        game=replace(there, address=present.address),
        other_games=other_games,
        origin=origin,
        preparing="",
        standing=None,
        notice=notice,
    )
    session, effects = begin(_at_play(session), again=again)
    return session, closed + effects


def _with_text_of(there: Game, left: Game) -> Game:
    """A game with the text from the editor that another one, which is given up, has not opened: it goes along."""
    edited = left.editing
    if edited is None or edited.state is EditState.OPEN:
        return there
    # To the prompt whose text it was, where it was this game's.
    target = there.editing.target if there.editing else there.known.root
    return replace(there, editing=Editing(target, edited.text, EditState.WAITING))


def _at_play(session: Session) -> Session:
    """The session with nothing open that belongs to a game. What is typed next must not be keys."""
    return session if session.on(Name) else with_under(session, PLAY)


def way_back(session: Session) -> str:
    """The file of the model to go back to where the present one gives nothing to play; empty where there is none."""
    if session.origin or session.game.prompts:
        return session.origin
    return next((key for key, game in reversed([*session.other_games.items()]) if game.prompts), "")


def back(session: Session, why: str) -> Outcome:
    """To the model before, as the other one cannot be loaded or is not wanted any more."""
    return _turn(session, session.other_games[way_back(session)], origin="", notice=why, again=True)


def escape(session: Session) -> Outcome:
    """Leaves a model that was chosen, until there is something to play with it; else to the tip."""
    if session.preparing:
        return replace(session, preparing="", notice="the model stays: the other one is not opened"), []
    if isinstance(session.paired, Opening):
        return replace(session, paired=UNPAIRED, notice="nothing is compared: the other model is not opened"), []
    if session.origin:
        return back(session, "loading was broken off")
    return back_to_tip(session) if session.game.prompts else (replace(session, notice=UNREAD), [])


def settled(session: Session) -> Session:
    """The session when there is something to play: no way back is needed any more."""
    beside = session.paired.key if isinstance(session.paired, Pair) else ""
    other_games = {file: game for file, game in session.other_games.items() if game.prompts or file == beside}
    return replace(session, origin="", other_games=other_games) if session.origin else session


def adopted(session: Session, model: Loaded) -> Session:
    """The session with the game that was played with this very model before, from a file of another name."""
    beside = session.paired.key if isinstance(session.paired, Pair) else ""
    alike = (
        file
        for file, game in session.other_games.items()
        if file != beside and game.prompts and game.model and model.same(game.model)
    )
    if not model.fingerprint or (file := next(alike, None)) is None:
        return session
    played, left = session.other_games[file], session.other_games.get(session.origin)
    # Samplers, a constraint or a seed that were asked for since, as with --resume, hold on.
    came_along = left is None or session.game.sampling == _sampling_elsewhere(left)
    game = replace(
        played,
        settings=session.game.settings,
        address=session.game.address,
        sampling=played.sampling if came_along else session.game.sampling,
    )
    game = _with_text_of(game, session.game)
    other_games = {other: waiting for other, waiting in session.other_games.items() if other != file}
    return _at_play(replace(session, game=game, other_games=other_games))


def resting(game: Game) -> Game:
    """A game that waits to be played again, with an engine that is still to be loaded."""
    return replace(
        asking_nothing(game),
        address=0,
        engine=EngineStatus.LOADING,
        cost=Cost(),
        health=replace(asking_nothing(game).health, fault="", fault_at_start=False),
    )


def parted(session: Session) -> Outcome:
    """Ends the comparison with another model, and that one's engine. What was played with it stays.

    One that is still being opened was to stand beside this model, and beside no other.
    """
    pair, other = session.paired, session.beside
    if not isinstance(pair, Pair) or other is None:
        return replace(session, paired=UNPAIRED), []
    session, effects = end_comparing(replace(session, game=with_along(session.game, None), paired=UNPAIRED))
    other = with_along(other, None)
    against = session.game.versus
    if isinstance(against, AgainstModel):
        layer = against.before if session.options.layer is DELTA else session.options.layer
        session = replace(
            session, game=replace(session.game, versus=ALONE), options=replace(session.options, layer=layer)
        )
    if pair.key == session.game.settings.model.key:
        return session, effects
    others = {**session.other_games, pair.key: resting(other)}
    if not other.prompts:
        del others[pair.key]
    effects += [Close(other.address)] if other.address else []
    session = replace(session, other_games=others)
    if pair.turn is not Turn.B:
        return session, effects
    session, more = begin(session)  # its own engine was given up meanwhile
    return session, effects + more


def carry(session: Session) -> Outcome:
    """Asks for the tokens of the next text that came along."""
    if not session.game.carried or session.game.newest(ForCarried):
        return session, []
    return tokenize(session, session.game.carried[0].text, ForCarried())


def arrived(session: Session, path: list[int]) -> Outcome:
    """A text that came along has its tokens: it is a prompt again, in its place."""
    (index, _, name), *others = session.game.carried
    prompt = replace(Prompt.at(session.game.known.root.descend(path)), name=name)
    prompts = (*session.game.prompts[:index], prompt, *session.game.prompts[index:])
    active = session.game.active + (index <= session.game.active)
    undo = session.game.undo
    past, undone = (tuple(_beside(one, index, prompt) for one in places) for places in (undo.past, undo.undone))
    # It was there all the time: nobody has opened it, and what is undone does not take it away.
    undo = replace(undo, past=past, undone=undone)
    game = replace(session.game, prompts=prompts, active=active, carried=tuple(others), undo=undo)
    screen = session.screen
    if isinstance(screen, Prompts | PromptName) and screen.row >= index:
        session = replace(session, screen=replace(screen, row=screen.row + 1))  # the same prompt's
    return carry(replace(session, game=game))


def _beside(places: Places, index: int, prompt: Prompt) -> Places:
    """The prompts at one time, with another one among them."""
    prompts = (*places.prompts[:index], prompt, *places.prompts[index:])
    return places._replace(prompts=prompts, active=places.active + (index <= places.active))


def dropped(session: Session, reason: str) -> Outcome:
    """A text that came along has no tokens here: it is left out, and stays with the model that it came from."""
    (index, *_), *others = session.game.carried
    # The places of those that follow are one less.
    carried = tuple(one._replace(place=one.place - 1) for one in others)
    return carry(
        replace(
            session,
            game=replace(session.game, carried=carried),
            notice=f"prompt {index + 1} does not come along: {reason}",
        )
    )
