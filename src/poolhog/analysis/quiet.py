"""Quiet checkouts: those that a report counts without a look, as nothing can be found in them.

Most checkouts of a trace are quiet. The pool had a connection for them that was open; it came back,
not long after the response was sent; no sample fell into a gap; and no write can have been undone.
All that a report says of such a checkout is in a few numbers of its row. So these are added up as
they are read, and it never becomes an object of the model.

That changes nothing. A look would come to the same sums, and the finder would do no more than add
up who waited, and which seconds no sample told about. And it can still learn of every quiet one
that was lent while its asker asked for another, or while somebody timed out: the pool's lending is
told of all checkouts, and reads those few that matter by their numbers.
"""

from __future__ import annotations

from array import array
from operator import itemgetter
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import Told
from poolhog.analysis.findings.lost_write import suspicion
from poolhog.analysis.routes import owner_of
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from poolhog.analysis.findings.finder import Finder
    from poolhog.model import Checkout, Pool, Site
    from poolhog.trace.snapshot import Outline, Snapshot

_QUIET = """
    c.outcome = :returned AND c.granted NOT NULL AND c.returned NOT NULL AND c.connecting IS NULL
    AND coalesce(c.busy, 0) <= c.returned - c.granted
    AND coalesce(c.asked + c.returned - r.started - coalesce(r.responded, r.ended) < :late, TRUE)
    AND c.id NOT IN (SELECT checkout_id FROM packed_samples)
    AND c.id NOT IN (SELECT checkout_id FROM packed_operations)
"""
"""Of a checkout and its request, if it has one; but for the writes that may have been undone."""

_FIRST = itemgetter(0, 1, 2)

_MARGIN_US = 1
"""What is nearly late is looked at: in seconds, thresholds are not exact to the microsecond."""


class Quiet:
    """Quiet checkouts of one pool and route, asked for at one site.

    Instants are in microseconds since the process began, in the order of asking; so long were
    they ``pinging`` and ``busy``.
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
        self.pinging = array("q")
        self.busy = array("q")

    def __len__(self) -> int:
        return len(self.asked)

    def told(self) -> Told:
        """The seconds of all of them, as far as they tell themselves."""
        granted, pinging, busy = sum(self.granted), sum(self.pinging), sum(self.busy)
        queueing = granted - sum(self.asked) - pinging
        untold = sum(self.returned) - granted - busy
        spent = queueing, 0, pinging, busy, 0, 0, 0, untold
        return Told(*(microseconds / 1e6 for microseconds in spent))


class Passing:
    """Goes through the checkouts of a process: counts the quiet ones, and hands out the others."""

    def __init__(self, snapshot: Snapshot, finder: Finder) -> None:
        self._snapshot = snapshot
        self._finder = finder
        self._quiet: dict[Outline, Quiet] = {}

    @property
    def quiet(self) -> Iterable[Quiet]:
        """What was counted."""
        return self._quiet.values()

    def others(self, tell: Callable[[int], None]) -> Iterator[Checkout]:
        """All that are not quiet, in the order of asking; ``tell`` learns how many were passed."""
        snapshot = self._snapshot
        values = {
            "returned": snapshot.unpack.number_of(Outcome.RETURNED),
            "late": self._finder.late * 1e6 - _MARGIN_US,
        }
        is_suspicious = suspicion(snapshot.unpack.packed_texts)
        for outlines in snapshot.outlines(_QUIET, values, operations=is_suspicious is not None):
            numbers = [
                number
                for number, is_quiet, operations in map(_FIRST, outlines)
                if not is_quiet or (is_suspicious and operations and is_suspicious(operations))
            ]
            yield from self._count(outlines, set(numbers), snapshot.numbered(numbers))
            tell(len(outlines))

    def _count(
        self, outlines: Iterable[Outline], others: set[int], checkouts: Iterator[Checkout]
    ) -> Iterator[Checkout]:
        """Count the quiet ones, and hand out each of the others in its turn."""
        prefix = self._snapshot.unpack.prefix
        for outline in outlines:
            number = outline[0]
            if number in others:
                yield next(checkouts)
                continue
            key = outline[3:8]
            quiet = self._quiet.get(key)
            if quiet is None:
                quiet = self._new(key)
            request, owner, asked, queueing, returned, pinging, busy = outline[8:]
            granted = asked + queueing
            returned += asked
            quiet.asked.append(asked)
            quiet.granted.append(granted)
            quiet.returned.append(returned)
            quiet.busy.append(busy or 0)
            quiet.pinging.append(pinging or 0)
            asker = owner if request is None else f"{prefix}.{request}"
            quiet.lend(asker, asked, granted, returned, number)

    def _new(self, key: Outline) -> Quiet:
        pool, method, route, path, site_id = key
        unpack = self._snapshot.unpack
        site = unpack.sites.get(site_id)
        name = owner_of(site) if method is None else unpack.request_name(method, route, path)
        found = self._quiet[key] = Quiet(self._snapshot.pools[pool], name, site, self._finder)
        return found
