"""The state of a simulation: pools of processes, and tasks that are under way."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhog.analysis.replay.workload import PoolTerms


class SimulatedPool:
    """A pool of a process while it is simulated."""

    __slots__ = (
        *("connecting", "idle", "is_armed", "is_fair", "limit", "opened", "size", "timeout"),
        *("delays", "lent", "waiting"),
    )

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
        self.is_fair = pool.is_fair
        self.delays = pool.delays
        self.lent = 0

    def delay(self) -> float:
        """How long the next one who is woken takes to run: as the others did, in turn."""
        if not self.delays:
            return 0.0
        self.lent += 1
        return self.delays[(self.lent - 1) % len(self.delays)]


class Task:
    """A chain that goes on: where it is in the steps, and when it came.

    ``asking`` numbers its asking while it waits; ``parent`` is who waits for its end. ``open`` of
    its ``checkouts`` are not back: ``balance`` is when they were returned less when granted. The
    next asking is given up after ``patience``, as a timeout if it ``is_timed``; then the chain goes
    on at the step ``otherwise``, if that is not 0. ``skipped`` are steps that it did not take so.
    """

    __slots__ = (
        *("asked", "asking", "at", "balance", "came", "chain", "checkouts", "children", "is_over"),
        *("is_answered", "is_timed", "is_user", "open", "otherwise", "parent", "patience"),
        *("skipped", "worker"),
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
        self.is_timed = False
        self.otherwise = 0
        self.skipped: list[range] = []
        self.is_answered = False
        self.parent: Task | None = None
        self.children: dict[int, Task] | None = None
        self.is_over = False
        self.open = 0
        self.checkouts = 0
        self.balance = 0.0
