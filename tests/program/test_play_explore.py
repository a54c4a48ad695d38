"""The real program in a real pseudo-terminal: finding what is interesting, and knowing what it is."""

import re
import stat
from pathlib import Path

import pytest

from tests.program.test_play import NATALIA, elsewhere, natalia, terminal
from tests.sampling import few
from tests.terminal import Terminal

__all__ = ["elsewhere", "natalia", "terminal"]


def test_which_token_was_the_model_least_sure_of(natalia: Terminal) -> None:
    """`m` walks the places of highest entropy; the table there needs no decode."""
    natalia.press("m")
    screen = natalia.shows(r"looking at \d+ .* ready")
    first = float(re.search(r"entropy ([\d.]+) bits", screen).group(1))  # type: ignore[union-attr]
    natalia.press("]", "e", "e")
    natalia.shows(r"entropy 0 .*next: entropy")
    assert first > 5.0
    natalia.press("n")
    screen = natalia.shows(r"surprisal [\d.]+ bits")
    assert float(re.search(r"surprisal ([\d.]+) bits", screen).group(1)) > 8.0  # type: ignore[union-attr]
    natalia.press("esc")
    natalia.until(lambda text: "looking at" not in text)
    assert "tokens: 103" in natalia.text()


def test_what_it_would_have_said_instead(terminal: Terminal) -> None:
    """The table at the cursor, another token there, and a new prompt that goes its way."""
    terminal.press("[", ".", ".")
    terminal.shows(r"looking at 3 ")
    terminal.until(lambda _: terminal.selected()[1:2] == ["␣Natal"])
    assert int(terminal.selected()[0]) > 30, "its rank is told, far below the table"
    terminal.press("home")
    terminal.until(lambda _: terminal.selected()[:1] == ["1"])
    terminal.press("right")
    terminal.shows(r"Prompt 2/2  tokens: 3 .* ready")
    assert "looking at" not in terminal.text()
    terminal.press("1")
    terminal.shows(r"Prompt 1/2  tokens: 103  looking at 3 ")


@pytest.mark.thorough
def test_which_answer_scores_higher(natalia: Terminal) -> None:
    """Popped back to `Answer:`, both answers are scored as wholes, and the prompt stays."""
    natalia.press("left", "left", "left")
    natalia.shows(r"tokens: 100 .* ready")
    natalia.press("i", " 72")
    natalia.shows(r"\+3  joint p 0\.\d+  ln p -\d")
    natalia.press("\x10", " 96", "\x10")
    screen = natalia.until(lambda text: len(re.findall(r"␣(?:72|96) .*%", text)) == 2)
    shares = {answer: float(share) for answer, share in re.findall(r"␣(72|96) .* ([\d.]+)%", screen)}
    assert shares["72"] > shares["96"]
    assert sum(shares.values()) == pytest.approx(100, abs=0.11)
    assert "← weakest" in screen
    natalia.press("esc")
    natalia.shows(r"tokens: 100 .* ready")
    natalia.press("i")
    natalia.shows(r"␣96 .*%")


def test_searching_the_vocabulary(terminal: Terminal) -> None:
    terminal.press("/", '" seven"')
    screen = terminal.shows(r"\d+ found")
    assert re.search(r"search: \" seven\"", screen)
    token = terminal.selected()[1]
    assert token.lower().startswith("␣seven")
    terminal.press("right")
    terminal.shows(r"tokens: 104 .*1 token, .* ready")
    terminal.press("/", "17872")
    terminal.until(lambda _: terminal.selected()[-1:] == ["17872"])


@pytest.mark.thorough
def test_the_tree_and_the_list_of_prompts(natalia: Terminal, tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "story.txt").write_text("A story that starts here\n")
    (folder / "bad.txt").write_bytes(b"\xff\xfe")
    natalia.press("left", "down", "right")
    natalia.shows(r"tokens: 103 .* ready")
    natalia.press("t")
    screen = natalia.shows("go there")
    assert re.search(r"Answer: 7 .*\n.*\n?.* 2 +0\.9", screen), screen
    natalia.press("up", "down", "\r")
    natalia.shows(r"tokens: 103 .* ready")
    natalia.press("p")
    natalia.shows(r"\+ story\.txt")
    assert "bad.txt" not in natalia.text()
    natalia.press("end")
    natalia.shows("A story that starts here")
    natalia.press("\r")
    natalia.shows(r"Prompt 2/2  tokens: 5 .* ready")
    natalia.press("a")
    natalia.shows("A brings it back")
    natalia.press("A")
    natalia.shows(r"Prompt 2/2 ")


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\nprintf " clips" >> "$1"\n')
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("VISUAL", str(script))


