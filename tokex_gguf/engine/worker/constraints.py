"""The legal tokens of a constraint after any path. The only importer of llguidance.

GBNF grammars go to llama.cpp's grammar sampler, all other constraints to llguidance. Neither gets input that would end
or hang the process (docs/decisions/0021-two-engines-for-constraints.md).
"""

import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokex_gguf.engine.worker import constraint_faults as faults
from tokex_gguf.engine.worker import gbnf
from tokex_gguf.engine.worker.ambiguity import MOST_WAYS, TooMany, Ways
from tokex_gguf.engine.worker.endings import endless
from tokex_gguf.engine.worker.llama import Grammar, GrammarError, ModelError, Vocabulary
from tokex_gguf.engine.worker.vocabulary_tree import VocabularyTree, starts_inside, unfinished
from tokex_gguf.values.constraint import Constraint, ConstraintKind, listed
from tokex_gguf.values.record import record
from tokex_gguf.values.tokens import visible

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

Mask: TypeAlias = NDArray[np.bool_]

MOST_CHARACTERS = 60_000
"""The most characters of a constraint: a schema of that length takes a second or two to compile."""
GUIDANCE = "x-guidance"
"""The key of a JSON schema with llguidance's own options."""
WHITE_SPACE = {"whitespace_pattern": r"( |\n{1,2}[ \t]{0,20})"}
"""The white space between the parts of a JSON text: the rule `space` of llama.cpp's own conversion of schemas."""
LONGEST_REASON = 160
"""Characters of a library's own message that are shown."""
MOST_CONSTRAINTS = 4
"""The most compiled constraints."""
MOST_KEPT = 256
"""The most states of a constraint that are kept."""
MOST_TOKENS_KEPT = 400_000
"""The most tokens of the paths to these states together."""
MOST_MATCHED = 16
"""The most regexes whose matching tokens are kept."""
MOST_FORCED = 200
"""The most tokens that `forced` gives."""
MOST_FORCED_BYTES = 800
"""The most bytes that `forced` looks ahead, with a mask for each."""


SLOWEST = 1.0
"""The most seconds of processor time for the mask after an ambiguous text."""
TOO_AMBIGUOUS = f"{ConstraintKind.GRAMMAR}: too ambiguous here: its possibilities grow with each letter"


class BadConstraint(Exception):
    """A constraint is invalid or too large. The message says why and where in one line."""


@record
class Legal:
    """The text fits the constraint so far."""

    mask: Mask
    """The tokens that may come next, shape (V,); do not change it."""
    complete: bool
    """Whether the text may end here. Only then, tokens that end a text are legal."""
    must_end: bool
    """Whether no other token is legal."""


@record
class Broken:
    """The text breaks the constraint."""

    at: int
    """The position of the first illegal token."""


LegalOrBroken: TypeAlias = Legal | Broken


class _Cursor(Protocol):
    """The state of a constraint after some tokens, none of which ends a text."""

    def advance(self, tokens: list[int]) -> int:
        """Advances up to the first illegal token; returns by how many."""

    def copy(self) -> Self:
        """An independent copy of the state."""

    def legal(self) -> tuple[Mask, bool]:
        """The tokens that may come next, and whether the text may end."""


@dataclass(slots=True)
class _AfterPath:
    """The state of a constraint after a path, with its mask once that was requested."""

    cursor: _Cursor
    bits: NDArray[np.uint8] | None = None
    """The mask, eight tokens a byte: 19 KB with Qwen's vocabulary."""
    complete: bool = False
    must_end: bool = False


