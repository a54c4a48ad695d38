"""The sampler chain's screen: lines, values, order, presets, and what other programs take and give."""

import math
from dataclasses import replace

import pytest

from tests import fake
from tests.fake import Play, on, started
from tests.play.test_sampling import sampled
from tokex_gguf.engine.protocol import Apply, Capability, EngineDied, Evaluate
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Sampling
from tokex_gguf.play.messages import BackgroundReported, CopiedOut, CopyOut, Message, PointedAtRow, Typed
from tokex_gguf.play.rules import chain as rules
from tokex_gguf.play.rules.model_switch import _carried
from tokex_gguf.play.screens import Samplers, SamplersToAdd, SamplerText, SamplerValue
from tokex_gguf.play.table import selected_row, table
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.lens import GRAMMAR, LOGIT_BIAS, RAW, Sampled
from tokex_gguf.values.sampler_text import chain_of_flags, flags_of, json_of, read_json
from tokex_gguf.values.samplers import CREATIVE, DEFAULT, GREEDY, KINDS, NO_CHAIN, PRESETS, Chain, Kind, Sampler

SHORT = Chain((Sampler.of(Kind.TOP_K, 40), Sampler.of(Kind.MIN_P, 0.05), Sampler.of(Kind.TEMPERATURE, 0.8)))


def opened(chain: Chain = SHORT) -> Play:
    return sampled(chain).press(Action.SAMPLERS)


def chain_of(play: Play) -> Chain:
    return play.session.game.sampling.chain


def value(play: Play, kind: Kind, index: int = 0) -> float:
    sampler = chain_of(play).get(kind)
    assert sampler
    return sampler.values[index]


def at(play: Play) -> tuple[str, int]:
    line = rules.selected(play.session)
    assert line
    return line.stage, line.parameter


# --- lines


def test_a_line_for_each_parameter_in_the_order_of_the_chain() -> None:
    sampling = Sampling(DEFAULT.moved(Kind.TEMPERATURE, -8).biased(5, 1.0), Constraint(ConstraintKind.REGEX, "a"))
    lines = rules.lines(replace(sampled(SHORT).session.game, sampling=sampling))
    assert lines[:2] == [(GRAMMAR, None, 0), (LOGIT_BIAS, None, 0)]
    assert [(line.kind, line.parameter) for line in lines[2:6]] == [
        *((Kind.TEMPERATURE, index) for index in range(3)),
        (Kind.PENALTIES, 0),
    ]
    assert len(lines) == 2 + sum(len(KINDS[one.kind].parameters) for one in DEFAULT.samplers)


def test_the_first_sampler_that_acts_is_selected_and_arrows_choose_others() -> None:
    play = opened(DEFAULT)
    assert at(play) == ("top-k", 0)
    play.press(Action.UP, Action.UP, Action.UP)
    assert at(play) == ("DRY", 2)
    play.press(Action.BOTTOM)
    assert at(play) == ("temperature", 2)
    play.press(Action.DOWN)
    assert play.session.notice == "this is the last line"
    play.press(PointedAtRow(0))
    assert at(play) == ("penalties", 0)


def test_what_each_stage_did_is_told_by_its_name() -> None:
    play = opened()
    did = rules.what_it_did(play.session)
    assert list(did) == ["top-k", "min-p", "temperature"]
    before, after = did["top-k"]
    assert (before.left, before.mass, after.left) == (64, 1.0, 40)
    distribution = play.session.game.prompt.tip.distribution
    assert distribution and before.entropy_bits == distribution.entropy_bits
    assert did["min-p"][0] == after and did["temperature"][0] == did["min-p"][1]


def test_a_sampler_that_does_nothing_is_no_stage() -> None:
    play = opened(SHORT.with_sampler(Sampler.of(Kind.MIN_P, 0)))
    assert list(rules.what_it_did(play.session)) == ["top-k", "temperature"]
    assert opened(NO_CHAIN).session.lens == RAW and not rules.what_it_did(opened(NO_CHAIN).session)


