"""What is news of two runs, and what is not."""

from __future__ import annotations

import random
from dataclasses import replace
from heapq import heapreplace
from typing import TYPE_CHECKING

import pytest
from factories import make_checkout, make_request, make_site
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import CALL, POOL, Costs, checkout, run_of, steady
from test_report_numbers import checkouts as any_checkout

from poolhog.analysis.compare.changes import Verdict
from poolhog.analysis.compare.comparison import EVERY_ROUTE, Comparison, compare
from poolhog.analysis.findings import POOL_TIMEOUT
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.compare.comparison import Run
    from poolhog.model import Checkout

NEWS = {Verdict.NEW, Verdict.GONE, Verdict.WORSE, Verdict.BETTER}
ROUTES = (Costs(), Costs(wait=0.0, busy=0.05, parked=0.0), Costs(wait=0.5, parked=0.01))


def news(comparison: Comparison) -> list[str]:
    rows = (comparison.total, *comparison.routes)
    return [
        *(f"{row.name}: {change.measure.name}" for row in rows for change in row.news),
        *(f"{f.verdict.value} {f.finding.kind}" for f in comparison.findings if f.verdict in NEWS),
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(any_checkout(), max_size=30))
def test_a_run_beside_itself_is_never_news(some: list[Checkout]) -> None:
    run = run_of(some)
    found = compare(run, run)
    assert news(found) == []
    assert {f.verdict for f in found.findings} <= {Verdict.SAME, Verdict.TOO_FEW}


def test_two_halves_of_a_steady_run_are_hardly_ever_news() -> None:
    alarms = []
    for seed in range(40):
        whole = steady(seed, 300, ROUTES)
        alarms += (
            [found] if (found := news(compare(run_of(whole[:150]), run_of(whole[150:])))) else []
        )
    assert len(alarms) <= 3, alarms


def queued(seed: int, number: int, load: float) -> list[Checkout]:
    """Waits for a pool that depend on one another, as they do where it is short of connections."""
    dice = random.Random(seed)
    connections = [0.0] * 5
    asked, found = 0.0, []
    for index in range(number):
        asked += dice.expovariate(load * 5 / 0.1)
        granted = max(asked, connections[0])
        returned = granted + dice.expovariate(1 / 0.1)
        heapreplace(connections, returned)
        request = make_request(f"{seed}-{index}", asked, returned)
        found.append(
            make_checkout(f"{index}", asked, granted, returned, pool=POOL, request=request)
        )
    return found


def test_nor_are_two_halves_of_a_run_that_queues() -> None:
    alarms = 0
    for seed in range(20):
        whole = queued(seed, 1000, load=0.7)
        one, other = run_of(whole[:500]), run_of(whole[500:])
        alarms += bool(news(compare(one, other)))
    assert alarms <= 2


@pytest.mark.parametrize(
    ("costs", "measure"),
    [
        (Costs(parked=0.4), "parked"),
        (Costs(parked=0.4), "use"),
        (Costs(wait=0.04), "wait"),
        (Costs(wait=0.04), "wait-p95"),
        (Costs(busy=0.02), "busy"),
    ],
)
def test_what_doubled_is_worse_and_the_other_way_round_better(costs: Costs, measure: str) -> None:
    one, other = run_of(steady(1)), run_of(steady(2, costs=[costs]))
    worse = compare(one, other).total.change(measure)
    better = compare(other, one).total.change(measure)
    assert (worse.verdict, better.verdict) == (Verdict.WORSE, Verdict.BETTER)
    assert worse.relative == pytest.approx(1.0, abs=0.35)
    assert better.difference == -worse.difference


def test_more_requests_by_the_second_are_better() -> None:
    costs = [Costs(parked=0.0)]
    one = run_of(steady(1, costs=costs))
    other = run_of(steady(2, costs=costs, per_second=200.0))
    assert compare(one, other).total.change("throughput").verdict is Verdict.BETTER
    assert compare(other, one).total.change("throughput").verdict is Verdict.WORSE


def waves(waits: Sequence[float]) -> Run:
    """Requests that all come at once, and wait so long, in their order."""
    return run_of(
        make_checkout(
            f"{index}",
            index * 0.001,
            index * 0.001 + wait,
            index * 0.001 + wait + 0.01,
            pool=POOL,
            request=make_request(f"r{index}", index * 0.001, index * 0.001 + wait + 0.02),
        )
        for index, wait in enumerate(waits)
    )


