"""A second model beside the current one: choosing it, exchanging the two, finding where they part."""

from tokex_gguf.engine.protocol import Capability, Continue, Continued, Loaded
from tokex_gguf.play.game import EngineStatus, Game, Pressed, Prompt, Settings, Turns
from tokex_gguf.play.messages import Close, Effect, ListModels, MakeRows, Outcome, PreparedSecond, PrepareSecond
from tokex_gguf.play.pairing import both_ready, export_all, fully_idle, in_front, lacks_of_a, one_vocabulary
from tokex_gguf.play.purposes import ForExport, ForParting
from tokex_gguf.play.requests import (
    answered,
    begin,
    candidates_at_tip,
    end_comparing,
    refused_elsewhere,
    request,
    stop,
    without,
)
from tokex_gguf.play.rules import versus
from tokex_gguf.play.rules.model_switch import NOT_OPENED, carry, end_pair, first_other
from tokex_gguf.play.rules.prompt import no_room, show, with_along, with_prompt
from tokex_gguf.play.rules.undo import remember
from tokex_gguf.play.rules.view_options import asking_nothing
from tokex_gguf.play.rules.view_options import restart as restart_front
from tokex_gguf.play.screens import PLAY, SecondModels
from tokex_gguf.play.session import Session
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
from tokex_gguf.values.record import replace
from tokex_gguf.values.text_comparison import TextComparison
from tokex_gguf.values.tree import Node

OF_A_SERVER = "a server's numbers depend on what it did before: only models of this machine are compared"
IN_TURN = "there is memory for one of the two models: they take turns"
HOW = "n goes to the greatest change, :part shows where the two part"
"""Flips are not mentioned: whether the vocabularies differ, which have none, is known once both are loaded."""
SAME_FILE = "this is the same file"
NO_DIFFERENCE = f"{SAME_FILE}: every difference is 0"


def cannot_compare(session: Session) -> str:
    """Why the current model cannot be compared with another; empty where it can."""
    return OF_A_SERVER if session.game.server or not session.game.can(Capability.COMPARISON) else ""


def versus_model(session: Session) -> Outcome:
    """Lists the models to compare with; ends a running comparison."""
    if isinstance(session.paired, Pair):
        return left(session)
    if isinstance(session.paired, Opening):
        return replace(session, paired=UNPAIRED, notice=NOT_OPENED), []
    return replace(session, screen=SecondModels(row=first_other(session, session.models))), [ListModels()]


def left(session: Session) -> Outcome:
    """Ends the comparison with another model, and that model's engine."""
    session, effects = end_pair(versus.leave(session))
    return session, effects


def choose(session: Session) -> Outcome:
    """Requests a check of the selected model's file."""
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
    return opening, [PrepareSecond(entry.path, entry.name)]


def prepared(session: Session, message: PreparedSecond) -> Outcome:
    """Starts an engine for the chosen model, whose file is sound, beside the present one."""
    if session.paired != Opening(message.path):
        return session, []  # another one was chosen meanwhile, or none
    fit = message.fit
    session = replace(session, paired=UNPAIRED)
    load = replace(session.game.settings.load, context=fit.context, most=fit.most, repack=fit.repack)
    settings = replace(session.game.settings, model=GgufFile(message.path, message.asked), load=load)
    notice = "; ".join(filter(None, [fit.notice, "" if message.together else IN_TURN])) or HOW
    return paired(session, second_game(session, settings), notice, together=message.together)


def second_game(session: Session, settings: Settings) -> Game:
    """The game of a second model: its game from before, or a new one."""
    earlier = session.other_games.get(settings.model.key)
    if earlier is None:
        return Game(replace(settings, chat=""), turns=Turns(of_chat=session.game.is_chat))
    earlier_settings = earlier.settings
    return replace(
        earlier,
        settings=replace(settings, text=earlier_settings.text, name=earlier_settings.name, chat=earlier_settings.chat),
    )


