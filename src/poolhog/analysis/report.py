"""What `poolhog report` tells, built from a trace in one pass over its checkouts.

Every checkout is counted once, in the cell of its pool and its route: routes, pools and totals are
sums of the same cells, and so agree. What is kept of a checkout is eleven numbers, so a trace of
millions fits into memory.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from poolhog.analysis.accounting import Shares, told, told_gaps
from poolhog.analysis.blame import NO_BLAME, Blame
from poolhog.analysis.cells import NOTHING, Cell, joined, peak_of, percentile, time_of, total
from poolhog.analysis.collector import no_collector
from poolhog.analysis.findings.finder import Finder
from poolhog.analysis.quiet import Passing
from poolhog.analysis.routes import route_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.accounting import Account, Gap, Told
    from poolhog.analysis.blaming import Observer
    from poolhog.analysis.cells import Counted
    from poolhog.analysis.findings import Finding
    from poolhog.analysis.quiet import Quiet
    from poolhog.analysis.replay.top_finding import TopFindingWhatIf
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Checkout, Outcome, Pool, Process, Site, Unreadable
    from poolhog.trace.reader import ProcessReader

    Tell = Callable[[int], None]

NO_CONNECTION = "without a connection"
"""The route of all requests whose route never asked for one."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long checkouts waited: the median, the 95th percentile (nearest rank), the longest."""

    p50: float = 0.0
    p95: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class PoolUse:
    """One pool, and what was done with it.

    ``observed`` is the seconds from the first time that it was asked to the last return, or to
    the end of the trace if something is open. ``saturated`` is how many of these all of its
    connections were lent, ``None`` for a pool without a limit; ``awaited`` in how many somebody
    waited. The peaks are how many were lent, and how many waited, at one instant.
    """

    pool: Pool
    checkouts: int
    spent: Account
    waits: Waits
    outcomes: Mapping[Outcome, int]
    observed: float
    saturated: float | None
    awaited: float
    peak_lent: int
    peak_waiting: int

    @property
    def saturation(self) -> float | None:
        """The share of the observed time in which all connections were lent."""
        return None if self.saturated is None else _share(self.saturated, self.observed)

    @property
    def contention(self) -> float:
        """The share of the observed time in which somebody waited."""
        return _share(self.awaited, self.observed)


@dataclass(frozen=True, slots=True)
class RouteUse:
    """One route: its requests, with a checkout or without, and its checkouts.

    ``made_wait`` is the seconds that requests of all routes waited because of these.
    """

    name: str
    requests: int
    checkouts: int
    spent: Account
    waits: Waits
    outcomes: Mapping[Outcome, int]
    made_wait: float = 0.0

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
    findings. ``whatif`` is about the first finding.
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
    whatif: TopFindingWhatIf | None = None

    @property
    def checkouts(self) -> int:
        """Of all pools."""
        return sum(pool.checkouts for pool in self.pools)

    @property
    def spent(self) -> Account:
        """The seconds of all checkouts."""
        return total(pool.spent for pool in self.pools)

    @property
    def outcomes(self) -> Mapping[Outcome, int]:
        """How many checkouts stand or ended so."""
        return sum((Counter(pool.outcomes) for pool in self.pools), Counter())

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
        )


EMPTY = Report((), (), (), (), 0, 0.0)
"""Of a run in which no connection was asked for."""


class Companion(Protocol):
    """Whoever wants to see the checkouts of a process as they are counted, to count other things.

    Instants of a process are on the run's clock, but for those of quiet checkouts.
    """

    def add(self, checkout: Checkout, told: Told, gaps: Sequence[Gap] | None) -> None:
        """A checkout, how it spent its seconds, and its gaps if it has samples."""

    def pass_by(self, quiet: Quiet, told: Told) -> None:
        """Checkouts that are not worth a look, and how they spent their seconds."""

    def close(self, process: Process, shares: Shares) -> None:
        """All checkouts of the process were counted: gaps without a sample are split like this."""


def read_report(
    readers: Sequence[ProcessReader],
    thresholds: Thresholds,
    tell: Tell | None = None,
    *,
    companions: Sequence[Companion] = (),
    observer: Observer | None = None,
    every: bool = False,
) -> Report:
    """The report of some processes of a run; ``tell`` learns how many checkouts were read.

    ``companions`` see all of them, the ``observer`` who held up others; with ``every``, none is
    quiet. Raises :class:`poolhog.TraceError` if a process cannot be read.
    """
    books = Books(thresholds, companions, observer)
    done = 0

    def count(some: int) -> None:
        nonlocal done
        done += some
        if tell is not None:
            tell(done)

    with no_collector():
        for reader in readers:
            with reader.snapshot() as snapshot:
                books.open(snapshot.process, snapshot.pools.values(), snapshot.checkout)
                if every:
                    for checkout in snapshot.checkouts():
                        books.add(checkout)
                        count(1)
                else:
                    passing = Passing(snapshot, books.finder)
                    for checkout in passing.others(count):
                        books.add(checkout)
                    for quiet in passing.quiet:
                        books.pass_by(quiet)
                books.close()
                books.count(snapshot.request_counts())
    return books.report()


