from __future__ import annotations

from itertools import combinations

import pytest

from poolhog.analysis.accounting import GAPS, State
from poolhog.render.palette import PAINTS, SURFACES, css_variables, paints_of

# Machado, Oliveira and Fernandes (2009): severity 1.0, on linear RGB.
NORMAL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
DEUTERANOPIA = ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969))
PROTANOPIA = ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052))
Matrix = tuple[tuple[float, ...], ...]
Lab = tuple[float, float, float]


def linear(colour: str) -> list[float]:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def lab(colour: str, seen: Matrix) -> Lab:
    """CIE 1976 L*a*b* of the colour as it is seen."""
    rgb = [
        min(1.0, max(0.0, sum(a * b for a, b in zip(row, linear(colour), strict=True))))
        for row in seen
    ]
    red, green, blue = rgb
    xyz = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def difference(one: str, other: str, seen: Matrix) -> float:
    pairs = zip(lab(one, seen), lab(other, seen), strict=True)
    return float(sum((a - b) ** 2 for a, b in pairs) ** 0.5)


@pytest.mark.parametrize("kind", ["light", "dark", "terminal"])
@pytest.mark.parametrize("seen", [NORMAL, DEUTERANOPIA, PROTANOPIA])
def test_every_two_states_can_be_told_apart(kind: str, seen: Matrix) -> None:
    for one, other in combinations(State, 2):
        # Its hatch tells parked from holding none for those who see no red.
        least = 12 if {one, other} == {State.PARKED, State.NOT_HOLDING} else 20
        apart = difference(getattr(PAINTS[one], kind), getattr(PAINTS[other], kind), seen)
        assert apart >= least, (one, other)


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_readable_on_its_card(*, dark: bool) -> None:
    def luminance(colour: str) -> float:
        red, green, blue = linear(colour)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05

    card = luminance(SURFACES["card"][dark])
    for name in ("ink", "muted"):
        ink = luminance(SURFACES[name][dark])
        assert max(card, ink) / min(card, ink) >= 4.5, name  # WCAG 2 AA


def test_glyphs_and_labels_tell_states_apart_without_colour() -> None:
    assert set(PAINTS) == set(State)
    assert len({paint.glyph for paint in PAINTS.values()}) == len(State)
    assert len({paint.label for paint in PAINTS.values()}) == len(State)


def test_textures_tell_the_states_of_gaps_apart_without_colour() -> None:
    textured = {State.BLOCKED, *GAPS}
    assert len({PAINTS[state].texture for state in textured}) == len(textured)
    assert {state for state in State if PAINTS[state].texture} == textured


def test_a_legend_has_only_what_occurs() -> None:
    assert paints_of({State.READY, State.WAITING}) == [PAINTS[State.WAITING], PAINTS[State.READY]]


def test_the_variables_differ_between_light_and_dark() -> None:
    light, dark = css_variables(dark=False).split(";"), css_variables(dark=True).split(";")
    assert "--busy:#1fae84" in light
    assert [pair.split(":")[0] for pair in light] == [pair.split(":")[0] for pair in dark]
    assert not set(light) & set(dark)
