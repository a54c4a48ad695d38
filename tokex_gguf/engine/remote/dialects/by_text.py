"""The common part of vLLM and SGLang, which give texts of tokens, and no bytes.

The texts of many tokens come in one text with separators between them. A token that is a part of a character has the
text �: its bytes are found from characters that the tokenizer splits, and those of others from the characters that they
become together with known bytes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokex_gguf.engine.remote.dialects import checks
from tokex_gguf.engine.remote.dialects.checks import FINGERPRINTED, dig, found
from tokex_gguf.engine.remote.dialects.dialect import Call, InvalidAnswer, ServerAnswer, Steps, UnsupportedServer
from tokex_gguf.values.tokens import Piece

FLOOR = -9999.0
"""The log-probability that these servers give for a probability of 0."""
TOKENS_IN_A_CALL = 512
"""Tokens whose texts one call asks for, beside the separators."""
SEPARATOR = "\n|§|\n"
"""No token contains it."""
_CODES = (
    *(*range(0x80, 0xD800, 64), *range(0xE000, 0x10000, 64), *range(0x10000, 0x110000, 4096)),
    *(*range(0x1F000, 0x1FB00, 64), *range(0xA000, 0xA040), *range(0x2010, 0x2028), *range(0x1F600, 0x1F650)),
)
TAKEN_APART = [char for char in map(chr, _CODES) if not char.isspace()]
TAKEN_APART += [f" {char}" for char in TAKEN_APART if char > "\U0001f000"]
"""Characters with all first and all last bytes of UTF-8, and common ones."""
CHARACTERS_AT_ONCE = 128
"""Characters in one text: if one merges with the separator, the others of that text are lost."""
TIDIED = [" .", " ?", " !", " ,", " 'm", " 's", " 've", " 're", " n't"]
"""Pieces that lose their space where a tokenizer tidies up texts."""
REPLACEMENT = "\ufffd"
_BEFORE = (b"", b"\xe1\x80", b"\xe1", b"\xf1")
_BEHIND = (b"", b"\x80", b"\x80\x80", b"\xa0\x80", b"\x80\x80\x80", b"\x90\x80\x80")
AROUND = [(before, behind) for before in _BEFORE for behind in _BEHIND if before or behind]
"""Bytes to put before and after a part of a character; one pair completes it."""
REMEMBERED = 500_000


class TextVocabulary:
    """The texts and pieces of one such server. Subclasses make the calls."""

    def __init__(self, model: str) -> None:
        """`model`: the server's name for it."""
        self._model = model
        self._vocab_size = 0
        self._space_prefix = False
        self._separator: list[int] = []
        self._mark: tuple[list[int], str] = [], SEPARATOR
        """The separator between tokens whose texts are asked for: its ids, and its text."""
        self._pieces: dict[int, Piece] = {}
        self._met: set[str] = set()
        """Characters of earlier texts, for which `_learn_halves` has run."""

    # --- calls, by subclasses

    def _ids(self, text: str, *, first: bool) -> Steps[list[int]]:
        """The ids of a text. `first`: whether a BOS is put before it, where there is one."""
        raise NotImplementedError

    def _text(self, tokens: Sequence[int]) -> Steps[str]:
        """The text of tokens, with the names of special ones."""
        raise NotImplementedError

    def _forced(self, token: int) -> Steps[tuple[bool, bool]]:
        """Whether generation ends with a token, and whether texts leave it out."""
        raise NotImplementedError

    def _generate(self, paths: Sequence[Sequence[int]], asked: int | None, top: int) -> Steps[list[ServerAnswer]]:
        """The answers after some paths; `asked` is the same for all."""
        raise NotImplementedError

    # --- the rest

    def _begin(self) -> Steps[tuple[int | None, list[int]]]:
        """Finds out how the tokenizer works; returns its BOS, and the ids of `FINGERPRINTED`."""
        letter = yield from self._ids("a", first=False)
        begun = yield from self._ids("a", first=True)
        if not letter:
            raise InvalidAnswer("a letter without a token")
        bos = begun[0] if len(begun) > 1 and begun[1:] == letter else None
        separated = yield from self._ids("a" + SEPARATOR, first=False)
        if separated[: len(letter)] != letter or len(separated) < len(letter) + 2:
            raise InvalidAnswer("a text whose tokens do not begin as those of its beginning")
        self._separator = separated[len(letter) :]
        self._mark = self._separator, SEPARATOR
        # If a space is put before a text, `a` at its start is another token than after a line break.
        inner = yield from self._ids(f"a{SEPARATOR}a", first=False)
        self._space_prefix = inner[len(separated) :] != letter
        yield from self._learn_halves(TAKEN_APART)
        yield from self._learn_tidied(letter)
        return bos, (yield from self._ids(FINGERPRINTED, first=True))

    def tokenize(self, text: str, *, special: bool, continues: bool) -> Steps[list[int]]:
        """The ids of a text. Names of special tokens always become these tokens: the server has no option for it."""
        del special
        new = [char for char in dict.fromkeys(text) if char >= "\x80" and char not in self._met and not char.isspace()]
        self._met.update(new[:CHARACTERS_AT_ONCE])
        yield from self._learn_halves([word for char in new[:CHARACTERS_AT_ONCE] for word in (char, f" {char}")])
        if not (continues and self._space_prefix):
            return (yield from self._ids(text, first=not continues))
        before = yield from self._ids("\n", first=False)
        whole = yield from self._ids("\n" + text, first=False)
        if whole[: len(before)] == before:
            return whole[len(before) :]
        return (yield from self._ids(text, first=False))

    def pieces(self, tokens: Sequence[int]) -> Steps[dict[int, Piece]]:
        """The pieces of tokens."""
        wanted = list(dict.fromkeys(checks.token(one, self._vocab_size) for one in tokens))
        texts = yield from self._texts([one for one in wanted if one not in self._pieces])
        yield from self._complete([one for one, text in texts.items() if REPLACEMENT in text])
        for one, text in texts.items():
            if one in self._pieces:
                continue
            control = ends = False
            if may_be_special(text):
                ends, control = yield from self._forced(one)
            self._remember(one, Piece(text.encode(), control or ends, ends))
        return {one: self._pieces.get(one, Piece(b"")) for one in wanted}

    def stays_cached(self) -> Steps[bool]:
        """True: there is one cache for all calls."""
        yield from ()
        return True

    def after(
        self, paths: Sequence[Sequence[int]], asked: Sequence[int | None], top: int, *, second_cache: bool = False
    ) -> Steps[list[ServerAnswer]]:
        """The answers after some paths. Paths with the same requested token share a call."""
        del second_cache  # one cache for all calls
        results: dict[int, ServerAnswer] = {}
        for one in dict.fromkeys(asked):
            places = [place for place, each in enumerate(asked) if each == one]
            answers = yield from self._generate([paths[place] for place in places], one, top)
            results |= dict(zip(places, answers, strict=True))
        return [results[place] for place in range(len(paths))]

    def _texts(self, tokens: Sequence[int]) -> Steps[dict[int, str]]:
        """The text of each token."""
        texts = yield from self._spelled([[token] for token in tokens])
        return dict(zip(tokens, texts, strict=True))

    def _spelled(self, paths: Sequence[Sequence[int]]) -> Steps[list[str]]:
        """The text of each of some short paths."""
        texts: list[str] = []
        together = TOKENS_IN_A_CALL // max(map(len, paths), default=1)
        for start in range(0, len(paths), together):
            some = paths[start : start + together]
            parts = yield from self._between_marks(some)
            ids, text = self._mark
            if len(parts) != len(some) and text == SEPARATOR and len(ids) > 2 and ids[0] == ids[-1]:
                # A line break that is a byte token is decoded together with a part of a character beside it.
                self._mark = ids[1:-1], SEPARATOR.strip("\n")
                parts = yield from self._between_marks(some)
            if len(parts) != len(some):
                raise InvalidAnswer("a text of other tokens than were asked about")
            if any(len(part) > checks.LONGEST_PIECE for part in parts):
                raise InvalidAnswer("a token whose bytes are none")
            texts += parts
        return texts

    def _between_marks(self, paths: Sequence[Sequence[int]]) -> Steps[list[str]]:
        """The texts between marks, of some paths with marks around them; empty where the marks do not come back."""
        ids, text = self._mark
        parts = (yield from self._text([*ids, *(one for path in paths for one in (*path, *ids))])).split(text)
        return [] if parts[0].strip() or parts[-1].strip() else parts[1:-1]

    def _learn_halves(self, words: Sequence[str]) -> Steps[None]:
        """Finds the bytes of tokens that are a part of a character, from words that the tokenizer splits into such."""
        halves: list[tuple[bytes, list[int]]] = []
        for start in range(0, len(words), CHARACTERS_AT_ONCE):
            some = words[start : start + CHARACTERS_AT_ONCE]
            path = yield from self._ids(SEPARATOR.join(["a", *some, ""]), first=False)
            groups = list(_split(path, self._separator))[1:]
            if len(groups) == len(some):
                halves += [(word.encode(), group) for word, group in zip(some, groups, strict=True) if len(group) > 1]
        unknown = dict.fromkeys(token for _, group in halves for token in group if token not in self._pieces)
        texts = yield from self._texts(list(unknown))
        for data, group in halves:
            known = [None if token in texts else self._pieces[token].data for token in group]
            parts = _parts(data, known, [texts.get(token, "") for token in group])
            for token, part in zip(group, parts, strict=False):
                if REPLACEMENT in texts.get(token, ""):
                    self._remember(token, Piece(part))

    def _complete(self, halves: Sequence[int]) -> Steps[None]:
        """Finds the bytes of tokens that are a part of a character, from characters that they make with known bytes."""
        known = {piece.data[0]: token for token, piece in self._pieces.items() if len(piece.data) == 1}
        around = [pair for pair in AROUND if known.keys() >= {*pair[0], *pair[1]}]
        tried = [(token, before, behind) for token in halves for before, behind in around]
        paths = [[*map(known.get, before), token, *map(known.get, behind)] for token, before, behind in tried]
        texts = yield from self._spelled([[one for one in path if one is not None] for path in paths])
        for (token, before, behind), text in zip(tried, texts, strict=True):
            data = text.encode("utf-8", "replace")
            whole = REPLACEMENT not in text and data.startswith(before) and data.endswith(behind)
            if whole and len(data) > len(before + behind) and token not in self._pieces:
                self._remember(token, Piece(data[len(before) : len(data) - len(behind)]))

    def _learn_tidied(self, letter: list[int]) -> Steps[None]:
        """Finds the pieces that lose their spaces in texts, if the tokenizer tidies up."""
        spaced = yield from self._ids("a .", first=False)
        if (yield from self._text(spaced)) == "a .":
            return
        for text in TIDIED:
            path = yield from self._ids(f"a{text}", first=False)
            if len(path) == len(letter) + 1 and path[:-1] == letter:
                self._remember(path[-1], Piece(text.encode()))

    def _remember(self, token: int, piece: Piece) -> None:
        if len(self._pieces) >= REMEMBERED:
            self._pieces.clear()
        self._pieces[token] = piece

    def _all_of(self, path: Sequence[int]) -> Steps[tuple[ServerAnswer, dict[int, Piece]]]:
        (answer,) = yield from self._generate([path], None, self._vocab_size or checks.LARGEST_ID)
        return answer, (yield from self.pieces(answer.ids))