class _Compiled:
    """A compiled constraint with its latest states."""

    def __init__(self, start: _Cursor) -> None:
        self._places: OrderedDict[tuple[int, ...], _AfterPath] = OrderedDict()
        self._start = start
        self._tokens = 0

    def at(self, tokens: list[int]) -> _AfterPath | int:
        """The state after these tokens, or the position of the first illegal one."""
        path = tuple(tokens)
        if place := self._places.get(path):
            self._places.move_to_end(path)
            return place
        known, cursor = self._nearest(path)
        cursor = cursor.copy()
        went = cursor.advance(tokens[known:])
        if known + went < len(tokens):
            return known + went
        place = self._places[path] = _AfterPath(cursor)
        self._tokens += len(path)
        while len(self._places) > MOST_KEPT or (self._tokens > MOST_TOKENS_KEPT and len(self._places) > 1):
            self._tokens -= len(self._places.popitem(last=False)[0])
        return place

    def _nearest(self, path: tuple[int, ...]) -> tuple[int, _Cursor]:
        """The length of the longest prefix of a path whose state is kept, and that state."""
        for length in sorted({len(kept) for kept in self._places if len(kept) < len(path)}, reverse=True):
            if place := self._places.get(path[:length]):
                return length, place.cursor
        return 0, self._start


class _Words:
    """The parts of a vocabulary that constraints need, each computed when it is first used."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.size = vocabulary.size
        self._of: dict[str, Mask] = {}

    @cached_property
    def texts(self) -> list[bytes]:
        """Each token's text; empty for special tokens, tokens that end a text, and bytes that UTF-8 never has."""
        texts = self.vocabulary.texts()
        never = re.compile(rb"[\xc0\xc1\xf5-\xff]")
        return [b"" if never.search(data) or token in self.ends else data for token, data in enumerate(texts)]

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        return np.array([len(data) for data in self.texts], np.int32)

    @cached_property
    def first(self) -> NDArray[np.int16]:
        """The first byte of each token's text; -1 where the text is empty."""
        return np.array([data[0] if data else -1 for data in self.texts], np.int16)

    @cached_property
    def ends(self) -> frozenset[int]:
        return frozenset(self.vocabulary.ends())

    @cached_property
    def ends_array(self) -> NDArray[np.intp]:
        return np.array(sorted(self.ends), np.intp)

    @cached_property
    def only_ends(self) -> Mask:
        mask = np.zeros(self.vocabulary.size, np.bool_)
        mask[self.ends_array] = True
        return mask

    @cached_property
    def tree(self) -> VocabularyTree:
        return VocabularyTree(self.texts)

    @cached_property
    def strings(self) -> list[str]:
        """The whole characters of each token's text."""
        return [data.decode("utf-8", "ignore") for data in self.texts]

    @cached_property
    def longest(self) -> int:
        """The most characters of a token's text."""
        return max(map(len, self.strings))

    def matching(self, regex: str) -> Mask:
        """The tokens whose text matches a regex."""
        if regex not in self._of:
            if len(self._of) > MOST_MATCHED:
                self._of.clear()
            fits = re.compile(regex, re.DOTALL).fullmatch
            self._of[regex] = np.array([fits(text) is not None for text in self.strings], np.bool_)
        return self._of[regex]

    @cached_property
    def named(self) -> dict[int, bytes]:
        """The names of tokens without text, as used in grammars; without tokens that end a text."""
        names = {token: self.vocabulary.piece(token) for token, data in enumerate(self.texts) if not data}
        return {
            token: piece.data
            for token, piece in names.items()
            if token not in self.ends and piece.data.startswith(b"<") and piece.data.endswith(b">")
        }

    @cached_property
    def tokenizer(self) -> "LLTokenizer":
        """The vocabulary for llguidance."""
        from llguidance import LLTokenizer, TokenizerWrapper

        # Slices make some masks up to 20 times as fast (0.1 ms, not 2), but take as long and as much memory to build
        # as all else together.
        return LLTokenizer(TokenizerWrapper(_Listed(self.texts, self.named)), slices=[])

    @property
    def tokenizer_built(self) -> bool:
        """Whether `tokenizer` is there. It takes up to a second for a large vocabulary."""
        return "tokenizer" in vars(self)


