"""How many requests had to wait because of each route and line, over a whole run, bin by bin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from poolhog.analysis.bins import Grid
    from poolhog.analysis.blame.charges import Place
    from poolhog.analysis.blame.queue import Queue
    from poolhog.analysis.ledger import Numbers
    from poolhog.model import Process

_LEAST_S = 1e-6


class BlameBins:
    """Observes who holds up others; ``rows`` are seconds of waiting by the bins of a run."""

    def __init__(self, grid: Grid) -> None:
        self.rows: dict[Place, NDArray[np.float64]] = {}
        self._grid = grid

    def see(
        self,
        place: Place,
        queue: Queue,
        process: Process,
        spans: tuple[Numbers, Numbers],
        sign: int,
    ) -> None:
        """Some held connections; instants are microseconds since the process began."""
        row = self.rows.setdefault(place, np.zeros(self._grid.count))
        row += sign * self._grid.spread(process.began, *spans, queue.waited_by)

    def most(self, number: int) -> list[Place]:
        """The places that others waited most for, of which each has a line."""
        whole = {place: float(row.sum()) for place, row in self.rows.items()}
        ranked = sorted(whole, key=lambda place: (-whole[place], place.route, str(place.line)))
        return [place for place in ranked if whole[place] > _LEAST_S][:number]

    def averages(self, place: Place) -> list[float]:
        """How many waited because of this on average in each bin."""
        found: list[float] = (np.maximum(self.rows[place], 0.0) / self._grid.width).tolist()
        return found
