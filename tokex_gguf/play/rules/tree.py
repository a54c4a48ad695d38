"""The tree of all visited paths: moving in it, searching, folding, pruning, sorting."""

from collections.abc import Callable

from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EngineStatus, Prompt
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules.prompt import insert, no_room, show, with_prompt
from tokex_gguf.play.rules.selection import moved
from tokex_gguf.play.screens import MOST_CHARACTERS, PLAY, TreeScreen, TreeSearch
from tokex_gguf.play.session import Question, Session
from tokex_gguf.values.outline import Branch, BranchMatch, Lines, Order, Outline, found, lines, outline
from tokex_gguf.values.record import replace
from tokex_gguf.values.tokens import glimpse
from tokex_gguf.values.tree import Node


def whole(session: Session) -> Outline:
    """All visited paths that are not pruned; a line ends at the tip of each open prompt."""
    game = session.game
    return outline(game.known.root, {prompt.tip for prompt in game.prompts}, game.hidden.pruned)


def tree_lines(session: Session) -> Lines:
    """The tree's lines that are not folded away."""
    return lines(whole(session), session.options.order, session.game.hidden.folded)


def found_lines(session: Session) -> tuple[BranchMatch, ...]:
    """The lines that match the query, also folded ones."""
    screen = session.on(TreeSearch)
    query = screen.line.text[:MOST_CHARACTERS] if screen else ""
    return found(lines(whole(session), session.options.order), query, lambda branch: text_of(session, branch))


def text_of(session: Session, branch: Branch) -> str:
    """A line's searchable text."""
    pieces = (glimpse(session.game.piece(node.token).data) for node in branch.nodes)
    return b"".join(pieces).decode("utf-8", "replace")


def selected(session: Session) -> Branch:
    """The branch of the selected line."""
    if screen := session.on(TreeSearch):
        rows = found_lines(session)
        if rows:
            return rows[min(screen.row, len(rows) - 1)].branch
    shown = tree_lines(session)
    return shown.lines[selected_line(session)].branch


def selected_line(session: Session) -> int:
    """The row of the selected line of the tree."""
    tree, search = session.on(TreeScreen), session.on(TreeSearch)
    at = tree.at if tree else search.before if search else session.game.prompt.tip
    return tree_lines(session).row(at)


def selected_end(session: Session) -> Node:
    """The end of the selected line."""
    return selected(session).end


def tree(session: Session) -> Outcome:
    """Shows the tree, the active prompt's line selected."""
    return _at(session, session.game.prompt.tip), []


def _at(session: Session, node: Node) -> Session:
    """Selects the line of a node, and unfolds the lines before it."""
    folded_before = {end for end in session.game.hidden.folded if end is not node and node.descends_from(end)}
    if folded_before:
        session = replace(
            session,
            game=replace(
                session.game, hidden=replace(session.game.hidden, folded=session.game.hidden.folded - folded_before)
            ),
        )
    return replace(session, screen=TreeScreen(at=node))


def select(rows: int) -> Callable[[Session], Outcome]:
    """Moves the selection by some lines."""

    def go(session: Session) -> Outcome:
        return _select(session, selected_line(session) + rows)

    return go


def pick(session: Session, row: int) -> Outcome:
    """Selects a line."""
    return _select(session, row)


def _select(session: Session, target: int) -> Outcome:
    shown, before = tree_lines(session).lines, selected_line(session)
    row = moved(before, target, len(shown))
    if isinstance(row, str):
        return replace(session, notice=row), []
    return session.turned(TreeScreen(at=shown[row].branch.end)), []


def go_there(session: Session) -> Outcome:
    """Moves the active prompt to the selected line's end."""
    return show(with_prompt(replace(session, screen=PLAY), Prompt.at(selected_end(session))))


def open_there(session: Session) -> Outcome:
    """Opens the selected line's end as a new prompt."""
    if reason := no_room(session):
        return replace(session, notice=reason), []
    prompt = replace(Prompt.at(selected_end(session)), parent=session.game.prompt.tip)
    return insert(replace(session, screen=PLAY), prompt)


def fold(session: Session) -> Outcome:
    """Folds the continuations of the selected line; where there is nothing to fold, selects its parent line."""
    branch, folded = selected(session), session.game.hidden.folded
    if branch.branches and branch.end not in folded:
        return replace(
            session, game=replace(session.game, hidden=replace(session.game.hidden, folded=folded | {branch.end}))
        ), []
    if branch.parent is None:
        return replace(session, notice="nothing comes before this line"), []
    return session.turned(TreeScreen(at=branch.parent.end)), []


