"""How much of the time in which owners could execute Python they had the processor for.

What is recorded as running is so by the clock, and contains the waiting for others of the same
process. So of k owners who could run at an instant, each is charged with 1/k of it. When that was
is told by a replay in which nobody waits for the processor.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING

from poolhog.analysis.replay.simulation import Simulation
from poolhog.analysis.replay.steps import StepKind, Steps
from poolhog.analysis.replay.whatif import AS_IT_WAS

if TYPE_CHECKING:
    from poolhog.analysis.replay.tasks import Task
    from poolhog.analysis.replay.workload import Workload


def shared(workload: Workload) -> Workload:
    """The same workload, in which nobody is charged with the time that others ran in."""
    sharing = _Sharing(workload)
    sharing.run()
    steps = Steps()
    steps.kinds, steps.whats = workload.steps.kinds, workload.steps.whats
    steps.seconds = sharing.charged
    return replace(workload, steps=steps)


_RUN = StepKind.RUN.value


class _Sharing(Simulation):
    """A replay in which everybody runs at once, and is charged.

    Of each worker it knows how many run, and how much one who always ran would have been charged
    with up to an instant: what somebody is charged with is the difference over his run.
    """

    def __init__(self, workload: Workload) -> None:
        until = workload.until if workload.unfinished else math.inf
        super().__init__(workload, AS_IT_WAS, until)
        self.charged = array("d", workload.steps.seconds)
        self._kinds = self.program.kinds
        self._running = [0] * self.workers
        self._charge = [0.0] * self.workers
        self._since = [0.0] * self.workers
        self._runs: dict[Task, tuple[int, float]] = {}

    def turn(self, worker: int, now: float, seconds: float) -> float:
        """At once."""
        return now

    def go(self, task: Task, now: float) -> None:
        """Take the steps of a task; if it ran up to now, that is over."""
        worker = task.worker
        run = self._runs.pop(task, None)
        if run is not None:
            index, before = run
            self.charged[index] = self._advance(worker, now) - before
            self._running[worker] -= 1
        super().go(task, now)
        index = task.at - 1
        if self._kinds[index] == _RUN and not task.is_over:
            self._runs[task] = index, self._advance(worker, now)
            self._running[worker] += 1

    def _advance(self, worker: int, now: float) -> float:
        running = self._running[worker]
        if running:
            self._charge[worker] += (now - self._since[worker]) / running
        self._since[worker] = now
        return self._charge[worker]
