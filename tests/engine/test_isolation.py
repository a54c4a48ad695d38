"""What one request cannot do to the engine, and the engine not to the program or the system."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from llama_cpp import llama_cpp

from tests import tiny_models
from tests.engine.test_client import Conversation
from tests.sampling import few
from tokex_gguf.engine import process
from tokex_gguf.engine.protocol import (
    Chat,
    EngineFailed,
    Failed,
    Load,
    Loaded,
    Ping,
    Pong,
    Tokenize,
    Tokenized,
    WireMessage,
    decode,
    encode,
)
from tokex_gguf.engine.worker import confined_chat, logits_cache
from tokex_gguf.engine.worker.abort import Abort
from tokex_gguf.engine.worker.chat_template import TemplateFailed
from tokex_gguf.engine.worker.chunks import Damaged
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import Llama, ModelError

Process = subprocess.Popen[bytes]


class Raw:
    """A real engine whose pipe is written by hand."""

    def __init__(self) -> None:
        self.process: Process = process.start()
        assert self.process.stdin and self.process.stdout
        self._to, self._from = self.process.stdin, self.process.stdout

    def say(self, line: bytes) -> None:
        self._to.write(line)
        self._to.flush()

    def hear(self) -> WireMessage:
        line = self._from.readline()
        assert line, f"the engine ended ({self.process.wait()})"
        return decode(line)

    def ask(self, line: bytes) -> WireMessage:
        self.say(line)
        return self.hear()

    def load(self, path: Path) -> Loaded:
        self.say(encode(Load(str(path), 0, 1)))
        while not isinstance(reply := self.hear(), Loaded):
            assert not isinstance(reply, Failed | EngineFailed), reply
        return reply

    def close(self) -> None:
        self._to.close()
        self._from.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def raw() -> Iterator[Raw]:
    engine = Raw()
    yield engine
    engine.close()


@pytest.fixture
def raw_with() -> Iterator[Callable[[], Raw]]:
    """Starts engines later, as the environment then is."""
    engines: list[Raw] = []

    def begin() -> Raw:
        engines.append(Raw())
        return engines[-1]

    yield begin
    for engine in engines:
        engine.close()


# --- a request that cannot be answered


ODD = {
    "no JSON": (b"\xff\xfe\x00\n", 0),
    "an empty line": (b"\n", 0),
    "no message": (b"[1,2,3]\n", 0),
    "nested deeply": (b"[" * 50_000 + b"\n", 0),
    "an unknown kind": (b'["Surprise",{"request":5}]\n', 5),
    "a reply": (b'["Pong",{}]\n', 0),
    "a field too many": (b'["Stop",{"request":5}]\n', 5),
    "a field too few": (b'["Tokenize",{"request":5,"text":"a"}]\n', 5),
    "a field of another type": (b'["Tokenize",{"request":5,"text":7,"parse_special":true}]\n', 5),
    "half a surrogate pair": (b'["Tokenize",{"request":5,"text":"a\\udcff","parse_special":true}]\n', 5),
    "the same in a chat": (b'["Chat",{"request":5,"messages":[{"role":"user","content":"\\udcff"}]}]\n', 5),
    "messages that are none": (b'["Chat",{"request":5,"messages":[7]}]\n', 5),
    "an empty path": (b'["Evaluate",{"request":5,"path":[0],"start":0,"top":5}]\n', 5),
    "a negative token": (b'["Evaluate",{"request":5,"path":[0,-1],"start":0,"top":5}]\n', 5),
    "a token of 32 bits": (b'["Evaluate",{"request":5,"path":[0,2147483648],"start":0,"top":5}]\n', 5),
    "a token of 64 bits": (b'["Evaluate",{"request":5,"path":[0,18446744073709551616],"start":0,"top":5}]\n', 5),
    "a negative token asked for": (b'["Evaluate",{"request":5,"path":[0,1],"start":0,"top":5,"asked":-1}]\n', 5),
    "a start behind the path": (b'["Evaluate",{"request":5,"path":[0,1],"start":7,"top":5}]\n', 5),
    "no candidates": (b'["Evaluate",{"request":5,"path":[0,1],"start":0,"top":0}]\n', 5),
    "fewer than none": (b'["Evaluate",{"request":5,"path":[0,1],"start":0,"top":-3}]\n', 5),
    "a search nowhere": (b'["Search",{"request":5,"path":[0],"query":"a","top":5}]\n', 5),
    "a comparison of nothing known": (b'["Check",{"request":5,"path":[0,99999999],"parse_special":true}]\n', 5),
    "going on from nowhere": (b'["Continue",{"request":5,"path":[0],"top":5}]\n', 5),
    "going on from no token": (b'["Continue",{"request":5,"path":[0,-7],"top":5}]\n', 5),
}
"""Lines, and the number of the request that is refused."""


@pytest.fixture(scope="module")
def lasting(tiny: dict[str, Path]) -> Iterator[Raw]:
    """One engine for all lines: each has to leave it as it was."""
    engine = Raw()
    engine.load(tiny["qwen2"])
    yield engine
    engine.close()


@pytest.mark.parametrize("line", [raw for raw, _ in ODD.values()], ids=list(ODD))
def test_a_line_that_cannot_be_answered_is_refused_by_its_number(line: bytes, lasting: Raw) -> None:
    reply = lasting.ask(line)
    assert isinstance(reply, Failed), reply
    assert reply.request == next(number for each, number in ODD.values() if each == line)
    assert reply.reason.isprintable() and len(reply.reason) < 200
    assert isinstance(lasting.ask(encode(Tokenize(6, "the cat", True))), Tokenized), "it lives on"


def test_a_path_that_goes_on_from_none_ends_the_engine_with_a_line(raw: Raw, tiny: dict[str, Path]) -> None:
    """Every later path would be another one than was meant."""
    raw.load(tiny["qwen2"])
    reply = raw.ask(b'["Evaluate",{"request":5,"path":[7,1],"start":0,"top":5}]\n')
    assert isinstance(reply, EngineFailed)
    assert raw.process.wait(60) == 0


@pytest.mark.parametrize("query", ["\\udcff", "a\\ud800b", '\\"\\udfff'])
def test_a_search_for_half_a_character_finds_nothing(query: str, raw: Raw, tiny: dict[str, Path]) -> None:
    raw.load(tiny["qwen2"])
    line = f'["Search",{{"request":5,"path":[0,1],"query":"{query}","top":5}}]\n'
    reply = raw.ask(line.encode())
    assert getattr(reply, "total", None) == 0


def test_a_ping_is_answered_while_a_line_is_refused(raw: Raw) -> None:
    """Also before a model is loaded."""
    assert isinstance(raw.ask(b"[]\n"), Failed)
    assert isinstance(raw.ask(b'["Ping",{}]\n'), Pong)


# --- long words


@pytest.mark.parametrize("pre", few(["deepseek-llm", "bloom", "falcon"], of=3))
def test_a_word_of_any_length_is_tokenised(pre: str, raw: Raw, tmp_path: Path) -> None:
    """Where llama.cpp splits texts by std::regex, which calls itself for each character."""
    raw.load(tiny_models.qwen2(tmp_path, pre=pre, change=lambda file: file.add_context_length(1 << 16)))
    for number, letter in enumerate(("a", "!", " ", "\n", "日", "a'", "1")):
        reply = raw.ask(encode(Tokenize(number, letter * 30_000, True)))
        assert isinstance(reply, Tokenized), reply
        assert len(reply.path) <= 3 * 30_000 * len(letter.encode())


def test_a_word_too_long_for_any_stack_is_refused(raw: Raw, tmp_path: Path) -> None:
    raw.load(tiny_models.qwen2(tmp_path, pre="deepseek-llm"))
    reply = raw.ask(encode(Tokenize(1, "!" * 1_100_000, True)))
    assert isinstance(reply, Failed) and reply.request == 1
    assert "1,100,000 characters" in reply.reason
    assert isinstance(raw.ask(encode(Tokenize(2, "a cat", True))), Tokenized)


# --- the client's own threads


def test_a_request_that_cannot_be_sent_is_refused_and_the_next_one_goes() -> None:
    conversation = Conversation()
    conversation.client.send(Chat(7, object()))  # type: ignore[arg-type]
    conversation.client.send(Ping())
    replies = {type(conversation.next()): None, type(conversation.next()): None}
    conversation.client.close()
    assert set(replies) == {Failed, Pong}


# --- files that are no model that continues text, or name less than llama.cpp takes for granted


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as error:
        Evaluator(played(path))
    return str(error.value)


def played(path: Path) -> Llama:
    return Llama(path, context=0, threads=1, progress=lambda _: None, abort=Abort())


UINT32, BOOL, STRING = gguf.GGUFValueType.UINT32, gguf.GGUFValueType.BOOL, gguf.GGUFValueType.STRING


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (tiny_models.set_key("qwen2.attention.causal", False, BOOL), "not causal"),
        (tiny_models.set_key("qwen2.pooling_type", int(gguf.PoolingType.MEAN), UINT32), "embedding model"),
        (tiny_models.set_key("qwen2.pooling_type", int(gguf.PoolingType.LAST), UINT32), "embedding model"),
        (tiny_models.set_key("qwen2.pooling_type", int(gguf.PoolingType.RANK), UINT32), "reranker"),
        (lambda writer: writer.add_classifier_output_labels(["no", "yes"]), "classifier"),
    ],
    ids=["not causal", "mean", "last", "rank", "labels"],
)
def test_what_does_not_continue_text_is_refused(
    change: Callable[[gguf.GGUFWriter], None], why: str, tmp_path: Path
) -> None:
    """By what llama.cpp has loaded, whatever its name."""
    told = refused(tiny_models.qwen2(tmp_path, change=change))
    assert "does not continue text" in told and why in told
    assert "\n" not in told


def test_a_diffusion_model_is_refused(tmp_path: Path) -> None:
    """Dream has the tensors of Qwen2."""
    data = tiny_models.qwen2(tmp_path).read_bytes().replace(b"qwen2.", b"dream.")
    value = b"general.architecture" + struct.pack("<IQ", int(STRING), 5)
    assert value + b"qwen2" in data
    (tmp_path / "dream.gguf").write_bytes(data.replace(value + b"qwen2", value + b"dream"))
    assert "does not continue text: it is a diffusion model" in refused(tmp_path / "dream.gguf")


@pytest.mark.parametrize(
    ("function", "says", "why"),
    [
        ("llama_model_has_encoder", True, "it has an encoder"),
        ("llama_model_has_decoder", False, "it has an encoder"),
        ("llama_get_memory", None, "it keeps nothing from one token to the next"),
    ],
)
def test_what_llama_cpp_says_of_a_loaded_model_counts(
    function: str, says: object, why: str, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, function, lambda _: says)
    assert f"does not continue text: {why}" in refused(tiny["qwen2"])


def test_a_model_that_tells_no_tokens_apart_is_refused(tmp_path: Path) -> None:
    def flatten(writer: gguf.GGUFWriter) -> None:
        output = writer.tensors[0]["output.weight"]
        output.tensor = np.zeros(output.shape, np.float32)

    evaluator = Evaluator(played(tiny_models.qwen2(tmp_path, change=flatten)))
    with pytest.raises(Damaged, match="equally likely"):
        list(evaluator.evaluate([1, 2], 0, 5))


BOS, EOS, ADD = "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.add_bos_token"


@pytest.mark.parametrize("wrong", [None, 10**6, 2**32 - 1], ids=["missing", "out of range", "minus one"])
def test_nothing_that_the_file_does_not_name_begins_or_ends_a_text(wrong: int | None, tmp_path: Path) -> None:
    """llama.cpp takes 11 for both, which is a comma in many vocabularies."""

    def change(writer: gguf.GGUFWriter) -> None:
        tiny_models.set_key(ADD, True, BOOL)(writer)
        for key in (BOS, EOS):
            tiny_models.without_keys(key)(writer) if wrong is None else tiny_models.set_key(key, wrong, UINT32)(writer)

    model = played(tiny_models.qwen2(tmp_path, change=change))
    vocabulary = model.vocabulary
    assert vocabulary.bos is None and vocabulary.lacks_bos
    assert b"".join(vocabulary.piece(token).data for token in vocabulary.tokenize("the", parse_special=True)) == b"the"
    assert not vocabulary.piece(11).ends
    assert [vocabulary.piece(token).data for token in range(vocabulary.size) if vocabulary.piece(token).ends]


def test_a_named_first_token_begins_texts(tmp_path: Path) -> None:
    vocabulary = played(tiny_models.qwen2(tmp_path, change=tiny_models.set_key(ADD, True, BOOL))).vocabulary
    assert vocabulary.bos is not None and not vocabulary.lacks_bos
    assert vocabulary.piece(vocabulary.bos).data == tiny_models.END.encode()
    assert vocabulary.tokenize("the", parse_special=True)[0] == vocabulary.bos


@pytest.mark.parametrize("trained", [2**31, 2**32 - 1, 2**31 - 1, 0])
def test_a_trained_length_without_a_sign_is_one(trained: int, tmp_path: Path) -> None:
    change = tiny_models.set_key("qwen2.context_length", trained, UINT32)
    assert played(tiny_models.qwen2(tmp_path, change=change)).context_limit >= 4096


def test_why_llama_cpp_refuses_a_file_is_told(tmp_path: Path) -> None:
    def crop(writer: gguf.GGUFWriter) -> None:
        writer.tensors[0]["blk.1.ffn_up.weight"].shape = (tiny_models.FEED // 2, tiny_models.WIDTH)
        tensor = writer.tensors[0]["blk.1.ffn_up.weight"]
        tensor.tensor = np.zeros((tiny_models.FEED // 2, tiny_models.WIDTH), np.float32)
        tensor.nbytes //= 2

    pre = "tokenizer.ggml.pre"
    for change, why in [
        (crop, "blk.1.ffn_up.weight"),
        (tiny_models.set_key(pre, "surprise", STRING), "surprise"),
        (tiny_models.set_key(pre, "sur\x1b[31mprise\n", STRING), "prise"),
        (tiny_models.set_key("general.architecture", "surprise", STRING), "surprise"),
        (tiny_models.without_keys("qwen2.embedding_length"), "embedding_length"),
        (lambda writer: writer.tensors[0].pop("blk.2.attn_q.weight"), "blk.2.attn_q.weight"),
    ]:
        told = refused(tiny_models.qwen2(tmp_path, change=change))
        assert why in told and "llama.cpp cannot load this file: " in told, told
        assert told.isprintable() and len(told) < 350


def test_a_files_own_words_are_not_raw_in_the_log(raw: Raw, tmp_path: Path) -> None:
    change = tiny_models.set_key("tokenizer.ggml.pre", "sur\x1b[31mprise\x07\x9b\r", STRING)
    raw.say(encode(Load(str(tiny_models.qwen2(tmp_path, change=change)), 0, 1, str(tmp_path / "log"))))
    while not isinstance(raw.hear(), EngineFailed):
        pass
    log = (tmp_path / "log").read_bytes().decode()
    assert "prise" in log and all(char.isprintable() or char == "\n" for char in log), log


def test_a_search_of_a_vocabulary_larger_than_all_kept_rows_ends(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logits_cache, "MOST_BYTES", 1000)
    small = Evaluator(evaluator._model)
    row, decoded = small.row([5, 6, 7])
    assert decoded and row.logits.shape == (small._model.vocabulary.size,)


# --- what the engine's process has


SECRETS = {
    **dict.fromkeys(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "a"),
    **dict.fromkeys(("AWS_ACCESS_KEY_ID", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GITHUB_TOKEN", "GH_TOKEN"), "b"),
    **dict.fromkeys(("LLAMA_API_KEY", "LLAMA_CLOUD_API_KEY", "PYTHON_KEYRING_PASSWORD", "CUDA_AUTH"), "c"),
    **dict.fromkeys(("SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_TTY", "DBUS_SESSION_BUS_ADDRESS", "KUBECONFIG"), "d"),
    **dict.fromkeys(("DATABASE_URL", "NETRC", "http_proxy", "GOOGLE_APPLICATION_CREDENTIALS", "EDITOR"), "e"),
}
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_the_engine_has_no_secrets_in_its_environment(raw_with: Callable[[], Raw], tiny: dict[str, Path]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        patch.setenv("OMP_NUM_THREADS", "2")
        patch.setenv("GGML_SCHED_DEBUG", "0")
        engine = raw_with()
    engine.load(tiny["qwen2"])
    environ = Path(f"/proc/{engine.process.pid}/environ").read_bytes()
    names = {variable.partition(b"=")[0].decode() for variable in environ.split(b"\0")}
    assert not names & set(SECRETS)
    assert {"PATH", "OMP_NUM_THREADS", "GGML_SCHED_DEBUG"} <= names


def test_what_tells_about_llama_cpp_has_no_secrets_either(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    given: dict[str, Any] = {}
    monkeypatch.setattr(subprocess, "run", lambda *_, **more: given.update(more))
    process.about()
    assert "PATH" in given["env"] and not given["env"].keys() & SECRETS.keys()


@linux
def test_the_engine_has_no_terminal_and_leaves_no_core(raw: Raw, tiny: dict[str, Path]) -> None:
    raw.load(tiny["qwen2"])
    pid = raw.process.pid
    assert os.getsid(pid) == pid
    terminal = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4]
    assert terminal == "0"
    limits = Path(f"/proc/{pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    descriptors = {entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir()}
    known = ("pipe:", "anon_inode:", "/dev/null", str(tiny["qwen2"]))
    assert all(str(where).startswith(known) for where in descriptors), descriptors


PARENT = """
import time
from tokex_gguf.engine import process
engine = process.start()
print(engine.pid, flush=True)
time.sleep(60)
"""


@linux
def test_the_engine_ends_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert ended(pid)


@linux
def test_no_thread_waits_for_work_that_never_comes(raw: Raw) -> None:
    """numpy's would, awake, while everything else starts."""
    assert isinstance(raw.ask(encode(Ping())), Pong)
    assert len(list(Path(f"/proc/{raw.process.pid}/task").iterdir())) == 2, "the main one, and the one that reads"


