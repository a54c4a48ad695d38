"""`python -m tokex_gguf` and `tokex-gguf`: the same program."""

import sys


def run() -> int:
    """Runs the program. Importing it takes long enough to be interrupted."""
    try:
        from tokex_gguf.cli import main

        return main()
    except KeyboardInterrupt:
        print("tokex-gguf: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
