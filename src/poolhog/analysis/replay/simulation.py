"""Plays a workload through its pools: a discrete-event simulation.

A pool lends what it has, opens more up to its limit, and lets the others queue, first come, first
served, as SQLAlchemy's, asyncpg's and psycopg's do. Who waits for too long gives up, and is over.
Each process executes Python for one of its owners at a time, in the order in which they could.
Nothing is random: the same workload under the same terms has the same outcome.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import numpy as np

from poolhog.analysis.garbage import without_garbage_collection
from poolhog.analysis.replay.locks import SimulatedLocks
from poolhog.analysis.replay.steps import StepKind
from poolhog.analysis.replay.whatif import AS_IT_WAS, WhatIf, program
from poolhog.analysis.replay.workload import Observed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.replay.workload import PoolTerms, Workload


class SimulatedPool:
    """A pool of a process while it is simulated."""

    __slots__ = ("connecting", "idle", "is_armed", "limit", "opened", "size", "timeout", "waiting")

    def __init__(self, pool: PoolTerms) -> None:
        self.size = math.inf if pool.size is None else pool.size
        self.limit = math.inf if pool.capacity is None else pool.capacity
        self.timeout = math.inf if pool.timeout is None else pool.timeout
        self.connecting = pool.connecting
        self.idle: float = min(pool.warm, self.size)
        self.opened = self.idle
        # Who waits, each with the number of its asking: it may have given up since.
        self.waiting: deque[tuple[Task, int]] = deque()
        self.is_armed = False


class Task:
    """A chain that goes on: where it is in the steps, and when it came.

    ``asking`` numbers its asking while it waits; ``parent`` is who waits for its end. ``open`` of
    its ``checkouts`` are not back: ``balance`` is when they were returned less when granted.
    """

    __slots__ = (
        *("asked", "asking", "at", "balance", "came", "chain", "checkouts", "children", "is_over"),
        *("is_user", "open", "parent", "patience", "worker"),
    )

    def __init__(self, chain: int, at: int, came: float, worker: int, *, is_user: bool) -> None:
        self.chain = chain
        self.at = at
        self.came = came
        self.worker = worker
        self.is_user = is_user
        self.asked = came
        self.asking = 0
        self.patience = math.inf
        self.parent: Task | None = None
        self.children: dict[int, Task] | None = None
        self.is_over = False
        self.open = 0
        self.checkouts = 0
        self.balance = 0.0


def simulate(workload: Workload, terms: WhatIf = AS_IT_WAS, *, until: float = math.inf) -> Observed:
    """What comes of the workload under these terms, up to an instant of the run's clock.

    A closed loop has no end of its own: it needs an instant.
    """
    if terms.users is not None and until == math.inf:
        raise ValueError("users go on for ever: until when are they to be simulated?")
    with without_garbage_collection():
        return Simulation(workload, terms, until).run()


_GO, _TIMER, _LIMIT, _COME = range(4)
"""What an event is: a task goes on, a pool looks who gives up, a task gives up, a user comes."""


class Simulation:
    """One run of a workload under its terms.

    If the processor ``is_shared``, everybody runs at once: ``runs`` are the steps that did,
    ``run_starts`` when each began, and ``run_workers`` where.
    """

    def __init__(
        self, workload: Workload, terms: WhatIf, until: float, *, is_shared: bool = False
    ) -> None:
        self.is_shared = is_shared
        self.runs = array("q")
        self.run_starts = array("d")
        self.run_workers = array("i")
        self._workload = workload
        self._terms = terms
        self._until = until
        self.program = program(workload, terms)
        self.workers = terms.workers or workload.processes
        pools = [terms.of(pool) for pool in workload.pools]
        self._pools_each = len(pools)
        self._pools = [SimulatedPool(p) for _ in range(self.workers) for p in pools]
        self._free = [0.0] * self.workers
        self._locks = SimulatedLocks[Task](lambda task, now: self._push(now, _GO, task))
        self._events: list[tuple[float, int, int, Any]] = []
        self._number = 0
        self._came = 0
        self._lent = 0
        self._balance = 0.0
        self._ran = 0.0
        self._next = math.inf
        self._sent: Sequence[int] = ()
        self.observed = Observed()

    def run(self) -> Observed:
        """Let everything come and go."""
        arrivals = iter(self._arrivals())
        self._next, chain = next(arrivals, (math.inf, 0))
        events, until, now = self._events, self._until, 0.0
        while True:
            if events and events[0][0] < self._next:
                at, _, kind, what = heappop(events)
                if at > until:
                    break
                if kind == _GO:
                    now = self.go(what, at)
                else:
                    self._happen(kind, what, at)
            elif self._next <= until and self._next < math.inf:
                came, coming = self._next, chain
                self._next, chain = next(arrivals, (math.inf, 0))
                now = self._begin(coming, came, is_user=False)
            else:
                break
        observed = self.observed
        observed.ran = self._ran
        observed.until = until if until < math.inf else now
        observed.lent = self._balance + self._lent * observed.until
        return observed

    def _arrivals(self) -> list[tuple[float, int]]:
        """The chains that come by themselves, in order; users are told to come."""
        chains, terms, began = self._workload.chains, self._terms, self._workload.began
        arrived = np.array(chains.arrived)
        order = np.argsort(arrived, kind="stable")
        order = order[arrived[order] < math.inf]
        found = list(zip(arrived[order].tolist(), order.tolist(), strict=True))
        if terms.users is not None:
            self._sent = [number for _, number in found if chains.is_request[number]]
            for user in range(terms.users if self._sent else 0):
                came = chains.arrived[self._sent[user % len(self._sent)]]
                self._push(came, _COME, None)
            found = [(at, number) for at, number in found if not chains.is_request[number]]
        if terms.rate != 1.0:
            found = [(began + (at - began) / terms.rate, number) for at, number in found]
        return found

    def _push(self, at: float, kind: int, what: Any) -> None:
        self._number += 1
        heappush(self._events, (at, self._number, kind, what))

    def _happen(self, kind: int, what: Any, now: float) -> None:
        if kind == _COME:
            chain = self._sent[self._came % len(self._sent)]
            self._begin(chain, now, is_user=True)
        elif kind == _TIMER:
            self._look(what, now)
        else:
            task, asking = what
            if task.asking == asking:
                self._give_up(task, now, is_told=False)

    def _begin(self, chain: int, now: float, *, is_user: bool) -> float:
        """A chain comes, and goes on up to the instant that is returned."""
        chains = self._workload.chains
        is_same = self.workers == self._workload.processes and not is_user
        worker = chains.process[chain] if is_same else self._came % self.workers
        self._came += 1
        return self.go(Task(chain, self.program.first[chain], now, worker, is_user=is_user), now)

    def go(self, task: Task, now: float) -> float:
        """Take steps as long as nothing else happens before; the instant of the last one.

        This is where a simulation spends its time: one loop, in which an event that would be the
        next one anyway is none.
        """
        program, events, until, free = self.program, self._events, self._until, self._free
        kinds, lasting, whats = program.kinds, program.seconds, program.whats
        at, worker, coming = task.at, task.worker, self._next
        is_shared = self.is_shared
        while True:
            kind = kinds[at]
            index = at
            at += 1
            if 2 <= kind <= 5 or (kind == 1 and is_shared):
                ended = now
                while True:
                    # What follows concerns nobody else either.
                    if kind == 1:
                        self.runs.append(index)
                        self.run_starts.append(ended)
                        self.run_workers.append(worker)
                    ended += lasting[index]
                    kind = kinds[at]
                    if not (2 <= kind <= 5 or (kind == 1 and is_shared)):
                        break
                    index = at
                    at += 1
            elif kind == 1:
                seconds = lasting[index]
                self._ran += seconds
                ended = free[worker]
                ended = free[worker] = (now if ended < now else ended) + seconds
            elif kind == 6:
                pool = self._pools[worker * self._pools_each + whats[index]]
                task.at = at
                task.asked = now
                if pool.idle:
                    pool.idle -= 1
                    ended = self._lend(task, now, lasting[index])
                elif pool.opened < pool.limit:
                    pool.opened += 1
                    ended = self._lend(task, now, lasting[index] + pool.connecting)
                else:
                    self._queue(task, pool, now)
                    return now
            else:
                if kind == 7:
                    pool = self._pools[worker * self._pools_each + whats[index]]
                    self._return(task, pool, now)
                elif kind == 8:
                    self._answer(task, now)
                elif kind == 0:
                    self._end(task, now)
                    return now
                elif kind == 11:
                    task.patience = lasting[index]
                elif kind == 17:
                    task.at = at
                    if not self._locks.take(task, whats[index]):
                        return now
                elif kind == 18:
                    self._locks.give_back(task, whats[index], now)
                elif kind != 12:
                    task.at = at
                    if self._divides(task, kind, whats[index], now):
                        return now
                continue
            if ended < coming and ended <= until and (not events or ended < events[0][0]):
                now = ended
                continue
            task.at = at
            self._number += 1
            heappush(events, (ended, self._number, _GO, task))
            return now

    def _divides(self, task: Task, kind: int, what: int, now: float) -> bool:
        """Another chain begins, or is waited for: whether it goes on."""
        children = task.children
        if children is None:
            children = task.children = {}
        if kind == StepKind.SPAWN:
            child = Task(what, self.program.first[what], now, task.worker, is_user=False)
            child.parent = task
            children[what] = child
            self._push(now, _GO, child)
            return False
        awaited = children.get(what)
        if awaited is None or awaited.is_over:
            return False
        task.asking = -1 - what
        return True

    def _queue(self, task: Task, pool: SimulatedPool, now: float) -> None:
        """Nothing is free: the task waits until it is its turn, or it gives up."""
        self._number += 1
        task.asking = self._number
        pool.waiting.append((task, task.asking))
        if task.patience < pool.timeout:
            self._push(now + task.patience, _LIMIT, (task, task.asking))
        if not pool.is_armed and pool.timeout < math.inf:
            pool.is_armed = True
            self._push(now + pool.timeout, _TIMER, pool)

    def _lend(self, task: Task, now: float, cost: float) -> float:
        """When the task has it: it takes some seconds more."""
        granted = now + cost
        task.asking = 0
        task.patience = math.inf
        task.open += 1
        task.checkouts += 1
        task.balance -= granted
        self._balance -= granted
        self._lent += 1
        self.observed.granted.append(granted)
        self.observed.waits.append(granted - task.asked)
        return granted

    def _settle(self, task: Task) -> None:
        """All of a task's checkouts are back."""
        observed = self.observed
        observed.used += task.balance
        observed.returned += task.checkouts
        task.balance = 0.0
        task.checkouts = 0

    def _return(self, task: Task, pool: SimulatedPool, now: float) -> None:
        """A connection comes back, and goes to the first who waits."""
        self._lent -= 1
        self._balance += now
        task.open -= 1
        task.balance += now
        if not task.open:
            self._settle(task)
            self._locks.give_all_back(task, now)
        waiting = pool.waiting
        while waiting:
            first, asking = waiting.popleft()
            if first.asking == asking:
                # Not at once: whoever returns goes on before.
                granted = self._lend(first, now, self.program.seconds[first.at - 1])
                self._push(granted, _GO, first)
                return
        if pool.idle < pool.size:
            pool.idle += 1
        else:
            pool.opened -= 1

    def _look(self, pool: SimulatedPool, now: float) -> None:
        """The pool's timer: whoever has waited for its timeout gives up."""
        waiting = pool.waiting
        while waiting:
            task, asking = waiting[0]
            if task.asking == asking:
                if task.asked + pool.timeout > now:
                    self._push(task.asked + pool.timeout, _TIMER, pool)
                    return
                waiting.popleft()
                self.observed.timeouts += 1
                self.observed.granted.append(now)
                self.observed.waits.append(now - task.asked)
                self._give_up(task, now, is_told=True)
            else:
                waiting.popleft()
        pool.is_armed = False

    def _give_up(self, task: Task, now: float, *, is_told: bool) -> None:
        """A task that gets no connection returns those that it has, and is over.

        If the client ``is_told``, that is an answer; else it has gone.
        """
        task.asking = 0
        for pool in self._held(task):
            self._return(task, pool, now)
        first = self.program.first[task.chain]
        if self.program.kinds.find(StepKind.ANSWER, first, task.at) < 0 and task.parent is None:
            self._answer(task, now, is_counted=is_told)
        self._end(task, now)

    def _held(self, task: Task) -> list[SimulatedPool]:
        steps = self.program
        held: Counter[int] = Counter()
        for index in range(steps.first[task.chain], task.at - 1):
            if steps.kinds[index] == StepKind.ASK:
                held[steps.whats[index]] += 1
            elif steps.kinds[index] == StepKind.RETURN:
                held[steps.whats[index]] -= 1
        base = task.worker * self._pools_each
        return [self._pools[base + number] for number in held.elements()]

    def _answer(self, task: Task, now: float, *, is_counted: bool = True) -> None:
        if is_counted and self._workload.chains.is_request[task.chain]:
            self.observed.answered.append(now)
            self.observed.responses.append(now - task.came)
        if task.is_user:
            self._push(now + self._terms.think, _COME, None)

    def _end(self, task: Task, now: float) -> None:
        task.is_over = True
        parent = task.parent
        if parent is not None and parent.asking == -1 - task.chain:
            parent.asking = 0
            self._push(now, _GO, parent)
