"""The finder: goes through the checkouts of one process after the other, and says what is wrong.

Most checkouts are counted: nothing can be found in them. Of the others, gaps that are alike (the
owner in the same state at the same line, between the same operations) are judged once. Only
checkouts whose gaps change their meaning meanwhile, such as by the response, are judged one by one.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.blame.blaming import line_of
from poolhog.analysis.blame.blockers import Answered
from poolhog.analysis.blocks import blocks_of
from poolhog.analysis.failures import FailureTally, failed_operations
from poolhog.analysis.findings.blocking_checkout import BLOCKING_CHECKOUT
from poolhog.analysis.findings.blocks_others import BLOCKS_OTHERS
from poolhog.analysis.findings.connect_failed import CONNECT_FAILED
from poolhog.analysis.findings.connection_churn import CONNECTION_CHURN
from poolhog.analysis.findings.entry import Origin, PoolCounts, Totals
from poolhog.analysis.findings.gaps import Alike, gap_kinds, look, origins
from poolhog.analysis.findings.held_after_response import AFTER_RESPONSE_S
from poolhog.analysis.findings.lines import departure
from poolhog.analysis.findings.lost_write import LOST_WRITE, may_have_lost_writes
from poolhog.analysis.findings.many_pools import MANY_POOLS
from poolhog.analysis.findings.meaning import Lifetime, Nested, around, is_lost, piece_of
from poolhog.analysis.findings.nested_checkout import end_or, is_nested, overlaps
from poolhog.analysis.findings.pool_timeout import POOL_TIMEOUT
from poolhog.analysis.findings.shared_over_fork import SHARED_OVER_FORK
from poolhog.analysis.findings.shared_session import SHARED_SESSION
from poolhog.analysis.findings.tally import FindingTally
from poolhog.analysis.kept import KeptTally, kept_rows
from poolhog.analysis.ledger import ACTIVITIES, KINDS, NEVER, OUTCOMES
from poolhog.analysis.spans import GAPS, PARKED, READY, STATES, UNSAMPLED, Spans
from poolhog.analysis.starting import Starting
from poolhog.analysis.thresholds import Thresholds
from poolhog.model import Activity, OperationKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.blame.queue import Queue
    from poolhog.analysis.failures import Failure
    from poolhog.analysis.findings.finding import Finding
    from poolhog.analysis.kept import KeptConnections
    from poolhog.analysis.ledger import Flags, Ledger, Numbers
    from poolhog.analysis.spans import Cut, Fractions, Split
    from poolhog.model import Checkout, Site

MOST_EXPLAINED = 2_000
"""Timed-out waits of a pool for which it is found out who had its connections; the others count."""

_LEAST_US = 1_000
"""Gaps of a checkout that add up to less are not looked at."""

_QUEUED = ACTIVITIES.index(Activity.QUEUED)
_BLOCKING = ACTIVITIES.index(Activity.BLOCKING)
_RETURNED, _TIMEOUT, _OPEN, _COLLECTED = (
    OUTCOMES.index(outcome)
    for outcome in (Outcome.RETURNED, Outcome.TIMEOUT, Outcome.OPEN, Outcome.COLLECTED)
)


class Finder:
    """Looks for all kinds of findings at once, in one process after the other."""

    def __init__(self, thresholds: Thresholds = Thresholds()) -> None:  # noqa: B008
        self._late = round(thresholds[AFTER_RESPONSE_S] * 1e6)
        self._totals = Totals(thresholds)
        self._tally = FindingTally()
        self._kinds = gap_kinds()
        self._pools: list[PoolCounts] = []
        self._unseen: dict[Origin, float] = {}
        self._failures = FailureTally()
        self._kept = KeptTally()
        self._starting = Starting()

    def open(self, ledger: Ledger) -> Numbers:
        """Begin a process; the rows that are to be cut and shown to :meth:`see`, besides others."""
        self._ledger = ledger
        self._starting.add(ledger)
        self._purposes = kept = kept_rows(ledger)
        self._is_kept = np.zeros(len(ledger), bool)
        self._is_kept[list(kept)] = True
        self._beside = {row: inner for row, inner in overlaps(ledger).items() if row not in kept}
        self._is_seen = np.zeros(len(ledger), bool)
        self._is_looked = np.zeros(len(ledger), bool)
        self._is_outer = np.zeros(len(ledger), bool)
        self._is_outer[list(self._beside)] = True
        self._is_plain, self._is_remarkable = self._plain(), self._remarkable()
        self._unsampled: Counter[tuple[int, int]] = Counter()
        self._codes = {site: code for code, site in enumerate(ledger.sites)}
        self._answered: list[tuple[Numbers, ...]] = []
        self._lines: dict[Site | None, int] = {}
        self._count_pools()
        self._find_failures()
        self._remember_waits()
        self._find_blocking_waits()
        self._find_timeouts()
        self._find_lost_writes()
        self._find_shared_sessions()
        blocks = blocks_of(ledger)
        # All that these did answers for somebody's waiting.
        self._is_of_block = np.zeros(len(ledger), bool)
        self._is_of_block[blocks.row] = True
        self._is_of_block[blocks.blocker[blocks.blocker >= 0]] = True
        wanted = self._is_remarkable | self._is_of_block | (ledger.is_granted & self._is_outer)
        return np.flatnonzero(wanted)

    def see(self, rows: Numbers, found: Cut, split: Split) -> None:
        """Look at some checkouts that were cut into spans."""
        ledger = self._ledger
        in_gaps = (split.parked + split.ready + split.unsampled)[rows]
        is_slow = np.isin(rows, ledger.samples.row) & (in_gaps >= _LEAST_US)
        is_slow |= np.isin(rows, found.samples.row[found.samples.activity == _BLOCKING])
        # Who is kept on purpose is a hog only if others wait for a lock of its.
        is_hog = ledger.is_granted[rows] & (~self._is_kept[rows] | self._is_of_block[rows])
        is_worth = self._is_remarkable[rows] | self._is_of_block[rows] | is_slow
        is_seen = is_hog & is_worth
        self._is_seen[rows[is_seen]] = True
        looked = np.zeros(len(ledger), bool)
        looked[rows] = is_seen | (self._is_outer[rows] & is_hog)
        self._is_looked |= looked
        spans = found.spans
        together = looked & self._is_plain
        together[spans.row[spans.state == READY]] = False
        alike = Alike(ledger, found, together, self._kinds)
        apart = alike.apart()
        together[apart] = False
        alike.without(apart)
        alike.count(self._tally)
        self._answer(spans.where(alike.span), *alike.lines())
        unsampled = spans.where((spans.state == UNSAMPLED) & together[spans.row])
        self._answer(unsampled, ledger.site[unsampled.row], ledger.sites)
        self._count_unsampled(unsampled, found)
        self._look_one_by_one(np.flatnonzero(looked & ~together), found)

    def close(self, split: Split, shares: Fractions) -> tuple[Flags, Answered]:
        """All rows of the process that matter were seen: which, and what answers for their gaps."""
        ledger = self._ledger
        self._kept.add(ledger, self._purposes, split.busy + split.blocked)
        # Use that is meant to last for ever would hide all waste behind it.
        is_hog = ledger.is_granted & ~self._is_kept
        self._totals.use += float((ledger.over - ledger.left)[is_hog].sum()) / 1e6
        quick = is_hog & ~self._is_looked
        sites = ledger.site[quick]
        share = shares[:, GAPS.index(PARKED)]
        parked = np.bincount(sites, split.unsampled[quick], len(ledger.sites)) * share
        parked += np.bincount(sites, split.parked[quick], len(ledger.sites))
        for site, microseconds in zip(ledger.sites, parked.tolist(), strict=True):
            self._miss(Origin(site, None), microseconds)
        for (asked, after), missed in self._unsampled.items():
            origin = Origin(ledger.sites[asked], ledger.sites[after])
            self._miss(origin, missed * float(share[asked]))
        parts = self._answered or [tuple(np.array([], np.int64) for _ in range(5))]
        columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        row, state, started, ended, line = columns
        answered = Answered(row, state, started, ended, line, tuple(self._lines))
        for checkout, occurrence in BLOCKS_OTHERS.found(ledger, answered):
            self._tally.add(BLOCKS_OTHERS, checkout, occurrence)
        return self._is_seen, answered

    def charge(self, queues: Mapping[str, Queue]) -> None:
        """Add who waited for what was found, by the queues of the process's pools."""
        for entry in self._tally:
            entry.charge(queues)

    def found(self) -> tuple[Finding, ...]:
        """The findings, the worst first: see :class:`Severity`."""
        return self._tally.findings(self._whole())

    def failures(self) -> tuple[Failure, ...]:
        """What failed besides, the most frequent first."""
        return self._failures.failures()

    def kept(self) -> tuple[KeptConnections, ...]:
        """Connections that are kept on purpose, which no finding is about."""
        return tuple(self._kept)

    def starting(self) -> frozenset[str]:
        """The routes that are start-up code."""
        return self._starting.routes()

    def near(self) -> tuple[Finding, ...]:
        """What is below the thresholds, and above half of those that are for what was added up."""
        return self._tally.near_findings(self._whole())

    def _whole(self) -> Totals:
        self._totals.unseen = self._unseen
        self._totals.starting = self._starting.routes()
        self._totals.pools = self._pools
        return self._totals

    def _answer(self, spans: Spans, lines: Numbers, sites: Sequence[Site | None]) -> None:
        """Note the lines that answer for some parts of gaps: indexes of ``sites``."""
        codes = [self._lines.setdefault(site, len(self._lines)) for site in sites]
        line = np.array(codes, np.int64)[lines] if len(lines) else lines
        columns = spans.row, spans.state, spans.started, spans.ended, line
        chosen = self._is_seen[spans.row]
        self._answered.append(tuple(column[chosen] for column in columns))

    def _miss(self, origin: Origin, microseconds: float) -> None:
        if microseconds:
            self._unseen[origin] = self._unseen.get(origin, 0.0) + microseconds / 1e6

    def _count_unsampled(self, spans: Spans, found: Cut) -> None:
        asked, after = origins(self._ledger, found, spans)
        number = len(self._ledger.sites)
        pairs, place = np.unique(asked * number + after, return_inverse=True)
        for pair, missed in zip(
            pairs.tolist(), np.bincount(place, spans.duration).tolist(), strict=True
        ):
            self._unsampled[divmod(pair, number)] += missed

    def _look_one_by_one(self, rows: Numbers, found: Cut) -> None:
        """Judge checkouts whose gaps change their meaning, or that have others beside them."""
        ledger, until = self._ledger, self._ledger.process.written
        inner = sorted({one.row for row in rows.tolist() for one in self._beside.get(row, ())})
        wanted = np.union1d(rows, np.array(inner, np.int64))
        known = dict(zip(wanted.tolist(), ledger.checkouts(wanted), strict=True))
        spans = found.spans
        in_gap = np.flatnonzero(spans.gap >= 0)
        firsts = np.searchsorted(spans.row[in_gap], rows)
        lasts = np.searchsorted(spans.row[in_gap], rows, side="right")
        answered: list[tuple[int, int, int, int, Site | None]] = []
        for row, first, last in zip(rows.tolist(), firsts.tolist(), lasts.tolist(), strict=True):
            checkout = known[row]
            nested = [] if is_lost(checkout) else list(self._nested(row, known, until))
            pieces = [piece_of(ledger, found, at, checkout) for at in in_gap[first:last].tolist()]
            lifetime = Lifetime(checkout, until, nested, self._loop_waits)
            for piece, site, is_seen in look(
                lifetime, pieces, self._kinds, self._totals.thresholds, self._tally
            ):
                state = UNSAMPLED if piece.state is None else STATES.index(piece.state)
                started, ended = map(ledger.microseconds, (piece.started, piece.ended))
                answered.append((row, state, started, ended, site))
                if not is_seen:
                    after = around(checkout, piece.gap).reference
                    code = self._codes.get(after, 0)
                    self._unsampled[int(ledger.site[row]), code] += ended - started
        self._answer_each(answered)

    def _answer_each(self, answered: Sequence[tuple[int, int, int, int, Site | None]]) -> None:
        if answered:
            *columns, sites = zip(*answered, strict=True)
            row, state, started, ended = (np.array(column, np.int64) for column in columns)
            nothing = np.full(len(row), -1)
            spans = Spans(row, state, started, ended, nothing, nothing, nothing)
            self._answer(spans, np.arange(len(row)), sites)

    def _nested(self, row: int, known: Mapping[int, Checkout], until: float) -> Iterator[Nested]:
        """When the owner of a checkout asked for and had others besides."""
        outer = known[row]
        for one in self._beside.get(row, ()):
            inner = known[one.row]
            if is_nested(outer, inner, until):
                ended = min(end_or(inner, until), end_or(outer, until))
                line = departure(inner.site, outer.site)
                is_stuck = inner.outcome in (Outcome.TIMEOUT, Outcome.WAITING)
                yield Nested(inner.asked, ended, line, one.depth, is_stuck)

    def _remarkable(self) -> Flags:
        """The checkouts that did not come back, or not until long after the response was sent."""
        ledger, requests = self._ledger, self._ledger.requests
        found: Flags = ledger.outcome != _RETURNED
        own = np.flatnonzero((ledger.request >= 0) & ledger.is_returned)
        request = ledger.request[own]
        over = np.where(
            requests.responded[request] < NEVER,
            requests.responded[request],
            requests.ended[request],
        )
        found[own] |= ledger.over[own] - over >= self._late
        found &= ledger.is_granted
        return found

    def _plain(self) -> Flags:
        """The checkouts whose gaps keep their meaning, whatever it is: see ``Lifetime``."""
        ledger, requests = self._ledger, self._ledger.requests
        found = ~np.isin(ledger.outcome, (_OPEN, _COLLECTED)) & ~self._is_outer
        own = np.flatnonzero(ledger.request >= 0)
        request = ledger.request[own]
        over = np.where(
            requests.responded[request] < NEVER,
            requests.responded[request],
            requests.ended[request],
        )
        first = np.minimum(requests.responding[request], over)
        found[own] &= first >= ledger.over[own]
        return found

    def _count_pools(self) -> None:
        """Count the connections that were lent and opened; those beyond a pool's size are churn."""
        ledger = self._ledger
        opened = np.flatnonzero(ledger.is_granted & (ledger.connecting > 0))
        for number, pool in enumerate(ledger.pools):
            own = opened[ledger.pool[opened] == number]
            granted = int((ledger.is_granted & (ledger.pool == number)).sum())
            if not granted:
                continue
            counts = PoolCounts(pool, granted, len(own))
            self._pools.append(counts)
            for checkout in ledger.checkouts(own[pool.size or 0 :]):
                granted_at = checkout.granted if checkout.granted is not None else checkout.asked
                occurrence = CONNECTION_CHURN.occurrence(checkout, granted_at, counts)
                self._tally.add(CONNECTION_CHURN, checkout, occurrence)

    def _find_failures(self) -> None:
        """Find the operations that failed, and what is behind those of connects."""
        ledger, tally = self._ledger, self._tally
        failed = failed_operations(ledger)
        self._failures.add(ledger, failed)
        connected = ledger.site[ledger.rows_that_sent((OperationKind.CONNECT,), None)]
        counts = np.bincount(connected, minlength=len(ledger.sites)).tolist()
        for site, count in zip(ledger.sites, counts, strict=True):
            self._totals.connects[line_of(site)] += count
        self._is_refused = np.zeros(len(ledger), bool)
        self._is_refused[failed.row[failed.kind == KINDS.index(OperationKind.CONNECT)]] = True
        for checkout, occurrence in CONNECT_FAILED.occurrences(ledger, failed):
            tally.add(CONNECT_FAILED, checkout, occurrence)
        for checkout, occurrence in MANY_POOLS.occurrences(ledger, failed, self._totals):
            tally.add(MANY_POOLS, checkout, occurrence)
        for checkout, occurrence in SHARED_OVER_FORK.occurrences(ledger):
            tally.add(SHARED_OVER_FORK, checkout, occurrence)

    def _remember_waits(self) -> None:
        """Keep when others waited for the pools of those that waited for a thread."""
        ledger = self._ledger
        queued = ledger.samples.row[ledger.samples.activity == _QUEUED]
        for number in np.unique(ledger.pool[queued]).tolist():
            of_pool = ledger.pool == number
            began = ledger.process.began
            asked, left = (began + column[of_pool] / 1e6 for column in (ledger.asked, ledger.left))
            self._totals.waits[ledger.pools[number].id] = asked, left

    def _find_blocking_waits(self) -> None:
        """Find waits that kept an event loop: they are seen before there is a connection."""
        ledger, samples = self._ledger, self._ledger.samples
        is_wait = (samples.activity == _BLOCKING) & (samples.started < ledger.left[samples.row])
        rows = np.unique(samples.row[is_wait])
        self._loop_waits: list[tuple[float, float]] = []
        for row, checkout in zip(rows.tolist(), ledger.checkouts(rows), strict=True):
            left = ledger.seconds(int(ledger.left[row]))
            self._loop_waits.append((checkout.asked, left))
            occurrence = BLOCKING_CHECKOUT.occurrence(checkout, left)
            self._tally.add(BLOCKING_CHECKOUT, checkout, occurrence)

    def _find_timeouts(self) -> None:
        ledger = self._ledger
        for number in range(len(ledger.pools)):
            of_pool = np.flatnonzero(ledger.pool == number)
            is_late = (ledger.outcome[of_pool] == _TIMEOUT) & ~self._is_refused[of_pool]
            rows = of_pool[is_late]
            lent = of_pool[ledger.is_granted[of_pool]]
            end = np.where(ledger.is_closed[lent], ledger.over[lent], NEVER)
            known: dict[int, Checkout] = {}
            for place, checkout in enumerate(ledger.checkouts(rows)):
                at = int(ledger.left[rows[place]])
                holding: Numbers = lent[:0]
                if place < MOST_EXPLAINED:
                    holding = lent[(ledger.left[lent] <= at) & (at < end)]
                    new = np.array([row for row in holding.tolist() if row not in known], np.int64)
                    known |= zip(new.tolist(), ledger.checkouts(new), strict=True)
                holders = [known[row] for row in holding.tolist()]
                gave_up = ledger.seconds(at)
                if place < MOST_EXPLAINED and not holders and self._is_refused[of_pool].any():
                    # The pool had no connection to lend, and could not open one.
                    in_vain = CONNECT_FAILED.in_vain(checkout, gave_up)
                    self._tally.add(CONNECT_FAILED, checkout, in_vain)
                    continue
                occurrence = POOL_TIMEOUT.occurrence(checkout, gave_up, holders)
                self._tally.add(POOL_TIMEOUT, checkout, occurrence)

    def _find_lost_writes(self) -> None:
        for checkout in self._ledger.checkouts(may_have_lost_writes(self._ledger)):
            for occurrence in LOST_WRITE.occurrences(checkout):
                self._tally.add(LOST_WRITE, checkout, occurrence)

    def _find_shared_sessions(self) -> None:
        for checkout in self._ledger.checkouts(self._ledger.shared):
            for occurrence in SHARED_SESSION.occurrences(checkout):
                self._tally.add(SHARED_SESSION, checkout, occurrence)
