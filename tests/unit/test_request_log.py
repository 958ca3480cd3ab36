"""The log of a request: in causal order, with sites, and with the gaps that matter."""

from __future__ import annotations

import pytest
from factories import EXTERNAL_CALL, make_checkout, make_request, make_site, one_get, op, sample
from views import with_spans

from poolhog.analysis.accounting import State
from poolhog.analysis.request_log import EventKind, LogEvent, log_of, log_with_gaps
from poolhog.analysis.shown import application_site
from poolhog.model import Activity, OperationKind, Site

ENDPOINT = make_site(41, "note = await session.scalar(find)")
LIBRARY = Site("/lib/asyncio/tasks.py", 605, "sleep", "return await future", False, EXTERNAL_CALL)


def lines(samples: list[tuple[Activity, float, float, Site | None]]) -> list[LogEvent]:
    """The waits and gaps of a checkout that was asked for at 1 and used from 2 to 12."""
    request = make_request(started=1.0, ended=13.0, responding=12.5)
    checkout = make_checkout(
        asked=1.0,
        granted=2.0,
        returned=12.0,
        request=request,
        site=ENDPOINT,
        operations=[
            op(OperationKind.STATEMENT, 2.0, 3.0, "SELECT 1", site=ENDPOINT),
            op(OperationKind.COMMIT, 11.0, 12.0),
        ],
        samples=[sample(*one) for one in samples],
    )
    found = log_with_gaps(request, with_spans(checkout))
    assert tuple(line for line in found if line.state is None) == log_of(request, [checkout])
    return [line for line in found if line.state is not None]


def test_a_gap_stands_where_it_was_in_the_applications_code() -> None:
    found = lines([(Activity.PARKED, 3.5, 10.5, LIBRARY)])
    assert {event.kind for event in found} == {EventKind.SPENT}
    assert [(event.at, event.state, event.duration, event.site) for event in found] == [
        (0.0, State.WAITING, 1.0, ENDPOINT),
        (2.0, State.PARKED, 8.0, EXTERNAL_CALL),
    ]


def test_parts_of_a_gap_on_the_same_line_are_one() -> None:
    deeper = Site("/lib/x.py", 1, "x", "", False, EXTERNAL_CALL)
    other = make_site(60)
    _, *found = lines(
        [
            (Activity.PARKED, 3.0, 4.0, LIBRARY),
            (Activity.PARKED, 5.0, 6.0, deeper),
            (Activity.RUNNING, 8.0, 8.0, other),
            (Activity.RUNNING, 10.0, 10.0, None),
        ]
    )
    assert [(line.state, line.duration, line.site) for line in found] == [
        (State.PARKED, 4.0, EXTERNAL_CALL),
        (State.RUNNING, 2.0, other),
        (State.RUNNING, 2.0, None),
    ]


def test_a_gap_that_nobody_looked_at_is_told_without_a_place() -> None:
    _, found = lines([])
    assert (found.state, found.duration, found.site) == (State.RUNNING, 8.0, None)


@pytest.mark.parametrize(
    ("gap", "use", "told"),
    [(0.0101, 10.0, True), (0.0099, 10.0, False), (0.0011, 0.02, True), (0.0009, 0.002, False)],
)
def test_what_is_worth_a_line(gap: float, use: float, told: bool) -> None:
    """10 ms, or 5 % of the use, but not less than 1 ms."""
    operations = [op(OperationKind.STATEMENT, gap, use, "SELECT 1")]
    checkout = make_checkout(granted=0.0, returned=use, operations=operations)
    found = log_with_gaps(None, with_spans(checkout))
    assert any(line.state is State.RUNNING for line in found) is told


def test_work_without_a_request_counts_from_its_first_line() -> None:
    checkout = make_checkout(asked=5.0, granted=5.0, returned=7.0)
    found = log_of(None, [checkout])
    assert [line.at for line in found] == [0.0, 2.0]


def test_the_lines_of_a_get_have_sites_and_durations() -> None:
    request, checkout = one_get()
    select = next(
        line for line in log_of(request, [checkout]) if line.operation == checkout.operations[1]
    )
    assert select.duration == pytest.approx(0.00133)
    response = next(line for line in log_of(request, [checkout]) if line.is_response)
    assert response.duration is None


def test_a_stack_without_the_application_has_no_site_of_it() -> None:
    assert application_site(LIBRARY) is EXTERNAL_CALL
    assert application_site(Site("/lib/x.py", 1, "x", "", False)) is None
    assert application_site(None) is None
