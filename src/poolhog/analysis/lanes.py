"""Lanes of a picture: as few of them as hold intervals that do not overlap."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ConnectionLanes:
    """The lanes of a pool's checkouts, a connection on its former lane where it can be."""

    def __init__(self) -> None:
        self._connections: list[int | None] = []
        self._lane_of: dict[int | None, int] = {}  # and nothing for ``None``
        self._ends: list[float] = []
        self._lent: list[tuple[float, int]] = []
        self._free: set[int] = set()

    def __len__(self) -> int:
        return len(self._ends)

    def take(self, connection: int | None, granted: float, ended: float) -> int:
        """The lane of a checkout; they come in order of their grant."""
        while self._lent and self._lent[0][0] <= granted:
            lane = heappop(self._lent)[1]
            if self._ends[lane] <= granted:
                self._free.add(lane)
        # Lent once at a time: if its return is stamped after its next grant, it is free even so.
        former = self._lane_of.get(connection)
        lane = self._any_free() if former is None else former
        if former is None and connection is not None:
            self._lane_of.pop(self._connections[lane], None)
            self._connections[lane] = connection
            self._lane_of[connection] = lane
        self._free.discard(lane)
        self._ends[lane] = ended
        heappush(self._lent, (ended, lane))
        return lane

    def _any_free(self) -> int:
        if self._free:
            return min(self._free)
        self._ends.append(0.0)
        self._connections.append(None)
        return len(self._ends) - 1


def packed(spans: Iterable[tuple[float, float]]) -> list[int]:
    """A lane for each of some intervals, which come in order of their start."""
    found: list[int] = []
    taken: list[tuple[float, int]] = []
    free: list[int] = []
    lanes = 0
    for started, ended in spans:
        while taken and taken[0][0] <= started:
            heappush(free, heappop(taken)[1])
        if free:
            lane = heappop(free)
        else:
            lane = lanes
            lanes += 1
        heappush(taken, (ended, lane))
        found.append(lane)
    return found
