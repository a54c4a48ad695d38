"""Encodes a tree's nodes as columns of numbers in base64, and decodes them: `TreeEncoder`, `PieceEncoder`, `tree_of`.

Pure. Little of a game's tree changes between two saves. So it is encoded in parts of `NODES_PER_PART` nodes, and the
bytes of unchanged parts are reused.
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

from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.tokens import Piece, unknown_piece
from tokex_gguf.values.tree import Node, grown

NODES_PER_PART = 512
"""Nodes that are encoded together. One operation on all of them, during which no other thread runs, must take less than
a millisecond or two."""
MOST_BITS = 64.0
"""Upper bound of the entropy of any vocabulary."""
INTS = ("parent", "token", "differs", "taken_rank", "rows", "ids")
FLOATS = ("taken_logprob", "entropy_bits", "logprobs")
"""Columns of `nodes` with values of four bytes, and of eight."""
OPTIONAL = ("slack_bits", "taken_at_least")
COLUMNS = (*INTS, *FLOATS, "flags", "played", "seen", *OPTIONAL)
"""All columns, in the order of the file."""
_SLICE = 3 * (1 << 15)
"""Bytes of one base64 call: whole groups of three, so that the texts can be joined."""
_VISITED, _CHECKED = 1, 2
_SAVED = 2
"""Mark of a node, besides `_VISITED`: it is saved."""
_CONTROL, _ENDS = 1, 2
_NO_TAKEN, _NO_DISTRIBUTION = TokenLogprob(0.0, 0), Distribution.of(0.0, (), ())
"""Stand-ins for values that a node does not have."""

_T = TypeVar("_T")
_N = TypeVar("_N", int, float)


class BadArchive(ValueError):
    """Bytes that are no valid session, for this reason."""


Text = list[bytes]
"""A column as base64, in parts."""


# --- writing

FACTS = ("distribution", "taken", "checked", "differs", "seen", "visited", "ahead", "played", "token")
"""The attributes of a node that are read for encoding, in this order, as the tree may grow meanwhile: `differs` is set
before `checked`, `taken` no later than the distribution after it, and `visited` before `seen`."""
_READ = tuple(map(attrgetter, FACTS))


class _CandidateText(NamedTuple):
    """The base64 of one part's share of a column of candidates."""

    before: bytes
    """The bytes left over by the parts before: fewer than three."""
    text: bytes
    left: bytes
    """The bytes left over by this part."""


_EMPTY = _CandidateText(b"", b"", b"")


