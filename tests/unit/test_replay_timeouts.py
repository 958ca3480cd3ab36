"""Checkouts that got no connection: what they do in a replay without one, and with one."""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from factories import PROCESS, make_checkout, make_pool, make_request, make_site, op, sample
from factories import trace_of as facts_of
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhog.analysis.replay.chains import workload_of
from poolhog.analysis.replay.formulas import FormulaTarget, answers
from poolhog.analysis.replay.prediction import predict, replay
from poolhog.analysis.replay.reasons import reasons
from poolhog.analysis.replay.whatif import WhatIf
from poolhog.model import Activity, OperationKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.replay.performance import Performance
    from poolhog.analysis.replay.workload import Workload
    from poolhog.model import Checkout, Pool

LINE = make_site(20, "session.execute(query)")
INNER = make_site(30, "async with pool.acquire(timeout=1) as inner:")
CALL = make_site(25, "await call_the_llm()")


def workload_from(checkouts: Sequence[Checkout], until: float = 1000.0) -> Workload:
    requests = {c.request.id: c.request for c in checkouts if c.request is not None}
    process = replace(PROCESS, written=until)
    return workload_of(facts_of(checkouts, requests.values(), process=process))


def served(pool: Pool, number: int, asked: float, granted: float, use: float) -> Checkout:
    """A request's only checkout: a statement, a call, and another statement."""
    over = granted + use
    operations = [
        op(OperationKind.STATEMENT, granted, granted + use * 0.1),
        op(OperationKind.STATEMENT, over - use * 0.1, over),
    ]
    looks = [sample(Activity.PARKED, granted + use * 0.1, over - use * 0.1, CALL)]
    owned: dict[str, Any] = {"request": make_request(f"r{number}", asked, over)}
    if number < 0:
        owned = {"owner": f"Task-{-number}"}
    return make_checkout(
        f"c{number}",
        asked,
        granted,
        over,
        pool=pool,
        operations=operations,
        samples=looks,
        site=LINE,
        **owned,
    )


def refused(pool: Pool, number: int, asked: float, waited: float) -> Checkout:
    owned: dict[str, Any] = {"request": make_request(f"r{number}", asked, asked + waited)}
    if number < 0:
        owned = {"owner": f"Task-{-number}"}
    return make_checkout(f"c{number}", asked, pool=pool, gave_up=asked + waited, site=LINE, **owned)


def overload(
    jobs: list[tuple[int, int]], size: int, patience: float, *, pool: Pool, sign: int = 1
) -> list[Checkout]:
    """What a textbook's queue, first come, first served, makes of jobs that wait so long."""
    free = [0.0] * size
    made = []
    for number, (came, use) in enumerate(sorted(jobs, key=lambda job: job[0]), 1):
        at = came + number / 1000  # nobody asks when another one returns
        granted = max(free[0], at)
        if granted - at > patience:
            made.append(refused(pool, sign * number, at, patience))
            continue
        heapq.heapreplace(free, granted + use)
        made.append(served(pool, sign * number, at, granted, float(use)))
    return made


def assert_lent_is_used(performance: Performance, capacity: int, span: float) -> None:
    assert performance.use is not None
    lent = performance.use * capacity * span
    assert lent == pytest.approx(performance.mean_use * performance.checkouts)


JOBS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)), min_size=1, max_size=40)


@pytest.mark.parametrize("sign", [1, -1], ids=["requests", "owners"])
@pytest.mark.parametrize("is_of_pool", [True, False], ids=["pool's timeout", "call's timeout"])
@settings(deadline=None, max_examples=20)
@given(JOBS, st.integers(1, 4), st.integers(1, 10))
def test_an_overload_times_out_in_its_replay_as_it_did(
    sign: int, is_of_pool: bool, jobs: list[tuple[int, int]], size: int, patience: int
) -> None:
    wait = patience + 0.5
    pool = replace(make_pool(size=size), timeout=wait if is_of_pool else None)
    replayed = replay(workload_from(overload(jobs, size, wait, pool=pool, sign=sign)), is_open=True)
    assert replayed.replayed.timeouts == replayed.recorded.timeouts
    assert replayed.replayed.checkouts == replayed.recorded.checkouts
    assert replayed.replayed.answers == replayed.recorded.answers
    assert not replayed.is_doubtful
    after = predict(replayed, WhatIf(pool_size=size + 2)).after
    assert after.timeouts <= replayed.replayed.timeouts
    assert after.checkouts + after.timeouts == len(jobs)
    released = predict(replayed, WhatIf(release=frozenset(range(9)))).after
    for performance, capacity in (
        (replayed.replayed, size),
        (after, size + 2),
        (released, size),
    ):
        assert_lent_is_used(performance, capacity, performance.checkouts / _per_s(performance))


