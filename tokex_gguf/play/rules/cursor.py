"""The cursor inside a prompt: moving it, and jumping to high surprisals and entropies."""

from collections.abc import Callable, Mapping

from tokex_gguf.play.game import Prompt
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules.prompt import with_prompt
from tokex_gguf.play.session import Session
from tokex_gguf.values.formatting import counted, short_text
from tokex_gguf.values.judged import Marked
from tokex_gguf.values.layers import COST, ENTROPY, SURPRISAL, Layer, LensLayer
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.ranking import Notable, Ranking, entropies, surprisals
from tokex_gguf.values.record import replace
from tokex_gguf.values.tokens import quoted
from tokex_gguf.values.tree import Node

NONE = "no such token here (or not computed yet)"
NO_SUCH_TOKEN = "no such token here, as far as is known"
FAR_TOKENS = 10
"""Tokens that the far steps move by."""


def look(session: Session, cursor: Node | None, sought: Layer | None = None, nth: int = 0) -> Outcome:
    """Moves the cursor to a token of the active prompt; None: to the tip."""
    return with_prompt(session, replace(session.game.prompt, cursor=cursor, chosen=None, sought=sought, nth=nth)), []


def step(tokens: int) -> Callable[[Session], Outcome]:
    """Moves the cursor by some tokens; after the last token comes the tip."""

    def go(session: Session) -> Outcome:
        prompt = session.game.prompt
        # The tip counts as the position after the last token.
        position = prompt.tip.depth if prompt.cursor is None else prompt.cursor.depth - 1
        if position == 0 and tokens < 0:
            return replace(session, notice="this is the first token"), []
        target = max(0, position + tokens)
        if target >= prompt.tip.depth:
            if prompt.cursor is None:
                return replace(session, notice="this is the prompt's end: → appends"), []
            return look(session, None)
        return look(session, prompt.tip.ancestor(target + 1))

    return go


def first(session: Session) -> Outcome:
    """Moves the cursor to the first token."""
    node = session.game.prompt.tip.ancestor(1)
    if node is session.game.prompt.cursor:
        return replace(session, notice="this is the first token"), []
    return look(session, node)


def back_to_tip(session: Session) -> Outcome:
    """Moves the cursor back to the tip."""
    if session.game.prompt.cursor is None:
        return replace(session, notice="this is the prompt's end: ? shows the keys, ctrl+q quits"), []
    return look(session, None)


def point(session: Session, position: int) -> Outcome:
    """Moves the cursor to the token at a position."""
    tip = session.game.prompt.tip
    return look(session, tip.ancestor(position + 1) if position < tip.depth else None)


QUANTITIES: Mapping[Layer, Callable[[Node], Ranking]] = {SURPRISAL: surprisals, ENTROPY: entropies}
"""The quantities to jump by."""


def most(quantity: Layer) -> Callable[[Session], Outcome]:
    """Jumps to the token with the highest value; from there, to the next lower one."""

    def go(session: Session) -> Outcome:
        prompt = session.game.prompt
        ranking = QUANTITIES[quantity](prompt.tip)
        if not len(ranking):
            return replace(session, notice=NONE), []
        nth = prompt.nth + 1 if prompt.sought is quantity else 1
        node = ranking.following(prompt.cursor if nth > 1 else None)
        if node is None:
            return replace(session, notice="this is the last: Esc, and the same key, leads to #1"), []
        return replace(look(session, node, quantity, nth)[0], notice=_so_far(prompt)), []

    return go


def _so_far(prompt: Prompt) -> str:
    """A line saying that numbers of tokens are still missing; empty where none are."""
    return "the highest of what is known so far" if prompt.tip.logprob is None else ""


def jump(quantity: Layer, direction: int, threshold: Callable[[Session], float]) -> Callable[[Session], Outcome]:
    """Jumps to the next notable token in a direction; after the last comes the first."""

    def go(session: Session) -> Outcome:
        notable = QUANTITIES[quantity](session.game.prompt.tip).notable(threshold(session))
        return _to_next(session, notable, direction, NONE, quantity)

    return go


def jump_by_layer(direction: int) -> Callable[[Session], Outcome]:
    """Jumps to the next token that a lens layer marks; with other layers, to one of high surprisal."""
    surprising = jump(SURPRISAL, direction, lambda session: session.game.settings.surprise)

    def go(session: Session) -> Outcome:
        layer, lens, tip = session.options.layer, session.lens, session.game.prompt.tip
        if not isinstance(layer, LensLayer):
            return surprising(session)
        if not isinstance(lens, Sampled) or layer.lacking(lens):
            return replace(session, notice=layer.lacking(lens)), []
        if session.under_way.judging:  # wait until the nearest or dearest one is known
            return replace(session, under_way=replace(session.under_way, jumping=direction)), []
        if layer is COST:
            return _to_costliest(session, lens, direction)
        return _to_next(session, session.game.known.lens_results.judged(lens, tip).cut(tip), direction, NO_SUCH_TOKEN)

    return go


def jump_on(session: Session) -> Outcome:
    """Makes a waiting jump once all of the prompt is judged."""
    if not session.under_way.jumping or session.under_way.judging:
        return session, []
    return jump_by_layer(session.under_way.jumping)(replace(session, under_way=replace(session.under_way, jumping=0)))


def _to_costliest(session: Session, lens: Sampled, direction: int) -> Outcome:
    """Jumps to a token where the constraint cost much; from the tip, to the one where it cost most."""
    prompt, answers = session.game.prompt, session.game.known.lens_results
    judged = answers.judged(lens, prompt.tip)
    costliest = judged.costliest(prompt.tip)
    if prompt.cursor is None and costliest is not None:
        session, effects = look(session, prompt.tip.ancestor(costliest))
    else:
        session, effects = _to_next(session, judged.costliest_tenth(prompt.tip), direction, NO_SUCH_TOKEN)
    node = session.game.prompt.cursor
    verdict = None if node is None or node is prompt.cursor else answers.verdict(lens, node)
    if node is None or verdict is None:
        return session, effects
    place, total = judged.place(prompt.tip, verdict.cost_bits), answers.cost(lens, prompt.tip)
    total_text = "" if total is None else f" of {short_text(total)}"
    rank = "most of all" if place == 1 else f"#{place}"
    name = quoted(session.game.piece(node.token).data)
    notice = f"{name} cost {short_text(verdict.cost_bits)}{total_text} bits, {rank}"
    return replace(session, notice=f"{notice}; {session.notice}" if session.notice else notice), effects


def _to_next(
    session: Session, marked: Notable | Marked, direction: int, none: str, sought: Layer | None = None
) -> Outcome:
    """Jumps to the next of the marked tokens in a direction. `none`: the notice if there are none."""
    prompt = session.game.prompt
    end = prompt.tip.depth + 1
    position = end if prompt.cursor is None else prompt.cursor.depth
    ahead = marked.next(position) if direction > 0 else marked.previous(position)
    depth = ahead or (marked.next(0) if direction > 0 else marked.previous(end))
    if depth is None:
        return replace(session, notice=none), []
    node = prompt.tip.ancestor(depth)
    if node is prompt.cursor:
        return replace(session, notice="this is the only such token"), []
    session, effects = look(session, node, sought)
    notice = _so_far(prompt) if sought else ""
    if not ahead and prompt.cursor is not None:
        notice = f"from the other end again: {counted(len(marked), 'such token')}"
    return replace(session, notice=notice), effects
