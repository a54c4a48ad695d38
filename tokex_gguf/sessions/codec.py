"""Encodes a session as bytes, and decodes it: `Encoder` and `load`. Pure.

One JSON object, described in docs/reference/session-file.md, with a game for each model. The tree's numbers are columns
in base64 (`columns`): that keeps every bit, and ten thousand tables are written in milliseconds instead of seconds.

`Encoder.encode` may run in another thread while the game goes on. A session is immutable, and its
tree only grows: a value that comes meanwhile is in the result as a whole, or not at all.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import NamedTuple, TypeVar
from zlib import crc32

from tokex_gguf.engine.protocol import Capability, Loaded
from tokex_gguf.play.game import (
    Editing,
    EditState,
    Game,
    Hidden,
    Known,
    Prompt,
    Results,
    Sampling,
    Settings,
    Turns,
    text_of,
)
from tokex_gguf.play.screens import (
    Constraining,
    Find,
    Input,
    Insert,
    NewPrompt,
    SamplerText,
    SearchScreen,
    TypingScreen,
)
from tokex_gguf.play.session import Options, Palette, Session, TypedBefore
from tokex_gguf.play.versus import (
    ALONE,
    UNPAIRED,
    AgainstModel,
    AgainstPrompt,
    Alone,
    ByDistributions,
    Pair,
    Paired,
    Versus,
)
from tokex_gguf.sessions.columns import (
    BadArchive,
    PieceEncoder,
    ReadPieces,
    ReadTree,
    Text,
    TreeEncoder,
    pieces_of,
    tree_of,
    value_of,
)
from tokex_gguf.sessions.summary import FORMAT, NAME_CHARACTERS, TEXT_CHARACTERS, VERSION, Stamp, Summary
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.history import MOST_TEXTS, History
from tokex_gguf.values.layers import DELTA, LENS_LAYERS, PLAIN, every_layer
from tokex_gguf.values.model_comparison import ModelComparison
from tokex_gguf.values.model_ref import GgufFile, ModelRef, model_at
from tokex_gguf.values.outline import Order
from tokex_gguf.values.random_numbers import RANDOM_SEED
from tokex_gguf.values.record import replace
from tokex_gguf.values.samplers import KINDS, Chain, Kind, Sampler
from tokex_gguf.values.score import Score
from tokex_gguf.values.tokens import Piece, visible
from tokex_gguf.values.tree import Node

_MOST_BYTES = 1 << 30
"""Bytes of a document that is read, at the most."""
_MOST_ROWS = 1000
"""Upper bound of a session's prompts, scores and so on."""
_MOST_INT = 2**31 - 1
_MOST_REAL = 1e9
"""Upper bound of samplers' parameters and biases."""
_EARLIER_CHARACTERS = 1 << 16
"""Characters of a screen's earlier texts that are saved: a save happens about every second."""
_SCREENS: dict[str, type[TypingScreen]] = {
    "input": Input,
    "insert": Insert,
    "new": NewPrompt,
    "constraint": Constraining,
    "samplers": SamplerText,
    "search": SearchScreen,
    "find": Find,
}
"""The screens whose texts are saved, by their names in the file."""
_UNUSED = {"typed": "input", "inserted": "insert", "unopened": "new"}
"""Fields for the unused texts of some of them, as older files have them."""

_T = TypeVar("_T")


# --- writing


class _EncodedGame(NamedTuple):
    """The game with one model, encoded."""

    members: list[bytes]
    """The game's fields, without the braces around them, in parts."""
    tokens: int
    """Tokens on all visited paths."""