def _per_s(performance: Performance) -> float:
    """Checkouts per second; a run without any has lent nothing in a second."""
    return performance.checkouts_per_s or 1.0


@pytest.mark.parametrize("sign", [1, -1], ids=["requests", "owners"])
def test_who_timed_out_does_what_others_of_its_line_did_if_it_gets_a_connection(sign: int) -> None:
    pool = replace(make_pool(size=1), timeout=1.5)
    checkouts = overload([(0, 4), (0, 4), (0, 4)], 1, 1.5, pool=pool, sign=sign)
    replayed = replay(workload_from(checkouts))
    assert replayed.recorded.timeouts == replayed.replayed.timeouts == 2
    after = predict(replayed, WhatIf(pool_size=3)).after
    assert (after.timeouts, after.checkouts) == (0, 3)
    assert after.mean_use == pytest.approx(4.0)
    assert after.makespan == pytest.approx(4.0, abs=0.01)
    released = predict(replayed, WhatIf(release=frozenset(range(9)))).after
    # The call of 3.2 s happens without a connection, for all at once.
    assert released.timeouts == 0
    assert released.use is not None
    assert released.makespan < 5.5


def test_nobody_knows_what_a_line_does_with_a_connection_that_never_got_one() -> None:
    pool = replace(make_pool(size=1), timeout=1.5)
    held = replace(served(pool, 1, 0.0, 0.0, 5.0), site=CALL)
    workload = workload_from([held, refused(pool, 2, 1.0, 1.5)])
    assert workload.limits.unknown == 1
    assert "unknown-use" in [reason.kind for reason in reasons(replay(workload), ())]


def nested(pool: Pool, number: int, asked: float, outer: float, waited: float) -> list[Checkout]:
    """A request that holds a connection, and waits in vain for another one."""
    gave_up = outer + 0.1 + waited
    request = make_request(f"r{number}", asked, gave_up + 0.1)
    operations = [op(OperationKind.STATEMENT, outer, outer + 0.1)]
    owned: dict[str, Any] = {"pool": pool, "request": request}
    first = make_checkout(
        f"a{number}", asked, outer, gave_up + 0.05, operations=operations, site=LINE, **owned
    )
    second = make_checkout(f"b{number}", outer + 0.1, gave_up=gave_up, site=INNER, **owned)
    return [first, second]


def nested_with_both(pool: Pool, number: int, at: float) -> list[Checkout]:
    request = make_request(f"r{number}", at, at + 0.5)
    owned: dict[str, Any] = {"pool": pool, "request": request}
    first = make_checkout(
        f"a{number}",
        at,
        at,
        at + 0.4,
        operations=[op(OperationKind.STATEMENT, at, at + 0.1)],
        site=LINE,
        **owned,
    )
    second = make_checkout(
        f"b{number}",
        at + 0.1,
        at + 0.1,
        at + 0.3,
        operations=[op(OperationKind.STATEMENT, at + 0.1, at + 0.3)],
        site=INNER,
        **owned,
    )
    return [first, second]


