"""`python -m tokex_gguf` and `tokex-gguf`: the same program."""

import sys


def run() -> int:
    """Runs the program. Importing it takes long enough to be interrupted."""
    engine = None
    try:
        try:
            from tokex_gguf.engine import process

            # It imports llama.cpp while this process imports what it needs itself.
            engine = process.start()
        except OSError:
            pass  # the game tries again, and says why
        from tokex_gguf.cli import main

        return main(engine=engine)
    except KeyboardInterrupt:
        print("tokex-gguf: interrupted", file=sys.stderr)
        return 130
    finally:
        if engine:
            with engine:  # closes its pipes, waits
                engine.kill()


if __name__ == "__main__":
    sys.exit(run())