class Encoder:
    """Encodes the states of one session; only changes since the last one are encoded again. Not thread-safe."""

    def __init__(self, *, numbers: bool = True) -> None:
        """`numbers`: whether distributions are saved; else they are computed again."""
        self._numbers = numbers
        self.games: dict[Node, _GameEncoder] = {}
        """Encoders of games by the roots of their trees."""

    def encode(self, session: Session, stamp: Stamp, give_way: Callable[[], object] = lambda: None) -> list[bytes]:
        """The session as a document, in parts, without searches and requests under way.

        `give_way` is called often, to let other threads run.
        """
        try:
            return self._encode(session, stamp, give_way)
        except BaseException:
            # The encoder of a tree may have seen only a part of it.
            self.games = {}
            raise

    def _encode(self, session: Session, stamp: Stamp, give_way: Callable[[], object]) -> list[bytes]:
        active = played(session)
        if session.game is not active and session.game.editing:  # the edit belongs to the active game
            game = self._game(replace(active, editing=session.game.editing), give_way)
        else:
            game = self._game(active, give_way)
        others = [
            self._game(other, give_way)
            for other in session.other_games.values()
            if other is not active and other.prompts
        ]
        shown: dict[str, object] = {
            "layer": session.options.layer.name,
            "palette": session.options.palette.value,
            "mouse": session.options.mouse,
            "order": session.options.order.value,
            "by_final": session.options.by_final,
        }
        shown |= {} if session.options.shows_ahead else {"ahead": False}
        shown |= {name: True for name in ("ghost", "by_delta") if getattr(session.options, name)}
        if isinstance(session.paired, Pair) and session.second:
            against = session.game.versus
            before = {"before": against.before.name} if isinstance(against, AgainstModel) else {}
            shown["beside"] = {**_model_place(session.second.settings.model), **before}
        shown |= _typed_fields(session)
        about = _summary(active, stamp, game.tokens + sum(other.tokens for other in others), len(others) + 1)
        roots = {active.known.root, *(other.known.root for other in session.other_games.values())}
        self.games = {root: encoder for root, encoder in self.games.items() if root in roots}
        text = json.dumps(shown, separators=(",", ":")).encode()[1:-1]
        return sealed(
            [
                b'{"about":%s,%s,' % (about.encoded(), text),
                *game.members,
                b',"others":[',
                *(part for index, other in enumerate(others) for part in (b",{"[not index :], *other.members, b"}")),
                b"]}",
            ]
        )

    def _game(self, game: Game, give_way: Callable[[], object]) -> _EncodedGame:
        if game.known.root not in self.games:
            self.games[game.known.root] = _GameEncoder(game.known.root, numbers=self._numbers)
        return self.games[game.known.root].encode(game, give_way)


def dump(session: Session) -> bytes:
    """The session as a document with an empty stamp."""
    return b"".join(Encoder().encode(session, Stamp()))


def played(session: Session) -> Game:
    """The active game; while another model is being loaded, the game before it."""
    return session.game if session.game.prompts else session.other_games.get(session.origin, session.game)


def summary_of(session: Session) -> Summary:
    """The summary of a session whose file has none."""
    return _summary(session.game, Stamp(), 0, 1)


def _summary(game: Game, stamp: Stamp, tokens: int, games: int) -> Summary:
    text, length = "", 0
    if game.prompts:
        length = game.prompt.tip.depth
        beginning = game.prompt.tip.nodes()[: TEXT_CHARACTERS + 1]
        text = visible(text_of(game, beginning[-1]).decode(errors="replace"))
    return Summary(
        sequence=stamp.sequence,
        saved=stamp.saved,
        moves=stamp.moves,
        tokens=tokens,
        length=length,
        prompts=len(game.prompts),
        games=games,
        model=visible(_name(game))[:TEXT_CHARACTERS],
        text=text if len(text) <= TEXT_CHARACTERS else f"{text[:TEXT_CHARACTERS]}…",
        asked=visible(game.settings.model.called)[-NAME_CHARACTERS:],
    )


def _name(game: Game) -> str:
    """The model's name in a list, with its server."""
    served = f" ⇄ {game.settings.model.server}" if game.settings.model.server else ""
    return f"{game.model.name}{served}" if game.model else ""


def _model_place(model: ModelRef) -> dict[str, object]:
    """A model's file or server, and the player's name for it."""
    return {"file": model.path if isinstance(model, GgufFile) else model.url, "asked": model.asked}


