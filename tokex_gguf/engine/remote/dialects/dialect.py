"""What a dialect is: questions become HTTP requests, and JSON becomes numbers.

A question is a generator: it yields one `Call` after the other, is sent what the server answers
to each, and returns the numbers. So it opens no socket, and its tests need none:

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
    """A request to a server: a POST with a body as JSON, or a GET where there is none."""

    path: str
    body: Mapping[str, object] | None = None
    most: int = 1 << 20
    """Bytes of an answer that is believed. A longer one is not read to its end."""


Steps: TypeAlias = Generator[Call, Any, T]
"""A question: yields calls, is sent the decoded JSON of each answer, returns what it asked for.

Where the server refuses a call, `CallRefused` is thrown into it. It raises `Nonsense` where an answer cannot be right.
"""


class CallRefused(Exception):
    """The server has refused a call. The message is one line of the server's, at most 200 characters, printable."""

    def __init__(self, status: int, line: str) -> None:
        """`status`: of HTTP."""
        super().__init__(line)
        self.status = status


class Nonsense(Exception):
    """An answer that cannot be right: not the JSON it should be, ids out of the vocabulary, probabilities over 1.

    The message is one line that says what, such as "an id that is not in the vocabulary", and holds nothing of the
    answer's own text.
    """


class Changed(Nonsense):
    """An answer by another model than the one that was there when connecting."""


class Unsuited(Exception):
    """What is there is no server that can be played on. The message is one line that says why."""


@record
class Served:
    """What a server is, as found out when connecting."""

    software: str
    """Its program and version, such as `llama-server b11434` or `vLLM 0.32.0`."""
    model: str
    """What the server calls its model."""
    identity: str
    """What tells the model from others, as far as this server can; compared at each connect."""
    context: int
    """Tokens of a path at the most."""
    vocab_size: int
    """Tokens in the vocabulary; 0: the server does not tell."""
    candidates: int
    """The most candidates that it gives of a distribution."""
    at_once: bool
    """Whether `along` is there: it gives all positions of a prompt in one call."""
    exact_ranks: bool
    """Whether ranks beyond the candidates are told."""
    searchable: bool
    """Whether `vocabulary` is there."""
    apart: bool
    """Whether calls `aside` may leave what the server has cached for the others: `stays_cached` finds that out."""
    quantization: str = ""
    bos: int | None = None
    """The token that `tokenize` puts first, if any."""
    space_prefix: bool = False
    """Whether `tokenize` puts a space before a text, as SentencePiece vocabularies do."""


@record
class ServerAnswer:
    """What a server says of the token after a path."""

    ids: list[int]
    """Token ids, the most likely first, equal ones by id; none occurs twice."""
    logprobs: list[float]
    """Natural logarithms of their probabilities, each finite and at most 0; they belong to `ids`."""
    asked: float | None = None
    """The same of the token that was asked for; None where none was."""
    rank: int | None = None
    """Its rank, 1 for the most likely; None where it is not among `ids` and the server does not tell."""


class Dialect(Protocol):
    """One server's ways. All questions are of its one model."""

    @property
    def served(self) -> Served:
        """What the server is."""

    def tokenize(self, text: str, *, special: bool, continues: bool) -> Steps[list[int]]:
        """The ids of a text. `special`: whether names of special tokens in it become them.

        `continues`: whether it goes on from another text, so that nothing is put before it.
        """

    def chat(self, messages: Sequence[Mapping[str, str]]) -> Steps[list[int]]:
        """The ids of a chat by the model's own template, ready for an answer."""

    def pieces(self, tokens: Sequence[int]) -> Steps[dict[int, Piece]]:
        """What tokens are, as far as the server tells: their bytes, else UTF-8 of their text; special or not."""

    def identity(self) -> Steps[str]:
        """`Served.identity` as it is now. To be asked whenever the connection is a new one."""

    def stays_cached(self) -> Steps[bool]:
        """Whether calls `aside` leave what the server has cached for the others, found out by trying it."""

    def after(
        self, paths: Sequence[Sequence[int]], asked: Sequence[int | None], top: int, *, aside: bool = False
    ) -> Steps[list[ServerAnswer]]:
        """What follows each of some paths, which have all but their last token in common.

        `asked`: for each path, a token whose probability is wanted too. `aside`: whether this is for a path apart from
        the one that is played, such as a walk over a prompt's positions.
        """

    def along(self, path: Sequence[int], start: int, top: int) -> Steps[list[ServerAnswer]]:
        """What follows each position from `start` to the end of a path; `asked` is the token that comes there."""

    def vocabulary(self, path: Sequence[int]) -> Steps[tuple[ServerAnswer, dict[int, Piece]]]:
        """All of the distribution after a path, and the pieces of all tokens. Costs megabytes."""
