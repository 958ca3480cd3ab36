"""The note on a pool's timeout: who had its connections, and where each of these was.

The exception that the application sees carries it (PEP 678), so the traceback in its log answers
the question by itself.
"""

from __future__ import annotations

import os
import weakref
from time import monotonic_ns
from typing import TYPE_CHECKING

from poolhog.model import Activity, OperationKind, Outcome
from poolhog.recording.lengths import shortened
from poolhog.recording.libraries import STANDARD_LIBRARY
from poolhog.recording.owners import Owners
from poolhog.recording.secrets.sql import without_literals
from poolhog.texts import visible

if TYPE_CHECKING:
    from poolhog.recording.journal import Journal
    from poolhog.recording.pools import PoolRecord
    from poolhog.recording.records import CheckoutRecord
    from poolhog.recording.sites import SiteRecord

MOST_LINES = 20
"""Connections that a note names."""

LONGEST_LINE = 400
LONGEST_SOURCE = 80
LONGEST_STATEMENT = 100
"""Characters of a line of the note, and of what it quotes."""

_GOOD_FOR_NS = 100_000_000
"""A note is used again for so long: when a pool times out, it does for many at once."""

_IN_FLIGHT = {
    OperationKind.CONNECT: "opening a connection",
    OperationKind.PING: "pinging the connection",
    OperationKind.FETCH: "fetching rows",
    OperationKind.COMMIT: "in COMMIT",
    OperationKind.ROLLBACK: "in ROLLBACK",
    OperationKind.RESET: "resetting the connection",
}

_DOING = {
    Activity.BLOCKING: "blocking the event loop",
    Activity.COMPUTING: "waiting for a thread that computes",
    Activity.QUEUED: "waiting for a thread",
    Activity.IDLE: "idle: its job is over",
}


class Explainer:
    """Writes the notes of one process."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._owners = Owners(journal)
        self._last: weakref.WeakKeyDictionary[PoolRecord, tuple[int, str]] = (
            weakref.WeakKeyDictionary()
        )

    def explain(self, error: BaseException, checkout: CheckoutRecord) -> None:
        """Add the note to the exception of a wait that timed out."""
        now_ns = monotonic_ns()
        pool = checkout.pool
        written_ns, note = self._last.get(pool, (0, ""))
        if now_ns - written_ns > _GOOD_FOR_NS:
            note = self._note(pool, now_ns)
            self._last[pool] = now_ns, note
        error.add_note(note)

    def _note(self, pool: PoolRecord, now_ns: int) -> str:
        # Other threads change what is open; a copy is made without letting them.
        unfinished = self._journal.open.copy().values()
        concerned = [c for c in unfinished if c.pool is pool]
        lent = [c for c in concerned if c.outcome is Outcome.OPEN]
        lent.sort(key=lambda checkout: checkout.granted_ns or 0)
        asking = {c.owner_id: c for c in unfinished if c.outcome is Outcome.WAITING}
        # The one that gave up just now still counts as waiting.
        others = len(concerned) - len(lent) - 1
        lines = [
            f"poolhog: {len(lent)} of {_capacity(pool)} connections of the pool {pool.name!r} were "
            f"lent, and {others} {'other' if others == 1 else 'others'} waited for one:"
        ]
        self._owners.begin()
        lines += [f"  {self._line(c, asking.get(c.owner_id), now_ns)}" for c in lent[:MOST_LINES]]
        if len(lent) > MOST_LINES:
            lines.append(f"  and {len(lent) - MOST_LINES} more")
        # A client may have a say in all that is quoted: none of it may begin a line of its own.
        return "\n".join(
            shortened(visible(line[: LONGEST_LINE + 1]), LONGEST_LINE) for line in lines
        )

    def _line(self, checkout: CheckoutRecord, asking: CheckoutRecord | None, now_ns: int) -> str:
        """What there is to say of a checkout, whose owner may be asking for another one."""
        held_s = (now_ns - (checkout.granted_ns or now_ns)) / 1e9
        statements = (o.statement for o in reversed(checkout.operations) if o.statement is not None)
        statement = next(statements, None)
        last = (
            f"; last statement: {_quoted(statement, checkout.pool.dialect)}"
            if statement is not None
            else ""
        )
        now = self._now(checkout, asking)
        return f"{_name(checkout)} held one for {held_s:.2f} s, {now}{last}"

    def _now(self, checkout: CheckoutRecord, asking: CheckoutRecord | None) -> str:
        """What the holder is doing, and where."""
        if asking is not None:
            return f"now waiting for another connection{_at(asking.site)}"
        operation = checkout.operation
        if operation is not None:
            doing = _IN_FLIGHT.get(operation.kind, "in the statement")
            return f"now {doing}{_at(operation.site)}"
        activity, site, *_ = self._owners.look(checkout)
        if site is None and activity is Activity.PARKED:
            return "now parked: its owner is gone"
        return f"now {_DOING.get(activity, activity)}{_at(site)}"


def _name(checkout: CheckoutRecord) -> str:
    """The request, or where the connection was asked for."""
    if checkout.request is not None:
        return checkout.request.name
    site = checkout.site
    while site is not None and site.caller is not None:
        site = site.caller
    return f"{site.code.co_qualname} ({checkout.owner})" if site is not None else checkout.owner


def _at(site: SiteRecord | None) -> str:
    """Where in the application, or else in a library that is not Python's own."""
    callers = [] if site is None else [site]
    while callers and callers[-1].caller is not None:
        callers.append(callers[-1].caller)
    found = next((place for place in callers if place.is_application), None) or next(
        (p for p in callers if not p.code.co_filename.startswith(STANDARD_LIBRARY)), site
    )
    if found is None:
        return ""
    place = f"{_shown(found.code.co_filename)}:{found.line} in {found.code.co_qualname}"
    return f" at {place}: {shortened(found.source, LONGEST_SOURCE)}"


def _shown(file: str) -> str:
    """Relative to the working directory if it is in it, and that exists."""
    try:
        relative = os.path.relpath(file)
    except (OSError, ValueError):
        return file
    return file if relative.startswith(os.pardir) else relative


def _capacity(pool: PoolRecord) -> str:
    if pool.size is None or pool.max_overflow is None or pool.max_overflow < 0:
        return "any number of"
    return str(pool.size + pool.max_overflow)


def _quoted(statement: str, dialect: str | None) -> str:
    """The statement's beginning: a literal that is cut off is left out all the same."""
    beginning = without_literals(statement[: 4 * LONGEST_STATEMENT], dialect)
    return shortened(" ".join(beginning.split()), LONGEST_STATEMENT)
