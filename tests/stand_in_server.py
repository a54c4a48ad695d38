"""A stand-in for llama-server, vLLM and SGLang on this machine, with their faults, and a toy for a model.

A fixture for tests, or a program: `python -m tests.stand_in_server --kind vllm --fault "cut" --after 20`.
"""

import argparse
import http.server
import json
import math
import random
import re
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

TLS = Path(__file__).parent / "data" / "tls"
"""A certificate of this machine that nobody trusts, and its key, which is for these tests alone."""
KINDS = ("llama-server", "vLLM", "SGLang")
OTHERS = ("Ollama", "llama_cpp.server", "web")
"""Servers that cannot be played on."""

ENDS = (0, 2)
"""Tokens with which the toy ends."""
SPECIAL = ["<|end|>", "<|start|>", "<|stop|>", "<|user|>", "<|assistant|>"]
TEXT = (
    "Once upon a time there was little girl who the and to of in that it he she said with his her for on at is as be"
    " not but had by they one day went home saw big dog cat happy friend play tree sun moon water house bird very"
)
WORDS = TEXT.split()
PIECES: list[bytes] = [
    *[name.encode() for name in SPECIAL],
    *[bytes([byte]) for byte in range(256)],
    *[word.encode() for word in WORDS],
    *[f" {word}".encode() for word in WORDS],
    *(b"\xf0\x9f", b"\xf0\x9f\x98", b"\x99\x82", b"\xe2\x80", b"\n\n", b"  ", b", ", b". "),
    *("é".encode(), "北".encode(), "京".encode()),
]
IDS = {piece: token for token, piece in enumerate(PIECES) if token >= len(SPECIAL)}
"""Of what a text is made of: all but special tokens."""
LONGEST = max(map(len, PIECES))
SIZE = len(PIECES)


def tokenize(text: str, *, special: bool) -> list[int]:
    """The longest piece that fits, again and again."""
    names = "|".join(map(re.escape, SPECIAL))
    path = []
    for part in re.split(f"({names})", text) if special else [text]:
        if special and part in SPECIAL:
            path.append(SPECIAL.index(part))
            continue
        data = part.encode()
        while data:
            length = next(count for count in range(LONGEST, 0, -1) if data[:count] in IDS)
            path.append(IDS[data[:length]])
            data = data[length:]
    return path


def spelled(path: Sequence[int]) -> str:
    return b"".join(PIECES[token] for token in path).decode("utf-8", "replace")


def spelled_bytewise(path: Sequence[int]) -> str:
    """As vocabularies with tokens for single bytes do: a line break is one, and of several all make sense or none."""
    text, run = "", b""
    for data in [*[PIECES[token] for token in path], b" "]:
        if data == b"\n" or "\ufffd" in data.decode("utf-8", "replace"):
            run += data
            continue
        try:
            text += run.decode()
        except UnicodeDecodeError:
            text += "\ufffd" * len(run)
        text, run = text + data.decode(), b""
    return text[:-1]


