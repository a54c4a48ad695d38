"""The command line: wiring, exit codes.

Exit codes: 0 done; 1 something failed at run time; 2 wrong input, configuration or
arguments; 128 + n ended by signal n: 130 interrupted, 143 terminated, 129 hung up.
"""

import argparse
import errno
import gc
import io
import logging
import os
import stat
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tokex_gguf import COMMANDS, __version__, config
from tokex_gguf.cli import inputs
from tokex_gguf.cli.arguments import DEFAULT_PREDICT, parsed
from tokex_gguf.cli.chat_input import BadChat, Conversation, conversation
from tokex_gguf.cli.sampling import sampling_of
from tokex_gguf.engine.backend import Connect
from tokex_gguf.engine.client import local
from tokex_gguf.engine.process import SERVER_KEY
from tokex_gguf.engine.protocol import ConnectServer, Load
from tokex_gguf.models import resolve
from tokex_gguf.models.memory import Fit
from tokex_gguf.models.preflight import UnusableModel, prepare
from tokex_gguf.models.resolve import Resolved
from tokex_gguf.play.game import WHOLE_PROMPT, Game, Sampling, Settings
from tokex_gguf.play.session import Options, Palette, Session
from tokex_gguf.sessions import store
from tokex_gguf.sessions.store import Slot, when
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.system import home, machine, signals
from tokex_gguf.system.console import FAILED, INTERRUPTED, USAGE, Exit, LogFormatter, dumps, say
from tokex_gguf.system.files import create_private, owners_alone, private_folder
from tokex_gguf.system.words import shell_word
from tokex_gguf.values.download import Wanted, meanwhile
from tokex_gguf.values.fan_out import Budget
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.layers import REACHABLE
from tokex_gguf.values.model_ref import GgufFile, ModelRef, ServerModel
from tokex_gguf.values.names import valid_name
from tokex_gguf.values.record import replace
from tokex_gguf.values.sampler_text import Reading, read_flags
from tokex_gguf.values.stops import StopRule, stop_of

if TYPE_CHECKING:
    from tokex_gguf.sessions.codec import Encoder

LARGEST_LOG = 1 << 20
"""Bytes from which the log is rotated at the next start. One old log is kept; the engine's process logs there, too."""

LAST_SAVE_WAIT = 60.0
"""Seconds that the last save may take on a slow disk."""
SAVE_WAIT_AFTER_SIGNAL = 0.4
"""Seconds that the last save may take after a signal: its sender waits, or kills the program."""

BUNDLED_MODEL_BYTES = 1 << 14
"""Bytes of a text that fit into the bundled model's context for any tokenisation. A longer text waits for the default
model, whose context is larger."""

log = logging.getLogger("tokex_gguf")


def main(arguments: Sequence[str] | None = None, connect: Connect | None = None) -> int:
    """Runs the program with engines from `connect`, by default those of this machine; returns its exit code."""
    # Errors of logging, and messages before the log is open, must not reach the screen.
    logging.raiseExceptions, logging.lastResort = False, None
    logging.captureWarnings(True)  # warnings of libraries go to the log, too
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = _guarded(arguments, connect)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # The rest of the buffer cannot be written at the exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if code == 0 and not isinstance(error, BrokenPipeError):
            say(f"the output cannot be written: {error.strerror}")
        return FAILED
    return code


