"""The sampler chain: llama.cpp's samplers, their parameters and their order. Pure.

Names, flags, JSON keys, defaults and ranges are those of llama.cpp's tools (`common/arg.cpp`,
`common/sampling.cpp` and `tools/server/server-task.cpp` of the release that llama-cpp-python brings).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

from tokex_gguf.values.record import record, replace

SEPARATOR = " · "
"""Between samplers in a status line."""


class Kind(StrEnum):
    """The samplers, by the names that `--samplers` takes; the last two draw the token themselves."""

    PENALTIES = "penalties"
    DRY = "dry"
    TOP_N_SIGMA = "top_n_sigma"
    TOP_K = "top_k"
    TYPICAL = "typ_p"
    TOP_P = "top_p"
    MIN_P = "min_p"
    XTC = "xtc"
    TEMPERATURE = "temperature"
    MIROSTAT = "mirostat"
    ADAPTIVE_P = "adaptive_p"


@record
class Parameter:
    """A parameter of a sampler."""

    label: str
    """Its name on the screen."""
    flags: tuple[str, ...]
    """Its flags on llama.cpp's command line; the first is used for writing."""
    key: str
    """Its key in llama-server's JSON."""
    default: float
    """llama.cpp's default."""
    off: float | None
    """The value that switches the sampler off, if any."""
    least: float
    most: float
    steps: tuple[float, ...]
    """The values that keys step through, in order, from about `least` to about `most`."""
    whole: bool = False
    """Whether it is a whole number."""
    clamped: bool = False
    """Whether llama.cpp clamps values to the range."""
    help: str = ""
    """A sentence; empty for the first parameter, which the sampler's sentence describes."""

    def step(self, value: float, steps: int) -> float:
        """The value `steps` up or down; from between two steps, the first step goes to the next one.

        >>> TOP_K = KINDS[Kind.TOP_K].parameters[0]
        >>> TOP_K.step(40, 1), TOP_K.step(43, -1), TOP_K.step(1, -9)
        (50, 40, 0)
        """
        places = self.steps
        at = bisect_left(places, value) + steps if steps < 0 else bisect_right(places, value) - 1 + steps
        return places[max(0, min(len(places) - 1, at))]

    def text(self, value: float) -> str:
        """A value as it is shown."""
        return f"{int(value)}" if self.whole else f"{value:g}"

    def exactly(self, value: float) -> str:
        """A value as text that parses to the same number."""
        return self.text(value) if float(self.text(value)) == value else repr(value)

    @property
    def flag(self) -> str:
        """Its first flag."""
        return self.flags[0]

    def parsed(self, text: str, name: str = "") -> float:
        """Parses a value. Raises ValueError with the allowed range. `name`: its name in the message; else its flag.

        >>> KINDS[Kind.TOP_K].parameters[0].parsed("-1")  # llama.cpp's other way to switch it off
        0.0
        """
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if self.whole and math.isfinite(value) and not value.is_integer():
            value = math.nan
        if self.clamped:
            value = max(self.least, min(self.most, value)) if math.isfinite(value) else value
        if not self.least <= value <= self.most:
            kind = "a whole number" if self.whole else "a number"
            allowed = f"{kind} from {self.text(self.least)} to {self.text(self.most)}"
            raise ValueError(f"{name or self.flag} takes {allowed}, not {text.strip()[:40]!r}")
        return float(value)


def _spread(*parts: tuple[float, float, float]) -> tuple[float, ...]:
    """Steps of the given width from `first` to `last`, for each part."""
    values: list[float] = []
    for first, last, width in parts:
        values += [round(first + index * width, 6) for index in range(round((last - first) / width) + 1)]
    return tuple(sorted(set(values)))


