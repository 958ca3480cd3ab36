"""Questions in SQL: over all processes of a run as one, and never to its harm."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from recorders import pool_record, request_record

import poolhog
from poolhog.cli import main
from poolhog.cli.sql import MOST_ROWS
from poolhog.model import Outcome
from poolhog.recording.recorder import Recorder, current_request
from poolhog.trace.query import MOST_ATTACHED, VIEWS, Database, questions
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from pathlib import Path


def record(directory: Path, pid: int, route: str, checkouts: int) -> None:
    """A finished trace of a process: one request with so many checkouts."""
    recorder = Recorder(directory)
    pool = recorder.pool(pool_record(f"pool of {pid}"))
    request = recorder.request(request_record(route=route))
    token = current_request.set(request)
    for _ in range(checkouts):
        checkout = recorder.ask(pool)
        checkout.grant(1)
        checkout.end()
    current_request.reset(token)
    request.end()
    recorder.stop()
    (file,) = directory.glob(f"{os.getpid()}*.sqlite")
    shutil.move(file, directory / f"{pid}.sqlite")
    with sqlite3.connect(directory / f"{pid}.sqlite") as database:
        database.execute("UPDATE meta SET value = ? WHERE key = 'pid'", [pid])
        database.execute("DELETE FROM meta WHERE key = 'checksum'")
    database.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A run of two processes."""
    record(tmp_path, 7, "/notes", 3)
    record(tmp_path, 8, "/users", 2)
    return tmp_path


def ask(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    with Database(stream_trace(directory)) as database:
        return list(database.ask(sql).rows)


def refused(directory: Path, sql: str) -> str:
    with pytest.raises(poolhog.PoolhogError) as raised:
        ask(directory, sql)
    assert raised.value.exit_code == 2
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def test_a_run_is_asked_as_one(directory: Path) -> None:
    assert ask(directory, "SELECT pid, count(*) FROM checkouts GROUP BY pid") == [(7, 3), (8, 2)]
    joined = """
        SELECT c.pid, p.name, r.route, s.function, count(*)
        FROM checkouts AS c
        JOIN pools AS p ON p.id = c.pool_id
        JOIN requests AS r ON r.id = c.request_id
        JOIN sites AS s ON s.id = c.site_id
        GROUP BY 1, 2, 3, 4
    """
    assert ask(directory, joined) == [
        (7, "pool of 7", "/notes", "record", 3),
        (8, "pool of 8", "/users", "record", 2),
    ]


def test_ids_of_the_first_process_are_those_of_its_file(directory: Path) -> None:
    with sqlite3.connect(directory / "7.sqlite") as database:
        ids = [(key,) for (key,) in database.execute("SELECT id FROM checkouts ORDER BY id")]
    database.close()
    assert ask(directory, "SELECT id FROM checkouts WHERE pid = 7 ORDER BY id") == ids
    assert ask(directory, "SELECT count(DISTINCT id) FROM checkouts") == [(5,)]


def test_more_processes_than_sqlite_attaches(tmp_path: Path) -> None:
    count = MOST_ATTACHED + 4
    for pid in range(1, count + 1):
        record(tmp_path, pid, f"/route-{pid}", pid)
    told = ask(
        tmp_path,
        "SELECT c.pid, route, count(*) FROM checkouts AS c JOIN requests AS r"
        " ON r.id = c.request_id GROUP BY 1, 2 ORDER BY 1",
    )
    assert told == [(pid, f"/route-{pid}", pid) for pid in range(1, count + 1)]
    assert ask(tmp_path, "SELECT count(*) FROM meta WHERE key = 'pid'") == [(count,)]
    with Database(stream_trace(tmp_path)) as database:
        columns = database.columns()
    assert columns["pools"][:3] == ("pid", "id", "library")
    assert columns.keys() == set(VIEWS)


@pytest.mark.parametrize("question", questions(), ids=lambda question: question.name)
def test_questions_are_asked_of_a_file_and_of_a_run(directory: Path, question: Any) -> None:
    with sqlite3.connect(directory / "7.sqlite") as database:
        cursor = database.execute(question.sql)
        columns = [column[0] for column in cursor.description]
        cursor.close()
    database.close()
    with Database(stream_trace(directory)) as opened:
        answer = opened.ask(question.sql)
        assert list(answer.columns) == columns
        list(answer.rows)


def test_a_question_adds_up_processes(directory: Path) -> None:
    (routes,) = [question.sql for question in questions() if question.name == "routes"]
    found = ask(directory, routes)
    assert {(row[0], row[1]) for row in found} == {("GET /notes", 3), ("GET /users", 2)}


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM packed_checkouts",
        "DELETE FROM process_0.packed_checkouts",
        "UPDATE process_0.meta SET value = 1",
        "DROP TABLE process_0.texts",
        "DROP VIEW checkouts",
        "CREATE TABLE more (id)",
        "CREATE TEMP TABLE more (id)",
        "PRAGMA query_only = 0",
        "PRAGMA journal_mode = DELETE",
        "VACUUM",
        "ATTACH 'elsewhere.sqlite' AS elsewhere",
        "DETACH process_0",
        "BEGIN",
    ],
)
def test_what_would_change_something_is_refused(directory: Path, sql: str) -> None:
    before = {file.name: file.read_bytes() for file in directory.iterdir()}
    refused(directory, sql)
    assert {file.name: file.read_bytes() for file in directory.iterdir()} == before


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT * FROM checkout", "no such table: checkout"),
        ("SELEKT 1", 'near "SELEKT": syntax error'),
        ("SELECT 1; SELECT 2", "one statement"),
        ("", "there is no query"),
        ("-- nothing", "there is no query"),
        ("SELECT outcome FROM checkouts WHERE id = (SELECT abs(-9223372036854775808))", "overflow"),
    ],
)
def test_a_wrong_query_gets_one_line(directory: Path, sql: str, told: str) -> None:
    assert told in refused(directory, sql)


