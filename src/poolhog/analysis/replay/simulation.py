"""Plays a workload through its pools: a discrete-event simulation.

A pool lends what it has, opens more up to its limit, and lets the others queue. psycopg's hands a
connection that comes back to the first of these. SQLAlchemy's and asyncpg's wake the first, and
whoever asks before that one runs takes the connection. Who waits for too long gives up.
Each process executes Python for one of its owners at a time, in the order in which they could.
Nothing is random: the same workload under the same terms has the same outcome.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from poolhog.analysis.garbage import without_garbage_collection
from poolhog.analysis.replay.arrivals import Arrivals
from poolhog.analysis.replay.locks import SimulatedLocks
from poolhog.analysis.replay.simulated import SimulatedPool, Task
from poolhog.analysis.replay.steps import StepKind
from poolhog.analysis.replay.whatif import AS_IT_WAS, WhatIf, program
from poolhog.analysis.replay.workload import Observed

if TYPE_CHECKING:
    from poolhog.analysis.replay.workload import Workload


def simulate(workload: Workload, terms: WhatIf = AS_IT_WAS, *, until: float = math.inf) -> Observed:
    """What comes of the workload under these terms, up to an instant of the run's clock.

    A closed loop has no end of its own: it needs an instant.
    """
    if terms.users is not None and until == math.inf:
        raise ValueError("users go on for ever: until when are they to be simulated?")
    with without_garbage_collection():
        return Simulation(workload, terms, until).run()


_GO, _TIMER, _LIMIT, _COME, _WAKE, _NEXT = range(6)
"""What an event is: a task goes on, a pool looks who gives up, a task gives up, a user comes, one
who waits was woken, a loop begins its next chain."""


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
        self._arrivals = Arrivals(workload, terms)
        self.observed = Observed()

    def run(self) -> Observed:
        """Let everything come and go."""
        for came in self._arrivals.of_users():
            self._push(came, _COME, None)
        arrivals = iter(self._arrivals.by_themselves())
        self._next, chain = next(arrivals, (math.inf, 0))
        events, until, now = self._events, self._until, 0.0
        while True:
            if events and events[0][0] < self._next:
                at, _, kind, what = heappop(events)
                if at > until:
                    break
                now = self.go(what, at) if kind == _GO else self._happen(kind, what, at, now)
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

    def _push(self, at: float, kind: int, what: Any) -> None:
        self._number += 1
        heappush(self._events, (at, self._number, kind, what))

    def _happen(self, kind: int, what: Any, now: float, latest: float) -> float:
        """Let an event happen; the instant up to which something was done, of late."""
        if kind == _COME:
            return self._begin(self._arrivals.sent(self._came), now, is_user=True)
        if kind == _TIMER:
            self._look(what, now)
        elif kind == _NEXT:
            return self._begin(what, now, is_user=False)
        elif kind == _WAKE:
            pool, task, asking = what
            self._wake(pool, task, asking, now)
        else:
            task, asking = what
            if task.asking == asking:
                if task.is_timed:
                    self._time_out(task, now)
                else:
                    self._give_up(task, now, is_told=False)
        return latest

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
                elif kind in (0, 16):
                    self._end(task, now)
                    return now
                elif kind in (11, 14):
                    task.patience = lasting[index]
                    task.is_timed = kind == 14
                elif kind == 15:
                    task.otherwise = index + whats[index]
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
        task.otherwise = 0
        task.open += 1
        task.checkouts += 1
        task.balance -= granted
        self._balance -= granted
        self._lent += 1
        self.observed.granted.append(granted)
        self.observed.waits.append(granted - task.asked)
        return granted

    def _pool_of(self, task: Task) -> SimulatedPool:
        """The pool that a task waits for."""
        return self._pools[task.worker * self._pools_each + self.program.whats[task.at - 1]]

    def _settle(self, task: Task) -> None:
        """All of a task's checkouts are back."""
        observed = self.observed
        observed.used += task.balance
        observed.returned += task.checkouts
        task.balance = 0.0
        task.checkouts = 0

    def _return(self, task: Task, pool: SimulatedPool, now: float) -> None:
        """A connection comes back, and goes to the first who waits, or wakes that one up."""
        self._lent -= 1
        self._balance += now
        task.open -= 1
        task.balance += now
        if not task.open:
            self._settle(task)
            self._locks.give_all_back(task, now)
        waiting = pool.waiting
        while waiting and pool.is_fair:
            first, asking = waiting.popleft()
            if first.asking == asking:
                # Not at once: whoever returns goes on before.
                granted = self._lend(first, now, self.program.seconds[first.at - 1])
                self._push(granted, _GO, first)
                return
        if pool.idle < pool.size:
            pool.idle += 1
            self._rouse(pool, now)
        else:
            # It is closed: another one can be opened, but nobody who waits is told.
            pool.opened -= 1

    def _rouse(self, pool: SimulatedPool, now: float) -> None:
        """Wake the first who waits: there is a connection, if nobody is faster."""
        waiting = pool.waiting
        while waiting:
            first, asking = waiting.popleft()
            if first.asking == asking:
                self._push(now + pool.delay(), _WAKE, (pool, first, asking))
                return

    def _wake(self, pool: SimulatedPool, task: Task, asking: int, now: float) -> None:
        """Who was woken takes a connection as soon as it can run, or waits again, as the last."""
        free = self._free[task.worker]
        if task.asking != asking:
            if pool.idle:
                self._rouse(pool, now)
        elif free > now:
            self._push(free, _WAKE, (pool, task, asking))
        elif pool.idle:
            pool.idle -= 1
            granted = self._lend(task, now, self.program.seconds[task.at - 1])
            self._push(granted, _GO, task)
        else:
            pool.waiting.append((task, asking))
            if pool.timeout < math.inf and task.patience >= pool.timeout:
                # The pool's timer looks at the first only, which is not the one that asked first.
                task.is_timed = True
                self._push(task.asked + pool.timeout, _LIMIT, (task, asking))

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
                self._time_out(task, now)
            else:
                waiting.popleft()
        pool.is_armed = False

    def _time_out(self, task: Task, now: float) -> None:
        pool = self._pool_of(task)
        if pool.opened < pool.limit:
            # It looks once more, and sees that one can be opened.
            pool.opened += 1
            cost = self.program.seconds[task.at - 1] + pool.connecting
            self._push(self._lend(task, now, cost), _GO, task)
            return
        self.observed.timeouts += 1
        self.observed.granted.append(now)
        self.observed.waits.append(now - task.asked)
        self._give_up(task, now, is_told=True)

    def _give_up(self, task: Task, now: float, *, is_told: bool) -> None:
        """A task that gets no connection goes on as it did when it got none.

        If it was never seen to get none, it returns those that it has, and is over. If the client
        ``is_told``, that is an answer; else it has gone.
        """
        task.asking = 0
        task.patience = math.inf
        if task.otherwise:
            task.skipped.append(range(task.at - 1, task.otherwise))
            task.at = task.otherwise
            task.otherwise = 0
            self._push(now, _GO, task)
            return
        for pool in self._held(task):
            self._return(task, pool, now)
        if not task.is_answered and task.parent is None:
            self._answer(task, now, is_counted=is_told)
        self._end(task, now)

    def _held(self, task: Task) -> list[SimulatedPool]:
        steps = self.program
        held: Counter[int] = Counter()
        for index in range(steps.first[task.chain], task.at - 1):
            if any(index in skipped for skipped in task.skipped):
                continue
            if steps.kinds[index] == StepKind.ASK:
                held[steps.whats[index]] += 1
            elif steps.kinds[index] == StepKind.RETURN:
                held[steps.whats[index]] -= 1
        base = task.worker * self._pools_each
        return [self._pools[base + number] for number in held.elements()]

    def _answer(self, task: Task, now: float, *, is_counted: bool = True) -> None:
        task.is_answered = True
        if is_counted and self._workload.chains.is_request[task.chain]:
            self.observed.answered.append(now)
            self.observed.responses.append(now - task.came)
        if task.is_user:
            self._push(now + self._arrivals.pause(), _COME, None)

    def _end(self, task: Task, now: float) -> None:
        task.is_over = True
        parent = task.parent
        if parent is not None and parent.asking == -1 - task.chain:
            parent.asking = 0
            self._push(now, _GO, parent)
        if parent is None and (following := self._arrivals.after(task.chain)) is not None:
            # Before all others at that instant: whoever ends does not wait for them.
            self._number += 1
            chain, pause = following
            heappush(self._events, (now + pause, -self._number, _NEXT, chain))
