"""Plays the program on a real model, records what the engine says, and draws the pictures in docs/screens with it.

uv run python scripts/screens.py [--model PATH]

Where the screen alone has changed, `uv run poe golden` draws them anew from the recording.
"""

import argparse
import ctypes
import sys
import tempfile
from pathlib import Path

from llama_cpp import llama_cpp

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.bare import silent  # noqa: E402
from tests.pictures import FOLDER, RECORDING, SCREENS, SECOND, drawn  # noqa: E402
from tests.recorded import Answers  # noqa: E402
from tokex_gguf.engine.client import local  # noqa: E402
from tokex_gguf.models.discovery import bundled_model  # noqa: E402


def requantise(model: Path, to: Path) -> None:
    """Writes the same model as Q2_K. Raises OSError."""
    llama_cpp.llama_log_set(silent, None)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = llama_cpp.LLAMA_FTYPE_MOSTLY_Q2_K, True
    if llama_cpp.llama_model_quantize(str(model).encode(), str(to).encode(), ctypes.byref(params)):
        raise OSError(f"{model} cannot be requantised")


def main() -> int:
    """Makes the recording and all pictures."""
    parser = argparse.ArgumentParser(description="Draw the pictures in docs/screens.")
    parser.add_argument("--model", type=Path, metavar="PATH", help="a GGUF file (default: the bundled SmolLM2-135M)")
    model = parser.parse_args().model or bundled_model()
    if model is None:
        print("the bundled model is not installed, and no --model is given", file=sys.stderr)
        return 1
    answers = Answers(local())
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / model.name
        first.symlink_to(model.resolve())
        requantise(model, Path(folder) / SECOND)
        try:
            for screen in SCREENS:
                path = FOLDER / f"{screen.name}.svg"
                path.write_text(drawn(screen, answers, str(first)), encoding="utf-8", newline="\n")
                print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")
        finally:
            answers.close()
    answers.write(RECORDING)
    print(f"{RECORDING.relative_to(ROOT)}: {RECORDING.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
