"""What each screen shows: a path, the pane beside it, and the name of the line being typed."""

from collections.abc import Callable, Sequence

from tokex_gguf.play import screens
from tokex_gguf.play.rules import list_search
from tokex_gguf.play.rules.chain import value_hint
from tokex_gguf.play.rules.insertion import place_hint
from tokex_gguf.play.rules.text_entry import search_cost
from tokex_gguf.play.rules.tree import selected_end
from tokex_gguf.play.screens import Screen
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line
from tokex_gguf.ui.chain import chain_entries, chain_lines, missing_entries, missing_lines
from tokex_gguf.ui.constraint import constraint_lines
from tokex_gguf.ui.critical import critical_entries, critical_lines, selected_place
from tokex_gguf.ui.fan_out import answer_entries, answer_lines
from tokex_gguf.ui.lists import (
    command_entries,
    command_lines,
    model_entries,
    model_lines,
    new_prompt_lines,
    prompt_entries,
    prompt_lines,
    score_lines,
)
from tokex_gguf.ui.lists import match_note as told_of_line
from tokex_gguf.ui.prompt_pane import UNTOKENIZED_CHARACTERS, Path, Shown, UntokenizedText, active_path, starting_text
from tokex_gguf.ui.sessions import match_note as told_of_sessions
from tokex_gguf.ui.sessions import session_entries, session_lines
from tokex_gguf.ui.table import table_lines, table_rows
from tokex_gguf.ui.tree import found_entries, found_lines, match_note, tree_entries, tree_lines
from tokex_gguf.values.record import record

WIDE_CELLS = 100
"""Columns from which prompt and table stand side by side."""


@record
class Pane:
    """What a screen shows."""

    lines: Callable[[Session, int, int], list[Line]] = table_lines
    """The pane beside the path, by its width and height."""
    rows: Callable[[Session, int], Sequence[int]] = table_rows
    """The indices of the rows in sight below the heading, by the pane's height: a click selects one."""
    path: Callable[[Session], Shown] = active_path
    label: str = ""
    """The name of the line being typed."""
    note: Callable[[Session], str] = lambda _: ""
    """A note on the typed text, at the end of its line."""
    whole: bool = False
    """Whether the pane has the whole width, below a few lines of the path."""
    table: bool = False
    """Whether the pane is below a few lines of the path, and the table stays beside it."""


def _no_rows(_session: Session, _height: int) -> Sequence[int]:
    return ()


def _selected_path(session: Session) -> Path:
    """The path of the tree's selected line, to its end."""
    end = selected_end(session)
    tips = [prompt.tip for prompt in session.game.prompts]
    index = session.game.active if end is session.game.prompt.tip else tips.index(end) if end in tips else None
    return Path(end, end, None, index)


def _selected_prompt(session: Session) -> Shown:
    """The selected prompt, or the selected starting text."""
    naming = session.on(screens.PromptName)
    row = naming.row if naming else list_search.selected(session)
    if row < len(session.game.prompts):
        prompt = session.game.prompts[row]
        return Path(prompt.tip, prompt.tip, prompt.cursor, row)
    index = row - len(session.game.prompts)
    return (
        UntokenizedText(session.starters[index].text[:UNTOKENIZED_CHARACTERS])
        if index < len(session.starters)
        else active_path(session)
    )


def _new_text(session: Session) -> UntokenizedText:
    """The text typed for a new prompt."""
    return UntokenizedText(session.line.text[-UNTOKENIZED_CHARACTERS:], end=True)


def _selected_session(session: Session) -> Shown:
    """The beginning of the selected session's text."""
    screen = session.on(screens.Sessions)
    chosen = screen.found[screen.row : screen.row + 1] if screen else ()
    return UntokenizedText(chosen[0].text) if chosen else active_path(session)


def _with_selected_place(session: Session) -> Shown:
    """The prompt, with the cursor on the token whose second choice is selected."""
    path, place = active_path(session), selected_place(session)
    return path._replace(cursor=place) if isinstance(path, Path) and place is not None else path


PANES: dict[type[Screen], Pane] = {
    screens.Play: Pane(),
    screens.SearchScreen: Pane(label="search", note=search_cost),
    screens.Input: Pane(score_lines, _no_rows, label="go on with"),
    screens.Insert: Pane(label="put in", note=place_hint),
    screens.Find: Pane(label="find in the prompt"),
    screens.Name: Pane(label="name of this session"),
    screens.Ban: Pane(label="ban the text"),
    screens.Seed: Pane(label="seed"),
    screens.DrawCount: Pane(label="how often to draw"),
    screens.AnswerList: Pane(answer_lines, answer_entries, whole=True),
    screens.AnswerStop: Pane(answer_lines, _no_rows, label="answers end at", whole=True),
    screens.AnswerPattern: Pane(answer_lines, _no_rows, label="group by", whole=True),
    screens.CriticalList: Pane(critical_lines, critical_entries, _with_selected_place, whole=True),
    screens.CriticalLead: Pane(critical_lines, _no_rows, _with_selected_place, label="answers stand after", whole=True),
    screens.TreeScreen: Pane(tree_lines, tree_entries, _selected_path, whole=True),
    screens.TreeSearch: Pane(
        found_lines, found_entries, _selected_path, label="find in the tree", note=match_note, whole=True
    ),
    screens.Prompts: Pane(prompt_lines, prompt_entries, _selected_prompt, whole=True),
    screens.ListSearch: Pane(label="find in the list", note=told_of_line),
    screens.PromptName: Pane(prompt_lines, _no_rows, _selected_prompt, label="name of this prompt", whole=True),
    screens.NewPrompt: Pane(new_prompt_lines, _no_rows, _new_text, label="new prompt", whole=True),
    screens.Constraining: Pane(constraint_lines, _no_rows, label="constraint"),
    screens.Models: Pane(model_lines, model_entries),
    screens.SecondModels: Pane(model_lines, model_entries),
    screens.Sessions: Pane(
        session_lines,
        session_entries,
        _selected_session,
        label="find a session",
        note=told_of_sessions,
        whole=True,
    ),
    screens.Samplers: Pane(chain_lines, chain_entries, table=True),
    screens.SamplersToAdd: Pane(missing_lines, missing_entries, table=True),
    screens.SamplerValue: Pane(chain_lines, _no_rows, label="value", note=value_hint, table=True),
    screens.SamplerText: Pane(chain_lines, _no_rows, label="flags or JSON", table=True),
    screens.Commands: Pane(command_lines, command_entries, label="command"),
    screens.Help: Pane(label="find in the help"),
}
"""Each screen's pane. The help covers the panes, and the search in a list uses the list's: both have a line alone."""


def pane(session: Session) -> Pane:
    """The pane of the screen; while a list is searched, the list's."""
    search = session.on(screens.ListSearch)
    return PANES[type(search.over if search else session.current)]


def shown(session: Session) -> Shown:
    """The path to show on this screen, or the text where it has no tokens yet."""
    return pane(session).path(session) if session.game.prompts else starting_text(session)
