"""Whatever was recorded, exports are what their formats ask for, and come to the report's sums."""

from __future__ import annotations

import io
import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from formats import check_chrome_trace, check_csv, check_speedscope, is_number
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorders import pool_record, request_record
from scenarios import Scenario

from poolhog.analysis.accounting import GAPS, State
from poolhog.analysis.report import Report, read_report
from poolhog.analysis.selection import extract, select
from poolhog.analysis.thresholds import Thresholds
from poolhog.errors import PoolhogError
from poolhog.model import Outcome
from poolhog.recording.recorder import Recorder, current_request
from poolhog.render.export.chrome_trace import CHROME_TRACE, nesting
from poolhog.render.export.csv_tables import CSV, MARKS, cell
from poolhog.render.export.speedscope import LENT, SPEEDSCOPE, WAITED
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.analysis.selection import Selection
    from poolhog.render.export.chrome_trace import TraceSpan
    from poolhog.render.export.format import Format

STATES = (State.BUSY, *GAPS)
MS = 1_000_000


def written(chosen: Selection, form: Format) -> bytes:
    out = io.BytesIO()
    with extract(chosen) as found:
        form.write(found, out)
    return out.getvalue()


def all_of(directory: Path, form: Format) -> bytes:
    return written(select(stream_trace(directory)), form)


def tables(content: bytes, directory: Path) -> dict[str, list[dict[str, str]]]:
    file = directory / "tables.zip"
    file.write_bytes(content)
    return check_csv(file)


def is_near(one: float, other: float) -> bool:
    """But for the rounding of numbers that were added up."""
    return one == pytest.approx(other, abs=1e-6)


def agrees_chrome_trace(file: dict[str, Any], report: Report) -> None:
    uses = [e for e in file["traceEvents"] if e["ph"] == "X" and e["cat"] == "checkout"]
    spent = report.spent
    for part in ("wait", "use", *STATES):
        told = sum(event["args"].get(f"{part}_s", 0.0) for event in uses)
        if part != "wait":  # of those that got a connection
            assert is_near(told, getattr(spent, part)), part
    begun = [e for e in file["traceEvents"] if e["ph"] == "b"]
    assert sum(e["cat"] == "request" and "id" in e["args"] for e in begun) == report.requests
    waits = {e["args"]["checkout"] for e in begun if e["name"] == "wait for a connection"}
    assert len(waits) == report.checkouts
    counters: dict[tuple[int, str], dict[str, int]] = {}
    for event in sorted((e for e in file["traceEvents"] if e["ph"] == "C"), key=lambda e: e["ts"]):
        counters[event["pid"], event["name"]] = event["args"]
    open_ = report.outcomes.get(Outcome.OPEN, 0)
    assert sum(args["lent"] for args in counters.values()) == open_


def agrees_speedscope(file: dict[str, Any], report: Report) -> None:
    frames = [frame["name"] for frame in file["shared"]["frames"]]
    by_leaf: dict[str, float] = {}
    for profile in file["profiles"]:
        if profile["name"] in (LENT, WAITED):
            for stack, weight in zip(profile["samples"], profile["weights"], strict=True):
                assert len(stack) >= 2  # a route and a state
                by_leaf[frames[stack[-1]]] = by_leaf.get(frames[stack[-1]], 0.0) + weight
    for part in ("queueing", "connecting", "pinging", *STATES):
        assert is_near(by_leaf.get(part, 0.0), getattr(report.spent, part)), part
    routes = {
        frames[p["samples"][i][0]] for p in file["profiles"][:1] for i in range(len(p["samples"]))
    }
    assert routes <= {route.name for route in report.routes}


