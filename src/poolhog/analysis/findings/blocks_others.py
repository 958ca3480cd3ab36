"""blocks-others: statements wait in the database for a lock whose holder does something else."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.blame.blockers import behind
from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import FindingKind
from poolhog.analysis.findings.lines import NamedLine
from poolhog.analysis.lock_statements import Lock, Reach, lock_of
from poolhog.analysis.spans import PARKED, RUNNING
from poolhog.analysis.thresholds import Threshold

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from poolhog.analysis.blame.blockers import Answered, Behind
    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.ledger import Ledger, Numbers
    from poolhog.model import Checkout

BLOCKED_S = Threshold("blocked_s", 0.05)
"""How long statements were blocked at the line, in all."""


class BlockedStatement(NamedTuple):
    """A statement that waited, as evidence: its text, whose it was, and who said that it waited."""

    route: str
    statement: str | None
    is_known: bool

    @property
    def lock(self) -> Lock | None:
        """What its text says about the lock that it waited for."""
        return lock_of(self.statement) if self.statement is not None else None


@dataclass(frozen=True, slots=True)
class BlockedOthers:
    """Which statements waited, for how many seconds, and what for.

    ``known`` are the seconds that the server told of; the others are inferred. ``tables`` are those
    that the statements name. If it ``is_advisory``, it was a lock on a number.
    """

    statements: Mapping[BlockedStatement, float]
    known: float
    tables: tuple[str, ...]
    is_advisory: bool

    @property
    def seconds(self) -> float:
        """All of them."""
        return sum(self.statements.values())


class BlocksOthers(FindingKind[BlockedOthers]):
    """The line is where the holder of the lock was parked, or Python ran. Its statements are not.

    The seconds are those of the checkouts that waited: they are no part of the holder's own.
    """

    name = "blocks-others"
    thresholds = (BLOCKED_S,)
    is_hog = True
    is_released = True

    def matters(self, entry: Entry, totals: Totals, easing: float = 1.0) -> bool:
        """Whether the blocked seconds reach the thresholds."""
        is_long = entry.whole >= easing * totals.thresholds[BLOCKED_S]
        return is_long and super().matters(entry, totals, easing)

    def evidence(self, entry: Entry, totals: Totals) -> BlockedOthers:
        """What waited, and how that is known."""
        statements = entry.noted(BlockedStatement)
        locks = [s.lock for s in sorted(statements, key=lambda s: -statements[s])]
        tables = dict.fromkeys(name for lock in locks if lock for name in sorted(lock.tables))
        return BlockedOthers(
            statements,
            sum(seconds for one, seconds in statements.items() if one.is_known),
            tuple(tables),
            any(lock and lock.reach in (Reach.ADVISORY, Reach.SESSION) for lock in locks),
        )

    def found(self, ledger: Ledger, answered: Answered) -> Iterator[tuple[Checkout, Occurrence]]:
        """The checkouts that held a lock and did something else, while others waited for it."""
        parts = behind(ledger, answered)
        parts = parts.where(np.isin(parts.state, (PARKED, RUNNING)))
        if not len(parts.row):
            return
        order = np.lexsort((parts.started, parts.line, parts.blocker))
        parts = parts.where(order)
        statements = _statements(ledger, parts)
        changes = np.diff(parts.blocker, prepend=-1) != 0
        changes |= np.diff(parts.line, prepend=-2) != 0
        starts = np.flatnonzero(changes).tolist()
        blockers = np.unique(parts.blocker)
        known = dict(zip(blockers.tolist(), ledger.checkouts(blockers), strict=True))
        for first, last in pairwise([*starts, len(parts.row)]):
            notes: dict[Hashable, float] = {}
            spans = []
            for at in range(first, last):
                started, ended = map(ledger.seconds, (parts.started[at], parts.ended[at]))
                spans.append((started, ended))
                route = ledger.routes[int(ledger.route[parts.row[at]])]
                note = BlockedStatement(route, statements[at], bool(parts.is_known[at]))
                notes[note] = notes.get(note, 0.0) + ended - started
            pools = {ledger.pools[int(number)].id for number in ledger.pool[parts.row[first:last]]}
            line = NamedLine(answered.sites[int(parts.line[first])])
            pool = pools.pop() if len(pools) == 1 else None
            yield (
                known[int(parts.blocker[first])],
                Occurrence(line, spans, weighed=notes, pool=pool),
            )


BLOCKS_OTHERS = BlocksOthers()


def _statements(ledger: Ledger, parts: Behind) -> list[str | None]:
    """What each of the blocked checkouts had sent."""
    operations = ledger.operations(np.unique(parts.row))
    texts = ledger.facts.statements
    place: Numbers = np.lexsort((operations.started, operations.row))
    found: list[str | None] = []
    for row, started in zip(parts.row.tolist(), parts.started.tolist(), strict=True):
        first, last = np.searchsorted(operations.row[place], (row, row + 1)).tolist()
        own = place[first:last]
        at = int(np.searchsorted(operations.started[own], started, side="right")) - 1
        found.append(texts.get(int(operations.statement[own[at]])) if at >= 0 else None)
    return found
