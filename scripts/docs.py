"""Generates the parts of the documentation that come from the code.

uv run python scripts/docs.py [--check]

These are: the ten keys in README.md, docs/reference/keys.md, the options in docs/reference/command-line.md (from the
argument parser), and the table in docs/reference/configuration.md (from config.toml and the dataclasses in config.py).
"""

import argparse
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from tokex_gguf.cli import main as cli_main
from tokex_gguf.config import Config
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands import manual, markdown

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
    for action in cli_main.make_parser()._actions:
        value = action.metavar or ("|".join(action.choices) if action.choices else "")
        value = f"[{value}]" if action.nargs == "?" and action.option_strings else value
        names = [f"{name} {value}".rstrip() for name in action.option_strings] or [str(value)]
        meaning = action.help or ""
        rows.append(
            f"| {', '.join(f'`{cell(name)}`' for name in names)} | {cell(meaning[:1].upper() + meaning[1:])}. |"
        )
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
        for number, key in enumerate(fields(values)):
            name = "" if number else f"`[{table.name}]`"
            default = f"`{_toml(getattr(values, key.name))}`"
            meaning = cell(meanings[table.name, key.name])
            rows.append(f"| {name} | `{key.name}` | {default} | {_values(key)} | {meaning} |")
    return "\n".join(rows)


def pages() -> dict[Path, str]:
    """Each page that has generated parts, with those parts as the code has them now."""
    readme, reference = ROOT / "README.md", ROOT / "docs" / "reference"
    made = {reference / "keys.md": manual()}
    for path, name, content in (
        (readme, "keys", markdown(only=TEN_KEYS)),
        (reference / "command-line.md", "options", options()),
        (reference / "configuration.md", "configuration", configuration()),
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
