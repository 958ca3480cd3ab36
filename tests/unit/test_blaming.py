"""Blame adds up to all waiting, to the microsecond, and says who it was, and where."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from factories import (
    PROCESS,
    implicit_burst,
    make_checkout,
    make_pool,
    make_request,
    make_site,
    op,
    trace_of,
)
from factories import sample as make_sample
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.accounting import end_of, end_of_wait
from poolhog.analysis.occupancy import Bins, BlameBins
from poolhog.analysis.report import report_of
from poolhog.model import Activity, OperationKind, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.report import Report
    from poolhog.model import Checkout, Pool

END_US = 200
FIRST = replace(PROCESS, written=END_US / 1e6)
OTHER = replace(FIRST, pid=200, began=10e-6)
POOLS = (
    replace(make_pool("one", size=1), process=FIRST),
    replace(make_pool("two", size=2), process=FIRST),
    replace(make_pool("free", size=None), process=FIRST),
    replace(make_pool("other", size=1), process=OTHER),
)
REQUESTS = make_request("r1"), make_request("r2", method="POST")
SITES = make_site(1), make_site(2)


def report(checkouts: Sequence[Checkout], observer: BlameBins | None = None) -> Report:
    some = tuple(sorted(checkouts, key=lambda c: c.asked))
    trace = Trace((FIRST, OTHER), POOLS, (), some, END_US / 1e6)
    return report_of(trace, observer=observer)


@st.composite
def checkouts(draw: st.DrawFn) -> Checkout:
    """One that waits, gave up, is open or came back, perhaps with an operation and a sample."""
    pool = draw(st.sampled_from(POOLS))
    request = draw(st.sampled_from(REQUESTS))
    site = draw(st.sampled_from(SITES))
    at = [round(pool.process.began * 1e6) + draw(st.integers(0, 40))]
    for _ in range(4):
        at.append(at[-1] + draw(st.integers(0, 25)))
    asked, opening, granted, started, returned = (us / 1e6 for us in at)
    kind = draw(st.sampled_from([OperationKind.CONNECT, OperationKind.PING, None]))
    operations = [] if kind is None else [op(kind, opening, granted)]
    id_ = f"c{draw(st.integers(0, 10**9))}"
    make = partial(make_checkout, id_, pool=pool, request=request, site=site)
    end = draw(st.sampled_from(["waiting", "timeout", "open", "returned", "returned"]))
    if end in ("waiting", "timeout"):
        gave_up = granted if end == "timeout" else None
        return make(asked, gave_up=gave_up, operations=operations)
    operations.append(op(OperationKind.STATEMENT, granted, started, "SELECT 1"))
    activity = draw(st.sampled_from([None, *Activity]))
    samples = [] if activity is None else [make_sample(activity, started, None, SITES[0])]
    over = returned if end == "returned" else None
    return make(asked, granted, over, operations=operations, samples=samples)


def us(checkout: Checkout, instant: float) -> int:
    return round((instant - checkout.pool.process.began) * 1e6)


def expected(some: Sequence[Checkout]) -> dict[tuple[str, str, str | None], Fraction]:
    """By pool, who waited and who held: every microsecond by itself."""
    found: Counter[tuple[str, str, str | None]] = Counter()
    for pool in POOLS:
        turns = []
        for c in some:
            if c.pool.id == pool.id:
                until = END_US / 1e6
                wait_over = us(c, end_of_wait(c, until))
                asked, opening = us(c, c.asked), round((c.connecting + c.pinging) * 1e6)
                assert c.request is not None
                name = c.request.name
                turns.append((asked, wait_over - opening, us(c, end_of(c, until)), name))
                found[pool.id, name, None] += opening
        turns.sort()
        for at in range(2 * END_US):
            waiting = [route for asked, got, _, route in turns if asked <= at < got]
            holders = [route for _, got, over, route in turns if got <= at < over]
            free = len(waiting) if pool.capacity is None else max(pool.capacity - len(holders), 0)
            for index, route in enumerate(waiting):
                if index < free or not holders:
                    found[pool.id, route, None] += 1
                    continue
                for holder in holders:
                    part: int = Fraction(1, len(holders))  # type: ignore[assignment]
                    found[pool.id, route, holder] += part
    return {key: Fraction(value) for key, value in found.items() if value}


@given(st.lists(checkouts(), max_size=10))
def test_all_blame_is_all_waiting(some: list[Checkout]) -> None:
    found = report(some)
    until = END_US / 1e6
    waited: Counter[tuple[str, str]] = Counter()
    for c in some:
        assert c.request is not None
        waited[c.pool.id, c.request.name] += us(c, end_of_wait(c, until)) - us(c, c.asked)
    blamed: Counter[tuple[str, str]] = Counter()
    for charge in found.blame.charges:
        assert charge.microseconds > 0
        blamed[charge.pool.id, charge.waiting] += charge.microseconds
    assert blamed == +waited
    assert found.blame.total == pytest.approx(found.spent.wait, abs=1e-9)


@given(st.lists(checkouts(), max_size=10))
def test_it_is_who_held_the_pool_at_every_instant(some: list[Checkout]) -> None:
    found: Counter[tuple[str, str, str | None]] = Counter()
    for charge in report(some).blame.charges:
        found[charge.pool.id, charge.waiting, charge.holding] += charge.microseconds
    wanted = expected(some)
    for key in {*found, *wanted}:
        # Each row is rounded by less than a microsecond; there is one for each state and site.
        assert abs(found[key] - wanted.get(key, Fraction(0))) < 6 * len(SITES)
    assert sum(found.values()) == sum(wanted.values())


@given(st.lists(checkouts(), max_size=10), st.integers(1, 7))
def test_bins_add_up_to_what_was_held_up(some: list[Checkout], count: int) -> None:
    observer = BlameBins(Bins(0.0, END_US / 1e6, count))
    found = report(some, observer=observer)
    held = sum(charge.seconds for charge in found.blame.charges if charge.holding is not None)
    rows = observer.rows.values()
    slack = 1e-6 * (1 + len(found.blame.charges))
    assert sum(float(row.sum()) for row in rows) == pytest.approx(held, abs=slack)
    assert all(len(row) == count and (row > -1e-9).all() for row in rows)


@given(st.lists(checkouts(), max_size=10), st.sampled_from([1, 2, 4, 5, 8]))
def test_bins_hold_what_each_route_held_up_in_them(some: list[Checkout], count: int) -> None:
    observer = BlameBins(Bins(0.0, END_US / 1e6, count))
    report(some, observer=observer)
    found: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(count))
    for place, row in observer.rows.items():
        found[place.route] += row
    wanted: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(count))
    for pool, at, holders, waiting in instants(some):
        on_run = at + round(pool.process.began * 1e6)
        for holder in holders:
            # What is beyond the last bin is in none.
            if on_run < END_US:
                wanted[holder][on_run * count // END_US] += len(waiting) / len(holders) / 1e6
    for route in {*found, *wanted}:
        assert found[route] == pytest.approx(wanted[route], abs=1e-12)


def instants(
    some: Sequence[Checkout],
) -> Iterator[tuple[Pool, int, Sequence[str], Sequence[str]]]:
    """The microseconds of each pool at which some have to wait, with its holders."""
    until = END_US / 1e6
    for pool in POOLS:
        if pool.capacity is None:
            continue
        turns = []
        for c in some:
            if c.pool.id == pool.id and c.request is not None:
                got = us(c, end_of_wait(c, until)) - round((c.connecting + c.pinging) * 1e6)
                turns.append((us(c, c.asked), got, us(c, end_of(c, until)), c.request.name))
        turns.sort()
        for at in range(2 * END_US):
            waiting = [route for asked, got, _, route in turns if asked <= at < got]
            holders = [route for _, got, over, route in turns if got <= at < over]
            waiting = waiting[max(pool.capacity - len(holders), 0) :]
            if waiting and holders:
                yield pool, at, holders, waiting


def test_the_burst_of_the_talk() -> None:
    some, _, _, ended = implicit_burst()
    found = report_of(trace_of(some, process=replace(PROCESS, written=ended)))
    worst = found.blame.charges[0]
    assert (worst.waiting, worst.holding, worst.state) == (
        *("POST /notes/{note_id}",) * 2,
        "parked",
    )
    assert worst.site is found.findings[0].site
    assert worst.seconds == pytest.approx(found.findings[0].made_wait, abs=2e-6)
    assert worst.seconds > 0.98 * found.spent.wait
    assert found.routes[0].made_wait == pytest.approx(found.spent.wait, rel=0.02)
    assert found.findings[0].waiters == ("POST /notes/{note_id}",)


def test_a_connection_that_is_opened_is_none_for_others() -> None:
    pool = POOLS[0]
    first = make_checkout(
        "c1",
        *(0.0, 1.0, 1.0),
        pool=pool,
        request=REQUESTS[0],
        operations=[op(OperationKind.CONNECT, 0.0, 1.0)],
    )
    second = make_checkout("c2", 0.25, 1.0, 1.0, pool=pool, request=REQUESTS[1])
    told = {
        (c.waiting, c.holding, c.state): c.seconds for c in report([first, second]).blame.charges
    }
    assert told == {
        ("GET /notes/{note_id}", None, "connecting"): 1.0,
        ("POST /notes/{note_id}", "GET /notes/{note_id}", "connecting"): 0.75,
    }


def test_of_what_a_route_did_or_suffered() -> None:
    holding = make_checkout("c1", 0.0, 0.0, 5.0, pool=POOLS[0], request=REQUESTS[0])
    patient = make_checkout("c2", 1.0, 5.0, 6.0, pool=POOLS[0], request=REQUESTS[1])
    found = report([holding, patient])
    assert found.about("post").blame.total == found.about("GET").blame.total == 4.0
    assert found.about("PUT").blame.charges == ()
    assert {route.name: route.made_wait for route in found.routes} == {
        "GET /notes/{note_id}": 4.0,
        "POST /notes/{note_id}": 0.0,
    }


def test_blame_is_exact_where_64_bits_would_not_do() -> None:
    """With each number of holders up to 40, a microsecond has parts of lcm(1, …, 40)."""
    pool = replace(make_pool("wide", size=40), process=PROCESS)
    some = [
        make_checkout(
            f"c{n:02}",
            *(n / 1e6, float(n + 1), 50.0),
            pool=pool,
            request=REQUESTS[n % 2],
            site=SITES[n % 2],
            samples=[make_sample(Activity.PARKED, n + 2.0, n + 3.0, SITES[n % 2])],
        )
        for n in range(45)
    ]
    found = report_of(trace_of(some)).blame
    waited: Counter[str] = Counter()
    for c in some:
        assert c.request is not None
        waited[c.request.name] += us(c, end_of_wait(c, 60.0)) - us(c, c.asked)
    blamed: Counter[str] = Counter()
    for charge in found.charges:
        blamed[charge.waiting] += charge.microseconds
    assert blamed == waited
    assert {charge.state for charge in found.charges} >= {"parked", "nobody"}
