"""Columns of what belongs to the rows of a ledger: samples, operations, and waits for locks.

Instants that have not come are :data:`poolhog.analysis.ledger.NEVER`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from poolhog.trace.packed import Numbers


class RowSamples(NamedTuple):
    """Samples in the order of their checkouts' rows, and of their start.

    ``activity`` is an index of ``ACTIVITIES``, ``site`` of the ledger's ``sites``; ``ended`` is
    :data:`NEVER` if it was still so when the trace was last written.
    """

    row: Numbers
    activity: Numbers
    site: Numbers
    started: Numbers
    ended: Numbers


class RowLockWaits(NamedTuple):
    """Waits for locks that the server told of, in the order of their checkouts' rows and start.

    ``blocker`` is the row of the checkout that held the lock, negative if it was not recorded;
    ``session`` is the number of a text that describes it, or negative. ``ended`` is :data:`NEVER`
    if it was still so.
    """

    row: Numbers
    blocker: Numbers
    session: Numbers
    started: Numbers
    ended: Numbers


class RowOperations(NamedTuple):
    """Operations in the order of their checkouts' rows; one in flight has ended :data:`NEVER`.

    ``kind`` is an index of ``KINDS``, ``site`` of the ledger's ``sites``; ``statement``, ``error``
    and ``cause`` are numbers of texts, or negative.
    """

    row: Numbers
    kind: Numbers
    started: Numbers
    ended: Numbers
    site: Numbers
    statement: Numbers
    error: Numbers
    cause: Numbers
