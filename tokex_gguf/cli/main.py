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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tokex_gguf import COMMANDS, __version__, config
from tokex_gguf.cli import inputs
from tokex_gguf.cli.arguments import PREDICTED, parsed
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
from tokex_gguf.play.session import WHOLE_PROMPT, Game, Options, Palette, Sampling, Session, Settings
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
from tokex_gguf.values.sampler_text import read_flags
from tokex_gguf.values.stops import StopRule, stop_of

if TYPE_CHECKING:
    from tokex_gguf.sessions.codec import Encoder

LARGEST_LOG = 1 << 20
"""Bytes from which a log is put aside at the next start. Two are kept: the engine's process writes there, too."""

LAST_SAVE_WAIT = 60.0
"""Seconds that a slow disk has at the end for what was played."""
PATIENCE_FOR_SIGNALS = 0.4
"""The same where a signal ends the program: whoever sent it waits, or ends it by force."""

SURELY_FITS = 1 << 14
"""Bytes of a text that the bundled model has room for, however they are cut into tokens. A longer one waits for the
default model, which has more."""

log = logging.getLogger("tokex_gguf")


def main(arguments: Sequence[str] | None = None, connect: Connect | None = None) -> int:
    """Runs the program over the engines that `connect` makes, or over ones of this machine; returns its exit code."""
    # A log that cannot be written, or is not open yet, is nothing for the screen.
    logging.raiseExceptions, logging.lastResort = False, None
    logging.captureWarnings(True)  # libraries' warnings hold what the environment says, and are for the log, too
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = _guarded(arguments, connect)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer cannot be written at the exit either.
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
        return FAILED  # whoever read our output has gone
    except OSError as error:
        log.exception("the system refused something")
        details = f"; details in {log_path}" if log_path else ""
        # The file at which a limit was reached is not the one at fault.
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
    """After a start without. What that has made is left out: Python would go through all of it again at the end."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _first(asked: int | None, configured: int) -> int:
    return configured if asked is None else asked


def _log_path(asked: Path | None) -> Path:
    return asked or config.state_folder() / "tokex-gguf.log"


def _open_log(path: Path, *, asked: bool) -> Path:
    """Begins to log there.

    Where that cannot be done, to the system's sink, unless the place was asked for by name. Returns which.
    """
    try:
        private_folder(path.parent)
        if path.exists() and stat.S_ISFIFO(path.stat().st_mode):
            raise OSError(errno.EINVAL, "a pipe")  # whoever opens one waits for its other end
        if not asked and path.is_file() and path.stat().st_mode & 0o077:
            owners_alone(path, 0o600)  # made by version 0.1.0
        if path.is_file() and path.stat().st_size > LARGEST_LOG:
            with suppress(OSError):  # on Windows, one that another program has open keeps its name
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
    # Tracebacks are for the log, whoever has them to tell.
    threading.excepthook = lambda fault: _blame(fault.exc_value, "in a thread")
    sys.unraisablehook = lambda fault: _blame(fault.exc_value, f"ignored in {fault.object!r}")
    return path.absolute()


def _blame(error: BaseException | None, where: str) -> None:
    log.error("internal error %s", where, exc_info=error)


def _run(options: argparse.Namespace, log_path: Path, connect: Connect | None) -> int:
    settings, path, found = _configuration(options)
    if settings.server.url:
        settings = _with_server(settings, options, here=path == config.HERE and not options.config)
    homeless = home.ensure()
    notices = [*found]
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
    kept = _kept(options)
    try:
        return _begun(options, settings, kept, log_path, connect, notices, homeless, screen=screen)
    finally:
        kept.slot.close()


def _begun(
    options: argparse.Namespace,
    settings: config.Config,
    kept: "_Kept",
    log_path: Path,
    connect: Connect | None,
    notices: list[str],
    homeless: str,
    *,
    screen: bool,
) -> int:
    """Plays, or prints; returns the exit code."""
    if kept.session and options.chat:
        raise Exit("--chat is for a text that is given now: leave it out to go on with a session", USAGE)
    if kept.session and options.constraint_start is not None:
        raise Exit("--constraint-start is for a text that is given now: leave it out to go on with a session", USAGE)
    sampling, about = sampling_of(options, kept.session.game.sampling if kept.session else None)
    presets = {name: read_flags(flags) for name, flags in settings.samplers.items()}
    if screen:  # nothing else goes through them
        about += tuple(f"[samplers] {name}: {line}" for name, one in presets.items() for line in one.clamped)
    notices += about
    text = settings.prompt.example_prompt
    if kept.session is None:
        text, more = inputs.starting_text(options, settings.prompt.example_prompt, screen=screen)
        about += more
        notices += more
    chat, more = _chat(text) if options.chat else ("", ())
    about += more
    notices += more
    at_once = screen and options.model is None and len(text.encode()) <= SURELY_FITS
    configured = "" if options.gpu_layers else settings.engine.rpc
    rpc = ",".join(options.rpc) if options.rpc else configured
    chosen = _chosen(options, settings, kept.session, notices, rpc=rpc, at_once=at_once)
    fit, kv = chosen.fit, chosen.kv
    second = None if options.versus is None else _second(options, settings, chosen, notices, rpc=rpc)
    shown = "; ".join(filter(None, [kept.notice, homeless, fit.notice, *about])) or kept.offer
    notices += [fit.notice] if fit.notice else []
    notices += [meanwhile(chosen.wanted)] if chosen.wanted else []
    stop, budget = _answers(options, settings)
    started = Settings(
        text=text,
        model=chosen.model,
        load=Load(
            "",
            context=fit.context,
            threads=_first(options.threads, settings.engine.threads),
            log=str(log_path),
            most=fit.most,
            kv=kv,
            gpu_layers=0 if rpc else _first(options.gpu_layers, settings.engine.gpu_layers),
            rpc=rpc,
            repack=fit.repack,
            fingerprints=str(config.state_folder() / "fingerprints.json"),
            # What is printed is computed anew each time, and leaves no text behind, as it leaves no session.
            cache=str(config.cache_folder()) if screen and not options.no_cache else "",
            cache_bytes=settings.engine.cache << 20,
        ),
        server=ConnectServer(
            settings.server.url,
            settings.server.model,
            options.server_candidates or settings.server.candidates,
            str(log_path),
            options.insecure or settings.server.insecure,
        ),
        chat=chat,
        # A chat's special tokens are tokens, whatever is typed later.
        parse_special=settings.prompt.parse_special or bool(chat),
        max_prompts=settings.prompt.max_prompts,
        tokens_to_show=settings.display.tokens_to_show,
        lookahead=settings.engine.lookahead if screen else 0,
        lookahead_tokens=settings.engine.lookahead_tokens if screen else 0,
        example=settings.prompt.example_prompt,
        light=_light(settings.display.theme),
        colours=not os.environ.get("NO_COLOR"),
        surprise=settings.display.surprise_bits,
        stop=stop,
        budget=budget,
        critical=settings.answers.critical,
        critical_tokens=settings.answers.critical_tokens,
        presets=tuple((name, reading.chain) for name, reading in presets.items()),
        begins=WHOLE_PROMPT if options.constraint_start is None else options.constraint_start,
    )
    palette = Palette(settings.display.palette) if started.colours else Palette.MONOCHROME
    if kept.session:
        from tokex_gguf.shell.resuming import resumed

        session = resumed(kept.session, started, kv)
    else:
        session = Session(Game(started), options=Options(palette=palette))
    session = replace(session, game=replace(session.game, sampling=_on(session.game, sampling, kept.session)))
    if sampling.constraint and not (kept.session and kept.session.game.sampling.constraint):
        # What is legal comes first, however unlikely it is.
        session = replace(session, options=replace(session.options, by_final=True))
    if not screen and options.draw is None:
        # What the samplers make of each token is wanted.
        session = replace(session, options=replace(session.options, layer=REACHABLE))
    if screen and second:
        from tokex_gguf.shell.resuming import with_beside

        session = with_beside(session, GgufFile(str(second.path), options.versus), second.fit)
        shown = "; ".join(filter(None, [shown, session.notice]))
    session = replace(session, name=kept.named, notice=shown, download=Wanted(chosen.wanted) if chosen.wanted else None)
    game = Runtime(
        session,
        connect=connect,
        folder=Path("prompts"),
        slot=kept.slot if screen else None,
        moves=kept.moves,
        encoder=kept.encoder,
    )
    log.info("tokex-gguf %s, Python %s, with %s", __version__, sys.version.split()[0], chosen.model.key)
    for notice in notices:
        say(notice)
    code = FAILED
    try:
        # The engine loads its model while this process imports what the screen needs.
        game.start()
        said = [homeless, *notices] if homeless else notices
        if screen:
            code = _play(game, settings.display.theme)
        else:
            code = _print(game, said, options, second, connect or local())
    finally:
        kept_whole = _leave(game, patience=PATIENCE_FOR_SIGNALS if code >= 128 else LAST_SAVE_WAIT)
    return code or (0 if kept_whole else FAILED)


class _Chosen(NamedTuple):
    """The model that is to be played, and how it is loaded."""

    model: ModelRef
    fit: Fit
    kv: str
    wanted: str = ""
    """The model that it stands in for, until that is downloaded."""


def _chosen(
    options: argparse.Namespace,
    settings: config.Config,
    session: Session | None,
    notices: list[str],
    *,
    rpc: str,
    at_once: bool,
) -> _Chosen:
    """What was asked for, else the session's own model, else the one that is configured."""
    kv, context = settings.engine.kv, settings.engine.context if options.context is None else options.context
    server = _server(options, settings, session)
    if server:
        _check_for_server(options)
        return _Chosen(server, Fit(context), options.kv or kv)
    name = settings.model.name if options.model is None else options.model
    played = session.game.settings.model if session and options.model is None else None
    if isinstance(played, GgufFile):
        found = _played(played, name, notices, at_once=at_once)
    else:
        found = _model(name, notices, at_once=at_once)
    begun = session.game.model.cells if session and session.game.model and options.model is None else ""
    if options.kv and begun and options.kv != begun:
        why = f"this session was played with {begun} cells, and its numbers cannot stand beside those of others"
        raise Exit(f"--kv {options.kv}: {why}: leave --kv out", USAGE)
    kv = options.kv or begun or kv
    return _Chosen(GgufFile(str(found.path), found.asked), _prepared(found.path, context, kv, rpc), kv, found.wanted)


