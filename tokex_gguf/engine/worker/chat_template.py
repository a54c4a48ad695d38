"""A chat as the text that a model was trained on, by the template in its own file.

What templates may use is what Hugging Face's transformers give them, so that the text is the same;
`tests/engine/test_templates.py` holds that.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

MOST_CHARACTERS = 4 * 2**20
"""Characters of a rendered chat, at the most."""
PREFIXES = 16
"""Turns of the assistant's that are found by rendering what comes before them."""
_REASONING = ("reasoning_content", "thinking", "reasoning")
"""What a message's reasoning is called, here and there."""
_OPEN, _CLOSE = "\ue0d1\ue0d2{}\ue0d3", "\ue0d4\ue0d5{}\ue0d6"
"""Marks around an assistant's words, of characters that nobody uses."""

Messages = Sequence[Mapping[str, Any]]
TextSpan = tuple[int, int]


class _Refusal(Exception):
    """The template itself has refused the messages."""


class TemplateFailed(Exception):
    """There is no template, or it refuses these messages; says why in one line."""


class Rendered(NamedTuple):
    """The text of a chat."""

    text: str
    turns: list[TextSpan] | None
    """Where the assistant's turns begin and end in it, in characters, in order; None where that is not known."""


def render(template: str, conversation: Mapping[str, Any], special: Mapping[str, str]) -> Rendered:
    """The text of a chat, usually up to where the model's answer begins. Raises TemplateFailed.

    `conversation` has `messages`, and may have `tools`, `documents`, `add_generation_prompt` and
    `chat_template_kwargs`; `special` has the texts of the special tokens that the model names, as `bos_token`.

    The template is code of a stranger's: it runs in a sandbox that reaches nothing but
    what is given to it here; `confined_chat` runs this in a process with limits.
    """
    if not template:
        raise TemplateFailed("this model has no chat template: leave --chat out, or take an instruct model")
    compiled = _Template(template, conversation, special)
    messages: Messages = conversation["messages"]
    prompt = conversation.get("add_generation_prompt", True)
    try:
        text, spans = compiled.text(messages, prompt=prompt)
    except TemplateFailed as error:
        if any(isinstance(message.get("content"), list) for message in messages):
            raise TemplateFailed(f"{error}; a content that is a text and no list of parts may do") from None
        raise
    said = sum(message.get("role") in _ASSISTANT for message in messages)
    if not said or (spans and all(text[start:end] for start, end in spans)):
        return Rendered(text, spans)
    found = _turns(compiled, messages, text, prompt=prompt)
    return Rendered(text, found if len(found) == said else None)


_ASSISTANT = ("assistant", "model")
"""Roles of the turns that a model writes; Gemma's templates know the second one."""


class _Template:
    """A compiled template, and what it is given beside the messages."""

    def __init__(self, source: str, conversation: Mapping[str, Any], special: Mapping[str, str]) -> None:
        self._spans: list[TextSpan] = []
        self._parts: list[str] = []
        self._values = {
            **special,
            **conversation.get("chat_template_kwargs", {}),
            "tools": conversation.get("tools"),
            "documents": conversation.get("documents"),
        }
        try:
            self._template = _compiled(source)
        except Exception as error:
            raise _failed(error) from None

    def text(self, messages: Messages, *, prompt: bool) -> tuple[str, list[TextSpan]]:
        """The text, and what the template itself marks as generated. Raises TemplateFailed."""
        self._spans, self._parts = [], []
        self._template.environment.extend(span=self._span)
        length = 0
        values = {**self._values, "messages": list(map(_with_reasoning, messages)), "add_generation_prompt": prompt}
        try:
            for part in self._template.generate(values):
                self._parts.append(part)
                length += len(part)
                if length > MOST_CHARACTERS:
                    raise TemplateFailed(
                        f"the model's chat template makes a text of more than {MOST_CHARACTERS:,} characters"
                    )
        except TemplateFailed:
            raise
        except Exception as error:  # whatever a stranger's code may raise
            raise _failed(error) from None
        return "".join(self._parts), self._spans

    def _span(self, text: str) -> str:
        start = sum(map(len, self._parts))
        self._spans.append((start, start + len(text)))
        return text


def _failed(error: Exception) -> TemplateFailed:
    import jinja2

    if isinstance(error, _Refusal):
        return TemplateFailed(f"the model's chat template refuses this: {error}")
    if isinstance(error, jinja2.TemplateError):
        return TemplateFailed(f"the model's chat template is wrong: {error.message or type(error).__name__}")
    return TemplateFailed(f"the model's chat template fails: {error}")


