"""Blocks: when a statement waited in the database for a lock, and which checkout held it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.lock_inference import inferred_edges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolhog.analysis.ledger import Flags, Ledger, Numbers
    from poolhog.analysis.lock_inference import Edge

UNRECORDED = -1
"""The ``blocker`` of a block by a session of the database's that was not recorded."""


class Blocks(NamedTuple):
    """Stretches of checkouts in which a statement waited for a lock, as columns.

    They are in the order of ``row`` and ``started``; those of a row do not overlap, and each lies
    within one operation. ``blocker`` is the row of the checkout that held the lock and did not wait
    for another itself, or :data:`UNRECORDED`; ``is_known`` tells whether the server said so. If
    not, it was inferred. ``session`` is the number of a text that describes an unrecorded session,
    or negative. Instants are microseconds since the process began.
    """

    row: Numbers
    blocker: Numbers
    started: Numbers
    ended: Numbers
    is_known: Flags
    session: Numbers

    @property
    def duration(self) -> Numbers:
        """Microseconds."""
        return self.ended - self.started

    def where(self, chosen: Flags | Numbers) -> Blocks:
        """Some of them."""
        return Blocks(*(column[chosen] for column in self))


_NOTHING = np.array([], np.int64)
NO_BLOCKS = Blocks(*[_NOTHING] * 4, _NOTHING.astype(bool), _NOTHING)


_known: weakref.WeakKeyDictionary[Ledger, Blocks] = weakref.WeakKeyDictionary()


def blocks_of(ledger: Ledger) -> Blocks:
    """The blocks of a process, which are found once."""
    found = _known.get(ledger)
    if found is None:
        found = _known[ledger] = _resolved(inferred_edges(ledger))
    return found


class _Part(NamedTuple):
    """A part of a block, as :class:`Blocks` has it."""

    row: int
    blocker: int
    started: int
    ended: int
    is_known: bool = False
    session: int = -1


def _resolved(edges: Iterable[Edge]) -> Blocks:
    """Blocks by whoever did not wait for another; the edges are in the order of their ends.

    Who held a lock got it before those who waited for it, so how that one was blocked is known.
    """
    parts: dict[int, list[_Part]] = {}
    for edge in edges:
        own = parts.setdefault(edge.row, [])
        at = max(edge.started, own[-1].ended if own else edge.started)
        for other in parts.get(edge.blocker, ()):
            started, ended = max(other.started, at), min(other.ended, edge.ended)
            if ended <= started or other.blocker == edge.row:
                continue
            if started > at:
                own.append(_Part(edge.row, edge.blocker, at, started))
            own.append(other._replace(row=edge.row, started=started, ended=ended))
            at = ended
        if edge.ended > at:
            own.append(_Part(edge.row, edge.blocker, at, edge.ended))
    return _columns(parts)


def _columns(parts: Mapping[int, Sequence[_Part]]) -> Blocks:
    every = [part for row in sorted(parts) for part in parts[row]]
    if not every:
        return NO_BLOCKS
    row, blocker, started, ended, is_known, session = zip(*every, strict=True)
    numbers = (np.array(column, np.int64) for column in (row, blocker, started, ended))
    return Blocks(*numbers, np.array(is_known, bool), np.array(session, np.int64))