def test_the_numbers_from_before_stand_until_the_new_ones_are_there() -> None:
    play = opened()
    before = rules.what_it_did(play.session)
    play.take(Action.LESS)
    assert play.session.view is None and rules.what_it_did(play.session) == before
    play.take(Action.LESS)
    assert rules.what_it_did(play.session) == before, "those of the last chain that has any"
    play.answer()
    assert rules.what_it_did(play.session)["top-k"][1].left == 20


# --- values


def test_a_step_changes_the_value_and_asks_for_the_view_alone() -> None:
    play = opened()
    play.take(Action.LESS)
    assert value(play, Kind.TOP_K) == 30 and [type(one) for one in play.asked] == [Apply]
    play.answer()
    assert play.session.view and play.session.view.left <= 30
    play.press(Action.MORE, Action.MORE)
    assert value(play, Kind.TOP_K) == 50
    assert not any(isinstance(one, Evaluate) for one in play.asked)


def test_ten_steps_at_once() -> None:
    play = opened().press(Action.MUCH_LESS)
    assert value(play, Kind.TOP_K) == 2
    assert value(play.press(Action.MUCH_MORE), Kind.TOP_K) == 40


def test_steps_end_at_the_ends_and_say_so() -> None:
    play = opened().press(Action.MUCH_LESS, Action.MUCH_LESS)
    assert value(play, Kind.TOP_K) == 0
    play.press(Action.LESS)
    assert play.session.notice == "--top-k goes from 0 to 1000000" and value(play, Kind.TOP_K) == 0
    play.press(*[Action.MUCH_MORE] * 3, Action.MORE)
    assert value(play, Kind.TOP_K) == 10000
    assert play.session.notice == "the steps end here: type a number, up to 1000000"
    play.press(Typed("20000"), Action.ENTER, Action.MORE)
    assert value(play, Kind.TOP_K) == 20000, "a step up never makes it smaller"
    assert value(play.press(Action.LESS), Kind.TOP_K) == 10000


def test_a_digit_begins_a_number_and_enter_sets_it() -> None:
    play = opened().press(Typed("1"))
    assert on(play.session, SamplerValue).line.text == "1"
    assert rules.value_hint(play.session) == "top-k: 0 to 1000000 "
    play.press(Typed("2"))
    assert value(play, Kind.TOP_K) == 40, "nothing is set before Enter"
    play.press(Action.ENTER)
    assert value(play, Kind.TOP_K) == 12 and isinstance(play.session.screen, Samplers) and at(play) == ("top-k", 0)


def test_escape_drops_a_number() -> None:
    play = opened().press(Action.DOWN, Typed("."), Typed("3"), Action.CLOSE)
    assert chain_of(play) == SHORT and at(play) == ("min-p", 0)


def test_enter_shows_the_value_to_be_replaced() -> None:
    play = opened().press(Action.DOWN, Action.ENTER)
    line = on(play.session, SamplerValue).line
    assert line.text == "0.05" and line.selected
    play.press(Typed("0.1"), Action.ENTER)
    assert value(play, Kind.MIN_P) == 0.1
    play.press(Action.ENTER, Action.ERASE_LINE, Action.ENTER)
    assert value(play, Kind.MIN_P) == 0.1, "nothing typed is nothing changed"


@pytest.mark.parametrize("text", ["200", "-0.1", "nan", "1e9", "x", "5" * 500, "0.1.2"])
def test_a_number_out_of_range_says_the_range_and_stays(text: str) -> None:
    play = opened(DEFAULT).press(Action.TOP, Typed("."), Action.ERASE, Typed(text), Action.ENTER)
    assert play.session.notice.startswith("--repeat-penalty takes a number from 0.01 to 100, not ")
    assert on(play.session, SamplerValue).line.text == text and chain_of(play) == DEFAULT


def test_what_llama_cpp_takes_as_the_end_of_the_range_is_told() -> None:
    play = opened().press(Action.DOWN, Typed("2"), Action.ENTER)
    assert value(play, Kind.MIN_P) == 1
    assert play.session.notice == "--min-p goes from 0 to 1: 2 is taken as 1"


