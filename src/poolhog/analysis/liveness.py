"""Whether a recorded process still runs, and how old what its file says is."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.model import Process

LATE_S = 1.0
"""A process that runs commits at least twice as often: a commit that is older is not of now."""

SILENT_S = 3.0
"""A process that has not written for so long is stopped, or kept from writing."""


class Liveness(StrEnum):
    """Whether a process still does what its dump says.

    ``silent``: there is a process of its id, which has not written for longer than it should have.
    """

    RUNNING = "running"
    SILENT = "silent"
    FINISHED = "finished"
    DEAD = "dead"

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self in (Liveness.FINISHED, Liveness.DEAD)


def liveness_of(process: Process) -> Liveness:
    """Whether the process still does what its file says."""
    if process.finished:
        return Liveness.FINISHED
    if not _exists(process.pid):
        return Liveness.DEAD
    return Liveness.RUNNING if written_age(process) < SILENT_S else Liveness.SILENT


def ages(processes: Iterable[Process]) -> dict[int, float]:
    """The ages in seconds of the last commits of those that still run, by process id."""
    return {p.pid: written_age(p) for p in processes if not liveness_of(p).is_over}


def written_age(process: Process) -> float:
    """How many seconds ago the process last committed what it recorded."""
    return max(time.time() - written_wall(process), 0.0)


def written_wall(process: Process) -> float:
    """The Unix time of the last instant that the process's file tells of."""
    return process.began_wall + process.written - process.began


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