def _guarded(arguments: Sequence[str] | None, connect: Connect | None) -> int:
    log_path: Path | None = None
    try:
        if sys.stdout is None:
            raise Exit("standard output is closed", FAILED)
        if homeless := home.ensure():
            say(homeless)
        given = sys.argv[1:] if arguments is None else list(arguments)
        if given and given[0] in COMMANDS:
            from tokex_gguf.cli import commands  # not on the way to the first frame

            _collect_garbage()
            return commands.run(given[0], given[1:])
        options = parsed(given)
        log_path = _open_log(_log_path(options.log), asked=options.log is not None)
        return _run(options, log_path, connect)
    except Exit as exit_:
        say(str(exit_))
        return exit_.code
    except SystemExit:
        return 0  # --help and --version have printed what was asked for
    except KeyboardInterrupt as error:
        say("interrupted")
        return getattr(error, "code", INTERRUPTED)
    except BrokenPipeError:
        return FAILED  # the reader of our output has gone
    except OSError as error:
        log.exception("the system refused something")
        details = f"; details in {log_path}" if log_path else ""
        # At a limit of open files, the file named by the error is not at fault.
        limited = error.errno in (errno.EMFILE, errno.ENFILE)
        where = "" if limited else f"{error.filename or 'the system'}: "
        say(f"{where}{system_reason(error)}{details}")
        return FAILED
    except Exception as error:
        log.exception("internal error")
        details = f"); details in {log_path}" if log_path else f": {error})"
        say(f"internal error ({type(error).__name__}{details}")
        return FAILED


