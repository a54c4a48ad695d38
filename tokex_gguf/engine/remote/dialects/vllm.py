"""vLLM: all positions of a prompt in one call, with exact ranks; 20 candidates, unless it was started with more.

- For settings that are not sent, it uses those of the model's own file. So all are sent.
- Positions of a prompt are never read from its cache; the distribution after a path is.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tokex_gguf.engine.remote.dialects import checks
from tokex_gguf.engine.remote.dialects.by_text import FLOOR, TextVocabulary, listed
from tokex_gguf.engine.remote.dialects.checks import dig, found
from tokex_gguf.engine.remote.dialects.dialect import (
    Call,
    CallRefused,
    Changed,
    InvalidAnswer,
    Served,
    ServerAnswer,
    Steps,
    UnsupportedServer,
)
from tokex_gguf.values.tokens import Piece

SAYS_SIZE = (0, 11)
"""The first version that certainly refuses a bias of a token outside the vocabulary."""
PROBED = 1000
"""Candidates requested while connecting, to find the limit from the refusal."""
RANKED = 4096
"""The most tokens of a path that are read again for a rank."""
ROOM = 48 << 20
"""The most bytes of an answer about a prompt's positions."""
ROW = 160
"""The most bytes of a candidate in it, except for rare ones."""
PLAIN = {
    "temperature": 0,
    "top_p": 1,
    "min_p": 0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "max_tokens": 1,
    "stream": False,
    "return_tokens_as_token_ids": True,
}
"""Settings for all calls, which override the model's own."""


