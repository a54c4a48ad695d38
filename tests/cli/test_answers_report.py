"""Answers without a terminal: real engines, and an enumeration by plain llama.cpp."""

import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from tests.cli.test_sampling import elsewhere
from tests.sampling import few
from tokex_gguf.cli import main
from tokex_gguf.values.fan_out import CUT_OFF

__all__ = ["elsewhere"]

TEXT = "once upon a time there was the cat"
PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
SCHEMA = {
    "type": "object",
    "required": ["answers", "coverage", "until", "looked"],
    "properties": {
        "answers": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["text", "prob", "logprob", "paths", "tokens"],
                "properties": {
                    "text": {"type": "string"},
                    "prob": PROBABILITY,
                    "logprob": {"type": "number", "maximum": 0},
                    "paths": {"type": "integer", "minimum": 1},
                    "tokens": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
                },
            },
        },
        "coverage": {
            "type": "object",
            "additionalProperties": False,
            "required": ["seen", "open", "cut"],
            "properties": dict.fromkeys(("seen", "open", "cut"), PROBABILITY),
        },
        "until": {"type": "string"},
        "looked": {"type": "integer", "minimum": 1},
    },
}


@pytest.fixture
def model(tiny: dict[str, Path]) -> list[str]:
    """Arguments that name a small model and a prompt."""
    return ["--no-config", "--model", str(tiny["qwen2"]), "--prompt", TEXT]


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What the program prints as JSON."""
    assert main.main([*arguments, "--json"]) == 0, capsys.readouterr().err
    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, SCHEMA)  # type: ignore[no-untyped-call]
    assert math.fsum(told["coverage"].values()) == pytest.approx(1.0, abs=1e-9)
    probs = [one["prob"] for one in told["answers"]]
    assert probs == sorted(probs, reverse=True)
    return told


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The line with which wrong arguments are refused."""
    assert main.main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1
    return told.err


def test_all_pairs_of_tokens_are_those_of_plain_llama_cpp(
    tiny: dict[str, Path], model: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.fresh import Fresh

    told = found(
        capsys, *model, "--answers", "100000", "--until", "2 tokens", "--coverage", "100", "--budget", "100000"
    )
    path = [token["id"] for token in told["tokens"]]
    fresh = Fresh(tiny["qwen2"])

    def candidates(path: list[int]) -> list[tuple[int, float]]:
        """The hundred likeliest, with their probabilities: as many as are kept of a distribution."""
        logits = fresh.logits(path)[-1].astype(np.float64)
        probs = np.exp(logits - logits.max())
        probs /= probs.sum()
        return [(int(token), float(probs[token])) for token in np.argsort(-probs, kind="stable")[:100]]

    pairs: dict[tuple[int, ...], float] = {}
    for token, prob in candidates(path):
        if prob < CUT_OFF:
            continue
        for second, then in candidates([*path, token]):
            if prob * then >= CUT_OFF:
                pairs[token, second] = prob * then
    fresh.close()
    seen = math.fsum(pairs.values())
    assert told["coverage"]["open"] == 0
    assert told["coverage"]["seen"] == pytest.approx(seen, rel=1e-3)
    assert told["coverage"]["cut"] == pytest.approx(1 - seen, abs=2e-3)
    single = [one for one in told["answers"] if one["paths"] == 1 and tuple(one["tokens"]) in pairs]
    assert len(single) > 0.5 * len(told["answers"])
    for one in single[:500]:
        assert one["prob"] == pytest.approx(pairs[tuple(one["tokens"])], rel=2e-2)
        assert one["logprob"] == pytest.approx(math.log(one["prob"]), abs=1e-9)
    assert sum(one["paths"] for one in told["answers"]) == pytest.approx(len(pairs), rel=0.02)


def test_each_budget_ends_it(model: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    few = found(capsys, *model, "--answers", "3", "--until", "end", "--budget", "20", "--coverage", "100")
    assert few["looked"] == 20 and len(few["answers"]) <= 3 and few["until"] == "end"
    enough = found(capsys, *model, "--answers", "3", "--until", "1 token", "--coverage", "10%")
    assert enough["coverage"]["seen"] >= 0.1 and enough["looked"] == 1
    timed = found(capsys, *model, "--answers", "3", "--until", "text:end", "--seconds", "1", "--budget", "100000")
    assert timed["looked"] < 100_000 or timed["coverage"]["open"] == 0


def test_samplers_do_not_count_and_that_is_told(model: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    plain = found(capsys, *model, "--answers", "5", "--until", "1 token")
    told = found(capsys, *model, "--answers", "5", "--until", "1 token", "--temp", "0.5")
    assert told["answers"] == plain["answers"]
    assert any("samplers and constraints do not count" in notice for notice in told["notices"])


@pytest.mark.parametrize("shape", few([[], ["--plain"]], of=2))
def test_it_is_told_as_text(shape: list[str], model: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([*model, *shape, "--answers", "4", "--until", "2 tokens"]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("answers until 2 tokens"))
    assert "of the mass seen" in lines[place + 1]
    assert lines[place + 2].split() == ["prob", "logprob", "paths", "tokens", "answer"]
    assert len(lines) == place + 3 + 4


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--until", "line"), "--until is for --answers"),
        (("--budget", "3"), "--budget is for --answers"),
        (("--answers", "3", "--draw", "2"), "leave one of them out"),
        (("--answers", "0"), "expected a whole number"),
        (("--answers", "3", "--until", ""), "a text that ends an answer has a character"),
        (("--answers", "3", "--until", "0 tokens"), "an answer has 1 to 1,000 tokens"),
        (("--answers", "3", "--coverage", "101"), "expected percent"),
        (("--answers", "3", "--coverage", "5e-324"), "expected percent"),
        (("--answers", "3", "--coverage", "nan"), "expected percent"),
        (("--answers", "3", "--versus", "x.gguf"), "--answers are one model's"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    arguments: tuple[str, ...], why: str, model: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert why in refused(capsys, *model, *arguments)


def test_an_interruption_is_one_line_and_comes_at_once(model: list[str]) -> None:
    command = [sys.executable, "-m", "tokex_gguf", *model, "--answers", "3", "--until", "end", "--budget", "10000000"]
    command += ["--coverage", "100", "--temp", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr
        while b"samplers and constraints" not in process.stderr.readline():
            pass  # it is told right before the first answer is looked for
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=60)
    assert process.returncode == 130 and told.endswith(b"tokex-gguf: interrupted\n") and out == b""
