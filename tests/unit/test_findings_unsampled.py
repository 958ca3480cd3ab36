"""Gaps that no sample fell into count for the line after the same operation."""

from __future__ import annotations

import pytest
from factories import make_checkout, make_site, op, sample, trace_of

from poolhog.analysis.findings import PARKED_CHECKOUT, known_thresholds
from poolhog.analysis.report import report_of
from poolhog.analysis.thresholds import Thresholds
from poolhog.model import Activity, Checkout, OperationKind

EVERYTHING = Thresholds({threshold.name: 0.0 for threshold in known_thresholds()})
FIRST, SHORT, SECOND, LONG = (
    make_site(line, source, function="work")
    for line, source in (
        (10, "await session.execute(one)"),
        (11, "await quick()"),
        (12, "await session.execute(two)"),
        (13, "await slow()"),
    )
)
ASKED = make_site(9, "async with session:", function="work")
TURNS = 10


def alternating(sampled: int) -> Checkout:
    """Gaps of 4 ms and of 8 ms take turns; of the short ones a sample fell into some only."""
    operations, samples, at = [], [], 0.1
    for turn in range(TURNS):
        for site, line, lasted in ((FIRST, SHORT, 0.004), (SECOND, LONG, 0.008)):
            operations.append(op(OperationKind.STATEMENT, at, at + 0.001, "SELECT 1", site=site))
            at += 0.001
            if line is LONG or turn < sampled:
                samples.append(sample(Activity.PARKED, at + 0.001, at + 0.002, line))
            at += lasted
    return make_checkout("c", 0.0, 0.1, at, site=ASKED, operations=operations, samples=samples)


@pytest.mark.parametrize("sampled", [1, 4, 10])
def test_neighbouring_lines_are_not_mixed(sampled: int) -> None:
    found = report_of(trace_of([alternating(sampled)]), EVERYTHING).findings
    seconds = {f.site: f.seconds for f in found if f.kind is PARKED_CHECKOUT}
    assert seconds == pytest.approx({SHORT: TURNS * 0.004, LONG: TURNS * 0.008}, rel=1e-3)


def test_a_gap_after_a_line_at_which_none_was_seen_is_split_like_all_others() -> None:
    found = report_of(trace_of([alternating(0)]), EVERYTHING).findings
    seconds = {f.site: f.seconds for f in found if f.kind is PARKED_CHECKOUT}
    assert seconds == pytest.approx({LONG: TURNS * 0.012}, rel=1e-3)
