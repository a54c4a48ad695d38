"""Completion scripts for shells, made from the tables of the command line.

A value is completed if its choices are known, or if it is a file.
"""

import shlex
from collections.abc import Callable, Mapping

from tokex_gguf.cli.arguments import PROGRAM
from tokex_gguf.cli.tables import SHELLS, Argument, Table

_FILES = ("FILE", "MODEL")
"""Values that can be a file."""


def script(shell: str, tables: Mapping[str, Table]) -> str:
    """The script for a shell."""
    return _SCRIPTS[shell](tables)


def _places(tables: Mapping[str, Table]) -> dict[str, Table]:
    """All tables by command and subcommand, with a blank between; "": the program's own."""
    subcommands = {f"{name} {word}": nested for name, table in tables.items() for word, nested in table.actions.items()}
    return {**tables, **subcommands}


def _options(table: Table) -> list[Argument]:
    return [one for one in table.arguments if one.names]


def _positional(table: Table) -> list[Argument]:
    return [one for one in table.arguments if not one.names]


def _words(place: str, table: Table, tables: Mapping[str, Table]) -> list[str]:
    """Words that can come first at a place, besides options and files."""
    commands = [name for name in tables if name] if place == "" else []
    return [*commands, *table.actions, *(word for one in _positional(table) for word in one.choices)]


def _takes_files(table: Table) -> bool:
    return any(one.value in _FILES for one in _positional(table))


def _bash(tables: Mapping[str, Table]) -> str:
    places, values, words = [], [], []
    for place, table in _places(tables).items():
        if place:
            above, _, last = place.rpartition(" ")
            places.append(f'            ":{above}:{last}") place={shlex.quote(place)} ;;')
        for one in _options(table):
            if not one.value:
                continue
            known = "|".join(f'":{place}:{name}"' for name in one.names)
            if one.choices:
                do = f'COMPREPLY=($(compgen -W "{" ".join(one.choices)}" -- "$word"))'
            elif one.value in _FILES:
                do = "_tokex_gguf_files"
            else:
                do = ":"
            values.append(f"        {known}) {do}; return ;;")
        options = " ".join(name for one in _options(table) for name in one.names)
        first = " ".join(_words(place, table, tables))
        files = "files=yes" if _takes_files(table) else "files="
        words.append(f'        ":{place}") options="{options}" words="{first}" {files} ;;')
    lines = "\n".join
    return f"""# What bash completes for {PROGRAM}: eval "$({PROGRAM} completion bash)"

_tokex_gguf_files() {{
    local IFS=$'\\n'
    compopt -o filenames 2>/dev/null
    COMPREPLY+=($(compgen -f -- "$word"))
}}

_tokex_gguf() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} place= first=1 index options words files
    COMPREPLY=()
    # --kv=q8_0 comes as three words.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    # A command is the first word, and what stands behind it the next one.
    for ((index = 1; index < COMP_CWORD && index < 3; index++)); do
        case ":$place:${{COMP_WORDS[index]}}" in
{lines(places)}
            *) break ;;
        esac
        first=$((index + 1))
    done
    case ":$place" in
{lines(words)}
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
        return
    fi
    case ":$place:$before" in
{lines(values)}
    esac
    if ((COMP_CWORD == first)); then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    fi
    if [[ $files ]]; then
        _tokex_gguf_files
    fi
}}

complete -F _tokex_gguf {PROGRAM}
"""


def _zsh_text(text: str) -> str:
    """A text inside a specification, with brackets and colons escaped."""
    return "".join(f"\\{char}" if char in "[]:\\" else char for char in text)


def _zsh_value(one: Argument) -> str:
    """The specification of an option's value, or of a positional argument."""
    action = f"({' '.join(one.choices)})" if one.choices else "_files" if one.value in _FILES else " "
    return f":{_zsh_text(one.value)}:{action}"


