"""Blocks: when a statement waited in the database for a lock, and which checkout held it."""

from __future__ import annotations

import weakref
from operator import attrgetter
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
    """The blocks of a process, which are found once: those that are known, and others."""
    found = _known.get(ledger)
    if found is None:
        parts: _Parts = {}
        texts = _tell(parts, ledger)
        edges = inferred_edges(ledger)
        if ledger.process.lock_watch == ON:
            # The server would have told of some of them, as it is asked again and again.
            edges = [edge for edge in edges if edge.text in texts]
        _infer(parts, edges)
        found = _known[ledger] = _columns(parts)
    return found


ON = "on"
"""What a process says while its server is asked."""


class _Part(NamedTuple):
    """A part of a block, as :class:`Blocks` has it."""

    row: int
    blocker: int
    started: int
    ended: int
    is_known: bool = False
    session: int = -1


_Parts = dict[int, list[_Part]]
_STARTED = attrgetter("started")


def _tell(parts: _Parts, ledger: Ledger) -> frozenset[int]:
    """Add what the server told of, as far as operations were in flight; and what these sent."""
    waits = ledger.lock_waits
    texts: set[int] = set()
    if not len(waits.row):
        return frozenset()
    operations = ledger.operations(np.unique(waits.row))
    ends = np.minimum(operations.ended, ledger.over[operations.row])
    for row, blocker, session, started, ended in zip(
        *(column.tolist() for column in waits), strict=True
    ):
        own = parts.setdefault(row, [])
        first, last = np.searchsorted(operations.row, (row, row + 1)).tolist()
        for at in range(first, last):
            begin = max(int(operations.started[at]), int(ledger.left[row]), started)
            begin = max(begin, own[-1].ended if own else begin)
            end = min(int(ends[at]), ended)
            if end > begin:
                own.append(_Part(row, blocker, begin, end, True, session))
                texts.add(int(operations.statement[at]))
    return frozenset(texts)


def _infer(parts: _Parts, edges: Iterable[Edge]) -> None:
    """Add what is inferred, by whoever did not wait for another.

    The edges are in the order of their ends. Who held a lock got it before those who waited for
    it, so how that one was blocked is known by then.
    """
    for edge in edges:
        own = parts.setdefault(edge.row, [])
        if any(part.started < edge.ended and edge.started < part.ended for part in own):
            continue  # it is known
        at = edge.started
        for other in sorted(parts.get(edge.blocker, ()), key=_STARTED):
            started, ended = max(other.started, at), min(other.ended, edge.ended)
            if ended <= started or other.blocker == edge.row:
                continue
            if started > at:
                own.append(_Part(edge.row, edge.blocker, at, started))
            own.append(_Part(edge.row, other.blocker, started, ended, session=other.session))
            at = ended
        if edge.ended > at:
            own.append(_Part(edge.row, edge.blocker, at, edge.ended))


def _columns(parts: Mapping[int, Sequence[_Part]]) -> Blocks:
    every = [part for row in sorted(parts) for part in sorted(parts[row], key=_STARTED)]
    if not every:
        return NO_BLOCKS
    row, blocker, started, ended, is_known, session = zip(*every, strict=True)
    numbers = (np.array(column, np.int64) for column in (row, blocker, started, ended))
    return Blocks(*numbers, np.array(is_known, bool), np.array(session, np.int64))
