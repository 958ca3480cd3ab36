"""Every verb reads traces of what was still going on, in a process that runs or was killed."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from recorders import pool_record, request_record
from traces import MS, site
from verbs import poolhog

from poolhog.analysis.report import read_report
from poolhog.analysis.thresholds import Thresholds
from poolhog.analysis.usage import Statements
from poolhog.model import Activity, OperationKind, Outcome
from poolhog.recording.marker import new_marker
from poolhog.recording.recorder import Recorder
from poolhog.recording.records import CheckoutRecord, OperationRecord, SampleRecord
from poolhog.recording.trace_file import TraceFile
from poolhog.trace.reader import open_trace, stream_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from poolhog.recording.pools import PoolRecord
    from poolhog.recording.record import Record
    from poolhog.recording.requests import RequestRecord
    from poolhog.recording.sites import SiteRecord

SQL = "SELECT notes.id FROM notes WHERE notes.id = $1"
OF_WAIT = (OperationKind.CONNECT, OperationKind.PING)


class Draft:
    """A trace that is put together fact by fact, a second after its process began."""

    def __init__(self, directory: Path) -> None:
        self.recorder = Recorder(directory / "trace")
        self.recorder.journal.began_ns -= 5_000 * MS
        self.at = self.recorder.journal.began_ns + 1_000 * MS
        self.site = site(self.recorder, directory / "app.py", "await the_tax_office(form)")
        self.pool: PoolRecord = pool_record()
        self.facts: list[Record] = []

    def request(self, *, is_over: bool) -> RequestRecord:
        request = request_record(route="/notes/{note_id}")
        request.started_ns = self.at
        if is_over:
            request.responding_ns = request.responded_ns = request.ended_ns = self.at + 900 * MS
            request.status = 200
        self.facts.append(request)
        return request

    def checkout(self, *, is_granted: bool = True, is_over: bool = False) -> CheckoutRecord:
        """One of a request of its own."""
        request = self.request(is_over=is_over)
        checkout = CheckoutRecord(self.pool, request, f"Task-{len(self.facts)}", self.site)
        checkout.asked_ns = self.at + 10 * MS
        if is_granted:
            checkout.granted_ns = self.at + 20 * MS
            checkout.connection, checkout.outcome = len(self.facts), Outcome.OPEN
        if is_over:
            checkout.returned_ns, checkout.outcome = self.at + 800 * MS, Outcome.RETURNED
        self.facts.append(checkout)
        return checkout

    def operation(
        self,
        checkout: CheckoutRecord,
        kind: OperationKind,
        *,
        where: SiteRecord | None = None,
        sql: str | None = None,
        is_over: bool = False,
    ) -> None:
        operation = OperationRecord(checkout, kind, sql, where)
        since = checkout.granted_ns or checkout.asked_ns
        operation.started_ns = since + (1 + 10 * len(checkout.operations)) * MS
        if is_over:
            operation.ended_ns = operation.started_ns + 5 * MS
            checkout.busy_us += 5_000
        checkout.operations.append(operation)

    def sample(self, checkout: CheckoutRecord, activity: Activity) -> SampleRecord:
        sample = SampleRecord(checkout, activity, self.site, self.at + 200 * MS)
        self.facts.append(sample)
        return sample

    def write(self) -> TraceFile:
        file = TraceFile(self.recorder.journal, new_marker(self.recorder.directory).file)
        file.write([self.pool, *self.recorder.journal.learned, *self.facts])
        return file


def in_flight(draft: Draft, *kinds: OperationKind) -> None:
    """With a site and without, with a statement and without, alone or after others."""
    every = itertools.product(kinds, (None, draft.site), (None, SQL))
    for number, (kind, where, sql) in enumerate(every):
        checkout = draft.checkout(is_granted=kind not in OF_WAIT)
        if number % 2:
            draft.operation(checkout, kind, sql=sql, is_over=True)
            draft.operation(checkout, kind, where=draft.site, is_over=True)
        draft.operation(checkout, kind, where=where, sql=sql)


def waiting(draft: Draft) -> None:
    draft.checkout(is_granted=False)


def idle(draft: Draft) -> None:
    """A connection with which nothing was done yet, and one that was given back like that."""
    draft.checkout()
    draft.checkout(is_over=True)


def sampled(draft: Draft) -> None:
    """Owners were seen, and one is still so."""
    for activity in Activity:
        over, checkout = draft.checkout(is_over=True), draft.checkout()
        for one in (over, checkout):
            draft.operation(one, OperationKind.STATEMENT, sql=SQL, is_over=True)
        draft.sample(over, activity).ended_ns = draft.at + 600 * MS
        draft.sample(checkout, activity)


def staged(draft: Draft) -> None:
    """Requests in the middle of each of their stages, with a connection."""
    for name in (
        "dependencies",
        "endpoint",
        "serialization",
        "exit stack",
        "background",
        "session",
    ):
        checkout = draft.checkout()
        draft.operation(checkout, OperationKind.STATEMENT, sql=SQL, is_over=True)
        assert checkout.request is not None
        stage = checkout.request.begin_stage(name)
        stage.started_ns = draft.at + 1 * MS
        stage.site = draft.site if name == "exit stack" else None
        if name == "background":
            checkout.request.responding_ns = checkout.request.responded_ns = draft.at + 2 * MS


def unowned(draft: Draft) -> None:
    """Work of no request."""
    for is_granted in (True, False):
        checkout = CheckoutRecord(draft.pool, None, "MainThread", None)
        checkout.asked_ns = draft.at
        if is_granted:
            checkout.granted_ns = draft.at
            checkout.connection, checkout.outcome = 1, Outcome.OPEN
            draft.operation(checkout, OperationKind.STATEMENT)
        draft.facts.append(checkout)


def unasked(draft: Draft) -> None:
    """A request that asked for nothing, and goes on."""
    draft.request(is_over=False)


def nothing(_: Draft) -> None:
    """Only a pool."""


def everything(draft: Draft) -> None:
    in_flight(draft, *OperationKind)
    for part in (waiting, idle, sampled, staged, unowned, unasked):
        part(draft)


def opening(draft: Draft) -> None:
    in_flight(draft, *OF_WAIT)


def using(draft: Draft) -> None:
    in_flight(draft, OperationKind.BEGIN, OperationKind.STATEMENT, OperationKind.FETCH)


def ending(draft: Draft) -> None:
    in_flight(draft, OperationKind.COMMIT, OperationKind.ROLLBACK, OperationKind.RESET)


PARTS: dict[str, Callable[[Draft], None]] = {
    part.__name__: part
    for part in (
        *(opening, using, ending, waiting, idle, sampled, staged, unowned, unasked, nothing),
    )
}
UNASKED = ("unasked", "nothing")
"""In these, nobody asked for a connection: some verbs have nothing to work on, and say so."""

NEEDS_CHECKOUTS = 2
"""The exit code of a verb that has nothing to work on."""

VERBS: dict[str, tuple[str, ...]] = {
    "report": ("report", "TRACE"),
    "report --html": ("report", "TRACE", "--html", "FILE"),
    "report --json": ("report", "TRACE", "--json"),
    "report --blame": ("report", "TRACE", "--blame"),
    "log": ("log", "TRACE"),
    "log --json": ("log", "TRACE", "--json"),
    "timeline": ("timeline", "TRACE"),
    "timeline --json": ("timeline", "TRACE", "--json"),
    "timeline --svg": ("timeline", "TRACE", "--svg", "FILE"),
    "dump": ("dump", "TRACE"),
    "dump --json": ("dump", "TRACE", "--json"),
    **{f"sql {name}": ("sql", "TRACE", name) for name in ("held", "statements")},
    "compare": ("compare", "TRACE", "TRACE"),
    "compare --html": ("compare", "TRACE", "TRACE", "--html", "FILE"),
    "compare --json": ("compare", "TRACE", "TRACE", "--json"),
    "whatif": ("whatif", "TRACE", "--pool-size", "9"),
    "whatif --json": ("whatif", "TRACE", "--json"),
    **{
        f"export {name}": ("export", "TRACE", "--format", name, "-o", "FILE")
        for name in ("speedscope", "chrome-trace", "csv")
    },
}


@pytest.fixture(scope="module", params=[*PARTS, "running", "killed"])
def trace(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The trace's name and directory."""
    name = request.param
    directory = tmp_path_factory.mktemp("run")
    if name in PARTS:
        draft = Draft(directory)
        PARTS[name](draft)
        draft.write().abandon()
        yield name, directory / "trace"
        return
    writer = subprocess.Popen([sys.executable, __file__, directory], stdout=subprocess.PIPE)
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        if name == "killed":
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        assert [file for file in (directory / "trace").iterdir() if file.name.endswith("-wal")]
        yield name, directory / "trace"
        writer.kill()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_it(
    verb: str, trace: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, directory = trace
    words = [{"TRACE": directory, "FILE": tmp_path / "out"}.get(w, w) for w in VERBS[verb]]
    fails = name in UNASKED and verb.startswith(("whatif", "export", "log", "timeline"))
    poolhog(*words, code=NEEDS_CHECKOUTS if fails else 0)
    told = capsys.readouterr()
    if fails:
        assert told.err.count("\n") == 1
        return
    assert told.out or told.err
    assert (tmp_path / "out").exists() == ("FILE" in VERBS[verb])
    if "--json" in verb:
        json.loads(told.out)


def test_what_is_in_flight_counts_as_sent_and_takes_no_time_yet(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    everything(draft)
    draft.write().abandon()
    in_trace = [o for c in open_trace(tmp_path / "trace").checkouts for o in c.operations]
    for kind in OperationKind:
        statements = Statements()
        read_report(stream_trace(tmp_path / "trace"), Thresholds(), companions=[statements])
        for sql in (None, SQL):
            found = [use for use in statements.uses() if (use.kind, use.statement) == (kind, sql)]
            mine = [o for o in in_trace if (o.kind, o.statement) == (kind, sql)]
            assert mine
            if found:
                (use,) = found
                assert use.count == len(mine)
                assert len(use.durations) == sum(o.ended is not None for o in mine)
            else:
                assert sql is None
                assert kind in (OperationKind.BEGIN, OperationKind.RESET)


def _hold(directory: Path) -> None:
    """Write everything, and keep the file open."""
    draft = Draft(directory)
    everything(draft)
    file = draft.write()
    print("written", flush=True)
    signal.pause()
    file.abandon()


if __name__ == "__main__":
    from pathlib import Path

    _hold(Path(sys.argv[1]))
