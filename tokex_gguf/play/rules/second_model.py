"""A second model beside the one that is played: choosing it, playing on with either, where the two part."""

from dataclasses import replace

from tokex_gguf.engine.protocol import Capability, Continue, Continued, Loaded
from tokex_gguf.play.beside import both_ready, export_all, in_front, lacks_of_a, one_vocabulary, resting
from tokex_gguf.play.messages import Close, Effect, ListModels, MakeRows, Outcome, PrepareBeside, PreparedBeside
from tokex_gguf.play.purposes import ForExport, ForParting
from tokex_gguf.play.requests import answered, begin, comparable, end_comparing, kept, request, stop, without
from tokex_gguf.play.rules import versus
from tokex_gguf.play.rules.model_switch import carry, first_other, parted
from tokex_gguf.play.rules.prompt import no_room, show, with_along, with_prompt
from tokex_gguf.play.rules.undo import remember
from tokex_gguf.play.rules.view_options import asking_nothing
from tokex_gguf.play.rules.view_options import restart as restart_front
from tokex_gguf.play.screens import PLAY, SecondModels
from tokex_gguf.play.session import EngineStatus, Game, Prompt, Session, Settings
from tokex_gguf.play.versus import (
    ALONE,
    UNPAIRED,
    AgainstModel,
    Alone,
    ByDistributions,
    ByText,
    Opening,
    Pair,
    Parting,
    Turn,
)
from tokex_gguf.values.formatting import counted
from tokex_gguf.values.layers import DELTA, Layer
from tokex_gguf.values.model_comparison import ModelComparison
from tokex_gguf.values.model_ref import GgufFile, ServerModel, model_of
from tokex_gguf.values.text_comparison import TextComparison
from tokex_gguf.values.tree import Node

OF_A_SERVER = "a server's numbers depend on what it did before: only models of this machine are compared"
IN_TURN = "there is memory for one of the two models: they take turns"
HOW = "n goes to the greatest change, :part shows where the two part"
"""Flips are not told of here: that there are none, between other vocabularies, is known once both are loaded."""
SAME_FILE = "this is the same file"
NO_DIFFERENCE = f"{SAME_FILE}: every difference is 0"


def cannot_compare(session: Session) -> str:
    """Why the model that is played is not compared with another; empty where it can be."""
    return OF_A_SERVER if session.game.server or not session.game.can(Capability.COMPARISON) else ""


def versus_model(session: Session) -> Outcome:
    """Lists the models to compare with; ends the comparison with one."""
    if isinstance(session.paired, Pair):
        return left(session)
    if isinstance(session.paired, Opening):
        return replace(session, paired=UNPAIRED, notice="nothing is compared: the other model is not opened"), []
    return replace(session, screen=SecondModels(row=first_other(session, session.models))), [ListModels()]


def left(session: Session) -> Outcome:
    """Ends the comparison with another model, and that one's engine."""
    session, effects = parted(versus.leave(session))
    return session, effects


def choose(session: Session) -> Outcome:
    """Asks for the selected model's file to be looked at."""
    screen = session.on(SecondModels)
    if screen is None or screen.row >= len(session.models):
        return session, []
    entry = session.models[screen.row]
    session = replace(session, screen=PLAY)
    if entry.fault:
        return replace(session, notice=f"{entry.name} cannot be used: {entry.fault}"), []
    if isinstance(model_of(entry.path), ServerModel):
        return replace(session, notice=OF_A_SERVER), []
    if entry.path == session.game.settings.model.key:
        return paired(session, session.game, NO_DIFFERENCE)
    opening = replace(session, paired=Opening(entry.path), notice=f"opening {entry.name}")
    return opening, [PrepareBeside(entry.path, entry.name)]


