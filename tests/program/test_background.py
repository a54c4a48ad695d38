"""The terminal's background: asked for at the start, told by the terminal, and never a key."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.program.test_play import elsewhere
from tests.sampling import few
from tests.terminal import Terminal
from tokex_gguf.ui.theme import styles

__all__ = ["elsewhere"]

pytestmark = pytest.mark.usefixtures("light")

ASKED = b"\x1b]11;?\x1b\\\x1b[c"
FENCE = "\x1b[?62;22c"
WHITE, BLACK = "\x1b]11;rgb:ffff/ffff/ffff\x1b\\", "\x1b]11;rgb:0000/0000/0000\x1b\\"


def selected(*, light: bool) -> str:
    """The background of the selected row, as pyte has it."""
    found: list[str] = re.findall(r"bg:#(\w+)", styles("standard", light=light)["selected"])
    return found[0]


def begin() -> Terminal:
    return Terminal("--model", "light.gguf", "--prompt", "Once upon a time", COLORFGBG="")


def asked(terminal: Terminal) -> Terminal:
    terminal.until(lambda _: ASKED in terminal.raw)
    return terminal


def theme(terminal: Terminal) -> Callable[[str], bool | None]:
    """Whether the selected row has the light theme's colour; None before there is one."""

    def shown(_: str) -> bool | None:
        grounds = {cell.bg for row in terminal.screen.buffer.values() for cell in row.values()}
        return True if selected(light=True) in grounds else False if selected(light=False) in grounds else None

    return shown


@pytest.mark.parametrize(
    "answer", few([WHITE, WHITE.replace("\x1b\\", "\x07"), "\x1b]11;rgba:f0f0/f0f0/e0e0/ffff\x07"], of=3)
)
def test_a_light_background_gets_the_light_theme(answer: str) -> None:
    terminal = asked(begin())
    terminal.press(answer + FENCE)
    terminal.until(lambda text: " ready" in text and theme(terminal)(text) is True)
    assert "does nothing" not in terminal.text() and "11;" not in terminal.text()
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def test_an_answer_in_pieces_is_the_same() -> None:
    terminal = asked(begin())
    for piece in (WHITE[:1], WHITE[1:3], WHITE[3:12], WHITE[12:], FENCE[:4], FENCE[4:]):
        terminal.press(piece)
        terminal.pump()
    terminal.until(lambda text: " ready" in text and theme(terminal)(text) is True)
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.parametrize(
    "answer", few([BLACK + FENCE, FENCE, FENCE + WHITE], of=3), ids=["dark", "not known", "not in turn"]
)
def test_else_the_theme_is_dark_and_no_key_is_pressed(answer: str) -> None:
    terminal = asked(begin())
    terminal.press(answer)
    terminal.until(lambda text: " ready" in text and theme(terminal)(text) is False)
    terminal.press("i", "x")
    terminal.shows("append|Esc back")
    assert theme(terminal)("") is not True and "rgb" not in terminal.text()
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.thorough
def test_a_late_answer_is_as_good_and_presses_no_key() -> None:
    terminal = asked(begin())
    terminal.until(lambda text: " ready" in text and theme(terminal)(text) is False)
    late = time.monotonic() + 0.6  # the end of the program would wait 0.4 s
    terminal.until(lambda _: time.monotonic() > late)
    for piece in (WHITE[:2], WHITE[2:9], WHITE[9:] + FENCE):
        terminal.press(piece)
    terminal.press("right")
    text = terminal.shows(r"tokens: 5 .* ready")
    assert theme(terminal)(text) is True and "rgb" not in text
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def test_an_answer_that_comes_at_the_end_is_not_left_to_the_shell() -> None:
    terminal = asked(begin())
    terminal.press("ctrl-q")
    terminal.press(WHITE + FENCE)
    assert terminal.ends() == 0
    assert b"rgb:" not in terminal.raw, "the terminal would echo what nobody has read"


@pytest.mark.parametrize(
    ("config", "environment", "is_light"),
    few(
        [
            ('[display]\ntheme = "light"\n', {}, True),
            ('[display]\ntheme = "dark"\n', {}, False),
            ("", {"COLORFGBG": "0;15"}, True),
            ("", {"COLORFGBG": "15;default;0"}, False),
            ("", {"TERM": "linux"}, None),
        ],
        of=3,
    ),
)
def test_who_says_so_is_not_asked(
    config: str, environment: dict[str, str], is_light: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("config.toml").write_text(config)
    monkeypatch.setenv("COLORFGBG", environment.get("COLORFGBG", ""))
    kind = environment.get("TERM", "xterm-256color")
    terminal = Terminal("--model", "light.gguf", "--prompt", "Once upon a time", TERM=kind)
    terminal.until(lambda text: " ready" in text and (is_light is None or theme(terminal)(text) is is_light))
    assert b"\x1b]11;" not in terminal.raw
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
