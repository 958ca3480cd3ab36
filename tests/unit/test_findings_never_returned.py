"""Whether a connection that is out at the end of a process was lost, or was in use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import PROCESS, make_checkout, make_pool, make_site, op, sample

from poolhog.analysis.findings.meaning import is_lost
from poolhog.model import Activity, Checkout, OperationKind, Process, Sample

ENDED = replace(PROCESS, finished=True, written=10.0, sampling_interval=0.01)


def open_checkout(
    used: float, *seen: Sample, owner: str = "Thread-1 (work)", process: Process = ENDED
) -> Checkout:
    """One whose last statement ended at an instant."""
    statement = op(OperationKind.STATEMENT, used - 0.001, used)
    pool = replace(make_pool(), process=process)
    return make_checkout(
        "c", 1.0, 1.1, pool=pool, owner=owner, operations=[statement], samples=seen
    )


@pytest.mark.parametrize(("used", "expected"), [(9.99, False), (9.95, False), (9.8, True)])
def test_what_was_used_when_the_process_ended_is_not_lost(used: float, expected: bool) -> None:
    assert is_lost(open_checkout(used)) is expected


def test_a_main_thread_that_has_ended_has_lost_it_all_the_same() -> None:
    assert is_lost(open_checkout(9.99, owner="MainThread"))


def test_an_owner_that_was_seen_to_be_gone_has_lost_it() -> None:
    assert is_lost(open_checkout(9.95, sample(Activity.PARKED, 9.96, 10.0)))


def test_an_owner_that_was_seen_at_last_may_have_gone_on() -> None:
    seen = sample(Activity.PARKED, 5.0, 10.0, make_site())
    assert not is_lost(open_checkout(4.9, seen))


def test_without_looks_nobody_knows_of_use() -> None:
    assert is_lost(open_checkout(9.99, process=replace(ENDED, sampling_interval=0.0)))
