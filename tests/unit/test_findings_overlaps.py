"""Who held a connection while asking for another, against comparing each with all others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import oracle
import pytest
from drawn import traces
from factories import make_checkout, make_pool, make_request, trace_of
from hypothesis import given

from poolhog.analysis.findings.nested_checkout import Inner, overlaps
from poolhog.analysis.memory import ledgers_of

if TYPE_CHECKING:
    from poolhog.model import Trace


@given(traces(most=12))
def test_they_are_those_asked_for_while_another_was_held(trace: Trace) -> None:
    for process, ledger in zip(trace.processes, ledgers_of(trace), strict=True):
        own = [c for c in trace.checkouts if c.pool.process is process]
        found = {
            own[outer].id: [(own[inner.row].id, inner.depth) for inner in every]
            for outer, every in overlaps(ledger).items()
        }
        assert found == oracle.nested(own)


def test_of_one_asker_no_more_are_collected_than_can_matter() -> None:
    pool, request = make_pool(), make_request()
    kept = make_checkout("kept", 0.0, 0.0, None, pool=pool, request=request)
    others = [
        make_checkout(f"o{n}", n / 10, n / 10, n / 10 + 0.05, pool=pool, request=request)
        for n in range(1, 9)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("poolhog.analysis.findings.nested_checkout.MOST_INNER", 3)
        (ledger,) = ledgers_of(trace_of([kept, *others]))
        assert overlaps(ledger) == {0: [Inner(1, 2), Inner(2, 2), Inner(3, 2)]}


def test_one_that_waits_for_ever_is_held_by_nobody() -> None:
    pool, request = make_pool(), make_request()
    waiting = make_checkout("w", 0.0, pool=pool, request=request)
    lent = make_checkout("c", 1.0, 1.0, 2.0, pool=pool, request=request)
    (ledger,) = ledgers_of(trace_of([waiting, lent]))
    assert overlaps(ledger) == {}


def test_one_that_is_out_is_held_until_the_end() -> None:
    """Also if others were asked for after the trace was last written, as threads may have it."""
    pool, request = make_pool(), make_request()
    kept = make_checkout("kept", 0.0, 0.0, None, pool=pool, request=request)
    late = make_checkout("late", 70.0, 70.0, 71.0, pool=pool, request=request)
    (ledger,) = ledgers_of(trace_of([kept, late]))
    assert overlaps(ledger) == {0: [Inner(1, 2)]}
    (ledger,) = ledgers_of(trace_of([replace(kept, returned=69.0), late]))
    assert overlaps(ledger) == {}