def _collect_garbage() -> None:
    """Enables the garbage collector after the start, and freezes what exists: a search at the end would be slow."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _given_or(asked: int | None, configured: int) -> int:
    return configured if asked is None else asked


def _log_path(asked: Path | None) -> Path:
    return asked or config.state_folder() / "tokex-gguf.log"


def _open_log(path: Path, *, asked: bool) -> Path:
    """Opens the log; returns its path.

    A log that cannot be written goes to the null device, unless its path was given: then raises Exit.
    """
    try:
        private_folder(path.parent)
        if path.exists() and stat.S_ISFIFO(path.stat().st_mode):
            raise OSError(errno.EINVAL, "a pipe")  # opening a pipe would wait for its reader
        if not asked and path.is_file() and path.stat().st_mode & 0o077:
            owners_alone(path, 0o600)  # a log of version 0.1.0
        if path.is_file() and path.stat().st_size > LARGEST_LOG:
            with suppress(OSError):  # on Windows, a log that another program has open cannot be renamed
                path.replace(path.with_name(f"{path.name}.1"))
        with suppress(FileExistsError):
            create_private(path).close()
        path.open("ab").close()
    except (OSError, ValueError) as error:
        if asked:
            reason = system_reason(error) if isinstance(error, OSError) else "not a file name"
            raise Exit(f"{path}: the log cannot be written there: {reason}", USAGE) from None
        path = Path(os.devnull)
    logging.basicConfig(filename=path, encoding="utf-8", errors="backslashreplace", level=logging.INFO, force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(LogFormatter())
    # All tracebacks go to the log.
    threading.excepthook = lambda fault: _log_error(fault.exc_value, "in a thread")
    sys.unraisablehook = lambda fault: _log_error(fault.exc_value, f"ignored in {fault.object!r}")
    return path.absolute()


def _log_error(error: BaseException | None, where: str) -> None:
    log.error("internal error %s", where, exc_info=error)


def _run(options: argparse.Namespace, log_path: Path, connect: Connect | None) -> int:
    settings, config_path, config_notices = _configuration(options)
    if settings.server.url:
        settings = _with_server(settings, options, here=config_path == config.HERE and not options.config)
    homeless = home.ensure()
    notices = [*config_notices]
    screen = sys.stdout.isatty() and not (options.plain or options.json or options.draw or options.answers)
    if (options.resume is not None or options.session) and not screen:
        leave = "leave --plain, --json, --draw and --answers out, and do not redirect"
        needs = f"--resume and --session need the screen: {leave}"
        raise Exit(needs, USAGE)
    named = options.file is not None or options.input is not None
    options.input = inputs.source(options)
    options.unasked = options.input is not None and not named
    _check_for_answers(options)
    if options.versus is not None:
        _check_for_versus(options, screen=screen)
    opened = _open_session(options)
    try:
        return _run_session(_Given(options, settings, opened, log_path, screen), connect, notices, homeless)
    finally:
        opened.slot.close()


class _Given(NamedTuple):
    """What a start is given."""

    options: argparse.Namespace
    settings: config.Config
    opened: "_OpenedSession"
    log_path: Path
    screen: bool
    """Whether it is played on the screen, and not printed."""

    @property
    def rpc(self) -> str:
        """The RPC workers, separated by commas."""
        configured = "" if self.options.gpu_layers else self.settings.engine.rpc
        return ",".join(self.options.rpc) if self.options.rpc else configured


class _Text(NamedTuple):
    """The starting text."""

    text: str
    chat: str
    """The messages that make it, as JSON; empty where it is no chat."""
    notices: tuple[str, ...]


def _run_session(given: _Given, connect: Connect | None, notices: list[str], homeless: str) -> int:
    """Plays or prints; returns the exit code."""
    options, settings, opened, screen = given.options, given.settings, given.opened, given.screen
    if opened.session and options.chat:
        raise Exit("--chat is for a text that is given now: leave it out to go on with a session", USAGE)
    if opened.session and options.constraint_start is not None:
        raise Exit("--constraint-start is for a text that is given now: leave it out to go on with a session", USAGE)
    sampling, about = sampling_of(options, opened.session.game.sampling if opened.session else None)
    presets = {name: read_flags(flags) for name, flags in settings.samplers.items()}
    if screen:  # only the screen has presets
        about += tuple(f"[samplers] {name}: {line}" for name, reading in presets.items() for line in reading.clamped)
    start = _starting_text(given)
    about += start.notices
    notices += about
    at_once = screen and options.model is None and len(start.text.encode()) <= BUNDLED_MODEL_BYTES
    chosen = _choose_model(options, settings, opened.session, notices, rpc=given.rpc, at_once=at_once)
    second = None if options.versus is None else _second(options, settings, chosen, notices, rpc=given.rpc)
    notice_shown = "; ".join(filter(None, [opened.notice, homeless, chosen.fit.notice, *about])) or opened.offer
    notices += [chosen.fit.notice] if chosen.fit.notice else []
    notices += [meanwhile(chosen.wanted)] if chosen.wanted else []
    started = _game_settings(given, start, chosen, presets)
    session = _first_session(given, started, chosen, sampling)
    if screen and second:
        from tokex_gguf.shell.resuming import with_second

        session = with_second(session, GgufFile(str(second.path), options.versus), second.fit)
        notice_shown = "; ".join(filter(None, [notice_shown, session.notice]))
    session = replace(
        session, name=opened.named, notice=notice_shown, download=Wanted(chosen.wanted) if chosen.wanted else None
    )
    runtime = Runtime(
        session,
        connect=connect,
        folder=Path("prompts"),
        slot=opened.slot if screen else None,
        moves=opened.moves,
        encoder=opened.encoder,
    )
    log.info("tokex-gguf %s, Python %s, with %s", __version__, sys.version.split()[0], chosen.model.key)
    for notice in notices:
        say(notice)
    code = FAILED
    try:
        # The engine loads its model while this process imports the screen's modules.
        runtime.start()
        all_notices = [homeless, *notices] if homeless else notices
        if screen:
            code = _play(runtime, settings.display.theme)
        else:
            code = _print(runtime, all_notices, options, second, connect or local())
    finally:
        saved = _leave(runtime, patience=SAVE_WAIT_AFTER_SIGNAL if code >= 128 else LAST_SAVE_WAIT)
    return code or (0 if saved else FAILED)


def _starting_text(given: _Given) -> _Text:
    """The text to start with; the configured one where a session is gone on with. Raises Exit."""
    text, notices = given.settings.prompt.example_prompt, tuple[str, ...]()
    if given.opened.session is None:
        text, notices = inputs.starting_text(given.options, text, screen=given.screen)
    chat, about_chat = _chat(text) if given.options.chat else ("", ())
    return _Text(text, chat, (*notices, *about_chat))


def _game_settings(given: _Given, start: _Text, chosen: "_Chosen", presets: Mapping[str, Reading]) -> Settings:
    """The settings of the first game. Raises Exit."""
    options, settings, screen = given.options, given.settings, given.screen
    stop, budget = _answers(options, settings)
    return Settings(
        text=start.text,
        model=chosen.model,
        load=Load(
            "",
            context=chosen.fit.context,
            threads=_given_or(options.threads, settings.engine.threads),
            log=str(given.log_path),
            most=chosen.fit.most,
            kv=chosen.kv,
            gpu_layers=0 if given.rpc else _given_or(options.gpu_layers, settings.engine.gpu_layers),
            rpc=given.rpc,
            repack=chosen.fit.repack,
            fingerprints=str(config.state_folder() / "fingerprints.json"),
            # Printing computes all numbers again, and writes neither a cache nor a session.
            cache=str(config.cache_folder()) if screen and not options.no_cache else "",
            cache_bytes=settings.engine.cache << 20,
        ),
        server=ConnectServer(
            settings.server.url,
            settings.server.model,
            options.server_candidates or settings.server.candidates,
            str(given.log_path),
            options.insecure or settings.server.insecure,
        ),
        chat=start.chat,
        # A chat has special tokens, whatever the configuration says of typed text.
        parse_special=settings.prompt.parse_special or bool(start.chat),
        max_prompts=settings.prompt.max_prompts,
        tokens_to_show=settings.display.tokens_to_show,
        lookahead=settings.engine.lookahead if screen else 0,
        lookahead_tokens=settings.engine.lookahead_tokens if screen else 0,
        example=settings.prompt.example_prompt,
        light=_is_light(settings.display.theme),
        colours=not os.environ.get("NO_COLOR"),
        surprise=settings.display.surprise_bits,
        stop=stop,
        budget=budget,
        critical=settings.answers.critical,
        critical_tokens=settings.answers.critical_tokens,
        presets=tuple((name, reading.chain) for name, reading in presets.items()),
        begins=WHOLE_PROMPT if options.constraint_start is None else options.constraint_start,
    )


def _first_session(given: _Given, started: Settings, chosen: "_Chosen", sampling: Sampling) -> Session:
    """The session to begin with: one that was read, or a new one."""
    opened = given.opened.session
    if opened:
        from tokex_gguf.shell.resuming import resumed

        session = resumed(opened, started, chosen.kv)
    else:
        palette = Palette(given.settings.display.palette) if started.colours else Palette.MONOCHROME
        session = Session(Game(started), options=Options(palette=palette))
    session = replace(session, game=replace(session.game, sampling=_sampling_for(session.game, sampling, opened)))
    if sampling.constraint and not (opened and opened.game.sampling.constraint):
        # Legal tokens come first, however unlikely they are.
        session = replace(session, options=replace(session.options, by_final=True))
    if not given.screen and given.options.draw is None:
        # The report has the samplers' numbers for each token.
        session = replace(session, options=replace(session.options, layer=REACHABLE))
    return session


class _Chosen(NamedTuple):
    """The model to be played, and how it is loaded."""

    model: ModelRef
    fit: Fit
    kv: str
    wanted: str = ""
    """The model that is downloaded meanwhile, and replaces this one."""


def _choose_model(
    options: argparse.Namespace,
    settings: config.Config,
    session: Session | None,
    notices: list[str],
    *,
    rpc: str,
    at_once: bool,
) -> _Chosen:
    """The model of the command line, else the session's, else the configured one."""
    kv, context = settings.engine.kv, settings.engine.context if options.context is None else options.context
    server = _server(options, settings, session)
    if server:
        _check_for_server(options)
        return _Chosen(server, Fit(context), options.kv or kv)
    name = settings.model.name if options.model is None else options.model
    played = session.game.settings.model if session and options.model is None else None
    if isinstance(played, GgufFile):
        resolved = _session_model(played, name, notices, at_once=at_once)
    else:
        resolved = _model(name, notices, at_once=at_once)
    session_cells = session.game.model.cells if session and session.game.model and options.model is None else ""
    if options.kv and session_cells and options.kv != session_cells:
        reason = (
            f"this session was played with {session_cells} cells, and its numbers cannot stand beside those of others"
        )
        raise Exit(f"--kv {options.kv}: {reason}: leave --kv out", USAGE)
    kv = options.kv or session_cells or kv
    return _Chosen(
        GgufFile(str(resolved.path), resolved.asked), _prepared(resolved.path, context, kv, rpc), kv, resolved.wanted
    )


