"""The panes that replace the table on other screens: scored phrases, prompts, models, commands."""

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from tokex_gguf.play.commands import registry
from tokex_gguf.play.game import Prompt
from tokex_gguf.play.purposes import ForScore
from tokex_gguf.play.rules import list_search
from tokex_gguf.play.rules.selection import NO_LINE
from tokex_gguf.play.screens import Commands, Input, ListSearch, PromptName, SecondModels
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line, bar, cells_of, clip, clip_start, fit, longest, pad, whole
from tokex_gguf.ui.window import listed, more, window
from tokex_gguf.ui.wrap import paragraph
from tokex_gguf.values.formatting import counted, number, rank_text, share_text
from tokex_gguf.values.lens import GRAMMAR, Sampled
from tokex_gguf.values.outline import shared
from tokex_gguf.values.record import replace
from tokex_gguf.values.score import Score, best, shares
from tokex_gguf.values.sequence import common_prefix
from tokex_gguf.values.tokens import glimpse, label, visible
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT


def text(session: Session, nodes: Sequence[Node], room: int, *, last: bool = False) -> str:
    """Tokens as one line. Blanks are marked except between words, where they cannot be overlooked.

    Of a text with many more bytes than `room` cells can show, the beginning and a …; with `last`, a … and the end.
    """
    parts: list[bytes] = []
    left = BYTES_OF_A_CELL * room
    for node in reversed(nodes) if last else nodes:
        parts.append(glimpse(session.game.piece(node.token).data))
        left -= len(parts[-1])
        if left < 0:
            break
    marked = label(b"".join(reversed(parts) if last else parts))
    marked = re.sub("(?<=[^␣⏎])␣(?=[^␣⏎])", " ", marked)
    if len(parts) == len(nodes):
        return marked
    return f"…{marked}" if last else f"{marked}…"


BYTES_OF_A_CELL = 16
"""Bytes of text looked at for each cell. A letter with marks may have more; nearly all have fewer."""


def logarithmic(logprob: float) -> str:
    """A probability, given by its natural logarithm, in at most seven characters, however small.

    >>> logarithmic(math.log(0.25)), logarithmic(-3000.0), logarithmic(-math.inf)
    ('0.2500', '1e-1303', '0')
    >>> logarithmic(math.log(10) * -927.05), logarithmic(math.log(10) * -927.01)
    ('9e-928', '1e-927')
    """
    if logprob == -math.inf:
        return "0"
    if logprob > -690:
        return number(math.exp(logprob))
    return _scientific(logprob / math.log(10), 0)


def _scientific(exponent: float, digits: int) -> str:
    """10 to the power `exponent`, in scientific notation with `digits` decimals.

    >>> _scientific(5.6021, 1), _scientific(5.9996, 1), _scientific(-1302.88, 0)
    ('4.0e5', '1.0e6', '1e-1303')
    """
    power = math.floor(exponent)
    leading = round(10 ** (exponent - power), digits)
    return f"{leading:.{digits}f}e{power}" if leading < 10 else f"{1:.{digits}f}e{power + 1}"


_LEGIBLE_CELLS = 8
"""Cells in which a token can be recognised."""