_UNIT = _spread((0, 0.05, 0.01), (0.05, 0.95, 0.05), (0.95, 1, 0.01))
_COUNTS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 50, 64, 80, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10000)
_LAST = (0, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_PENALTY = _spread((-2, 2, 0.1))
LARGE = 1_000_000


@record
class KindRow:
    """The description of a kind of sampler."""

    title: str
    """Its name on the screen, also in the rows of tokens that it cut."""
    letter: str
    """Its letter in `--sampler-seq`; empty where a parameter switches it on, and not its name in the order."""
    parameters: tuple[Parameter, ...]
    help: str
    """A sentence."""
    chooses: bool = False
    """Whether it draws the token itself: it is last, and at most one such sampler acts."""

    def about(self, index: int) -> str:
        """A sentence about one of its parameters."""
        return self.parameters[index].help or self.help


def _parameter(
    label: str,
    flags: str,
    key: str,
    default: float,
    steps: tuple[float, ...],
    off: float | None = None,
    *,
    whole: bool = False,
    least: float | None = None,
    most: float | None = None,
    clamped: bool = False,
    about: str = "",
) -> Parameter:
    low, high = steps[0] if least is None else least, steps[-1] if most is None else most
    return Parameter(label, tuple(flags.split()), key, default, off, low, high, steps, whole, clamped, about)


KINDS: Mapping[Kind, KindRow] = MappingProxyType(
    {
        Kind.PENALTIES: KindRow(
            "penalties",
            "e",
            (
                _parameter(
                    "repeat",
                    "--repeat-penalty",
                    "repeat_penalty",
                    1.0,
                    _spread((0.5, 2, 0.05)),
                    1.0,
                    least=0.01,
                    most=100,
                ),
                _parameter(
                    "last n",
                    "--repeat-last-n",
                    "repeat_last_n",
                    64,
                    _LAST,
                    0,
                    whole=True,
                    most=LARGE,
                    about="So many of the last tokens count.",
                ),
                _parameter(
                    "frequency",
                    "--frequency-penalty",
                    "frequency_penalty",
                    0.0,
                    _PENALTY,
                    0.0,
                    least=-100,
                    most=100,
                    about="Lowers a token's logit by this each time that it came.",
                ),
                _parameter(
                    "presence",
                    "--presence-penalty",
                    "presence_penalty",
                    0.0,
                    _PENALTY,
                    0.0,
                    least=-100,
                    most=100,
                    about="Lowers the logit of a token that came by this, once.",
                ),
            ),
            "Makes tokens that came lately less likely.",
        ),
        Kind.DRY: KindRow(
            "DRY",
            "d",
            (
                _parameter(
                    "multiplier", "--dry-multiplier", "dry_multiplier", 0.0, _spread((0, 5, 0.1)), 0.0, most=100
                ),
                _parameter(
                    "base",
                    "--dry-base",
                    "dry_base",
                    1.75,
                    _spread((1, 4, 0.05)),
                    most=100,
                    about="The penalty is multiplied by this per further token.",
                ),
                _parameter(
                    "allowed",
                    "--dry-allowed-length",
                    "dry_allowed_length",
                    2,
                    _spread((0, 20, 1)),
                    whole=True,
                    most=LARGE,
                    about="Repetitions of fewer tokens than this are left alone.",
                ),
                _parameter(
                    "last n",
                    "--dry-penalty-last-n",
                    "dry_penalty_last_n",
                    64,
                    _LAST,
                    0,
                    whole=True,
                    most=LARGE,
                    about="So many of the last tokens are looked at.",
                ),
            ),
            "Makes tokens less likely that would go on with a repetition.",
        ),
        Kind.TOP_N_SIGMA: KindRow(
            "top-n-sigma",
            "s",
            (
                _parameter(
                    "n",
                    "--top-n-sigma --top-nsigma",
                    "top_n_sigma",
                    -1.0,
                    (-1, *_spread((0.1, 5, 0.1))),
                    -1.0,
                    most=100,
                    clamped=True,
                ),
            ),
            "Keeps logits at most n standard deviations below the highest.",
        ),
        Kind.TOP_K: KindRow(
            "top-k",
            "k",
            (_parameter("k", "--top-k", "top_k", 40, _COUNTS, 0, whole=True, most=LARGE, clamped=True),),
            "Keeps the k most likely tokens.",
        ),
        Kind.TYPICAL: KindRow(
            "typical",
            "y",
            (_parameter("p", "--typical --typical-p", "typical_p", 1.0, _UNIT, 1.0, clamped=True),),
            "Keeps tokens whose surprisal is nearest to the entropy, until they have the mass p.",
        ),
        Kind.TOP_P: KindRow(
            "top-p",
            "p",
            (_parameter("p", "--top-p", "top_p", 0.95, _UNIT, 1.0, clamped=True),),
            "Keeps the most likely tokens until they have the mass p.",
        ),
        Kind.MIN_P: KindRow(
            "min-p",
            "m",
            (_parameter("p", "--min-p", "min_p", 0.05, _UNIT, 0.0, clamped=True),),
            "Keeps tokens with at least p times the probability of the most likely one.",
        ),
        Kind.XTC: KindRow(
            "XTC",
            "x",
            (
                _parameter("probability", "--xtc-probability", "xtc_probability", 0.0, _UNIT, 0.0, clamped=True),
                _parameter(
                    "threshold",
                    "--xtc-threshold",
                    "xtc_threshold",
                    0.1,
                    _spread((0, 0.55, 0.01)),
                    most=1,
                    clamped=True,
                    about="Tokens less likely than this stay; above 0.5, all stay.",
                ),
            ),
            "With this probability, removes all tokens above the threshold but the least likely of them.",
        ),
        Kind.TEMPERATURE: KindRow(
            "temperature",
            "t",
            (
                _parameter(
                    "T",
                    "--temp --temperature",
                    "temperature",
                    0.8,
                    _spread((0, 2, 0.1), (2, 5, 0.5)),
                    1.0,
                    most=1000,
                    clamped=True,
                ),
                _parameter(
                    "range",
                    "--dynatemp-range",
                    "dynatemp_range",
                    0.0,
                    _spread((0, 2, 0.1)),
                    0.0,
                    most=1000,
                    clamped=True,
                    about="T varies by so much: it is low where the model is sure.",
                ),
                _parameter(
                    "exponent",
                    "--dynatemp-exp",
                    "dynatemp_exponent",
                    1.0,
                    _spread((0.1, 5, 0.1)),
                    least=0,
                    most=1000,
                    about="How T follows the entropy: above 1 late, below 1 early.",
                ),
            ),
            "Divides the logits: below 1 it sharpens, above 1 it flattens, 0 leaves the most likely token alone.",
        ),
        Kind.MIROSTAT: KindRow(
            "mirostat",
            "",
            (
                _parameter("version", "--mirostat", "mirostat", 0, (0, 1, 2), 0, whole=True),
                _parameter(
                    "target entropy",
                    "--mirostat-ent",
                    "mirostat_tau",
                    5.0,
                    _spread((0.5, 10, 0.5)),
                    least=0,
                    most=100,
                    about="The surprisal that it aims at, in bits.",
                ),
                _parameter(
                    "learning rate",
                    "--mirostat-lr",
                    "mirostat_eta",
                    0.1,
                    _spread((0, 1, 0.05)),
                    most=100,
                    about="So much of each miss is corrected at the next token.",
                ),
            ),
            "Keeps the surprisal near a target. llama.cpp leaves out all others but temperature and logit bias then.",
            chooses=True,
        ),
        Kind.ADAPTIVE_P: KindRow(
            "adaptive-p",
            "a",
            (
                _parameter(
                    "target",
                    "--adaptive-target",
                    "adaptive_target",
                    -1.0,
                    (-1, *_spread((0, 1, 0.05))),
                    -1.0,
                    clamped=True,
                ),
                _parameter(
                    "decay",
                    "--adaptive-decay",
                    "adaptive_decay",
                    0.9,
                    _spread((0, 0.95, 0.05), (0.95, 0.99, 0.01)),
                    clamped=True,
                    about="About the last 1 / (1 - decay) chosen tokens count.",
                ),
            ),
            "Prefers tokens whose probability is near a target that follows what was chosen.",
            chooses=True,
        ),
    }
)
"""All kinds, in the order of llama.cpp's tools."""

DEFAULT_ORDER = tuple(kind for kind, row in KINDS.items() if not row.chooses)
"""The order of `--samplers` where it is not given."""

_OTHER_NAMES = {"typ": Kind.TYPICAL, "temp": Kind.TEMPERATURE, "nucleus": Kind.TOP_P}
_NAMES = {
    name: kind
    for kind, row in KINDS.items()
    if row.letter
    for name in (kind.value, kind.value.replace("_", "-"), kind.value.replace("_", ""))
} | _OTHER_NAMES


def kind_named(name: str) -> Kind:
    """The kind of a name, in any spelling that `--samplers` takes. Raises ValueError.

    >>> kind_named("top-k").value, kind_named("typ").value
    ('top_k', 'typ_p')
    """
    plain = name.strip().lower()
    if plain not in _NAMES:
        named = ", ".join(kind for kind, row in KINDS.items() if row.letter)
        raise ValueError(f"there is no sampler {name.strip()[:40]!r}: there are {named}")
    return _NAMES[plain]


@record
class Sampler:
    """One sampler and its values."""

    kind: Kind
    values: tuple[float, ...]
    """One for each parameter of the kind."""
    on: bool = True

    @classmethod
    def of(cls, kind: Kind, *values: float) -> "Sampler":
        """A sampler with these values, and llama.cpp's defaults for the others."""
        defaults = tuple(one.default for one in KINDS[kind].parameters)
        return cls(kind, (*map(float, values), *map(float, defaults[len(values) :])))

    @property
    def row(self) -> KindRow:
        """The description of its kind."""
        return KINDS[self.kind]

    @property
    def acts(self) -> bool:
        """Whether it is on and has an effect with these values."""
        if not self.on:
            return False
        values = self.values
        match self.kind:
            case Kind.PENALTIES:
                return values[1] != 0 and (values[0] != 1 or values[2] != 0 or values[3] != 0)
            case Kind.DRY:
                return values[0] != 0 and values[1] >= 1 and values[3] != 0
            case Kind.TOP_N_SIGMA:
                return values[0] > 0
            case Kind.TOP_K:
                return values[0] > 0
            case Kind.TYPICAL | Kind.TOP_P:
                return values[0] < 1
            case Kind.MIN_P:
                return values[0] > 0
            case Kind.XTC:
                return values[0] > 0 and values[1] <= 0.5
            case Kind.TEMPERATURE:
                return values[0] != 1 or values[1] > 0
            case Kind.MIROSTAT:
                return values[0] > 0
            case Kind.ADAPTIVE_P:
                return values[0] >= 0

    @property
    def awakening(self) -> tuple[int, int] | None:
        """The parameter and the step, 1 or -1, that make it act; None where one step is not enough.

        >>> Sampler.of(Kind.DRY).awakening, Sampler.of(Kind.TOP_P, 1).awakening
        ((0, 1), (0, -1))
        """
        for index, parameter in enumerate(self.row.parameters):
            for step in (1, -1):
                if replace(self.with_value(index, parameter.step(self.values[index], step)), on=True).acts:
                    return index, step
        return None

    def with_value(self, index: int, value: float) -> "Sampler":
        """The sampler with another value of one parameter."""
        return replace(self, values=(*self.values[:index], float(value), *self.values[index + 1 :]))

    def switched(self) -> "Sampler":
        """The sampler switched on or off."""
        return replace(self, on=not self.on)

    @property
    def short(self) -> str:
        """The sampler in a status line: with its first parameter, or with the one that acts where the first is off.

        >>> Sampler.of(Kind.MIN_P).short, Sampler.of(Kind.TEMPERATURE, 0.7).short
        ('min-p 0.05', 'T 0.7')
        >>> Sampler.of(Kind.TEMPERATURE, 1, 0.5).short, Sampler.of(Kind.PENALTIES, 1, 64, 0, 0.5).short
        ('T 1±0.5', 'penalties presence 0.5')
        """
        parameters, values = self.row.parameters, self.values
        texts = [parameter.text(value) for parameter, value in zip(parameters, values, strict=True)]
        if self.kind is Kind.TEMPERATURE:
            return f"T {texts[0]}±{texts[1]}" if values[1] > 0 else f"T {texts[0]}"
        if self.kind is Kind.PENALTIES and self.acts and values[0] == 1:
            by = 2 if values[2] else 3
            return f"{self.row.title} {parameters[by].label} {texts[by]}"
        return f"{self.row.title} {texts[0]}"


Bias: TypeAlias = tuple[tuple[int, float], ...]
BREAKERS = ("\n", ":", '"', "*")
"""llama.cpp's texts at which DRY does not look for repetitions further back."""


@record(slots=False)
class Chain:
    """Samplers in order of application. Empty: the model's probabilities do not change.

    A chain is a part of the key of each answer and may have tens of thousands of biases, so its hash is cached.
    """

    samplers: tuple[Sampler, ...] = ()
    """At most one of each kind."""
    bias: Bias = ()
    """Tokens and the amounts added to their logits before all samplers; minus infinity bans a token."""
    breakers: tuple[str, ...] = BREAKERS
    """Texts at which DRY does not look for repetitions further back."""

    @cached_property
    def _hash(self) -> int:
        return hash((self.samplers, self.bias, self.breakers))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def biases(self) -> Mapping[int, float]:
        """The biases by token."""
        return MappingProxyType(dict(self.bias))

    @cached_property
    def acting(self) -> "Chain":
        """The chain reduced to what has an effect: the key of answers.

        As in llama.cpp's tools, mirostat replaces all other samplers but a plain temperature, and a sampler that draws
        itself comes last.
        """
        samplers = [one for one in self.samplers if one.acts]
        if last := next((one for one in samplers if one.kind is Kind.MIROSTAT), None):
            heat = [one for one in samplers if one.kind is Kind.TEMPERATURE and one.values[0] != 1]
            samplers = [*(replace(one, values=(one.values[0], 0.0, 1.0)) for one in heat), last]
        samplers.sort(key=lambda one: one.row.chooses)  # the others keep their order
        dry = any(one.kind is Kind.DRY for one in samplers)
        breakers = tuple(one for one in self.breakers if one) if dry else BREAKERS
        return Chain(tuple(samplers), tuple(sorted(one for one in self.bias if one[1])), breakers)

    def get(self, kind: Kind) -> Sampler | None:
        """The sampler of a kind."""
        return next((one for one in self.samplers if one.kind is kind), None)

    def with_sampler(self, sampler: Sampler) -> "Chain":
        """The chain with this sampler, in place of the one of its kind, else at its place in llama.cpp's order."""
        if self.get(sampler.kind):
            samplers = tuple(sampler if one.kind is sampler.kind else one for one in self.samplers)
            return replace(self, samplers=samplers)
        order = list(KINDS)
        later = (index for index, one in enumerate(self.samplers) if order.index(one.kind) > order.index(sampler.kind))
        place = next(later, len(self.samplers))
        return replace(self, samplers=(*self.samplers[:place], sampler, *self.samplers[place:]))

    def without(self, kind: Kind) -> "Chain":
        """The chain without the sampler of a kind."""
        return replace(self, samplers=tuple(one for one in self.samplers if one.kind is not kind))

    def moved(self, kind: Kind, step: int) -> "Chain":
        """The chain with a sampler moved by `step` places."""
        order = list(self.samplers)
        at = next((index for index, one in enumerate(order) if one.kind is kind), None)
        if at is None or not 0 <= at + step < len(order):
            return self
        order.insert(at + step, order.pop(at))
        return replace(self, samplers=tuple(order))

    def biased(self, token: int, amount: float) -> "Chain":
        """The chain with the bias of a token set; 0 removes it."""
        others = {one: value for one, value in self.bias if one != token}
        if amount:
            others[token] = amount
        return replace(self, bias=tuple(sorted(others.items())))

    def within(self, size: int) -> "Chain":
        """The chain without biases of tokens that a vocabulary of `size` tokens lacks."""
        return replace(self, bias=tuple(one for one in self.bias if one[0] < size))

    def banning(self, tokens: Sequence[int]) -> "Chain":
        """The chain with some tokens banned, whatever their bias."""
        return replace(self, bias=tuple(sorted({**self.biases, **dict.fromkeys(tokens, -math.inf)}.items())))

    @property
    def short(self) -> str:
        """The chain in a status line; empty where nothing acts.

        >>> DEFAULT.short
        'top-k 40 · top-p 0.95 · min-p 0.05 · T 0.8'
        """
        acting = self.acting
        bias = [f"{len(acting.bias)} biased"] if acting.bias else []
        return SEPARATOR.join([*bias, *(one.short for one in acting.samplers)])


NO_CHAIN = Chain()
DEFAULT = Chain(tuple(Sampler.of(kind) for kind in DEFAULT_ORDER))
"""llama.cpp's default chain."""
GREEDY = Chain((Sampler.of(Kind.TEMPERATURE, 0),))
CREATIVE = Chain(
    (
        Sampler.of(Kind.DRY, 0.8),
        Sampler.of(Kind.MIN_P, 0.02),
        Sampler.of(Kind.XTC, 0.5, 0.1),
        Sampler.of(Kind.TEMPERATURE, 1),
    )
)
PRESETS: Mapping[str, Chain] = MappingProxyType(
    {"none": NO_CHAIN, "llama.cpp": DEFAULT, "greedy": GREEDY, "creative": CREATIVE}
)
"""Predefined chains by name."""