class _Second(NamedTuple):
    """The model to compare with, and how it is loaded."""

    path: Path
    fit: Fit
    free: int
    """Bytes of available memory before any model is loaded; 0: unknown."""


def _check_for_versus(options: argparse.Namespace, *, screen: bool) -> None:
    """Refuses options that do not go with --versus. Raises Exit."""
    if screen:
        return  # the screen compares through samplers and constraints as well
    if options.draw is not None:
        raise Exit("--draw: samples are one model's: leave --versus out", USAGE)
    if options.sampling or any(constraint is not None for constraint in _constraints(options)):
        raise Exit("--versus compares what models say before any sampler or constraint: leave those out", USAGE)


def _check_for_answers(options: argparse.Namespace) -> None:
    """Refuses options that do not go with --answers, or only with it. Raises Exit."""
    further = {"--until": options.until, "--budget": options.budget, "--seconds": options.seconds}
    further["--coverage"] = options.coverage
    if options.answers is None:
        if given := [name for name, value in further.items() if value is not None]:
            raise Exit(f"{given[0]} is for --answers", USAGE)
        return
    if options.draw is not None:
        raise Exit("--draw prints samples, and --answers what is likeliest: leave one of them out", USAGE)
    if options.versus is not None:
        raise Exit("--answers are one model's: leave --versus out", USAGE)