def test_a_value_of_a_sampler_that_is_off_changes_and_says_so() -> None:
    play = opened().press(Action.SWITCH, Action.LESS)
    assert value(play, Kind.TOP_K) == 30 and play.session.notice == "top-k is switched off: space switches it on"


# --- samplers


def test_space_switches_a_sampler_off_and_on() -> None:
    play = opened().press(Action.SWITCH)
    assert "top-k" not in rules.what_it_did(play.session)
    assert chain_of(play.press(Action.SWITCH)) == SHORT and play.session.notice == ""


@pytest.mark.parametrize("kind", KINDS)
def test_space_on_a_sampler_that_does_nothing_says_what_switches_it_on(kind: Kind) -> None:
    idle = Sampler.of(kind, KINDS[kind].parameters[0].off or 0)
    by = idle.awakening
    assert not idle.acts and by
    play = opened(Chain((idle,))).press(Action.TOP, Action.SWITCH)
    assert chain_of(play) == Chain((idle,)), "nothing is changed that could not be seen"
    parameter = KINDS[kind].parameters[0]
    there = parameter.text(parameter.step(idle.values[0], by[1]))
    arrow = "→" if by[1] > 0 else "←"
    name = f"{parameter.label} {parameter.text(idle.values[0])}"
    assert play.session.notice == f"{KINDS[kind].title} does nothing at {name}: {arrow} {there} switches it on"
    play.press(Action.MORE if by[1] > 0 else Action.LESS)
    (now,) = chain_of(play).samplers
    assert now.acts and play.session.notice == "", "as was said"


def test_on_a_line_of_another_parameter_the_one_that_switches_it_on_is_named() -> None:
    play = opened(Chain((Sampler.of(Kind.DRY),))).press(Action.TOP, Action.DOWN, Action.SWITCH)
    assert play.session.notice == "DRY does nothing at multiplier 0: 0.1 there switches it on"
    play = opened(Chain((Sampler.of(Kind.PENALTIES, 1, 0),))).press(Action.TOP, Action.SWITCH)
    assert play.session.notice == "penalties does nothing at these values: ← and → change them"


def test_a_sampler_moves_and_stays_selected() -> None:
    play = opened().press(Action.MOVE_DOWN, Action.MOVE_DOWN)
    assert [one.kind for one in chain_of(play).samplers] == [Kind.MIN_P, Kind.TEMPERATURE, Kind.TOP_K]
    assert at(play) == ("top-k", 0) and list(rules.what_it_did(play.session)) == ["min-p", "temperature", "top-k"]
    assert play.press(Action.MOVE_DOWN).session.notice == "this is the last sampler"
    assert chain_of(play.press(Action.MOVE_UP, Action.MOVE_UP)) == SHORT
    assert play.press(Action.MOVE_UP).session.notice == "this is the first sampler"


def test_what_chooses_the_token_itself_stays_last() -> None:
    play = opened(SHORT.with_sampler(Sampler.of(Kind.ADAPTIVE_P, 0.5))).press(Action.BOTTOM)
    for action in (Action.MOVE_UP, Action.UP, Action.UP, Action.MOVE_DOWN):
        play.press(action)
    assert play.session.notice == "adaptive-p chooses the token itself: it stays last"
    assert [one.kind for one in chain_of(play).samplers][-1] is Kind.ADAPTIVE_P


def test_removing_and_adding() -> None:
    play = opened().press(Action.DOWN, Action.REMOVE)
    assert chain_of(play) == SHORT.without(Kind.MIN_P) and at(play) == ("temperature", 0)
    play.press(Action.ADD)
    missing = rules.missing(play.session)
    assert isinstance(play.session.screen, SamplersToAdd) and Kind.MIN_P in missing and Kind.TOP_K not in missing
    play.press(*[Action.DOWN] * missing.index(Kind.MIN_P), Action.ENTER)
    assert chain_of(play) == SHORT and at(play) == ("min-p", 0) and play.session.notice == ""
    play.press(Action.ADD, Action.CLOSE)
    assert chain_of(play) == SHORT and isinstance(play.session.screen, Samplers)
    play.press(Action.ADD, Action.ENTER)
    assert at(play) == ("penalties", 0) and "does nothing at repeat 1" in play.session.notice


