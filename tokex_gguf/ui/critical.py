"""The critical tokens of a path: its own answer, and a line for each place with what the second choice leads to."""

import math
from collections.abc import Sequence

from tokex_gguf.play.critical import CriticalState, CriticalTokens
from tokex_gguf.play.rules.critical import shown
from tokex_gguf.play.session import EngineStatus, Session
from tokex_gguf.ui.cells import Line, choose, clip, clip_start, fit, pad
from tokex_gguf.ui.fan_out import NO_ENGINE, on_a_line, raw_numbers
from tokex_gguf.ui.window import listed, more
from tokex_gguf.values.critical import Rollout, RolloutEnd, Trial
from tokex_gguf.values.formatting import counted, number
from tokex_gguf.values.stops import told
from tokex_gguf.values.tokens import glimpse, label, visible

WIDE_CELLS = 100
"""Cells from which tokens and answers have more of them."""
MOST_BYTES = 600
"""Bytes of a continuation of which the end is shown."""


def critical_entries(session: Session, height: int) -> Sequence[int]:
    """The places that are shown, by the lines below the first one; -1 where another thing stands."""
    one = shown(session)
    if one is None:
        return ()
    above = _head(session)
    return (*[-1] * above, *_window(one, height - above))


def _head(session: Session) -> int:
    """Lines above the heading."""
    return 2 + len(raw_numbers(session))


def _window(one: CriticalTokens, height: int) -> range:
    """The lines of the list that are shown below its heading, in so many lines with that."""
    return listed(one.selected, len(one.trials), height - 1)


def critical_lines(session: Session, width: int, height: int) -> list[Line]:
    """The answer as it stands, how many places flip it, and the places."""
    one = shown(session)
    if one is None:
        return []
    lines = [_standing(one), _state(session, one, width), *raw_numbers(session), _heading(width)]
    window, there = _window(one, height - _head(session)), one.trials
    lines += [_line(session, one, there[index], width, selected=index == one.selected) for index in window]
    if not there:
        none = "no place has a second choice" if one.found.looked else "looking for the most doubtful places"
        lines.append([("class:dim", f"   {none}")])
    return [fit(line, width) for line in [*lines, *more(window, len(there))]]


def _standing(one: CriticalTokens) -> Line:
    """The answer of the path as it stands, and where answers are looked for."""
    found = one.found
    answer = found.answer(found.standing)
    if answer is not None:
        what: Line = [("class:taken", visible(clip(answer, 30)) or "nothing at all")]
    else:
        what = [("class:dim", "…" if found.standing.end is None else _none(found.standing, one.each))]
    lead = found.rule.lead.decode("utf-8", "replace")
    where = f"after “{clip(visible(lead.strip()), 24)}” " if lead else ""
    return [
        ("", " the answer as it stands: "),
        *what,
        ("class:dim", f"  {where}until {clip(told(found.rule.stop), 24)}"),
        ("class:dim", f", from token {found.begin + 1:,} on" if found.begin else ""),
    ]


def _state(session: Session, one: CriticalTokens, width: int) -> Line:
    found, state = one.found, one.state
    trials = one.trials
    flips = [found.flips(trial) for trial in trials]
    flipped = sum(map(bool, flips))
    none = sum(flip is None and trial.run.end is not None for flip, trial in zip(flips, trials, strict=True))
    nowhere = "no place" if state is CriticalState.DONE else "no place yet"
    some = f"{flipped} of {len(trials)} {'flips' if flipped == 1 else 'flip'} it" if trials else nowhere
    if none and found.answer(found.standing) is not None:
        some += f", {none} {'has' if none == 1 else 'have'} none"
    lacking = f"{found.lacking:,} without numbers" if found.lacking else ""
    spent = counted(found.tokens, "token") + (f", {one.each:,} each at the most" if width >= WIDE_CELLS else "")
    about = f"stopped: {clip(one.fault, 60)}" if state is CriticalState.FAULT else state.value
    style = {CriticalState.FAULT: "class:fault", CriticalState.RUNNING: "class:busy"}.get(state, "class:dim")
    if state is CriticalState.RUNNING and session.game.engine is EngineStatus.DEAD:
        style, about = "class:fault", NO_ENGINE
    parts: list[tuple[int, Line]] = [
        (8, [("", some)]),
        (7, [("", lacking)]),
        (6, [("class:dim", spent)]),
        (9, [(style, clip(about, width - 1))]),
    ]
    return [("", " "), *choose([part for part in parts if part[1][0][1]], width - 1)]


LEAST_CELLS = 8
"""Cells of what a second choice leads to, at the least; where there are fewer, the answer has them."""


def _cells(width: int) -> tuple[int, int, int]:
    """Cells of a token's text, of an answer, and of what the second choice leads to."""
    token, answer = (14, 14) if width >= WIDE_CELLS else (9, 8)
    left = width - (34 + 2 * token) - answer
    return (token, answer, left - 1) if left > LEAST_CELLS else (token, answer + left, 0)


def _heading(width: int) -> Line:
    token, answer, left = _cells(width)
    shape = f" {'token':>6} {pad('stands', token)} {'p':>7}  {pad('second', token)} {'p':>7}  {'':5} "
    return fit([("class:head", f"{shape}{pad('answer', answer)}{' leads to' if left else ''}")], width)


def _none(run: Rollout, each: int) -> str:
    """Why a way on has no answer."""
    match run.end:
        case RolloutEnd.LONG:
            return f"no end in {each:,}"
        case RolloutEnd.FULL:
            return "context full"
        case RolloutEnd.ENDED | RolloutEnd.ANSWERED | None:
            return "the model ends"


def _line(session: Session, one: CriticalTokens, trial: Trial, width: int, *, selected: bool) -> Line:
    style = "class:selected" if selected else ""
    token, room, left = _cells(width)
    found, place, run = one.found, trial.place, trial.run
    assert place.node.taken is not None
    stands, second = (
        pad(clip(label(glimpse(session.game.piece(one).data)), token), token)
        for one in (place.node.token, place.second)
    )
    first, then = number(place.node.taken.prob), number(math.exp(place.second_logprob))
    dim = f"class:dim {style}".strip()
    answer, flips = found.answer(run), found.flips(trial)
    if run.end is None:
        about: Line = [(dim, pad("…" if run.greedy else "", 6 + room))]
    elif answer is None:
        about = [(dim, pad(clip(_none(run, one.each), 6 + room), 6 + room))]
    else:
        word = "" if flips is None else "flips" if flips else "same"
        text = pad(clip(visible(answer[:200]) or "nothing", room), room)
        about = [(f"class:taken {style}".strip() if flips else style, f"{word:<5} {text}")]
    head = f" {place.node.depth:>6} {stands} {first:>7}  {second} {then:>7}  "
    said = on_a_line(run.text[run.given :][-MOST_BYTES:]) if left and len(run.text) > run.given else ""
    return fit([(style, head), *about, (dim, f" {clip_start(said, left)}" if left else "")], width, style)