def _answers(options: argparse.Namespace, settings: config.Config) -> tuple[StopRule, Budget]:
    """Where answers end, and the budget for them: from the command line, else the configuration."""
    own = settings.answers
    return stop_of(options.until or own.until), Budget(
        options.budget or own.tokens,
        float(_given_or(options.seconds, own.seconds)),
        own.coverage / 100 if options.coverage is None else options.coverage,
    )


def _second(
    options: argparse.Namespace, settings: config.Config, chosen: _Chosen, notices: list[str], *, rpc: str
) -> _Second:
    """The model of --versus. Raises Exit."""
    if isinstance(chosen.model, ServerModel):
        reason = "what a server tells depends on what it did before"
        raise Exit(f"--versus compares models on this machine, {reason}: leave --server or --versus out", USAGE)
    free, total = (0, 0) if rpc else machine.memory()
    resolved = _model(options.versus, notices, at_once=False)
    context = settings.engine.context if options.context is None else options.context
    fit = _prepared(resolved.path, context, chosen.kv, rpc)
    notices += [f"{resolved.path.name}: {fit.notice}"] if fit.notice else []
    return _Second(resolved.path, fit, free if total else 0)


def _server(options: argparse.Namespace, settings: config.Config, session: Session | None) -> ServerModel | None:
    """The server to play on; None for a model's file."""
    if options.server:
        return ServerModel(options.server, options.model or "")
    if options.model is not None:
        return None
    if session:
        played = session.game.settings.model
        return played if isinstance(played, ServerModel) else None
    return ServerModel(settings.server.url, settings.server.model) if settings.server.url else None