class _GameEncoder:
    """Encodes the states of one game."""

    def __init__(
        self, root: Node, tree: ReadTree | None = None, pieces: ReadPieces | None = None, *, numbers: bool = True
    ) -> None:
        """`tree`, `pieces`: the game as read from a file."""
        self._tree = TreeEncoder(root, tree, numbers=numbers)
        self._pieces = PieceEncoder(pieces)
        self._tree.mentioned.update(pieces.token if pieces else ())

    def encode(self, game: Game, give_way: Callable[[], object]) -> _EncodedGame:
        """The present state of the game; its tree may grow meanwhile."""
        rolls = list(game.known.rolls.items())  # an atomic copy: draws may come meanwhile
        tree = self._tree.encode(_nodes_to_save(game).union(node for (_, node), _ in rolls), give_way)
        place = self._tree.place

        def parent(one: Prompt) -> int | None:
            """The index of the prompt's parent. None if it is not saved: no save fails for that."""
            try:
                return None if one.parent is None else place(one.parent)
            except KeyError:
                return None

        def prompt(one: Prompt) -> list[int | None]:
            tokens = (one.selected, one.popped, one.chosen)
            self._tree.mentioned.update(token for token in tokens if token is not None)
            cursor = None if one.cursor is None else place(one.cursor)
            return [place(one.tip), one.selected, one.popped, cursor, one.chosen]

        document = {
            **_model_place(game.settings.model),
            "model": _model_fields(game.model) if game.model else None,
            "context": game.context,
            "prompts": [prompt(one) for one in game.prompts],
            "active": game.active,
            "removed": [[index, *prompt(one)] for index, one in game.removed],
            "scores": [[place(score.base), place(score.tip)] for score in game.results.scores],
            "versus": _versus_fields(game.versus, place),
            "begins": [min(one.begins, one.tip.depth) for one in game.prompts],
            "removed_begins": [min(one.begins, one.tip.depth) for _, one in game.removed],
            "parents": [parent(one) for one in game.prompts],
            "removed_parents": [parent(one) for _, one in game.removed],
            "sampling": _sampling_fields(game.sampling),
            "rolls": [[seed, place(node), count] for (seed, node), count in rolls],
            "names": [[index, one.name] for index, one in enumerate(game.prompts) if one.name],
            "removed_names": [[index, one.name] for index, (_, one) in enumerate(game.removed) if one.name],
            "pruned": list(map(place, game.hidden.pruned)),
            "folded": sorted(map(place, game.hidden.folded)),
            "assistant": None if game.said is None else sorted(map(place, game.said)),
        }
        along = next((index for index, one in enumerate(game.prompts) if one.along), None)
        if along is not None:
            document["along"] = along
        if game.is_chat:
            document["chat"] = True
        if game.editing and game.editing.state is not EditState.OPEN:
            document["edited"] = game.editing.text
        # Tokens with a bias may be in no table.
        self._tree.mentioned.update(token for token, _ in game.sampling.chain.bias if token in game.known.pieces)
        give_way()
        # Read after the tree: a piece comes before anything that mentions its token.
        pieces = self._pieces.encode(self._tree.mentioned, game.known.pieces)
        # Columns are added as text, as base64 needs no escapes: the JSON encoder would block other threads.
        text = json.dumps(document, separators=(",", ":")).encode()
        parts = [text[1:-1], b',"nodes":{', *_members(tree.columns), b'},"pieces":{', *_members(pieces), b"}"]
        return _EncodedGame(parts, tree.visited)


def _sampling_fields(sampling: Sampling) -> dict[str, object]:
    """The chain with the samplers that are off, constraint and seed. A banned token has null: JSON has no infinity."""
    limit = sampling.constraint
    return {
        **_chain_fields(sampling.chain),
        "constraint": None if limit is None else [limit.kind, limit.text],
        "seed": sampling.seed,
        "own": [_chain_fields(chain) for chain in sampling.own],
    }


def _typed_fields(session: Session) -> dict[str, object]:
    """The typed texts, without empty fields; of earlier texts, the newest."""
    histories, kinds = session.typed_histories, session.kinds
    unused = {name: histories[kind].unfinished for name, kind in _SCREENS.items() if kind in histories}
    earlier = {name: _newest(histories[kind].texts) for name, kind in _SCREENS.items() if kind in histories}
    constraints = [unused.get("constraint", ""), *earlier.get("constraint", ())]
    fields: dict[str, object] = {field: unused.pop(name, "") for field, name in _UNUSED.items()}
    fields["left"] = {name: text for name, text in unused.items() if text}
    fields["earlier"] = {name: texts for name, texts in earlier.items() if texts}
    fields["kinds"] = [[kinds[text], text] for text in constraints if text in kinds]
    return {name: value for name, value in fields.items() if value}


