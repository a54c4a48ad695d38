r"""Requests on their way to the engine: of each path, only where it leaves the one before; biases once.

A request carries its whole path. From one key to the next nearly all of it is the same, and
writing and reading thousands of token ids takes a millisecond. So a line's path is the number
of tokens that the path before it has, too, and then the tokens that it has not:

>>> sender, receiver = Sender(), Receiver()
>>> from tokex_gguf.engine.protocol import Search
>>> sender.encode(Search(1, [5, 7, 9], "a", 30))
b'["Search",{"request":1,"path":[0,5,7,9],"query":"a","top":30}]\n'
>>> sender.encode(Search(2, [5, 7, 8], "a", 30))
b'["Search",{"request":2,"path":[2,8],"query":"a","top":30}]\n'
>>> receiver.decode(b'["Search",{"request":1,"path":[0,5,7,9],"query":"a","top":30}]\n')
Search(request=1, path=[5, 7, 9], query='a', top=30)
>>> receiver.decode(b'["Search",{"request":2,"path":[2,8],"query":"a","top":30}]\n')
Search(request=2, path=[5, 7, 8], query='a', top=30)

A lens may have tens of thousands of biases. Where the last lens with any had the same, `AS_BEFORE` stands for them.
"""

from dataclasses import replace

from tokex_gguf.engine.protocol import (
    Apply,
    Continue,
    Evaluate,
    Force,
    ProtocolError,
    Request,
    Roll,
    WireMessage,
    WithPath,
    decode,
    encode,
)
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.samplers import Bias
from tokex_gguf.values.sequence import common_prefix

AS_BEFORE = ((-1, 0.0),)
"""No token has this number."""
_WITH_A_LENS = Evaluate | Continue | Apply | Roll | Force


class Sender:
    """Makes lines of requests."""

    def __init__(self) -> None:
        self._path: list[int] = []
        self._bias: Bias = ()

    def encode(self, request: Request) -> bytes:
        """A request as a line of JSON, to be sent before the next one is made."""
        path, bias = self._path, self._bias
        if isinstance(request, WithPath):
            path = request.path
            same = common_prefix(self._path, path)
            request = replace(request, path=[same, *path[same:]])
        if isinstance(request, _WITH_A_LENS) and isinstance(request.lens, Sampled) and request.lens.chain.bias:
            bias = request.lens.chain.bias
            if bias == self._bias:
                request = replace(request, lens=_with_bias(request.lens, AS_BEFORE))
        line = encode(request)
        self._path, self._bias = path, bias  # only of what is sent
        return line


class OutOfStep(ProtocolError):
    """A path that goes on from one that was not received: the paths after it would be wrong, too."""


class Receiver:
    """Makes requests of the lines of one sender, all of them in their order."""

    def __init__(self) -> None:
        self._path: list[int] = []
        self._bias: Bias = ()
        self._lens: Sampled | None = None

    def decode(self, line: bytes) -> WireMessage:
        """The request of a line. Raises ProtocolError, and OutOfStep if no later path can be read either."""
        request = decode(line)
        if isinstance(request, WithPath):
            if not request.path or not 0 <= request.path[0] <= len(self._path):
                raise OutOfStep("a path that goes on from none")
            same, *rest = request.path
            self._path = [*self._path[:same], *rest]
            request = replace(request, path=self._path)
        if isinstance(request, _WITH_A_LENS) and isinstance(request.lens, Sampled):
            request = replace(request, lens=self._whole(request.lens))
        return request

    def _whole(self, lens: Sampled) -> Sampled:
        """A lens with its biases; an equal one is the same, which is hashed already. Raises OutOfStep."""
        if lens.chain.bias == AS_BEFORE:
            if not self._bias:
                raise OutOfStep("biases as before, where there were none")
            lens = _with_bias(lens, self._bias)
        elif lens.chain.bias:
            self._bias = lens.chain.bias
        if self._lens is None or lens != self._lens:
            self._lens = lens
        return self._lens


def _with_bias(lens: Sampled, bias: Bias) -> Sampled:
    return replace(lens, chain=replace(lens.chain, bias=bias))
