from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from factories import explicit_burst, implicit_burst, make_checkout, make_pool, make_request, op
from rich.console import Console
from views import timeline_of

from poolhog.analysis.accounting import State
from poolhog.model import OperationKind
from poolhog.render.palette import PAINTS
from poolhog.render.svg import MOST_LANES
from poolhog.render.timeline import NARROWEST, lane_names, summary, timeline_svg
from poolhog.render.timeline_text import timeline_text

if TYPE_CHECKING:
    from poolhog.analysis.timeline import Timeline

CLASSES = {paint.name for paint in PAINTS.values()}


def implicit(requests: int = 10, size: int = 5, ended: float | None = None) -> Timeline:
    checkouts, made, pool, last = implicit_burst(requests, size)
    return timeline_of(checkouts, made, [pool], started=0, ended=ended or last)


def explicit() -> Timeline:
    checkouts, made, pool, last = explicit_burst()
    return timeline_of(checkouts, made, [pool], started=0, ended=last)


def bars(svg: str) -> list[ET.Element]:
    """The rectangles of intervals; the legend's swatches stand in no group."""
    groups = ET.fromstring(svg).findall(".//{*}g")
    return [r for g in groups for r in g.findall("{*}rect") if r.get("class") in CLASSES]


def words(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).findall(".//{*}text")]


@pytest.mark.parametrize("timeline", [implicit(), explicit()])
@pytest.mark.parametrize("width", [390, 860])
def test_there_is_a_bar_per_interval_and_none_leaves_the_plot(
    timeline: Timeline, width: int
) -> None:
    drawn = bars(timeline_svg(timeline, title="t", width=width))
    lanes = [lane.intervals for lane in timeline.requests]
    lanes += [s.intervals for lane in timeline.connections for s in lane.segments]
    expected = sorted(PAINTS[part.state].name for parts in lanes for part in parts)
    assert sorted(r.get("class", "") for r in drawn) == expected
    for bar in drawn:
        left, wide = float(bar.get("x", "nan")), float(bar.get("width", "nan"))
        assert left >= 0
        assert left + wide <= width - 20


def test_an_operation_is_never_too_thin_to_be_seen_and_the_rule_is_told() -> None:
    svg = timeline_svg(explicit(), title="t")
    busy = [float(bar.get("width", "0")) for bar in bars(svg) if bar.get("class") == "busy"]
    assert min(busy) >= NARROWEST
    assert "widened to stay visible" in " ".join(words(svg))


def test_the_rule_is_not_told_where_nothing_was_widened() -> None:
    timeline = timeline_of([], [make_request(ended=5)], [], started=0, ended=5)
    svg = timeline_svg(timeline, title="t")
    assert "widened to stay visible" not in svg
    assert "no request waited" in words(svg)


def test_the_labels_say_who_is_who() -> None:
    shown = words(timeline_svg(implicit(), title="Ten at once"))
    assert shown[0] == "Ten at once"
    for number in range(1, 11):
        assert shown.count(f"#{number}") == 2  # its lane, and its segment
    assert {f"connection {number}" for number in range(1, 6)} <= set(shown)
    assert {"0 s", "1 s", "10 s"} <= set(shown)
    assert "requests waiting at once: 5 at most" in shown


def test_a_hostile_title_and_route_stay_text() -> None:
    request = make_request(route="/</script><i>", ended=2)
    checkout = make_checkout(asked=0, granted=0, returned=2, request=request)
    timeline = timeline_of([checkout], [request], [], started=0, ended=2)
    svg = timeline_svg(timeline, title='</title><script>"&')
    assert "<script>" not in svg
    root = ET.fromstring(svg)
    assert root[0].text == '</title><script>"&'
    titles = [node.text or "" for node in root.findall(".//{*}g/{*}title")]
    assert titles[0] == "#1 GET /</script><i>"


def test_the_playing_picture_is_the_still_one_behind_a_curtain() -> None:
    still = timeline_svg(implicit(), title="t")
    playing = timeline_svg(implicit(), title="t", animated=True)
    assert "@keyframes" not in still
    assert len(bars(still)) == len(bars(playing))
    assert words(still) == words(playing)
    root = ET.fromstring(playing)
    (curtain,) = [r for r in root.findall(".//{*}rect") if r.get("class") == "curtain"]
    (playhead,) = [r for r in root.findall(".//{*}line") if r.get("class") == "playhead"]
    assert curtain.get("x") == playhead.get("x1")
    css = root[2].text or ""
    assert "infinite" in css
    hidden = css.split("@media (prefers-reduced-motion:reduce)")[1]
    assert ".curtain" in hidden
    assert ".playhead" in hidden
    prefix = (root.get("id") or "").removesuffix("svg")
    assert f"@keyframes {prefix}draw" in css
    assert f"animation:{prefix}draw 10s" in css


def test_of_many_requests_the_first_and_the_last_are_drawn() -> None:
    timeline = implicit(200, 10)
    shown = words(timeline_svg(timeline, title="t"))
    assert f"… {200 - MOST_LANES} requests not drawn …" in shown
    assert "#1" in shown
    assert "#171" in shown
    assert "#150" not in shown


def test_of_many_connections_too() -> None:
    timeline = timeline_of([], [], [make_pool(size=70)], started=0, ended=1)
    assert "… 10 connections not drawn …" in words(timeline_svg(timeline, title="t"))


