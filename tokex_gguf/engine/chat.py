"""A chat as the text that a model was trained on, by the template in its own file."""

from datetime import datetime
from typing import Any, NoReturn

MOST = 4 * 2**20
"""Characters of a rendered chat, at the most."""


class TemplateFailed(Exception):
    """There is no template, or it refuses these messages; says why in one line."""


def render(template: str, messages: list[dict[str, str]], *, bos: str, eos: str) -> str:
    """The text of a chat up to where the model's answer begins. Raises TemplateFailed.

    The template is code of a stranger's: it runs in a sandbox that reaches nothing but
    what is given to it here, in the engine's process.
    """
    import jinja2  # not on the way to the first table
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if not template:
        raise TemplateFailed("this model has no chat template: leave --chat out, or take an instruct model")

    def refuse(message: object) -> NoReturn:
        raise TemplateFailed(str(message))

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    values: dict[str, Any] = {"messages": messages, "bos_token": bos, "eos_token": eos, "add_generation_prompt": True}
    try:
        parts: list[str] = []
        length = 0
        for part in environment.from_string(template).generate(**values):
            parts.append(part)
            length += len(part)
            if length > MOST:
                raise TemplateFailed("it never ends")
    except TemplateFailed as error:
        raise TemplateFailed(f"the model's chat template refuses this: {error}") from None
    except jinja2.TemplateError as error:
        raise TemplateFailed(f"the model's chat template is wrong: {error.message or type(error).__name__}") from None
    except Exception as error:  # whatever a stranger's code may raise
        raise TemplateFailed(f"the model's chat template fails: {error}") from None
    return "".join(parts)
