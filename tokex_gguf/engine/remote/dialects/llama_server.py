"""llama-server: any number of candidates, with bytes; no positions of a prompt.

- Each call generates one token: with speculative decoding, later tokens have no probabilities.
- A bias forces that token, which changes no probability. A token with a part of a character would leave the
  answer without probabilities, so a letter is forced unless a token is requested.
- Every call names its slot, so that other slots keep their cache.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from tokex_gguf.engine.remote.dialects import checks
from tokex_gguf.engine.remote.dialects.checks import FINGERPRINTED, dig, found
from tokex_gguf.engine.remote.dialects.dialect import (
    Call,
    Changed,
    InvalidAnswer,
    Served,
    ServerAnswer,
    Steps,
    UnsupportedServer,
)
from tokex_gguf.values.text_files import is_utf_8
from tokex_gguf.values.tokens import Piece

ALL = 10_000_000
"""The number of candidates to ask for all of them: more than any vocabulary has."""
FLOOR = -104.0
"""An upper bound of the log-probability where the probability is 0 in float32."""
FORCE = 1e6
"""Added to the logit of the token to generate. The answer's numbers are without it."""
TRIES = 5
"""The most tries to reach a model that a server with several models keeps unloading."""
REMEMBERED = 500_000
"""Tokens whose bytes are kept: more than a vocabulary has."""


