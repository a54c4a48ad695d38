"""Writes tests/templates: the chat templates that llama.cpp ships, and what transformers makes of chats by them.

    uv run --no-project --with transformers --with jinja2 scripts/templates.py FOLDER

FOLDER is `models/templates` of llama.cpp's sources; llama-cpp-python's source distribution has it.
"""

import hashlib
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent / "tests"


def main() -> None:
    """Renders each chat by each template."""
    from transformers.utils import chat_template_utils  # type: ignore[import-not-found, unused-ignore]

    cases = json.loads((TESTS / "templates" / "chats.json").read_text(encoding="utf-8"))
    expected: dict[str, dict[str, str]] = {}
    for path in sorted(Path(sys.argv[1]).glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        expected[path.stem] = {name: outcome(chat_template_utils, source, case) for name, case in cases.items()}
    with tarfile.open(TESTS / "templates" / "llama.cpp.tar.xz", "w:xz") as archive:
        for path in sorted(Path(sys.argv[1]).glob("*.jinja")):
            archive.add(path, path.name)
    text = json.dumps(expected, indent=1)
    (TESTS / "templates" / "expected.json").write_text(text + "\n", encoding="utf-8")


def outcome(utils: Any, source: str, case: dict[str, Any]) -> str:
    """A digest of the text, or `refused`."""
    case = dict(case)
    special, more = case.pop("special"), case.pop("chat_template_kwargs", {})
    messages = case.pop("messages")
    try:
        template = utils._compile_jinja_template(source)
        # The day is what the test sets it to.
        template.environment.globals["strftime_now"] = lambda form: f"<{form}>"
        template = template.environment.from_string(source)
        chat = utils._alias_reasoning_fields(messages)
        values = {"add_generation_prompt": True, "tools": None, "documents": None, **special, **more, **case}
        text = template.render(messages=chat, **values)
    except Exception:
        return "refused"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
