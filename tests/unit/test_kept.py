"""Connections that are kept on purpose are told apart from hogs, and in doubt they are hogs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from factories import (
    PROCESS,
    SELECT,
    make_checkout,
    make_pool,
    make_request,
    make_site,
    op,
    sample,
    trace_of,
)

from poolhog.analysis.findings import NEVER_RETURNED, PARKED_CHECKOUT, POOL_TIMEOUT
from poolhog.analysis.kept import Purpose
from poolhog.analysis.report import report_of
from poolhog.model import Activity, OperationKind, Outcome, Trace
from poolhog.render.page.verdict import verdict as page_verdict
from poolhog.render.report import report_json, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.report import Report
    from poolhog.model import Checkout, Operation, Pool

BEGIN, STATEMENT, COMMIT = OperationKind.BEGIN, OperationKind.STATEMENT, OperationKind.COMMIT
LISTEN, LOCK = 'LISTEN "jobs"', "SELECT pg_try_advisory_lock(?)"
STARTED = make_site(3, "listener = await pool.acquire()", function="lifespan")
AT_REST = make_site(4, "await stopped.wait()", function="lifespan")
LIFE = 60.0


def sent(statement: str, at: float = 1.0) -> Operation:
    return op(STATEMENT, at, at + 0.01, statement, site=STARTED)


def kept(
    *operations: Operation,
    granted: float = 0.5,
    returned: float | None = 59.5,
    pool: Pool | None = None,
    owner: str = "lifespan",
) -> Checkout:
    return make_checkout(
        "kept",
        granted,
        granted,
        returned,
        pool=pool or make_pool(),
        owner=owner,
        operations=operations,
        samples=[sample(Activity.PARKED, granted + 1, (returned or LIFE) - 1, AT_REST)],
        site=STARTED,
    )


def busy(number: int = 5, first: float = 2.0, last: float = 58.0) -> list[Checkout]:
    """Checkouts of requests that waste nothing."""
    found = []
    for n in range(number):
        at = first + (last - first) * n / number
        query = op(STATEMENT, at, at + 1.0, SELECT)
        request = make_request(f"r{n}", at, at + 1.0)
        found.append(make_checkout(f"c{n}", at, at, at + 1.0, request=request, operations=[query]))
    return found


def reported(checkouts: Sequence[Checkout], *, finished: bool = True) -> Report:
    process = replace(PROCESS, written=LIFE, finished=finished)
    return report_of(trace_of(checkouts, process=process))


def purposes(report: Report) -> list[Purpose]:
    return [one.purpose for one in report.kept]


def test_a_listener_is_no_hog_and_is_told() -> None:
    report = reported([kept(sent(LISTEN)), *busy()])
    assert report.findings == ()
    (one,) = report.kept
    assert (one.purpose, one.site, one.connections) == (Purpose.LISTEN, STARTED, 1)
    assert one.seconds == pytest.approx(59.0)
    assert verdict(report) == (
        "Nothing held a connection without need: 6 checkouts, 5.00 s of use, 100 % of it busy."
    )
    told = "1 connection is kept on purpose, for LISTEN (service.py:3, 59.0 s)"
    assert page_verdict(report)[-1].startswith(told)
    assert report_json(report)["kept"][0]["purpose"] == "listen"


def test_a_listener_hides_no_hog() -> None:
    """A day of a listener would make all waste a small part of the use."""
    hog = make_checkout(
        "hog",
        *(10.0, 10.0, 10.5),
        request=make_request("r", 10.0, 10.5),
        samples=[sample(Activity.PARKED, 10.1, 10.4, make_site(9, "await call()"))],
    )
    alone = reported([hog]).findings
    assert [finding.kind for finding in alone] == [PARKED_CHECKOUT]
    (found,) = reported([hog, kept(sent(LISTEN))]).findings
    assert (found.site, found.share) == (alone[0].site, alone[0].share)


def test_one_that_waits_for_notifications_in_the_driver() -> None:
    """psycopg's ``notifies()`` is an operation that lasts."""
    waiting = op(OperationKind.FETCH, 1.1, None)
    listener = replace(kept(sent(LISTEN), waiting, returned=None), outcome=Outcome.OPEN, samples=())
    assert purposes(reported([listener, *busy()], finished=False)) == [Purpose.LISTEN]


@pytest.mark.parametrize(
    "statement", ['START_REPLICATION SLOT "s" LOGICAL 0/0', "listen jobs", LISTEN]
)
def test_what_says_that_it_cannot_be_given_back(statement: str) -> None:
    report = reported([kept(sent(statement)), *busy()])
    assert report.findings == ()
    assert len(report.kept) == 1


