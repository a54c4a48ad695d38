r"""Compact requests: each path as a difference to the one before, and biases only once.

A request carries its whole path. From one key to the next nearly all of it is the same, and
writing and reading thousands of token ids takes a millisecond. So on the wire, a path is the
length of the common prefix with the path before, and then the other tokens:

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

A lens may have tens of thousands of biases. If the last lens with biases had the same, `AS_BEFORE` replaces them.
"""

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
from tokex_gguf.values.record import replace
from tokex_gguf.values.samplers import Bias
from tokex_gguf.values.sequence import common_prefix

AS_BEFORE = ((-1, 0.0),)
"""No token has the id -1."""
_WITH_A_LENS = Evaluate | Continue | Apply | Roll | Force


class Sender:
    """Encodes requests."""

    def __init__(self) -> None:
        self._path: list[int] = []
        self._bias: Bias = ()

    def encode(self, request: Request) -> bytes:
        """Encodes a request, which must be sent before the next one is encoded."""
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
        self._path, self._bias = path, bias  # only after encode() succeeded
        return line


class OutOfStep(ProtocolError):
    """A path that refers to one that was not received: later paths would be wrong as well."""


class Receiver:
    """Decodes the requests of one sender, all in order."""

    def __init__(self) -> None:
        self._path: list[int] = []
        self._bias: Bias = ()
        self._lens: Sampled | None = None

    def decode(self, line: bytes) -> WireMessage:
        """Decodes a request. Raises ProtocolError, and OutOfStep if later paths cannot be decoded either."""
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
        """The lens with its biases; the last object, if it is equal, as its hash is cached. Raises OutOfStep."""
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
