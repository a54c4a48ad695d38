"""The arguments of the commands that do not play, and those of all parsers as tables.

Shell completion, the manual page and docs/reference are made from the tables.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

from tokex_gguf import COMMANDS, config
from tokex_gguf.cli.arguments import PROGRAM, make_parser, name_of, workers
from tokex_gguf.system.console import CommandParser

SHELLS = ("bash", "zsh", "fish")


def _models(prog: str) -> CommandParser:
    parser = CommandParser(prog=prog, description="List the models on this machine.")
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _pull(prog: str) -> CommandParser:
    parser = CommandParser(prog=prog, description="Fetch a model from the hub, if it is not here yet.")
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        type=name_of,
        default=config.DEFAULT_MODEL,
        help=f"REPO, REPO:QUANTISATION or REPO:FILE.gguf on the hub (default: {config.DEFAULT_MODEL})",
    )
    return parser


def _sessions(prog: str) -> CommandParser:
    parser = CommandParser(
        prog=prog,
        description="List the saved sessions, the latest first; * marks one that is being played.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    removal = actions.add_parser("rm", help="remove sessions")
    named = "as the list's last column shows it"
    removal.add_argument("names", metavar="NAME", nargs="+", help=named)
    renaming = actions.add_parser("rename", help="give a session another name")
    renaming.add_argument("old", metavar="OLD", help=named)
    renaming.add_argument("new", metavar="NEW")
    return parser


def _cache(prog: str) -> CommandParser:
    parser = CommandParser(
        prog=prog,
        description="Show the prompt cache: what was computed of prompts, kept on disk for the next start.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("clear", help="remove all of it")
    return parser


def _doctor(prog: str) -> CommandParser:
    parser = CommandParser(prog=prog, description="Tell what this program runs on, and what is wrong.")
    parser.add_argument(
        "-m", "--model", metavar="MODEL", type=name_of, help="the model to look at (default: the configured one)"
    )
    parser.add_argument("--rpc", metavar="WORKERS", type=workers, help="RPC workers to look at, too")
    return parser


def _completion(prog: str) -> CommandParser:
    parser = CommandParser(
        prog=prog,
        description="Print a script that lets a shell complete options, commands and files.",
        epilog=f'bash: eval "$({PROGRAM} completion bash)" in ~/.bashrc. '
        f'zsh: eval "$({PROGRAM} completion zsh)" in ~/.zshrc, after compinit. '
        f"fish: {PROGRAM} completion fish > ~/.config/fish/completions/{PROGRAM}.fish.",
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    return parser


def _help(prog: str) -> CommandParser:
    parser = CommandParser(prog=prog, description="Show the help of the program, or of a command.")
    parser.add_argument("command", choices=COMMANDS, nargs="?", help="the command")
    return parser


_PARSERS: dict[str, Callable[[str], CommandParser]] = dict(
    zip(COMMANDS, (_models, _pull, _sessions, _cache, _doctor, _completion, _help), strict=True)
)


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    return _PARSERS[command](f"{PROGRAM} {command}")


class Argument(NamedTuple):
    """One row of a parser's table."""

    names: tuple[str, ...]
    """The option's names; empty for a positional argument."""
    value: str
    """The value's metavar; empty if the option takes none."""
    optional: bool
    """Whether the value can be left out."""
    choices: tuple[str, ...]
    """The choices for the value; empty if it is free."""
    help: str

    @property
    def written(self) -> tuple[str, ...]:
        """Each name with the value."""
        value = f"[{self.value}]" if self.optional and self.names else self.value
        return tuple(f"{name} {value}".rstrip() for name in self.names) or (value,)


class Table(NamedTuple):
    """The arguments of a parser."""

    about: str
    arguments: tuple[Argument, ...]
    actions: "dict[str, Table]"
    """Subcommands with their tables, such as those of `sessions`."""


def table(parser: argparse.ArgumentParser, about: str = "") -> Table:
    """A parser's table."""
    arguments: list[Argument] = []
    actions: dict[str, Table] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            actions = {name: table(subparser, helps[name]) for name, subparser in action.choices.items()}
            continue
        choices = tuple(map(str, action.choices or ()))
        value = action.metavar if isinstance(action.metavar, str) else "|".join(choices)
        arguments.append(Argument(tuple(action.option_strings), value, action.nargs == "?", choices, action.help or ""))
    return Table(about or parser.description or "", tuple(arguments), actions)


def tables() -> dict[str, Table]:
    """The program's table, as "", and that of each command by its name."""
    return {"": table(make_parser()), **{command: table(parser_of(command)) for command in COMMANDS}}