class LlamaServer:
    """One llama-server, or one model of a llama-server that has several."""

    def __init__(
        self, served: Served, name: str, model: str, ends: frozenset[int], harmless: int, slots: tuple[int, int]
    ) -> None:
        """`name`: the model's name in answers; `model`: the one to ask for, if the player named one.

        `harmless`: a token of plain ASCII. `slots`: for the played path, and for others.
        """
        self._served = served
        self._name = name
        self._model = {"model": model} if model else {}
        self._ends = ends
        self._harmless = harmless
        self._slots = slots
        self._data: dict[int, bytes] = {}
        self._control: dict[int, bool] = {}

    @property
    def served(self) -> Served:
        """The server's properties."""
        return self._served

    def identity(self) -> Steps[str]:
        """The current `Served.identity`."""
        _, props, listed = yield from _described(self._model.get("model", ""))
        return (yield from _identity(self._model, props, listed))

    def tokenize(self, text: str, *, special: bool, continues: bool) -> Steps[list[int]]:
        """The ids of a text."""
        if not (continues and self._served.space_prefix):
            return (yield from self._tokens(text, special=special, first=not continues))
        # After a line break, no space is put before the text.
        before = yield from self._tokens("\n", special=False, first=False)
        whole = yield from self._tokens("\n" + text, special=special, first=False)
        if whole[: len(before)] == before:
            return whole[len(before) :]
        return (yield from self._tokens(text, special=special, first=False))

    def chat(self, messages: Sequence[Mapping[str, str]]) -> Steps[list[int]]:
        """The ids of a chat by the model's own template."""
        answer = yield Call("/apply-template", {**self._model, "messages": [dict(one) for one in messages]})
        prompt = dig(answer, "prompt")
        if not isinstance(prompt, str):
            raise InvalidAnswer("a chat that is no text")
        return (yield from self._tokens(prompt, special=True, first=True))

    def pieces(self, tokens: Sequence[int]) -> Steps[dict[int, Piece]]:
        """The pieces of tokens. Most are known from earlier answers."""
        wanted = list(dict.fromkeys(checks.token(one, self._served.vocab_size) for one in tokens))
        unknown = [one for one in wanted if one not in self._data]
        if unknown:
            yield from self._read(unknown)
        pieces = {}
        for one in wanted:
            data = self._data.get(one, b"")
            if one not in self._control:
                self._control[one] = _may_be_special(data) and (yield from self._is_special(one, data))
            pieces[one] = Piece(data, self._control[one], one in self._ends)
        return pieces

    def stays_cached(self) -> Steps[bool]:
        """Whether a call in one slot leaves the cache of another.

        By default, with slots that share their cells, it does not: a call clears idle slots, and a call that names its
        slot restores nothing.
        """
        if not self._served.has_second_cache:
            return False
        read = 0
        for slot in (*self._slots, self._slots[0]):
            body = {**self._model, **request([self._harmless] * 4, self._harmless, 1, slot)}
            answer = yield Call("/completion", {**body, "response_fields": ["timings/prompt_n"]})
            read = checks.count(found(answer, "timings/prompt_n"))
        return read <= 1

    def after(
        self, paths: Sequence[Sequence[int]], asked: Sequence[int | None], top: int, *, second_cache: bool = False
    ) -> Steps[list[ServerAnswer]]:
        """The answers after some paths. Paths with the same requested token share a call."""
        slot = self._slots[second_cache]
        results: dict[int, ServerAnswer] = {}
        for one in dict.fromkeys(asked):
            places = [place for place, each in enumerate(asked) if each == one]
            answers = yield from self._generate([paths[place] for place in places], one, top, slot)
            results |= dict(zip(places, answers, strict=True))
        return [results[place] for place in range(len(paths))]

    def along(self, path: Sequence[int], start: int, top: int) -> Steps[list[ServerAnswer]]:
        """The answers at positions: one call for each, which decodes one more token."""
        answers = []
        for place in range(start, len(path)):
            asked = path[place + 1] if place + 1 < len(path) else None
            answers += yield from self.after([path[: place + 1]], [asked], top)
        return answers

    def vocabulary(self, path: Sequence[int]) -> Steps[tuple[ServerAnswer, dict[int, Piece]]]:
        """The whole distribution after a path, and the pieces of all tokens."""
        (answer,) = yield from self._generate([path], None, ALL, self._slots[0])
        return answer, (yield from self.pieces(answer.ids))

    def _tokens(self, text: str, *, special: bool, first: bool) -> Steps[list[int]]:
        body = {**self._model, "content": text, "add_special": first, "parse_special": special, "with_pieces": True}
        most = len(text.encode()) + 8  # a token has at least one byte, and the server may add some
        answer = yield Call("/tokenize", body, 64 * most + (1 << 16))
        return self._checked_tokens(dig(answer, "tokens"), most)

    def _read(self, tokens: Sequence[int]) -> Steps[None]:
        """Reads the bytes of tokens. The server takes numbers in a list of contents as token ids."""
        body = {**self._model, "content": list(tokens), "add_special": False, "with_pieces": True}
        answer = yield Call("/tokenize", body, 256 * len(tokens) + (1 << 16))
        if self._checked_tokens(dig(answer, "tokens"), len(tokens)) != list(tokens):
            raise InvalidAnswer("other tokens than were asked about")

    def _checked_tokens(self, rows: object, most: int) -> list[int]:
        if not isinstance(rows, list) or len(rows) > most:
            raise InvalidAnswer("tokens that cannot be of the text")
        ids = []
        for row in rows:
            one = checks.token(dig(row, "id"), self._served.vocab_size)
            self._remember(one, checks.data_of(dig(row, "piece")))
            ids.append(one)
        return ids

    def _remember(self, token: int, data: bytes) -> None:
        if len(self._data) >= REMEMBERED:
            self._data.clear()
            self._control.clear()
        self._data[token] = data

    def _is_special(self, token: int, data: bytes) -> Steps[bool]:
        """Whether a token's name becomes the token only with `parse_special`."""
        text = data.decode()
        body = {**self._model, "content": text, "add_special": False, "with_pieces": False}
        read = []
        for special in (True, False):
            answer = yield Call("/tokenize", {**body, "parse_special": special})
            read.append(dig(answer, "tokens"))
        return bool(read[0] == [token] != read[1])

    def _generate(
        self, paths: Sequence[Sequence[int]], asked: int | None, top: int, slot: int
    ) -> Steps[list[ServerAnswer]]:
        data = self._data.get(asked) if asked is not None else None
        if asked is None or data is None or is_utf_8(data):
            answers = yield from self._call(paths, asked, top, slot)
            if None not in answers:
                return [answer for answer in answers if answer is not None]
        # A part of a character: its probability is only given among the candidates.
        results = []
        for path in paths:
            answer = None
            for more in (top, 10 * top, ALL):
                (answer,) = yield from self._call([path], None, more, slot)
                if answer is None or asked is None or asked in answer.ids:
                    break
            if answer is None:
                raise InvalidAnswer("an answer without its completion_probabilities")
            results.append(_cut(answer, asked, top))
        return results

    def _call(
        self, paths: Sequence[Sequence[int]], asked: int | None, top: int, slot: int
    ) -> Steps[list[ServerAnswer | None]]:
        forced = self._harmless if asked is None else asked
        body = {
            **self._model,
            **request([list(path) for path in paths], forced, top, slot),
            "response_fields": ["completion_probabilities", "index", "model"],
        }
        wanted = min(top, self._served.vocab_size or ALL)
        answer = yield Call("/completion", body, len(paths) * (512 * wanted + (1 << 16)))
        answers = answer if isinstance(answer, list) else [answer]
        if len(answers) != len(paths):
            raise InvalidAnswer("not as many answers as questions")
        if [dig(one, "index") for one in answers] != list(range(len(paths))):
            raise InvalidAnswer("answers in another order than questions")
        return [self._answer(one, asked, forced, top) for one in answers]

    def _answer(self, answer: object, asked: int | None, forced: int, top: int) -> ServerAnswer | None:
        """None where the forced token is a part of a character."""
        if checks.name(found(answer, "model")) != self._name:
            raise Changed("another model than before")
        if isinstance(answer, dict) and "completion_probabilities" not in answer:
            return None
        place = dig(answer, "completion_probabilities", 0)
        if dig(place, "id") != forced:
            raise InvalidAnswer("another token than it was told to generate")
        rows = dig(place, "top_logprobs")
        if not isinstance(rows, list) or len(rows) > top:
            raise InvalidAnswer("more tokens than were asked for")
        columns = checks.columns(rows, "id", "logprob", "bytes")
        pairs = [(each, value) for each, value, _ in columns]
        checks.descending([value for _, value in pairs])
        asked_logprob = None if asked is None else checks.logprob(dig(place, "logprob"), FLOOR)
        result = checks.distribution(pairs, self._served.vocab_size, top, FLOOR, asked, asked_logprob)
        for each, _, data in columns:
            if each not in self._data:
                # Special tokens have no bytes here, unless the server was started to show them.
                if known := checks.data_of(data):
                    self._remember(each, known)
                else:
                    self._control[each] = True
        return result


