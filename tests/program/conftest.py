"""These tests play the real program in a pseudo-terminal. There are none on Windows."""

import sys

collect_ignore_glob = ["test_*.py"] if sys.platform == "win32" else []
