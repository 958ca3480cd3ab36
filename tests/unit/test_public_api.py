"""The public face: complete, light to import, and gone without a trace after uninstall()."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import asyncpg.connection
import asyncpg.cursor
import asyncpg.pool
import asyncpg.prepared_stmt
import asyncpg.transaction
import fastapi.routing
import psycopg
import psycopg_pool
import pytest
import sqlalchemy as sa
import sqlalchemy.engine.cursor
import sqlalchemy.engine.default
import sqlalchemy.ext.asyncio
import sqlalchemy.orm
import sqlalchemy.pool
import sqlalchemy.pool.base
import starlette.applications

import poolhog
from poolhog import errors, model

if TYPE_CHECKING:
    from collections.abc import Iterator

PATCHED: tuple[Any, ...] = (
    anyio.to_thread,
    asyncio,
    asyncpg.connection.Connection,
    asyncpg.cursor.BaseCursor,
    asyncpg.pool.Pool,
    asyncpg.pool.PoolAcquireContext,
    asyncpg.pool.PoolConnectionHolder,
    asyncpg.prepared_stmt.PreparedStatement,
    asyncpg.transaction.Transaction,
    fastapi.routing,
    psycopg.AsyncConnection,
    psycopg.Connection,
    psycopg._connection_base.BaseConnection,
    psycopg_pool.AsyncConnectionPool,
    psycopg_pool.AsyncNullConnectionPool,
    psycopg_pool.ConnectionPool,
    psycopg_pool.NullConnectionPool,
    sa.engine.Connection,
    sa.engine.Engine,
    sa.engine.Transaction,
    sa.engine.cursor.BufferedRowCursorFetchStrategy,
    sa.engine.default.DefaultDialect,
    sa.engine.default.DefaultExecutionContext,
    sa.ext.asyncio.engine.AsyncConnection,
    sa.ext.asyncio.engine.AsyncTransaction,
    sa.ext.asyncio.session.AsyncSession,
    sa.ext.asyncio.session.AsyncSessionTransaction,
    sa.ext.asyncio.session._AsyncSessionContextManager,
    sa.orm.Session,
    sa.orm.SessionTransaction,
    sa.pool.Pool,
    sa.pool.base,
    sa.pool.base._ConnectionFairy,
    sa.pool.base._ConnectionRecord,
    starlette.applications.Starlette,
)
"""Everything that a probe puts something into."""


@pytest.fixture(autouse=True)
def _uninstalled() -> Iterator[None]:
    yield
    poolhog.uninstall()


def python(code: str, *arguments: object) -> Any:
    """The JSON that a Python process with this code prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def attributes() -> list[dict[str, Any]]:
    """What every patched class and module has, to be compared by identity."""
    return [dict(vars(target)) for target in PATCHED]


def changed(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, set[str]]:
    """The names of each target that are new, gone, or something else now."""
    missing = object()
    found = {
        getattr(target, "__name__", str(target)): {
            name for name in {**old, **new} if old.get(name, missing) is not new.get(name, missing)
        }
        for target, old, new in zip(PATCHED, before, after, strict=True)
    }
    return {name: names for name, names in found.items() if names}


def listeners() -> list[int]:
    """How many class-level listeners each event of SQLAlchemy's has."""
    return [
        len(getattr(target.dispatch, name)._clslevel.get(target, ()))
        for target in (sa.pool.Pool, sa.engine.Engine)
        for name in target.dispatch._event_names
    ]