def prepared(session: Session, message: PreparedBeside) -> Outcome:
    """The chosen model's file is sound: starts an engine for it beside the present one."""
    if session.paired != Opening(message.path):
        return session, []  # another one was chosen meanwhile, or none
    fit = message.fit
    session = replace(session, paired=UNPAIRED)
    load = replace(session.game.settings.load, context=fit.context, most=fit.most, repack=fit.repack)
    settings = replace(session.game.settings, model=GgufFile(message.path, message.asked), load=load)
    notice = "; ".join(filter(None, [fit.notice, "" if message.together else IN_TURN])) or HOW
    return paired(session, second_game(session, settings), notice, together=message.together)


def second_game(session: Session, settings: Settings) -> Game:
    """The game of a model that is to be played beside another: what was played with it before, or a new one."""
    known = session.other_games.get(settings.model.key)
    if known is None:
        return Game(replace(settings, chat=""))
    own = known.settings
    return replace(known, settings=replace(settings, text=own.text, name=own.name, chat=own.chat))


def paired(session: Session, second: Game, notice: str, *, together: bool = True) -> Outcome:
    """Compares with a game, whose engine is started if it has none."""
    return begun(
        replace(
            beside(session, second, together=together),
            options=replace(beside(session, second, together=together).options, layer=DELTA),
            notice=notice,
        )
    )


def beside(session: Session, second: Game, *, together: bool = True) -> Session:
    """The session with a game beside the one that is played; an engine is still to be started.

    `together`: there is memory for both models at once.
    """
    key = second.settings.model.key
    same = key == session.game.settings.model.key
    comparison = ModelComparison()
    against = AgainstModel.of(key, layer_before(session), comparison, same_file=same)
    pair = Pair(key, ByDistributions(comparison), Turn.BOTH if together or same else Turn.DUE)
    if not same:
        session = replace(
            session, other_games={**session.other_games, key: replace(second, refused=comparable(second))}
        )
    game = replace(session.game, versus=against, refused=comparable(session.game))
    return replace(session, game=game, paired=pair)


def layer_before(session: Session) -> Layer:
    """The layer to come back to when nothing is compared any more."""
    against = session.game.versus
    return session.options.layer if isinstance(against, Alone) else against.before


def begun(session: Session) -> Outcome:
    """Starts the second model's engine, and asks for the file through which the two compare."""
    second = session.beside
    if second is None:
        return session, []
    effects: list[Effect] = [MakeRows()]
    if second is session.game or (isinstance(session.paired, Pair) and session.paired.turn is not Turn.BOTH):
        return session, effects
    session, more = in_front(session, begin)
    return session, effects + more


def with_rows(session: Session, file: str) -> Session:
    """The file is there."""
    pair = session.paired
    # Rows that went into another file are not in this one.
    anew = replace(pair.holding(None), file=file, fault="") if isinstance(pair, Pair) else pair
    return replace(session, paired=anew)


def without_rows(session: Session, reason: str) -> Session:
    """The file cannot be made. Other vocabularies need none."""
    pair = session.paired
    if not isinstance(pair, Pair) or isinstance(pair.way, ByText):
        return session
    return replace(session, paired=replace(pair, fault=reason), notice=f"nothing can be compared: {reason}")


def loaded(session: Session, message: Loaded) -> Outcome:
    """The second model is there."""
    second = session.beside
    assert second is not None
    if second.model and not message.same(second.model):
        session, effects = died(session, "the file holds another model now; put the first one back")
        return session, [Close(second.address), *effects]
    second = replace(
        second,
        model=message,
        engine=EngineStatus.READY,
        context=message.context,
        health=replace(second.health, progress=1.0),
    )
    return _with_second(session, second), []


def _with_second(session: Session, second: Game) -> Session:
    pair = session.paired
    assert isinstance(pair, Pair)
    return replace(session, other_games={**session.other_games, pair.key: second})