@linux
def test_the_system_itself_ends_a_process_of_ours_with_its_parent() -> None:
    """Also one that is too busy to see the end of its pipe. 2 is PR_GET_PDEATHSIG."""
    script = (
        "import ctypes; from tokex_gguf.engine import confinement; confinement.confine()\n"
        "number = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(number)); print(number.value)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{int(signal.SIGKILL)}\n", "")


def test_a_busy_engine_ends_when_its_pipe_does() -> None:
    """Also where nothing else tells it that it is alone."""
    script = """
import gc
from tokex_gguf.engine import __main__ as engine
from tokex_gguf.engine import confinement, inbox
from tokex_gguf.engine.worker import server
inbox.PATIENCE = 0.2
confinement.confine = lambda: None
def busy(self):
    assert gc.isenabled()  # it was not while the engine was imported
    while True:
        pass
server.Server.serve = busy
engine.main()
"""
    engine = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert engine.stdin and engine.stdout
    engine.stdin.write(b'["Ping",{}]\n')
    engine.stdin.flush()
    assert isinstance(decode(engine.stdout.readline()), Pong)
    engine.stdin.close()
    assert engine.wait(30) == 0
    engine.stdout.close()


def ended(pid: int) -> bool:
    """Waits for a process that is not ours to end."""
    for _ in range(600):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        threading.Event().wait(0.05)
    return False


