"""Spans: the one place that cuts checkouts into states.

A checkout waits, and then is lent: operations are in flight, and between them are gaps. A gap is
split by the samples that fell into it: each instant is what the nearest sample says. A gap that no
sample fell into is one span of its own, ``UNSAMPLED``, until it is split like its siblings
(:mod:`poolhog.analysis.shares`).

Spans are columns. Instants are microseconds since the process began, half open, and what is still
open lasts until the last instant that is known of the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.accounting import STATE_OF, State
from poolhog.analysis.blocks import blocks_of
from poolhog.analysis.ledger import ACTIVITIES, KINDS, NEVER
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from poolhog.analysis.blocks import Blocks
    from poolhog.analysis.ledger import Flags, Ledger, Numbers
    from poolhog.analysis.rows import RowOperations, RowSamples

if TYPE_CHECKING:
    Fractions = NDArray[np.float64]

STATES = (
    *(State.WAITING, State.BUSY, State.BLOCKED),
    *(State.PARKED, State.RUNNING, State.READY),
)
"""What a state's number in a column means."""

WAITING, BUSY, BLOCKED, PARKED, RUNNING, READY, UNSAMPLED = range(len(STATES) + 1)

GAPS = (PARKED, RUNNING, READY)
"""The states of gaps: lent, and no operation is in flight."""

_STATE_OF = np.array([STATES.index(STATE_OF[activity]) for activity in ACTIVITIES])
_OF_WAIT = np.isin(np.array(KINDS), (OperationKind.CONNECT, OperationKind.PING))


class Gaps(NamedTuple):
    """The times between two operations, and before the return; ``after`` is the operation before.

    That is an index of the operations, or negative for a gap that begins with the grant.
    """

    row: Numbers
    started: Numbers
    ended: Numbers
    after: Numbers


class Spans(NamedTuple):
    """Spans in the order of their rows, and of their start; those of a row leave no holes.

    ``operation`` and ``sample`` are the places, in their columns, of the operation in flight and of
    the sample that tells the state; ``gap`` is that of the gap. They are negative where there is
    none.
    """

    row: Numbers
    state: Numbers
    started: Numbers
    ended: Numbers
    operation: Numbers
    sample: Numbers
    gap: Numbers

    @property
    def duration(self) -> Numbers:
        """Microseconds."""
        return self.ended - self.started

    def where(self, chosen: Flags | Numbers) -> Spans:
        """Some of them."""
        return Spans(*(column[chosen] for column in self))


class Cut(NamedTuple):
    """Some checkouts, cut into spans, with what these name."""

    spans: Spans
    gaps: Gaps
    operations: RowOperations
    samples: RowSamples


def cut(ledger: Ledger, rows: Numbers) -> Cut:
    """Cut the checkouts of some rows, which are in order."""
    operations = ledger.operations(rows)
    samples = _samples_of(ledger, rows)
    waits = _waits(ledger, rows, operations)
    busy, gaps = _uses(ledger, rows[ledger.is_granted[rows]], operations)
    sampled = _sampled(gaps, samples)
    is_sampled = np.zeros(len(gaps.row), bool)
    is_sampled[sampled.gap] = True
    others = np.flatnonzero(~is_sampled)
    unsampled = _spans(
        gaps.row[others], UNSAMPLED, gaps.started[others], gaps.ended[others], gap=others
    )
    busy = _with_blocks(busy, blocks_of(ledger))
    found = _together(waits, busy, sampled, unsampled)
    return Cut(found, gaps, operations, samples)


def _samples_of(ledger: Ledger, rows: Numbers) -> RowSamples:
    every = ledger.samples
    if not len(rows):
        return type(every)(*(column[:0] for column in every))
    first, last = np.searchsorted(every.row, (rows[0], rows[-1] + 1)).tolist()
    chosen = first + np.flatnonzero(np.isin(every.row[first:last], rows))
    return type(every)(*(column[chosen] for column in every))


