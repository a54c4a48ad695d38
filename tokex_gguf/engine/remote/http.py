"""The HTTP client: the only module with sockets, HTTP and TLS.

One connection, as long as the server keeps it open. The server is not trusted: answers are bounded in size and time,
parsed as JSON only, and redirects are not followed.
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

from tokex_gguf.engine.remote.dialects.dialect import Call, CallRefused, InvalidAnswer, Steps
from tokex_gguf.values.server_url import Address
from tokex_gguf.values.tokens import visible

T = TypeVar("T")

KEY = "TOKEX_SERVER_KEY"
"""The environment variable with the server's key."""
CONNECT = 5.0
"""Seconds for a connection, with name resolution and TLS."""
ASK_HEALTH_AFTER = 1.0
"""Seconds without an answer until a health check."""
HEALTH = 3.0
"""Seconds for the health check."""
HEALTH_PATH = "/v1/models"
"""The path of the health check. Not `/health`: SGLang's computes a token, after all earlier requests."""
ANSWER = 30.0
"""Seconds for the rest of an answer once it has begun, and for sending a call."""
SLOWEST = 32 << 10
"""Bytes per second: large answers get more time at this rate, as a vocabulary has megabytes."""
MOST_INTERIM = 20
"""The most interim answers (1xx) before the real one; a proxy sends one or two."""
MOST_BYTES = 64 << 20
"""The most bytes of any answer."""
LONGEST_LINE = 200
"""Characters of a server's own message that are shown."""


class NoAnswer(Exception):
    """The server cannot be reached, does not answer, or refuses access. The message is one line that names it."""


class Interrupted(Exception):
    """`HttpClient.interrupt` ended the call."""


class _Closed(Exception):
    """The server closed a connection instead of answering."""


