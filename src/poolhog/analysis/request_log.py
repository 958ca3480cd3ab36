"""All that happened to one request's connections, and what its time with them was spent on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import Account, Shares, account, end_of
from poolhog.analysis.lifecycle import Lifecycle, lifecycle_of
from poolhog.analysis.log import LogEvent, log_with_gaps

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
        return Account(*(sum(parts) for parts in zip(_NOTHING, *self.accounts, strict=True)))

    @property
    def is_open(self) -> bool:
        """Whether it went on, or held a connection, when the trace was last written."""
        going_on = self.request is not None and self.request.ended is None
        return going_on or any(c.returned is None and c.gave_up is None for c in self.checkouts)


_NOTHING = (0.0,) * len(Account._fields)


def request_log(found: Found) -> RequestLog:
    """Read a request, or an owner, and say what happened."""
    life = found.read()
    request, until = life.request, life.until
    checkouts = sorted(life.checkouts, key=lambda checkout: checkout.asked)
    shares = Shares(found.siblings(), until)
    starts = [checkout.asked for checkout in checkouts]
    ends = [end_of(checkout, until) for checkout in checkouts]
    if request is not None:
        starts.append(request.started)
        ends.append(request.ended if request.ended is not None else max(until, request.started))
    return RequestLog(
        id=found.id,
        name=found.name,
        process=found.reader.process,
        request=request,
        life=None if request is None else lifecycle_of(request, checkouts, until, shares),
        checkouts=checkouts,
        accounts=[account(checkout, until, shares) for checkout in checkouts],
        total=life.total,
        started=min(starts),
        ended=max(ends),
        until=until,
        lines=log_with_gaps(request, checkouts, until, shares),
    )
