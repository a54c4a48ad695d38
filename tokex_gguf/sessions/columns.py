"""A tree's nodes as columns of numbers in base64, and back: `TreeEncoder`, `PieceEncoder` and `tree_of`. Pure.

A game's tree is saved again and again, and little of it is another one each time. So it is encoded in parts of
`NODES_AT_ONCE` nodes, and of a part in which nothing has changed the bytes from before are used once more.
"""

import math
import sys
from array import array
from base64 import b64decode, b64encode
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate, compress
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from tokex_gguf.values.distribution import Distribution, Taken
from tokex_gguf.values.tokens import Piece, untold
from tokex_gguf.values.tree import Node, grown

NODES_AT_ONCE = 512
"""Nodes that are encoded together. What is done with all of them at once, without any other thread's turn, is to
take less than a millisecond or two."""
MOST_BITS = 64.0
"""More than the entropy of any vocabulary is."""
INTS = ("parent", "token", "differs", "taken_rank", "rows", "ids")
FLOATS = ("taken_logprob", "entropy_bits", "logprobs")
"""Columns of `nodes`: of four bytes each, and of eight."""
OPTIONAL = ("slack_bits", "taken_at_least")
COLUMNS = (*INTS, *FLOATS, "flags", "played", "seen", *OPTIONAL)
"""All of them, in the order in which they are written."""
_SLICE = 3 * (1 << 15)
"""Bytes that are made base64 at once: whole groups of three, so that the texts can be put together."""
_VISITED, _CHECKED = 1, 2
_KEPT = 2
"""Beside `_VISITED`, what is noted of a node: that it is saved."""
_CONTROL, _ENDS = 1, 2
_NOTHING, _NO_ANSWER = Taken(0.0, 0), Distribution.of(0.0, (), ())
"""What stands for what a node does not hold."""

_T = TypeVar("_T")
_N = TypeVar("_N", int, float)


class BadArchive(ValueError):
    """Bytes that are no session of this program. The message is one line that says why."""


Text = list[bytes]
"""A column as base64, in parts."""


# --- writing

FACTS = ("distribution", "taken", "checked", "differs", "seen", "visited", "ahead", "played", "token")
"""What is read of each node, in this order, and all that anything written of it comes from. `differs` is known once a
node is `checked`, what was said of a token no later than the distribution behind it, and who was `seen` was there."""
_READ = tuple(map(attrgetter, FACTS))


class _CandidateText(NamedTuple):
    """A part's share of a column of candidates, as base64."""

    before: bytes
    """The bytes left over by the parts before: less than a group of three."""
    text: bytes
    left: bytes
    """The bytes left over by this part."""


_EMPTY = _CandidateText(b"", b"", b"")


