"""What of a trace is shown or exported: a window, and the requests of a route or all in it."""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from poolhog.analysis.ledger import Ledger
from poolhog.analysis.lock_inference import may_be_blocked
from poolhog.analysis.measured import measured, parts_of
from poolhog.analysis.occupancy import Occupancy, occupancy_of
from poolhog.analysis.shares import Shares
from poolhog.analysis.shown import shown
from poolhog.analysis.spans import cut
from poolhog.analysis.timeline import Timeline, build_timeline
from poolhog.errors import PoolhogError
from poolhog.trace.excerpt import Excerpt
from poolhog.trace.lookup import (
    checkouts_within,
    counts_within,
    names_like,
    numbers_within,
    requests_within,
    span,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from poolhog.analysis.ledger import Numbers
    from poolhog.analysis.measured import Measured
    from poolhog.analysis.shown import Shown
    from poolhog.model import Checkout, Pool, Process, Request
    from poolhog.trace.reader import ProcessReader

Item = TypeVar("Item")

MOST_CHECKOUTS = 2_000
"""More are not drawn one by one, however few requests they belong to."""

MOST_HELD = 20
"""Files of processes that go on, each of which takes three descriptors while it is held."""

MOST_OF_EXCERPT = 20_000
"""Of a file, of which more checkouts are wanted, all are read: that is faster."""

_NAMES_LISTED = 8

_SHORTEST_S = 1e-6
"""What the clock of a trace tells apart: a window is never empty because all was over at once."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The checkouts of a trace that were waiting or lent between two instants of the run's clock.

    ``names`` are those of the requests that count, ``None`` for all and for work without one.
    ``bounds`` are the instants as they were asked for, which may be larger.
    """

    readers: Sequence[ProcessReader]
    started: float
    ended: float
    names: Sequence[str] | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)

    def numbers(self, reader: ProcessReader, *, sampled: bool = False) -> list[int]:
        """The numbers of a process's checkouts, or only of those with samples."""
        return numbers_within(reader, self.started, self.ended, names=self.names, sampled=sampled)


@dataclass(frozen=True, slots=True)
class View:
    """A picture, and how many requests, owners without one, and checkouts are in it."""

    requests: int
    owners: int
    checkouts: int
    picture: Timeline | Occupancy


def select(
    readers: Sequence[ProcessReader],
    *,
    started: float | None = None,
    ended: float | None = None,
    last: float | None = None,
    route: str | None = None,
) -> Selection:
    """The window from ``started`` to ``ended``, or the last seconds, or all; of a route, or all.

    It is no larger than the time in which connections were asked for and held.

    Raises :class:`poolhog.PoolhogError` if there is nothing in it.
    """
    found = span(readers)
    if found is None:
        raise PoolhogError("no connection was asked for: there is nothing to show")
    first, end = found
    if end == first:
        end += _SHORTEST_S
    if last is not None:
        started = end - last
    bounds = (-math.inf if started is None else started, math.inf if ended is None else ended)
    started = first if started is None else max(started, first)
    ended = end if ended is None else min(ended, end)
    # Not the other way round: a number that is none is refused as well.
    if not ended > started:
        raise PoolhogError(
            f"--from and --to leave nothing: the trace has checkouts from {first:.3f} s to "
            f"{end:.3f} s of its run"
        )
    names = None if route is None else names_of(readers, route)
    return Selection(readers, started, ended, names, bounds)


def names_of(readers: Sequence[ProcessReader], route: str) -> Sequence[str]:
    """The names of requests that a route means.

    Raises :class:`poolhog.PoolhogError` if it means none.
    """
    names = names_like(readers, route)
    if names:
        return names
    known = sorted({name for reader in readers for name in reader.request_counts()})
    more = f" and {len(known) - _NAMES_LISTED} more" if len(known) > _NAMES_LISTED else ""
    recorded = ", ".join(known[:_NAMES_LISTED]) + more if known else "none"
    raise PoolhogError(f"no route contains {route!r}: recorded were {recorded}")


def view(
    selection: Selection,
    *,
    most_lanes: int,
    bins: int,
    tell: Callable[[int], None] = lambda _: None,
) -> View:
    """A timeline if no more requests and owners than ``most_lanes`` are in it, or else bins.

    ``tell`` learns how many checkouts were read.
    """
    started, ended = selection.started, selection.ended
    requests, owners, checkouts = counts_within(
        selection.readers, started, ended, names=selection.names
    )
    if not checkouts:
        raise PoolhogError("no connection was asked for in this window by such requests")
    pools = [pool for reader in selection.readers for pool in reader.pools]
    measures = _measured(selection, tell)
    picture: Timeline | Occupancy
    if requests + owners <= most_lanes and checkouts <= MOST_CHECKOUTS:
        labels = _short_id if len(selection.readers) == 1 else _id
        every = (one for found, rows in measures for one in shown(found, rows))
        picture = build_timeline(every, (), pools, started=started, ended=ended, labels=labels)
    else:
        picture = occupancy_of(measures, pools, started=started, ended=ended, bins=bins)
    return View(requests, owners, checkouts, picture)


