"""Asking a server over HTTP: the only place with sockets, HTTP and TLS.

One connection, kept as long as the server keeps it. A server is no friend: what it sends is bounded
in size and time, it is believed to be JSON only, and sends this program nowhere else.
"""

import contextlib
import http.client
import io
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tokex_gguf.engine.remote.dialects.dialect import Call, CallRefused, Nonsense, Steps
from tokex_gguf.values.server_url import Address
from tokex_gguf.values.tokens import visible

T = TypeVar("T")

KEY = "TOKEX_SERVER_KEY"
"""The environment variable with the server's key."""
CONNECT = 5.0
"""Seconds for a connection, with its name and TLS."""
ASK_HEALTH_AFTER = 1.0
"""Seconds without an answer, before the server is asked whether it is well."""
HEALTH = 3.0
"""Seconds for it to say so."""
WELL = "/v1/models"
"""What it is asked for then. Not `/health`: that of SGLang computes a token, behind all that is computed before."""
ANSWER = 30.0
"""Seconds for the rest of an answer that has begun; and for a question to be taken."""
SLOWEST = 32 << 10
"""Bytes a second of an answer for which there is more time than that: a vocabulary has megabytes."""
INTERIM = 20
"""Answers that only say that an answer is to come: from a proxy, one or two."""
MOST_BYTES = 64 << 20
"""Bytes of an answer at the most, whatever was asked."""
LONGEST_LINE = 200
"""Characters of a server's own message that are told."""


class NoAnswer(Exception):
    """The server is not there, does not answer, or lets nobody in. The message is one line, and names it."""


class Interrupted(Exception):
    """What was under way was ended by `HttpClient.interrupt`."""


class _Closed(Exception):
    """The server has closed a connection instead of answering."""


