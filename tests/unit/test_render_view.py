from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from factories import implicit_burst, make_pool
from views import occupancy_in

from poolhog.analysis.downsampling import Reason, ReasonKind, Window
from poolhog.errors import OutputError
from poolhog.render.output import Hint, write_whole
from poolhog.render.svg import time_marks
from poolhog.render.timeline_text import labels_width, occupancy_text
from poolhog.render.view import occupancy_json, occupancy_summary, occupancy_svg, window_reason

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.analysis.occupancy import Occupancy


def occupancy(bins: int, requests: int = 40, size: int = 5, name: str = "main") -> Occupancy:
    checkouts, _, _, ended = implicit_burst(requests, size, latency=1.0)
    pool = make_pool(size=size, name=name)
    return occupancy_in(
        sorted(checkouts, key=lambda checkout: checkout.asked),
        [pool],
        started=0.0,
        ended=ended,
        bins=bins,
    )


def rows(of: Occupancy, width: int) -> list[str]:
    return occupancy_text(of, width=width, zero=0.0).plain.split("\n")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_terminal_is_filled_and_not_overrun(width: int) -> None:
    columns = width - labels_width([make_pool()])
    lines = rows(occupancy(columns), width)
    assert max(len(line) for line in lines) == width
    (waiting,) = [line for line in lines if "waiting ≤ 35" in line]
    assert waiting.count("█") >= columns // 10
    chart = lines[2:7]
    assert chart[-1].strip().startswith("checked out ")
    assert all(line.count("▒") > 0.8 * columns for line in chart)
    assert chart[0].strip().startswith("5 ")
    assert sum(line.strip().startswith("connection ") for line in lines) == 5


def test_of_many_connections_the_terminal_shows_twenty() -> None:
    lines = rows(occupancy(60, 70, 70), 80)
    assert sum(line.strip().startswith("connection ") for line in lines) == 20
    assert any("… 50 connections not shown" in line for line in lines)


def test_the_chart_has_at_most_ten_rows() -> None:
    lines = rows(occupancy(60, 70, 70), 80)
    assert lines.index("") == 1
    assert lines[2:].index("") == 10


def test_the_picture_is_drawn_and_told() -> None:
    made = occupancy(100)
    svg = occupancy_svg(
        made, title="</title><i>", subtitle=occupancy_summary(made), notes=["A note."], zero=0.0
    )
    root = ET.fromstring(svg)
    assert root[0].text == "</title><i>"
    words = [node.text or "" for node in root.findall(".//{*}text")]
    assert "requests waiting at once: 35 at most" in words
    assert "all 5 connections" in words
    assert "A note." in words
    stacked = [
        path.get("class") for path in root.findall("{*}path") if path.find("{*}title") is not None
    ]
    assert stacked[0] == "parked"
    assert "busy" in stacked
    for bar in root.findall(".//{*}g/{*}rect"):
        assert float(bar.get("x", "nan")) >= 112
        assert float(bar.get("x", "nan")) + float(bar.get("width", "nan")) <= 832.1
        assert float(bar.get("height", "nan")) <= 18


def test_a_long_name_does_not_leave_the_card() -> None:
    checkouts, _, pool, ended = implicit_burst(2, 1)
    pools = [pool, make_pool("b", size=1, name="a-very-long-name-of-a-pool")]
    made = occupancy_in(checkouts, pools, started=0.0, ended=ended, bins=10)
    svg = occupancy_svg(made, title="t", subtitle="", notes=(), zero=0.0)
    (shown,) = [t.text for t in ET.fromstring(svg).findall(".//{*}text") if "pool 1" in str(t.text)]
    assert shown is not None
    assert shown.startswith("…")


def test_the_json_has_averages_that_add_up() -> None:
    found = occupancy_json(occupancy(50))
    assert len(found["bins"]) == 50
    for part in ("busy", "blocked", "parked", "running", "ready"):
        of_bins = sum(b[part] * (b["ended_s"] - b["started_s"]) for b in found["bins"])
        assert of_bins == pytest.approx(found[f"{part}_s"], abs=1e-6)
    assert found["use_s"] == pytest.approx(
        sum(found[f"{part}_s"] for part in ("busy", "blocked", "parked", "running", "ready"))
    )


def test_axes_count_from_where_they_are_told() -> None:
    assert time_marks(10.0, 12.0, 4, zero=10.0) == (
        (10.0, "0 s"),
        (10.5, "0.5 s"),
        (11.0, "1 s"),
        (11.5, "1.5 s"),
        (12.0, "2 s"),
    )
    assert [label for _, label in time_marks(3599.9, 3600.3, 4, zero=0.0)] == [
        "3,599.9 s",
        "3,600 s",
        "3,600.1 s",
        "3,600.2 s",
        "3,600.3 s",
    ]
    assert time_marks(5.0, 5.0, 4, zero=0.0) == ((5.0, "5 s"),)


def test_a_hint_is_quoted_and_breaks_where_it_does_not_fit() -> None:
    hint = Hint.of(["log", "my traces", "--route", "GET /a"], "why")
    assert hint.text(80).plain == "poolhog log 'my traces' --route 'GET /a'  why"
    assert hint.text(40).plain == "poolhog log 'my traces' --route 'GET /a'\n  why"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.svg"
    write_whole(file, "one")
    write_whole(file, "two")
    assert file.read_text() == "two"
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "\udc80")
    assert file.read_text() == "two"
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (tmp_path, tmp_path / "gone" / "a.svg", pipe, link):
        with pytest.raises(OutputError, match="name another place"):
            write_whole(place, "content")
    assert sorted(tmp_path.iterdir()) == [link, pipe]


def test_every_window_says_why_it_is_shown() -> None:
    for kind in ReasonKind:
        assert window_reason(Window(0.0, 1.0, (Reason(kind, 3),)))
    both = (Reason(ReasonKind.EXAMPLE, 3), Reason(ReasonKind.SLOWEST))
    told = window_reason(Window(0.0, 1.0, both))
    assert told == "the example of finding 3; one of the slowest requests"
