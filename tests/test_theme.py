"""Colours: what their ends are, that text on them can be read, and that there are few of them."""

import re

import pytest

from tokex_gguf.ui import theme
from tokex_gguf.ui.layers import LAYERS

RULES = theme.styles("standard")
SHADES = {name: rule for name, rule in RULES.items() if "." in name}
SAFE = {name: rule for name, rule in theme.styles("colour-blind").items() if "." in name}


def colours_of(rule: str) -> tuple[theme.RGB, theme.RGB]:
    """Background and text of a shade's rule."""
    match = re.fullmatch(r"bg:#(\w{2})(\w{2})(\w{2}) fg:#(\w{2})(\w{2})(\w{2})", rule)
    assert match
    red, green, blue, text_red, text_green, text_blue = (int(part, 16) for part in match.groups())
    return (red, green, blue), (text_red, text_green, text_blue)


def test_probability_goes_from_red_to_blue() -> None:
    for value, strong, weak in ((0.0, 0, 2), (1.0, 2, 0)):
        colour = theme.probability_colour(value)
        assert colour[strong] > 200
        assert colour[weak] < 60 and colour[1] < 60
    reds, _, blues = zip(*(theme.probability_colour(i / 100) for i in range(101)), strict=True)
    assert list(reds) == sorted(reds, reverse=True)
    assert list(blues) == sorted(blues)


def test_entropy_goes_from_black_to_white() -> None:
    assert theme.entropy_colour(0.0) == (0, 0, 0)
    assert theme.entropy_colour(1.0) == (255, 255, 255)
    greys = [theme.entropy_colour(i / 100) for i in range(101)]
    assert greys == sorted(greys)
    assert all(len(set(grey)) == 1 for grey in greys)


@pytest.mark.parametrize("layer", theme.STANDARD)
def test_first_and_last_shade_are_the_ends(layer: str) -> None:
    for value in (0.0, 1.0):
        rule = RULES[theme.shade(layer, value).removeprefix("class:")]
        assert colours_of(rule)[0] == theme.STANDARD[layer](value)


@pytest.mark.parametrize("layer", theme.STANDARD)
def test_every_value_has_a_style_and_there_are_few(layer: str) -> None:
    used = [theme.shade(layer, i / 1000) for i in range(1001)]
    assert {name.removeprefix("class:") for name in used} == {name for name in SHADES if name.startswith(layer + ".")}
    assert len(set(used)) == theme.STEPS <= 64
    # Neighbours stay in order: a larger value never has an earlier shade.
    numbers = [int(name.rpartition(".")[2]) for name in used]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("value", [-0.1, 1.0000001, 3.0])
def test_rounding_beyond_the_ends_is_an_end(value: float) -> None:
    assert theme.step(value) == (0 if value < 0 else theme.STEPS - 1)


def test_layers_do_not_share_shades() -> None:
    assert len(SHADES) == theme.STEPS * len(theme.STANDARD)
    assert set(theme.STANDARD) == {layer.value for layer in LAYERS}


@pytest.mark.parametrize("name", SHADES)
@pytest.mark.parametrize("shades", [SHADES, SAFE], ids=["standard", "colour-blind"])
def test_text_can_be_read_on_every_shade(name: str, shades: dict[str, str]) -> None:
    """4.5 is what WCAG 2 asks of ordinary text."""
    background, text = colours_of(shades[name])
    assert theme.contrast(background, text) >= 4.5
    assert text in ((0, 0, 0), (255, 255, 255))


@pytest.mark.parametrize(
    ("a", "b", "ratio"),
    [
        ((0, 0, 0), (255, 255, 255), 21.0),
        ((255, 255, 255), (0, 0, 0), 21.0),
        ((10, 20, 30), (10, 20, 30), 1.0),
        ((255, 255, 255), (119, 119, 119), 4.48),  # published examples, to two places
        ((255, 255, 255), (255, 0, 0), 4.0),
        ((255, 255, 255), (0, 0, 255), 8.59),
    ],
)
def test_contrast(a: theme.RGB, b: theme.RGB, ratio: float) -> None:
    assert theme.contrast(a, b) == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize(("colour", "light"), [((0, 0, 0), True), ((255, 255, 255), False), ((255, 255, 0), False)])