def died(session: Session, reason: str) -> Outcome:
    """The second model's engine is gone: the other goes on."""
    pair, second = session.paired, session.beside
    assert isinstance(pair, Pair) and second is not None
    second = replace(
        asking_nothing(second), engine=EngineStatus.DEAD, health=replace(asking_nothing(second).health, fault=reason)
    )
    pair = replace(pair.holding(None), parting=None)
    session = replace(_with_second(session, second), paired=pair)
    session, effects = _to_a(session, pair) if pair.turn is Turn.B else (session, [])
    return replace(session, notice=f"B: engine stopped ({reason}), r restarts it"), effects


def restarted(session: Session) -> Outcome:
    """Starts the second model's engine again, with a file of its own: the one before may still be written to.

    It goes with the rows in it: who reads them would find none.
    """

    def anew(inside: Session) -> Outcome:
        game = replace(asking_nothing(inside.game), engine=EngineStatus.LOADING)
        return begin(replace(inside, game=game), again=True)

    pair = session.paired
    assert isinstance(pair, Pair)
    pair = replace(pair.holding(None), file="", fault="")
    session, ended = end_comparing(replace(session, paired=pair, standing=None))
    session, effects = in_front(session, anew)
    return session, [*ended, *effects, MakeRows()]


def restart(session: Session) -> Outcome:
    """Starts an engine again that has stopped or is silent: the one in front first."""
    second, pair = session.beside, session.paired
    if isinstance(pair, Pair) and pair.turn is Turn.B:
        return replace(session, notice=IN_TURN), []
    if isinstance(pair, Pair) and pair.turn is not Turn.BOTH and _is_well(session.game):
        return replace(session, paired=replace(pair, turn=Turn.DUE), notice=IN_TURN), []
    if second is not None and second is not session.game and _is_well(session.game) and not _is_well(second):
        return restarted(session)
    return restart_front(session)


def _is_well(game: Game) -> bool:
    return game.engine is not EngineStatus.DEAD and not game.silence


# --- where there is memory for one model only


def take_turns(session: Session) -> Outcome:
    """Gives A's engine up until B has computed what is to be compared, where there is no memory for both."""
    pair, second = session.paired, session.beside
    if not isinstance(pair, Pair) or second is None or pair.turn is Turn.BOTH or not pair.file:
        return session, []
    if pair.turn is Turn.A or (pair.turn is Turn.DUE and not resting(session.game)):
        return session, []
    if pair.turn is Turn.DUE:
        if lacks_of_a(session) is not None:
            return session, []  # while B computes, nobody could tell A's numbers for the table
        pair = replace(pair, turn=Turn.A)
        return _to_b(session, pair) if _lacks(session, pair) else (replace(session, paired=pair), [])
    if second.engine is not EngineStatus.READY or second.newest(ForExport):
        return session, []
    told = any(kind is ForExport for kind, *_ in second.refused)
    if pair.held is not None or told or not _lacks(session, pair):
        return _to_a(session, pair)
    if one_vocabulary(session):
        return export_all(session, pair)
    session, effects = _to_a(session, pair)
    return replace(versus.leave(session), notice="models of different vocabularies must fit together"), effects


def _lacks(session: Session, pair: Pair) -> bool:
    """Whether anything of the prompt is not compared yet."""
    way = pair.way
    return isinstance(way, ByDistributions) and way.comparison.first_lacking(session.game.prompt.tip) is not None


def _to_b(session: Session, pair: Pair) -> Outcome:
    """A's engine goes, and B's comes."""
    closed = [Close(session.game.address)] if session.game.address else []
    game = replace(asking_nothing(session.game), address=0, engine=EngineStatus.LOADING)
    session = replace(session, game=game, paired=replace(pair.holding(None), turn=Turn.B), notice=IN_TURN)
    session, effects = in_front(session, begin)
    return session, [*closed, *effects]