# --- chat templates, which are code of strangers'

MESSAGES = {"messages": [{"role": "user", "content": "hello"}]}


def test_a_template_is_rendered_in_a_process_of_its_own() -> None:
    template = "{% for message in messages %}{{ message.role }}: {{ message['content'] }}{{ eos_token }}{% endfor %}"
    assert confined_chat.render_confined(template, MESSAGES, {"eos_token": "</s>"}).text == "user: hello</s>"


def test_a_templates_memory_is_its_own() -> None:
    """Not that of the engine that starts its process: a loaded model is larger than any template may become."""
    script = (
        "from tokex_gguf.engine.worker import confined_chat\n"
        "model = bytes(confined_chat.MEMORY + 2**26)\n"
        f"print(confined_chat.render_confined('{{{{ messages[0].content }}}}', {MESSAGES!r}, {{}}).text)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("hello\n", "")


@pytest.mark.parametrize(
    ("template", "why"),
    few(
        [
            ("{{ 'a' * 20000000000 }}", "memory"),
            (
                "{% set x = namespace(s='a' * 99999) %}"
                "{% for i in range(99999) %}{% set x.s = x.s + x.s %}{% endfor %}",
                "memory|longer than",
            ),
            ("{{ '%2000000000d' % 1 }}", "memory"),
            ("{{ 'a'.center(5000000000) }}", "memory"),
            ("{{ [0] * 5000000000 }}", "memory"),
            ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "longer than"),
            ("{{ 9 ** (9 ** 9) }}", "longer than"),
            ("{{ raise_exception('no') }}", "refuses this: no"),
            ("{{ messages.0.content", "is wrong"),
        ],
        of=2,
    ),
    ids=["product", "doubling", "format", "center", "list", "loop", "power", "refusal", "syntax"],
)
def test_a_template_has_limits(template: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Those that take memory must have the time for it; those that never end need none of it.
    monkeypatch.setattr(confined_chat, "SECONDS", 1 if why == "longer than" else 3)
    with pytest.raises(TemplateFailed, match=why) as error:
        confined_chat.render_confined(template, MESSAGES, {})
    assert "\n" not in str(error.value)


@linux
@pytest.mark.thorough
def test_a_template_that_never_ends_ends_with_the_engine(raw: Raw, tmp_path: Path) -> None:
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    raw.load(tiny_models.qwen2(tmp_path, change=lambda writer: writer.add_chat_template(endless)))
    raw.say(encode(Chat(1, json.dumps(MESSAGES))))
    children = Path(f"/proc/{raw.process.pid}/task/{raw.process.pid}/children")
    for _ in range(600):
        if found := children.read_text().split():
            break
        threading.Event().wait(0.05)
    assert isinstance(raw.ask(b'["Ping",{}]\n'), Pong), "meanwhile it answers"
    raw.process.kill()
    assert ended(int(found[0]))