class _Second(NamedTuple):
    """The model to compare with, and how it is loaded."""

    path: Path
    fit: Fit
    free: int
    """Bytes of memory that there are before any model is loaded; 0: unknown."""


def _check_for_versus(options: argparse.Namespace, *, screen: bool) -> None:
    """Refuses what cannot be compared."""
    if screen:
        return  # the screen shows both, through samplers and constraints as well
    if options.draw is not None:
        raise Exit("--draw: samples are one model's: leave --versus out", USAGE)
    if options.sampling or any(one is not None for one in _constraints(options)):
        raise Exit("--versus compares what models say before any sampler or constraint: leave those out", USAGE)


def _check_for_answers(options: argparse.Namespace) -> None:
    """Refuses what does not go together. Raises Exit."""
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
    """Where answers end, and what may be spent on them: as the command line says, else as it is configured."""
    own = settings.answers
    return stop_of(options.until or own.until), Budget(
        options.budget or own.tokens,
        float(_first(options.seconds, own.seconds)),
        options.coverage or own.coverage / 100,
    )


def _second(
    options: argparse.Namespace, settings: config.Config, chosen: _Chosen, notices: list[str], *, rpc: str
) -> _Second:
    """The model that --versus names. Raises Exit."""
    if isinstance(chosen.model, ServerModel):
        why = "what a server tells depends on what it did before"
        raise Exit(f"--versus compares models on this machine, {why}: leave --server or --versus out", USAGE)
    free, total = (0, 0) if rpc else machine.memory()
    found = _model(options.versus, notices, at_once=False)
    context = settings.engine.context if options.context is None else options.context
    fit = _prepared(found.path, context, chosen.kv, rpc)
    notices += [f"{found.path.name}: {fit.notice}"] if fit.notice else []
    return _Second(found.path, fit, free if total else 0)


