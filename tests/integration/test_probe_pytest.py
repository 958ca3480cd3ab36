"""The pytest probe: real runs of pytest, whose tests use a pool."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from _pytest import assertion, runner
from anyio._backends import _asyncio as anyio_tests
from recorded_app import DEADLINE_S

import poolhog
from poolhog import Request, Trace

PREAMBLE = """
import asyncio, contextvars, unittest
import pytest, sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool

engine = sa.create_engine("sqlite:///data", poolclass=QueuePool)
async_engine = create_async_engine("sqlite+aiosqlite:///data")

def query():
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))

async def async_query():
    async with async_engine.connect() as connection:
        await connection.execute(sa.text("SELECT 1"))
"""


def run(home: Path, tests: str, *options: str) -> Trace:
    """What ``poolhog run -- pytest`` records of these tests."""
    (home / "test_it.py").write_text(PREAMBLE + tests)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "poolhog", "run", "-o", "trace", "--"),
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=.", *options),
        ],
        cwd=home,
        env={name: value for name, value in os.environ.items() if "PYTEST" not in name},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S * 2,
    )
    assert ended.returncode in (0, 1, 2), ended.stdout + ended.stderr
    trace = poolhog.open_trace(home / "trace")
    assert [(p.dropped, p.errors, p.finished) for p in trace.processes] == [(0, 0, True)]
    return trace


def named(trace: Trace) -> dict[str, Request]:
    """The requests by the names of their tests."""
    return {request.path.removeprefix("test_it.py::"): request for request in trace.requests}


def checkouts(trace: Trace) -> dict[str, int]:
    """How many checkouts each test has; "" stands for none."""
    names = (checkout.request.path if checkout.request else "" for checkout in trace.checkouts)
    return dict(Counter(name.removeprefix("test_it.py::") for name in names))


def test_a_test_is_a_request_with_its_fixtures(tmp_path: Path) -> None:
    trace = run(
        tmp_path,
        """
query()

@pytest.fixture(scope="module")
def shared():
    query()
    yield
    query()

@pytest.fixture
def own():
    query()
    yield
    query()

def test_both(shared, own):
    query()

@pytest.mark.parametrize("number", [1, 2])
def test_numbers(number, shared):
    query()
""",
    )
    assert {(r.kind, r.method, r.route, r.status) for r in trace.requests} == {
        ("test", "", None, None)
    }
    assert trace.requests[0].name == "test_it.py::test_both"
    assert checkouts(trace) == {"": 1, "test_both": 4, "test_numbers[1]": 1, "test_numbers[2]": 2}
    for request in trace.requests:
        assert request.ended is not None
        assert request.error is None


def test_how_tests_end(tmp_path: Path) -> None:
    trace = run(
        tmp_path,
        """
query()

@pytest.fixture
def broken():
    raise ZeroDivisionError

@pytest.fixture
def broken_later():
    yield
    raise LookupError

def test_fails(broken_later):
    assert False

def test_teardown(broken_later):
    pass

def test_setup(broken):
    pass

def test_skips():
    pytest.skip("not today")

class TestCase(unittest.TestCase):
    def test_skips(self):
        self.skipTest("not today")

def test_interrupted():
    raise KeyboardInterrupt
""",
    )
    assert {name: request.error for name, request in named(trace).items()} == {
        "test_fails": "AssertionError",
        "test_teardown": "LookupError",
        "test_setup": "ZeroDivisionError",
        "test_skips": None,
        "TestCase::test_skips": None,
        "test_interrupted": "KeyboardInterrupt",
    }


def test_asynchronous_tests_know_which_they_are(tmp_path: Path) -> None:
    """Also those of one event loop, which began in the context of the first of them."""
    trace = run(
        tmp_path,
        """
@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="module")
async def shared(anyio_backend):
    await async_query()
    yield
    await async_query()

@pytest.mark.anyio
async def test_first(shared):
    await async_query()

@pytest.mark.anyio
async def test_second(shared):
    await asyncio.create_task(async_query())

@pytest.mark.anyio
async def test_last(shared):
    await async_query()
""",
    )
    assert checkouts(trace) == {"test_first": 2, "test_second": 1, "test_last": 2}


def test_a_context_that_tests_share(tmp_path: Path) -> None:
    """That is how pytest-asyncio and unittest run fixtures and tests."""
    trace = run(
        tmp_path,
        """
class TestCase(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        await async_query()

    async def test_one(self):
        await async_query()

    async def test_two(self):
        await async_query()

@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner

@pytest.fixture(scope="module")
def shared(runner):
    context = contextvars.copy_context()
    runner.run(async_query(), context=context)
    yield
    runner.run(async_query(), context=context)

def test_first(runner, shared):
    runner.run(async_query(), context=contextvars.copy_context())

def test_last(runner, shared):
    runner.run(async_query())
""",
    )
    assert checkouts(trace) == {
        "TestCase::test_one": 2,
        "TestCase::test_two": 2,
        "test_first": 2,
        "test_last": 2,
    }


def test_a_request_inside_a_test_is_a_request(tmp_path: Path) -> None:
    trace = run(
        tmp_path,
        """
from fastapi import FastAPI
from fastapi.testclient import TestClient

app = FastAPI()

@app.get("/notes/{note_id}")
def note(note_id: int):
    query()

def test_note():
    query()
    assert TestClient(app).get("/notes/7").status_code == 200
    query()
""",
    )
    names = [checkout.request.name for checkout in trace.checkouts if checkout.request]
    assert names == ["test_it.py::test_note", "GET /notes/{note_id}", "test_it.py::test_note"]


@pytest.mark.parametrize("option", ["--assert=plain", "-pno:anyio"])
def test_the_options_of_pytest_do_not_matter(option: str, tmp_path: Path) -> None:
    trace = run(tmp_path, "def test_one(): query()", option)
    assert checkouts(trace) == {"test_one": 1}


def test_nothing_is_left_in_pytest(tmp_path: Path) -> None:
    def patched() -> tuple[object, ...]:
        return (
            *(runner.runtestprotocol, runner.CallInfo.from_call, assertion.install_importhook),
            *(asyncio.Runner.run, anyio_tests.TestRunner._call_in_runner_task),
        )

    before = patched()
    poolhog.install(tmp_path / "trace")
    try:
        assert all(now is not then for now, then in zip(patched(), before, strict=True))
    finally:
        poolhog.uninstall()
    assert patched() == before
