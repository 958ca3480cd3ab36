"""The finder: takes in one checkout after the other, and says in the end what is wrong."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import Shares, told_gaps
from poolhog.analysis.accounting import told as told_of
from poolhog.analysis.blaming import Blaming
from poolhog.analysis.findings.connection_churn import CONNECTION_CHURN
from poolhog.analysis.findings.entry import PoolCounts, Totals
from poolhog.analysis.findings.gaps import Holding
from poolhog.analysis.findings.held_after_response import AFTER_RESPONSE_S
from poolhog.analysis.findings.lending import Lending, Lent, is_nested
from poolhog.analysis.findings.lines import departure
from poolhog.analysis.findings.lost_write import LOST_WRITE, may_have_lost_writes
from poolhog.analysis.findings.meaning import Nested, is_lost
from poolhog.analysis.findings.pool_timeout import POOL_TIMEOUT
from poolhog.analysis.findings.tally import FindingTally
from poolhog.analysis.routes import route_of
from poolhog.analysis.thresholds import Thresholds
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.analysis.accounting import Gap, Told
    from poolhog.analysis.blame import Blame
    from poolhog.analysis.blaming import Observer
    from poolhog.analysis.findings.finding import Finding
    from poolhog.analysis.quiet import Quiet
    from poolhog.model import Checkout, Pool, Process, Trace

MOST_EXPLAINED = 2_000
"""Timed-out waits of a pool of which it is told who had its connections; the others count."""

_LEAST_S = 0.001
"""Gaps that add up to less are not looked at."""


class Finder:
    """Looks for all kinds of findings at once, in checkouts that come by one after the other.

    It keeps what is open at the point that has been reached, and sums: its memory does not grow
    with the checkouts, but for their instants and what they did in their gaps, as whole numbers,
    until the process ends. An ``observer`` learns who held up others, and when.
    """

    def __init__(
        self,
        thresholds: Thresholds = Thresholds(),  # noqa: B008
        observer: Observer | None = None,
    ) -> None:
        self.late = thresholds[AFTER_RESPONSE_S]
        self._blaming = Blaming(observer)
        self._totals = Totals(thresholds)
        self._tally = FindingTally()
        self._holding = Holding(thresholds, self._tally)
        self._pools: dict[str, _Pool] = {}
        self._until = 0.0
        self._read: Callable[[int], Checkout] = _read_nothing

    def begin(self, until: float, read: Callable[[int], Checkout] | None = None) -> None:
        """The checkouts of a process come next, of which no more is known than up to ``until``.

        ``read`` makes a checkout of its number, where ``lending`` is told no more than that.
        """
        self._until = until
        self._read = read or _read_nothing

    def add(self, checkout: Checkout, told: Told, gaps: Sequence[Gap] | None = None) -> None:
        """Take in the next checkout of the process, in the order of their asking.

        ``told`` is how it spent its seconds, and ``gaps`` its gaps, if these are known already.
        """
        pool = self._pool(checkout.pool)
        pool.lending.take(checkout)
        granted, returned = checkout.granted, checkout.returned
        is_quick = granted is None or self._is_quick(checkout, told)
        self._blaming.add(checkout, route_of(checkout), told, self._until, seen=not is_quick)
        if granted is None:
            if checkout.outcome is Outcome.TIMEOUT:
                pool.lending.watch(checkout)
            return
        self._totals.use += (
            returned if returned is not None else max(self._until, granted)
        ) - granted
        pool.counts.granted += 1
        if checkout.connecting:
            pool.counts.opened += 1
            if pool.counts.beyond:
                self._opened(pool, checkout, granted)
        if is_quick:
            self._holding.miss(checkout.site, parked=told.parked, untold=told.untold)
        else:
            pool.lending.watch(checkout, gaps)
        if may_have_lost_writes(checkout):
            self._lost(checkout)

    def lending(self, pool: Pool) -> Lending:
        """What is lent of a pool: it is told of all checkouts, also of those that are not added."""
        return self._pool(pool).lending

    def pass_by(self, quiet: Quiet, told: Told) -> None:
        """Count checkouts that were not added: in none of them is anything to be found."""
        self._totals.use += told.busy + told.untold
        self._pool(quiet.pool).counts.granted += len(quiet)
        self._holding.miss(quiet.site, untold=told.untold)
        self._blaming.pass_by(quiet)

    def end(self, shares: Shares) -> None:
        """All checkouts of the process have come by, and are known to have these shares."""
        for pool in self._pools.values():
            pool.lending.end()
        self._holding.settle(shares)
        queues = self._blaming.close(shares)
        for entry in self._tally:
            entry.charge(queues)

    def found(self) -> tuple[Finding, ...]:
        """The findings, the one that wastes the most connection-seconds first."""
        return self._tally.findings(self._whole())

    def near(self) -> tuple[Finding, ...]:
        """What is below the thresholds, and above half of those that are for what was added up."""
        return self._tally.near_findings(self._whole())

    def _whole(self) -> Totals:
        self._totals.unseen = self._holding.unseen
        self._totals.pools = [pool.counts for pool in self._pools.values()]
        return self._totals

    def blame(self) -> Blame:
        """Who made whom wait: all waiting of all checkouts."""
        return self._blaming.found()

    def _pool(self, pool: Pool) -> _Pool:
        found = self._pools.get(pool.id)
        if found is None:
            found = self._pools[pool.id] = _Pool(pool, self._until, self._judge, self._read)
        return found

    def _is_quick(self, checkout: Checkout, told: Told) -> bool:
        """Whether there is nothing to see, without a look at its operations."""
        if checkout.outcome is not Outcome.RETURNED:
            return False
        if checkout.samples and told.parked + told.ready + told.untold >= _LEAST_S:
            return False
        request = checkout.request
        if request is None or checkout.returned is None:
            return True
        over = request.responded if request.responded is not None else request.ended
        return over is None or checkout.returned - over < self.late

    def _judge(self, pool: _Pool, lent: Lent) -> None:
        checkout = lent.checkout
        if checkout.outcome is Outcome.TIMEOUT:
            self._timed_out(pool, checkout)
        else:
            nested = [] if is_lost(checkout) else list(_nested(lent, pool.until))
            gaps = lent.gaps if lent.gaps is not None else told_gaps(checkout, pool.until)
            if lent.is_counted:
                spent = told_of(checkout, pool.until)
                self._holding.miss(checkout.site, parked=-spent.parked, untold=-spent.untold)
            # What others beside it are seen to be was taken for quick, and is charged so.
            put = partial(self._blaming.put, checkout, route_of(checkout))
            wanted = {} if lent.is_counted else {"put": put}
            self._holding.look(checkout, pool.until, gaps, nested, **wanted)

    def _opened(self, pool: _Pool, checkout: Checkout, granted: float) -> None:
        occurrence = CONNECTION_CHURN.occurrence(checkout, granted, pool.counts)
        self._tally.add(CONNECTION_CHURN, checkout, occurrence)

    def _timed_out(self, pool: _Pool, checkout: Checkout) -> None:
        gave_up = checkout.gave_up if checkout.gave_up is not None else pool.until
        pool.explained += 1
        holding = pool.lending.at(gave_up) if pool.explained <= MOST_EXPLAINED else ()
        self._tally.add(POOL_TIMEOUT, checkout, POOL_TIMEOUT.occurrence(checkout, gave_up, holding))

    def _lost(self, checkout: Checkout) -> None:
        for occurrence in LOST_WRITE.occurrences(checkout):
            self._tally.add(LOST_WRITE, checkout, occurrence)


class _Pool:
    """A pool whose checkouts come by."""

    def __init__(
        self,
        pool: Pool,
        until: float,
        judge: Callable[[_Pool, Lent], None],
        read: Callable[[int], Checkout],
    ) -> None:
        self.until = until
        self.lending = Lending(pool.process.began, partial(judge, self), read)
        self.counts = PoolCounts(pool)
        self.explained = 0


def _read_nothing(number: int) -> Checkout:
    raise LookupError(f"checkout {number} is not known by its number")


def _nested(outer: Lent, until: float) -> list[Nested]:
    """When the owner of a checkout asked for and had others besides."""
    return [
        Nested(
            inner.checkout.asked,
            min(inner.end, outer.end, until),
            departure(inner.checkout.site, outer.checkout.site),
            inner.depth,
        )
        for inner in outer.inner
        if is_nested(outer.checkout, inner, until)
    ]


def find(trace: Trace, thresholds: Thresholds = Thresholds()) -> tuple[Finding, ...]:  # noqa: B008
    """The findings of a trace in memory, the one that wastes the most connection-seconds first."""
    finder = Finder(thresholds)
    for process in trace.processes:
        until = process.written
        checkouts = [c for c in trace.checkouts if _is_of(c, process)]
        finder.begin(until)
        for checkout in checkouts:
            finder.add(checkout, told_of(checkout, until))
        finder.end(Shares(checkouts, until))
    return finder.found()


def _is_of(checkout: Checkout, process: Process) -> bool:
    """A pid may be used again."""
    other = checkout.pool.process
    return (other.pid, other.began) == (process.pid, process.began)
