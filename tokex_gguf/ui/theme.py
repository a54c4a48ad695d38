"""Styles of values. Pure: colours are computed once, into a few dozen classes."""

import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

from tokex_gguf.values.record import record

STEPS = 32
"""Shades of a layer. Each new style string costs time."""

FEWEST_COLOURS = 16
"""With fewer colours than this, a terminal gets none."""

RGB = tuple[int, int, int]


def probability_colour(value: float) -> RGB:
    """Red for 0 to blue for 1."""
    return (round(215 * (1 - value)), round(40 * (1 - abs(2 * value - 1))), round(40 + 195 * value))


def entropy_colour(value: float) -> RGB:
    """Black for 0 to white for 1."""
    grey = round(255 * value)
    return (grey, grey, grey)


def rank_colour(value: float) -> RGB:
    """Green, yellow, red and violet for the four buckets."""
    return ((45, 150, 65), (205, 175, 40), (190, 40, 40), (125, 60, 175))[round(value * 3)]


def surprisal_colour(value: float) -> RGB:
    """Black over red to yellow."""
    return (round(min(1.0, value * 1.6) * 235), round(max(0.0, value - 0.35) / 0.65 * 215), 30)


def surprisal_on_light(value: float) -> RGB:
    """Paper over orange to dark red."""
    return (
        round(255 - 130 * max(0.0, value - 0.5) / 0.5),
        round(250 * (1 - value)),
        round(235 * max(0.0, 1 - 2 * value)),
    )


def boundary_colour(value: float) -> RGB:
    """Blue and grey in turns: both among the 256 colours of terminals that have no more."""
    return (0, 95, 135) if value else (58, 58, 58)


def boundary_on_light(value: float) -> RGB:
    """The same, pale."""
    return (215, 215, 255) if value else (238, 238, 238)


def reachable_colour(value: float) -> RGB:
    """Dark blue for what can be drawn, orange for what was cut: both among the 256 colours of terminals."""
    return (215, 95, 0) if value > 0.5 else (0, 55, 75)


def reachable_on_light(value: float) -> RGB:
    """The same, pale for what can be drawn."""
    return (175, 55, 0) if value > 0.5 else (215, 235, 250)


def delta_colour(value: float) -> RGB:
    """Red for tokens less likely by A, over grey, to blue for likelier ones."""
    return _between(((200, 30, 20), (130, 52, 46), DELTA_GREY, (30, 78, 150), (35, 110, 240)), _apart(value))


def delta_on_light(value: float) -> RGB:
    """The same on paper."""
    return _between(((185, 20, 15), (250, 175, 160), (238, 238, 238), (170, 205, 250), (10, 70, 190)), _apart(value))


def delta_safe(value: float) -> RGB:
    """Orange and blue, which everybody can tell apart."""
    return _between(((235, 150, 0), (135, 95, 35), DELTA_GREY, (30, 85, 135), (0, 130, 220)), _apart(value))


def delta_safe_on_light(value: float) -> RGB:
    """The same on paper."""
    return _between(((190, 90, 0), (250, 205, 135), (238, 238, 238), (165, 210, 245), (0, 75, 150)), _apart(value))


DELTA_GREY = (58, 58, 58)
"""Where there is no difference."""


def _apart(value: float) -> float:
    """The value, with the two middle shades merged into one."""
    return 0.5 if abs(value - 0.5) < 0.5 / (STEPS - 2) else value


def _between(stops: tuple[RGB, ...], value: float) -> RGB:
    """The colour at a value from 0 to 1 of a scale through `stops`."""
    place = max(0.0, min(1.0, value)) * (len(stops) - 1)
    index = min(int(place), len(stops) - 2)
    low, high = stops[index], stops[index + 1]
    red, green, blue = (round(a + (b - a) * (place - index)) for a, b in zip(low, high, strict=True))
    return red, green, blue


def safe_colour(value: float) -> RGB:
    """Dark blue over grey to yellow: differs in brightness and along blue and yellow only, as cividis does."""
    return _between(((0, 34, 78), (74, 85, 108), (125, 124, 120), (188, 175, 111), (253, 231, 55)), value)


