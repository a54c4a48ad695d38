"""Colours: what their ends are, that text on them can be read, and that there are few of them."""

import re

import pytest
from prompt_toolkit.styles import Style, default_ui_style, merge_styles

from tokex_gguf.ui import theme
from tokex_gguf.values.layers import DELTA, LAYERS, MORE_LAYERS

RULES = theme.styles("standard")
SHADES = {name: rule for name, rule in RULES.items() if "." in name}
PALETTES = [(palette, light) for palette in ("standard", "colour-blind") for light in (False, True)]
EVERY_SHADE = {
    rule for palette, light in PALETTES for name, rule in theme.styles(palette, light=light).items() if "." in name
}


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


@pytest.mark.parametrize("layer", theme.SCALES)
def test_first_and_last_shade_are_the_ends(layer: str) -> None:
    for value in (0.0, 1.0):
        rule = RULES[theme.shade(layer, value).removeprefix("class:")]
        assert colours_of(rule)[0] == theme.SCALES[layer].colour(value)


@pytest.mark.parametrize("layer", theme.SCALES)
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
    assert len(SHADES) == theme.STEPS * len(theme.SCALES)
    assert set(theme.SCALES) == {*LAYERS, *MORE_LAYERS, DELTA.name}


@pytest.mark.parametrize("rule", sorted(EVERY_SHADE))
def test_text_can_be_read_on_every_shade(rule: str) -> None:
    """4.5 is what WCAG 2 asks of ordinary text."""
    background, text = colours_of(rule)
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


@pytest.mark.parametrize(("scale", "darker"), [(theme.safe_colour, False), (theme.safe_on_light, True)])
def test_the_colour_blind_scales_change_in_brightness_all_along(scale: theme.Colours, darker: bool) -> None:
    """Brightness is seen by everybody, so it alone tells a larger value."""
    values = [theme.luminance(scale(index / 31)) for index in range(32)]
    assert values == sorted(values, reverse=darker)
    assert theme.contrast(scale(0.0), scale(1.0)) > 10


@pytest.mark.parametrize(("palette", "light"), PALETTES)
def test_the_loud_end_of_a_scale_is_what_is_to_be_found(palette: str, light: bool) -> None:
    """It differs more from the terminal's own background than the other end: also on paper."""
    paper = (255, 255, 255) if light else (0, 0, 0)
    rules = theme.styles(palette, light=light)
    last = theme.STEPS - 1
    for layer in ("surprisal", *(("probability", "rank") if palette == "colour-blind" else ())):
        ends = [theme.contrast(colours_of(rules[f"{layer}.{index}"])[0], paper) for index in (0, last)]
        quiet, loud = reversed(ends) if layer == "probability" else ends
        assert loud > 5 * quiet or quiet < 1.6, (layer, ends)
        assert loud > 4.5


def test_monochrome_has_no_colours_and_the_striking_end_stands_out() -> None:
    rules = theme.styles("monochrome")
    assert not any("fg:" in rule or "bg:" in rule for rule in rules.values())
    assert rules["probability.0"] == "bold underline" and rules["probability.31"] == ""
    for layer in ("entropy", "surprisal", "rank"):
        assert rules[f"{layer}.31"] == "bold underline" and rules[f"{layer}.0"] == ""
    assert "reverse" in rules["cursor"], "among all those it must be found"
    assert not any("reverse" in rule for name, rule in rules.items() if "." in name)
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


@pytest.mark.parametrize(("palette", "light"), PALETTES)
@pytest.mark.parametrize("layer", theme.SCALES)
def test_sixteen_colours_keep_the_steps_apart_and_the_text_readable(palette: str, light: bool, layer: str) -> None:
    rules = theme.styles(palette, light=light, colours=16)
    looks = list(dict.fromkeys(rules[f"{layer}.{index}"] for index in range(theme.STEPS)))
    two = layer == "boundaries" or (layer, palette) == ("reachable", "standard")
    assert len(looks) == (2 if two else 5 if layer == "delta" else 4)
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


def hexadecimal(match: re.Match[str] | None, default: theme.RGB) -> theme.RGB:
    if not match:
        return default
    red, green, blue = bytes.fromhex(match[1])
    return red, green, blue


