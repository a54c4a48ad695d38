"""Generates the parts of the documentation that come from the code.

uv run python scripts/docs.py [--check]

These are: the ten keys in README.md, docs/reference/keys.md, the options in docs/reference/command-line.md (from the
argument parser), the table in docs/reference/configuration.md (from config.toml and the dataclasses in config.py), the
build's variables in docs/guide/install.md (from pyproject.toml), and the manual page docs/tokex-gguf.1 (from the
argument parsers and the key table).
"""

import argparse
import re
import shlex
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tokex_gguf import __version__
from tokex_gguf.cli.arguments import EXIT_CODES
from tokex_gguf.cli.tables import Argument, Table, tables
from tokex_gguf.config import Config
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.documents import manual, markdown
from tokex_gguf.play.commands.registry import SCREENS, help_entries

ROOT = Path(__file__).parent.parent

TEN_KEYS = frozenset(
    {
        Action.DOWN,
        Action.APPEND,
        Action.POP,
        Action.AUTOPLAY,
        Action.CURSOR_BACK,
        Action.SEARCH,
        Action.INPUT,
        Action.COPY,
        Action.LAYER,
        Action.HELP,
    }
)
"""What the README shows."""


def between(text: str, name: str, content: str) -> str:
    r"""The text with `content` between its markers of that name. Raises ValueError if it has no such pair.

    >>> between("a <!-- x -->old<!-- /x --> b", "x", "new")
    'a <!-- x -->\nnew\n<!-- /x --> b'
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text, found = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{content}\n{end}", text, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"expected one pair of {begin} and {end}, found {found}")
    return text


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", r"\|")


def options() -> str:
    """The options of `tokex-gguf`, as a table."""
    rows = ["| option | meaning |", "|---|---|"]
    for one in tables()[""].arguments:
        meaning = cell(one.help[:1].upper() + one.help[1:])
        rows.append(f"| {', '.join(f'`{cell(written)}`' for written in one.written)} | {meaning}. |")
    return "\n".join(rows)


def comments(toml: str) -> dict[tuple[str, str], str]:
    r"""The comment above each key of a configuration file.

    >>> comments("[engine]\n# How many threads.\n# 0: all.\nthreads = 0\n")
    {('engine', 'threads'): 'How many threads. 0: all.'}
    """
    found, table, above = {}, "", list[str]()
    for line in toml.splitlines():
        if line.startswith("# "):
            above.append(line[2:])
            continue
        if line.startswith("["):
            table = line.strip("[]")
        elif key := re.match(r"(\w+) = ", line):
            found[table, key[1]] = " ".join(above)
        above = []
    return found


def _values(key: Any) -> str:
    """What a configuration key may be."""
    if key.type is bool:
        return "`true` or `false`"
    if choices := key.metadata.get("choices"):
        return ", ".join(f'`"{choice}"`' for choice in choices)
    if key.type is str:
        return "text"
    low, high = key.metadata["range"]
    return f"{low:,} to {high:,}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def configuration() -> str:
    """The keys of the configuration file, as a table. Raises KeyError for a key without a comment in config.toml."""
    meanings = comments((ROOT / "config.toml").read_text(encoding="utf-8"))
    rows = ["| table | key | default | values | meaning |", "|---|---|---|---|---|"]
    defaults = Config()
    for table in fields(Config):
        values = getattr(defaults, table.name)
        if isinstance(values, dict):
            meaning = "Presets for the [sampler chain](../guide/samplers.md#the-chain): a name of your own and flags."
            rows.append(f"| `[{table.name}]` | a name | none | flags of llama.cpp | {meaning} |")
            continue
        for number, key in enumerate(fields(values)):
            name = "" if number else f"`[{table.name}]`"
            default = f"`{_toml(getattr(values, key.name))}`"
            meaning = cell(meanings[table.name, key.name])
            rows.append(f"| {name} | `{key.name}` | {default} | {_values(key)} | {meaning} |")
    return "\n".join(rows)


def variables() -> str:
    """How llama.cpp is built, for a shell: uv reads it from pyproject.toml, pip does not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [build] = project["tool"]["uv"]["extra-build-variables"].values()
    lines = [f"export {name}={shlex.quote(' '.join(value.split()))}" for name, value in build.items()]
    return "\n".join(["```", *lines, "pip install '.[bundled]'", "```"])


