"""Which tokens a constraint leaves: against acceptors that try every text, `re` and `jsonschema`.

The vocabularies are the bundled model's and small generated ones that have many tokens over a small alphabet.
"""

import itertools
import json
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from tests import tiny_models
from tests.figures import Figure
from tokex_gguf.engine.worker.abort import Abort
from tokex_gguf.engine.worker.constraints import Broken, Constraints, Legal
from tokex_gguf.engine.worker.llama import Llama, Vocabulary
from tokex_gguf.values.constraint import Constraint, ConstraintKind, choices

K = ConstraintKind
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


@pytest.fixture(scope="module", params=["bpe", "spm"])
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
    pieces = [constraints._vocabulary.piece(token) for token in range(constraints._vocabulary.size)]
    return [b"" if piece.control or piece.ends else piece.data for piece in pieces]


def ids(constraints: Constraints, text: str) -> list[int]:
    return constraints._vocabulary.continuation(text, parse_special=False)


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


def test_no_legal_token_is_refused_and_no_other_allowed(small: Constraints, figure: Figure) -> None:
    compare_all(small, figure, 17, 25)


@pytest.mark.soak
def test_no_legal_token_is_refused_in_many_constraints(small: Constraints, figure: Figure) -> None:
    compare_all(small, figure, random.randrange(2**32), 400)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (K.REGEX, "[à-ü日🙂]+x"),
        (K.GRAMMAR, "root ::= [à-ü日🙂]+ [x]"),
        (K.CHOICES, '["日本", "日月", "café", "🙂x"]'),
        (K.JSON_SCHEMA, '{"type": "string", "maxLength": 3}'),
    ],
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
            path.append(int(rng.choice(allowed[~np.isin(allowed, list(small._ends))])))
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
        lambda: {"type": "string", "pattern": rng.choice(["^[a-c]+$", "^x", "[0-9]$", "^(on|off)$"])},
        lambda: {"type": "string", "format": rng.choice(["date", "time", "uuid", "ipv4"])},
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


CLOSING = [b"}", b"]", b'"', b",", b":", b"0", b"1"]


def random_text(constraints: Constraints, constraint: Constraint, rng: random.Random) -> str | None:
    """The text of a random legal path; None where it was not finished."""
    texts = texts_of(constraints)
    ends = np.array(constraints._vocabulary.ends())
    lengths = np.array(list(map(len, texts)))
    path: list[int] = []
    while len(path) < 150:
        state = legal(constraints, constraint, path)
        assert (state.mask[ends] == state.complete).all()
        state.mask[ends] = False
        allowed = np.flatnonzero(state.mask)
        assert state.must_end == (state.complete and not len(allowed))
        if state.complete and (state.must_end or rng.random() < 0.3 or len(path) > 20):
            return b"".join(texts[token] for token in path).decode()
        assert len(allowed), (constraint, path)
        if len(path) > 20:
            # A way to an end: what closes, else the shortest.
            closing = [token for text in CLOSING if state.mask[token := texts.index(text)]]
            shortest = allowed[np.argsort(lengths[allowed], kind="stable")[:5]].tolist()
            path.append(closing[0] if closing else rng.choice(shortest))
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
    assert finished > 20 * unfinished
    figure(finished, "finished texts of random legal paths through schemas and regexes", seed=seed, refused=0)


def test_every_finished_text_is_accepted(small: Constraints, figure: Figure) -> None:
    walk_all(small, figure, 17, 60, 2)


def test_every_finished_text_of_a_real_vocabulary_is_accepted(real: Constraints, figure: Figure) -> None:
    walk_all(real, figure, 18, 40, 1)


@pytest.mark.soak
def test_two_hundred_schemas_and_regexes(small: Constraints, figure: Figure) -> None:
    walk_all(small, figure, random.randrange(2**32), 200, 20)


@pytest.mark.soak
def test_two_hundred_schemas_and_regexes_on_a_real_vocabulary(real: Constraints, figure: Figure) -> None:
    walk_all(real, figure, random.randrange(2**32), 200, 5)