def score_lines(session: Session, width: int, height: int) -> list[Line]:
    """The scored phrases and how they compare; of the last one, every token."""
    if not session.game.results.scores and session.game.newest(ForScore):
        return [[("class:dim", " scoring")]]
    if not session.game.results.scores:
        return _typing_hints(session, width)
    cells = 6 if width >= 60 else 0  # for a bar; a narrow list needs the cells for its phrases
    constrained = session.game.sampling.constraint is not None
    if constrained:
        cells = 0  # the constraint's column replaces the bar
    logs = width >= 60 or not constrained  # in a narrow list it replaces the logarithms, too
    wide = max(8, width - (38 if logs else 29) - cells - 9 * constrained)
    head = f" {pad('phrase', wide)} {'joint p':>8} {'ln p':>8}" if logs else f" {pad('phrase', wide)} {'joint p':>8}"
    head += f" {'share':>7} {'odds':>8}" + (f"  {GRAMMAR}" if constrained else "")
    lines: list[Line] = [fit([("class:head", head)], width)]
    last = session.game.results.scores[-1]
    typing = session.on(Input)
    current_base = typing.base if typing else last.base
    tops = best(session.game.results.scores)
    room = height - 2  # one line stays free for the phrase scored last
    left = len(session.game.results.scores)
    for base, phrases in by_place(session.game.results.scores, current_base):
        # A place's heading needs room for at least one phrase, and for the line that counts those left out.
        if room < 2 + (left > 1):
            break
        lines.append([("class:dim", " after "), ("", _end_of(session, base, width - 8))])
        room -= 1
        shown = phrases[: room - (left > min(room, len(phrases)))]
        if not phrases:
            lines.append([("class:dim", " no phrase was scored here yet")])
            room -= 1
        for score, share in shown:
            name = pad(beginning(session, base.depth, score.tip, wide), wide)
            if (logprob := score.logprob) is None or share is None:
                lines.append([("class:dim", f" {name}  working  {_legal(session, score)}")])
                continue
            odds = _odds(logprob - tops[base] if tops[base] > -math.inf else 0.0)
            ln_p = f" {logprob:>8.2f}" if logs else ""
            figures = f" {logarithmic(logprob):>8}{ln_p} {share_text(share, ''):>7} {odds:>8} "
            style = "class:taken" if score is last and len(session.game.results.scores) > 1 else ""
            named = [(style, " "), *_struck(session, score, name, style, wide), (style, figures)]
            lines.append(fit([*named, ("class:bar", bar(share, cells)), (style, _legal(session, score))], width))
        room, left = room - len(shown), left - len(shown)
        if len(shown) < len(phrases):
            break
    if left:
        lines.append([("class:dim", f" … {left} more phrases" if left > 1 else " … 1 more phrase")])
    return [*lines, *_tokens(session, last, width, height - len(lines))]


def _broken(session: Session, score: Score) -> int | None:
    """The position of the first illegal token up to a phrase's end; None: all are legal, or it is not known yet."""
    limit = session.limit_of(score)
    at = None if limit is None else session.game.known.lens_results.broken(limit, score.tip)
    return None if at is None or at < 0 else at


def _legal(session: Session, score: Score) -> str:
    """Whether a phrase is legal; empty without a constraint, and until that is known."""
    limit = session.limit_of(score)
    at = None if limit is None else session.game.known.lens_results.broken(limit, score.tip)
    return "" if at is None else " legal" if at < 0 else " breaks"


def _struck(session: Session, score: Score, name: str, style: str, room: int) -> Line:
    """A phrase's name, struck through from where it breaks the constraint."""
    at = _broken(session, score)
    if at is None:
        return [(style, name)]
    legal = text(session, score.tip.ancestor(at).nodes(score.base.depth), room) if at > score.base.depth else ""
    shown = name.rstrip(" ")
    # A blank is marked where a text ends with it, and not inside a longer one.
    same = common_prefix(shown.replace("␣", " "), legal.replace("␣", " "))
    if shown[same:] == "…" and len(legal) > same:  # it breaks out of sight
        same = len(shown)
    same = whole(shown, same)
    kept, struck, blanks = shown[:same], shown[same:], name[len(shown) :]
    return [part for part in ((style, kept), (f"class:cut {style}".strip(), struck), (style, blanks)) if part[1]]


def _end_of(session: Session, node: Node, width: int) -> str:
    """As much of a path's end as fits into `width` cells."""
    last = node.nodes(max(0, node.depth - 20))
    return clip_start(text(session, last, width, last=True), width, more=len(last) < node.depth)


def _typing_hints(session: Session, width: int) -> list[Line]:
    """What the keys do with the typed text, and the end of the path that it comes after."""
    typing = session.on(Input)
    before = _end_of(session, typing.base, width - 7) if typing else ""
    return [
        [("class:dim", " What is typed goes on after")],
        [("", f"   {before}")],
        [("class:dim", " ctrl+p scores it, Enter appends it.")],
        [("class:dim", " Several phrases are compared.")],
        [("class:dim", " From another place: Esc, look back, then i.")],
    ]