def test_a_deadlock_ends_with_the_timeout_of_a_call() -> None:
    """Two requests hold one connection each of two, and wait 1 s for a second one."""
    pool = replace(make_pool(size=2), timeout=None)
    checkouts = [*nested(pool, 1, 0.0, 0.0, 1.0), *nested(pool, 2, 0.0, 0.0, 1.0)]
    workload = workload_from([*checkouts, *nested_with_both(pool, 3, 5.0)])
    replayed = replay(workload)
    assert replayed.recorded.timeouts == replayed.replayed.timeouts == 2
    assert not replayed.is_doubtful
    assert answers(workload, replayed.recorded, FormulaTarget()).depth == 2
    # With the first one returned before the second is asked for, nobody waits.
    released = predict(replayed, WhatIf(release=frozenset(range(9)))).after
    assert released.timeouts == 0
    assert released.waits.p95 == pytest.approx(0.0, abs=0.05)
    assert released.checkouts == 6
    larger = predict(replayed, WhatIf(pool_size=4)).after
    assert larger.timeouts == 0
    assert_lent_is_used(larger, 4, larger.checkouts / larger.checkouts_per_s)


def test_of_a_released_nest_all_that_is_lent_comes_back() -> None:
    """Owners without a request: the inner connection returns at its own end, not at the outer's."""
    pool = replace(make_pool(size=2), timeout=None)
    checkouts = [*nested_with_both(pool, 0, -5.0)]
    for number in range(1, 7):
        checkouts += nested(pool, number, 0.0, (number - 1) // 2 * 1.15, 1.0)
    owned = [replace(c, request=None, owner=f"Task-{c.id[1:]}") for c in checkouts]
    replayed = replay(workload_from(owned))
    assert replayed.recorded.timeouts == 6
    assert replayed.replayed.timeouts >= 5  # two that wait for each other end at one instant
    released = predict(replayed, WhatIf(release=frozenset(range(9)))).after
    assert (released.timeouts, released.checkouts) == (0, 14)
    assert_lent_is_used(released, 2, released.checkouts / released.checkouts_per_s)
    # 0.1 s of the outer connection, and 0.2 s of the inner one.
    assert released.mean_use == pytest.approx(0.15, abs=0.02)


def test_a_call_that_timed_out_and_was_tried_again_happens_once_if_it_need_not() -> None:
    pool = replace(make_pool(size=1), timeout=1.0)
    holder = served(pool, 1, 0.0, 0.0, 1.5)
    request = make_request("r2", 0.0, 2.0)
    first = make_checkout("c2", 0.0, pool=pool, request=request, gave_up=1.0, site=LINE)
    again = make_checkout(
        "c3",
        1.1,
        1.5,
        2.0,
        pool=pool,
        request=request,
        operations=[op(OperationKind.STATEMENT, 1.5, 2.0)],
        site=LINE,
    )
    workload = workload_from([holder, first, again])
    replayed = replay(workload)
    assert replayed.recorded.timeouts == replayed.replayed.timeouts == 1
    assert replayed.replayed.checkouts == 2
    assert not replayed.is_doubtful
    assert answers(workload, replayed.recorded, FormulaTarget()).depth == 1
    after = predict(replayed, WhatIf(pool_size=2)).after
    assert (after.timeouts, after.checkouts) == (0, 2)
    assert after.responses.p50 == pytest.approx(0.5, abs=0.01)


def test_depth_counts_no_connection_that_was_not_given() -> None:
    """An attempt that fails while one is held, and the whole again: two at once, never three."""
    pool = replace(make_pool(size=2), timeout=None)
    owner = [replace(c, request=None, owner="store") for c in nested(pool, 1, 0.0, 0.0, 1.0)]
    later = [replace(c, request=None, owner="store") for c in nested_with_both(pool, 2, 5.0)]
    workload = workload_from([*owner, *later])
    assert answers(workload, replay(workload).recorded, FormulaTarget()).depth == 2


def test_a_client_that_went_while_it_waited_goes_again() -> None:
    pool = replace(make_pool(size=1), timeout=None)
    left = replace(refused(pool, 2, 1.0, 0.5), outcome=Outcome.CANCELLED)
    replayed = replay(workload_from([served(pool, 1, 0.0, 0.0, 5.0), left]))
    assert (replayed.replayed.timeouts, replayed.replayed.checkouts) == (0, 1)
    after = predict(replayed, WhatIf(pool_size=2)).after
    assert after.checkouts == 2
    assert after.mean_use == pytest.approx(5.0)
