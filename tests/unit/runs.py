"""Invented runs, to be compared."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from factories import (
    PROCESS,
    make_checkout,
    make_pool,
    make_request,
    make_site,
    named_requests,
    op,
    sample,
    trace_of,
)

from poolhog.analysis.compare.comparison import Run
from poolhog.analysis.compare.series import Series
from poolhog.analysis.report import report_of
from poolhog.model import Activity, OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolhog.model import Checkout, Site

POOL = make_pool(size=20)
CALL = make_site(48, "data = await api.sync(note)", file="/home/ci/1/app/notes.py")


@dataclass(frozen=True)
class Costs:
    """Seconds of a route's requests, in the mean."""

    wait: float = 0.02
    busy: float = 0.01
    parked: float = 0.2


def run_of(
    checkouts: Iterable[Checkout],
    requests: Mapping[str, int] | None = None,
    label: str = "run",
) -> Run:
    """A run with these checkouts; their requests are counted, if none are given."""
    some = sorted(checkouts, key=lambda c: c.asked)
    series = Series()
    until = max((c.returned or c.gave_up or c.asked for c in some), default=0.0)
    names = {c.request.id: c.request.name for c in some if c.request is not None}
    counts = Counter(names.values())
    others = Counter(requests if requests is not None else counts)
    others.subtract(counts)
    trace = trace_of(
        *(some, named_requests(others), [POOL]), process=replace(PROCESS, written=until)
    )
    report = report_of(trace, companions=[series])
    return Run(label, report, series)


def steady(
    seed: int,
    number: int = 300,
    costs: Sequence[Costs] = (Costs(),),
    *,
    per_second: float = 100.0,
    site: Site = CALL,
    started: float = 0.0,
) -> list[Checkout]:
    """Checkouts of requests that arrive at random, and whose seconds are as random."""
    dice = random.Random(seed)
    found = []
    asked = started
    for index in range(number):
        asked += dice.expovariate(per_second)
        route = index % len(costs)
        found.append(checkout(f"{seed}-{index}", asked, costs[route], dice, site, route))
    return found


def checkout(
    id_: str,
    asked: float,
    costs: Costs,
    dice: random.Random,
    site: Site = CALL,
    route: int = 0,
) -> Checkout:
    """One that is parked at a line between two statements."""
    granted = asked + dice.expovariate(1 / costs.wait) if costs.wait else asked
    busy = dice.expovariate(2 / costs.busy)
    parked = dice.expovariate(1 / costs.parked) if costs.parked else 0.0
    first, second = granted + busy, granted + busy + parked
    returned = second + busy
    name = f"/route-{route}/{{id}}"
    return make_checkout(
        id_,
        asked,
        granted,
        returned,
        pool=POOL,
        request=make_request(id_, asked, returned, route=name),
        operations=(
            op(OperationKind.STATEMENT, granted, first, "SELECT 1"),
            op(OperationKind.STATEMENT, second, returned, "SELECT 1"),
        ),
        samples=[sample(Activity.PARKED, first, second, site)] if parked else [],
    )
