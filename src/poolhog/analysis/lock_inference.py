"""Blocks that are inferred from a process's statements alone, where no server was asked.

Two rules. A file of SQLite's has one writer at a time, so whoever wants to write while another's
transaction does waits for it. Anywhere else, a statement is taken to have waited for a lock if it
ended with the transaction of another checkout that locked the same table, and if statements with
its text did so more often than chance and a common pause explain. One that does nothing but take a
lock needs no such evidence.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.ledger import KINDS, NEVER
from poolhog.analysis.lock_statements import (
    Lock,
    Reach,
    begins,
    lock_of,
    takes_write_lock,
    unlocks,
)
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.ledger import Ledger, Numbers

LEAST_US = 30_000
"""Shorter statements are not looked at: too much ends within so little time."""

CLOSE_US = 10_000
"""How long after the end of a transaction a statement ends that waited for it."""

LATE_US = 50_000
"""The same on a busy machine, of a statement whose likes are known to wait for locks."""

LEAST_HELD_US = 20_000
"""A lock that was held for less is no evidence: statements that are alike end at about one time."""

LEAST_RELEASES = 3
"""Different transactions with which statements of a text ended."""

MOST_CHANCE = 1e-5
"""The probability that as many ends coincide by chance, at the most."""

_POLLED_US = 120_000
"""How long SQLite may sleep before it looks again whether a file can be written."""

_AT_ONCE = 20_000
_FAMILY_OF_FILES = "sqlite"
_SHARED = ("StaticPool", "SingletonThreadPool")
"""Pools of one connection, which does not wait for itself."""

_STATEMENTS = tuple(map(KINDS.index, (OperationKind.STATEMENT, OperationKind.FETCH)))
_BEGIN = KINDS.index(OperationKind.BEGIN)
_ENDS = tuple(map(KINDS.index, (OperationKind.COMMIT, OperationKind.ROLLBACK, OperationKind.RESET)))


class Waiter(NamedTuple):
    """A statement that may have waited for a lock; ``text`` is the number of its statement."""

    row: int
    lock: Lock
    started: int
    ended: int
    text: int


class Hold(NamedTuple):
    """A lock that a checkout held: from the end of its statement to what gave it back."""

    row: int
    lock: Lock
    since: int
    releasing: int
    released: int


class Edge(NamedTuple):
    """A stretch in which a checkout waited for a lock that another held, or would get first.

    ``text`` is the number of its statement.
    """

    row: int
    blocker: int
    started: int
    ended: int
    text: int


def may_be_blocked(ledger: Ledger) -> bool:
    """Whether a statement lasted long enough to be looked at, and can wait for a lock."""
    walk = _Walk(ledger)
    return any(walk.waiters or walk.writers for walk in walk.parts(_slow(ledger)))


def inferred_edges(ledger: Ledger) -> list[Edge]:
    """Who waited for whom, in the order of the ends."""
    slow = _slow(ledger)
    if not len(slow):
        return []
    first = _Walk(ledger)
    for _ in first.parts(slow):
        pass
    if not first.waiters and not first.writers:
        return []
    every = _Walk(ledger)
    for _ in every.parts(np.flatnonzero(ledger.is_granted)):
        pass
    found = [*_of_files(every.writers, every.written), *_of_locks(every.waiters, every.holds)]
    return sorted(found, key=lambda edge: (edge.ended, edge.row, edge.started))


def _slow(ledger: Ledger) -> Numbers:
    return np.flatnonzero(ledger.is_granted & (ledger.busy >= LEAST_US))


class _Walk:
    """Goes through the operations of checkouts, and notes who held and wanted what."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._texts: Mapping[int, str] = ledger.facts.texts
        self.waiters: list[Waiter] = []
        self.holds: list[Hold] = []
        # Of SQLite, by pool: who wanted to write, and whose transaction did.
        self.writers: dict[int, list[Waiter]] = {}
        self.written: dict[int, list[Hold]] = {}
        self._is_file = [
            pool.name.startswith(_FAMILY_OF_FILES) and pool.kind not in _SHARED
            for pool in ledger.pools
        ]

    def parts(self, rows: Numbers) -> Iterator[_Walk]:
        """Walk some rows, part by part."""
        for first in range(0, len(rows), _AT_ONCE):
            found = self._ledger.operations(rows[first : first + _AT_ONCE])
            columns = (found.row, found.kind, found.started, found.ended, found.statement)
            lists = [column.tolist() for column in (*columns, found.error)]
            starts = np.flatnonzero(np.diff(found.row, prepend=-1)).tolist()
            for begin, end in pairwise([*starts, len(found.row)]):
                row = lists[0][begin]
                own = list(zip(*(values[begin:end] for values in lists[1:]), strict=True))
                if self._is_file[self._ledger.pool[row]]:
                    self._walk_file(row, own)
                else:
                    self._walk(row, own)
            yield self

    def _walk(self, row: int, operations: Sequence[tuple[int, int, int, int, int]]) -> None:
        is_open = False
        taken: list[tuple[Lock, int]] = []
        kept: list[tuple[Lock, int]] = []
        for kind, started, ended, text, error in operations:
            sent = self._texts.get(text, "")
            if kind == _BEGIN:
                is_open = True
            elif kind in _ENDS:
                self._release(row, taken, started, ended)
                is_open, taken = False, []
                if unlocks(sent):
                    self._release(row, kept, started, ended)
                    kept = []
            elif kind in _STATEMENTS and ended < NEVER:
                if unlocks(sent):
                    self._release(row, kept, started, ended)
                    kept = []
                is_open |= begins(sent)
                lock = lock_of(sent)
                if lock is None or error >= 0:
                    continue
                if lock.waits and ended - started >= LEAST_US:
                    self.waiters.append(Waiter(row, lock, started, ended, text))
                if lock.reach is Reach.SESSION:
                    kept.append((lock, ended))
                elif is_open:
                    taken.append((lock, ended))
        if self._ledger.is_returned[row]:
            over = int(self._ledger.over[row])
            self._release(row, taken, over, over)

    def _release(
        self, row: int, taken: Sequence[tuple[Lock, int]], started: int, ended: int
    ) -> None:
        # Of equal locks, the first: it was held the longest.
        for lock, since in dict(reversed(taken)).items():
            self.holds.append(Hold(row, lock, since, started, ended))

    def _walk_file(self, row: int, operations: Sequence[tuple[int, int, int, int, int]]) -> None:
        pool = int(self._ledger.pool[row])
        since = -1
        for kind, started, ended, text, error in operations:
            sent = self._texts.get(text, "")
            if kind in _ENDS:
                if since >= 0:
                    hold = Hold(row, _FILE, since, started, min(ended, self._ledger.until))
                    self.written.setdefault(pool, []).append(hold)
                since = -1
                continue
            wants = takes_write_lock(sent) if sent else kind == _BEGIN
            if not wants or since >= 0 or ended == NEVER:
                continue
            if ended - started >= LEAST_US:
                waiter = Waiter(row, _FILE, started, ended, text)
                self.writers.setdefault(pool, []).append(waiter)
            # A BEGIN without a text may be one that takes the lock, or not.
            since = ended if sent and error < 0 else -1
        if since >= 0:
            over = int(self._ledger.over[row])
            self.written.setdefault(pool, []).append(Hold(row, _FILE, since, over, over))