def _server(options: argparse.Namespace, settings: config.Config, session: Session | None) -> ServerModel | None:
    """The server that is to be played on; None where a model's file is played."""
    if options.server:
        return ServerModel(options.server, options.model or "")
    if options.model is not None:
        return None
    if session:
        played = session.game.settings.model
        return played if isinstance(played, ServerModel) else None
    return ServerModel(settings.server.url, settings.server.model) if settings.server.url else None


def _check_for_server(options: argparse.Namespace) -> None:
    """Refuses what a server cannot be told, and what needs more than it tells."""
    own = {"--kv": options.kv, "--context": options.context, "--threads": options.threads}
    own |= {"--gpu-layers": options.gpu_layers, "--rpc": options.rpc or None}
    if given := [name for name, value in own.items() if value is not None]:
        raise Exit(f"{given[0]} is for a model on this machine: a server is told when it is started", USAGE)
    if options.sampling or options.draw or any(one is not None for one in _constraints(options)):
        need = "samplers, constraints and draws need the whole vocabulary, and a server tells the likeliest tokens"
        raise Exit(f"{need}: leave them out, or play a model on this machine", USAGE)


def _constraints(options: argparse.Namespace) -> tuple[str | None, ...]:
    """All that a text can be asked to fit."""
    return options.regex, options.json_schema, options.grammar, options.lark, options.choices