def safe_on_light(value: float) -> RGB:
    """Paper over grey to dark blue."""
    return _between(((255, 250, 225), (226, 211, 150), (160, 152, 125), (95, 102, 115), (0, 34, 78)), value)


Colours: TypeAlias = Callable[[float], RGB]

Looks: TypeAlias = tuple[str, ...]
"""Styles from 0 to 1 for terminals with sixteen colours, in which shades could not be told apart."""


@record
class Scale:
    """The colours of a layer."""

    colour: Colours
    few: Looks
    on_light: Colours | None = None
    """The colours on a light background; None: `colour`."""
    few_on_light: Looks | None = None
    loud: float = 1.0
    """The end of the scale, 0 or 1, that stands out in the other palettes."""
    safe: tuple[Colours, Colours, Looks, Looks] | None = None
    """Colours of its own in the colour-blind palette, on dark and on light, then of sixteen, for a scale with two loud
    ends; None: the shared ones."""
    in_turns: bool = False
    """Whether the scale tells neighbours apart, in all palettes, and not values."""


_PROBABILITY = Scale(
    probability_colour,
    (
        "bg:ansired fg:ansiwhite",
        "bg:ansimagenta fg:ansiwhite",
        "bg:ansiblue fg:ansiwhite",
        "bg:ansibrightblue fg:ansiblack",
    ),
    loud=0.0,
)

_SURPRISAL = Scale(
    surprisal_colour,
    (
        "bg:ansiblack fg:ansiwhite",
        "bg:ansired fg:ansiwhite",
        "bg:ansiyellow fg:ansiblack",
        "bg:ansibrightyellow fg:ansiblack",
    ),
    surprisal_on_light,
    ("", "bg:ansibrightyellow fg:ansiblack", "bg:ansiyellow fg:ansiblack", "bg:ansired fg:ansiwhite"),
)

_GAINS = ("bg:ansibrightblue fg:ansiblack", "bg:ansiblue fg:ansiwhite")
_APART = ("bg:ansired fg:ansiwhite", "bg:ansimagenta fg:ansiwhite", "", *_GAINS)
_SAFE_APART = ("bg:ansibrightyellow fg:ansiblack", "bg:ansiyellow fg:ansiblack", "", *_GAINS)

SCALES: dict[str, Scale] = {
    "probability": _PROBABILITY,
    "entropy": Scale(
        entropy_colour,
        (
            "bg:ansiblack fg:ansiwhite",
            "bg:ansibrightblack fg:ansiwhite",
            "bg:ansigray fg:ansiblack",
            "bg:ansiwhite fg:ansiblack",
        ),
    ),
    "rank": Scale(
        rank_colour,
        (
            "bg:ansigreen fg:ansiblack",
            "bg:ansibrightyellow fg:ansiblack",
            "bg:ansired fg:ansiwhite",
            "bg:ansimagenta fg:ansiwhite",
        ),
    ),
    "surprisal": _SURPRISAL,
    "relative": _PROBABILITY,
    "reachable": Scale(
        reachable_colour,
        ("bg:ansiblue fg:ansiwhite", "bg:ansired fg:ansiwhite"),
        reachable_on_light,
        ("", "bg:ansired fg:ansiwhite"),
    ),
    "cost": _SURPRISAL,
    "delta": Scale(
        delta_colour,
        _APART,
        delta_on_light,
        _APART,
        safe=(delta_safe, delta_safe_on_light, _SAFE_APART, _SAFE_APART),
    ),
    "boundaries": Scale(boundary_colour, ("", "bg:ansiblue fg:ansiwhite"), boundary_on_light, in_turns=True),
}
"""The colours of each layer by its name."""

SAFE_LOOKS: Looks = (
    "bg:ansiblack fg:ansiwhite",
    "bg:ansiblue fg:ansiwhite",
    "bg:ansigray fg:ansiblack",
    "bg:ansibrightyellow fg:ansiblack",
)
SAFE_LOOKS_ON_LIGHT: Looks = (
    "",
    "bg:ansigray fg:ansiblack",
    "bg:ansiblue fg:ansiwhite",
    "bg:ansiblack fg:ansiwhite",
)