def test_the_chain_opens_where_it_was_left() -> None:
    play = opened(DEFAULT)
    assert at(play) == ("top-k", 0), "at first at a sampler that acts"
    play.press(Action.DOWN, Action.DOWN)
    for away in (Action.CLOSE, Action.ADD, Action.READ_IN):
        back = Action.SAMPLERS if away is Action.CLOSE else Action.CLOSE
        assert at(play.press(away, back)) == ("top-p", 0), away
    play.press(Action.CLOSE, Action.UNDO)
    play.press(Action.SAMPLERS, Action.REMOVE, Action.CLOSE, Action.UNDO, Action.SAMPLERS)
    assert at(play) != ("top-p", 0), "another line was left last"
    play.press(*[Action.PRESET] * 2, Action.CLOSE, Action.SAMPLERS)
    assert rules.selected(play.session), "where that line is not there any more, one that acts"


def test_all_samplers_can_be_added_and_removed() -> None:
    play = opened(NO_CHAIN)
    for _ in KINDS:
        play.press(Action.ADD, Action.ENTER)
    assert [one.kind for one in chain_of(play).samplers] == list(KINDS)
    assert play.press(Action.ADD).session.notice == "the chain has all samplers"
    for _ in KINDS:
        play.press(Action.REMOVE)
    assert chain_of(play) == NO_CHAIN and rules.selected(play.session) is None
    assert "the chain is empty" in play.press(Action.MORE).session.notice
    assert "the chain is empty" in play.press(Action.REMOVE).session.notice


def test_biased_tokens_have_a_line_that_takes_their_bias_away() -> None:
    play = opened(SHORT.biased(3, -math.inf)).press(Action.TOP)
    assert at(play) == (LOGIT_BIAS, 0)
    for action in (Action.MORE, Action.SWITCH, Action.MOVE_DOWN, Typed("5"), Action.ENTER):
        assert "biased tokens" in play.press(action).session.notice
        assert chain_of(play) == SHORT.biased(3, -math.inf)
    assert chain_of(play.press(Action.REMOVE)) == SHORT


def suppressing(play: Play, *tokens: int) -> Play:
    """The same with a model whose file bans some tokens."""
    game = play.session.game
    assert game.model
    game = replace(game, model=replace(game.model, suppressed=tokens))
    play.session = replace(play.session, game=game)
    return play.press(BackgroundReported(light=False))


def test_what_the_models_file_bans_is_banned_with_any_chain_and_seen_there() -> None:
    """As llama.cpp's tools do; but with no chain the table is the model's own."""
    first, second = fake.ranked(sampled(SHORT).session.game.prompt.tip.path())[:2]
    play = suppressing(opened(SHORT), first, second).press(Action.TOP)
    assert at(play) == (LOGIT_BIAS, 0) and rules.biased(play.session.game) == 2
    assert "the model's file bans 2" in play.press(Action.MORE).session.notice
    lens, view = play.session.lens, play.session.view
    assert isinstance(lens, Sampled) and view is not None
    assert lens.stage(view.verdicts[first].cut_by) == LOGIT_BIAS and first not in view.likeliest
    assert lens.chain.short.startswith("2 biased")
    # A bias of the player's own does not bring it back, as in llama.cpp: both are added.
    biased = suppressing(opened(SHORT.biased(first, 5.0).biased(9, 1.0)), first, second)
    assert rules.biased(biased.session.game) == 3
    assert biased.session.view is not None and first not in biased.session.view.likeliest
    assert chain_of(biased.press(Action.TOP, Action.REMOVE)) == SHORT and "file bans" in biased.session.notice
    assert at(biased.press(Action.TOP)) == (LOGIT_BIAS, 0), "those of the model's file stay"
    assert suppressing(sampled(NO_CHAIN), first).session.lens == RAW
    assert rules.lines(suppressing(opened(NO_CHAIN), first).session.game) == []
    assert flags_of(chain_of(play)) == flags_of(SHORT), "llama.cpp's programs do it by themselves"


