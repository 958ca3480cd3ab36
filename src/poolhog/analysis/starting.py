"""Start-up code: what used connections before the first request, and not since.

Migrations, and whatever fills caches, run once and make no request wait. A scheduler or a poller
begins before the first request as well, and goes on: so all that a route did must be over by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.ledger import NEVER

if TYPE_CHECKING:
    from poolhog.analysis.ledger import Ledger


class Starting:
    """Adds up, over the processes of a run, until when each route without a request went on."""

    def __init__(self) -> None:
        self._processes: list[tuple[float | None, dict[str, float]]] = []

    def add(self, ledger: Ledger) -> None:
        """Add a process."""
        began = ledger.requests.started
        first = ledger.seconds(int(began.min())) if len(began) else None
        ended: dict[str, float] = {}
        others = ledger.request < 0
        over = np.where(ledger.is_closed, ledger.over, NEVER)
        for code in np.unique(ledger.route[others]).tolist():
            last = int(over[others & (ledger.route == code)].max())
            ended[ledger.routes[code]] = ledger.seconds(last)
        served = np.unique(ledger.route[~others]).tolist()
        ended |= dict.fromkeys((ledger.routes[code] for code in served), float("inf"))
        self._processes.append((first, ended))

    def routes(self) -> frozenset[str]:
        """The routes that were over before the first request of their process, or of the run."""
        firsts = [first for first, _ in self._processes if first is not None]
        earliest = min(firsts, default=0.0)
        every: set[str] = set()
        late: set[str] = set()
        for first, ended in self._processes:
            limit = first if first is not None else earliest
            every |= ended.keys()
            late |= {route for route, last in ended.items() if last > limit}
        return frozenset(every - late)