def _to_a(session: Session, pair: Pair) -> Outcome:
    """B's engine goes, and A's comes back."""
    second = session.beside
    assert second is not None
    closed = [Close(second.address)] if second.address else []
    second = replace(asking_nothing(second), address=0, engine=EngineStatus.LOADING)
    session = _with_second(session, second)
    session = replace(session, game=asking_nothing(session.game), paired=replace(pair, turn=Turn.A))
    session, effects = begin(session)
    return session, [*closed, *effects]


# --- playing on with either


def exchange(session: Session) -> Outcome:
    """Brings the second model to the front, at the same place of the same text; the first one is B then."""
    pair, second = session.paired, session.beside
    if not isinstance(pair, Pair) or second is None:
        return versus.swap(session)
    if second is session.game:
        return replace(session, notice=NO_DIFFERENCE), []
    if pair.turn is not Turn.BOTH:
        return replace(session, notice=f"{IN_TURN}: o plays the other one"), []
    there = _same_place(session, pair, second)
    if isinstance(there, str):
        return replace(session, notice=there), []
    here = replace(
        session.game, pressed=replace(session.game.pressed, ahead=0, rolling=0, appending=False, autoplay=False)
    )
    others = {key: game for key, game in session.other_games.items() if key != pair.key}
    own = here.settings.model.key
    against = here.versus
    here = replace(here, versus=ALONE)
    if isinstance(against, AgainstModel):
        second = replace(second, versus=replace(against, key=own))
    turned = replace(pair.holding(None), key=own, parting=None)
    before = replace(session, game=second, other_games={**others, own: here}, paired=turned)
    if isinstance(pair.way, ByText):
        before = _by_text(before, turned, pair.way.companion and pair.way.companion[::-1])
    went = _at(before, there, together=here.prompt.along)
    if isinstance(went, str):
        return replace(session, notice=went), []
    others = {**went.other_games, own: with_along(here, here.active)}
    session = replace(went, game=with_along(went.game, went.game.active), other_games=others)
    if second.prompts:
        session = remember(before, session, asked=True)
    session, effects = show(session)
    session, more = carry(session)  # texts that came along with the model before, and had no turn yet
    name, _ = versus.titles(session.game, here)
    return replace(session, notice=f"A is {name} now: tab goes back"), effects + more


def _same_place(session: Session, pair: Pair, second: Game) -> Prompt | str:
    """The second model's prompt of the same text, or why there is none."""
    prompt = session.game.prompt
    if second.model is None:
        return "B is not loaded yet"
    if one_vocabulary(session):
        second.known.pieces.update(session.game.known.pieces)
        assert isinstance(pair.way, ByDistributions)
        tip = pair.way.comparison.twin(prompt.tip, second.known.root)
        cursor = None if prompt.cursor is None else tip.ancestor(prompt.cursor.depth)
        parent = None if prompt.parent is None else pair.way.comparison.twin(prompt.parent, second.known.root)
        return replace(prompt, tip=tip, cursor=cursor, sought=None, parent=parent)
    companion = pair.way.of(prompt.tip) if isinstance(pair.way, ByText) else None
    if companion is None:
        return "B has not read this text yet"
    return Prompt(companion, name=prompt.name, begins=companion.depth)


def _at(session: Session, there: Prompt, *, together: bool) -> Session | str:
    """The session with this prompt as the active one, or why that cannot be.

    `together`: it takes the place of the one that goes along.
    """
    game = session.game
    if not game.prompts:
        return replace(session, game=replace(game, prompts=(there,), active=0))
    along = next((place for place, prompt in enumerate(game.prompts) if prompt.along), None)
    open_already = next((place for place, prompt in enumerate(game.prompts) if prompt.tip is there.tip), None)
    place = along if together and along is not None else open_already
    if place is not None:
        session, here = replace(session, game=replace(game, active=place)), game.prompts[place]
        same = replace(here, cursor=there.cursor, chosen=None, sought=None)
        return with_prompt(session, same if here.tip is there.tip else there)
    if reason := no_room(session):
        return reason
    place = game.active + 1
    prompts = (*game.prompts[:place], there, *game.prompts[place:])
    return replace(session, game=replace(game, prompts=prompts, active=place))


