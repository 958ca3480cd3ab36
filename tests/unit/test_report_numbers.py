"""What the report counts agrees with itself, and with the checkouts one by one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from factories import (
    PROCESS,
    implicit_burst,
    make_checkout,
    make_pool,
    make_request,
    make_site,
    named_requests,
    op,
    sample,
    trace_of,
)
from hypothesis import given
from hypothesis import strategies as st
from recorders import pool_record, request_record
from views import with_spans

import poolhog
from poolhog.analysis.accounting import NOTHING, Account, end_of, end_of_wait
from poolhog.analysis.owners import OTHER
from poolhog.analysis.report import NO_CONNECTION, Report, read_report, report_of
from poolhog.analysis.shown import shown_of
from poolhog.analysis.thresholds import Thresholds
from poolhog.model import Activity, OperationKind, Outcome
from poolhog.recording.recorder import Recorder, current_request
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from poolhog.model import Checkout

UNTIL = 60.0
POOLS = make_pool("one", size=2), make_pool("two", size=None, name="replica")
REQUESTS = make_request("r1"), make_request("r2", method="POST"), None


def report(
    checkouts: Iterable[Checkout],
    requests: Mapping[str, int] | None = None,
) -> Report:
    return report_of(trace_of(checkouts, named_requests(requests or {}), POOLS))


def micros(most: int) -> st.SearchStrategy[float]:
    """Seconds whose half is in whole microseconds."""
    return st.integers(0, most // 2).map(lambda us: 2 * us / 1e6)


@st.composite
def checkouts(draw: st.DrawFn) -> Checkout:
    """One that waits, gave up, is open or came back, with an operation and a look at its owner."""
    asked = draw(micros(100))
    wait = draw(micros(50))
    pool = draw(st.sampled_from(POOLS))
    request = draw(st.sampled_from(REQUESTS))
    site = draw(st.sampled_from([None, make_site()]))
    id_ = f"c{draw(st.integers(0, 10**9))}"
    end = draw(st.sampled_from(["waiting", "timeout", "open", "returned"]))
    if end in ("waiting", "timeout"):
        gave_up = asked + wait if end == "timeout" else None
        return make_checkout(id_, asked, pool=pool, request=request, site=site, gave_up=gave_up)
    granted = asked + wait
    before, busy, after = draw(micros(40)), draw(micros(40)), draw(micros(40))
    started = granted + before
    seen = draw(st.sampled_from([None, *Activity]))
    samples = [] if seen is None or not before else [sample(seen, granted + before / 2, None)]
    return make_checkout(
        id_,
        asked,
        granted,
        None if end == "open" else started + busy + after,
        pool=pool,
        request=request,
        site=site,
        operations=[
            op(OperationKind.CONNECT, asked, asked + wait / 2),
            op(OperationKind.STATEMENT, started, started + busy, "SELECT 1"),
        ],
        samples=samples,
    )


def total(accounts: Iterable[Account]) -> Account:
    rows = list(accounts)
    return Account(
        *(math.fsum(row[column] for row in rows) for column in range(len(Account._fields)))
    )


@given(st.lists(checkouts(), max_size=12))
def test_routes_pools_and_totals_are_the_sums_of_the_same_checkouts(some: list[Checkout]) -> None:
    found = report(some)
    every = (replace(checkout, id=f"c{number}") for number, checkout in enumerate(some))
    expected = total(one.spent for one in with_spans(*every))
    for spent in (
        found.spent,
        total(route.spent for route in found.routes),
        total(pool.spent for pool in found.pools),
    ):
        assert spent == pytest.approx(expected, abs=1e-6)
        gaps = spent.parked + spent.running + spent.ready
        assert spent.busy + gaps == pytest.approx(spent.use, abs=1e-6)
    assert found.checkouts == len(some)
    assert sum(route.checkouts for route in found.routes) == len(some)
    assert found.outcomes == Counter(checkout.outcome for checkout in some)
    in_routes = sum((Counter(route.outcomes) for route in found.routes), Counter[Outcome]())
    assert in_routes == found.outcomes


@given(st.lists(checkouts(), max_size=12))
def test_peaks_and_saturation_are_those_of_every_instant(some: list[Checkout]) -> None:
    for use in report(some).pools:
        of_pool = [checkout for checkout in some if checkout.pool is use.pool]
        out = [(out_from(c), end_of(c, UNTIL)) for c in of_pool]
        waited = [(c.asked, end_of_wait(c, UNTIL)) for c in of_pool]
        assert use.peak_lent == max((number for _, number in steps(out)), default=0)
        assert use.peak_waiting == max((number for _, number in steps(waited)), default=0)
        assert use.awaited == pytest.approx(lasting(waited, 1), abs=1e-9)
        if use.pool.capacity is None:
            assert use.saturated is None
        else:
            assert use.saturated == pytest.approx(lasting(out, use.pool.capacity), abs=1e-9)
        if of_pool:
            ended = max(end for _, end in (*out, *waited))
            assert use.observed == pytest.approx(ended - min(c.asked for c in of_pool))


def out_from(checkout: Checkout) -> float:
    """When a connection was taken out of the pool, to be opened or pinged, or to be lent."""
    (spent,) = (one.spent for one in with_spans(checkout))
    return end_of_wait(checkout, UNTIL) - spent.connecting - spent.pinging


def steps(spans: Sequence[tuple[float, float]]) -> list[tuple[float, int]]:
    """How many spans cover the time from each instant to the next, found by looking at all."""
    spans = [(round(start * 1e6), round(end * 1e6)) for start, end in spans]
    instants = sorted({instant for span in spans for instant in span})
    return [(at / 1e6, sum(start <= at < end for start, end in spans)) for at in instants]


def lasting(spans: Sequence[tuple[float, float]], number: int) -> float:
    found = steps(spans)
    return sum(after - at for (at, covering), (after, _) in pairwise(found) if covering >= number)


def test_waits_are_told_by_nearest_rank() -> None:
    found = report(make_checkout(f"c{n}", 0.0, n / 1000, 1.0) for n in range(1, 101))
    (route,) = found.routes
    waits = route.waits
    assert (waits.p50, waits.p95, waits.longest) == pytest.approx((0.050, 0.095, 0.100))
    assert report([make_checkout("c", 0.0, 0.5, 1.0)]).routes[0].waits.p50 == 0.5


def test_a_burst_saturates_the_pool_in_waves() -> None:
    some, _, pool, ended = implicit_burst(requests=10, size=5, latency=5.0)
    (use,) = report_of(trace_of(some, process=replace(PROCESS, written=ended))).pools
    assert use.pool.id == pool.id
    assert (use.peak_lent, use.peak_waiting) == (5, 5)
    assert use.saturation is not None
    assert use.saturation > 0.95
    assert 0.45 < use.contention < 0.55


def test_work_without_a_request_is_called_by_its_outermost_frame() -> None:
    outer = make_site(3, "main()", file="/app/worker.py", function="main")
    inner = make_site(9, file="/app/jobs.py", function="run", caller=outer)
    found = report(
        [
            make_checkout("a", 0.0, 0.1, 0.2, site=inner),
            make_checkout("b", 0.0, 0.1, 0.2),
            make_checkout("c", 0.0, 0.1, 0.2, request=make_request(method="", path="job")),
        ],
    )
    assert {route.name: route.requests for route in found.routes} == {
        "worker.py main": 0,
        OTHER: 0,
        "/notes/{note_id}": 1,
    }


def test_requests_whose_route_asked_for_nothing_are_one_row() -> None:
    request = make_request()
    found = report(
        [make_checkout("a", 0.0, 0.1, 0.2, request=request)],
        {request.name: 6, "GET /healthz": 20, "GET /no/such": 1},
    )
    assert [(route.name, route.requests, route.checkouts) for route in found.routes] == [
        (request.name, 7, 1),
        (NO_CONNECTION, 21, 0),
    ]
    assert found.requests == 28


def test_pools_that_lent_nothing_are_told() -> None:
    found = report([])
    assert [(use.checkouts, use.observed, use.saturation) for use in found.pools] == [
        (0, 0.0, 0.0),
        (0, 0.0, None),
    ]
    assert found.spent == NOTHING


def test_some_routes_can_be_picked_and_pools_stay_whole() -> None:
    one, two = make_request("r1"), make_request("r2", method="POST", route="/upload")
    whole = report(
        [
            make_checkout("a", 0.0, 0.1, 0.2, request=one),
            make_checkout("b", 0.0, 0.1, 0.2, request=two),
        ],
    )
    part = whole.about("UPLOAD")
    assert [route.name for route in part.routes] == ["POST /upload"]
    assert (part.pools, part.spent, part.requests) == (whole.pools, whole.spent, 2)
    assert whole.about("nothing").routes == ()


def test_a_trace_that_is_streamed_counts_like_one_in_memory(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "trace")
    pool = recorder.pool(pool_record())
    for number in range(40):
        request = recorder.request(request_record(f"/notes/{number % 3}"))
        token = current_request.set(request if number % 4 else None)
        checkout = recorder.ask(pool)
        current_request.reset(token)
        recorder.grant(checkout, 1 + number % 5)
        operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT 1")
        assert operation is not None
        operation.end()
        if number % 10:
            recorder.end(checkout)
        if number % 5:
            request.end()
    recorder.stop()

    trace = poolhog.open_trace(recorder.directory)
    told: list[int] = []
    found = read_report(stream_trace(recorder.directory), Thresholds(), told.append)
    expected = total(one.spent for one in shown_of(trace).values())
    assert found.spent == pytest.approx(expected, abs=1e-6)
    assert found.checkouts == len(trace.checkouts) == 40
    assert found.requests == len(trace.requests) == 40
    assert found.outcomes == {Outcome.RETURNED: 36, Outcome.OPEN: 4}
    by_name = Counter(c.request.name for c in trace.checkouts if c.request is not None)
    recorded = {r.name: r.checkouts for r in found.routes if r.name.startswith("GET ")}
    assert recorded == by_name
    (other,) = (route for route in found.routes if not route.name.startswith("GET "))
    assert other.name.startswith("test_report_numbers.py ") or other.name.endswith("<module>")
