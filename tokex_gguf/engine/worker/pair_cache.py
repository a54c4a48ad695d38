"""How a model differs from others, kept on the disk: what was compared once needs neither model at the next start.

A file has a path and the differences after its prefixes, as far as they were computed. It serves both models: the one
whose identity sorts first is A in it.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tokex_gguf.engine.kv_file import KvPart, UnusablePart
from tokex_gguf.engine.kv_folder import KvFolder, PartKind, closing
from tokex_gguf.values.difference import Difference, TokenPair
from tokex_gguf.values.distribution import TokenLogprob
from tokex_gguf.values.sequence import common_prefix

MUCH = 32
"""New differences from which on a path's are written soon; of a long path, a quarter of all."""
PATHS = 8
"""Paths that are remembered until they are written."""
TOGETHER = 64
"""The most positions in one reply."""
_DIFFERENCE = struct.Struct("<IHHB3xddii")
_PAIR = struct.Struct("<idIdI")


class KeptDifference(NamedTuple):
    """The difference after a prefix of a path."""

    difference: Difference
    top: int
    """How many of the likeliest tokens of each model it has."""

    def of(self, following: int | None) -> Difference | None:
        """The difference where this token comes next; None where what both say of that token is not kept."""
        one = self.difference
        if (one.taken.token if one.taken else None) == following:
            return one
        taken = next((row for row in one.rows if row.token == following), None)
        if following is not None and taken is None:
            return None
        return Difference(one.kl_bits, one.reverse_bits, one.first_a, one.first_b, one.rows, taken)


class _ComparedPath:
    """A path that was compared with another model."""

    def __init__(self, other: str, tokens: list[int]) -> None:
        self.other = other
        """The other model's identity."""
        self.tokens = tokens
        self.known: dict[int, KeptDifference] = {}
        """By the position of the prefix's last token. A is this model."""
        self.read_end = 0
        """Of so many of the first tokens, what the disk has was taken over."""
        self.new = 0
        """How many were computed since the path was last written."""

    def add(self, position: int, kept: KeptDifference) -> bool:
        """Adds a difference, unless one with as many candidates is known; returns whether it did."""
        before = self.known.get(position)
        if before and before.top >= kept.top and before.of(self.following(position)):
            return False
        self.known[position] = kept
        return True

    def following(self, position: int) -> int | None:
        """The token after a position; None at the path's end."""
        return self.tokens[position + 1] if position + 1 < len(self.tokens) else None


