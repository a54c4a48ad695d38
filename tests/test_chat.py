"""Chats: what is read, how a model's template makes it a text, and the program's way from one to the other."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake import Play
from tests.terminal import Terminal
from tests.test_header import string, with_keys
from tokex_gguf import cli
from tokex_gguf.chat import BadChat, messages
from tokex_gguf.engine.chat import TemplateFailed, render
from tokex_gguf.engine.protocol import Chat, Tokenized

# --- what is read


@pytest.mark.parametrize("text", ["Hi", "[1, 2] is a list", "[1, 2]", "[", "{}", "[" * 100_000])
def test_what_is_no_list_of_messages_is_a_turn_of_the_users(text: str) -> None:
    assert messages(text) == (("user", text),)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([{"role": "user"}], "message 1: expected an object with role and content"),
        ([{"role": "user", "content": "a"}, 3], "message 2: expected an object"),
        ([{"role": "pirate", "content": "a"}], "message 1: role: expected one of system, user"),
        ([{"role": "user", "content": ["a"]}], "message 1: content: expected a text"),
        ([{"role": "user", "content": "a", "name": "b"}], "and nothing else"),
    ],
)
def test_lists_that_are_wrong_are_told(told: object, expected: str) -> None:
    with pytest.raises(BadChat, match=expected):
        messages(json.dumps(told))


@pytest.mark.parametrize(
    "text", ['[{"role": "user", "content": "Hi"', '[ {"content": "Hi"},]', "[{'role': 'user'}]", '\n[{role: "user"}]']
)
def test_lists_that_are_not_json_are_no_turn(text: str) -> None:
    with pytest.raises(BadChat, match=r"a list of messages that is not JSON: .* line \d column \d+"):
        messages(text)


# --- templates

TURNS = [{"role": "user", "content": "Hi"}]


def test_a_template_gets_what_templates_expect() -> None:
    template = (
        "{{ bos_token }}{% for message in messages %}\n"
        "    {%- if message.role != 'user' %}{{ raise_exception('only users') }}{% endif %}\n"
        "[{{ message['content'] | trim }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}{{ eos_token }}"
        "{% for n in [1, 2] %}{% if n == 2 %}{% break %}{% endif %}{{ n }}{% endfor %}"
    )
    assert render(template, TURNS, bos="<s>", eos="</s>") == "<s>[Hi]></s>1"
    assert len(render("{{ strftime_now('%Y') }}", TURNS, bos="", eos="")) == 4


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", "no chat template"),
        ("{{ raise_exception('no system role') }}", "refuses this: no system role"),
        ("{% for %}", "template is wrong"),
        ("{{ ().__class__.__bases__[0].__subclasses__() }}", "template is wrong: access to attribute '__class__'"),
        ("{{ messages.append(1) }}", "template is wrong"),
        ("{{ messages[7].content.upper() }}", "template is wrong"),
        ("{{ 1 / 0 }}", "template fails: division by zero"),
        ("{% for a in range(90000) %}{{ 'x' * 1000 }}{% endfor %}", "refuses this: it never ends"),
        ("{% for a in range(10 ** 9) %}{% endfor %}", "template fails: Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "template fails: maximum recursion"),
        ("{% include 'passwd' %}", "template fails: no loader"),
    ],
)
def test_templates_that_fail_do_so_in_one_line(template: str, expected: str) -> None:
    with pytest.raises(TemplateFailed, match=expected) as failed:
        render(template, TURNS, bos="", eos="")
    assert "\n" not in str(failed.value)


# --- the program


def test_a_chat_is_asked_for_instead_of_its_text() -> None:
    play = Play("[…]", chat=(("system", "Be brief."), ("user", "Hi")))
    play.take(play.reply(play.asked.pop(0)))  # type: ignore[arg-type]
    (request,) = play.asked
    assert request == Chat(1, [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
    play.asked.clear()
    play.take(Tokenized(1, [1, 2, 3], {}))
    play.answer()
    assert play.session.prompt.tip.path() == [1, 2, 3]


def test_the_bundled_models_template(tmp_path: Path) -> None:
    (tmp_path / "chat.json").write_text(
        '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]'
    )
    done = subprocess.run(
        [sys.executable, "-m", "tokex_gguf", "--model", "bundled", "--chat", "--input", "chat.json", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    pieces = [token["text"] for token in json.loads(done.stdout)["tokens"]]
    assert "".join(pieces) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert pieces.count("<|im_start|>") == 3, "each is one token"


def test_a_chat_on_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    terminal = Terminal("--model", "bundled", "--chat", "--prompt", "What is the capital of France?")
    terminal.shows(r"tokens: \d+ .* ready")
    assert "<|im_start|>user" in terminal.text() and "<|im_start|>assistant" in terminal.text()
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (b"", "this model has no chat template: leave --chat out"),
        (
            b"{{ raise_exception('system role not supported') }}",
            "chat template refuses this: system role not supported",
        ),
        (b"{% for %}", "chat template is wrong"),
        (b"\xff{{ ''.__class__.__mro__ }}", "chat template is wrong: access to attribute '__class__'"),
    ],
)
def test_a_template_that_fails_is_one_line_of_the_program(
    template: bytes, expected: str, tmp_path: Path, tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(with_keys(tiny["gpt2"].read_bytes(), {b"tokenizer.chat_template": string(template)}))
    assert cli.main(["--model", str(path), "--chat", "--prompt", "a", "--plain"]) == 2
    told = capsys.readouterr()
    assert told.out == "" and expected in told.err and told.err.count("\n") == 1