class Constraints:
    """Constraints on a vocabulary's tokens. Nothing is computed before the first one is used."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._words = _Words(vocabulary)
        self._compiled: OrderedDict[Constraint, _Compiled | str] = OrderedDict()
        """The latest constraints, or the errors in them."""

    def state(self, constraint: Constraint, tokens: list[int]) -> LegalOrBroken:
        """The state of a constraint after these tokens, which begin where the constraint begins.

        After a token that ends the text, only such tokens are legal. Raises BadConstraint.
        """
        compiled = self._ready(constraint)
        end = len(tokens)
        if not self._words.ends.isdisjoint(tokens):
            end = next(at for at, token in enumerate(tokens) if token in self._words.ends)
        place = compiled.at(tokens[:end])
        if isinstance(place, int):
            return Broken(place)
        self._look(place)
        if end < len(tokens):
            if not place.complete:
                return Broken(end)
            other = next((at for at in range(end, len(tokens)) if tokens[at] not in self._words.ends), None)
            return Legal(self._words.only_ends, complete=True, must_end=True) if other is None else Broken(other)
        assert place.bits is not None
        mask = np.unpackbits(place.bits, count=self._words.size).view(np.bool_)
        return Legal(mask, place.complete, place.must_end)

    def forced(self, constraint: Constraint, tokens: list[int]) -> tuple[list[int], bool]:
        """The tokens of the only text that can follow, up to the next choice; and whether more may be forced.

        There are at most MOST_FORCED tokens with MOST_FORCED_BYTES together.

        The text is forced, and its tokens are the tokenizer's: of `n`, `na` and `name`, which are all legal where
        `name` must come, the result has `name`. A token longer than the rest of the forced text is a choice, so the
        result stops before a token that it could replace. A place where the text may end is a choice as well. Empty
        after an illegal token. Raises BadConstraint.
        """
        text, spelled = self._forced_text(constraint, tokens)
        # A begun character is finished byte by byte; the tokenizer takes whole characters only.
        head = next((at for at, data in enumerate(text) if not starts_inside(data)), len(text))
        try:
            rest = b"".join(text[head:])
            whole = rest[: len(rest) - len(unfinished(rest))]
            canonical = self._words.vocabulary.continuation(whole.decode(), parse_special=False)
        except (ModelError, UnicodeDecodeError):
            canonical = spelled[head:]
        bytes_left = sum(map(len, text))
        taken: list[int] = []
        spelling = [*spelled[:head], *canonical]
        more = bytes_left >= MOST_FORCED_BYTES or len(spelling) > MOST_FORCED
        for token in spelling[:MOST_FORCED]:
            state = self.state(constraint, tokens + taken)
            if (
                not isinstance(state, Legal)
                or not state.mask[token]
                or self._words.lengths[state.mask].max() > bytes_left
            ):
                break
            taken.append(token)
            bytes_left -= int(self._words.lengths[token])
        return taken, more and bool(taken)

    def _forced_text(self, constraint: Constraint, tokens: list[int]) -> tuple[list[bytes], list[int]]:
        """The only text that can follow, in the shortest steps, and a token for each step."""
        text: list[bytes] = []
        spelled: list[int] = []
        while sum(map(len, text)) < MOST_FORCED_BYTES:
            state = self.state(constraint, tokens + spelled)
            if isinstance(state, Broken) or state.complete:
                break
            legal = np.flatnonzero(state.mask)
            if not len(legal) or (self._words.first[legal] != self._words.first[legal[0]]).any():
                break
            # The shortest legal text must be a prefix of all others: otherwise, after its first byte, the text may
            # go on in another way that is no token of its own.
            shortest = int(legal[self._words.lengths[legal].argmin()])
            step = self._words.texts[shortest]
            if not step or not all(self._words.texts[token].startswith(step) for token in legal):
                break
            text.append(step)
            spelled.append(shortest)
        return text, spelled

    def _look(self, place: _AfterPath) -> None:
        """Computes the mask of a state, if it is missing."""
        if place.bits is None:
            mask, place.complete = place.cursor.legal()
            mask[self._words.ends_array] = False
            place.must_end = place.complete and not mask.any()
            mask[self._words.ends_array] = place.complete
            place.bits = np.packbits(mask)

    # --- compiling

    def _ready(self, constraint: Constraint) -> _Compiled:
        compiled = self._compiled.get(constraint)
        if compiled is None:
            try:
                compiled = _Compiled(self._start(constraint))
                self._satisfiable(constraint, compiled)
            except BadConstraint as error:
                compiled = str(error)
            self._compiled[constraint] = compiled
            if len(self._compiled) > MOST_CONSTRAINTS:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(constraint)
        if isinstance(compiled, str):
            raise BadConstraint(compiled)
        return compiled

    def _satisfiable(self, constraint: Constraint, compiled: _Compiled) -> None:
        """Raises BadConstraint where no text fits, as far as that is known at the start."""
        if never := endless(constraint):
            raise _bad(constraint, never[1], never[0])
        place = compiled.at([])
        assert isinstance(place, _AfterPath)
        self._look(place)
        if place.bits is None or not place.bits.any():
            raise _bad(constraint, faults.NOTHING, None)

    def _start(self, constraint: Constraint) -> _Cursor:
        text = constraint.text
        if len(text) > MOST_CHARACTERS:
            raise BadConstraint(f"{constraint.kind}: {len(text):,} characters; {MOST_CHARACTERS:,} is the most")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise _bad(constraint, "half a surrogate pair, which is no character", error.start) from None
        match constraint.kind:
            case ConstraintKind.GRAMMAR:
                return self._native(constraint, text)
            case ConstraintKind.CHOICES:
                return self._one_of(constraint)
            case _:
                if not _has_llguidance():
                    raise BadConstraint(f"{constraint.kind}: needs llguidance, which is not installed here")
                lark = _lark_of(constraint)
                if not self._words.tokenizer_built:
                    _check_syntax(constraint, lark)
                return _Guided.of(constraint, lark, self._words)

    def _one_of(self, constraint: Constraint) -> _Cursor:
        texts = listed(constraint.text)
        if not texts:
            _json(constraint)  # raises with the place of an error
            raise _bad(constraint, "not a JSON array of strings with at least one", 0)
        try:
            "".join(texts).encode()
        except UnicodeEncodeError:
            raise _bad(constraint, "half a surrogate pair, which is no character", 0) from None
        if not _has_llguidance():
            if any("\0" in text for text in texts):
                raise BadConstraint("choices: a NUL character needs llguidance, which is not installed here")
            return self._native(constraint, f"root ::= {' | '.join(gbnf.literals(texts))}")
        # One terminal: otherwise each alternative would be a terminal.
        return _Guided.of(constraint, f"start: C\nC: {' | '.join(map(json.dumps, texts))}", self._words)

    def _native(self, constraint: Constraint, text: str) -> _Cursor:
        if danger := gbnf.danger(text):
            raise _bad(constraint, danger[1], danger[0])
        try:
            grammar = self._words.vocabulary.grammar(text)
        except GrammarError as error:
            at = error.place
            if at is None and (named := re.search(r"identifier '(.+)'", error.reason)):
                at = next((m.start() for m in re.finditer(rf"(?<![\w-]){re.escape(named[1])}(?![\w-])", text)), None)
            raise _bad(constraint, faults.plain(error.reason), at) from None
        ways = Ways(text)
        return _Native(grammar, self._words, ways, ways.start)


def _lark_of(constraint: Constraint) -> str:
    """A constraint in llguidance's own language."""
    match constraint.kind:
        case ConstraintKind.REGEX:
            return f"start: /{_escaped(constraint.text)}/"
        case ConstraintKind.JSON_SCHEMA:
            return f"start: %json {_with_white_space(constraint)}"
        case _:
            return constraint.text


