"""What `poolhog report` says, computed from the ledgers of a run's processes.

Every checkout is counted once, for its pool and its route: routes, pools and totals are sums of the
same numbers, and so agree.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from poolhog.analysis.accounting import NOTHING, total
from poolhog.analysis.blame.blaming import NO_BLAME, Blame, blame_of, most_first
from poolhog.analysis.findings import Severity
from poolhog.analysis.findings.finder import Finder
from poolhog.analysis.findings.tally import cost_of
from poolhog.analysis.garbage import without_garbage_collection
from poolhog.analysis.ledger import Ledger
from poolhog.analysis.measured import (
    Measured,
    Sums,
    Viewer,
    measured,
    out_of_pool,
    peak_of,
    sums_of,
    time_of,
    waits_of,
)
from poolhog.analysis.memory import MemoryFacts
from poolhog.analysis.owners import route_at
from poolhog.analysis.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from poolhog.analysis.accounting import Account
    from poolhog.analysis.blame.blaming import Charge, Observer
    from poolhog.analysis.failures import Failure
    from poolhog.analysis.findings.finding import Finding
    from poolhog.analysis.kept import KeptConnections
    from poolhog.analysis.ledger import Facts, Numbers
    from poolhog.analysis.measured import WaitTimes
    from poolhog.model import Outcome, Pool, Process, Trace, Unreadable
    from poolhog.trace.reader import ProcessReader

    Tell = Callable[[int], None]

NO_CONNECTION = "without a connection"
"""The route of all requests whose route never asked for one."""


@dataclass(frozen=True, slots=True)
class PoolUse:
    """One pool, and what was done with it.

    ``observed`` is the seconds from the first time that it was asked to the last return, or to
    the end of the trace if something is open. ``saturated`` is how many of these it was exhausted:
    all of its connections were out, lent or being opened or pinged for somebody; ``None`` for a
    pool without a limit. ``awaited`` is in how many somebody waited. The peaks are how many were
    out, and how many waited, at one instant.
    """

    pool: Pool
    checkouts: int
    spent: Account
    waits: WaitTimes
    outcomes: Mapping[Outcome, int]
    observed: float
    saturated: float | None
    awaited: float
    peak_lent: int
    peak_waiting: int

    @property
    def saturation(self) -> float | None:
        """The share of the observed time in which the pool was exhausted."""
        return None if self.saturated is None else _share(self.saturated, self.observed)

    @property
    def contention(self) -> float:
        """The share of the observed time in which somebody waited."""
        return _share(self.awaited, self.observed)


@dataclass(frozen=True, slots=True)
class RouteUse:
    """One route: its requests, with a checkout or without, and its checkouts.

    ``made_wait`` is the seconds that requests of all routes waited because of these. One that
    ``is_at_start`` is no request: it was over before the first one began.
    """

    name: str
    requests: int
    checkouts: int
    spent: Account
    waits: WaitTimes
    outcomes: Mapping[Outcome, int]
    made_wait: float = 0.0
    is_at_start: bool = False

    @property
    def idle(self) -> float:
        """The share of the use in which no operation was in flight."""
        return _share(self.spent.gap, self.spent.use)


@dataclass(frozen=True, slots=True)
class Report:
    """Conclusions of a trace. Pools and routes: the one with the most parked seconds first, or use.

    ``requests`` counts those with a checkout and those without. ``observed`` is the seconds from
    the start of the first process to the end of the trace. ``unreadable`` are the files of the run
    that it is without. ``near`` are nearly findings: another run of the same code may have them as
    findings. ``failures`` are operations that failed, but for connects: these are findings.
    ``kept`` are connections that are kept on purpose: no finding is about them.
    """

    processes: tuple[Process, ...]
    pools: tuple[PoolUse, ...]
    routes: tuple[RouteUse, ...]
    findings: tuple[Finding, ...]
    requests: int
    observed: float
    unreadable: tuple[Unreadable, ...] = ()
    near: tuple[Finding, ...] = ()
    blame: Blame = NO_BLAME
    failures: tuple[Failure, ...] = ()
    kept: tuple[KeptConnections, ...] = ()

    @property
    def checkouts(self) -> int:
        """Of all pools."""
        return sum(pool.checkouts for pool in self.pools)

    @property
    def spent(self) -> Account:
        """The seconds of all checkouts."""
        return total(pool.spent for pool in self.pools)

    @property
    def passing(self) -> tuple[float, float]:
        """Seconds of use but for what is kept on purpose, and those with an operation in flight."""
        spent = total(route.spent for route in self.routes)
        use = spent.use - sum(one.seconds for one in self.kept)
        in_flight = spent.busy + spent.blocked - sum(one.busy for one in self.kept)
        return use, in_flight

    @property
    def outcomes(self) -> Mapping[Outcome, int]:
        """How many checkouts stand or ended so."""
        return sum((Counter(pool.outcomes) for pool in self.pools), Counter())

    @property
    def hog(self) -> Finding | None:
        """The finding whose line holds connections, and costs most: failures are not of that kind.

        A deadlock comes first.
        """
        holds = [f for f in self.findings if f.severity > Severity.TIMEOUT or f.kind.is_released]
        is_stuck = bool(holds) and holds[0].severity < Severity.LOST
        return holds[0] if is_stuck else min(holds, key=cost_of, default=None)

    @property
    def accused(self) -> tuple[Finding, ...]:
        """The worst finding, and the worst of each severity that is more than a matter of time.

        Besides these, the line that costs most.
        """
        worst = {f.severity: f for f in reversed(self.findings) if f.is_harm}
        found = tuple(worst[severity] for severity in sorted(worst)) or self.findings[:1]
        hog = self.hog
        return (*found, hog) if worst and hog is not None and hog not in found else found

    def about(self, text: str) -> Report:
        """Only routes whose names contain the text, with findings and blame; pools stay whole."""
        wanted = text.casefold()
        return replace(
            self,
            routes=tuple(route for route in self.routes if wanted in route.name.casefold()),
            findings=tuple(
                finding
                for finding in self.findings
                if any(wanted in name.casefold() for name in finding.routes)
            ),
            blame=self.blame.about(text),
            kept=tuple(one for one in self.kept if wanted in route_at(one.site).casefold()),
        )


EMPTY = Report((), (), (), (), 0, 0.0)
"""Of a run in which no connection was asked for."""


class Companion(Protocol):
    """Whoever counts other things of each process."""

    def close(self, found: Measured) -> None:
        """A process was measured; if spans were wanted, all came by."""


def read_report(
    readers: Sequence[ProcessReader],
    thresholds: Thresholds,
    tell: Tell | None = None,
    *,
    companions: Sequence[Companion] = (),
    observer: Observer | None = None,
) -> Report:
    """The report of some processes of a run; ``tell`` learns how many checkouts were read.

    ``companions`` see all of them cut into spans, the ``observer`` who held up others. Raises
    :class:`poolhog.TraceError` if a process cannot be read.
    """
    books = Books(thresholds, companions, observer)
    done = 0
    with without_garbage_collection():
        for reader in readers:
            with reader.snapshot() as snapshot:
                done += books.add(snapshot)
                if tell is not None:
                    tell(done)
    return books.report()


def report_of(
    trace: Trace,
    thresholds: Thresholds = Thresholds(),  # noqa: B008
    *,
    companions: Sequence[Companion] = (),
    observer: Observer | None = None,
) -> Report:
    """The report of a trace in memory; ``companions`` and ``observer`` as in ``read_report``."""
    books = Books(thresholds, companions, observer)
    for process in trace.processes:
        books.add(MemoryFacts(trace, process))
    return books.report()


class Books:
    """Adds up one process after the other."""

    def __init__(
        self,
        thresholds: Thresholds,
        companions: Sequence[Companion] = (),
        observer: Observer | None = None,
    ) -> None:
        self._finder = Finder(thresholds)
        self._companions = companions
        self._observer = observer
        self._processes: list[Process] = []
        self._pool_uses: list[PoolUse] = []
        self._routes: dict[str, list[Sums]] = {}
        self._requests: Counter[str] = Counter()
        self._charges: list[Charge] = []

    def add(self, facts: Facts) -> int:
        """Count a process: the number of its checkouts."""
        ledger = Ledger(facts)
        self._processes.append(ledger.process)
        wanted = self._finder.open(ledger)
        viewers = [one for one in self._companions if isinstance(one, Viewer)]
        found = measured(ledger, wanted, self._finder.see, viewers)
        is_seen, answered = self._finder.close(found.split, found.shares)
        charges, queues = blame_of(
            ledger, found.split, found.shares, is_seen, answered, self._observer
        )
        self._charges += charges
        self._finder.charge(queues)
        for companion in self._companions:
            companion.close(found)
        for number, pool in enumerate(ledger.pools):
            rows = np.flatnonzero(ledger.pool == number)
            self._pool_uses.append(_pool_use(pool, found, rows))
        for code in np.unique(ledger.route).tolist():
            rows = np.flatnonzero(ledger.route == code)
            self._routes.setdefault(ledger.routes[code], []).append(sums_of(found, rows))
        self._requests.update(ledger.request_counts())
        return len(ledger)

    def report(self) -> Report:
        """The report of all processes."""
        blame = Blame(tuple(sorted(self._charges, key=most_first)))
        began = min((process.began for process in self._processes), default=0.0)
        ended = max((process.written for process in self._processes), default=0.0)
        return Report(
            processes=tuple(self._processes),
            pools=tuple(sorted(self._pool_uses, key=_most_parked)),
            routes=tuple(sorted(self._route_uses(blame.made_wait()), key=_most_parked)),
            findings=self._finder.found(),
            blame=blame,
            requests=self._requests.total(),
            observed=ended - began,
            near=self._finder.near(),
            failures=self._finder.failures(),
            kept=self._finder.kept(),
        )

    def _route_uses(self, made_wait: Mapping[str, float]) -> Iterator[RouteUse]:
        starting = self._finder.starting()
        for name, parts in self._routes.items():
            whole = Sums.joined(parts)
            yield RouteUse(
                *(name, self._requests[name], len(whole.waits), whole.spent),
                *(waits_of(whole.waits), whole.outcomes, made_wait.get(name, 0.0)),
                is_at_start=name in starting,
            )
        rest = sum(number for name, number in self._requests.items() if name not in self._routes)
        if rest:
            yield RouteUse(NO_CONNECTION, rest, 0, NOTHING, waits_of(np.array([])), {})


def _most_parked(use: PoolUse | RouteUse) -> tuple[float, float, int, str]:
    # To the microsecond: less is a matter of the order in which it was added up.
    parked, used = round(use.spent.parked, 6), round(use.spent.use, 6)
    return -parked, -used, -use.checkouts, use.pool.id if isinstance(use, PoolUse) else use.name


def _pool_use(pool: Pool, found: Measured, rows: Numbers) -> PoolUse:
    ledger = found.ledger
    asked, left = np.sort(ledger.asked[rows]), np.sort(ledger.left[rows])
    out = out_of_pool(found, rows)
    is_out = out < ledger.over[rows]
    began, over = np.sort(out[is_out]), np.sort(ledger.over[rows][is_out])
    whole = sums_of(found, rows)
    ended = int(ledger.over[rows].max(initial=0))
    capacity = pool.capacity
    return PoolUse(
        pool=pool,
        checkouts=len(rows),
        spent=whole.spent,
        waits=waits_of(whole.waits),
        outcomes=whole.outcomes,
        observed=(ended - int(asked[0])) / 1e6 if len(rows) else 0.0,
        saturated=time_of(capacity, began, over) / 1e6 if capacity else None,
        awaited=time_of(1, asked, left) / 1e6,
        peak_lent=peak_of(began, over),
        peak_waiting=peak_of(asked, left),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
