"""Chats by all templates that llama.cpp ships: the same text as transformers make of them.

`scripts/templates.py` writes what is expected, and the archive of the templates.
"""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.figures import Figure
from tokex_gguf.cli.chat_input import conversation
from tokex_gguf.engine.worker import chat_template
from tokex_gguf.engine.worker.chat_template import Rendered, TemplateFailed, render

FOLDER = Path(__file__).parent.parent / "templates"
CHATS: dict[str, dict[str, Any]] = json.loads((FOLDER / "chats.json").read_text(encoding="utf-8"))
EXPECTED: dict[str, dict[str, str]] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


def sources() -> dict[str, str]:
    found = {}
    with tarfile.open(FOLDER / "llama.cpp.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file
            found[member.name.removesuffix(".jinja")] = file.read().decode()
    return found


SOURCES = sources()


class Clock:
    """A day that is always the same."""

    @classmethod
    def now(cls) -> type["Clock"]:
        return cls

    @staticmethod
    def strftime(form: str) -> str:
        return f"<{form}>"


def rendered(source: str, case: dict[str, Any]) -> Rendered | None:
    """As the program does it: the chat is read from JSON and told to the engine as JSON. None where it is refused."""
    told = conversation(json.dumps({key: value for key, value in case.items() if key != "special"})).request
    try:
        return render(source, json.loads(told), case["special"])
    except TemplateFailed:
        return None


Outcomes = dict[tuple[str, str], Rendered | None]


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """Every chat by every template."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat_template, "datetime", Clock)
        return {
            (name, case): rendered(source, CHATS[case]) for name, source in SOURCES.items() for case in EXPECTED[name]
        }


@pytest.mark.thorough
def test_texts_are_those_of_transformers(outcomes: Outcomes, figure: Figure) -> None:
    assert set(SOURCES) == set(EXPECTED) and len(SOURCES) == 70
    different = []
    for (name, case), text in outcomes.items():
        got = hashlib.sha256(text.text.encode()).hexdigest()[:16] if text else "refused"
        if got != EXPECTED[name][case]:
            different.append((name, case))
    assert not different
    figure(len(outcomes), "chats by templates")


def test_the_assistants_turns_are_found(outcomes: Outcomes) -> None:
    found = {}
    for (name, case), text in outcomes.items():
        if text is None or case not in ("turns", "answered", "thoughts"):
            continue
        assert text.turns is not None, (name, case)
        (said,) = (text.text[start:end] for start, end in text.turns)
        assert "Yes" in said and "1 < 2" not in said and "Why?" not in said, (name, case, said)
        found[name, case] = said
    assert len(found) > 190
    plain = [said for (name, case), said in found.items() if case == "turns" and "<think>" not in said]
    assert plain.count("Yes.") > 60


@pytest.mark.thorough
def test_turns_with_tool_calls_are_told_whole_or_not_at_all(outcomes: Outcomes) -> None:
    told = 0
    for (name, case), text in outcomes.items():
        if case == "tool call" and text and text.turns and "Zürich" in text.text:
            ((start, end),) = text.turns
            assert "Zürich" in text.text[start:end], (name, text.text[start:end])
            told += 1
    assert told > 25


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{% for m in messages %}[{{ m.content }}]{% endfor %}", ["b", "d"]),
        ("{% for m in messages %}[{{ m.content | trim | upper }}]{% endfor %}", ["B", "D"]),
        (
            "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}<{{ m.content }}>"
            "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
            ["<b>", "<d>"],
        ),
        ("{{ messages | length }}", None),
        ("{{ messages[0].content }}", None),
        ("{% for m in messages %}{{ m.content | length }}{% endfor %}", ["1", "1"]),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", ["bb", "dd"]),
        ("{{ messages | map(attribute='content') | join }}{{ messages | length }}", ["b", "d"]),
        ("{{ messages[1].content | length }}{{ messages | length }}", None),
    ],
)
def test_turns_of_templates(template: str, expected: list[str] | None) -> None:
    messages = [{"role": role, "content": text} for role, text in zip(["user", "assistant"] * 2, "abcd", strict=True)]
    text, turns = render(template, {"messages": messages}, {})
    assert (None if turns is None else [text[start:end] for start, end in turns]) == expected


def test_turns_of_the_role_model_are_the_assistants_too() -> None:
    """As Gemma's templates have it."""
    source = (
        "{% for m in messages %}<|{{ 'model' if m.role == 'assistant' else m.role }}|>{{ m.content }}<end>{% endfor %}"
        "{% if add_generation_prompt %}<|model|>{% endif %}"
    )
    found = []
    for role in ("assistant", "model"):
        messages = [{"role": "user", "content": "a question"}, {"role": role, "content": "an answer"}]
        rendered = render(source, {"messages": messages, "chat_template_kwargs": {"self": 1}}, {})
        found.append(rendered)
        assert rendered.turns and "an answer" in rendered.text[slice(*rendered.turns[0])]
    assert found[0] == found[1]


PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
STRIPS = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}"
DROPS = (
    "{% for m in messages %}<{{ m.role }}>"
    "{{ m.content if loop.last else m.content.split('</think>')[-1].lstrip() }}</>{% endfor %}"
)
"""As Qwen3's, which keeps the last turn's reasoning alone."""


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (PLAIN, ["Hello! ", "\n\nSo\t", "<think>no</think> Four ", "<think>yes</think>\n\nSix"]),
        (STRIPS, ["Hello!", "So", "<think>no</think> Four", "<think>yes</think>\n\nSix"]),
        (DROPS, ["Hello! ", "So\t", "Four ", "<think>yes</think>\n\nSix"]),
    ],
)
def test_turns_have_all_of_the_content_that_the_template_keeps(template: str, expected: list[str]) -> None:
    contents = ["Hello! ", "\n\nSo\t", "<think>no</think> Four ", "<think>yes</think>\n\nSix"]
    messages = [
        message
        for content in contents
        for message in ({"role": "user", "content": "?"}, {"role": "assistant", "content": content})
    ]
    text, turns = render(template, {"messages": messages}, {})
    assert turns is not None and [text[start:end] for start, end in turns] == expected


def test_many_turns_are_not_located_one_by_one() -> None:
    messages = [{"role": role, "content": "<think>x</think>y "} for _ in range(50) for role in ("user", "assistant")]
    text, turns = render(DROPS, {"messages": messages}, {})
    assert turns is not None and {text[start:end] for start, end in turns} == {"y"}
