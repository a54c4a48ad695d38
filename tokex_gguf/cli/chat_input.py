"""What `--chat` reads: one turn of the user's, or JSON: a list of messages, or an object that has one. Pure."""

import json
import re
from typing import Any, NamedTuple

ROLES = (
    *("system", "developer", "user", "assistant", "tool"),
    *("function", "ipython", "model", "tool_results", "content", "root"),  # of single templates
)
_PARTS = ("messages", "tools", "documents", "add_generation_prompt", "chat_template_kwargs")
"""What an object may have, named as for llama-server."""
_MEANT = re.compile(r"""\s*(\[\s*\{\s*["']?(role|content)\b|\{\s*["']?messages\b)""")
"""How a list of messages begins, sound or not."""
_SAID = ("tool_calls", "reasoning_content", "thinking", "reasoning")
"""What an assistant's message may have in place of content."""


class BadChat(Exception):
    """The messages cannot be used; says what is wrong with them."""


class Conversation(NamedTuple):
    """What a chat template is given."""

    request: str
    """JSON: an object with `messages` and the other parts that were given."""
    notices: tuple[str, ...] = ()
    """What the player should know of how it was read."""


def conversation(text: str) -> Conversation:
    """The messages that a text holds, else the text as a turn of the user's. Raises BadChat.

    >>> conversation("Hello").request
    '{"messages": [{"role": "user", "content": "Hello"}]}'
    >>> conversation('[{"role": "system", "content": "Be brief."}]').request
    '{"messages": [{"role": "system", "content": "Be brief."}]}'
    """
    told, notices = _read(text)
    request = json.dumps(told, ensure_ascii=False)
    if re.search("[\ud800-\udfff]", request):
        raise BadChat("half of a surrogate pair (\\ud800 to \\udfff) in a text")
    return Conversation(request, notices)


def _read(text: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    turn = {"messages": [{"role": "user", "content": text}]}
    try:
        told = json.loads(text) if text.lstrip()[:1] in ("[", "{") else None
    except (ValueError, RecursionError) as error:
        if not _MEANT.match(text):
            return turn, ()  # text that begins with a bracket
        hint = ": one conversation at a time" if "Extra data" in str(error) else ""
        raise BadChat(f"a list of messages that is not JSON: {error}{hint}") from None
    if told is None:
        return turn, ()
    if isinstance(told, list):
        return {"messages": _messages(told)}, ()
    if "messages" not in told:
        raise BadChat(
            'JSON without messages: expected [{"role": …, "content": …}, …] or {"messages": […], "tools": […]}'
        )
    _check_parts(told)
    unused = [str(key)[:40] for key in told if key not in _PARTS]
    notices = (f"--chat: not used: {', '.join(unused[:8])}",) if unused else ()
    return {**{key: told[key] for key in _PARTS if key in told}, "messages": _messages(told["messages"])}, notices


def _messages(told: object) -> list[dict[str, Any]]:
    if not isinstance(told, list) or not told:
        raise BadChat('JSON that is no list of messages: expected [{"role": …, "content": …}, …]')
    for index, one in enumerate(told):
        where = f"message {index + 1}"
        if not isinstance(one, dict) or "role" not in one:
            raise BadChat(f"{where}: expected an object with role and content")
        role = one["role"]
        if role not in ROLES:
            raise BadChat(f"{where}: role: expected one of {', '.join(ROLES)}, got {str(role)[:40]!r}")
        content = one.get("content")
        if content is None and (role not in ("assistant", "model") or not any(one.get(key) for key in _SAID)):
            raise BadChat(f"{where}: expected an object with role and content")
        _check_content(where, content)
        calls = one.get("tool_calls")
        if calls is not None and not _objects(calls):
            raise BadChat(f"{where}: tool_calls: expected a list of objects")
    return told


def _check_content(where: str, content: object) -> None:
    """A text, nothing, or parts that each have a type."""
    if content is None or isinstance(content, str):
        return
    if not (_objects(content) and all(isinstance(part.get("type"), str) for part in content)):  # type: ignore[attr-defined]
        raise BadChat(f'{where}: content: expected a text, or a list of parts: [{{"type": "text", "text": …}}]')
    for part in content:  # type: ignore[attr-defined]
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise BadChat(f"{where}: content: a part of the type text without a text")


def _check_parts(told: dict[str, Any]) -> None:
    for name in ("tools", "documents"):
        if told.get(name) is not None and not _objects(told[name]):
            raise BadChat(f"{name}: expected a list of objects")
    if not isinstance(told.get("add_generation_prompt", True), bool):
        raise BadChat("add_generation_prompt: expected true or false")
    more = told.get("chat_template_kwargs", {})
    if not isinstance(more, dict) or not all(key.isidentifier() and key not in _PARTS for key in more):
        raise BadChat("chat_template_kwargs: expected an object with names that templates can use")


def _objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)
