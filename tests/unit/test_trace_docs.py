"""The page about the trace's format says what the schema has, and its questions have answers."""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from recorders import eventually, pool_record, request_record, the_file

from poolhog.model import Activity, Cause, OperationKind, Outcome
from poolhog.recording.recorder import Recorder, current_request
from poolhog.recording.records import SAMPLE_BYTES, SampleRecord
from poolhog.trace.query import VIEWS, questions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.recording.records import CheckoutRecord

PAGE = Path(__file__).parents[2] / "docs" / "trace-format.md"
SHOWN = re.findall(r"([^\n]+) \(`(\w+)`\)\n\n```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
QUESTIONS = {question.name: question.sql for question in questions()}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A trace of a process that runs: one request is done, one holds a connection, one waits."""
    recorder = Recorder(tmp_path_factory.mktemp("docs") / "trace")
    pool = recorder.pool(pool_record())
    checkouts: list[CheckoutRecord] = []
    for path in ("/notes/1", "/notes/2", "/notes/3"):
        request = recorder.request(request_record(path, route="/notes/{id}"))
        token = current_request.set(request)
        stage = request.begin_stage("endpoint")
        checkouts.append(recorder.ask(pool))
        current_request.reset(token)
        if path == "/notes/1":
            operate(recorder, checkouts[-1], OperationKind.CONNECT)
            checkouts[-1].grant(1)
            operate(recorder, checkouts[-1], OperationKind.STATEMENT, "SELECT 1")
            park(recorder, checkouts[-1])
            checkouts[-1].end()
            stage.end()
            request.status = 200
            request.responding_ns = request.responded_ns = time.monotonic_ns()
            request.end()
        elif path == "/notes/2":
            checkouts[-1].grant(1)
            operate(recorder, checkouts[-1], OperationKind.STATEMENT, "UPDATE notes")
            recorder.operate(checkouts[-1], OperationKind.COMMIT)
    recorder.ask(pool).give_up(Outcome.TIMEOUT)
    file = the_file(recorder.directory)
    eventually(lambda: all(checkout.written for checkout in checkouts))
    yield file
    recorder.stop()


def operate(
    recorder: Recorder, checkout: CheckoutRecord, kind: OperationKind, sql: str | None = None
) -> None:
    record = recorder.operate(checkout, kind, sql)
    assert record is not None
    time.sleep(0.001)
    record.end()


def park(recorder: Recorder, checkout: CheckoutRecord) -> None:
    """The owner is seen asleep in a library, called by the line that asked for the connection."""
    library = compile("def nap(): ...", "/usr/lib/site-packages/naps.py", "exec")
    assert checkout.site is not None
    inside = recorder.sites.chain([(library, 0), (checkout.site.code, checkout.site.instruction)])
    sample = SampleRecord(checkout, Activity.PARKED, inside, time.monotonic_ns())
    recorder.journal.put(sample, SAMPLE_BYTES)
    time.sleep(0.005)
    sample.seen_ns = time.monotonic_ns()
    sample.end()


def ask(file: Path, sql: str) -> list[dict[str, Any]]:
    with sqlite3.connect(file) as database:
        database.row_factory = sqlite3.Row
        found = [dict(row) for row in database.execute(sql)]
    database.close()
    return found


def test_the_page_shows_the_questions_as_they_are() -> None:
    assert len(SHOWN) == 5
    assert [(question.title, question.name, question.sql) for question in questions()] == SHOWN


def test_who_waited_the_longest(file: Path) -> None:
    found = ask(file, QUESTIONS["waits"])
    assert (found[0]["outcome"], found[0]["route"]) == ("waiting", "/notes/{id}")
    assert {row["outcome"] for row in found} == {"waiting", "returned", "open", "timeout"}


def test_who_holds_connections_now(file: Path) -> None:
    (row,) = ask(file, QUESTIONS["held"])
    assert (row["path"], row["connection"], row["in_use"]) == ("/notes/2", 1, "yes")
    assert row["last_statement"] == "UPDATE notes"
    assert row["held_s"] > 0


def test_lines_that_hold_connections_parked(file: Path) -> None:
    (row,) = ask(file, QUESTIONS["lines"])
    assert (row["file"], row["source"]) == (__file__, "checkouts.append(recorder.ask(pool))")
    assert (row["function"], row["checkouts"]) == ("file", 1)
    assert row["parked_s"] >= 0.005


def test_seconds_per_statement(file: Path) -> None:
    found = {row["statement"]: row for row in ask(file, QUESTIONS["statements"])}
    assert found.keys() == {"SELECT ?", "UPDATE notes"}
    assert found["SELECT ?"]["times"] == 1
    assert found["SELECT ?"]["mean_ms"] >= 1


def test_routes_by_connection_seconds(file: Path) -> None:
    (row,) = ask(file, QUESTIONS["routes"])
    assert (row["request"], row["checkouts"]) == ("GET /notes/{id}", 2)
    assert 0 < row["busy_s"] <= row["use_s"]


def section(title: str) -> str:
    """The part of the page under this heading."""
    _, _, rest = PAGE.read_text().partition(f"\n### {title}")
    found = rest.partition("\n#")[0]
    assert found, f"{title} has no section"
    return found


def columns(file: Path, table: str) -> list[str]:
    return [row["name"] for row in ask(file, f"PRAGMA table_info({table})")]


def test_everything_to_ask_is_documented(file: Path) -> None:
    for view in VIEWS:
        names = columns(file, view)
        if view == "meta":
            names = [row["key"] for row in ask(file, "SELECT key FROM meta")]
        text = section(f"{view}: ")
        for name in names:
            assert f"`{name}`" in text, f"{view}.{name} is not documented"
    page = PAGE.read_text()
    for enumeration in (OperationKind, Outcome, Activity, Cause):
        assert all(f"`{member.value}`" in page for member in enumeration)


def test_every_table_is_asked_or_packed(file: Path) -> None:
    packed = section("The packed tables")
    made = ask(file, "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')")
    for row in made:
        if row["name"] not in VIEWS:
            assert row["type"] == "table"
            assert f"`{row['name']}`" in packed, f"{row['name']} is not documented"
