"""The lens and draws in lines of text: below the table, and on the status line."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tokex_gguf.play.game import Drawn, Viewed
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line, cells_of, clip, fit, pad
from tokex_gguf.values.formatting import share_text, short_text
from tokex_gguf.values.lens import GRAMMAR, Sampled
from tokex_gguf.values.samplers import SEPARATOR, Kind
from tokex_gguf.values.tokens import glimpse, label
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import Standing, View

TALL = 16
"""Lines from which a table has two lines about the lens, and two about a roll."""


def percent(share: float) -> str:
    """A share in percent, with at least one significant digit.

    >>> percent(0.941), percent(0.99975), percent(0.0004), percent(0)
    ('94.1 %', '> 99.9 %', '0.04 %', '0.0 %')
    """
    value = share * 100
    if 0 < value < 0.1:
        return f"{value:.1g} %" if value >= 1e-4 else f"{value:.0e} %"
    return share_text(share)


# --- the status line


SAMPLERS = "samplers"
"""What stands for the chain where there is no room for its samplers."""


def lens_texts(session: Session) -> list[str]:
    """The lens for the status line, the longest wording first; empty for the raw lens."""
    lens, view = session.lens, session.view
    if not isinstance(lens, Sampled):
        return []
    short = lens.chain.short
    if lens.constraint is None:
        items = short.split(SEPARATOR)
        fewer = [f"{SEPARATOR.join(items[:count])}{SEPARATOR}…" for count in range(len(items) - 1, 0, -1)]
        return [short, *(words for words in fewer if cells_of(words) > len(SAMPLERS)), SAMPLERS]
    legal = f"{percent(view.legal_mass)} legal" if view else ""
    standing = _standing(view) if view else ""
    whole, brief = [standing, f"{GRAMMAR}: {legal}" if legal else GRAMMAR], [standing, legal or GRAMMAR]
    few = SAMPLERS if short else ""
    wordings = [[*whole, short], [*brief, short], [*whole, few], [*brief, few], brief, [standing or legal or GRAMMAR]]
    if view and view.standing is Standing.ENDED:  # the end costs the illegal mass, and is no token of the text yet
        ends = f"{standing}, +{short_text(view.cost_bits)} bits"
        wordings = [[ends, *whole[1:], short], [ends, *whole[1:]], [ends], [standing]]
    return [SEPARATOR.join(filter(None, parts)) for parts in wordings]


def _standing(view: View) -> str:
    match view.standing:
        case Standing.COMPLETE:
            return "may end here"
        case Standing.ENDED:
            return "must end here"
        case Standing.STUCK:
            return "nothing can follow"
        case Standing.BROKEN:
            return f"broken at token {view.broken + 1}"
        case Standing.FREE | Standing.OPEN:
            return ""


# --- the distribution through the lens


def lines_of_view(height: int) -> int:
    """Lines about the lens, in a table of so many."""
    return 2 if height >= TALL else 1


def view_lines(session: Session, node: Node, viewed: Viewed | None, width: int, height: int) -> list[str]:
    """How many tokens can be drawn, their mass, and the entropy before and after."""
    if viewed is None or node.distribution is None:
        return [""] * lines_of_view(height)
    view = viewed.view
    size = session.game.model.vocab_size if session.game.model else 0
    before, after, heat = _entropies(viewed, node.distribution.entropy_bits)
    bits = f"{before:.2f} → {after:.2f} bits"
    survive = "survives" if view.left == 1 else "survive"
    left, mass = f"{view.left:,} {survive}", percent(view.mass)
    whole = f"{view.left:,} of {size:,} {survive}"
    verb = "sharpens" if after < before - 0.005 else "flattens" if after > before + 0.005 else "changes nothing"
    heated = f"{heat} {verb}: {bits}" if heat else f"entropy {bits}"
    if height >= TALL:
        return [
            _first_fitting(
                [[whole, f"{mass} of the mass kept"], [whole, f"{mass} kept"], [left, f"{mass} kept"]], width
            ),
            clip(heated, width),
        ]
    short = f"{heat}: {bits}" if heat else bits
    choices = [
        [whole, f"{mass} of the mass kept", heated],
        [whole, f"{mass} kept", short],
        [left, f"{mass} kept", short],
        [left, f"{mass} kept", bits],
        [left, f"{mass} kept"],
    ]
    return [_first_fitting(choices, width)]


def _entropies(viewed: Viewed, raw: float) -> tuple[float, float, str]:
    """The entropy before and after temperature, and its name; without temperature, before and after the whole chain."""
    stages, samplers = viewed.view.stages, viewed.lens.chain.samplers
    index = next((index for index, sampler in enumerate(samplers) if sampler.kind is Kind.TEMPERATURE), None)
    if index is None:
        return raw, viewed.view.entropy_bits, ""
    stage = index + len(viewed.lens.stages) - len(samplers)  # constraint and bias come before the samplers
    if stage >= len(stages):  # the engine's answer does not contain it
        return raw, viewed.view.entropy_bits, ""
    before = stages[stage - 1].entropy_bits if stage else raw
    return before, stages[stage].entropy_bits, samplers[index].short


def _first_fitting(choices: Sequence[Sequence[str]], width: int) -> str:
    """The first wording that fits; if none does, the last one, clipped."""
    texts = [" · ".join(parts) for parts in choices]
    return next((text for text in texts if cells_of(text) <= width), clip(texts[-1], width))


# --- draws


def lines_of_draws(session: Session, node: Node, height: int) -> int:
    """Lines about draws below the table after a path: of the roll after it, or the one that drew its tip."""
    drawn = session.game.drawn
    if drawn is None:
        return 0
    if drawn.many:
        return int(drawn.counts_on(node, session.lens))
    if drawn.lens != session.lens:
        return 0
    concerns_path = drawn.node is node or (node.parent is drawn.node and node.token == drawn.draws[0].token)
    return lines_of_view(height) if concerns_path else 0


def draw_lines(session: Session, node: Node, width: int, height: int) -> list[Line]:
    """The lines that `lines_of_draws` counts."""
    drawn = session.game.drawn
    if drawn is None or not lines_of_draws(session, node, height):
        return []
    if drawn.many:
        return [[("", clip(" " + _draw_count_text(session, drawn), width))]]
    text = f" seed {drawn.seed} · drew {drawn.draws[0].number:.4f} "
    if height >= TALL:
        return [[("", " "), *chances(session, drawn, width - 2), ("", " ")], [("", clip(text, width))]]
    return [[("", text), *chances(session, drawn, width - cells_of(text) - 1), ("", " ")]]


def _draw_count_text(session: Session, drawn: Drawn) -> str:
    count = len(drawn.draws)
    chances = _chances(session, drawn)
    matching, expected = match_of(drawn.counts, chances, count), expected_match(list(chances.values()), count)
    draws = "1 draw" if count == 1 else f"{count:,} draws"
    return f"{draws}: {matching:.0%} match · {expected:.0%} is usual".replace("%", " %")


def match_of(counts: Mapping[int, int], chances: Mapping[int, float], draws: int) -> float:
    """The share of the draws, 0 to 1, that agree with the chances: 1 less the total variation distance.

    All tokens without a known chance are counted together, as one.

    >>> match_of({7: 3, 8: 1}, {7: 0.5, 8: 0.25}, 4)   # 0.25 is of others, which did not come
    0.75
    """
    matched = math.fsum(min(counts.get(token, 0) / draws, chance) for token, chance in chances.items())
    other_draws = draws - sum(counts.get(token, 0) for token in chances)
    return matched + min(other_draws / draws, _chance_of_others(chances.values()))


def _chance_of_others(chances: Iterable[float]) -> float:
    """The chance of all other tokens together."""
    return max(0.0, 1 - math.fsum(chances))


def expected_match(chances: Sequence[float], draws: int) -> float:
    """The mean of `match_of` for so many draws by these chances.

    It is 1 less half of the mean absolute deviations of the counts, by de Moivre's formula.

    >>> round(expected_match([0.5, 0.5], 2), 3)   # 2:0, 1:1, 1:1, 0:2
    0.75
    """
    all_chances = [*chances, _chance_of_others(chances)]
    return math.fsum(chance - _deviation(chance, draws) / (2 * draws) for chance in all_chances if chance > 1e-12)


def _deviation(chance: float, draws: int) -> float:
    """The mean absolute deviation of the count of a token with this chance."""
    if chance >= 1:
        return 0.0
    k = math.floor(draws * chance)
    ways = math.lgamma(draws + 1) - math.lgamma(k + 2) - math.lgamma(draws - k)
    return 2 * math.exp(math.log(k + 1) + ways + (k + 1) * math.log(chance) + (draws - k) * math.log1p(-chance))


def _chances(session: Session, drawn: Drawn) -> dict[int, float]:
    """The chances of the most likely tokens of a draw, the most likely first."""
    if isinstance(drawn.lens, Sampled):
        view = session.game.known.lens_results.view(drawn.lens, drawn.node)
        return {token: view.verdicts[token].final for token in view.likeliest} if view else {}
    before = drawn.node.distribution
    return {candidate.token: candidate.prob for candidate in before.candidates()} if before else {}


def chances(session: Session, drawn: Drawn, width: int) -> Line:
    """A bar from 0 to 1 of `width` cells: the tokens' parts by their chances, and a mark at the draw."""
    if width < 3:
        return []
    (draw,) = drawn.draws
    cells = [cell for token, count in _bar_parts(session, drawn, width) for cell in _bar_part(session, token, count)]
    at = min(width - 1, int(draw.number * width))
    if not cells[at] and at:  # the second cell of a wide character
        cells[at - 1] = " "
    elif at + 1 < width and not cells[at + 1]:
        cells[at + 1] = " "
    line: Line = [
        ("class:bar", "".join(cells[:at])),
        ("class:cursor", "●"),
        ("class:bar", "".join(cells[at + 1 :])),
    ]
    return fit([part for part in line if part[1]], width)