def _spans(
    row: Numbers,
    state: int | Numbers,
    started: Numbers,
    ended: Numbers,
    *,
    operation: Numbers | int = -1,
    sample: Numbers | int = -1,
    gap: Numbers | int = -1,
) -> Spans:
    shape = np.broadcast_shapes(row.shape)
    others = (np.broadcast_to(np.asarray(part), shape) for part in (operation, sample, gap))
    return Spans(row, np.broadcast_to(np.asarray(state), shape), started, ended, *others)


def _together(*parts: Spans) -> Spans:
    """All spans that take any time, in order."""
    columns = Spans(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    order = np.lexsort((columns.started, columns.row))
    return columns.where(order[columns.ended[order] > columns.started[order]])


def _waits(ledger: Ledger, rows: Numbers, operations: RowOperations) -> Spans:
    """From asking to the end of the wait: opening and pinging, and what is between these."""
    of_wait = np.flatnonzero(
        _OF_WAIT[operations.kind] & (operations.started < ledger.left[operations.row])
    )
    row = operations.row[of_wait]
    starts, ends = operations.started[of_wait], operations.ended[of_wait]
    begun, over, before = _advance(ledger.asked, ledger.left, row, starts, ends)
    within = _spans(row, WAITING, begun, over, operation=of_wait)
    between = _spans(row, WAITING, before, np.maximum(begun, before))
    last = _last(ledger.asked, rows, row, np.maximum(over, before))
    return _together(within, between, _spans(rows, WAITING, last, ledger.left[rows]))


def _uses(ledger: Ledger, rows: Numbers, operations: RowOperations) -> tuple[Spans, Gaps]:
    """Operations in flight, where they overlap the earlier one, and the gaps between them."""
    lent = np.flatnonzero(ledger.is_granted[operations.row])
    row = operations.row[lent]
    starts, ends = operations.started[lent], operations.ended[lent]
    begun, over, before = _advance(ledger.left, ledger.over, row, starts, ends)
    is_busy = over > begun
    busy = _spans(row, BUSY, begun, over, operation=lent).where(is_busy)
    # The operation that ended where a gap begins: the last one that took any time.
    latest = np.where(is_busy, np.arange(len(row)), -1)
    latest = np.maximum.accumulate(latest) if len(latest) else latest
    earlier = np.concatenate(([-1], latest[:-1])) if len(latest) else latest
    after = np.where((earlier >= 0) & (row[earlier] == row), lent[earlier], -1) if len(row) else row
    has_gap = is_busy & (begun > before)
    last = _last(ledger.left, rows, row, np.maximum(over, before))
    at = _last_index(rows, row)
    closing = np.full(len(rows), -1)
    some = at >= 0
    place = latest[at[some]]
    closing[some] = np.where((place >= 0) & (row[place] == rows[some]), lent[place], -1)
    gaps = Gaps(
        np.concatenate((row[has_gap], rows)),
        np.concatenate((before[has_gap], last)),
        np.concatenate((begun[has_gap], ledger.over[rows])),
        np.concatenate((after[has_gap], closing)),
    )
    order = np.lexsort((gaps.started, gaps.row))
    order = order[gaps.ended[order] > gaps.started[order]]
    return busy, Gaps(*(column[order] for column in gaps))


def _with_blocks(busy: Spans, blocks: Blocks) -> Spans:
    """The spans of operations, cut where a block begins or ends."""
    within = np.flatnonzero(np.isin(busy.row, blocks.row))
    if not len(within):
        return busy
    some = busy.where(within)
    # Rows and instants in one number, as both are ordered: few rows have blocks.
    rows = np.unique(blocks.row)
    base = min(int(some.started.min()), int(blocks.started.min()))
    width = max(int(some.ended.max()), int(blocks.ended.max())) - base + 1
    place = np.searchsorted(rows, blocks.row) * width - base
    begins, ends = blocks.started + place, blocks.ended + place
    cuts = np.unique(np.concatenate((begins, ends)))
    offset = np.searchsorted(rows, some.row) * width - base
    first = np.searchsorted(cuts, some.started + offset, side="right")
    last = np.maximum(np.searchsorted(cuts, some.ended + offset, side="left"), first)
    pieces = last - first + 1
    whole = np.repeat(np.arange(len(some.row)), pieces)
    number = np.arange(len(whole)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    at = first[whole] + number
    lower = np.where(number > 0, cuts[np.maximum(at - 1, 0)] - offset[whole], some.started[whole])
    is_last = number == pieces[whole] - 1
    upper = np.where(
        is_last, some.ended[whole], cuts[np.minimum(at, len(cuts) - 1)] - offset[whole]
    )
    block = np.searchsorted(begins, lower + offset[whole], side="right") - 1
    is_blocked = (block >= 0) & (ends[np.maximum(block, 0)] > lower + offset[whole])
    parts = some.where(whole)._replace(
        state=np.where(is_blocked, BLOCKED, BUSY), started=lower, ended=upper
    )
    rest = np.ones(len(busy.row), bool)
    rest[within] = False
    return _together(busy.where(rest), parts)


def _advance(
    first: Numbers, end: Numbers, row: Numbers, starts: Numbers, ends: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    """Where each of some intervals begins and ends if earlier ones of its row come before it.

    The row goes from ``first`` to ``end``. The third is how far the row was covered before: it has
    a gap where that is less. An interval that is covered, or takes no time, begins where it ends.
    """
    least, most = first[row], end[row]
    over = np.minimum(ends, most)
    over = np.where((over > starts) & (over > least), over, least)
    covered = running_maximum(row, over)
    before = _shifted(row, covered, least)
    begun = np.minimum(np.maximum(starts, before), np.maximum(over, before))
    return begun, np.where(over > before, over, begun), before


def running_maximum(group: Numbers, values: Numbers) -> Numbers:
    """The greatest value of the group up to each; groups follow one another."""
    if not len(values):
        return values
    low = values.min()
    width = int(values.max() - low) + 1
    starts = np.concatenate(([True], group[1:] != group[:-1]))
    place = np.cumsum(starts) - 1
    if width * (int(place[-1]) + 1) < 2**62:
        found: Numbers = np.maximum.accumulate(values - low + place * width)
        found -= place * width - low
        return found
    parts = np.split(values, np.flatnonzero(starts)[1:])
    return np.concatenate([np.maximum.accumulate(part) for part in parts])


def _shifted(group: Numbers, values: Numbers, first: Numbers) -> Numbers:
    """The value before each in its group, of the first ones ``first``."""
    if not len(values):
        return values
    is_first = np.concatenate(([True], group[1:] != group[:-1]))
    return np.where(is_first, first, np.concatenate((values[:1], values[:-1])))


def _last_index(rows: Numbers, row: Numbers) -> Numbers:
    """The last of the entries of each row, negative where there is none."""
    at = np.searchsorted(row, rows, side="right") - 1
    return np.where((at >= 0) & (row[at] == rows), at, -1) if len(row) else np.full(len(rows), -1)


def _last(first: Numbers, rows: Numbers, row: Numbers, covered: Numbers) -> Numbers:
    """How far each row is covered by its intervals in the end."""
    at = _last_index(rows, row)
    whole = running_maximum(row, covered)
    return np.where(at >= 0, whole[at], first[rows]) if len(row) else first[rows]


def _sampled(gaps: Gaps, samples: RowSamples) -> Spans:
    """The stretches of gaps that are nearer to one sample than to any other, none of them empty."""
    gap = _gap_of(gaps, samples)
    chosen = np.flatnonzero(gap >= 0)
    gap = gap[chosen]
    if not len(chosen):
        return _spans(gap, gap, gap, gap)
    ends = gaps.ended[gap]
    has_next = np.concatenate((gap[1:] == gap[:-1], [False]))
    following = np.concatenate((samples.started[chosen][1:], [NEVER]))
    seen = samples.ended[chosen]
    seen = np.where(seen == NEVER, following, seen)
    middle = np.rint(seen / 2 + following / 2).astype(np.int64)
    change = np.where(has_next, np.minimum(middle, ends), ends)
    reached = running_maximum(gap, change)
    before = _shifted(gap, reached, gaps.started[gap])
    state = _STATE_OF[samples.activity[chosen]]
    ended = np.maximum(change, before)
    return _spans(gaps.row[gap], state, before, ended, sample=chosen, gap=gap)


def _gap_of(gaps: Gaps, samples: RowSamples) -> Numbers:
    """The gap that each sample fell into, negative where it fell into none."""
    if not len(gaps.row) or not len(samples.row):
        return np.full(len(samples.row), -1)
    # Both are in the order of their rows and starts, so ranks will do for a search by both.
    order = np.lexsort(
        (
            np.concatenate((np.zeros(len(gaps.row)), np.ones(len(samples.row)))),
            np.concatenate((gaps.started, samples.started)),
            np.concatenate((gaps.row, samples.row)),
        )
    )
    is_gap = order < len(gaps.row)
    latest = np.empty(len(order), np.int64)
    latest[order] = np.cumsum(is_gap) - 1
    at = latest[len(gaps.row) :]
    inside = (at >= 0) & (gaps.row[at] == samples.row) & (samples.started < gaps.ended[at])
    return np.where(inside, at, -1)


class Split(NamedTuple):
    """The microseconds of each checkout, by what they were spent on.

    ``unsampled`` are those of gaps that no sample fell into.
    """

    queueing: Numbers
    connecting: Numbers
    pinging: Numbers
    busy: Numbers
    blocked: Numbers
    parked: Numbers
    running: Numbers
    ready: Numbers
    unsampled: Numbers


def unlooked(ledger: Ledger) -> Split:
    """Every checkout as if it were over and without a sample: the recorder added these up."""
    use = np.where(ledger.is_granted, ledger.over - ledger.left, 0)
    busy = np.minimum(ledger.busy, use)
    blocked, parked, running, ready = (np.zeros(len(ledger), np.int64) for _ in range(4))
    queueing = ledger.left - ledger.asked - ledger.connecting - ledger.pinging
    connecting, pinging = ledger.connecting.copy(), ledger.pinging.copy()
    gaps = parked, running, ready, use - busy
    return Split(queueing, connecting, pinging, busy, blocked, *gaps)


def worth_a_look(ledger: Ledger) -> Numbers:
    """The rows whose split is not known without cutting them: sampled, blocked, or not over."""
    chosen = ~ledger.is_closed
    chosen[ledger.samples.row] = True
    chosen[blocks_of(ledger).row] = True
    return np.flatnonzero(chosen)


def look(ledger: Ledger, split: Split, found: Cut, rows: Numbers) -> None:
    """Correct the split of the rows that were cut."""
    spans, kinds = found.spans, found.operations.kind
    number = len(ledger)

    def total(chosen: Flags) -> Numbers:
        sums = np.bincount(spans.row[chosen], spans.duration[chosen], number)
        return np.rint(sums[rows]).astype(np.int64)

    is_wait = spans.state == WAITING
    goes_on = ~ledger.is_closed[rows]
    kind = np.where(spans.operation >= 0, kinds[spans.operation] if len(kinds) else -1, -1)
    for name, column in ((_CONNECT, split.connecting), (_PING, split.pinging)):
        column[rows] = np.where(goes_on, total(is_wait & (kind == name)), column[rows])
    split.queueing[rows] = (ledger.left - ledger.asked - split.connecting - split.pinging)[rows]
    for state, column in zip((BLOCKED, *GAPS), split[4:8], strict=True):
        column[rows] = total(spans.state == state)
    split.unsampled[rows] = total(spans.state == UNSAMPLED)
    others = sum(column[rows] for column in split[4:])
    use = np.where(ledger.is_granted, ledger.over - ledger.left, 0)[rows]
    split.busy[rows] = np.maximum(use - others, 0)


_CONNECT, _PING = KINDS.index(OperationKind.CONNECT), KINDS.index(OperationKind.PING)
