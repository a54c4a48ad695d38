"""What a lens makes of the table and the prompt, on the screen."""

import itertools
import math
import random
import re
from array import array
from collections import Counter
from dataclasses import replace

import pytest

from tests import fake
from tests.fake import Play, sampled, started
from tests.ui.test_cost import frame
from tokex_gguf.engine.protocol import Apply, Evaluate
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Drawn, Sampling
from tokex_gguf.play.messages import Typed
from tokex_gguf.play.rules.prompt import with_prompt
from tokex_gguf.play.versus import ByDistributions, Pair
from tokex_gguf.ui import chain, second, theme
from tokex_gguf.ui.cells import Line, cells_of, width_of
from tokex_gguf.ui.lens_lines import chances, expected_match, lens_texts, match_of, percent, view_lines
from tokex_gguf.ui.screen import ScreenRenderer as Drawing
from tokex_gguf.ui.table import table_lines
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.layers import COST, REACHABLE, Layer
from tokex_gguf.values.lens import RAW, Sampled, as_sampled
from tokex_gguf.values.model_comparison import ModelComparison, Sums
from tokex_gguf.values.samplers import NO_CHAIN, Chain, Kind, Sampler
from tokex_gguf.values.view import NOT_CUT, Draw, Stage, Standing, Verdict, View

CHAIN = Chain((Sampler.of(Kind.TOP_K, 5), Sampler.of(Kind.TEMPERATURE, 0.5)))
REGEX = Constraint(ConstraintKind.REGEX, "a*")


def draw(play: Play, width: int = 130, height: int = 40) -> list[Line]:
    return Drawing().screen(play.session, width, height)


def text(play: Play, width: int = 130, height: int = 40) -> str:
    return "\n".join("".join(part for _, part in line) for line in draw(play, width, height))


def row(play: Play, token: int, width: int = 130) -> Line:
    """The fragments of a token's row, from the rule on."""
    for line in draw(play, width):
        if "".join(part for _, part in line).rstrip().endswith(f" {token}"):
            return line
    raise AssertionError(token)


def words(line: Line) -> list[str]:
    return "".join(part for _, part in line).split("│")[-1].split()


# --- the table


def test_a_row_has_what_the_model_says_and_what_the_samplers_leave() -> None:
    play = sampled(CHAIN)
    view = play.session.view
    assert view is not None
    ranked = fake.ranked(play.session.game.prompt.tip.path())
    kept, cut = ranked[0], ranked[5]
    raw = math.exp(fake.logprobs(play.session.game.prompt.tip.path())[kept])
    assert words(row(play, kept))[:4] == ["1", f"␣{chr(0x30 + kept)}", f"{raw:.4f}", f"{view.verdicts[kept].final:.4f}"]
    assert words(row(play, cut))[3:] == ["top-k", str(cut)], "the name in place of the number, and no bar"
    styles = {part.strip(): style for style, part in row(play, cut)}
    assert styles[f"␣{chr(0x30 + cut)}"] == "class:cut" and styles["top-k"] == "class:stage"
    assert not any("cut" in style for style, _ in row(play, kept))
    head = next(line for line in text(play).splitlines() if "rank token" in line)
    assert head.split("│")[1].split() == ["rank", "token", "raw", "↓", "final", "to", "0.5", "id"], (
        "the column beside the bar names its quantity"
    )


@pytest.mark.parametrize("palette", ["standard", "colour-blind", "monochrome"])
@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("colours", [1 << 24, 16])
def test_a_cut_row_is_struck_through_and_dimmed(palette: str, light: bool, colours: int) -> None:
    rule = theme.styles(palette, light=light, colours=colours)["cut"].split()
    assert "strike" in rule
    assert "dim" in rule if palette == "monochrome" else rule[1].startswith("fg:#"), "also where it cannot strike"


def test_what_the_view_does_not_tell_of_has_no_number() -> None:
    play = sampled(CHAIN)
    view, lens = play.session.view, play.session.lens
    assert view is not None and isinstance(lens, Sampled)
    unknown = view.ids[1]
    keep = [index for index, token in enumerate(view.ids) if token != unknown]
    less = replace(
        view,
        ids=array("i", [view.ids[one] for one in keep]),
        finals=array("d", [view.finals[one] for one in keep]),
        cuts=array("b", [view.cuts[one] for one in keep]),
    )
    play.session.game.known.lens_results.attach(lens, play.session.game.prompt.tip, less)
    assert len(words(row(play, unknown))) == 4, "rank, token, raw and id"
    assert not any("cut" in style for style, _ in row(play, unknown))


