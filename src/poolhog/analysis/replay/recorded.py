"""What really came of a run, and what is seen of its pools."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.ledger import NEVER, OUTCOMES
from poolhog.analysis.replay.workload import Observed, PoolFacts
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.analysis.replay.workload import Groups


class Recorded:
    """What came of a run: of ``others`` than requests it is kept apart."""

    def __init__(self) -> None:
        self.observed = Observed()
        self.others = array("d"), array("d")
        self.pools: dict[tuple[str, str, str, int], PoolFacts] = {}

    def know_pools(self, ledger: Ledger) -> list[PoolFacts]:
        """The facts of the ledger's pools; those alike of several processes are one."""
        found = []
        names: Counter[tuple[str, str, str]] = Counter()
        for pool in ledger.pools:
            name = pool.library, pool.kind, pool.name
            key = *name, names[name]
            names[name] += 1
            found.append(self.pools.setdefault(key, PoolFacts(len(self.pools), pool)))
        return found

    def observe(self, ledger: Ledger, rows: Numbers, pools: Sequence[PoolFacts]) -> None:
        """What came of the checkouts, and what is seen of their pools."""
        recorded, began = self.observed, ledger.process.began
        lent = rows[ledger.is_granted[rows]]
        refused = rows[ledger.is_closed[rows] & ~ledger.is_granted[rows]]
        late = refused[ledger.outcome[refused] == OUTCOMES.index(Outcome.TIMEOUT)]
        waited = np.sort(np.append(lent, late))
        recorded.granted.frombytes((began + ledger.left[waited] / 1e6).tobytes())
        recorded.waits.frombytes(((ledger.left - ledger.asked)[waited] / 1e6).tobytes())
        recorded.timeouts += len(late)
        recorded.lent += float((ledger.over - ledger.left)[lent].sum()) / 1e6
        back = lent[ledger.is_returned[lent]]
        recorded.used += float((ledger.over - ledger.left)[back].sum()) / 1e6
        recorded.returned += len(back)
        for number, facts in enumerate(pools):
            own = rows[ledger.pool[rows] == number]
            opened = ledger.connecting[own]
            facts.opened += int((opened > 0).sum())
            facts.connecting += float(opened.sum()) / 1e6
            # Who got none has none.
            seen = ledger.connection[own[ledger.is_granted[own]]]
            facts.connections += len(np.unique(seen[seen >= 0]))

    def time(self, ledger: Ledger, groups: Groups) -> None:
        """When requests were answered, and how long that took."""
        recorded, began = self.observed, ledger.process.began
        until = np.where(groups.ended < NEVER, groups.ended, ledger.until)
        latest = int(np.maximum(groups.over, until).max())
        recorded.until = max(recorded.until, ledger.seconds(latest))
        told = groups.is_request & (groups.answered < NEVER)
        recorded.answered.frombytes((began + groups.answered[told] / 1e6).tobytes())
        took = (groups.answered - groups.started)[told]
        recorded.responses.frombytes((took / 1e6).tobytes())

    def end_of_owner(self, started: float, ended: float) -> None:
        """The work of an owner without a request counts as an answer if there is no request."""
        self.others[0].append(ended)
        self.others[1].append(ended - started)
