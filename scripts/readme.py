"""Brings the key table in README.md, and docs/keys.md, up to date with the program's own.

uv run python scripts/readme.py [--check]
"""

import argparse
import re
import sys
from pathlib import Path

from tokex_gguf.keymap import manual, markdown

README = Path(__file__).parent.parent / "README.md"
MANUAL = README.parent / "docs" / "keys.md"
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
    """Rewrites both, or only compares."""
    parser = argparse.ArgumentParser(description="Bring the key table in README.md up to date.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where it is out of date")
    check = parser.parse_args().check
    outdated = False
    for path, after in ((README, with_keys(README.read_text(encoding="utf-8"))), (MANUAL, manual())):
        if path.exists() and path.read_text(encoding="utf-8") == after:
            continue
        if check:
            print(f"the keys in {path.name} are out of date: uv run python scripts/readme.py", file=sys.stderr)
            outdated = True
        else:
            path.write_text(after, encoding="utf-8")
    return int(outdated)


if __name__ == "__main__":
    sys.exit(main())