def test_a_view_on_the_way_leaves_the_numbers_before_it_dimmed() -> None:
    play = sampled(CHAIN)
    token = fake.ranked(play.session.game.prompt.tip.path())[1]
    before = words(row(play, token))
    play.press(Action.DOWN, Action.DOWN)
    chain = Chain((Sampler.of(Kind.TOP_K, 4), Sampler.of(Kind.TEMPERATURE, 0.5)))
    sampling = replace(play.session.game.sampling, chain=chain)
    play.session = replace(play.session, game=replace(play.session.game, sampling=sampling))
    play.take(Action.UP)
    assert any(isinstance(one, Apply) for one in play.asked) and play.session.view is None
    line = row(play, fake.ranked(play.session.game.prompt.tip.path())[0])
    assert any(style == "class:dim" and part.strip().startswith("0.") for style, part in line)
    assert words(row(play, token))[:4] == before[:4]
    assert "5 of 64 survive" in text(play)
    play.answer()
    assert "4 of 64 survive" in text(play)
    assert not any("class:dim" in style for style, _ in row(play, token)[2:])


def test_the_smallest_chances_take_no_other_column_its_cells() -> None:
    cold = Chain((Sampler.of(Kind.TOP_K, 40), Sampler.of(Kind.TEMPERATURE, 0.01)))
    play = sampled(cold).press(*[Action.DOWN] * 20)
    lines = [line for line in text(play, 80, 30).splitlines() if re.search(r"\de-1\d\d ", line)]
    assert len(lines) > 5
    for line in lines:
        token = fake.ranked(play.session.game.prompt.tip.path())[int(line.split()[0]) - 1]
        assert line.rstrip().endswith(f" {token}")


def test_what_is_not_all_is_not_100_percent() -> None:
    assert [percent(share) for share in (1, 1 - 1e-9, 0.99975, 0.9994)] == ["100.0 %", "> 99.9 %", "> 99.9 %", "99.9 %"]
    play = sampled(Chain((Sampler.of(Kind.TOP_K, 40), Sampler.of(Kind.TEMPERATURE, 0.01)))).press(*[Action.DOWN] * 20)
    assert "> 99.9 % final" in text(play, 80, 24), "an unlikely token can be drawn"
    small, whole = Stage(1, 0.9997, 0.0), Stage(151_936, 1.0, 0.01)
    assert " 100.0% → >99.9% " in chain._figures((whole, small), 100)
    assert " >99.9% " in chain._figures((whole, small), 45) and " 100.0% " in chain._figures((whole, whole), 45)
    assert len(chain._figures((small, small), 45)) == len(chain._figures((whole, whole), 45))


class Differing(ModelComparison):
    """Two models that differ at one token of 400."""

    @property
    def sums(self) -> Sums:
        return Sums(400, 0.0062, 1 - 1 / 400, 0.0046, 1.0004)


@pytest.mark.parametrize(("width", "told"), [(45, ""), (59, "  ppl ×1.000"), (63, "  ppl ×1.000")])
def test_two_models_that_differ_somewhere_are_not_the_same(width: int, told: str) -> None:
    line = second._figures_line(Pair("k", ByDistributions(Differing())), width)
    assert "".join(part for _, part in line).endswith(f"Δp 0.5%{told}") and width_of(line) <= width
    assert "same top 99.8%" in "".join(part for _, part in line)


def test_a_token_that_is_appended_leaves_the_table_with_its_numbers() -> None:
    play = sampled(CHAIN)
    survive = next(line for line in text(play).splitlines() if "survive" in line).split("│")[1]
    play.take(Action.APPEND)
    assert survive in text(play) and "final" in text(play), "dimmed, until the next one is there"
    evaluate = next(one for one in play.asked if isinstance(one, Evaluate))
    play.asked.remove(evaluate)
    play.take(fake.evaluated(evaluate))
    assert "raw ↓" in text(play), "the columns stay where they are"
    assert "survive" not in text(play)
    play.answer()
    assert "survive" in text(play)


