"""Workers that begin their next work when one has ended, and pools in which one is overtaken."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from factories import PROCESS, make_checkout, make_pool, make_request, make_site, op, sample
from factories import trace_of as facts_of
from hypothesis import given
from hypothesis import strategies as st

from poolhog.analysis.replay.chains import workload_of
from poolhog.analysis.replay.prediction import predict, replay
from poolhog.analysis.replay.whatif import WhatIf
from poolhog.analysis.throughput import follows
from poolhog.model import Activity, OperationKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.replay.workload import Workload
    from poolhog.model import Checkout, Pool

LINE = make_site(20, "session.execute(query)")
CALL = make_site(25, "assess_risk(amount)")


def workload_from(checkouts: Sequence[Checkout]) -> Workload:
    requests = {c.request.id: c.request for c in checkouts if c.request is not None}
    return workload_of(
        facts_of(checkouts, requests.values(), process=replace(PROCESS, written=1000.0))
    )


def work(
    pool: Pool, name: str, asked: float, granted: float, over: float, owner: str, connection: int
) -> Checkout:
    """A use that is parked but for two statements at its ends."""
    operations = [
        op(OperationKind.STATEMENT, granted, granted + 0.01),
        op(OperationKind.STATEMENT, over - 0.01, over),
    ]
    return make_checkout(
        name,
        asked,
        granted,
        over,
        pool=pool,
        owner=owner,
        connection=connection,
        operations=operations,
        samples=[sample(Activity.PARKED, granted + 0.01, over - 0.01, CALL)],
        site=LINE,
    )


def greedy_threads(threads: int, works: int, size: int) -> list[Checkout]:
    """Threads of which those with a connection ask again at once, and overtake the others."""
    pool = replace(make_pool(size=size), timeout=None)
    made: list[Checkout] = []
    left, turn = works - threads, 0
    owners = list(range(threads))
    while owners:
        for place in range(size):
            if place >= len(owners):
                continue
            began = float(turn)
            thread = owners[place]
            asked = 0.0 if not any(c.owner == f"t{thread}" for c in made) else began - 0.0005
            name = f"c{len(made)}"
            granted = began + 0.001 if asked == 0.0 and turn else began
            made.append(work(pool, name, asked, granted, began + 0.999, f"t{thread}", place))
        turn += 1
        gone = size
        while gone and left:
            left, gone = left - 1, gone - 1
        owners = owners[:size][: size - gone] + owners[size:]
    return made


def test_threads_share_the_work_that_is_left() -> None:
    """Two connections, four threads, twelve works: the threads that are overtaken do one each."""
    checkouts = greedy_threads(4, 12, 2)
    assert len(checkouts) == 12
    workload = workload_from(checkouts)
    (loop,) = workload.loops
    assert (len(loop.members), len(loop.queue)) == (12, 8)
    replayed = replay(workload)
    assert replayed.recorded.answers == replayed.replayed.answers == 12
    assert not replayed.is_doubtful
    assert replayed.recorded.waits.p50 < 0.01 < 3 < replayed.recorded.waits.p95
    # All four do three works each, not one of them five.
    released = predict(replayed, WhatIf(release=frozenset(range(len(workload.places))))).after
    assert released.makespan == pytest.approx(3.0, rel=0.1)
    assert released.throughput == pytest.approx(4.0, rel=0.1)
    assert predict(replayed, WhatIf(pool_size=4)).after.makespan == pytest.approx(3.0, rel=0.1)


def gated_tasks(tasks: int, gate: int, size: int) -> list[Checkout]:
    """Tasks of which so many are let through a semaphore at once; the pool has less."""
    pool = replace(make_pool(size=size), timeout=None)
    free = [0.0] * size
    ended: list[float] = []
    made = []
    for number in range(tasks):
        asked = 0.0 if number < gate else sorted(ended)[number - gate] + 0.001
        place = free.index(min(free))
        granted = max(asked, free[place])
        over = granted + 1.0
        free[place] = over
        ended.append(over)
        made.append(work(pool, f"c{number}", asked, granted, over, f"Task-{number}", place))
    return made


def test_tasks_behind_a_semaphore_follow_one_another() -> None:
    workload = workload_from(gated_tasks(36, 12, 4))
    (loop,) = workload.loops
    assert len(loop.queue) == 24
    replayed = replay(workload)
    assert not replayed.is_doubtful
    released = predict(replayed, WhatIf(release=frozenset(range(len(workload.places))))).after
    # Twelve at a time, each of which takes a second.
    assert released.makespan == pytest.approx(3.0, rel=0.1)


def test_users_who_take_turns_are_seen_in_a_short_run() -> None:
    pool = replace(make_pool(size=2), timeout=None)
    tasks = gated_tasks(12, 4, 2)
    checkouts = [
        replace(c, pool=pool, request=make_request(f"r{n}", c.asked, c.returned))
        for n, c in enumerate(tasks)
    ]
    replayed = replay(workload_from(checkouts))
    assert replayed.users == 4
    after = predict(replayed, WhatIf(release=frozenset(range(9)))).after
    assert after.throughput == pytest.approx(4.0, rel=0.1)


INSTANTS = st.lists(st.integers(0, 1_000_000_000), min_size=1, max_size=60)


@given(INSTANTS, st.integers(1, 2_000_000))
def test_what_comes_at_any_time_rarely_follows(instants: list[int], took: int) -> None:
    """Whatever follows began after the end that it followed from, and each end has one at most."""
    started = np.sort(np.array(instants, np.int64))
    ended = started + took
    found = follows(started, ended)
    if found is None:
        return
    is_next, pauses = found
    assert len(pauses) == is_next.sum() <= len(started)
    assert (pauses >= 0).all()
    ends = sorted((started[is_next] - pauses).tolist())
    assert all(ends.count(end) <= (ended == end).sum() for end in ends)


def test_work_that_comes_by_itself_does_not_follow() -> None:
    came = np.arange(0, 60_000_000, 130_000)
    assert follows(came, came + 1_000_000 + came % 700_000) is None
    # One after the other, at once.
    assert follows(came, came + 130_000) is not None
