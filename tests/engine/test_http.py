"""The client of a server: each way in which one can fail is one line, in time, and the next question is answered."""

import errno
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deadline import ended
from tests.sampling import few
from tests.stand_in_server import FAULTS, HARMLESS, KINDS, NUMBERS, OTHERS, PATIENT, TLS, StandIn, Talk, ranked, serving
from tokex_gguf.engine.remote import http
from tokex_gguf.engine.remote.dialects.dialect import (
    Call,
    CallRefused,
    Changed,
    Dialect,
    InvalidAnswer,
    ServerAnswer,
    Steps,
    UnsupportedServer,
)
from tokex_gguf.engine.remote.dialects.probe import probe
from tokex_gguf.engine.remote.http import HttpClient, Interrupted, NoAnswer
from tokex_gguf.values.server_url import Address, BadAddress, parse

SECRET = "sk-verysecret"
TROUBLES = (NoAnswer, CallRefused, InvalidAnswer, UnsupportedServer)
TEXT = "Once upon a time <|stop|> 🙂é"


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock's limits, shorter: what waits for one of them here would wait for the longer one, too."""
    for name, seconds in {"ASK_HEALTH_AFTER": 0.05, "HEALTH": 0.5, "ANSWER": 1.0}.items():
        monkeypatch.setattr(http, name, seconds)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with serving() as server:
        yield server


OPENED: list[HttpClient] = []


@pytest.fixture(autouse=True)
def clients() -> Iterator[None]:
    """No client stays open."""
    yield
    while OPENED:
        OPENED.pop().close()


def client(server: StandIn, key: str = "") -> HttpClient:
    OPENED.append(HttpClient(parse(server.address), key))
    return OPENED[-1]


def once(path: str = "/props", body: Any = None, most: int = 1 << 20) -> Steps[Any]:
    return (yield Call(path, body, most))


def connected(client: HttpClient) -> Dialect:
    return client.run(probe(""))


def played(client: HttpClient, dialect: Dialect) -> list[ServerAnswer]:
    """All kinds of questions."""
    path = client.run(dialect.tokenize(TEXT, special=True, continues=False))
    client.run(dialect.tokenize(TEXT, special=False, continues=True))
    client.run(dialect.pieces([*path, 3, 4]))
    answers = client.run(dialect.after([path], [None], 10))
    answers += client.run(dialect.after([path, [*path[:-1], 7]], [9, 300], 10))
    answers += client.run(dialect.along(path, 1, 10))
    answers += client.run(dialect.after([[*path, 40 + token] for token in range(4)], [None] * 4, 10, second_cache=True))
    if dialect.served.searchable:
        answers.append(client.run(dialect.vocabulary(path))[0])
    client.run(dialect.chat([{"role": "user", "content": "Hi"}]))
    if client.run(dialect.identity()) != dialect.served.identity:
        raise Changed("another model than before")
    return answers


# --- what goes well


def test_one_connection_serves_all_questions(server: StandIn) -> None:
    opened = client(server)
    played(opened, connected(opened))
    assert opened.connections == server.connections == 1


@pytest.mark.parametrize("fault", ["closes", "idle"])
def test_a_connection_that_the_server_has_closed_is_made_anew_and_nobody_notices(server: StandIn, fault: str) -> None:
    opened = client(server)
    expected = played(opened, connected(opened))
    server.fault = fault
    opened = client(server)
    assert played(opened, connected(opened)) == expected
    time.sleep(0.1)
    assert opened.run(once())
    assert 2 <= opened.connections <= server.connections


@pytest.mark.thorough
def test_a_server_that_works_for_long_is_waited_for_as_long_as_it_is_well(server: StandIn) -> None:
    server.delay = 3 * http.ANSWER
    opened = client(server)
    opened.run(probe(""))
    assert server.well, "it was asked whether it is well"


@pytest.mark.thorough
def test_an_answer_over_a_slow_line_has_the_time_that_its_length_needs(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SLOWEST", 20_000)
    opened = client(server)
    opened.run(once())

    def slow(self: Talk, status: int, *_: object, **__: object) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(2 << 16))
        self.end_headers()
        for part in range(32):
            self.wfile.write(b" " * 4096 if part else b"{}" + b" " * 4094)
            self.wfile.flush()
            time.sleep(http.ANSWER / 12)

    monkeypatch.setattr(Talk, "_send", slow)
    assert opened.run(once()) == {}