@cache
def alphabet(data: bytes) -> str:
    """A piece in the letters that byte-level tokenizers write bytes in."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return "".join(chr(byte if byte in plain else 256 + others.index(byte)) for byte in data)


def template(messages: Sequence[dict[str, str]]) -> str:
    turns = [f"<|{'assistant' if one['role'] == 'assistant' else 'user'}|>{one['content']}<|stop|>" for one in messages]
    return "".join(turns) + "<|assistant|>"


@lru_cache(maxsize=4096)
def logprobs(path: tuple[int, ...]) -> list[float]:
    """What the toy says of all tokens after a path: by its last tokens and its length."""
    dice = random.Random(zlib.crc32(repr((path[-4:], len(path))).encode()))
    logits = [dice.gauss(0, 2) for _ in range(SIZE)]
    for token in range(SIZE):
        if token < len(SPECIAL):
            logits[token] -= 6
        elif token >= len(SPECIAL) + 256:
            logits[token] += 3
    peak = max(logits)
    total = peak + math.log(math.fsum(math.exp(logit - peak) for logit in logits))
    return [logit - total for logit in logits]


def ranked(path: Sequence[int]) -> list[tuple[float, int]]:
    """(log-probability, id) of all tokens after a path, the most likely first."""
    return _ranked(tuple(path))


@lru_cache(maxsize=4096)
def _ranked(path: tuple[int, ...]) -> list[tuple[float, int]]:
    return sorted(zip(logprobs(path), range(SIZE), strict=True), key=lambda pair: (-pair[0], pair[1]))


TRANSPORT = (
    *("401", "403", "404", "500", "502", "503", "redirect", "html", "no json", "deep", "garbage", "empty", "resets"),
    *("cut", "cut chunk", "too long", "longer than said", "200 MB", "endless", "endless headers", "closes", "idle"),
    *("drip", "silent", "stopped", "null answer", "list", "error inside", "early hints"),
)
"""What can become of any answer."""
NUMBERS = (
    *("wrong id", "negative id", "huge id", "double", "over one", "nan", "infinite", "positive", "string", "boolean"),
    *("no probabilities", "empty distribution", "too many", "half a distribution", "other token", "missing answer"),
    *("zero", "-9999", "null", "another model"),
)
"""What can be wrong with the numbers, or only look so."""
FAULTS = TRANSPORT + NUMBERS
HARMLESS = ("closes", "idle", "zero", "-9999", "null", "longer than said", "early hints")
"""With these, everything goes on."""
PATIENT = ("drip", "silent", "stopped", "endless", "endless headers")
"""These are noticed by the clock alone."""


def _common(path: Sequence[int], other: Sequence[int]) -> int:
    return next(
        (place for place, (a, b) in enumerate(zip(path, other, strict=False)) if a != b), min(len(path), len(other))
    )


class Cache:
    """What a llama-server has read: in slots that share the cells of its context, and what it has put aside."""

    def __init__(self) -> None:
        self.keeps_idle = True
        """As with --no-cache-idle-slots. Without, an idle slot is put aside when another one is used."""
        self.reads: list[tuple[int, int]] = []
        """The slot of each call, and the tokens that were read for it."""
        self._slots: dict[int, list[int]] = {}
        self._aside: list[list[int]] = []

    def read(self, slot: int, path: list[int], cells: int) -> int:
        """Reads a path; gives the tokens that were not read before."""
        if not self.keeps_idle:
            for other in [one for one in self._slots if one != slot]:
                self._put_aside(self._slots.pop(other))
        here = self._slots.pop(slot, [])
        if here and 2 * _common(here, path) < len(here):
            self._put_aside(here)
            here = self._best(here, path, cells - sum(map(len, self._slots.values())))
        while self._slots and len(path) + sum(map(len, self._slots.values())) > cells:
            del self._slots[min(self._slots)]  # it is lost
        self._slots[slot] = path
        self.reads.append((slot, max(len(path) - _common(here, path), 1)))
        return self.reads[-1][1]

    def _put_aside(self, path: list[int]) -> None:
        if all(_common(path, one) < len(path) for one in self._aside):
            self._aside = [one for one in self._aside if _common(path, one) < len(one)]
            self._aside.append(path)

    def _best(self, here: list[int], path: list[int], room: int) -> list[int]:
        """What is in a slot, or what was put aside and has more of a path, in both ways. It may have no room."""
        best, kept = here, _common(here, path) / len(here)
        for one in self._aside:
            common = _common(one, path)
            if 4 * common >= len(one) and common / len(one) > kept and common > _common(best, path):
                best, kept = one, common / len(one)
        if best is here:
            return here
        if len(best) > room:
            return []
        self._aside = [one for one in self._aside if one is not best]
        return best


class StandIn(http.server.ThreadingHTTPServer):
    """A server of one kind. All its attributes may be changed while it runs."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(
        self,
        kind: str = "llama-server",
        fault: str = "",
        *,
        after: int = 0,
        key: str = "",
        cap: int = 20,
        port: int = 0,
        tls: bool = False,
    ) -> None:
        """`after`: calls that are answered well, before the fault begins. `cap`: candidates that vLLM gives."""
        assert kind in (*KINDS, *OTHERS) and fault in ("", *FAULTS)
        super().__init__(("127.0.0.1", port), Talk)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.scheme = "https" if tls else "http"
        self.kind, self.fault, self.after, self.key, self.cap = kind, fault, after, key, cap
        self.context = 4096
        self.slots = 4
        self.cache = Cache()
        self.model = "toy"
        self.several: tuple[str, ...] = ()
        """The models of a llama-server that has several, of which it loads one at a time."""
        self.loaded = ""
        self.bytewise = False
        """Whether half characters of vLLM and SGLang are spelled as by vocabularies with tokens for single bytes."""
        self.delay = 0.0
        """Seconds that each answer of the model takes."""
        self.calls: list[tuple[str, Any]] = []
        """Path and body of all calls but those whether it is well."""
        self.well = 0
        """How often it was asked whether it is well."""
        self.keys: set[str] = set()
        self.connections = 0
        self.computing: set[int] = set()
        """The threads whose answers are computed."""
        self.sent = 0
        """Bytes of an answer that is too long."""
        self.released = threading.Event()
        """Set when the server is given up: who waits, goes on."""

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    @property
    def failing(self) -> str:
        """The fault, if it has begun."""
        return self.fault if len(self.calls) > self.after else ""

    def handle_error(self, request: object, client_address: object) -> None:
        """Who was sent nonsense goes away: that is nothing to tell."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Talk(http.server.BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""

    def do_GET(self) -> None:
        self._talk(None)

    def do_POST(self) -> None:
        self._talk(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _talk(self, body: Any) -> None:
        server = self.server
        if self.path == "/health" or self.headers.get("Connection") == "close":  # whether the server is well
            server.well += 1
            if server.failing == "stopped":
                server.released.wait(60)
            # SGLang computes a token for that, behind what it computes already.
            while self.path == "/health" and server.kind == "SGLang" and server.computing:
                server.released.wait(0.01)
            return self._send(200, b"{}")
        server.calls.append((self.path, body))
        server.keys.add(self.headers.get("Authorization", ""))
        fault = server.failing
        if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            fault = "401"
        if fault in TRANSPORT and fault not in ("closes", "idle", "early hints"):
            return self._fail(fault)
        if fault == "early hints":
            self.interim(b"103 Early Hints\r\nLink: </x>; rel=preload")
        try:
            answer = self._answer(body)
        except Refusal as refusal:
            error = {"message": str(refusal), "type": "invalid_request_error", "code": refusal.status}
            return self._send(refusal.status, json.dumps({"error": error}).encode())
        self._send(200, json.dumps(answer).encode())
        if fault == "closes":
            self.close_connection = True  # and does not say so
        elif fault == "idle":
            self.connection.settimeout(0.05)
        return None

    def interim(self, told: bytes) -> None:
        """What a proxy says before an answer; and the answer comes later."""
        self.wfile.write(b"HTTP/1.1 " + told + b"\r\n\r\n")
        self.wfile.flush()
        time.sleep(0.002)

    def _send(self, status: int, data: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    # --- what goes wrong on the way

    def _fail(self, fault: str) -> None:
        server = self.server
        whole = json.dumps({"data": [{"id": "toy", "owned_by": "llamacpp"}] * 100}).encode()
        match fault:
            case "401" | "403" | "404" | "500" | "502":
                told = f"No\n\x1b[31m: {self.headers.get('Authorization')}"
                self._send(int(fault), json.dumps({"error": {"message": told}}).encode())
            case "503":
                self._send(503, b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}')
            case "redirect":
                self._send(302, b"", Location="http://127.0.0.1:9/elsewhere")
            case "html":
                self._send(200, b"<!DOCTYPE html><html><body>It works!</body></html>", "text/html")
            case "no json":
                self._send(200, b"\xff\xfe{")
            case "deep":
                self._send(200, b"[" * 100_000)
            case "null answer":
                self._send(200, b"null")
            case "list":
                self._send(200, b"[1,2,3]")
            case "error inside":
                self._send(200, b'{"error":{"message":"out of memory"}}')
            case "garbage":
                self._raw(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n")
            case "empty":
                self.close_connection = True
            case "resets":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
            case "cut":
                self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(whole), whole[:100]))
            case "cut chunk":
                self._raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n%b" % whole[:100])
            case "too long":
                self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (10**12, whole))
            case "longer than said":
                data = json.dumps(self._answer(self.server.calls[-1][1])).encode()
                self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b{}{}{}" % (len(data), data))
                self.close_connection = False
            case "200 MB":
                self._stream(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n[" % (200 << 20), 200)
            case "endless":
                self._stream(b"HTTP/1.1 200 OK\r\n\r\n[", 10**6, b"1,", 0.01)
            case "endless headers":
                self._stream(b"HTTP/1.1 200 OK\r\nX: ", 10**6, b"x", 0.01)
            case "drip":
                self._stream(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", 10**6, b" ", 0.01)
            case "silent" | "stopped":
                server.released.wait(60)
                self.close_connection = True

    def _raw(self, data: bytes) -> None:
        self.wfile.write(data)
        self.close_connection = True

    def _stream(self, head: bytes, count: int, piece: bytes = bytes(1 << 20), pause: float = 0) -> None:
        """Sends the same again and again, without holding it."""
        self.close_connection = True
        self.wfile.write(head)
        for _ in range(count):
            self.wfile.write(piece)
            self.wfile.flush()
            self.server.sent += len(piece)
            if pause and self.server.released.wait(pause):
                break

    # --- what is answered

    def _answer(self, body: Any) -> Any:
        return answered(self.server, self.path, body)


def _generated(server: StandIn, path: Sequence[int], top: int) -> tuple[list[tuple[float, int]], list[float]]:
    """The likeliest after a path, and all; or what a fault makes of them."""
    if server.delay:
        server.computing.add(threading.get_ident())
        server.released.wait(server.delay)
        server.computing.discard(threading.get_ident())
    if not path or not all(type(token) is int and 0 <= token < SIZE for token in path):
        raise Refusal(400, "Prompt contains invalid tokens")
    if len(path) >= server.context:
        raise Refusal(400, f"request ({len(path)} tokens) exceeds the available context size ({server.context} tokens)")
    rows = ranked(path)[:top]
    return rows, logprobs(tuple(path))


def _spoilt(server: StandIn, rows: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Rows of a distribution with what a fault makes of them."""
    fault, (value, token) = server.failing, rows[0]
    made: dict[str, list[tuple[Any, Any]]] = {
        "wrong id": [(value, SIZE + 10**6), *rows[1:]],
        "negative id": [(value, -5), *rows[1:]],
        "huge id": [(value, 10**30), *rows[1:]],
        "double": [rows[0], *rows[:-1]],
        "over one": [(-0.1, one) for _, one in rows],
        "nan": [(math.nan, token), *rows[1:]],
        "infinite": [(math.inf, token), *rows[1:]],
        "positive": [(2.5, token), *rows[1:]],
        "string": [("-0.5", token), *rows[1:]],
        "boolean": [(value, True), *rows[1:]],
        "empty distribution": [],
        "too many": [*rows, *[(-50.0 - one, (token + one) % SIZE) for one in range(1, SIZE)]],
        "zero": [*rows[:-1], (-3.4028234663852886e38, rows[-1][1])],
        "-9999": [*rows[:-1], (-9999.0, rows[-1][1])],
        "null": [*rows[:-1], (None, rows[-1][1])],
    }
    return made.get(fault, rows)


