"""The critical tokens of a path: its own answer, and a line for each with the answer after the second choice."""

import math
from collections.abc import Sequence

from tokex_gguf.play.critical import CriticalState, CriticalTokens
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.rules.critical import shown
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line, choose, clip, clip_start, fit, pad
from tokex_gguf.ui.fan_out import NO_ENGINE, on_one_line, raw_numbers_notice
from tokex_gguf.ui.window import listed, more
from tokex_gguf.values.critical import Rollout, RolloutEnd, Trial
from tokex_gguf.values.formatting import counted, number
from tokex_gguf.values.lens import RAW
from tokex_gguf.values.stops import describe_stop
from tokex_gguf.values.tokens import glimpse, label, visible
from tokex_gguf.values.tree import Node

WIDE_CELLS = 100
"""Cells of the pane from which the columns of tokens and answers are wider."""
MOST_BYTES = 600
"""Bytes of a continuation's end that are shown, at the most."""


def critical_entries(session: Session, height: int) -> Sequence[int]:
    """For each line below the first one, the index of its place; -1 for other lines."""
    critical = shown(session)
    if critical is None:
        return ()
    above = _lines_above(session)
    return (*[-1] * above, *_rows_in_sight(critical, height - above))


def _lines_above(session: Session) -> int:
    """Lines above the heading."""
    return 2 + (session.lens is not RAW)


def _rows_in_sight(critical: CriticalTokens, height: int) -> range:
    """The rows in sight, where list and heading have `height` lines."""
    return listed(critical.selected, len(critical.trials), height - 1)


def selected_place(session: Session) -> Node | None:
    """The selected line's token of the prompt; None without one."""
    critical = shown(session)
    return critical.trials[critical.selected].place.node if critical and critical.trials else None


def critical_lines(session: Session, width: int, height: int) -> list[Line]:
    """The answer as it stands, how many tokens flip it, and a row for each."""
    critical = shown(session)
    if critical is None:
        return []
    lines = [
        _standing_line(critical),
        _state(session, critical, width),
        *raw_numbers_notice(session, width),
        _heading(width),
    ]
    window, trials = _rows_in_sight(critical, height - _lines_above(session)), critical.trials
    lines += [_line(session, critical, trials[index], width, selected=index == critical.selected) for index in window]
    if not trials:
        text = "no place has a second choice" if critical.found.looked else "looking for the most doubtful places"
        lines.append([("class:dim", f"   {text}")])
    return [fit(line, width) for line in [*lines, *more(window, len(trials))]]


def _standing_line(critical: CriticalTokens) -> Line:
    """The path's answer as it stands, and where answers are searched."""
    search = critical.found
    answer = search.answer(search.standing)
    if answer is not None:
        answer_parts: Line = [("class:taken", visible(clip(answer, 30)) or "nothing at all")]
    else:
        answer_parts = [
            ("class:dim", "…" if search.standing.end is None else _why_no_answer(search.standing, critical.each))
        ]
    lead = search.rule.lead.decode("utf-8", "replace")
    where = f"after “{clip(visible(lead.strip()), 24)}” " if lead else ""
    return [
        ("", " the answer as it stands: "),
        *answer_parts,
        ("class:dim", f"  {where}until {clip(describe_stop(search.rule.stop), 24)}"),
        ("class:dim", f", from token {search.begin + 1:,} on" if search.begin else ""),
    ]


