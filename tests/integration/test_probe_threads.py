"""Connections that are asked for in threads which a request waits for."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI
from recorded_app import Recording, ask, kinds
from sqlalchemy.orm import Session
from views import spent_by

import poolhog
from poolhog import Activity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolhog import Checkout
    from poolhog.lab.postgres import LabDatabase

ONE = sa.text("SELECT 1")
_engines: list[sa.Engine] = []


def open_session() -> Iterator[Session]:
    with Session(_engines[-1]) as session:
        yield session


OpenSession = Annotated[Session, Depends(open_session)]


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    yield Recording(tmp_path / "trace")
    poolhog.uninstall()


@pytest.fixture(params=["postgresql+psycopg2", "sqlite"])
def engine(request: Any, database: LabDatabase, tmp_path: Path) -> Iterator[sa.Engine]:
    url: Any = f"sqlite:///{tmp_path / 'data'}"
    if request.param != "sqlite":
        url = sa.make_url(database.url).set(drivername=request.param)
    engine = sa.create_engine(url)
    _engines.append(engine)
    yield engine
    _engines.remove(engine)
    engine.dispose()


def lines(checkout: Checkout, activity: Activity) -> set[str]:
    """The lines of the stacks in which the owner was seen like that."""
    return {
        site.source
        for sample in checkout.samples
        if sample.activity is activity and sample.site is not None
        for site in sample.site.stack
    }


def test_a_sync_endpoint_that_sleeps_between_two_statements_is_parked(
    engine: sa.Engine, recording: Recording
) -> None:
    app = FastAPI()

    @app.get("/slow")
    def slow(session: OpenSession) -> str:
        session.execute(ONE)
        time.sleep(0.3)  # the gap
        session.execute(ONE)
        return "done"

    asyncio.run(ask(app, "/slow"))
    (checkout,) = recording.read_checkouts()
    assert kinds(checkout).count("statement") == 2
    assert checkout.request is not None
    assert checkout.request.name == "GET /slow"
    assert "time.sleep(0.3)  # the gap" in lines(checkout, Activity.PARKED)
    found = spent_by(checkout)
    assert found.parked >= 0.2
    assert found.parked > found.running + found.ready


def test_a_dependency_that_holds_on_is_seen_in_its_own_request(
    engine: sa.Engine, recording: Recording
) -> None:
    """Its thread may work for another request by then: the task tells where this one is."""
    app = FastAPI()

    @app.get("/held")
    async def held(session: Annotated[str, Depends(use_session)]) -> str:
        await asyncio.sleep(0.3)  # held
        return "done"

    @app.get("/other")
    def other() -> str:
        time.sleep(0.1)  # another request's
        return "other"

    async def main() -> None:
        holding = asyncio.create_task(ask(app, "/held"))
        await asyncio.sleep(0.05)
        for _ in range(2):
            await ask(app, "/other")
        await holding

    asyncio.run(main())
    (checkout,) = recording.read_checkouts()
    seen = lines(checkout, Activity.PARKED)
    assert "await asyncio.sleep(0.3)  # held" in seen
    assert not any("another request's" in line for line in seen)
    # Before and after, its own thread runs: it opens and closes the session.
    parked = [at for at, s in enumerate(checkout.samples) if s.activity is Activity.PARKED]
    meanwhile = checkout.samples[parked[0] : parked[-1] + 1]
    assert {s.activity for s in meanwhile} <= {Activity.PARKED, Activity.READY}


def use_session() -> Iterator[str]:
    with Session(_engines[-1]) as session:
        session.execute(ONE)
        yield "used"


def test_the_end_of_a_sync_dependency_is_seen_in_its_thread(
    engine: sa.Engine, recording: Recording
) -> None:
    app = FastAPI()

    @app.get("/late")
    def late(session: Annotated[Session, Depends(open_session_that_lingers)]) -> str:
        session.execute(ONE)
        return "done"

    asyncio.run(ask(app, "/late"))
    (checkout,) = recording.read_checkouts()
    assert "time.sleep(0.3)  # lingering" in lines(checkout, Activity.PARKED)


def open_session_that_lingers() -> Iterator[Session]:
    with Session(_engines[-1]) as session:
        yield session
        time.sleep(0.3)  # lingering


def test_a_thread_of_asyncio_is_seen_while_its_task_waits_for_it(
    engine: sa.Engine, recording: Recording
) -> None:
    def work() -> None:
        with engine.connect() as connection:
            connection.execute(ONE)
            time.sleep(0.2)  # in the thread
            connection.execute(ONE)

    async def main() -> None:
        await asyncio.to_thread(work)  # the task

    asyncio.run(main())
    (checkout,) = recording.read_checkouts()
    seen = lines(checkout, Activity.PARKED)
    assert {"time.sleep(0.2)  # in the thread", "await asyncio.to_thread(work)  # the task"} <= seen


def test_a_thread_of_asyncio_that_burns_the_processor_is_running(
    engine: sa.Engine, recording: Recording
) -> None:
    def work() -> None:
        with engine.connect() as connection:
            connection.execute(ONE)
            until = time.thread_time() + 0.3
            while time.thread_time() < until:
                pass

    asyncio.run(wait_for(work))
    (checkout,) = recording.read_checkouts()
    found = spent_by(checkout)
    assert found.running > found.parked


async def wait_for(work: Any) -> None:
    await asyncio.to_thread(work)


def test_threads_keep_results_arguments_and_exceptions(recording: Recording) -> None:
    async def main() -> None:
        assert await asyncio.to_thread(divmod, 7, 2) == (3, 1)
        assert await asyncio.to_thread(dict, one=1) == {"one": 1}
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)

    asyncio.run(main())
    poolhog.uninstall()
    assert asyncio.to_thread.__code__.co_name == "to_thread"
