"""The tree of all visited paths, and its lines that match a search."""

from collections.abc import Sequence

from tokex_gguf.play.rules import tree
from tokex_gguf.play.screens import MOST_CHARACTERS, TreeSearch
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Fragment, Line, cells_of, clip, clip_start, fit, longest, pad
from tokex_gguf.ui.lists import called, ends, logarithmic, text
from tokex_gguf.ui.window import listed, more
from tokex_gguf.values.formatting import counted, number
from tokex_gguf.values.outline import Branch, BranchMatch, Order, searchable
from tokex_gguf.values.outline import OutlineLine as TreeLine
from tokex_gguf.values.score import Score
from tokex_gguf.values.tokens import visible
from tokex_gguf.values.tree import Node

MARK, FIGURES = 4, 19
"""Cells before and after the text."""
DEEPEST_INDENT = 12
"""Levels that are indented; deeper ones have the indent of the last."""


def tree_entries(session: Session, height: int) -> range:
    """The rows of the tree in sight, where tree and heading have `height` lines."""
    return listed(tree.selected_line(session), len(tree.tree_lines(session).lines), height - 1)


def tree_lines(session: Session, width: int, height: int) -> list[Line]:
    """All visited paths, a line for each run of tokens without a branch, with its first and its joint probability."""
    head = (
        "visited paths, the latest last"
        if session.options.order is Order.RECENT
        else "visited paths, the likeliest first"
    )
    if pruned := len(session.game.hidden.pruned):
        head = f"{head}; {pruned} hidden, A brings back"
    lines, shown = [_heading(head, width)], tree.tree_lines(session).lines
    tips, row = _tips(session), tree.selected_line(session)
    entries = tree_entries(session, height)
    for index in entries:
        line = shown[index]
        guides = _guides(line, width)
        folded = line.branch.end in session.game.hidden.folded and line.branch.branches
        hidden = sum(branch.paths for branch in line.branch.branches) if folded else 0
        fold_mark = f" ▸ {counted(hidden, 'path')}" if hidden else ""
        number_of = tips.get(line.branch.end)
        name = called(session.game.prompts[number_of - 1]) if number_of else ""
        name = f"{name}  " if name else ""
        room = max(0, width - MARK - FIGURES - cells_of(guides) - cells_of(name) - cells_of(fold_mark))
        text = clip(ends(session, line.branch.first.depth - 1, line.branch.end, room), room)
        parts: Line = [("class:rule", guides), ("class:taken", name), ("", text), ("class:notice", fold_mark)]
        lines.append(_row(line.branch, parts, tips, width, selected=index == row))
    return [*lines, *more(entries, len(shown))]


def found_entries(session: Session, height: int) -> range:
    """The matching lines in sight, as with `tree_entries`."""
    screen, count = session.on(TreeSearch), len(tree.found_lines(session))
    return listed(min(screen.row if screen else 0, count - 1), count, height - 1)


def found_lines(session: Session, width: int, height: int) -> list[Line]:
    """The lines that match the typed text, with the text before them."""
    screen, found = session.on(TreeSearch), tree.found_lines(session)
    wanted = len(searchable(screen.line.text[:MOST_CHARACTERS])) if screen else 0
    lines, tips = [_heading("paths with this text", width)], _tips(session)
    if not found:
        lines.append([("class:dim", " no line has this text")])
    entries = found_entries(session, height)
    for index in entries:
        parts = _match_line(session, found[index], wanted, width - MARK - FIGURES)
        selected = screen is not None and index == screen.row
        lines.append(_row(found[index].branch, parts, tips, width, selected=selected))
    return [*lines, *more(entries, len(found))]


def match_note(session: Session) -> str:
    """How many lines match the typed text."""
    return f"{counted(len(tree.found_lines(session)), 'line')} "


def _heading(name: str, width: int) -> Line:
    return fit([("class:head", f" {pad(name, width - FIGURES - 1)} {'first p':>8} {'joint p':>8}")], width)


def _tips(session: Session) -> dict[Node, int]:
    """The numbers of the open prompts by their tips."""
    return {prompt.tip: index + 1 for index, prompt in reversed(list(enumerate(session.game.prompts)))}


def _guides(line: TreeLine, width: int) -> str:
    """A line's indent, with the lines of the tree."""
    level = min(line.level, DEEPEST_INDENT, max(1, (width - MARK - FIGURES) // 6))
    return "│ " * (level - 1) + "├ " if line.indented else "│ " * level


def _row(branch: Branch, parts: Sequence[Fragment], tips: dict[Node, int], width: int, *, selected: bool) -> Line:
    """A branch's line: the number of the prompt that ends there, the text, and the probabilities."""
    taken, before = branch.first.taken, branch.first.parent
    prob = number(taken.prob) if taken else ""
    joint = Score(before, branch.end).logprob if taken and before else None
    joint_text = "" if joint is None else logarithmic(joint)
    mark = f"{tips[branch.end]:>3} " if branch.end in tips else " " * MARK
    style = "class:selected" if selected else ""
    left = fit([("", mark), *parts], width - FIGURES)
    line: Line = [*left, ("", f" {prob:>8} {joint_text:>8} ")]
    return fit(
        [(f"{part_style} {style}".strip() if part_style else style, text) for part_style, text in line], width, style
    )


def _match_line(session: Session, found: BranchMatch, wanted: int, room: int) -> Line:
    """As much as fits of a branch's text around the match, with the text before the branch."""
    branch, at = found
    branch_text = branch.text if branch.text is not None else tree.text_of(session, branch)
    reach = longest(room)
    start, end = max(0, at), max(0, at + wanted)
    hit, after = visible(branch_text[start:end]), visible(branch_text[end : end + reach])
    before_hit = visible(branch_text[max(0, start - reach) : start])
    parent = branch.first.parent if start < reach else None
    depth = parent.depth if parent else 0
    # The match is in the middle. The branch's own text goes before the text of its parent, which gets the rest.
    hit = clip(hit, room)
    left = room - cells_of(hit)
    wanted_before = cells_of(before_hit) + min(depth, max(room // 4, 8))
    behind = min(cells_of(after), max(left // 2, left - wanted_before))
    ahead = left - behind
    before_hit = clip_start(before_hit, ahead, more=start > reach)
    ahead -= cells_of(before_hit)
    before = ""
    if parent and depth and ahead > 0:
        last_nodes = parent.nodes(max(0, depth - max(ahead // 2 + 1, 8)))  # nearly all tokens take two cells and more
        before = clip_start(text(session, last_nodes, ahead, last=True), ahead, more=len(last_nodes) < depth)
    line: Line = [("class:dim", before), ("", before_hit), ("class:taken", hit), ("", clip(after, behind))]
    return line