def _with_white_space(constraint: Constraint) -> str:
    """A JSON schema with llama.cpp's rule for white space, unless it has its own.

    llguidance allows any amount by default: a model could repeat line breaks for ever.
    """
    match _json(constraint):
        case dict() as schema if GUIDANCE not in schema:
            # At the end, so that the places in error messages stay right.
            own = constraint.text.rstrip()[:-1]
            return f"{own}{', ' if schema else ''}{json.dumps(GUIDANCE)}: {json.dumps(WHITE_SPACE)}}}"
        case True:
            return json.dumps({GUIDANCE: WHITE_SPACE})
        case dict() | bool():
            return constraint.text
        case _:
            raise _bad(constraint, "a schema is an object, or true or false", 0)


def _json(constraint: Constraint) -> object:
    try:
        value: object = json.loads(constraint.text)
    except json.JSONDecodeError as error:
        raise _bad(constraint, f"no JSON: {error.msg}", error.pos) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "a number with too many digits"
        raise BadConstraint(f"{constraint.kind}: {reason}") from None
    return value


def _bad(constraint: Constraint, reason: str, at: int | None) -> BadConstraint:
    """An error in a constraint, with line and column where they are known."""
    reason = visible(reason)
    reason = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"
    where = "" if at is None else f":{':'.join(map(str, gbnf.place(constraint.text, at)))}"
    return BadConstraint(f"{constraint.kind}{where}: {reason}")


