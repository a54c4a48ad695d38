"""The real program in a real pseudo-terminal: the sampler chain beside the table."""

import base64
import re
from pathlib import Path

from tests.program.test_play import elsewhere, terminal
from tests.terminal import Terminal
from tokex_gguf.values.sampler_text import chain_of_flags, read_json
from tokex_gguf.values.samplers import DEFAULT, Kind, Sampler

__all__ = ["elsewhere", "terminal"]


def test_a_chain_is_made_changed_and_copied(terminal: Terminal, tmp_path: Path) -> None:
    terminal.press("S")
    screen = terminal.shows("The chain is empty")
    assert "Enter puts llama.cpp's samplers here" in screen and "rank token" in screen, "the table stays"
    terminal.press("\r")
    screen = terminal.shows(r"top-k +40 +49,112 +100.0% → \d+\.\d%")
    assert re.search(r"min-p +0\.05 ", screen) and re.search(r"temperature +0\.8 +– ", screen)
    assert re.search(r"DRY +0 +off", screen) and "rank token" in screen

    # A step, and a number that is typed: what is cut follows, and nothing is decoded.
    assert terminal.selected()[:2] == ["top-k", "40"]
    terminal.press("left")
    terminal.shows(r"(?s)top-k +30 +49,122 .* known, 0 tokens  ready")
    terminal.press("7")
    terminal.shows(r"value: 7 .*top-k: 0 to 1000000")
    terminal.press("\r")
    terminal.shows(r"(?s)top-k +7 +49,145 .* known, 0 tokens  ready")

    # Off and on, another place, and away.
    terminal.press(" ")
    terminal.shows(r"top-k +7 +off")
    terminal.press(" ", ">", ">", ">")
    terminal.shows(r"(?s)min-p .*top-k +7 ")

    terminal.press("y")
    terminal.shows(r"flags and JSON are in samplers/samplers-")
    (copied,) = re.findall(rb"\x1b\]52;c;([^\x07]*)\x07", terminal.raw)
    wanted = DEFAULT.with_sampler(Sampler.of(Kind.TOP_K, 7)).moved(Kind.TOP_K, 3)
    assert chain_of_flags(base64.b64decode(copied).decode()).acting == wanted.acting
    (file,) = (tmp_path / "samplers").iterdir()
    flags, json, _ = file.read_text().replace("\n\n", "\n").split("\n")
    assert chain_of_flags(flags).acting == read_json(json).chain.acting == wanted.acting

    # A paste is read at once, and p leads back to what was there.
    terminal.press("\x1b[200~--temp 0\x1b[201~")
    terminal.shows(r"temperature +0 +[\d,]+ ")
    terminal.press("esc")
    terminal.until(lambda text: "entropy (bits)" not in text)
    assert "rank token" in terminal.text()
