from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from poolhog.render.charts import (
    ExpectedValue,
    LatencyBar,
    LatencyGroup,
    ThroughputBar,
    latency_bars_svg,
    latency_bars_text,
    throughput_bars_svg,
    throughput_bars_text,
)

MARKS = [ExpectedValue(5, "L"), ExpectedValue(10, "2 L")]
FIRST_WAVE = [LatencyBar(f"#{number}", 0, 5.02) for number in range(1, 6)]
SECOND_WAVE = [LatencyBar(f"#{number}", 5.0, 10.02) for number in range(6, 11)]
IMPLICIT = LatencyGroup("implicit", (*FIRST_WAVE, *SECOND_WAVE))
EXPLICIT = LatencyGroup("explicit", tuple(LatencyBar(f"#{i + 1}", 0, 5.02) for i in range(10)))
LIMIT = ExpectedValue(200, "limit: users / latency = 200")
LOAD = [
    ThroughputBar("implicit", 1.9, ExpectedValue(2, "limit: pool / latency = 2")),
    ThroughputBar("explicit", 197.3),
    ThroughputBar("encode/databases", 199.9),
]


def words(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).findall(".//{*}text")]


def rects(svg: str, class_: str) -> list[tuple[float, float]]:
    found = ET.fromstring(svg).findall(".//{*}rect")
    return [
        (float(r.get("x", "nan")), float(r.get("width", "nan")))
        for r in found
        if r.get("class") == class_
    ]


def test_a_request_is_split_into_its_wait_and_the_rest() -> None:
    svg = latency_bars_svg([IMPLICIT, EXPLICIT], title="t", marks=MARKS)
    waits, rests = rects(svg, "waiting")[1:], rects(svg, "rest")[1:]  # without the legend
    assert len(waits) == len(rests) == 20
    second = 5  # of the second wave
    assert rests[second][0] == pytest.approx(waits[second][0] + waits[second][1], abs=0.02)
    assert waits[second][1] / rests[second][1] == pytest.approx(5 / 5.02, rel=0.01)
    assert [wide for _, wide in waits[10:]] == [0] * 10


def test_panels_share_an_axis_and_the_expected_values() -> None:
    svg = latency_bars_svg([IMPLICIT, EXPLICIT], title="t", marks=MARKS)
    shown = words(svg)
    assert shown.count("5 s") == 1
    assert shown.count("5.02 s") == 15
    assert shown.count("10.0 s") == 5
    assert {"L", "2 L", "implicit", "explicit"} <= set(shown)
    root = ET.fromstring(svg)
    dashes = [n.get("x1") for n in root.findall(".//{*}line") if n.get("class") == "dash"]
    ticks = {n.text: n.get("x") for n in root.findall(".//{*}text")}
    assert dashes == [ticks["5 s"], ticks["10 s"]]


def test_labels_of_marks_that_are_close_stand_above_one_another() -> None:
    marks = [ExpectedValue(5.0, "one mark"), ExpectedValue(5.01, "another")]
    svg = latency_bars_svg([EXPLICIT], title="t", marks=marks)
    heights = [
        node.get("y")
        for node in ET.fromstring(svg).findall(".//{*}text")
        if node.text in ("one mark", "another")
    ]
    assert len(set(heights)) == 2


@pytest.mark.parametrize("width", [390, 860])
def test_a_number_does_not_stand_on_the_line_of_the_limit(width: int) -> None:
    root = ET.fromstring(throughput_bars_svg(LOAD, LIMIT, title="t", width=width))
    (dash,) = [n for n in root.findall(".//{*}line") if n.get("class") == "dash"]
    (reading,) = [n for n in root.findall(".//{*}text") if n.text == "197.3"]
    assert float(reading.get("x", "nan")) > float(dash.get("x1", "nan"))


def test_throughput_is_drawn_from_zero_with_ticks_of_twenty() -> None:
    svg = throughput_bars_svg(LOAD, LIMIT, title="t")
    shown = words(svg)
    assert [w for w in shown if w.isdigit()] == [str(n) for n in range(0, 201, 20)]
    assert {"1.9", "197.3", "199.9", LIMIT.label, "limit: pool / latency = 2"} <= set(shown)
    bars = rects(svg, "value")
    assert bars[0][1] / bars[2][1] == pytest.approx(1.9 / 199.9, rel=0.01)
    assert len({left for left, _ in bars}) == 1


def test_without_a_limit_there_is_no_line() -> None:
    svg = throughput_bars_svg(LOAD[1:], None, title="t")
    assert 'class="dash"' not in svg
    assert "│" not in throughput_bars_text(LOAD[1:], None, width=80).plain


def test_nothing_measured_is_no_fault() -> None:
    ET.fromstring(latency_bars_svg([], title="t"))
    ET.fromstring(throughput_bars_svg([ThroughputBar("implicit", 0.0)], None, title="t"))
    assert "implicit" in throughput_bars_text([ThroughputBar("implicit", 0.0)], None, width=80)
    assert "waiting" in latency_bars_text([], width=80)


def test_hostile_labels_stay_text() -> None:
    hostile = "</script>&\"'"
    group = LatencyGroup(hostile, (LatencyBar(hostile, 0, 1),))
    one = latency_bars_svg(
        [group], title=hostile, marks=[ExpectedValue(1, hostile)], subtitle=hostile
    )
    other = throughput_bars_svg(
        [ThroughputBar(hostile, 1)], ExpectedValue(1, hostile), title=hostile
    )
    for svg in (one, other):
        assert "</script>" not in svg
        assert words(svg).count(hostile) >= 3


@pytest.mark.parametrize("width", [80, 140])
def test_bars_on_the_terminal(width: int) -> None:
    text = latency_bars_text([IMPLICIT, EXPLICIT], width=width, marks=MARKS).plain
    rows = text.split("\n")
    assert all(len(row) <= width for row in rows)
    (late,) = [row for row in rows if row.startswith("  #10") and "░" in row]
    assert late.count("░") == pytest.approx(late.count("█"), abs=1)
    assert late.endswith("10.0 s")
    assert "expected by arithmetic: L (5.00 s), 2 L (10.0 s)" in rows
    load = throughput_bars_text(LOAD, LIMIT, width=width).plain.split("\n")
    assert all(len(row) <= width for row in load)
    assert load[0].endswith("│ 1.9")
    assert load[1].strip() == "limit: pool / latency = 2"
    assert load[-1].strip() == f"│ {LIMIT.label}"


def test_many_bars_are_folded() -> None:
    many = LatencyGroup("many", tuple(LatencyBar(f"#{i}", 0, 1) for i in range(100)))
    assert "… 40 requests not drawn …" in words(latency_bars_svg([many], title="t"))
    assert "… 80 requests not shown" in latency_bars_text([many], width=80).plain
