"""Reads the text of `--chat`: a single user turn, a JSON list of messages, or a JSON object with messages. Pure."""

import json
import re
from typing import Any, NamedTuple

ROLES = (
    *("system", "developer", "user", "assistant", "tool"),
    *("function", "ipython", "model", "tool_results", "content", "root"),  # of single templates
)
_PARTS = ("messages", "tools", "documents", "add_generation_prompt", "chat_template_kwargs")
"""Keys of a JSON object, as in llama-server's requests."""
_BEGINS_AS_MESSAGES = re.compile(r"""\s*(\[\s*\{\s*["']?(role|content)\b|\{\s*["']?messages\b)""")
"""The beginning of a list of messages, valid JSON or not."""
_IN_PLACE_OF_CONTENT = ("tool_calls", "reasoning_content", "thinking", "reasoning")
"""Keys that an assistant's message may have in place of content."""


class BadChat(Exception):
    """The messages are invalid, for this reason."""


class Conversation(NamedTuple):
    """The input of a chat template."""

    request: str
    """JSON: an object with `messages` and the other given parts."""
    notices: tuple[str, ...] = ()
    """Remarks for the player on how the text was read."""


def conversation(text: str) -> Conversation:
    """The messages in a text, else the text as a single user turn. Raises BadChat.

    >>> conversation("Hello").request
    '{"messages": [{"role": "user", "content": "Hello"}]}'
    >>> conversation('[{"role": "system", "content": "Be brief."}]').request
    '{"messages": [{"role": "system", "content": "Be brief."}]}'
    """
    parts, notices = _read(text)
    request = json.dumps(parts, ensure_ascii=False)
    if re.search("[\ud800-\udfff]", request):
        raise BadChat("half of a surrogate pair (\\ud800 to \\udfff) in a text")
    return Conversation(request, notices)


def _read(text: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    turn = {"messages": [{"role": "user", "content": text}]}
    try:
        value = json.loads(text) if text.lstrip()[:1] in ("[", "{") else None
    except (ValueError, RecursionError) as error:
        if not _BEGINS_AS_MESSAGES.match(text):
            return turn, ()  # text that begins with a bracket
        hint = ": one conversation at a time" if "Extra data" in str(error) else ""
        raise BadChat(f"a list of messages that is not JSON: {error}{hint}") from None
    if value is None:
        return turn, ()
    if isinstance(value, list):
        return {"messages": _messages(value)}, ()
    if "messages" not in value:
        raise BadChat(
            'JSON without messages: expected [{"role": …, "content": …}, …] or {"messages": […], "tools": […]}'
        )
    _check_parts(value)
    unused = [str(key)[:40] for key in value if key not in _PARTS]
    notices = (f"--chat: not used: {', '.join(unused[:8])}",) if unused else ()
    return {**{key: value[key] for key in _PARTS if key in value}, "messages": _messages(value["messages"])}, notices


def _messages(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise BadChat('JSON that is no list of messages: expected [{"role": …, "content": …}, …]')
    for index, message in enumerate(value):
        where = f"message {index + 1}"
        if not isinstance(message, dict) or "role" not in message:
            raise BadChat(f"{where}: expected an object with role and content")
        role = message["role"]
        if role not in ROLES:
            raise BadChat(f"{where}: role: expected one of {', '.join(ROLES)}, got {str(role)[:40]!r}")
        content = message.get("content")
        if content is None and (
            role not in ("assistant", "model") or not any(message.get(key) for key in _IN_PLACE_OF_CONTENT)
        ):
            raise BadChat(f"{where}: expected an object with role and content")
        _check_content(where, content)
        calls = message.get("tool_calls")
        if calls is not None and not _objects(calls):
            raise BadChat(f"{where}: tool_calls: expected a list of objects")
    return value


def _check_content(where: str, content: object) -> None:
    """Raises BadChat unless the content is a text, nothing, or a list of parts with types."""
    if content is None or isinstance(content, str):
        return
    if not (_objects(content) and all(isinstance(part.get("type"), str) for part in content)):  # type: ignore[attr-defined]
        raise BadChat(f'{where}: content: expected a text, or a list of parts: [{{"type": "text", "text": …}}]')
    for part in content:  # type: ignore[attr-defined]
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise BadChat(f"{where}: content: a part of the type text without a text")


def _check_parts(value: dict[str, Any]) -> None:
    for name in ("tools", "documents"):
        if value.get(name) is not None and not _objects(value[name]):
            raise BadChat(f"{name}: expected a list of objects")
    if not isinstance(value.get("add_generation_prompt", True), bool):
        raise BadChat("add_generation_prompt: expected true or false")
    template_arguments = value.get("chat_template_kwargs", {})
    if not isinstance(template_arguments, dict) or not all(
        key.isidentifier() and key not in _PARTS for key in template_arguments
    ):
        raise BadChat("chat_template_kwargs: expected an object with names that templates can use")


def _objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)
