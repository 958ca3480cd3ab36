"""Blocks: when a statement waited in the database for a lock, and which checkout held it."""

from __future__ import annotations

import weakref
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.lock_inference import inferred_edges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
        row, blocker, started, ended = (column[chosen] for column in self[:4])
        is_known, session = self.is_known[chosen], self.session[chosen]
        return Blocks(row, blocker, started, ended, is_known, session)


_NOTHING = np.array([], np.int64)
NO_BLOCKS = Blocks(_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING.astype(bool), _NOTHING)


_known: weakref.WeakKeyDictionary[Ledger, Blocks] = weakref.WeakKeyDictionary()


def blocks_of(ledger: Ledger) -> Blocks:
    """The blocks of a process, which are found once: those that are known, and others."""
    found = _known.get(ledger)
    if found is None:
        told, texts = _told(ledger)
        edges = inferred_edges(ledger)
        if ledger.process.lock_watch == ON:
            # The server would have told of some of them, as it is asked again and again.
            edges = [edge for edge in edges if edge.text in texts]
        found = _known[ledger] = _columns(
            _resolved([*_handed_on(told, ledger), *_others(edges, told)])
        )
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


def _told(ledger: Ledger) -> tuple[_Parts, frozenset[int]]:
    """What the server told of, as far as operations were in flight; and what these sent."""
    waits, parts = ledger.lock_waits, _Parts()
    texts: set[int] = set()
    if not len(waits.row):
        return parts, frozenset()
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
                break  # one statement waits, not what came after it
    return parts, frozenset(texts)


def _handed_on(told: _Parts, ledger: Ledger) -> Iterator[_Part]:
    """What the server told of; who held the lock after one that was over is who is named next."""
    for parts in told.values():
        begun = 0
        for part, following in zip(parts, [*parts[1:], None], strict=False):
            started, ended = begun or part.started, part.ended
            begun = 0
            if following is not None and following.started == ended and part.blocker >= 0:
                ended = begun = max(min(ended, int(ledger.over[part.blocker])), started)
            if ended > started:
                yield part._replace(started=started, ended=ended)


def _others(edges: Iterable[Edge], told: _Parts) -> Iterator[_Part]:
    """What is inferred of statements that the server told nothing of."""
    for row, blocker, started, ended, _ in edges:
        if not any(part.started < ended and started < part.ended for part in told.get(row, ())):
            yield _Part(row, blocker, started, ended)


def _resolved(every: Iterable[_Part]) -> _Parts:
    """The parts by row, each by whoever did not wait for another.

    Who held a lock got it before those who waited for it, so how that one was blocked is known by
    then.
    """
    parts = _Parts()
    for part in sorted(every, key=attrgetter("ended")):
        own = parts.setdefault(part.row, [])
        at = part.started
        for other in parts.get(part.blocker, ()):
            started, ended = max(other.started, at), min(other.ended, part.ended)
            if ended <= started or other.blocker == part.row:
                continue
            if started > at:
                own.append(part._replace(started=at, ended=started))
            blocker, session = other.blocker, other.session
            own.append(
                part._replace(started=started, ended=ended, blocker=blocker, session=session)
            )
            at = ended
        if part.ended > at:
            own.append(part._replace(started=at))
    return parts


def _columns(parts: Mapping[int, Sequence[_Part]]) -> Blocks:
    every = [part for row in sorted(parts) for part in parts[row]]
    if not every:
        return NO_BLOCKS
    columns = [np.array(column, np.int64) for column in zip(*every, strict=True)]
    row, blocker, started, ended, is_known, session = columns
    return Blocks(row, blocker, started, ended, is_known.astype(bool), session)