def test_sorted_by_final_the_table_stays_until_the_order_is_known() -> None:
    play = sampled(CHAIN).press(Action.ORDER)

    def rows() -> list[str]:
        """But for what says that one of them was visited."""
        return [line.split("│")[1].replace("•", " ") for line in text(play).splitlines()[2:6]]

    before = rows()
    play.take(Action.APPEND)
    evaluate = next(one for one in play.asked if isinstance(one, Evaluate))
    play.asked.remove(evaluate)
    play.take(fake.evaluated(evaluate))
    assert rows() == before
    play.answer()
    assert rows() != before


def test_a_bias_stands_behind_the_token() -> None:
    play = started().press(Action.UNLIKELIER, Action.UNLIKELIER)
    token = play.session.game.prompt.selected
    assert token is not None
    assert words(row(play, token))[2] == "-2" and "1 biased" in text(play)
    play.press(*[Action.UNLIKELIER] * 3)
    assert words(row(play, token))[2:5:2] == ["banned", "logit"]


@pytest.mark.parametrize("width", [60, 80, 99, 100, 120, 130, 204, 300])
@pytest.mark.parametrize("height", [16, 20, 24, 40])
@pytest.mark.parametrize("chain", [CHAIN, NO_CHAIN])
def test_all_columns_and_lines_fit(width: int, height: int, chain: Chain) -> None:
    for keys in ((), (Action.DRAW_MANY,), (Action.ROLL,), (Action.ORDER,), (Action.SEARCH, Typed("a"))):
        play = sampled(chain).press(*keys)
        lines = draw(play, width, height)
        assert len(lines) == height and {width_of(line) for line in lines} == {width}
        chosen = [line for line in lines if any("selected" in style for style, _ in line)]
        assert len(chosen) == 1


# --- below it, and the status line


def test_below_the_table_stands_what_is_left() -> None:
    play = sampled(CHAIN)
    view = play.session.view
    assert view is not None
    before, after = view.stages[0].entropy_bits, view.stages[1].entropy_bits
    told = text(play)
    assert f"5 of 64 survive · {percent(view.mass)} of the mass kept" in told
    assert f"T 0.5 sharpens: {before:.2f} → {after:.2f} bits" in told
    hot = text(sampled(Chain((Sampler.of(Kind.TEMPERATURE, 1.5),))))
    assert "64 of 64 survive · 100.0 % of the mass kept" in hot and "T 1.5 flattens: " in hot
    cut = sampled(Chain((Sampler.of(Kind.TOP_K, 5),)))
    raw = cut.session.game.prompt.tip.distribution
    assert raw is not None and cut.session.view is not None
    assert f"entropy {raw.entropy_bits:.2f} → {cut.session.view.entropy_bits:.2f} bits" in text(cut)
    assert "1 of 64 survives" in text(sampled(Chain((Sampler.of(Kind.TOP_K, 1), *CHAIN.samplers[1:]))))


def test_one_line_says_as_much_as_fits() -> None:
    play = sampled(CHAIN)
    node = play.session.game.prompt.tip
    viewed = play.session.viewed(node)
    told = [view_lines(play.session, node, viewed, width, 10)[0] for width in (90, 60, 45, 40, 30)]
    assert [len(one) for one in told] == sorted(map(len, told), reverse=True)
    assert all(one.startswith("5 ") for one in told)
    assert all(len(one) <= width for one, width in zip(told, (90, 60, 45, 40, 30), strict=True))
    assert "sharpens" in told[0] and "→" in told[2]


def test_the_status_line_says_through_what_one_looks() -> None:
    assert lens_texts(started().session) == []
    play = sampled(CHAIN)
    assert "  top-k 5 · T 0.5 " in text(play)
    long = Chain(tuple(Sampler.of(kind) for kind in (Kind.TOP_K, Kind.TOP_P, Kind.MIN_P, Kind.TEMPERATURE)))
    for width in range(62, 140):
        line = next(line for line in text(sampled(long, "h"), width, 24).splitlines() if "tokens: 1" in line)
        shown = line.partition("ppl")[0] if "ppl" in line else line
        # Whole samplers, or none of them: never a part of a number.
        items = ["top-k 40", "top-p 0.95", "min-p 0.05", "T 0.8"]
        wordings = [long.short, *(" · ".join([*items[:count], "…"]) for count in (3, 2, 1)), "samplers"]
        assert any(f"  {words}  " in f"{shown}  " for words in wordings), line