def test_a_listener_that_is_open_at_the_end_did_not_get_lost() -> None:
    listener = kept(sent(LISTEN), returned=None, owner="MainThread")
    report = reported([listener, *busy()])
    assert purposes(report) == [Purpose.LISTEN]
    assert NEVER_RETURNED not in {finding.kind for finding in report.findings}


def test_a_listener_of_a_request_is_a_hog() -> None:
    """An event stream for each client uses up the pool."""
    stream = replace(kept(sent(LISTEN)), request=make_request("r", 0.0, LIFE, route="/events"))
    report = reported([stream, *busy()])
    assert report.kept == ()
    assert len(report.findings) == 1


def test_a_listener_that_lasts_for_a_moment_is_judged_like_others() -> None:
    report = reported([kept(sent(LISTEN, 10.0), granted=10.0, returned=14.0), *busy()])
    assert report.kept == ()
    assert [finding.kind for finding in report.findings] == [PARKED_CHECKOUT]


def test_the_lock_of_a_leader() -> None:
    beats = [sent("SELECT ?", 5.0 * n) for n in range(2, 11)]
    report = reported([kept(sent(LOCK), *beats), *busy()])
    assert purposes(report) == [Purpose.LOCK]
    assert report.findings == ()


@pytest.mark.parametrize(
    ("operations", "others"),
    [
        # A job alone in its process.
        ([sent(LOCK)], []),
        # One job after another.
        (
            [
                one
                for n in range(6)
                for one in (
                    sent(LOCK, 9.0 * n + 1),
                    sent("SELECT pg_advisory_unlock(?)", 9.0 * n + 8),
                )
            ],
            busy(),
        ),
        # The lock of a transaction.
        (
            [op(BEGIN, 1.0, 1.0), sent("SELECT pg_advisory_xact_lock(?)")],
            busy(),
        ),
    ],
)
def test_a_lock_around_a_job_is_a_hog(operations: list[Operation], others: list[Checkout]) -> None:
    report = reported([kept(*operations, granted=0.5 if len(operations) < 3 else 3.0), *others])
    assert report.kept == ()
    assert PARKED_CHECKOUT in {finding.kind for finding in report.findings}


def test_a_service_that_keeps_one_from_its_start_to_its_end() -> None:
    report = reported([kept(sent("SELECT ?", 5.0)), *busy()])
    assert purposes(report) == [Purpose.SERVICE]
    assert report.findings == ()


@pytest.mark.parametrize(
    "hog",
    [
        # In a transaction all the time.
        kept(op(BEGIN, 1.0, 1.0), sent("SELECT ?", 1.0)),
        # It began later, or ended sooner, than the requests.
        kept(sent("SELECT ?", 8.1), granted=8.0),
        kept(sent("SELECT ?", 9.0), returned=50.0),
    ],
)
def test_what_idles_for_long_is_a_hog(hog: Checkout) -> None:
    report = reported([hog, *busy()])
    assert report.kept == ()
    assert [finding.kind for finding in report.findings] == [PARKED_CHECKOUT]


def test_without_requests_nothing_tells_it_from_a_hog() -> None:
    others = [replace(one, request=None, owner="worker") for one in busy()]
    report = reported([kept(sent("SELECT ?", 5.0)), *others])
    assert report.kept == ()


def test_a_pool_that_has_nothing_left_for_others() -> None:
    """Everybody else waits for a listener: it is in the way, whatever it is for."""
    one = make_pool(size=1)
    late = make_checkout("late", 5.0, gave_up=35.0, pool=one, request=make_request("r", 5.0, 36.0))
    report = reported([kept(sent(LISTEN), pool=one), late])
    assert report.kept == ()
    assert [finding.kind for finding in report.findings] == [POOL_TIMEOUT, PARKED_CHECKOUT]


def test_listeners_of_several_processes_are_added_up() -> None:
    listeners = []
    processes = [replace(PROCESS, pid=100 + n, written=LIFE) for n in range(3)]
    for process in processes:
        pool = replace(make_pool(f"p{process.pid}"), process=process)
        listeners.append(replace(kept(sent(LISTEN), pool=pool), id=f"c{process.pid}"))
    pools = tuple(one.pool for one in listeners)
    trace = Trace(tuple(processes), pools, (), tuple(listeners), LIFE)
    (one,) = report_of(trace).kept
    assert one.connections == 3
    assert one.seconds == pytest.approx(3 * 59.0)