def colours_of(scale: Scale, *, safe: bool, light: bool) -> Colours:
    """A scale's colours; in the colour-blind palette (`safe`), the shared ones."""
    own = (scale.on_light if light else None) or scale.colour
    if not safe or scale.in_turns:
        return own
    if scale.safe:
        return scale.safe[1] if light else scale.safe[0]
    shared = safe_on_light if light else safe_colour
    return shared if scale.loud else lambda value: shared(1 - value)


def looks_of(scale: Scale, *, safe: bool, light: bool) -> Looks:
    """As `colours_of`, for sixteen colours."""
    own = (scale.few_on_light if light else None) or scale.few
    if not safe or scale.in_turns:
        return own
    if scale.safe:
        return scale.safe[3] if light else scale.safe[2]
    shared = SAFE_LOOKS_ON_LIGHT if light else SAFE_LOOKS
    return shared if scale.loud else shared[::-1]


def luminance(colour: RGB) -> float:
    """Relative luminance, 0 to 1, as WCAG 2 defines it."""

    def linear(channel: int) -> float:
        value = channel / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = map(linear, colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: RGB, b: RGB) -> float:
    """Contrast ratio, 1 to 21, as WCAG 2 defines it."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def text_on(colour: RGB) -> RGB:
    """Black or white, whichever reads better."""
    white, black = (255, 255, 255), (0, 0, 0)
    return white if contrast(colour, white) >= contrast(colour, black) else black


def is_light(background: RGB) -> bool:
    """Whether a terminal's background needs the light theme: black reads better on it."""
    return text_on(background) == (0, 0, 0)