def accompanied(session: Session, target: Node, path: list[int]) -> Session:
    """The second model's tokens for the text of a path are there. B is in front."""
    pair = session.paired
    if not isinstance(pair, Pair) or not isinstance(pair.way, ByText):
        return session
    way = replace(pair.way, companion=(target, session.game.known.root.descend(path)))
    return replace(session, paired=replace(pair, way=way))


# --- where two models part

LIMIT = 64
"""Tokens that both go on by, at the most."""
FURTHER = 8
"""Tokens that each goes on by behind the place where they part, so that one sees where that leads."""


def part(session: Session) -> Outcome:
    """Lets both models go on by their most likely tokens until they part."""
    pair, second = session.paired, session.beside
    if not isinstance(pair, Pair) or second is None:
        return replace(session, notice="V chooses another model to compare with"), []
    if second is session.game:
        return replace(session, notice=f"{SAME_FILE}: they do not part"), []
    if not both_ready(session) or not resting(session.game):
        return replace(session, notice="both models must be ready for that"), []
    there = _same_place(session, pair, second)
    if isinstance(there, str):
        return replace(session, notice=there), []
    tip = session.game.prompt.tip
    firsts = first_tokens(pair, tip, there.tip)
    if firsts is None:
        return replace(session, notice="B's table is not there yet"), []
    pieces = session.game.known.pieces, second.known.pieces
    parting = Parting(tip, there.tip, (tip.depth, there.tip.depth), pieces, one_vocabulary(session))
    session = replace(session, paired=replace(pair, parting=parting), notice="looking where they part")
    session, effects = _go_on(session, tip, firsts[0])
    session, more = in_front(session, lambda inside: _go_on(inside, there.tip, firsts[1]))
    return session, effects + more


def first_tokens(pair: Pair, tip: Node, other: Node) -> tuple[int, int] | None:
    """What each model makes most likely after a path; None until both have said it."""
    if isinstance(pair.way, ByDistributions):
        difference = pair.way.comparison.after(tip)
        return None if difference is None else (difference.first_a, difference.first_b)
    if tip.strict is None or other.strict is None:
        return None
    return tip.strict.most_likely, other.strict.most_likely


def _go_on(session: Session, tip: Node, token: int) -> Outcome:
    path, top = [*tip.path(), token], kept(session)  # what it says is kept in the tree
    return request(session, ForParting(), lambda number: Continue(number, path, top))


def went_on(session: Session, message: Continued) -> Outcome:
    """One of the two models, which is in front, has come further."""
    pair = session.paired
    if not isinstance(pair, Pair) or pair.parting is None:
        session, effects = _end_parting(session)
        return answered(session, message.request), effects
    parting, is_b = pair.parting, pair.key == session.game.settings.model.key
    node = parting.b if is_b else parting.a
    for token, distribution in zip(message.tokens, message.distributions, strict=True):
        node = node.child(token)
        node.attach(distribution)
    parting = replace(parting, b=node) if is_b else replace(parting, a=node)
    session = replace(session, paired=replace(pair, parting=parting))
    last = node.distribution
    ended = last is not None and session.game.piece(last.most_likely).ends
    length = node.depth - parting.base[is_b]
    apart = parting.apart
    if not ended and length < LIMIT and (apart is None or length < apart[is_b] + FURTHER):
        return session, []
    session, effects = _end_parting(session)
    return _came_to_its_end(answered(session, message.request), parting, is_b=is_b), effects


def _end_parting(session: Session) -> Outcome:
    """Ends the way that the model in front goes on, unless a request behind it has: that would be ended as well."""
    going = session.game.newest(ForParting)
    return stop(session) if going and going[1].awaited else (session, [])


def _not_parting(session: Session) -> Outcome:
    """Without the way that the model in front goes on."""
    session, effects = _end_parting(session)
    return without(session, ForParting), effects


