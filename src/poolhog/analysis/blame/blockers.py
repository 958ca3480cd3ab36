"""What the checkouts that hold a lock do while others wait for it in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.blocks import blocks_of
from poolhog.analysis.spans import BUSY

if TYPE_CHECKING:
    from poolhog.analysis.blame.blaming import Answered
    from poolhog.analysis.ledger import Flags, Ledger, Numbers

ASKED = -1
"""The ``line`` of a blocker that was busy: where it asked for its connection."""


class Behind(NamedTuple):
    """Parts of blocks, as columns: the row that is blocked, and what its blocker does meanwhile.

    ``state`` and ``line`` are as :class:`Answered` has them: of a blocker without an answer, it is
    busy, and the line is ``ASKED``.
    """

    row: Numbers
    blocker: Numbers
    state: Numbers
    line: Numbers
    started: Numbers
    ended: Numbers
    is_known: Flags

    def where(self, chosen: Flags | Numbers) -> Behind:
        """Some of them."""
        return Behind(*(column[chosen] for column in self))


def behind(ledger: Ledger, answered: Answered) -> Behind:
    """The blocks by recorded checkouts, cut where what their blocker does changes."""
    blocks = blocks_of(ledger)
    blocks = blocks.where(blocks.blocker >= 0)
    order = np.lexsort((answered.started, answered.row))
    chosen = order[np.isin(answered.row[order], blocks.blocker)]
    columns = (answered.row, answered.started, answered.ended, answered.state, answered.line)
    rows, starts, ends, states, lines = (column[chosen] for column in columns)
    first = np.searchsorted(rows, blocks.blocker).tolist()
    last = np.searchsorted(rows, blocks.blocker, side="right").tolist()
    found: list[tuple[int, ...]] = []
    for place, (row, blocker, started, ended, is_known) in enumerate(
        zip(*(column.tolist() for column in blocks[:5]), strict=True)
    ):
        at = started
        for part in range(first[place], last[place]):
            begin, end = max(int(starts[part]), at), min(int(ends[part]), ended)
            if end <= begin:
                continue
            if begin > at:
                found.append((row, blocker, BUSY, ASKED, at, begin, is_known))
            state, line = int(states[part]), int(lines[part])
            found.append((row, blocker, state, line, begin, end, is_known))
            at = end
        if ended > at:
            found.append((row, blocker, BUSY, ASKED, at, ended, is_known))
    *numbers, known = np.array(found, np.int64).reshape(-1, len(Behind._fields)).T
    return Behind(*numbers, known.astype(bool))