@pytest.mark.usefixtures("editor")
def test_the_editor(tmp_path: Path, light: str) -> None:
    """Only what the editor changed is computed."""
    (tmp_path / "config.toml").write_text("[engine]\nlookahead = 0\n")
    terminal = Terminal("--model", light, "--input", str(NATALIA))
    terminal.shows(r"tokens: 103 .* ready")
    terminal.press("ctrl-e")
    terminal.shows(r"tokens: 104 .* ready")
    assert "Answer: 72 clips" in terminal.text()
    assert "1 token, " in terminal.text()


@pytest.mark.thorough
def test_an_editor_that_is_not_there_is_one_line(light: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "nosuch --wait")
    terminal = Terminal("--model", light, "--prompt", "Once upon a time")
    terminal.shows(" ready")
    terminal.press("ctrl-e")
    terminal.shows(r"VISUAL=nosuch --wait cannot be run \(No such file or directory\)")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.thorough
def test_a_text_that_was_not_taken_is_named_again_at_the_end(
    tmp_path: Path, light: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "latin"
    script.write_text('#!/bin/sh\nprintf "caf\\351" > "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    terminal = Terminal("--model", light, "--prompt", "Once upon a time")
    terminal.shows(" ready")
    terminal.press("ctrl-e")
    terminal.shows(r"the edited text is in /\S+")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    (path,) = tmp_path.glob("tokex-gguf-*/prompt.txt")
    assert path.read_bytes() == b"caf\xe9"
    assert f"tokex-gguf: the edited text is in {path}".encode() in terminal.raw


def test_the_mouse_is_off_until_it_is_wanted(terminal: Terminal) -> None:
    assert b"\x1b[?1000h" not in terminal.raw
    terminal.press("z")
    terminal.shows("mouse on")
    assert b"\x1b[?1000h" in terminal.raw
    # A press and a release on the eleventh column of the second line: in " Natalia sold".
    terminal.press("\x1b[<0;14;2M", "\x1b[<0;14;2m")
    terminal.shows(r"looking at \d")
    before = terminal.selected()
    assert before
    terminal.press("\x1b[<64;100;10M")  # the wheel
    terminal.until(lambda _: terminal.selected() not in ([], before))
    terminal.press("z")
    terminal.shows("mouse off")
    terminal.press("ctrl-q")
    terminal.ends()
    assert terminal.raw.rfind(b"\x1b[?1000l") > terminal.raw.rfind(b"\x1b[?1000h")


@pytest.mark.thorough
def test_without_colours_the_layers_still_show(light: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal("--model", light, "--input", str(NATALIA), keep=("NO_COLOR",))
    terminal.shows(" ready")
    terminal.press("e")
    terminal.shows("probability 0 ")
    row = terminal.screen.buffer[1]
    assert any(row[column].bold and row[column].underscore for column in range(80)), "what was unlikely stands out"
    assert all(row[column].bg == "default" for column in range(80))
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.thorough
def test_no_color_leaves_no_colours_to_choose(light: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal("--model", light, "--prompt", "Once upon a time", keep=("NO_COLOR",))
    terminal.shows(" ready")
    terminal.press("c")
    terminal.shows("NO_COLOR is set")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def test_an_empty_no_color_means_nothing(monkeypatch: pytest.MonkeyPatch, tiny: dict[str, Path]) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    terminal = Terminal("--prompt", "once upon", "--model", str(tiny["qwen2"]), keep=("NO_COLOR",))
    terminal.shows(" ready")
    terminal.press("c")
    terminal.shows("colours: colour-blind")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.parametrize("theme", few(["dark", "light"], of=2))
@pytest.mark.parametrize("depth", few(["true", "256", "16"], of=2))
def test_the_layers_show_in_every_depth_and_theme(
    depth: str, theme: str, tmp_path: Path, light: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both tints of the tokens' boundaries, the cursor, and a selected line with its bar."""
    (tmp_path / "config.toml").write_text(f'[display]\ntheme = "{theme}"\n')
    if depth == "16":
        monkeypatch.setenv("PROMPT_TOOLKIT_COLOR_DEPTH", "DEPTH_4_BIT")
    colours = "truecolor" if depth == "true" else ""
    terminal = Terminal("--model", light, "--input", str(NATALIA), COLORTERM=colours)
    terminal.shows(r"tokens: 103 .* ready")
    terminal.press("E", "E", "E", "E")
    terminal.shows("boundaries  token ")
    row = terminal.screen.buffer[1]
    tints = {row[column].bg for column in range(1, 60)}
    assert len(tints) == 2
    terminal.press(",", "<", "<", "<", "<", "<", "<", "<", "<", "<", "<")
    terminal.shows(r"looking at 3 ")
    (cursor,) = {row[column].bg for column in range(1, 60)} - tints
    assert cursor != "default"
    selected = terminal.row("␣Natal")
    assert len({(cell.reverse, cell.bg) for cell in selected}) == 1, "one line, all along"
    assert selected[0].reverse or selected[0].bg != "default"
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def test_a_terminal_without_colours_has_the_legend_of_looks(light: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPT_TOOLKIT_COLOR_DEPTH", "DEPTH_1_BIT")
    terminal = Terminal("--model", light, "--input", str(NATALIA), COLORTERM="")
    terminal.shows(r"tokens: 103 .* ready")
    terminal.press("e")
    terminal.shows(r"probability 0 abcabcabcabc 1")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def test_the_wheel_and_clicks_in_lists(terminal: Terminal) -> None:
    terminal.press("d", "left")
    terminal.shows(r"Prompt 2/2  tokens: 102 .* ready")
    terminal.press("z", "p")
    terminal.shows("mouse on|open prompts")
    terminal.until(lambda _: terminal.selected()[:1] == ["2"])
    terminal.press("\x1b[<64;100;10M")  # the wheel, up
    terminal.until(lambda _: terminal.selected()[:1] == ["1"])
    terminal.press("\x1b[<65;100;10M")  # and down
    terminal.until(lambda _: terminal.selected()[:1] == ["2"])
    terminal.press("\x1b[<0;100;9M", "\x1b[<0;100;9m")  # the first line below the heading
    terminal.until(lambda _: terminal.selected()[:1] == ["1"])
    terminal.press("\x1b[<0;14;2M", "\x1b[<0;14;2m")
    terminal.shows("a click does nothing here: Esc goes back")
    terminal.press("\r")
    terminal.shows(r"Prompt 1/2  tokens: 103 .* ready")


def test_a_text_that_the_tokenizer_would_part_otherwise_is_told(terminal: Terminal) -> None:
    terminal.press("i", " cl", "\r")
    terminal.shows(r"tokens: 104 .* ready")
    assert "unlike the tokenizer" not in terminal.text()
    terminal.press("i", "ips", "\r")
    terminal.shows(r"split unlike the tokenizer from token 104 on")


def test_the_help_is_read_by_keys_and_says_where_it_stands(terminal: Terminal) -> None:
    terminal.press("?")
    terminal.until(lambda _: terminal.selected()[:2] == ["↓", "→"])
    terminal.press("end", "up")
    terminal.until(lambda _: terminal.selected()[:2] == ["+2", "−1"])
    terminal.press("esc")
    terminal.shows(r"→ append")
    terminal.press("esc")
    terminal.shows(r"\? shows the keys, ctrl\+q quits")


def test_other_colours(terminal: Terminal) -> None:
    """The palettes change what the layer shows of a token, and nothing else."""
    terminal.press("e")
    terminal.shows("probability 0 ")
    shown = {"standard": terminal.colour_of("Natalia")}
    for palette in ("colour-blind", "monochrome"):
        terminal.press("c")
        terminal.shows(f"colours: {palette}")
        shown[palette] = terminal.colour_of("Natalia")
    assert shown["monochrome"] == "default" and len(set(shown.values())) == 3
    terminal.press("c")
    terminal.shows("colours: standard")
    assert terminal.colour_of("Natalia") == shown["standard"]


def test_a_paste_of_several_lines_is_text_to_go_on_with(terminal: Terminal) -> None:
    before = "tokens: 103"
    terminal.press("\x1b[200~\r\nSecond line\r\nthird\x1b[201~")
    screen = terminal.shows(r"go on with: .*Second line.*third.*\n")
    assert before in screen, "nothing is appended yet"
    terminal.shows(r"\+\d+  joint p ")
    terminal.press("\r")
    screen = terminal.shows(r"tokens: 1(?!03)\d\d .* ready")
    assert re.search(r"\n third ", screen), "on a line of its own"


def test_digits_go_to_a_prompt(terminal: Terminal) -> None:
    terminal.press("d", "left", "d", "left")
    terminal.shows(r"Prompt 3/3  tokens: 101 .* ready")
    for digit, length in (("1", 103), ("3", 101), ("2", 102)):
        terminal.press(digit)
        terminal.shows(rf"Prompt {digit}/3  tokens: {length} .* ready")
    terminal.press("7")
    terminal.shows(r"Prompt 2/3 ")
