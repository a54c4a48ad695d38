"""Comparing the active prompt, A, with another one, B."""

from collections.abc import Callable

from tokex_gguf.engine.protocol import Capability
from tokex_gguf.play.game import Game, Prompt
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.requests import refused_elsewhere
from tokex_gguf.play.rules import bias, cursor
from tokex_gguf.play.rules.cursor import look
from tokex_gguf.play.rules.prompt import go_to, insert
from tokex_gguf.play.screens import PLAY, Prompts
from tokex_gguf.play.session import Session
from tokex_gguf.play.versus import ALONE, AgainstModel, AgainstPrompt, Alone
from tokex_gguf.values.comparison import PathComparison
from tokex_gguf.values.formatting import bits_text, counted
from tokex_gguf.values.layers import DELTA
from tokex_gguf.values.lens import Raw
from tokex_gguf.values.record import replace
from tokex_gguf.values.sequence import common_prefix
from tokex_gguf.values.text_comparison import TextComparison
from tokex_gguf.values.tokens import glimpse, label, quoted, visible
from tokex_gguf.values.tree import Node

NOTHING_COMPARED = "nothing is compared: v compares with another prompt"
SAME = "A and B are the same"
ALIGNING = "A and B are being aligned"
UNPREDICTED = "no text was predicted by both yet"
"""First tokens are never compared."""
NO_ORDER = "without samplers or a constraint, the table is sorted by probability"
TO_CHOOSE = "with which one? v on a line compares with that prompt"


def cannot_compare(session: Session) -> str:
    """Why nothing can be compared; empty where something can."""
    game = session.game
    alone = len(game.prompts) == 1 and game.prompt.parent is None and game.versus is ALONE
    reason = "one prompt is open: d copies it, and v compares the two" if alone else ""
    return game.cannot(Capability.COMPARISON) or reason


def compares_nothing(session: Session) -> str:
    """Why there is no comparison to show; empty where there is one."""
    return NOTHING_COMPARED if session.game.versus is ALONE else ""


def cannot_flip(session: Session) -> str:
    """Why there are no flips; empty where there may be some."""
    if isinstance(session.game.comparison, TextComparison):
        return "different vocabularies: no flips"
    return compares_nothing(session)


def shares_nothing(session: Session) -> str:
    """Why no token of A can be compared; empty where one can, and where B has none of A's tokens."""
    comparison = session.game.comparison
    if comparison is None or comparison.shared(session.game.prompt.tip):
        return ""
    if not isinstance(comparison, PathComparison):
        return UNPREDICTED
    if comparison.alignment is None:
        return ALIGNING
    return "" if any(unshared(session)) else SAME


def versus(session: Session) -> Outcome:
    """Compares the prompt with the one it was made from, or lets the player choose; ends a running comparison."""
    if session.game.versus is not ALONE:
        return leave(session), []
    game, prompt = session.game, session.game.prompt
    other_tip = prompt.parent
    if other_tip is None and len(game.prompts) == 2:
        other_tip = game.prompts[1 - game.active].tip
    if other_tip is None:
        row = game.active - 1 if game.active else 1
        return replace(session, screen=Prompts(row=row), notice=TO_CHOOSE), []
    return begin(session, other_tip), []


def begin(session: Session, tip_b: Node) -> Session:
    """Compares the active prompt with another path, and shows by colours how they differ."""
    before = DELTA
    match session.game.versus:
        case Alone():
            before = session.options.layer
        case AgainstPrompt(before=before) | AgainstModel(before=before):
            pass
    compared = AgainstPrompt(session.game.prompt.tip, tip_b, before)
    game = replace(session.game, versus=compared, refused=refused_elsewhere(session.game))
    # An alignment that failed is tried again.
    under_way = replace(session.under_way, aligning=None)
    session = replace(session, game=game, options=replace(session.options, layer=DELTA), under_way=under_way)
    notice = f"against {called(session)[1]}: n looks at the greatest change, D where another token comes first"
    tip_a, name = session.game.prompt.tip, called(session)[1]
    if tip_b is tip_a:
        notice = f"{name} is the same so far: change one of the two"
    elif tip_a.common(tip_b) == min(tip_a.depth, tip_b.depth):
        which = "goes on where this prompt ends" if tip_b.depth > tip_a.depth else "is the beginning of this prompt"
        notice = f"{name} {which}: the table compares what follows both ends"
    return replace(session, notice=notice)