class Books:
    """Adds up checkouts, of one process after the other."""

    def __init__(
        self,
        thresholds: Thresholds,
        companions: Sequence[Companion] = (),
        observer: Observer | None = None,
    ) -> None:
        self.finder = Finder(thresholds, observer)
        self._companions = companions
        self._processes: list[Process] = []
        self._pool_uses: list[PoolUse] = []
        self._routes: dict[str, list[Counted]] = {}
        self._requests: Counter[str] = Counter()
        self._pools: dict[str, Pool] = {}
        self._cells: dict[tuple[str, str, Site | None], Cell] = {}
        self._shares = Shares((), 0.0)

    def open(
        self, process: Process, pools: Iterable[Pool], read: Callable[[int], Checkout] | None = None
    ) -> None:
        """Checkouts of this process come next; ``read`` is for the finder."""
        self._processes.append(process)
        self._pools = {pool.id: pool for pool in pools}
        self._cells = {}
        self._shares = Shares((), 0.0)
        self.finder.begin(process.written, read)

    def add(self, checkout: Checkout) -> None:
        """Count one checkout of the process; they come in the order of their asking."""
        process = self._processes[-1]
        gaps = told_gaps(checkout, process.written) if checkout.samples else None
        spent = told(checkout, process.written, gaps)
        if gaps is not None:
            self._shares.add(checkout, gaps)
        self._cell(checkout.pool, route_of(checkout), checkout.site).add(checkout, spent, process)
        self.finder.add(checkout, spent, gaps)
        for companion in self._companions:
            companion.add(checkout, spent, gaps)

    def pass_by(self, quiet: Quiet) -> None:
        """Count checkouts that are not worth a look."""
        spent = quiet.told()
        self._cell(quiet.pool, quiet.route, quiet.site).pass_by(quiet, spent)
        self.finder.pass_by(quiet, spent)
        for companion in self._companions:
            companion.pass_by(quiet, spent)

    def close(self) -> None:
        """All checkouts of the process were counted."""
        self.finder.end(self._shares)
        for companion in self._companions:
            companion.close(self._processes[-1], self._shares)
        sums: dict[str, list[Counted]] = {key: [] for key in self._pools}
        for (key, route, site), cell in self._cells.items():
            part = cell.counted(self._shares.at(site))
            sums[key].append(part)
            self._routes.setdefault(route, []).append(part)
        for pool in self._pools.values():
            cells = [cell for (key, _, _), cell in self._cells.items() if key == pool.id]
            self._pool_uses.append(_pool_use(pool, joined(sums[pool.id]), cells))
        self._cells = {}

    def count(self, requests: Mapping[str, int]) -> None:
        """Count requests by name, with a checkout or without."""
        self._requests.update(requests)

    def report(self) -> Report:
        """What it all comes to."""
        blame = self.finder.blame()
        began = min((process.began for process in self._processes), default=0.0)
        ended = max((process.written for process in self._processes), default=0.0)
        return Report(
            processes=tuple(self._processes),
            pools=tuple(sorted(self._pool_uses, key=_most_parked)),
            routes=tuple(sorted(self._route_uses(blame.made_wait()), key=_most_parked)),
            findings=self.finder.found(),
            blame=blame,
            requests=self._requests.total(),
            observed=ended - began,
            near=self.finder.near(),
        )

    def _cell(self, pool: Pool, route: str, site: Site | None) -> Cell:
        key = pool.id, route, site
        cell = self._cells.get(key)
        if cell is None:
            self._pools.setdefault(pool.id, pool)
            cell = self._cells[key] = Cell()
        return cell

    def _route_uses(self, made_wait: Mapping[str, float]) -> Iterator[RouteUse]:
        for name, parts in self._routes.items():
            whole = joined(parts)
            requests = self._requests[name]
            yield RouteUse(
                *(name, requests, len(whole.waits), whole.spent, _waits(whole.waits)),
                *(whole.outcomes, made_wait.get(name, 0.0)),
            )
        rest = sum(number for name, number in self._requests.items() if name not in self._routes)
        if rest:
            yield RouteUse(NO_CONNECTION, rest, 0, NOTHING, Waits(), {})


def _most_parked(use: PoolUse | RouteUse) -> tuple[float, float, int, str]:
    # To the microsecond: less is a matter of the order in which it was added up.
    parked, used = round(use.spent.parked, 6), round(use.spent.use, 6)
    return -parked, -used, -use.checkouts, use.pool.id if isinstance(use, PoolUse) else use.name


def _pool_use(pool: Pool, whole: Counted, cells: Sequence[Cell]) -> PoolUse:
    granted = sorted(chain.from_iterable(cell.granted for cell in cells))
    returned = sorted(chain.from_iterable(cell.returned for cell in cells))
    asked = sorted(chain.from_iterable(chain(cell.asked, cell.refused) for cell in cells))
    waited = sorted(chain(granted, *(cell.ended for cell in cells)))
    ended = max((*waited[-1:], *returned[-1:]), default=0)
    capacity = pool.capacity
    return PoolUse(
        pool=pool,
        checkouts=len(asked),
        spent=whole.spent,
        waits=_waits(whole.waits),
        outcomes=whole.outcomes,
        observed=(ended - asked[0]) / 1e6 if asked else 0.0,
        saturated=time_of(capacity, granted, returned) / 1e6 if capacity else None,
        awaited=time_of(1, asked, waited) / 1e6,
        peak_lent=peak_of(granted, returned),
        peak_waiting=peak_of(asked, waited),
    )


def _waits(waits: Sequence[int]) -> Waits:
    """Of all who asked, also those who gave up or still wait."""
    if not waits:
        return Waits()
    return Waits(percentile(waits, 0.50) / 1e6, percentile(waits, 0.95) / 1e6, waits[-1] / 1e6)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