def _told(server: StandIn, rows: list[tuple[Any, Any]], everything: list[float], token: int) -> Any:
    """What is told of a token apart from the likeliest: never more than of the last of them."""
    likely = {one: value for value, one in rows if isinstance(one, int)}
    if server.failing == "empty distribution":
        return -1.0
    return likely.get(token, rows[-1][0] if server.failing in ("zero", "-9999", "null") else everything[token])


def _piece(data: bytes) -> object:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)


# --- llama-server


def _llama_model(server: StandIn, model: str) -> str:
    """The model that is meant. One of several is loaded for that, in place of the other."""
    if not server.several:
        return server.model
    if model not in server.several:
        raise Refusal(400, "model not found")
    server.loaded = model
    return model


def _llama_models(server: StandIn, _: Any) -> Any:
    meta = {"vocab_type": 2, "n_vocab": SIZE, "n_ctx": server.context, "n_params": 1000, "size": 4000, "ftype": "Q4_1"}
    row = {"id": server.model, "aliases": [server.model], "object": "model", "owned_by": "llamacpp", "meta": meta}
    rows = [row]
    if server.several:
        del row["meta"]
        states = {name: "loaded" if name == server.loaded else "unloaded" for name in server.several}
        rows = [{**row, "id": name, "aliases": [], "status": {"value": state}} for name, state in states.items()]
        rows = [{**row, "meta": meta} if row["id"] == server.loaded else row for row in rows]
    return {"models": [{"name": server.model}], "object": "list", "data": rows}