def query_sqlite(directory: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{directory / 'data'}", poolclass=sa.pool.QueuePool)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    engine.dispose()


def test_every_public_name_is_exported_and_importable() -> None:
    namespace: dict[str, Any] = {}
    exec("from poolhog import *", namespace)
    assert sorted(poolhog.__all__) == list(poolhog.__all__)
    assert set(poolhog.__all__) <= set(namespace)
    public = {
        name
        for module in (model, errors)
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }
    public |= {
        name
        for name, value in vars(poolhog).items()
        if inspect.isfunction(value) or inspect.isclass(value)
        if value.__module__ == "poolhog" and not name.startswith("_")
    }
    assert public | {"open_trace"} == set(poolhog.__all__)
    for name in poolhog.__all__:
        assert inspect.getdoc(getattr(poolhog, name)), f"{name} has no docstring"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Poolhog'"):
        poolhog.Poolhog  # noqa: B018


def test_every_module_says_in_its_first_line_what_it_is() -> None:
    for package in ("recording", "probes", "trace"):
        folder = str(Path(poolhog.__file__).parent / package)
        for found in pkgutil.walk_packages([folder], f"poolhog.{package}."):
            if not found.name.endswith("sitecustomize"):
                assert importlib.import_module(found.name).__doc__


def test_a_recorded_process_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    code = """
import sys
before = set(sys.modules)
import poolhog, json
poolhog.install(sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    loaded = python(code, tmp_path / "trace")
    tops = {name.partition(".")[0] for name in loaded}
    assert tops - {"poolhog"} <= sys.stdlib_module_names
    ours = {name.split(".")[1] for name in loaded if name.startswith("poolhog.")}
    assert ours == {"checksum", "errors", "layout", "model", "probes", "recording", "texts"}
    assert not (tmp_path / "trace").exists()


def test_recording_itself_imports_nothing_but_the_standard_library(tmp_path: Path) -> None:
    code = """
import sys
before = set(sys.modules)
import poolhog, json, time
poolhog.install(sys.argv[1])
from poolhog.model import Outcome
from poolhog.recording.pools import PoolRecord
recorder = poolhog._installation.recorder
limits = dict(size=1, max_overflow=0, timeout_s=1.0)
pool = recorder.pool(PoolRecord(library="made", kind="Pool", name="main", **limits))
checkout = recorder.ask(pool)
recorder.grant(checkout, 1)
time.sleep(0.05)
recorder.give_up(recorder.ask(pool), Outcome.TIMEOUT, TimeoutError())
recorder.end(checkout)
poolhog.uninstall()
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    loaded = python(code, tmp_path / "trace")
    assert len(poolhog.open_trace(tmp_path / "trace").checkouts) == 2
    tops = {name.partition(".")[0] for name in loaded}
    assert tops.isdisjoint(["numpy", "typer", "rich", "jinja2"])
    assert tops - {"poolhog"} <= sys.stdlib_module_names


def test_a_library_that_is_imported_later_is_recorded(tmp_path: Path) -> None:
    code = """
import json, sys
import poolhog
poolhog.install(sys.argv[1])
assert "sqlalchemy" not in sys.modules
from sqlalchemy.orm import Session
import sqlalchemy as sa
engine = sa.create_engine("sqlite://", poolclass=sa.pool.QueuePool)
with Session(engine) as session:
    session.execute(sa.text("SELECT 1"))
poolhog.uninstall()
import asyncpg, fastapi
(checkout,) = poolhog.open_trace(sys.argv[1]).checkouts
print(json.dumps([operation.kind for operation in checkout.operations]))
"""
    kinds = python(code, tmp_path / "trace")
    assert kinds == ["connect", "begin", "statement", "rollback", "reset"]


def test_a_process_that_touches_no_pool_leaves_nothing(tmp_path: Path) -> None:
    code = """
import json, os, sys
import poolhog, sqlalchemy, fastapi, asyncpg
poolhog.install(sys.argv[1])
sqlalchemy.create_engine("sqlite://")
fastapi.FastAPI()
print(json.dumps(os.path.exists(sys.argv[1])))
"""
    assert python(code, tmp_path / "trace") is False
    assert not (tmp_path / "trace").exists()


def test_a_process_that_ends_finishes_its_trace(tmp_path: Path) -> None:
    code = """
import sys, poolhog, sqlalchemy as sa
poolhog.install(sys.argv[1])
sa.create_engine("sqlite://", poolclass=sa.pool.QueuePool).connect().close()
print("null")
"""
    python(code, tmp_path / "trace")
    trace = poolhog.open_trace(tmp_path / "trace")
    assert trace.processes[0].finished
    assert len(trace.checkouts) == 1


def test_installing_twice_is_installing_once(tmp_path: Path) -> None:
    first = poolhog.install(tmp_path / "first")
    once = attributes()
    counted = listeners()
    assert poolhog.install(tmp_path / "second") == first == tmp_path / "first"
    assert changed(once, attributes()) == {}
    assert listeners() == counted
    query_sqlite(tmp_path)
    poolhog.uninstall()
    assert len(poolhog.open_trace(first).checkouts) == 1
    assert not (tmp_path / "second").exists()


def test_uninstalling_leaves_no_patch_and_no_listener(tmp_path: Path) -> None:
    importers = list(sys.meta_path)
    before, counted = attributes(), listeners()
    poolhog.install(tmp_path / "trace")
    assert set(changed(before, attributes())) >= {"Pool", "Connection", "Starlette", "Session"}
    query_sqlite(tmp_path)
    poolhog.uninstall()
    assert changed(before, attributes()) == {}
    assert listeners() == counted
    assert sys.meta_path == importers


def test_uninstalling_before_anything_was_imported_leaves_no_lookout(tmp_path: Path) -> None:
    code = """
import json, sys, poolhog
before = list(sys.meta_path)
poolhog.install(sys.argv[1])
watching = len(sys.meta_path)
poolhog.uninstall()
print(json.dumps([watching - len(before), sys.meta_path == before]))
"""
    watching, as_before = python(code, tmp_path / "trace")
    assert watching > 0
    assert as_before


def test_uninstalling_without_installing_does_nothing() -> None:
    before = attributes()
    poolhog.uninstall()
    assert changed(before, attributes()) == {}


def test_reinstalling_records_again_and_not_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        directory = poolhog.install(tmp_path / name)
        query_sqlite(tmp_path)
        poolhog.uninstall()
        query_sqlite(tmp_path)
        (checkout,) = poolhog.open_trace(directory).checkouts
        assert len(checkout.operations) == 5


def test_a_pool_that_lives_on_keeps_its_connections_apart_after_a_reinstall(
    tmp_path: Path,
) -> None:
    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'data'}", poolclass=sa.pool.QueuePool, pool_size=2
    )
    poolhog.install(tmp_path / "one")
    with engine.connect(), engine.connect():
        pass
    poolhog.uninstall()
    directory = poolhog.install(tmp_path / "two")
    with engine.connect(), engine.connect(), engine.connect():
        pass
    poolhog.uninstall()
    engine.dispose()
    numbers = [checkout.connection for checkout in poolhog.open_trace(directory).checkouts]
    assert sorted(number for number in numbers if number) == [1, 2, 3]


def test_uninstalling_leaves_the_applications_own_listeners_at_work(tmp_path: Path) -> None:
    seen: list[str] = []

    def listen(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    poolhog.install(tmp_path / "trace")
    sa.event.listen(sa.engine.Engine, "before_cursor_execute", listen)
    poolhog.uninstall()
    try:
        query_sqlite(tmp_path)
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", listen)
        sa.engine.Engine._has_events = False
    assert seen == ["SELECT 1"]


def test_the_default_directory_is_named_after_the_time_and_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = poolhog.install()
    assert directory.is_absolute()
    assert directory.parent == tmp_path / "poolhog-traces"
    assert not directory.parent.exists()
    query_sqlite(tmp_path)
    poolhog.uninstall()
    assert len(poolhog.open_trace(directory).checkouts) == 1


def test_a_library_that_is_not_as_expected_does_not_stop_the_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(sa.engine.cursor, "BufferedRowCursorFetchStrategy")
    before, counted = attributes(), listeners()
    poolhog.install(tmp_path / "trace")
    query_sqlite(tmp_path)
    assert "poolhog failed to record a fact and goes on" in caplog.text
    poolhog.uninstall()
    assert changed(before, attributes()) == {}
    assert listeners() == counted
