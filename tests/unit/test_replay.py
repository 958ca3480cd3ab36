"""A workload is played through its pools again: as it was, and as it could have been."""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from factories import (
    EXTERNAL_CALL,
    PROCESS,
    explicit_burst,
    implicit_burst,
    make_checkout,
    make_pool,
    make_request,
    op,
    sample,
)
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.pool import QueuePool

from poolhog.analysis.replay.chains import workload_of
from poolhog.analysis.replay.prediction import closed_loop, predict, replay, shared
from poolhog.analysis.replay.simulation import simulate
from poolhog.analysis.replay.steps import StepKind
from poolhog.analysis.replay.whatif import WhatIf
from poolhog.model import Activity, OperationKind, Outcome, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factories import Burst

    from poolhog.analysis.replay.workload import Workload
    from poolhog.model import Checkout, Pool


def trace_of(checkouts: Sequence[Checkout], until: float = 60.0) -> Trace:
    process = replace(PROCESS, written=until)
    pools: dict[str, Pool] = {}
    requests = {}
    moved = []
    for checkout in sorted(checkouts, key=lambda c: c.asked):
        pool = pools.setdefault(checkout.pool.id, replace(checkout.pool, process=process))
        moved.append(replace(checkout, pool=pool))
        if checkout.request is not None:
            requests[checkout.request.id] = checkout.request
    return Trace((process,), tuple(pools.values()), tuple(requests.values()), tuple(moved), until)


def burst_of(requests: int = 10, size: int = 5, latency: float = 5.0) -> Workload:
    return workload_of(trace_of(implicit_burst(requests, size, latency)[0]))


def used(
    number: int, asked: float, use: float, pool: Pool, granted: float | None = None
) -> Checkout:
    """A request's only checkout, all of it one statement."""
    got = asked if granted is None else granted
    request = make_request(f"r{number}", asked, got + use)
    operations = [op(OperationKind.STATEMENT, got, got + use)]
    return make_checkout(
        f"c{number}", asked, got, got + use, pool=pool, request=request, operations=operations
    )


@pytest.mark.parametrize("burst", [implicit_burst, explicit_burst])
def test_replays_a_burst_as_it_was(burst: Callable[[], Burst]) -> None:
    checkouts, requests, _, ended = burst()
    replayed = replay(workload_of(trace_of(checkouts)))
    assert replayed.recorded.answers == replayed.replayed.answers == len(requests)
    assert replayed.recorded.makespan == pytest.approx(ended - requests[0].started)
    assert replayed.makespan_error < 0.01
    assert replayed.throughput_error < 0.01
    assert replayed.response_error < 0.01
    assert not replayed.is_doubtful


def test_a_released_call_happens_for_all_at_once() -> None:
    workload = burst_of()
    assert workload.places == (EXTERNAL_CALL,)
    after = predict(replay(workload), WhatIf(release=frozenset([0]))).after
    _, requests, _, ended = explicit_burst()
    assert after.makespan == pytest.approx(ended - requests[0].started, rel=0.03)
    assert after.waits.p95 < 0.1
    # What is held is the statements and the ends of two transactions.
    assert after.use is not None
    assert after.use < 0.02


def test_two_waves_need_twice_the_connections_to_be_one() -> None:
    replayed = replay(burst_of())
    assert predict(replayed, WhatIf(pool_size=9)).after.makespan > 10
    assert predict(replayed, WhatIf(pool_size=10)).after.makespan < 5.2
    assert predict(replayed, WhatIf(max_overflow=5)).after.makespan < 5.2


def test_a_call_that_takes_half_as_long_halves_both_waves() -> None:
    replayed = replay(burst_of())
    after = predict(replayed, WhatIf(external_latency=0.5)).after
    assert after.makespan == pytest.approx(replayed.replayed.makespan / 2, rel=0.02)


def test_workers_have_pools_of_their_own() -> None:
    replayed = replay(burst_of())
    after = predict(replayed, WhatIf(workers=2)).after
    assert after.makespan < 5.2
    assert after.use == pytest.approx(predict(replayed, WhatIf(pool_size=10)).after.use, rel=0.01)


def test_who_waits_for_too_long_gives_up_and_is_over() -> None:
    after = predict(replay(burst_of()), WhatIf(pool_timeout=3.0)).after
    # Their answers say so.
    assert (after.timeouts, after.answers) == (5, 10)
    assert after.makespan < 5.2


def test_a_user_who_got_no_connection_asks_again() -> None:
    replayed = replay(burst_of(requests=10, size=10, latency=1.0))
    after = predict(replayed, WhatIf(users=30, pool_timeout=0.5)).after
    # Ten a second are served, and the other twenty give up twice a second.
    assert after.throughput == pytest.approx(10 + 20 / 0.5, rel=0.15)


