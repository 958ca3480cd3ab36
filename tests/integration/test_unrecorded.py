"""A pool that no probe records is told of, beside what is recorded and alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import poolhog
from poolhog.probes.unrecorded import POOLS

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.lab.postgres import LabDatabase

USING = """
import sys
from psycopg2.pool import ThreadedConnectionPool

pool = ThreadedConnectionPool(1, 2, sys.argv[1])
pool.putconn(pool.getconn())
pool.closeall()
"""
BESIDE = """
import sqlalchemy as sa

with sa.create_engine("sqlite://").connect() as connection:
    connection.execute(sa.text("SELECT 1"))
"""
IMPORTING = "import psycopg2.pool\n"


def run(tmp_path: Path, program: str, *arguments: str) -> Path:
    trace = tmp_path / "trace"
    command = [sys.executable, "-c", program, *arguments]
    subprocess.run(
        [sys.executable, "-m", "poolhog", "run", "-o", str(trace), "--", *command],
        check=True,
        capture_output=True,
    )
    return trace


def report(trace: Path, *options: str, verb: str = "report") -> tuple[int, str]:
    found = subprocess.run(
        [sys.executable, "-m", "poolhog", verb, str(trace), *options],
        check=False,
        capture_output=True,
        text=True,
    )
    return found.returncode, found.stdout + found.stderr


def test_a_pool_that_is_alone_is_no_application_that_has_yet_to_work(
    tmp_path: Path, database: LabDatabase
) -> None:
    trace = run(tmp_path, USING, database.url)
    (process,) = poolhog.open_trace(trace).processes
    assert process.unrecorded == ("psycopg2's pool",)
    assert (process.finished, process.errors) == (True, 0)
    status, told = report(trace)
    assert status == 0
    assert told.startswith("psycopg2's pool is not recorded: ")
    assert "ask again" not in told
    (one,) = json.loads(report(trace, "--json")[1])["processes"]
    assert one["unrecorded"] == ["psycopg2's pool"]
    status, told = report(trace, verb="whatif")
    assert status != 0
    assert "psycopg2's pool is not recorded" in told


def test_a_pool_beside_a_recorded_one_is_told_of(tmp_path: Path, database: LabDatabase) -> None:
    trace = run(tmp_path, USING + BESIDE, database.url)
    _, told = report(trace)
    assert told.startswith("psycopg2's pool is not recorded: ")
    assert "1 checkout" in told


def test_a_library_that_is_imported_is_no_pool(tmp_path: Path) -> None:
    trace = run(tmp_path, IMPORTING + BESIDE)
    (process,) = poolhog.open_trace(trace).processes
    assert process.unrecorded == ()
    assert "not recorded" not in report(trace)[1]


def pool_of(path: Path, name: str, kind: str, method: str | None) -> None:
    """A module that has the pool, in place of the library that it is of."""
    folder = path
    *packages, module = name.split(".")
    for package in packages:
        folder = folder / package
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
    text = f"class {kind}:\n    settings_dict = {{}}\n    def {method or 'x'}(self): pass\n"
    (folder / f"{module}.py").write_text(text)


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.module)
def test_each_of_the_list_is_seen_when_it_is_made(
    tmp_path: Path, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of these libraries are not installed here: a class of the name does."""
    pool_of(tmp_path, pool.module, pool.kind, pool.method)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"from {pool.module} import {pool.kind}\n"
        f"found = {pool.kind}()\n"
        f"getattr(found, {pool.method or 'x'!r})()\n"
    )
    trace = run(tmp_path, program)
    (process,) = poolhog.open_trace(trace).processes
    assert (process.unrecorded, process.errors) == ((pool.name,), 0)
