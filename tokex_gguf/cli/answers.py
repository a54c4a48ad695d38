"""The answers that may follow the prompt, without a terminal: as JSON, or as text to read."""

from collections.abc import Mapping
from typing import Any

from tokex_gguf.cli.report import EvaluationFailed, probability
from tokex_gguf.play.actions import Action
from tokex_gguf.play.fan import Fan, FanState
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.values.fan_out import EMPTY, tokens_of
from tokex_gguf.values.formatting import counted
from tokex_gguf.values.lens import RAW
from tokex_gguf.values.stops import describe_stop, written
from tokex_gguf.values.tokens import label, visible

NOT_FINAL = "answers are the model's own: samplers and constraints do not count in their probabilities"


def find(runtime: Runtime) -> Fan:
    """Finds the answers that may follow the evaluated prompt of a game. Raises EvaluationFailed."""
    runtime.dispatch(Action.ANSWERS)
    while True:
        session = runtime.session
        if not session.game.results.fans:
            raise EvaluationFailed(session.notice, usage=False)
        fan = session.game.results.fans[-1]
        if session.game.engine is EngineStatus.DEAD:
            raise EvaluationFailed(session.game.engine_lost(session.game.health.fault), usage=False)
        if fan.state is FanState.FAULT:
            raise EvaluationFailed(fan.fault, usage=False)
        if fan.state is not FanState.RUNNING:
            return fan
        runtime.wait()


def notices(runtime: Runtime) -> list[str]:
    """Remarks on the numbers."""
    return [] if runtime.session.lens is RAW else [NOT_FINAL]


def with_answers(report: Mapping[str, Any], fan: Fan, count: int) -> dict[str, Any]:
    """The numbers of a prompt with the likeliest answers; docs/reference/json.md describes the fields."""
    seen, unexplored, cut = fan.out.coverage
    answers = [
        {
            "text": answer.text.decode("utf-8", "replace"),
            "prob": answer.prob,
            "logprob": answer.logprob,
            "paths": answer.paths,
            "tokens": [token for token, _ in tokens_of(answer, fan.out.base)],
        }
        for answer in fan.out.ranked()[:count]
    ]
    return {
        **{name: value for name, value in report.items() if name != "notices"},
        "answers": answers,
        "coverage": {"seen": seen, "open": unexplored, "cut": cut},
        "until": written(fan.out.stop),
        "looked": fan.out.looked,
        "notices": report["notices"],
    }


def lines(fan: Fan, count: int) -> list[str]:
    """The answers as lines to read."""
    count_text = counted(fan.out.answers, "answer")
    rows = [
        f"answers until {describe_stop(fan.out.stop)}: {count_text} in {counted(fan.out.looked, 'token')}",
        fan.out.coverage.text,
    ]
    rows.append(f"{'prob':>10} {'logprob':>9} {'paths':>6} {'tokens':>6}  answer")
    for answer in fan.out.ranked()[:count]:
        tokens = len(tokens_of(answer, fan.out.base))
        text = label(answer.text) or EMPTY
        rows.append(f"{probability(answer.prob):>10} {answer.logprob:>9.4f} {answer.paths:>6} {tokens:>6}  {text}")
    return list(map(visible, rows))
