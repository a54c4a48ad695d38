"""Biases and bans of single tokens, and the order of the table."""

import math
from collections.abc import Callable

from tokex_gguf.engine.protocol import Capability, Spell
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.purposes import ForBan
from tokex_gguf.play.requests import request
from tokex_gguf.play.rules.prompt import NO_TABLE, chosen, with_prompt
from tokex_gguf.play.screens import MOST_CHARACTERS, PLAY, Ban
from tokex_gguf.play.session import Session
from tokex_gguf.play.table import selected_row, table
from tokex_gguf.values.formatting import bias_text, counted
from tokex_gguf.values.record import replace
from tokex_gguf.values.samplers import Chain
from tokex_gguf.values.tokens import meant, quoted, visible

STEPS = (-math.inf, -8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0)
"""The biases that + and - step through, added to a token's logit; the first bans the token."""
NAMED = 5
"""The most tokens that a notice names."""


def cannot_sample(session: Session) -> str:
    """Why samplers cannot be used; empty where they can."""
    return session.game.cannot(Capability.SAMPLERS)


def cannot_ban(session: Session) -> str:
    """Why no text can be banned; empty where one can."""
    reason = session.game.cannot(Capability.VOCABULARY_SEARCH)
    return cannot_sample(session) or (f"{reason}: - bans a row" if reason else "")


def step(direction: int) -> Callable[[Session], Outcome]:
    """Makes the selected token one step likelier (1) or less likely (-1)."""

    def go(session: Session) -> Outcome:
        place = session.game.prompt.place
        rows = table(session, place)
        if not rows:
            return replace(session, notice=NO_TABLE), []
        token = rows[selected_row(session, place)].token
        chain = session.game.sampling.chain
        amount = chain.biases.get(token, 0.0)
        steps = [
            step_amount for step_amount in STEPS if (step_amount > amount if direction > 0 else step_amount < amount)
        ]
        name = quoted(session.game.piece(token).data)
        if not steps:
            most = f"has {bias_text(amount)}, the most that + adds"
            end = most if direction > 0 else "is banned already: + lifts the ban"
            return replace(session, notice=f"{name} {end}"), []
        amount = steps[0] if direction > 0 else steps[-1]
        session = _with(session, chain.biased(token, amount))
        # Select the token explicitly: it stays selected if the order changes.
        session = with_prompt(session, chosen(session.game.prompt, token))
        return replace(session, notice=f"{name} {bias_text(amount) or 'has no bias any more'}"), []

    return go


def _with(session: Session, chain: Chain) -> Session:
    sampling = replace(session.game.sampling, chain=chain)
    return replace(session, game=replace(session.game, sampling=sampling))


def ban(session: Session) -> Outcome:
    """Asks for a text to ban."""
    return replace(session, screen=Ban()), []


def enter(session: Session) -> Outcome:
    """Requests the tokens that spell the typed text."""
    screen = session.on(Ban)
    assert screen is not None
    text = meant(screen.line.text[:MOST_CHARACTERS])
    session = replace(session, screen=PLAY)
    if not text:
        return replace(session, notice="nothing was typed, nothing is banned"), []
    if reason := session.game.unavailable:
        if session.game.engine is EngineStatus.DEAD:
            reason = f"{session.game.engine_stopped}: Esc, then {session.game.reconnect_hint}"
        return replace(session, screen=screen, notice=reason), []
    return request(session, ForBan(text), lambda number: Spell(number, text))


def banned(session: Session, text: str, tokens: list[int]) -> Outcome:
    """Bans the tokens that spell a text."""
    shown = visible(text)
    if not tokens:
        return replace(session, notice=f"no single token spells “{shown}”: nothing is banned"), []
    chain = session.game.sampling.chain
    for token in tokens:
        chain = chain.biased(token, -math.inf)
    names = ", ".join(quoted(session.game.piece(token).data) for token in tokens[:NAMED])
    more = ", …" if len(tokens) > NAMED else ""
    return replace(
        _with(session, chain), notice=f"banned {counted(len(tokens), 'token')}: {names}{more}; :unban lifts it"
    ), []


def of_vocabulary(chain: Chain, size: int) -> tuple[Chain, str]:
    """The chain without biases of tokens that a vocabulary of `size` tokens lacks, and a notice; empty without such.

    >>> of_vocabulary(Chain(bias=((3, 1.0), (70, -2.0))), 64)[1]
    'no token has the number 70, the last one is 63: its bias is left out'
    """
    missing = [str(token) for token, _ in chain.bias if token >= size]
    if not missing:
        return chain, ""
    named = ", ".join([*missing[:NAMED], *(["…"] if len(missing) > NAMED else [])])
    numbers, biases = ("number", "its bias is") if len(missing) == 1 else ("numbers", "their biases are")
    return chain.within(size), f"no token has the {numbers} {named}, the last one is {size - 1}: {biases} left out"


def unban(session: Session) -> Outcome:
    """Lifts all bans."""
    chain = session.game.sampling.chain
    bans = [token for token, amount in chain.bias if amount == -math.inf]
    chain = replace(chain, bias=tuple(item for item in chain.bias if item[1] != -math.inf))
    count = "1 ban is" if len(bans) == 1 else f"{len(bans)} bans are"
    return replace(_with(session, chain), notice=f"{count} lifted" if bans else "no token is banned"), []


def order(session: Session) -> Outcome:
    """Sorts the table by final probabilities, or by the model's own."""
    by_final = not session.options.by_final
    notice = "sorted by final: what can be drawn comes first" if by_final else "sorted by raw"
    return replace(session, options=replace(session.options, by_final=by_final), notice=notice), []