def agrees_csv(found: dict[str, list[dict[str, str]]], report: Report) -> None:
    assert len(found["checkouts"]) == report.checkouts
    assert len(found["requests"]) == report.requests
    assert len(found["processes"]) == len(report.processes)
    for part in ("wait", "use", "queueing", "connecting", "pinging", *STATES):
        told = sum(float(row[f"{part}_s"]) for row in found["checkouts"])
        assert is_near(told, getattr(report.spent, part)), part


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_happened(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        for _ in range(data.draw(st.integers(1, 2))):
            Scenario(data.draw, directory).write(data.draw(st.integers(1, 8)))
        report = read_report(stream_trace(directory), Thresholds())
        trace = json.loads(all_of(directory, CHROME_TRACE))
        check_chrome_trace(trace)
        agrees_chrome_trace(trace, report)
        profiles = json.loads(all_of(directory, SPEEDSCOPE))
        check_speedscope(profiles)
        agrees_speedscope(profiles, report)
        agrees_csv(tables(all_of(directory, CSV), directory), report)


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 10)).map(
            lambda pair: ("span", pair[0], sum(pair), {})
        )
    )
)
def test_spans_nest_on_their_tracks(spans: list[TraceSpan]) -> None:
    tracks = nesting(spans)
    assert sorted(span for track in tracks for span in track) == sorted(spans)
    for track in tracks:
        assert [span[1] for span in track] == sorted(span[1] for span in track)
        for index, (_, started, ended, _) in enumerate(track):
            for _, begun, over, _ in track[:index]:
                assert over <= started or (begun <= started and ended <= over)


@given(st.text() | st.sampled_from(["=1+1", "'=1", "''", "-", "@app.get"]))
def test_a_text_is_no_formula_and_can_be_had_back(text: str) -> None:
    made = cell(text)
    assert made[:1] not in MARKS or made[:1] == "'"
    assert (made[1:] if made.startswith("'") else made) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (True, "true"),
        (0, "0"),
        (-1, "-1"),
        (4.0, "4"),
        (0.5, "0.5"),
        (1e-6, "0.000001"),
        (0.0, "0"),
        (100.0, "100"),
        (1234567.000001, "1234567.000001"),
    ],
)
def test_numbers_are_written_for_spreadsheets(value: float | None, expected: str) -> None:
    assert cell(value) == expected


class Queue:
    """A trace of a pool with one connection: it is lent, and another request waits for it."""

    def __init__(self, directory: Path) -> None:
        self.recorder = Recorder(directory)
        self.began_ns = self.recorder.journal.began_ns
        self.pool = self.recorder.pool(pool_record())

    def checkout(self, route: str, asked: int, granted: int, returned: int | None) -> None:
        request = request_record(route, route)
        request.started_ns = self.began_ns + asked * MS
        self.recorder.request(request)
        token = current_request.set(request)
        record = self.recorder.ask(self.pool)
        current_request.reset(token)
        record.asked_ns = self.began_ns + asked * MS
        record.connection, record.outcome = 1, Outcome.OPEN
        record.granted_ns = self.began_ns + granted * MS
        if returned is not None:
            record.outcome = Outcome.RETURNED
            record.returned_ns = self.began_ns + returned * MS
            request.ended_ns = self.began_ns + returned * MS

    def health(self, at: int) -> None:
        request = request_record("/health", "/health")
        request.started_ns = request.ended_ns = self.began_ns + at * MS
        self.recorder.request(request)

    def close(self) -> Path:
        self.recorder.stop()
        return self.recorder.directory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    queue = Queue(tmp_path / "trace")
    queue.checkout("/first", 10, 10, 40)
    queue.checkout("/second", 20, 40, 60)
    queue.health(5)
    queue.checkout("/third", 100, 100, 130)
    return queue.close()