def _check_for_server(options: argparse.Namespace) -> None:
    """Refuses options that a server does not take, and those that need a whole distribution. Raises Exit."""
    own = {"--kv": options.kv, "--context": options.context, "--threads": options.threads}
    own |= {"--gpu-layers": options.gpu_layers, "--rpc": options.rpc or None}
    if given := [name for name, value in own.items() if value is not None]:
        raise Exit(f"{given[0]} is for a model on this machine: a server is told when it is started", USAGE)
    if options.sampling or options.draw or any(constraint is not None for constraint in _constraints(options)):
        need = "samplers, constraints and draws need the whole vocabulary, and a server tells the likeliest tokens"
        raise Exit(f"{need}: leave them out, or play a model on this machine", USAGE)


def _constraints(options: argparse.Namespace) -> tuple[str | None, ...]:
    """The options that are constraints."""
    return options.regex, options.json_schema, options.grammar, options.lark, options.choices


def _with_server(settings: config.Config, options: argparse.Namespace, *, here: bool) -> config.Config:
    """The configuration with its server's address normalised.

    `here`: whether it is the current folder's configuration. Its server must not get the player's key: where a key is
    set, raises Exit, or leaves the server out.
    """
    from tokex_gguf.values.server_url import parse

    url = parse(settings.server.url).url
    if not (here and os.environ.get(SERVER_KEY)) or options.server == url:
        return replace(settings, server=replace(settings.server, url=url))
    if options.server is None and options.model is None and options.resume is None and options.session is None:
        raise Exit(
            f"config.toml in the current folder chooses the server {url}: {SERVER_KEY} is sent there if you name it "
            "with --server",
            USAGE,
        )
    return replace(settings, server=replace(settings.server, url=""))


def _leave(runtime: Runtime, patience: float) -> bool:
    """Ends a game, and says where its session was saved; returns whether it was saved in its place."""
    hurry = threading.Event()

    def ended(number: int) -> None:
        if number in signals.ENDING:
            hurry.set()

    signals.listen(ended)
    end = runtime.close(patience, hurry, lambda: say("saving what was played: the disk is slow"))
    signals.hold()
    if end is None:
        return True
    from tokex_gguf.sessions.autosave import Lost, Rescued, SavedWhole, TextSaved

    match end:
        case TextSaved(path):
            say(f"no prompt was read yet: the text that you typed is in {path}")
            return True
        case SavedWhole(name, last):
            named = not store.is_autosave(name) or not last
            say(f"to go on: tokex-gguf {f'--session {shell_word(name)}' if named else '--resume'}")
            return True
        case Rescued(path, place, reason):
            say(f"not saved: {reason}")
            say(f"what was played is in {path}")
            say(f"to go on: move it to {place}, then tokex-gguf --session {shell_word(place.stem)}")
        case Lost(reason):
            say(f"what was played last is not saved: {reason}")
    return False


def _sampling_for(game: Game, asked: Sampling, before: Session | None) -> Sampling:
    """The sampling for a game. Biases of a session's chain are kept only for its own model: `game` has the rest."""
    if before is None or asked.chain != before.game.sampling.chain:
        return asked
    return replace(asked, chain=game.sampling.chain)


class _OpenedSession(NamedTuple):
    """The slot of a session, and the session read from it."""

    slot: Slot
    session: Session | None = None
    moves: int = 0
    named: str = ""
    """The name that the player gave the session."""
    notice: str = ""
    offer: str = ""
    """How to resume the last session, where none was asked for."""
    encoder: "Encoder | None" = None
    """The encoder that continues the session's file."""


def _sessions() -> Path:
    return config.state_folder() / "sessions"