def paired(session: Session, second: Game, notice: str, *, together: bool = True) -> Outcome:
    """Compares with a second game, and starts its engine if it has none."""
    return begun(replace(add_second(session, second, together=together), notice=notice))


def add_second(session: Session, second: Game, *, together: bool = True) -> Session:
    """Puts a game beside the current one, and shows how they differ; its engine is not started yet.

    `together`: there is memory for both models at once.
    """
    key = second.settings.model.key
    same = key == session.game.settings.model.key
    comparison = ModelComparison()
    against = AgainstModel.of(key, layer_before(session), comparison, same_file=same)
    pair = Pair(key, ByDistributions(comparison), Turn.BOTH if together or same else Turn.DUE)
    if not same:
        session = replace(
            session, other_games={**session.other_games, key: replace(second, refused=refused_elsewhere(second))}
        )
    game = replace(session.game, versus=against, refused=refused_elsewhere(session.game))
    return replace(session, game=game, paired=pair, options=replace(session.options, layer=DELTA))


def layer_before(session: Session) -> Layer:
    """The layer to return to after the comparison."""
    against = session.game.versus
    return session.options.layer if isinstance(against, Alone) else against.before


def begun(session: Session) -> Outcome:
    """Starts the second model's engine, and requests the file through which the two compare."""
    second = session.second
    if second is None:
        return session, []
    effects: list[Effect] = [MakeRows()]
    if second is session.game or (isinstance(session.paired, Pair) and session.paired.turn is not Turn.BOTH):
        return session, effects
    session, more = in_front(session, begin)
    return session, effects + more


def with_rows(session: Session, file: str) -> Session:
    """Handles the new file for rows."""
    pair = session.paired
    # The new file has none of the old one's rows.
    updated = replace(pair.holding(None), file=file, fault="") if isinstance(pair, Pair) else pair
    return replace(session, paired=updated)


def without_rows(session: Session, reason: str) -> Session:
    """The file cannot be made. Models of different vocabularies need none."""
    pair = session.paired
    if not isinstance(pair, Pair) or isinstance(pair.way, ByText):
        return session
    return replace(session, paired=replace(pair, fault=reason), notice=f"nothing can be compared: {reason}")


def loaded(session: Session, message: Loaded) -> Outcome:
    """Handles the loaded second model."""
    second = session.second
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
    """Handles the death of the second model's engine: the first goes on."""
    pair, second = session.paired, session.second
    assert isinstance(pair, Pair) and second is not None
    second = asking_nothing(second)
    second = replace(second, engine=EngineStatus.DEAD, health=replace(second.health, fault=reason))
    pair = replace(pair.holding(None), parting=None)
    session = replace(_with_second(session, second), paired=pair)
    session, effects = _to_a(session, pair) if pair.turn is Turn.B else (session, [])
    return replace(session, notice=f"B: engine stopped ({reason}), r restarts it"), effects


def restarted(session: Session) -> Outcome:
    """Restarts the second model's engine with a new file: the old one may still be written to.

    The rows in the old file are dropped, and with them all requests that read them.
    """

    def restart_engine(inside: Session) -> Outcome:
        game = replace(asking_nothing(inside.game), engine=EngineStatus.LOADING)
        return begin(replace(inside, game=game), again=True)

    pair = session.paired
    assert isinstance(pair, Pair)
    pair = replace(pair.holding(None), file="", fault="")
    session, stop_effects = end_comparing(replace(session, paired=pair, standing=None))
    session, effects = in_front(session, restart_engine)
    return session, [*stop_effects, *effects, MakeRows()]