class _Part:
    """Some nodes, with their last encoding."""

    __slots__ = ("columns", "facts", "ids", "logprobs", "marks", "nodes", "own", "tables")

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        """The nodes, the last one first."""
        self.facts: list[list[Any]] = []
        """The attributes read, in the order of `FACTS`, the first node first."""
        self.own = b""
        """The mark of each node by itself."""
        self.marks: bytes | None = None
        """The marks with those of descendants, by which the columns were made; None before that."""
        self.columns: dict[str, array[int] | array[float]] = {}
        self.tables: tuple[list[array[int]], list[array[float]]] = [], []
        """The candidates of saved nodes: token ids, and log-probabilities."""
        self.ids = self.logprobs = _EMPTY

    def read(self, *, numbers: bool) -> None:
        """Reads the nodes again; without `numbers`, only the paths.

        From the last to the first, against the order in which most nodes of a path get their values, so that values
        that come meanwhile leave no gap before them.
        """
        facts: list[list[Any]] = [list(map(get, self.nodes)) for get in _READ]
        for values in facts:
            values.reverse()
        if not numbers:
            facts[:2] = [[None] * len(self.nodes)] * 2
        if facts == self.facts:
            return
        self.facts, self.marks = facts, None
        self._mark_nodes()

    def known(self, facts: list[list[Any]], columns: "dict[str, array[int] | array[float]]") -> None:
        """Takes over nodes read from a file, which has all of them."""
        self.facts, self.columns = facts, columns
        self._mark_nodes()
        distributions, _, _, _, _, visited, *_ = facts
        self.marks = bytes([_SAVED | _VISITED * was_visited for was_visited in visited])
        present = [distribution for distribution in distributions if distribution is not None]
        self.tables = [one.ids for one in present], [one.logprobs for one in present]

    def _mark_nodes(self) -> None:
        distributions, takens, checked, _, _, visited, ahead, *_ = self.facts
        self.own = bytes(
            [
                _VISITED | _SAVED
                if here
                else _SAVED
                if sure or not (made or (taken is None and (known is None or not known.ids)))
                else 0
                for known, taken, sure, here, made in zip(distributions, takens, checked, visited, ahead, strict=True)
            ]
        )

    def encode(self, marks: bytes, mentioned: set[int]) -> None:
        """Makes the columns of the nodes to be saved, if their marks have changed."""
        if marks == self.marks:
            return
        self.marks, self.ids, self.logprobs = marks, _EMPTY, _EMPTY
        saved = [mark & _SAVED for mark in marks]
        facts = (list(compress(values, saved)) for values in self.facts)
        distributions_read, taken, checked, differs, seen, _, _, played, tokens = facts
        takens = [_NO_TAKEN if one is None else one for one in taken]
        # A distribution without candidates counts as none.
        distributions = [_NO_DISTRIBUTION if one is None or not one.ids else one for one in distributions_read]
        with_candidates = [one for one in distributions if one is not _NO_DISTRIBUTION]
        visited = [mark & _VISITED for mark in marks if mark]
        self.tables = [one.ids for one in with_candidates], [one.logprobs for one in with_candidates]
        self.columns = {
            "token": array("i", tokens),
            "differs": array(
                "i", [at if sure and at is not None else -1 for sure, at in zip(checked, differs, strict=True)]
            ),
            "taken_rank": array("i", [one.rank for one in takens]),
            "rows": array("i", [len(one.ids) for one in distributions]),
            "taken_logprob": array("d", [one.logprob for one in takens]),
            "entropy_bits": array("d", [one.entropy_bits for one in distributions]),
            "flags": array("B", [mark | _CHECKED * sure for mark, sure in zip(visited, checked, strict=True)]),
            "played": array("B", played),
            "seen": array("i", seen),
            "slack_bits": array("d", [one.slack_bits for one in distributions]),
            "taken_at_least": array("B", [one.at_least for one in takens]),
        }
        mentioned.update(tokens)
        for ids in self.tables[0]:
            mentioned.update(ids)


class EncodedTree(NamedTuple):
    """The nodes worth saving."""

    columns: dict[str, Text]
    visited: int
    """How many of the nodes were visited, without the root."""


