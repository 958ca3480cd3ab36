"""Checkouts that did whatever a test draws, in memory, on instants of whole microseconds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import oracle
from factories import PROCESS, make_checkout, make_pool, make_request, make_site, op, sample
from hypothesis import strategies as st

from poolhog.model import Activity, OperationKind, Outcome, Trace

if TYPE_CHECKING:
    from poolhog.model import Checkout, Operation, Process, Request, Sample

UNTIL_US = 90_000
FIRST = replace(PROCESS, written=UNTIL_US / 1e6)
SECOND = replace(FIRST, pid=200, began=0.0125)
POOLS = (
    replace(make_pool("one", size=1), process=FIRST),
    replace(make_pool("two", size=2), process=FIRST),
    replace(make_pool("free", size=None), process=FIRST),
    replace(make_pool("other", size=1), process=SECOND),
)
CALL = make_site(7, "await call()", function="call")
LIBRARY = make_site(70, "await future", file="/lib/a.py", is_application=False, caller=CALL)
AGAIN = replace(CALL, caller=make_site(3, "call()", function="outer"))
"""The same line as ``CALL``, by another way."""

SITES = (
    *(None, make_site(1, function="one"), make_site(2, function="two")),
    *(CALL, LIBRARY, AGAIN, replace(LIBRARY, caller=AGAIN)),
)
OWNERS = "Task-1", "Task-2", "MainThread"
USE_KINDS = tuple(k for k in OperationKind if k not in (OperationKind.CONNECT, OperationKind.PING))
STATEMENTS = None, "SELECT 1", "UPDATE notes SET data = 1"
ENDS = (
    *(Outcome.RETURNED, Outcome.RETURNED, Outcome.RETURNED, Outcome.COLLECTED, Outcome.OPEN),
    *(Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.WAITING),
)


# Hypothesis takes longer to make a strategy than to draw from it: those that do not depend on what
# was drawn are made once.
BOOLEANS = st.booleans()
POOL, SITE, OWNER = st.sampled_from(POOLS), st.sampled_from(SITES), st.sampled_from(OWNERS)
FIRST_KIND = st.sampled_from((OperationKind.CONNECT, OperationKind.PING))
USE_KIND, END = st.sampled_from(USE_KINDS), st.sampled_from(ENDS)
STATEMENT, ACTIVITY = st.sampled_from(STATEMENTS), st.sampled_from(Activity)
ERROR = st.sampled_from((None, None, "DataError"))
METHOD, ROUTE = st.sampled_from(("GET", "POST")), st.sampled_from((None, "/notes/{note_id}"))
STATUS = st.sampled_from((None, 200, 500))
RESPONDING = st.none() | st.integers(0, 60_000)
RESPONDED = st.none() | st.integers(60_000, 70_000)


@cache
def micros(most: int) -> st.SearchStrategy[int]:
    """Microseconds, often few, often as long as a sample's interval."""
    edges = [edge for edge in (0, 1, 2, 20_000, 20_001) if edge <= most]
    return st.integers(0, most) | st.sampled_from(edges)


@st.composite
def checkouts(draw: st.DrawFn, number: int, requests: tuple[Request | None, ...]) -> Checkout:
    """One that waited, gave up, is open or came back, whatever else it did.

    Operations may overlap, take no time, be in flight, or lie beyond its end, and samples may fall
    into anything. The recorder knows how long it was busy.
    """
    pool = draw(POOL)
    began = pool.process.began
    site, owner = draw(SITE), draw(OWNER)
    request = draw(st.sampled_from([r for r in requests if r is None or r.process is pool.process]))
    asked = draw(micros(40_000))
    waited = draw(micros(3_000))
    operations: list[tuple[OperationKind, int, int | None]] = []
    if draw(BOOLEANS):
        kind = draw(FIRST_KIND)
        begun = asked + draw(st.integers(0, waited))
        operations.append((kind, begun, begun + draw(st.integers(0, asked + waited - begun))))
    outcome = draw(END)
    granted = asked + waited
    is_lent = outcome not in (Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.WAITING)
    over = granted + draw(micros(45_000))
    samples: list[int] = []
    if is_lent:
        starts = draw(st.lists(st.integers(granted, over), max_size=4))
        for started in sorted(starts):
            is_last = started == max(starts)
            ended = None if is_last and draw(BOOLEANS) else started + draw(micros(5_000))
            operations.append((draw(USE_KIND), started, ended))
        samples = sorted(draw(st.sets(st.integers(asked, over), max_size=5)))

    def on_run(instant: int) -> float:
        return began + instant / 1e6

    def operation(kind: OperationKind, started: int, ended: int | None) -> Operation:
        over = None if ended is None else on_run(ended)
        text = draw(STATEMENT)
        error = draw(ERROR)
        return op(kind, on_run(started), over, text, error, draw(SITE))

    def seen(place: int) -> Sample:
        started = samples[place]
        latest = samples[place + 1] if place + 1 < len(samples) else started + 1_000
        is_open = place + 1 == len(samples) and draw(BOOLEANS)
        ended = None if is_open else on_run(draw(st.integers(started, latest)))
        activity, where = draw(ACTIVITY), draw(SITE)
        return sample(activity, on_run(started), ended, where)

    is_back = is_lent and outcome is not Outcome.OPEN
    gave_up = not is_lent and outcome is not Outcome.WAITING
    made = make_checkout(
        f"c{number:03}",
        on_run(asked),
        on_run(granted) if is_lent else None,
        on_run(over) if is_back else None,
        pool=pool,
        request=request,
        owner=owner,
        gave_up=on_run(granted) if gave_up else None,
        operations=[operation(*one) for one in operations],
        samples=[seen(place) for place in range(len(samples))],
        site=site,
        outcome=outcome,
    )
    use = oracle.end_of(made) - oracle.end_of_wait(made)
    busy = use - sum(ended - started for started, ended in oracle.gaps(made))
    return replace(made, busy=busy / 1e6 if is_back else 0.0)


@st.composite
def traces(draw: st.DrawFn, most: int = 8) -> Trace:
    """A run of two processes, in memory."""
    requests = tuple(
        replace(
            make_request(
                f"r{number}",
                process.began,
                None if draw(BOOLEANS) else process.began + 0.08,
                method=draw(METHOD),
                route=draw(ROUTE),
                path=f"/notes/{number}",
                status=draw(STATUS),
                responding=_on(process, draw(RESPONDING)),
                responded=_on(process, draw(RESPONDED)),
            ),
            process=process,
        )
        for number, process in enumerate((FIRST, FIRST, SECOND))
    )
    number = draw(st.integers(0, most))
    some = [draw(checkouts(place, (None, *requests))) for place in range(number)]
    some.sort(key=lambda checkout: (checkout.asked, checkout.id))
    return Trace((FIRST, SECOND), POOLS, requests, tuple(some), UNTIL_US / 1e6)


def _on(process: Process, microseconds: int | None) -> float | None:
    return None if microseconds is None else process.began + microseconds / 1e6