def restart(session: Session) -> Outcome:
    """Restarts an engine that has stopped or is silent: the one in front first."""
    second, pair = session.second, session.paired
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
    """Where memory is for one model only, ends A's engine until B has computed what is compared."""
    pair, second = session.paired, session.second
    if not isinstance(pair, Pair) or second is None or pair.turn is Turn.BOTH or not pair.file:
        return session, []
    if pair.turn is Turn.A or (pair.turn is Turn.DUE and not fully_idle(session.game)):
        return session, []
    if pair.turn is Turn.DUE:
        if lacks_of_a(session) is not None:
            return session, []  # the table needs A's numbers first, which A cannot compute while B does
        pair = replace(pair, turn=Turn.A)
        return _to_b(session, pair) if _lacks(session, pair) else (replace(session, paired=pair), [])
    if second.engine is not EngineStatus.READY or second.newest(ForExport):
        return session, []
    refused = any(kind is ForExport for kind, *_ in second.refused)
    if pair.held is not None or refused or not _lacks(session, pair):
        return _to_a(session, pair)
    if one_vocabulary(session):
        return export_all(session, pair)
    session, effects = _to_a(session, pair)
    return replace(versus.leave(session), notice="models of different vocabularies must fit together"), effects


def _lacks(session: Session, pair: Pair) -> bool:
    """Whether any token of the prompt is not compared yet."""
    way = pair.way
    return isinstance(way, ByDistributions) and way.comparison.first_lacking(session.game.prompt.tip) is not None


def _to_b(session: Session, pair: Pair) -> Outcome:
    """Ends A's engine and starts B's."""
    closing = [Close(session.game.address)] if session.game.address else []
    game = replace(asking_nothing(session.game), address=0, engine=EngineStatus.LOADING)
    session = replace(session, game=game, paired=replace(pair.holding(None), turn=Turn.B), notice=IN_TURN)
    session, effects = in_front(session, begin)
    return session, [*closing, *effects]


def _to_a(session: Session, pair: Pair) -> Outcome:
    """Ends B's engine and starts A's."""
    second = session.second
    assert second is not None
    closing = [Close(second.address)] if second.address else []
    second = replace(asking_nothing(second), address=0, engine=EngineStatus.LOADING)
    session = _with_second(session, second)
    session = replace(session, game=asking_nothing(session.game), paired=replace(pair, turn=Turn.A))
    session, effects = begin(session)
    return session, [*closing, *effects]


# --- playing on with either


def exchange(session: Session) -> Outcome:
    """Brings the second model to the front at the same place of the same text; the first one becomes B."""
    pair, second = session.paired, session.second
    if not isinstance(pair, Pair) or second is None:
        return versus.swap(session)
    if second is session.game:
        return replace(session, notice=NO_DIFFERENCE), []
    if pair.turn is not Turn.BOTH:
        return replace(session, notice=f"{IN_TURN}: o plays the other one"), []
    target = _same_place(session, pair, second)
    if isinstance(target, str):
        return replace(session, notice=target), []
    first_game = replace(session.game, pressed=Pressed())
    other_games = {key: game for key, game in session.other_games.items() if key != pair.key}
    first_key = first_game.settings.model.key
    against = first_game.versus
    first_game = replace(first_game, versus=ALONE)
    if isinstance(against, AgainstModel):
        second = replace(second, versus=replace(against, key=first_key))
    new_pair = replace(pair.holding(None), key=first_key, parting=None)
    before = replace(session, game=second, other_games={**other_games, first_key: first_game}, paired=new_pair)
    if isinstance(pair.way, ByText):
        before = _by_text(before, new_pair, pair.way.companion and pair.way.companion[::-1])
    moved = _at(before, target, together=first_game.prompt.along)
    if isinstance(moved, str):
        return replace(session, notice=moved), []
    other_games = {**moved.other_games, first_key: with_along(first_game, first_game.active)}
    session = replace(moved, game=with_along(moved.game, moved.game.active), other_games=other_games)
    if second.prompts:
        session = remember(before, session, by_player=True)
    session, effects = show(session)
    session, more = carry(session)  # texts carried over earlier that had no turn yet
    name, _ = versus.titles(session.game, first_game)
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