class HttpClient:
    """Asks one server. All but `interrupt` is for one thread."""

    def __init__(self, address: Address, key: str = "", *, insecure: bool = False) -> None:
        """Connects when something is asked.

        `insecure`: whether the key may go over plain http to another machine. Raises NoAnswer where it may not,
        or where it cannot be a key.
        """
        key = key.strip()
        if key and not (key.isascii() and key.isprintable()):
            raise NoAnswer(f"the key in {KEY} has characters that no key has")
        if key and not (address.tls or address.local or insecure):
            raise NoAnswer(
                f"the key would go over plain http to {address.name}, for everybody between to read:"
                " use https, or --insecure"
            )
        self._address = address
        self._key = key
        self._tls: ssl.SSLContext | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        """What `interrupt` shuts."""
        self._running = False
        self._interrupted = False
        self.connections = 0
        """How often it has connected. Behind a new connection, there may be another model."""

    @property
    def name(self) -> str:
        """The server's host and port, as they are shown."""
        return self._address.name

    def run(self, steps: Steps[T]) -> T:
        """Asks a question to its end. Raises NoAnswer, Interrupted, Refused, Nonsense, and what the question does."""
        with self._lock:
            self._running, self._interrupted = True, False
        try:
            call = next(steps)
            while True:
                try:
                    answer = self._ask(call)
                except (NoAnswer, Interrupted, CallRefused, Nonsense) as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            with self._lock:
                self._running = False
            steps.close()

    def interrupt(self) -> None:
        """Ends the question that is under way, if one is. From any thread."""
        with self._lock:
            if self._running:
                self._interrupted = True
                for each in self._open:
                    _shut(each)

    def close(self) -> None:
        """Closes the connection. It can be asked again."""
        if self._socket is not None:
            self._close(self._socket)
            self._socket = None

    # --- one call

    def _ask(self, call: Call) -> Any:
        """Sends a call, and gives the JSON of the answer."""
        body = b"" if call.body is None else json.dumps(call.body, separators=(",", ":")).encode()
        status, reason, data = self._exchange(call, body)
        if 200 <= status < 300:
            try:
                return json.loads(data.decode())
            except (ValueError, RecursionError):
                raise Nonsense("an answer that is no JSON") from None
        if 300 <= status < 400:
            raise NoAnswer(f"{self.name} sends elsewhere ({status}): give the address where the server itself is")
        if status in (401, 403) and not self._key:
            raise NoAnswer(f"{self.name} asks for a key: set {KEY}")
        if status in (401, 403):
            raise NoAnswer(f"{self.name} does not take the key in {KEY} ({status})")
        line = self._line(data) or f"{status} {visible(reason)}".strip()[:LONGEST_LINE]
        if status in (502, 503, 504):
            raise NoAnswer(f"{self.name} is not ready: {line}")
        raise CallRefused(status, line)

    def _exchange(self, call: Call, body: bytes) -> tuple[int, str, bytes]:
        """Status, its name, and the body of an answer. A connection that was kept for too long is made anew once."""
        try:
            if (kept := self._socket) is not None:
                if _is_quiet(kept):
                    with contextlib.suppress(_Closed):
                        return self._converse(kept, call, body)
                self.close()
            self._check()
            self._socket = self._connect(time.monotonic() + CONNECT)
            self.connections += 1
            return self._converse(self._socket, call, body)
        except _Closed:
            self.close()
            self._check()
            raise NoAnswer(f"{self.name} closes the connection without an answer") from None
        except BaseException:
            self.close()  # whatever comes on it belongs to no question
            self._check()
            raise

    def _check(self) -> None:
        if self._interrupted:
            raise Interrupted

    def _converse(self, kept: socket.socket, call: Call, body: bytes) -> tuple[int, str, bytes]:
        try:
            kept.settimeout(ASK_HEALTH_AFTER)
            self._send(kept, self._head(call, len(body)) + body)
            line = _Stream(kept, self._is_well)
            with contextlib.closing(self._response(line)) as response:
                most = min(call.most, MOST_BYTES)
                data = bytearray()
                while chunk := response.read(1 << 16):
                    data += chunk
                    if len(data) > most:
                        raise NoAnswer(f"{self.name} answers with more than was asked for: over {most:,} bytes")
                if response.length:
                    raise NoAnswer(f"{self.name} stops in the middle of an answer")
                self._check()  # an end that was brought about here looks like that of the headers
                if response.will_close or line.has_more():
                    self.close()
                return response.status, response.reason, bytes(data)
        except (BrokenPipeError, ConnectionResetError, ConnectionAbortedError, http.client.RemoteDisconnected):
            raise _Closed from None
        except http.client.IncompleteRead:
            raise NoAnswer(f"{self.name} stops in the middle of an answer") from None
        except (http.client.HTTPException, ValueError):
            raise NoAnswer(f"{self.name} does not speak HTTP") from None
        except OSError as error:
            raise NoAnswer(f"{self.name} does not answer: {_why(error)}") from None

    def _response(self, line: "_Stream") -> http.client.HTTPResponse:
        """The answer itself, behind those that only say that it is to come. Taken for it, all later ones were late."""
        for _ in range(INTERIM):
            response = http.client.HTTPResponse(line)  # type: ignore[arg-type]
            response.begin()
            if not 100 <= response.status < 200:
                return response
            line.wait_again()
        raise NoAnswer(f"{self.name} says again and again that an answer is to come")

    def _send(self, kept: socket.socket, data: bytes) -> None:
        left, deadline = memoryview(data), time.monotonic() + ANSWER
        while left:
            try:
                left = left[kept.send(left) :]
            except TimeoutError:
                self._is_well()
                if time.monotonic() > deadline:
                    raise NoAnswer(f"{self.name} takes no question") from None

    def _head(self, call: Call, length: int, *, last: bool = False) -> bytes:
        """What stands before a question's body. `last`: whether nothing else is asked over that connection."""
        lines = [
            f"{'GET' if call.body is None else 'POST'} {self._address.prefix}{call.path} HTTP/1.1",
            f"Host: {self.name}",
            "User-Agent: tokex-gguf",
            "Accept: application/json",
        ]
        if call.body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {length}"]
        if last:
            lines.append("Connection: close")
        if self._key:
            lines.append(f"Authorization: Bearer {self._key}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def _line(self, data: bytes) -> str:
        """What a server says is wrong, as one printable line; empty where it says nothing that is understood."""
        try:
            told = json.loads(data.decode())
        except (ValueError, RecursionError):
            return ""
        for key in ("error", "message", "detail"):
            if isinstance(told, dict) and key in told:
                told = told[key]
        if not isinstance(told, str):
            return ""
        line = visible(" ".join(told[: 10 * LONGEST_LINE].split()))
        return (line.replace(self._key, "…") if self._key else line)[:LONGEST_LINE]

    # --- connections

    def _connect(self, deadline: float) -> socket.socket:
        """A connection to the server, with TLS where its address says so. Raises NoAnswer."""
        problem: OSError = TimeoutError()
        for family, kind, protocol, _, where in self._resolve(deadline):
            made = socket.socket(family, kind, protocol)
            try:
                with self._lock:
                    self._open.add(made)
                self._check()
                made.settimeout(max(deadline - time.monotonic(), 0.01))
                made.connect(where)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return self._with_tls(made) if self._address.tls else made
            except OSError as error:
                self._close(made)
                problem = error
            except BaseException:
                self._close(made)
                raise
        raise NoAnswer(f"{self.name} does not answer: {_why(problem)}") from None

    def _with_tls(self, made: socket.socket) -> socket.socket:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        with self._lock:
            self._open.discard(made)
            # It takes the place of the other, which it empties.
            wrapped = self._tls.wrap_socket(made, server_hostname=self._address.host, do_handshake_on_connect=False)
            self._open.add(wrapped)
        try:
            self._check()
            wrapped.do_handshake()
        except BaseException:
            self._close(wrapped)
            raise
        return wrapped

    def _resolve(self, deadline: float) -> list[Any]:
        """Where the host is. The system's own time for that has no end that could be set, so it gets a thread."""
        found: list[Any] = []
        problem: list[OSError] = []

        def look() -> None:
            try:
                found.extend(socket.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM))
            except OSError as error:
                problem.append(error)
            except UnicodeError:  # a name that cannot be one
                problem.append(socket.gaierror())

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        while looking.is_alive() and time.monotonic() < deadline:
            looking.join(0.05)
            self._check()
        if problem or not found:
            raise NoAnswer(f"{self.name} does not answer: {_why(problem[0] if problem else TimeoutError())}")
        return found

    def _close(self, made: socket.socket) -> None:
        with self._lock:
            self._open.discard(made)
        with contextlib.suppress(OSError):
            made.close()

    def _is_well(self) -> None:
        """Asks a server that is silent whether it works on something. Raises NoAnswer where it does not say so."""
        deadline = time.monotonic() + HEALTH
        try:
            made = self._connect(deadline)
            try:
                made.settimeout(max(deadline - time.monotonic(), 0.01))
                made.sendall(self._head(Call(WELL), 0, last=True))
                with made.makefile("rb") as file:
                    status = file.readline(1000).split()
            finally:
                self._close(made)
        except (OSError, NoAnswer):
            raise NoAnswer(f"{self.name} has stopped answering") from None
        # Any answer but that it is broken will do.
        if len(status) < 2 or not status[1].isdigit() or int(status[1]) >= 500:
            raise NoAnswer(f"{self.name} says that it is not well")


