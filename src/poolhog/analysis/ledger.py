"""The ledger: a process's checkouts as columns, in the order of their asking.

Whatever is about many checkouts is computed from these columns; model objects are made only of what
is shown one by one. Instants are whole microseconds since the process began, as they were recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from poolhog.analysis.owners import route_at
from poolhog.analysis.rows import RowLockWaits, RowOperations, RowSamples
from poolhog.model import Activity, OperationKind, Outcome
from poolhog.trace.packed import NULL
from poolhog.trace.tables import Operations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.model import Checkout, Pool, Process, Site
    from poolhog.trace.tables import Columns, LockWaits, Requests, Samples

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

NEVER = 2**62
"""An instant that has not come."""

OUTCOMES = tuple(Outcome)
KINDS = tuple(OperationKind)
ACTIVITIES = tuple(Activity)


class Facts(Protocol):
    """Where a ledger comes from: a process's file, or a trace in memory."""

    @property
    def process(self) -> Process:
        """The process."""

    @property
    def pools(self) -> Mapping[int, Pool]:
        """Its pools, by their numbers."""

    @property
    def texts(self) -> Mapping[int, str]:
        """The texts that columns name."""

    @property
    def statements(self) -> Mapping[int, str]:
        """The texts that operations sent, with their line ends."""

    @property
    def sites(self) -> Mapping[int | None, Site]:
        """The sites that columns name; one that is not there was not written."""

    def columns(self) -> Columns:
        """Its checkouts, requests and samples."""

    def paths(self) -> Mapping[int, str]:
        """The paths of requests without a route, by the requests' numbers."""

    def owners(self, numbers: Iterable[int]) -> Mapping[int, str]:
        """The owners of the checkouts with these numbers."""

    def operations(self, numbers: Iterable[int]) -> Iterator[Operations]:
        """The operations of the checkouts with these numbers, part by part."""

    def numbered(self, numbers: Iterable[int]) -> Iterator[Checkout]:
        """The checkouts with these numbers, in the order of their asking."""


@dataclass(frozen=True, slots=True)
class LedgerRequests:
    """The requests of a process by their numbers; ``name`` is an index of the ledger's ``routes``.

    What has not come is :data:`NEVER`. ``failed`` tells of an error, or a status of 400 or more.
    """

    number: Numbers
    name: Numbers
    started: Numbers
    responding: Numbers
    responded: Numbers
    ended: Numbers
    failed: Flags

    @property
    def answered(self) -> Numbers:
        """When the response was sent, or else the request was over."""
        return np.where(self.responded < NEVER, self.responded, self.ended)


