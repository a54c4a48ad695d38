"""Which llama.cpp computes, and where its code is loaded from."""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from llama_cpp import llama_cpp

from tests.conftest import Loader
from tokex_gguf.engine import process
from tokex_gguf.engine.worker import ggml
from tokex_gguf.engine.worker.ggml import cpu_library, load_backends
from tokex_gguf.engine.worker.llama import PLUG_INS, BatchEntry


class Ggml:
    """A library of `compiled_in` backends that finds `plug_ins` more where it is told to look."""

    def __init__(self, compiled_in: int, plug_ins: int) -> None:
        self._count, self._plug_ins = compiled_in, plug_ins
        self.looked_in: list[bytes] = []

    def ggml_backend_reg_count(self) -> int:
        return self._count

    def ggml_backend_load_all_from_path(self, folder: bytes) -> None:
        self.looked_in.append(folder)
        self._count += self._plug_ins


def loaded(library: Any) -> bool:
    return load_backends(library, Path("/package/lib"))


def test_what_is_compiled_in_needs_no_plug_ins() -> None:
    library = Ggml(1, 1)
    assert not loaded(library) and library.looked_in == []


def test_plug_ins_are_those_of_the_packages_folder() -> None:
    library = Ggml(0, 1)
    assert loaded(library) and library.looked_in == [os.fsencode(Path("/package/lib"))]


def test_without_any_the_engine_cannot_be_imported() -> None:
    """Else llama.cpp would look in the current folder when the model is loaded."""
    with pytest.raises(ImportError, match="no plug-in for this processor in"):
        loaded(Ggml(0, 0))


@pytest.mark.skipif(sys.platform == "win32", reason="ggml is another library there")
def test_the_import_leaves_nothing_to_look_for() -> None:
    library: ctypes.CDLL = llama_cpp._lib
    assert library.ggml_backend_reg_count() > 0


@pytest.mark.skipif(sys.platform == "win32", reason="ggml is another library there")
def test_a_pool_of_threads_changes_no_number(load: Loader) -> None:
    def logits(*, pool: bool) -> list[float]:
        llama = load(256)
        if pool:
            assert llama._context
            ggml.attach(llama_cpp._lib, llama._context, ggml.thread_pool(llama_cpp._lib, 2))
        path = llama.vocabulary.tokenize("The capital of France is", parse_special=False)
        return [float(x) for x in llama.decode([BatchEntry(token, 0, at, True) for at, token in enumerate(path)])[-1]]

    assert logits(pool=True) == logits(pool=False)


@pytest.mark.skipif(sys.platform == "win32", reason="ggml is another library there")
def test_what_computes_lies_in_the_package() -> None:
    assert cpu_library(llama_cpp._lib).resolve().parent == llama_cpp._base_path.resolve()


def test_the_engine_tells_its_build() -> None:
    told = json.loads(process.about().stdout)
    version = llama_cpp.llama_version().decode()
    assert told["build"].startswith(version)
    if sys.platform == "win32":
        return
    code = "CPU code from libggml-cpu" if PLUG_INS else "CPU code compiled in"
    assert told["build"].startswith(f"{version} (") and code in told["build"]
