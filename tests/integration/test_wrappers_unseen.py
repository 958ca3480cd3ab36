"""Nobody can tell a library that is recorded from one that is not: not by its functions either."""

from __future__ import annotations

import asyncio
import inspect
import logging
import pickle
import re
import traceback
import warnings
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import asyncpg
import celery.signals
import fastapi
import httpx
import litestar
import psycopg
import psycopg_pool
import pytest
import sqlalchemy as sa
import sqlalchemy.ext.asyncio
import sqlalchemy.orm
import uvicorn.middleware.proxy_headers
from fastapi import FastAPI
from sqlalchemy.exc import SAWarning
from starlette.applications import Starlette
from starlette.routing import Route

import poolhog
from poolhog.probes.patching import Patches
from poolhog.recording.unseen import is_unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import CodeType

LIBRARIES = (anyio, asyncpg, celery, fastapi, litestar, psycopg, psycopg_pool, uvicorn)

ADDED = {("_ConnectionFairy", "commit"), ("_ConnectionFairy", "rollback")}
"""Attributes that the original looks up in another object."""


class Patched:
    """A function that a probe replaced."""

    def __init__(self, target: Any, name: str, original: Any, wrapper: Any) -> None:
        self.name = f"{target.__name__}.{name}"
        self.target = target
        self.original = original
        self.wrapper = wrapper


@pytest.fixture
def patched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Patched]]:
    """All functions that all probes replace."""
    found: list[Patched] = []
    replace = Patches.replace

    def noting_replace(self: Patches, target: Any, name: str, attribute: Any) -> None:
        if (target.__name__, name) not in ADDED:
            original = inspect.getattr_static(target, name)
            found.append(Patched(target, name, original, attribute))
        replace(self, target, name, attribute)

    monkeypatch.setattr(Patches, "replace", noting_replace)
    poolhog.install(tmp_path / "trace")
    with sa.create_engine("sqlite://").connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    yield found
    poolhog.uninstall()


def function(found: Any) -> Any:
    """What a descriptor calls."""
    if isinstance(found, property):
        return found.fget
    return found.__func__ if isinstance(found, classmethod | staticmethod) else found