def test_a_server_whose_health_waits_for_what_is_computed_is_waited_for_too() -> None:
    with serving("SGLang") as server:
        opened = client(server)
        dialect = connected(opened)
        server.delay = http.ASK_HEALTH_AFTER + 2 * http.HEALTH
        (answer,) = opened.run(dialect.after([[300, 301]], [None], 10))
        assert answer.ids == [token for _, token in ranked([300, 301])[:10]]


def test_an_answer_may_be_announced_long_before_it_comes(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = client(server)
    dialect = connected(opened)
    whole = Talk._send

    def announced(self: Talk, status: int, data: bytes) -> None:
        for told in (b"102 Processing", b"103 Early Hints"):
            self.interim(told)
            time.sleep(0.7 * http.ANSWER)
        whole(self, status, data)

    monkeypatch.setattr(Talk, "_send", announced)
    (answer,) = opened.run(dialect.after([[300, 301]], [None], 10))
    assert answer.ids == [token for _, token in ranked([300, 301])[:10]]


def test_a_server_that_announces_an_answer_without_end_is_left(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Talk, "_send", lambda self, *_: [self.interim(b"102 Processing") for _ in range(1000)])
    with pytest.raises(NoAnswer, match="says again and again that an answer is to come"):
        client(server).run(once())


def test_what_comes_behind_an_answer_is_the_answer_to_nothing(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = client(server)
    whole = Talk._send

    def more(self: Talk, status: int, data: bytes) -> None:
        whole(self, status, data)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull")

    monkeypatch.setattr(Talk, "_send", more)
    opened.run(once())
    time.sleep(0.1)  # until it is there
    assert opened.run(once()) is not None and opened.connections == 2


def test_a_key_goes_along_and_is_asked_for_by_name() -> None:
    with serving(key=SECRET) as server:
        opened = client(server, f" {SECRET}\n")
        played(opened, connected(opened))
        assert server.keys == {f"Bearer {SECRET}"}
        with pytest.raises(NoAnswer, match=r"^127\.0\.0\.1:\d+ asks for a key: set TOKEX_SERVER_KEY$"):
            client(server).run(once())
        with pytest.raises(NoAnswer, match=r"does not take the key in TOKEX_SERVER_KEY \(401\)$"):
            client(server, "sk-other").run(once())


def test_a_path_before_all_others(server: StandIn) -> None:
    OPENED.append(HttpClient(parse(f"{server.address}/behind/v1/")))
    with pytest.raises(CallRefused, match="File Not Found"):
        OPENED[-1].run(once("/props"))
    assert server.calls[-1][0] == "/behind/props"


# --- what goes wrong


CASES = [
    *(("llama-server", fault) for fault in FAULTS),
    *((kind, fault) for kind in KINDS[1:] for fault in (*NUMBERS, "cut", "html", "closes", "null answer", "500")),
]


@pytest.mark.parametrize(("kind", "fault"), few(CASES, of=18))
def test_every_fault_at_every_time_is_one_line_and_the_next_question_is_answered(kind: str, fault: str) -> None:
    with serving(kind) as server:
        opened = client(server, SECRET)
        dialect = connected(opened)
        connecting = len(server.calls)
        expected = played(opened, dialect)
        playing = len(server.calls) - connecting
        assert connecting > 5 and playing > 7

        def fails(after: int, *, anew: bool) -> bool:
            """Whether there was trouble where the server fails after some calls."""
            server.calls.clear()
            server.after, server.fault = after, fault
            # A server that is silent, but well, is waited for.
            timer = threading.Timer(0.5, opened.interrupt if fault == "silent" else int)
            timer.start()
            line = ""
            try:
                answers = ended(lambda: played(opened, connected(opened) if anew else dialect))
                if fault in HARMLESS:
                    assert [one.ids for one in answers] == [one.ids for one in expected]
            except (*TROUBLES, Interrupted) as trouble:
                line = str(trouble) or "interrupted"
            timer.cancel()
            assert line.isprintable() and len(line) < 300, line
            assert SECRET not in line and "\x1b" not in line
            server.fault = ""
            assert opened.run(once("/v1/models")) == client(server).run(once("/v1/models"))
            return line != ""

        few = fault in PATIENT
        troubles = [fails(after, anew=True) for after in ((0,) if few else (0, connecting // 2, connecting - 1))]
        # The next fault comes at other calls: all of them together, at each.
        first = CASES.index((kind, fault)) % 8
        troubles += [fails(after, anew=False) for after in ((3,) if few else range(first, playing, 8))]
        assert any(troubles) == (fault not in HARMLESS), troubles


def test_a_stopped_server_is_told_in_time() -> None:
    with (
        serving(fault="stopped") as server,
        pytest.raises(NoAnswer, match=r"^127\.0\.0\.1:\d+ has stopped answering$"),
    ):
        ended(lambda: client(server).run(once()))


def test_the_limits_themselves_tell_of_a_stopped_server_within_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert http.ASK_HEALTH_AFTER + http.HEALTH <= 4.5 and http.CONNECT <= 5


def test_200_megabytes_are_not_read(server: StandIn) -> None:
    server.fault = "200 MB"
    with pytest.raises(NoAnswer, match="more than was asked for"):
        client(server).run(once())
    assert server.sent < 30 << 20  # what fits into the buffers of the system, and no more


def test_no_answer_is_larger_than_the_door(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    server.fault = "200 MB"
    monkeypatch.setattr(http, "MOST_BYTES", 2 << 20)
    with pytest.raises(NoAnswer, match="more than was asked for: over 2,097,152 bytes"):
        client(server).run(once(most=1 << 40))


def test_an_address_of_a_kind_that_the_system_lacks_is_passed_over(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As IPv6 is switched off in many containers, where names still have such addresses."""

    class WithoutIpv6:
        def __getattr__(self, name: str) -> Any:
            return getattr(socket, name)

        def socket(self, family: int, *how: int) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            return socket.socket(family, *how)

    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", parse(server.address).port, 0, 0))]
    found += socket.getaddrinfo("127.0.0.1", parse(server.address).port, type=socket.SOCK_STREAM)  # type: ignore[arg-type]
    monkeypatch.setattr(HttpClient, "_resolve", lambda *_: found)
    monkeypatch.setattr(http, "socket", WithoutIpv6())
    client(server).run(once())
    monkeypatch.setattr(HttpClient, "_resolve", lambda *_: found[:1])
    with pytest.raises(NoAnswer, match="does not answer"):
        client(server).run(once())


def test_nobody_is_there() -> None:
    with pytest.raises(NoAnswer, match=r"^127\.0\.0\.1:1 does not answer: connection refused$"):
        HttpClient(parse("http://127.0.0.1:1")).run(once())
    with pytest.raises(NoAnswer, match=r"^nowhere\.invalid:80 does not answer: there is no host of that name$"):
        HttpClient(parse("http://nowhere.invalid")).run(once())


def test_no_tls_where_it_was_promised(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECT", 1.0)
    with pytest.raises(NoAnswer, match="does not answer: "):
        HttpClient(parse(server.address.replace("http:", "https:"))).run(once())


@pytest.fixture
def secured(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A server with TLS, whose certificate is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "certificate.pem"))
    with serving(tls=True) as server:
        yield server


def test_tls_by_what_the_system_trusts(secured: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = client(secured, SECRET)
    assert played(opened, connected(opened)) and opened.connections == 1
    assert secured.keys == {f"Bearer {SECRET}"}
    calls = len(secured.calls)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(NoAnswer, match="its certificate is not trusted"):
        client(secured, SECRET).run(once())
    assert len(secured.calls) == calls


@pytest.mark.parametrize("fault", ["silent", "stopped", "drip", "cut", "resets", "empty", "closes"])
def test_faults_behind_tls(secured: StandIn, fault: str) -> None:
    opened = client(secured)
    expected = opened.run(once())
    secured.calls.clear()
    secured.fault = fault
    timer = threading.Timer(0.4, opened.interrupt if fault in ("silent", "drip") else int)
    timer.start()
    if fault == "closes":
        assert [opened.run(once()) for _ in range(3)] == [expected] * 3
    else:
        with pytest.raises((NoAnswer, Interrupted)):
            ended(lambda: opened.run(once()))
    timer.cancel()
    secured.fault = ""
    assert opened.run(once()) == expected


@pytest.mark.parametrize("url", ["http://192.0.2.1:8080", "http://example.com"])
def test_a_key_does_not_go_over_plain_http_to_another_machine(url: str) -> None:
    with pytest.raises(NoAnswer, match="over plain http") as caught:
        HttpClient(parse(url), SECRET)
    assert SECRET not in str(caught.value)
    HttpClient(parse(url), SECRET, insecure=True)
    HttpClient(parse(url))
    HttpClient(parse(url.replace("http:", "https:")), SECRET)


def test_a_key_that_would_be_other_headers_is_refused() -> None:
    for key in ("sk\r\nX-Evil: 1", "schlüssel", "a\x00b"):
        with pytest.raises(NoAnswer, match="has characters that no key has") as caught:
            HttpClient(parse("http://127.0.0.1"), key)
        assert key not in str(caught.value)


# --- interrupting


@pytest.mark.parametrize("fault", ["silent", "drip", "endless headers"])
def test_a_question_is_interrupted_at_once(server: StandIn, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit of time ends it."""
    opened = client(server)
    opened.run(once())
    for name in ("ASK_HEALTH_AFTER", "HEALTH", "ANSWER"):
        monkeypatch.setattr(http, name, 3600.0)
    server.fault, server.after = fault, 0
    threading.Timer(0.2, opened.interrupt).start()
    with pytest.raises(Interrupted):
        ended(lambda: opened.run(once()))
    server.fault = ""
    assert opened.run(once())


def test_interrupting_when_nothing_is_asked_is_nothing(server: StandIn) -> None:
    opened = client(server)
    opened.interrupt()
    assert opened.run(once())
    opened.interrupt()
    assert opened.run(once()) and opened.connections == 1


def test_a_question_of_many_calls_is_interrupted_between_them(server: StandIn) -> None:
    opened = client(server)

    def asks() -> Steps[None]:
        yield Call("/props")
        opened.interrupt()
        yield Call("/props")

    with pytest.raises(Interrupted):
        opened.run(asks())
    assert opened.run(once())


def test_connecting_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the name is looked up, which no system call ends."""
    waiting = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: waiting.wait() and [])
    monkeypatch.setattr(http, "CONNECT", 3600.0)
    opened = HttpClient(parse("http://slow.example"))
    threading.Timer(0.1, opened.interrupt).start()
    with pytest.raises(Interrupted):
        ended(lambda: opened.run(once()))
    waiting.set()


def test_interrupting_at_any_moment_leaves_a_door_that_works(server: StandIn) -> None:
    opened = client(server)
    dialect = opened.run(probe(""))
    path = opened.run(dialect.tokenize(TEXT, special=True, continues=False))
    expected = opened.run(dialect.after([path], [None], 10))
    ended = 0
    for microseconds in range(0, 6000, 40):
        timer = threading.Timer(microseconds / 1e6, opened.interrupt)
        timer.start()
        try:
            assert opened.run(dialect.after([path], [None], 10)) == expected
        except Interrupted:
            ended += 1
        timer.join()
        assert opened.run(dialect.after([path], [None], 10)) == expected
    assert ended


# --- who is there


@pytest.mark.parametrize("kind", OTHERS)
def test_other_servers_are_refused_in_a_sentence(kind: str) -> None:
    with serving(kind) as server, pytest.raises(UnsupportedServer) as caught:
        client(server).run(probe(""))
    line = str(caught.value)
    assert "llama-server, vLLM or SGLang" in line and line.isprintable()
    assert ("Ollama" in line) == (kind == "Ollama")


# --- addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8080", Address(False, "127.0.0.1", 8080, "")),
        ("HTTP://LocalHost", Address(False, "localhost", 80, "")),
        ("https://example.com/", Address(True, "example.com", 443, "")),
        ("https://example.com:8443/a/b/", Address(True, "example.com", 8443, "/a/b")),
        ("http://[::1]:8080", Address(False, "::1", 8080, "")),
        ("http://host:8000/v1", Address(False, "host", 8000, "")),
        ("http://host:/x/v1/", Address(False, "host", 80, "/x")),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse(text) == expected
    assert parse(expected.url) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "localhost:8080", "127.0.0.1", "//host", "ftp://host", "http:host", "http://", "http://:80", "http:///x"),
        *("http://host:70000", "http://host:0", "http://host:-1", "http://host:8o", "http://::1:8080", "http://[::1"),
        *(
            "http://[fe80::1%eth0]:80",
            "http://[x]:80",
            "http://ho st",
            "http://host/a b",
            "http://host\n",
            "http://h?x=1",
        ),
        *(
            "http://host/#a",
            "http://höst",
            "http://host\x1b[2J",
            "http://[::1]x:80",
            "http://a:1:2",
            "http://" + "a" * 300,
        ),
    ],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(BadAddress) as caught:
        parse(text)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 200


def test_a_password_in_an_address_is_refused_and_not_told() -> None:
    for text in ("http://me:hunter2@host", "https://hunter2@host:80/x", "http://host/x@hunter2"):
        with pytest.raises(BadAddress, match="TOKEX_SERVER_KEY") as caught:
            parse(text)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.8.0.1", True),
        ("http://localhost", True),
        ("http://[::1]", True),
        ("http://localhost.example", False),
    ],
)
def test_what_is_this_machine(url: str, local: bool) -> None:
    assert parse(url).local is local
