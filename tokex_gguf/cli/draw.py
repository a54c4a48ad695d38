"""Samples of a text's continuation, drawn as by autoplay."""

import math
from collections.abc import Iterator
from typing import Any

from tokex_gguf.cli.report import FIRST_REQUEST, EvaluationFailed
from tokex_gguf.engine.protocol import GOES_ON, Capability, Continue, Continued, EngineDied, EngineFailed, Failed
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.values.distribution import TokenLogprob
from tokex_gguf.values.lens import as_sampled
from tokex_gguf.values.random_numbers import RANDOM_SEED


def samples(runtime: Runtime, count: int, most: int) -> Iterator[dict[str, Any]]:
    """`count` samples of the evaluated prompt's continuation; docs/reference/json.md describes the fields.

    The first has the game's seed, and each further one a seed that is one higher. `most`: tokens of a sample at the
    most, with the token that ends it; 0: no limit but the context. Raises EvaluationFailed.
    """
    if reason := runtime.session.game.cannot(Capability.SAMPLERS):
        raise EvaluationFailed(reason, usage=False)
    while runtime.session.game.owed:  # an answer to an earlier request would end a sample
        runtime.wait()
    for index in range(count):
        yield _sample(runtime, FIRST_REQUEST + index, (runtime.session.game.sampling.seed + index) % RANDOM_SEED, most)


def _sample(runtime: Runtime, number: int, seed: int, most: int) -> dict[str, Any]:
    session = runtime.session
    path: list[int] = session.game.prompt.tip.path()
    tokens: list[int] = []
    taken: list[TokenLogprob] = []
    # Without a chain, tokens are drawn from the model's whole distribution.
    for reply in runtime.ask(Continue(number, path, 1, as_sampled(session.lens), seed, most)):
        match reply:
            case Continued(request=request) if request == number:
                tokens += reply.tokens
                taken += reply.taken
                if reply.end >= 0:
                    tokens.append(reply.end)
                if reply.end != GOES_ON:
                    break
            case Failed(request=request) if request == number and reply.context is not None:
                break  # the context's end
            case Failed(request=request) if request == number:
                raise EvaluationFailed(reply.reason, usage=session.game.sampling.constraint is not None)
            case EngineFailed(reason):
                raise EvaluationFailed(reason, usage=session.game.sampling.constraint is not None)
            case EngineDied():
                raise EvaluationFailed(runtime.session.game.engine_lost(reply.reason), usage=False)
            case _:
                pass
    drawn = tokens[1:]  # the first is the prompt's last one
    pieces = [session.game.piece(token) for token in drawn]
    finished = bool(pieces) and pieces[-1].ends
    text = b"".join(piece.data for piece in (pieces[:-1] if finished else pieces))
    logprob = math.fsum(token.logprob for token in taken)
    return {
        "seed": seed,
        "text": text.decode("utf-8", "replace"),
        "logprob": logprob if math.isfinite(logprob) else None,
        "tokens": drawn,
        "finished": finished,
    }