def by_place(scores: tuple[Score, ...], current: Node) -> list[tuple[Node, list[tuple[Score, float | None]]]]:
    """The phrases with their shares, by the paths that they come after: `current` first, then the latest.

    `current` is listed without phrases, too. For each path the likeliest is first; those not computed yet are last.
    """
    places: dict[Node, list[tuple[Score, float | None]]] = {current: []}
    for score, share in reversed(list(zip(scores, shares(scores), strict=True))):
        places.setdefault(score.base, []).append((score, share))

    def order(pair: tuple[Score, float | None]) -> tuple[bool, float]:
        logprob = pair[0].logprob
        return logprob is not None, -math.inf if logprob is None else logprob

    for phrases in places.values():
        phrases.sort(key=order, reverse=True)
    return list(places.items())


def _odds(difference: float) -> str:
    """How many times less likely than the best, by the difference of log-probabilities.

    >>> _odds(0.0), _odds(-6.02), _odds(-1000.0), _odds(-math.inf)
    ('best', '1:412', '1:2e434', 'never')
    >>> _odds(-math.log(999.7)), _odds(-math.log(99_999.7)), _odds(-math.log(400_000)), _odds(-math.log(9_990_000))
    ('1:1,000', '1:1.0e5', '1:4.0e5', '1:1.0e7')
    """
    if difference == 0:
        return "best"
    if difference == -math.inf:
        return "never"
    decimal = -difference / math.log(10)
    times = 10 ** min(decimal, 6)
    if times < 99_999.5:
        return f"1:{times:.3g}" if times < 999.5 else f"1:{times:,.0f}"
    return f"1:{_scientific(decimal, 1 if decimal < 99 else 0)}"


def _tokens(session: Session, score: Score, width: int, height: int) -> list[Line]:
    """Every token of a phrase, the least likely marked; where room is short, the least likely only."""
    if score.logprob is None:
        return []
    room, count = width - 34, score.tip.depth - score.base.depth
    phrase, weakest = beginning(session, score.base.depth, score.tip, width), _weakest(score.base, score.tip)
    if count < height:
        title = f"tokens of {phrase}" if cells_of(phrase) + 10 <= room else phrase
        head = f" {pad(title, room)} {'prob':>8} {'rank':>7}"
        lines: list[Line] = [fit([("class:head", head)], width)]
        for node in score.nodes:
            assert node.taken is not None
            marked = node is weakest and count > 1
            figures = f" {number(node.taken.prob):>8} {rank_text(node.taken):>7}"
            name = pad(text(session, [node], room), room)
            broken = node.depth - 1 == _broken(session, score)
            cut = _cut_by(session, node)
            note = "  ← not legal" if broken else cut or ("  ← weakest" if marked else "")
            lines.append(fit([("class:taken" if marked else "", f" {name}{figures}{note}")], width))
        return lines
    taken = weakest.taken
    assert taken is not None
    head, tail = f" weakest of {count} in {clip(phrase, 12)}: ", f"  {number(taken.prob)}  rank {rank_text(taken)}"
    if width - cells_of(head + tail) < _LEGIBLE_CELLS:
        head = " weakest: "
    line = head + clip(text(session, [weakest], 20), min(20, width - cells_of(head + tail))) + tail
    return [fit([("class:dim", line)], width)]


def _cut_by(session: Session, node: Node) -> str:
    """The stage that cuts a phrase's token; empty where none does, or it is not known."""
    lens = session.lens
    verdict = session.game.known.lens_results.verdict(lens, node) if isinstance(lens, Sampled) else None
    if verdict is None or verdict.cut_by == NOT_CUT or not isinstance(lens, Sampled):
        return ""
    stage = lens.stage(verdict.cut_by)
    return f"  ← {stage} cuts" if len(stage) < 8 else f"  ← {stage}"


@lru_cache(maxsize=1)
def _weakest(base: Node, tip: Node) -> Node:
    """The least likely token of a computed phrase, cached, as it does not change."""
    return Score(base, tip).weakest


def _selected(session: Session) -> int:
    """The selected line of the list on the screen."""
    naming = session.on(PromptName)
    return naming.row if naming else list_search.selected(session)


class ListPart(NamedTuple):
    """The lines of a list that are in sight."""

    shown: Sequence[int]
    """Indices of the lines in sight."""
    more: list[Line]
    """The line that counts those above and below."""


