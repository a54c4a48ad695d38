"""The numbers of a model on a server as JSON and as text: what has bounds says so, and the rest is as it is."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from tests import fake
from tests.fake import GIVEN, SERVED, Served, served, started
from tokex_gguf.cli import draw, report
from tokex_gguf.engine.protocol import Capability, Failed, Reply, Request, Walk
from tokex_gguf.play.game import Sampling
from tokex_gguf.play.session import Session
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.values.samplers import Chain, Kind, Sampler


class Game:
    """A game that is played without a screen: each wait brings one answer."""

    quit = None

    def __init__(self, play: Served) -> None:
        self._play = play
        self._answers: list[Any] = []

    @property
    def session(self) -> Session:
        return self._play.session

    def wait(self) -> None:
        if not self._answers:
            self._answers = list(self._play.replies(self._play.asked.pop(0)))
        self._play.take(self._answers.pop(0))


def evaluated(play: Served) -> Session:
    return report.evaluate(cast(Runtime, Game(play)))


def test_the_whole_prompt_is_waited_for() -> None:
    session = evaluated(Served("hello world"))
    told = report.as_json(session, [])
    assert all(token["logprob"] is not None for token in told["tokens"][1:])
    assert told["perplexity"] is not None and "perplexity" in report.as_text(session)


def test_a_walk_that_is_refused_ends_it_with_the_reason() -> None:
    class Refusing(Served):
        def replies(self, request: Request) -> Iterator[Reply]:
            if isinstance(request, Walk):
                yield Failed(request.request, "the server says no")
            else:
                yield from super().replies(request)

    with pytest.raises(report.EvaluationFailed, match="the server says no"):
        evaluated(Refusing("hello world"))


def test_bounds_stand_beside_the_numbers_in_json() -> None:
    session = served("hello world").session
    told = json.loads(json.dumps(report.as_json(session, [])))
    nodes = session.game.prompt.tip.nodes()
    bounded = 0
    for node, token in zip(nodes[1:], told["tokens"][1:], strict=True):
        true = fake.distribution(node.path()[:-1], 1).entropy_bits
        assert token["entropy_bits"] <= true <= token["entropy_bits_max"]
        exact = fake.taken(node.path()[:-1], node.token)
        if exact.rank <= GIVEN:
            assert token["rank"] == exact.rank and "rank_at_least" not in token
        else:
            assert token["rank"] is None and token["rank_at_least"] == GIVEN + 1
            bounded += 1
    assert bounded
    assert told["next"]["entropy_bits_max"] > told["next"]["entropy_bits"]
    assert [row["rank"] for row in told["next"]["candidates"]] == list(range(1, GIVEN + 1))
    assert told["model"]["server"] == "127.0.0.1:8080" and told["model"]["software"] == "llama-server b11434"
    assert told["model"]["candidates"] == GIVEN and "path" not in told["model"]


def test_exact_numbers_have_none() -> None:
    told = json.dumps(report.as_json(started("hello world").session, []))
    assert "entropy_bits_max" not in told and "rank_at_least" not in told and '"server"' not in told


def test_text_has_the_same_bounds_in_columns() -> None:
    session = served("hello world").session
    lines = report.as_text(session).splitlines()
    assert lines[0] == "model: Served (fake, Q4_0)"
    assert lines[1] == f"server: 127.0.0.1:8080 (llama-server b11434, which gives {GIVEN} candidates)"
    distribution = session.game.prompt.tip.distribution
    assert distribution is not None
    low, high = distribution.entropy_bits, distribution.most_bits
    assert f"next: entropy {low:.3f}–{high:.3f} bits" in lines
    rows = lines[4:14]
    assert any(f" > {GIVEN} " in row for row in rows) and all("–" in row for row in rows)
    tokens = [index for index, row in enumerate(lines) if row.endswith("token")]
    assert tokens == [3] and len({row.index("␣") for row in rows}) == 1, "columns stay columns"


def test_samplers_and_samples_say_why_they_cannot_be() -> None:
    play = served("hello")
    with pytest.raises(report.EvaluationFailed, match="this server gives 10 candidates of a distribution: samplers"):
        next(draw.samples(cast(Runtime, Game(play)), 1, 0))
    chain = Chain((Sampler.of(Kind.TOP_K, 5),))
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling(chain)))
    with pytest.raises(report.EvaluationFailed, match="samplers need all of it"):
        evaluated(play)


def test_an_engine_of_few_words_is_told_of_as_an_engine() -> None:
    play = started("hello")
    model = replace(SERVED, candidates=0, server="", capabilities=frozenset(Capability) - {Capability.SAMPLERS})
    play.session = replace(play.session, game=replace(play.session.game, model=model))
    assert play.session.game.cannot(Capability.SAMPLERS) == "this engine has no samplers"
    assert play.session.game.cannot(Capability.CONSTRAINTS) == ""
