"""The sampler chain: a line for each parameter, with what the sampler made of the table beside it."""

from collections.abc import Sequence, Set

from tokex_gguf.play.rules import chain as rules
from tokex_gguf.play.rules import list_search
from tokex_gguf.play.rules.chain import ChainLine
from tokex_gguf.play.screens import Samplers, SamplerValue
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line, clip, fit, pad
from tokex_gguf.ui.window import window
from tokex_gguf.ui.wrap import paragraph
from tokex_gguf.values.formatting import share_text
from tokex_gguf.values.lens import LOGIT_BIAS
from tokex_gguf.values.samplers import DEFAULT, KINDS, Chain, Kind, Sampler
from tokex_gguf.values.tokens import glimpse, label
from tokex_gguf.values.view import Stage

BOTH = 64
"""Cells from which mass and entropy have room for what was before; where there are fewer, for what is left alone."""
LEFT = 43
"""Cells from which they have any."""
BELOW = 7
"""Lines below the chain that tell of the selected one, where a quarter of the pane is as much."""
LEAST_BELOW = 3
"""These lines where a quarter is less: the flag, and a sentence about a parameter."""


def _help(height: int) -> int:
    """Lines below the samplers to add: what the selected one does, with a blank one where that leaves room for it."""
    return min(5, max(3, height // 3))


def _within(lines: list[Line], room: int) -> list[Line]:
    """As many lines as have room, with a … behind the last one where there are more."""
    return lines if len(lines) <= room else [*lines[: room - 1], [*lines[room - 1], ("class:dim", " …")]]


def _below(height: int) -> int:
    """Lines that tell of the selected one, where the chain has so many with them."""
    return max(LEAST_BELOW, min(BELOW, height // 4))


def chain_entries(session: Session, height: int) -> range:
    """The lines of the chain that are shown below its heading, in so many lines with that and what stands below."""
    count = rules.length(session)
    screen = session.on(Samplers) or session.on(SamplerValue)
    row = min(screen.row, count - 1) if screen else 0
    return window(row, count, height - 1 - _below(height)) if count else range(0)


def chain_lines(session: Session, width: int, height: int) -> list[Line]:
    """The chain, and what there is to say of its selected line."""
    there = rules.lines(session.game)
    if not there:
        return _offer(width, height)
    did, selected = rules.what_it_did(session), rules.selected(session)
    shown = [there[index] for index in chain_entries(session, height)]
    chain = session.game.sampling.chain
    acting = frozenset(one.kind for one in chain.acting.samplers)
    biased = rules.biased(session.game)
    lines = [
        _heading(width),
        *(_line(chain, acting, biased, one, did, width, selected=one == selected) for one in shown),
    ]
    room = height - len(lines)  # a short chain leaves more
    below = _about(session, selected, did, width) if selected else []
    return [*lines, *([[], *below] if len(below) < room else _within(below, room))]


def _offer(width: int, height: int) -> list[Line]:
    """An empty chain, and how to fill it."""
    told = [
        "The chain is empty: tokens are drawn by the probabilities of the model.",
        f"Enter puts llama.cpp's samplers here: {DEFAULT.short}.",
        "a adds a single one, p goes through the presets, i reads flags or JSON of llama.cpp's programs.",
    ]
    paragraphs = [_wrapped(text, "class:dim", width) for text in told]
    spaced = [line for lines in paragraphs for line in [*lines, []]][:-1]
    close = [line for lines in paragraphs for line in lines]
    # What the keys do is more than that there is nothing.
    return next(
        (lines for lines in (spaced, close) if len(lines) <= height), _within(close[len(paragraphs[0]) :], height)
    )


def _wrapped(text: str, style: str, width: int) -> list[Line]:
    return [[(style, f" {line}")] for line in paragraph(text, width - 2)]


def _name_width(width: int) -> int:
    return 17 if width >= BOTH else 12


def _heading(width: int) -> Line:
    told = f" {pad('sampler', _name_width(width))} {'value':>7} {'cut':>8}"
    if width >= BOTH:
        told += f" {'mass':>15} {'entropy (bits)':>14}"
    elif width >= LEFT:
        told += f" {'mass':>6} {'bits':>5}"
    return fit([("class:head", told)], width)


def _line(
    chain: Chain,
    acting: Set[Kind],
    biased: int,
    line: ChainLine,
    did: dict[str, tuple[Stage, Stage]],
    width: int,
    *,
    selected: bool,
) -> Line:
    own = "class:selected" if selected else ""
    names, made = _name_width(width), did.get(line.stage)
    mark = "!" if made and made[1].note and line.parameter == 0 else " "
    if line.kind is None:
        value = f"{biased} tok" if line.stage == LOGIT_BIAS else ""
        told = f"{pad(line.stage, names)} {value:>7}"
        return fit([("", mark), (own, told), (own, _figures(made, width))], width, own)
    sampler = chain.get(line.kind)
    assert sampler is not None
    parameter = sampler.row.parameters[line.parameter]
    acts = line.kind in acting
    style = own if acts else f"class:dim {own}".strip()
    name = line.stage if line.parameter == 0 else f"  {parameter.label}"
    parts: Line = [
        ("class:notice", mark),
        (style, f"{pad(name, names)} {clip(parameter.text(sampler.values[line.parameter]), 7):>7}"),
    ]
    if line.parameter == 0:
        state = "" if acts else f" {_state(sampler, acting):>8}"
        parts.append((style, state or _figures(made, width)))
    return fit(parts, width, own)


def _state(sampler: Sampler, acting: Set[Kind]) -> str:
    """Why a sampler does nothing."""
    if not sampler.acts:
        return "off"
    return f"left out by {'mirostat' if Kind.MIROSTAT in acting else 'another one'}"


def _figures(made: tuple[Stage, Stage] | None, width: int) -> str:
    """What a stage cut, and what that left of the mass and the entropy."""
    if made is None:
        return ""
    before, after = made
    cut = before.left - after.left
    told, left = f" {f'{cut:,}' if cut else '–':>8}", share_text(after.mass, "")
    if width >= BOTH:
        mass = f"{share_text(before.mass, '')} → {left}" if cut else left
        bits = f"{before.entropy_bits:.2f} → {after.entropy_bits:.2f}"
        told += f" {mass:>15} {bits:>14}"
    elif width >= LEFT:
        told += f" {left:>6} {after.entropy_bits:>5.2f}"
    return told


def _about(session: Session, line: ChainLine, did: dict[str, tuple[Stage, Stage]], width: int) -> list[Line]:
    """What llama.cpp does wrong here, what the selected parameter may be, and what it does."""
    lines: list[Line] = []
    for stage, (_, after) in did.items():
        if after.note:
            lines += _wrapped(f"! {stage}: {after.note}", "class:notice", width)
    if line.kind is None:
        what = rules.no_value(session)
        return [*lines, *_wrapped(what[:1].upper() + what[1:] + ".", "class:dim", width)]
    row = KINDS[line.kind]
    parameter = row.parameters[line.parameter]
    off = "" if parameter.off is None else f"; {parameter.text(parameter.off)} is off"
    scope = f"{parameter.text(parameter.least)} to {parameter.text(parameter.most)}{off}"
    lines.append(fit([("class:key", f" {parameter.flag}"), ("class:dim", f"  {scope}")], width))
    if (alone := rules.alone(session)) is not None:
        token, cut = alone
        name = label(glimpse(session.game.piece(token).data))
        lines += _wrapped(f"By itself it would {'cut' if cut else 'not cut'} “{name}”.", "class:dim", width)
    lines += _wrapped(row.about(line.parameter), "class:dim", width)  # last: the first to be cut off
    return lines


def missing_entries(session: Session, height: int) -> Sequence[int]:
    """The samplers to add that are shown, as with `chain_entries`."""
    there, row = list_search.rows(session, rules.missing_length(session)), list_search.selected(session)
    at = there.index(row) if row in there else 0
    return [there[place] for place in window(at, len(there), height - 1 - _help(height))]


def missing_lines(session: Session, width: int, height: int) -> list[Line]:
    """The samplers that the chain lacks, and what each does."""
    kinds = rules.missing(session)
    row = min(list_search.selected(session), len(kinds) - 1)
    lines: list[Line] = [fit([("class:head", f" {pad('add', 12)} what it does")], width)]
    for index in missing_entries(session, height):
        style = "class:selected" if index == row else ""
        about = KINDS[kinds[index]]
        told: Line = [(style, f" {pad(about.title, 12)} "), (f"class:dim {style}".strip(), about.help)]
        lines.append(fit(told, width, style))
    below = _wrapped(KINDS[kinds[row]].help, "", width) if kinds else []
    room = height - len(lines)
    return [*lines, *([[], *below] if len(below) < room else _within(below, room))]