@pytest.mark.parametrize(
    ("standing", "broken", "told"),
    [
        (Standing.OPEN, -1, "grammar: 3.1 % legal · T 0.5"),
        (Standing.COMPLETE, -1, "may end here · grammar: 3.1 % legal · T 0.5"),
        (Standing.ENDED, -1, "must end here, +5.01 bits · grammar: 3.1 % legal · T 0.5"),
        (Standing.BROKEN, 11, "broken at token 12 · grammar: 3.1 % legal · T 0.5"),
    ],
)
def test_under_a_constraint_the_status_line_says_where_one_stands(standing: Standing, broken: int, told: str) -> None:
    play = started()
    sampling = Sampling(Chain(CHAIN.samplers[1:]), REGEX, 0)
    play.session = replace(play.session, game=replace(play.session.game, sampling=sampling))
    lens = play.session.lens
    assert isinstance(lens, Sampled) and lens_texts(play.session)[0] == "grammar · T 0.5"
    rows = array("i", [3]), array("d", [1.0]), array("b", [NOT_CUT])
    view = View(1, 0.031, 0.0, 0.031, (), standing, broken, *rows)
    play.session.game.known.lens_results.attach(lens, play.session.game.prompt.tip, view)
    assert lens_texts(play.session)[0] == told and told in text(play)
    for width in (70, 80, 90, 100, 110):
        (line,) = [line for line in text(play, width).splitlines() if " Prompt 1/1 " in line]
        assert "…" not in line, "fewer words, and no part of one"
        assert any(words in line for words in lens_texts(play.session))


@pytest.mark.parametrize(("mass", "told"), [(7.7e-53, "+173.12 bits"), (0.0, "+∞ bits")])
def test_an_end_that_the_model_gives_next_to_nothing_costs_what_it_costs(mass: float, told: str) -> None:
    play = started()
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling(NO_CHAIN, REGEX, 0)))
    lens, tip = play.session.lens, play.session.game.prompt.tip
    assert isinstance(lens, Sampled)
    view = View(1, mass, 0.0, mass, (), Standing.ENDED, -1, array("i", [3]), array("d", [1.0]), array("b", [NOT_CUT]))
    play.session.game.known.lens_results.attach(lens, tip, view)
    assert f"must end here, {told}" in lens_texts(play.session)[0]
    play.session.game.known.lens_results.attach_verdict(lens, tip, Verdict(1.0, NOT_CUT, mass))
    play.take(Action.CURSOR_BACK)
    assert f"cost {told[1:]}" in text(play)


def test_the_total_cost_stands_beside_the_perplexity() -> None:
    play = started()
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling(NO_CHAIN, REGEX, 0)))
    play.session = with_prompt(play.session, replace(play.session.game.prompt, begins=1))
    lens = play.session.lens
    assert isinstance(lens, Sampled) and lens.start == 1
    nodes = play.session.game.prompt.tip.nodes(1)
    for node in nodes[1:]:
        play.session.game.known.lens_results.attach_verdict(lens, node, Verdict(0.5, NOT_CUT, 0.25))
    assert " bits  grammar" not in text(play), "not known for all of it"
    play.session.game.known.lens_results.attach_verdict(lens, nodes[0], Verdict(0.5, NOT_CUT, 0.5))
    assert f"cost {2 * (len(nodes) - 1) + 1}.00 bits" in text(play)
    tip = play.session.game.prompt.tip
    for standing in (Standing.COMPLETE, Standing.ENDED):
        assert "must end" not in text(play), "it may go on"
        view = View(1, 0.25, 0.0, 0.25, (), standing, -1, array("i", [3]), array("d", [1.0]), array("b", [NOT_CUT]))
        play.session.game.known.lens_results.attach(lens, tip, view)
    total = f"cost {2 * (len(nodes) - 1) + 1}.00 bits"
    for width in (80, 130):
        assert f"{total}  must end here, +2.00 bits" in text(play, width, 24), "the end is no token of it yet"
    play.take(Action.CURSOR_BACK)
    assert "must end" not in text(play)
    assert "cost 2.00 bits" in text(play).splitlines()[-3], "of the token that is looked at"


