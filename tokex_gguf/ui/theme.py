"""From values to styles. Pure: colours are computed once, into a few dozen classes."""

import re
from collections.abc import Callable

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
    return ((60, 150, 70), (205, 175, 40), (200, 60, 50), (125, 60, 175))[round(value * 3)]


def surprisal_colour(value: float) -> RGB:
    """Black over red to yellow."""
    return (round(min(1.0, value * 1.6) * 235), round(max(0.0, value - 0.35) / 0.65 * 215), 30)


def boundary_colour(value: float) -> RGB:
    """Two tints in turns."""
    return (38, 62, 92) if value else (92, 70, 38)


def safe_colour(value: float) -> RGB:
    """Dark blue over grey to yellow: differs in brightness and along blue and yellow only, as cividis does."""
    stops = ((0, 34, 78), (74, 85, 108), (125, 124, 120), (188, 175, 111), (253, 231, 55))
    place = max(0.0, min(1.0, value)) * (len(stops) - 1)
    index = min(int(place), len(stops) - 2)
    low, high = stops[index], stops[index + 1]
    red, green, blue = (round(a + (b - a) * (place - index)) for a, b in zip(low, high, strict=True))
    return red, green, blue


STANDARD: dict[str, Callable[[float], RGB]] = {
    "probability": probability_colour,
    "entropy": entropy_colour,
    "rank": rank_colour,
    "surprisal": surprisal_colour,
    "boundaries": boundary_colour,
}
"""The colours of each layer by its name."""

COLOUR_BLIND: dict[str, Callable[[float], RGB]] = dict.fromkeys(STANDARD, safe_colour)


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


def _coloured(colours: dict[str, Callable[[float], RGB]]) -> dict[str, str]:
    styles = {}
    for layer, colour_of in colours.items():
        for index in range(STEPS):
            colour = colour_of(index / (STEPS - 1))
            styles[f"{layer}.{index}"] = f"bg:{_hex(colour)} fg:{_hex(text_on(colour))}"
    return styles


def _plain() -> dict[str, str]:
    """Without colours, the striking end of a scale stands out all the same, in four steps."""
    looks = ("", "underline", "bold underline", "reverse bold")
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

FEW_COLOUR_BLIND: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(FEW, ("bg:ansiblack fg:ansiwhite", "bg:ansiblue fg:ansiwhite", "bg:ansigray fg:ansiblack",
                          "bg:ansibrightyellow fg:ansiblack")),
    "boundaries": FEW["boundaries"],
}  # fmt: skip


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
    "selected": "reverse",
    "bar": "fg:ansicyan",
    "special": "fg:ansimagenta",
    "tip": "underline",
    "cursor": "reverse bold",
    "draft": "italic underline",
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
    "bar": "fg:#005faf",
    "special": "fg:#870087",
    "state": "fg:#005f00 bold",
    "busy": "fg:#005faf bold",
    "fault": "fg:#af0000 bold",
    "notice": "fg:#005faf",
}

_MONOCHROME = {name: re.sub(r"[fb]g:\S+ ?", "", style) for name, style in _DARK.items()}


def styles(palette: str, *, light: bool = False, colours: int = 1 << 24) -> dict[str, str]:
    """Style rules by class, in prompt_toolkit's notation.

    `palette`: "standard", "colour-blind" or "monochrome"; `light`: for a terminal with a light background;
    `colours`: how many the terminal has.
    """
    if palette == "monochrome" or colours < 16:
        return {**_MONOCHROME, **_plain()}
    base = _LIGHT if light else _DARK
    if colours == 16:
        return {**base, **_few(FEW_COLOUR_BLIND if palette == "colour-blind" else FEW)}
    return {**base, **_coloured(COLOUR_BLIND if palette == "colour-blind" else STANDARD)}
