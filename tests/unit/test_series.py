"""Checkouts by route: what passes by without a look comes to the same as what is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from large_trace import make_trace

from poolhog.analysis.report import Report, read_report
from poolhog.analysis.series import Series
from poolhog.analysis.thresholds import Thresholds
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from pathlib import Path


def series_of(directory: Path, *, every: bool) -> tuple[Series, Report]:
    series = Series()
    report = read_report(stream_trace(directory), Thresholds(), companions=[series], every=every)
    return series, report


def test_quiet_checkouts_are_in_it_like_all_others(tmp_path: Path) -> None:
    make_trace(tmp_path, 600)
    (packed, report), (whole, _) = (series_of(tmp_path, every=every) for every in (False, True))
    assert (packed.began, packed.ended) == pytest.approx((whole.began, whole.ended), abs=2e-6)
    assert set(packed.routes()) == set(whole.routes()) == {r.name for r in report.routes}
    for route in report.routes:
        one, other = packed.of([route.name]), whole.of([route.name])
        for column in ("asked", "wait", "use"):
            assert list(getattr(one, column)) == pytest.approx(
                list(getattr(other, column)), abs=2e-6
            )
        for column in ("wait", "use", "busy", "parked"):
            seconds = getattr(route.spent, column)
            assert sum(getattr(one, column)) == pytest.approx(seconds, abs=1e-6)
            assert sum(getattr(other, column)) == pytest.approx(seconds, abs=1e-6)