def _hex(colour: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def step(value: float) -> int:
    """The shade of a value from 0 to 1."""
    return min(STEPS - 1, max(0, int(value * STEPS)))


def shade(layer: str, value: float) -> str:
    """The style class of a value from 0 to 1 in a layer."""
    return f"class:{layer}.{step(value)}"


def _shade_styles(layers: Iterable[str], *, safe: bool, light: bool) -> dict[str, str]:
    styles = {}
    for layer in layers:
        colour_of = colours_of(SCALES[layer], safe=safe, light=light)
        for index in range(STEPS):
            colour = colour_of(index / (STEPS - 1))
            styles[f"{layer}.{index}"] = f"bg:{_hex(colour)} fg:{_hex(text_on(colour))}"
    return styles


def _monochrome_styles(layers: Iterable[str]) -> dict[str, str]:
    """Styles without colours, in four steps: the loud end of a scale stands out."""
    looks = ("", "underline", "bold", "bold underline")  # reversed is the cursor alone
    styles = {}
    for layer in layers:
        scale = SCALES[layer]
        for index in range(STEPS):
            value = index / (STEPS - 1)
            loudness = value if scale.loud else 1 - value
            in_turns = "underline" if value > 0.5 else ""
            if scale.safe:  # two loud ends
                both = "" if abs(value - 0.5) < 0.1 else "bold" if value > 0.5 else "underline"
                styles[f"{layer}.{index}"] = both
                continue
            styles[f"{layer}.{index}"] = in_turns if scale.in_turns else looks[min(3, int(loudness * 4))]
    return styles


def _sixteen_colour_styles(layers: Iterable[str], *, safe: bool, light: bool) -> dict[str, str]:
    styles = {}
    for layer in layers:
        looks = looks_of(SCALES[layer], safe=safe, light=light)
        for index in range(STEPS):
            styles[f"{layer}.{index}"] = looks[min(len(looks) - 1, int(index / (STEPS - 1) * len(looks)))]
    return styles


# Greys are named by number: "bright black" is next to invisible in some terminals' own palettes.
_GREY = "fg:#8a8a8a"
_DARK = {
    "title": "bold",
    "header": _GREY,
    "rule": _GREY,
    "dim": _GREY,
    "head": _GREY,
    "selected": "noreverse bg:#34495e fg:#ffffff",  # prompt_toolkit has a class of this name, reversed
    "dim selected": "fg:#b8c0c8",
    # Where a terminal cannot strike through, the grey shows it.
    "cut": f"strike {_GREY}",
    "cut selected": "fg:#b8c0c8",
    "stage": "fg:ansiyellow",
    "stage selected": "fg:ansibrightyellow",
    "bar selected": "fg:ansibrightcyan",
    "bar": "fg:ansicyan",
    "special": "fg:ansimagenta",
    "tip": "underline",
    "cursor": "bg:#5fd7ff fg:#000000 bold",
    "played": "bold",
    "typed": "italic underline",
    "ghost": f"italic {_GREY}",
    "inserted": "italic fg:ansiyellow",
    "removed": "bg:ansimagenta fg:ansiwhite bold",
    "gain": "fg:ansibrightblue",
    "gain selected": "fg:#8fc7ff",
    "loss": "fg:ansibrightred",
    "loss selected": "fg:#ffa8a0",
    "taken": "bold",
    "state": "fg:ansigreen bold",
    "busy": "fg:ansiyellow bold",
    "fault": "fg:ansired bold",
    "notice": "fg:ansiyellow",
    "key": "bold",
    "label": _GREY,
    "input": "bold",
}

_DARK_GREY = "fg:#626262"
_LIGHT = {
    **{name: _DARK_GREY if style == _GREY else style for name, style in _DARK.items()},
    "selected": "noreverse bg:#cfe2f5 fg:#000000",
    "dim selected": "fg:#4a5560",
    "ghost": f"italic {_DARK_GREY}",
    "cut": f"strike {_DARK_GREY}",
    "cut selected": "fg:#4a5560",
    "stage": "fg:#005faf",
    "stage selected": "fg:#005faf",
    "bar": "fg:#005faf",
    "bar selected": "fg:#005faf",
    "cursor": "bg:#00afd7 fg:#000000 bold",
    "special": "fg:#870087",
    "inserted": "italic fg:#875f00",
    "removed": "bg:#870087 fg:#ffffff bold",
    "gain": "fg:#005faf",
    "gain selected": "fg:#005faf",
    "loss": "fg:#af0000",
    "loss selected": "fg:#af0000",
    "state": "fg:#005f00 bold",
    "busy": "fg:#005faf bold",
    "fault": "fg:#af0000 bold",
    "notice": "fg:#005faf",
}

_SIXTEEN_COLOURS = {
    "selected": "reverse",
    "dim selected": "",
    "cut selected": "fg:default",
    "stage selected": "fg:default",
    "bar selected": "fg:default",
    "gain selected": "fg:default",
    "loss selected": "fg:default",
    "cursor": "bg:ansibrightcyan fg:ansiblack bold",
}
"""Overrides for sixteen colours. A bar on a reversed line has the background's colour."""

_MONOCHROME = {
    **{name: re.sub(r"[fb]g:\S+ ?", "", style) for name, style in _DARK.items()},
    "selected": "reverse",
    "cursor": "reverse bold underline",
    "cut": "strike dim",
    "removed": "bold underline",
}


def styles(
    palette: str, *, light: bool = False, colours: int = 1 << 24, layers: Iterable[str] | None = None
) -> dict[str, str]:
    """Style rules by class, in prompt_toolkit's notation.

    `palette`: "standard", "colour-blind" or "monochrome"; `light`: for a terminal with a light background;
    `colours`: how many the terminal has; `layers`: those whose shades are wanted, None: all.
    """
    layers = SCALES if layers is None else layers
    if palette == "monochrome" or colours < FEWEST_COLOURS:
        return {**_MONOCHROME, **_monochrome_styles(layers)}
    base = _LIGHT if light else _DARK
    safe = palette == "colour-blind"
    if colours == 16:
        return {**base, **_SIXTEEN_COLOURS, **_sixteen_colour_styles(layers, safe=safe, light=light)}
    return {**base, **_shade_styles(layers, safe=safe, light=light)}