def test_text_is_the_one_that_reads_better(colour: theme.RGB, light: bool) -> None:
    assert theme.text_on(colour) == ((255, 255, 255) if light else (0, 0, 0))


def test_the_colour_blind_palette_grows_brighter_all_along() -> None:
    """Brightness is seen by everybody, so it alone tells a larger value."""
    values = [theme.luminance(theme.safe_colour(index / 31)) for index in range(32)]
    assert values == sorted(values)
    assert theme.contrast(theme.safe_colour(0.0), theme.safe_colour(1.0)) > 10


def test_monochrome_has_no_colours_and_the_striking_end_stands_out() -> None:
    rules = theme.styles("monochrome")
    assert not any("fg:" in rule or "bg:" in rule for rule in rules.values())
    assert "reverse" in rules["probability.0"] and rules["probability.31"] == ""
    for layer in ("entropy", "surprisal", "rank"):
        assert "reverse" in rules[f"{layer}.31"] and rules[f"{layer}.0"] == ""
    assert rules["boundaries.0"] != rules["boundaries.31"]
    # The four buckets of ranks look different.
    assert len({rules[theme.shade("rank", bucket / 3).removeprefix("class:")] for bucket in range(4)}) == 4


def test_all_palettes_have_the_same_classes() -> None:
    names = set(RULES)
    for palette in ("standard", "colour-blind", "monochrome"):
        for light in (False, True):
            assert set(theme.styles(palette, light=light)) == names


def test_nothing_is_yellow_on_a_light_background() -> None:
    assert not any("yellow" in rule for rule in theme.styles("standard", light=True).values())


# --- terminals with few colours, and light ones

VGA = {
    "ansiblack": (0, 0, 0), "ansired": (170, 0, 0), "ansigreen": (0, 170, 0), "ansiyellow": (170, 85, 0),
    "ansiblue": (0, 0, 170), "ansimagenta": (170, 0, 170), "ansigray": (170, 170, 170),
    "ansibrightblack": (85, 85, 85), "ansibrightblue": (85, 85, 255), "ansibrightyellow": (255, 255, 85),
    "ansiwhite": (255, 255, 255),
}  # fmt: skip
"""The sixteen colours of a console, as far as they are used."""


@pytest.mark.parametrize("palette", ["standard", "colour-blind"])
@pytest.mark.parametrize("layer", theme.STANDARD)
def test_sixteen_colours_keep_the_steps_apart_and_the_text_readable(palette: str, layer: str) -> None:
    rules = theme.styles(palette, colours=16)
    looks = list(dict.fromkeys(rules[f"{layer}.{index}"] for index in range(theme.STEPS)))
    assert len(looks) == (2 if layer == "boundaries" else 4)
    assert rules[f"{layer}.0"] == looks[0] and rules[f"{layer}.{theme.STEPS - 1}"] == looks[-1]
    grounds = [look.partition(" ")[0] for look in looks]
    assert len(set(grounds)) == len(grounds)
    for look in filter(None, looks):
        match = re.fullmatch(r"bg:(\w+) fg:(\w+)", look)
        assert match
        assert theme.contrast(VGA[match[1]], VGA[match[2]]) >= 3.9, look


@pytest.mark.parametrize("palette", ["standard", "colour-blind"])
def test_the_steps_of_the_rank_layer_are_the_buckets_in_sixteen_colours(palette: str) -> None:
    rules = theme.styles(palette, colours=16)
    shades = [rules[theme.shade("rank", index / 3).removeprefix("class:")] for index in range(4)]
    assert len(set(shades)) == 4


@pytest.mark.parametrize(("light", "ground"), [(True, (255, 255, 255)), (False, (0, 0, 0))])
def test_words_can_be_read_on_the_terminals_own_background(light: bool, ground: theme.RGB) -> None:
    for name, rule in theme.styles("standard", light=light).items():
        if "." in name or not (match := re.search(r"fg:#(\w{2})(\w{2})(\w{2})", rule)):
            continue
        red, green, blue = (int(part, 16) for part in match.groups())
        assert theme.contrast((red, green, blue), ground) >= 4.5, name
    if light:
        assert not any("ansi" in rule for name, rule in theme.styles("standard", light=True).items() if "." not in name)


def test_two_colours_are_none() -> None:
    assert theme.styles("standard", colours=2) == theme.styles("monochrome")
    assert not any("g:" in rule for rule in theme.styles("monochrome").values())
