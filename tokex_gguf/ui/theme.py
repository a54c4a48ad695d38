"""From values to styles. Pure: colours are computed once, into a few dozen classes."""

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


LAYERS: dict[str, Callable[[float], RGB]] = {
    "probability": probability_colour,
    "entropy": entropy_colour,
}


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


def _shades() -> dict[str, str]:
    styles = {}
    for layer, colour_of in LAYERS.items():
        for index in range(STEPS):
            colour = colour_of(index / (STEPS - 1))
            styles[f"{layer}.{index}"] = f"bg:{_hex(colour)} fg:{_hex(text_on(colour))}"
    return styles


STYLES: dict[str, str] = {
    "title": "bold",
    "header": "fg:ansibrightblack",
    "rule": "fg:ansibrightblack",
    "dim": "fg:ansibrightblack",
    "head": "fg:ansibrightblack",
    "selected": "reverse",
    "bar": "fg:ansicyan",
    "special": "fg:ansimagenta",
    "tip": "underline",
    "state": "fg:ansigreen bold",
    "busy": "fg:ansiyellow bold",
    "fault": "fg:ansired bold",
    "notice": "fg:ansiyellow",
    "key": "bold",
    "label": "fg:ansibrightblack",
    **_shades(),
}
"""Style rules by class, in prompt_toolkit's notation."""
