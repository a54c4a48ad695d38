"""What a chain leaves here, and what a real llama-server says it left: `post_sampling_probs`, whole.

The server is of the same sources, and decodes in the same pieces: its logits are the engine's, bit for bit. It computes
chances in single precision and adds them up in any order, so that they do not add up to 1; but for that they are equal.
"""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import servers
from tests.engine.test_samplers import Scene, applied, scene
from tests.fresh import open_model
from tests.plain_samplers import any_chain, xtc_each_time
from tests.sampling import few
from tests.servers import LlamaServer
from tokex_gguf.values.sampler_text import json_of
from tokex_gguf.values.samplers import CREATIVE, DEFAULT, GREEDY, NO_CHAIN, Chain, Kind

SEED = int(os.environ.get("SAMPLING_SEED", "1"))
CHAINS, PARTS = 60, 6
SINGLE = 4e-7
"""By how much a chance in single precision may be off, in relation to their sum."""
LEAST = 1e-44
"""The smallest chance but 0, in single precision; a server says nothing of a token with none."""


@pytest.fixture(scope="module")
def place(model_path: Path) -> Scene:
    return scene(open_model(model_path))


@pytest.fixture(scope="module")
def server(model_path: Path) -> Iterator[LlamaServer]:
    with servers.llama_server(model_path) as one:
        yield one


def answer(server: LlamaServer, place: Scene, where: int, **question: Any) -> dict[str, Any]:
    """What the server says of the token after a path, decoded anew."""
    told = server.ask(
        "POST",
        "/completion",
        {
            "prompt": place.places[where][0],
            "n_predict": 1,
            "n_probs": place.vocabulary.size,
            "cache_prompt": False,
            "seed": SEED,
            **question,
        },
    )
    [one] = told["completion_probabilities"]
    found: dict[str, Any] = one
    return found


def far(server: LlamaServer, place: Scene, chain: Chain, where: int) -> tuple[float, int]:
    """How far a chance is from the server's at the most, its sum made 1; and how many tokens are left."""
    left = applied(place, chain, where)
    ours = dict(zip(left.ids.tolist(), left.finals.tolist(), strict=True))
    told = answer(server, place, where, post_sampling_probs=True, **json.loads(json_of(chain)))["top_probs"]
    theirs = {one["id"]: one["prob"] for one in told}
    if not ours:
        # Where an XTC leaves a token that was cut before, nothing can be drawn here. llama.cpp draws it.
        assert "XTC" in " ".join(stage.note for stage in left.stages)
        assert len(theirs) == 1
        return 0.0, 0
    assert {token for token, chance in ours.items() if chance > LEAST} <= theirs.keys() <= ours.keys()
    total = sum(theirs.values())
    assert abs(total - 1) < 1e-3
    return max(abs(ours[token] - theirs.get(token, 0.0) / total) for token in ours), len(ours)


@pytest.mark.thorough
def test_the_logits_are_the_servers(server: LlamaServer, place: Scene) -> None:
    """But for the sum of all, which it adds up in single precision: the same for each token."""
    for where, (_, row, log_sum) in enumerate(place.places):
        told = answer(server, place, where, temperature=0, samplers=["temperature"])["top_logprobs"]
        assert len(told) == place.vocabulary.size
        ids = np.array([one["id"] for one in told])
        differences = np.array([one["logprob"] for one in told]) - (row[ids] - log_sum)
        assert differences.max() - differences.min() < 8e-6, "the last digits of a logarithm"
        assert abs(differences).max() < 5e-4


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["DEFAULT", "CREATIVE", "GREEDY", "NO_CHAIN"])
def test_presets_leave_what_a_server_leaves(name: str, server: LlamaServer, place: Scene) -> None:
    chain = xtc_each_time({"DEFAULT": DEFAULT, "CREATIVE": CREATIVE, "GREEDY": GREEDY, "NO_CHAIN": NO_CHAIN}[name])
    for where in range(len(place.places)):
        worst, _ = far(server, place, chain, where)
        assert worst < SINGLE, (name, where)


@pytest.mark.thorough
def test_the_default_chain_is_what_a_server_does_by_itself(server: LlamaServer, place: Scene) -> None:
    """Nothing of it is told."""
    for where in range(len(place.places)):
        told = answer(server, place, where, post_sampling_probs=True)["top_probs"]
        left = applied(place, DEFAULT, where)
        ours = dict(zip(left.ids.tolist(), left.finals.tolist(), strict=True))
        assert ours == pytest.approx({one["id"]: one["prob"] for one in told}, abs=1e-5)


@pytest.mark.parametrize("part", few(range(PARTS), of=PARTS))
def test_any_chain_leaves_what_a_server_leaves(part: int, server: LlamaServer, place: Scene) -> None:
    """Also mirostat and adaptive-p at their beginning; an XTC comes each time, or never."""
    several = 0
    for number in range(part, CHAINS, PARTS):
        chance = random.Random(f"{SEED} server {number}")
        where = chance.randrange(len(place.places))
        chain = any_chain(chance, place.places[where][1])
        if chance.random() < 0.5 and (one := chain.get(Kind.TEMPERATURE)):  # one at 0 leaves a token alone
            chain = replace(chain, samplers=tuple(x.with_value(0, 1.5) if x is one else x for x in chain.samplers))
        chain = xtc_each_time(chain)
        worst, left = far(server, place, chain, where)
        assert worst < SINGLE, f"SAMPLING_SEED={SEED}, chain {number} at {where}: {chain}"
        several += left > 1
    assert several > CHAINS / PARTS / 4
