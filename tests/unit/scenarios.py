"""Records of processes that did whatever a test draws, such as no application would in order."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from recorders import pool_record

from poolhog.model import Activity, Cause, OperationKind, Outcome
from poolhog.recording.marker import new_marker
from poolhog.recording.recorder import Recorder
from poolhog.recording.records import MOST_IN_ROW, CheckoutRecord, OperationRecord, SampleRecord
from poolhog.recording.requests import RequestRecord
from poolhog.recording.trace_file import TraceFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from poolhog.recording.pools import PoolRecord
    from poolhog.recording.record import Record
    from poolhog.recording.sites import SiteRecord

SELECT, UPDATE = "SELECT data FROM notes", "UPDATE notes SET data = $1"
ENDS = (
    (OperationKind.COMMIT, None, None),
    (OperationKind.ROLLBACK, None, None),
    (OperationKind.ROLLBACK, None, Cause.ASKED),
    (OperationKind.RESET, "ROLLBACK", None),
    (OperationKind.RESET, None, None),
)
REFUSALS = (Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.ERROR, Outcome.WAITING)
LENT = (Outcome.RETURNED, Outcome.RETURNED, Outcome.COLLECTED, Outcome.DETACHED, Outcome.OPEN)
OWNERS = ("Task-1", "Task-2", "MainThread")

# Hypothesis takes longer to make a strategy than to draw from it: these are made once.
BOOLEANS, ONE_IN_4, ONE_IN_6, ONE_IN_10 = st.booleans(), *(st.integers(0, n) for n in (3, 5, 9))
FIRST_KIND = st.sampled_from((OperationKind.CONNECT, OperationKind.PING))
REFUSAL, LENT_OUTCOME, END, OWNER = map(st.sampled_from, (REFUSALS, LENT, ENDS, OWNERS))
ROUTE, STATUS = st.sampled_from((None, "", "/notes/{note_id}")), st.sampled_from((None, 200, 500))
STATEMENTS = st.lists(st.sampled_from((SELECT, UPDATE)), max_size=2)
ACTIVITY = st.sampled_from(tuple(Activity))


@cache
def micros(least: int, most: int) -> st.SearchStrategy[int]:
    """Some; often those at which something becomes something else."""
    edges = [edge for edge in (0, 999, 1000, 1001, 50_000) if least <= edge <= most]
    numbers = st.integers(least, most)
    return numbers | st.sampled_from(edges) if edges else numbers


class Scenario:
    """Records of a process that did whatever is drawn, on a clock of microseconds of its own."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any], directory: Path) -> None:
        self.draw = draw
        self.recorder = Recorder(directory)
        self.began_ns = self.recorder.journal.began_ns = 1_000_000
        self.pools = [pool_record("one"), pool_record("two")]
        self.sites = [self.here(), self.elsewhere(), None]
        self.requests = [None, *(self.request(number) for number in range(3))]
        self.pool, self.site = st.sampled_from(self.pools), st.sampled_from(self.sites)
        self.any_request = st.sampled_from(self.requests)

    def here(self) -> SiteRecord | None:
        return self.recorder.sites.here(sys._getframe())

    def elsewhere(self) -> SiteRecord | None:
        return self.recorder.sites.here(sys._getframe())

    def microseconds(self, most: int, least: int = 0) -> int:
        found: int = self.draw(micros(least, most))
        return found

    def at(self, microseconds: int) -> int:
        return self.began_ns + microseconds * 1000

    def request(self, number: int) -> RequestRecord:
        request = RequestRecord("http", "GET", f"/notes/{number}")
        request.route = self.draw(ROUTE)
        request.status = self.draw(STATUS)
        started = self.microseconds(20_000)
        responding = started + self.microseconds(150_000)
        request.started_ns = self.at(started)
        if self.draw(BOOLEANS):
            request.responding_ns = self.at(responding)
        if self.draw(BOOLEANS):
            request.responded_ns = self.at(responding + self.microseconds(1000))
        if self.draw(BOOLEANS):
            request.ended_ns = self.at(responding + 1000)
        return request

    def checkout(self) -> Iterator[Record]:
        draw = self.draw
        pool: PoolRecord = draw(self.pool)
        request = draw(self.any_request)
        owner, site = draw(OWNER), draw(self.site)
        checkout = CheckoutRecord(pool, request, owner, site)
        asked = self.microseconds(200_000)
        checkout.asked_ns = self.at(asked)
        at = asked
        if not draw(ONE_IN_4):
            kind = draw(FIRST_KIND)
            at = self.operate(checkout, kind, at)
        at += self.microseconds(2000)
        if not draw(ONE_IN_6):
            checkout.outcome = draw(REFUSAL)
            if checkout.outcome is not Outcome.WAITING:
                checkout.gave_up_ns = self.at(at)
            yield checkout
            return
        checkout.granted_ns = self.at(at)
        checkout.connection = 1
        ended = self.use(checkout, at)
        checkout.outcome = draw(LENT_OUTCOME)
        if checkout.outcome is not Outcome.OPEN:
            checkout.returned_ns = self.at(ended)
        yield checkout
        yield from self.samples(checkout, at, ended)

    def use(self, checkout: CheckoutRecord, at: int) -> int:
        at = self.operate(checkout, OperationKind.BEGIN, at, longest=0)
        statements = self.draw(STATEMENTS)
        times = 1 if self.draw(ONE_IN_10) else 2 * MOST_IN_ROW
        for text in statements * times:
            at = self.operate(checkout, OperationKind.STATEMENT, at, text)
        at += self.microseconds(100_000)
        kind, sent, cause = self.draw(END)
        return self.operate(checkout, kind, at, sent, cause=cause) + self.microseconds(500)

    def operate(
        self,
        checkout: CheckoutRecord,
        kind: OperationKind,
        at: int,
        statement: str | None = None,
        *,
        cause: Cause | None = None,
        longest: int = 300,
    ) -> int:
        operation = OperationRecord(checkout, kind, statement, checkout.site)
        operation.started_ns, operation.cause = self.at(at), cause
        took = longest if len(checkout.operations) > 2 else self.microseconds(longest)
        operation.ended_ns = self.at(at + took)
        checkout.operations.append(operation)
        if checkout.granted_ns is not None:
            checkout.busy_us += took
        elif kind is OperationKind.CONNECT:
            checkout.connecting_us += took
        else:
            checkout.pinging_us += took
        return at + took

    def samples(self, checkout: CheckoutRecord, granted: int, ended: int) -> Iterator[SampleRecord]:
        busy = [(o.started_ns, o.ended_ns or 0) for o in checkout.operations]
        looks = self.draw(st.sets(st.integers(granted, max(granted, ended - 1)), max_size=3))
        for look in sorted(looks if ended > granted else ()):
            if not any(start <= self.at(look) < end for start, end in busy):
                activity = self.draw(ACTIVITY)
                site = self.draw(self.site)
                sample = SampleRecord(checkout, activity, site, self.at(look))
                sample.ended_ns = self.at(look)
                yield sample

    def write(self, checkouts: int) -> None:
        records = [record for _ in range(checkouts) for record in self.checkout()]
        sites = self.recorder.journal.learned
        requests = [request for request in self.requests if request is not None]
        marker = new_marker(self.recorder.directory)
        file = TraceFile(self.recorder.journal, marker.file)
        file.write([*self.pools, *sites, *requests, *records])
        # Operations of long checkouts have rows of their own from the second time on.
        file.write(records)
        file.finish()
        file.abandon()
        marker.remove()
