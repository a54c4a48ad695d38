"""The sampler chain: a line for each parameter, with the effect of each sampler on the table beside it."""

from collections.abc import Sequence, Set

from tokex_gguf.play.rules import chain as rules
from tokex_gguf.play.rules import list_search
from tokex_gguf.play.rules.chain import ChainLine
from tokex_gguf.play.screens import Samplers, SamplerValue
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line, clip, fit, pad
from tokex_gguf.ui.lists import ListPart, list_part
from tokex_gguf.ui.window import listed, more
from tokex_gguf.ui.wrap import paragraph
from tokex_gguf.values.formatting import share_text
from tokex_gguf.values.lens import LOGIT_BIAS
from tokex_gguf.values.samplers import DEFAULT, KINDS, Chain, Kind, Sampler
from tokex_gguf.values.tokens import glimpse, label
from tokex_gguf.values.view import Stage

BEFORE_AND_AFTER_CELLS = 66
"""Cells from which mass and entropy are shown before and after a sampler."""
AFTER_CELLS = 43
"""Cells from which they are shown after it."""
MOST_LINES_BELOW = 7
"""Lines below the chain about the selected line, where they are at most a third of the pane."""
LEAST_LINES_BELOW = 3
"""These lines in a lower pane: the flag, and a sentence about a parameter."""


