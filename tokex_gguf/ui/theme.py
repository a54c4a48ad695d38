"""From values to styles. Pure: colours are computed once, into a few dozen classes."""

import re
from collections.abc import Callable
from typing import TypeAlias

STEPS = 32
"""Shades of a layer. Each style string that the terminal has not seen costs time."""

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

STANDARD: dict[str, Colours] = {
    "probability": probability_colour,
    "entropy": entropy_colour,
    "rank": rank_colour,
    "surprisal": surprisal_colour,
    "boundaries": boundary_colour,
}
"""The colours of each layer by its name."""

STANDARD_ON_LIGHT: dict[str, Colours] = {
    **STANDARD,
    "surprisal": surprisal_on_light,
    "boundaries": boundary_on_light,
}


def _safe(scale: Colours, boundaries: Colours) -> dict[str, Colours]:
    """One scale for all layers. What is to be found has its loud end: of a probability, that is 0."""
    return {**dict.fromkeys(STANDARD, scale), "probability": lambda value: scale(1 - value), "boundaries": boundaries}


COLOUR_BLIND = _safe(safe_colour, boundary_colour)
COLOUR_BLIND_ON_LIGHT = _safe(safe_on_light, boundary_on_light)


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


def _hex(colour: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def step(value: float) -> int:
    """The shade of a value from 0 to 1."""
    return min(STEPS - 1, max(0, int(value * STEPS)))


def shade(layer: str, value: float) -> str:
    """The style class of a value from 0 to 1 in a layer."""
    return f"class:{layer}.{step(value)}"


def _coloured(colours: dict[str, Colours]) -> dict[str, str]:
    styles = {}
    for layer, colour_of in colours.items():
        for index in range(STEPS):
            colour = colour_of(index / (STEPS - 1))
            styles[f"{layer}.{index}"] = f"bg:{_hex(colour)} fg:{_hex(text_on(colour))}"
    return styles


def _plain() -> dict[str, str]:
    """Without colours, the striking end of a scale stands out all the same, in four steps."""
    looks = ("", "underline", "bold", "bold underline")  # reversed is the cursor alone
    styles = {}
    for layer in STANDARD:
        for index in range(STEPS):
            value = index / (STEPS - 1)
            striking = 1 - value if layer == "probability" else value
            styles[f"{layer}.{index}"] = looks[min(3, int(striking * 4))]
            if layer == "boundaries":
                styles[f"{layer}.{index}"] = "underline" if value > 0.5 else ""
    return styles


FEW: dict[str, tuple[str, ...]] = {
    "probability": ("bg:ansired fg:ansiwhite", "bg:ansimagenta fg:ansiwhite", "bg:ansiblue fg:ansiwhite",
                    "bg:ansibrightblue fg:ansiblack"),
    "entropy": ("bg:ansiblack fg:ansiwhite", "bg:ansibrightblack fg:ansiwhite", "bg:ansigray fg:ansiblack",
                "bg:ansiwhite fg:ansiblack"),
    "rank": ("bg:ansigreen fg:ansiblack", "bg:ansibrightyellow fg:ansiblack", "bg:ansired fg:ansiwhite",
             "bg:ansimagenta fg:ansiwhite"),
    "surprisal": ("bg:ansiblack fg:ansiwhite", "bg:ansired fg:ansiwhite", "bg:ansiyellow fg:ansiblack",
                  "bg:ansibrightyellow fg:ansiblack"),
    "boundaries": ("", "bg:ansiblue fg:ansiwhite"),
}  # fmt: skip
"""The looks of each layer, from 0 to 1, where a terminal has sixteen colours: to the nearest ones, shades would run
into each other."""

FEW_ON_LIGHT: dict[str, tuple[str, ...]] = {
    **FEW,
    "surprisal": ("", "bg:ansibrightyellow fg:ansiblack", "bg:ansiyellow fg:ansiblack", "bg:ansired fg:ansiwhite"),
}


def _few_safe(looks: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {**dict.fromkeys(FEW, looks), "probability": looks[::-1], "boundaries": FEW["boundaries"]}


FEW_COLOUR_BLIND = _few_safe(("bg:ansiblack fg:ansiwhite", "bg:ansiblue fg:ansiwhite", "bg:ansigray fg:ansiblack",
                              "bg:ansibrightyellow fg:ansiblack"))  # fmt: skip
FEW_COLOUR_BLIND_ON_LIGHT = _few_safe(("", "bg:ansigray fg:ansiblack", "bg:ansiblue fg:ansiwhite",
                                       "bg:ansiblack fg:ansiwhite"))  # fmt: skip


def _few(looks: dict[str, tuple[str, ...]]) -> dict[str, str]:
    styles = {}
    for layer, steps in looks.items():
        for index in range(STEPS):
            styles[f"{layer}.{index}"] = steps[min(len(steps) - 1, int(index / (STEPS - 1) * len(steps)))]
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
    "bar selected": "fg:ansibrightcyan",
    "bar": "fg:ansicyan",
    "special": "fg:ansimagenta",
    "tip": "underline",
    "cursor": "bg:#5fd7ff fg:#000000 bold",
    "typed": "italic underline",
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
    "bar": "fg:#005faf",
    "bar selected": "fg:#005faf",
    "cursor": "bg:#00afd7 fg:#000000 bold",
    "special": "fg:#870087",
    "state": "fg:#005f00 bold",
    "busy": "fg:#005faf bold",
    "fault": "fg:#af0000 bold",
    "notice": "fg:#005faf",
}

_FEW = {
    "selected": "reverse",
    "dim selected": "",
    "bar selected": "fg:default",
    "cursor": "bg:ansibrightcyan fg:ansiblack bold",
}
"""What is different with sixteen colours. A bar on a reversed line is one of the background's colour."""

_MONOCHROME = {
    **{name: re.sub(r"[fb]g:\S+ ?", "", style) for name, style in _DARK.items()},
    "selected": "reverse",
    "cursor": "reverse bold underline",
}


def styles(palette: str, *, light: bool = False, colours: int = 1 << 24) -> dict[str, str]:
    """Style rules by class, in prompt_toolkit's notation.

    `palette`: "standard", "colour-blind" or "monochrome"; `light`: for a terminal with a light background;
    `colours`: how many the terminal has.
    """
    if palette == "monochrome" or colours < 16:
        return {**_MONOCHROME, **_plain()}
    base = _LIGHT if light else _DARK
    safe = palette == "colour-blind"
    if colours == 16:
        dark, pale = (FEW_COLOUR_BLIND, FEW_COLOUR_BLIND_ON_LIGHT) if safe else (FEW, FEW_ON_LIGHT)
        return {**base, **_FEW, **_few(pale if light else dark)}
    shades, pale_shades = (COLOUR_BLIND, COLOUR_BLIND_ON_LIGHT) if safe else (STANDARD, STANDARD_ON_LIGHT)
    return {**base, **_coloured(pale_shades if light else shades)}
