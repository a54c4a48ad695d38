"""The screens for another screen's commands: the help, and the command line."""

from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command, CommandsOf, ScreenRow
from tokex_gguf.play.commands import conditions
from tokex_gguf.play.commands.common import ERASING, EVERYWHERE, leaving, rows
from tokex_gguf.play.rules import command_line, help_screen, prompt, text_entry
from tokex_gguf.play.rules.help_screen import HelpOf
from tokex_gguf.play.screens import Help
from tokex_gguf.values.text_field import TextField


def commands_row(of: CommandsOf) -> ScreenRow:
    """The row of the command line. `of`: the commands of a screen."""
    return ScreenRow(
        "Commands by their names (`:`)",
        (
            *rows(
                lambda lines: command_line.select(lines, of),
                "Commands",
                "command",
                "commands",
                letters=False,
                now=conditions.of_found(lambda session: command_line.found(session, of)),
            ),
            Command(
                Action.ENTER,
                command_line.run(of),
                ("enter",),
                "Commands",
                "do",
                "Do the selected command.",
                footer=90,
                now=conditions.of_found(lambda session: command_line.means_something(session, of)),
            ),
            *ERASING,
            *leaving(command_line.close, "Go back; nothing is done."),
        ),
        typed=text_entry.typed,
        pick_row=command_line.pick(of),
    )


def help_row(entries: HelpOf) -> ScreenRow:
    """The row of the help. `entries`: the help entries of a screen."""
    found = conditions.of_found(
        lambda session: isinstance(session.screen, Help) and help_screen.found(session.screen, entries)
    )
    return ScreenRow(
        "The help (`?`): typing filters it",
        (
            Command(
                Action.UP,
                help_screen.scroll(-1, entries),
                ("up",),
                "Help",
                "select",
                "One line up.",
                footer=70,
                now=found,
            ),
            Command(
                Action.DOWN,
                help_screen.scroll(1, entries),
                ("down",),
                "Help",
                "select",
                "One line down.",
                footer=70,
                now=found,
            ),
            Command(Action.PAGE_UP, None, ("pageup",), "Help", "page", "One page up.", footer=60, now=found),
            Command(Action.PAGE_DOWN, None, ("pagedown",), "Help", "page", "One page down.", footer=60, now=found),
            Command(
                Action.TOP,
                help_screen.scroll(-prompt.ALL_ROWS, entries),
                ("home",),
                "Help",
                "top",
                "To the beginning.",
            ),
            Command(
                Action.BOTTOM,
                help_screen.scroll(prompt.ALL_ROWS, entries),
                ("end",),
                "Help",
                "end",
                "To the end.",
            ),
            Command(
                Action.ENTER,
                help_screen.run(entries),
                ("enter",),
                "Help",
                "do it",
                "Do what is selected.",
                footer=90,
                now=found,
            ),
            *(
                Command(row.action, help_screen.edit_line(change, entries), row.keys, "Help", row.label, row.help)
                for row, change in zip(
                    ERASING, (TextField.erased, TextField.word_erased, TextField.cleared), strict=True
                )
            ),
            Command(
                Action.CLOSE,
                help_screen.close,
                ("escape", "f1"),
                "Program",
                "close",
                "Close the help, as ? does where nothing is typed.",
                footer=99,
            ),
            *EVERYWHERE,
        ),
        typed=help_screen.typed(entries),
        pick_row=help_screen.pick(entries),
    )