def _cut(answer: ServerAnswer, asked: int | None, top: int) -> ServerAnswer:
    """The answer with at most `top` candidates, and the numbers of the requested token."""
    ids, logprobs = answer.ids[:top], answer.logprobs[:top]
    if asked is None:
        return ServerAnswer(ids, logprobs)
    if asked not in answer.ids:
        raise InvalidAnswer("a distribution without all its tokens")
    place = answer.ids.index(asked)
    return ServerAnswer(ids, logprobs, answer.logprobs[place], place + 1)


def connect(model: str) -> Steps[LlamaServer]:
    """Finds out a llama-server's properties. `model`: which of its models; empty: its only one, or its first."""
    model, props, listed = yield from _described(model)
    named: Mapping[str, object] = {"model": model} if model else {}
    vocab_size = checks.count(found(listed, "meta", "n_vocab"))
    context = checks.count(found(props, "default_generation_settings", "n_ctx"))
    if not context:
        raise InvalidAnswer("a context that is none")

    def tokens(text: str, *, first: bool) -> Steps[list[tuple[int, bytes]]]:
        body = {**named, "content": text, "add_special": first, "parse_special": True, "with_pieces": True}
        rows = dig((yield Call("/tokenize", body)), "tokens")
        pairs = checks.columns(rows, "id", "piece")
        ids = checks.tokens([one for one, _ in pairs], vocab_size, len(text) + 8)
        return list(zip(ids, [checks.data_of(piece) for _, piece in pairs], strict=True))

    letter = yield from tokens("a", first=False)
    begun = yield from tokens("a", first=True)
    if not letter or not letter[-1][1].isascii():
        raise InvalidAnswer("a letter without a token")
    harmless = letter[-1][0]
    identity = yield from _identity(named, props, listed)
    # With `ignore_eos`, the server bans the tokens that end generation, and its answer lists these biases.
    body = {**named, **request([harmless], harmless, 2, 0), "ignore_eos": True}
    fields = ["completion_probabilities", "model", "generation_settings/logit_bias"]
    answer = yield Call("/completion", {**body, "response_fields": fields})
    if found(answer, "completion_probabilities", 0, "top_logprobs", 0, "logprob") is None:
        raise UnsupportedServer(
            "this llama-server is too old: it gives no log-probabilities (those of 2025 and later do)"
        )
    biases = found(answer, "generation_settings/logit_bias")
    biased = [found(bias, "token") for bias in biases[:1000]] if isinstance(biases, list) else []
    ends = frozenset(checks.token(one, vocab_size) for one in biased) - {harmless}
    build = checks.name(found(props, "build_info")).partition("-")[0]
    build = "" if build == "b0" else build  # built from sources without a number
    slots = checks.count(found(props, "total_slots"))
    path = checks.name(found(props, "model_path")) or checks.name(found(listed, "id"))
    served = Served(
        software=f"llama-server {build}".rstrip(),
        model=model or path.replace("\\", "/").rpartition("/")[2],
        identity=identity,
        context=context - 1,
        vocab_size=vocab_size,
        candidates=vocab_size or ALL,
        at_once=False,
        exact_ranks=False,
        searchable=True,
        has_second_cache=slots > 1,
        quantization=checks.name(found(props, "model_ftype")),
        bos=begun[0][0] if len(begun) > 1 and begun[1:] == letter else None,
        space_prefix=letter[0][1].startswith(b" "),
    )
    name = checks.name(found(answer, "model"))
    return LlamaServer(served, name, model, ends, harmless, (0, 1 if slots > 1 else 0))