_FILE = Lock(Reach.TABLES)


def _of_files(
    writers: Mapping[int, Sequence[Waiter]], written: Mapping[int, Sequence[Hold]]
) -> Iterator[Edge]:
    """Who waited to write to a file while another's transaction did."""
    for pool, waiters in writers.items():
        holds = sorted(written.get(pool, ()), key=lambda hold: hold.released)
        ends = np.array([hold.released for hold in holds])
        for waiter in waiters:
            at = waiter.started
            first = int(np.searchsorted(ends, waiter.started, side="right"))
            others = [
                hold
                for hold in holds[first : first + _MOST_WAITED_FOR]
                if hold.row != waiter.row and hold.since < waiter.ended
            ]
            for hold, following in zip(others, [*others[1:], None], strict=False):
                end = min(hold.released, waiter.ended)
                if following is not None and following.since - end <= _POLLED_US:
                    end = max(min(following.since, waiter.ended), end)
                elif following is None and waiter.ended - end <= _POLLED_US:
                    end = waiter.ended
                started = max(at, hold.since)
                if end > started:
                    yield Edge(waiter.row, hold.row, started, end, waiter.text)
                    at = end


_MOST_WAITED_FOR = 1_000


class _Match(NamedTuple):
    """A waiter, the hold with which it ended, and how likely that was by chance."""

    waiter: Waiter
    hold: Hold | None
    chance: float


def _of_locks(waiters: Sequence[Waiter], holds: Sequence[Hold]) -> Iterator[Edge]:
    """Who waited for a lock, of statements that ended with others' transactions too often."""
    ordered = sorted(holds, key=lambda hold: hold.released)
    ends = np.array([hold.released for hold in ordered])
    by_text: dict[int, list[_Match]] = {}
    for waiter in waiters:
        first, last = np.searchsorted(ends, (waiter.started - CLOSE_US, waiter.ended + CLOSE_US))
        match = _matched(waiter, ordered[first : last + 1])
        by_text.setdefault(waiter.text, []).append(match)
    found: dict[tuple[int, int], tuple[Waiter, Hold]] = {}
    for matches in by_text.values():
        is_pure = matches[0].waiter.lock.pure
        if not is_pure and not _is_beyond_chance(matches):
            continue
        for waiter, matched, _ in matches:
            hold = matched or _late(waiter, ordered, ends, is_pure=is_pure)
            if hold is not None:
                found[waiter.row, waiter.ended] = waiter, hold
    for waiter, hold in found.values():
        yield from _one_after_the_other(waiter, hold, found, ordered, ends)


