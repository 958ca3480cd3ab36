"""How many requests had to wait because of each route and line, over a whole run, bin by bin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.analysis.bins import Bins
    from poolhog.analysis.blame import Place
    from poolhog.analysis.queues import Queue
    from poolhog.model import Process


class BlameBins:
    """Observes who holds up others; ``rows`` are seconds of waiting by the bins of a run."""

    def __init__(self, bins: Bins) -> None:
        self.rows: dict[Place, dict[int, float]] = {}
        self._bins = bins

    def see(
        self, place: Place, queue: Queue, process: Process, started: int, ended: int, sign: int
    ) -> None:
        """A checkout held a connection; instants are microseconds since the process began."""
        row = self.rows.setdefault(place, {})
        parts = sign / (queue.scale * 1_000_000)
        for spell in queue.spells(started, ended):
            for index, begin, end in self._cut(process, *spell):
                seconds = sum(units for _, units in queue.charge(begin, end)) * parts
                if seconds:
                    row[index] = row.get(index, 0.0) + seconds

    def most(self, number: int) -> list[Place]:
        """The places that others waited most for, of which each has a line."""
        whole = {place: math.fsum(row.values()) for place, row in self.rows.items()}
        ranked = sorted(whole, key=lambda place: (-whole[place], place.route, str(place.line)))
        return [place for place in ranked if whole[place] > _LEAST_S][:number]

    def averages(self, place: Place) -> list[float]:
        """How many waited because of this on average in each bin."""
        row, bins = self.rows[place], self._bins
        return [max(row.get(index, 0.0), 0.0) / bins.width for index in range(bins.count)]

    def _cut(self, process: Process, started: int, ended: int) -> Iterator[tuple[int, int, int]]:
        """The parts of a stretch that lie in one bin each."""
        bins = self._bins
        zero, width = (bins.started - process.began) * 1e6, bins.width * 1e6
        while started < ended:
            index = min(max(int((started - zero) / width), 0), bins.count - 1)
            edge = max(round(zero + (index + 1) * width), started + 1)
            end = ended if index == bins.count - 1 else min(edge, ended)
            yield index, started, end
            started = end


_LEAST_S = 1e-6