def _llama_props(server: StandIn, asked: Any) -> Any:
    if server.several and "model" not in asked:
        return {"role": "router", "model_path": "none", "default_generation_settings": {"params": None, "n_ctx": 0}}
    model = _llama_model(server, asked.get("model", ""))
    return {
        "default_generation_settings": {"params": {}, "n_ctx": server.context},
        "total_slots": server.slots,
        "model_alias": model,
        "model_ftype": "Q4_1",
        "model_path": f"/models/{model}.gguf",
        "chat_template": "…",
        "bos_token": "<|start|>",
        "eos_token": "<|end|>",
        "build_info": "b11434-0c1e570",
    }


def _llama_tokenize(server: StandIn, body: Any) -> Any:
    _llama_model(server, body.get("model", ""))
    content, special = body["content"], body.get("parse_special", True)
    path: list[int] = []
    for part in content if isinstance(content, list) else [content]:
        path += [part] if isinstance(part, int) else tokenize(part, special=special)
    if body.get("add_special") and not isinstance(content, list):
        path.insert(0, 1)
    if not all(0 <= token < SIZE for token in path):
        raise Refusal(500, "vector::_M_range_check")
    if server.failing == "another model":
        path = [(token + 1) % SIZE for token in path]
    if server.failing in ("wrong id", "negative id", "huge id"):
        path = [10**6, *path]
    if not body.get("with_pieces"):
        return {"tokens": path}
    return {"tokens": [{"id": token, "piece": _piece(PIECES[token] if token < SIZE else b"?")} for token in path]}