def _open_session(options: argparse.Namespace) -> _OpenedSession:
    """The session of the command line, or a new one. Raises Exit where it does not exist, or cannot be read."""
    folder, name = _sessions(), options.session
    if options.resume is None and name is None:
        return _OpenedSession(Slot(folder), offer="" if options.input or options.prompt else _offer(folder))
    if name is not None and not valid_name(name):
        raise Exit(f"--session {name!r}: a name has 1 to 64 letters, digits, - _ . and blanks", USAGE)
    names = [saved.name for saved in store.sessions(folder)]
    if options.resume is not None:
        if name is not None:
            raise Exit("--resume takes no name of a session: leave it or --session out", USAGE)
        if not names:
            raise Exit("there is no session to go on with yet: start without --resume", USAGE)
        if options.resume > len(names):
            raise Exit(f"--resume {options.resume}: tokex-gguf sessions lists {len(names)}", USAGE)
        name = names[options.resume - 1]
    if name not in names:
        if (slot := store.claim(folder, name)) is None:
            raise Exit(f"the session {name} is open in another program: take another name", USAGE)
        return _OpenedSession(slot, named="" if store.is_autosave(name) else name)
    if options.input is not None or options.prompt is not None:
        raise Exit(f"there is a session {name} already: leave --input and --prompt out, or take another name", USAGE)
    from tokex_gguf.shell import resuming  # not on the way to the first frame of a new session

    try:
        slot, session, moves, named, notice, encoder = resuming.opened(folder, name)
    except store.NoSession as error:
        raise Exit(str(error), FAILED) from None
    return _OpenedSession(slot, session, moves, named, notice, encoder=encoder)


def _offer(folder: Path) -> str:
    """How to resume the last session, if there is one."""
    last = next(iter(store.sessions(folder)), None)
    if last is None:
        return ""
    which = f"the session “{last.name}”" if not store.is_autosave(last.name) else f"the session of {when(last.saved)}"
    return f"{which} is kept: start with --resume to go on with it"


def _is_light(theme: str) -> bool:
    """Whether the terminal's background is light, as far as the environment says."""
    # COLORFGBG is "foreground;background" in 16 colours; 7 and 15 are the light ones.
    return theme == "light" or (theme == "auto" and os.environ.get("COLORFGBG", "").split(";")[-1] in ("7", "15"))


def _must_ask_theme(theme: str) -> bool:
    """Whether to query the terminal for its background. Linux's console cannot answer, and would print the query."""
    if theme != "auto" or os.environ.get("COLORFGBG", "").split(";")[-1].isdigit():
        return False
    return os.environ.get("TERM", "") not in ("", "dumb", "linux")


def _configuration(options: argparse.Namespace) -> config.FoundConfig:
    try:
        if options.no_config:
            return config.FoundConfig(config.Config())
        return config.FoundConfig(config.load(options.config), options.config) if options.config else config.find()
    except config.ConfigError as error:
        raise Exit(str(error), USAGE) from None


def _model(name: str, notices: list[str], *, at_once: bool) -> Resolved:
    """The file of a named model. `at_once`: the bundled model may replace it during its download."""
    try:
        resolved = resolve.resolve(name, say, at_once=at_once)
    except resolve.UnknownModel as error:
        raise Exit(str(error), USAGE) from None
    except resolve.DownloadFailed as error:
        raise Exit(str(error), FAILED) from None
    if resolved.notice:
        notices.append(resolved.notice)
    return resolved


def _session_model(model: GgufFile, name: str, notices: list[str], *, at_once: bool) -> Resolved:
    """The file of a session's model, always taken as a path.

    `name`: the configured model. `at_once`: if the session was begun with the bundled model in its place, it is still
    to be downloaded.
    """
    try:
        resolved = resolve.played(model.path, model.asked)
        wanted = at_once and not model.asked and resolve.stands_in(resolved.path, name)
    except resolve.UnknownModel as error:
        raise Exit(str(error), USAGE) from None
    if resolved.notice:
        notices.append(resolved.notice)
    return replace(resolved, asked=model.asked, wanted=name if wanted else "")


def _prepared(model: Path, context: int, kv: str, rpc: str) -> Fit:
    try:
        return prepare(model, context=context, kv=kv, rpc=rpc)
    except UnusableModel as error:
        raise Exit(str(error), USAGE) from None