def test_users_ask_again_when_they_are_answered() -> None:
    replayed = replay(burst_of(requests=10, size=10, latency=1.0))
    after = predict(replayed, WhatIf(users=20)).after
    # Twenty users share ten connections that are held for a second each.
    assert after.throughput == pytest.approx(10, rel=0.06)
    assert after.waits.p50 == pytest.approx(1.0, rel=0.1)
    released = predict(replayed, WhatIf(users=20, release=frozenset([0]))).after
    assert released.throughput == pytest.approx(20, rel=0.1)


def test_think_time_is_a_part_of_the_loop() -> None:
    replayed = replay(burst_of(requests=10, size=10, latency=1.0))
    after = predict(replayed, WhatIf(users=10, think=1.0)).after
    assert after.throughput == pytest.approx(5, rel=0.1)


def test_the_loop_of_a_process_runs_one_owner_at_a_time() -> None:
    pool = make_pool(size=10)
    checkouts = [
        make_checkout(f"c{n}", 0.0, 0.0, 1.0, pool=pool, request=make_request(f"r{n}", 0.0, 1.0))
        for n in range(4)
    ]
    workload = workload_of(trace_of(checkouts))
    assert {StepKind(kind) for kind in workload.steps.kinds} >= {
        StepKind.RUN,
        StepKind.ASK,
        StepKind.RETURN,
    }
    assert max(simulate(workload).answered) == pytest.approx(4.0)
    assert max(simulate(workload, WhatIf(workers=2)).answered) == pytest.approx(2.0)


def test_owners_that_could_run_at_once_share_the_time() -> None:
    pool = make_pool(size=10)
    requests = [make_request(f"r{n}", 0.0, 2.0 + (n == 3)) for n in range(4)]
    checkouts = [
        make_checkout(f"c{n}", 0.0, 0.0, request.ended, pool=pool, request=request)
        for n, request in enumerate(requests)
    ]
    workload = shared(workload_of(trace_of(checkouts)))
    seconds = zip(workload.steps.kinds, workload.steps.seconds, strict=True)
    # Two seconds of four, and one that was left to the last.
    ran = sorted(s for kind, s in seconds if kind == StepKind.RUN)
    assert ran == pytest.approx([0.5] * 3 + [1.5])
    assert max(simulate(workload).answered) == pytest.approx(3.0)
    assert max(replay(workload_of(trace_of(checkouts))).workload.steps.seconds) == 1.5


def test_an_owner_that_needs_two_connections_deadlocks_a_small_pool() -> None:
    pool = make_pool(size=4)
    checkouts = []
    for n in range(4):
        at = float(3 * n)
        request = make_request(f"r{n}", at, at + 2.0)
        outer = [
            op(OperationKind.STATEMENT, at, at + 0.5),
            op(OperationKind.COMMIT, at + 1.9, at + 2),
        ]
        inner = [op(OperationKind.STATEMENT, at + 0.6, at + 1.5)]
        checkouts += [
            make_checkout(f"o{n}", at, at, at + 2, pool=pool, request=request, operations=outer),
            make_checkout(
                f"i{n}", at + 0.6, at + 0.6, at + 1.5, pool=pool, request=request, operations=inner
            ),
        ]
    replayed = replay(workload_of(trace_of(checkouts)))
    assert replayed.error < 0.01
    terms = WhatIf(rate=1000.0, pool_timeout=30.0)
    stuck = predict(replayed, terms).after
    # All four hold one; when the first gives up, the others get theirs.
    assert stuck.timeouts >= 1
    # 4 requests x (2 - 1) + 1: one more connection, and nobody can be stuck.
    assert predict(replayed, replace(terms, pool_size=5)).after.timeouts == 0


def test_tasks_that_work_beside_each_other_are_waited_for() -> None:
    pool = make_pool(size=3)
    request = make_request("r", 0.0, 3.2)
    checkouts = [
        make_checkout(
            f"c{n}",
            0.1,
            0.1,
            1.0 + n,
            pool=pool,
            request=request,
            owner=f"Task-{n}",
            operations=[op(OperationKind.STATEMENT, 0.1, 1.0 + n)],
        )
        for n in range(3)
    ]
    workload = workload_of(trace_of(checkouts))
    assert simulate(workload).responses[0] == pytest.approx(3.2, abs=0.01)
    # With one connection, the three do it one after the other.
    alone = simulate(workload, WhatIf(pool_size=1))
    assert alone.responses[0] == pytest.approx(0.1 + 0.9 + 1.9 + 2.9 + 0.2, abs=0.01)