def test_the_constraint_has_a_line_that_is_not_for_these_keys() -> None:
    play = sampled(SHORT)
    sampling = replace(play.session.game.sampling, constraint=Constraint(ConstraintKind.REGEX, "[a-z]*"))
    play.session = replace(play.session, game=replace(play.session.game, sampling=sampling))
    play.press(Action.SAMPLERS, Action.TOP)
    assert at(play) == (GRAMMAR, 0) and list(rules.what_it_did(play.session))[:2] == [GRAMMAR, "top-k"]
    for action in (Action.MORE, Action.SWITCH, Action.REMOVE, Typed("5")):
        assert "the constraint comes before all samplers" in play.press(action).session.notice
        assert play.session.game.sampling == sampling


# --- presets


def test_an_empty_chain_offers_llama_cpps_in_one_key() -> None:
    play = opened(NO_CHAIN).press(Action.ENTER)
    assert chain_of(play) == DEFAULT and play.session.notice == "", "it is seen, and so is what it does to the row"
    assert play.session.view and list(rules.what_it_did(play.session)) == ["top-k", "top-p", "min-p", "temperature"]


def test_a_constraint_alone_takes_nothing_of_that_offer() -> None:
    play = sampled(NO_CHAIN)
    sampling = replace(play.session.game.sampling, constraint=Constraint(ConstraintKind.REGEX, "[a-z]*"))
    play.session = replace(play.session, game=replace(play.session.game, sampling=sampling))
    play.press(Action.SAMPLERS)
    assert at(play) == (GRAMMAR, 0)
    assert "the constraint comes before all samplers" in play.press(Action.MORE).session.notice
    assert chain_of(play.press(Action.ENTER)) == DEFAULT
    play.press(Action.TOP, Action.ENTER)
    assert chain_of(play) == DEFAULT and "the constraint comes before all samplers" in play.session.notice


def test_p_goes_through_the_presets_and_leads_back_to_what_one_made() -> None:
    play = opened()
    seen = []
    for _ in range(len(PRESETS) + 1):
        play.press(Action.PRESET)
        seen.append((play.session.notice, chain_of(play)))
    assert [chain for _, chain in seen] == [*PRESETS.values(), SHORT]
    assert seen[0][0] == "preset 1 of 5: none" and seen[-1][0] == "preset 5 of 5: yours"


def test_several_chains_of_ones_own_are_kept() -> None:
    play = opened().press(Action.PRESET, Action.PRESET, Action.LESS)
    second = chain_of(play)
    play.press(Action.PRESET)
    assert list(rules.presets(play.session.game).items())[-2:] == [("yours 1", SHORT), ("yours 2", second)]
    assert play.press(Action.CLOSE, Action.SAMPLERS).session.game.sampling.own == (SHORT, second)


def test_a_bias_stays_with_any_preset() -> None:
    play = opened(DEFAULT.biased(3, 1.0)).press(Action.PRESET)
    assert chain_of(play) == GREEDY.biased(3, 1.0) and play.session.game.sampling.own == ()


def test_the_models_own_and_the_configurations_are_among_them() -> None:
    play = opened(CREATIVE)
    game = play.session.game
    assert game.model
    own = replace(game.settings, presets=(("mine", SHORT), ("same", GREEDY)))
    model = replace(game.model, sampling={"top_k": "20", "temp": "0.6", "min_p": "much"})
    play.session = replace(play.session, game=replace(game, settings=own, model=model))
    play.press(Action.PRESET)
    assert play.session.notice == "preset 5 of 6: the model's own" and chain_of(play).short == (
        "top-k 20 · top-p 0.95 · min-p 0.05 · T 0.6"
    )
    play.press(Action.PRESET)
    assert play.session.notice == "preset 6 of 6: mine" and chain_of(play) == SHORT
    assert play.press(Action.PRESET).session.notice == "preset 1 of 6: none"


# --- one alone