def test_a_bulk_of_operations_is_drawn_pixel_by_pixel() -> None:
    operations = [op(OperationKind.STATEMENT, n / 1000, (n + 0.6) / 1000) for n in range(5_000)]
    checkout = make_checkout(granted=0.0, returned=5.0, operations=operations)
    timeline = timeline_of([checkout], (), (), started=0, ended=5)
    drawn = bars(timeline_svg(timeline, title="t"))
    assert {bar.get("class") for bar in drawn} == {"busy"}
    assert len(drawn) < 1_000
    assert summary(timeline).endswith("checked out 5.00 s: busy 3.00 s, running 2.00 s")


def test_several_pools_are_told_apart() -> None:
    pools = [make_pool("a", size=1, name="orders"), make_pool("b", size=1, name="users")]
    timeline = timeline_of([], [], pools, started=0, ended=1)
    assert {"orders 1", "users 1"} <= set(words(timeline_svg(timeline, title="t")))


def test_pools_of_several_processes_are_told_apart() -> None:
    first, second = make_pool("a", size=1), make_pool("b", size=1)
    second = replace(second, process=replace(second.process, pid=101))
    other = replace(second, id="c", name="users")
    for pools, names in (
        ([first, second], {"pid 100: 1", "pid 101: 1"}),
        ([first, second, other], {"main 100: 1", "main 101: 1", "users 101: 1"}),
    ):
        assert set(lane_names([(pool, 1) for pool in pools])) == names


def test_long_labels_leave_room_for_the_picture() -> None:
    owner = f"a-thread-of-a-very-long-name-{'x' * 80}-7"
    checkout = make_checkout(granted=0.0, returned=5.0, request=None, owner=owner)
    timeline = timeline_of(
        [checkout], (), (), started=0, ended=5, labels=lambda request, owner: owner
    )
    rows = lines_of(timeline, 80)
    assert max(map(len, rows)) <= 80
    assert re.fullmatch(r"…x{23}-7 ═{53}", rows[0])


def test_work_without_requests_is_that_of_owners() -> None:
    one = make_checkout("a", granted=0.0, returned=5.0, request=None, owner="Thread-1")
    timeline = timeline_of([one], (), (), started=0, ended=5)
    assert summary(timeline).startswith("1 owner without a request · 5 connections")
    both = [one, make_checkout("b", granted=0.0, returned=5.0, request=make_request(ended=5))]
    timeline = timeline_of(both, (), (), started=0, ended=5)
    assert summary(timeline).startswith("1 request · 1 owner without one · ")


def test_the_summary_is_exact() -> None:
    assert summary(explicit()) == (
        "10 requests · 5 connections · waited 120 ms in all · "
        "connections checked out 180 ms: busy 140 ms, running 40.0 ms"
    )


def lines_of(timeline: Timeline, width: int, axis_end: float | None = None) -> list[str]:
    return timeline_text(timeline, width=width, axis_end=axis_end).plain.split("\n")


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("timeline", [implicit(), explicit(), implicit(200, 30)])
def test_the_terminal_is_not_overrun(timeline: Timeline, width: int) -> None:
    assert all(len(line) <= width for line in lines_of(timeline, width))


def test_two_waves_on_the_terminal() -> None:
    rows = lines_of(implicit(), 80)
    (first_wave,) = [row for row in rows if row.strip().startswith("#1 ")]
    (second_wave,) = [row for row in rows if row.strip().startswith("#6 ")]
    assert set(first_wave) == set(" #1▒▏")
    assert set(second_wave) == set(" #6░▒▏")
    assert first_wave.count("▒") == pytest.approx(second_wave.count("░"), abs=1)
    (queue,) = [row for row in rows if "waiting ≤ 5" in row]
    assert queue.count("█") == pytest.approx(34, abs=1)
    (first,) = [row for row in rows if "connection 1 " in row]
    assert "▒#1▒" in first
    assert "▒#6▒" in first


def test_a_moment_of_use_is_not_lost_on_the_terminal() -> None:
    rows = lines_of(explicit(), 80)
    (lane,) = [row for row in rows if row.strip().startswith("#1 ")]
    assert lane.count("▏") == 2
    assert "·" * 60 in lane
    (connection,) = [row for row in rows if "connection 1 " in row]
    assert connection.count("▏") >= 2


def test_a_long_operation_fills_its_cells() -> None:
    checkouts, made, pool, _ = implicit_burst(1, 1)
    timeline = timeline_of(checkouts, made, [pool], started=0.008, ended=0.0115)
    assert timeline.lent(State.BUSY) > timeline.duration / 2
    row = lines_of(timeline, 80)[0]
    assert row.count("█") > 30


def test_a_running_burst_keeps_its_axis() -> None:
    rows = lines_of(implicit(ended=5.0), 93, axis_end=10.0)
    (lane,) = [row for row in rows if row.strip().startswith("#1 ")]
    assert lane.rstrip().endswith("▒")
    assert len(lane.rstrip()) == pytest.approx(13 + 40, abs=1)
    assert any(row.strip().startswith("0 s") and "10 s" in row for row in rows)


def test_of_many_requests_the_terminal_shows_twenty_and_says_so() -> None:
    rows = lines_of(implicit(50, 25), 100)
    assert sum(row.strip().startswith("#") for row in rows) == 20
    assert any("… 30 requests not shown" in row for row in rows)
    assert any("… 5 connections not shown" in row for row in rows)


def test_an_empty_timeline_is_drawn_as_well() -> None:
    empty = timeline_of([], [], [], started=0, ended=0)
    ET.fromstring(timeline_svg(empty, title="t"))
    assert any("waiting" in row for row in lines_of(empty, 80))


def test_colour_is_added_to_glyphs_that_say_the_same() -> None:
    coloured = timeline_text(implicit(), width=80)
    console = Console(width=80, force_terminal=True, color_system="truecolor")
    assert any(segment.style and segment.style.color for segment in console.render(coloured))
