"""Comparing the active prompt, A, with another one, B."""

from collections.abc import Callable
from dataclasses import replace

from tokex_gguf.engine.protocol import Capability
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.requests import comparable
from tokex_gguf.play.rules import bias, cursor
from tokex_gguf.play.rules.cursor import look
from tokex_gguf.play.rules.prompt import go_to, insert
from tokex_gguf.play.screens import PLAY, Prompts
from tokex_gguf.play.session import Game, Prompt, Session
from tokex_gguf.play.versus import ALONE, AgainstModel, AgainstPrompt, Alone
from tokex_gguf.values.comparison import PathComparison
from tokex_gguf.values.formatting import bits_text, counted
from tokex_gguf.values.layers import DELTA
from tokex_gguf.values.text_comparison import TextComparison
from tokex_gguf.values.tokens import glimpse, label, visible
from tokex_gguf.values.tree import Node

NOTHING_COMPARED = "nothing is compared: v compares with another prompt"
SAME = "A and B are the same"
ALIGNING = "A and B are being aligned"
UNPREDICTED = "no text was predicted by both yet"
"""Of a first token, nothing is said."""
TO_CHOOSE = "with which one? v on a line compares with that prompt"


def cannot_compare(session: Session) -> str:
    """Why nothing can be compared; empty where something can."""
    game = session.game
    alone = len(game.prompts) == 1 and game.prompt.parent is None and game.versus is ALONE
    told = "one prompt is open: d copies it, and v compares the two" if alone else ""
    return game.cannot(Capability.COMPARISON) or told


def compares_nothing(session: Session) -> str:
    """Why what is compared has nothing to show."""
    return NOTHING_COMPARED if session.game.versus is ALONE else ""


def cannot_flip(session: Session) -> str:
    """Why there are no flips to look at; empty where there may be."""
    if isinstance(session.game.comparison, TextComparison):
        return "other vocabularies: no flips"
    return compares_nothing(session)


def shares_nothing(session: Session) -> str:
    """Why no token of A can be compared; empty where one can, and where B lacks all of them."""
    comparison = session.game.comparison
    if comparison is None or comparison.shared(session.game.prompt.tip):
        return ""
    if not isinstance(comparison, PathComparison):
        return UNPREDICTED
    if comparison.alignment is None:
        return ALIGNING
    return "" if any(unshared(session)) else SAME


def versus(session: Session) -> Outcome:
    """Begins to compare the prompt with what it was made from, or lets the player choose; ends that."""
    if session.game.versus is not ALONE:
        return leave(session), []
    game, prompt = session.game, session.game.prompt
    other = prompt.parent
    if other is None and len(game.prompts) == 2:
        other = game.prompts[1 - game.active].tip
    if other is None:
        row = game.active - 1 if game.active else 1
        return replace(session, screen=Prompts(row=row), notice=TO_CHOOSE), []
    return begin(session, other), []


def begin(session: Session, other: Node) -> Session:
    """Compares the active prompt with another path, and shows by colours how they differ."""
    before = DELTA
    match session.game.versus:
        case Alone():
            before = session.options.layer
        case AgainstPrompt(before=before) | AgainstModel(before=before):
            pass
    compared = AgainstPrompt(session.game.prompt.tip, other, before)
    game = replace(session.game, versus=compared, refused=comparable(session.game))
    session = replace(session, game=game, options=replace(session.options, layer=DELTA))
    told = f"against {called(session)[1]}: n looks at the greatest change, D where another token comes first"
    if other is session.game.prompt.tip:
        told = f"{called(session)[1]} is the same so far: change one of the two"
    return replace(session, notice=told)


def leave(session: Session) -> Session:
    """Compares nothing any more; the layer from before comes back, unless the player has chosen another since."""
    match session.game.versus:
        case AgainstPrompt(before=before) | AgainstModel(before=before):
            layer = before if session.options.layer is DELTA else session.options.layer
            return replace(
                session,
                game=replace(session.game, versus=ALONE),
                options=replace(session.options, layer=layer),
                notice="nothing is compared",
            )
        case _:
            return session


def choose(session: Session) -> Outcome:
    """Compares the active prompt with the selected one of the list."""
    screen = session.on(Prompts)
    assert screen is not None
    return begin(replace(session, screen=PLAY), session.game.prompts[screen.row].tip), []