# --- layers


def test_a_verdict_that_arrives_is_drawn() -> None:
    """Lines are kept between frames: one with a token that was not judged must not be."""
    play, drawing = started("hello " * 60), Drawing()
    sampling = Sampling(Chain(bias=((3, 1.0),)), None, 0)
    play.session = replace(
        play.session,
        options=replace(play.session.options, layer=REACHABLE),
        game=replace(play.session.game, sampling=sampling),
    )
    lens = play.session.lens
    assert isinstance(lens, Sampled)
    shade = theme.shade("reachable", 1.0)

    def coloured(drawing: Drawing = drawing) -> int:
        return sum(shade in style for line in drawing.screen(play.session, 130, 40)[1:-4] for style, _ in line)

    nodes = play.session.game.prompt.tip.nodes(1)
    assert coloured() == 0 == coloured()
    for node in nodes[1::2]:
        play.session.game.known.lens_results.attach_verdict(lens, node, Verdict(0.0, 0))
    half = coloured()
    assert half == coloured(Drawing()) >= len(nodes[1::2])
    for node in nodes[::2]:
        play.session.game.known.lens_results.attach_verdict(lens, node, Verdict(0.0, 0))
    assert coloured() == coloured(Drawing()) >= len(nodes) > half
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling()))
    assert coloured() == 0, "another lens knows nothing of it"


def test_a_cut_token_that_is_looked_at_says_by_what() -> None:
    play = sampled(CHAIN, "hello " * 20).press(*[Action.MORE_LAYERS] * 5)
    play.press(Action.NEXT_SURPRISAL)
    assert "cut by top-k" in text(play)
    assert "can be drawn" in text(play), "the legend"


def test_the_chance_of_a_token_that_is_looked_at_is_told_also_where_a_layer_has_judged_it_before() -> None:
    play = sampled(CHAIN, "hello " * 20)
    while play.session.options.layer is not REACHABLE:
        play.press(Action.MORE_LAYERS)
    play.press(Action.CURSOR_BACK)
    prompt = play.session.game.prompt
    assert prompt.cursor
    view = play.session.view
    assert view
    final = view.verdicts[prompt.cursor.token].final
    assert final > 0 and f"final {final:.4f}" in text(play).splitlines()[-3]


@pytest.mark.parametrize("layer", [REACHABLE, COST])
def test_a_frame_of_a_long_prompt_costs_what_is_seen_of_it(layer: Layer) -> None:
    def steps(length: int) -> int:
        play, drawing = started("hello " * length), Drawing()
        sampling = Sampling(CHAIN, REGEX if layer is COST else None, 0)
        play.session = replace(
            play.session,
            options=replace(play.session.options, layer=layer),
            game=replace(play.session.game, sampling=sampling),
        )
        lens = as_sampled(play.session.lens)
        for node in play.session.game.prompt.tip.nodes(1):
            play.session.game.known.lens_results.attach_verdict(lens, node, Verdict(0.5, NOT_CUT, 0.5))
        frame(play, drawing, (130, 40))
        return frame(play, drawing, (130, 40))

    assert steps(1000) < 1.3 * steps(300)


# --- draws


@pytest.mark.parametrize(
    ("probabilities", "draws"), [((0.5, 0.5), 3), ((0.6, 0.3, 0.1), 4), ((1.0,), 5), ((0.9, 0.1), 1)]
)
def test_how_much_of_true_draws_matches(probabilities: tuple[float, ...], draws: int) -> None:
    """Against all outcomes, each with its probability."""
    expected = 0.0
    for outcome in itertools.product(range(len(probabilities)), repeat=draws):
        counts = Counter(outcome)
        shared = sum(min(counts[one] / draws, chance) for one, chance in enumerate(probabilities))
        expected += math.prod(probabilities[one] for one in outcome) * shared
    assert expected_match(probabilities, draws) == pytest.approx(expected, abs=1e-12)


