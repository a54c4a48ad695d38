"""Sampler chains as text for llama.cpp's tools: flags of llama-server and llama-cli, and llama-server's JSON.

Reading follows llama.cpp: missing values and a missing order are its defaults. Writing names everything that the chain
does, so that llama.cpp does the same whatever its defaults are. Pure.
"""

import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from tokex_gguf.values.random_numbers import RANDOM_SEED
from tokex_gguf.values.samplers import BREAKERS, DEFAULT_ORDER, KINDS, Chain, Kind, Parameter, Sampler, kind_named

RANDOM = -1
"""The seed for a random one, as in llama.cpp."""
LARGEST_TOKEN = 2**31 - 1
"""The largest token id."""


class Option(NamedTuple):
    """A flag of a chain."""

    names: tuple[str, ...]
    """The first one is used for writing."""
    value: str
    """The name of its value in the help."""
    help: str
    repeats: bool = False
    """Whether it may be repeated; otherwise the last value counts."""


def _parameter_help(title: str, about: str, one: Parameter) -> str:
    off = "" if one.off is None or one.off == one.default else f", {one.text(one.off)} is off"
    is_off = ", off" if one.off == one.default else ""
    what = f"{title}: {one.label}" if title != one.label else title
    sentence = about.rstrip(".")
    if not sentence.startswith("T "):
        sentence = sentence[0].lower() + sentence[1:]
    return f"{what} (default {one.text(one.default)}{is_off}{off}); {sentence}"


_ORDER = Option(
    ("--samplers",), "NAMES", f"the samplers, in their order, with ; between (default {';'.join(DEFAULT_ORDER)})"
)
_SEQUENCE = Option(
    ("--sampler-seq", "--sampling-seq"),
    "LETTERS",
    f"the same by letters (default {''.join(KINDS[kind].letter for kind in DEFAULT_ORDER)})",
)
_BREAKER = Option(
    ("--dry-sequence-breaker",),
    "TEXT",
    "DRY: a text at which it looks no further back, in place of llama.cpp's; none for none at all; may be repeated",
    repeats=True,
)
_BIAS = Option(
    ("-l", "--logit-bias"),
    "TOKEN+BIAS",
    "add so much to a token's logit: 15043+1, 15043-1, or 15043-inf, which bans token 15043; may be repeated",
    repeats=True,
)
_PARAMETERS: Mapping[str, Parameter] = MappingProxyType(
    {one.flag: one for row in KINDS.values() for one in row.parameters}
)
OPTIONS: tuple[Option, ...] = (
    _ORDER,
    _SEQUENCE,
    *(
        Option(one.flags, "N", _parameter_help(row.title, row.about(index), one))
        for row in KINDS.values()
        for index, one in enumerate(row.parameters)
    ),
    _BREAKER,
    _BIAS,
)
"""All flags of a chain; without those of the seed and of constraints."""
_NAMED = {name: option for option in OPTIONS for name in option.names}
_SEED = ("-s", "--seed")


# --- reading


class Reading(NamedTuple):
    """A chain that was read, and remarks."""

    chain: Chain
    clamped: tuple[str, ...] = ()
    """A line for each value out of range that was clamped, as llama.cpp does."""
    left: tuple[str, ...] = ()
    """Flags or keys that do not belong to a chain, in order."""

    @property
    def remarks(self) -> list[str]:
        """A line for each difference to what was written."""
        left = list(dict.fromkeys(self.left))
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        named = ", ".join(one[:40] for one in left[:NAMED])
        return [*self.clamped, *([f"left alone: {named}{more}"] if left else [])]


NAMED = 6
"""The most flags or keys in a line."""


def chain_of_flags(text: str) -> Chain:
    """The chain that llama.cpp's tools make of these flags, without the seed. Raises ValueError.

    >>> chain_of_flags("--samplers 'top_k;temperature' --top-k 5").samplers
    (Sampler(kind=<Kind.TOP_K: 'top_k'>, values=(5.0,), on=True), \
Sampler(kind=<Kind.TEMPERATURE: 'temperature'>, values=(0.8, 0.0, 1.0), on=True))
    >>> chain_of_flags("--min-p 0").short
    'top-k 40 · top-p 0.95 · T 0.8'
    """
    given, others = _words(text)
    if others:
        raise ValueError(f"{others[0][:40]}: no flag of a sampler")
    return read_options(given).chain