def _llama_completion(server: StandIn, body: Any) -> Any:
    prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
    assert body["n_predict"] == 1 and body["temperature"] == 0 and "id_slot" in body and body["cache_prompt"]
    assert body["n_probs"] > 0
    model = _llama_model(server, body.get("model", ""))
    biases = dict(body["logit_bias"])
    answers = []
    for index, path in enumerate(prompts):
        rows, everything = _generated(server, path, body["n_probs"])
        read = server.cache.read(body["id_slot"], path, server.context)
        sampled = next(iter(biases), rows[0][1])
        rows = _spoilt(server, rows)
        top = [
            {
                "id": token,
                "token": "" if token in range(len(SPECIAL)) else "…",
                "bytes": [] if token in range(len(SPECIAL)) else list(PIECES[token] if 0 <= token < SIZE else b"?"),
                "logprob": value,
            }
            for value, token in rows
        ]
        place: dict[str, Any] = {
            "id": sampled,
            "token": "…",
            "bytes": [],
            "logprob": _told(server, rows, everything, sampled),
        }
        place["top_logprobs"] = top
        settings = [{"bias": bias, "token": token} for token, bias in biases.items()]
        if body.get("ignore_eos"):
            settings += [{"bias": None, "token": token} for token in ENDS]
        answer: dict[str, Any] = {
            "index": index,
            "model": "another" if server.failing == "another model" else model,
            "stop_type": "eos" if sampled in ENDS else "limit",
            "generation_settings/logit_bias": settings,
            "timings/prompt_n": read,
        }
        half = isinstance(_piece(PIECES[sampled]), list)
        if not half and server.failing != "no probabilities":
            answer["completion_probabilities"] = [place]
        if server.failing == "other token":
            place["id"] = (sampled + 1) % SIZE
        if server.failing == "half a distribution":
            del place["top_logprobs"]
        wanted = body.get("response_fields", answer)
        answers.append({name: value for name, value in answer.items() if name in wanted})
    if server.failing == "missing answer":
        answers = answers[1:] or [{}]
    return answers[0] if len(answers) == 1 else answers


