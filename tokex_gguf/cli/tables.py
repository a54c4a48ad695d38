"""The arguments of the commands that play nothing, and what all parsers take, as tables.

The tables are what help in other forms is made of: completion in shells, the manual page, docs/reference.
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
        description="List the sessions that can be gone on with, the last first; * marks one that is being played.",
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
        description="Tell what is kept on disk of prompts, so that nothing is computed twice, and how much of it.",
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
        f'zsh: eval "$({PROGRAM} completion zsh)" in ~/.zshrc, behind compinit. '
        f"fish: {PROGRAM} completion fish > ~/.config/fish/completions/{PROGRAM}.fish.",
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    return parser


def _help(prog: str) -> CommandParser:
    parser = CommandParser(prog=prog, description="Show the help of the program, or of a command.")
    parser.add_argument("command", choices=COMMANDS, nargs="?", help="the command")
    return parser


_MADE: dict[str, Callable[[str], CommandParser]] = dict(
    zip(COMMANDS, (_models, _pull, _sessions, _cache, _doctor, _completion, _help), strict=True)
)


def parser_of(command: str) -> argparse.ArgumentParser:
    """The arguments of a command."""
    return _MADE[command](f"{PROGRAM} {command}")


class Argument(NamedTuple):
    """One row of a parser's table."""

    names: tuple[str, ...]
    """As options are written; none where the place says what it is."""
    value: str
    """What it takes, as it is shown; empty where it takes nothing."""
    optional: bool
    """Whether that can be left out."""
    choices: tuple[str, ...]
    """All that the value can be; empty where that is not a list."""
    help: str

    @property
    def written(self) -> tuple[str, ...]:
        """Each way to write it, with its value."""
        value = f"[{self.value}]" if self.optional and self.names else self.value
        return tuple(f"{name} {value}".rstrip() for name in self.names) or (value,)


class Table(NamedTuple):
    """What a parser takes."""

    about: str
    arguments: tuple[Argument, ...]
    actions: "dict[str, Table]"
    """What may stand behind it first, and what each takes; sessions has such."""


def table(parser: argparse.ArgumentParser, about: str = "") -> Table:
    """A parser's table."""
    arguments: list[Argument] = []
    actions: dict[str, Table] = {}
    for one in parser._actions:
        if isinstance(one, argparse._SubParsersAction):
            told = {choice.dest: choice.help or "" for choice in one._choices_actions}
            actions = {name: table(each, told[name]) for name, each in one.choices.items()}
            continue
        choices = tuple(map(str, one.choices or ()))
        value = one.metavar if isinstance(one.metavar, str) else "|".join(choices)
        arguments.append(Argument(tuple(one.option_strings), value, one.nargs == "?", choices, one.help or ""))
    return Table(about or parser.description or "", tuple(arguments), actions)


def tables() -> dict[str, Table]:
    """The program's table, as "", and that of each command by its name."""
    return {"": table(make_parser()), **{command: table(parser_of(command)) for command in COMMANDS}}
