"""The command line: arguments, wiring, exit codes.

Exit codes: 0 done; 1 something failed at run time; 2 wrong input, configuration or
arguments; 130 interrupted before the start.
"""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import platformdirs

from tokex_gguf import __version__, config, models
from tokex_gguf.engine.process import Engine
from tokex_gguf.game import Game
from tokex_gguf.session import Palette, Session, Settings
from tokex_gguf.tokens import visible

FAILED, USAGE, INTERRUPTED = 1, 2, 130

LARGEST = 16 * 2**20
"""Bytes of a starting prompt, at the most."""

log = logging.getLogger("tokex_gguf")


class Exit(Exception):
    """Ends the program with a line and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def main(arguments: Sequence[str] | None = None, engine: Engine | None = None) -> int:
    """Runs the program, with an engine that was started already if there is one; returns its exit code."""
    logging.raiseExceptions = False  # a log that cannot be written is nothing for the screen
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = _guarded(arguments, engine)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer cannot be written at the exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if code == 0 and not isinstance(error, BrokenPipeError):
            _say(f"the output cannot be written: {error.strerror}")
        return FAILED
    return code


def _guarded(arguments: Sequence[str] | None, engine: Engine | None) -> int:
    log_path: Path | None = None
    try:
        options = _parser().parse_args(arguments)
        log_path = _open_log(_log_path(options.log), asked=options.log is not None)
        return _run(options, log_path, engine)
    except Exit as exit_:
        _say(str(exit_))
        return exit_.code
    except SystemExit:
        return 0  # --help and --version have printed what was asked for
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED  # whoever read our output has gone
    except OSError as error:
        log.exception("the system refused something")
        _say(f"{error.filename or 'the system'}: {error.strerror or error}; details in {log_path}")
        return FAILED
    except Exception as error:
        log.exception("internal error")
        _say(f"internal error ({type(error).__name__}); details in {log_path}")
        return FAILED


def _say(line: str) -> None:
    """One line on standard error, with nothing in it that a terminal would obey."""
    try:
        print(f"tokex-gguf: {visible(line)}", file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Exit(f"{message}; try --help", USAGE)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= 10_000_000):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 10000000, got {text[:40]!r}")
    return int(text[:10])


def _parser() -> argparse.ArgumentParser:
    user_config = Path(platformdirs.user_config_dir(config.APP, appauthor=False)) / "config.toml"
    parser = _Parser(
        prog="tokex-gguf",
        description="See what a language model would say next, token by token, and be its sampler.",
        epilog=f"Configuration: config.toml in the current folder, else {user_config}. "
        "Exit codes: 0 done, 1 failed, 2 wrong input or arguments, 130 interrupted.",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "-i", "--input", metavar="FILE", help="read the starting prompt from a file; - for standard input"
    )
    source.add_argument("--prompt", metavar="TEXT", help="the starting prompt itself")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="path of a GGUF file, its name in models/, REPO/NAME:FILE on the hub, or bundled",
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="use this configuration file")
    parser.add_argument("--context", metavar="N", type=_count, help="tokens that the context holds (default: grows)")
    parser.add_argument("--threads", metavar="N", type=_count, help="threads to compute with")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the prompt's numbers as JSON, and end")
    shape.add_argument("--plain", action="store_true", help="print the prompt's numbers as text, and end")
    parser.add_argument("--log", metavar="FILE", type=Path, help="write the log there")
    parser.add_argument("--version", action="version", version=f"tokex-gguf {__version__}")
    return parser


def _log_path(asked: Path | None) -> Path:
    return asked or Path(platformdirs.user_state_dir(config.APP, appauthor=False)) / "tokex-gguf.log"


def _open_log(path: Path, *, asked: bool) -> Path:
    """Begins to log there.

    Where that cannot be done, to the system's sink, unless the place was asked for by name. Returns which.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        if asked:
            raise Exit(f"{path}: the log cannot be written there: {error.strerror}", USAGE) from None
        path = Path(os.devnull)
    logging.basicConfig(filename=path, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    return path.absolute()


def _run(options: argparse.Namespace, log_path: Path, engine: Engine | None) -> int:
    settings = _configuration(options)
    if sys.stdout is None:
        raise Exit("standard output is closed", FAILED)
    plain = options.plain or (not options.json and not sys.stdout.isatty())
    text = _text(options, settings, keys_needed=not plain and not options.json)
    model = _model(options.model or settings.model.name)
    game = Game(
        Session(
            Settings(
                text=text,
                model=str(model),
                context=options.context or settings.engine.context,
                threads=options.threads or settings.engine.threads,
                log=str(log_path),
                parse_special=settings.prompt.parse_special,
                max_prompts=settings.prompt.max_prompts,
                tokens_to_show=settings.display.tokens_to_show,
                lookahead=0 if plain or options.json else settings.engine.lookahead,
                example=settings.prompt.example_prompt,
                light=_light(settings.display.theme),
                surprise=settings.display.surprise_bits,
            ),
            palette=Palette.MONOCHROME if os.environ.get("NO_COLOR") else Palette(settings.display.palette),
        ),
        engine=engine,
        folder=Path("prompts"),
    )
    log.info("tokex-gguf %s with %s", __version__, model)
    try:
        # The engine loads its model while this process imports what the screen needs.
        game.start()
        return _print(game, as_json=options.json) if plain or options.json else _play(game)
    finally:
        game.close()


def _light(theme: str) -> bool:
    """Whether the terminal's background is light, as far as one can know."""
    # Some terminals say "foreground;background" in colours of 16; 7 and 15 are the light ones.
    return theme == "light" or (theme == "auto" and os.environ.get("COLORFGBG", "").split(";")[-1] in ("7", "15"))


def _configuration(options: argparse.Namespace) -> config.Config:
    try:
        return config.load(options.config or config.find())
    except config.ConfigError as error:
        raise Exit(str(error), USAGE) from None


def _model(name: str) -> Path:
    try:
        resolved = models.resolve(name, _say)
    except models.UnknownModel as error:
        raise Exit(str(error), USAGE) from None
    except models.DownloadFailed as error:
        raise Exit(str(error), FAILED) from None
    if resolved.notice:
        _say(resolved.notice)
    return resolved.path


def _text(options: argparse.Namespace, settings: config.Config, *, keys_needed: bool) -> str:
    """The starting prompt. Raises Exit for what cannot be one."""
    if keys_needed and (sys.stdin is None or not sys.stdin.isatty()) and options.input != "-":
        raise Exit(
            "standard input is not a terminal: --input - reads the prompt from it, --plain and --json need no keys",
            USAGE,
        )
    if options.input is not None:
        name = "standard input" if options.input == "-" else options.input
        text = _decode(name, _read(options.input))
    else:
        name = "--prompt" if options.prompt is not None else "example_prompt"
        text = options.prompt if options.prompt is not None else settings.prompt.example_prompt
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise Exit(f"{name}: not UTF-8", USAGE)
    if not text:
        raise Exit(f"{name}: empty; there must be some text to go on from", USAGE)
    return text


def _read(source: str) -> bytes:
    try:
        if source == "-":
            if sys.stdin is None or sys.stdin.closed:
                raise Exit("standard input is closed", USAGE)
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            path = Path(source)
            if path.is_dir():
                raise Exit(f"{source}: a folder; --input takes a text file", USAGE)
            with path.open("rb") as file:
                data = file.read(LARGEST + 1)
    except OSError as error:
        raise Exit(f"{source}: cannot be read: {error.strerror}", USAGE) from None
    except ValueError:
        raise Exit(f"{source!r}: not a file name", USAGE) from None
    if len(data) > LARGEST:
        raise Exit(f"{source}: larger than 16 MiB: no model's context holds that", USAGE)
    return data


def _decode(name: str, data: bytes) -> str:
    """Text of a file, less one final line break."""
    if b"\0" in data:
        raise Exit(f"{name}: not text: a zero byte at offset {data.index(0)}", USAGE)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Exit(f"{name}: not UTF-8 at byte offset {error.start}: save it as UTF-8", USAGE) from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\r\n") else text.removesuffix("\n")


def _print(game: Game, *, as_json: bool) -> int:
    import json

    from tokex_gguf import report

    try:
        session = report.evaluate(game)
    except report.EvaluationFailed as error:
        raise Exit(str(error), USAGE if error.usage else FAILED) from None
    if as_json:
        plain_ascii = not sys.stdout.encoding.lower().startswith("utf")
        text = json.dumps(report.as_json(session), ensure_ascii=plain_ascii, indent=1)
    else:
        text = report.as_text(session)
    try:
        print(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Exit(f"the output cannot be written: {error.strerror}", FAILED) from None
    return 0


def _play(game: Game) -> int:
    from prompt_toolkit.input import create_input

    from tokex_gguf.ui.app import App

    keys = None
    if not sys.stdin.isatty():
        # The prompt came through standard input: the keys come from the terminal all the same.
        keys = create_input(always_prefer_tty=True)
    App(game, keys).run()
    if game.quit and game.quit.fault:
        raise Exit(game.quit.fault, USAGE)
    return 0
