"""Starts the engine's process. Imports next to nothing, so that it can come first."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import TypeAlias

EngineProcess: TypeAlias = subprocess.Popen[bytes]
TimeoutExpired = subprocess.TimeoutExpired

_NAMES = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV"),
        *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "OS", "USERPROFILE", "APPDATA", "LOCALAPPDATA"),
        *("PROGRAMDATA", "PROGRAMFILES", "NUMBER_OF_PROCESSORS", "GLIBC_TUNABLES"),
        *("GPU_DEVICE_ORDINAL", "ONEAPI_DEVICE_SELECTOR"),
    )
)
_PREFIXES = (
    *("LC_", "XDG_", "LD_", "DYLD_", "PYTHON", "MALLOC_", "PROCESSOR_", "COVERAGE_"),
    *("OMP_", "GOMP_", "KMP_", "GGML_", "LLAMA_", "OPENBLAS_", "MKL_", "BLIS_"),
    *("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "ROCM_", "HSA_", "AMD_", "VK_", "MESA_", "MTL_", "SYCL_", "ZE_", "UR_"),
)
_SECRETS = ("KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL", "AUTH")


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment variables for an engine: those that Python, llama.cpp, OpenMP and graphics processors read.

    >>> environment({"PATH": "/bin", "HF_TOKEN": "hf_a", "OMP_NUM_THREADS": "2", "LLAMA_API_KEY": "b"})
    {'PATH': '/bin', 'OMP_NUM_THREADS': '2'}
    """
    return {
        name: value
        for name, value in variables.items()
        if (name.upper() in _NAMES or name.upper().startswith(_PREFIXES))
        and not any(secret in name.upper() for secret in _SECRETS)
    }


LOCAL, REMOTE = "tokex_gguf.engine", "tokex_gguf.engine.remote"
"""The main modules of the engines: over llama.cpp, and over a server."""
SERVER_KEY = "TOKEX_SERVER_KEY"
"""The variable with a server's key. It is passed on only in the engine's environment."""
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def start(module: str = LOCAL) -> EngineProcess:
    """Starts an engine, which waits for its first request. Raises OSError.

    It ends when its standard input is closed, on Linux also with the thread that started it. The first request names
    its log file.
    """
    variables = environment(os.environ)
    if module == REMOTE:
        variables |= {name: os.environ[name] for name in (SERVER_KEY, *_CERTIFICATES) if name in os.environ}
    return subprocess.Popen(
        # -P: no code from the current folder.
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=variables,
        # No controlling terminal: no signals of its keys, and no access to it.
        start_new_session=sys.platform != "win32",
    )


def about(worker: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs an engine that prints facts about itself, or about an RPC worker, as JSON; see `engine/__main__.py`."""
    return subprocess.run(
        [sys.executable, "-P", "-m", LOCAL, *(["--worker", worker] if worker else ["--about"])],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environment(os.environ),
        start_new_session=sys.platform != "win32",
    )