def test_tasks_of_a_process_are_begun_by_its_own_requests() -> None:
    pool = make_pool(size=3)
    traces = []
    for process in range(2):
        request = make_request(f"r{process}", 0.0, 3.0)
        checkouts = [
            make_checkout(
                f"{process}.{n}",
                0.1,
                0.1,
                1.0 + n,
                pool=replace(pool, id=f"{process}.pool"),
                request=request,
                owner=f"Task-{n}",
                operations=[op(OperationKind.STATEMENT, 0.1, 1.0 + n)],
            )
            for n in range(2)
        ]
        traces.append(trace_of(checkouts))
    one, other = traces
    both = Trace(
        one.processes + other.processes,
        one.pools + other.pools,
        one.requests + other.requests,
        one.checkouts + other.checkouts,
        until=60.0,
    )
    workload = workload_of(both)
    chains, steps = workload.chains, workload.steps
    parents = [number for number, came in enumerate(chains.arrived) if came < float("inf")]
    begun = {
        parent: [step.what for step in steps.since(chains.first[parent]) if step.kind == 9]
        for parent in parents
    }
    children = [number for number in range(len(chains)) if number not in parents]
    assert [child for found in begun.values() for child in found] == children
    assert all(chains.process[c] == chains.process[p] for p, found in begun.items() for c in found)
    assert simulate(workload).responses == pytest.approx([3.0, 3.0], abs=0.01)


def test_what_was_not_recorded_to_its_end_goes_on_as_others_did() -> None:
    pool = make_pool(size=1)
    whole = [used(n, n * 2.0, 1.0, pool) for n in range(3)]
    waiting = make_checkout("w", 6.0, pool=pool, request=make_request("rw", 6.0, None))
    workload = workload_of(trace_of([*whole, waiting], until=6.5))
    assert workload.unfinished == 1
    assert replay(workload).recorded.answers == 3
    assert len(simulate(workload).answered) == 4


def test_a_closed_loop_is_told_by_its_arrivals() -> None:
    pool = make_pool(size=4)
    looped = [used(n, n // 4 * 1.0, 0.999, pool) for n in range(120)]
    assert closed_loop(workload_of(trace_of(looped, 200.0))) == 4
    spread = [used(n, n * 0.4 + n % 7 * 0.3, 0.999, pool) for n in range(120)]
    assert closed_loop(workload_of(trace_of(spread, 200.0))) is None
    in_turns = [used(n, n // 4 * 2.0, 0.999, pool) for n in range(120)]
    assert closed_loop(workload_of(trace_of(in_turns, 200.0))) is None


def test_a_connection_that_is_opened_costs_what_it_did() -> None:
    pool = make_pool(size=2)
    request = make_request("r", 0.0, 1.5)
    operations = [
        op(OperationKind.CONNECT, 0.0, 0.5),
        op(OperationKind.STATEMENT, 0.5, 1.5),
    ]
    first = make_checkout(
        "c", 0.0, 0.5, 1.5, pool=pool, request=request, operations=operations, connection=1
    )
    again = replace(used(2, 3.0, 1.0, pool), connection=1)
    observed = simulate(workload_of(trace_of([first, again])))
    assert sorted(observed.waits) == pytest.approx([0.0, 0.5])


def opening(number: int, at: float, pool: Pool) -> Checkout:
    """A request's only checkout, for which a connection of this number was opened."""
    operations = [
        op(OperationKind.CONNECT, at, at + 0.5),
        op(OperationKind.STATEMENT, at + 0.5, at + 1.5),
    ]
    return make_checkout(
        f"c{number}",
        at,
        at + 0.5,
        at + 1.5,
        pool=pool,
        request=make_request(f"r{number}", at, at + 1.5),
        operations=operations,
        connection=number,
    )


def test_connections_were_open_before_that_nobody_was_seen_opening() -> None:
    pool = make_pool(size=4)
    opened = [opening(n, 0.0, pool) for n in (1, 2)]
    again = replace(used(3, 2.0, 1.0, pool), connection=2)
    (terms,) = workload_of(trace_of([*opened, again])).pools
    assert terms.warm == 0
    assert terms.connecting == pytest.approx(0.5)
    # One that is lent without anything remarkable was open as well.
    earlier = replace(used(4, 2.0, 1.0, pool), connection=3)
    (terms,) = workload_of(trace_of([*opened, again, earlier])).pools
    assert terms.warm == 1


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.OPEN])
def test_who_got_no_connection_does_not_stand_for_one_that_was_open(outcome: Outcome) -> None:
    pool = make_pool(size=1)
    gave_up = None if outcome is Outcome.OPEN else 1.4
    refused = replace(
        make_checkout("c2", 0.1, pool=pool, request=make_request("r2", 0.1, gave_up)),
        outcome=outcome,
        gave_up=gave_up,
        connection=None,
    )
    (terms,) = workload_of(trace_of([opening(1, 0.0, pool), refused], until=2.0)).pools
    assert terms.warm == 0


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30)), min_size=1, max_size=40),
    st.integers(1, 6),
)
def test_is_first_come_first_served(jobs: list[tuple[int, int]], size: int) -> None:
    """Held against the textbook's queue: whoever is first gets the connection that is free next."""
    pool = replace(make_pool(size=size), timeout=None)
    jobs.sort(key=lambda job: job[0])
    checkouts = [used(n, float(at), float(use), pool) for n, (at, use) in enumerate(jobs)]
    free = [0.0] * size
    waits = []
    for at, use in jobs:
        granted = max(heapq.heappop(free), float(at))
        heapq.heappush(free, granted + use)
        waits.append(granted - at)
    observed = simulate(workload_of(trace_of(checkouts, 5000.0)))
    assert sorted(observed.waits) == pytest.approx(sorted(waits))
    assert len(observed.answered) == len(jobs)
    assert observed.lent == pytest.approx(sum(use for _, use in jobs))
    assert max(observed.answered) == pytest.approx(max(free))


