"""The page about the trace's format says what the schema has, and its questions have answers."""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from recorders import eventually, pool_record, request_record, the_file

from poolhog.model import OperationKind, Outcome
from poolhog.recording.recorder import Recorder, current_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.recording.records import CheckoutRecord

PAGE = Path(__file__).parents[2] / "docs" / "trace-format.md"
QUESTIONS = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)


class Route:
    path = "/notes/{id}"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A trace of a process that runs: one request is done, one holds a connection, one waits."""
    recorder = Recorder(tmp_path_factory.mktemp("docs") / "trace")
    pool = recorder.pool(pool_record())
    checkouts: list[CheckoutRecord] = []
    for path in ("/notes/1", "/notes/2", "/notes/3"):
        request = recorder.request(request_record(path, route=Route))
        token = current_request.set(request)
        stage = recorder.stage(request, "endpoint")
        checkouts.append(recorder.ask(pool))
        current_request.reset(token)
        if path == "/notes/1":
            operate(recorder, checkouts[-1], OperationKind.CONNECT)
            checkouts[-1].grant(1)
            operate(recorder, checkouts[-1], OperationKind.STATEMENT, "SELECT 1")
            checkouts[-1].end()
            stage.end()
            request.status = 200
            request.responding_ns = request.responded_ns = time.monotonic_ns()
            request.end()
        elif path == "/notes/2":
            checkouts[-1].grant(1)
            operate(recorder, checkouts[-1], OperationKind.STATEMENT, "UPDATE notes")
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


def ask(file: Path, sql: str) -> list[dict[str, Any]]:
    with sqlite3.connect(file) as database:
        database.row_factory = sqlite3.Row
        found = [dict(row) for row in database.execute(sql)]
    database.close()
    return found


def test_there_are_five_questions() -> None:
    assert len(QUESTIONS) == 5


def test_who_waited_the_longest(file: Path) -> None:
    found = ask(file, QUESTIONS[0])
    assert (found[0]["outcome"], found[0]["route"]) == ("waiting", "/notes/{id}")
    assert {row["outcome"] for row in found} == {"waiting", "returned", "open", "timeout"}


def test_what_a_request_did(file: Path) -> None:
    found = ask(file, QUESTIONS[1])
    assert [row["what"].strip() for row in found] == [
        *("GET /notes/1", "endpoint started", "connection asked for", "connect"),
        *("connection granted", "statement SELECT ?", "connection returned", "endpoint ended"),
        *("response 200", "request ended"),
    ]
    assert found[0]["ms"] == 0


def test_who_holds_connections_now(file: Path) -> None:
    (row,) = ask(file, QUESTIONS[2])
    assert (row["path"], row["connection"], row["last"]) == ("/notes/2", 1, "statement")
    assert row["sql"] == "UPDATE notes"
    assert row["state"].startswith("idle for ")


def test_seconds_per_statement(file: Path) -> None:
    found = {row["sql"]: row for row in ask(file, QUESTIONS[3])}
    assert found.keys() == {"SELECT ?", "UPDATE notes"}
    assert found["SELECT ?"]["times"] == 1
    assert found["SELECT ?"]["mean_ms"] >= 1


def test_routes_by_connection_seconds(file: Path) -> None:
    (row,) = ask(file, QUESTIONS[4])
    assert (row["request"], row["checkouts"]) == ("GET /notes/{id}", 2)
    assert 0 < row["busy_s"] <= row["connection_s"]


def test_every_table_column_and_key_is_documented(file: Path) -> None:
    page = PAGE.read_text()
    with sqlite3.connect(file) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master")]
        for table in tables:
            _, _, section = page.partition(f"### {table}: ")
            section = section.partition("\n#")[0]
            assert section, f"{table} has no section"
            if table == "meta":
                names = [key for (key,) in database.execute("SELECT key FROM meta")]
            else:
                names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            for name in names:
                assert f"`{name}`" in section, f"{table}.{name} is not documented"
        for enumeration in (OperationKind, Outcome):
            assert all(f"`{member.value}`" in page for member in enumeration)
    database.close()
