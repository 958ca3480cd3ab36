"""Quiet checkouts: those that a report counts without a look, as nothing can be found in them.

Most checkouts of a trace are quiet. The pool had a connection for them, which it had opened before;
it came back, not long after the response was sent; no sample fell into a gap; and no write can have
been undone. All that a report says of such a checkout is in a few numbers of its row, so these are
added up as they are read, and it never becomes an object of the model.

That changes nothing. Books would count the same numbers, and the finder has nothing to say of it
but who waited, and what share of its gaps was parked: ``passed_by`` hands that over as sums. What
another checkout may want to know of it, which its asker asked for meanwhile, or which timed out
while it was lent, its pool's lending is told of every one, with the number to read it by.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import Told
from poolhog.analysis.findings.lost_writes import suspicion
from poolhog.analysis.findings.names import owner_of
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from poolhog.analysis.findings import Finder
    from poolhog.model import Checkout, Pool, Site
    from poolhog.trace.reader import Outline, Snapshot


class Quiet:
    """Quiet checkouts of one pool and route, asked for at one site.

    Instants are in microseconds since the process began, in the order of asking.
    """

    __slots__ = ("asked", "busy", "granted", "lend", "pinging", "pool", "returned", "route", "site")

    def __init__(self, pool: Pool, route: str, site: Site | None, finder: Finder) -> None:
        self.pool = pool
        self.route = route
        self.site = site
        self.lend = finder.lending(pool).add
        self.asked = array("q")
        self.granted = array("q")
        self.returned = array("q")
        self.pinging = 0
        self.busy = 0

    def __len__(self) -> int:
        return len(self.asked)

    def told(self) -> Told:
        """The seconds of all of them, as far as they tell themselves."""
        granted = sum(self.granted)
        queueing = granted - sum(self.asked) - self.pinging
        untold = sum(self.returned) - granted - self.busy
        spent = queueing, 0, self.pinging, self.busy, 0, 0, 0, untold
        return Told(*(microseconds / 1e6 for microseconds in spent))


class Passing:
    """Goes through the checkouts of a process: counts the quiet ones, and hands out the others."""

    def __init__(self, snapshot: Snapshot, finder: Finder) -> None:
        self._snapshot = snapshot
        self._finder = finder
        self._told_by_others = snapshot.more_than_outlined()
        self._may_have_lost_writes = suspicion(snapshot.unpack.packed_texts)
        self._quiet: dict[tuple[int | str | None, ...], Quiet] = {}

    @property
    def quiet(self) -> Iterable[Quiet]:
        """What was counted."""
        return self._quiet.values()

    def others(self, told: Callable[[int], None]) -> Iterator[Checkout]:
        """All that are not quiet, in the order of asking; ``told`` learns how many were passed."""
        for outlines in self._snapshot.outlines(operations=self._may_have_lost_writes is not None):
            numbers = self._not_quiet(outlines)
            yield from self._count(outlines, set(numbers), self._snapshot.numbered(numbers))
            told(len(outlines))

    def _not_quiet(self, outlines: list[Outline]) -> list[int]:
        """The numbers of those that may be worth a look."""
        came_back = self._snapshot.unpack.number_of(Outcome.RETURNED)
        late = self._finder.late * 1e6 - _MARGIN
        told_by_others = self._told_by_others
        may_have_lost_writes = self._may_have_lost_writes
        return [
            number
            for (
                number,
                _,
                _,
                _,
                _,
                outcome,
                _,
                granted,
                returned,
                connecting,
                _,
                busy,
                operations,
                _,
                _,
                _,
                after_response,
            ) in outlines
            if outcome != came_back
            or granted is None
            or returned is None
            or connecting is not None
            or (busy or 0) > returned - granted
            or (after_response is not None and after_response >= late)
            or number in told_by_others
            or (operations and may_have_lost_writes and may_have_lost_writes(operations))
        ]

    def _count(
        self, outlines: list[Outline], others: set[int], checkouts: Iterator[Checkout]
    ) -> Iterator[Checkout]:
        """Count the quiet ones, and hand out each of the others in its turn."""
        quiet = self._quiet
        began = self._snapshot.process.began
        prefix = self._snapshot.unpack.prefix
        waits, least_wait = self._finder.waits, self._finder.least_wait * 1e6
        for (
            number,
            pool,
            request,
            owner,
            site,
            _,
            asked,
            granted,
            returned,
            _,
            pinging,
            busy,
            _,
            method,
            route,
            path,
            _,
        ) in outlines:
            if number in others:
                yield next(checkouts)
                continue
            key = pool, method, route, path, site
            counted = quiet.get(key)
            if counted is None:
                counted = quiet[key] = self._new(*key)
            queueing = granted
            if pinging:
                counted.pinging += pinging
                queueing -= pinging
            if queueing >= least_wait:
                at = began + asked / 1e6
                waits.add(counted.pool.id, counted.route, at, at + queueing / 1e6)
            if busy:
                counted.busy += busy
            granted += asked
            returned += asked
            counted.asked.append(asked)
            counted.granted.append(granted)
            counted.returned.append(returned)
            asker = owner if request is None else f"{prefix}.{request}"
            counted.lend(asker, asked, granted, returned, number)

    def _new(
        self, pool: int, method: int | None, route: int | None, path: str | None, site: int | None
    ) -> Quiet:
        unpack = self._snapshot.unpack
        where = unpack.sites.get(site)
        name = owner_of(where) if method is None else unpack.request_name(method, route, path)
        return Quiet(self._snapshot.pools[pool], name, where, self._finder)


_MARGIN = 1
"""Microseconds, so that thresholds are the same as in seconds, which are inexact."""