@pytest.mark.parametrize(("light", "ground"), [(True, (255, 255, 255)), (False, (0, 0, 0))])
def test_words_can_be_read_on_the_terminals_own_background(light: bool, ground: theme.RGB) -> None:
    for name, rule in theme.styles("standard", light=light).items():
        if "." in name or "fg:#" not in rule or " " in name:
            continue
        on = hexadecimal(re.search(r"bg:#(\w{6})", rule), ground)
        assert theme.contrast(hexadecimal(re.search(r"fg:#(\w{6})", rule), ground), on) >= 4.5, name
    if light:
        assert not any("ansi" in rule for name, rule in theme.styles("standard", light=True).items() if "." not in name)


CUBE = (0, 95, 135, 175, 215, 255)


def of_256(colour: theme.RGB) -> theme.RGB:
    """The nearest of the 256 colours of xterm, but for the first sixteen, which everybody changes."""
    grey = [(8 + 10 * step,) * 3 for step in range(24)]
    cube = [(red, green, blue) for red in CUBE for green in CUBE for blue in CUBE]
    return min([*cube, *grey], key=lambda other: sum((a - b) ** 2 for a, b in zip(colour, other, strict=True)))


@pytest.mark.parametrize(("palette", "light"), PALETTES)
def test_256_colours_keep_the_steps_apart_and_the_text_readable(palette: str, light: bool) -> None:
    rules = theme.styles(palette, light=light, colours=256)
    for layer, steps in (("rank", 4), ("boundaries", 2)):
        looks = [
            colours_of(rules[theme.shade(layer, step / (steps - 1)).removeprefix("class:")]) for step in range(steps)
        ]
        grounds = [of_256(ground) for ground, _ in looks]
        for index, ground in enumerate(grounds):
            assert theme.contrast(ground, looks[index][1]) >= 4.0, (layer, index)
            others = grounds[:index]
            assert all(sum(abs(a - b) for a, b in zip(ground, other, strict=True)) >= 60 for other in others)
    for layer in ("probability", "entropy", "surprisal"):
        shades = [colours_of(rules[f"{layer}.{index}"]) for index in range(theme.STEPS)]
        assert len({of_256(ground) for ground, _ in shades}) >= 7, layer
        assert all(theme.contrast(of_256(ground), text) >= 3.0 for ground, text in shades), layer


@pytest.mark.parametrize("colours", [2, 16, 256, 1 << 24])
@pytest.mark.parametrize("light", [False, True])
def test_the_cursor_is_told_from_every_layer(colours: int, light: bool) -> None:
    for palette in ("standard", "colour-blind", "monochrome"):
        rules = theme.styles(palette, light=light, colours=colours)
        assert rules["cursor"] not in {rule for name, rule in rules.items() if "." in name}
        if match := re.search(r"bg:#(\w{6})", rules["cursor"]):
            cursor = hexadecimal(match, (0, 0, 0))
            for name, rule in rules.items():
                if "." in name and "bg:#" in rule:
                    distance = sum(abs(a - b) for a, b in zip(cursor, colours_of(rule)[0], strict=True))
                    assert distance > 120, name


def test_a_bar_shows_on_the_selected_line() -> None:
    """In whatever way the line is told apart: reversed, the bar has the background's colour."""
    for colours in (2, 16, 256, 1 << 24):
        for light in (False, True):
            rules = theme.styles("standard", light=light, colours=colours)
            style = merge_styles([default_ui_style(), Style.from_dict(rules)])
            line, bar = (style.get_attrs_for_style_str(f"{own} class:selected") for own in ("", "class:bar"))
            assert line.reverse == bar.reverse and line.bgcolor == bar.bgcolor
            assert line.reverse or bar.color not in (line.color, line.bgcolor)
            assert line.reverse == (colours <= 16)
            assert not line.reverse or bar.color in ("", "default")


def test_two_colours_are_none() -> None:
    assert theme.styles("standard", colours=2) == theme.styles("monochrome")
    assert not any("g:" in rule for rule in theme.styles("monochrome").values())