class _Part:
    """Some nodes, and how they were encoded last."""

    __slots__ = ("columns", "facts", "ids", "logprobs", "marks", "nodes", "own", "tables")

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        """The last one first."""
        self.facts: list[list[Any]] = []
        """What was read of them, in the order of `FACTS`, the first node first."""
        self.own = b""
        """What is noted of each, whatever is behind it."""
        self.marks: bytes | None = None
        """The same with what is behind it, as the columns were made; None before they were."""
        self.columns: dict[str, array[int] | array[float]] = {}
        self.tables: tuple[list[array[int]], list[array[float]]] = [], []
        """The candidates of those that are saved: token ids, and log-probabilities."""
        self.ids = self.logprobs = _EMPTY

    def read(self) -> None:
        """Reads the nodes anew.

        From the last to the first, against the order in which most of a path's nodes are given their numbers: of
        what comes in meanwhile, nothing stands behind a gap that was not there.
        """
        facts: list[list[Any]] = [list(map(get, self.nodes)) for get in _READ]
        for values in facts:
            values.reverse()
        if facts == self.facts:
            return
        self.facts, self.marks = facts, None
        self._own()

    def known(self, facts: list[list[Any]], columns: "dict[str, array[int] | array[float]]") -> None:
        """Takes over what was read of the nodes from a file, in which all of them are."""
        self.facts, self.columns = facts, columns
        self._own()
        distributions, _, _, _, _, visited, *_ = facts
        self.marks = bytes([_KEPT | _VISITED * here for here in visited])
        known = [one for one in distributions if one is not None]
        self.tables = [one.ids for one in known], [one.logprobs for one in known]

    def _own(self) -> None:
        distributions, takens, checked, _, _, visited, ahead, *_ = self.facts
        self.own = bytes(
            [
                _VISITED | _KEPT
                if here
                else _KEPT
                if sure or not (made or (taken is None and (known is None or not known.ids)))
                else 0
                for known, taken, sure, here, made in zip(distributions, takens, checked, visited, ahead, strict=True)
            ]
        )

    def encode(self, marks: bytes, mentioned: set[int]) -> None:
        """Makes the columns of the nodes that are to be saved, where they are other ones than before."""
        if marks == self.marks:
            return
        self.marks, self.ids, self.logprobs = marks, _EMPTY, _EMPTY
        kept = [mark & _KEPT for mark in marks]
        facts = (list(compress(values, kept)) for values in self.facts)
        found, taken, checked, differs, seen, _, _, played, tokens = facts
        takens = [_NOTHING if one is None else one for one in taken]
        # One without candidates is as good as none.
        distributions = [_NO_ANSWER if one is None or not one.ids else one for one in found]
        known = [one for one in distributions if one is not _NO_ANSWER]
        here = [mark & _VISITED for mark in marks if mark]
        self.tables = [one.ids for one in known], [one.logprobs for one in known]
        self.columns = {
            "token": array("i", tokens),
            "differs": array(
                "i", [at if sure and at is not None else -1 for sure, at in zip(checked, differs, strict=True)]
            ),
            "taken_rank": array("i", [one.rank for one in takens]),
            "rows": array("i", [len(one.ids) for one in distributions]),
            "taken_logprob": array("d", [one.logprob for one in takens]),
            "entropy_bits": array("d", [one.entropy_bits for one in distributions]),
            "flags": array("B", [mark | _CHECKED * sure for mark, sure in zip(here, checked, strict=True)]),
            "played": array("B", played),
            "seen": array("i", seen),
            "slack_bits": array("d", [one.slack_bits for one in distributions]),
            "taken_at_least": array("B", [one.at_least for one in takens]),
        }
        mentioned.update(tokens)
        for ids in self.tables[0]:
            mentioned.update(ids)


class EncodedTree(NamedTuple):
    """The nodes worth keeping."""

    columns: dict[str, Text]
    visited: int
    """How many of them were visited, without the root."""


