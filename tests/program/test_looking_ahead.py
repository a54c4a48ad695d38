"""The real program: where each row leads to, keys meanwhile, and taking up how the prompt goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal import Terminal

NATALIA = Path(__file__).parent.parent.parent / "prompts" / "natalia.txt"


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_path: Path) -> Iterator[Terminal]:
    """The Natalia prompt, up to the answer's first digit."""
    monkeypatch.chdir(tmp_path)
    terminal = Terminal("--model", str(model_path), "--input", str(NATALIA))
    terminal.shows(r"tokens: 103 .* ready")
    terminal.press("left", "left")
    terminal.shows(r"tokens: 101 .* ready")
    yield terminal
    terminal.child.close(force=True)


@pytest.mark.thorough
def test_before_a_digit_is_chosen_its_row_shows_the_answer_that_it_leads_to(answer: Terminal) -> None:
    answer.shows(r"1 7 +0\.4250 \S+ +2⏎")
    answer.shows(r"2 2 +0\.2837 \S+ +4⏎")
    answer.press("L")
    answer.until(lambda text: "hidden" in text and "2⏎" not in text and " id " in text)
    answer.press("L")
    answer.shows(r"1 7 +0\.4250 \S+ +2⏎")


@pytest.mark.thorough
def test_keys_are_answered_while_it_looks_ahead(answer: Terminal) -> None:
    for step in range(1, 9):
        answer.press("end", "right")  # what nobody looks ahead to
        answer.shows(rf"tokens: {101 + step} .* ready")
        answer.shows(r" 1 .+ 0\.\d+ .*")
    for step in range(7, -1, -1):
        answer.press("left")
        answer.shows(rf"tokens: {101 + step} .*known, 0 tokens  ready")
    answer.press("home")
    answer.shows(r"1 7 +0\.4250 \S+ +2⏎")


def test_tab_takes_up_what_stands_behind_the_prompt(answer: Terminal) -> None:
    answer.shows(r"1 7 +0\.4250 \S+ +2⏎")
    answer.press("P")
    answer.shows(r"Answer: 72⏎")
    answer.press("\t")
    answer.shows(r"tokens: 103 .*known, 0 tokens  ready")
    answer.press("u")
    answer.shows(r"tokens: 101 .*known, 0 tokens  ready")
    answer.press("down")
    answer.shows(r"Answer: 24⏎")