@pytest.mark.parametrize("downs", [0, 3, 7, 12, 25])
def test_what_a_sampler_alone_would_do_with_the_selected_token(downs: int) -> None:
    """Whatever stands before it in the chain, and cuts it already."""
    chain = Chain((*(Sampler.of(kind) for kind in (Kind.TYPICAL, Kind.XTC)), *SHORT.samplers))
    chain = chain.with_sampler(Sampler.of(Kind.TOP_K, 5)).with_sampler(Sampler.of(Kind.TYPICAL, 0.9))
    play = sampled(chain).press(*downs * [Action.DOWN], Action.SAMPLERS, Action.TOP)
    prompt = play.session.game.prompt
    row = table(play.session, prompt)[selected_row(play.session, prompt)]
    best = table(play.session, prompt)[0]
    assert row.rank == downs + 1
    told = {}
    for _ in range(rules.length(play.session)):
        told[at(play)[0]] = rules.cuts_alone(play.session)
        play.press(Action.DOWN)
    cut_by_min_p = row.prob < 0.05 * best.prob
    assert told == {
        "top-k": (row.token, row.rank > 5),
        "min-p": (row.token, cut_by_min_p),
        **dict.fromkeys(["typical", "XTC", "temperature"]),
    }


# --- other programs


def test_the_chain_is_copied_as_flags_and_kept_as_both() -> None:
    play = opened()
    play.take(Action.COPY_OUT)
    (effect,) = [one for one in play.effects if isinstance(one, CopyOut)]
    assert chain_of_flags(effect.text).acting == SHORT.acting
    flags, _, rest = effect.file.partition("\n\n")
    assert (flags, rest) == (flags_of(SHORT), json_of(SHORT) + "\n")
    play.take(CopiedOut("samplers/a.txt"))
    assert "samplers/a.txt" in play.session.notice


@pytest.mark.parametrize("text", ["--top-k 7 --temp 0", '{"top_k": 7, "temperature": 0}'])
def test_flags_and_json_are_read_typed_or_pasted(text: str) -> None:
    wanted = read_json(text).chain if text.startswith("{") else chain_of_flags(text)
    ways: list[list[Message]] = [[Typed(f" {text}\n")], [Action.READ_IN, *map(Typed, text), Action.ENTER]]
    for keys in ways:
        play = opened().press(*keys)
        assert chain_of(play) == wanted and isinstance(play.session.screen, Samplers)
        assert play.session.game.sampling.own == (SHORT,), "the one before is not lost"


def test_what_is_no_chain_says_why_and_can_be_edited() -> None:
    play = opened().press(Typed("--top-k many"))
    assert play.session.notice.startswith("--top-k takes a whole number") and chain_of(play) == SHORT
    assert on(play.session, SamplerText).line.text == "--top-k many"
    play.press(*[Action.ERASE] * 4, Typed("9"), Action.ENTER)
    assert value(play, Kind.TOP_K) == 9
    play.press(Action.READ_IN, Typed("{"), Action.ENTER)
    assert "JSON" in play.session.notice and isinstance(play.session.screen, SamplerText)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "./llama-server -m model.gguf -c 4096 --top-p 1.5 \\\n  --flash-attn on -ngl -1 --temp 0.7 -p 'the --temp'",
            "read; --top-p 1.5 is taken as 1; left alone: -m, -c, --flash-attn, -ngl, -p",
        ),
        (
            '{"prompt": "a", "top_p": 1.5, "temperature": 0.7, "stop": ["x"], "n_predict": 9}',
            "read; top_p 1.5 is taken as 1; left alone: prompt, stop, n_predict",
        ),
        ("--top-p 1.5 --top-p 1 --temp 0.7", "read"),
        ('{"top_p": 1, "temperature": 0.7}', "read"),
    ],
)
def test_of_a_whole_command_line_or_request_the_chain_is_taken_and_the_rest_named(text: str, told: str) -> None:
    play = opened().press(Typed(text))
    assert play.session.notice == f"{told}; p leads back to the chain before"
    assert chain_of(play) == chain_of_flags("--top-p 1 --temp 0.7")