class PairCache:
    """How one model differs from others. Only the engine's loop calls its methods."""

    def __init__(self, root: Path, identity: str, budget: int) -> None:
        """`root`: the prompt cache's folder; `identity`: `Loaded.identity` of the model; `budget`: bytes for all."""
        self._root = root
        self._identity = identity
        self._budget = budget
        self._paths: list[_ComparedPath] = []
        """The latest first."""

    def differences(
        self, other: str, path: list[int], start: int, end: int, top: int
    ) -> Iterator[tuple[int, list[Difference]]]:
        """The differences from another model that are kept: runs of positions from `start` to before `end`."""
        compared = self._of(other, path)
        self._read(compared)
        found: list[tuple[int, Difference]] = []
        for position in range(start, end):
            kept = compared.known.get(position)
            if kept is not None and kept.top >= top and (difference := kept.of(compared.following(position))):
                found.append((position, difference))
        for _, group in groupby(enumerate(found), key=lambda one: one[1][0] - one[0]):
            run = [each for _, each in group]
            for at in range(0, len(run), TOGETHER):
                yield run[at][0], [difference for _, difference in run[at : at + TOGETHER]]

    def note(self, other: str, path: list[int], start: int, differences: Iterable[Difference], top: int) -> None:
        """Records differences that were computed, from position `start` on."""
        compared = self._of(other, path)
        for position, difference in enumerate(differences, start):
            compared.new += compared.add(position, KeptDifference(difference, top))

    def _of(self, other: str, path: list[int]) -> _ComparedPath:
        """The record of a path. A new one takes over what is known of a common prefix."""
        of_other = [one for one in self._paths if one.other == other]
        compared = next((one for one in of_other if one.tokens == path), None)
        if compared is None:
            compared = _ComparedPath(other, path)
            for before in of_other:
                self._take_over(compared, before)
        self._paths = [compared, *(one for one in self._paths if one is not compared)][:PATHS]
        return compared

    def _take_over(self, compared: _ComparedPath, before: _ComparedPath) -> None:
        """Takes over what is known of the common prefix of two paths."""
        shared = common_prefix(before.tokens, compared.tokens)
        for position, kept in before.known.items():
            if position < shared:
                compared.add(position, kept)
        compared.read_end = max(compared.read_end, min(shared, before.read_end))
        if shared == len(before.tokens):  # the longer one is written in its place
            compared.new += before.new
            self._paths.remove(before)

    def _folder(self, other: str) -> KvFolder:
        first, second = sorted((self._identity, other))
        names = " and ".join(identity.rpartition("\n")[2] for identity in (first, second))
        return KvFolder(self._root, f"two models compared\n{first}\n{second}\n{names}", whole=False)

    def _read(self, compared: _ComparedPath) -> None:
        """Takes over what the disk has of a path, unless that was done."""
        if compared.read_end == len(compared.tokens):
            return
        folder, mirrored = self._folder(compared.other), self._identity > compared.other
        with closing(folder.parts(compared.tokens, PartKind.DIFFERENCES)) as links:
            for link in links:
                if link.shared <= compared.read_end or (cells := folder.read_cells(link)) is None:
                    continue
                try:
                    found = _unpacked(bytes(cells))
                except UnusablePart as error:
                    folder.distrust(link.name, error)
                    continue
                for position, kept in found:
                    if position < link.shared:
                        one = kept._replace(difference=kept.difference.reverse) if mirrored else kept
                        compared.add(position, one)
            folder.touch([link.name for link in links])
        compared.read_end = len(compared.tokens)

    def next_write(self, *, late: bool) -> Callable[[], None] | None:
        """What writes the differences of a path that are due; None where none are. `late`: a few are worth it, too."""
        for compared in self._paths:
            if compared.new >= max(MUCH, len(compared.known) // 4) or (late and compared.new):
                self._read(compared)  # the file that is replaced may have more
                compared.new = 0  # also where the write fails: it is not tried twice
                # A copy: more may be added while a thread writes.
                return partial(self._write, compared.other, compared.tokens, sorted(compared.known.items()))
        return None

    def _write(self, other: str, tokens: list[int], known: list[tuple[int, KeptDifference]]) -> None:
        part, data = KvPart(0, tokens, 0, [], None), _packed(known, mirrored=self._identity > other)
        self._folder(other).keep(part, [], data, self._budget, kind=PartKind.DIFFERENCES)


def _packed(known: list[tuple[int, KeptDifference]], *, mirrored: bool) -> bytes:
    """Differences as bytes. `mirrored`: with B in the place of A."""
    parts: list[bytes] = []
    for position, (one, top) in known:
        difference = one.reverse if mirrored else one
        pairs = [*difference.rows, *([difference.taken] if difference.taken else [])]
        kl, reverse, has_taken = difference.kl_bits, difference.reverse_bits, difference.taken is not None
        firsts = difference.first_a, difference.first_b
        parts.append(_DIFFERENCE.pack(position, top, len(pairs), has_taken, kl, reverse, *firsts))
        parts += (_PAIR.pack(pair.token, pair.a.logprob, pair.a.rank, pair.b.logprob, pair.b.rank) for pair in pairs)
    return b"".join(parts)


def _unpacked(data: bytes) -> list[tuple[int, KeptDifference]]:
    """Raises UnusablePart."""
    found: list[tuple[int, KeptDifference]] = []
    at = 0
    try:
        while at < len(data):
            position, top, count, has_taken, kl, reverse, first_a, first_b = _DIFFERENCE.unpack_from(data, at)
            at += _DIFFERENCE.size
            pairs = [
                TokenPair(token, TokenLogprob(a, rank_a), TokenLogprob(b, rank_b))
                for token, a, rank_a, b, rank_b in _PAIR.iter_unpack(data[at : at + count * _PAIR.size])
            ]
            at += count * _PAIR.size
            taken = pairs.pop() if has_taken else None
            difference = Difference(kl, reverse, first_a, first_b, tuple(pairs), taken)
            found.append((position, KeptDifference(difference, top)))
    except (struct.error, IndexError):
        raise UnusablePart("it makes no sense") from None
    if at != len(data):
        raise UnusablePart("it makes no sense")
    return found