def test_half_of_a_burst_that_waited_for_the_other_half_is_worse() -> None:
    quick = waves([0.001 + index % 3 / 1000 for index in range(20)])
    half = waves([0.0001] * 10 + [1.0] * 10)
    one = waves([0.0001] * 18 + [1.0] * 2)
    change = compare(half, quick).total.change("wait-p95")
    assert change.verdict is Verdict.BETTER
    assert compare(quick, half).total.change("wait-p95").verdict is Verdict.WORSE
    # One part of ten may be slow by chance.
    assert compare(quick, one).total.change("wait-p95").verdict is Verdict.SAME


def test_what_is_certain_and_tiny_is_not_news() -> None:
    one = run_of(steady(1, 2000, [Costs(wait=0.001)]))
    other = run_of(steady(2, 2000, [Costs(wait=0.0015)]))
    change = compare(one, other).total.change("wait")
    assert change.is_certain
    assert change.verdict is Verdict.SAME


@settings(max_examples=40, deadline=None)
@given(st.lists(any_checkout(), min_size=1, max_size=12))
def test_seconds_of_a_request_times_the_requests_are_those_of_the_report(
    some: list[Checkout],
) -> None:
    run = run_of(some)
    total = compare(run, run).total
    spent = run.report.spent
    for name in ("wait", "use", "busy", "parked"):
        value = total.change(name).after.whole * total.after.units
        assert value == pytest.approx(getattr(spent, name), abs=1e-6)
    assert total.change("wait-max").after.whole == pytest.approx(
        max(route.waits.longest for route in run.report.routes), abs=1e-6
    )
    for route in compare(run, run).routes:
        (reported,) = (r for r in run.report.routes if r.name == route.name)
        assert len(route.before.rows) == reported.checkouts
        assert route.change("wait-p95").after.whole == pytest.approx(reported.waits.p95, abs=1e-6)
        assert route.change("idle").after.whole == pytest.approx(reported.idle, abs=1e-6)


def test_throughput_is_requests_by_the_second_of_the_first_to_the_last_checkout() -> None:
    some = steady(1, 200)
    run = run_of(some)
    seconds = max(c.returned or 0.0 for c in some) - some[0].asked
    assert compare(run, run).total.change("throughput").after.whole == pytest.approx(200 / seconds)


def test_two_checkouts_of_a_request_are_its_own() -> None:
    """A transaction that was split in two does not halve what a request holds."""
    whole = steady(1, 100, [Costs(wait=0.0, parked=0.0)])
    again = [
        replace(c, id=f"{c.id}b", asked=c.asked + 1, granted=c.asked + 1, returned=c.asked + 1.01)
        for c in whole
    ]
    found = compare(run_of(whole), run_of([*whole, *again])).total
    use = found.change("use")
    assert use.after.whole == pytest.approx(use.before.whole + 0.01)


def test_few_requests_are_too_few_to_tell() -> None:
    one, other = run_of(steady(1, 3)), run_of(steady(2, 3, [Costs(parked=9.0)]))
    found = compare(one, other).total
    assert found.change("parked").verdict is Verdict.TOO_FEW
    assert found.verdict is Verdict.TOO_FEW


def test_a_route_that_no_longer_asks_for_a_connection_spends_nothing() -> None:
    one = run_of(steady(1, 100))
    name = one.report.routes[0].name
    other = run_of([], {name: 100})
    (route,) = compare(one, other).routes
    assert route.change("parked").verdict is Verdict.BETTER
    assert route.change("parked").after.whole == 0.0


def test_routes_that_only_one_of_the_runs_has_are_new_or_gone() -> None:
    one, other = run_of(steady(1, 100)), run_of(steady(2, 100, ROUTES))
    found = {route.name: route.verdict for route in compare(one, other).routes}
    assert [found[f"GET /route-{n}/{{id}}"] for n in (1, 2)] == [Verdict.NEW] * 2
    back = {route.name: route.verdict for route in compare(other, one).routes}
    assert back["GET /route-1/{id}"] is Verdict.GONE


def test_only_routes_that_are_asked_for() -> None:
    one, other = run_of(steady(1, 300, ROUTES)), run_of(steady(2, 300, ROUTES))
    found = compare(one, other, "ROUTE-1")
    assert [route.name for route in found.routes] == ["GET /route-1/{id}"]
    assert found.findings == []
    assert found.total.before.requests == 100
    assert found.total.name != EVERY_ROUTE
    assert len(compare(one, other, "route-0").findings) == 1