def roff(text: str) -> str:
    r"""A text for a manual page, with nothing in it that roff would obey or does not know.

    >>> roff("--model: ↑ \\\\n"), roff(".TH")
    ('\\\\-\\\\-model: \\\\[u2191] \\\\en', '\\\\&.TH')
    """
    escaped = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", '"': r"\(dq", "^": r"\(ha", "~": r"\(ti"}
    told = "".join(escaped.get(char, char if char.isascii() else f"\\[u{ord(char):04X}]") for char in text)
    return rf"\&{told}" if told.startswith(".") else told


def _entry(heads: Sequence[str], text: str) -> list[str]:
    """One entry of a list in a manual page."""
    return [".TP", ", ".join(rf"\fB{roff(head)}\fR" for head in heads), roff(text[:1].upper() + text[1:])]


def _taken(about: Table) -> list[str]:
    """What a parser takes, as entries."""
    return [
        line
        for one in about.arguments
        if "--help" not in one.names
        for line in _entry(one.written, f"{one.help.rstrip('.')}.")
    ]


def _synopsis(name: str, about: Table) -> str:
    """A command with what may stand behind it."""
    words = [_in_brackets(one) for one in about.arguments if one.names and "--help" not in one.names]
    words += [f"[{one.value}]" if one.optional else one.value for one in about.arguments if not one.names]
    words += [f"[{' | '.join(about.actions)}]"] if about.actions else []
    return " ".join([rf"\fB{roff(f'tokex-gguf {name}'.rstrip())}\fR", *map(roff, words)])


def _in_brackets(one: Argument) -> str:
    return f"[{one.written[0]}]"


def man() -> str:
    """The manual page. The version is the release's, and there is no date: each would be another page."""
    program, *commands = tables().items()
    lines = [
        r".\" Generated by scripts/docs.py from the program's own tables.",
        f'.TH TOKEX\\-GGUF 1 "" "tokex\\-gguf {__version__}" "User Commands"',
        ".SH NAME",
        roff("tokex-gguf") + r" \- " + roff(program[1].about[:1].lower() + program[1].about[1:].rstrip(".")),
        ".SH SYNOPSIS",
        r"\fBtokex\-gguf\fR [options] [FILE]",
    ]
    for name, about in commands:
        lines += [".br", _synopsis(name, about)]
    lines += [".SH OPTIONS", *_taken(program[1]), ".SH COMMANDS"]
    for name, about in commands:
        lines += [f".SS {roff(name)}", roff(about.about), *_taken(about)]
        for action, deeper in about.actions.items():
            behind = " ".join(one.value for one in deeper.arguments if not one.names)
            lines += _entry([f"{action} {behind}"], f"{deeper.about}.")
    lines += [".SH KEYS"]
    for kind, row in SCREENS.items():
        lines.append(f'.SS "{roff(row.title.replace("`", ""))}"')
        for entry in help_entries(kind):
            lines += _entry([entry.name], entry.text)
    lines += [".SH FILES"]
    for path, meaning in (
        ("config.toml", "The configuration, if it is in the current folder."),
        (
            "~/.config/tokex-gguf/config.toml",
            "The user's configuration, on Linux; --help names it on others.",
        ),
        ("~/.local/state/tokex-gguf", "The log and the sessions, on Linux."),
    ):
        lines += _entry([path], meaning)
    lines += [".SH EXIT STATUS", roff(f"{EXIT_CODES}.")]
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Each page that has generated parts, with those parts as the code has them now."""
    readme, reference = ROOT / "README.md", ROOT / "docs" / "reference"
    made = {reference / "keys.md": manual(), ROOT / "docs" / "tokex-gguf.1": man()}
    for path, name, content in (
        (readme, "keys", markdown(only=TEN_KEYS)),
        (reference / "command-line.md", "options", options()),
        (reference / "configuration.md", "configuration", configuration()),
        (ROOT / "docs" / "guide" / "install.md", "variables", variables()),
    ):
        made[path] = between(path.read_text(encoding="utf-8"), name, content)
    return made


def main() -> int:
    """Writes the generated parts, or only compares them; returns the exit code."""
    parser = argparse.ArgumentParser(description="Generate the parts of the documentation that come from the code.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is out of date")
    check = parser.parse_args().check
    outdated = False
    for path, after in pages().items():
        if path.exists() and path.read_text(encoding="utf-8") == after:
            continue
        if check:
            print(f"{path.relative_to(ROOT)} is out of date: uv run python scripts/docs.py", file=sys.stderr)
            outdated = True
        else:
            path.write_text(after, encoding="utf-8")
    return int(outdated)


if __name__ == "__main__":
    sys.exit(main())