class TreeEncoder:
    """Encodes the states of one tree, which may grow meanwhile."""

    def __init__(self, root: Node, read: "ReadTree | None" = None, *, numbers: bool = True) -> None:
        """`read`: the tree as read from a file, whose unchanged parts are not encoded again.

        `numbers`: whether distributions are saved; without, a document has a tenth of the size, or less.
        """
        self._read = read
        self._with_numbers = numbers
        self._nodes: list[Node] = []
        """All nodes so far: parents first, siblings in the order of their creation."""
        self._parents: list[int] = []
        """The number of each node's parent; -1 for the root."""
        self._children: list[int] = []
        """How many children of each node are known."""
        self._numbers: dict[Node, int] = {}
        self._parts: list[_Part] = []
        self._marks = bytearray()
        """The last mark of each node, with those of its descendants."""
        self._places: list[int] = []
        self.mentioned: set[int] = set()
        """All tokens in any encoding so far."""
        if read is None:
            self._add(root, -1)

    def encode(self, referred: Iterable[Node], give_way: Callable[[], object] = lambda: None) -> EncodedTree:
        """The nodes worth saving, as columns. `referred`: nodes to save in any case.

        `give_way` is called between parts, to let other threads run.
        """
        if self._read is not None:
            self._take_over(self._read, give_way)
            self._read = None
        self._add_new_nodes(give_way)
        for part in reversed(self._parts):
            give_way()
            part.read(numbers=self._with_numbers)
        self._marks = marks = bytearray().join([part.own for part in self._parts])
        marks[0] |= _SAVED
        for node in referred:
            if (number := self._numbers.get(node)) is not None:
                marks[number] |= _SAVED
        parents = self._parents
        for index in range(len(parents) - 1, 0, -1):
            if index % NODES_PER_PART == 0:
                give_way()
            marks[parents[index]] |= marks[index]
        self._places = places = [count - 1 for count in accumulate(mark >> 1 for mark in marks)]
        give_way()
        kept_parents = [places[parent] for parent in compress(parents, marks) if parent >= 0]
        for index, part in enumerate(self._parts):
            give_way()
            part.encode(bytes(marks[index * NODES_PER_PART : (index + 1) * NODES_PER_PART]), self.mentioned)
        self.mentioned.discard(-1)  # the root has no token
        return EncodedTree(self._columns(array("i", [-1, *kept_parents]), give_way), marks.count(_VISITED | _SAVED, 1))

    def place(self, node: Node) -> int:
        """A node's index in the last encoding. Raises KeyError if it was not in it."""
        number = self._numbers[node]
        if not self._marks[number]:
            raise KeyError(node)
        return self._places[number]

    def _columns(self, parents: "array[int]", give_way: Callable[[], object]) -> dict[str, Text]:
        before = _EMPTY, _EMPTY
        for part in self._parts:
            give_way()
            part.ids = _encode_share(part.ids, part.tables[0], before[0].left)
            part.logprobs = _encode_share(part.logprobs, part.tables[1], before[1].left)
            before = part.ids, part.logprobs
        columns = {
            "parent": packed([_raw(parents)]),
            "ids": [*(part.ids.text for part in self._parts), b64encode(before[0].left)],
            "logprobs": [*(part.logprobs.text for part in self._parts), b64encode(before[1].left)],
        }
        for name in self._parts[0].columns:
            give_way()
            columns[name] = packed([_raw(part.columns[name]) for part in self._parts])
        # These columns are left out if all numbers are exact.
        exact = [name for name in OPTIONAL if not any(any(part.columns[name]) for part in self._parts)]
        return {name: columns[name] for name in COLUMNS if name not in exact}

    def _take_over(self, read: "ReadTree", give_way: Callable[[], object]) -> None:
        """Takes over the nodes of a file in its order, with their columns."""
        first = 0
        for start in range(0, len(read.nodes), NODES_PER_PART):
            give_way()
            end = start + NODES_PER_PART
            for node, parent in zip(read.nodes[start:end], read.parents[start:end], strict=True):
                self._add(node, parent)
                if parent >= 0:
                    self._children[parent] += 1
            part, last = self._parts[-1], first + sum(read.rows[start:end])
            columns = {name: column[start:end] for name, column in read.columns.items()}
            part.known([values[start:end] for values in read.facts], columns)
            part.ids = _share_of_text(read.ids, 4 * first, 4 * last)
            part.logprobs = _share_of_text(read.logprobs, 8 * first, 8 * last)
            first = last

    def _add_new_nodes(self, give_way: Callable[[], object]) -> None:
        """Adds new nodes."""
        for start in range(0, len(self._nodes), NODES_PER_PART):
            give_way()
            nodes = self._nodes[start : start + NODES_PER_PART]
            counts = [len(node.children) for node in nodes]
            if counts == self._children[start : start + NODES_PER_PART]:
                continue
            for index, node in enumerate(nodes, start):
                if len(node.children) != self._children[index]:
                    self._add_new_below(node, index)

    def _add_new_below(self, node: Node, index: int) -> None:
        """Adds the new children of a node, depth first."""
        waiting = [(child, index) for child in self._new_children(node, index)]
        while waiting:
            node, parent = waiting.pop()
            index = self._add(node, parent)
            waiting += [(child, index) for child in self._new_children(node, index)]

    def _new_children(self, node: Node, index: int) -> list[Node]:
        """The new children of a node, the last one first. Children are never removed."""
        children = list(node.children.values())  # an atomic copy: the tree may grow meanwhile
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
        if index % NODES_PER_PART == 0:
            self._parts.append(_Part())
        self._parts[-1].nodes.insert(0, node)
        return index


