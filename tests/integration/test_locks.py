"""Locks of real databases: who waited for whom, and for how long, in recorded processes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from locking_app import HOLD_S, WORKERS

import poolhog
from poolhog.analysis.findings import BLOCKS_OTHERS
from poolhog.analysis.findings.blocks_others import BlockedOthers
from poolhog.analysis.report import Report, report_of
from poolhog.lab.postgres import LabDatabase

APP = Path(__file__).parent / "locking_app.py"
LEAST = 0.75
"""The part of the waiting that must be found, on a machine that is busy with other things."""


def recorded(directory: Path, *options: str, style: str, url: str) -> tuple[float, str]:
    """Record the service; the seconds that its locking statements took, and what poolhog said."""
    command = [sys.executable, "-m", "poolhog", "run", "-o", str(directory), *options, "--"]
    done = subprocess.run(
        [*command, sys.executable, str(APP), style, url],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return float(found["spent_s"]), done.stderr


def report_in(directory: Path) -> Report:
    return report_of(poolhog.open_trace(directory))


def evidence_of(report: Report) -> BlockedOthers:
    found = next(f for f in report.findings if f.kind is BLOCKS_OTHERS)
    assert isinstance(found.evidence, BlockedOthers)
    assert found.site is not None
    assert found.site.source in ("await call_a_service()", "time.sleep(HOLD_S)")
    return found.evidence


@pytest.mark.parametrize("style", ["update", "for-update", "advisory", "threads"])
def test_locks_are_inferred_from_the_trace_alone(
    style: str, database: LabDatabase, tmp_path: Path
) -> None:
    spent, _ = recorded(tmp_path / "trace", style=style, url=database.url)
    report = report_in(tmp_path / "trace")
    assert LEAST * spent <= report.spent.blocked <= spent
    evidence = evidence_of(report)
    assert evidence.known == 0.0
    assert evidence.is_advisory == (style == "advisory")
    assert evidence.tables == (() if style == "advisory" else ("counters",))


@pytest.mark.parametrize("style", ["update", "threads"])
def test_the_server_says_who_waits_for_whom(
    style: str, database: LabDatabase, tmp_path: Path
) -> None:
    url = database.url
    spent, said = recorded(tmp_path / "trace", "--watch-locks", url, style=style, url=url)
    assert "cannot watch" not in said
    report = report_in(tmp_path / "trace")
    assert LEAST * spent <= report.spent.blocked <= spent
    assert evidence_of(report).known >= 0.5 * report.spent.blocked
    assert [process.lock_watch for process in report.processes] == ["on"]


def test_a_session_that_was_not_recorded_is_described(
    database: LabDatabase, tmp_path: Path
) -> None:
    url = database.url
    recorded(tmp_path / "trace", "--watch-locks", url, style="console", url=url)
    trace = poolhog.open_trace(tmp_path / "trace")
    waits = [wait for checkout in trace.checkouts for wait in checkout.lock_waits]
    assert {wait.blocker for wait in waits} == {None}
    assert all(str(wait.session).startswith("console, server process ") for wait in waits)
    assert str(waits[-1].session).endswith("idle in transaction")
    waited = sum((wait.ended or 0.0) - wait.started for wait in waits)
    assert waited >= 2 * HOLD_S
    assert report_of(trace).spent.blocked == pytest.approx(waited, rel=0.2)


@pytest.mark.parametrize("style", ["mended", "apart"])
@pytest.mark.parametrize("is_watched", [False, True])
def test_nothing_is_blocked_where_nothing_waits_for_a_lock(
    style: str, database: LabDatabase, tmp_path: Path, *, is_watched: bool
) -> None:
    options = ["--watch-locks", database.url] if is_watched else []
    spent, _ = recorded(tmp_path / "trace", *options, style=style, url=database.url)
    report = report_in(tmp_path / "trace")
    # One of the mended may wait for another's commit, which the server then tells of.
    assert report.spent.blocked <= (spent if style == "mended" and is_watched else 0.0)
    assert [f for f in report.findings if f.kind is BLOCKS_OTHERS] == []


def test_a_file_of_sqlite_has_one_writer(tmp_path: Path) -> None:
    file = tmp_path / "data.db"
    spent, _ = recorded(tmp_path / "trace", style="file", url=str(file))
    report = report_in(tmp_path / "trace")
    assert LEAST * spent <= report.spent.blocked <= spent
    assert spent > HOLD_S * WORKERS
    assert evidence_of(report).known == 0.0


def test_a_server_that_cannot_be_reached_is_told_in_a_line_without_its_password(
    database: LabDatabase, tmp_path: Path
) -> None:
    wrong = "postgresql://nobody:s3cr3t-w0rd@127.0.0.1:9/none"
    _, said = recorded(tmp_path / "trace", "--watch-locks", wrong, style="mended", url=database.url)
    (line,) = (line for line in said.splitlines() if "cannot watch" in line)
    assert line.startswith("poolhog cannot watch locks and goes on without: ")
    assert "s3cr3t" not in said
    (process,) = poolhog.open_trace(tmp_path / "trace").processes
    assert process.lock_watch not in (None, "on")
    for file in (tmp_path / "trace").iterdir():
        assert b"s3cr3t" not in file.read_bytes()


@pytest.mark.parametrize("given", ["nonsense", "redis://localhost", "NO_SUCH_VARIABLE"])
def test_what_is_no_url_of_a_server_is_refused_before_anything_runs(
    given: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "poolhog", "run", "-o", str(tmp_path / "trace")),
            *("--watch-locks", given, "--", sys.executable, "-c", "print('ran')"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "ran" not in done.stdout
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_name_of_a_variable_will_do(
    database: LabDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKS_URL", str(sa.make_url(database.url).render_as_string(False)))
    recorded(tmp_path / "trace", "--watch-locks", "LOCKS_URL", style="mended", url=database.url)
    (process,) = poolhog.open_trace(tmp_path / "trace").processes
    assert process.lock_watch == "on"
