"""Brings the key table in README.md up to date with the program's own.

uv run python scripts/readme.py [--check]
"""

import argparse
import re
import sys
from pathlib import Path

from tokex_gguf.keymap import markdown

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- keys -->", "<!-- /keys -->"


def with_keys(text: str) -> str:
    r"""The README's text with the present key table between its markers. Raises ValueError without them.

    >>> with_keys("a <!-- keys -->old<!-- /keys --> b") == f"a {BEGIN}\n{markdown()}\n{END} b"
    True
    """
    table = f"{BEGIN}\n{markdown()}\n{END}"
    text, found = re.subn(f"{BEGIN}.*?{END}", lambda _: table, text, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"expected one pair of {BEGIN} and {END}, found {found}")
    return text


def main() -> int:
    """Rewrites the README, or only compares."""
    parser = argparse.ArgumentParser(description="Bring the key table in README.md up to date.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where it is out of date")
    check = parser.parse_args().check
    before = README.read_text(encoding="utf-8")
    after = with_keys(before)
    if after == before:
        return 0
    if check:
        print("the key table in README.md is out of date: uv run python scripts/readme.py", file=sys.stderr)
        return 1
    README.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