@lru_cache(maxsize=1)
def _compiled(source: str) -> Any:
    """A template of jinja2's, which takes longer to make than to use."""
    return _environment().from_string(source)


def _environment() -> Any:
    """What templates are written for: the sandbox that transformers run them in."""
    import jinja2
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` … `{% endgeneration %}`: what the assistant has written."""

        tags = {"generation"}  # noqa: RUF012  as jinja2 has it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_told"), [], [], body).set_lineno(line)

        def _told(self, caller: Any) -> Any:
            return self.environment.span(caller())  # type: ignore[attr-defined]

    class Namespace(jinja2.utils.Namespace):
        """One that takes no names of Python's own."""

        def __init__(*args: Any, **names: Any) -> None:
            self, *rest = args
            attributes = dict(*rest, **names)
            for name in attributes:
                _refuse_private(name)
            jinja2.utils.Namespace.__init__(self, attributes)

        def __setitem__(self, name: str, value: Any) -> None:
            _refuse_private(name)
            super().__setitem__(name, value)

    def _refuse_private(name: object) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace's name begins with an underscore: {name!r}")

    def refuse(message: object) -> NoReturn:
        raise _Refusal(str(message))

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    # Not jinja2's own, which is for HTML and sorts keys.
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    environment.globals["namespace"] = Namespace
    return environment


def _with_reasoning(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with its reasoning under the names that templates read."""
    reasoning = next((message[key] for key in _REASONING if message.get(key) is not None), None)
    if reasoning is None:
        return dict(message)
    return {"thinking": reasoning, **message, "reasoning_content": reasoning}


# --- which part of the text the assistant has written


def _turns(template: _Template, messages: Messages, text: str, *, prompt: bool) -> list[TextSpan]:
    """The assistant's turns, as far as they can be found; in order."""
    marked = _marked(template, messages, text, prompt=prompt)
    found: list[TextSpan] = []
    said = 0
    for index, message in enumerate(messages):
        if message.get("role") not in _ASSISTANT:
            continue
        span = None
        if (message.get("tool_calls") or index not in marked) and said < PREFIXES:
            span = _between(template, messages, index, text)
        if span is None and not message.get("tool_calls"):
            span = marked.get(index)
        said += 1
        if span and span[0] < span[1]:
            found.append(span)
    return found


def _between(template: _Template, messages: Messages, index: int, text: str) -> TextSpan | None:
    """What a message adds to the text before it, where the text with fewer messages is the beginning of the whole."""
    with suppress(TemplateFailed):
        before, _ = template.text(messages[:index], prompt=True)
        after, _ = template.text(messages[: index + 1], prompt=False)
        if text.startswith(before) and text.startswith(after) and len(before) < len(after):
            return len(before), len(after.rstrip())
    return None


def _marked(template: _Template, messages: Messages, text: str, *, prompt: bool) -> dict[int, TextSpan]:
    """Where the assistant's words are, by marks around them, from a message's index."""
    changed = [
        {**message, "content": _with_marks(message["content"], index)}
        if message.get("role") in _ASSISTANT and isinstance(message.get("content"), str)
        else message
        for index, message in enumerate(messages)
    ]
    try:
        rest, _ = template.text(changed, prompt=prompt)
    except TemplateFailed:
        return {}
    marks: dict[str, list[int]] = {}
    plain: list[str] = []
    at = 0
    for piece in _split(rest):
        if piece[:2] in (_OPEN[:2], _CLOSE[:2]):
            marks.setdefault(piece, []).append(at)
        else:
            plain.append(piece)
            at += len(piece)
    if "".join(plain) != text:
        return {}  # the template looks at what is written: with marks it says something else
    spans: dict[int, TextSpan] = {}
    for index in range(len(messages)):
        match marks.get(_OPEN.format(index)), marks.get(_CLOSE.format(index)):
            case [start], [end]:  # each once
                spans[index] = (start, end)
    return spans


def _with_marks(content: str, index: int) -> str:
    """An assistant's words between two marks: without white space around them, which templates cut off."""
    words = content.strip()
    start = content.index(words)
    answer = words.rpartition("</think>")[2].lstrip()  # templates drop the thoughts before it
    at = start + len(words) - len(answer)
    end = start + len(words)
    return f"{content[:at]}{_OPEN.format(index)}{content[at:end]}{_CLOSE.format(index)}{content[end:]}"


def _split(text: str) -> list[str]:
    """A text in pieces, of which each mark is one."""
    return re.split("([\ue0d1\ue0d4][\ue0d2\ue0d5]\\d+[\ue0d3\ue0d6])", text)