def follow(before: Session, session: Session) -> Session:
    """Goes on comparing when the active prompt is another one, or another path.

    Who goes to B's prompt sees the two the other way round.
    """
    versus = session.game.versus
    if not isinstance(versus, AgainstPrompt):
        return session
    a, b, tip = versus.a, versus.b, session.game.prompt.tip
    if tip.tree is not b.tree:
        return leave(session)
    same = _same_prompt(before.game, session.game)
    if tip is b and not same and tip is not a:
        b = before.game.prompt.tip if before.game.prompts else a
    elif tip.descends_from(a) or (same and a.descends_from(tip)):
        return session
    return replace(session, game=replace(session.game, versus=AgainstPrompt(tip, b, versus.before)))


def _same_prompt(was: Game, now: Game) -> bool:
    """Whether the active prompt is the one from before, whatever became of it.

    Where another one was opened, moved or removed its number is a different one, and it is as it was.
    """
    if now.known.root is not was.known.root:
        return True  # the other model's prompts: this game was left as it is
    alike = (was.active, len(was.prompts)) == (now.active, len(now.prompts))
    return alike or (bool(was.prompts) and now.prompt is was.prompt)


def swap(session: Session) -> Outcome:
    """Goes to B, at the same place; A becomes what it is compared with."""
    game, versus = session.game, session.game.versus
    if not isinstance(versus, AgainstPrompt):
        return replace(session, notice=compares_nothing(session)), []
    looked_at, tip = game.prompt.cursor, game.prompt.tip
    comparison = game.known.compared.paths(versus.a, versus.b)
    partner = comparison.partner(looked_at) if looked_at else None
    found = [index for index, one in enumerate(game.prompts) if one.tip is versus.b]
    index = next((one for one in found if one != game.active), found[0] if found else None)
    swapped = replace(session, game=replace(game, versus=AgainstPrompt(versus.b, tip, versus.before)))
    if index is not None:
        session, effects = go_to(swapped, index)
    else:
        session, effects = insert(swapped, Prompt.at(versus.b))
        if session.game.prompt.tip is not versus.b:  # there is no room for one more
            return replace(session, game=replace(session.game, versus=versus)), effects
    if looked_at is None or (partner is not None and session.game.prompt.tip.descends_from(partner)):
        session, _ = look(session, partner)
    return session, effects


def jump(session: Session, direction: int) -> Outcome:
    """Looks at the greatest change, and then at the next one in the order of their sizes."""
    comparison = session.game.comparison
    if comparison is None:
        return replace(session, notice=NOTHING_COMPARED), []
    prompt, deltas = session.game.prompt, comparison.deltas
    here = None if prompt.cursor is None else prompt.cursor.depth
    found = deltas.greatest(here if prompt.sought is DELTA else None, direction)
    if found is None:
        end = "the last" if direction > 0 else "the first"
        none = shares_nothing(session)
        if comparison.shared(prompt.tip):
            none = "no token was compared yet"
        elif not none:
            none = "no token after the first difference is in both"
        return replace(session, notice=f"this is {end}: Esc, and n leads to #1" if len(deltas) else none), []
    node = prompt.tip.ancestor(found)
    bits = deltas.bits(found) or 0.0
    session, effects = look(session, node, DELTA, deltas.place(bits))
    total = f"; {bits_text(deltas.total)} in all" if len(deltas) > 1 else ""
    place = "the greatest change" if session.game.prompt.nth == 1 else f"#{session.game.prompt.nth}"
    name = label(glimpse(session.game.piece(node.token).data))
    so_far = "" if comparison.compared == comparison.shared(prompt.tip) else " so far"
    return replace(session, notice=f"{name} {bits_text(bits)} bits, {place}{total}{so_far}"), effects


def jump_by_layer(direction: int) -> Callable[[Session], Outcome]:
    """Where the layer shows what differs, looks at the greatest change; with other layers, at what these are about."""
    otherwise = cursor.jump_by_layer(direction)

    def go(session: Session) -> Outcome:
        return jump(session, direction) if session.options.layer is DELTA else otherwise(session)

    return go