def _described(model: str) -> Steps[tuple[str, object, object]]:
    """The model's name, if it is one of several; the server's properties with it; and its entry in the list of models.

    A server with several models loads the requested one, and may unload it for another client. Its entry for a model
    that is not loaded is incomplete: then it is asked again.
    """
    for _ in range(TRIES):
        props = yield Call("/props" + (f"?model={quote(model, safe='')}" if model else ""))
        models = dig((yield Call("/v1/models")), "data")
        rows = models if isinstance(models, list) else []
        named = [row for row in rows if not model or model in (found(row, "id"), *_names(found(row, "aliases")))]
        if not named:
            raise UnsupportedServer(f"the server has no model {model}" if model else "the server has no model")
        several = found(props, "role") == "router" or found(named[0], "status", "value") is not None
        if not several or found(named[0], "meta", "n_vocab") is not None:
            return model, props, named[0]
        model = model or checks.name(found(named[0], "id"))
    raise UnsupportedServer(f"the server unloads {model} again and again, for others of its models")


def _names(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _identity(named: Mapping[str, object], props: object, listed: object) -> Steps[str]:
    body = {**named, "content": FINGERPRINTED, "add_special": True, "parse_special": True}
    size = [checks.count(found(listed, "meta", key)) for key in ("n_vocab", "n_params", "size")]
    ids = checks.tokens(dig((yield Call("/tokenize", body)), "tokens"), size[0], 8 * len(FINGERPRINTED))
    return checks.digest(
        "llama-server", *[checks.name(found(props, key)) for key in ("model_path", "model_ftype")], size, ids
    )


def request(prompt: object, forced: int, top: int, slot: int) -> dict[str, object]:
    """A body of `/completion` that overrides the server's own settings."""
    return {
        "prompt": prompt,
        "n_predict": 1,
        "n_probs": top,
        "id_slot": slot,
        "cache_prompt": True,
        "temperature": 0,
        "samplers": ["temperature"],
        "logit_bias": [[forced, FORCE]],
        "post_sampling_probs": False,
        "backend_sampling": False,
        "ignore_eos": False,
        "grammar": "",
        "stop": [],
        "stream": False,
    }


def _may_be_special(data: bytes) -> bool:
    """Whether a token's text looks like the name of a special token: <s>, <|im_end|>, [INST]."""
    return len(data) > 2 and data[:1] in b"<[" and data[-1:] in b">]" and is_utf_8(data)