def _newest(texts: tuple[str, ...]) -> list[str]:
    """The newest of some texts, as many as fit."""
    room, newest = _EARLIER_CHARACTERS, list[str]()
    for text in reversed(texts):
        room -= len(text)
        if room < 0:
            break
        newest.insert(0, text)
    return newest


def _versus_fields(versus: Versus, place: Callable[[Node], int]) -> list[object] | None:
    """The prompts that are compared, and the layer before the comparison."""
    match versus:
        case AgainstPrompt(a, b, before):
            return [place(a), place(b), before.name]
        case Alone() | AgainstModel():
            return None


def _chain_fields(chain: Chain) -> dict[str, object]:
    return {
        "samplers": [[one.kind, list(one.values), one.on] for one in chain.samplers],
        "bias": [[token, None if amount == -math.inf else amount] for token, amount in chain.bias],
        "breakers": list(chain.breakers),
    }


def _model_fields(model: Loaded) -> dict[str, object]:
    """The saved fields of a model. Its engine reports capabilities and recommended samplers again when it is loaded."""
    values = asdict(model)
    del values["capabilities"], values["sampling"], values["suppressed"], values["vocabulary"]
    return {name: value for name, value in values.items() if value or name not in ("server", "candidates")}


def _members(columns: dict[str, Text]) -> list[bytes]:
    """Columns as members of a JSON object, in parts."""
    parts = [part for name, text in columns.items() for part in (b'","%s":"' % name.encode(), *text)]
    return [parts[0].removeprefix(b'",'), *parts[1:], b'"']


def seal(body: bytes) -> bytes:
    """The document with this session, given as JSON, and its checksum."""
    return b"".join(sealed([body]))


def sealed(body: Iterable[bytes]) -> list[bytes]:
    """As `seal`, in parts."""
    parts, checksum = list(body), 0
    for part in parts:
        checksum = crc32(part, checksum)
    return [_head(checksum), *parts, b"}"]


def _head(checksum: int, version: int = VERSION) -> bytes:
    return b'{"format":"%s","version":%d,"crc32":%d,"session":' % (FORMAT.encode(), version, checksum)


def _nodes_to_save(game: Game) -> set[Node]:
    """Nodes that must be saved even if they have no values."""
    prompts = [*game.prompts, *(prompt for _, prompt in game.removed)]
    scored = {node for score in game.results.scores for node in (score.base, score.tip)}
    cursors = {prompt.cursor for prompt in prompts if prompt.cursor}
    parents = {prompt.parent for prompt in prompts if prompt.parent}
    tips = {prompt.tip for prompt in prompts}
    if isinstance(game.versus, AgainstPrompt):
        tips |= {game.versus.a, game.versus.b}
    return tips.union(cursors, parents, scored, game.said or (), game.hidden.pruned, game.hidden.folded)


# --- reading


def load(data: bytes, settings: Settings) -> Session:
    """The session of a document, as from `read`."""
    return read(data, settings)[0]


def read(data: bytes, settings: Settings) -> tuple[Session, Encoder]:
    """The session of a document, its engine still to be loaded. Raises BadArchive, and nothing else.

    The encoder reuses the encoding of the bytes that were read.

    The session keeps its model: if the engine has loaded another one, `update` reports it, and the
    session can be viewed only. If `settings` name no model, the document's own is used.
    """
    encoder = Encoder()
    try:
        return _session(_checked_document(data), settings, encoder), encoder
    except (RecursionError, MemoryError):
        # Not chained, so that the traceback does not keep the memory.
        raise BadArchive("nested too deeply, or too large for the memory") from None


def _checked_document(data: bytes) -> dict[str, object]:
    """The session's object in a document of this format and version, with a right checksum. Raises BadArchive."""
    if len(data) > _MOST_BYTES:
        raise BadArchive(f"larger than {_MOST_BYTES >> 20} MB")
    try:
        document = json.loads(data.decode())
    except ValueError:
        raise BadArchive("not JSON: cut off or damaged" if data else "empty") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BadArchive("not a session of tokex-gguf")
    version = value_of(document, "version", int)
    if version > VERSION:
        raise BadArchive("made by a newer version of the program")
    if version < 1:
        raise BadArchive("version: there is no such version")
    checksum = _number(document.get("crc32"), "crc32", 0, 2**32 - 1)
    if not data.startswith(head := _head(checksum, version)) or crc32(memoryview(data)[len(head) : -1]) != checksum:
        raise BadArchive("damaged: the checksum is another one")
    return value_of(document, "session", dict)


