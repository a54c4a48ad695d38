# /// script
# requires-python = ">=3.11"
# dependencies = ["ziglang==0.17.1"]
# ///
"""Installs the program with a compiler that is a Python package, for machines that have none: Zig's.

uv run scripts/without_compiler.py && uv run tokex-gguf
"""

import os
import subprocess
import sys
import sysconfig


def main() -> int:
    """Fills the project's environment; returns an exit code."""
    environment = os.environ | {
        "CC": "python-zig cc",
        "CXX": "python-zig c++",
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]),
    }
    # This script's environment is not the one to fill.
    environment.pop("VIRTUAL_ENV", None)
    return subprocess.run([os.environ.get("UV", "uv"), "sync"], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
