"""Locks of the database in a replay: who waited for one goes on when its holder's transaction ends.

Checkouts that blocked one another are taken to share one lock, which one of them has at a time. It
is taken where the wait began, or after the statement of the one that did not wait, and given back
with the end of the transaction. So a transaction that is made shorter lets others on sooner.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from poolhog.analysis.blocks import blocks_of
from poolhog.analysis.ledger import KINDS, NEVER
from poolhog.analysis.replay.steps import ENDINGS, StepKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.analysis.blocks import Blocks
    from poolhog.analysis.ledger import Flags, Ledger, Numbers

T = TypeVar("T")

_ENDS = [KINDS.index(kind) for kind in ENDINGS]

_NEAR_US = 10_000
"""A wait may be over this much before the operation that ended it, or after."""


class Marks(NamedTuple):
    """Where locks are taken and given back: by row and instant, with the number of the lock."""

    row: Numbers
    at: Numbers
    kind: Numbers
    lock: Numbers


class ReplayedLocks:
    """The locks of a process that a replay knows.

    ``rows`` are the checkouts that it plays step by step; a wait of others takes as long as it did,
    ``unplayed`` seconds of waiting, and so do waits for others than recorded checkouts. Of what it
    plays, ``guessed`` seconds are only inferred.
    """

    def __init__(self, ledger: Ledger, rows: Numbers) -> None:
        blocks = blocks_of(ledger)
        is_played: Flags = np.isin(blocks.row, rows) & np.isin(blocks.blocker, rows)
        self.unplayed = float(blocks.duration[~is_played].sum()) / 1e6
        self.guessed = float(blocks.duration[is_played & ~blocks.is_known].sum()) / 1e6
        self._blocks = blocks.where(is_played)
        self._lock_of = _groups(self._blocks)
        self.marks = self._marks(ledger)

    def of(self, row: Numbers, started: Numbers) -> Numbers:
        """The lock that each of some blocked stretches waited for, negative if it is not known."""
        known = {
            (r, s): self._lock_of[r]
            for r, s in zip(self._blocks.row.tolist(), self._blocks.started.tolist(), strict=True)
        }
        pairs = zip(row.tolist(), started.tolist(), strict=True)
        return np.array([known.get(pair, -1) for pair in pairs], np.int64)

    def _marks(self, ledger: Ledger) -> Marks:
        rows = np.array(sorted(self._lock_of), np.int64)
        operations = ledger.operations(rows)
        found: set[tuple[int, int, int, int]] = set()
        for row, blocker, started, ended in zip(
            *(column.tolist() for column in self._blocks[:4]), strict=True
        ):
            lock = self._lock_of[row]
            first, last = np.searchsorted(operations.row, (blocker, blocker + 1)).tolist()
            starts, ends = operations.started[first:last], operations.ended[first:last]
            is_end = np.isin(operations.kind[first:last], _ENDS)
            taken = np.flatnonzero((starts <= started) & ~is_end & (ends < NEVER))
            if len(taken):
                found.add((blocker, int(ends[taken[-1]]), StepKind.LOCK, lock))
            given = np.flatnonzero(is_end & (ends >= ended - _NEAR_US) & (ends < NEVER))
            if len(given):
                found.add((blocker, int(ends[given[0]]), StepKind.UNLOCK, lock))
            first, last = np.searchsorted(operations.row, (row, row + 1)).tolist()
            ends = operations.ended[first:last]
            is_end = np.isin(operations.kind[first:last], _ENDS)
            given = np.flatnonzero(is_end & (ends >= ended) & (ends < NEVER))
            if len(given):
                found.add((row, int(ends[given[0]]), StepKind.UNLOCK, lock))
        return Marks(*np.array(sorted(found), np.int64).reshape(-1, 4).T)


def _groups(blocks: Blocks) -> dict[int, int]:
    """The number of a lock for each row that blocked, or was blocked: the same for these two."""
    above: dict[int, int] = {}

    def top(row: int) -> int:
        while above.setdefault(row, row) != row:
            above[row] = row = above[above[row]]
        return row

    for row, blocker in zip(blocks.row.tolist(), blocks.blocker.tolist(), strict=True):
        above[top(row)] = top(blocker)
    return {row: top(row) for row in list(above)}


class SimulatedLocks(Generic[T]):
    """Who has which lock while it is simulated, and who waits for it, first come, first served."""

    def __init__(self, go_on: Callable[[T, float], None]) -> None:
        self._go_on = go_on
        self._holders: dict[int, T] = {}
        self._waiting: dict[int, deque[T]] = {}

    def take(self, task: T, lock: int) -> bool:
        """Whether the task has the lock now; if not, it goes on when it has."""
        holder = self._holders.setdefault(lock, task)
        if holder is task:
            return True
        self._waiting.setdefault(lock, deque()).append(task)
        return False

    def give_back(self, task: T, lock: int, now: float) -> None:
        """Hand the lock on to the first that waits, if this one has it."""
        if self._holders.get(lock) is not task:
            return
        waiting = self._waiting.get(lock)
        if waiting:
            following = waiting.popleft()
            self._holders[lock] = following
            self._go_on(following, now)
        else:
            del self._holders[lock]

    def give_all_back(self, task: T, now: float) -> None:
        """Its connection is back, or gone."""
        for lock in [lock for lock, holder in self._holders.items() if holder is task]:
            self.give_back(task, lock, now)
