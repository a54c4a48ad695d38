"""The former name of scripts/docs.py."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).with_name("docs.py")), run_name="__main__")
