"""Replays a workload as it was, says how far that is from what was recorded, and predicts.

    replayed = replay(workload)
    predicted = predict(replayed, WhatIf(pool_size=50))

No prediction is better than the replay that it is based on: it comes with that one's error.

What is recorded as running is so by the clock, and contains the waiting for others of the same
process. So of k owners who could run at an instant, each is charged with 1/k of it. When that was
is found by a replay in which nobody waits for the processor.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.garbage import without_garbage_collection
from poolhog.analysis.replay.performance import Performance, performance_of
from poolhog.analysis.replay.simulation import Simulation, simulate
from poolhog.analysis.replay.steps import Steps
from poolhog.analysis.replay.whatif import AS_IT_WAS, WhatIf
from poolhog.analysis.throughput import Answers, Window, settling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from poolhog.analysis.replay.workload import Workload

    Instants = NDArray[np.float64]


def shared(workload: Workload) -> Workload:
    """The workload, in which nobody is charged with the time that others ran in."""
    until = workload.until if workload.unfinished else math.inf
    simulation = Simulation(workload, AS_IT_WAS, until, is_shared=True)
    with without_garbage_collection():
        simulation.run()
    index = np.frombuffer(simulation.runs, np.int64)
    started = np.frombuffer(simulation.run_starts, np.float64)
    charged = np.array(workload.steps.seconds)
    ended = started + charged[index]
    worker = np.frombuffer(simulation.run_workers, np.int32)
    for number in np.unique(worker).tolist():
        own = np.flatnonzero(worker == number)
        charges = _charges(started[own], ended[own])
        # Of a step that several chains take, the last one counts.
        order = np.argsort(ended[own], kind="stable")
        order = order[ended[own[order]] <= until]
        charged[index[own[order]]] = charges[order]
    steps = Steps()
    steps.kinds, steps.whats = workload.steps.kinds, workload.steps.whats
    steps.seconds = array("d")
    steps.seconds.frombytes(charged.view(np.uint8).data)
    return replace(workload, steps=steps)


def _charges(started: Instants, ended: Instants) -> Instants:
    """What each of the runs of one worker is charged with.

    One who always ran would have been charged with so much up to an instant: a run is charged with
    the difference over it.
    """
    number = len(started)
    instants = np.concatenate((started, ended))
    order = np.argsort(instants, kind="stable")
    # In place: there may be many millions.
    running = np.where(order < number, np.int32(1), np.int32(-1))
    np.cumsum(running, out=running)
    up_to = instants[order]
    up_to[1:] -= up_to[:-1].copy()
    up_to[0] = 0.0
    up_to[1:] /= np.maximum(running[:-1], 1)
    up_to[1:][running[:-1] <= 0] = 0.0
    np.cumsum(up_to, out=up_to)
    instants[order] = up_to
    charged: Instants = instants[number:] - instants[:number]
    return charged


DOUBTFUL = 0.1
"""The error of a replay from which on its predictions are doubtful."""

_MUCH = 0.05
"""The share of all use from which on waiting for locks that is only inferred matters."""

_LEAST_WAIT_S = 0.001
"""Waits below this are none: no error is seen in them."""

_OF_RESPONSE = 0.5

_PATIENCE = 8
"""A closed loop that was not recorded as one goes on for so many of the longest responses."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A run, and its replay as it was, in the same window.

    ``users`` is how many sent one request after the other, as far as the arrivals tell; ``None`` if
    they came by themselves. ``pauses`` are how long they took from an answer to the next request.
    """

    workload: Workload
    users: int | None
    window: Window
    recorded: Performance
    replayed: Performance
    pauses: tuple[float, ...] = ()

    @property
    def is_of_workers(self) -> bool:
        """Whether workers began what is counted, each when it had ended something else.

        Whether there is always work for them, no trace tells.
        """
        return _has_loops(self.workload)

    @property
    def throughput_error(self) -> float:
        """How far the replay's answers per second are from the recorded, as a share of these."""
        return _error(self.replayed.throughput, self.recorded.throughput)

    @property
    def wait_error(self) -> float:
        """The same of the 95th percentile of the waits, which are measured by responses.

        It is a share of half the 95th percentile of these, if that is more.
        """
        found, expected = self.replayed.waits.p95, self.recorded.waits.p95
        if max(found, expected) <= _LEAST_WAIT_S:
            return 0.0
        return abs(found - expected) / max(expected, _OF_RESPONSE * self.recorded.responses.p95)

    @property
    def response_error(self) -> float:
        """The same of the 95th percentile of the responses."""
        return _error(self.replayed.responses.p95, self.recorded.responses.p95)

    @property
    def makespan_error(self) -> float:
        """The same of the time from the first arrival to the last answer."""
        return _error(self.replayed.makespan, self.recorded.makespan)

    @property
    def error(self) -> float:
        """The largest of these."""
        return max(
            *(self.throughput_error, self.wait_error),
            *(self.response_error, self.makespan_error),
        )

    @property
    def guessed_locks(self) -> float:
        """The seconds of waiting for locks that it does not know for certain; 0 if they are few."""
        guessed = self.workload.limits.guessed
        return guessed if guessed > _MUCH * self.workload.recorded.lent else 0.0

    @property
    def is_doubtful(self) -> bool:
        """Whether predictions that are based on it are doubtful."""
        return self.error > DOUBTFUL


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run would have come to under other terms. ``before`` is its replay as it was."""

    terms: WhatIf
    before: Performance
    after: Performance


def replay(workload: Workload, *, window: Window | None = None, is_open: bool = False) -> Replay:
    """The workload as it was. A closed loop is recognized, unless it ``is_open`` by decree.

    Answers and waits are counted in the ``window``, by default the whole run, and of a closed loop
    the part from when it has settled. Whether those who wait are overtaken in a pool depends on
    instants that no trace has: it is as in that of both replays which is nearer to the run.
    """
    workload = shared(workload)
    users = None if is_open else closed_loop(workload)
    where = window or _window(workload, users)
    fair = _replayed(_fairly(workload), users, where)
    if fair.error <= _NEAR or all(pool.is_fair for pool in workload.pools):
        return fair
    return min(fair, _replayed(workload, users, where), key=lambda one: one.error)


_NEAR = 0.02
"""A replay with this error is near enough."""


def _fairly(workload: Workload) -> Workload:
    """The workload with pools in which nobody is overtaken."""
    return replace(workload, pools=tuple(replace(p, is_fair=True) for p in workload.pools))


def _replayed(workload: Workload, users: int | None, window: Window) -> Replay:
    capacity, workers = capacity_of(workload, AS_IT_WAS), workload.processes
    until = workload.until if workload.unfinished or users else math.inf
    pauses = answers_of(workload).pauses() if users is not None else None
    known = () if pauses is None else tuple(pauses.tolist())
    terms = replace(AS_IT_WAS, users=users, pauses=known)
    observed = simulate(workload, terms, until=min(until, window.ended))
    return Replay(
        workload=workload,
        users=users,
        window=window,
        recorded=performance_of(workload.recorded, window, workload.began, capacity, workers),
        replayed=performance_of(observed, window, workload.began, capacity, workers),
        pauses=known,
    )


def predict(replayed: Replay, terms: WhatIf) -> Prediction:
    """What the run would have come to under these terms.

    Of a closed loop it is what came in the same time; of requests that come by themselves, up to
    the last answer.
    """
    workload = replayed.workload
    users = terms.users or replayed.users
    if terms.rate != 1.0 and users is not None and terms.users is None:
        users = max(round(users * terms.rate), 1)
    pauses = replayed.pauses if terms.users is None else ()
    terms = replace(terms, users=users, pauses=pauses)
    capacity = capacity_of(workload, terms)
    window = replayed.window
    if users is None:
        window = window._replace(ended=math.inf)
    elif replayed.users is None:
        longest = _PATIENCE * max(replayed.replayed.responses.p99, _LEAST_WAIT_S)
        ended = max(workload.until, workload.began + longest)
        window = settling(workload.began, ended)
    observed = simulate(workload, terms, until=window.ended)
    workers = terms.workers or workload.processes
    after = performance_of(observed, window, workload.began, capacity, workers)
    return Prediction(terms, replayed.replayed, after)


def capacity_of(workload: Workload, terms: WhatIf) -> int | None:
    """The connections of all pools of all processes, ``None`` if one has no limit."""
    each = [terms.of(pool).capacity for pool in workload.pools]
    if not each or None in each:
        return None
    workers = terms.workers or workload.processes
    return workers * sum(capacity for capacity in each if capacity is not None)


def closed_loop(workload: Workload) -> int | None:
    """How many users sent one request after the other, if that is what the arrivals look like."""
    return None if _has_loops(workload) else answers_of(workload).users()


def _has_loops(workload: Workload) -> bool:
    """Whether requests are in loops of workers, so that no users send them."""
    is_request = workload.chains.is_request
    return any(is_request[loop.members[0]] for loop in workload.loops)


def answers_of(workload: Workload) -> Answers:
    """When requests came, and were answered."""
    chains, recorded = workload.chains, workload.recorded
    came = np.array(chains.arrived)
    is_request = np.frombuffer(chains.is_request, bool)
    came = np.sort(came[is_request & (came < math.inf)])
    return Answers(came, np.array(recorded.answered), np.array(recorded.responses))


def _window(workload: Workload, users: int | None) -> Window:
    until = workload.until if workload.unfinished else math.inf
    return answers_of(workload).window(users, workload.began, until)


def _error(found: float, expected: float) -> float:
    if max(found, expected) <= 0:
        return 0.0
    return abs(found - expected) / expected if expected > 0 else math.inf
