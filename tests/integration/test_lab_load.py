"""Locust's numbers are those of the service, and its process never outlives the run."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from poolhog.errors import ChildError
from poolhog.lab import children, load
from poolhog.lab.service.settings import Settings, Style

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

LATENCY_S = 0.2
NOWHERE = load.LoadPlan("http://127.0.0.1:1", 2, 0.1, 0.1, 0.5, 2)


@pytest.fixture(scope="module")
def api(log_directory: Path) -> Iterator[children.Server]:
    with children.external_api(LATENCY_S, 0, 0, log_directory) as server:
        yield server


@contextmanager
def service(
    style: Style, api: children.Server, database: LabDatabase, log_directory: Path
) -> Iterator[children.Server]:
    settings = Settings(style, database.url, api.url, database.schema, pool_size=2)
    with children.service(settings, None, 1, log_directory) as server:
        yield server


def ignore(_: load.LoadProgress) -> None:
    pass


def test_load_measures_what_the_service_does(
    api: children.Server, database: LabDatabase, log_directory: Path
) -> None:
    database.create_notes(20)
    told: list[load.LoadProgress] = []
    results = {}
    for style in (Style.IMPLICIT, Style.EXPLICIT):
        with service(style, api, database, log_directory) as server:
            plan = load.LoadPlan(server.url, 8, 0.2, LATENCY_S, 2.0, 20)
            results[style] = load.run_load(plan, log_directory, told.append)
    implicit, explicit = results[Style.IMPLICIT], results[Style.EXPLICIT]

    for result in (implicit, explicit):
        assert (result.users, result.errors) == (8, 0)
        assert result.requests > 0
        assert result.p50_s is not None
        assert result.p99_s is not None
        assert LATENCY_S <= result.p50_s <= result.p99_s
        assert result.ended_ns - result.began_ns >= 2e9
    # Closed loop: users / latency, unless a pool of 2 allows only 2 / latency.
    assert 0.6 < explicit.requests_per_s / (8 / LATENCY_S) <= 1.1
    assert 0.6 < implicit.requests_per_s / (2 / LATENCY_S) <= 1.3

    synchronized = [
        note for note in map(database.note, range(1, 21)) if note and note.synchronized_at
    ]
    assert [note.id for note in synchronized] == list(range(1, 9))

    assert [phase for phase in load.Phase if phase in {progress.phase for progress in told}] == [
        *load.Phase
    ]
    assert max(progress.users for progress in told) == 8
    # About five times a second, over two runs of 2.4 s each.
    assert len(told) >= 10


def test_failed_requests_are_errors_and_no_throughput(log_directory: Path) -> None:
    result = load.run_load(NOWHERE, log_directory, ignore)
    assert result.errors == result.requests > 0
    assert result.requests_per_s == 0


def test_a_window_without_a_finished_request_has_no_percentiles(log_directory: Path) -> None:
    result = load.run_load(replace(NOWHERE, users=0), log_directory, ignore)
    assert (result.requests, result.p50_s, result.p99_s) == (0, None, None)


def test_a_load_generator_that_fails_is_told(log_directory: Path) -> None:
    with pytest.raises(ChildError, match=r"load ended with exit code 2 .*--notes.*\(log: "):
        load.run_load(replace(NOWHERE, notes="many"), log_directory, ignore)  # type: ignore[arg-type]


@pytest.mark.parametrize("said", ["hello", "{}", '{"progress": {}}', "[1]", '{"result": {"a": 1}}'])
def test_a_load_generator_that_talks_nonsense_is_told(
    said: str, log_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", "import sys; print(sys.argv[1])", said]
    monkeypatch.setattr(load, "_command", lambda _: command)
    with pytest.raises(ChildError, match="which is no report"):
        load.run_load(NOWHERE, log_directory, ignore)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_the_load_generator_ends_with_the_run(
    log_directory: Path, error: type[BaseException]
) -> None:
    generators: list[psutil.Process] = []

    def fail(_: load.LoadProgress) -> None:
        generators.extend(psutil.Process().children())
        raise error

    with pytest.raises(error):
        load.run_load(replace(NOWHERE, measure_s=60.0), log_directory, fail)
    mine = [process for process in generators if "poolhog.lab.load" in _command_line(process)]
    assert not psutil.wait_procs(mine, timeout=5)[1]


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
