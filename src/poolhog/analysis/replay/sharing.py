"""How much of the time in which owners could execute Python they had the processor for.

What is recorded as running is so by the clock, and contains the waiting for others of the same
process. So of k owners who could run at an instant, each is charged with 1/k of it. When that was
is found by a replay in which nobody waits for the processor.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.garbage import without_garbage_collection
from poolhog.analysis.replay.simulation import Simulation
from poolhog.analysis.replay.steps import Steps
from poolhog.analysis.replay.whatif import AS_IT_WAS

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
