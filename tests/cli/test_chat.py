"""Chats: what is read, how a model's template makes it a text, and the program's way from one to the other."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake import Play, started
from tests.models.test_header import string, with_keys
from tests.sampling import few
from tests.terminal import Terminal
from tokex_gguf.cli import main
from tokex_gguf.cli.chat_input import BadChat, conversation
from tokex_gguf.engine.protocol import Chat, Tokenized
from tokex_gguf.engine.worker import server
from tokex_gguf.engine.worker.chat_template import TemplateFailed, render
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Turns
from tokex_gguf.ui.screen import ScreenRenderer

# --- what is read


def messages(text: str) -> object:
    return json.loads(conversation(text).request)["messages"]


@pytest.mark.parametrize(
    "text", ["Hi", "[1, 2] is a list", "{", "[", "[" * 100_000, '{"a": 1} is an object', '"a"', "1"]
)
def test_what_is_no_json_is_a_turn_of_the_users(text: str) -> None:
    assert messages(text) == [{"role": "user", "content": text}]


TOOL = {"type": "function", "function": {"name": "f", "z": 1, "a": {}}}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}


@pytest.mark.parametrize(
    "told",
    [
        [{"role": "user", "content": "a", "name": "b"}],
        [{"role": "developer", "content": "a"}, CALL, {"role": "tool", "content": "b", "tool_call_id": "1"}],
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}],
        [{"role": "assistant", "reasoning_content": "a"}],
    ],
)
def test_messages_are_handed_on_whole(told: object) -> None:
    for space in ("", "  ", "\r\n"):
        assert messages(space + json.dumps(told)) == told
        assert messages(space + json.dumps({"messages": told}, indent=2)) == told


def test_an_object_has_more_than_messages() -> None:
    told = {
        "messages": [{"role": "user", "content": "a"}],
        "tools": [TOOL],
        "documents": [{"text": "b"}],
        "add_generation_prompt": False,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    request, notices = conversation(json.dumps(told))
    assert (json.loads(request), notices) == (told, ())
    assert list(json.loads(request)["tools"][0]["function"]) == ["name", "z", "a"], "in the order given"
    request, notices = conversation(json.dumps({"model": "x", **told, "temperature": 0}))
    assert (json.loads(request), notices) == (told, ("--chat: not used: model, temperature",))


USER = {"role": "user", "content": "a"}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], "JSON that is no list of messages"),
        ({}, "JSON without messages"),
        (USER, "JSON without messages"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "JSON without messages"),
        ({"messages": "a"}, "JSON that is no list of messages"),
        ({"messages": []}, "JSON that is no list of messages"),
        ([1, 2], "message 1: expected an object"),
        ([{"role": "user"}], "message 1: expected an object with role and content"),
        ([{"role": "user", "content": None}], "message 1: expected an object with role and content"),
        ([{"role": "assistant", "content": None}], "message 1: expected an object with role and content"),
        ([{"content": "a"}], "message 1: expected an object with role and content"),
        ([USER, 3], "message 2: expected an object"),
        ([{"role": "pirate", "content": "a"}], "message 1: role: expected one of system, developer, user"),
        ([{"role": ["user"], "content": "a"}], "message 1: role: expected one of system"),
        ([{"role": "user", "content": 5}], "message 1: content: expected a text, or a list of parts"),
        ([{"role": "user", "content": ["a"]}], "message 1: content: expected a text, or a list of parts"),
        ([{"role": "user", "content": [{"text": "a"}]}], "message 1: content: expected a text, or a list of parts"),
        ([{"role": "user", "content": [{"type": "text"}]}], "message 1: content: a part of the type text without"),
        ([{**CALL, "tool_calls": "f"}], "message 1: tool_calls: expected a list of objects"),
        ({"messages": [USER], "tools": {"a": 1}}, "tools: expected a list of objects"),
        ({"messages": [USER], "documents": ["a"]}, "documents: expected a list of objects"),
        ({"messages": [USER], "add_generation_prompt": 1}, "add_generation_prompt: expected true or false"),
        ({"messages": [USER], "chat_template_kwargs": {"a b": 1}}, "chat_template_kwargs: expected"),
        ({"messages": [USER], "chat_template_kwargs": {"messages": 1}}, "chat_template_kwargs: expected"),
        ([{"role": "user", "content": "\ud800"}], "half of a surrogate pair"),
    ],
)
def test_what_is_wrong_is_told(told: object, expected: str) -> None:
    with pytest.raises(BadChat, match=expected) as failed:
        conversation(json.dumps(told))
    assert str(failed.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        '[{"role": "user", "content": "Hi"',
        '[ {"content": "Hi"},]',
        "[{'role': 'user'}]",
        '\n[{role: "user"}]',
        '{"messages": [',
        "{'messages': []}",
        '{"messages": []}\n{"messages": []}',
    ],
)
def test_lists_that_are_not_json_are_no_turn(text: str) -> None:
    with pytest.raises(BadChat, match=r"a list of messages that is not JSON: .* line \d column \d+"):
        conversation(text)


# --- templates

TURNS = {"messages": [{"role": "user", "content": "Hi"}]}


def test_a_template_gets_what_templates_expect() -> None:
    template = (
        "{{ bos_token }}{% for message in messages %}\n"
        "    {%- if message.role != 'user' %}{{ raise_exception('only users') }}{% endif %}\n"
        "[{{ message['content'] | trim }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}{{ eos_token }}"
        "{% for n in [1, 2] %}{% if n == 2 %}{% break %}{% endif %}{{ n }}{% endfor %}"
    )
    assert render(template, TURNS, {"bos_token": "<s>", "eos_token": "</s>"}).text == "<s>[Hi]></s>1"
    assert len(render("{{ strftime_now('%Y') }}", TURNS, {}).text) == 4


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
        ("{% for a in range(90000) %}{{ 'x' * 1000 }}{% endfor %}", "makes a text of more than 4,194,304 characters"),
        ("{% for a in range(10 ** 9) %}{% endfor %}", "template fails: Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "template fails: maximum recursion"),
        ("{% include 'passwd' %}", "template fails: no loader"),
    ],
)
def test_templates_that_fail_do_so_in_one_line(template: str, expected: str) -> None:
    with pytest.raises(TemplateFailed, match=expected) as failed:
        render(template, TURNS, {})
    assert "\n" not in str(failed.value)


def test_a_template_that_takes_no_parts_says_what_may_do() -> None:
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}
    with pytest.raises(TemplateFailed, match=r"can only concatenate .*; a content that is a text .* may do"):
        render("{{ 'a' + messages[0].content }}", parts, {})


# --- the program


def test_a_chat_is_asked_for_instead_of_its_text() -> None:
    told = conversation('[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]').request
    play = Play("[…]", chat=told)
    play.take(play.reply(play.asked.pop(0)))  # type: ignore[arg-type]
    (request,) = play.asked
    assert request == Chat(1, told)
    play.asked.clear()
    play.take(Tokenized(1, [1, 2, 3], {}))
    play.answer()
    assert play.session.game.prompt.tip.path() == [1, 2, 3]


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


@pytest.mark.thorough
def test_the_assistants_turns_have_numbers_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "It is 2 🦜."}, USER]
    (tmp_path / "chat.json").write_text("\ufeff" + json.dumps({"messages": told, "tools": [TOOL]}), encoding="utf-8")
    arguments = ["--model", "bundled", "--no-config", "--chat", str(tmp_path / "chat.json")]
    assert main.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    said = [token for token in found["tokens"] if token["assistant"]]
    assert b"".join(bytes(token["bytes"]) for token in said).decode() == "It is 2 🦜.<|im_end|>"
    logprob = sum(token["logprob"] for token in said)
    assert found["assistant"]["tokens"] == len(said)
    assert found["assistant"]["logprob"] == pytest.approx(logprob)
    assert found["assistant"]["perplexity"] == pytest.approx(math.exp(-logprob / len(said)))
    assert found["notices"] == []
    assert main.main([*arguments, "--plain"]) == 0
    assert f"assistant's turns: {len(said)} tokens, logprob: {logprob:.4f}" in capsys.readouterr().out


def test_that_turns_cannot_be_told_apart_is_said_beside_any_output(
    tiny: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = "{{ messages|map(attribute='content')|join(' ')|upper|reverse }}"
    keys = {b"tokenizer.chat_template": string(template)}
    (tmp_path / "chat.gguf").write_bytes(with_keys(tiny["gpt2"].read_bytes(), keys))
    chat = json.dumps([USER, {"role": "assistant", "content": "is in the"}, USER])
    arguments = ["--model", str(tmp_path / "chat.gguf"), "--no-config", "--log", str(tmp_path / "log")]
    for shape in ("--json", "--plain"):
        assert main.main([*arguments, "--chat", "--prompt", chat, shape]) == 0
        told = capsys.readouterr()
        assert told.err.count("does not tell which tokens are the assistant's") == 1
    assert "does not tell" not in told.out


def test_the_assistants_perplexity_stands_beside_that_of_everything() -> None:
    play, view = started(), ScreenRenderer()
    nodes = play.session.game.prompt.tip.nodes()
    turns = [node for node in nodes[2:4] if node.taken]
    perplexity = math.exp(-sum(node.taken.logprob for node in turns if node.taken) / len(turns))
    play.session = replace(play.session, game=replace(play.session.game, turns=Turns(frozenset(turns))))

    def status(width: int = 130) -> str:
        return "".join(text for _, text in view.screen(play.session, width, 40)[-4])

    assert f"assistant's ppl {perplexity:.2e}" in status()
    assert f"assistant's ppl {perplexity:.2e}" in status(80) and "ready" in status(80)
    play.press(Action.APPEND)
    assert f"assistant's ppl {perplexity:.2e}" in status(), "what comes after them changes nothing"
    while play.session.game.prompt.tip.depth > 3:
        play.press(Action.POP)
    assert "assistant" not in status(), "not all of the turns are there"
    play.session = replace(play.session, game=replace(play.session.game, turns=Turns(None)))
    assert "assistant" not in status()


def test_a_chat_on_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    terminal = Terminal("--model", "bundled", "--chat", "--prompt", "What is the capital of France?")
    terminal.shows(r"tokens: \d+ .* ready")
    assert "<|im_start|>user" in terminal.text() and "<|im_start|>assistant" in terminal.text()
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


EMPTY = [
    ("{# nothing #}", "makes no text of these messages"),
    (r"{{ ' \n\t\u3000' }} ", "makes nothing but white space of these messages"),
]


@pytest.mark.parametrize("name", few(["llama", "gpt2"], of=2), ids=["with BOS", "without BOS"])
@pytest.mark.parametrize(("template", "expected"), EMPTY, ids=["nothing", "white space"])
def test_a_template_that_makes_no_text_is_refused(
    name: str, template: str, expected: str, tmp_path: Path, tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = with_template(tiny[name], template, tmp_path)
    for shape in ("--json", "--plain"):
        assert main.main(["--model", str(model), "--no-config", "--chat", "--prompt", "a", shape]) == 2
        told = capsys.readouterr()
        assert told.out == "" and told.err == f"tokex-gguf: the model's chat template {expected}\n"


def test_a_template_that_makes_no_text_is_refused_on_the_screen(
    tmp_path: Path, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    template, expected = EMPTY[0]
    terminal = Terminal("--model", str(with_template(tiny["llama"], template, tmp_path)), "--chat", "--prompt", "a")
    assert terminal.ends() == 2
    assert f"tokex-gguf: the model's chat template {expected}" in terminal.text()
    assert not list((tmp_path / "state").rglob("sessions/*.json")), "nothing was played"


@pytest.mark.parametrize(
    ("template", "notices"),
    [
        ("{{ bos_token }}", [server.ONLY_SPECIAL]),
        ("{{ bos_token }}[INST] {{ messages[0].content }} [/INST]", []),
        ("[INST] {{ messages[0].content }} [/INST]", []),
    ],
    ids=["only special", "with BOS", "without BOS"],
)
def test_a_template_that_names_the_first_token_changes_no_text(
    template: str, notices: list[str], tmp_path: Path, tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = with_template(tiny["llama"], template, tmp_path)
    assert main.main(["--model", str(model), "--no-config", "--chat", "--prompt", "the cat", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notices"] == notices


def test_a_text_of_a_template_that_is_too_long_is_refused(
    tmp_path: Path, tiny: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for template in ("{{ 'the cat ' * 300000 }}", "{{ 'the cat ' * 600000 }}"):
        model = with_template(tiny["llama"], template, tmp_path)
        assert main.main(["--model", str(model), "--no-config", "--chat", "--prompt", "a", "--json"]) == 2
        told = capsys.readouterr()
        assert told.out == "" and told.err.count("\n") == 1 and re.search("too long|more than", told.err)


def with_template(model: Path, template: str, folder: Path) -> Path:
    """A copy of a model with a chat template."""
    path = folder / "model.gguf"
    path.write_bytes(with_keys(model.read_bytes(), {b"tokenizer.chat_template": string(template)}))
    return path


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
    assert main.main(["--model", str(path), "--chat", "--prompt", "a", "--plain"]) == 2
    told = capsys.readouterr()
    assert told.out == "" and expected in told.err and told.err.count("\n") == 1
