"""What users try against a pool that runs dry, on a real PostgreSQL and a real PgBouncer."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from poolhog.errors import PoolhogError
from poolhog.lab import children, pgbouncer
from poolhog.lab.burst import run_burst
from poolhog.lab.parameters import Parameters
from poolhog.lab.remedies import measuring
from poolhog.lab.remedies.connection_count import ConnectionCount
from poolhog.lab.remedy_names import RemedyName
from poolhog.lab.service import Settings, Style, build_app
from poolhog.lab.service.notes import NoteChanged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

LATENCY_S = 0.3
PATH = "/notes/1/synchronize"
WRITING = [style for style in Style if style is not Style.IMPLICIT_FORGOTTEN_COMMIT]


@pytest.fixture(scope="module")
def api(log_directory: Path) -> Iterator[str]:
    with children.external_api(LATENCY_S, 0, 0, log_directory) as server:
        yield server.url


async def answers(settings: Settings, requests: int) -> list[int]:
    """The statuses of simultaneous synchronize requests to a service in this process."""
    app = build_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://notes") as client,
    ):
        responses = await asyncio.gather(*(client.post(PATH) for _ in range(requests)))
    return sorted(response.status_code for response in responses)


def version(database: LabDatabase) -> int:
    ((found,),) = database.query("SELECT version FROM notes WHERE id = 1")
    return int(found)


@pytest.mark.parametrize("style", WRITING)
def test_one_of_two_writes_at_once_is_lost_unless_the_version_is_checked(
    style: Style, api: str, database: LabDatabase
) -> None:
    database.create_notes(1)
    settings = Settings(style, database.url, api, database.schema)
    assert asyncio.run(answers(settings, 2)) == [200, 200]
    assert version(database) == 1

    checking = Settings(style, database.url, api, database.schema, checks_version=True)
    database.create_notes(1)
    if style is Style.BACKGROUND_TASK:
        # Both are answered by then: only the server's log is told.
        with pytest.raises(RuntimeError, match="response already started") as told:
            asyncio.run(answers(checking, 2))
        assert isinstance(told.value.__cause__, NoteChanged)
        assert version(database) == 1
        return
    assert asyncio.run(answers(checking, 2)) == [200, 409]
    assert version(database) == 1
    assert asyncio.run(answers(checking, 1)) == [200]
    assert version(database) == 2


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"pool_size": 2}, 2),
        ({"pool_size": 2, "max_overflow": -1}, 6),
        ({"pool_size": 2, "keeps_connections": False}, 6),
    ],
    ids=["pool", "unlimited-overflow", "null-pool"],
)
def test_the_server_is_asked_how_many_connections_it_has(
    options: dict[str, Any], most: int, api: str, database: LabDatabase, log_directory: Path
) -> None:
    database.create_notes(6)
    settings = Settings(Style.IMPLICIT, database.url, api, database.schema, **options)
    with (
        children.service(settings, None, 1, log_directory) as service,
        ConnectionCount(database) as connections,
    ):
        began_ns = time.monotonic_ns()
        paths = [f"/notes/{note_id}/synchronize" for note_id in range(1, 7)]
        burst = run_burst(service.url, "POST", paths)
        assert connections.peak(began_ns, time.monotonic_ns()) == most
        # Nobody was there before.
        assert connections.peak(0, began_ns) == 0
    assert {response.status for response in burst.responses} == {200}


def test_many_clients_share_few_connections_through_pgbouncer(
    api: str, database: LabDatabase, log_directory: Path
) -> None:
    database.create_notes(1)
    with pgbouncer.pgbouncer(database, 2, 30.0, log_directory) as url:
        settings = Settings(
            Style.EXPLICIT, url, api, keeps_connections=False, through_pgbouncer=True
        )
        with ConnectionCount(database) as connections:
            began_ns = time.monotonic_ns()
            assert asyncio.run(answers(settings, 8)) == [200] * 8
            assert 1 <= connections.peak(began_ns, time.monotonic_ns()) <= 2
    assert version(database) == 1


def poolhog(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "poolhog", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("remedies") / "run"
    small = ["--external-latency", "0.4", "--users", "8", "--ramp", "0.2", "--measure", "0.8"]
    chosen = ["--only", "pgbouncer", "--pool-size", "2", "--requests", "4"]
    done = poolhog("lab", "remedies", *small, *chosen, "-o", folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    return folder


def test_the_verb_measures_what_is_to_be_cured_and_what_was_chosen(output: Path) -> None:
    results = json.loads((output / "results.json").read_text())
    assert results["complete"] is True
    assert results["recording"] == {"dropped": 0, "errors": 0}
    implicit, through = results["remedies"]["measured"]
    assert (implicit["name"], through["name"]) == ("implicit", "pgbouncer")
    for measured in (implicit, through):
        (burst,) = measured["burst"]
        # Two waves: the transaction holds its server connection, wherever one waits for it.
        assert burst["makespan_s"] > 0.8
        assert burst["errors"] == 0
        assert burst["server_connections"] == 2
        assert measured["load"]["server_connections"] == 2
        assert measured["load"]["failed_per_s"] == 0
        assert measured["load"]["written_per_s"] > 0
        assert measured["two_at_once"]["outcome"] == "one lost"
        assert measured["two_at_once_checked"]["outcome"] == "one refused"
        assert measured["two_at_once_checked"]["kept_after_retry"] == 2
    assert implicit["burst"][0]["predicted_s"] == pytest.approx(
        implicit["burst"][0]["makespan_s"], rel=0.2
    )
    assert through["burst"][0]["predicted_s"] is None
    assert "PgBouncer" in through["burst"][0]["not_predicted"]


def test_its_tables_stand_in_the_terminal_in_the_page_and_in_a_document(output: Path) -> None:
    said = (output / "stdout").read_text()
    assert said.startswith("0 of 1 remedies come to nine tenths of the 20 answers per second")
    assert said.splitlines()[-1].endswith("report.html")
    page = (output / "report.html").read_text()
    document = (output / "remedies.md").read_text()
    for text in (said, page, document):
        assert re.search(r"12 pgbouncer", text)
        assert "one refused" in text
    # The talk was not run: its chapters would be empty.
    assert 'id="T7"' not in page


def test_without_pgbouncer_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        def query(self, sql: str) -> list[tuple[str]]:
            return [("300",)]

    class FakeFixture:
        database = Server()
        parameters = Parameters(output=None)  # type: ignore[arg-type]  # nothing is written

    monkeypatch.setattr(pgbouncer, "program", lambda: None)
    remedies, found = measuring.begin(FakeFixture())  # type: ignore[arg-type]  # all that is asked for
    assert RemedyName.PGBOUNCER not in {remedy.name for remedy in remedies}
    assert len(remedies) == len(RemedyName) - 1
    assert "make pgbouncer" in found.skipped[RemedyName.PGBOUNCER]


def test_pgbouncer_alone_without_pgbouncer_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, database: LabDatabase
) -> None:
    class FakeFixture:
        parameters = Parameters(
            output=None,  # type: ignore[arg-type]  # nothing is written
            only=(RemedyName.PGBOUNCER,),
        )

    fixture = FakeFixture()
    fixture.database = database  # type: ignore[attr-defined]
    monkeypatch.setattr(pgbouncer, "program", lambda: None)
    with pytest.raises(PoolhogError, match="PgBouncer is missing"):
        measuring.begin(fixture)  # type: ignore[arg-type]  # all that is asked for


def test_an_unknown_remedy_is_told_in_one_line() -> None:
    done = poolhog("lab", "remedies", "--only", "prayer")
    assert done.returncode == 2
    assert done.stderr.startswith("poolhog: --only 'prayer': expected implicit, explicit,")
    assert len(done.stderr.splitlines()) == 1
