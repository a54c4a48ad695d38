"""A stand-in for the Hugging Face hub on this machine, with its faults."""

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

REVISION = "a" * 40


class Hub(http.server.ThreadingHTTPServer):
    """Serves the files of one repository as the hub does, or fails as it can."""

    def __init__(
        self,
        files: dict[str, bytes],
        fault: str = "",
        *,
        says: dict[str, str] | None = None,
        lists: dict[str, object] | None = None,
        revision: str = "main",
    ) -> None:
        """`says`: headers of the files' answers in place of its own; `lists`: what its list says of each file."""
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.fault = files, fault
        self.says, self.lists, self.revision = says or {}, lists or {}, revision
        self.requests: list[str] = []
        self.ranges: list[str] = []
        """What was asked for of files' bodies; empty: all."""
        self.authorization: set[str] = set()
        self.released = threading.Event()
        self.sending = threading.Event()
        """Set from the first file on that somebody fetches."""
        self.cuts = 0
        self.sent = 0
        """Bytes of an endless answer."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def sha256(self, file: str) -> str:
        return hashlib.sha256(self.files[file]).hexdigest()


REFUSALS = {
    "no repository": (404, "RepoNotFound"),
    "gated": (403, "GatedRepo"),
    "forbidden": (403, ""),
    "wrong token": (401, ""),
    "rate limit": (429, ""),
    "broken": (500, ""),
}


class Answer(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        hub = self.server
        hub.requests.append(f"{self.command} {self.path}")
        hub.authorization.add(self.headers.get("Authorization", ""))
        if hub.fault == "hangs":
            hub.released.wait(30)
            return
        if hub.fault in REFUSALS:
            status, error = REFUSALS[hub.fault]
            self._send(status, b"", {"X-Error-Code": error} if error else {})
        elif self.path.startswith("/api/models/") and hub.fault == "endless list":
            self._endless()
        elif self.path.startswith("/api/models/"):
            self._send(200, json.dumps(self._info()).encode(), {"Content-Type": "application/json"})
        else:
            self._file(body=body)

    def _info(self) -> dict[str, object]:
        hub = self.server
        siblings = [
            {
                "rfilename": name,
                "size": 10**15 if hub.fault == "huge" else len(data),
                "lfs": {
                    "sha256": "0" * 64 if hub.fault == "wrong hash" else hub.sha256(name),
                    "size": len(data),
                    "pointerSize": 134,
                },
                **hub.lists,
            }
            for name, data in hub.files.items()
        ]
        return {"id": "maker/model", "sha": REVISION, "siblings": siblings}

    def _file(self, *, body: bool) -> None:
        hub = self.server
        name = unquote(self.path.partition(f"/resolve/{hub.revision}/")[2])
        if name not in hub.files or hub.fault == "file gone":
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", **hub.says})
            return
        data = hub.files[name]
        headers = {"ETag": f'"{hub.sha256(name)}"', "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
        headers |= hub.says
        if not headers["ETag"]:
            del headers["ETag"]
        start = 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        rest = data[start:]
        if body:
            hub.ranges.append(self.headers.get("Range", ""))
            hub.sending.set()
        if not body and "Location" in headers:
            self._send(302, b"", headers)
        elif not body:
            self._send(200, b"", headers, length=len(rest))
        elif hub.fault == "endless file":
            self._endless()
        elif hub.fault == "more at each try":
            hub.cuts += 1
            self._send(
                206 if start else 200,
                data,
                headers | {"Content-Range": f"bytes {start}-{10**9 - 1}/{10**9}"},
                length=10**9,
            )
        elif hub.fault == "never whole":
            hub.cuts += 1
            self._send(200, data[:1000], headers, length=len(data))
        elif hub.fault == "second part cut" and "-00002-of-" in name:
            self._send(206 if start else 200, b"", headers, length=len(rest))
        elif hub.fault == "cut" and hub.cuts < 2:
            hub.cuts += 1
            self._send(206 if start else 200, rest[: len(rest) // 2], headers, length=len(rest))
        elif hub.fault == "half":
            self._send(206 if start else 200, rest[: len(rest) // 2], headers, length=len(rest))
            hub.released.wait(30)
            self._write(rest[len(rest) // 2 :])
        elif hub.fault in ("always cut", "stalls"):
            self._send(206 if start else 200, rest[:1000] if not start else b"", headers, length=len(rest))
            if hub.fault == "stalls":
                hub.released.wait(30)
        else:
            self._send(206 if start else 200, rest, headers)

    def _endless(self) -> None:
        """An answer that says nothing of its length and never ends."""
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        try:
            for _ in range(1000):
                self.wfile.write(bytes(1 << 20))
                self.server.sent += 1 << 20
        except OSError:
            pass

    def _send(self, status: int, data: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self._write(data)
        self.close_connection = True

    def _write(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            pass


@contextmanager
def serving(
    files: dict[str, bytes],
    fault: str = "",
    *,
    says: dict[str, str] | None = None,
    lists: dict[str, object] | None = None,
    revision: str = "main",
) -> Iterator[Hub]:
    with Hub(files, fault, says=says, lists=lists, revision=revision) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            hub.released.set()
            hub.shutdown()
            thread.join()


HASTE = (
    "import os, sys\n"
    "from tokex_gguf.models import hub; hub.PATIENCE = float(os.environ.get('PATIENCE', 30))\n"
    "import huggingface_hub.file_download as f\n"
    "f.time.sleep = lambda seconds: None\n"  # between its tries
    "from tokex_gguf.cli.main import main; sys.exit(main(sys.argv[1:]))"
)


def run(endpoint: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program against a hub; in its own process, as the hub's client reads its settings at import."""
    return subprocess.run(
        [sys.executable, "-c", HASTE, *arguments],
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_DOWNLOAD_TIMEOUT": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
