"""The arguments of the command line; `tables.py` has those of the commands that do not play."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokex_gguf import __version__, config
from tokex_gguf.system.console import USAGE, CommandParser, Exit
from tokex_gguf.values.sampler_text import OPTIONS, seed_of
from tokex_gguf.values.tokens import visible
from tokex_gguf.values.workers import workers_of

PROGRAM = "tokex-gguf"
DEFAULT_PREDICT = 128
"""Tokens of a sample at the most, by default."""
EVERY_LAYER = 1000
"""Layers on a graphics processor for `all`: no model has more."""
EXIT_CODES = "0 done, 1 failed, 2 wrong input or arguments, 128+n signal n (130 interrupted)"


def _count(text: str, most: int = 10_000_000, least: int = 1) -> int:
    digits = text.lstrip("0") or "0" if text.isascii() and text.isdigit() else ""
    if not (0 < len(digits) <= len(str(most)) and least <= int(digits) <= most):
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text[:40]!r}")
    return int(digits)


def _threads(text: str) -> int:
    """Threads of the engine; 0, and llama.cpp's -1: chosen by the processor."""
    try:
        return 0 if text == "-1" else _count(text, 1024, 0)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or -1") from None


def _cells(text: str) -> int:
    """A context's size; 0: it grows."""
    try:
        return 0 if text == "auto" else _start(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or auto") from None


def _layers(text: str) -> int:
    """Layers of a model; all: more than any model has."""
    try:
        return EVERY_LAYER if text == "all" else _start(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or all") from None


def _place(text: str) -> int:
    """The number of a session in the list."""
    try:
        return _count(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; a session's name goes with --session") from None


def name_of(text: str) -> str:
    """The name of a file, a model or a session. An empty one, as from an unset shell variable, is refused."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, got an empty one")
    return text


def _some_text(text: str) -> str:
    """The text of a constraint. An empty one comes from an unset variable of the shell, and is refused."""
    if not text:
        raise argparse.ArgumentTypeError("expected a text, got an empty one")
    return text


def _path(text: str) -> Path:
    return Path(name_of(text))


def _address(text: str) -> str:
    """A server's address, normalised."""
    from tokex_gguf.values.server_url import BadAddress, parse  # not on the way to the first frame without one

    try:
        return parse(text).url
    except BadAddress as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seed(text: str) -> int:
    try:
        return seed_of(text, "a seed")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _predicted(text: str) -> int:
    """Tokens of a sample at the most; -1: no limit but the context."""
    try:
        return -1 if text == "-1" else _count(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or -1 for no limit") from None


def _stop(text: str) -> str:
    """Where answers end."""
    from tokex_gguf.values.stops import stop_of  # not on the way to the first frame without one

    try:
        stop_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _part(text: str) -> float:
    """A share from 0 to 1, given in percent."""
    try:
        percent = float(text.removesuffix("%")) if len(text) < 20 else 0.0
    except ValueError:
        percent = 0.0
    if not 0 < percent / 100 <= 1:
        raise argparse.ArgumentTypeError(f"expected percent, above 0 and up to 100, got {text[:40]!r}")
    return percent / 100


def workers(text: str) -> tuple[str, ...]:
    """RPC workers on the command line."""
    try:
        return workers_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _start(text: str) -> int:
    """A number of tokens, which may be 0."""
    return _count(text, least=0)


class _SamplerFlag(argparse.Action):
    """Collects samplers' flags, by their first names, with their values, in the given order."""

    def __init__(self, option_strings: Sequence[str], dest: str, *, repeats: bool, **options: Any) -> None:
        super().__init__(option_strings, dest, **options)
        self._repeats = repeats

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        """Raises argparse.ArgumentError."""
        told: list[tuple[str, str]] = getattr(namespace, self.dest) or []
        name = self.option_strings[0]
        if not self._repeats and any(one == name for one, _ in told):
            raise argparse.ArgumentError(self, "given twice")
        setattr(namespace, self.dest, [*told, (name, str(values))])


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    """Adds the options of samplers and constraints."""
    group = parser.add_argument_group(
        "sampling",
        "Named as llama.cpp's tools name them. With any of them, all others have llama.cpp's defaults; without one, "
        "nothing is cut and nothing changed.",
    )
    for one in OPTIONS:
        group.add_argument(
            *one.names, metavar=one.value, dest="sampling", action=_SamplerFlag, repeats=one.repeats, help=one.help
        )
    group.add_argument(
        "-s", "--seed", metavar="N", type=_seed, help="the seed of all draws; -1, the default: a random one"
    )
    limits = parser.add_argument_group("constraint", "What the text may be from the prompt's end on.")
    which = limits.add_mutually_exclusive_group()
    which.add_argument("--regex", metavar="PATTERN", type=_some_text, help="what a regular expression matches")
    which.add_argument(
        "-j",
        "-jf",
        "--json-schema",
        "--json-schema-file",
        metavar="FILE",
        type=name_of,
        help="JSON of this schema, a file or the text itself; - for standard input",
    )
    which.add_argument(
        "--grammar",
        "--grammar-file",
        metavar="FILE",
        type=name_of,
        help="what a GBNF grammar allows, a file or the text itself; - for standard input",
    )
    which.add_argument(
        "--lark",
        metavar="FILE",
        type=name_of,
        help="what a Lark grammar allows, a file or the text itself; - for standard input",
    )
    which.add_argument("--choices", metavar="TEXTS", type=_some_text, help="one of these texts, with commas between")
    limits.add_argument(
        "--constraint-start",
        metavar="N",
        type=_start,
        help="tokens of the prompt before the constraint begins; 0 checks all of the prompt (default: all of them)",
    )


def _add_answers(parser: argparse.ArgumentParser) -> None:
    """Adds the options of answers and their budget."""
    group = parser.add_argument_group(
        "answers",
        "Which answers may follow, how likely each is, and how much of the probability they have. Prints them, as "
        "text or as --json, and exits. It looks at the likeliest first, until one of the three limits is reached.",
    )
    group.add_argument("--answers", metavar="N", type=_count, help="print the N likeliest answers, too")
    group.add_argument(
        "--until",
        metavar="STOP",
        type=_stop,
        help="where an answer ends: line, sentence, end (where the model ends, which ends any), '12 tokens', or a "
        "text, in which \\n is a line break; text:line is the text 'line' (default: the configured one, sentence)",
    )
    group.add_argument(
        "--budget", metavar="TOKENS", type=_count, help="how many tokens to look at (default: as configured, 1000)"
    )
    group.add_argument(
        "--seconds",
        metavar="N",
        type=_start,
        help="how many seconds to look; 0 for no limit (default: as configured, no limit)",
    )
    group.add_argument(
        "--coverage",
        metavar="PERCENT",
        type=_part,
        help="how much of the probability is enough (default: as configured, 90)",
    )


def make_parser() -> argparse.ArgumentParser:
    """The options of `tokex-gguf`; docs/reference/command-line.md is generated from it."""
    parser = CommandParser(
        prog=PROGRAM,
        description="See what a language model would say next, token by token, and be its sampler.",
        epilog=f"Commands: {PROGRAM} models, pull NAME, sessions, cache, doctor, completion SHELL, help (each has "
        "--help). Keys: ? shows them while you play. "
        f"Configuration: config.toml in the current folder, else {visible(str(config.user_file()))}. "
        f"Exit codes: {EXIT_CODES}.",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=name_of,
        help="read the starting prompt from a file; - is standard input, which is read as well where it is a pipe",
    )
    source.add_argument(
        "-i", "-f", "--input", "--file", metavar="FILE", type=name_of, dest="input", help="the same as FILE"
    )
    source.add_argument("-p", "--prompt", metavar="TEXT", help="the starting prompt itself")
    source.add_argument(
        "--resume",
        metavar="N",
        nargs="?",
        const=1,
        type=_place,
        help="go on with the session that was played last, or the Nth that `tokex-gguf sessions` lists",
    )
    parser.add_argument("--session", metavar="NAME", help="go on with the session of this name, or begin it")
    parser.add_argument(
        "-m",
        "--model",
        metavar="MODEL",
        type=name_of,
        help="path of a GGUF file, a name from `tokex-gguf models`, or REPO/NAME[:FILE] on the hub",
    )
    parser.add_argument(
        "--versus",
        metavar="MODEL",
        type=name_of,
        help="compare with a second model, which is named as --model names one",
    )
    parser.add_argument(
        "--server",
        metavar="URL",
        type=_address,
        help="play on a llama-server, vLLM or SGLang at this address; --model is then one of its models. "
        "TOKEX_SERVER_KEY in the environment holds its key",
    )
    parser.add_argument(
        "--server-candidates",
        metavar="N",
        type=_count,
        help="candidates to ask a server for (default 100)",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="let a server's key go over plain http to another machine"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--config", metavar="FILE", type=_path, help="use this configuration file")
    which.add_argument("--no-config", action="store_true", help="use no configuration file")
    parser.add_argument(
        "-c",
        "--context",
        "--ctx-size",
        metavar="N",
        type=_cells,
        help="tokens that the context holds; 0 or auto, the default: it grows with the prompt",
    )
    parser.add_argument(
        "-t", "--threads", metavar="N", type=_threads, help="threads to compute with; 0 or -1: chosen by the processor"
    )
    parser.add_argument(
        "--kv", choices=("f16", "q8_0"), help="type of the KV cache's cells; q8_0 takes half the memory"
    )
    computing = parser.add_mutually_exclusive_group()
    computing.add_argument(
        "-ngl",
        "--gpu-layers",
        "--n-gpu-layers",
        metavar="N",
        type=_layers,
        help="layers to compute on a graphics processor; or all",
    )
    computing.add_argument(
        "--rpc",
        metavar="WORKERS",
        type=workers,
        help="compute all layers on llama.cpp's RPC workers, HOST:PORT with commas between; only in a trusted network",
    )
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="leave the prompt cache alone, which keeps on disk what was computed, for the next start",
    )
    parser.add_argument(
        "--chat",
        action="store_true",
        help="the input is the user's turn, or a JSON list of messages, for the model's own chat template",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the prompt's numbers as JSON, and exit")
    shape.add_argument("--plain", action="store_true", help="print the prompt's numbers as text, and exit")
    shape.add_argument(
        "--draw", metavar="N", type=_count, help="print N samples of how the text goes on, one JSON object per line"
    )
    parser.add_argument(
        "-n",
        "--predict",
        "--n-predict",
        metavar="N",
        type=_predicted,
        help=f"with --draw: how many tokens a sample may have (default {DEFAULT_PREDICT}); -1 for no limit",
    )
    _add_answers(parser)
    _add_sampling(parser)
    parser.add_argument("--log", metavar="FILE", type=_path, help="write the log there")
    parser.add_argument(
        "-V", "--version", action="version", version=f"{PROGRAM} {__version__}", help="print the version, and exit"
    )
    return parser


OTHER_NAMES = {
    **dict.fromkeys(("--cache-type-k", "-ctk", "--cache-type-v", "-ctv"), "--kv"),
    **dict.fromkeys(("--hf-repo", "-hf", "-hfr"), "--model REPO/NAME[:FILE]"),
    **dict.fromkeys(("--host", "--port"), "--server URL"),
}
"""Options of llama.cpp's tools that have another name here."""


def parsed(given: Sequence[str]) -> argparse.Namespace:
    """The options of a command line. Raises Exit, and SystemExit where there is nothing more to do.

    As with llama.cpp, `--top_k` is `--top-k`, and no name is abbreviated. An option that is none is named as such, and
    not what its value is taken for.
    """
    parser = make_parser()
    options = {name: action for action in parser._actions for name in action.option_strings}
    end = given.index("--") if "--" in given else len(given)
    words: list[str] = []
    for word in given[:end]:
        before = options.get(words[-1]) if words else None
        name = word.partition("=")[0].replace("_", "-")
        if before and before.nargs is None and word[:1] == "-" and " " in word and name not in options:
            # argparse would take a text that begins as a short option for that option.
            words[-1] = f"{words[-1]}={word}" if words[-1].startswith("--") else f"{words[-1]}{word}"
        elif not _is_option(word):
            words.append(word)
        elif before and before.nargs is None and word not in options:
            raise Exit(f"{words[-1]} takes a value: one that begins with - is given as {words[-1]}=VALUE", USAGE)
        else:
            words.append(_option(word, options))
    return parser.parse_args([*words, *given[end:]])


def _is_option(word: str) -> bool:
    """Whether argparse takes a word for an option, and not for a value."""
    name = word.partition("=")[0]
    return name.startswith("-") and name != "-" and " " not in name and not re.fullmatch(r"-\d+|-\d*\.\d+", word)


def _option(word: str, options: Mapping[str, argparse.Action]) -> str:
    """An option, with the value that may follow its name, as the parser knows it. Raises Exit."""
    name, equals, value = word.partition("=")
    if name.startswith("--"):
        name = name.replace("_", "-")
        if name in options:
            return name + equals + value
    elif name in options:
        return word
    if name in OTHER_NAMES:
        raise Exit(f"there is no option {name}: {OTHER_NAMES[name]} is its name here", USAGE)
    short = options.get(name[:2])
    # Its value follows without a blank. With a letter it would be an option of llama.cpp's, such as -fa or -mu.
    if short and short.nargs is None and not name[2].isalpha():
        return word
    import difflib  # not on the way to the first frame

    near = [one for one in options if one.startswith(name)] or difflib.get_close_matches(name, options, 1, 0.75)
    meant = f"did you mean {' or '.join(near[:3])}?" if near and name.startswith("--") else "try --help"
    raise Exit(f"there is no option {visible(name[:60])}: {meant}", USAGE)