def unfold(session: Session) -> Outcome:
    """Unfolds the continuations of the selected line; where they are shown, selects the first."""
    branch, folded = selected(session), session.game.hidden.folded
    if branch.end in folded:
        return replace(
            session, game=replace(session.game, hidden=replace(session.game.hidden, folded=folded - {branch.end}))
        ), []
    if not branch.branches:
        return replace(session, notice="nothing goes on from this line"), []
    return session.turned(TreeScreen(at=branch.following(session.options.order).end)), []


def sort(session: Session) -> Outcome:
    """Sorts the branches by the other order."""
    if session.options.order is Order.RECENT:
        return replace(
            session,
            options=replace(session.options, order=Order.LIKELY),
            notice="where paths part, the likeliest is at the top",
        ), []
    return replace(
        session,
        options=replace(session.options, order=Order.RECENT),
        notice="where paths part, the latest is at the bottom",
    ), []


def _counted(paths: int) -> str:
    return "1 path" if paths == 1 else f"{paths} paths"


def prune(session: Session) -> Outcome:
    """Prunes the selected line with all its continuations, at the second press."""
    branch = selected(session)
    for index, prompt in enumerate(session.game.prompts):
        if prompt.tip.descends_from(branch.first):
            return replace(session, notice=f"prompt {index + 1} is there: the line stays"), []
    if not session.asks(Action.PRUNE):
        asks = f"a again prunes {_counted(branch.paths)}; A brings {'it' if branch.paths == 1 else 'them'} back"
        return replace(session, standing=Question(Action.PRUNE, asks)), []
    row, notice = (
        selected_line(session),
        f"{_counted(branch.paths)} hidden: A brings {'it' if branch.paths == 1 else 'them'} back",
    )
    game = replace(
        session.game, hidden=replace(session.game.hidden, pruned=(*session.game.hidden.pruned, branch.first))
    )
    session = replace(session, game=game, standing=None, notice=notice)
    shown = tree_lines(session).lines
    return session.turned(TreeScreen(at=shown[min(row, len(shown) - 1)].branch.end)), []


def graft(session: Session) -> Outcome:
    """Restores what was pruned last."""
    if not session.game.hidden.pruned:
        return replace(session, notice="nothing is hidden in this tree"), []
    *others, node = session.game.hidden.pruned
    session = replace(session, game=replace(session.game, hidden=replace(session.game.hidden, pruned=tuple(others))))
    branch = whole(session).of(node)
    if branch is None:  # inside another pruned part
        return replace(session, notice="it was part of what was pruned before: A again"), []
    return replace(_at(session, branch.end), notice=f"{_counted(branch.paths)} brought back"), []


def visited(before: Session, session: Session) -> Session:
    """Marks the active prompt's tip as visited. Pruned parts that a new prompt goes through are restored."""
    session.game.prompt.tip.visit()
    if not session.game.hidden.pruned or session.game.prompts is before.game.prompts:
        return session
    old_tips = {prompt.tip for prompt in before.game.prompts}
    new_tips = [prompt.tip for prompt in session.game.prompts if prompt.tip not in old_tips]
    pruned = tuple(node for node in session.game.hidden.pruned if not any(tip.descends_from(node) for tip in new_tips))
    return (
        session
        if pruned == session.game.hidden.pruned
        else replace(session, game=replace(session.game, hidden=replace(session.game.hidden, pruned=pruned)))
    )


# --- finding a line by its text


def search(session: Session) -> Outcome:
    """Begins a search. Without a query, all lines are listed, and the selected one stays selected."""
    before = selected_end(session)
    row = lines(whole(session), session.options.order).row(before)
    return replace(session, screen=TreeSearch(before=before, row=row)), []


def select_found(rows: int) -> Callable[[Session], Outcome]:
    """Moves the selection among the matches."""

    def go(session: Session) -> Outcome:
        return pick_found(session, _search(session).row + rows)

    return go


def pick_found(session: Session, row: int) -> Outcome:
    """Selects a match."""
    screen = _search(session)
    target = moved(screen.row, row, len(found_lines(session)))
    if isinstance(target, str):
        return replace(session, notice=target), []
    return session.turned(replace(screen, row=target)), []


def go_to_found(session: Session) -> Outcome:
    """Moves the active prompt to the end of the selected match."""
    if not found_lines(session):
        return replace(session, notice="no line has this text"), []
    return go_there(session)


def open_found(session: Session) -> Outcome:
    """Opens the end of the selected match as a new prompt."""
    if not found_lines(session):
        return replace(session, notice="no line has this text"), []
    return open_there(session)


def leave_search(session: Session) -> Outcome:
    """Returns to the tree, with the match selected; the query is not kept."""
    screen = _search(session)
    if session.game.engine is EngineStatus.DEAD:
        return replace(session, screen=PLAY), []
    return _at(session, selected_end(session) if screen.line.text and found_lines(session) else screen.before), []


def _search(session: Session) -> TreeSearch:
    screen = session.on(TreeSearch)
    assert screen is not None
    return screen
