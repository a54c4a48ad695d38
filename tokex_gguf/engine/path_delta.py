r"""Requests on their way to the engine: of each path, only where it leaves the one before.

A request carries its whole path. From one key to the next nearly all of it is the same, and
writing and reading thousands of token ids takes a millisecond. So a line's path is the number
of tokens that the path before it has, too, and then the tokens that it has not:

>>> sender, receiver = Sender(), Receiver()
>>> sender.encode(Search(1, [5, 7, 9], "a", 30))
b'["Search",{"request":1,"path":[0,5,7,9],"query":"a","top":30}]\n'
>>> sender.encode(Search(2, [5, 7, 8], "a", 30))
b'["Search",{"request":2,"path":[2,8],"query":"a","top":30}]\n'
>>> receiver.decode(b'["Search",{"request":1,"path":[0,5,7,9],"query":"a","top":30}]\n')
Search(request=1, path=[5, 7, 9], query='a', top=30)
>>> receiver.decode(b'["Search",{"request":2,"path":[2,8],"query":"a","top":30}]\n')
Search(request=2, path=[5, 7, 8], query='a', top=30)
"""

from dataclasses import replace

from tokex_gguf.engine.protocol import (
    Apply,
    Check,
    Constrain,
    Continue,
    Evaluate,
    Force,
    Lookahead,
    Message,
    ProtocolError,
    Request,
    Roll,
    Search,
    Walk,
    decode,
    encode,
)
from tokex_gguf.values.sequence import common_prefix

_WITH_A_PATH = Evaluate | Lookahead | Continue | Apply | Roll | Constrain | Force | Search | Check | Walk


class Sender:
    """Makes lines of requests."""

    def __init__(self) -> None:
        self._path: list[int] = []

    def encode(self, request: Request) -> bytes:
        """A request as a line of JSON, to be sent before the next one is made."""
        if isinstance(request, _WITH_A_PATH):
            before, self._path = self._path, request.path
            same = common_prefix(before, self._path)
            request = replace(request, path=[same, *self._path[same:]])
        return encode(request)


class OutOfStep(ProtocolError):
    """A path that goes on from one that was not received: the paths after it would be wrong, too."""


class Receiver:
    """Makes requests of the lines of one sender, all of them in their order."""

    def __init__(self) -> None:
        self._path: list[int] = []

    def decode(self, line: bytes) -> Message:
        """The request of a line. Raises ProtocolError, and OutOfStep if no later path can be read either."""
        request = decode(line)
        if isinstance(request, _WITH_A_PATH):
            if not request.path or not 0 <= request.path[0] <= len(self._path):
                raise OutOfStep("a path that goes on from none")
            same, *rest = request.path
            self._path = [*self._path[:same], *rest]
            request = replace(request, path=self._path)
        return request
