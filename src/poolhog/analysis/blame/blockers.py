"""What the checkouts that hold a lock do while others wait for it in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.blocks import blocks_of
from poolhog.analysis.spans import BUSY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.blocks import Blocks
    from poolhog.analysis.ledger import Flags, Ledger, Numbers
    from poolhog.model import Site

ASKED = -1
"""The ``line`` of a blocker that was busy: where it asked for its connection."""


class Answered(NamedTuple):
    """Parts of gaps, and the lines that answer for them, as columns: an index of ``sites``.

    ``state`` is ``UNSAMPLED`` of a gap that no sample fell into.
    """

    row: Numbers
    state: Numbers
    started: Numbers
    ended: Numbers
    line: Numbers
    sites: Sequence[Site | None]


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
        row, blocker, state, line, started, ended = (column[chosen] for column in self[:6])
        return Behind(row, blocker, state, line, started, ended, self.is_known[chosen])


def behind(ledger: Ledger, answered: Answered) -> Behind:
    """The blocks by recorded checkouts, cut where what their blocker does changes."""
    blocks = blocks_of(ledger)
    blocks = blocks.where(blocks.blocker >= 0)
    columns = np.array(_cut(blocks, answered), np.int64).reshape(-1, len(Behind._fields)).T
    row, blocker, state, line, started, ended, is_known = columns
    return Behind(row, blocker, state, line, started, ended, is_known.astype(bool))


def _cut(blocks: Blocks, answered: Answered) -> list[tuple[int, ...]]:
    order = np.lexsort((answered.started, answered.row))
    chosen = order[np.isin(answered.row[order], blocks.blocker)]
    columns = (answered.row, answered.started, answered.ended, answered.state, answered.line)
    rows, starts, ends, states, lines = (column[chosen] for column in columns)
    first = np.searchsorted(rows, blocks.blocker).tolist()
    last = np.searchsorted(rows, blocks.blocker, side="right").tolist()
    found: list[tuple[int, ...]] = []
    for place, values in enumerate(zip(*(column.tolist() for column in blocks[:5]), strict=True)):
        row, blocker, started, ended, is_known = values
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
    return found
