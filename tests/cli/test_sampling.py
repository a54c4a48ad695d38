"""The sampler chain outside the screen: flags, what --json and --plain say of it, and --draw."""

import argparse
import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_models
from tests.cli.test_cli import played, refused
from tests.patient import Patient
from tests.tiny_models import END
from tokex_gguf.cli import main
from tokex_gguf.cli.arguments import make_parser
from tokex_gguf.cli.sampling import sampling_of
from tokex_gguf.engine.client import EngineClient
from tokex_gguf.engine.protocol import Evaluate, Request
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Sampling
from tokex_gguf.system.console import Exit
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.samplers import DEFAULT, NO_CHAIN, Chain, Kind, Sampler

TEXT = "once upon a time there was the cat"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a folder of its own, away from the user's files."""
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.fixture
def model(tiny: dict[str, Path]) -> list[str]:
    """Arguments that name a small model and a prompt."""
    return ["--model", str(tiny["qwen2"]), "--prompt", TEXT]


def given(*arguments: str, before: Sampling | None = None) -> Sampling:
    options = make_parser().parse_args(arguments)
    return sampling_of(options, before)[0]


def drawn(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main.main(arguments) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# --- what the flags say


def test_no_flag_is_no_chain_and_any_flag_begins_with_llama_cpps() -> None:
    assert given().chain == NO_CHAIN
    assert given("--top-k", "40").chain == DEFAULT
    chain = given("--samplers", "temp;min-p", "--temp", "0.5", "--min-p", "0.1", "-l", "5-inf", "-l", "7+1").chain
    assert chain == Chain((Sampler.of(Kind.TEMPERATURE, 0.5), Sampler.of(Kind.MIN_P, 0.1)), ((5, -math.inf), (7, 1.0)))
    assert given("--dry-sequence-breaker", "a", "--dry-sequence-breaker", "b").chain.breakers == ("a", "b")
    assert given("--top-n-sigma", "-1", "--top-k", "-1").chain.short == "top-p 0.95 · min-p 0.05 · T 0.8"


def test_a_seed_is_random_unless_it_is_given() -> None:
    assert given("--seed", "7").seed == 7
    assert len({given(*arguments).seed for arguments in ((), (), ("-s", "-1"), ("-s", "4294967295"))}) == 4


def test_a_session_keeps_what_is_not_given_anew() -> None:
    before = Sampling(DEFAULT, Constraint(ConstraintKind.REGEX, "a"), 7)
    assert given(before=before) == before
    assert given("--samplers", "", before=before) == Sampling(Chain(), before.constraint, 7)
    assert given("--seed", "8", "--regex", "b", before=before) == Sampling(
        DEFAULT, Constraint(ConstraintKind.REGEX, "b"), 8
    )


@pytest.mark.parametrize(
    ("arguments", "constraint"),
    [
        (("--regex", "[0-9]+"), Constraint(ConstraintKind.REGEX, "[0-9]+")),
        (("--json-schema", "file"), Constraint(ConstraintKind.JSON_SCHEMA, "{}\n")),
        (("--grammar-file", "file"), Constraint(ConstraintKind.GRAMMAR, "{}\n")),
        (("--lark", "file"), Constraint(ConstraintKind.LARK, "{}\n")),
        # As llama.cpp's tools take them, the text itself.
        (("--grammar", 'root ::= "a"'), Constraint(ConstraintKind.GRAMMAR, 'root ::= "a"')),
        (("--lark", 'start: "a"'), Constraint(ConstraintKind.LARK, 'start: "a"')),
        (("--lark", 'A: "a"\n start : A'), Constraint(ConstraintKind.LARK, 'A: "a"\n start : A')),
        (("-j", '{"type": "null"}'), Constraint(ConstraintKind.JSON_SCHEMA, '{"type": "null"}')),
        (("--json-schema", " {}"), Constraint(ConstraintKind.JSON_SCHEMA, " {}")),
        (("-jf", "file"), Constraint(ConstraintKind.JSON_SCHEMA, "{}\n")),
        (("--choices", "yes,no"), Constraint(ConstraintKind.CHOICES, '["yes", "no"]')),
        (("--choices", r"a\,b,é,"), Constraint(ConstraintKind.CHOICES, '["a,b", "é", ""]')),
    ],
)
def test_constraints(arguments: tuple[str, ...], constraint: Constraint) -> None:
    Path("file").write_text("{}\n")
    assert given(*arguments).constraint == constraint


def test_a_value_that_is_taken_otherwise_is_told(model: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([*model, "--json", "--top-p", "1.5", "--temp", "0.7"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == ["tokex-gguf: --top-p 1.5 is taken as 1"]
    assert "--top-p 1.5 is taken as 1" in json.loads(said.out)["notices"]
    assert main.main([*model, "--plain", "--top-p", "1", "--temp", "0.7"]) == 0
    assert "taken" not in capsys.readouterr().err


def test_a_bias_of_no_token_is_named_and_left_out(model: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([*model, "--json", "-l", "999999+1", "-l", "3-inf"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    missing = f"no token has the number 999999, the last one is {told['model']['vocab_size'] - 1}: its bias is left out"
    assert said.err.splitlines() == [f"tokex-gguf: {missing}"] and missing in told["notices"]


def test_a_schema_from_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "schema").write_text('{"type": "integer"}')
    with (tmp_path / "schema").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        options = make_parser().parse_args(["-p", "x", "--json-schema", "-"])
        assert sampling_of(options, None)[0].constraint == Constraint(ConstraintKind.JSON_SCHEMA, '{"type": "integer"}')
    with pytest.raises(Exit, match="standard input is the prompt already"):
        given("-i", "-", "--json-schema", "-")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--top-p", "x"), "--top-p takes a number from 0 to 1, not 'x'"),
        (("--samplers", "top_q"), "--samplers: there is no sampler 'top_q'"),
        (("-l", "x"), "-l takes the number of a token"),
        (("--top-k", "1", "--top-k", "2"), "argument --top-k: given twice"),
        (("--temp", "1", "--temperature", "2"), "given twice"),
        (("--seed", "x"), "a seed takes a whole number from 0 to 4294967295, or -1 for a random one"),
        (("--regex", "a", "--choices", "b"), "not allowed with argument --regex"),
        (("--json-schema", "nowhere"), "--json-schema nowhere: cannot be read"),
        (("--grammar", "."), "--grammar .: a folder"),
        (("--lark", "bad"), "--lark bad: not UTF-8"),
        (("--constraint-start", "3"), "--constraint-start is for a constraint"),
        (("--regex", "a", "--constraint-start", "-1"), "expected a whole number"),
        (("--regex", ""), "argument --regex: expected a text, got an empty one"),
        (("--choices", ""), "argument --choices: expected a text, got an empty one"),
        (("--predict", "3"), "--predict is for --draw"),
        (("-n", "0"), "expected a whole number from 1 to 10000000, got '0', or -1 for no limit"),
        (("--draw", "3"), "not allowed with argument"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    arguments: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad").write_bytes(b"caf\xe9")
    assert reason in refused(capsys, "-p", "a", *arguments)


# --- what is printed


def test_without_a_chain_nothing_is_said_of_one(capsys: pytest.CaptureFixture[str], model: list[str]) -> None:
    told = played(capsys, *model, "--seed", "7")
    assert not {"final", "cut_by", "reachable", "cost_bits"} & {*told["tokens"][1], *told["next"]["candidates"][0]}
    assert set(told["next"]) == {"entropy_bits", "entropy", "candidates"}


@pytest.mark.parametrize("options", [("--samplers", ""), ("--temp", "1", "--samplers", "temperature")])
def test_samplers_that_change_nothing_have_their_fields(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str], model: list[str]
) -> None:
    assert main.main([*model, "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["next"]["kept"] == told["model"]["vocab_size"] and told["next"]["kept_mass"] == 1.0
    assert all(one["final"] == one["prob"] and one["cut_by"] is None for one in told["next"]["candidates"])
    first, *others = told["tokens"]
    assert all(one["reachable"] and one["cut_by"] is None for one in others) and first["reachable"] in (None, True)


def test_each_candidate_and_each_token_is_judged(capsys: pytest.CaptureFixture[str], model: list[str]) -> None:
    chain = ("--samplers", "top_k;temperature", "--top-k", "3", "--temp", "0.5")
    told, plain = played(capsys, *model, *chain), played(capsys, *model)
    following = told["next"]
    assert following["kept"] == 3
    assert following["kept_mass"] == pytest.approx(sum(row["prob"] for row in following["candidates"][:3]))
    heated = [row["prob"] ** 2 for row in following["candidates"][:3]]
    for row, expected in zip(following["candidates"], heated, strict=False):
        assert row["final"] == pytest.approx(expected / sum(heated), rel=1e-4) and row["cut_by"] is None
    for row in following["candidates"][3:]:
        assert row["final"] == 0 and row["cut_by"] == "top-k"
    first, *rest = told["tokens"]
    assert first["reachable"] is first["cut_by"] is None
    assert {token["reachable"] for token in rest} == {token["rank"] <= 3 for token in rest}
    for token in rest:
        assert token["reachable"] is (token["rank"] <= 3)
        assert token["cut_by"] == (None if token["reachable"] else "top-k")
        assert "cost_bits" not in token
    for token, same in zip(told["tokens"], plain["tokens"], strict=True):
        assert same == {name: token[name] for name in same}, "what the model says is the same"


def test_what_the_kept_numbers_leave_open_is_told_too(capsys: pytest.CaptureFixture[str], model: list[str]) -> None:
    """Penalties need the whole row, and top-p more than the few candidates that are kept inside a prompt."""
    for chain in (["--repeat-penalty", "1.5"], ["--top-p", "0.999", "--top-k", "0", "--min-p", "0"]):
        told = played(capsys, *model, *chain)
        assert {token["reachable"] for token in told["tokens"][1:]} <= {True, False}


def test_a_token_that_the_chain_made_likely_has_its_row(capsys: pytest.CaptureFixture[str], model: list[str]) -> None:
    raw = played(capsys, *model)["next"]["candidates"]
    far = next(token for token in range(200, 400) if token not in {row["id"] for row in raw})
    rows = played(capsys, *model, "--samplers", "", "-l", f"{far}+100")["next"]["candidates"]
    assert [row["id"] for row in rows[: len(raw)]] == [row["id"] for row in raw]
    (one,) = [row for row in rows if row["id"] == far]
    assert one["final"] > 0.99 and one["rank"] > len(raw) and one["prob"] < raw[-1]["prob"]
    banned = raw[0]["id"]
    rows = played(capsys, *model, "--samplers", "", "-l", f"{banned}-inf")["next"]["candidates"]
    assert (rows[0]["final"], rows[0]["cut_by"]) == (0, "logit bias")


def test_plain_text_has_the_same_columns(capsys: pytest.CaptureFixture[str], model: list[str]) -> None:
    assert main.main([*model, "--plain", "--top-k", "2", "--min-p", "0", "--top-p", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["prob", "final", "cut", "by", "rank", "entropy", "id", "token"]
    (line,) = (index for index, line in enumerate(lines) if line.startswith("next:"))
    assert "; 2 of " in lines[line] and "of the mass" in lines[line]
    assert all(" top-k " in cut and " 0.000000 " in cut for cut in lines[line + 3 :])


# --- samples

CHAIN = ("--samplers", "top_k;temperature", "--top-k", "20", "--temp", "0.9")


def test_the_same_seed_draws_the_same(capsys: pytest.CaptureFixture[str], model: list[str]) -> None:
    three = drawn(capsys, *model, *CHAIN, "--draw", "3", "--seed", "7", "-n", "12")
    assert three == drawn(capsys, *model, *CHAIN, "--draw", "3", "--seed", "7", "-n", "12")
    assert [one["seed"] for one in three] == [7, 8, 9]
    assert three[1:] == drawn(capsys, *model, *CHAIN, "--draw", "2", "--seed", "8", "-n", "12")
    assert len({one["text"] for one in three}) == 3
    for one in three:
        assert list(one) == ["seed", "text", "logprob", "tokens", "finished"]
        assert one["logprob"] < 0 and (len(one["tokens"]) == 12 or one["finished"])


def test_the_first_sample_is_what_autoplay_draws(
    capsys: pytest.CaptureFixture[str], model: list[str], tmp_path: Path
) -> None:
    (sample,) = drawn(capsys, *model, *CHAIN, "--draw", "1", "--seed", "7", "-n", "12")
    sampling = given(*CHAIN, "--seed", "7")
    patient = Patient(tmp_path, Path(model[1]), TEXT, sampling=sampling, lookahead=0)
    try:
        patient.ready()
        tip = patient.session.game.prompt.tip
        patient.press(Action.AUTOPLAY)
        patient.until(
            lambda session: session.game.prompt.tip.depth >= tip.depth + 12 or not session.game.pressed.autoplay
        )
        path = patient.session.game.prompt.tip.path()[tip.depth :][:12]
        nodes = patient.session.game.prompt.tip.nodes(tip.depth)[:12]
    finally:
        patient.game.close()
    assert path == sample["tokens"][: len(path)] and len(path) >= len(sample["tokens"]) - 1
    if len(path) == 12:
        logprob = math.fsum(node.taken.logprob for node in nodes if node.taken)
        assert sample["logprob"] == pytest.approx(logprob)


def test_without_a_chain_the_models_own_distribution_is_drawn_from(
    capsys: pytest.CaptureFixture[str], model: list[str]
) -> None:
    rows = played(capsys, *model)["next"]["candidates"]
    samples = drawn(capsys, *model, "--draw", "400", "--seed", "1", "-n", "1")
    count = sum(one["tokens"] == [rows[0]["id"]] for one in samples)
    expected, prob = 400 * rows[0]["prob"], rows[0]["prob"]
    assert abs(count - expected) < 5 * math.sqrt(expected * (1 - prob)) + 1
    assert len({one["tokens"][0] for one in samples}) > 20, "not greedy"
    (likely,) = {one["logprob"] for one in samples if one["tokens"] == [rows[0]["id"]]} or {rows[0]["logprob"]}
    assert likely == pytest.approx(rows[0]["logprob"])


def test_a_sample_ends_with_the_model_or_with_the_context(capsys: pytest.CaptureFixture[str], model: list[str]) -> None:
    told = played(capsys, *model)
    end = played(capsys, *model[:3], END)["tokens"][-1]["id"]
    samples = drawn(capsys, *model, "--samplers", "", "-l", f"{end}+1000", "--draw", "2", "--seed", "1")
    assert [(one["tokens"], one["text"], one["finished"]) for one in samples] == [([end], "", True)] * 2
    room = 300
    full = drawn(capsys, *model, "-c", str(room), "--draw", "1", "-n", "-1", "--seed", "1", "-l", f"{end}-inf")
    assert not full[0]["finished"]
    assert len(told["tokens"]) + len(full[0]["tokens"]) == room


def test_where_nothing_is_left_there_is_no_sample(capsys: pytest.CaptureFixture[str], model: list[str]) -> None:
    size = played(capsys, *model)["model"]["vocab_size"]
    banned = [word for token in range(size) for word in ("-l", f"{token}-inf")]
    following = played(capsys, *model, "--samplers", "", *banned)["next"]
    assert (following["kept"], following["kept_mass"]) == (0, 0)
    assert {row["cut_by"] for row in following["candidates"]} == {"logit bias"}
    (sample,) = drawn(capsys, *model, "--samplers", "", *banned, "--draw", "1", "--seed", "1")
    assert sample == {"seed": 1, "text": "", "logprob": 0, "tokens": [], "finished": False}


def test_the_constraint_goes_to_the_engine_from_its_start_on(
    tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Request] = []
    send = EngineClient.send

    def noted(self: EngineClient, request: Request) -> None:
        asked.append(request)
        send(self, request)

    monkeypatch.setattr(EngineClient, "send", noted)
    arguments = ("--model", str(tiny["qwen2"]), "--prompt", TEXT, "--regex", "[a-z ]+", "--json")
    limit = Constraint(ConstraintKind.REGEX, "[a-z ]+")
    for more, start in (((), None), (("--constraint-start", "0"), 0), (("--constraint-start", "2"), 2)):
        asked.clear()
        main.main([*arguments, *more])
        (evaluation,) = (one for one in asked if isinstance(one, Evaluate))
        begins = len(evaluation.path) if start is None else start
        assert evaluation.lens == Sampled(NO_CHAIN, limit, begins)
    capsys.readouterr()


def test_a_constraint_that_begins_behind_the_prompt_says_where(
    model: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    count = len(played(capsys, *model)["tokens"])
    for asked in (0, count, count + 1):
        assert main.main([*model, "--json", "--regex", "[a-z ]+", "--constraint-start", str(asked)]) == 0
        said = capsys.readouterr()
        told = f"the prompt has {count} tokens, and not {asked}: the constraint begins at its end"
        assert json.loads(said.out)["notices"] == ([told] if asked > count else [])
        assert said.err == (f"tokex-gguf: {told}\n" if asked > count else "")


@pytest.mark.parametrize(
    ("arguments", "standing"),
    [
        (("--regex", "[a-z ]+"), "the text must go on"),
        (("--regex", "[a-z ]*"), "the text may end here"),
        (("--regex", "[a-z ]+", "--constraint-start", "0"), "the text may end here"),
        (("--regex", "[0-9]+", "--constraint-start", "0"), "the text breaks it at token 1"),
    ],
)
def test_plain_text_says_in_words_where_the_text_stands(
    arguments: tuple[str, ...], standing: str, model: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*model, "--plain", *arguments]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next:")]
    assert line.endswith(f", and {standing}")


def test_an_interruption_is_one_line_and_what_was_drawn_stands(model: list[str]) -> None:
    command = [sys.executable, "-m", "tokex_gguf", *model, "--draw", "1000000", "-n", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, told = process.communicate(timeout=120)
    assert process.returncode == 130 and told.endswith(b"tokex-gguf: interrupted\n") and b"Traceback" not in told
    assert all(len(json.loads(line)["tokens"]) for line in [first, *rest.splitlines()])


def test_options_are_declared_once() -> None:
    actions = [one for one in make_parser()._actions if not isinstance(one, argparse._HelpAction)]
    names = [name for one in actions for name in one.option_strings]
    assert len(names) == len(set(names))


def test_samples_of_a_text_that_ends_inside_a_character(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether its tokens are the tokenizer's is a question that is never answered."""
    file = tiny_models.qwen2(tmp_path, "cut", without=b"\xa9")
    assert main.main(["--no-config", "--model", str(file), "-p", "hello é", "--draw", "1", "-n", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
