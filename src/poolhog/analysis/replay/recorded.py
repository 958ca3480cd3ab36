"""What really came of a run, and what is seen of its pools."""

from __future__ import annotations

import math
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
    from poolhog.analysis.replay.workload import Chains, Groups, Loop


class Recorded:
    """What came of a run. ``others`` are chains without a request: when they came and were over."""

    def __init__(self) -> None:
        self.observed = Observed()
        self.others: list[tuple[int, float, float]] = []
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
            facts.delays += _delays(ledger, own)

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

    def end_of_owner(self, chain: int, started: float, ended: float) -> None:
        """The work of an owner without a request counts as an answer if there is no request."""
        self.others.append((chain, started, ended))

    def take_others(self, chains: Chains, loops: Sequence[Loop]) -> None:
        """Count owners as requests; where workers work in loops, only what these do."""
        of_loops = {number for loop in loops for number in loop.members}
        chains.is_request = bytearray(
            arrived < math.inf and (not of_loops or number in of_loops)
            for number, arrived in enumerate(chains.arrived)
        )
        taken = [(ended, ended - start) for n, start, ended in self.others if chains.is_request[n]]
        self.observed.answered = array("d", [ended for ended, _ in taken])
        self.observed.responses = array("d", [took for _, took in taken])


_MOST_DELAYS = 1_000
"""Delays of a process's pool that are kept: the first ones."""

_LONGEST_DELAY_US = 20_000
"""Nobody who is woken takes longer than this to run, or the event loop is blocked."""

_LONGER = 2
"""So many times as long as the faster one took is what the overtaken one would have taken."""


def _delays(ledger: Ledger, own: Numbers) -> list[float]:
    """How long each who was woken took to get the connection that came back, in order.

    Where another one who had not waited was faster, it would have taken longer than that one.
    """
    lent = own[ledger.is_granted[own]]
    order = np.lexsort((ledger.left[lent], ledger.connection[lent]))
    before, after = lent[order][:-1], lent[order][1:]
    back = ledger.over[before]
    asked, left = np.sort(ledger.asked[own]), np.sort(ledger.left[own])
    waiting = np.searchsorted(asked, back, "left") - np.searchsorted(left, back, "right")
    chosen = (ledger.connection[before] == ledger.connection[after]) & (waiting > 0)
    after, back = after[chosen], back[chosen]
    costs = ledger.pinging[after] + ledger.connecting[after]
    delays = np.maximum(ledger.left[after] - back - costs, 0)
    delays[ledger.asked[after] >= back] *= _LONGER
    delays = np.minimum(delays, _LONGEST_DELAY_US)
    found = delays[np.argsort(back, kind="stable")][:_MOST_DELAYS] / 1e6
    kept: list[float] = found.tolist()
    return kept