def _session(document: dict[str, object], settings: Settings, encoder: Encoder) -> Session:
    game = _game(document, settings, encoder)
    own_key = model_at(value_of(document, "file", str), str(document.get("asked", ""))).key
    other_games: dict[str, Game] = {}
    for table in _tables(document, "others"):
        other = _game(table, replace(settings, model=GgufFile(""), text="", chat=""), encoder)
        key = other.settings.model.key
        if key in other_games or key == own_key:
            raise BadArchive("others: two games of one model")
        other_games[key] = other
    layer = _one_of(document, "layer", every_layer() | {layer.name: layer for layer in LENS_LAYERS})
    paired: Paired = UNPAIRED
    if "beside" in document:
        table = value_of(document, "beside", dict)
        model = GgufFile(_path(table), value_of(table, "asked", str))
        comparison, before = ModelComparison(), PLAIN if layer is DELTA else layer
        if "before" in table:  # older files do not have it
            before = _one_of(table, "before", every_layer())
        versus = AgainstModel.of(model.key, before, comparison, same_file=model.key == own_key)
        game, paired = replace(game, versus=versus), Pair(model.key, ByDistributions(comparison))
        if model.key not in (own_key, *other_games):  # a model without a game yet
            other_games[model.key] = Game(replace(settings, model=model, text="", chat=""))
    orders = {order.value: order for order in Order}
    return Session(
        game,
        options=Options(
            order=_one_of(document, "order", orders) if "order" in document else Order.RECENT,
            layer=layer,
            palette=_one_of(document, "palette", {palette.value: palette for palette in Palette}),
            mouse=value_of(document, "mouse", bool),
            by_final=value_of(document, "by_final", bool) if "by_final" in document else False,
            shows_ahead=value_of(document, "ahead", bool) if "ahead" in document else True,
            ghost=value_of(document, "ghost", bool) if "ghost" in document else False,
            by_delta=value_of(document, "by_delta", bool) if "by_delta" in document else False,
        ),
        paired=paired,
        begun=True,
        other_games=other_games,
        typed=_typed(document),
    )


def _typed(document: dict[str, object]) -> TypedBefore:
    """The typed texts; older files have some of them, or none."""
    left, earlier = (value_of({name: {}, **document}, name, dict) for name in ("left", "earlier"))
    unused = {name: _text(left, name) for name in _SCREENS}
    unused |= {name: _text(document, field) for field, name in _UNUSED.items()}
    told = {kind: History(_texts(earlier, name), unused[name]) for name, kind in _SCREENS.items()}
    histories = {kind: history for kind, history in told.items() if history != History()}
    written = {kind.value: kind for kind in ConstraintKind}
    rows = _rows(document.get("kinds", []), "kinds", 2)
    kinds = {_text({"kinds": text}, "kinds"): _one_of({"kinds": kind}, "kinds", written) for kind, text in rows}
    return TypedBefore(histories, kinds)


def _texts(table: dict[str, object], name: str) -> tuple[str, ...]:
    """The earlier texts of a screen; none if the field is missing."""
    values = value_of({name: [], **table}, name, list)
    texts = tuple(_text({name: value}, name) for value in values)
    if len(texts) > MOST_TEXTS or len(set(texts)) != len(texts) or "" in texts:
        raise BadArchive(f"{name}: too many texts, or one of them twice, or an empty one")
    return texts


def _tables(table: dict[str, object], name: str) -> list[dict[str, object]]:
    """A field that is a list of objects; files of version 1 have none."""
    rows = table.get(name, [])
    if type(rows) is not list or len(rows) > _MOST_ROWS or not all(type(row) is dict for row in rows):
        raise BadArchive(f"{name}: too many, or not objects")
    return rows


