"""Every screen's row, and look-ups in them: a key's command, the footer, the help."""

from collections.abc import Sequence

from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command, HelpEntry, ScreenRow
from tokex_gguf.play.commands.about_commands import commands_row, help_row
from tokex_gguf.play.commands.answers import ANSWER_LIST, ANSWER_PATTERN, ANSWER_STOP, CRITICAL_LEAD, CRITICAL_LIST
from tokex_gguf.play.commands.lists import (
    MODELS,
    NEW_PROMPT,
    PROMPT_NAME,
    PROMPTS,
    SECOND_MODELS,
    SESSIONS,
    list_search_row,
)
from tokex_gguf.play.commands.playing import PLAY
from tokex_gguf.play.commands.sampling import (
    BAN,
    CONSTRAINING,
    DRAW_COUNT,
    SAMPLER_TEXT,
    SAMPLER_VALUE,
    SAMPLERS,
    SAMPLERS_TO_ADD,
    SEED,
)
from tokex_gguf.play.commands.texts import FIND, INPUT, INSERT, NAME, SEARCH
from tokex_gguf.play.commands.tree import TREE, TREE_SEARCH
from tokex_gguf.play.game import LOADING
from tokex_gguf.play.rules import command_line, help_screen
from tokex_gguf.play.rules.prompt import UNREAD
from tokex_gguf.play.screens import Help, Screen
from tokex_gguf.play.session import Session
from tokex_gguf.values.key_names import shown


def _of(screen: Screen) -> Sequence[Command]:
    return SCREENS[type(screen)].commands


def _entries(screen: Screen) -> list[HelpEntry]:
    return help_entries(type(screen))


SCREENS: dict[type[Screen], ScreenRow] = {
    screens.Play: PLAY,
    screens.SearchScreen: SEARCH,
    screens.Input: INPUT,
    screens.Insert: INSERT,
    screens.Find: FIND,
    screens.Name: NAME,
    screens.Ban: BAN,
    screens.Seed: SEED,
    screens.DrawCount: DRAW_COUNT,
    screens.TreeScreen: TREE,
    screens.AnswerList: ANSWER_LIST,
    screens.AnswerStop: ANSWER_STOP,
    screens.AnswerPattern: ANSWER_PATTERN,
    screens.CriticalList: CRITICAL_LIST,
    screens.CriticalLead: CRITICAL_LEAD,
    screens.TreeSearch: TREE_SEARCH,
    screens.Prompts: PROMPTS,
    screens.ListSearch: list_search_row(_of),
    screens.NewPrompt: NEW_PROMPT,
    screens.Constraining: CONSTRAINING,
    screens.PromptName: PROMPT_NAME,
    screens.Models: MODELS,
    screens.SecondModels: SECOND_MODELS,
    screens.Sessions: SESSIONS,
    screens.Samplers: SAMPLERS,
    screens.SamplersToAdd: SAMPLERS_TO_ADD,
    screens.SamplerValue: SAMPLER_VALUE,
    screens.SamplerText: SAMPLER_TEXT,
    screens.Commands: commands_row(_of),
    screens.Help: help_row(_entries),
}
"""Each screen's row, in the order of the docs."""


def help_entries(kind: type[Screen]) -> list[HelpEntry]:
    """A screen's help entries: questions, then by topic the keys and signs with their meanings."""
    row = SCREENS[kind]
    by_action = {command.action: command for command in row.commands}
    questions = [HelpEntry("Questions", keys, text, by_action[action]) for keys, action, text in row.questions]
    topics = list(dict.fromkeys(command.topic for command in row.commands))
    commands = sorted(row.commands, key=lambda command: topics.index(command.topic))
    keys = [HelpEntry(command.topic, keys_of(command), command.help, command) for command in commands]
    return [*questions, *keys, *(HelpEntry("What the screen shows", sign, meaning) for sign, meaning in row.signs)]


def help_found(screen: Help) -> list[HelpEntry]:
    """The help entries that match the typed words."""
    return help_screen.found(screen, _entries)


def of(screen: Screen, action: Action) -> Command | None:
    """A screen's command for an action; None where it has none."""
    return next((command for command in SCREENS[type(screen)].commands if command.action is action), None)


def action(screen: Screen, key: str) -> Action | None:
    """The action of a key on a screen; None where it has none."""
    return next((command.action for command in SCREENS[type(screen)].commands if key in command.keys), None)


def all_commands() -> list[Command]:
    """The commands of all screens, without duplicates."""
    return list(dict.fromkeys(command for row in SCREENS.values() for command in row.commands))


def found(session: Session) -> list[Command]:
    """The commands that match the text after `:`."""
    return command_line.found(session, _of)


_ARROWS = "↑↓←→"


def keys_of(command: Command) -> str:
    """All keys of a command, as on a keyboard.

    >>> keys_of(of(screens.PLAY, Action.GO))
    '1…9'

    One without keys is typed:

    >>> keys_of(of(screens.PLAY, Action.SEED))
    ':seed'
    """
    if not command.keys:
        return f":{command.name}"
    if len(command.keys) > 3 and all(key.isdigit() for key in command.keys):
        return f"{shown(command.keys[0])}…{shown(command.keys[-1])}"
    return " ".join(map(shown, command.keys))


def hints(session: Session) -> list[tuple[int, str, str]]:
    """The entries of the footer: importance, keys and label. Neighbours with one label are joined.

    What cannot be done now is left out, unless that ends by itself.
    """
    shortest: list[tuple[int, str, str]] = []
    for command in SCREENS[type(session.screen)].commands:
        importance, label = command.now(session) or (command.footer, command.label)
        if not importance or command.disabled(session) not in ("", UNREAD, LOADING):
            continue
        key = shown(command.keys[0]).replace("ctrl+", "^")
        if shortest and shortest[-1][2] == label:
            importance, before, label = shortest[-1]
            between = "" if before in _ARROWS else "/"
            shortest[-1] = (importance, f"{before}{between}{key}", label)
        else:
            shortest.append((importance, key, label))
    return shortest
