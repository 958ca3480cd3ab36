"""How gaps without a sample are split: like their siblings, which have one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.spans import BUSY, GAPS, PARKED, RUNNING

if TYPE_CHECKING:
    from poolhog.analysis.ledger import Flags, Ledger
    from poolhog.analysis.spans import Cut, Fractions


class Shares:
    """How gaps without a sample are split: like those with one of checkouts asked for at the site.

    Gaps that are hardly longer than the sampling interval are the better siblings, because the long
    ones may be of another kind (a call that is usually answered from a cache): if there are any,
    only these count. What no sample tells about is the execution of Python, hence running.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._sites = ledger.sites
        shape = len(ledger.sites), len(GAPS)
        self._short = np.zeros(shape)
        self._every = np.zeros(shape)
        self._limit = _SHORT_INTERVALS * ledger.process.sampling_interval * 1e6

    def learn(self, ledger: Ledger, found: Cut) -> None:
        """Learn from some checkouts."""
        spans, gaps = found.spans, found.gaps
        is_sampled: Flags = (spans.sample >= 0) & (spans.state != BUSY)
        chosen = np.flatnonzero(is_sampled)
        site, state = ledger.site[spans.row[chosen]], spans.state[chosen] - PARKED
        gap = spans.gap[chosen]
        duration = spans.duration[chosen]
        np.add.at(self._every, (site, state), duration)
        is_short: Flags = np.asarray(gaps.ended[gap] - gaps.started[gap] <= self._limit)
        short = np.flatnonzero(is_short)
        np.add.at(self._short, (site[short], state[short]), duration[short])

    def add(self, other: Shares) -> None:
        """Learn what was learned of the same sites, in another process or part of it."""
        places = {site: place for place, site in enumerate(self._sites)}
        pairs = [(places[s], at) for at, s in enumerate(other._sites) if s in places]
        own, others = zip(*pairs, strict=True)
        self._short[list(own)] += other._short[list(others)]
        self._every[list(own)] += other._every[list(others)]

    @property
    def of_sites(self) -> Fractions:
        """By site, the parts that are parked, running and ready; they add up to 1."""
        has_short: Flags = self._short.sum(axis=1) > 0
        known = np.where(has_short[:, None], self._short, self._every)
        whole = known.sum(axis=1)
        found = np.zeros_like(known)
        found[:, GAPS.index(RUNNING)] = 1.0
        seen = whole > 0
        found[seen] = known[seen] / whole[seen, None]
        return found


_SHORT_INTERVALS = 2
