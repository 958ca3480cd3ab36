"""What `poolhog report` tells, built from a trace in one pass over its checkouts.

Every checkout is counted once, in the cell of its pool and its route: routes, pools and totals are
sums of the same cells, and so agree. What is kept of a checkout is eleven numbers, so a trace of
millions fits into memory.
"""

from __future__ import annotations

import gc
import math
from array import array
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from operator import add, itemgetter
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import Account, Shares, account, end_of, end_of_wait
from poolhog.analysis.findings import Finder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.findings import Finding
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Checkout, Outcome, Pool, Process, Site
    from poolhog.trace.reader import ProcessReader

    Told = Callable[[int], None]

OTHER = "other"
"""The route of a checkout of no request, asked for by no code of the application."""

NO_CONNECTION = "without a connection"
"""The route of all requests whose route never asked for one."""

TOLD_EVERY = 5_000


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
    """One route: its requests, with a checkout or without, and its checkouts."""

    name: str
    requests: int
    checkouts: int
    spent: Account
    waits: Waits
    outcomes: Mapping[Outcome, int]

    @property
    def idle(self) -> float:
        """The share of the use in which no operation was in flight."""
        return _share(self.spent.gap, self.spent.use)


@dataclass(frozen=True, slots=True)
class Report:
    """Conclusions of a trace. Pools and routes are ordered by their parked seconds, most first.

    ``requests`` counts those with a checkout and those without. ``observed`` is the seconds from
    the start of the first process to the end of the trace.
    """

    processes: tuple[Process, ...]
    pools: tuple[PoolUse, ...]
    routes: tuple[RouteUse, ...]
    findings: tuple[Finding, ...]
    requests: int
    observed: float

    @property
    def checkouts(self) -> int:
        """Of all pools."""
        return sum(pool.checkouts for pool in self.pools)

    @property
    def spent(self) -> Account:
        """The seconds of all checkouts."""
        return _sum(pool.spent for pool in self.pools)

    @property
    def outcomes(self) -> Mapping[Outcome, int]:
        """How many checkouts stand or ended so."""
        return sum((Counter(pool.outcomes) for pool in self.pools), Counter())

    def about(self, text: str) -> Report:
        """Only the routes whose names contain the text, and their findings; pools stay whole."""
        wanted = text.casefold()
        return replace(
            self,
            routes=tuple(route for route in self.routes if wanted in route.name.casefold()),
            findings=tuple(
                finding
                for finding in self.findings
                if any(wanted in name.casefold() for name in finding.routes)
            ),
        )


EMPTY = Report((), (), (), (), 0, 0.0)
"""Of a run in which no connection was asked for."""


def read_report(
    readers: Sequence[ProcessReader], thresholds: Thresholds, told: Told | None = None
) -> Report:
    """The report of some processes of a run; ``told`` learns how many checkouts were read.

    Raises :class:`poolhog.TraceError` if one of them cannot be read.
    """
    books = Books(thresholds)
    done = 0
    with _no_collector():
        for reader in readers:
            until = reader.process.written
            shares = Shares(reader.checkouts(sampled=True), until)
            books.open(reader.process, reader.pools)
            for checkout in reader.checkouts():
                books.add(checkout, until, shares)
                done += 1
                if told is not None and not done % TOLD_EVERY:
                    told(done)
            books.count(reader.request_counts())
        return books.report()


@contextmanager
def _no_collector() -> Iterator[None]:
    """Nothing that is read is part of a cycle: to look for some takes a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Books:
    """Adds up checkouts."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._finder = Finder(thresholds)
        self._processes: list[Process] = []
        self._pools: dict[str, _PoolBook] = {}
        self._cells: dict[tuple[str, str], _Cell] = {}
        self._names: dict[Site | None, str] = {}
        self._requests: Counter[str] = Counter()

    def open(self, process: Process, pools: Iterable[Pool]) -> None:
        """Checkouts of this process come next; pools may turn up later, too."""
        self._processes.append(process)
        for pool in pools:
            self._pools[pool.id] = _PoolBook(pool)

    def add(self, checkout: Checkout, until: float, shares: Shares) -> None:
        """Count one checkout; each process's come in the order of their asking."""
        spent = account(checkout, until, shares)
        request = checkout.request
        route = request.name if request is not None else self._owner(checkout.site)
        key = checkout.pool.id, route
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = _Cell()
            self._pools.setdefault(key[0], _PoolBook(checkout.pool))
        cell.add(spent, checkout.outcome)
        self._pools[key[0]].add(checkout, until)
        self._finder.add(checkout, spent, until, shares)

    def count(self, requests: Mapping[str, int]) -> None:
        """Count requests by name, with a checkout or without."""
        self._requests.update(requests)

    def report(self) -> Report:
        """What it all comes to."""
        began = min((process.began for process in self._processes), default=0.0)
        ended = max((process.written for process in self._processes), default=0.0)
        return Report(
            processes=tuple(self._processes),
            pools=tuple(sorted(self._pool_uses(), key=lambda use: -use.spent.parked)),
            routes=tuple(sorted(self._route_uses(), key=lambda use: -use.spent.parked)),
            findings=self._finder.found(),
            requests=self._requests.total(),
            observed=ended - began,
        )

    def _owner(self, site: Site | None) -> str:
        """What work of no request is called: the owner's outermost frame of the application."""
        name = self._names.get(site)
        if name is None:
            name = self._names[site] = _named(site)
        return name

    def _pool_uses(self) -> Iterable[PoolUse]:
        for key, book in self._pools.items():
            yield book.use(_joined(cell for (pool, _), cell in self._cells.items() if pool == key))

    def _route_uses(self) -> Iterable[RouteUse]:
        cells: dict[str, list[_Cell]] = {}
        for (_, route), cell in self._cells.items():
            cells.setdefault(route, []).append(cell)
        for name, of_route in cells.items():
            joined = _joined(of_route)
            spent = joined.spent()
            waits = joined.waits()
            requests = self._requests[name]
            yield RouteUse(name, requests, len(joined), spent, waits, joined.outcomes)
        rest = sum(number for name, number in self._requests.items() if name not in cells)
        if rest:
            yield RouteUse(NO_CONNECTION, rest, 0, _NOTHING, Waits(), {})