def test_a_file_that_goes_away_meanwhile_gets_one_line(directory: Path) -> None:
    readers = stream_trace(directory)
    shutil.rmtree(directory)
    with pytest.raises(poolhog.TraceError), Database(readers):
        pass


def test_a_process_that_writes_is_not_in_the_way(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "trace")
    pool = recorder.pool(pool_record())
    for _ in range(3):
        recorder.ask(pool).give_up(Outcome.TIMEOUT)
    recorder.settle()
    with Database(stream_trace(recorder.directory)) as database:
        before = list(database.ask("SELECT outcome FROM checkouts").rows)
        recorder.ask(pool).give_up(Outcome.TIMEOUT)
        recorder.settle()
        assert recorder.journal.errors == 0
        after = list(database.ask("SELECT outcome FROM checkouts").rows)
    recorder.stop()
    assert (len(before), len(after)) == (3, 4)


class Verb:
    """``poolhog sql``, in this process."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured

    def __call__(self, *arguments: object, code: int = 0) -> str:
        """What it prints; if it fails, on standard error, in one line."""
        with pytest.raises(SystemExit) as ended:
            main(["sql", *map(str, arguments)])
        printed = self._captured.readouterr()
        assert ended.value.code == code, printed.err
        if code:
            assert printed.out == ""
            assert len(printed.err.splitlines()) == 1
        return printed.err if code else printed.out


@pytest.fixture
def sql(capsys: pytest.CaptureFixture[str]) -> Verb:
    return Verb(capsys)


def test_without_a_query_the_verb_says_what_can_be_asked(directory: Path, sql: Verb) -> None:
    shown = sql(directory)
    for view in VIEWS:
        assert any(line.startswith(f"{view} ") for line in shown.splitlines())
    found = json.loads(sql(directory, "--json"))
    assert found["views"]["meta"] == ["pid", "key", "value"]
    assert [question["name"] for question in found["questions"]] == [q.name for q in questions()]


def test_the_newest_trace_is_asked_if_none_is_named(
    tmp_path: Path, sql: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "poolhog-traces" / "first", 7, "/notes", 3)
    monkeypatch.chdir(tmp_path)
    assert json.loads(sql("SELECT count(*) AS found FROM checkouts", "--json")) == [{"found": 3}]
    assert json.loads(sql("routes", "--json"))[0]["request"] == "GET /notes"


def test_one_process_of_a_run_is_asked(directory: Path, sql: Verb) -> None:
    query = "SELECT pid, count(*) AS found FROM checkouts GROUP BY pid"
    found = json.loads(sql(directory, query, "--pid", 8, "--json"))
    assert found == [{"pid": 8, "found": 2}]
    assert "--pid takes one of 7, 8" in sql(directory, query, "--pid", 9, code=2)


def test_answers_are_tables_or_lists(directory: Path, sql: Verb) -> None:
    query = "SELECT 1 AS one, NULL AS two, 'a' AS letter"
    assert [line.split() for line in sql(directory, query).splitlines()] == [
        ["one", "two", "letter"],
        ["1", "a"],
    ]
    assert json.loads(sql(directory, query, "--json")) == [{"one": 1, "two": None, "letter": "a"}]
    none = "SELECT * FROM pools WHERE id = 0"
    assert sql(directory, none).splitlines()[-1] == "no rows"
    assert json.loads(sql(directory, none, "--json")) == []


def test_a_long_table_is_cut_and_a_list_is_not(directory: Path, sql: Verb) -> None:
    query = (
        f"WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT {MOST_ROWS + 1})"
        " SELECT n FROM n"
    )
    shown = sql(directory, query).splitlines()
    assert shown[-1].startswith("The first 1,000 rows")
    assert len(shown) == MOST_ROWS + 2
    assert len(json.loads(sql(directory, query, "--json"))) == MOST_ROWS + 1


def test_a_mistake_is_one_line_and_exit_code_2(directory: Path, sql: Verb) -> None:
    assert "'wait' is no SELECT and no question: ask waits, held" in sql(directory, "wait", code=2)
    assert "no such column: owners" in sql(directory, "SELECT owners FROM checkouts", code=2)
    assert "does not exist" in sql(directory / "missing", code=2)
    assert "it is no question: ask waits, held, lines," in sql("wait", code=2)
