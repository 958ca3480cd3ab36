from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest
from factories import make_checkout, make_request, one_get
from views import with_spans

from poolhog.analysis.lifecycle import Lifecycle, LifePart, lifecycle_of
from poolhog.render.lifecycle import LIFE_WORDS, lifecycle_svg, lifecycles_svg, verdict


def life(*, explicit: bool = False) -> Lifecycle:
    request, checkout = one_get(explicit=explicit)
    return lifecycle_of(request, with_spans(checkout), until=200.0)


def untold() -> Lifecycle:
    return lifecycle_of(replace(one_get()[0], stages=()), [], until=200.0)


def of_class(svg: str, *classes: str) -> list[ET.Element]:
    return [node for node in ET.fromstring(svg).iter() if node.get("class") in classes]


def words(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).findall(".//{*}text")]


def spans(svg: str, *classes: str) -> list[tuple[float, float]]:
    """Left and right of the bars of these classes, without the legend's swatches."""
    groups = ET.fromstring(svg).findall(".//{*}g")
    found = [r for g in groups for r in g.findall("{*}rect") if r.get("class") in classes]
    return [
        (float(r.get("x", "nan")), float(r.get("x", "nan")) + float(r.get("width", "nan")))
        for r in found
    ]


def marker(svg: str) -> float:
    (line,) = of_class(svg, "response")
    return float(line.get("x1", "nan"))


@pytest.mark.parametrize("width", [390, 860])
def test_the_connection_ends_on_the_right_side_of_the_response(width: int) -> None:
    implicit = lifecycle_svg(life(), title="t", width=width)
    explicit = lifecycle_svg(life(explicit=True), title="t", width=width)
    assert max(right for _, right in spans(implicit, "busy", "running")) > marker(implicit)
    assert max(right for _, right in spans(explicit, "busy", "running")) < marker(explicit)
    assert max(right for _, right in spans(explicit, "session")) > marker(explicit)


@pytest.mark.parametrize("width", [390, 860])
def test_stages_are_equally_wide_in_order_and_apart(width: int) -> None:
    stages = spans(lifecycle_svg(life(), title="t", width=width), "stage")
    assert len(stages) == 7
    assert {round(right - left) for left, right in stages} == {round(stages[0][1] - stages[0][0])}
    assert all(a[1] < b[0] for a, b in pairwise(stages))
    assert stages[-1][1] == width - 20


def test_a_bar_begins_inside_its_stage_in_proportion() -> None:
    svg = lifecycle_svg(life(), title="t")
    stages = spans(svg, "stage")
    dependencies = stages[1]
    (session,) = spans(svg, "session")
    share = (session[0] - dependencies[0]) / (dependencies[1] - dependencies[0])
    assert share == pytest.approx((0.30 - 0.21) / 0.42, abs=0.01)
    exit_stack = stages[-1]
    (transaction,) = spans(svg, "transaction")
    assert exit_stack[0] < transaction[1] < exit_stack[1]


def test_durations_are_printed() -> None:
    shown = words(lifecycle_svg(life(), title="t"))
    assert {"0.21 ms", "3.46 ms", "response sent", "session open"} <= set(shown)


def test_in_a_narrow_picture_the_names_stand_below() -> None:
    shown = words(lifecycle_svg(life(), title="t", width=390))
    assert "4  response validation, serialization" in shown
    assert [word for word in shown if word.isdigit()] == list("1234567")


def test_the_same_stage_has_the_same_place_in_all_panels() -> None:
    request = make_request(
        started=0,
        ended=9,
        responding=6,
        responded=7,
        stages=[
            ("dependencies", 1, 2),
            ("endpoint", 2, 3),
            ("serialization", 3, 4),
            ("exit stack", 4, 5),
            ("exit stack", 7, 8),
        ],
    )
    function_scope = lifecycle_of(request, [], until=9)
    svg = lifecycles_svg([("a", life()), ("b", function_scope), ("c", untold())], title="t")
    stages = spans(svg, "stage")
    one, two, three = stages[:7], stages[7:15], stages[15:]
    assert one == two[:4] + two[5:]
    assert three[0] == pytest.approx((two[0][0], two[5][1]), abs=0.02)
    assert three[1:] == two[6:]
    assert len({line.get("x1") for line in of_class(svg, "response")}) == 1


def test_what_was_not_open_is_said() -> None:
    assert words(lifecycle_svg(untold(), title="t")).count("none") == 3


@pytest.mark.parametrize("width", [390, 860])
def test_exception_handling_has_its_place_even_if_it_was_not_needed(width: int) -> None:
    svg = lifecycle_svg(life(), title="t", width=width)
    stages = spans(svg, "stage")
    (idle,) = spans(svg, "idle")
    # Between the response's validation and the middleware around it.
    assert stages[3][1] < idle[0] < idle[1] < stages[4][0]
    assert "not needed" in words(svg)
    failed = replace(life(), request=replace(one_get()[0], status=500))
    assert "not needed" not in words(lifecycle_svg(failed, title="t", width=width))
    assert "not needed" not in words(lifecycle_svg(untold(), title="t", width=width))


def test_the_handling_of_an_exception_is_a_stage() -> None:
    stages = [("endpoint", 1, 2), ("exit stack", 2, 3), ("exception handling", 3, 3)]
    request = make_request(started=0, ended=9, status=404, responding=6, responded=7, stages=stages)
    svg = lifecycle_svg(lifecycle_of(request, [], until=9), title="t")
    assert {"exception", "handling", "3.00 s"} <= set(words(svg))
    assert not of_class(svg, "idle")


def test_no_response_no_marker() -> None:
    request = make_request(started=0, ended=5, stages=[("endpoint", 1, 5)])
    svg = lifecycle_svg(lifecycle_of(request, [], until=5), title="t")
    assert not of_class(svg, "response")


def test_the_verdict_says_when_the_connection_came_back() -> None:
    assert verdict(life()) == (
        "The connection came back 0.76 ms after the response was sent; "
        "the transaction ended with ROLLBACK"
    )
    assert verdict(life(explicit=True)) == (
        "The connection came back 0.43 ms before the response was sent; "
        "the transaction ended with COMMIT"
    )
    request = make_request(started=0, responding=1.0, responded=3.0, ended=3.1)
    told = {
        0.9: "100 ms before the response was sent",
        2.5: "1.50 s after the response began, while it was being sent",
        3.05: "50.0 ms after the response was sent, which took 2.00 s",
    }
    for returned, when in told.items():
        streamed = make_checkout(asked=0, granted=0.1, returned=returned, request=request)
        found = verdict(lifecycle_of(request, with_spans(streamed), 5))
        assert found == f"The connection came back {when}"
    assert verdict(untold()) == "It had no connection"
    request = make_request(ended=None)
    still = make_checkout(asked=0, granted=1, request=request)
    assert (
        verdict(lifecycle_of(request, with_spans(still), 5)) == "The connection has not come back"
    )
    back = make_checkout(asked=0, granted=1, returned=2, request=request)
    assert verdict(lifecycle_of(request, with_spans(back), 5)) == (
        "The connection came back, and there was no response"
    )


def test_hostile_titles_stay_text() -> None:
    svg = lifecycles_svg([("</svg><script>", life())], title="</title>&'\"")
    assert "<script>" not in svg
    assert "</svg><script>" in words(svg)


def test_every_part_of_a_life_has_a_name() -> None:
    assert set(LIFE_WORDS) == set(LifePart)
