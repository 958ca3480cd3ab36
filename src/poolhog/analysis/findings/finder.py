"""The finder: takes in one checkout after the other, and says in the end what is wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from poolhog.analysis.findings.blame import Blame, blame
from poolhog.analysis.findings.churn import Churning
from poolhog.analysis.findings.conclusion import Run, conclude
from poolhog.analysis.findings.finding import FindingKind
from poolhog.analysis.findings.held import Holding
from poolhog.analysis.findings.holders import holder
from poolhog.analysis.findings.lending import Lending, Lent, is_nested
from poolhog.analysis.findings.lost_writes import lost_writes, may_have_lost_writes
from poolhog.analysis.findings.moments import Nested, is_lost
from poolhog.analysis.findings.names import abbreviated, route_of
from poolhog.analysis.findings.tally import Tally
from poolhog.analysis.findings.waits import Waits
from poolhog.analysis.thresholds import Thresholds
from poolhog.model import Outcome

if TYPE_CHECKING:
    from poolhog.analysis.accounting import Account, Shares
    from poolhog.analysis.findings.finding import Finding
    from poolhog.model import Checkout, Pool

MOST_EXPLAINED = 2_000
"""Timed-out waits of a pool of which it is told who had its connections; the others count."""

_LEAST_S = 0.001
"""Gaps that add up to less are not looked at."""


class Finder:
    """Looks for all kinds of findings at once, in checkouts that come by one after the other.

    It keeps what is open at the point that has been reached, and sums: its memory does not grow
    with the checkouts, but for waits and wasted intervals, which take 16 bytes each.
    """

    def __init__(self, thresholds: Thresholds = Thresholds()) -> None:  # noqa: B008
        self._run = Run(thresholds, Tally(), Waits())
        self._holding = Holding(thresholds, self._run.tally)
        self._late = thresholds.after_response_s
        self._wait = thresholds.wait_s
        self._pools: dict[str, _Pool] = {}

    def add(self, checkout: Checkout, account: Account, until: float, shares: Shares) -> None:
        """Take in the next checkout of a process, in the order of their asking.

        ``account`` is the checkout's, ``until`` the last instant that is known of its process.
        """
        pool = self._pools.get(checkout.pool.id)
        if pool is None:
            pool = self._pools[checkout.pool.id] = _Pool(checkout.pool, until, shares)
        asked = checkout.asked
        if pool.lending.judged_until <= asked:
            self._judge(pool, asked)
        pool.lending.add(checkout)
        if account.queueing >= self._wait:
            self._run.waits.add(
                checkout.pool.id, route_of(checkout), asked, asked + account.queueing
            )
        granted, returned = checkout.granted, checkout.returned
        if granted is None:
            if checkout.outcome is Outcome.TIMEOUT:
                pool.lending.watch(checkout)
            return
        self._run.use += (returned if returned is not None else max(until, granted)) - granted
        pool.churning.granted += 1
        if checkout.connecting:
            pool.churning.opened += 1
            if pool.churning.beyond:
                self._opened(pool, checkout, granted)
        if self._is_quick(checkout, account):
            if account.parked:
                self._holding.miss(checkout.site, account.parked)
        else:
            pool.lending.watch(checkout)
        if may_have_lost_writes(checkout):
            self._lost(checkout)

    def found(self) -> tuple[Finding, ...]:
        """The findings, the one that wastes the most connection-seconds first."""
        for pool in self._pools.values():
            self._judge(pool, math.inf)
        self._run.unseen = self._holding.unseen
        self._run.churning = [pool.churning for pool in self._pools.values()]
        return conclude(self._run)

    def _is_quick(self, checkout: Checkout, account: Account) -> bool:
        """Whether there is nothing to see, without a look at its operations."""
        if checkout.outcome is not Outcome.RETURNED:
            return False
        if checkout.samples and account.parked + account.ready >= _LEAST_S:
            return False
        request = checkout.request
        if request is None or checkout.returned is None:
            return True
        over = request.responded if request.responded is not None else request.ended
        return over is None or checkout.returned - over < self._late

    def _judge(self, pool: _Pool, instant: float) -> None:
        for lent in pool.lending.over(instant):
            checkout = lent.checkout
            if checkout.outcome is Outcome.TIMEOUT:
                self._timed_out(pool, checkout)
            else:
                nested = [] if is_lost(checkout) else list(_nested(lent, pool.until))
                self._holding.look(checkout, pool.until, pool.shares, nested)

    def _opened(self, pool: _Pool, checkout: Checkout, granted: float) -> None:
        self._run.tally.add(
            FindingKind.CONNECTION_CHURN,
            checkout,
            Blame(checkout.site),
            [(granted - checkout.connecting, granted)],
            key=pool.churning.group,
        )

    def _timed_out(self, pool: _Pool, checkout: Checkout) -> None:
        gave_up = checkout.gave_up if checkout.gave_up is not None else pool.until
        waited = gave_up - checkout.asked
        entry = self._run.tally.add(
            FindingKind.POOL_TIMEOUT,
            checkout,
            Blame(checkout.site),
            [(checkout.asked, gave_up)],
            weight=waited,
        )
        pool.explained += 1
        if pool.explained <= MOST_EXPLAINED:
            for other in pool.lending.at(gave_up):
                entry.tell(holder(other, gave_up))

    def _lost(self, checkout: Checkout) -> None:
        for write in lost_writes(checkout):
            ended = write.ended if write.ended is not None else write.started
            entry = self._run.tally.add(
                FindingKind.LOST_WRITE,
                checkout,
                Blame(write.site or checkout.site),
                [(write.started, ended)],
                weight=1.0,
            )
            entry.tell(abbreviated(write.statement or ""))


class _Pool:
    """A pool whose checkouts come by."""

    def __init__(self, pool: Pool, until: float, shares: Shares) -> None:
        self.until = until
        self.shares = shares
        self.lending = Lending()
        self.churning = Churning(pool)
        self.explained = 0


def _nested(outer: Lent, until: float) -> list[Nested]:
    """When the owner of a checkout asked for and had others besides."""
    return [
        Nested(
            inner.checkout.asked,
            min(inner.end, outer.end, until),
            blame(inner.checkout.site, outer.checkout.site),
            inner.depth,
        )
        for inner in outer.inner
        if is_nested(outer.checkout, inner, until)
    ]
