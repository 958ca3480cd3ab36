"""Statements are added up from columns as if each operation had been looked at."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from factories import make_checkout, make_pool, op, trace_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scenarios import Scenario

from poolhog.analysis.owners import route_of
from poolhog.analysis.report import read_report, report_of
from poolhog.analysis.thresholds import Thresholds
from poolhog.analysis.usage import Statements
from poolhog.model import OperationKind
from poolhog.trace.reader import open_trace, stream_trace


@settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(st.data())
def test_whatever_happened(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        for _ in range(data.draw(st.integers(1, 2))):
            Scenario(data.draw, directory).write(data.draw(st.integers(1, 8)))
        counts: Counter[tuple[OperationKind, str | None]] = Counter()
        seconds: Counter[tuple[OperationKind, str | None]] = Counter()
        routes: Counter[tuple[OperationKind, str | None, str]] = Counter()
        for checkout in open_trace(directory).checkouts:
            for operation in checkout.operations:
                key = operation.kind, operation.statement
                if operation.statement is None and operation.kind in ("begin", "reset"):
                    continue
                counts[key] += 1
                routes[*key, route_of(checkout)] += 1
                seconds[key] += round(((operation.ended or 0) - operation.started) * 1e6)
        statements = Statements()
        read_report(stream_trace(directory), Thresholds(), companions=[statements])
        found = statements.uses()
        assert {(use.kind, use.statement): use.count for use in found} == counts
        assert {(use.kind, use.statement): round(use.total * 1e6) for use in found} == seconds
        told = {(u.kind, u.statement, name): n for u in found for name, n in u.routes.items()}
        assert told == routes
        for use in found:
            assert list(use.routes.values()) == sorted(use.routes.values(), reverse=True)
            assert list(use.durations) == sorted(use.durations)
            assert use.at(0.5) <= use.at(0.95) <= use.at(1.0) == use.durations[-1] / 1e6
        assert [use.total for use in found] == sorted((u.total for u in found), reverse=True)


def test_errors_and_what_is_in_flight() -> None:
    """What is in flight is counted, and has no duration; a failed one has both."""
    pool = make_pool()
    statement = op(OperationKind.STATEMENT, 1.0, 1.25, "SELECT 1", error="DataError")
    failed = make_checkout("c1", 0.5, 1.0, 2.0, pool=pool, operations=[statement])
    running = make_checkout(
        *("c2", 0.5, 1.0),
        pool=pool,
        operations=[
            op(OperationKind.BEGIN, 1.0, 1.0),
            op(OperationKind.BEGIN, 1.0, 1.5, "BEGIN"),
            op(OperationKind.STATEMENT, 2.0, None, "SELECT 1"),
        ],
    )
    statements = Statements()
    report_of(trace_of([failed, running]), companions=[statements])
    begin, select = statements.uses()
    assert (begin.kind, begin.statement) == (OperationKind.BEGIN, "BEGIN")
    assert (begin.count, begin.errors, begin.total) == (1, 0, 0.5)
    assert (select.count, select.errors, select.durations.tolist()) == (2, 1, [250_000])
    assert select.at(0.5) == select.total == 0.25


def test_what_was_never_over_has_no_percentile() -> None:
    running = make_checkout(
        "c", 0.5, 1.0, operations=[op(OperationKind.STATEMENT, 2.0, None, "SELECT 1")]
    )
    statements = Statements()
    report_of(trace_of([running]), companions=[statements])
    (use,) = statements.uses()
    assert (use.count, use.total, use.at(0.95)) == (1, 0.0, 0.0)
