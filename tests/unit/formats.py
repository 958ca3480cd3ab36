"""What the formats that other programs open ask of a file, as their specifications say it.

- speedscope: https://www.speedscope.app/file-format-schema.json, and the comments of its source,
  ``src/lib/file-format-spec.ts``.
- Trace Event Format: its definition (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQ
  tYMH4h6I0nSsKchNAySU), and what Perfetto's importer says of events that it refuses or cannot nest.
- CSV: RFC 4180, and OWASP's list of what makes a cell a formula.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    Event = dict[str, Any]
    Table = list[dict[str, str]]

UNITS = {"none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}
NAMING = {
    "process_name": "name",
    "process_sort_index": "sort_index",
    "thread_name": "name",
    "thread_sort_index": "sort_index",
}
A_MICROSECOND = 1e-6


def check_speedscope(file: dict[str, Any]) -> None:
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert set(file) <= {"$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"}
    assert re.fullmatch(r"\w+@[\w.]+", file["exporter"])
    frames = file["shared"]["frames"]
    for frame in frames:
        assert set(frame) <= {"name", "file", "line", "col"}
        assert isinstance(frame["name"], str)
        assert isinstance(frame.get("file", ""), str)
        assert isinstance(frame.get("line", 0), int)
    assert 0 <= file["activeProfileIndex"] < len(file["profiles"])
    for profile in file["profiles"]:
        assert isinstance(profile["name"], str)
        assert profile["unit"] in UNITS
        assert profile["startValue"] <= profile["endValue"]
        {"evented": check_evented, "sampled": check_sampled}[profile["type"]](profile, len(frames))


def check_evented(profile: dict[str, Any], frames: int) -> None:
    """In order, balanced, and within the profile."""
    at = profile["startValue"]
    opened: list[int] = []
    for event in profile["events"]:
        assert set(event) == {"type", "frame", "at"}
        assert event["at"] >= at
        at = event["at"]
        assert event["frame"] in range(frames)
        if event["type"] == "O":
            opened.append(event["frame"])
        else:
            assert event["type"] == "C"
            assert opened.pop() == event["frame"]
    assert not opened
    assert at <= profile["endValue"]


def check_sampled(profile: dict[str, Any], frames: int) -> None:
    assert len(profile["samples"]) == len(profile["weights"])
    assert all(frame in range(frames) for stack in profile["samples"] for frame in stack)
    assert all(weight >= 0 for weight in profile["weights"])
    whole = profile["endValue"] - profile["startValue"]
    assert abs(sum(profile["weights"]) - whole) < A_MICROSECOND


def check_chrome_trace(file: dict[str, Any]) -> None:
    assert set(file) == {"traceEvents", "displayTimeUnit", "metadata"}
    assert file["displayTimeUnit"] in ("ms", "ns")
    assert isinstance(file["metadata"], dict)
    events = file["traceEvents"]
    for event in events:
        check_event(event)
    named = {(e["name"], e["pid"], e["tid"]) for e in events if e["ph"] == "M"}
    assert len(named) == sum(e["ph"] == "M" for e in events)
    for event in events:
        assert ("process_name", event["pid"], event["pid"]) in named
        if event["ph"] == "X":
            assert ("thread_name", event["pid"], event["tid"]) in named
    # As Perfetto does: of one instant, those that come first in the file.
    in_order = sorted((e for e in events if e["ph"] != "M"), key=lambda event: event["ts"])
    check_complete([e for e in in_order if e["ph"] == "X"])
    check_async([e for e in in_order if e["ph"] in "be"])
    check_flows([e for e in in_order if "bind_id" in e])
    check_counters([e for e in in_order if e["ph"] == "C"])


def check_event(event: Event) -> None:
    assert event["ph"] in ("M", "X", "b", "e", "C"), event
    assert isinstance(event["name"], str)
    for key in ("pid", "tid", "ts"):
        assert isinstance(event[key], int)
        assert event[key] >= 0
    # Threads and processes are numbers of 32 bits there, and 0 is the kernel's own.
    assert 0 < event["pid"] < 2**32
    assert 0 < event["tid"] < 2**32
    match event["ph"]:
        case "M":
            assert set(event["args"]) == {NAMING[event["name"]]}
        case "X":
            assert isinstance(event["dur"], int)
            assert event["dur"] >= 0
            assert event["cat"]
        case "b" | "e":
            assert isinstance(event["id"], str)
            assert event["id"]
            assert event["cat"]
        case "C":
            assert all(isinstance(value, int) for value in event["args"].values())


def check_complete(events: list[Event]) -> None:
    """Those of a thread nest: each is over when the one around it is, or before."""
    opened: dict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in events:
        around = opened[event["pid"], event["tid"]]
        while around and around[-1]["ts"] + around[-1]["dur"] <= event["ts"]:
            around.pop()
        if around:
            assert event["ts"] + event["dur"] <= around[-1]["ts"] + around[-1]["dur"]
        around.append(event)


def check_async(events: list[Event]) -> None:
    """Those of one category and id nest: an end is that of the last that began."""
    opened: dict[tuple[int, str, str], list[str]] = defaultdict(list)
    for event in events:
        around = opened[event["pid"], event["cat"], event["id"]]
        if event["ph"] == "b":
            around.append(event["name"])
        else:
            assert around.pop() == event["name"]
    assert not any(opened.values())


def check_flows(events: list[Event]) -> None:
    """Each leads from one event to one that does not begin earlier."""
    begun: set[int] = set()
    ended: set[int] = set()
    for event in events:
        number = int(event["bind_id"], 16)
        assert number < 2**64
        if event.get("flow_out"):
            assert event["ph"] == "b"
            assert number not in begun
            begun.add(number)
        else:
            assert event["flow_in"]
            assert event["ph"] == "X"
            assert number in begun
            assert number not in ended
            ended.add(number)
    assert begun == ended


def check_counters(events: list[Event]) -> None:
    """Values are counts, and there is one for an instant."""
    last: dict[tuple[int, str], int] = {}
    for event in events:
        key = event["pid"], event["name"]
        assert event["ts"] > last.get(key, -1)
        last[key] = event["ts"]
        assert all(value >= 0 for value in event["args"].values())


def check_csv(file: Path) -> dict[str, Table]:
    """Its tables; what they refer to is there."""
    tables: dict[str, Table] = {}
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            tables[name.removesuffix(".csv")] = check_table(archive.read(name).decode())
    ids = {
        name: {row["id"] for row in rows}
        for name, rows in tables.items()
        if rows and "id" in rows[0]
    }
    for name, rows in tables.items():
        for row in rows:
            for column, value in row.items():
                if column.endswith("_id") and value:
                    table = "sites" if column == "caller_id" else f"{column.removesuffix('_id')}s"
                    table = table.replace("processs", "processes")
                    assert value in ids[table], (name, column, value)
    assert all(int(row["caller_id"] or 0) < int(row["id"]) for row in tables["sites"])
    return tables


def check_table(text: str) -> Table:
    """Lines end with CRLF, every one has as many fields, and none is a formula."""
    assert text.endswith("\r\n")
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    assert written.getvalue() == text
    header, *data = rows
    assert len(set(header)) == len(header)
    for row in data:
        assert len(row) == len(header)
        for value in row:
            assert not value.startswith(("=", "+", "@", "\t", "\r", "\n"))
            assert not value.startswith("-") or is_number(value)
    return [dict(zip(header, row, strict=True)) for row in data]


def is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None