def _bar_parts(session: Session, drawn: Drawn, width: int) -> Iterator[tuple[int | None, int]]:
    """The tokens whose part of the bar has at least a cell, with their cells; None for the gaps."""
    (draw,) = drawn.draws
    spans: list[tuple[int, float, float]] = []
    low = 0.0
    for token, chance in _chances(session, drawn).items():
        spans.append((token, low, low + chance))
        low += chance
    if draw.token not in {token for token, _, _ in spans}:
        spans.append((draw.token, draw.low, draw.high))
    at = 0
    for token, first, last in spans:
        start, end = round(first * width), min(width, round(last * width))
        if start > at:
            yield None, start - at
            at = start
        if end > at:
            yield token, end - at
            at = end
    if at < width:
        yield None, width - at


def _bar_part(session: Session, token: int | None, count: int) -> list[str]:
    """A part of the bar, cell by cell: its start, and the token where there is room."""
    name = "" if token is None else label(glimpse(session.game.piece(token).data))
    name = pad(name, count - 1) if cells_of(name) < count else ""
    cells: list[str] = ["│"]
    for char in name.rstrip(" "):
        wide = cells_of(char)
        if wide == 0:
            base = -1 if cells[-1] else -2  # the second cell of a wide character is empty
            cells[base] += char
        else:
            cells += [char, *[""] * (wide - 1)]
    return cells + ["─"] * (count - len(cells))
