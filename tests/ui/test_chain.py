"""The sampler chain on the screen: its columns, what is off or left out, llama.cpp's faults, clicks."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.fake import Play
from tests.fake import sampled as through
from tests.ui.test_view import draw, sampled, text
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import PointedAtRow, PointedAtToken, Typed
from tokex_gguf.play.rules import chain as rules
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line
from tokex_gguf.ui.chain import chain_entries, chain_lines, missing_entries, missing_lines
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.lens_results import LensResults
from tokex_gguf.values.samplers import CREATIVE, DEFAULT, KINDS, Chain, Kind, Sampler


def line_of(play: Play, name: str, width: int = 130, height: int = 40) -> str:
    """What the chain says on the line that begins so."""
    found = [line for line in text(play, width, height).splitlines() if re.match(rf".{name}\b", line)]
    assert len(found) == 1, found
    return " ".join(found[0].split("│")[0].split())


@pytest.mark.parametrize(("width", "height"), [(60, 16), (80, 24), (99, 30), (100, 30), (130, 40), (200, 60)])
def test_chain_and_table_are_both_in_sight(width: int, height: int) -> None:
    drawn = text(sampled(), width, height)
    assert " sampler " in drawn and re.search("rank (↓ )?token", drawn)
    assert "top-k" in drawn and re.search(r"│ +1 ␣", drawn)
    rows = re.findall(r"│ +(\d+) ␣", drawn)
    assert len(rows) >= 6, "at least its most likely rows"


@pytest.mark.parametrize("width", range(72, 131, 4))
def test_the_tables_head_and_numbers_are_never_clipped(width: int) -> None:
    """Where there is no room for all columns, whole ones are left out."""
    drawn = [line.partition("│")[2] for line in text(sampled(), width, 30).splitlines()]
    (head,) = [line for line in drawn if "rank token" in line]
    assert "final" in head and not head.rstrip().endswith("…")
    first = next(line for line in drawn if re.match(r"\W+1 ␣", line))
    assert len(re.findall(r"0\.\d{4}", first)) == 2 and not first.rstrip().endswith("…")


@pytest.mark.parametrize("width", [60, 64, 68, 72, 76, 80, 84, 90, 99])
def test_no_number_of_the_table_is_clipped_whatever_its_columns_are(width: int) -> None:
    small = Chain((Sampler.of(Kind.TOP_K, 40), Sampler.of(Kind.TEMPERATURE, 0.3)))
    for keys in ((), (Action.DRAW_MANY,), (Action.ORDER, Action.DRAW_MANY)):
        play = through(small).press(*keys, *[Action.DOWN] * 25, Action.SAMPLERS)
        (head, *rows) = [line.partition("│")[2] for line in text(play, width, 24).splitlines() if "│" in line]
        assert "…" not in head and ("rank ↓" in head or "raw ↓" in head or "final ↓" in head)
        shown = [row for row in rows if re.match(r"\W+\d+ (?!draws|survive)", row)]
        assert len(shown) > 5 and not [row for row in shown if re.search(r"…\s*$", row)], shown
        assert {"raw", "final", "drawn"} & {*head.split()} >= {"final"}
        assert "drawn" in head or not keys or width < 69


@pytest.mark.parametrize("width", range(60, 130, 3))
def test_without_samplers_too_the_tables_head_is_whole(width: int) -> None:
    drawn = [line.partition("│")[2] for line in text(sampled(Chain(())), width, 24).splitlines()]
    (head,) = [line for line in drawn if "rank token" in line]
    assert "…" not in head


@pytest.mark.parametrize(("width", "height"), [(60, 16), (80, 24), (99, 30), (130, 40)])
def test_an_empty_chain_says_what_its_keys_do(width: int, height: int) -> None:
    lines = [line.partition("│")[0].strip() for line in text(sampled(Chain(())), width, height).splitlines()]
    told = " ".join(" ".join(lines).split())
    assert "Enter puts llama.cpp's samplers here: top-k 40" in told
    assert "a adds a single one, p goes through the presets, i reads flags or JSON of llama.cpp's programs." in told


@pytest.mark.parametrize(("width", "height"), [(30, 8), (43, 15), (53, 20), (78, 30)])
def test_what_a_sampler_to_add_does_is_whole_or_says_that_it_is_not(width: int, height: int) -> None:
    play, cut = sampled(Chain(())).press(Action.ADD), 0
    for kind in rules.missing(play.session):
        lines = missing_lines(play.session, width, height)
        drawn = ["".join(part for _, part in line) for line in lines[1 + len(missing_entries(play.session, height)) :]]
        below = [line for line in drawn if not re.fullmatch(r" +[↑↓] \d+ more(  ↓ \d+ more)?", line)]
        told, whole = " ".join(filter(None, map(str.strip, below))), KINDS[kind].help
        cut += told != whole
        assert len(lines) <= height
        assert told == whole or (told.endswith(" …") and whole.startswith(told.removesuffix(" …")))
        play.press(Action.DOWN)
    assert (cut > 0) == (height == 8), "there is room on all but the smallest"


@pytest.mark.parametrize("lines_of", [chain_lines, missing_lines])
@pytest.mark.parametrize(("width", "height"), [(43, 15), (53, 20), (78, 30)])
def test_what_is_out_of_sight_is_counted(
    lines_of: Callable[[Session, int, int], list[Line]], width: int, height: int
) -> None:
    """Each line of the chain, and each sampler to add, is in sight or counted above or below, whichever is selected."""
    entries: Callable[[Session, int], Sequence[int]]
    if lines_of is chain_lines:
        play = sampled(Chain(tuple(Sampler.of(kind) for kind in KINDS if kind is not Kind.MIROSTAT)))
        count, entries = rules.length(play.session), chain_entries
    else:
        play = sampled(Chain(())).press(Action.ADD)
        count, entries = rules.missing_length(play.session), missing_entries
    assert count > 9
    for _ in range(count):
        drawn = "\n".join("".join(part for _, part in line) for line in lines_of(play.session, width, height))
        seen = entries(play.session, height)
        above, below = (re.search(rf"{arrow} (\d+) more", drawn) for arrow in "↑↓")
        assert seen[0] == (int(above[1]) if above else 0)
        assert count - 1 - seen[-1] == (int(below[1]) if below else 0)
        play.press(Action.DOWN)


def test_one_line_looks_selected_and_it_is_the_chains() -> None:
    for width, height in ((80, 24), (130, 40)):
        (line,) = [line for line in draw(sampled(), width, height) if any("selected" in style for style, _ in line)]
        assert "top-k" in "".join(part for _, part in line)


def test_a_line_tells_what_its_sampler_did_here() -> None:
    play = sampled()
    assert re.fullmatch(r"top-k 40 24 100\.0% → 9\d\.\d% \d\.\d\d → \d\.\d\d", line_of(play, "top-k"))
    assert re.fullmatch(r"temperature 0\.8 – \d+\.\d% \d\.\d\d → \d\.\d\d", line_of(play, "temperature"))
    assert re.fullmatch(r"top-k 40 24 9\d\.\d% \d\.\d\d", line_of(play, "top-k", 80, 24))
    assert line_of(play, "top-k", 60, 16) == "top-k 40 24"


def test_what_does_nothing_is_dim_and_says_why() -> None:
    play = sampled(DEFAULT.with_sampler(Sampler.of(Kind.MIROSTAT, 2)).with_sampler(Sampler.of(Kind.TOP_P).switched()))
    assert line_of(play, "DRY") == "DRY 0 off" and line_of(play, "top-p") == "top-p 0.95 off"
    assert line_of(play, "top-k") == "top-k 40 left out by mirostat"
    assert line_of(play, "mirostat").startswith("mirostat 2 ")
    styles = {part.split()[0]: style for line in draw(play) for style, part in line[1:2] if part.split()}
    assert "class:dim" in styles["DRY"] and "class:dim" in styles["top-k"] and "class:dim" not in styles["mirostat"]


def test_below_the_chain_stands_what_the_selected_sampler_alone_would_do() -> None:
    play = sampled(
        Chain((Sampler.of(Kind.TOP_K, 5), Sampler.of(Kind.MIN_P, 0.0001), Sampler.of(Kind.TEMPERATURE, 0.5)))
    )
    for width, height in ((130, 40), (80, 24)):
        assert re.search(r"By itself it would not cut “␣.”\.", text(play, width, height))
    play.press(Action.CLOSE, *9 * [Action.DOWN], Action.SAMPLERS)
    selected = play.session.game.prompt.selected
    assert selected is not None
    name = play.session.game.piece(selected).data.decode().replace(" ", "␣")
    assert f"By itself it would cut “{name}”." in text(play)
    assert f"By itself it would not cut “{name}”." in text(play.press(Action.DOWN))
    assert "Alone" not in text(play.press(Action.DOWN)), "temperature cuts nothing"


@pytest.mark.parametrize(("width", "height"), [(60, 16), (80, 24)])
def test_each_further_parameter_has_a_sentence_of_its_own_and_it_is_whole(width: int, height: int) -> None:
    every = Chain(tuple(Sampler.of(kind) for kind in KINDS))  # a long one: it leaves the least room
    play = sampled(every).press(*[Action.TOP])
    for kind, row in KINDS.items():
        for index, parameter in enumerate(row.parameters):
            drawn = " ".join(line.partition("│")[0].strip() for line in text(play, width, height).splitlines())
            assert f" {parameter.flag} " in drawn
            if index:
                assert parameter.help and parameter.help in " ".join(drawn.split()), (kind, parameter.label)
                assert row.help[:20] not in drawn
            else:
                assert row.help[:20] in " ".join(drawn.split()) or "By itself" in drawn
            play.press(Action.DOWN)


def test_a_fault_of_llama_cpp_is_marked_and_told() -> None:
    play = sampled(Chain((Sampler.of(Kind.TOP_K, 5), Sampler.of(Kind.TYPICAL, 0.9))))
    lens, view = play.session.lens, play.session.view
    assert view and isinstance(lens, Sampled)
    last = view.stages[-1]._replace(note="undefined here")
    answers = LensResults()
    answers.attach(lens, play.session.game.prompt.tip, replace(view, stages=(*view.stages[:-1], last)))
    play.session = replace(
        play.session, game=replace(play.session.game, known=replace(play.session.game.known, lens_results=answers))
    )
    for width, height in ((130, 40), (80, 24), (60, 16)):
        drawn = text(play, width, height)
        assert "!typical" in drawn and "! typical: undefined here" in drawn and "!top-k" not in drawn


def test_biased_tokens_and_a_long_value_have_room() -> None:
    play = sampled(CREATIVE.biased(3, 1.0).biased(4, -math.inf)).press(Action.TOP)
    assert line_of(play, "logit bias").startswith("logit bias 2 tok 1 100.0% → ")
    assert "Biased tokens: + and - on a row" in text(play)
    play = sampled().press(Typed("1000000"), Action.ENTER)
    assert line_of(play, "top-k").startswith("top-k 1000000 –")


@pytest.mark.parametrize(("width", "height"), [(130, 40), (80, 24)])
def test_a_click_selects_a_line_of_the_chain_and_none_of_the_table(width: int, height: int) -> None:
    play, view = sampled(), ScreenRenderer()
    lines = ["".join(part for _, part in line) for line in view.screen(play.session, width, height)]
    y = next(index for index, line in enumerate(lines) if line.startswith(" min-p"))
    meant = view.hit(play.session, width, height, 3, y)
    assert isinstance(meant, PointedAtRow)
    play.press(meant)
    assert "min-p" in next(
        "".join(part for _, part in line)
        for line in draw(play, width, height)
        if any("selected" in style for style, _ in line)
    )
    assert view.hit(play.session, width, height, width - 5, y) is None
    assert view.hit(play.session, width, height, 1, 1) == PointedAtToken(0)
    rule = next(index for index, line in enumerate(lines) if line.startswith("──"))
    assert view.hit(play.session, width, height, 3, rule) is None
    assert view.hit(play.session, width, height, 3, rule + 1) is None, "the heading"


def test_a_long_chain_shows_the_selected_line() -> None:
    play = sampled()
    for kind in Kind:
        if play.session.game.sampling.chain.get(kind) is None:
            chain = play.session.game.sampling.chain.with_sampler(Sampler.of(kind))
            sampling = replace(play.session.game.sampling, chain=chain)
            play.session = replace(play.session, game=replace(play.session.game, sampling=sampling))
    play.press(Action.TOP)
    for _ in range(24):
        shown = [line for line in draw(play, 60, 16) if any("selected" in style for style, _ in line)]
        assert len(shown) == 1
        play.press(Action.DOWN)
