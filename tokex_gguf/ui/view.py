"""The whole screen as a function of the session and the terminal's size. Pure.

header                          header
prompt │ table                  prompt
       │                        ───────
status                          table
legend, or what to tell         status, legend
keys                            keys
from 100 columns                below
"""

from pathlib import PurePath

from tokex_gguf.keymap import Mode, hints
from tokex_gguf.session import Engine, Layer, Session
from tokex_gguf.tokens import label, visible
from tokex_gguf.ui import theme
from tokex_gguf.ui.cells import Line, choose, clip, fit, spread, width_of
from tokex_gguf.ui.panes import PromptPane, help_lines, number, table_lines

SMALLEST = (60, 16)
"""Columns and rows below which there is no room to play."""
WIDE = 100
"""Columns from which prompt and table stand side by side."""


class View:
    """Draws sessions. It remembers layouts to be fast, and nothing else."""

    def __init__(self) -> None:
        self._prompt = PromptPane()

    def screen(self, session: Session, width: int, height: int) -> list[Line]:
        """Exactly `height` lines of exactly `width` cells."""
        if width < SMALLEST[0] or height < SMALLEST[1]:
            return _too_small(width, height)
        body = height - 4
        if session.mode is Mode.HELP:
            lines = _help(session, width, body)
        elif width >= WIDE:
            lines = self._side_by_side(session, width, body)
        else:
            lines = self._stacked(session, width, body)
        lines = [header(session, width), *lines, status(session, width), second_line(session, width)]
        return [fit(line, width) for line in [*lines, footer(session, width)]]

    def _side_by_side(self, session: Session, width: int, height: int) -> list[Line]:
        right = min(64, 30 + width // 6)
        left = width - right - 4
        prompt = _filled(self._prompt.lines(session, left, height), height)
        table = _filled(table_lines(session, right - 1, height), height)
        return [
            [("", " "), *fit(a, left), ("class:rule", " │ "), *fit(b, right)]
            for a, b in zip(prompt, table, strict=True)
        ]

    def _stacked(self, session: Session, width: int, height: int) -> list[Line]:
        lower = max(6, (height - 1) * 3 // 5)
        upper = height - 1 - lower
        prompt = _filled(self._prompt.lines(session, width - 2, upper), upper)
        table = _filled(table_lines(session, width - 1, lower), lower)
        return [*([("", " "), *line] for line in prompt), [("class:rule", "─" * width)], *table]


def _filled(lines: list[Line], height: int) -> list[Line]:
    return lines[:height] + [[] for _ in range(height - len(lines))]


def _too_small(width: int, height: int) -> list[Line]:
    text = f"tokex-gguf needs {SMALLEST[0]}x{SMALLEST[1]} cells, not {width}x{height}"
    return [fit([("", text if row == 0 else "")], width) for row in range(height)]


def _help(session: Session, width: int, height: int) -> list[Line]:
    # The mode that has all keys of playing, the one that restarts the engine included.
    lines = help_lines(Mode.BROKEN, width)
    first = min(session.scroll, max(0, len(lines) - height))
    shown = _filled(lines[first : first + height], height)
    if first + height < len(lines):
        shown[-1] = [("class:dim", "   ↓ more")]
    return shown


def header(session: Session, width: int) -> Line:
    """Product, model, quantisation, context used and there."""
    model = session.model
    if model is None:
        name = visible(PurePath(session.settings.model).name)
        return spread([("class:title", " tokex-gguf "), ("class:header", " " + name)], [], width)
    right = f"context {session.prompt.tip.depth}/{session.context} " if session.prompts else ""
    left = f" {visible(model.name)} · {visible(model.architecture)} · {model.quantization}"
    return spread([("class:title", " tokex-gguf "), ("class:header", left)], [("class:header", right)], width)


def status(session: Session, width: int) -> Line:
    """Where the player is, and whether the table is true."""
    right = [*_state(session), ("", " ")]
    if not session.prompts:
        return spread([("", " Prompt –/–")], right, width)
    tip = session.prompt.tip
    parts: list[tuple[int, Line]] = [
        (9, [("", f" Prompt {session.active + 1}/{len(session.prompts)}")]),
        (8, [("", f"tokens: {tip.depth}")]),
    ]
    if tip.logprob is not None and tip.perplexity is not None:
        parts.append((6, [("", f"logprob {tip.logprob:.2f}")]))
        parts.append((7, [("", f"ppl {_short(tip.perplexity)}")]))
    room = width - sum(len(text) for _, text in right) - 1
    return spread(choose(parts, room), right, width)


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10_000 else f"{value:.2e}"


def _state(session: Session) -> Line:
    """`ready`, `working` with progress, or what is wrong."""
    if session.engine is Engine.DEAD:
        return [("class:fault", "engine stopped: r restarts it")]
    if session.engine is Engine.LOADING:
        return [("class:busy", "working"), ("class:dim", f"  loading the model {session.progress:4.0%}")]
    if session.ready:
        cost = session.cost
        took = "1 token" if cost.tokens == 1 else f"{cost.tokens} tokens"
        took = f"{took}, {cost.seconds * 1000:.0f} ms" if cost.tokens else f"known, {took}"
        return [("class:dim", f"{took}  "), ("class:state", "ready")]
    if session.prompts and session.full is not None:
        return [("class:fault", f"context full ({session.full}/{session.full})")]
    if session.prompts and session.autoplay:
        cost = session.cost
        speed = f"  {cost.tokens / cost.seconds:.0f} tokens/s" if cost.seconds else ""
        return [("class:busy", "working"), ("class:dim", f"  autoplay, any key stops it{speed}")]
    if session.prompts and session.pending is not None:
        progress = f"  {session.evaluated}/{session.prompt.tip.depth} tokens"
        return [("class:busy", "working"), ("class:dim", progress)]
    if session.prompts:
        return [("class:fault", "no answer: → asks again")]
    return [("class:busy", "working"), ("class:dim", "  reading the prompt")]


def second_line(session: Session, width: int) -> Line:
    """What there is to tell, else the layer's legend and the tip's numbers."""
    if session.notice:
        return [("class:notice", clip(" " + visible(session.notice), width))]
    parts: list[tuple[int, Line]] = []
    if session.layer is not Layer.PLAIN:
        parts.append((9, legend(session.layer)))
    if session.prompts and session.model:
        tip = session.prompt.tip
        if tip.taken is not None:
            name = clip(label(session.piece(tip.token).data), 20)
            parts.append((7, [("class:dim", "tip "), ("", name), ("class:dim", f" p {number(tip.taken.prob)}")]))
            parts.append((6, [("class:dim", f"rank {tip.taken.rank}")]))
        if tip.distribution is not None:
            bits = tip.distribution.entropy_bits
            normalised = tip.distribution.normalised_entropy(session.model.vocab_size)
            parts.append((5, [("class:dim", f"next: entropy {bits:.2f} bits ({normalised:.2f})")]))
    return [("", " "), *choose(parts, width - 1, gap="   ")]


def legend(layer: Layer, cells: int = 16) -> Line:
    """The layer's name and its scale from 0 to 1."""
    shades = [(theme.shade(layer.value, (index + 0.5) / cells), " ") for index in range(cells)]
    return [("class:label", f"{layer.value} 0 "), *shades, ("class:label", " 1")]


def footer(session: Session, width: int) -> Line:
    """The keys that matter now, as many as fit."""
    parts: list[tuple[int, Line]] = [
        (importance, [("class:key", keys), ("class:label", f" {label}")])
        for importance, keys, label in hints(session.mode)
    ]
    everything = sum(width_of(line) + 2 for _, line in parts)
    return [("", " "), *choose(parts, width - 2, gap="  " if everything <= width else " ")]