class _Stream:
    """What HTTPResponse takes for a socket: it is read until the server has nothing more to say, or not in time.

    Several can be read from it, one after the other.
    """

    def __init__(self, kept: socket.socket, is_well: Callable[[], None]) -> None:
        self._reader = _Reader(kept, is_well)
        self._file = _Shared(self._reader, 1 << 16)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return self._file

    def wait_again(self) -> None:
        """What has come is no answer yet: that has the time of one that has not begun."""
        self._reader.deadline = None

    def has_more(self) -> bool:
        """Whether more has come than was read. Nothing can be read afterwards."""
        self._reader.ended = True
        return self._file.peek(1) != b""


class _Shared(io.BufferedReader):
    """What an HTTPResponse that has been read does not close."""

    def close(self) -> None:
        """Nothing: the socket is closed elsewhere."""


class _Reader(io.RawIOBase):
    """A socket's bytes. Before the first of them, the server may be at work; then they come in time."""

    def __init__(self, kept: socket.socket, is_well: Callable[[], None]) -> None:
        self._socket = kept
        self._is_well = is_well
        self.deadline: float | None = None
        """When all of the answer must be there; None before it begins."""
        self._began = 0.0
        """When the answer began to come."""
        self.ended = False
        """Whether nothing more is to be read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ended:
            if self.deadline is not None and time.monotonic() > self.deadline:
                raise OSError(f"its answer was not whole after {time.monotonic() - self._began:.0f} seconds")
            try:
                count = self._socket.recv_into(buffer)
            except TimeoutError:
                if self.deadline is None:
                    self._is_well()
                continue
            if self.deadline is None:
                self._began = time.monotonic()
                self.deadline = self._began + ANSWER
            self.deadline += count / SLOWEST
            return count
        return 0


def _is_quiet(kept: socket.socket) -> bool:
    """Whether nothing has come since the last answer: neither the end nor anything that belongs to no question."""
    try:
        kept.settimeout(0)
        kept.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        pass
    return False


def _shut(each: socket.socket) -> None:
    """Wakes the thread that waits at a socket. Not by the method of one with TLS, which is for that thread."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(each, socket.SHUT_RDWR)


def _why(error: OSError) -> str:
    """An error in words."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({visible(error.verify_message)[:LONGEST_LINE]})"
        case ssl.SSLError():
            return "it does not speak TLS as it should: is its address one with http://?"
        case socket.gaierror():
            return "there is no host of that name"
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return f"no connection within {CONNECT:.0f} seconds"
        case _:
            return visible(error.strerror or str(error) or type(error).__name__)[:LONGEST_LINE]