def _encode_share(
    known: _CandidateText, columns: "list[array[int]] | list[array[float]]", before: bytes
) -> _CandidateText:
    """A part's share of a column, after the bytes left over by the parts before."""
    if known is not _EMPTY and known.before == before:
        return known
    data = b"".join([before, *map(_raw, columns)])
    end = len(data) // 3 * 3
    return _CandidateText(before, b64encode(memoryview(data)[:end]), data[end:])


def _share_of_text(text: str, start: int, end: int) -> _CandidateText:
    """A part's share of a column that was read: its bytes from `start` to before `end`."""

    def before(place: int) -> bytes:
        """The bytes before an offset in its group of three."""
        group = place // 3 * 4
        return b64decode(text[group : group + 4])[: place % 3] if place % 3 else b""

    return _CandidateText(before(start), text[start // 3 * 4 : end // 3 * 4].encode(), before(end))


class PieceEncoder:
    """Encodes the pieces of tokens, to which more are added."""

    def __init__(self, read: "ReadPieces | None" = None) -> None:
        """`read`: the pieces of a file."""
        self._tokens: list[int] = []
        self._encoded: list[Piece] = []
        """The encoded piece of each token, in this order."""
        self._columns = {"token": array("i"), "flags": array("B"), "length": array("i")}
        self._data: list[bytes] = []
        self._packed: dict[str, Text] = {}
        if read is not None:
            self._tokens, self._encoded = [*read.pieces], [*read.pieces.values()]
            self._columns = {"token": read.token, "flags": read.flags, "length": read.length}
            self._data = [read.data]

    def encode(self, tokens: set[int], pieces: Mapping[int, Piece]) -> dict[str, Text]:
        """The pieces of these tokens, which include all earlier ones."""
        if len(tokens) > len(self._tokens):
            self._tokens += sorted(tokens.difference(self._tokens))
        current = [pieces[token] if token in pieces else unknown_piece(token) for token in self._tokens]
        unchanged = len(self._encoded)
        if current[:unchanged] != self._encoded:  # a piece has changed
            unchanged = 0
            self._columns = {name: column[:0] for name, column in self._columns.items()}
            self._data = []
        if added := current[unchanged:]:
            self._encoded, self._packed = current, {}
            self._columns["token"].extend(self._tokens[unchanged:])
            self._columns["flags"].extend([_CONTROL * piece.control | _ENDS * piece.ends for piece in added])
            self._columns["length"].extend([len(piece.data) for piece in added])
            self._data.append(b"".join([piece.data for piece in added]))
        if not self._packed:
            self._packed = {name: packed([_raw(column)]) for name, column in self._columns.items()}
            self._packed["data"] = packed(self._data)
        return self._packed


def packed(parts: Iterable[bytes]) -> Text:
    """Joined bytes as base64."""
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
    """A field of exactly this type: a bool is no int here."""
    value = table.get(name)
    if not isinstance(value, kind) or type(value) is not kind:
        raise BadArchive(f"{name}: missing, or of the wrong type")
    return value


def unpacked(table: dict[str, object], name: str, column: "array[_N]") -> "array[_N]":
    """A column, decoded into an empty array."""
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
    """A tree that was read, with its columns."""

    nodes: list[Node]
    """The nodes, the root first."""
    facts: list[list[Any]]
    """The nodes' attributes, in the order of `FACTS`."""
    parents: "array[int]"
    rows: "array[int]"
    columns: "dict[str, array[int] | array[float]]"
    """The columns with one value for each node, without parents, including those that the file lacks."""
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
    """The tree of a table. `pieces`: those of its tokens. Raises BadArchive."""
    ints = {name: unpacked(table, name, array("i")) for name in INTS}
    floats = {name: unpacked(table, name, array("d")) for name in FLOATS}
    flags = unpacked(table, "flags", array("B"))
    # Older files do not have this column.
    nothing = array("B", bytes(len(flags)))
    played = unpacked(table, "played", array("B")) if "played" in table else nothing
    # These are left out if all numbers are exact.
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
    # Nodes and `facts` share these objects, so that unchanged nodes compare equal quickly.
    token_list = tokens.tolist()
    takens = _takens(ints["taken_rank"], floats["taken_logprob"], at_least)
    distributions = _distributions(rows, floats["entropy_bits"], slack, ids, logprobs)
    nodes = grown(parents, token_list, takens, distributions, [flag & _VISITED for flag in flags])
    if not pieces.keys() >= set(token_list[1:]) or sum(len(node.children) for node in nodes) != len(nodes) - 1:
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
    # Older files do not have this column: there the newest node counts as the latest.
    seen = unpacked(table, "seen", array("i")) if "seen" in table else array("i", bytes(4 * len(nodes)))
    if len(seen) != len(nodes) or min(seen) < 0:
        raise BadArchive("seen: not as many as nodes, or below 0")
    visits = seen.tolist()
    for node, when in zip(nodes, visits, strict=True):
        node.seen = when
    if "seen" in table:
        tree, latest = nodes[0].tree, max(visits)
        last = nodes[visits.index(latest)]
        # Only if it was visited: else a later visit would not count.
        tree.visits, tree.visited = latest, last if latest and last.visited else None
    facts: dict[str, list[Any]] = {
        "distribution": distributions,
        "taken": takens,
        "checked": checked,
        "differs": differs,
        "seen": visits,
        "visited": [flag & _VISITED > 0 for flag in flags],
        "ahead": [False] * len(nodes),
        "played": [value > 0 for value in played],
        "token": token_list,
    }
    columns: dict[str, array[int] | array[float]] = {**ints, **floats, "flags": flags, "played": played, "seen": seen}
    columns |= {"slack_bits": slack, "taken_at_least": at_least}
    del columns["parent"]
    read = [facts[name] for name in FACTS]
    return ReadTree(nodes, read, parents, rows, columns, value_of(table, "ids", str), value_of(table, "logprobs", str))


_BELOW_1 = bytes([*range(0x3F), *range(0x80, 0xFF)])
"""Highest bytes that only finite doubles below 1 have; some of these have other ones."""


def _are_below_1(values: "array[float]") -> bool:
    """Whether the highest bytes prove all numbers finite and below 1. False proves nothing."""
    return not _raw(values)[7::8].translate(None, _BELOW_1)


def _within(values: "array[float]", least: float, most: float) -> bool:
    """Whether all numbers are from `least` to `most`; False with a NaN."""
    # The sum is NaN if a number is, or if both infinities occur.
    return not values or (max(values) <= most and min(values) >= least and not math.isnan(sum(values)))


_make = tuple.__new__
"""Makes a named tuple much faster than its class does."""


def _takens(ranks: "array[int]", logprobs: "array[float]", at_least: "array[int]") -> list[TokenLogprob | None]:
    takens: list[TokenLogprob | None] = []
    for rank, logprob, bound in zip(ranks, logprobs, at_least, strict=True):
        if rank:
            takens.append(_make(TokenLogprob, (logprob, rank, bound == 1)))
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
        row_ids = ids[start:end]
        if len(set(row_ids)) != count:
            raise BadArchive("ids: a token twice in one table")
        distributions.append(Distribution(entropy, row_ids, logprobs[start:end], more))
        start = end
    return distributions