def _at(session: Session, target: Prompt, *, together: bool) -> Session | str:
    """Makes a prompt the active one; or why that cannot be.

    `together`: it replaces the prompt that is carried between the models.
    """
    game = session.game
    if not game.prompts:
        return replace(session, game=replace(game, prompts=(target,), active=0))
    along_index = next((index for index, prompt in enumerate(game.prompts) if prompt.along), None)
    open_index = next((index for index, prompt in enumerate(game.prompts) if prompt.tip is target.tip), None)
    index = along_index if together and along_index is not None else open_index
    if index is not None:
        session, present = replace(session, game=replace(game, active=index)), game.prompts[index]
        same_tip = replace(present, cursor=target.cursor, chosen=None, sought=None)
        return with_prompt(session, same_tip if present.tip is target.tip else target)
    if reason := no_room(session):
        return reason
    index = game.active + 1
    prompts = (*game.prompts[:index], target, *game.prompts[index:])
    return replace(session, game=replace(game, prompts=prompts, active=index))


def accompanied(session: Session, target: Node, path: list[int]) -> Session:
    """Handles the second model's tokens for the text of a path. B is in front."""
    pair = session.paired
    if not isinstance(pair, Pair) or not isinstance(pair.way, ByText):
        return session
    way = replace(pair.way, companion=(target, session.game.known.root.descend(path)))
    return replace(session, paired=replace(pair, way=way))


# --- where two models part

PARTING_LIMIT = 64
"""The most tokens by which both models continue."""
TOKENS_AFTER_PARTING = 8
"""Tokens by which each continues after they part, to show where that leads."""


def part(session: Session) -> Outcome:
    """Lets both models continue by their most likely tokens until they part."""
    pair, second = session.paired, session.second
    if not isinstance(pair, Pair) or second is None:
        return replace(session, notice="V chooses another model to compare with"), []
    if second is session.game:
        return replace(session, notice=f"{SAME_FILE}: they do not part"), []
    if not both_ready(session) or not fully_idle(session.game):
        return replace(session, notice="both models must be ready for that"), []
    second_prompt = _same_place(session, pair, second)
    if isinstance(second_prompt, str):
        return replace(session, notice=second_prompt), []
    tip = session.game.prompt.tip
    firsts = first_tokens(pair, tip, second_prompt.tip)
    if firsts is None:
        return replace(session, notice="B's table is not there yet"), []
    pieces = session.game.known.pieces, second.known.pieces
    parting = Parting(tip, second_prompt.tip, (tip.depth, second_prompt.tip.depth), pieces, one_vocabulary(session))
    session = replace(session, paired=replace(pair, parting=parting), notice="looking where they part")
    session, effects = _continue_greedily(session, tip, firsts[0])
    session, more = in_front(session, lambda inside: _continue_greedily(inside, second_prompt.tip, firsts[1]))
    return session, effects + more


def first_tokens(pair: Pair, tip: Node, tip_b: Node) -> tuple[int, int] | None:
    """Each model's most likely token after a path; None until both are known."""
    if isinstance(pair.way, ByDistributions):
        difference = pair.way.comparison.after(tip)
        return None if difference is None else (difference.first_a, difference.first_b)
    if tip.strict is None or tip_b.strict is None:
        return None
    return tip.strict.most_likely, tip_b.strict.most_likely


def _continue_greedily(session: Session, tip: Node, token: int) -> Outcome:
    path, top = [*tip.path(), token], candidates_at_tip(session)  # as many candidates as the tree keeps
    return request(session, ForParting(), lambda number: Continue(number, path, top, most=PARTING_LIMIT))


def continued(session: Session, message: Continued) -> Outcome:
    """Handles further tokens of one of the two models, which is in front."""
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
    if not ended and length < PARTING_LIMIT and (apart is None or length < apart[is_b] + TOKENS_AFTER_PARTING):
        return session, []
    session, effects = _end_parting(session)
    return _with_way_done(answered(session, message.request), parting, is_b=is_b), effects


def _end_parting(session: Session) -> Outcome:
    """Stops the continuation of the model in front, unless a later request did: the stop would end that as well."""
    going = session.game.newest(ForParting)
    return stop(session) if going and going[1].awaited else (session, [])


def _not_parting(session: Session) -> Outcome:
    """Stops and forgets the continuation of the model in front."""
    session, effects = _end_parting(session)
    return without(session, ForParting), effects