def _game(document: dict[str, object], settings: Settings, encoder: Encoder) -> Game:
    file = _path(document)
    # Older files do not have it. It may hold surrogates, from a command line that is not Unicode.
    asked = value_of(document, "asked", str) if "asked" in document else ""
    model = None if document.get("model") is None else _model(value_of(document, "model", dict))
    read = pieces_of(value_of(document, "pieces", dict), (model.vocab_size if model else 0) or _MOST_INT)
    pieces = read.pieces
    columns = value_of(document, "nodes", dict)
    tree = tree_of(columns, pieces)
    nodes = tree.nodes
    encoder.games[nodes[0]] = _GameEncoder(nodes[0], tree, read)
    if model is not None:  # so that layers show which numbers of this file are bounds
        inexact = {Capability.EXACT_ENTROPY: "slack_bits", Capability.EXACT_RANKS: "taken_at_least"}
        lacks = {capability for capability, column in inexact.items() if column in columns}
        model = replace(model, capabilities=model.capabilities - lacks)
    opened = [_prompt(row, nodes, pieces) for row in _list(document, "prompts", 5)]
    for prompt in opened:
        prompt.tip.sort()
    begun = _with_begins(document, "begins", opened)
    prompts = _with_along(document, _with_names(document, "names", _with_parents(document, "parents", begun, nodes)))
    if prompts and model is None:
        raise BadArchive("model: there are prompts, but no model")
    edited = _text(document, "edited")
    rows = _list(document, "removed", 6)
    places = [_number(row[0], "removed", 0, _MOST_ROWS) for row in rows]
    closed = _with_begins(document, "removed_begins", [_prompt(row[1:], nodes, pieces) for row in rows])
    removed = _with_names(document, "removed_names", _with_parents(document, "removed_parents", closed, nodes))
    return Game(
        editing=Editing(nodes[0], edited, EditState.SENT) if edited else None,
        # Older files have neither samplers nor draws.
        sampling=_sampling(value_of(document, "sampling", dict)) if "sampling" in document else Sampling(),
        known=Known(
            root=nodes[0], pieces=pieces, rolls=_rolls(document["rolls"], nodes) if "rolls" in document else {}
        ),
        settings=settings if settings.model.key else replace(settings, model=model_at(file, asked)),
        prompts=prompts,
        active=_number(document.get("active"), "active", 0, max(0, len(prompts) - 1)),
        removed=tuple(zip(places, removed, strict=True)),
        # Nodes of open prompts are not hidden, whatever the file says.
        hidden=Hidden(
            pruned=tuple(
                node
                for node in _places(document, "pruned", nodes)
                if not any(prompt.tip.descends_from(node) for prompt in prompts)
            ),
            folded=frozenset(_places(document, "folded", nodes)),
        ),
        results=Results(scores=tuple(_score(row, nodes) for row in _list(document, "scores", 2))),
        versus=_versus(document.get("versus"), nodes),
        turns=Turns(_said(document, nodes), value_of({"chat": False, **document}, "chat", bool)),
        model=model,
        context=_number(document.get("context"), "context", 0, _MOST_INT),
    )


def _path(table: dict[str, object]) -> str:
    """A model's file, or a server's address."""
    file = value_of(table, "file", str)
    if "\0" in file:
        raise BadArchive("file: not a path")
    return file


def _text(table: dict[str, object], name: str) -> str:
    """A field of Unicode text; "" if it is missing."""
    if name not in table:
        return ""
    value = value_of(table, name, str)
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise BadArchive(f"{name}: not Unicode")
    return value


