"""SGLang: all positions of a prompt in one call, any number of candidates, no ranks.

Its log-probabilities are divided by the temperature, unless that is 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tokex_gguf.engine.remote.dialects import checks
from tokex_gguf.engine.remote.dialects.by_text import FLOOR, TextVocabulary
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

MOST_CANDIDATES = 1000
"""The most candidates that a call asks for."""
ROOM = 48 << 20
"""The most bytes of an answer about a prompt's positions."""
ROW = 80
"""The most bytes of a candidate in it."""
FORCE = 1000.0
"""Added to the logit of the token to generate."""
PLAIN = {"temperature": 0, "max_new_tokens": 1, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Sampling settings that override the model's own."""


class SGLang(TextVocabulary):
    """One SGLang server."""

    def __init__(self, model: str) -> None:
        """Knows nothing of the server before `connect`."""
        super().__init__(model)
        self._served: Served | None = None
        self._version: object = None

    @property
    def served(self) -> Served:
        """The server's properties."""
        assert self._served is not None
        return self._served

    def connect(self, row: Mapping[str, Any]) -> Steps["SGLang"]:
        """Finds out the server's properties. `row`: the model's entry in its list."""
        if base := checks.name(row.get("parent")):
            # For a path of ids, it uses the base model, whatever the name.
            raise UnsupportedServer(f"adapters of an SGLang cannot be played: its model is {base}")
        context = checks.count(row.get("max_model_len"))
        if not context:
            raise InvalidAnswer("a context that is none")
        info = yield from _first(["/server_info", "/get_server_info"])
        self._vocab_size = checks.count(found(info, "vocab_size"))
        bos, _ = yield from self._begin()
        identity = yield from self.identity()
        name = checks.name(row.get("id"))
        self._served = Served(
            software=f"SGLang {checks.name(found(info, 'version'))}".rstrip(),
            model=name.rstrip("/").rpartition("/")[2] or name,
            identity=identity,
            context=context - 1,
            vocab_size=self._vocab_size,
            candidates=min(self._vocab_size or MOST_CANDIDATES, MOST_CANDIDATES),
            at_once=True,
            exact_ranks=False,
            searchable=False,
            has_second_cache=True,
            bos=bos,
            space_prefix=self._space_prefix,
        )
        # Detects an unusable server now.
        answer = (yield from self._generate([self._separator], None, 2))[0]
        if len(answer.ids) < 2:
            raise InvalidAnswer("a distribution of one token")
        return self

    def identity(self) -> Steps[str]:
        """The current `Served.identity`."""
        info = yield from _first(["/model_info", "/get_model_info"])
        names = [checks.name(found(info, key)) for key in ("model_path", "weight_version")]
        ids = yield from self._ids(checks.FINGERPRINTED, first=True)
        return checks.digest("SGLang", names, ids)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> Steps[list[int]]:
        """The ids of a chat by the model's own template."""
        body = {"model": self._model, "messages": [dict(one) for one in messages], "add_generation_prompt": True}
        answer = yield Call("/v1/tokenize", body, 16 << 20)
        return checks.tokens(dig(answer, "tokens"), self._vocab_size, 1 << 22)

    def along(self, path: Sequence[int], start: int, top: int) -> Steps[list[ServerAnswer]]:
        """The answers at positions: one call. Tokens before `start` are read from the cache."""
        count = len(path) - start
        top = max(min(top, MOST_CANDIDATES, ROOM // (ROW * count)), 1)
        answer = yield Call(
            "/generate", self._body(list(path), top, logprob_start_len=start), ROW * (top + 2) * count + (1 << 20)
        )
        meta = self._meta(answer)
        own, likely = dig(meta, "input_token_logprobs"), dig(meta, "input_top_logprobs")
        # The first row of each is empty: the position before it was not requested.
        if not (isinstance(own, list) and isinstance(likely, list) and len(own) == len(likely) == count):
            raise InvalidAnswer("not as many positions as were asked about")
        answers = [
            self._distribution(likely[place], top, path[start + place], checks.logprob(dig(own, place, 0), FLOOR))
            for place in range(1, count)
        ]
        return [*answers, self._distribution(dig(meta, "output_top_logprobs", 0), top, None, None)]

    def vocabulary(self, path: Sequence[int]) -> Steps[tuple[ServerAnswer, dict[int, Piece]]]:
        """The distribution after a path, as far as the server gives it, and the pieces."""
        return (yield from self._all_of(path))

    # --- calls

    def _ids(self, text: str, *, first: bool) -> Steps[list[int]]:
        body = {"model": self._model, "prompt": text, "add_special_tokens": first}
        most = len(text.encode()) + 8
        answer = yield Call("/v1/tokenize", body, 64 * most + (1 << 16))
        return checks.tokens(dig(answer, "tokens"), self._vocab_size, most)

    def _text(self, tokens: Sequence[int]) -> Steps[str]:
        body = {"model": self._model, "tokens": list(tokens), "skip_special_tokens": False}
        answer = yield Call("/v1/detokenize", body)
        text = dig(answer, "text")
        if not isinstance(text, str):
            raise InvalidAnswer("a text that is none")
        return text

    def _forced(self, token: int) -> Steps[tuple[bool, bool]]:
        sampling = {**PLAIN, "logit_bias": {str(token): FORCE}}
        answer = yield Call("/generate", {"input_ids": self._separator, "sampling_params": sampling})
        return found(answer, "meta_info", "finish_reason", "type") == "stop", found(answer, "text") == ""

    def _generate(self, paths: Sequence[Sequence[int]], asked: int | None, top: int) -> Steps[list[ServerAnswer]]:
        top = min(top, MOST_CANDIDATES)
        more = {} if asked is None else {"token_ids_logprob": [[asked] for _ in paths]}
        answer = yield Call(
            "/generate", self._body([list(path) for path in paths], top, **more), len(paths) * (ROW * top + (1 << 16))
        )
        answers = answer if isinstance(answer, list) else [answer]
        if len(answers) != len(paths):
            raise InvalidAnswer("not as many answers as questions")
        results = []
        for one in answers:
            meta = self._meta(one)
            asked_logprob = None
            if asked is not None:
                row = dig(meta, "output_token_ids_logprobs", 0, 0)
                if dig(row, 1) != asked:
                    raise InvalidAnswer("another token than was asked about")
                asked_logprob = checks.logprob(dig(row, 0), FLOOR)
            results.append(self._distribution(dig(meta, "output_top_logprobs", 0), top, asked, asked_logprob))
        return results

    def _body(self, paths: object, top: int, **more: object) -> dict[str, object]:
        body = {"input_ids": paths, "sampling_params": PLAIN, "return_logprob": True, "top_logprobs_num": top}
        return {**body, "stream": False, **more}

    def _meta(self, answer: object) -> object:
        """The `meta_info` of an answer. Raises Changed where the model is another one."""
        meta = dig(answer, "meta_info")
        version = found(meta, "weight_version")
        if self._version is None:
            self._version = version
        if version != self._version:
            raise Changed("another model than before")
        return meta

    def _distribution(self, rows: object, top: int, asked: int | None, asked_logprob: float | None) -> ServerAnswer:
        if not isinstance(rows, list) or len(rows) > top:
            raise InvalidAnswer("more tokens than were asked for")
        pairs: list[tuple[Any, Any]] = [(one, value) for value, one in checks.columns(rows, 0, 1)]
        checks.descending([value for _, value in pairs])
        return checks.distribution(pairs, self._vocab_size, top, FLOOR, asked, asked_logprob)


def _first(paths: Sequence[str]) -> Steps[object]:
    """The answer of the first path that exists: earlier versions had other names."""
    for path in paths:
        try:
            return (yield Call(path, None, 4 << 20))
        except CallRefused as refused:
            if refused.status not in (404, 405):
                raise
    return None