def _help_height(height: int) -> int:
    """Lines below the samplers to add: the selected one's help, after a blank line where there is room."""
    return min(5, max(3, height // 3))


def _cut_to(lines: list[Line], room: int) -> list[Line]:
    """The lines that fit, with a … after the last one if there are more."""
    return lines if len(lines) <= room else [*lines[: room - 1], [*lines[room - 1], ("class:dim", " …")]]


def _height_below(height: int) -> int:
    """Lines about the selected line, in a pane of so many."""
    return max(LEAST_LINES_BELOW, min(MOST_LINES_BELOW, height // 3))


def chain_entries(session: Session, height: int) -> range:
    """The lines of the chain in sight, in a pane of so many lines."""
    count = rules.length(session)
    screen = session.on(Samplers) or session.on(SamplerValue)
    row = min(screen.row, count - 1) if screen else 0
    return listed(row, count, height - 1 - _height_below(height))


def chain_lines(session: Session, width: int, height: int) -> list[Line]:
    """The chain, and help on its selected line."""
    entries = rules.lines(session.game)
    if not entries:
        return _empty_chain(width, height)
    effects, selected = rules.what_it_did(session), rules.selected(session)
    in_sight = chain_entries(session, height)
    shown = [entries[index] for index in in_sight]
    chain = session.game.sampling.chain
    acting = frozenset(entry.kind for entry in chain.acting.samplers)
    biased = rules.biased(session.game)
    lines = [
        _heading(width),
        *(_line(chain, acting, biased, entry, effects, width, selected=entry == selected) for entry in shown),
        *more(in_sight, len(entries)),
    ]
    room = height - len(lines)  # a short chain leaves more
    about = _parameter_lines(session, selected, effects, width) if selected else []
    return [*lines, *([[], *about] if len(about) < room else _cut_to(about, room))]


def _empty_chain(width: int, height: int) -> list[Line]:
    """An empty chain, and how to fill it."""
    texts = [
        "The chain is empty: tokens are drawn by the probabilities of the model.",
        f"Enter puts llama.cpp's samplers here: {DEFAULT.short}.",
        "a adds a single one, p goes through the presets, i reads flags or JSON of llama.cpp's programs.",
    ]
    paragraphs = [_wrapped(text, "class:dim", width) for text in texts]
    spaced = [line for lines in paragraphs for line in [*lines, []]][:-1]
    close = [line for lines in paragraphs for line in lines]
    # Where room is short, the keys matter more than the first sentence.
    return next(
        (lines for lines in (spaced, close) if len(lines) <= height), _cut_to(close[len(paragraphs[0]) :], height)
    )


def _wrapped(text: str, style: str, width: int) -> list[Line]:
    return [[(style, f" {line}")] for line in paragraph(text, width - 2)]


def _name_width(width: int) -> int:
    return 17 if width >= BEFORE_AND_AFTER_CELLS else 12


def _heading(width: int) -> Line:
    head = f" {pad('sampler', _name_width(width))} {'value':>7} {'cut':>8}"
    if width >= BEFORE_AND_AFTER_CELLS:
        head += f" {'mass':>15} {'entropy (bits)':>14}"
    elif width >= AFTER_CELLS:
        head += f" {'mass':>6} {'bits':>5}"
    return fit([("class:head", head)], width)


def _line(
    chain: Chain,
    acting: Set[Kind],
    biased: int,
    line: ChainLine,
    effects: dict[str, tuple[Stage, Stage]],
    width: int,
    *,
    selected: bool,
) -> Line:
    selection = "class:selected" if selected else ""
    names, effect = _name_width(width), effects.get(line.stage)
    mark = "!" if effect and effect[1].note and line.parameter == 0 else " "
    if line.kind is None:
        value = f"{biased} tok" if line.stage == LOGIT_BIAS else ""
        columns = f"{pad(line.stage, names)} {value:>7}"
        return fit([("", mark), (selection, columns), (selection, _figures(effect, width))], width, selection)
    sampler = chain.get(line.kind)
    assert sampler is not None
    parameter = sampler.row.parameters[line.parameter]
    acts = line.kind in acting
    style = selection if acts else f"class:dim {selection}".strip()
    name = line.stage if line.parameter == 0 else f"  {parameter.label}"
    parts: Line = [
        ("class:notice", mark),
        (style, f"{pad(name, names)} {clip(parameter.text(sampler.values[line.parameter]), 7):>7}"),
    ]
    if line.parameter == 0:
        state = "" if acts else f" {_state(sampler, acting):>8}"
        parts.append((style, state or _figures(effect, width)))
    return fit(parts, width, selection)


def _state(sampler: Sampler, acting: Set[Kind]) -> str:
    """Why a sampler does nothing."""
    if not sampler.acts:
        return "off"
    return f"left out by {'mirostat' if Kind.MIROSTAT in acting else 'another one'}"


def _figures(effect: tuple[Stage, Stage] | None, width: int) -> str:
    """How many tokens a stage cut, and the mass and the entropy that it left."""
    if effect is None:
        return ""
    before, after = effect
    cut = before.left - after.left
    figures, mass_left = f" {f'{cut:,}' if cut else '–':>8}", share_text(after.mass, "")
    if width >= BEFORE_AND_AFTER_CELLS:
        mass = f"{share_text(before.mass, '')} → {mass_left}" if cut else mass_left
        bits = f"{before.entropy_bits:.2f} → {after.entropy_bits:.2f}"
        figures += f" {mass:>15} {bits:>14}"
    elif width >= AFTER_CELLS:
        figures += f" {mass_left:>6} {after.entropy_bits:>5.2f}"
    return figures


def _parameter_lines(
    session: Session, line: ChainLine, effects: dict[str, tuple[Stage, Stage]], width: int
) -> list[Line]:
    """Notes on faults of llama.cpp here, then the selected parameter's range, and its help."""
    lines: list[Line] = []
    for stage, (_, after) in effects.items():
        if after.note:
            lines += _wrapped(f"! {stage}: {after.note}", "class:notice", width)
    if line.kind is None:
        reason = rules.no_value(session)
        return [*lines, *_wrapped(reason[:1].upper() + reason[1:] + ".", "class:dim", width)]
    row = KINDS[line.kind]
    parameter = row.parameters[line.parameter]
    off = "" if parameter.off is None else f"; {parameter.text(parameter.off)} is off"
    scope = f"{parameter.text(parameter.least)} to {parameter.text(parameter.most)}{off}"
    lines.append(fit([("class:key", f" {parameter.flag}"), ("class:dim", f"  {scope}")], width))
    if (alone := rules.cuts_alone(session)) is not None:
        token, cut = alone
        name = label(glimpse(session.game.piece(token).data))
        lines += _wrapped(f"By itself it would {'cut' if cut else 'not cut'} “{name}”.", "class:dim", width)
    lines += _wrapped(row.about(line.parameter), "class:dim", width)  # last: the first to be cut off
    return lines


def _missing_part(session: Session, height: int) -> ListPart:
    return list_part(session, rules.missing_length(session), height - _help_height(height))


def missing_entries(session: Session, height: int) -> Sequence[int]:
    """The samplers to add in sight, as with `chain_entries`."""
    return _missing_part(session, height).shown


def missing_lines(session: Session, width: int, height: int) -> list[Line]:
    """The samplers that the chain lacks, and what each does."""
    kinds, part = rules.missing(session), _missing_part(session, height)
    row = min(list_search.selected(session), len(kinds) - 1)
    lines: list[Line] = [fit([("class:head", f" {pad('add', 12)} what it does")], width)]
    for index in part.shown:
        style = "class:selected" if index == row else ""
        about = KINDS[kinds[index]]
        line: Line = [(style, f" {pad(about.title, 12)} "), (f"class:dim {style}".strip(), about.help)]
        lines.append(fit(line, width, style))
    lines += part.more
    below = _wrapped(KINDS[kinds[row]].help, "", width) if kinds else []
    room = height - len(lines)
    return [*lines, *([[], *below] if len(below) < room else _cut_to(below, room))]
