"""`python -m tokex_gguf` and `tokex-gguf`: the same program."""

import sys


def run() -> int:
    """Runs the program. Importing it takes long enough to be interrupted."""
    engine = None
    try:
        from tokex_gguf import signals

        signals.catch()
        try:
            from tokex_gguf import COMMANDS
            from tokex_gguf.engine import process

            if sys.argv[1:2] == [] or sys.argv[1] not in COMMANDS:
                # It imports llama.cpp while this process imports what it needs itself.
                engine = process.start()
        except OSError:
            pass  # the game tries again, and says why
        from tokex_gguf.cli import main

        return main(engine=engine)
    except KeyboardInterrupt as error:
        print("tokex-gguf: interrupted", file=sys.stderr)
        return getattr(error, "code", 130)
    except Exception as error:  # before there is a log: an installation that is not whole
        print(f"tokex-gguf: internal error ({type(error).__name__}: {error})", file=sys.stderr)
        return 1
    finally:
        if engine:
            signals.hold()
            with engine:  # closes its pipes, waits
                engine.kill()


if __name__ == "__main__":
    sys.exit(run())