def look(found: Any) -> dict[str, Any]:
    """All that a library or application may look at."""
    called = function(found)
    code: CodeType = called.__code__
    parameters = code.co_argcount + code.co_kwonlyargcount
    stars = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return {
        "kind": (type(found), type(called)),
        "names": (called.__name__, called.__qualname__, called.__module__, called.__doc__),
        "code": (code.co_name, code.co_qualname, code.co_varnames[: parameters + stars]),
        "counts": (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        "defaults": (called.__defaults__, called.__kwdefaults__, called.__annotations__),
        "globals": called.__globals__["__name__"],
        "signature": inspect.signature(called),
        "unwrapped signature": inspect.signature(called, follow_wrapped=False),
        "argspec": inspect.getfullargspec(called),
        "coroutine": (inspect.iscoroutinefunction(called), asyncio.iscoroutinefunction(called)),
        "generator": (inspect.isgeneratorfunction(called), inspect.isasyncgenfunction(called)),
        "source": inspect.getsource(called),
    }


def test_every_function_of_every_probe_looks_like_the_original(patched: list[Patched]) -> None:
    names = {one.name for one in patched}
    expected = {
        "Session.rollback",
        "_ConnectionFairy._checkout",
        "_ConnectionFairy.driver_connection",
        "DefaultDialect.do_execute",
        "Pool._acquire",
        "AsyncConnection.wait",
        "ConnectionPool.getconn",
        "AsyncIOBackend.run_sync_in_worker_thread",
        "asyncio.to_thread",
        "Starlette.__call__",
        "fastapi.routing.run_endpoint_function",
        "Litestar.__call__",
        "ProxyHeadersMiddleware.__call__",
        "CallInfo.from_call",
    }
    assert not expected - names
    for one in patched:
        assert look(one.wrapper) == look(one.original), one.name
        assert is_unseen(function(one.wrapper).__code__), one.name


def test_no_variable_of_a_wrapper_is_seen_beside_its_parameters(patched: list[Patched]) -> None:
    for one in patched:
        code = function(one.wrapper).__code__
        assert code.co_nlocals == len(look(one.original)["code"][2]), one.name


def test_functions_are_pickled_by_their_names(patched: list[Patched]) -> None:
    for found in (sa.orm.Session.rollback, asyncio.to_thread, asyncpg.Connection.execute):
        assert pickle.loads(pickle.dumps(found)) is found


# What runs.


def logged(work: Callable[[], object]) -> list[str]:
    """Where the records of SQLAlchemy's loggers are from, and what they say."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    vars(handler)["emit"] = records.append
    loggers = [logging.getLogger(f"sqlalchemy.{name}") for name in ("engine", "pool")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        work()
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
    return [
        f"{r.pathname}:{r.lineno} {r.funcName} {re.sub('0x[0-9a-f]+|[0-9.]+s', '', r.getMessage())}"
        for r in records
    ]


def transactions() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT 1"))
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        connection.rollback()
    with sa.orm.Session(engine) as session:
        session.execute(sa.text("SELECT 1"))
        session.rollback()


def test_log_records_name_the_lines_of_the_library(tmp_path: Path) -> None:
    plain = logged(transactions)
    with poolhog.recording(tmp_path / "trace"):
        recorded = logged(transactions)
    assert any("COMMIT" in line for line in plain)
    assert recorded == plain


def warned_at() -> list[tuple[str, int]]:
    engine = sa.create_engine("sqlite://")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", SAWarning)
        with engine.connect() as connection:
            transaction = connection.begin()
            transaction.rollback()
            transaction.close()
            outer = connection.begin()
            connection.execute(sa.text("SELECT 1"))
            connection.invalidate()
            outer.rollback()
        with sa.orm.Session(engine) as session:
            nested = session.begin_nested()
            session.connection().connection.rollback()
            session.connection().get_transaction().close()  # type: ignore[union-attr]
            nested.rollback()
    return [(warning.filename, warning.lineno) for warning in found]


def test_warnings_name_the_lines_of_the_application(tmp_path: Path) -> None:
    plain = warned_at()
    with poolhog.recording(tmp_path / "trace"):
        recorded = warned_at()
    assert recorded == plain
    assert plain
    assert {name for name, _ in plain} == {__file__}


def frames(error: BaseException) -> list[tuple[str, int | None, str]]:
    return [(f.filename, f.lineno, f.name) for f in traceback.extract_tb(error.__traceback__)]


def failing_statement() -> list[tuple[str, int | None, str]]:
    engine = sa.create_engine("sqlite://")
    with pytest.raises(sa.exc.OperationalError) as raised, sa.orm.Session(engine) as session:
        session.execute(sa.text("SELECT nothing"))
    return frames(raised.value)


def failing_thread() -> list[tuple[str, int | None, str]]:
    def fail() -> None:
        raise LookupError

    async def main() -> None:
        await anyio.to_thread.run_sync(fail)

    with pytest.raises(LookupError) as raised:
        asyncio.run(main())
    with pytest.raises(LookupError) as raised_too:
        asyncio.run(asyncio.to_thread(fail))
    return frames(raised.value) + frames(raised_too.value)


def failing_endpoint() -> list[tuple[str, int | None, str]]:
    async def endpoint() -> None:
        raise LookupError

    async def fail(request: Any) -> None:
        raise LookupError

    app: Any = FastAPI()
    app.add_api_route("/fail", endpoint)
    mounted = Starlette(routes=[Route("/fail", fail)])
    app.mount("/mounted", mounted)
    found = []
    for path in ("/fail", "/mounted/fail"):

        async def get(path: str = path) -> None:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                await client.get(path)

        with pytest.raises(LookupError) as raised:
            asyncio.run(get())
        found += frames(raised.value)
    return found


@pytest.mark.parametrize("fail", [failing_statement, failing_thread, failing_endpoint])
def test_tracebacks_have_no_frame_of_poolhogs(
    tmp_path: Path, fail: Callable[[], list[tuple[str, int | None, str]]]
) -> None:
    plain = fail()
    with poolhog.recording(tmp_path / "trace"):
        recorded = fail()
    assert recorded == plain