def test_serves_in_the_order_of_sqlalchemys_own_queue() -> None:
    class Connection:
        def rollback(self) -> None: ...
        def close(self) -> None: ...

    pool = QueuePool(Connection, pool_size=1, max_overflow=0, timeout=10)  # type: ignore[arg-type]
    held = pool.connect()
    order: list[int] = []

    def ask(number: int) -> None:
        got = pool.connect()
        order.append(number)
        got.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for number, thread in enumerate(threads):
        thread.start()
        waiters = pool._pool.not_empty._waiters  # type: ignore[attr-defined]
        while len(waiters) <= number:
            time.sleep(0.001)
    held.close()
    for thread in threads:
        thread.join()
    one = make_pool(size=1)
    checkouts = [used(0, 0.0, 10.0, one), *(used(n, float(n), 1.0, one) for n in range(1, 7))]
    observed = simulate(workload_of(trace_of(checkouts)))
    pairs = sorted(zip(observed.granted, observed.waits, strict=True))
    simulated = [round(granted - wait) - 1 for granted, wait in pairs[1:]]
    assert order == simulated == [0, 1, 2, 3, 4, 5]


def test_the_same_workload_has_the_same_outcome() -> None:
    workload = burst_of(requests=50)
    terms = WhatIf(users=30, release=frozenset([0]), workers=2)
    assert simulate(workload, terms, until=60) == simulate(workload, terms, until=60)
    with pytest.raises(ValueError, match="until when"):
        simulate(workload, terms)


def test_a_connection_that_is_held_after_the_response_is_given_back_before() -> None:
    pool = make_pool(size=1)
    checkouts = []
    for n in range(4):
        at = 5.0 * n
        request = make_request(f"r{n}", at, at + 3.0, responding=at + 1.0, responded=at + 1.0)
        operations = [
            op(OperationKind.STATEMENT, at, at + 1.0),
            op(OperationKind.ROLLBACK, at + 2.9, at + 3.0),
        ]
        checkouts.append(
            make_checkout(
                f"c{n}",
                at,
                at,
                at + 3.0,
                pool=pool,
                request=request,
                operations=operations,
                samples=[sample(Activity.PARKED, at + 1.01, at + 2.89, EXTERNAL_CALL)],
            )
        )
    workload = workload_of(trace_of(checkouts))
    released = simulate(workload, WhatIf(release=frozenset(range(len(workload.places)))))
    assert released.lent == pytest.approx(4 * 1.1, rel=0.01)
    assert len(released.waits) == 4


def test_a_connection_that_never_comes_back_is_missed() -> None:
    pool = make_pool(size=2)
    lost = replace(used(0, 0.0, 1.0, pool), returned=None, outcome=Outcome.OPEN)
    others = [used(n, 2.0, 1.0, pool) for n in range(1, 4)]
    observed = simulate(workload_of(trace_of([lost, *others])))
    assert max(observed.answered) == pytest.approx(5.0)


def test_a_connection_that_is_lent_before_the_first_request_is_used_since_then() -> None:
    pool = make_pool(size=2)
    kept = make_checkout("kept", 0.0, 0.0, 10.0, pool=pool, owner="listener")
    replayed = replay(workload_of(trace_of([kept, *(used(n, n, 0.5, pool) for n in (8, 9))], 10.0)))
    assert replayed.recorded.use == pytest.approx((10.0 + 2 * 0.5) / (2 * 10.0))
    assert replayed.replayed.use == pytest.approx(replayed.recorded.use)
