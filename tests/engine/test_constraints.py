"""Which tokens a constraint leaves: against acceptors that try every text, `re` and `jsonschema`.

The vocabularies are the bundled model's and small ones that have many tokens over a small alphabet.
CONSTRAINT_SEED gives the random tests another seed.
"""

import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

from tests import tiny_models
from tests.figures import Figure
from tests.sampling import few
from tokex_gguf.engine.worker import constraints as module
from tokex_gguf.engine.worker.abort import Abort
from tokex_gguf.engine.worker.ambiguity import Ways
from tokex_gguf.engine.worker.constraints import BadConstraint, Broken, Constraints, Legal
from tokex_gguf.engine.worker.llama import Llama, Vocabulary
from tokex_gguf.engine.worker.vocabulary_tree import VocabularyTree
from tokex_gguf.values.constraint import Constraint, ConstraintKind, choices

K = ConstraintKind
SEED = int(os.environ.get("CONSTRAINT_SEED", "1"))
ALPHABET = "ab"
OVER_IT = [
    text for size in (2, 3) for letters in itertools.product(ALPHABET, repeat=size) for text in ["".join(letters)]
]
LONGEST = 10
"""Letters of the texts that the acceptor tries: half for a beginning, half to finish it."""


def vocabulary_of(path: Path) -> Vocabulary:
    return Llama(path, context=256, threads=1, progress=lambda _: None, abort=Abort()).vocabulary


@pytest.fixture(scope="module")
def real(llama: Llama) -> Constraints:
    """On the bundled model's vocabulary."""
    return Constraints(llama.vocabulary)


BOTH = pytest.mark.parametrize("small", ["bpe", "spm"], indirect=True)
"""For what depends on the vocabulary."""


@pytest.fixture(scope="module", params=few(["bpe", "spm"], of=2))
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Constraints:
    """On a small vocabulary with every text of up to three letters over the alphabet."""
    folder = tmp_path_factory.mktemp("small")
    if request.param == "bpe":
        return Constraints(vocabulary_of(tiny_models.qwen2(folder, more=[text.encode() for text in OVER_IT])))
    return Constraints(vocabulary_of(tiny_models.llama(folder, more=OVER_IT)))


def legal(constraints: Constraints, constraint: Constraint, tokens: list[int]) -> Legal:
    state = constraints.state(constraint, tokens)
    assert isinstance(state, Legal), (constraint, tokens, state)
    return state


@cache
def texts_of(constraints: Constraints) -> list[bytes]:
    """What each token adds to a text, by way of another function."""
    pieces = [constraints._words.vocabulary.piece(token) for token in range(constraints._words.vocabulary.size)]
    return [b"" if piece.control or piece.ends else piece.data for piece in pieces]


def ids(constraints: Constraints, text: str) -> list[int]:
    return constraints._words.vocabulary.continuation(text, parse_special=False)


# --- against an acceptor that tries every text


@dataclass(frozen=True)
class Shape:
    """A random regex over the alphabet, with the grammar of the same texts."""

    regex: str
    gbnf: str
    size: int
    """Letters that finish any beginning, at the most."""


def random_shape(rng: random.Random, depth: int = 3) -> Shape:
    kind = rng.randrange(3 if depth == 0 else 9)
    if kind < 2:
        letter = rng.choice(ALPHABET)
        return Shape(letter, f'"{letter}"', 1)
    if kind == 2:
        each = rng.choice(["[ab]", "[^a]", "[a-c]", "[^c]"])
        return Shape(each, each, 1)
    one = random_shape(rng, depth - 1)
    if kind in (3, 4, 5):
        other = random_shape(rng, depth - 1)
        return Shape(f"{one.regex}{other.regex}", f"{one.gbnf} {other.gbnf}", one.size + other.size)
    if kind in (6, 7):
        other = random_shape(rng, depth - 1)
        return Shape(f"(?:{one.regex}|{other.regex})", f"({one.gbnf} | {other.gbnf})", max(one.size, other.size))
    if "*" in one.regex or "?" in one.regex.replace("(?:", "") or "{0" in one.regex:
        return one  # llama.cpp refuses a repetition of what can be empty
    times, most = rng.choice([("*", 1), ("+", 1), ("?", 1), ("{2}", 2), ("{1,2}", 2), ("{0,2}", 2)])
    return Shape(f"(?:{one.regex}){times}", f"({one.gbnf}){times}", one.size * most)


def shapes(seed: int, count: int) -> Iterable[Shape]:
    rng = random.Random(seed)
    found: dict[Shape, None] = {}
    while len(found) < count:
        shape = random_shape(rng)
        if shape.size <= LONGEST // 2:
            found[shape] = None
    return found


EVERY = ["".join(letters) for size in range(LONGEST + 1) for letters in itertools.product(ALPHABET, repeat=size)]


class Acceptor:
    """All texts of up to LONGEST letters that fit, and their beginnings."""

    def __init__(self, accepts: Callable[[str], object]) -> None:
        self.texts = {text for text in EVERY if accepts(text)}
        self.beginnings = {text[:size] for text in self.texts for size in range(len(text) + 1)}


def check_against(
    acceptor: Acceptor, constraints: Constraints, constraint: Constraint, rng: random.Random, walks: int
) -> int:
    """Compares every letter token at every place of random paths; returns how many were compared."""
    texts = {
        token: data.decode()
        for token, data in enumerate(texts_of(constraints))
        if data and not set(data) - set(ALPHABET.encode())
    }
    compared = 0
    for _ in range(walks):
        path: list[int] = []
        text = ""
        while len(text) <= LONGEST // 2 - 3:
            state = legal(constraints, constraint, path)
            wanted = {token for token, piece in texts.items() if text + piece in acceptor.beginnings}
            assert {token for token in texts if state.mask[token]} == wanted, (constraint, text)
            assert state.complete == (text in acceptor.texts), (constraint, text)
            compared += len(texts)
            token = rng.choice(list(texts))
            after = constraints.state(constraint, [*path, token])
            assert isinstance(after, Legal) == (token in wanted)
            if token not in wanted:
                assert after == Broken(len(path))
                assert constraints.state(constraint, [*path, token, *texts]) == Broken(len(path))
                break
            path.append(token)
            text += texts[token]
    return compared