class TreeEncoder:
    """Encodes one tree whenever it is asked to, also while it grows."""

    def __init__(self, root: Node, read: "ReadTree | None" = None) -> None:
        """`read`: what a file had of it, which is not encoded again where it is still the same."""
        self._read = read
        self._nodes: list[Node] = []
        """All nodes met so far: parents first, siblings as they came."""
        self._parents: list[int] = []
        """The number of each one's parent; the root's is -1."""
        self._children: list[int] = []
        """How many children of each are among them."""
        self._numbers: dict[Node, int] = {}
        self._parts: list[_Part] = []
        self._marks = bytearray()
        """What was noted last of each, and of what is behind it."""
        self._places: list[int] = []
        self.mentioned: set[int] = set()
        """All tokens that were ever mentioned."""
        if read is None:
            self._add(root, -1)

    def encode(self, referred: Iterable[Node], give_way: Callable[[], object] = lambda: None) -> EncodedTree:
        """The nodes worth keeping as columns. `referred`: nodes of it to keep whatever they hold.

        `give_way` is called between parts: other threads may have their turn.
        """
        if self._read is not None:
            self._take_over(self._read, give_way)
            self._read = None
        self._meet(give_way)
        for part in reversed(self._parts):
            give_way()
            part.read()
        self._marks = marks = bytearray().join([part.own for part in self._parts])
        marks[0] |= _KEPT
        for node in referred:
            if (number := self._numbers.get(node)) is not None:
                marks[number] |= _KEPT
        parents = self._parents
        for index in range(len(parents) - 1, 0, -1):
            if index % NODES_AT_ONCE == 0:
                give_way()
            marks[parents[index]] |= marks[index]
        self._places = places = [count - 1 for count in accumulate(mark >> 1 for mark in marks)]
        give_way()
        kept_parents = [places[parent] for parent in compress(parents, marks) if parent >= 0]
        for index, part in enumerate(self._parts):
            give_way()
            part.encode(bytes(marks[index * NODES_AT_ONCE : (index + 1) * NODES_AT_ONCE]), self.mentioned)
        self.mentioned.discard(-1)  # the root has no token
        return EncodedTree(self._columns(array("i", [-1, *kept_parents]), give_way), marks.count(_VISITED | _KEPT, 1))

    def place(self, node: Node) -> int:
        """The index that a node had among those that were encoded last. Raises KeyError where it was not."""
        number = self._numbers[node]
        if not self._marks[number]:
            raise KeyError(node)
        return self._places[number]

    def _columns(self, parents: "array[int]", give_way: Callable[[], object]) -> dict[str, Text]:
        before = _EMPTY, _EMPTY
        for part in self._parts:
            give_way()
            part.ids = _table(part.ids, part.tables[0], before[0].left)
            part.logprobs = _table(part.logprobs, part.tables[1], before[1].left)
            before = part.ids, part.logprobs
        columns = {
            "parent": packed([_raw(parents)]),
            "ids": [*(part.ids.text for part in self._parts), b64encode(before[0].left)],
            "logprobs": [*(part.logprobs.text for part in self._parts), b64encode(before[1].left)],
        }
        for name in self._parts[0].columns:
            give_way()
            columns[name] = packed([_raw(part.columns[name]) for part in self._parts])
        # Where all numbers are exact, neither of these is there.
        exact = [name for name in OPTIONAL if not any(any(part.columns[name]) for part in self._parts)]
        return {name: columns[name] for name in COLUMNS if name not in exact}

    def _take_over(self, read: "ReadTree", give_way: Callable[[], object]) -> None:
        """Notes the nodes in the file's order, and their columns as its bytes have them."""
        first = 0
        for start in range(0, len(read.nodes), NODES_AT_ONCE):
            give_way()
            end = start + NODES_AT_ONCE
            for node, parent in zip(read.nodes[start:end], read.parents[start:end], strict=True):
                self._add(node, parent)
                if parent >= 0:
                    self._children[parent] += 1
            part, last = self._parts[-1], first + sum(read.rows[start:end])
            columns = {name: column[start:end] for name, column in read.columns.items()}
            part.known([values[start:end] for values in read.facts], columns)
            part.ids = _cut(read.ids, 4 * first, 4 * last)
            part.logprobs = _cut(read.logprobs, 8 * first, 8 * last)
            first = last

    def _meet(self, give_way: Callable[[], object]) -> None:
        """Takes in the nodes that are new."""
        for start in range(0, len(self._nodes), NODES_AT_ONCE):
            give_way()
            nodes = self._nodes[start : start + NODES_AT_ONCE]
            counts = [len(node.children) for node in nodes]
            if counts == self._children[start : start + NODES_AT_ONCE]:
                continue
            for index, node in enumerate(nodes, start):
                if len(node.children) != self._children[index]:
                    self._descend(node, index)

    def _descend(self, node: Node, index: int) -> None:
        """Takes in the new children of a node, each with all that is behind it before the next one."""
        waiting = [(child, index) for child in self._new(node, index)]
        while waiting:
            node, parent = waiting.pop()
            index = self._add(node, parent)
            waiting += [(child, index) for child in self._new(node, index)]

    def _new(self, node: Node, index: int) -> list[Node]:
        """The children of a node that are new, the last one first: children are never taken away."""
        children = list(node.children.values())  # a copy, made at once: the tree may grow meanwhile
        assert len(children) >= self._children[index]
        new = children[self._children[index] :]
        self._children[index] = len(children)
        new.reverse()
        return new

    def _add(self, node: Node, parent: int) -> int:
        index = len(self._nodes)
        self._nodes.append(node)
        self._parents.append(parent)
        self._children.append(0)
        self._numbers[node] = index
        if index % NODES_AT_ONCE == 0:
            self._parts.append(_Part())
        self._parts[-1].nodes.insert(0, node)
        return index