def test_a_text_that_is_left_comes_back() -> None:
    play = opened().press(Action.READ_IN, Typed("--temp"), Action.CLOSE)
    assert isinstance(play.session.screen, Samplers) and play.session.notice == "the text is kept: i brings it back"
    assert on(play.press(Action.READ_IN).session, SamplerText).line.text == "--temp"
    play.press(Action.ERASE_LINE, Action.ENTER)
    assert isinstance(play.session.screen, Samplers) and chain_of(play) == SHORT


def test_a_bias_that_is_read_takes_the_place_of_the_one_before() -> None:
    play = opened(SHORT.biased(3, 1.0)).press(Typed("--top-k 7"))
    assert chain_of(play).bias == ((3, 1.0),)
    assert chain_of(play.press(Typed("--top-k 7 --logit-bias 4-inf"))).bias == ((4, -math.inf),)


def test_a_bias_of_no_token_is_named_and_left_out() -> None:
    play = opened().press(Typed("--top-k 7 --logit-bias 4-inf --logit-bias 70+1"))
    assert chain_of(play).bias == ((4, -math.inf),)
    missing = "no token has the number 70, the last one is 63: its bias is left out"
    assert play.session.notice == f"read; {missing}; p leads back to the chain before"


# --- around it


def test_the_chain_closes_where_the_engine_is_gone_and_text_stays() -> None:
    play = opened()
    play.take(EngineDied("SIGSEGV"))
    assert isinstance(play.session.screen, screens.Play) and chain_of(play) == SHORT
    for begin in (Typed("5"), Action.READ_IN):
        play = opened().press(begin)
        play.take(EngineDied("SIGSEGV"))
        assert not isinstance(play.session.screen, screens.Play)
        assert isinstance(play.press(Action.CLOSE).session.screen, screens.Play)


def test_an_engine_without_samplers_has_no_chain() -> None:
    play = started()
    game = play.session.game
    assert game.model
    model = replace(game.model, capabilities=frozenset(Capability) - {Capability.SAMPLERS})
    play.session = replace(play.session, game=replace(game, model=model))
    assert play.press(Action.SAMPLERS).session.notice == "this engine has no samplers"
    assert isinstance(play.session.screen, screens.Play)


def test_looking_changes_nothing() -> None:
    play = sampled(SHORT).press(Action.UP)
    before = play.session
    play.take(Action.SAMPLERS)
    assert not play.asked
    play.take(Action.CLOSE)
    assert not play.asked
    costs = replace(play.session.game, cost=before.game.cost)  # what the last key cost is another key's
    assert replace(play.session, game=costs, notice="", sampler=before.sampler) == replace(before, notice="")


def test_the_chain_comes_along_to_another_model_and_the_bias_does_not() -> None:
    play = sampled(SHORT.biased(3, 1.0))
    there = _carried(play.session.game)
    assert there.sampling == Sampling(SHORT, None, 1)


@pytest.mark.parametrize("name", ["yours", "yours 1", "yours 2", "the model's own"])
def test_presets_of_one_name_are_all_there(name: str) -> None:
    own = tuple(Chain((Sampler.of(Kind.TOP_K, count),)) for count in (8, 9, 11))
    configured = Chain((Sampler.of(Kind.TOP_K, 7),))
    play = started(presets=((name, configured),)).press(Action.SAMPLERS)
    for chain in (*own, configured):
        play.session = replace(
            play.session, game=replace(play.session.game, sampling=replace(play.session.game.sampling, chain=chain))
        )
        play.press(Action.PRESET)
    found = rules.presets(play.session.game)
    assert {*own, configured} <= {*found.values()} and len({*found.values()}) == len(found)
    seen = set()
    for _ in found:
        play.press(Action.PRESET)
        seen.add(play.session.game.sampling.chain)
    assert seen == {*found.values()}


def test_a_value_that_is_not_changed_stays_to_the_last_digit() -> None:
    chain = Chain((Sampler.of(Kind.TEMPERATURE, 0.123456789),))
    play = sampled(chain).press(Action.SAMPLERS, Action.ENTER)
    assert play.session.line.text == "0.123456789"
    play.press(Action.ENTER)
    assert play.session.game.sampling.chain == chain
