"""The page's script and styles take states, colours and textures from the palette alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import poolhog.render.page
from poolhog.analysis.accounting import State
from poolhog.render.page import STYLES, stylesheet
from poolhog.render.page.inline import (
    TILE,
    rect_rules,
    script,
    script_module,
    strokes,
    styles,
    swatch_rules,
)
from poolhog.render.palette import (
    BLAMED,
    DRAWN,
    PAGE_COLOURS,
    PAINTS,
    STACKED,
    STATES,
    SURFACES,
    Paint,
)

FOLDER = Path(poolhog.render.page.__file__).parent
SCRIPTS = sorted((FOLDER / "js").glob("*.js"))
SHEETS = sorted(FOLDER.glob("*.css"))
NAMES = [*(paint.name for paint in PAINTS.values() if paint.name != "none"), *BLAMED]
COLOURS = {
    *(colour for paint in PAINTS.values() for colour in (paint.light, paint.dark)),
    *(colour for pair in (dict(SURFACES) | dict(PAGE_COLOURS)).values() for colour in pair),
} - {"#ffffff"}
"""All but white, which ink and textures are as well."""


def exports() -> dict[str, object]:
    found = re.findall(r"^export const (\w+) = (.*);$", script_module(), re.MULTILINE)
    return {name: json.loads(value) for name, value in found}


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_a_script_has_no_list_of_states_or_colours(file: Path) -> None:
    code = re.sub(r"^\s*(//|/?\*).*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    every = "|".join(NAMES)
    assert not re.findall(rf"""["'`]({every})["'`]""", code)
    # How many waited on average is a number of its own, whatever the states are.
    others = "|".join(name for name in NAMES if name != "waiting")
    assert not re.findall(rf"\b({others}):|\.({others})\b", code)
    assert not [colour for colour in COLOURS if colour in code.lower()]


@pytest.mark.parametrize("file", SHEETS, ids=lambda file: file.name)
def test_a_style_sheet_has_no_list_of_states_or_colours(file: Path) -> None:
    rules = file.read_text(encoding="utf-8")
    assert not [name for name in NAMES if re.search(rf"\.{name}\b|--{name}\s*:", rules)]
    assert not [colour for colour in COLOURS if colour in rules.lower()]
    assert "--none:" not in rules


def test_the_script_numbers_and_orders_states_as_the_palette_does() -> None:
    found = exports()
    names = [paint.name for paint in PAINTS.values()]
    assert found["PAINTS"] == names
    assert found["STATES"] == [state.value for state in STATES]
    assert [found[name.upper()] for name in names] == list(range(len(names)))
    assert found["STACKED"] == list(STACKED)
    drawn = found["DRAWN"]
    assert isinstance(drawn, list)
    assert [names[number] for number in drawn] == [PAINTS[state].name for state in DRAWN]
    assert sorted(drawn) == list(range(len(names)))
    assert found["SURFACES"] == list(SURFACES)
    assert script_module().replace("export ", "").splitlines()[0] in script("main.js")


def test_the_words_of_a_legend_follow_the_name_of_a_state() -> None:
    words = exports()["WORDS"]
    assert isinstance(words, dict)
    for state in STATES:
        assert state.value + words[state.value] == PAINTS[state].label
    assert words["none"] == PAINTS[State.NOT_HOLDING].label


def test_a_texture_is_strokes_that_repeat() -> None:
    found = exports()
    textured = {paint.name: strokes(paint) for paint in PAINTS.values() if paint.texture}
    assert found["TEXTURES"] == textured
    assert textured
    for paint in PAINTS.values():
        lines = strokes(paint)
        assert len(lines) == paint.texture.count("M")
        assert all(-TILE <= number <= 2 * TILE for line in lines for number in line)


def test_every_paint_has_a_box_and_a_bar() -> None:
    boxes, bars = swatch_rules(), rect_rules()
    for name in (*(paint.name for paint in PAINTS.values()), *BLAMED):
        assert f".swatch.{name}{{" in boxes
    for paint in PAINTS.values():
        fill = f"url(#texture-{paint.name})" if paint.texture else f"var(--{paint.name})"
        assert f"rect.{paint.name}{{fill:{fill}}}" in bars
    assert boxes + bars in styles(("swatches.css", "bars.css"))
    assert {"swatches.css", "bars.css"} < set(STYLES)


@pytest.mark.parametrize(
    ("state", "angle", "period"),
    [(State.PARKED, 135, 4.2), (State.RUNNING, 0, 3.0), (State.READY, 90, 3.0)],
)
def test_a_box_is_hatched_as_the_texture_is(state: State, angle: int, period: float) -> None:
    paint: Paint = PAINTS[state]
    (rule,) = (one for one in swatch_rules().splitlines() if f".{paint.name}{{" in one)
    assert f"repeating-linear-gradient({angle}deg," in rule
    assert f"1.2px {period}px)" in rule


def test_the_style_sheet_declares_every_colour_for_light_and_dark() -> None:
    sheet = stylesheet()
    light, dark = sheet.split("@media screen and (prefers-color-scheme:dark)")[:2]
    for name, pair in (dict(SURFACES) | dict(PAGE_COLOURS)).items():
        assert f"--{name}:{pair[0]}" in light
        assert f"--{name}:{pair[1]}" in dark