def not_parted(session: Session) -> Session:
    """Handles that one of the two models, which is in front, cannot continue."""
    pair = session.paired
    if not isinstance(pair, Pair) or pair.parting is None:
        return session
    return _with_way_done(session, pair.parting, is_b=pair.key == session.game.settings.model.key)


def _with_way_done(session: Session, parting: Parting, *, is_b: bool) -> Session:
    pair = session.paired
    assert isinstance(pair, Pair)
    done = (parting.done[0], True) if is_b else (True, parting.done[1])
    return replace(session, paired=replace(pair, parting=replace(parting, done=done)))


def watch(session: Session) -> Outcome:
    """Shows where two models part once both have come far enough; gives up if a request ended either continuation.

    Ends the second model's engine if something else is compared by now.
    """
    pair, second = session.paired, session.second
    if isinstance(pair, Pair) and not isinstance(session.game.versus, AgainstModel):
        return end_pair(session)
    if isinstance(pair, Pair) and isinstance(pair.way, ByDistributions) and _differ(session):
        session = _by_text(session, pair, None)
    if not isinstance(pair, Pair) or pair.parting is None or second is None:
        return session, []
    parting = pair.parting
    if not _is_from(session, parting):
        return _given_up(session, pair, second)
    if parting.reported:
        return session, []
    if all(parting.done):
        return _show_parting(session, pair, parting), []
    going = [game.newest(ForParting) for game in (session.game, second)]
    if any(
        not done and not (request and request[1].awaited) for done, request in zip(parting.done, going, strict=True)
    ):
        return _given_up(session, pair, second)
    return session, []


def _differ(session: Session) -> bool:
    """Whether the models are known to have different vocabularies."""
    return both_ready(session) and not one_vocabulary(session)


def _by_text(session: Session, pair: Pair, companion: tuple[Node, Node] | None) -> Session:
    """Switches to comparing by the bytes of the text."""
    against, comparison = session.game.versus, TextComparison()
    if isinstance(against, AgainstModel):
        session = replace(session, game=replace(session.game, versus=replace(against, comparison=comparison)))
    return replace(session, paired=replace(pair, way=ByText(comparison, companion)))


def _is_from(session: Session, parting: Parting) -> bool:
    """Whether the active prompt still ends where both continuations begin."""
    tip = session.game.prompt.tip if session.game.prompts else session.game.known.root
    return tip.depth == parting.base[0] and parting.a.descends_from(tip)


def _given_up(session: Session, pair: Pair, second: Game) -> Outcome:
    """Gives up the search for the parting, and stops both continuations."""
    shown = pair.parting is not None and pair.parting.reported
    session = replace(session, paired=replace(pair, parting=None))
    effects: list[Effect] = []
    if session.game.newest(ForParting):
        session, effects = _not_parting(session)
    if second.newest(ForParting):
        session, more = in_front(session, _not_parting)
        effects += more
    return session if shown else replace(session, notice="where they part is not looked for any more"), effects


def _show_parting(session: Session, pair: Pair, parting: Parting) -> Session:
    """Shows both ways, and adds them to the tree in front."""
    apart, (a, b) = parting.apart, parting.ways
    parting.a.pass_through()
    if parting.one_vocabulary:
        # A's engine may not have sent the pieces of B's tokens.
        pieces = session.game.known.pieces
        pieces.update({node.token: parting.pieces[1][node.token] for node in b if node.token not in pieces})
        parting.a.ancestor(parting.base[0]).descend([node.token for node in b]).pass_through()
    ways = "both ways" if parting.one_vocabulary else "A's way"
    if apart is None:
        notice = f"they do not part in {counted(min(len(a), len(b)), 'token')}"
    elif apart[0] == 0:
        notice = f"they part at once; t shows {ways}"
    else:
        notice = f"they part after {counted(apart[0], 'token')}; t shows {ways}"
    return replace(session, paired=replace(pair, parting=replace(parting, reported=True)), notice=notice)