def leave(session: Session) -> Session:
    """Ends the comparison; the previous layer comes back, unless the player has chosen another since."""
    match session.game.versus:
        case AgainstPrompt(before=before) | AgainstModel(before=before):
            layer = before if session.options.layer is DELTA else session.options.layer
            return replace(
                session,
                game=replace(session.game, versus=ALONE),
                options=replace(session.options, layer=layer),
                notice="the comparison is ended",
            )
        case _:
            return session


def choose(session: Session) -> Outcome:
    """Compares the active prompt with the selected one of the list."""
    screen = session.on(Prompts)
    assert screen is not None
    return begin(replace(session, screen=PLAY), session.game.prompts[screen.row].tip), []


def follow(before: Session, session: Session) -> Session:
    """Adapts the comparison when the active prompt or its path has changed.

    Going to B's prompt swaps the two. Tokens that were appended to either do not become part of what is compared.
    """
    versus = session.game.versus
    if not isinstance(versus, AgainstPrompt):
        return session
    a, b, tip = versus.a, versus.b, session.game.prompt.tip
    if tip.tree is not b.tree:
        return leave(session)
    same = _same_prompt(before.game, session.game)
    if a is not b and not same and _continues(tip, b, a):
        new = _swapped(versus, before.game.prompt.tip if before.game.prompts else a)
    elif same or tip.descends_from(a):
        return session
    else:
        new = AgainstPrompt(tip, b, versus.before)
    return replace(session, game=replace(session.game, versus=new))


def _continues(tip: Node, end: Node, other: Node) -> bool:
    """Whether a prompt is one of two paths with any tokens appended. Where both end on its path, the longer one is."""
    return tip.descends_from(end) and not (other.depth > end.depth and tip.descends_from(other))


def _swapped(versus: AgainstPrompt, tip: Node) -> AgainstPrompt:
    """The comparison with A and B exchanged; `tip`: where A's prompt ends now."""
    return AgainstPrompt(versus.b, versus.a if tip.descends_from(versus.a) else tip, versus.before)


def _same_prompt(before: Game, after: Game) -> bool:
    """Whether the active prompt is the same as before, even if its path has changed.

    Opening, moving or removing another prompt changes its index, but not the prompt.
    """
    if after.known.root is not before.known.root:
        return True  # another model's game: this one did not change
    same_index = (before.active, len(before.prompts)) == (after.active, len(after.prompts))
    return same_index or (bool(before.prompts) and after.prompt is before.prompt)


def swap(session: Session) -> Outcome:
    """Goes to B at the same token, and compares it with A. No prompt changes: B's ends where it was left."""
    game, versus = session.game, session.game.versus
    if not isinstance(versus, AgainstPrompt):
        return replace(session, notice=compares_nothing(session)), []
    cursor, tip = game.prompt.cursor, game.prompt.tip
    comparison = game.comparison
    partner = comparison.partner(cursor) if cursor and isinstance(comparison, PathComparison) else None
    index = _index_of_b(game, versus)
    swapped = replace(session, game=replace(game, versus=_swapped(versus, tip)))
    if index is not None:
        session, effects = go_to(swapped, index)
    else:
        session, effects = insert(swapped, Prompt.at(versus.b))
        if session.game.prompt.tip is not versus.b:  # no room for another prompt
            return replace(session, game=replace(session.game, versus=versus)), effects
    if cursor is None or (partner is not None and session.game.prompt.tip.descends_from(partner)):
        session, _ = look(session, partner)
    lacking = _appended_to_a_alone(tip, session.game.prompt.tip, versus)
    if lacking and (cursor is None or cursor.depth > versus.a.depth):
        notice = f"{_prompt(session, game.active)} has {counted(lacking, 'token')} more, which you appended to it alone"
        session = replace(session, notice=notice)
    return session, effects