# --- llguidance


def _has_llguidance() -> bool:
    """Whether llguidance is installed."""
    try:
        import llguidance  # noqa: F401
    except ImportError:
        return False
    return True


class _Listed:
    """A vocabulary for llguidance, with one extra token, which ends a text."""

    bos_token_id = None
    special_token_ids: tuple[int, ...] = ()

    def __init__(self, texts: list[bytes], named: dict[int, bytes]) -> None:
        self.eos_token_id = len(texts)
        # A first byte of 255 marks a name, which is no text.
        self.tokens = [b"\xff" + named[token] if token in named else data for token, data in enumerate(texts)]
        self.tokens.append(b"\xff<end of the constraint>")

    def __call__(self, _text: bytes) -> list[int]:
        """The tokens of a text: only needed with forced spelling, which is off."""
        return []


_FREE = '%llguidance {"no_forcing": true}'
"""Otherwise a mask of forced text allows only the tokenizer's own spelling. The last such line counts."""


SHORT = 2_000
"""The most characters of a constraint that is checked first: compiling it twice takes some milliseconds."""


def _check_syntax(constraint: Constraint, lark: str) -> None:
    """Raises BadConstraint where the constraint is none, before a vocabulary is read for it.

    A Lark grammar can name tokens, and a long text compiles slowly: these are left out.
    """
    if constraint.kind is ConstraintKind.LARK or len(lark) > SHORT:
        return
    from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

    letters = LLTokenizer(TokenizerWrapper(_Listed([bytes([byte]) for byte in range(256)], {})), slices=[])
    _raise_error(constraint, LLMatcher(letters, f"{lark}\n{_FREE}\n", log_level=0))


def _raise_error(constraint: Constraint, matcher: "LLMatcher") -> None:
    """Raises BadConstraint with llguidance's error, if there is one."""
    if matcher.is_error():
        raise _bad(constraint, *faults.explain(constraint, matcher.get_error(), _in_slashes))


