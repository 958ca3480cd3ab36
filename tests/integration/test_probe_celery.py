"""The Celery probe: runs of tasks, in this process and in real workers."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery, signals
from celery.exceptions import Ignore
from recorded_app import DEADLINE_S, Recording, ask, eventually
from sqlalchemy.pool import QueuePool
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import poolhog
from poolhog import Request, Trace

WORKER_APP = """
import sqlalchemy as sa
from celery import Celery
from sqlalchemy.pool import QueuePool

app = Celery("jobs", broker="filesystem://", backend="db+sqlite:///results")
app.conf.update(
    broker_transport_options={"data_folder_in": "queue", "data_folder_out": "queue"},
    control_folder="control",
)
engine = sa.create_engine("sqlite:///data", poolclass=QueuePool)

def query():
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))

# Workers of a pool that forks inherit it from their parent.
query()

@app.task
def report():
    query()
    return 1

@app.task
def fail():
    query()
    raise ZeroDivisionError

@app.task(bind=True)
def retry(self):
    query()
    if not self.request.retries:
        self.retry(countdown=0)
"""


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'data'}", poolclass=QueuePool)
    yield engine
    engine.dispose()


def query(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))


def querying(app: Any, name: str, engine: sa.Engine) -> Any:
    """A task of this name that uses the engine's pool."""

    def run() -> None:
        query(engine)

    return app.task(name=name)(run)


def requests_of(trace: Trace) -> list[Request | None]:
    """The request of each checkout."""
    return [checkout.request for checkout in trace.checkouts]


def test_a_task_is_a_request(sqlite: sa.Engine, recording: Recording) -> None:
    app = Celery("jobs")

    querying(app, "jobs.report", sqlite).apply()
    query(sqlite)
    trace = recording.read()
    (request,) = trace.requests
    assert (request.kind, request.name, request.route) == ("task", "jobs.report", None)
    assert (request.path, request.error) == ("jobs.report", None)
    assert request.ended is not None
    assert requests_of(trace) == [request, None]


def test_how_tasks_end(sqlite: sa.Engine, recording: Recording) -> None:
    app = Celery("jobs")

    def end(how: BaseException | None) -> BaseException:
        query(sqlite)
        if how is not None:
            raise how
        return ZeroDivisionError("a result")

    ends = app.task(end)
    for how in (None, ZeroDivisionError(), Ignore()):
        ends.apply((how,))
    with pytest.raises(SystemExit):
        ends.apply((SystemExit(),))
    with pytest.raises(ZeroDivisionError):
        ends.apply((ZeroDivisionError(),), throw=True)
    trace = recording.read()
    assert [request.error for request in trace.requests] == [
        *(None, "ZeroDivisionError", None, "SystemExit", "ZeroDivisionError")
    ]
    assert requests_of(trace) == list(trace.requests)


def test_a_task_inside_another_is_a_request_of_its_own(
    sqlite: sa.Engine, recording: Recording
) -> None:
    app = Celery("jobs")

    inner = querying(app, "inner", sqlite)

    def run(task: Any) -> None:
        query(sqlite)
        inner.apply()
        query(sqlite)
        if not task.request.retries:
            # Outside of a worker it runs again at once, inside of itself and with the same id.
            raise task.retry(countdown=0)

    app.task(name="outer", bind=True)(run).apply()
    trace = recording.read()
    first, first_inner, second, second_inner = trace.requests
    assert [request.path for request in trace.requests] == ["outer", "inner", "outer", "inner"]
    assert requests_of(trace) == [first, first_inner, first, second, second_inner, second]
    assert [request.error for request in (first, second)] == ["Retry", None]


def test_a_task_that_a_request_runs_at_once_gives_it_back(
    sqlite: sa.Engine, recording: Recording
) -> None:
    app = Celery("jobs")
    app.conf.task_always_eager = True

    report = querying(app, "jobs.report", sqlite)

    async def order(request: Any) -> PlainTextResponse:
        report.delay()
        query(sqlite)
        return PlainTextResponse("ordered")

    asyncio.run(ask(Starlette(routes=[Route("/orders", order)]), "/orders"))
    trace = recording.read()
    assert [r.name for r in requests_of(trace) if r is not None] == ["jobs.report", "GET /orders"]


def test_nothing_is_left_in_celery(tmp_path: Path) -> None:
    listened_to = signals.task_prerun, signals.task_postrun, signals.worker_process_shutdown
    before = [len(signal.receivers) for signal in listened_to]
    Recording(tmp_path / "trace")
    assert [len(signal.receivers) for signal in listened_to] == [n + 1 for n in before]
    poolhog.uninstall()
    assert [len(signal.receivers) for signal in listened_to] == before


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_a_worker_records_its_tasks(pool: str, tmp_path: Path) -> None:
    for folder in ("queue", "control"):
        (tmp_path / folder).mkdir()
    (tmp_path / "jobs.py").write_text(WORKER_APP)
    send = "import jobs; [t.delay() for t in (jobs.report, jobs.fail, jobs.retry)]"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, check=True, timeout=DEADLINE_S)
    celery = [sys.executable, "-m", "celery", "-A", "jobs", "worker", "-P", pool, "-c", "2"]
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "poolhog", "run", "-o", "trace", "--", *celery],
            cwd=tmp_path,
            env={**os.environ, "C_FORCE_ROOT": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            eventually(lambda: len(_ended(tmp_path / "trace")) == 4)
            worker.send_signal(signal.SIGTERM)
            worker.wait(DEADLINE_S)
        finally:
            worker.kill()
            worker.wait()
    trace = poolhog.open_trace(tmp_path / "trace")
    ended = [(request.path, request.error) for request in trace.requests]
    assert sorted(ended, key=str) == [
        ("jobs.fail", "ZeroDivisionError"),
        ("jobs.report", None),
        ("jobs.retry", "Retry"),
        ("jobs.retry", None),
    ]
    parent = min(p.pid for p in trace.processes) if pool == "prefork" else 0
    for process in trace.processes:
        assert (process.errors, process.dropped) == (0, 0)
        assert process.finished
    for request in trace.requests:
        assert request.process.pid != parent
        pools = {c.pool.id for c in trace.checkouts if c.request is request}
        assert len(pools) >= 2  # the application's, and that of Celery's results


def _ended(directory: Path) -> list[Request]:
    try:
        trace = poolhog.open_trace(directory)
    except poolhog.TraceError:
        return []
    return [request for request in trace.requests if request.ended is not None]