def may_be_special(text: str) -> bool:
    """Whether a token's text looks like the name of a special token: <s>, <|im_end|>, [INST]."""
    return re.fullmatch(r"<[^\s<>]+>|\[[^\s\[\]]+\]", text) is not None


def _parts(data: bytes, known: Sequence[bytes | None], texts: Sequence[str]) -> list[bytes]:
    """The bytes of each token of a word; empty where they cannot be found.

    Each continuation byte of a character is one �, and an incomplete start of several bytes is one as well. So the
    length of every token but the first is known.
    """
    lengths = [
        len(text.replace(REPLACEMENT, "?").encode()) if part is None else len(part)
        for part, text in zip(known, texts, strict=True)
    ]
    lengths[0] = len(data) - sum(lengths[1:])
    parts, place = [], 0
    for length, part, text in zip(lengths, known, texts, strict=True):
        own = data[place : place + length]
        if length < 1 or (own != part if part is not None else own.decode("utf-8", "replace") != text):
            return []
        parts.append(own)
        place += length
    return parts


def _split(path: Sequence[int], separator: Sequence[int]) -> Iterable[list[int]]:
    """The parts of a path before each separator; without the part after the last."""
    part: list[int] = []
    place = 0
    while place < len(path):
        if list(path[place : place + len(separator)]) == list(separator):
            yield part
            part = []
            place += len(separator)
        else:
            part.append(path[place])
            place += 1


def listed(model: str) -> Steps[Mapping[str, Any]]:
    """The server's entry for one of its models, or for its first. An adapter gets the context of its base model."""
    rows = dig((yield Call("/v1/models")), "data")
    named = [row for row in rows if not model or found(row, "id") == model] if isinstance(rows, list) else []
    if not named or not isinstance(named[0], dict):
        raise UnsupportedServer(f"the server has no model {model}" if model else "the server has no model")
    row = named[0]
    if row.get("max_model_len") is None:
        base = next((one for one in rows if found(one, "id") == row.get("parent")), rows[0])
        row = {**row, "max_model_len": found(base, "max_model_len")}
    return row