# --- vLLM


def _listed(server: StandIn, owner: str) -> Any:
    row = {"id": server.model, "object": "model", "owned_by": owner, "root": f"/models/{server.model}"}
    adapter = {**row, "id": "adapter", "root": "/adapters/one", "parent": server.model, "max_model_len": None}
    return {"object": "list", "data": [{**row, "parent": None, "max_model_len": server.context}, adapter]}


def _shifted(server: StandIn, path: list[int]) -> list[int]:
    if server.failing == "another model":
        return [(token + 1) % SIZE for token in path]
    if server.failing in ("wrong id", "negative id", "huge id"):
        return [*path, {"wrong id": SIZE + 10**6, "negative id": -5, "huge id": 10**30}[server.failing]]
    return path


def _tokenized(server: StandIn, body: Any) -> Any:
    """As both vLLM and SGLang do: names of special tokens always become them."""
    text = template(body["messages"]) if "messages" in body else body["prompt"]
    path = tokenize(text, special=True)
    if "messages" not in body and body.get("add_special_tokens", True):
        path.insert(0, 1)
    path = _shifted(server, path)
    strings = [alphabet(PIECES[token % SIZE]) for token in path]
    told = {"count": len(path), "max_model_len": server.context, "tokens": path}
    return {**told, "token_strs": strings if body.get("return_token_strs") else None}


def _detokenized(server: StandIn, body: Any) -> str:
    return (spelled_bytewise if server.bytewise else spelled)(body["tokens"])