def flip(session: Session) -> Outcome:
    """Looks at the first place where A and B have another token most likely, then at the next."""
    comparison, reason = session.game.comparison, cannot_flip(session)
    if comparison is None or reason:
        return replace(session, notice=reason), []
    prompt, flips = session.game.prompt, comparison.deltas.flips
    found = flips.next(0 if prompt.cursor is None else prompt.cursor.depth)
    why = shares_nothing(session)
    aligning = isinstance(comparison, PathComparison) and comparison.alignment is None
    told = ", so far" if aligning or comparison.compared != comparison.shared(prompt.tip) else ""
    if found is None and prompt.cursor is not None and _differs_at_end(session):
        session, effects = look(session, None)
        return replace(session, notice=f"a flip at the end{_firsts(session)}"), effects
    if found is None:
        none = why or f"no shared token has another one most likely in its place{told}"
        if _differs_at_end(session):
            none = f"a flip at the end only{_firsts(session)}{told}"
        last = f"this is the only flip{told}" if len(flips) == 1 else f"this is the last of {len(flips):,} flips{told}"
        return replace(session, notice=last if len(flips) else none), []
    node = prompt.tip.ancestor(found)
    session, effects = look(session, node)
    place = len(flips) - flips.after(found)
    return replace(session, notice=f"flip {place} of {len(flips)}{told}{_firsts(session)}"), effects


def order(session: Session) -> Outcome:
    """Sorts the table of both by the size of the changes, or by A's probabilities; without a comparison, as ever."""
    if session.game.comparison is None:
        return bias.order(session)
    by_delta = not session.options.by_delta
    told = "sorted by Δ: the greatest change comes first" if by_delta else "sorted by A's probabilities"
    return replace(session, options=replace(session.options, by_delta=by_delta), notice=told), []


def cannot_order(session: Session) -> str:
    """Why the table has one order alone; empty where it has several."""
    if isinstance(session.game.comparison, TextComparison):
        return "other vocabularies: both are sorted by probability"
    return "" if session.game.comparison else bias.cannot_sample(session)


def _differs_at_end(session: Session) -> bool:
    """Whether A and B have another token most likely behind their ends."""
    comparison = session.game.comparison
    firsts = comparison.firsts(session.game.prompt.tip, None) if comparison else None
    return firsts is not None and firsts[0] != firsts[1]


def _firsts(session: Session) -> str:
    """The tokens that A and B have most likely where the table is shown, if that is known."""
    comparison, prompt = session.game.comparison, session.game.prompt
    firsts = comparison.firsts(prompt.place.tip, prompt.cursor) if comparison else None
    if firsts is None:
        return ""
    a, b = (label(glimpse(session.game.piece(one).data)) for one in firsts)
    return f": A “{a}”, B “{b}”"


def called(session: Session) -> tuple[str, str]:
    """What A and B are called."""
    game = session.game
    match game.versus:
        case Alone():
            return "", ""
        case AgainstPrompt(b=b):
            return _prompt(session, game.active), _path(session, b)
        case AgainstModel():
            second = session.beside
            return titles(game, second) if second else ("", "")


def titles(a: Game, b: Game) -> tuple[str, str]:
    """What tells two models apart: their names; of the same name their quantisations; of the same file, nothing."""
    if a.model is None or b.model is None:
        return visible(a.settings.model.name), visible(b.settings.model.name)
    one, other = visible(a.model.name), visible(b.model.name)
    if one != other:
        return one, other
    one, other = visible(a.model.quantization), visible(b.model.quantization)
    return (one, other) if one != other else (visible(a.settings.model.name), visible(b.settings.model.name))


def _prompt(session: Session, index: int) -> str:
    name = session.game.prompts[index].name
    return f"prompt {index + 1}{f' ({name})' if name else ''}"


def _path(session: Session, end: Node) -> str:
    """The prompt that has a path, or that none has it any more."""
    found = [index for index, one in enumerate(session.game.prompts) if one.tip is end]
    others = [index for index in found if index != session.game.active]
    if found:
        return _prompt(session, (others or found)[0])
    return f"a path of {counted(end.depth, 'token')}"


def unshared(session: Session) -> tuple[int, int]:
    """How many tokens of A B lacks, and A of B's."""
    comparison = session.game.comparison
    return comparison.unshared(session.game.prompt.tip) if isinstance(comparison, PathComparison) else (0, 0)
