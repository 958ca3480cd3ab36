"""What is made of a trace does not grow with the statements of a checkout, and counts them all."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from factories import make_checkout, make_request, op
from recorders import pool_record, request_record
from traces import MS, site
from verbs import poolhog
from views import with_spans

from poolhog.analysis.request_log import beginning_of_log, log_with_gaps
from poolhog.model import Activity, OperationKind, Outcome
from poolhog.recording.marker import new_marker
from poolhog.recording.recorder import Recorder
from poolhog.recording.records import CheckoutRecord, OperationRecord, SampleRecord
from poolhog.recording.trace_file import TraceFile
from poolhog.render.page.data import MOST_BARS, MOST_LINES
from poolhog.render.page.run import MOST_SPANS_OF_ONE
from poolhog.trace.reader import open_trace

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.recording.record import Record

FEW, MANY = 8_000, 32_000
SQL = "SELECT notes.id FROM notes WHERE notes.id = $1"
BATCH = 5_000


def trace_of(directory: Path, statements: int, *texts: str) -> Path:
    """One request, whose one checkout sends statements, and transactions, and is seen at times."""
    recorder = Recorder(directory / "trace")
    recorder.journal.began_ns -= (statements + 1_000) * 20 * MS
    where = site(recorder, directory / "app.py", "await the_tax_office(form)")
    at = recorder.journal.began_ns
    pool, request = pool_record(), request_record(route="/job")
    request.started_ns = at
    checkout = CheckoutRecord(pool, request, "Task-1", where)
    checkout.asked_ns, checkout.granted_ns, checkout.connection = at, at + MS, 1
    checkout.outcome = Outcome.OPEN
    file = TraceFile(recorder.journal, new_marker(recorder.directory).file)
    file.write([pool, *recorder.journal.learned, request])
    facts: list[Record] = []
    for number in range(statements):
        at += 10 * MS
        kind = (OperationKind.BEGIN, OperationKind.STATEMENT, OperationKind.COMMIT)[number % 3]
        sql = texts[number // 3 % len(texts)] if kind is OperationKind.STATEMENT else None
        operation = OperationRecord(checkout, kind, sql, where)
        operation.started_ns, operation.ended_ns = at, at + 3 * MS
        checkout.operations.append(operation)
        checkout.busy_us += 3_000
        if not number % 50:
            sample = SampleRecord(checkout, Activity.PARKED, where, at + 4 * MS)
            sample.ended_ns = at + 8 * MS
            facts.append(sample)
        if not number % BATCH:
            file.write([checkout, *facts])
            facts.clear()
    checkout.outcome, checkout.returned_ns = Outcome.RETURNED, at + 10 * MS
    request.status = 200
    request.responding_ns = request.responded_ns = request.ended_ns = at + 20 * MS
    file.write([checkout, *facts, request])
    file.finish()
    file.abandon()
    return directory / "trace"


def side_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    side: dict[str, Any] = json.loads(found[1])["sides"][0]
    return side


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The page of few operations, and of four times as many."""
    found = {}
    for number in (FEW, MANY):
        directory = tmp_path_factory.mktemp("run")
        trace = trace_of(directory, number, SQL)
        poolhog("report", trace, "--html", directory / "page.html")
        found[number] = directory / "page.html"
    return found


def test_a_page_is_as_large_whatever_the_number(pages: dict[int, Path]) -> None:
    few, many = (pages[number].stat().st_size for number in (FEW, MANY))
    assert many < few * 1.1
    assert many < 1_000_000


def test_the_page_says_what_it_leaves_out_and_counts_it(pages: dict[int, Path]) -> None:
    side, page = side_of(pages[MANY]), pages[MANY].read_text()
    timeline = side["timeline"]
    assert len(timeline["spans"]["start"]) <= MOST_SPANS_OF_ONE
    assert timeline["left_out"]["spans"] > MANY
    assert f"{timeline['left_out']['spans']:,} short spans are added up" in page
    (life,) = side["lives"]
    assert len(life["log"]) == MOST_LINES
    assert MANY - MOST_LINES <= life["operations_left_out"] < MANY
    for row in ("holding", "transactions", "sessions"):
        assert len(life[row]) <= MOST_BARS
    assert life["transactions"]
    assert side["spent_s"]["busy"] == pytest.approx(MANY * 0.003)
    sent = re.search(r'<td>statement</td><td class="number" data-value="(\d+)">', page)
    assert sent is not None
    assert int(sent[1]) == len(range(1, MANY, 3))


def test_the_spans_of_the_page_come_to_the_sums_of_the_report(pages: dict[int, Path]) -> None:
    for number in (FEW, MANY):
        side = side_of(pages[number])
        spans, told = side["timeline"]["spans"], side["spent_s"]
        (wait,) = side["timeline"]["checkouts"]["wait"]
        expected = [
            wait / 1e6,
            *(told[name] for name in ("busy", "blocked", "parked", "running", "ready")),
        ]
        for state, in_all in enumerate(expected):
            pairs = zip(spans["state"], spans["length"], strict=True)
            seconds = sum(length for one, length in pairs if one == state) / 1e6
            assert seconds == pytest.approx(in_all, abs=0.01)


def test_few_operations_are_all_there(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, 300, SQL)
    poolhog("report", trace, "--html", tmp_path / "page.html")
    side = side_of(tmp_path / "page.html")
    assert side["timeline"]["left_out"]["spans"] == 0
    assert len(side["timeline"]["spans"]["start"]) >= 600


@pytest.mark.parametrize("form", ["speedscope", "chrome-trace"])
def test_an_export_has_some_hundred_bytes_for_an_operation(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long the statements are: each is there in full once."""
    texts = [f"SELECT x{name}, {'note, ' * 2_000} FROM notes" for name in "abc"]
    trace = trace_of(tmp_path, 3_000, *texts)
    poolhog("export", trace, "--format", form, "-o", tmp_path / "out")
    written = (tmp_path / "out").read_text()
    assert len(written) < 3_000 * 500 + sum(map(len, texts))
    told = capsys.readouterr()
    if form == "chrome-trace":
        (checkout,) = open_trace(trace).checkouts
        sent = {o.statement for o in checkout.operations if o.statement is not None}
        assert len(sent) == len(texts)
        assert all(len(text) > 5_000 and written.count(json.dumps(text)) == 1 for text in sent)
        assert "997 times" in told.err
        assert told.err.count("\n") == 1
    else:
        assert told.err == ""


def test_the_beginning_of_a_log_is_the_logs() -> None:
    request = make_request(started=0.0, ended=99.0, responding=98.0)
    checkouts = [
        make_checkout(
            f"c{number}",
            0.1 + number,
            0.2 + number,
            90.0 + number,
            request=request,
            operations=[
                op(OperationKind.STATEMENT, at + number * 1.01, at + number * 1.01 + 0.05, SQL)
                for at in (0.5 + 0.2 * index for index in range(100))
            ],
        )
        for number in range(3)
    ]
    every = log_with_gaps(request, with_spans(*checkouts))
    for most in (1, 7, 40, 99):
        lines, more_lines, more = beginning_of_log(request, with_spans(*checkouts), most=most)
        assert lines == every[:most]
        assert more_lines == 0
        assert more == sum(line.operation is not None for line in every[most:])
    lines, more_lines, more = beginning_of_log(request, with_spans(*checkouts), most=100)
    assert (len(lines), more_lines, more) == (100, len(every) - 100, 0)
    assert beginning_of_log(request, with_spans(*checkouts), most=10_000) == (every, 0, 0)