def _one_after_the_other(
    waiter: Waiter,
    hold: Hold,
    found: Mapping[tuple[int, int], tuple[Waiter, Hold]],
    ordered: Sequence[Hold],
    ends: Numbers,
) -> Iterator[Edge]:
    """Who held the lock while a statement waited, from the last one back to the first.

    A lock is not given in the order of asking: who got it last may have asked for it after others.
    """
    end = min(waiter.ended, max(hold.released, waiter.started))
    current: Hold | None = hold
    while current is not None and end > waiter.started:
        earlier = _before(current, waiter, found, ordered, ends)
        began = waiter.started if earlier is None else max(current.since, waiter.started)
        if began < end:
            yield Edge(waiter.row, current.row, began, end, waiter.text)
            end = began
        current = earlier


def _before(
    hold: Hold,
    waiter: Waiter,
    found: Mapping[tuple[int, int], tuple[Waiter, Hold]],
    ordered: Sequence[Hold],
    ends: Numbers,
) -> Hold | None:
    """The hold that ended when this one began: that for which it waited itself, or the last one."""
    _, earlier = found.get((hold.row, hold.since), (waiter, None))
    if earlier is None:
        first, last = np.searchsorted(ends, (hold.since - CLOSE_US, hold.since + CLOSE_US))
        others = (
            other
            for other in reversed(ordered[first:last])
            if other.row not in (hold.row, waiter.row) and hold.lock.can_wait_for(other.lock)
        )
        earlier = next(others, None)
    # Otherwise two could name each other for ever.
    return earlier if earlier is not None and earlier.since < hold.since else None


def _matched(waiter: Waiter, holds: Sequence[Hold]) -> _Match:
    """The hold with which a statement ended, of those that could be in its way."""
    some = [
        hold
        for hold in holds
        if hold.row != waiter.row
        and hold.since < waiter.ended
        and hold.released > waiter.started
        and waiter.lock.can_wait_for(hold.lock)
    ]
    covered, at = 0, waiter.started
    found: Hold | None = None
    for hold in some:
        # The server lets go of a lock before it answers, and its answer comes first: what only
        # waited for its turn on the event loop ends as soon as the commit was sent.
        begin = hold.releasing + (hold.released - hold.releasing) * 3 // 4
        end = hold.released + CLOSE_US
        covered += max(min(end, waiter.ended) - max(begin, at), 0)
        at = max(at, min(end, waiter.ended))
        if begin <= waiter.ended <= end and (found is None or _held(hold) > _held(found)):
            found = hold
    chance = covered / max(waiter.ended - waiter.started, 1)
    return _Match(waiter, found, min(chance, 1.0))


def _late(waiter: Waiter, ordered: Sequence[Hold], ends: Numbers, *, is_pure: bool) -> Hold | None:
    """What a statement waited for that ended later, on a busy loop: the last in its way.

    One that does nothing but wait ends whenever that is. An answer may come before that to COMMIT.
    """
    earliest = waiter.started if is_pure else max(waiter.ended - LATE_US, waiter.started)
    first, last = np.searchsorted(ends, (earliest, waiter.ended + CLOSE_US))
    return next(
        (
            hold
            for hold in reversed(ordered[first:last])
            if hold.row != waiter.row
            and hold.releasing <= waiter.ended
            and _held(hold) >= LEAST_HELD_US
            and waiter.lock.can_wait_for(hold.lock)
        ),
        None,
    )


def _held(hold: Hold) -> int:
    return hold.releasing - hold.since


def _is_beyond_chance(matches: Sequence[_Match]) -> bool:
    """Whether statements with one text ended with others' transactions more often than chance."""
    releases = {
        (match.hold.row, match.hold.released)
        for match in matches
        if match.hold is not None and _held(match.hold) >= LEAST_HELD_US
    }
    expected = sum(match.chance for match in matches)
    return len(releases) >= LEAST_RELEASES and _at_least(len(releases), expected) <= MOST_CHANCE


def _at_least(number: int, expected: float) -> float:
    """The probability of at least so many independent events (Poisson)."""
    if expected <= 0:
        return 0.0
    term, below = math.exp(-expected), 0.0
    for count in range(number):
        below += term
        term *= expected / (count + 1)
    return max(1.0 - below, term if number > expected else 0.0)