class Ledger:
    """The columns of one process; a row is a checkout.

    ``pool``, ``route``, ``site`` and ``outcome`` are indexes of ``pools``, ``routes``, ``sites``
    (the first of which is ``None``) and ``OUTCOMES``; ``request`` of ``requests``, or negative.
    ``connection`` numbers those of a pool, negative of rows without one.
    Rows of one ``asker`` are of one request, or of one owner without a request. ``left`` is when
    the wait ended, with a connection if it ``is_granted``, ``over`` when the checkout was: both are
    the last instant that is known if that has not come. ``connecting``, ``pinging`` and ``busy``
    are durations as the recorder added them up: not of those that are open. ``shared`` are the rows
    of connections that others wanted while they were in use.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.process = facts.process
        self.pools = tuple(facts.pools.values())
        self.until = round((self.process.written - self.process.began) * 1e6)
        columns = facts.columns()
        rows, requests, samples = columns.checkouts, columns.requests, columns.samples
        order = np.lexsort((rows.id, rows.asked))
        self.number, self.asked = (c[order].astype(np.int64) for c in (rows.id, rows.asked))
        self._rows = Codes(self.number)
        self.sites, self._sites = _site_codes(facts.sites)
        self.site = self._sites.of(rows.site_id[order])
        self.pool = Codes(facts.pools).of(rows.pool_id[order])
        self.connection = rows.connection[order]
        self.outcome = text_codes(facts.texts, OUTCOMES).of(rows.outcome[order])
        names = _Names(facts)
        self.requests = names.requests(requests)
        self.request = Codes(requests.id).of(rows.request_id[order])
        self.route = names.routes(self.request, self.requests, self.site, self.sites)
        self.routes = names.known
        self._measure(*(column[order] for column in (rows.granted, rows.gave_up, rows.returned)))
        self.connecting, self.pinging, self.busy = (
            np.maximum(column[order], 0).astype(np.int64)
            for column in (rows.connecting, rows.pinging, rows.busy)
        )
        self.asker = self._askers()
        self.samples = self._samples(samples)
        self.lock_waits = self._lock_waits(columns.lock_waits)

    def __len__(self) -> int:
        return len(self.number)

    def _measure(self, granted: Numbers, gave_up: Numbers, returned: Numbers) -> None:
        asked, until = self.asked, self.until
        self.is_granted = granted >= 0
        self.is_returned = returned >= 0
        self.is_closed = self.is_returned | (gave_up >= 0)
        unanswered = np.where(gave_up >= 0, asked + gave_up, np.maximum(until, asked))
        self.left = np.where(self.is_granted, asked + granted, unanswered)
        lent = np.where(self.is_returned, asked + returned, np.maximum(until, self.left))
        self.over = np.where(self.is_granted, lent, self.left)

    def _askers(self) -> Numbers:
        """A number for each request, and higher ones for owners without a request."""
        asker = self.request.copy()
        others = np.flatnonzero(asker < 0)
        if len(others):
            known: dict[str, int] = {}
            owners = self.facts.owners(self.number[others].tolist())
            first = len(self.requests.number)
            asker[others] = [
                first + known.setdefault(owners[number], len(known))
                for number in self.number[others].tolist()
            ]
            self.owners = list(known)
        else:
            self.owners = []
        return asker

    def _samples(self, samples: Samples) -> RowSamples:
        row = self.rows_of(samples.checkout_id)
        activity = text_codes(self.facts.texts, ACTIVITIES).of(samples.activity)
        self.shared = np.unique(row[(activity < 0) & (row >= 0)])
        order = np.lexsort((samples.id, samples.started, row))
        order = order[(row[order] >= 0) & (activity[order] >= 0)]
        started, ended = samples.started[order].astype(np.int64), samples.ended[order]
        return RowSamples(
            row[order],
            activity[order],
            self._sites.of(samples.site_id[order]),
            started,
            np.where(ended >= 0, started + ended, NEVER),
        )

    def _lock_waits(self, waits: LockWaits) -> RowLockWaits:
        row = self.rows_of(waits.checkout_id)
        order = np.lexsort((waits.id, waits.started, row))
        order = order[row[order] >= 0]
        started, ended = waits.started[order].astype(np.int64), waits.ended[order]
        return RowLockWaits(
            row[order],
            self.rows_of(waits.blocker_id[order]),
            waits.session[order],
            started,
            np.where(ended >= 0, started + ended, NEVER),
        )

    def rows_of(self, numbers: Numbers) -> Numbers:
        """The rows of the checkouts with these numbers, negative where there is none."""
        return self._rows.of(numbers)

    def request_counts(self) -> Mapping[str, int]:
        """How many requests of each name there were, with a checkout or without."""
        counts = np.bincount(self.requests.name, minlength=len(self.routes)).tolist()
        return {name: count for name, count in zip(self.routes, counts, strict=True) if count}

    def rows_that_sent(self, kinds: Sequence[OperationKind], statements: Numbers | None) -> Numbers:
        """The rows with an operation of one of these kinds, as often as there are some.

        ``statements`` are the numbers of the texts that count; ``None``: also without a text.
        """
        sent, texts = self.facts.columns().sent, self.facts.texts
        numbers = [number for number, text in texts.items() if text in kinds]
        chosen: Flags = np.isin(sent.kind, numbers)
        if statements is not None:
            chosen &= np.isin(sent.statement, statements)
        return self.rows_of(sent.checkout[chosen])

    def rows_with_more_operations(self, than: int) -> Numbers:
        """The rows of checkouts with more operations than a number."""
        numbers, counts = np.unique(self.facts.columns().sent.checkout, return_counts=True)
        return self.rows_of(numbers[counts > than])

    def operations(self, rows: Numbers) -> RowOperations:
        """The operations of some rows, in their order."""
        parts = list(self.facts.operations(self.number[rows].tolist()))
        if not parts:
            return RowOperations(*[np.array([], np.int64)] * len(RowOperations._fields))
        columns = zip(*parts, strict=True)
        return self._arranged(Operations(*(np.concatenate(column) for column in columns)))

    def _arranged(self, found: Operations) -> RowOperations:
        rows = self.rows_of(found.checkout)
        order = np.argsort(rows, kind="stable")
        rows, duration = rows[order], found.duration[order]
        started = self.asked[rows] + found.since[order]
        return RowOperations(
            rows,
            text_codes(self.facts.texts, KINDS).of(found.kind[order]),
            started,
            np.where(duration >= 0, started + duration, NEVER),
            self._sites.of(found.site[order]),
            *(column[order] for column in (found.statement, found.error, found.cause)),
        )

    def checkouts(self, rows: Numbers) -> Iterator[Checkout]:
        """The checkouts of these rows as objects, in the order of asking."""
        return self.facts.numbered(self.number[rows].tolist())

    def seconds(self, instant: float) -> float:
        """An instant on the run's clock."""
        return self.process.began + instant / 1e6

    def microseconds(self, instant: float) -> int:
        """An instant of the run's clock on that of the process."""
        return round((instant - self.process.began) * 1e6)