def _with_server(settings: config.Config, options: argparse.Namespace, *, here: bool) -> config.Config:
    """A configuration with its server's address as it is always written.

    `here`: whether it is the current folder's. Its server gets no key: that is for those that the player named. Where
    there is one, the program ends with a line, or does without that server.
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


def _leave(game: Runtime, patience: float) -> bool:
    """Ends a game, and says what became of what was played; returns whether it was saved as it should be."""
    hurry = threading.Event()

    def ended(number: int) -> None:
        if number in signals.ENDING:
            hurry.set()

    signals.listen(ended)
    end = game.close(patience, hurry, lambda: say("saving what was played: the disk is slow"))
    signals.hold()
    if end is None:
        return True
    from tokex_gguf.sessions.autosave import Kept, Lost, Rescued

    match end:
        case Kept(name, last):
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


def _on(game: Game, asked: Sampling, before: Session | None) -> Sampling:
    """What a game is drawn by: what was asked for. Tokens of a session's model mean nothing to another one."""
    if before is None or asked.chain != before.game.sampling.chain:
        return asked
    return replace(asked, chain=game.sampling.chain)


class _Kept(NamedTuple):
    """Where the session that begins is kept, and what is there already."""

    slot: Slot
    session: Session | None = None
    moves: int = 0
    named: str = ""
    """The player's own name for it."""
    notice: str = ""
    offer: str = ""
    """How to go on with another one, where nothing was asked for."""
    encoder: "Encoder | None" = None
    """By which one that was read is saved."""


def _sessions() -> Path:
    return config.state_folder() / "sessions"


def _kept(options: argparse.Namespace) -> _Kept:
    """The session that was asked for. Raises Exit where there is none, or it cannot be read."""
    folder, name = _sessions(), options.session
    if options.resume is None and name is None:
        return _Kept(Slot(folder), offer="" if options.input or options.prompt else _offer(folder))
    if name is not None and not valid_name(name):
        raise Exit(f"--session {name!r}: a name has 1 to 64 letters, digits, - _ . and blanks", USAGE)
    known = [saved.name for saved in store.sessions(folder)]
    if options.resume is not None:
        if name is not None:
            raise Exit("--resume takes no name of a session: leave it or --session out", USAGE)
        if not known:
            raise Exit("there is no session to go on with yet: start without --resume", USAGE)
        if options.resume > len(known):
            raise Exit(f"--resume {options.resume}: tokex-gguf sessions lists {len(known)}", USAGE)
        name = known[options.resume - 1]
    if name not in known:
        if (slot := store.claim(folder, name)) is None:
            raise Exit(f"the session {name} is open in another program: take another name", USAGE)
        return _Kept(slot, named="" if store.is_autosave(name) else name)
    if options.input is not None or options.prompt is not None:
        raise Exit(f"there is a session {name} already: leave --input and --prompt out, or take another name", USAGE)
    from tokex_gguf.shell import resuming  # not on the way to the first frame of a new session

    try:
        slot, session, moves, named, notice, encoder = resuming.opened(folder, name)
    except store.NoSession as error:
        raise Exit(str(error), FAILED) from None
    return _Kept(slot, session, moves, named, notice, encoder=encoder)


