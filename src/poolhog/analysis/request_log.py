"""All that happened to one request's connections, and what its time with them was spent on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.accounting import Account, total
from poolhog.analysis.lifecycle import Lifecycle, lifecycle_of
from poolhog.analysis.log import LogEvent, log_with_gaps
from poolhog.analysis.measured import measured
from poolhog.analysis.owners import owner_of
from poolhog.analysis.selection import ledger_of
from poolhog.analysis.shown import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.model import Checkout, Process, Request
    from poolhog.trace.lookup import Found


@dataclass(frozen=True, slots=True)
class RequestLog:
    """A request, or an owner without one; ``request`` and ``life`` are ``None`` for the latter.

    ``checkouts`` are those that were read, of ``total``; ``accounts`` are theirs. Instants are on
    the run's clock; ``ended`` is ``until`` for what goes on. Lines count from ``started``.
    """

    id: str
    name: str
    process: Process
    request: Request | None
    life: Lifecycle | None
    checkouts: Sequence[Checkout]
    accounts: Sequence[Account]
    total: int
    started: float
    ended: float
    until: float
    lines: tuple[LogEvent, ...]

    @property
    def spent(self) -> Account:
        """The seconds of all its checkouts."""
        return total(self.accounts)

    @property
    def is_open(self) -> bool:
        """Whether it went on, or held a connection, when the trace was last written."""
        going_on = self.request is not None and self.request.ended is None
        return going_on or any(c.returned is None and c.gave_up is None for c in self.checkouts)


def request_log(found: Found) -> RequestLog:
    """Read a request, or an owner, and say what happened.

    Gaps without a sample are split as those of checkouts that were asked for at the same sites.
    """
    with found.reader.frozen():
        request, own = found.request(), found.numbers()
        with ledger_of(found.reader, [*own, *found.siblings()]) as (ledger, _):
            rows = np.sort(ledger.rows_of(np.array(own, np.int64)))
            every = list(shown(measured(ledger), rows))
        owner = owner_of(request, [one.checkout for one in every], found.total())
    until = owner.until
    return RequestLog(
        id=found.id,
        name=found.name,
        process=found.reader.process,
        request=request,
        life=None if request is None else lifecycle_of(request, every, until),
        checkouts=owner.checkouts,
        accounts=[one.spent for one in every],
        total=owner.total,
        started=owner.started,
        ended=owner.ended,
        until=until,
        lines=log_with_gaps(request, every),
    )