def not_parted(session: Session) -> Session:
    """One of the two models, which is in front, cannot go on."""
    pair = session.paired
    if not isinstance(pair, Pair) or pair.parting is None:
        return session
    return _came_to_its_end(session, pair.parting, is_b=pair.key == session.game.settings.model.key)


def _came_to_its_end(session: Session, parting: Parting, *, is_b: bool) -> Session:
    pair = session.paired
    assert isinstance(pair, Pair)
    done = (parting.done[0], True) if is_b else (True, parting.done[1])
    return replace(session, paired=replace(pair, parting=replace(parting, done=done)))


def watch(session: Session) -> Outcome:
    """Tells where two models part once both have come far enough; gives it up where something else is asked.

    Where something else is compared by now, the second model goes.
    """
    pair, second = session.paired, session.beside
    if isinstance(pair, Pair) and not isinstance(session.game.versus, AgainstModel):
        return parted(session)
    if isinstance(pair, Pair) and isinstance(pair.way, ByDistributions) and _differ(session):
        session = _by_text(session, pair, None)
    if not isinstance(pair, Pair) or pair.parting is None or second is None:
        return session, []
    parting = pair.parting
    if not _is_from(session, parting):
        return _given_up(session, pair, second)
    if parting.told:
        return session, []
    if all(parting.done):
        return _told(session, pair, parting), []
    going = [game.newest(ForParting) for game in (session.game, second)]
    if any(not done and not (one and one[1].awaited) for done, one in zip(parting.done, going, strict=True)):
        return _given_up(session, pair, second)
    return session, []


def _differ(session: Session) -> bool:
    """Whether it is known that the two have different vocabularies."""
    return both_ready(session) and not one_vocabulary(session)


def _by_text(session: Session, pair: Pair, companion: tuple[Node, Node] | None) -> Session:
    """The two are compared by the bytes of their text."""
    against, comparison = session.game.versus, TextComparison()
    if isinstance(against, AgainstModel):
        session = replace(session, game=replace(session.game, versus=replace(against, comparison=comparison)))
    return replace(session, paired=replace(pair, way=ByText(comparison, companion)))


def _is_from(session: Session, parting: Parting) -> bool:
    """Whether the active prompt still ends where both went on from."""
    tip = session.game.prompt.tip if session.game.prompts else session.game.known.root
    return tip.depth == parting.base[0] and parting.a.descends_from(tip)


def _given_up(session: Session, pair: Pair, second: Game) -> Outcome:
    """Without it; what both models were asked for is not wanted any more."""
    told = pair.parting is not None and pair.parting.told
    session = replace(session, paired=replace(pair, parting=None))
    effects: list[Effect] = []
    if session.game.newest(ForParting):
        session, effects = _not_parting(session)
    if second.newest(ForParting):
        session, more = in_front(session, _not_parting)
        effects += more
    return session if told else replace(session, notice="where they part is not looked for any more"), effects


def _told(session: Session, pair: Pair, parting: Parting) -> Session:
    """Both ways are shown, and are paths of the tree that is in front."""
    apart, (a, b) = parting.apart, parting.ways
    parting.a.pass_through()
    if parting.one_vocabulary:
        # B's tokens may be ones that A's engine has never told of.
        pieces = session.game.known.pieces
        pieces.update({node.token: parting.pieces[1][node.token] for node in b if node.token not in pieces})
        parting.a.ancestor(parting.base[0]).descend([node.token for node in b]).pass_through()
    ways = "both ways" if parting.one_vocabulary else "A's way"
    if apart is None:
        told = f"they do not part in {counted(min(len(a), len(b)), 'token')}"
    elif apart[0] == 0:
        told = f"they part at once; t shows {ways}"
    else:
        told = f"they part after {counted(apart[0], 'token')}; t shows {ways}"
    return replace(session, paired=replace(pair, parting=replace(parting, told=True)), notice=told)