def _vllm_completion(server: StandIn, body: Any) -> Any:
    assert body["max_tokens"] == 1 and body["temperature"] == 0 and body["return_tokens_as_token_ids"]
    assert body["repetition_penalty"] == 1 and body["top_p"] == 1
    for what, kind in (("logprobs", "sample"), ("prompt_logprobs", "prompt")):
        if body.get(what, 0) > server.cap:
            told = f"Requested {kind} logprobs of {body[what]}, which is greater than max allowed: {server.cap}"
            raise Refusal(400, told)
    if outside := [token for token in map(int, body.get("logit_bias", {})) if token >= SIZE]:
        raise Refusal(
            400, f"token_id(s) {outside} in logit_bias contain out-of-vocab token ids. Vocabulary size: {SIZE}"
        )
    choices = []
    for index, path in enumerate(body["prompt"]):
        rows, everything = _generated(server, path, body["logprobs"])
        sampled = body.get("allowed_token_ids", [rows[0][1]])[0]
        likely = {token: value for value, token in _spoilt(server, rows)}
        if server.failing == "double":
            likely |= {f"0{token}": value for token, value in likely.items()}
        if sampled not in likely and server.failing not in NUMBERS:
            likely[sampled] = everything[sampled]
        told = _told(server, rows, everything, sampled)
        if server.failing in ("nan", "infinite", "positive", "string", "zero", "-9999", "null"):
            told = _spoilt(server, rows)[0 if server.failing in ("nan", "infinite", "positive", "string") else -1][0]
            if sampled in likely:
                told = likely[sampled]
            elif server.failing in ("zero", "-9999", "null"):
                likely[sampled] = told
        if server.failing == "other token":
            sampled = (sampled + 1) % SIZE
        logprobs_told: dict[str, Any] = {
            "text_offset": [0],
            "tokens": [f"token_id:{sampled}"],
            "token_logprobs": [told],
            "top_logprobs": [{f"token_id:{token}": value for token, value in likely.items()}],
        }
        if server.failing == "no probabilities":
            logprobs_told = {}
        if server.failing == "half a distribution":
            del logprobs_told["top_logprobs"]
        ended = sampled in ENDS
        choices.append(
            {
                "index": index,
                "text": "" if sampled < len(SPECIAL) else spelled([sampled]),
                "logprobs": logprobs_told or None,
                "finish_reason": "stop" if ended else "length",
                "stop_reason": None,
                "prompt_logprobs": _vllm_prompt(server, path, body["prompt_logprobs"])
                if "prompt_logprobs" in body
                else None,
            }
        )
    if server.failing == "missing answer":
        choices.pop()
    print_of_it = "vllm-0.32.0-tp1-2b" if server.failing == "another model" else "vllm-0.32.0-tp1-1d"
    return {"id": "cmpl-1", "model": body["model"], "choices": choices, "system_fingerprint": print_of_it}


def _vllm_prompt(server: StandIn, path: list[int], top: int) -> list[Any]:
    places: list[Any] = [None]
    for place in range(1, len(path)):
        order = ranked(path[:place])
        rows = _spoilt(server, order[: max(top, 1)])[: None if top else 0]
        told = {str(token): {"logprob": value, "rank": 1 + rank} for rank, (value, token) in enumerate(rows)}
        if path[place] not in {token for _, token in rows}:
            rank = next(rank for rank, (_, token) in enumerate(order, 1) if token == path[place])
            value = _told(server, order[: max(top, 1)], logprobs(tuple(path[:place])), path[place])
            if server.failing in ("zero", "-9999", "null") and rows:
                value = rows[-1][0]
            told[str(path[place])] = {"logprob": value, "rank": rank, "decoded_token": "…"}
        places.append(told)
    if server.failing in ("missing answer", "no probabilities"):
        places.pop()
    if server.failing == "other token":
        places[-1] = {}
    return places


# --- SGLang