def _id(request: Request | None, owner: str) -> str:
    return request.id if request is not None else owner


def _short_id(request: Request | None, owner: str) -> str:
    """Without the process: enough where there is only one."""
    return request.id.rpartition(".")[2] if request is not None else owner


def _measured(
    selection: Selection, tell: Callable[[int], None]
) -> Iterator[tuple[Measured, Numbers]]:
    """Each process, and the rows of its ledger that are selected.

    Gaps without a sample are split as those of all selected checkouts, in whatever process.
    """
    learned = []
    for reader in selection.readers:
        with ledger_of(reader, selection.numbers(reader, sampled=True)) as (ledger, rows):
            shares = Shares(ledger)
            for part in parts_of(rows):
                shares.learn(ledger, cut(ledger, part))
            learned.append(shares)
    done = 0
    for reader in selection.readers:
        with ledger_of(reader, selection.numbers(reader)) as (ledger, rows):
            shares = Shares(ledger)
            for other in learned:
                shares.add(other)
            yield measured(ledger)._replace(shares=shares.of_sites), rows
            done += len(rows)
            tell(done)


@contextmanager
def ledger_of(reader: ProcessReader, numbers: Sequence[int]) -> Iterator[tuple[Ledger, Numbers]]:
    """A ledger with the checkouts that have these numbers, and perhaps others; and their rows."""
    with reader.snapshot() as snapshot:
        is_small = len(numbers) <= MOST_OF_EXCERPT
        ledger = Ledger(Excerpt(snapshot, numbers) if is_small else snapshot)
        if is_small and may_be_blocked(ledger):
            # What a statement waited for is known of the others.
            ledger = Ledger(snapshot)
        rows = np.sort(ledger.rows_of(np.array(numbers, np.int64)))
        yield ledger, rows[rows >= 0]


class Counted(Protocol):
    """Passes items on, and may show how many there were."""

    def __call__(self, items: Iterable[Item], /) -> Iterator[Item]:
        """Return the items as they are."""


def _uncounted(items: Iterable[Item], /) -> Iterator[Item]:
    return iter(items)


@dataclass(frozen=True, slots=True)
class Part:
    """One process's part of what is exported, read anew each time it is asked for.

    Checkouts and requests are whole: nothing is cut at the window's ends.
    """

    reader: ProcessReader
    selection: Selection
    counted: Counted = _uncounted

    @property
    def key(self) -> str:
        """What sets the process apart, also from an earlier one with its pid."""
        return self.reader.name

    @property
    def process(self) -> Process:
        """The process."""
        return self.reader.process

    @property
    def pools(self) -> Sequence[Pool]:
        """Its pools."""
        return self.reader.pools

    def checkouts(self) -> Iterator[Checkout]:
        """The checkouts in the order of their asking."""
        chosen = self.selection
        return self.counted(checkouts_within(self.reader, *chosen.bounds, names=chosen.names))

    def shown(self, *, by_connection: bool = False) -> Iterator[Shown]:
        """The checkouts with their spans, in the order of their asking.

        Gaps without a sample are split as in a report of the process. ``by_connection``: those of
        one connection after the other, and none that got no connection.
        """
        return self.counted(self._shown(by_connection=by_connection))

    def requests(self) -> Iterator[Request]:
        """The requests in the order of their start, with a checkout or without."""
        chosen = self.selection
        return requests_within(self.reader, *chosen.bounds, names=chosen.names)

    def _shown(self, *, by_connection: bool) -> Iterator[Shown]:
        chosen = self.selection
        numbers = numbers_within(self.reader, *chosen.bounds, names=chosen.names)
        with self.reader.snapshot() as snapshot:
            found = measured(Ledger(snapshot))
            ledger = found.ledger
            rows = np.sort(ledger.rows_of(np.array(numbers, np.int64)))
            if by_connection:
                rows = rows[ledger.is_granted[rows] & (ledger.connection[rows] >= 0)]
                rows = rows[np.lexsort((rows, ledger.connection[rows], ledger.pool[rows]))]
            yield from shown(found, rows)


@dataclass(frozen=True, slots=True)
class Extract:
    """All that is exported; ``checkouts`` is how many there are."""

    parts: Sequence[Part]
    checkouts: int

    @property
    def began_wall(self) -> float:
        """The Unix time of the run's zero."""
        process = self.parts[0].process
        return process.began_wall - process.began


@contextmanager
def extract(selection: Selection, counted: Counted = _uncounted) -> Iterator[Extract]:
    """The selection as it is at one moment, also of processes that go on.

    ``counted`` may look at the checkouts as they are read. Raises :class:`poolhog.PoolhogError`
    if there are none, and :class:`poolhog.TraceError` if they cannot be read.
    """
    with ExitStack() as stack:
        for number, reader in enumerate(selection.readers):
            stack.enter_context(reader.frozen(by_copy=number >= MOST_HELD))
        bounds, names = selection.bounds, selection.names
        _, _, checkouts = counts_within(selection.readers, *bounds, names=names)
        if not checkouts:
            raise PoolhogError("no connection was asked for in this window by such requests")
        yield Extract([Part(reader, selection, counted) for reader in selection.readers], checkouts)