def _appended_to_a_alone(tip_a: Node, tip_b: Node, versus: AgainstPrompt) -> int:
    """How many of the tokens that were appended to A are not appended to B's prompt."""
    if not tip_a.descends_from(versus.a):
        return 0
    appended = [[node.token for node in tip.nodes(end.depth)] for tip, end in ((tip_a, versus.a), (tip_b, versus.b))]
    return len(appended[0]) - common_prefix(*appended)


def _index_of_b(game: Game, versus: AgainstPrompt) -> int | None:
    """The prompt that is B, or B with tokens appended; None where there is none. If possible, not the active one."""
    of_b = [
        (index == game.active, prompt.tip is not versus.b, index)
        for index, prompt in enumerate(game.prompts)
        if _continues(prompt.tip, versus.b, versus.a)
    ]
    return min(of_b)[-1] if of_b else None


def jump(session: Session, direction: int) -> Outcome:
    """Moves the cursor to the greatest change, then to the next one by size."""
    comparison = session.game.comparison
    if comparison is None:
        return replace(session, notice=NOTHING_COMPARED), []
    prompt, deltas = session.game.prompt, comparison.deltas
    cursor_depth = None if prompt.cursor is None else prompt.cursor.depth
    depth = deltas.greatest(cursor_depth if prompt.sought is DELTA else None, direction)
    if depth is None:
        end = "the last" if direction > 0 else "the first"
        reason = shares_nothing(session)
        if comparison.shared(prompt.tip):
            reason = "no token was compared yet"
        elif not reason:
            reason = "no token after the first difference is in both"
        return replace(session, notice=f"this is {end}: Esc, and n leads to #1" if len(deltas) else reason), []
    node = prompt.tip.ancestor(depth)
    bits = deltas.bits(depth) or 0.0
    session, effects = look(session, node, DELTA, deltas.place(bits))
    total = f"; {bits_text(deltas.total)} in all" if len(deltas) > 1 else ""
    rank_text = "the greatest change" if session.game.prompt.nth == 1 else f"#{session.game.prompt.nth}"
    name = quoted(session.game.piece(node.token).data)
    so_far = "" if comparison.compared == comparison.shared(prompt.tip) else " so far"
    return replace(session, notice=f"{name} {bits_text(bits)} bits, {rank_text}{total}{so_far}"), effects


def jump_by_layer(direction: int) -> Callable[[Session], Outcome]:
    """With the layer of deltas, jumps to the greatest change; with other layers, by what they show."""
    otherwise = cursor.jump_by_layer(direction)

    def go(session: Session) -> Outcome:
        return jump(session, direction) if session.options.layer is DELTA else otherwise(session)

    return go


def flip(session: Session) -> Outcome:
    """Moves the cursor to the first flip, then to the next."""
    comparison, reason = session.game.comparison, cannot_flip(session)
    if comparison is None or reason:
        return replace(session, notice=reason), []
    prompt, flips = session.game.prompt, comparison.deltas.flips
    depth = flips.next(0 if prompt.cursor is None else prompt.cursor.depth)
    reason_unshared = shares_nothing(session)
    aligning = isinstance(comparison, PathComparison) and comparison.alignment is None
    so_far = ", so far" if aligning or comparison.compared != comparison.shared(prompt.tip) else ""
    if depth is None and prompt.cursor is not None and _differs_at_end(session):
        session, effects = look(session, None)
        return replace(session, notice=f"a flip at the end{_firsts(session)}"), effects
    if depth is None:
        nothing_found = reason_unshared or f"no shared token has another one most likely in its place{so_far}"
        if _differs_at_end(session):
            nothing_found = f"a flip at the end only{_firsts(session)}{so_far}"
        here = prompt.cursor is not None and flips.next(prompt.cursor.depth - 1) == prompt.cursor.depth
        count = counted(len(flips), "flip")
        if here:
            last = f"this is the last of {count}" if len(flips) > 1 else "this is the only flip"
        else:
            last = f"no flip after this token, and {count} before it: Esc, then D, begins at the first"
        return replace(session, notice=f"{last}{so_far}" if len(flips) else nothing_found), []
    node = prompt.tip.ancestor(depth)
    session, effects = look(session, node)
    place = len(flips) - flips.after(depth)
    return replace(session, notice=f"flip {place} of {len(flips)}{so_far}{_firsts(session)}"), effects