def compare_all(constraints: Constraints, figure: Figure, seed: int, count: int) -> None:
    rng = random.Random(seed)
    compared = 0
    for shape in shapes(seed, count):
        acceptor = Acceptor(re.compile(shape.regex).fullmatch)
        for constraint in (Constraint(K.REGEX, shape.regex), Constraint(K.GRAMMAR, f"root ::= {shape.gbnf}")):
            compared += check_against(acceptor, constraints, constraint, rng, 3)
        some = rng.sample(EVERY[: 2**6], rng.randint(1, 6))
        acceptor = Acceptor(set(some).__contains__)
        compared += check_against(acceptor, constraints, choices(json.dumps(some)), rng, 2)
    figure(compared, "tokens after random paths, each compared with all texts that fit", seed=seed, different=0)


@BOTH
def test_no_legal_token_is_refused_and_no_other_allowed(small: Constraints, figure: Figure) -> None:
    compare_all(small, figure, SEED, 25)


@pytest.mark.soak
def test_no_legal_token_is_refused_in_many_constraints(small: Constraints, figure: Figure) -> None:
    compare_all(small, figure, SEED, 400)


@pytest.mark.parametrize(
    ("kind", "text"),
    few(
        [
            (K.REGEX, "[à-ü日🙂]+x"),
            (K.GRAMMAR, "root ::= [à-ü日🙂]+ [x]"),
            (K.CHOICES, '["日本", "日月", "café", "🙂x"]'),
            (K.JSON_SCHEMA, '{"type": "string", "maxLength": 3}'),
        ],
        of=2,
    ),
)
def test_characters_that_span_tokens(kind: ConstraintKind, text: str, small: Constraints) -> None:
    """Every mask is what trying each token says, and what spells half a character can be finished."""
    rng = random.Random(5)
    texts = texts_of(small)
    broken_off = 0
    for _ in range(4):
        path: list[int] = []
        while len(path) < 6:
            state = legal(small, Constraint(kind, text), path)
            allowed = np.flatnonzero(state.mask)
            tried = [
                isinstance(small.state(Constraint(kind, text), [*path, token]), Legal) for token in range(len(texts))
            ]
            assert tried == state.mask.tolist()
            data = b"".join(texts[token] for token in path)
            if unfinished := len(data) - len(data.decode("utf-8", "ignore").encode()):
                broken_off += 1
                assert unfinished < 4 and data[:-unfinished].decode()[:99] is not None
                assert not state.complete
            if state.must_end:
                break
            assert len(allowed)
            path.append(int(rng.choice(allowed[~np.isin(allowed, list(small._words.ends))])))
    assert broken_off


# --- against `re` and `jsonschema`

REGEXES = [
    "[0-9]+",
    "(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
    "[A-Z][a-z]+( [A-Z][a-z]+)*",
    "(yes|no|maybe)(, (yes|no|maybe)){0,3}",
    "[^\\n]{1,20}\\.",
    "#[0-9a-f]{6}",
    "[a-z0-9._]+@[a-z0-9]+\\.(com|org)",
    "-?(0|[1-9][0-9]*)(\\.[0-9]+)?",
    "(?i)select [a-z]+ from [a-z]+;",
    "/[a-z/]*",
    '"[^"]*"',
    "a\\\\b|\\[x\\]",
    "(?:[01]?[0-9]|2[0-3]):[0-5][0-9]",
    "日本|[あ-ん]{2,4}",
    "(a|ab)(c|bcd)(d*)",
    "\\t*x{3,5}|\\$[0-9]+",
]


def random_regex(rng: random.Random) -> str:
    """A pattern that means the same to Rust's engine and to Python's."""

    def part(depth: int) -> str:
        kind = rng.randrange(8 if depth else 4)
        if kind < 2:
            return re.escape("".join(rng.choice("abcXYZ019 .,-é日") for _ in range(rng.randint(1, 4))))
        if kind < 4:
            return rng.choice(["[a-z]", "[0-9]", "[^a-z]", "[A-Zé]", "[ab0-3]", "[^\\n]", "."])
        if kind < 6:
            return part(depth - 1) + part(depth - 1)
        if kind == 6:
            return f"(?:{part(depth - 1)}|{part(depth - 1)})"
        return f"(?:{part(depth - 1)}){rng.choice(['*', '+', '?', '{2}', '{1,3}'])}"

    return part(3)


def random_schema(rng: random.Random, depth: int = 2) -> dict[str, Any]:
    def bounds(low: str, high: str, least: int, most: int) -> dict[str, int]:
        small, large = sorted((rng.randint(least, most), rng.randint(least, most)))
        return {key: value for key, value in ((low, small), (high, large)) if rng.random() < 0.5}

    plain: list[Callable[[], dict[str, Any]]] = [
        lambda: {"type": "string"} | bounds("minLength", "maxLength", 0, 12),
        lambda: {"type": "string", "pattern": rng.choice(["^[a-c]+$", "^x", "^.{0,3}[0-9]$", "^(on|off)$"])},
        lambda: {"type": "string", "format": rng.choice(["uuid", "ipv4"])},
        lambda: {"type": "integer"} | bounds("minimum", "maximum", -50, 2000),
        lambda: {"type": "number"} | bounds("minimum", "maximum", -3, 30),
        lambda: {"type": "boolean"},
        lambda: {"type": "null"},
        lambda: {"type": rng.sample(["string", "integer", "boolean", "null"], 2)},
        lambda: {"enum": rng.sample(["red", 'a"b', 1, -2.5, None, True, "é\n", [1, 2], {"k": "v"}], 3)},
        lambda: {"const": rng.choice(["x", 7, None, ["a"]])},
    ]
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(plain)()
    match rng.randrange(4):
        case 0:
            return {"anyOf": [random_schema(rng, depth - 1) for _ in range(rng.randint(1, 3))]}
        case 1:
            items = {"type": "array", "items": random_schema(rng, depth - 1)}
            return items | bounds("minItems", "maxItems", 0, 4)
        case _:
            names = rng.sample(["name", "age", "tags", "ünï", "a b", 'q"', "x"], rng.randint(1, 4))
            return {
                "type": "object",
                "properties": {name: random_schema(rng, depth - 1) for name in names},
                "required": [name for name in names if rng.random() < 0.7],
                "additionalProperties": rng.choice([False, {"type": "integer"}]),
            }


CLOSING = [b"}", b"]", b'"', b",", b"@", b"."]


