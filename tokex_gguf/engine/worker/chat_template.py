"""Renders a chat by the chat template in the model's file.

Templates get the same environment as in Hugging Face's transformers, so that the text is the same;
`tests/engine/test_templates.py` checks that.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

MOST_CHARACTERS = 4 * 2**20
"""The most characters of a rendered chat."""
PREFIXES = 16
"""The most assistant's turns that are located by rendering the messages before them."""
_REASONING = ("reasoning_content", "thinking", "reasoning")
"""Keys for a message's reasoning."""
_OPEN, _CLOSE = "\ue0d1\ue0d2{}\ue0d3", "\ue0d4\ue0d5{}\ue0d6"
"""Marks around an assistant's words, of private-use characters."""

Messages = Sequence[Mapping[str, Any]]
TextSpan = tuple[int, int]


class _Refusal(Exception):
    """The template itself refused the messages."""


class TemplateFailed(Exception):
    """There is no template, or it fails. The message says why in one line."""


class Rendered(NamedTuple):
    """The text of a chat."""

    text: str
    turns: list[TextSpan] | None
    """The start and end of each assistant's turn, in characters; None where they are not known."""


def render(template: str, conversation: Mapping[str, Any], special: Mapping[str, str]) -> Rendered:
    """The text of a chat, usually up to the start of the model's answer. Raises TemplateFailed.

    `conversation` has `messages`, and may have `tools`, `documents`, `add_generation_prompt` and
    `chat_template_kwargs`; `special` has the texts of the special tokens that the model names, as `bos_token`.

    The template is code from a stranger: it runs in a sandbox that reaches only the values
    given here; `confined_chat` runs it in a process with limits.
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
    turns = sum(message.get("role") in _ASSISTANT for message in messages)
    if not turns or (spans and all(text[start:end] for start, end in spans)):
        return Rendered(text, spans)
    located = _turns(compiled, messages, text, prompt=prompt)
    return Rendered(text, located if len(located) == turns else None)


_ASSISTANT = ("assistant", "model")
"""Roles of the turns that a model writes; Gemma's templates know the second one."""


class _Template:
    """A compiled template and its values besides the messages."""

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
        """The text, and the spans that the template itself marks as generated. Raises TemplateFailed."""
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
        except Exception as error:  # a template may raise anything
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
    """A compiled template; compiling takes longer than rendering."""
    return _environment().from_string(source)


def _environment() -> Any:
    """The sandbox for templates, as in transformers."""
    import jinja2
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` … `{% endgeneration %}`: the assistant's text."""

        tags = {"generation"}  # noqa: RUF012  as jinja2 has it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_generated"), [], [], body).set_lineno(line)

        def _generated(self, caller: Any) -> Any:
            return self.environment.span(caller())  # type: ignore[attr-defined]

    class Namespace(jinja2.utils.Namespace):
        """A namespace without private names."""

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
    # jinja2's own escapes for HTML and sorts keys.
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    environment.globals["namespace"] = Namespace
    return environment


def _with_reasoning(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with its reasoning under the keys that templates read."""
    reasoning = next((message[key] for key in _REASONING if message.get(key) is not None), None)
    if reasoning is None:
        return dict(message)
    return {"thinking": reasoning, **message, "reasoning_content": reasoning}


# --- the assistant's turns in the text


def _turns(template: _Template, messages: Messages, text: str, *, prompt: bool) -> list[TextSpan]:
    """The assistant's turns that can be located, in order."""
    marked = _marked(template, messages, text, prompt=prompt)
    spans: list[TextSpan] = []
    turns = 0
    for index, message in enumerate(messages):
        if message.get("role") not in _ASSISTANT:
            continue
        span = None
        if (message.get("tool_calls") or index not in marked) and turns < PREFIXES:
            span = _added_by(template, messages, index, text)
        if span is None and not message.get("tool_calls"):
            span = marked.get(index)
        turns += 1
        if span and span[0] < span[1]:
            spans.append(span)
    return spans


def _added_by(template: _Template, messages: Messages, index: int, text: str) -> TextSpan | None:
    """The span that a message adds; None unless the text of fewer messages is a prefix of the whole text."""
    with suppress(TemplateFailed):
        before, _ = template.text(messages[:index], prompt=True)
        after, _ = template.text(messages[: index + 1], prompt=False)
        if text.startswith(before) and text.startswith(after) and len(before) < len(after):
            return len(before), len(after.rstrip())
    return None


class _Begin(Enum):
    """Where the part of a content begins that a template keeps, the widest part first."""

    CONTENT = "at its beginning"
    WORDS = "after white space"
    ANSWER = "after the reasoning and white space"


class _Kept(NamedTuple):
    """The part of an assistant's content that a template keeps."""

    begin: _Begin
    trimmed: bool
    """Whether white space at the end is stripped."""


_WHOLE, _LEAST = _Kept(_Begin.CONTENT, trimmed=False), _Kept(_Begin.ANSWER, trimmed=True)
_PARTS = [_Kept(begin, trimmed) for begin in _Begin for trimmed in (False, True)]


MOST_ONE_BY_ONE = 32
"""Turns of the assistant that are located one by one, where the template treats them differently."""


def _marked(template: _Template, messages: Messages, text: str, *, prompt: bool) -> dict[int, TextSpan]:
    """The spans of the assistant's words by message index: as much of each content as is in the text."""
    own = [
        index
        for index, message in enumerate(messages)
        if message.get("role") in _ASSISTANT and isinstance(message.get("content"), str)
    ]

    def spans(parts: Mapping[int, _Kept]) -> dict[int, TextSpan]:
        return _between_marks(template, messages, text, parts, prompt=prompt)

    found = spans(dict.fromkeys(own, _WHOLE))
    if len(found) == len(own):
        return found
    if len(own) > MOST_ONE_BY_ONE:
        return spans(dict.fromkeys(own, _LEAST))
    found = {}
    for index in own:
        found |= next(filter(None, (spans({index: part}) for part in _PARTS)), {})
    return found


def _between_marks(
    template: _Template, messages: Messages, text: str, parts: Mapping[int, _Kept], *, prompt: bool
) -> dict[int, TextSpan]:
    """The spans of contents that are located by marks around them; none where the marks change the text."""
    changed = [
        {**message, "content": _with_marks(message["content"], index, parts[index])} if index in parts else message
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
        return {}  # the template strips or inspects what is between the marks
    spans: dict[int, TextSpan] = {}
    for index in parts:
        match marks.get(_OPEN.format(index)), marks.get(_CLOSE.format(index)):
            case [start], [end]:  # each once
                spans[index] = (start, end)
    return spans


def _with_marks(content: str, index: int, part: _Kept) -> str:
    """Puts marks around a part of an assistant's content."""
    end = len(content.rstrip() if part.trimmed else content)
    behind = content[:end]
    if part.begin is _Begin.ANSWER:
        behind = behind.rpartition("</think>")[2]
    start = end - len(behind if part.begin is _Begin.CONTENT else behind.lstrip())
    return f"{content[:start]}{_OPEN.format(index)}{content[start:end]}{_CLOSE.format(index)}{content[end:]}"


def _split(text: str) -> list[str]:
    """Splits a text into marks and other pieces."""
    return re.split("([\ue0d1\ue0d4][\ue0d2\ue0d5]\\d+[\ue0d3\ue0d6])", text)