def test_counted_draws_stand_beside_the_probabilities() -> None:
    play = sampled(CHAIN).press(Action.DRAW_MANY)
    drawn = play.session.game.drawn
    assert drawn is not None
    token, count = Counter(one.token for one in drawn.draws).most_common(1)[0]
    line = next(line for line in text(play).splitlines() if f"␣{chr(0x30 + token)} " in line.split("│")[-1])
    assert line.split("│")[-1].split()[4] == str(count)
    view = play.session.view
    assert view is not None
    chances_of = {one: view.verdicts[one].final for one in view.likeliest}
    share = sum(min(drawn.counts[one] / 100, chance) for one, chance in chances_of.items())
    assert f"100 draws: {share * 100:.0f} % match · " in text(play)
    play.press(Action.APPEND)
    assert "drawn" not in text(play), "they are of another place"


def test_draws_that_follow_many_small_chances_match_as_usual() -> None:
    """Where more tokens can be drawn than are told of, the others count as one in both numbers."""
    generator = random.Random(5)
    size, told, draws = 20_000, 30, 1000
    came = Counter(generator.choices(range(size), k=draws))
    chances = dict.fromkeys(range(told), 1 / size)
    assert match_of(came, chances, draws) == pytest.approx(expected_match(list(chances.values()), draws), abs=0.02)


def test_a_roll_is_shown_on_the_bar() -> None:
    play = sampled(CHAIN).press(Action.ROLL)
    drawn = play.session.game.drawn
    assert drawn is not None
    (one,) = drawn.draws
    assert f"seed 1 · drew {one.number:.4f}" in text(play)
    line = next(line for line in text(play).splitlines() if "●" in line).split("│", 1)[1]
    assert line.count("●") == 1
    play.press(Action.APPEND)
    assert "●" not in text(play), "further on it is of no use"
    play.press(Action.POP, Action.POP)
    assert "●" in text(play), "it belongs to the place"


@pytest.mark.parametrize("width", [3, 10, 48, 77])
def test_the_mark_falls_into_the_part_of_the_token_drawn(width: int) -> None:
    play = sampled(CHAIN)
    node, view = play.session.game.prompt.tip, play.session.view
    assert view is not None
    low = 0.0
    for token in view.likeliest:
        high = low + view.verdicts[token].final
        for number in (low, (low + high) / 2, high - 1e-9):
            drawn = Drawn(node, play.session.lens, 1, (Draw(token, number, low, high),), many=False)
            line = chances(play.session, drawn, width)
            assert width_of(line) == width
            before = line[0][1] if line[0][1] != "●" else ""
            assert len(before) == min(width - 1, int(number * width))
        low = high


def test_the_mark_falls_where_it_should_among_wide_characters_with_marks() -> None:
    play = started()
    play.session.game.known.pieces.update(
        {token: piece._replace(data="か\u3099".encode() * 3) for token, piece in fake.PIECES.items()}
    )
    node = play.session.game.prompt.tip
    for step in range(400):
        drawn = Drawn(node, RAW, 1, (Draw(3, step / 400, step / 400, step / 400 + 0.001),), many=False)
        line = "".join(part for _, part in chances(play.session, drawn, 78))
        assert cells_of(line[: line.index("●")]) == step * 78 // 400 and "…" not in line
    play.session.game.known.pieces.update(fake.PIECES)


def test_wide_characters_on_the_bar_are_cut_cleanly() -> None:
    play = started()
    play.session.game.known.pieces.update(
        {token: piece._replace(data="漢字".encode()) for token, piece in fake.PIECES.items()}
    )
    node = play.session.game.prompt.tip
    for step in range(200):
        drawn = Drawn(node, RAW, 1, (Draw(3, step / 200, step / 200, step / 200 + 0.001),), many=False)
        assert width_of(chances(play.session, drawn, 60)) == 60
    play.session.game.known.pieces.update(fake.PIECES)


BIASED = tuple((token, -0.000123456 if token % 2 else -123456.75) for token in range(64))


@pytest.mark.parametrize("chain", [Chain(()), CHAIN, Chain(bias=BIASED)], ids=["raw", "samplers", "biases"])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_row_is_as_wide_as_its_table(chain: Chain, ahead: bool) -> None:
    """So that all of the selected one is marked, whatever columns there are."""
    play = sampled(chain)
    play.session = replace(play.session, options=replace(play.session.options, shows_ahead=ahead))
    for width in range(28, 100):
        _, *rows = table_lines(play.session, width, 12)
        assert [width_of(row) for row in rows[:5]] == [width] * 5
