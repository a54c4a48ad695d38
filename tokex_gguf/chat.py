"""What `--chat` reads: one turn of the user's, or a JSON list of messages. Pure."""

import json
import re

ROLES = ("system", "user", "assistant", "tool")
_MEANT = re.compile(r"""\s*\[\s*\{\s*["']?(role|content)\b""")
"""How a list of messages begins, sound or not."""


class BadChat(Exception):
    """The list of messages cannot be used; says what is wrong with it."""


def messages(text: str) -> tuple[tuple[str, str], ...]:
    """Roles and texts. Raises BadChat.

    >>> messages("Hello")
    (('user', 'Hello'),)
    >>> messages('[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]')
    (('system', 'Be brief.'), ('user', 'Hi'))
    """
    try:
        told = json.loads(text) if text.lstrip().startswith("[") else None
    except (ValueError, RecursionError) as error:
        if _MEANT.match(text):
            raise BadChat(f"a list of messages that is not JSON: {error}") from None
        told = None  # text that begins with a bracket
    if not isinstance(told, list) or not any(isinstance(one, dict) for one in told):
        return (("user", text),)
    turns = []
    for index, one in enumerate(told):
        if not isinstance(one, dict) or set(one) != {"role", "content"}:
            raise BadChat(f"message {index + 1}: expected an object with role and content, and nothing else")
        role, content = one["role"], one["content"]
        if role not in ROLES:
            raise BadChat(f"message {index + 1}: role: expected one of {', '.join(ROLES)}, got {str(role)[:40]!r}")
        if not isinstance(content, str):
            raise BadChat(f"message {index + 1}: content: expected a text")
        turns.append((role, content))
    return tuple(turns)