def list_part(session: Session, length: int, height: int) -> ListPart:
    """The lines in sight of a list of so many, where list and heading have `height` lines."""
    rows, row = list_search.rows(session, length), _selected(session)
    at = rows.index(row) if row in rows else 0
    places = listed(at, len(rows), height - 1)
    none: list[Line] = [[("class:dim", f"   {NO_LINE}")]] if length and not rows else []
    return ListPart([rows[place] for place in places], [*none, *more(places, len(rows))])


def entries(length: Callable[[Session], int]) -> Callable[[Session, int], Sequence[int]]:
    """A function that gives the entries in sight of a list, for clicks."""
    return lambda session, height: list_part(session, length(session), height).shown


prompt_entries = entries(list_search.prompts_length)
model_entries = entries(list_search.models_length)


def _sentence_height(height: int) -> int:
    """Lines below the commands: the count of those out of sight, and up to four for the selected one's sentence.

    They do not depend on the selected command, so that the list does not move.
    """
    return min(5, max(3, height * 2 // 5))


def command_entries(session: Session, height: int) -> range:
    """The commands in sight, as with `entries`."""
    screen, count = session.on(Commands), len(registry.found(session))
    return (
        window(min(screen.row if screen else 0, count - 1), count, height - 1 - _sentence_height(height))
        if count
        else range(0)
    )


def _first_keys(keys: str, room: int) -> str:
    """As many whole names of a command's keys as fit, and the first in any case.

    >>> _first_keys("Esc shift+End ]", 10), _first_keys("↑ k", 10)
    ('Esc', '↑ k')
    """
    names = keys.split(" ")
    while len(names) > 1 and cells_of(" ".join(names)) > room:
        names.pop()
    return clip(" ".join(names), room)


def command_lines(session: Session, width: int, height: int) -> list[Line]:
    """The commands that match the typed text: keys and sentence as in the help; of a disabled one, the reason."""
    screen, found = session.on(Commands), registry.found(session)
    before = replace(session, screen=screen.over) if screen else session
    lines: list[Line] = [fit([("class:head", f" {pad('keys', 10)} command")], width)]
    if screen and (number := screen.token) is not None:
        lines.append([("class:dim", f" Enter looks at token {number}")])
    elif not found:
        lines.append([("class:dim", " no command has this name")])
    selected_sentence = ""
    entries = command_entries(session, height)
    for index in entries:
        command = found[index]
        reason = command.disabled(before)
        style = "class:selected" if screen and index == screen.row else ""
        sentence = reason or command.help
        selected_sentence = sentence if style else selected_sentence
        keys = f" {pad(_first_keys(registry.keys_of(command), 10), 10)} "
        room = width - cells_of(keys)
        parts: Line = [
            (f"class:key {style}".strip(), keys),
            (f"class:dim {style}" if reason else style, clip(sentence, room)),
        ]
        lines.append(fit(parts, width, style))
    lines += more(entries, len(found)) or [[]]
    return [*lines, *([("", f" {text}")] for text in paragraph(selected_sentence, width - 2, height - len(lines)))]


def model_lines(session: Session, width: int, height: int) -> list[Line]:
    """The models on this machine; the one being played is marked."""
    search = session.on(ListSearch)
    compares = isinstance(search.over if search else session.current, SecondModels)
    title = "compare with" if compares else "models found here"
    lines: list[Line] = [fit([("class:head", f"   {pad(title, width - 24)} {'kind':<10} size")], width)]
    if not session.models:
        lines.append([("class:dim", "   looking for models")])
    row = _selected(session)
    entries = list_part(session, len(session.models), height)
    for index in entries.shown:
        entry = session.models[index]
        mark = "›" if entry.path == session.game.settings.model.key else " "
        style = "class:selected" if index == row else "class:dim" if entry.fault else ""
        name, kind = visible(entry.name), "unusable" if entry.fault else visible(entry.kind)
        room = width - 24
        cells = f" {mark} {pad(clip(name, room), room)} {pad(clip(kind, 10), 10)} {entry.size:>7}"
        lines.append(fit([(style, cells)], width, style))
    lines += entries.more
    if len(session.models) == 1 and len(lines) + 2 <= height:
        lines += [[], [("class:dim", clip("   tokex-gguf pull NAME downloads another one", width))]]
    return lines


def match_note(session: Session) -> str:
    """How many lines of a list match the typed text."""
    return f"{counted(len(list_search.found(session)), 'line')} "


def beginning(session: Session, start: int, end: Node, room: int) -> str:
    """A path's tokens from position `start` on as one line of more than `room` cells, if the path has so many."""
    return text(session, end.ancestor(start + room + 1).nodes(start), room)


def ends(session: Session, start: int, end: Node, room: int) -> str:
    """A path's tokens from position `start` on as one line of at most `room` cells: of a long text, the two ends."""
    few = max(room, 8)  # tokens at each end; most take more than a cell
    if end.depth - start <= 2 * few:
        head = text(session, end.nodes(start), room)
        if len(head) <= longest(room) and cells_of(head) <= room:
            return head
        tail = text(session, end.nodes(start), room, last=True)
    else:
        head = text(session, end.ancestor(start + few).nodes(start), room)
        tail = text(session, end.nodes(end.depth - few), room, last=True)
    if room < 12:
        return clip(head, room)
    head = clip(head + "…", room // 2)
    tail = clip_start(tail, room - cells_of(head) + 1, more=True)
    return head + tail.removeprefix("…")


CONTEXT_CELLS = 16
"""Cells of the text before the token at which a prompt leaves the others."""
NAME_CELLS = 20
"""Cells of a prompt's or session's name beside other text, at the most."""


def called(prompt: Prompt) -> str:
    """A prompt's name beside other text; empty where it has none."""
    return clip(visible(prompt.name), NAME_CELLS)


def prompt_lines(session: Session, width: int, height: int) -> list[Line]:
    """The open prompts by number, each from the token at which it leaves the others; then the starting texts."""
    prompts = session.game.prompts
    figures = f" {'from':>6} {'length':>10} {'logprob':>9} "
    head = f"    {pad('open prompts, texts to start with (+)', width - 4 - len(figures))}{figures}"
    lines: list[Line] = [fit([("class:head", head)], width)]
    names = max(cells_of(called(prompt)) for prompt in prompts)
    common = shared(tuple(prompt.tip for prompt in prompts))
    entries = list_part(session, list_search.prompts_length(session), height)
    for index in entries.shown:
        style = "class:selected" if index == _selected(session) else ""
        room = width - 4 - len(figures)
        if index < len(prompts):
            prompt, start = prompts[index], common[index]
            tip, mark = prompt.tip, "›" if index == session.game.active else " "
            name = f"{pad(called(prompt), names)}  " if names else ""
            parts: Line = [("", f"{mark}{index + 1:>2} "), ("class:taken", name)]
            parts = fit([*parts, *_different(session, tip, start, room - cells_of(name))], width - len(figures))
            first = f"{start + 1:>6}" if 0 < start < tip.depth else " " * 6
            total = f"{tip.logprob:>9.2f}" if tip.logprob is not None else " " * 9
            parts.append(("", f" {first} {tip.depth:>6} tok {total} "))
        else:
            starter = session.starters[index - len(prompts)]
            row = f"  + {pad(visible(starter.name), room)} {'':6} {len(starter.text):>6} chars"
            parts = [("", clip(row, width))]
        lines.append(fit([(f"{own} {style}".strip(), text) for own, text in parts], width, style))
    return [*lines, *entries.more]


def _different(session: Session, tip: Node, start: int, room: int) -> Line:
    """As much of a path as fits from token `start` on, where it leaves another path; and some text before that."""
    if not start:
        return [("", ends(session, start, tip, room))]
    context_cells = room if start == tip.depth else min(CONTEXT_CELLS, room // 4)
    before = tip.ancestor(start).nodes(max(0, start - max(context_cells, 8)))
    context = clip_start(text(session, before, context_cells, last=True), context_cells, more=len(before) < start)
    if start == tip.depth:  # the other path goes on from its end
        return [("class:dim", context)]
    # The differing text begins in the same column on all lines.
    return [
        ("class:dim", " " * (context_cells - cells_of(context)) + context),
        ("", ends(session, start, tip, room - context_cells)),
    ]


def new_prompt_lines(session: Session, width: int, _height: int) -> list[Line]:
    """What Enter does with the typed text."""
    bos = session.game.model.bos if session.game.model else None
    empty = "" if bos is None else " With no text it is empty: what comes first?"
    texts = [" What is typed becomes a prompt of its own: Enter opens it.", empty]
    return [fit([("class:dim", line)], width) for line in texts if line]