def _sglang_generate(server: StandIn, body: Any) -> Any:
    sampling = body["sampling_params"]
    assert sampling["temperature"] == 0 and sampling["max_new_tokens"] == 1
    batch = isinstance(body["input_ids"][0], list)
    answers = []
    for index, path in enumerate(body["input_ids"] if batch else [body["input_ids"]]):
        top, start = body.get("top_logprobs_num", 0), body.get("logprob_start_len", -1)
        rows, everything = _generated(server, path, max(top, 1))
        sampled = next(map(int, sampling.get("logit_bias", {})), rows[0][1])
        likely = [[value, token, None] for value, token in _spoilt(server, rows)]
        meta: dict[str, Any] = {
            "id": "1",
            "finish_reason": {"type": "stop", "matched": sampled}
            if sampled in ENDS
            else {"type": "length", "length": 1},
            "prompt_tokens": len(path),
            "weight_version": "2" if server.failing == "another model" else "default",
        }
        if body.get("return_logprob"):
            meta["output_token_logprobs"] = [[everything[sampled], sampled, None]]
            meta["output_top_logprobs"] = [likely]
            if start >= 0:
                before = [(place, ranked(path[:place])[:top]) for place in range(start + 1, len(path))]
                said = [
                    [
                        _told(server, _spoilt(server, rows), logprobs(tuple(path[:place])), path[place]),
                        path[place],
                        None,
                    ]
                    for place, rows in before
                ]
                meta["input_token_logprobs"] = [[None, path[start], None], *said]
                meta["input_top_logprobs"] = [
                    None,
                    *([[value, token, None] for value, token in _spoilt(server, rows)] for _, rows in before),
                ]
            if asked := body.get("token_ids_logprob"):
                asked = asked[index] if batch else asked
                told = [[_told(server, _spoilt(server, rows), everything, one), one, None] for one in asked]
                meta["output_token_ids_logprobs"] = [told]
                if server.failing == "other token":
                    told[0][1] = (told[0][1] + 1) % SIZE
        if server.failing == "other token" and "input_top_logprobs" in meta:
            meta["input_top_logprobs"].pop()
        if server.failing == "no probabilities":
            meta = {name: value for name, value in meta.items() if "logprobs" not in name}
        if server.failing == "half a distribution":
            meta["output_top_logprobs"] = [None]
        answers.append({"text": "" if sampled < len(SPECIAL) else spelled([sampled]), "meta_info": meta})
    if server.failing == "missing answer":
        answers.pop()
    return answers if batch else (answers or [{}])[0]


def _sglang_about(server: StandIn, _: Any) -> Any:
    return {
        "model_path": f"/models/{server.model}",
        "is_generation": True,
        "weight_version": "2" if server.failing == "another model" else "default",
    }


ANSWERS: dict[str, dict[str, Any]] = {
    "llama-server": {
        "/v1/models": _llama_models,
        "/props": _llama_props,
        "/tokenize": _llama_tokenize,
        "/apply-template": lambda _, body: {"prompt": template(body["messages"])},
        "/completion": _llama_completion,
    },
    "vLLM": {
        "/v1/models": lambda server, _: _listed(server, "vllm"),
        "/version": lambda *_: {"version": "0.32.0"},
        "/tokenize": _tokenized,
        "/detokenize": lambda server, body: {"prompt": _detokenized(server, body)},
        "/v1/completions": _vllm_completion,
    },
    "SGLang": {
        "/v1/models": lambda server, _: _listed(server, "sglang"),
        "/server_info": lambda *_: {"version": "0.5.23", "vocab_size": SIZE},
        "/model_info": _sglang_about,
        "/v1/tokenize": _tokenized,
        "/v1/detokenize": lambda server, body: {"text": _detokenized(server, body)},
        "/generate": _sglang_generate,
    },
    "Ollama": {
        "/v1/models": lambda *_: {"object": "list", "data": [{"id": "llama3:8b", "owned_by": "library"}]},
    },
    "llama_cpp.server": {
        "/v1/models": lambda *_: {"object": "list", "data": [{"id": "model.gguf", "owned_by": "me"}]},
    },
    "web": {},
}


def answered(server: StandIn, path: str, body: Any) -> Any:
    """What a call is answered: of one without a body, what stands in its path."""
    path, _, query = path.partition("?")
    if path not in ANSWERS[server.kind]:
        raise Refusal(404, "File Not Found")
    return ANSWERS[server.kind][path](server, dict(parse_qsl(query)) if body is None else body)


@contextmanager
def serving(kind: str = "llama-server", fault: str = "", **options: Any) -> Iterator[StandIn]:
    with StandIn(kind, fault, **options) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=(*KINDS, *OTHERS), default="llama-server")
    parser.add_argument("--fault", choices=FAULTS, default="")
    parser.add_argument("--after", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default="")
    given = parser.parse_args()
    with serving(given.kind, given.fault, after=given.after, port=given.port, key=given.key) as server:
        print(server.address, flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