class VLLM(TextVocabulary):
    """One model of a vLLM server."""

    def __init__(self, model: str) -> None:
        """Knows nothing of the server before `connect`."""
        super().__init__(model)
        self._served: Served | None = None
        self._candidates = 1
        self._fingerprint: object = None

    @property
    def served(self) -> Served:
        """The server's properties."""
        assert self._served is not None
        return self._served

    def connect(self, row: Mapping[str, Any]) -> Steps["VLLM"]:
        """Finds out the server's properties. `row`: the model's entry in its list."""
        context = checks.count(row.get("max_model_len"))
        if not context:
            raise InvalidAnswer("a context that is none")
        version = checks.name(found((yield Call("/version")), "version"))
        letter = yield from self._ids("a", first=False)
        self._vocab_size = (yield from self._size(letter)) if _at_least(version, SAYS_SIZE) else 0
        bos, ids = yield from self._begin()
        self._candidates = yield from self._most_candidates(letter)
        # With a forced token, the other tokens keep their probabilities only if these are raw.
        answer = yield Call(
            "/v1/completions", self._body([letter], min(self._candidates, 5), allowed_token_ids=letter[:1])
        )
        rows = dig(answer, "choices", 0, "logprobs", "top_logprobs", 0)
        values = list(rows.values()) if isinstance(rows, dict) else []
        if sum(checks.logprob(value, FLOOR) > FLOOR for value in values) < 2:
            raise UnsupportedServer(
                "this vLLM tells what its samplers leave: start it with --logprobs-mode raw_logprobs"
            )
        self._fingerprint = found(answer, "system_fingerprint")
        name, root = checks.name(row.get("id")), checks.name(row.get("root"))
        self._served = Served(
            software=f"vLLM {version}".rstrip(),
            model=name.rstrip("/").rpartition("/")[2] or name,
            identity=checks.digest("vLLM", name, root, self._vocab_size, ids),
            context=context - 1,
            vocab_size=self._vocab_size,
            candidates=self._candidates,
            at_once=True,
            exact_ranks=True,
            searchable=0 < self._vocab_size <= self._candidates,
            has_second_cache=True,
            bos=bos,
            space_prefix=self._space_prefix,
        )
        return self

    def identity(self) -> Steps[str]:
        """The current `Served.identity`."""
        row = yield from listed(self._model)
        ids = yield from self._ids(checks.FINGERPRINTED, first=True)
        name, root = checks.name(row.get("id")), checks.name(row.get("root"))
        return checks.digest("vLLM", name, root, self._vocab_size, ids)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> Steps[list[int]]:
        """The ids of a chat by the model's own template."""
        body = {"model": self._model, "messages": [dict(one) for one in messages], "add_generation_prompt": True}
        answer = yield Call("/tokenize", body, 16 << 20)
        return checks.tokens(dig(answer, "tokens"), self._vocab_size, 1 << 22)

    def along(self, path: Sequence[int], start: int, top: int) -> Steps[list[ServerAnswer]]:
        """The answers at positions: one call, whose answer also has all earlier positions."""
        top = max(min(top, self._candidates, ROOM // (ROW * len(path))), 1)
        most = ROW * (top + 2) * (len(path) + 1) + (1 << 20)
        answer = yield Call("/v1/completions", self._body([path], top, prompt_logprobs=top), most)
        places = self._choices(answer, 1)[0].get("prompt_logprobs")
        if not isinstance(places, list) or len(places) != len(path):
            raise InvalidAnswer("not as many positions as the prompt has")
        answers = []
        for place in range(start + 1, len(path)):
            rows = places[place]
            if not isinstance(rows, dict) or str(path[place]) not in rows:
                raise InvalidAnswer("a position without the token that is there")
            pairs = [(_id(key), dig(row, "logprob")) for key, row in rows.items()]
            asked_logprob = checks.logprob(dig(rows[str(path[place])], "logprob"), FLOOR)
            one = self._distribution(pairs, top, path[place], asked_logprob)
            answers.append(_ranked(one, found(rows[str(path[place])], "rank")))
        return [*answers, self._next(self._choices(answer, 1)[0], None, top)]

    def vocabulary(self, path: Sequence[int]) -> Steps[tuple[ServerAnswer, dict[int, Piece]]]:
        """The whole distribution after a path, and the pieces of all tokens."""
        return (yield from self._all_of(path))

    # --- calls

    def _ids(self, text: str, *, first: bool) -> Steps[list[int]]:
        body = {"model": self._model, "prompt": text, "add_special_tokens": first}
        most = len(text.encode()) + 8
        answer = yield Call("/tokenize", body, 64 * most + (1 << 16))
        return checks.tokens(dig(answer, "tokens"), self._vocab_size, most)

    def _text(self, tokens: Sequence[int]) -> Steps[str]:
        answer = yield Call("/detokenize", {"model": self._model, "tokens": list(tokens)})
        text = dig(answer, "prompt")
        if not isinstance(text, str):
            raise InvalidAnswer("a text that is none")
        return text

    def _forced(self, token: int) -> Steps[tuple[bool, bool]]:
        answer = yield Call("/v1/completions", self._body([self._separator], 1, allowed_token_ids=[token]))
        choice = self._choices(answer, 1)[0]
        return choice.get("finish_reason") == "stop", choice.get("text") == ""

    def _generate(self, paths: Sequence[Sequence[int]], asked: int | None, top: int) -> Steps[list[ServerAnswer]]:
        top = min(top, self._candidates)
        more = {} if asked is None else {"allowed_token_ids": [asked]}
        answer = yield Call(
            "/v1/completions", self._body(paths, top, **more), len(paths) * (ROW * (top + 2) + (1 << 16))
        )
        answers = [self._next(choice, asked, top) for choice in self._choices(answer, len(paths))]
        for place, (path, one) in enumerate(zip(paths, answers, strict=True)):
            if asked is not None and one.rank is None and len(path) <= RANKED:
                answers[place] = _ranked(one, (yield from self._rank(path, asked)))
        return answers

    def _rank(self, path: Sequence[int], token: int) -> Steps[object]:
        """The rank of a token after a path, read as the last position of a prompt."""
        answer = yield Call(
            "/v1/completions", self._body([[*path, token]], 1, prompt_logprobs=0), ROW * len(path) + (1 << 20)
        )
        return found(self._choices(answer, 1)[0], "prompt_logprobs", -1, str(token), "rank")

    def _body(self, paths: Sequence[Sequence[int]], top: int, **more: object) -> dict[str, object]:
        return {"model": self._model, "prompt": [list(path) for path in paths], "logprobs": top, **PLAIN, **more}

    def _choices(self, answer: object, count: int) -> list[dict[str, Any]]:
        """The choices of an answer, in the order of the questions."""
        if self._fingerprint is not None and found(answer, "system_fingerprint") != self._fingerprint:
            raise Changed("another model than before")
        choices = dig(answer, "choices")
        if not isinstance(choices, list) or len(choices) != count:
            raise InvalidAnswer("not as many answers as questions")
        places = [found(choice, "index") for choice in choices]
        if any(type(place) is not int for place in places) or sorted(places) != list(range(count)):
            raise InvalidAnswer("answers without their numbers")
        return [choices[places.index(place)] for place in range(count)]

    def _next(self, choice: object, asked: int | None, top: int) -> ServerAnswer:
        rows = dig(choice, "logprobs", "top_logprobs", 0)
        if not isinstance(rows, dict) or len(rows) > top + 1:
            raise InvalidAnswer("more tokens than were asked for")
        pairs = [(_id(key), value) for key, value in rows.items()]
        asked_logprob = None
        if asked is not None:
            if dig(choice, "logprobs", "tokens", 0) != f"token_id:{asked}":
                raise InvalidAnswer("another token than it was told to generate")
            asked_logprob = checks.logprob(dig(choice, "logprobs", "token_logprobs", 0), FLOOR)
        return self._distribution(pairs, top, asked, asked_logprob)

    def _distribution(
        self, pairs: list[tuple[int, object]], top: int, asked: int | None, asked_logprob: float | None
    ) -> ServerAnswer:
        """An answer from the rows at a position: the likeliest tokens, and perhaps the token there as one more."""
        if len(pairs) == top + 1:
            last = asked if asked is not None else min(pairs, key=lambda pair: checks.logprob(pair[1], FLOOR))[0]
            pairs = [pair for pair in pairs if pair[0] != last]
        return checks.distribution(pairs, self._vocab_size, top, FLOOR, asked, asked_logprob)

    def _size(self, letter: list[int]) -> Steps[int]:
        """The vocabulary's size, which the server gives when it refuses a token outside it; 0: not known."""
        try:
            yield Call("/v1/completions", self._body([letter], 1, logit_bias={str(checks.LARGEST_ID): 1}))
        except CallRefused as refused:
            match = re.search(r"vocab(?:ulary)?[ _]size:? *(\d{1,9})", str(refused), re.IGNORECASE)
            return int(match[1]) if match else 0
        return 0

    def _most_candidates(self, letter: list[int]) -> Steps[int]:
        """The most candidates of a distribution."""
        try:
            yield Call("/v1/completions", self._body([letter], PROBED))
        except CallRefused as refused:
            match = re.search(r"max(?:imum)? allowed: *(\d{1,9})", str(refused), re.IGNORECASE)
            if match and int(match[1]) > 0:
                return int(match[1])
            if refused.status == 400:
                raise UnsupportedServer(
                    "this vLLM gives no log-probabilities: start it with --max-logprobs 100"
                ) from None
            raise
        return PROBED


def _id(key: object) -> int:
    match = re.fullmatch(r"(?:token_id:)?([0-9]{1,10})", key) if isinstance(key, str) else None
    if match is None:
        raise InvalidAnswer("a token without its id")
    return int(match[1])


def _at_least(version: str, wanted: tuple[int, int]) -> bool:
    match = re.match(r"(\d{1,6})\.(\d{1,6})", version)
    return match is not None and (int(match[1]), int(match[2])) >= wanted


def _ranked(answer: ServerAnswer, rank: object) -> ServerAnswer:
    """The answer with the rank of a requested token that is not a candidate."""
    if answer.rank is not None:
        return answer
    if type(rank) is not int or not 1 <= rank <= checks.LARGEST_ID:
        raise InvalidAnswer("a rank that is none")
    return ServerAnswer(answer.ids, answer.logprobs, answer.asked, max(rank, len(answer.ids) + 1))
