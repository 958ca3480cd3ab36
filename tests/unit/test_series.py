"""Checkouts by route, as columns, are those of the trace one by one."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import oracle
import pytest
from drawn import traces
from hypothesis import given
from large_trace import make_trace

from poolhog.analysis.compare.series import Rows, Series
from poolhog.analysis.owners import route_of
from poolhog.analysis.report import Report, read_report, report_of
from poolhog.analysis.thresholds import Thresholds
from poolhog.trace.reader import open_trace, stream_trace

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.model import Trace

COLUMNS = "asked", "wait", "use", "busy", "blocked", "parked", "timed_out"


def expected(trace: Trace) -> dict[str, list[tuple[float, ...]]]:
    """By route, the columns of each checkout, in the order of asking."""
    shares = {
        process.pid: oracle.shares(c for c in trace.checkouts if c.pool.process is process)
        for process in trace.processes
    }
    found = defaultdict(list)
    for checkout in trace.checkouts:
        ended = oracle.end_of_wait(checkout)
        parked, *_ = oracle.gap_seconds(checkout, shares[checkout.pool.process.pid])
        row = (
            ended - oracle.at(checkout, checkout.asked),
            oracle.end_of(checkout) - ended,
            oracle.seconds(checkout).busy,
            oracle.seconds(checkout).blocked,
            parked,
        )
        is_timeout = float(oracle.is_timeout(checkout))
        seconds = (microseconds / 1e6 for microseconds in row)
        found[route_of(checkout)].append((checkout.asked, *seconds, is_timeout))
    return found


def check(series: Series, report: Report, trace: Trace) -> None:
    wanted = expected(trace)
    assert set(series.routes()) == set(wanted)
    for route, rows in wanted.items():
        found = series.of([route])
        columns = zip(COLUMNS, found.columns, strict=True)
        # Those that were asked for at once are in any order.
        table = np.array(sorted(zip(*(np.round(c, 6).tolist() for _, c in columns), strict=True)))
        assert table == pytest.approx(np.array(sorted(rows)), abs=2e-6)
        assert list(found.asked) == sorted(found.asked)
        (use,) = (use for use in report.routes if use.name == route)
        for column in ("wait", "use", "busy", "parked"):
            seconds = getattr(use.spent, column)
            assert sum(getattr(found, column)) == pytest.approx(seconds, abs=1e-6)
    every = series.of(wanted)
    assert len(every) == len(trace.checkouts)
    assert list(every.asked) == sorted(every.asked)
    if trace.checkouts:
        ends = [c.pool.process.began + oracle.end_of(c) / 1e6 for c in trace.checkouts]
        first = min(c.asked for c in trace.checkouts)
        assert (series.began, series.ended) == pytest.approx((first, max(ends)), abs=2e-6)


@given(traces())
def test_every_checkout_is_in_it(trace: Trace) -> None:
    series = Series()
    check(series, report_of(trace, companions=[series]), trace)


def test_of_a_file_as_well(tmp_path: Path) -> None:
    make_trace(tmp_path, 600)
    series = Series()
    report = read_report(stream_trace(tmp_path), Thresholds(), companions=[series])
    check(series, report, open_trace(tmp_path))


def test_of_nothing_it_is_empty() -> None:
    assert len(Series().of(["GET /"])) == len(Rows.together([])) == 0