def _state(session: Session, critical: CriticalTokens, width: int) -> Line:
    search, state = critical.found, critical.state
    trials = critical.trials
    flips = [search.flips(trial) for trial in trials]
    flipped = sum(map(bool, flips))
    without_answer = sum(flip is None and trial.run.end is not None for flip, trial in zip(flips, trials, strict=True))
    nowhere = "no place" if state is CriticalState.DONE else "no place yet"
    compared = search.answer(search.standing) is not None or search.standing.end is None
    flip_count = f"{flipped} of {len(trials)} {'flips' if flipped == 1 else 'flip'} it" if trials else nowhere
    if not compared:
        flip_count = "no answer to compare with"
    elif without_answer and search.standing.end is not None:
        flip_count += f", {without_answer} {'has' if without_answer == 1 else 'have'} no answer"
    lacking = f"{search.lacking:,} without numbers" if search.lacking else ""
    spent = counted(search.tokens, "token") + (f", {critical.each:,} each at the most" if width >= WIDE_CELLS else "")
    state_text = f"stopped: {clip(critical.fault, 60)}" if state is CriticalState.FAULT else state.value
    style = {CriticalState.FAULT: "class:fault", CriticalState.RUNNING: "class:busy"}.get(state, "class:dim")
    if state is CriticalState.RUNNING and session.game.engine is EngineStatus.DEAD:
        style, state_text = "class:fault", NO_ENGINE
    parts: list[tuple[int, Line]] = [
        (8, [("", flip_count)]),
        (7, [("", lacking)]),
        (6, [("class:dim", spent)]),
        (9, [(style, clip(state_text, width - 1))]),
    ]
    return [("", " "), *choose([part for part in parts if part[1][0][1]], width - 1)]


LEAST_CELLS = 8
"""Cells of the continuation after a second choice, at the least; the answer gets fewer ones."""


def _cells(width: int) -> tuple[int, int, int]:
    """Cells of a token's text, of an answer, and of the continuation after the second choice."""
    token, answer = (14, 14) if width >= WIDE_CELLS else (9, 8)
    continuation = width - (34 + 2 * token) - answer
    return (token, answer, continuation - 1) if continuation > LEAST_CELLS else (token, answer + continuation, 0)


def _heading(width: int) -> Line:
    token, answer, continuation = _cells(width)
    shape = f" {'token':>6} {pad('stands', token)} {'p':>7}  {pad('second', token)} {'p':>7}  {'':5} "
    return fit([("class:head", f"{shape}{pad('answer', answer)}{' leads to' if continuation else ''}")], width)


def _why_no_answer(run: Rollout, each: int) -> str:
    """Why a continuation has no answer."""
    match run.end:
        case RolloutEnd.LONG:
            return f"no end in {each:,}"
        case RolloutEnd.FULL:
            return "context full"
        case RolloutEnd.ENDED | RolloutEnd.ANSWERED | None:
            return "the model ends"


def _line(session: Session, critical: CriticalTokens, trial: Trial, width: int, *, selected: bool) -> Line:
    style = "class:selected" if selected else ""
    token, room, continuation = _cells(width)
    search, place, run = critical.found, trial.place, trial.run
    assert place.node.taken is not None
    stands, second = (
        pad(clip(label(glimpse(session.game.piece(choice).data)), token), token)
        for choice in (place.node.token, place.second)
    )
    first_prob, second_prob = number(place.node.taken.prob), number(math.exp(place.second_logprob))
    dim = f"class:dim {style}".strip()
    answer, flips = search.answer(run), search.flips(trial)
    if run.end is None:
        outcome: Line = [(dim, pad("…" if run.greedy else "", 6 + room))]
    elif answer is None:
        outcome = [(dim, pad(clip(_why_no_answer(run, critical.each), 6 + room), 6 + room))]
    else:
        word = "" if flips is None else "flips" if flips else "same"
        text = pad(clip(visible(answer[:200]) or "nothing", room), room)
        outcome = [(f"class:taken {style}".strip() if flips else style, f"{word:<5} {text}")]
    head = f" {place.node.depth:>6} {stands} {first_prob:>7}  {second} {second_prob:>7}  "
    continuation_text = ""
    if continuation and len(run.text) > run.given:
        continuation_text = on_one_line(run.text[run.given :][-MOST_BYTES:])
    elif run.end is RolloutEnd.ENDED:
        continuation_text = "the model ends"
    return fit(
        [(style, head), *outcome, (dim, f" {clip_start(continuation_text, continuation)}" if continuation else "")],
        width,
        style,
    )