class _Guided:
    """The state of a constraint in llguidance."""

    def __init__(self, constraint: Constraint, matcher: "LLMatcher", words: _Words, stuck: bool = False) -> None:
        self._constraint = constraint
        self._matcher = matcher
        self._words = words
        self._stuck = stuck
        """Whether no token can follow; llguidance then gives no more answers."""

    @classmethod
    def of(cls, constraint: Constraint, lark: str, words: _Words) -> "_Guided":
        from llguidance import LLMatcher

        matcher = LLMatcher(words.tokenizer, f"{lark}\n{_FREE}\n", log_level=0)
        _raise_error(constraint, matcher)
        return cls(constraint, matcher, words)

    def advance(self, tokens: list[int]) -> int:
        size, texts, named = self._words.size, self._words.texts, self._words.named
        known = next(
            (at for at, token in enumerate(tokens) if not (0 <= token < size and (texts[token] or token in named))),
            len(tokens),
        )
        if self._stuck:
            return 0
        went: int = self._matcher.validate_tokens(tokens[:known])
        if went:
            self._matcher.consume_tokens(tokens[:went])
        self._stuck = bool(self._check())
        return went

    def copy(self) -> "_Guided":
        return _Guided(self._constraint, self._matcher.deep_copy(), self._words, self._stuck)

    def legal(self) -> tuple[Mask, bool]:
        size = self._words.size
        if self._stuck:
            return np.zeros(size, np.bool_), False
        bits = np.zeros(size // 32 + 1, np.uint32)
        self._matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
        if self._check() == faults.NOTHING:
            self._stuck = True
            return self.legal()
        mask = np.unpackbits(bits.view(np.uint8), count=size + 1, bitorder="little").view(np.bool_)
        return mask[:size], bool(mask[size])

    def _check(self) -> str:
        """NOTHING where no token can follow, else "". Raises BadConstraint where llguidance gives up."""
        if not self._matcher.is_error():
            return ""
        reason = faults.plain(self._matcher.get_error())
        if reason != faults.NOTHING:
            reason = visible(reason).replace(faults.TOO_COMPLEX, f"{faults.TOO_COMPLEX} here")
            raise BadConstraint(f"{self._constraint.kind}: {reason[:LONGEST_REASON]}")
        return reason


def _in_slashes(regex: str) -> str:
    """A regex as it is written between two slashes."""
    from llguidance import regex_to_lark

    return str(regex_to_lark(regex))


def _escaped(regex: str) -> str:
    """As `_in_slashes`, for a complete regex. Raises BadConstraint."""
    backslashes = len(regex) - len(regex.rstrip("\\"))
    if backslashes % 2:
        raise _bad(Constraint(ConstraintKind.REGEX, regex), "a backslash with nothing after it", len(regex) - 1)
    return _in_slashes(regex)


# --- llama.cpp's own


class _Native:
    """The state of a grammar in llama.cpp."""

    def __init__(
        self,
        grammar: Grammar,
        words: _Words,
        ways: Ways,
        stacks: frozenset[int],
        pending: bytes = b"",
    ) -> None:
        self._grammar = grammar
        self._words = words
        self._ways = ways
        self._stacks = stacks
        self._pending = pending
        """The bytes of a begun character."""

    def advance(self, tokens: list[int]) -> int:
        for at, token in enumerate(tokens):
            if not (0 <= token < self._words.size and self._fits(token)):
                return at
            text = self._text(token)
            try:
                self._ways.steps(self._stacks, text)
                stacks = self._ways.after(self._stacks, text)
            except TooMany:
                raise BadConstraint(TOO_AMBIGUOUS) from None
            if not self._grammar.accept(token):
                return at
            self._stacks, self._pending = stacks, unfinished(self._pending + self._words.texts[token])
        return len(tokens)

    def _text(self, token: int) -> str:
        """The whole characters that a token completes."""
        return (self._pending + self._words.texts[token]).decode("utf-8", "ignore")

    def _fits(self, token: int) -> bool:
        """Whether llama.cpp may be asked about a token: it also matches special tokens, and invalid UTF-8, as text."""
        return token in self._words.tree.after(self._pending) if self._pending else self._words.tree.whole[token]

    def copy(self) -> "_Native":
        return _Native(self._grammar.copy(), self._words, self._ways, self._stacks, self._pending)

    def legal(self) -> tuple[Mask, bool]:
        size, tree = self._words.size, self._words.tree
        ask = self._asking()
        if self._pending:
            mask = np.zeros(size, np.bool_)
            ids = tree.after(self._pending)
            mask[ids] = ask(ids)
        else:
            mask = tree.legal(ask)
        ends = self._words.ends_array[:1].astype(np.int32)
        return mask, not self._pending and bool(self._grammar.legal(ends).any())

    def _asking(self) -> Callable[[NDArray[np.int32]], Mask]:
        """A function that asks llama.cpp about tokens, which checks the cost of each first if the text is ambiguous."""
        if self._ways.are_few(self._stacks, self._words.longest):
            return self._grammar.legal
        known = self._words.matching(self._ways.plain(self._stacks))
        end = time.thread_time() + SLOWEST

        def ask(tokens: NDArray[np.int32]) -> Mask:
            legal = np.zeros(len(tokens), np.bool_)
            batch: list[int] = []
            steps = 0.0
            for place, token in enumerate(tokens.tolist()):
                if not known[token]:
                    steps += self._steps(token)
                    if time.thread_time() > end:
                        raise BadConstraint(TOO_AMBIGUOUS)
                batch.append(place)
                if steps > MOST_WAYS or place == len(tokens) - 1:
                    legal[batch] = self._grammar.legal(tokens[batch])
                    batch, steps = [], 0.0
            return legal

        return ask

    def _steps(self, token: int) -> float:
        try:
            return self._ways.steps(self._stacks, self._text(token))
        except TooMany:
            raise BadConstraint(TOO_AMBIGUOUS) from None