def random_text(constraints: Constraints, constraint: Constraint, rng: random.Random) -> str | None:
    """The text of a random legal path; None where it was not finished."""
    texts = texts_of(constraints)
    ends = np.array(constraints._words.vocabulary.ends())
    lengths = np.array(list(map(len, texts)))
    path: list[int] = []
    while len(path) < 200:
        state = legal(constraints, constraint, path)
        assert (state.mask[ends] == state.complete).all()
        state.mask[ends] = False
        allowed = np.flatnonzero(state.mask)
        assert state.must_end == (state.complete and not len(allowed))
        if state.complete and (state.must_end or rng.random() < 0.3 or len(path) > 20):
            return b"".join(texts[token] for token in path).decode()
        assert len(allowed), (constraint, path)
        if len(path) > 20:
            # A way to an end: what often closes something, or what is short.
            closing = [token for text in CLOSING if state.mask[token := texts.index(text)]]
            printed = [
                token for token in allowed[np.argsort(lengths[allowed], kind="stable")[:40]] if texts[token].strip()
            ]
            shortest = [*map(int, printed[:2])] or [int(allowed[0])]
            path.append(rng.choice(closing + shortest))
        else:
            path.append(int(allowed[rng.randrange(len(allowed))]))
    return None


def walk_all(constraints: Constraints, figure: Figure, seed: int, count: int, walks: int) -> None:
    rng = random.Random(seed)
    every: dict[Constraint, Callable[[str], object]] = {}
    patterns = [*REGEXES, *(random_regex(rng) for _ in range(count // 2 - len(REGEXES)))][: count // 2]
    for pattern in patterns:
        every[Constraint(K.REGEX, pattern)] = re.compile(pattern).fullmatch

    def valid(schema: dict[str, Any]) -> Callable[[str], object]:
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
        return lambda text: validator.is_valid(json.loads(text))

    while len(every) < count:
        schema = random_schema(rng)
        every[Constraint(K.JSON_SCHEMA, json.dumps(schema, ensure_ascii=rng.random() < 0.5))] = valid(schema)
    finished = unfinished = 0
    for constraint, accepts in every.items():
        for _ in range(walks):
            text = random_text(constraints, constraint, rng)
            if text is None:
                unfinished += 1
                continue
            finished += 1
            assert accepts(text), f"seed {seed}: {constraint} {text!r}"
    assert finished > 8 * unfinished
    figure(finished, "finished texts of random legal paths through schemas and regexes", seed=seed, refused=0)


@BOTH
def test_every_finished_text_is_accepted(small: Constraints, figure: Figure) -> None:
    walk_all(small, figure, SEED, 60, 2)


@pytest.mark.thorough
def test_every_finished_text_of_a_real_vocabulary_is_accepted(real: Constraints, figure: Figure) -> None:
    walk_all(real, figure, SEED, 40, 1)


@pytest.mark.soak
def test_two_hundred_schemas_and_regexes(small: Constraints, figure: Figure) -> None:
    walk_all(small, figure, SEED, 200, 8)


@pytest.mark.soak
def test_two_hundred_schemas_and_regexes_on_a_real_vocabulary(real: Constraints, figure: Figure) -> None:
    walk_all(real, figure, SEED, 200, 2)


# --- what is legal


EVERY_KIND = [
    Constraint(K.REGEX, "[a-c]{1,4}"),
    Constraint(K.JSON_SCHEMA, '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'),
    Constraint(K.GRAMMAR, 'root ::= "a" rest | [^\\n]+ "."\nrest ::= "b"*'),
    Constraint(K.LARK, 'start: "a" rest\nrest: /[^b\\n]+/ | "b" rest'),
    choices("abc,abd,the cat"),
]


@pytest.mark.parametrize("constraint", few(EVERY_KIND, of=2), ids=lambda constraint: constraint.kind.value)
def test_each_place_is_what_a_fresh_start_says(constraint: Constraint, small: Constraints) -> None:
    """Back, forth and between branches, in any order, also where no place is kept; and no special token is text."""
    rng = random.Random(3)
    paths: list[list[int]] = [[]]
    special = [token for token, text in enumerate(texts_of(small)) if not text and token not in small._words.ends]
    for _ in range(40):
        path = list(rng.choice(paths))
        state = legal(small, constraint, path)
        assert not state.mask[special].any()
        state.mask[sorted(small._words.ends)] = False
        allowed = np.flatnonzero(state.mask)
        if len(allowed):
            paths.append([*path, int(allowed[rng.randrange(len(allowed))])])
    fresh = Constraints(small._words.vocabulary)
    for path in rng.sample(paths, len(paths)):
        fresh._compiled.clear()
        one, other = legal(small, constraint, path), legal(fresh, constraint, path)
        assert (one.mask == other.mask).all()
        assert (one.complete, one.must_end) == (other.complete, other.must_end)


@pytest.mark.parametrize("constraint", EVERY_KIND, ids=lambda constraint: constraint.kind.value)
def test_wrong_tokens_break_it_and_nothing_else(constraint: Constraint, small: Constraints) -> None:
    size = small._words.vocabulary.size
    special = next(token for token, text in enumerate(texts_of(small)) if not text and token not in small._words.ends)
    for token in (-1, size, 2**31, 2**70, special):
        assert small.state(constraint, [token]) == Broken(0)
        assert small.state(constraint, [token, token]) == Broken(0)
        assert small.forced(constraint, [token]) == ([], False)


SPACES = ["", " ", "  ", "\t", "\n", "\n\n", "\n\n\n", "\n \t ", "\n" + 20 * " ", "\n" + 21 * " ", "\r\n", " \n"]


@pytest.mark.parametrize(
    "schema", few([True, {}, {"type": "object"}, {"properties": {"a": {"type": "integer"}}}], of=2), ids=str
)
def test_a_schema_has_the_white_space_of_llama_cpps_own_conversion(schema: object, real: Constraints) -> None:
    constraint = Constraint(K.JSON_SCHEMA, f" {json.dumps(schema)}\n")
    rules = r'root ::= "{" space "\"a\"" space ":" space "5" "}"', r'space ::= | " " | "\n"{1,2} [ \t]{0,20}'
    native = Constraint(K.GRAMMAR, "\n".join(rules))
    for space in SPACES:
        text = ids(real, f'{{{space}"a":{space}5')
        ours, theirs = real.state(constraint, text), real.state(native, text)
        assert isinstance(ours, Legal) == isinstance(theirs, Legal), (schema, space)


def test_a_schema_may_say_which_white_space_it_has(real: Constraints) -> None:
    for guidance, spaces in (({"whitespace_flexible": True}, SPACES), ({"whitespace_flexible": False}, [""])):
        constraint = Constraint(K.JSON_SCHEMA, json.dumps({"type": "array", "x-guidance": guidance}))
        found = [space for space in SPACES if isinstance(real.state(constraint, ids(real, f"[{space}5")), Legal)]
        assert found == spaces


@pytest.mark.parametrize("kind", ["regex", "choices", "grammar"])
def test_a_finished_constraint_goes_on_being_answered(kind: str, small: Constraints) -> None:
    text = {"regex": "ab", "choices": '["ab"]', "grammar": 'root ::= "ab"'}[kind]
    constraint = Constraint(K(kind), text)
    done = ids(small, "ab")
    end = min(small._words.ends)
    for path in (done, [*done, end], [*done, end, end]):
        state = legal(small, constraint, path)
        assert state.complete and state.must_end
        assert set(np.flatnonzero(state.mask)) == small._words.ends
        assert small.forced(constraint, path) == ([], False)
    assert small.state(constraint, [*done, *done]) == Broken(len(done))
    assert small.state(constraint, [*done, end, *done]) == Broken(len(done) + 1)
    assert small.state(constraint, [done[0], end] if len(done) > 1 else [end]) == Broken(len(done) > 1)


def test_places_that_are_kept_are_bounded(small: Constraints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 8)
    constraint = Constraint(K.REGEX, "a*")
    token = ids(small, "a")
    for length in range(50):
        legal(small, constraint, token * length)
    assert len(small._ready(constraint)._places) == 8
    for number in range(9):
        legal(small, Constraint(K.REGEX, f"a{{{number}}}"), [])
    assert len(small._compiled) == module.MOST_CONSTRAINTS


def test_a_path_is_followed_from_where_it_was_left(small: Constraints, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call takes one step, however long the path is and wherever it branches."""
    constraint = Constraint(K.REGEX, "[ab]*")
    steps: list[int] = []
    advance = module._Guided.advance

    def counted(self: module._Guided, tokens: list[int]) -> int:
        steps.append(len(tokens))
        return advance(self, tokens)

    monkeypatch.setattr(module._Guided, "advance", counted)
    a, b = ids(small, "a"), ids(small, "b")
    for length in range(1, 100):
        legal(small, constraint, a * length)
    for length in range(99, 0, -1):
        legal(small, constraint, a * length)
        legal(small, constraint, a * length + b)
    assert max(steps) == 1


# --- what is forced


@pytest.mark.parametrize(
    ("constraint", "path", "forced"),
    [
        (choices("yes\\, sir,yes\\, madam"), "", "yes,"),
        (choices("yes\\, sir,yes\\, madam"), "yes, s", "ir"),
        (choices("yes"), "", "yes"),
        (choices("yes,no"), "", ""),
        (choices("yes,yes sir"), "", "yes"),
        (Constraint(K.REGEX, "name: [0-9]+"), "", "name: "),
        (Constraint(K.REGEX, "日本!?"), "", "日本"),
        (Constraint(K.REGEX, "[0-9]{4}-01-01"), "2024", "-01-01"),
        (Constraint(K.GRAMMAR, 'root ::= "yes, " ("sir" | "madam")'), "", "yes,"),
        (Constraint(K.LARK, 'start: "a"{2000}'), "", "a" * 9),
        (
            Constraint(
                K.JSON_SCHEMA, '{"type":"object","properties":{"answer":{"type":"null"}},"required":["answer"]}'
            ),
            '{"a',
            "nswer",
        ),
    ],
)
def test_forced_text_is_spelled_as_the_tokenizer_does(
    constraint: Constraint, path: str, forced: str, real: Constraints
) -> None:
    tokens, more = real.forced(constraint, ids(real, path))
    text = real._words.vocabulary.spelled(tokens).decode()
    assert text.startswith(forced) if forced == "a" * 9 else text == forced
    assert len(tokens) <= module.MOST_FORCED and more == (forced == "a" * 9)
    if "日" not in forced and forced != "a" * 9:
        assert tokens == ids(real, forced)
    assert isinstance(real.state(constraint, ids(real, path) + tokens), Legal)


@BOTH
def test_forced_text_begins_within_a_character(small: Constraints) -> None:
    constraint = Constraint(K.REGEX, "日本|日b")
    begun = [small._words.texts.index(bytes([byte])) for byte in "日".encode()[:1]]
    tokens, _ = small.forced(constraint, begun)
    assert b"".join(small._words.texts[token] for token in begun + tokens) == "日".encode()


# --- what is refused


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (K.REGEX, "[0-9+", "regex:1:1: unclosed character class"),
        (K.REGEX, "a/b(?=c)", "regex:1:4: look-around, including look-ahead and look-behind, is not supported"),
        (K.REGEX, "a\nb(?=c)", "regex:2:2: look-around, including look-ahead and look-behind, is not supported"),
        (K.REGEX, "\\ba", "regex: look-around, also as $, ^ or \\b inside, is not supported"),
        (K.REGEX, "\ud800", "regex:1:1: half a surrogate pair, which is no character"),
        (K.JSON_SCHEMA, '{"type":', "json-schema:1:9: no JSON: Expecting value"),
        (K.JSON_SCHEMA, "[]", "json-schema:1:1: a schema is an object, or true or false"),
        (K.JSON_SCHEMA, '{"type":"foo"}', "json-schema:1:9: Invalid type: foo"),
        (
            K.JSON_SCHEMA,
            '{"type":"array",\n "uniqueItems":true}',
            'json-schema:2:2: "uniqueItems" is not supported',
        ),
        (K.JSON_SCHEMA, '{"$ref":"#/x"}', "json-schema:1:11: Pointer '/x' does not exist"),
        (K.JSON_SCHEMA, "[" * 50_000, "json-schema: nested too deeply"),
        (K.JSON_SCHEMA, '{"minimum": ' + "9" * 5000 + "}", "json-schema: a number with too many digits"),
        (K.LARK, 'start: "a" |\n  "b" )', "lark:2:3: expecting rule, token or statement"),
        (K.LARK, "start: foo", 'lark:1:8: nothing is called "foo"'),
        (K.LARK, "\nstart: /a(/", "lark:2:8: unclosed group"),
        (K.LARK, 'x: "a"', "lark: no rule is called start"),
        (K.GRAMMAR, 'root := "a"', "grammar:1:6: ::= expected"),
        (K.GRAMMAR, 'root ::= "é" |\n  "b" )', "grammar:2:7: newline or end expected"),
        (K.GRAMMAR, "root ::= foo", "grammar:1:10: there is no rule 'foo'"),
        (K.GRAMMAR, 'root ::= "a', "grammar:1:12: unexpected end of input"),
        (K.GRAMMAR, 'x ::= "a"', "grammar: no rule is called root"),
        (K.GRAMMAR, "", "grammar: an empty grammar"),
        (K.GRAMMAR, 'root ::= "\0"', "grammar:1:11: a NUL character"),
        (K.GRAMMAR, 'root ::= "a"{3,2}', "grammar:1:13: a repetition whose end is before its beginning"),
        (K.GRAMMAR, 'root ::= root "a" | "b"', "grammar:1:1: left recursion: this rule begins with itself"),
        (K.GRAMMAR, "root ::= . !<|im_end|>", "grammar:1:12: a token by its name; a Lark grammar can have that"),
        (K.CHOICES, '["a",', "choices:1:6: no JSON: Expecting value"),
        (K.CHOICES, '["a", 1]', "choices:1:1: not a JSON array of strings with at least one"),
        (K.CHOICES, "[]", "choices:1:1: not a JSON array of strings with at least one"),
        (K.REGEX, "(?P<n>a)(?P<n>b)", "regex:1:5: duplicate capture group name"),
        (K.REGEX, "a/\\p{Foo}", "regex:1:3: Unicode property not found"),
        (K.REGEX, "a[\\xZZ]", "regex:1:5: invalid hexadecimal digit"),
        (K.JSON_SCHEMA, '{"pattern":"a("}', "json-schema:1:12: unclosed group"),
        (K.JSON_SCHEMA, '{"minLength":-1}', "json-schema:1:2: 'minLength' must be a whole number from 0 on, not -1"),
        (K.JSON_SCHEMA, '{"minimum":1e400}', "json-schema:1:17: a number that is too large"),
        (
            K.JSON_SCHEMA,
            '{"$ref":"http://x/y"}',
            "json-schema:1:9: 'http://x/y' is another schema, and none is fetched",
        ),
        (K.JSON_SCHEMA, '{"x-guidance":1}', "json-schema:1:2: an object is wanted, not: integer"),
        (K.LARK, "start: /a", "lark:1:10: this cannot be read"),
        (K.LARK, "start: <foo>", 'lark:1:8: the model has no special token "<foo>"'),
        (K.GRAMMAR, 'root ::= ("")*', "grammar: left recursion: a rule begins with itself"),
        (K.GRAMMAR, "# no more", "grammar: no rule in it"),
        (K.REGEX, "a" * 100_000, "regex: 100,000 characters; 60,000 is the most"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(
    kind: ConstraintKind, text: str, told: str, real: Constraints
) -> None:
    for _ in range(2):  # from memory, too
        with pytest.raises(BadConstraint) as raised:
            real.state(Constraint(kind, text), [])
        assert str(raised.value) == told


NOTHING: list[tuple[ConstraintKind, str, str]] = [
    (K.REGEX, "[^\\s\\S]", "regex: nothing fits it"),
    (K.REGEX, "a[a&&b]c", "regex: nothing fits it"),
    (K.JSON_SCHEMA, "false", "json-schema: nothing fits it: schema is false"),
    (K.JSON_SCHEMA, '{"enum":[]}', "json-schema: nothing fits it: enum, type or anyOf is empty"),
    (
        *(K.JSON_SCHEMA, '{"type":"integer","minimum":5,"maximum":3}'),
        "json-schema:1:19: nothing fits it: minimum (5) is greater than maximum (3)",
    ),
    (
        *(K.JSON_SCHEMA, '{"type":"string","pattern":"^a$","maxLength":0}'),
        "json-schema: nothing fits it: pattern, format and length allow no text together",
    ),
    (
        *(K.JSON_SCHEMA, '{"type":"object","required":["a"],"properties":{"a":{"$ref":"#"}}}'),
        "json-schema: nothing fits it: a value would have to hold another one, without an end",
    ),
    (
        *(K.JSON_SCHEMA, '{"type":"array","items":{"$ref":"#"},"minItems":1}'),
        "json-schema: nothing fits it: a value would have to hold another one, without an end",
    ),
    (
        *(K.JSON_SCHEMA, '{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}'),
        "json-schema: nothing fits it: a value would have to hold another one, without an end",
    ),
    (K.GRAMMAR, 'root ::= "a" root', "grammar:1:1: nothing fits it: the rule root never comes to an end"),
    (K.GRAMMAR, 'x ::= "a" y\ny ::= ("b" x)+\nroot ::= x | y', "grammar:3:1: nothing fits it: the rule root never"),
    (K.GRAMMAR, 'root ::= "a" [z-a]', "grammar:1:1: nothing fits it: the rule root never comes to an end"),
    (K.GRAMMAR, "root ::= [^\\x00-\\U0010FFFF]", "grammar:1:1: nothing fits it: the rule root never"),
    (K.LARK, 'start: "a" start', "lark:1:1: nothing fits it: the rule start never comes to an end"),
    (K.LARK, 'x: "b" (x | y)\n?y: x /c+/ x~2\nstart: [x] y', "lark:3:1: nothing fits it: the rule start never"),
    (K.LARK, "A: /a/ & /b/\nstart: A", "lark: nothing fits it"),
]


@pytest.mark.parametrize(("kind", "text", "told"), few(NOTHING, of=2))
def test_what_nothing_fits_says_so(kind: ConstraintKind, text: str, told: str, small: Constraints) -> None:
    with pytest.raises(BadConstraint) as raised:
        small.state(Constraint(kind, text), [])
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            K.JSON_SCHEMA,
            '{"type":"object","required":["a"],"properties":{"a":{"anyOf":[{"$ref":"#"},{"type":"null"}]}}}',
        ),
        (K.JSON_SCHEMA, '{"type":["object","null"],"required":["a"],"properties":{"a":{"$ref":"#"}}}'),
        (K.JSON_SCHEMA, '{"type":"object","properties":{"a":{"$ref":"#"}}}'),
        (K.JSON_SCHEMA, '{"type":"array","items":{"$ref":"#"}}'),
        (K.GRAMMAR, 'root ::= "a" root?'),
        (K.GRAMMAR, 'root ::= "a" (root "b")* []'),
        (K.GRAMMAR, "root ::= [az-a]"),
        (K.LARK, 'start: "a" start?'),
        (K.LARK, 'start: "a" [start]\nstart_: %json {"type": "null"}'),
        (K.LARK, 'start: "a" start~0..2 // start: x'),
    ],
)
def test_what_may_end_is_no_constraint_that_nothing_fits(kind: ConstraintKind, text: str, small: Constraints) -> None:
    legal(small, Constraint(kind, text), [])


def test_a_place_where_nothing_can_follow_is_told_and_not_refused(small: Constraints) -> None:
    constraint = Constraint(K.LARK, 'start: "a" X | "b"\nX: /a/ & /b/')
    token = small._words.texts.index(b"a")
    for path in ([token], [token]):  # from memory, too
        stuck = legal(small, constraint, path)
        assert not stuck.mask.any() and not stuck.complete
    assert small.state(constraint, [token, token]) == Broken(1)
    assert small.forced(constraint, [token]) == ([], False)


@pytest.mark.parametrize("part", few(range(4), of=4))
def test_only_what_nothing_fits_is_told_to_be_so(
    part: int, small: Constraints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of random grammars with rules that call each other: none that is refused so has a finished text."""
    rng = random.Random(SEED + part)
    letters = [small._words.texts.index(letter.encode()) for letter in ALPHABET]
    refused = fitting = 0
    for _ in range(75):
        names = ["root", "x", "y"]
        sequences = [[rng.choice(['"a"', '"b"', "[ab]", *names]) for _ in range(rng.randint(1, 3))] for _ in range(6)]
        lines = [
            f'{name} ::= "a" {" ".join(sequences[at])} | "b" {" ".join(sequences[at + 3])}'
            for at, name in enumerate(names)
        ]
        constraint = Constraint(K.GRAMMAR, "\n".join(lines))
        told = played(small, constraint, rng, 0)
        if not told:
            fitting += 1
            continue
        assert "nothing fits it" in told
        refused += 1
        with monkeypatch.context() as bare:
            bare.setattr(Constraints, "_satisfiable", lambda *_: None)
            small._compiled.clear()
            paths: list[list[int]] = [[]]
            for _ in range(6):
                states = [(path, small.state(constraint, path)) for path in paths]
                assert not any(isinstance(state, Legal) and state.complete for _, state in states)
                paths = [[*path, one] for path, state in states if isinstance(state, Legal) for one in letters][:64]
            small._compiled.clear()
    assert refused > 2 and fitting > 2


CHAIN = "".join(f'r{n} ::= r{n + 1} "x" | r{n + 1} "y"\n' for n in range(40))
BOMBS = [
    (K.GRAMMAR, f'root ::= r0\n{CHAIN}r40 ::= "a"'),
    (K.GRAMMAR, 'root ::= a\na ::= b a "z" | "x"\nb ::= c\nc ::= "" | "y"'),
    (K.GRAMMAR, f"root ::= {'(' * 20_000}[a]{')' * 20_000}"),
    (K.GRAMMAR, "root ::= r0\n" + "".join(f"r{n} ::= r{n + 1}\n" for n in range(3000)) + 'r3000 ::= "a"'),
    (K.GRAMMAR, f'root ::= "{"a" * 50_000}"{{2000}}'),
    (K.GRAMMAR, 'root ::= "a"{1,18446744073709551614}'),
    (K.GRAMMAR, 'root ::= "a"{3, #\n 2}'),
    (K.GRAMMAR, 'root ::= ("a"{2000}){2000}'),
    (K.REGEX, "(a|b)*a(a|b){40}"),
    (K.REGEX, "((a{1000}){1000}){1000}"),
    (K.REGEX, "(x+x+)+y"),
    (K.REGEX, "(.*a.*b.*c.*d.*e.*f){20}"),
    (K.REGEX, "(" * 20_000 + "a" + ")" * 20_000),
    (K.JSON_SCHEMA, json.dumps({"type": "string", "pattern": "^(a|b)*a(a|b){40}$"})),
    (K.JSON_SCHEMA, json.dumps({"type": "array", "minItems": 100_000, "items": {"type": "string"}})),
    (K.JSON_SCHEMA, json.dumps({"type": "object", "properties": {f"k{n}": {"maxLength": 9999} for n in range(1500)}})),
    (K.JSON_SCHEMA, json.dumps({"allOf": [{"anyOf": [{"minimum": n * k} for n in range(5)]} for k in range(12)]})),
    (K.JSON_SCHEMA, '{"items":' * 900 + "{}" + "}" * 900),
    (K.LARK, 'start: "a" start'),
    (K.LARK, 'start: (start start) | "a" | ""'),
    (K.LARK, '%llguidance {"no_forcing": false}\nstart: "a" start'),
    (K.CHOICES, json.dumps([f"choice {number}" for number in range(2500)])),
]


NAMES = [f"{kind}-{text[:30]!r}" for kind, text in BOMBS]


@pytest.mark.parametrize(("kind", "text"), few(BOMBS, of=2), ids=NAMES)
def test_nothing_hangs_or_ends_the_process(kind: ConstraintKind, text: str, real: Constraints) -> None:
    """A line of what is too much is as good an answer."""
    told = played(real, Constraint(kind, text), random.Random(1), 12)
    assert "\n" not in told and len(told) < 250


@pytest.mark.timed
@pytest.mark.parametrize(("kind", "text"), BOMBS, ids=NAMES)
def test_of_a_few_steps_none_takes_seconds(kind: ConstraintKind, text: str, real: Constraints) -> None:
    """Of the processor."""
    began = time.thread_time()
    played(real, Constraint(kind, text), random.Random(1), 12)
    assert time.thread_time() - began < 20


def played(constraints: Constraints, constraint: Constraint, rng: random.Random, steps: int) -> str:
    """Takes some legal steps; returns what is wrong with the constraint, if anything is."""
    path: list[int] = []
    try:
        for _ in range(steps):
            state = legal(constraints, constraint, path)
            state.mask[sorted(constraints._words.ends)] = False
            allowed = np.flatnonzero(state.mask)
            if not len(allowed):
                break
            path.append(int(allowed[rng.randrange(len(allowed))]))
        constraints.forced(constraint, path[:1])
    except BadConstraint as error:
        return str(error)
    return ""


def test_an_ambiguous_grammar_ends_before_it_hangs(small: Constraints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOWEST", 0.05)
    constraint = Constraint(K.GRAMMAR, 'root ::= "a" root "x" | "a" root "y" | ""')
    token = small._words.texts.index(b"a")
    told = ""
    for length in range(40):
        try:
            legal(small, constraint, [token] * length)
        except BadConstraint as error:
            told = str(error)
            break
    assert told.startswith("grammar: too ambiguous here")
    assert legal(small, constraint, [token]).mask.sum() >= 3  # a, x and y


HOSTILE = {
    "grows": ('root ::= "a" root "x" | "a" root "y" | ""', "a" * 40),
    "two of a kind": ('root ::= (x | y)* "!"\nx ::= [a-z ]\ny ::= [a-z ]', "the quick brown fox"),
    "any character": ('root ::= [^x] root "x" | [^x] root "y" | ""', "the quick brown fox"),
    "many at once": ("root ::= " + " | ".join(f'"a" root "x{n}"' for n in range(700)) + ' | "a"', "aaaaaaaa"),
    "all left out": ("root ::= " + '"a"? ' * 200 + '"b"', "aaaaaaaa"),
    "all repeated": ("root ::= " + "[a-z]* " * 30 + '"!"', "the quick brown fox"),
    "dashes": ('root ::= ("-" | [-])* "x"', "-" * 300 + "y"),
    "far below": ("root ::= " + "(" * 30 + '"a"?' + ")*" * 30, "a" * 64 + "b"),
}


def asked(name: str, real: Constraints) -> Iterator[tuple[str, float]]:
    """What a hostile grammar makes of each beginning of its text, and seconds of the processor."""
    text, path = HOSTILE[name]
    legal(real, Constraint(K.GRAMMAR, "root ::= [a-z]*"), [])  # the vocabulary is ready
    tokens = ids(real, path)
    for length in range(len(tokens) + 1):
        began = time.thread_time()
        try:
            state = real.state(Constraint(K.GRAMMAR, text), tokens[:length])
            told = ""
        except BadConstraint as error:
            state, told = None, str(error)
        yield told, time.thread_time() - began
        if told or isinstance(state, Broken):
            return


@pytest.mark.parametrize("name", few(HOSTILE, of=3))
def test_a_hostile_grammar_is_answered_or_too_ambiguous(name: str, real: Constraints) -> None:
    assert all(told in ("", module.TOO_AMBIGUOUS) or "too many ways" in told for told, _ in asked(name, real))


@pytest.mark.timed
@pytest.mark.parametrize("name", HOSTILE)
def test_no_question_to_a_grammar_takes_much_more_than_a_second(name: str, real: Constraints) -> None:
    assert max(seconds for _, seconds in asked(name, real)) < 3 * module.SLOWEST


@pytest.mark.parametrize(
    ("grammar", "path"),
    few(
        [
            ('root ::= ws ws ws ws ws ws "x"\nws ::= " "*', " " * 30 + "x"),
            ('root ::= ("-" | [-])* "x"', "-" * 64 + "x"),
            (
                'root ::= (e "=" ws t "\\n")+\ne ::= t ([-+*/] t)*\nt ::= [a-z]+ ws | n | "(" ws e ")" ws\n'
                "n ::= ([0-9] | [1-9] [0-9]{0,15}) ws\nws ::= [ \\t\\n]*",
                "(a +b)*(c+12) = 7\n",
            ),
        ],
        of=2,
    ),
)
def test_a_little_ambiguity_is_no_matter(grammar: str, path: str, real: Constraints) -> None:
    tokens = ids(real, path)
    for length in range(len(tokens) + 1):
        legal(real, Constraint(K.GRAMMAR, grammar), tokens[:length])
    assert legal(real, Constraint(K.GRAMMAR, grammar), tokens).complete


@pytest.mark.parametrize("part", few(range(3), of=3))
def test_the_guard_reads_a_grammar_as_llama_cpp_does(part: int, small: Constraints) -> None:
    """Of random texts, those that it finds a way for are those that llama.cpp goes on with."""
    rng = random.Random(SEED + part)
    letters = {letter: small._words.texts.index(letter.encode()) for letter in "abc"}
    compared = went = 0
    for _ in range(50):
        shape = random_shape(rng)
        parts = [
            "r",
            "s",
            f"({shape.gbnf})",
            '"ab"',
            "[^b]",
            ".",
            "[a-b]",
            '"a"?',
            "[bc]{1,3}",
            "s{2}",
            '"c"{2,}',
            "r*",
        ]
        lines = [f'{name} ::= "{rng.choice("abc")}" {" ".join(rng.choices(parts, k=3))} | "bc"' for name in "rs"]
        text = 'root ::= "a"? (r | s "b")\n' + "\n".join(lines)
        constraint = Constraint(K.GRAMMAR, text)
        if played(small, constraint, rng, 1):
            continue
        ways = Ways(text)
        for _ in range(30):
            said = rng.choices("abc", k=rng.randint(1, 6))
            state = small.state(constraint, [letters[letter] for letter in said])
            assert bool(ways.after(ways.start, "".join(said))) == isinstance(state, Legal), (text, said)
            compared, went = compared + 1, went + isinstance(state, Legal)
    assert compared > 333 and 66 < went < compared - 66


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [K.GRAMMAR, K.LARK, K.REGEX])
def test_any_text_is_a_constraint_or_one_line(kind: ConstraintKind, small: Constraints) -> None:
    parts = {
        K.GRAMMAR: ["root ::= ", "a ::= ", "\n", '"a"', "[a-z]", "[^é]", "[日-本]", *"()|*+?. a[#", "{2}", "{0,2}"],
        K.LARK: ["start: ", "a: ", "\n", '"a"', "/a+/", *"()|*+? aA~", "{2}", "%ignore / /\n", "%json {}", "A: "],
        K.REGEX: ["a", *"ab()|*+?.^$[]\\/#\n", "{2}", "{1,3}", "(?i)", "(?s)", "(?-u)", "\\d", "\\p{L}", "[^a]"],
    }[kind]
    rng = random.Random(23)
    told = [
        played(small, Constraint(kind, parts[0] + "".join(rng.choices(parts, k=rng.randint(1, 12)))), rng, 4)
        for _ in range(300)
    ]
    assert told.count("") > 3
    for line in told:
        assert_plain(line)


INTERNAL = re.compile(r"[a-z][A-Z]|[a-z]_[a-z]|::|Some\(|\bf64\b|`|\bstruct\b|panic|fuel|lexeme|error:|\n")
"""Of a library's inside: its names, its types, its own trouble."""
KEYWORDS = re.findall(
    r"\S+",
    """
    type enum const minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern format
    items prefixItems minItems maxItems uniqueItems properties required additionalProperties patternProperties
    minProperties maxProperties anyOf oneOf allOf not $ref $defs $id $schema x-guidance title if then contains
    """,
)


def assert_plain(line: str) -> None:
    own = "|".join(map(re.escape, sorted(KEYWORDS, key=len, reverse=True)))
    unquoted = re.sub(own, "", re.sub(r"\"[^\"]*\"|'[^']*'|[\[{].*", "", line.replace("::=", "")))
    assert len(line) < 250 and line.isprintable() and not INTERNAL.search(unquoted), line


@pytest.mark.parametrize("part", few(range(4), of=4))
def test_any_schema_is_a_constraint_or_one_plain_line(part: int, small: Constraints) -> None:
    rng = random.Random(SEED + part)
    numbers: list[Any] = [0, -1, 3, 1.5, 1e30, 1e300]
    plain_values = [None, True, False, *numbers, "a", "integer", "string", "(", "\\b", "#", "#/$defs/a", [], {}]

    def value(depth: int) -> Any:
        if depth == 0 or rng.random() < 0.5:
            return rng.choice(plain_values)
        if rng.random() < 0.3:
            return [value(depth - 1) for _ in range(rng.randrange(3))]
        return {rng.choice(KEYWORDS): value(depth - 1) for _ in range(rng.randint(1, 4))}

    lines = []
    for _ in range(375):
        schema = {rng.choice(KEYWORDS): value(2) for _ in range(rng.randint(1, 4))}
        line = played(small, Constraint(K.JSON_SCHEMA, json.dumps(schema)), rng, 3)
        assert_plain(line)
        lines.append(line)
    assert 12 < lines.count("") < 363


# --- where llguidance is, and where it is not


def test_without_llguidance(small: Constraints, monkeypatch: pytest.MonkeyPatch) -> None:
    some = ["ab", 'a"b', "a\\b", "a\nb\x01", "日本", "日月", ""]
    constraint = choices(json.dumps(some))
    paths = [[], *(ids(small, text)[:size] for text in some for size in (1, 2, 3))]
    there = [legal(small, constraint, path) for path in paths]
    monkeypatch.setitem(sys.modules, "llguidance", None)
    bare = Constraints(small._words.vocabulary)
    for kind in (K.REGEX, K.JSON_SCHEMA, K.LARK):
        with pytest.raises(BadConstraint, match=f"^{kind}: needs llguidance, which is not installed here$"):
            bare.state(Constraint(kind, "{}"), [])
    for path, one in zip(paths, there, strict=True):
        other = legal(bare, constraint, path)
        assert (one.mask == other.mask).all()
        assert (one.complete, one.must_end) == (other.complete, other.must_end)
    with pytest.raises(BadConstraint, match="NUL"):
        bare.state(choices('["\\u0000"]'), [])


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (Constraint(K.REGEX, "[0-9"), Constraint(K.REGEX, "[0-9]+")),
        (Constraint(K.JSON_SCHEMA, '{"type": "nothing"}'), Constraint(K.JSON_SCHEMA, '{"type": "null"}')),
        (Constraint(K.GRAMMAR, "root ::= ("), Constraint(K.GRAMMAR, 'root ::= "a"')),
    ],
    ids=lambda constraint: constraint.kind,
)
def test_what_is_no_constraint_is_told_before_the_vocabulary_is_read(
    small: Constraints, monkeypatch: pytest.MonkeyPatch, wrong: Constraint, right: Constraint
) -> None:
    with pytest.raises(BadConstraint) as usual:
        small.state(wrong, [])
    reads: list[Vocabulary] = []
    texts = Vocabulary.texts

    def read(vocabulary: Vocabulary) -> list[bytes]:
        reads.append(vocabulary)
        return texts(vocabulary)

    monkeypatch.setattr(Vocabulary, "texts", read)
    fresh = Constraints(small._words.vocabulary)
    with pytest.raises(BadConstraint) as at_once:
        fresh.state(wrong, [])
    assert str(at_once.value) == str(usual.value) and not reads
    fresh.state(right, [])
    assert len(reads) == 1


def test_the_worker_starts_without_llguidance() -> None:
    program = "import sys, tokex_gguf.engine.worker.server, tokex_gguf.engine.worker.constraints; "
    program += "sys.exit('llguidance' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_tree_of_texts_asks_about_all_that_may_be_legal(real: Constraints) -> None:
    """Where only some beginnings go on, it finds what asking about each token finds, and asks less."""
    tree = VocabularyTree(real._words.texts)
    asked = 0

    def begins(tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        nonlocal asked
        asked += len(tokens)
        return np.array(["the cat".startswith(real._words.texts[token].decode("utf-8", "replace")) for token in tokens])

    wanted = [b"t", b"th", b"the"]
    assert {real._words.texts[token] for token in np.flatnonzero(tree.legal(begins))} == set(wanted)
    assert asked < len(real._words.texts) / 3
    assert (tree.legal(lambda tokens: np.ones(len(tokens), np.bool_)) == tree.whole).all()


@pytest.mark.timed
def test_a_mask_of_twenty_fields_takes_less_than_a_millisecond(real: Constraints) -> None:
    kinds: list[dict[str, Any]] = [
        {"type": "string"},
        {"type": "integer"},
        {"type": "boolean"},
        {"enum": ["red", "blue"]},
    ]
    names = [f"field{number}" for number in range(20)]
    properties = {name: kinds[number % 4] for number, name in enumerate(names)}
    schema = {"type": "object", "properties": properties, "required": names, "additionalProperties": False}
    values = ["what a day", 12, True, "red"]
    tokens = ids(real, json.dumps({name: values[number % 4] for number, name in enumerate(names)}))
    times: list[float] = []
    for _ in range(2):
        real._compiled.clear()
        for length in range(len(tokens) + 1):
            began = time.perf_counter()
            legal(real, Constraint(K.JSON_SCHEMA, json.dumps(schema)), tokens[:length])
            times.append(time.perf_counter() - began)
    assert legal(real, Constraint(K.JSON_SCHEMA, json.dumps(schema)), tokens).must_end
    assert sorted(times)[len(times) // 2] <= 0.001


@pytest.mark.parametrize("regex", ["\\", "abc\\", "/\\"])
def test_a_backslash_with_nothing_behind_it_is_refused_and_not_dropped(small: Constraints, regex: str) -> None:
    with pytest.raises(BadConstraint, match="backslash with nothing after it"):
        small.state(Constraint(ConstraintKind.REGEX, regex), [])


def test_a_reference_by_an_anchors_name_leads_to_no_circle(real: Constraints) -> None:
    schema = {
        "$defs": {"A": {"$anchor": "foo", "type": "integer"}},
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"$ref": "#foo"}},
    }
    assert not legal(real, Constraint(K.JSON_SCHEMA, json.dumps(schema)), []).complete