def parked(site_changes: dict[str, object], **costs: float) -> list[Checkout]:
    return steady(2, costs=[Costs(**costs)], site=replace(CALL, **site_changes))  # type: ignore[arg-type]


def test_a_finding_is_the_same_after_its_line_moved_and_its_project_did() -> None:
    moved = {"line": 60, "file": "C:\\build\\7\\app\\notes.py", "source": CALL.source}
    (found,) = compare(run_of(steady(1)), run_of(parked(moved))).findings
    assert (found.verdict, found.has_moved) == (Verdict.SAME, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "data = await other_api.sync(note)"},
        {"function": "another"},
        {"file": "/home/ci/1/app/users.py"},
    ],
)
def test_another_line_function_or_file_is_another_finding(changes: dict[str, object]) -> None:
    found = compare(run_of(steady(1)), run_of(parked(changes))).findings
    assert [f.verdict for f in found] == [Verdict.NEW, Verdict.GONE]


def test_of_lines_that_are_alike_the_nearest_belong_together() -> None:
    two = [*steady(1), *steady(3, site=make_site(90, CALL.source, file=CALL.file), started=10.0)]
    changed = [
        *steady(2, site=replace(CALL, line=50)),
        *steady(4, site=make_site(92, CALL.source, file=CALL.file), started=10.0),
    ]
    found = compare(run_of(two), run_of(changed)).findings
    lines = {
        (f.before.site.line, f.after.site.line)
        for f in found
        if f.before and f.before.site and f.after and f.after.site
    }
    assert lines == {(48, 50), (90, 92)}


def test_a_finding_that_wastes_more_is_worse() -> None:
    (found,) = compare(run_of(steady(1)), run_of(parked({}, parked=0.5))).findings
    assert found.verdict is Verdict.WORSE
    assert found.change is not None
    assert found.change.relative == pytest.approx(1.5, abs=0.5)
    (back,) = compare(run_of(parked({}, parked=0.5)), run_of(steady(1))).findings
    assert back.verdict is Verdict.BETTER


def test_a_finding_that_happens_more_often_is_worse() -> None:
    """Timeouts waste no connection: they are counted."""

    def refused(every: int) -> list[Checkout]:
        some = steady(1, 400, [Costs(parked=0.0)])
        return [
            replace(c, granted=None, returned=None, gave_up=c.asked + 1, outcome=Outcome.TIMEOUT)
            if index % every == 0
            else c
            for index, c in enumerate(some)
        ]

    (found,) = compare(run_of(refused(40)), run_of(refused(5))).findings
    assert (found.finding.kind, found.verdict) == (POOL_TIMEOUT, Verdict.WORSE)
    assert found.change is not None
    assert found.change.after.whole == pytest.approx(1 / 5)


def test_what_was_nearly_a_finding_before_is_not_new() -> None:
    nearly, just, barely = (
        run_of(checkout(f"{n}", n / 10, Costs(parked=parked), Mean(1)) for n in range(50))
        for parked in (0.047, 0.0505, 0.02)
    )
    assert [run.report.findings for run in (nearly, barely)] == [(), ()]
    assert [f.verdict for f in compare(nearly, just).findings] == [Verdict.SAME]
    assert [f.verdict for f in compare(just, nearly).findings] == [Verdict.SAME]
    assert compare(nearly, nearly).findings == []
    assert [f.verdict for f in compare(barely, just).findings] == [Verdict.NEW]


class Mean(random.Random):
    """Chance that is always what it is in the mean."""

    def expovariate(self, lambd: float = 1.0) -> float:
        return 1 / lambd


def test_a_finding_is_not_gone_if_its_routes_were_not_called() -> None:
    other = run_of(steady(2, 100, [Costs(parked=0.0)]), {"GET /else": 100})
    other = replace(other, series=type(other.series)())
    (found,) = compare(run_of(steady(1)), other).findings
    assert found.verdict is Verdict.NOT_CALLED


def test_worse_comes_first() -> None:
    one = run_of(steady(1, 600, [Costs(), Costs(), Costs(parked=1.0)]))
    other = run_of(steady(2, 600, [Costs(), Costs(parked=1.0), Costs()]))
    assert [route.verdict for route in compare(one, other).routes] == [
        *(Verdict.WORSE, Verdict.BETTER, Verdict.SAME),
    ]