class Codes:
    """Finds the code of each of many numbers: by default, its place among those that are known."""

    def __init__(
        self, known: Iterable[int] | Numbers, other: int = -1, codes: Numbers | None = None
    ) -> None:
        numbers = known if isinstance(known, np.ndarray) else np.fromiter(known, np.int64)
        self._codes = np.arange(len(numbers)) if codes is None else codes
        if len(numbers) and not (numbers[1:] > numbers[:-1]).all():
            order = np.argsort(numbers, kind="stable")
            numbers, self._codes = numbers[order], self._codes[order]
        self._known = numbers
        self._other = other

    def of(self, numbers: Numbers) -> Numbers:
        """The codes of these numbers; ``other`` where one is not known."""
        if not len(self._known):
            return np.full(len(numbers), self._other)
        at = np.searchsorted(self._known, numbers)
        at[at == len(self._known)] = 0
        return np.where(self._known[at] == numbers, self._codes[at], self._other)


def text_codes(texts: Mapping[int, str], wanted: Sequence[str]) -> Codes:
    """Finds the place among the wanted texts that a number of a text stands for."""
    known = {number: wanted.index(text) for number, text in texts.items() if text in wanted}
    return Codes(known, codes=np.fromiter(known.values(), np.int64))


def _site_codes(sites: Mapping[int | None, Site]) -> tuple[tuple[Site | None, ...], Codes]:
    """The sites of a file, of which equal ones are one, and what finds them by their numbers."""
    codes: dict[Site | None, int] = {None: 0}
    numbers = {
        number: codes.setdefault(site, len(codes))
        for number, site in sites.items()
        if number is not None
    }
    return tuple(codes), Codes(numbers, 0, np.fromiter(numbers.values(), np.int64))


_FAILED = 400


class _Names:
    """The routes of a process: names of requests, and of functions that did work of none."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.known: list[str] = []
        self._codes: dict[str, int] = {}

    def _code(self, name: str) -> int:
        if name not in self._codes:
            self._codes[name] = len(self.known)
            self.known.append(name)
        return self._codes[name]

    def requests(self, columns: Requests) -> LedgerRequests:
        """The requests, by their names."""
        status, error = columns.status, columns.error
        return LedgerRequests(
            number=columns.id.astype(np.int64),
            name=self._of_requests(columns),
            started=columns.started.astype(np.int64),
            responding=_later(columns.started, columns.responding),
            responded=_later(columns.started, columns.responded),
            ended=_later(columns.started, columns.ended),
            failed=(error != NULL) | (status >= _FAILED),
        )

    def _of_requests(self, columns: Requests) -> Numbers:
        texts, paths = self._facts.texts, self._facts.paths()
        pairs, places = _distinct(columns.method, columns.route)
        codes = np.array(
            [self._code(f"{texts[m]} {texts.get(r, '')}".strip()) for m, r in pairs], np.int64
        )
        found = codes[places] if len(pairs) else places
        for at in np.flatnonzero(np.isin(columns.id, list(paths))).tolist():
            method, path = texts[int(columns.method[at])], paths[int(columns.id[at])]
            found[at] = self._code(f"{method} {path}".strip())
        return found

    def routes(
        self,
        request: Numbers,
        requests: LedgerRequests,
        site: Numbers,
        sites: Sequence[Site | None],
    ) -> Numbers:
        """The route of each checkout."""
        is_other = request < 0
        used = np.unique(site[is_other])
        owners = np.zeros(len(sites), np.int64)
        owners[used] = [self._code(route_at(sites[code])) for code in used.tolist()]
        if not len(requests.number):
            return owners[site]
        return np.where(is_other, owners[site], requests.name[request])


def _later(started: Numbers, since: Numbers) -> Numbers:
    return np.where(since >= 0, started.astype(np.int64) + since, NEVER)


def _distinct(one: Numbers, other: Numbers) -> tuple[list[tuple[int, int]], Numbers]:
    """The pairs of two columns that occur, and which of them each row has."""
    firsts, first = np.unique(one, return_inverse=True)
    seconds, second = np.unique(other, return_inverse=True)
    codes, places = np.unique(first * max(len(seconds), 1) + second, return_inverse=True)
    found = np.divmod(codes, max(len(seconds), 1))
    pairs = zip(firsts[found[0]].tolist(), seconds[found[1]].tolist(), strict=True)
    return list(pairs), places
