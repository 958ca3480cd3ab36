"""What ``--fail-on`` takes, and when it holds."""

from __future__ import annotations

import pytest
from runs import Costs, run_of, steady

from poolhog.analysis.compare.comparison import compare, results
from poolhog.cli.conditions import conditions
from poolhog.errors import PoolhogError

PLAIN = run_of(steady(1))
WORSE = run_of(steady(2, costs=[Costs(parked=0.4)]))
CLEAN = run_of(steady(3, costs=[Costs(parked=0.0)]))
NOTHING = run_of([])


@pytest.mark.parametrize(
    ("text", "measure", "is_less", "is_relative", "limit"),
    [
        ("wait-p95>50ms", "wait-p95", False, False, 0.05),
        ("wait-p95 > .05", "wait-p95", False, False, 0.05),
        ("use<2s", "use", True, False, 2.0),
        ("parked>+10%", "parked", False, True, 0.1),
        ("throughput<-10%", "throughput", True, True, -0.1),
        ("requests-per-second<100/s", "throughput", True, False, 100.0),
        ("idle>50%", "idle", False, False, 0.5),
        ("timeouts>0", "timeouts", False, False, 0.0),
    ],
)
def test_measures_limits_and_changes(
    text: str, measure: str, is_less: bool, is_relative: bool, limit: float
) -> None:
    (found,) = conditions([text])
    assert (found.measure and found.measure.name, found.is_less, found.is_relative) == (
        measure,
        is_less,
        is_relative,
    )
    assert found.limit == pytest.approx(limit)


def test_several_with_commas_or_one_by_one() -> None:
    found = conditions(["new-findings, parked>1s", "parked>1s", "busy>1s"])
    assert [condition.text for condition in found] == ["new-findings", "parked>1s", "busy>1s"]
    assert conditions(["never"]) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected new-findings"),
        ("slowness>1s", "slowness is no measure"),
        ("parked", "wait-p95>50ms"),
        ("parked>=1s", "expected"),
        ("parked>10%", "told in s or ms; +N% and -N% are changes"),
        ("parked>+10ms", "in percent"),
        ("idle>5ms", "told in %"),
        ("throughput>5ms", "told in /s"),
        ("never,new-findings", "stands alone"),
    ],
)
def test_a_mistake_says_what_there_is(text: str, told: str) -> None:
    with pytest.raises(PoolhogError, match="--fail-on") as error:
        conditions([text])
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("parked>+10%", True),
        ("parked>+300%", False),
        ("parked<-10%", False),
        ("parked>0.3s", True),
        ("parked>500ms", False),
        ("parked<500ms", True),
        ("wait-max>1ms", True),
        ("timeouts>0", False),
        ("new-findings", False),
    ],
)
def test_parked_time_that_doubled(text: str, holds: bool) -> None:
    (result,) = results(compare(PLAIN, WORSE), conditions([text]))
    assert (result.holds, result.is_uncertain) == (holds, False)


def test_a_new_finding() -> None:
    (wanted,) = conditions(["new-findings"])
    assert [o.holds for o in results(compare(CLEAN, PLAIN), [wanted])] == [True]
    assert [o.holds for o in results(compare(PLAIN, CLEAN), [wanted])] == [False]


def test_a_change_within_the_spread_does_not_hold_and_is_told() -> None:
    one, other = run_of(steady(1, 40)), run_of(steady(4, 40))
    comparison = compare(one, other)
    change = comparison.total.change("parked")
    assert abs(change.relative) > 0.01, "the two have the same by chance: take another seed"
    sign = ">+" if change.relative > 0 else "<-"
    (result,) = results(comparison, conditions([f"parked{sign}1%"]))
    assert (result.holds, result.is_uncertain) == (False, True)


def test_where_there_is_nothing_only_limits_hold_of_what_there_is() -> None:
    wanted = conditions(["parked>+1%", "parked>100ms", "parked<100ms"])
    assert [o.holds for o in results(compare(NOTHING, PLAIN), wanted)] == [False, True, False]
    assert not any(o.holds for o in results(compare(PLAIN, NOTHING), wanted))
