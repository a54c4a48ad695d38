"""The interface of a dialect: it turns questions into HTTP requests, and JSON into numbers.

A question is a generator: it yields one `Call` after the other, is sent the server's answer to
each, and returns the numbers. So it opens no socket, and its tests need none:

>>> def context() -> Steps[int]:
...     answer = yield Call("/props")
...     return answer["n_ctx"]
>>> question = context()
>>> next(question)
Call(path='/props', body=None, most=1048576)
>>> try:
...     question.send({"n_ctx": 4096})
... except StopIteration as end:
...     end.value
4096
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from tokex_gguf.values.record import record
from tokex_gguf.values.tokens import Piece

T = TypeVar("T")


@record
class Call:
    """A request to a server: a POST with a JSON body, or a GET without a body."""

    path: str
    body: Mapping[str, object] | None = None
    most: int = 1 << 20
    """The most bytes of the answer. A longer one is not read to its end."""


Steps: TypeAlias = Generator[Call, Any, T]
"""A question: yields calls, is sent the decoded JSON of each answer, and returns its result.

If the server refuses a call, `CallRefused` is thrown into it. It raises `InvalidAnswer` where an answer is invalid.
"""


class CallRefused(Exception):
    """The server refused a call. The message is a line from the server: printable, at most 200 characters."""

    def __init__(self, status: int, line: str) -> None:
        """`status`: the HTTP status."""
        super().__init__(line)
        self.status = status


class InvalidAnswer(Exception):
    """An invalid answer: unexpected JSON, ids outside the vocabulary, probabilities over 1.

    The message is one line that says what is wrong, such as "an id that is not in the vocabulary", and quotes nothing
    of the answer.
    """


class Changed(InvalidAnswer):
    """An answer of another model than at the first connection."""


class UnsupportedServer(Exception):
    """The server cannot be used. The message is one line that says why."""


@record
class Served:
    """The properties of a server, found out while connecting."""

    software: str
    """Its program and version, such as `llama-server b11434` or `vLLM 0.32.0`."""
    model: str
    """The server's name for its model."""
    identity: str
    """A digest that differs between models, as far as the server's answers allow; compared at each connection."""
    context: int
    """The most tokens of a path."""
    vocab_size: int
    """The vocabulary's size; 0: not known."""
    candidates: int
    """The most candidates of a distribution."""
    at_once: bool
    """Whether `along` gives all positions of a prompt in one call."""
    exact_ranks: bool
    """Whether the server gives ranks of tokens that are not candidates."""
    searchable: bool
    """Whether `vocabulary` works."""
    has_second_cache: bool
    """Whether calls with `second_cache` may use a second cache; `stays_cached` finds out whether they do."""
    quantization: str = ""
    bos: int | None = None
    """The token that `tokenize` puts first, if any."""
    space_prefix: bool = False
    """Whether `tokenize` puts a space before a text, as SentencePiece vocabularies do."""


@record
class ServerAnswer:
    """A server's answer about the token after a path."""

    ids: list[int]
    """Token ids, the most likely first, equal ones by id; each once."""
    logprobs: list[float]
    """Natural logarithms of their probabilities, each finite and at most 0; parallel to `ids`."""
    asked: float | None = None
    """The log-probability of the requested token; None where none was requested."""
    rank: int | None = None
    """Its rank, from 1; None where it is not in `ids` and the server does not give it."""


class Dialect(Protocol):
    """The questions to one server, all about one model."""

    @property
    def served(self) -> Served:
        """The server's properties."""

    def tokenize(self, text: str, *, special: bool, continues: bool) -> Steps[list[int]]:
        """The ids of a text. `special`: whether names of special tokens in it become them.

        `continues`: whether it continues another text, so that nothing is put before it.
        """

    def chat(self, messages: Sequence[Mapping[str, str]]) -> Steps[list[int]]:
        """The ids of a chat by the model's own template, ready for an answer."""

    def pieces(self, tokens: Sequence[int]) -> Steps[dict[int, Piece]]:
        """The pieces of tokens, as far as the server gives them: their bytes, else UTF-8 of their text."""

    def identity(self) -> Steps[str]:
        """The current `Served.identity`, to be checked after each new connection."""

    def stays_cached(self) -> Steps[bool]:
        """Whether calls with `second_cache` leave the cache of other calls unchanged, found out by trying."""

    def after(
        self, paths: Sequence[Sequence[int]], asked: Sequence[int | None], top: int, *, second_cache: bool = False
    ) -> Steps[list[ServerAnswer]]:
        """The answers after some paths, which differ only in their last token.

        `asked`: for each path, a token whose probability is requested as well. `second_cache`: whether the paths are
        not the played one, as in a walk over a prompt's positions.
        """

    def along(self, path: Sequence[int], start: int, top: int) -> Steps[list[ServerAnswer]]:
        """The answers at positions `start` to the end of a path; `ServerAnswer.asked` is for the path's next token."""

    def vocabulary(self, path: Sequence[int]) -> Steps[tuple[ServerAnswer, dict[int, Piece]]]:
        """The whole distribution after a path, and the pieces of all tokens: megabytes."""
