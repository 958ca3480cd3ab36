"""Gaps that are alike are judged together: by what they lie between, as columns."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import oracle
import pytest
from drawn import traces
from factories import make_checkout, make_pool, make_request, make_site, op, sample, trace_of
from hypothesis import given

from poolhog.analysis.findings import PARKED_CHECKOUT, POOL_TIMEOUT, finder
from poolhog.analysis.findings.meaning import Gap, around, piece_of, surroundings
from poolhog.analysis.memory import ledgers_of
from poolhog.analysis.report import report_of
from poolhog.analysis.spans import UNSAMPLED, cut
from poolhog.model import Activity, OperationKind
from poolhog.render.findings import detail

if TYPE_CHECKING:
    from poolhog.analysis.spans import Cut
    from poolhog.model import Checkout, Operation, Trace

STATEMENT = OperationKind.STATEMENT


def operation_at(found: Cut, checkout: Checkout, row: int, index: int) -> Operation | None:
    """The operation of a checkout that an index among all that were cut stands for."""
    if index < 0:
        return None
    return checkout.operations[index - int(np.searchsorted(found.operations.row, row))]


@given(traces())
def test_what_a_gap_lies_between(trace: Trace) -> None:
    for ledger in ledgers_of(trace):
        rows = np.arange(len(ledger))
        found = cut(ledger, rows)
        by_gap = surroundings(found)
        for row, checkout in enumerate(ledger.checkouts(rows)):
            for gap in np.flatnonzero(found.gaps.row == row).tolist():
                edges = found.gaps.started[gap], found.gaps.ended[gap]
                expected = around(checkout, Gap(*(ledger.seconds(int(edge)) for edge in edges)))
                reference, before, after = (
                    operation_at(found, checkout, row, int(column[gap])) for column in by_gap
                )
                site = reference.site if reference is not None else checkout.site
                assert site is expected.reference
                assert (before, after) == (expected.before, expected.after)


@given(traces())
def test_a_piece_is_a_span_of_a_gap_on_the_clock_of_the_run(trace: Trace) -> None:
    for ledger in ledgers_of(trace):
        rows = np.arange(len(ledger))
        found = cut(ledger, rows)
        checkouts = list(ledger.checkouts(rows))
        for span in np.flatnonzero(found.spans.gap >= 0).tolist():
            checkout = checkouts[found.spans.row[span]]
            piece = piece_of(ledger, found, span, checkout)
            edges = [ledger.microseconds(edge) for edge in (piece.started, piece.ended)]
            assert edges == [found.spans.started[span], found.spans.ended[span]]
            assert piece.gap.started <= piece.started < piece.ended <= piece.gap.ended
            assert (piece.state is None) == (found.spans.state[span] == UNSAMPLED)
            assert (piece.sample is None) == (piece.state is None)
            if piece.sample is not None and piece.state is not None:
                assert piece.state.value == oracle.state_of(piece.sample)
                assert piece.sample in checkout.samples


LINES = {line: make_site(line, function="endpoint") for line in (7, 8)}
QUERY = make_site(11, "await session.execute(query)", function="endpoint")


def parked(id_: str, at: float, seconds: float, line: int = 7) -> Checkout:
    """Parked after a statement, with the sample that says so."""
    return make_checkout(
        *(id_, at, at, at + 0.01 + seconds),
        pool=make_pool(size=None),
        request=make_request(id_, at, at + 9.0),
        operations=[op(STATEMENT, at, at + 0.01, "SELECT 1", site=QUERY)],
        samples=[sample(Activity.PARKED, at + 0.02, None, LINES[line])],
        site=QUERY,
    )


def test_the_median_and_the_longest_are_those_of_each_checkout() -> None:
    seconds = [1.0, 4.0, 2.0, 8.0, 3.0]
    some = [parked(f"c{n}", 2.0 * n, lasting) for n, lasting in enumerate(seconds)]
    (finding,) = report_of(trace_of(some)).findings
    assert finding.kind is PARKED_CHECKOUT
    assert finding.seconds == pytest.approx(sum(seconds))
    assert "in 5 checkouts (median 3 s, longest 8 s)" in detail(finding)
    assert finding.example.checkout == "c3"
    assert sorted(finding.occurrences.seconds) == pytest.approx(sorted(seconds))
    assert list(finding.occurrences.asked) == pytest.approx([c.asked for c in some])


def test_two_gaps_of_a_checkout_at_one_line_are_one_occurrence() -> None:
    one = parked("c1", 1.0, 5.0)
    query = one.operations[0]
    second = op(STATEMENT, 3.0, 4.0, query.statement, site=query.site)
    samples = [*one.samples, sample(Activity.PARKED, 4.5, None, LINES[7])]
    twice = make_checkout(
        *("c1", 1.0, 1.0, 6.01),
        pool=one.pool,
        request=one.request,
        operations=[query, second],
        samples=samples,
        site=one.site,
    )
    (finding,) = report_of(trace_of([twice])).findings
    assert finding.checkouts == 1
    assert finding.seconds == pytest.approx(4.0)
    assert (finding.example.started, finding.example.ended) == pytest.approx((4.0, 6.01))


def test_lines_that_differ_are_findings_of_their_own() -> None:
    some = [parked(f"c{n}", n, 1.0 + n % 2, line=7 + n % 2) for n in range(10)]
    findings = report_of(trace_of(some)).findings
    assert [(f.site and f.site.line, f.checkouts) for f in findings] == [(8, 5), (7, 5)]
    assert all(one.seconds > other.seconds for one, other in pairwise(findings))


def test_only_some_timeouts_are_explained_and_all_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finder, "MOST_EXPLAINED", 2)
    pool = make_pool(size=1)
    hog = make_checkout("hog", 0.0, 0.0, 50.0, pool=pool, request=make_request("h", route="/hog"))
    late = make_checkout("late", 50.0, 50.0, 59.0, pool=pool, request=make_request("l", route="/l"))
    refused = [
        make_checkout(f"w{n}", n, gave_up=n + 30.0, pool=pool, request=make_request(f"r{n}"))
        for n in (1.0, 2.0, 25.0)
    ]
    (found,) = (
        finding
        for finding in report_of(trace_of([hog, late, *refused])).findings
        if finding.kind is POOL_TIMEOUT
    )
    assert found.checkouts == 3
    # The third would have found another holder.
    assert "/hog" in detail(found)
    assert "/l" not in detail(found)
