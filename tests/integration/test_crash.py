"""A process that ends badly leaves a trace that says how it stood."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import recorded_app
from recorded_app import DEADLINE_S, eventually

import poolhog
from poolhog import Outcome, TraceError
from poolhog.analysis.accounting import State
from poolhog.analysis.shown import shown_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.lab.postgres import LabDatabase


class Service:
    """A process of ``recorded_app``, and its trace."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        command = [sys.executable, recorded_app.__file__, str(directory), url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def get(self, path: str) -> int:
        """The status of the answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, DEADLINE_S)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status

    def ask(self, path: str) -> socket.socket:
        """Ask, and do not wait for the answer."""
        connection = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        return connection

    def outcomes(self) -> Counter[Outcome]:
        try:
            trace = poolhog.open_trace(self.directory)
        except TraceError:
            return Counter()
        return Counter(checkout.outcome for checkout in trace.checkouts)

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def service(database: LabDatabase, tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "trace", database.url)
    with service.process:
        yield service
        service.process.kill()


def test_a_burst_can_be_read_while_it_hangs_and_after_a_kill(service: Service) -> None:
    expected = Counter({Outcome.OPEN: 2, Outcome.WAITING: 3, Outcome.RETURNED: 1})
    with ExitStack() as stack:
        assert service.get("/sleep/0") == 200
        for _ in range(5):
            stack.enter_context(service.ask("/sleep/3600"))
        eventually(lambda: service.outcomes() == expected)
        # The two that are open have their statement behind them, and were seen asleep.
        eventually(lambda: len(idle(service.directory)) == 2)
        assert service.end(signal.SIGKILL) == -signal.SIGKILL

    assert service.outcomes() == expected
    trace = poolhog.open_trace(service.directory)
    (process,) = trace.processes
    assert not process.finished
    assert process.pid == service.process.pid
    assert process.parent_pid == os.getpid()
    assert (process.dropped, process.errors) == (0, 0)
    hung = [checkout for checkout in trace.checkouts if checkout.outcome is not Outcome.RETURNED]
    for checkout in hung:
        assert checkout.request is not None
        assert checkout.request.name == "GET /sleep/{seconds}"
        assert checkout.request.ended is None
        *_, last = shown_of(trace)[checkout.id].spans
        assert last.state is (State.PARKED if checkout.granted else State.WAITING)
        assert last.ended == pytest.approx(trace.until, abs=1e-9)


def idle(directory: Path) -> list[poolhog.Checkout]:
    """Open checkouts of which no operation is in flight, and whose owners were looked at since."""
    return [
        checkout
        for checkout in poolhog.open_trace(directory).checkouts
        if checkout.outcome is Outcome.OPEN
        and checkout.operations
        and checkout.operations[-1].kind == "statement"
        and checkout.operations[-1].ended is not None
        and checkout.samples
        and checkout.samples[-1].started > checkout.operations[-1].ended
    ]


def test_a_service_that_is_terminated_leaves_a_trace(service: Service) -> None:
    assert service.get("/healthz") == 200
    assert service.get("/sleep/0.01") == 200
    eventually(lambda: service.outcomes() == Counter({Outcome.RETURNED: 1}))
    assert service.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    trace = poolhog.open_trace(service.directory)
    # The first was answered before there was a pool.
    assert [(r.name, r.status) for r in trace.requests] == [("GET /sleep/{seconds}", 200)]
    (checkout,) = trace.checkouts
    assert checkout.request is trace.requests[0]
    assert trace.processes[0].versions.keys() >= {"sqlalchemy", "fastapi", "starlette", "uvicorn"}


def test_a_trace_whose_log_was_not_copied_with_it_says_so_or_is_read(
    service: Service, tmp_path: Path
) -> None:
    """The newest facts are in the log beside the file until the process ends."""
    assert service.get("/sleep/0") == 200
    eventually(lambda: service.outcomes() == Counter({Outcome.RETURNED: 1}))
    (file,) = service.directory.glob("*.sqlite")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / file.name).write_bytes(file.read_bytes())
    with pytest.raises(TraceError, match="ended before it recorded"):
        poolhog.open_trace(copy)
    log = Path(f"{file}-wal")
    (copy / log.name).write_bytes(log.read_bytes())
    assert len(poolhog.open_trace(copy).checkouts) == 1