def _offer(folder: Path) -> str:
    """How to go on with what was played last, if anything was."""
    last = next(iter(store.sessions(folder)), None)
    if last is None:
        return ""
    return f"the session of {when(last.saved)} is kept: start with --resume to go on with it"


def _light(theme: str) -> bool:
    """Whether the terminal's background is light, as far as one can know."""
    # Some terminals say "foreground;background" in colours of 16; 7 and 15 are the light ones.
    return theme == "light" or (theme == "auto" and os.environ.get("COLORFGBG", "").split(";")[-1] in ("7", "15"))


def _unknown(theme: str) -> bool:
    """Whether only the terminal itself can tell: the console of Linux cannot, and some print what they do not know."""
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
    """The file that a name leads to. `at_once`: another one may stand in for it."""
    try:
        resolved = resolve.resolve(name, say, at_once=at_once)
    except resolve.UnknownModel as error:
        raise Exit(str(error), USAGE) from None
    except resolve.DownloadFailed as error:
        raise Exit(str(error), FAILED) from None
    if resolved.notice:
        notices.append(resolved.notice)
    return resolved


def _played(model: GgufFile, name: str, notices: list[str], *, at_once: bool) -> Resolved:
    """The file of a session's model: a path, whatever it looks like.

    `name`: of the model that is configured. `at_once`: where the session was begun with the one that stands in for it,
    that is still to be downloaded.
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
    game: Runtime, notices: Sequence[str], options: argparse.Namespace, second: _Second | None, connect: Connect
) -> int:
    from tokex_gguf.cli import draw, report

    _collect_garbage()
    try:
        session = report.evaluate(game)
        own = session.game.notices if options.draw is not None else report.notices_of(session)
        for notice in own:
            say(notice)
        if options.draw is not None:
            most = PREDICTED if options.predict is None else max(0, options.predict)
            for sample in draw.samples(game, options.draw, most):
                _put(dumps(sample, ascii_only=_plain_ascii(), indent=None))
        elif second:
            _print_versus(game, session, [*notices, *own], second, connect, as_json=options.json)
        elif options.answers:
            _print_answers(game, session, [*notices, *own], options)
        elif options.json:
            _put(dumps(report.as_json(session, [*notices, *own]), ascii_only=_plain_ascii()))
        else:
            _put(report.as_text(session))
    except report.EvaluationFailed as error:
        raise Exit(str(error), USAGE if error.usage else FAILED) from None
    return 0


def _print_answers(game: Runtime, session: Session, notices: Sequence[str], options: argparse.Namespace) -> None:
    """Prints the prompt's numbers and the likeliest answers. Raises EvaluationFailed."""
    from tokex_gguf.cli import answers, report

    further = answers.notices(game)
    for notice in further:
        say(notice)
    fan = answers.find(game)
    if options.json:
        told = report.as_json(session, [*notices, *further])
        _put(dumps(answers.with_answers(told, fan, options.answers), ascii_only=_plain_ascii()))
    else:
        _put("\n".join([report.as_text(session), "", *answers.lines(fan, options.answers)]))


def _print_versus(
    game: Runtime,
    session: Session,
    notices: Sequence[str],
    second: _Second,
    connect: Connect,
    *,
    as_json: bool,
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
    found = versus.compare(game, session, versus.Second(load, second.free), connect)
    for notice in found.notices:
        say(notice)
    if as_json:
        told = report.as_json(found.session, [*notices, *found.notices])
        _put(dumps(versus_report.with_versus(told, found), ascii_only=_plain_ascii()))
    else:
        lines = [report.as_text(found.session, versus_report.column(found)), "", *versus_report.lines(found)]
        _put("\n".join(lines))


def _plain_ascii() -> bool:
    """Whether standard output may not have all characters."""
    return not sys.stdout.encoding.lower().startswith("utf")


def _put(text: str) -> None:
    """Prints a text at once."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Exit(f"the output cannot be written: {error.strerror}", FAILED) from None


def _play(game: Runtime, theme: str) -> int:
    from tokex_gguf.ui.app import App
    from tokex_gguf.ui.terminal_input import keyboard

    # The prompt may have come through standard input: the keys come from the terminal all the same.
    code = App(game, keyboard(), ask_background=_unknown(theme) and game.session.game.settings.colours).run()
    if game.quit and game.quit.fault:
        raise Exit(game.quit.fault, USAGE)
    return code
