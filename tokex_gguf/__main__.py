"""`python -m tokex_gguf` and `tokex-gguf`: the same program."""

import gc
import os
import sys
from types import TracebackType


def run() -> int:
    """Runs the program. Importing it takes long enough to be interrupted."""
    sys.excepthook = _last_word
    gc.disable()  # nothing that a start makes is garbage, and searching it took a twelfth of the time
    engine, hold = None, _nothing
    try:
        _occupy_standard_streams()
        from tokex_gguf.system import home, signals

        hold = signals.hold
        signals.catch()
        home.ensure()
        try:
            from tokex_gguf import COMMANDS
            from tokex_gguf.engine import process

            served = any(one == "--server" or one.startswith("--server=") for one in sys.argv)
            if not served and (sys.argv[1:2] == [] or sys.argv[1] not in COMMANDS):
                # It imports llama.cpp while this process imports what it needs itself.
                engine = process.start()
        except OSError:
            pass  # the game tries again, and says why
        from tokex_gguf.cli.main import main
        from tokex_gguf.engine.client import local

        return main(connect=local(engine))
    except KeyboardInterrupt as error:
        print("tokex-gguf: interrupted", file=sys.stderr)
        return getattr(error, "code", 130)
    except Exception as error:  # before there is a log: an installation that is not whole
        _last_word(type(error), error, None)
        return 1
    finally:
        hold()
        if engine:
            with engine:  # closes its pipes, waits
                engine.kill()


def _nothing() -> None:
    """No signals are caught yet."""


def _occupy_standard_streams() -> None:
    """Opens the null device in place of standard streams that are closed.

    The next file that is opened would be written to by whatever prints, and standard error would be
    standard output: `print` takes it where there is no other.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest one that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  open as long as the program


def _last_word(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    """One line for what nothing else has caught, in place of a traceback."""
    interrupted = issubclass(kind, KeyboardInterrupt)
    told = "interrupted" if interrupted else f"internal error ({kind.__name__}: {error})"
    line = "".join(char if char.isprintable() else "?" for char in told[:500])
    try:
        print(f"tokex-gguf: {line}", file=sys.stderr)
    except (OSError, ValueError):
        pass  # nobody is there to read it


if __name__ == "__main__":
    sys.exit(run())