def read_flags(text: str) -> Reading:
    """As `chain_of_flags`, for a whole command line with other words. Raises ValueError, also where it has no flag.

    >>> read_flags("llama-server -m model.gguf -c 4096 --temp 0.7 -ngl 99").left
    ('-m', '-c', '-ngl')
    """
    given, others = _words(text)
    flags = [one for one in others if re.match("--?[A-Za-z]", one)]
    if others and not given:
        raise ValueError(f"{(flags or others)[0][:40]}: no flag of a sampler")
    return read_options(given)._replace(left=tuple(flags))


def _words(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The flags of a chain by their first names, with values; and all other words."""
    try:
        words = shlex.split(re.sub(r"\\\r?\n", " ", text))
    except ValueError as error:
        raise ValueError(f"not a command line: {str(error).lower()}") from None
    given: list[tuple[str, str]] = []
    others: list[str] = []
    waiting = iter(words)
    for word in waiting:
        # As in llama.cpp, --top_k is --top-k.
        name = word.replace("_", "-") if word.startswith("--") else word
        if name not in _NAMED and name not in _SEED:
            others.append(word)
            continue
        if (value := next(waiting, None)) is None:
            raise ValueError(f"{word} takes a value")
        if name in _SEED:
            seed_of(value)
        else:
            given.append((_NAMED[name].names[0], value))
    return given, others


def read_options(given: Iterable[tuple[str, str]]) -> Reading:
    """The chain that llama.cpp's tools make of flags, by their first names, and their values. Raises ValueError."""
    order: Sequence[Kind] = DEFAULT_ORDER
    values = _Values()
    bias: list[tuple[int, float]] = []
    breakers: tuple[str, ...] | None = None
    for name, text in given:
        if name == _ORDER.names[0]:
            order = _order(name, text.split(";") if text else ())
        elif name == _SEQUENCE.names[0]:
            order = _sequence(name, text)
        elif name == _BREAKER.names[0]:
            breakers = () if text == "none" else (*(breakers or ()), _unescaped(name, text))
        elif name == _BIAS.names[0]:
            bias.append(_bias(name, text))
        else:
            values.set(_PARAMETERS[name], text)
    chain = _chain(order, values.values, bias, BREAKERS if breakers is None else breakers)
    return Reading(chain, values.clamped)


class _Values:
    """The values of parameters, by key."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._clamped: dict[str, str] = {}

    def set(self, parameter: Parameter, text: str, name: str = "") -> None:
        """Sets a value; the last one counts. Raises ValueError."""
        value = self.values[parameter.key] = parameter.parsed(text, name)
        self._clamped.pop(parameter.key, None)
        if value != float(text):
            taken = f"{name or parameter.flag} {text.strip()[:20]} is taken as {parameter.text(value)}"
            self._clamped[parameter.key] = taken

    @property
    def clamped(self) -> tuple[str, ...]:
        """A line for each value out of range."""
        return tuple(self._clamped.values())


def read_json(text: str) -> Reading:
    """The chain that llama-server makes of a request's JSON. Raises ValueError, also where no key is a sampler's.

    Without the seed; other keys of the request are ignored.

    >>> read_json('{"samplers": ["min_p"], "min_p": 0.1, "logit_bias": [[5, false]]}').chain.short
    '1 biased · min-p 0.1'
    >>> read_json('{"prompt": "a", "top_k": 5, "n_predict": 9}').left
    ('prompt', 'n_predict')
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f": {error.msg} in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"not JSON{where}") from None
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    keys = {one.key: one for one in _PARAMETERS.values()}
    order: Sequence[Kind] = DEFAULT_ORDER
    values = _Values()
    bias: list[tuple[int, float]] = []
    breakers: tuple[str, ...] = BREAKERS
    left: list[str] = []
    for key, value in document.items():
        if value is None:
            continue  # as a missing key
        if key in keys:
            values.set(keys[key], _number_text(key, value), key)
        elif key == "samplers":
            order = _sequence(key, value) if isinstance(value, str) else _order(key, _texts(key, value))
        elif key == "dry_sequence_breakers":
            breakers = tuple(_texts(key, value))
            if not breakers:
                raise ValueError(f'{key} is empty: [""] is for none')
        elif key == "logit_bias":
            bias = _biases(key, value)
        elif key == "seed":
            seed_of(_number_text(key, value), key)
        else:
            left.append(key)
    others = {*left, "seed"}
    if left and all(key in others or value is None for key, value in document.items()):
        raise ValueError(f"{left[0][:40]}: no key of a sampler")
    return Reading(_chain(order, values.values, bias, breakers), values.clamped, tuple(left))


def seed_of(text: str, name: str = "--seed") -> int:
    """A seed, 0 to `random_numbers.RANDOM_SEED`, or RANDOM. Raises ValueError.

    >>> seed_of("7"), seed_of("-1"), seed_of("4294967295")
    (7, -1, -1)
    """
    if not re.fullmatch(r"-1|[0-9]{1,10}", text, re.ASCII) or int(text) > RANDOM_SEED:
        raise ValueError(f"{name} takes a whole number from 0 to {RANDOM_SEED}, or {RANDOM} for a random one")
    return RANDOM if int(text) == RANDOM_SEED else int(text)


def _chain(
    order: Sequence[Kind], values: Mapping[str, float], bias: Iterable[tuple[int, float]], breakers: Sequence[str]
) -> Chain:
    """The chain that llama.cpp makes of these parts."""

    def with_values(kind: Kind) -> Sampler:
        return Sampler(kind, tuple(values.get(one.key, float(one.default)) for one in KINDS[kind].parameters))

    samplers = [with_values(kind) for kind in order]
    if values.get("mirostat"):
        # Mirostat has a temperature before it, whatever the order names.
        samplers += [] if Kind.TEMPERATURE in order else [with_values(Kind.TEMPERATURE)]
        samplers.append(with_values(Kind.MIROSTAT))
    totals: dict[int, float] = {}
    for token, amount in bias:  # several biases of a token are added
        totals[token] = _added("logit-bias", totals.get(token, 0.0) + amount)
    added = tuple(sorted(one for one in totals.items() if one[1]))
    return Chain(tuple(samplers), added, tuple(one for one in breakers if one))


def _order(name: str, names: Sequence[str]) -> list[Kind]:
    order: list[Kind] = []
    for one in names:
        try:
            kind = kind_named(one)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if kind in order:
            raise ValueError(f"{name} has {kind} twice")
        order.append(kind)
    return order


def _sequence(name: str, letters: str) -> list[Kind]:
    kinds = {row.letter: kind for kind, row in KINDS.items() if row.letter}
    if unknown := next((letter for letter in letters if letter not in kinds), None):
        known = ", ".join(f"{letter} for {kind}" for letter, kind in kinds.items())
        raise ValueError(f"{name}: there is no sampler {unknown!r}: there are {known}")
    return _order(name, [kinds[letter] for letter in letters])


def _bias(name: str, text: str) -> tuple[int, float]:
    match = re.fullmatch(r"\s*([0-9]{1,10})\s*([+-])(.+)", text, re.ASCII)
    try:
        amount = float(match[3]) if match else math.nan
    except ValueError:
        amount = math.nan
    if match is None or int(match[1]) > LARGEST_TOKEN or math.isnan(amount):
        raise ValueError(f"{name} takes the number of a token, + or -, and a number or inf, not {text[:40]!r}")
    return int(match[1]), _added(name, -amount if match[2] == "-" else amount)


def _biases(name: str, value: object) -> list[tuple[int, float]]:
    """Biases in the forms that llama-server takes: an object, or pairs; false bans a token.

    A pair with a text is refused: its tokens are not known here.
    """
    if isinstance(value, dict):
        rows: list[list[object]] = [
            [int(key) if re.fullmatch("[0-9]{1,10}", key) else key, amount] for key, amount in value.items()
        ]
    elif isinstance(value, list) and all(isinstance(row, list) and len(row) == 2 for row in value):
        rows = value
    else:
        raise ValueError(f"{name} is not an object or a list of pairs")
    bias: list[tuple[int, float]] = []
    for token, amount in rows:
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token <= LARGEST_TOKEN:
            raise ValueError(f"{name}: {str(token)[:40]!r} is not the number of a token")
        if amount is False:
            bias.append((token, -math.inf))
        elif isinstance(amount, int | float) and not isinstance(amount, bool):
            bias.append((token, _added(name, float(_number_text(name, amount)))))
        else:
            raise ValueError(f"{name}: what is added to token {token} is not a number or false")
    return bias


MOST_BIAS = 1e6
"""More than any two logits differ by."""


def _added(name: str, amount: float) -> float:
    if not (amount == -math.inf or abs(amount) <= MOST_BIAS):
        raise ValueError(f"{name}: only a number up to {MOST_BIAS:,.0f}, or minus infinity, can be added to a logit")
    return amount


def _number_text(name: str, value: object) -> str:
    """A number of JSON as text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is not a number")
    return str(value)


def _texts(name: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{name} is not a list of texts")
    if len(value) > MOST_BREAKERS or any("\ud800" <= char <= "\udfff" for one in value for char in one):
        raise ValueError(f"{name}: more than {MOST_BREAKERS} texts, or some that are not Unicode")
    return value


MOST_BREAKERS = 100
"""The most texts at which DRY stops looking back."""


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "'": "'", '"': '"', "\\": "\\"}


def _unescaped(name: str, text: str) -> str:
    r"""A text with llama.cpp's escapes.

    >>> _unescaped("", r"\t\x41\d")
    '\tA\\d'
    """

    def one(match: re.Match[bytes]) -> bytes:
        if len(match[1]) == 3:
            return bytes([int(match[1][1:], 16)])
        return _ESCAPES.get(match[1].decode("latin-1"), match[0].decode("latin-1")).encode("latin-1")

    data = re.sub(rb"\\(x[0-9A-Fa-f]{2}|.)", one, text.encode(errors="surrogateescape"), flags=re.DOTALL)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{name}: not UTF-8") from None


# --- writing


def flags_of(chain: Chain) -> str:
    """Flags that make llama-server and llama-cli do exactly what the chain does.

    >>> flags_of(Chain((Sampler.of(Kind.MIN_P, 0.1), Sampler.of(Kind.TEMPERATURE, 0.7)), bias=((5, -math.inf),)))
    '--samplers "min_p;temperature" --min-p 0.1 --temp 0.7 -l 5-inf'
    >>> flags_of(Chain())
    '--samplers ""'
    """
    samplers = _written(chain)
    words = [_ORDER.names[0], _quoted(";".join(one.kind for one in samplers if one.row.letter))]
    for one, value in _values(samplers):
        if value != one.default or one.key in _BY_MODELS:
            words += [one.flag, _number(value)]
    acting = chain.acting
    if acting.breakers != BREAKERS:
        for breaker in acting.breakers or ("none",):
            words += [_BREAKER.names[0], _quoted(_escaped(breaker) if acting.breakers else breaker)]
    for token, amount in acting.bias:
        words += [_BIAS.names[0], f"{token}{'-' if amount < 0 else '+'}{_number(abs(amount))}"]
    return " ".join(words)


def json_of(chain: Chain) -> str:
    """Keys of a request that make llama-server do exactly what the chain does, however it was started.

    >>> json_of(Chain((Sampler.of(Kind.TOP_K, 5),), bias=((5, -math.inf), (7, 1.5))))
    '{"samplers": ["top_k"], "top_k": 5, "mirostat": 0, "logit_bias": [[5, false], [7, 1.5]]}'
    """
    samplers, acting = _written(chain), chain.acting
    document: dict[str, object] = {"samplers": [one.kind.value for one in samplers if one.row.letter]}
    document |= {one.key: int(value) if value.is_integer() else value for one, value in _values(samplers)}
    if any(one.kind is Kind.DRY for one in samplers):
        document["dry_sequence_breakers"] = list(acting.breakers) or [""]
    document.setdefault("mirostat", 0)
    document["logit_bias"] = [[token, False if amount == -math.inf else amount] for token, amount in acting.bias]
    return json.dumps(document, ensure_ascii=False)


_BY_MODELS = {
    "top_k",
    "top_p",
    "min_p",
    "xtc_probability",
    "xtc_threshold",
    "temperature",
    "repeat_last_n",
    "repeat_penalty",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
}
"""Values that a model's file may set in place of llama.cpp's defaults, where no flag does."""


def _written(chain: Chain) -> list[Sampler]:
    """The samplers to write: those that act."""
    samplers = list(chain.acting.samplers)
    if samplers and samplers[-1].kind is Kind.MIROSTAT and len(samplers) == 1:
        # llama.cpp always has a temperature before mirostat: this one changes nothing.
        samplers.insert(0, Sampler.of(Kind.TEMPERATURE, 1))
    return samplers


def _values(samplers: Iterable[Sampler]) -> Iterable[tuple[Parameter, float]]:
    """All parameters of samplers, and their values."""
    for sampler in samplers:
        yield from zip(sampler.row.parameters, sampler.values, strict=True)


def _number(value: float) -> str:
    return f"{int(value)}" if value.is_integer() else repr(value)


def _escaped(text: str) -> str:
    """A breaker's text with llama.cpp's escapes."""
    if text == "none":
        return r"\x6eone"
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _quoted(word: str) -> str:
    """A word quoted for shells; in double quotes where these are safe in all shells."""
    return f'"{word}"' if re.fullmatch("|[a-z_;]*;[a-z_;]*", word) else shlex.quote(word)