def _number(value: object, name: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise BadArchive(f"{name}: not a whole number from {least} to {most}")
    return value


def _list(table: dict[str, object], name: str, width: int) -> list[list[object]]:
    """A field that is a list of lists of `width` values each."""
    rows = value_of(table, name, list)
    if len(rows) > _MOST_ROWS or not all(type(row) is list and len(row) == width for row in rows):
        raise BadArchive(f"{name}: too many, or not lists of {width} values")
    return rows


def _one_of(table: dict[str, object], name: str, values: dict[str, _T]) -> _T:
    value = value_of(table, name, str)
    if value not in values:
        raise BadArchive(f"{name}: there is no such value")
    return values[value]


def _model(table: dict[str, object]) -> Loaded:
    # Servers may not report it.
    size = _number(table.get("vocab_size"), "vocab_size", 0 if table.get("server") else 1, _MOST_INT)
    bos = table.get("bos")
    return Loaded(
        name=value_of(table, "name", str),
        architecture=value_of(table, "architecture", str),
        quantization=value_of(table, "quantization", str),
        vocab_size=size,
        context=_number(table.get("context"), "context", 0, _MOST_INT),
        context_limit=_number(table.get("context_limit"), "context_limit", 0, _MOST_INT),
        bos=None if bos is None else _number(bos, "bos", 0, (size or _MOST_INT) - 1),
        space_prefix=value_of(table, "space_prefix", bool),
        fingerprint=value_of(table, "fingerprint", str),
        # Version 0.1.0 did not have these.
        cells=value_of({"cells": "", **table}, "cells", str),
        arithmetic=value_of({"arithmetic": "", **table}, "arithmetic", str),
        # Local models have neither.
        server=value_of({"server": "", **table}, "server", str),
        candidates=_number(table.get("candidates", 0), "candidates", 0, _MOST_INT),
    )


def _places(table: dict[str, object], name: str, nodes: list[Node]) -> list[Node]:
    """A list of nodes; older files do not have it."""
    rows = table.get(name, [])
    if type(rows) is not list or len(rows) > len(nodes):
        raise BadArchive(f"{name}: not a list of nodes")
    return [_place(value, name, nodes) for value in rows]


def _with_names(table: dict[str, object], name: str, prompts: list[Prompt]) -> tuple[Prompt, ...]:
    """Prompts with their names, which older files do not have."""
    for row in _list(table, name, 2) if name in table else []:
        index = _number(row[0], name, 0, len(prompts) - 1)
        prompts[index] = replace(prompts[index], name=_text({name: row[1]}, name))
    return tuple(prompts)


def _with_along(table: dict[str, object], prompts: tuple[Prompt, ...]) -> tuple[Prompt, ...]:
    """Prompts with the one that is carried to the second model marked; older files do not have it."""
    if "along" not in table:
        return prompts
    along = _number(table["along"], "along", 0, len(prompts) - 1)
    return (*prompts[:along], replace(prompts[along], along=True), *prompts[along + 1 :])


def _said(table: dict[str, object], nodes: list[Node]) -> frozenset[Node] | None:
    """The assistant's tokens; older files do not have them."""
    rows = table.get("assistant", [])
    if rows is None:
        return None
    if type(rows) is not list or len(rows) > len(nodes):
        raise BadArchive("assistant: not a list of nodes")
    return frozenset(_place(value, "assistant", nodes) for value in rows)


def _place(value: object, name: str, nodes: list[Node]) -> Node:
    """A node that is not the root, by its index."""
    return nodes[_number(value, name, 1, len(nodes) - 1)]


def _prompt(row: list[object], nodes: list[Node], pieces: dict[int, Piece]) -> Prompt:
    tip = _place(row[0], "prompts", nodes)
    cursor = None if row[3] is None else _place(row[3], "prompts", nodes)
    if cursor and not tip.descends_from(cursor):
        raise BadArchive("prompts: a cursor beside its path")
    tokens = [None if value is None else _number(value, "prompts", 0, _MOST_INT) for value in (row[1], row[2], row[4])]
    if not all(token is None or token in pieces for token in tokens):
        raise BadArchive("prompts: a token without its piece")
    return Prompt(tip, tokens[0], tokens[1], cursor, tokens[2])


def _with_begins(table: dict[str, object], name: str, prompts: list[Prompt]) -> list[Prompt]:
    """Prompts with the depth at which the model's text begins; in older files, the number of given tokens."""
    values = table.get(name, [prompt.tip.given for prompt in prompts])
    if type(values) is not list or len(values) != len(prompts):
        raise BadArchive(f"{name}: not one for each prompt")
    return [
        replace(prompt, begins=_number(value, name, 0, prompt.tip.depth))
        for prompt, value in zip(prompts, values, strict=True)
    ]


def _with_parents(table: dict[str, object], name: str, prompts: list[Prompt], nodes: list[Node]) -> list[Prompt]:
    """Prompts with their parents, the tips that they were copied from; older files do not have them."""
    values = table.get(name, [None] * len(prompts))
    if type(values) is not list or len(values) != len(prompts):
        raise BadArchive(f"{name}: not one for each prompt")
    return [
        replace(prompt, parent=None if value is None else _place(value, name, nodes))
        for prompt, value in zip(prompts, values, strict=True)
    ]


def _sampling(table: dict[str, object]) -> Sampling:
    own = tuple(map(_chain, _tables(table, "own")))
    return Sampling(_chain(table), _constraint(table), _number(table.get("seed"), "seed", 0, RANDOM_SEED), own)


def _chain(table: dict[str, object]) -> Chain:
    samplers = [_sampler(row) for row in _list(table, "samplers", 3)]
    if len({one.kind for one in samplers}) != len(samplers):
        raise BadArchive("samplers: one of them twice")
    rows = _rows(table.get("bias"), "bias", 2)
    bias = {
        _number(token, "bias", 0, _MOST_INT): -math.inf if amount is None else _real(amount, "bias")
        for token, amount in rows
    }
    if len(bias) != len(rows) or 0 in bias.values():
        raise BadArchive("bias: of one token twice, or of 0")
    breakers = value_of(table, "breakers", list)
    if len(breakers) > _MOST_ROWS:
        raise BadArchive("breakers: too many")
    texts = [_text({"breakers": text}, "breakers") for text in breakers]
    return Chain(tuple(samplers), tuple(sorted(bias.items())), tuple(texts))


def _sampler(row: list[object]) -> Sampler:
    kind = _one_of({"samplers": row[0]}, "samplers", {kind.value: kind for kind in Kind})
    values, on = row[1], row[2]
    if type(values) is not list or len(values) != len(KINDS[kind].parameters) or type(on) is not bool:
        raise BadArchive("samplers: not kind, values, and whether it is on")
    return Sampler(kind, tuple(_real(value, "samplers") for value in values), on)


def _real(value: object, name: str) -> float:
    """A finite number within llama.cpp's range."""
    if type(value) not in (int, float) or not -_MOST_REAL <= value <= _MOST_REAL:  # type: ignore[operator]
        raise BadArchive(f"{name}: not a number from -{_MOST_REAL:.0e} to {_MOST_REAL:.0e}")
    return float(value)  # type: ignore[arg-type]


def _constraint(table: dict[str, object]) -> Constraint | None:
    row = table.get("constraint")
    if row is None:
        return None
    if type(row) is not list or len(row) != 2:
        raise BadArchive("constraint: not kind and text")
    kind = _one_of({"constraint": row[0]}, "constraint", {kind.value: kind for kind in ConstraintKind})
    return Constraint(kind, _text({"constraint": row[1]}, "constraint"))


def _rows(rows: object, name: str, width: int) -> list[list[object]]:
    """A list of any number of lists of `width` values each."""
    if type(rows) is not list or not all(type(row) is list and len(row) == width for row in rows):
        raise BadArchive(f"{name}: not lists of {width} values")
    return rows


def _rolls(value: object, nodes: list[Node]) -> dict[tuple[int, Node], int]:
    """The number of draws by seed and path."""
    rows = _rows(value, "rolls", 3)
    rolls = {
        (_number(seed, "rolls", 0, RANDOM_SEED), _place(place, "rolls", nodes)): _number(count, "rolls", 1, _MOST_INT)
        for seed, place, count in rows
    }
    if len(rolls) != len(rows):
        raise BadArchive("rolls: one place and seed twice")
    return rolls


def _versus(row: object, nodes: list[Node]) -> Versus:
    """The comparison of the active prompt; older files do not have it."""
    if row is None:
        return ALONE
    if type(row) is not list or len(row) != 3:
        raise BadArchive("versus: not two nodes and a layer")
    before = _one_of({"versus": row[2]}, "versus", every_layer())
    return AgainstPrompt(_place(row[0], "versus", nodes), _place(row[1], "versus", nodes), before)


def _score(row: list[object], nodes: list[Node]) -> Score:
    base, tip = (_place(value, "scores", nodes) for value in row)
    if tip is base or not tip.descends_from(base):
        raise BadArchive("scores: a phrase that does not go on from its base")
    return Score(base, tip)