def _chat(text: str) -> Conversation:
    try:
        return conversation(text)
    except BadChat as error:
        raise Exit(f"--chat: {error}", USAGE) from None


def _print(
    runtime: Runtime, notices: Sequence[str], options: argparse.Namespace, second: _Second | None, connect: Connect
) -> int:
    from tokex_gguf.cli import draw, report

    _collect_garbage()
    try:
        session = report.evaluate(runtime)
        session_notices = session.game.notices if options.draw is not None else report.notices_of(session)
        for notice in session_notices:
            say(notice)
        if options.draw is not None:
            most = DEFAULT_PREDICT if options.predict is None else max(0, options.predict)
            for sample in draw.samples(runtime, options.draw, most):
                _print_now(dumps(sample, ascii_only=_plain_ascii(), indent=None))
        elif second:
            _print_versus(runtime, session, [*notices, *session_notices], second, connect, options)
        elif options.answers:
            _print_answers(runtime, session, [*notices, *session_notices], options)
        elif options.json:
            json_report = report.as_json(session, [*notices, *session_notices], sampled=bool(options.sampling))
            _print_now(dumps(json_report, ascii_only=_plain_ascii()))
        else:
            _print_now(report.as_text(session))
    except report.EvaluationFailed as error:
        raise Exit(str(error), USAGE if error.usage else FAILED) from None
    return 0


def _print_answers(runtime: Runtime, session: Session, notices: Sequence[str], options: argparse.Namespace) -> None:
    """Prints the prompt's numbers and the likeliest answers. Raises EvaluationFailed."""
    from tokex_gguf.cli import answers, report

    further = answers.notices(runtime)
    for notice in further:
        say(notice)
    fan = answers.find(runtime)
    if options.json:
        json_report = report.as_json(session, [*notices, *further], sampled=bool(options.sampling))
        _print_now(dumps(answers.with_answers(json_report, fan, options.answers), ascii_only=_plain_ascii()))
    else:
        _print_now("\n".join([report.as_text(session), "", *answers.lines(fan, options.answers)]))


def _print_versus(
    runtime: Runtime,
    session: Session,
    notices: Sequence[str],
    second: _Second,
    connect: Connect,
    options: argparse.Namespace,
) -> None:
    """Prints the numbers of two models. Raises EvaluationFailed."""
    from tokex_gguf.cli import report, versus, versus_report

    load = replace(
        session.game.settings.load,
        path=str(second.path),
        context=second.fit.context,
        most=second.fit.most,
        repack=second.fit.repack,
    )
    result = versus.compare(runtime, session, versus.Second(load, second.free), connect)
    for notice in result.notices:
        say(notice)
    if options.json:
        further = [*notices, *result.notices]
        json_report = report.as_json(result.session, further, sampled=bool(options.sampling))
        _print_now(dumps(versus_report.with_versus(json_report, result), ascii_only=_plain_ascii()))
    else:
        lines = [report.as_text(result.session, versus_report.column(result)), "", *versus_report.lines(result)]
        _print_now("\n".join(lines))


def _plain_ascii() -> bool:
    """Whether standard output's encoding lacks characters."""
    return not sys.stdout.encoding.lower().startswith("utf")


def _print_now(text: str) -> None:
    """Prints a text and flushes it. Raises Exit."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Exit(f"the output cannot be written: {error.strerror}", FAILED) from None


def _play(runtime: Runtime, theme: str) -> int:
    from tokex_gguf.ui.app import App
    from tokex_gguf.ui.terminal_input import keyboard

    # Keys come from the terminal, even if standard input was the prompt.
    code = App(
        runtime, keyboard(), ask_background=_must_ask_theme(theme) and runtime.session.game.settings.colours
    ).run()
    if runtime.quit and runtime.quit.fault:
        raise Exit(runtime.quit.fault, USAGE)
    return code