def _zsh_specifications(place: str, table: Table) -> list[str]:
    found = []
    for one in _options(table):
        value = _zsh_value(one) if one.value else ""
        value = f":{value}" if value and one.optional else value
        alike = f"({' '.join(one.names)})" if len(one.names) > 1 else ""
        found += [shlex.quote(f"{alike}{name}[{_zsh_text(one.help)}]{value}") for name in one.names]
    if place == "":
        found.append(shlex.quote("1: :_tokex_gguf_first"))
    elif table.actions:
        found.append(shlex.quote(f"1:action:({' '.join(table.actions)})"))
    elif positional := _positional(table):
        found += [shlex.quote(f"*{_zsh_value(one)}") for one in positional[:1]]
    return found


def _zsh(tables: Mapping[str, Table]) -> str:
    cases = []
    for place, table in sorted(_places(tables).items(), key=lambda item: -len(item[0].split())):
        specifications = " \\\n            ".join(_zsh_specifications(place, table))
        depth = len(place.split())
        pattern = shlex.quote(f"{place} ") + "*" if place else "*"
        shift = f"shift {depth} words; ((CURRENT -= {depth}))\n            " if depth else ""
        cases.append(f"        {pattern})\n            {shift}_arguments {specifications} ;;")
    commands = "\n        ".join(
        shlex.quote(f"{_zsh_text(name)}:{table.about}") for name, table in tables.items() if name
    )
    body = "\n".join(cases)
    return f"""#compdef {PROGRAM}
# What zsh completes for {PROGRAM}: eval "$({PROGRAM} completion zsh)", after compinit.

_tokex_gguf_first() {{
    local -a commands=(
        {commands}
    )
    _alternative 'commands:command:{{_describe command commands}}' 'files:file:_files'
}}

_tokex_gguf() {{
    # The words before the one that is completed, with a blank behind each.
    local before="${{(j: :)words[2,CURRENT-1]}} "
    case $before in
{body}
    esac
}}

if [[ $funcstack[1] == _{PROGRAM} ]]; then
    _tokex_gguf "$@"
else
    compdef _tokex_gguf {PROGRAM}
fi
"""


def _fish(tables: Mapping[str, Table]) -> str:
    def line(condition: str, more: str) -> str:
        return f"complete -c {PROGRAM} -n {shlex.quote(condition)} {more}"

    def described(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace("'", "\\'")
        return f"-d '{escaped}'"

    commands = " ".join(name for name in tables if name)
    lines = [f"complete -c {PROGRAM} -f"]
    for place, table in _places(tables).items():
        command, _, action = place.partition(" ")
        if not place:
            condition = f"not __tokex_gguf_is {commands}"
        elif action:
            condition = f"__tokex_gguf_is {command}; and __fish_seen_subcommand_from {action}"
        else:
            condition = f"__tokex_gguf_is {command}"
        for one in _options(table):
            names = [_fish_name(name) for name in one.names]
            takes = (
                f"-x -a '{' '.join(one.choices)}' "
                if one.choices
                else "-r -F "
                if one.value in _FILES
                else "-x "
                if one.value and not one.optional
                else ""
            )
            lines.append(line(condition, f"{' '.join(names)} {takes}{described(one.help)}"))
        for word in _words(place, table, tables):
            about = (tables.get(word) or table.actions.get(word)) if place == "" or table.actions else None
            first = "__fish_is_nth_token 1" if place == "" else f"{condition}; and __fish_is_nth_token 2"
            lines.append(line(first, f"-a {word} {described(about.about if about else '')}"))
        if _takes_files(table):
            lines.append(line(condition, "-F"))
    body = "\n".join(lines)
    return f"""# What fish completes for {PROGRAM}: it belongs into ~/.config/fish/completions/{PROGRAM}.fish

function __tokex_gguf_is --description 'Whether the command is one of these'
    set -l words (commandline -opc)
    test (count $words) -gt 1; and contains -- $words[2] $argv
end

{body}
"""


def _fish_name(name: str) -> str:
    if name.startswith("--"):
        return f"-l {name[2:]}"
    return f"-s {name[1:]}" if len(name) == 2 else f"-o {name[1:]}"


_SCRIPTS: dict[str, Callable[[Mapping[str, Table]], str]] = dict(zip(SHELLS, (_bash, _zsh, _fish), strict=True))