def lanes(content: bytes) -> list[tuple[str, int, int]]:
    events = json.loads(content)["traceEvents"]
    return [
        (e["name"], e["ts"] // 1000, (e["ts"] + e["dur"]) // 1000)
        for e in events
        if e["ph"] == "X" and e["cat"] == "checkout"
    ]


def named(content: bytes, category: str) -> list[str]:
    events: Iterable[dict[str, Any]] = json.loads(content)["traceEvents"]
    return [e["name"] for e in events if e["ph"] == "b" and e["cat"] == category]


def test_a_wait_leads_to_the_use_that_it_ended_with(directory: Path) -> None:
    content = all_of(directory, CHROME_TRACE)
    events = json.loads(content)["traceEvents"]
    assert lanes(content) == [
        ("GET /first", 10, 40),
        ("GET /second", 40, 60),
        ("GET /third", 100, 130),
    ]
    use = next(e for e in events if e["name"] == "GET /second" and e["ph"] == "X")
    (wait,) = [e for e in events if e.get("bind_id") == use["bind_id"] and e["ph"] == "b"]
    (end,) = [e for e in events if e["ph"] == "e" and e["id"] == wait["id"]]
    assert (wait["ts"] // 1000, end["ts"] // 1000) == (20, 40)
    counts = [(e["ts"] // 1000, *e["args"].values()) for e in events if e["ph"] == "C"]
    assert counts == [(10, 1, 0), (20, 1, 1), (40, 1, 0), (60, 0, 0), (100, 1, 0), (130, 0, 0)]


def test_a_window_has_what_reaches_into_it_and_that_whole(directory: Path) -> None:
    chosen = select(stream_trace(directory), started=0.05, ended=0.09)
    content = written(chosen, CHROME_TRACE)
    assert lanes(content) == [("GET /second", 40, 60)]
    assert named(content, "request") == ["GET /second"]
    profiles = json.loads(written(chosen, SPEEDSCOPE))
    check_speedscope(profiles)
    (connection,) = [p for p in profiles["profiles"] if p["type"] == "evented"]
    assert connection["startValue"] == pytest.approx(0.04)
    assert connection["endValue"] == pytest.approx(0.09)


def test_requests_without_a_checkout_are_exported_too(directory: Path, tmp_path: Path) -> None:
    assert named(all_of(directory, CHROME_TRACE), "request")[0] == "GET /health"
    found = tables(all_of(directory, CSV), tmp_path)
    assert [row["route"] for row in found["requests"]] == ["/health", "/first", "/second", "/third"]
    assert found["requests"][0]["started_s"] == "0.005"


def test_ids_are_not_taken_for_numbers(directory: Path, tmp_path: Path) -> None:
    """As such, 4711.10 and 4711.1 would be one."""
    for rows in tables(all_of(directory, CSV), tmp_path).values():
        for row in rows:
            for column, value in row.items():
                if (column == "id" or column.endswith("_id")) and value and "file" not in row:
                    assert column in ("site_id", "caller_id") or not is_number(value)


def test_only_one_route(directory: Path, tmp_path: Path) -> None:
    chosen = select(stream_trace(directory), route="third")
    found = tables(written(chosen, CSV), tmp_path)
    assert [row["route"] for row in found["checkouts"]] == ["GET /third"]
    assert [row["name"] for row in found["requests"]] == ["GET /third"]


def test_nothing_in_the_window_is_told(directory: Path) -> None:
    chosen = select(stream_trace(directory), started=0.07, ended=0.09)
    with pytest.raises(PoolhogError, match="no connection was asked for in this window"):
        written(chosen, CSV)


def test_an_export_is_of_one_moment_also_while_the_process_goes_on(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "trace")
    queue.checkout("/first", 10, 10, None)
    queue.close()
    (file,) = (tmp_path / "trace").glob("*.sqlite")
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")  # as a process has it open that records into it
        database.execute("COMMIT")
        chosen = select(stream_trace(tmp_path / "trace"))
        _is_of_one_moment(chosen, database)


def _is_of_one_moment(chosen: Selection, database: sqlite3.Connection) -> None:
    with extract(chosen) as found:
        (part,) = found.parts
        before = [checkout.id for checkout in part.checkouts()]
        database.execute("DELETE FROM packed_checkouts")
        assert [checkout.id for checkout in part.checkouts()] == before
        assert part.reader.query("SELECT count(*) FROM packed_checkouts") == [(1,)]