class _Cell:
    """The accounts of some checkouts, one after the other in one array."""

    __slots__ = ("accounts", "outcomes")

    def __init__(self) -> None:
        self.accounts = array("d")
        self.outcomes: Counter[Outcome] = Counter()

    def __len__(self) -> int:
        return len(self.accounts) // _COLUMNS

    def add(self, spent: Account, outcome: Outcome) -> None:
        self.accounts.extend(spent)
        self.outcomes[outcome] += 1

    def spent(self) -> Account:
        return Account(*(math.fsum(self.accounts[column::_COLUMNS]) for column in range(_COLUMNS)))

    def waits(self) -> Waits:
        """Of all who asked, also those who gave up or still wait."""
        queueing, connecting, pinging = (self.accounts[column::_COLUMNS] for column in range(3))
        waits = sorted(map(add, map(add, queueing, connecting), pinging))
        if not waits:
            return Waits()
        return Waits(_percentile(waits, 0.50), _percentile(waits, 0.95), waits[-1])


class _PoolBook:
    """The instants of a pool's checkouts."""

    __slots__ = ("asked", "granted", "pool", "returned", "waited")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.asked = array("d")
        self.waited = array("d")
        self.granted = array("d")
        self.returned = array("d")

    def add(self, checkout: Checkout, until: float) -> None:
        self.asked.append(checkout.asked)
        self.waited.append(end_of_wait(checkout, until))
        if checkout.granted is not None:
            self.granted.append(checkout.granted)
            self.returned.append(end_of(checkout, until))

    def use(self, cell: _Cell) -> PoolUse:
        asked, waited = _in_order(self.asked), _in_order(self.waited)
        granted, returned = _in_order(self.granted), _in_order(self.returned)
        ended = max((*waited[-1:], *returned[-1:]), default=0)
        capacity = self.pool.capacity
        return PoolUse(
            pool=self.pool,
            checkouts=len(cell),
            spent=cell.spent(),
            waits=cell.waits(),
            outcomes=cell.outcomes,
            observed=(ended - asked[0]) / 1e6 if asked else 0.0,
            saturated=_at_least(capacity, granted, returned) / 1e6 if capacity else None,
            awaited=_at_least(1, asked, waited) / 1e6,
            peak_lent=_peak(granted, returned),
            peak_waiting=_peak(asked, waited),
        )


_COLUMNS = len(Account._fields)
_NOTHING = Account(*[0.0] * _COLUMNS)


def _joined(cells: Iterable[_Cell]) -> _Cell:
    whole = _Cell()
    for cell in cells:
        whole.accounts.extend(cell.accounts)
        whole.outcomes.update(cell.outcomes)
    return whole


def _named(site: Site | None) -> str:
    if site is None:
        return OTHER
    outermost = site.stack[-1]
    module = outermost.file.replace("\\", "/").rpartition("/")[2]
    return f"{module} {outermost.function}"


def _percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values, the smallest that so large a share of them does not exceed."""
    return values[max(math.ceil(share * len(values)) - 1, 0)]


def _in_order(instants: Iterable[float]) -> list[int]:
    """Sorted, in microseconds.

    So they were recorded: of two intervals that meet, none overlaps the other by a rounding error.
    """
    return sorted(round(instant * 1e6) for instant in instants)


def _peak(starts: Sequence[int], ends: Sequence[int]) -> int:
    """How many half-open intervals cover one instant at the most; both are sorted."""
    peak = 0
    for ended, end in enumerate(ends):
        # When this many are over, that many have begun.
        while ended + peak < len(starts) and starts[ended + peak] < end:
            peak += 1
    return peak


def _at_least(number: int, starts: Sequence[int], ends: Sequence[int]) -> int:
    """How long so many half-open intervals or more cover the instant; both are sorted.

    From one end to the next the count only grows. It reaches ``number`` with the start that
    follows after so many less one, counted from as many starts as there were ends.
    """
    before = chain(starts[:1], ends)
    reached = islice(starts, number - 1, None)
    return sum(
        end - max(last, start)
        for end, last, start in zip(ends, before, reached, strict=False)
        if last < end and start < end
    )


def _sum(accounts: Iterable[Account]) -> Account:
    rows = tuple(accounts)
    return Account(*(math.fsum(map(itemgetter(column), rows)) for column in range(_COLUMNS)))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
