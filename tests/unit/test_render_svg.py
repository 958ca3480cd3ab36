from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.occupancy import LENT
from poolhog.render.palette import PAINTS
from poolhog.render.svg import (
    Scale,
    Sheet,
    element,
    folded,
    number,
    text,
    text_width,
    ticks,
    wrap,
    write,
)

HOSTILE = "</script><b a='1' c=\"2\">&amp; \x00\x1b\ud800 ]]> {id} url(#x)"


def test_a_sheet_is_a_picture_that_names_and_describes_itself() -> None:
    sheet = Sheet("A title", "and more", width=500)
    sheet.y = 100
    root = ET.fromstring(sheet.svg("What it shows"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("width"), root.get("height")) == ("500", "120")
    assert root.get("viewBox") == "0 0 500 120"
    assert root.get("role") == "img"
    title, desc, style = list(root)[:3]
    assert (title.text, desc.text) == ("A title", "What it shows")
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert "prefers-color-scheme:dark" in (style.text or "")


def test_hostile_text_stays_text() -> None:
    sheet = Sheet(HOSTILE, width=5000)
    sheet.add(element("g", element("title", HOSTILE), data_name=HOSTILE))
    written = sheet.svg(HOSTILE)
    assert "</script>" not in written
    root = ET.fromstring(written.encode())
    shown = "</script><b a='1' c=\"2\">&amp; \ufffd\ufffd\ufffd ]]> {id} url(#x)"
    texts = [node.text for node in root.iter() if node.text and "script" in node.text]
    assert texts == [shown, shown, shown, shown]


@given(st.text(), st.text())
def test_any_text_is_well_formed_xml(content: str, value: str) -> None:
    written = write(element("text", content, label=value), "p-")
    ET.fromstring(written.encode())


def test_two_pictures_share_no_id_and_no_style() -> None:
    one, other = Sheet("one").svg(""), Sheet("other").svg("")

    def ids(svg: str) -> set[str]:
        return {node.get("id", "") for node in ET.fromstring(svg).iter()} - {""}

    def selectors(svg: str) -> set[str]:
        css = ET.fromstring(svg)[2].text or ""
        rules = css.replace("@media (prefers-color-scheme:dark){", "").split("}")
        return {one for rule in rules if "{" in rule for one in rule.split("{")[0].split(",")}

    textures = [state for state in LENT if PAINTS[state].texture]
    assert len(ids(one)) == 3 + len(textures)
    assert not ids(one) & ids(other)
    (root,) = {one for one in ids(one) if one.endswith("svg")}
    assert all(selector.startswith(f"#{root}") for selector in selectors(one))
    assert f"url(#{root.removesuffix('svg')}parked-texture)" in one


def test_a_picture_refers_to_nothing_outside() -> None:
    written = Sheet("one").svg("").replace("http://www.w3.org/2000/svg", "")
    assert "http" not in written
    assert "@import" not in written


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, "1"), (1.5, "1.5"), (1.239, "1.24"), (-0.001, "0"), (-2.5, "-2.5"), (100.0, "100")],
)
def test_numbers_have_two_decimals_at_most(value: float, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("upper", "about", "expected"),
    [
        (200, 10, tuple(range(0, 201, 20))),
        (10.1, 10, tuple(range(11))),
        (5.07, 10, (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5)),
        (0.3, 3, (0, 0.1, 0.2, 0.3)),
        (100, 2, (0, 50, 100)),
        (85, 10, tuple(range(0, 81, 10))),
        (0, 5, (0,)),
        (float("inf"), 5, (0,)),
    ],
)
def test_ticks_are_round(upper: float, about: int, expected: tuple[float, ...]) -> None:
    assert ticks(upper, about) == expected


@given(st.floats(1e-6, 1e9), st.integers(1, 20))
def test_ticks_end_within_the_axis_and_are_about_as_many_as_asked(upper: float, about: int) -> None:
    found = ticks(upper, about)
    assert found[-1] <= upper * (1 + 1e-6)
    assert about / 2 < len(found) <= 2 * about + 1


def test_text_is_wrapped_at_words() -> None:
    lines = wrap("response validation, serialization", "small", 75)
    assert lines == ("response", "validation,", "serialization")
    assert all(text_width(line, "small") <= 75 for line in lines)
    assert wrap("unbreakable", "small", 5) == ("unbreakable",)
    assert wrap("", "small", 5) == ()


def test_a_scale_maps_its_ends() -> None:
    scale = Scale(10, 20, 100, 300)
    assert [scale.x(at) for at in (10, 15, 20)] == [100, 200, 300]
    assert Scale(1, 1, 100, 300).x(1) == 100


def test_folding_keeps_both_ends() -> None:
    assert folded(range(5), 5) == (range(5), 0, ())
    assert folded([*range(10)], 5) == ([0, 1, 2], 5, [8, 9])


def test_a_legend_breaks_before_it_leaves_the_sheet() -> None:
    sheet = Sheet("t", width=200)
    sheet.legend([("busy", "a rather long label"), ("parked", "another rather long one")])
    root = ET.fromstring(sheet.svg(""))
    swatches = [r for r in root.findall(".//{*}rect") if r.get("class") in ("busy", "parked")]
    assert {swatch.get("x") for swatch in swatches} == {"20"}
    assert len({swatch.get("y") for swatch in swatches}) == 2


def test_what_is_over_comes_last() -> None:
    sheet = Sheet("t")
    sheet.over(text(0, 0, "above"))
    sheet.add(text(0, 0, "below"))
    assert [node.text for node in ET.fromstring(sheet.svg("")).findall(".//{*}text")][1:] == [
        "below",
        "above",
    ]
