"""What of a trace a picture shows: a window, the requests in it, one by one or added up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import Shares
from poolhog.analysis.occupancy import Occupancy, occupancy_of
from poolhog.analysis.timeline import Timeline, build_timeline
from poolhog.errors import PoolhogError
from poolhog.trace.lookup import checkouts_within, counts_within, names_like, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from poolhog.model import Checkout, Request
    from poolhog.trace.reader import ProcessReader

MOST_CHECKOUTS = 2_000
"""More are not drawn one by one, however few requests they belong to."""

_NAMES_TOLD = 8

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

    def checkouts(self, *, sampled: bool = False) -> Iterator[Checkout]:
        """The checkouts, by process, and of each in order of their asking."""
        return checkouts_within(
            self.readers, self.started, self.ended, names=self.names, sampled=sampled
        )


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


def view(
    selection: Selection,
    *,
    most_lanes: int,
    bins: int,
    counted: Callable[[Iterator[Checkout]], Iterator[Checkout]] = iter,
) -> View:
    """A timeline if no more requests and owners than ``most_lanes`` are in it, or else bins.

    ``counted`` may look at the checkouts as they are read.
    """
    started, ended = selection.started, selection.ended
    requests, owners, checkouts = counts_within(
        selection.readers, started, ended, names=selection.names
    )
    if not checkouts:
        raise PoolhogError("no connection was asked for in this window by such requests")
    shares = Shares(counted(selection.checkouts(sampled=True)), ended)
    every = counted(selection.checkouts())
    pools = [pool for reader in selection.readers for pool in reader.pools]
    picture: Timeline | Occupancy
    if requests + owners <= most_lanes and checkouts <= MOST_CHECKOUTS:
        labels = _short_id if len(selection.readers) == 1 else _id
        picture = build_timeline(
            every, (), pools, started=started, ended=ended, shares=shares, labels=labels
        )
    else:
        picture = occupancy_of(every, pools, started=started, ended=ended, bins=bins, shares=shares)
    return View(requests, owners, checkouts, picture)


def _id(request: Request | None, owner: str) -> str:
    return request.id if request is not None else owner


def _short_id(request: Request | None, owner: str) -> str:
    """Without the process: enough where there is only one."""
    return request.id.rpartition(".")[2] if request is not None else owner


def names_of(readers: Sequence[ProcessReader], route: str) -> Sequence[str]:
    """The names of requests that a route means.

    Raises :class:`poolhog.PoolhogError` if it means none.
    """
    names = names_like(readers, route)
    if names:
        return names
    known = sorted({name for reader in readers for name in reader.request_counts()})
    more = f" and {len(known) - _NAMES_TOLD} more" if len(known) > _NAMES_TOLD else ""
    told = ", ".join(known[:_NAMES_TOLD]) + more if known else "none"
    raise PoolhogError(f"no route contains {route!r}: recorded were {told}")