def order(session: Session) -> Outcome:
    """Sorts a comparison's table by the size of the deltas, or by A's probabilities; without one, see `bias.order`."""
    if session.game.comparison is None:
        return bias.order(session)
    by_delta = not session.options.by_delta
    notice = "sorted by Δ: the greatest change comes first" if by_delta else "sorted by A's probabilities"
    return replace(session, options=replace(session.options, by_delta=by_delta), notice=notice), []


def cannot_order(session: Session) -> str:
    """Why the table's order cannot be changed; empty where it can."""
    if isinstance(session.game.comparison, TextComparison):
        return "different vocabularies: both are sorted by probability"
    if session.game.comparison:
        return ""
    return bias.cannot_sample(session) or (NO_ORDER if isinstance(session.lens, Raw) else "")


def _differs_at_end(session: Session) -> bool:
    """Whether there is a flip after the tips of A and B."""
    comparison = session.game.comparison
    firsts = comparison.firsts(session.game.prompt.tip, None) if comparison else None
    return firsts is not None and firsts[0] != firsts[1]


def _firsts(session: Session) -> str:
    """The most likely tokens of A and B in the shown table, in words; empty where not known."""
    comparison, prompt = session.game.comparison, session.game.prompt
    firsts = comparison.firsts(prompt.place.tip, prompt.cursor) if comparison else None
    if firsts is None:
        return ""
    a, b = (label(glimpse(session.game.piece(token).data)) for token in firsts)
    return f": A “{a}”, B “{b}”"


def called(session: Session) -> tuple[str, str]:
    """The names of A and B."""
    game = session.game
    match game.versus:
        case Alone():
            return "", ""
        case AgainstPrompt() as versus:
            return _prompt(session, game.active), _path_of_b(session, versus)
        case AgainstModel():
            second = session.second
            return titles(game, second) if second else ("", "")


def titles(a: Game, b: Game) -> tuple[str, str]:
    """Titles of two models: their names; if equal, their quantisations; if equal again, their files' names."""
    if a.model is None or b.model is None:
        return visible(a.settings.model.name), visible(b.settings.model.name)
    title_a, title_b = visible(a.model.name), visible(b.model.name)
    if title_a != title_b:
        return title_a, title_b
    title_a, title_b = visible(a.model.quantization), visible(b.model.quantization)
    return (
        (title_a, title_b) if title_a != title_b else (visible(a.settings.model.name), visible(b.settings.model.name))
    )


def _prompt(session: Session, index: int) -> str:
    name = session.game.prompts[index].name
    return f"prompt {index + 1}{f' ({name})' if name else ''}"


def _path_of_b(session: Session, versus: AgainstPrompt) -> str:
    """The prompt that is B; without one, the path's length."""
    index = _index_of_b(session.game, versus)
    if index is None:
        return f"a path of {counted(versus.b.depth, 'token')}"
    name = _prompt(session, index)
    return name if session.game.prompts[index].tip is versus.b else f"{name} up to token {versus.b.depth}"


def unshared(session: Session) -> tuple[int, int]:
    """How many tokens of A are missing in B, and of B in A."""
    comparison = session.game.comparison
    return comparison.unshared(session.game.prompt.tip) if isinstance(comparison, PathComparison) else (0, 0)