def _table(known: _CandidateText, columns: "list[array[int]] | list[array[float]]", before: bytes) -> _CandidateText:
    """A part's share of a column, behind what the parts before have left over."""
    if known is not _EMPTY and known.before == before:
        return known
    data = b"".join([before, *map(_raw, columns)])
    end = len(data) // 3 * 3
    return _CandidateText(before, b64encode(memoryview(data)[:end]), data[end:])


def _cut(text: str, start: int, end: int) -> _CandidateText:
    """A part's share of a column that was read, of which it has the bytes from `start` to before `end`."""

    def before(place: int) -> bytes:
        """The bytes of the group of three in which a place is that stand before it."""
        group = place // 3 * 4
        return b64decode(text[group : group + 4])[: place % 3] if place % 3 else b""

    return _CandidateText(before(start), text[start // 3 * 4 : end // 3 * 4].encode(), before(end))


class PieceEncoder:
    """Encodes the bytes of tokens, of which there come to be more."""

    def __init__(self, read: "ReadPieces | None" = None) -> None:
        """`read`: those that a file had."""
        self._tokens: list[int] = []
        self._told: list[Piece] = []
        """What was encoded of each, in this order."""
        self._columns = {"token": array("i"), "flags": array("B"), "length": array("i")}
        self._data: list[bytes] = []
        self._packed: dict[str, Text] = {}
        if read is not None:
            self._tokens, self._told = [*read.pieces], [*read.pieces.values()]
            self._columns = {"token": read.token, "flags": read.flags, "length": read.length}
            self._data = [read.data]

    def encode(self, tokens: set[int], pieces: Mapping[int, Piece]) -> dict[str, Text]:
        """The pieces of these tokens. Those from before are among them."""
        if len(tokens) > len(self._tokens):
            self._tokens += sorted(tokens.difference(self._tokens))
        told = [pieces[token] if token in pieces else untold(token) for token in self._tokens]
        known = len(self._told)
        if told[:known] != self._told:  # one of them is another one now
            known = 0
            self._columns = {name: column[:0] for name, column in self._columns.items()}
            self._data = []
        if added := told[known:]:
            self._told, self._packed = told, {}
            self._columns["token"].extend(self._tokens[known:])
            self._columns["flags"].extend([_CONTROL * piece.control | _ENDS * piece.ends for piece in added])
            self._columns["length"].extend([len(piece.data) for piece in added])
            self._data.append(b"".join([piece.data for piece in added]))
        if not self._packed:
            self._packed = {name: packed([_raw(column)]) for name, column in self._columns.items()}
            self._packed["data"] = packed(self._data)
        return self._packed


def packed(parts: Iterable[bytes]) -> Text:
    """Bytes, which stand one after the other, as base64."""
    data = memoryview(b"".join(parts))
    return [b64encode(data[start : start + _SLICE]) for start in range(0, len(data), _SLICE)]


def _raw(column: "array[int] | array[float]") -> bytes:
    """A column's bytes, little-endian."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


# --- reading


def value_of(table: dict[str, object], name: str, kind: type[_T]) -> _T:
    """A field of exactly one type: a truth value is no number here."""
    value = table.get(name)
    if not isinstance(value, kind) or type(value) is not kind:
        raise BadArchive(f"{name}: missing, or of the wrong type")
    return value


def unpacked(table: dict[str, object], name: str, column: "array[_N]") -> "array[_N]":
    """A column, read into an empty array."""
    text = value_of(table, name, str)
    try:
        column.frombytes(a2b_base64(text, strict_mode=True))
    except ValueError:
        raise BadArchive(f"{name}: not base64 of whole values") from None
    if sys.byteorder == "big":
        column.byteswap()
    return column


class ReadPieces(NamedTuple):
    """Pieces that were read, and their columns."""

    pieces: dict[int, Piece]
    token: "array[int]"
    flags: "array[int]"
    length: "array[int]"
    data: bytes


class ReadTree(NamedTuple):
    """A tree that was read, and what was read of it."""

    nodes: list[Node]
    """The root first."""
    facts: list[list[Any]]
    """What each holds, in the order of `FACTS`."""
    parents: "array[int]"
    rows: "array[int]"
    columns: "dict[str, array[int] | array[float]]"
    """All that have one value for each node, less the parents; those that the file does not have, too."""
    ids: str
    logprobs: str
    """The columns of candidates, as base64."""


def pieces_of(table: dict[str, object], size: int) -> ReadPieces:
    """The pieces of a vocabulary of `size` tokens."""
    tokens, lengths = (unpacked(table, name, array("i")) for name in ("token", "length"))
    flags, data = (unpacked(table, name, array("B")) for name in ("flags", "data"))
    if not len(tokens) == len(flags) == len(lengths) == len(set(tokens)):
        raise BadArchive("pieces: told twice, or columns of different lengths")
    if tokens and not (min(tokens) >= 0 and max(tokens) < size and max(flags) <= _CONTROL | _ENDS):
        raise BadArchive("pieces: out of range")
    if min(lengths, default=0) < 0 or sum(lengths) != len(data):
        raise BadArchive("length: not as many bytes as there are")
    whole, ends = data.tobytes(), accumulate(lengths)
    texts = [whole[end - length : end] for length, end in zip(lengths, ends, strict=True)]
    pieces = dict(zip(tokens, map(_piece, texts, flags), strict=True))
    return ReadPieces(pieces, tokens, flags, lengths, whole)


def _piece(data: bytes, flags: int) -> Piece:
    return Piece(data, bool(flags & _CONTROL), bool(flags & _ENDS)) if flags else _make(Piece, (data, False, False))


def tree_of(table: dict[str, object], pieces: Mapping[int, Piece]) -> ReadTree:
    """A tree, of whose tokens these are the pieces."""
    ints = {name: unpacked(table, name, array("i")) for name in INTS}
    floats = {name: unpacked(table, name, array("d")) for name in FLOATS}
    flags = unpacked(table, "flags", array("B"))
    # Files from before it was kept do not have it.
    nothing = array("B", bytes(len(flags)))
    played = unpacked(table, "played", array("B")) if "played" in table else nothing
    # Nor are these there where all numbers are exact.
    at_least = unpacked(table, "taken_at_least", array("B")) if "taken_at_least" in table else nothing
    exact = array("d", bytes(8 * len(flags)))
    slack = unpacked(table, "slack_bits", array("d")) if "slack_bits" in table else exact
    ids, logprobs = ints.pop("ids"), floats.pop("logprobs")
    lengths = {len(flags), len(played), len(at_least), len(slack)}
    lengths |= {*map(len, ints.values()), *map(len, floats.values())}
    if len(lengths) != 1 or 0 in lengths:
        raise BadArchive("nodes: none, or columns of different lengths")
    parents, tokens, rows = ints["parent"], ints["token"], ints["rows"]
    if min(rows) < 0 or not sum(rows) == len(ids) == len(logprobs):
        raise BadArchive("rows: not as many as there are ids and logprobs")
    if not pieces.keys() >= set(ids):
        raise BadArchive("ids: a token without its piece")
    # Minus infinity is a probability of 0.
    if not (_are_below_1(logprobs) or _within(logprobs, -math.inf, 1.0)):
        raise BadArchive("logprobs: not logarithms of probabilities")
    if max(flags) > _VISITED | _CHECKED or min(ints["differs"]) < -1:
        raise BadArchive("flags, differs: out of range")
    if min(ints["taken_rank"]) < 0 or not _within(floats["taken_logprob"], -math.inf, 1.0):
        raise BadArchive("taken_rank, taken_logprob: out of range")
    if not _within(floats["entropy_bits"], -1.0, MOST_BITS):
        raise BadArchive("entropy_bits: out of range")
    if not _within(slack, 0.0, MOST_BITS) or max(at_least) > 1:
        raise BadArchive("slack_bits, taken_at_least: out of range")
    if max(played) > 1:
        raise BadArchive("played: out of range")
    if parents[0] != -1 or tokens[0] != -1:
        raise BadArchive("parent, token: the first node is not the root")
    if not all(0 <= parent < index for index, parent in enumerate(parents[1:], 1)):
        raise BadArchive("parent: not a node before this one")
    # What nodes hold is what is noted of them: it is known again by being the same.
    told = tokens.tolist()
    takens = _takens(ints["taken_rank"], floats["taken_logprob"], at_least)
    distributions = _distributions(rows, floats["entropy_bits"], slack, ids, logprobs)
    nodes = grown(parents, told, takens, distributions, [flag & _VISITED for flag in flags])
    if not pieces.keys() >= set(told[1:]) or sum(len(node.children) for node in nodes) != len(nodes) - 1:
        raise BadArchive("token: twice after one path, or without its piece")
    differs = [at if at >= 0 else None for at in ints["differs"]]
    checked = [flag & _CHECKED > 0 for flag in flags]
    for node, at in compress(zip(nodes, differs, strict=True), checked):
        if at is not None and at > node.depth:
            raise BadArchive("flags, differs: out of range")
        node.checked, node.differs = True, at
    if any(at is not None and not sure for at, sure in zip(differs, checked, strict=True)):
        raise BadArchive("flags, differs: out of range")
    for node in compress(nodes, played):
        node.played = True
    # Files from before it was kept do not have it: the latest there is what was made last.
    seen = unpacked(table, "seen", array("i")) if "seen" in table else array("i", bytes(4 * len(nodes)))
    if len(seen) != len(nodes) or min(seen) < 0:
        raise BadArchive("seen: not as many as nodes, or below 0")
    visits = seen.tolist()
    for node, when in zip(nodes, visits, strict=True):
        node.seen = when
    if "seen" in table:
        tree, latest = nodes[0].tree, max(visits)
        last = nodes[visits.index(latest)]
        # Else it would be taken to have been visited already when somebody comes there.
        tree.visits, tree.visited = latest, last if latest and last.visited else None
    facts: dict[str, list[Any]] = {
        "distribution": distributions,
        "taken": takens,
        "checked": checked,
        "differs": differs,
        "seen": visits,
        "visited": [flag & _VISITED > 0 for flag in flags],
        "ahead": [False] * len(nodes),
        "played": [one > 0 for one in played],
        "token": told,
    }
    columns: dict[str, array[int] | array[float]] = {**ints, **floats, "flags": flags, "played": played, "seen": seen}
    columns |= {"slack_bits": slack, "taken_at_least": at_least}
    del columns["parent"]
    read = [facts[name] for name in FACTS]
    return ReadTree(nodes, read, parents, rows, columns, value_of(table, "ids", str), value_of(table, "logprobs", str))


_BELOW_1 = bytes([*range(0x3F), *range(0x80, 0xFF)])
"""The highest bytes of doubles that are numbers below 1 and not infinite; not of all."""


def _are_below_1(values: "array[float]") -> bool:
    """Whether all of some numbers are below 1, and finite, as far as their highest bytes tell; else they may be."""
    return not _raw(values)[7::8].translate(None, _BELOW_1)


def _within(values: "array[float]", least: float, most: float) -> bool:
    """Whether all of some numbers are; what is not a number never is."""
    # A sum is one if all are, and none of them is infinite in both ways.
    return not values or (max(values) <= most and min(values) >= least and not math.isnan(sum(values)))


_make = tuple.__new__
"""Makes a named tuple in a fraction of the time that its own class takes."""


def _takens(ranks: "array[int]", logprobs: "array[float]", at_least: "array[int]") -> list[Taken | None]:
    takens: list[Taken | None] = []
    for rank, logprob, bound in zip(ranks, logprobs, at_least, strict=True):
        if rank:
            takens.append(_make(Taken, (logprob, rank, bound == 1)))
        elif logprob > 0.0:
            raise BadArchive("taken_rank, taken_logprob: out of range")
        elif bound:
            raise BadArchive("slack_bits, taken_at_least: out of range")
        else:
            takens.append(None)
    return takens


def _distributions(
    rows: "array[int]", bits: "array[float]", slack: "array[float]", ids: "array[int]", logprobs: "array[float]"
) -> list[Distribution | None]:
    distributions: list[Distribution | None] = []
    start = 0
    for count, entropy, more in zip(rows, bits, slack, strict=True):
        if not count:
            if more:
                raise BadArchive("slack_bits, taken_at_least: out of range")
            distributions.append(None)
            continue
        end = start + count
        own = ids[start:end]
        if len(set(own)) != count:
            raise BadArchive("ids: a token twice in one table")
        distributions.append(Distribution(entropy, own, logprobs[start:end], more))
        start = end
    return distributions