class HttpClient:
    """Calls one server. All methods but `interrupt` are for one thread."""

    def __init__(self, address: Address, key: str = "", *, insecure: bool = False) -> None:
        """Connects on the first call.

        `insecure`: whether the key may go over plain http to another machine. Raises NoAnswer where it may not,
        or where the key is invalid.
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
        """The sockets that `interrupt` shuts down."""
        self._running = False
        self._interrupted = False
        self.connections = 0
        """The number of connections so far. A new connection may reach another model."""

    @property
    def name(self) -> str:
        """The server's host and port for messages."""
        return self._address.name

    def run(self, steps: Steps[T]) -> T:
        """Runs all calls of a question.

        Raises NoAnswer, Interrupted, CallRefused, InvalidAnswer, and its own errors.
        """
        with self._lock:
            self._running, self._interrupted = True, False
        try:
            call = next(steps)
            while True:
                try:
                    answer = self._ask(call)
                except (NoAnswer, Interrupted, CallRefused, InvalidAnswer) as error:
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
        """Ends the question under way, if any. For any thread."""
        with self._lock:
            if self._running:
                self._interrupted = True
                for each in self._open:
                    _shut(each)

    def close(self) -> None:
        """Closes the connection. The next call connects again."""
        if self._socket is not None:
            self._close(self._socket)
            self._socket = None

    # --- one call

    def _ask(self, call: Call) -> Any:
        """Sends a call; returns the JSON of the answer."""
        body = b"" if call.body is None else json.dumps(call.body, separators=(",", ":")).encode()
        status, reason, data = self._exchange(call, body)
        if 200 <= status < 300:
            try:
                return json.loads(data.decode())
            except (ValueError, RecursionError):
                raise InvalidAnswer("an answer that is no JSON") from None
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
        """Status, reason and body of an answer. Connects again, once, if the server has closed the connection."""
        try:
            if (connection := self._socket) is not None:
                if _is_quiet(connection):
                    with contextlib.suppress(_Closed):
                        return self._converse(connection, call, body)
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
            self.close()  # later bytes on it would belong to this call
            self._check()
            raise

    def _check(self) -> None:
        if self._interrupted:
            raise Interrupted

    def _converse(self, connection: socket.socket, call: Call, body: bytes) -> tuple[int, str, bytes]:
        try:
            connection.settimeout(ASK_HEALTH_AFTER)
            self._send(connection, self._head(call, len(body)) + body)
            stream = _Stream(connection, self._check_health)
            with contextlib.closing(self._response(stream)) as response:
                most = min(call.most, MOST_BYTES)
                data = bytearray()
                while chunk := response.read(1 << 16):
                    data += chunk
                    if len(data) > most:
                        raise NoAnswer(f"{self.name} answers with more than was asked for: over {most:,} bytes")
                if response.length:
                    raise NoAnswer(f"{self.name} stops in the middle of an answer")
                self._check()  # a shutdown by `interrupt` looks like the end of the headers
                if response.will_close or stream.has_more():
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

    def _response(self, stream: "_Stream") -> http.client.HTTPResponse:
        """The final answer, after interim ones: taking one for the final answer would shift all later answers."""
        for _ in range(MOST_INTERIM):
            response = http.client.HTTPResponse(stream)  # type: ignore[arg-type]
            response.begin()
            if not 100 <= response.status < 200:
                return response
            stream.wait_again()
        raise NoAnswer(f"{self.name} says again and again that an answer is to come")

    def _send(self, connection: socket.socket, data: bytes) -> None:
        unsent, deadline = memoryview(data), time.monotonic() + ANSWER
        while unsent:
            try:
                unsent = unsent[connection.send(unsent) :]
            except TimeoutError:
                self._check_health()
                if time.monotonic() > deadline:
                    raise NoAnswer(f"{self.name} takes no question") from None

    def _head(self, call: Call, length: int, *, last: bool = False) -> bytes:
        """The head of a request. `last`: whether it is the last one on its connection."""
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
        """A server's error message as one printable line; empty where there is none."""
        try:
            message = json.loads(data.decode())
        except (ValueError, RecursionError):
            return ""
        for key in ("error", "message", "detail"):
            if isinstance(message, dict) and key in message:
                message = message[key]
        if not isinstance(message, str):
            return ""
        line = visible(" ".join(message[: 10 * LONGEST_LINE].split()))
        return (line.replace(self._key, "…") if self._key else line)[:LONGEST_LINE]

    # --- connections

    def _connect(self, deadline: float) -> socket.socket:
        """A connection to the server, with TLS where its address says so. Raises NoAnswer."""
        problem: OSError = TimeoutError()
        for family, kind, protocol, _, where in self._resolve(deadline):
            try:
                connection = socket.socket(family, kind, protocol)
            except OSError as error:  # a system without IPv6 resolves names to its addresses all the same
                problem = error
                continue
            try:
                with self._lock:
                    self._open.add(connection)
                self._check()
                connection.settimeout(max(deadline - time.monotonic(), 0.01))
                connection.connect(where)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return self._with_tls(connection) if self._address.tls else connection
            except OSError as error:
                self._close(connection)
                problem = error
            except BaseException:
                self._close(connection)
                raise
        raise NoAnswer(f"{self.name} does not answer: {_why(problem)}") from None

    def _with_tls(self, connection: socket.socket) -> socket.socket:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        with self._lock:
            self._open.discard(connection)
            # It takes over the plain socket, which is empty afterwards.
            wrapped = self._tls.wrap_socket(
                connection, server_hostname=self._address.host, do_handshake_on_connect=False
            )
            self._open.add(wrapped)
        try:
            self._check()
            wrapped.do_handshake()
        except BaseException:
            self._close(wrapped)
            raise
        return wrapped

    def _resolve(self, deadline: float) -> list[Any]:
        """Resolves the host's name, on a thread: the system's resolver has no timeout."""
        addresses: list[Any] = []
        problem: list[OSError] = []

        def look() -> None:
            try:
                addresses.extend(socket.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM))
            except OSError as error:
                problem.append(error)
            except UnicodeError:  # an invalid name
                problem.append(socket.gaierror())

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        while looking.is_alive() and time.monotonic() < deadline:
            looking.join(0.05)
            self._check()
        if problem or not addresses:
            raise NoAnswer(f"{self.name} does not answer: {_why(problem[0] if problem else TimeoutError())}")
        return addresses

    def _close(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.close()

    def _check_health(self) -> None:
        """The health check of a silent server. Raises NoAnswer where it fails."""
        deadline = time.monotonic() + HEALTH
        try:
            connection = self._connect(deadline)
            try:
                connection.settimeout(max(deadline - time.monotonic(), 0.01))
                connection.sendall(self._head(Call(HEALTH_PATH), 0, last=True))
                with connection.makefile("rb") as file:
                    status = file.readline(1000).split()
            finally:
                self._close(connection)
        except (OSError, NoAnswer):
            raise NoAnswer(f"{self.name} has stopped answering") from None
        # Any status below 500 will do.
        if len(status) < 2 or not status[1].isdigit() or int(status[1]) >= 500:
            raise NoAnswer(f"{self.name} says that it is not well")


class _Stream:
    """A socket for HTTPResponse, with the time limits of an answer.

    Several responses can be read from it, one after the other.
    """

    def __init__(self, connection: socket.socket, check_health: Callable[[], None]) -> None:
        self._reader = _Reader(connection, check_health)
        self._file = _Shared(self._reader, 1 << 16)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return self._file

    def wait_again(self) -> None:
        """Resets the time limit after an interim answer."""
        self._reader.deadline = None

    def has_more(self) -> bool:
        """Whether unread bytes are left. Nothing can be read afterwards."""
        self._reader.ended = True
        return self._file.peek(1) != b""


class _Shared(io.BufferedReader):
    """A reader that HTTPResponse does not close."""

    def close(self) -> None:
        """Does nothing: the client closes the socket."""


class _Reader(io.RawIOBase):
    """A socket's bytes. The first may take long while the server computes; the others have a time limit."""

    def __init__(self, connection: socket.socket, check_health: Callable[[], None]) -> None:
        self._socket = connection
        self._check_health = check_health
        self.deadline: float | None = None
        """When the answer must be complete; None before it begins."""
        self._began = 0.0
        """When the answer began."""
        self.ended = False
        """Whether to read no more."""

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
                    self._check_health()
                continue
            if self.deadline is None:
                self._began = time.monotonic()
                self.deadline = self._began + ANSWER
            self.deadline += count / SLOWEST
            return count
        return 0


def _is_quiet(connection: socket.socket) -> bool:
    """Whether a kept connection is usable: neither closed nor with unexpected bytes."""
    try:
        connection.settimeout(0)
        connection.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        pass
    return False


def _shut(each: socket.socket) -> None:
    """Wakes the thread that waits at a socket. A TLS socket's own method would be for that thread only."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(each, socket.SHUT_RDWR)


def _why(error: OSError) -> str:
    """An error as a short text."""
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
