"""What advice depends on: libraries' frames and lines tell what was awaited, and how it is held."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import make_checkout, make_pool, make_request, make_site, op

from poolhog.analysis.findings.circumstances import (
    Awaited,
    Circumstances,
    Style,
    awaited_in,
    style_of,
)
from poolhog.analysis.findings.never_returned import Fate
from poolhog.model import OperationKind, Site, Stage
from poolhog.render.advice import never_returned_advice, parked_advice

LIB = "/usr/lib/python3.11"
SITE = f"{LIB}/site-packages"


def stack(*frames: tuple[str, str], source: str = "await work()") -> tuple[Site, ...]:
    """Frames of libraries, the innermost first, below a line of the application."""
    libraries = (
        make_site(n, "", file=f, function=name, is_application=False)
        for n, (f, name) in enumerate(frames, 1)
    )
    return (*libraries, make_site(50, source))


LOCK = (f"{LIB}/asyncio/locks.py", "Lock.acquire")
EVENT = (f"{LIB}/asyncio/locks.py", "Event.wait")
GET = (f"{LIB}/asyncio/queues.py", "Queue.get")
RECV = (f"{LIB}/socket.py", "readinto")
ASLEEP = (f"{LIB}/asyncio/tasks.py", "sleep")


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([ASLEEP], (Awaited.SLEEP, None)),
        ([LOCK], (Awaited.LOCK, None)),
        ([(f"{LIB}/asyncio/queues.py", "Queue.get")], (Awaited.QUEUE, None)),
        ([EVENT, (f"{SITE}/httpcore/_async/http2.py", "send")], (Awaited.CALL, "httpcore")),
        (
            [EVENT, (f"{SITE}/httpcore/pool.py", "wait"), (f"{SITE}/httpx/_client.py", "get")],
            (Awaited.CALL, "httpx"),
        ),
        ([ASLEEP, (f"{SITE}/tenacity/asyncio.py", "__anext__")], (Awaited.SLEEP, "tenacity")),
        ([(f"{SITE}/some_sdk/client.py", "ask")], (Awaited.CALL, "some_sdk")),
        ([RECV, (f"{LIB}/http/client.py", "read")], (Awaited.CALL, None)),
        ([(f"{LIB}/subprocess.py", "Popen.wait")], (Awaited.SUBPROCESS, None)),
        (
            [(f"{LIB}/threading.py", "wait"), (f"{LIB}/concurrent/futures/_base.py", "result")],
            (Awaited.THREAD, None),
        ),
        ([(f"{LIB}/threading.py", "Condition.wait")], (Awaited.LOCK, None)),
        (
            [GET, (f"{SITE}/asyncpg/pool.py", "Pool._acquire")],
            (Awaited.POOL, "asyncpg"),
        ),
        (
            [LOCK, (f"{SITE}/databases/core.py", "Connection.execute")],
            (Awaited.DRIVER_LOCK, "databases"),
        ),
        (
            [(f"{SITE}/asyncpg/connection.py", "connect")],
            (Awaited.DATABASE, "asyncpg"),
        ),
        ([(f"{SITE}/anyio/_core/_eventloop.py", "sleep")], (Awaited.SLEEP, None)),
        ([(f"{SITE}/anyio/streams/memory.py", "receive")], (Awaited.QUEUE, None)),
        ([EVENT, (f"{SITE}/starlette/websockets.py", "receive")], (Awaited.MESSAGE, None)),
        ([], (Awaited.UNKNOWN, None)),
    ],
)  # fmt: skip
def test_libraries_tell_what_is_awaited(
    frames: list[tuple[str, str]], expected: tuple[Awaited, str | None]
) -> None:
    assert awaited_in(stack(*frames)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("time.sleep(5)", Awaited.SLEEP),
        ("await asyncio.gather(one(), other())", Awaited.TASKS),
        ("await loop.run_in_executor(None, work)", Awaited.THREAD),
        ("with self.render_lock:", Awaited.LOCK),
        ("item = self.queue.get()", Awaited.QUEUE),
        ("answer = requests.get(url)", Awaited.CALL),
        ("total = add(up, these)", Awaited.UNKNOWN),
    ],
)
def test_without_a_frame_the_line_tells(source: str, expected: Awaited) -> None:
    assert awaited_in(stack(source=source)) == (expected, None)
    waiting = (f"{LIB}/asyncio/tasks.py", "wait_for")
    assert awaited_in(stack(waiting, source=source)) == (expected, None)


SELECT = make_site(20, "rows = session.execute(query)")
PARKED_AT = make_site(30, "await client.get(url)")


@pytest.mark.parametrize(
    ("asked_at", "ended_at", "line", "expected"),
    [
        ("session.execute(query)", "session.commit()", "", Style.SESSION),
        ("session.execute(query)", "async with session.begin():", "", Style.BEGIN),
        ("with engine.begin() as connection:", "", "", Style.BEGIN),
        ("async with pool.acquire() as connection:", "", "", Style.ACQUIRE),
        ("with pool.connection() as connection:", "", "", Style.ACQUIRE),
        ("name = order.customer.name", "", "", Style.LAZY_LOAD),
        ("session.execute(query)", "", "response = await call_next(request)", Style.MIDDLEWARE),
        ("session.execute(query)", "", "await self.app(scope, receive, send)", Style.MIDDLEWARE),
    ],
)
def test_lines_tell_how_a_connection_is_held(
    asked_at: str, ended_at: str, line: str, expected: Style
) -> None:
    operations = [
        op(OperationKind.BEGIN, 1.0, 1.0),
        op(OperationKind.STATEMENT, 1.0, 1.1, "SELECT 1"),
        replace(op(OperationKind.COMMIT, 2.0, 2.1), site=make_site(40, ended_at)),
    ]
    checkout = make_checkout(
        "c1", 1.0, 1.0, 2.2, operations=operations, site=make_site(20, asked_at),
        pool=replace(make_pool(), library="sqlalchemy"),
    )  # fmt: skip
    assert style_of(checkout, make_site(30, line), 1.5)[0] is expected


def test_a_dependency_that_gave_the_connection_back_held_it() -> None:
    get_db = make_site(5, "async def get_db():", function="get_db")
    request = replace(make_request("r1", 0.0, 3.0), stages=[Stage("exit stack", 2.0, 2.5, get_db)])
    checkout = make_checkout("c1", 1.0, 1.0, 2.2, request=request, site=SELECT)
    assert style_of(checkout, PARKED_AT, 1.5) == (Style.DEPENDENCY, get_db)


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("awaited", Awaited)
def test_there_are_words_for_everything(awaited: Awaited, style: Style) -> None:
    said = parked_advice({Circumstances(awaited, "httpx", style, SELECT): 1.0})
    assert said.endswith(".")
    assert "{" not in said


def test_advice_differs_by_what_was_awaited_and_by_style() -> None:
    said = {
        parked_advice({Circumstances(awaited, None, style, SELECT): 1.0})
        for awaited in Awaited
        for style in Style
    }
    alone = len([Awaited.LISTENER, Awaited.DRIVER_LOCK])
    styles, kinds = len(Style) - 1, len(Awaited) - alone
    assert len(said) == styles * kinds + alone + 1


def test_the_heaviest_circumstances_count() -> None:
    call = Circumstances(Awaited.CALL, "httpx", Style.SESSION, SELECT)
    sleep = Circumstances(Awaited.SLEEP, None, Style.SESSION, SELECT)
    assert parked_advice({call: 2.0, sleep: 1.0}) == parked_advice({call: 1.0})


def test_advice_about_what_is_not_given_back_says_why_it_was_not() -> None:
    fates = (
        Fate(is_collected=True),
        Fate(is_collected=False, is_shared=True),
        Fate(is_collected=False, job="work"),
        Fate(is_collected=False, style=Style.ACQUIRE),
    )
    said = [never_returned_advice({fate: 1.0}) for fate in fates]
    assert len(set(said)) == len(fates)
    assert "session of its own" in said[1]
    assert "`scoped_session`" in said[2]
