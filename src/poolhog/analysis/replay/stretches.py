"""The uses of checkouts that were looked at, as stretches of one state."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis import spans
from poolhog.analysis.blocks import blocks_of
from poolhog.analysis.findings.lines import departure
from poolhog.analysis.ledger import KINDS, NEVER, OUTCOMES
from poolhog.analysis.replay.steps import ENDINGS, READY, StepKind
from poolhog.analysis.shares import Shares
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from poolhog.analysis.ledger import Flags, Ledger, Numbers
    from poolhog.analysis.replay.locks import ReplayedLocks
    from poolhog.analysis.replay.overlapping import Compiler
    from poolhog.analysis.spans import Cut
    from poolhog.model import Site

    Instants = NDArray[np.float64]

_AT_ONCE = 100_000
"""Checkouts that are cut at once."""

_FEW_OPERATIONS = 200
"""Operations of a checkout that are one stretch in the middle of its use; more are replayed."""

_NEAR = 10
"""Operations before a gap of which one tells where the owner was: as in findings."""

_KIND_OF_STATE = np.zeros(len(spans.STATES) + 1, np.int64)
_KIND_OF_STATE[
    [spans.BUSY, spans.BLOCKED, spans.PARKED, spans.RUNNING, spans.READY, spans.UNSAMPLED]
] = [
    *(StepKind.BUSY, StepKind.BUSY, StepKind.PARK),
    *(StepKind.RUN, StepKind.REST, StepKind.RUN),
]


class Stretches(NamedTuple):
    """Stretches of uses, in the order of their rows and of their start, without holes.

    ``at`` is microseconds since the process began, ``kind`` and ``what`` are a step's. ``LOCK`` and
    ``UNLOCK`` are marks: they last no time, but for a wait, which lasts as long as it is made to.
    """

    row: Numbers
    at: Instants
    kind: Numbers
    what: Numbers


def is_looked_at(ledger: Ledger) -> Flags:
    """Which checkouts have more to them than when they were lent, and how long they were busy."""
    looked: Flags = ledger.outcome != OUTCOMES.index(Outcome.RETURNED)
    looked |= ~(ledger.is_granted & ledger.is_returned) | (ledger.connecting > 0)
    looked |= ledger.busy > ledger.over - ledger.left
    looked[ledger.samples.row] = True
    blocks = blocks_of(ledger)
    looked[blocks.row] = looked[blocks.blocker[blocks.blocker >= 0]] = True
    looked[ledger.rows_with_more_operations(_FEW_OPERATIONS)] = True
    of_request = ledger.request >= 0
    looked[of_request] |= ledger.requests.ended[ledger.request[of_request]] == NEVER
    return looked


def running_at_sites(ledger: Ledger, rows: Numbers) -> Instants:
    """By site, the part of unsampled gaps in which Python was executed."""
    shares = Shares(ledger)
    sampled = rows[np.isin(rows, ledger.samples.row)]
    for first in range(0, len(sampled), _AT_ONCE):
        shares.learn(ledger, spans.cut(ledger, sampled[first : first + _AT_ONCE]))
    return shares.of_sites[:, spans.GAPS.index(spans.RUNNING)]


def stretches_of(
    ledger: Ledger,
    rows: Numbers,
    running: Instants,
    compiler: Compiler,
    place: Callable[[Site | None], int],
    locks: ReplayedLocks,
) -> Stretches:
    """The stretches of some rows, which are in order, and closed."""
    parts = [
        _stretches(ledger, rows[first : first + _AT_ONCE], running, compiler, place, locks)
        for first in range(0, max(len(rows), 1), _AT_ONCE)
    ]
    return _joined(parts)


def _stretches(
    ledger: Ledger,
    rows: Numbers,
    running: Instants,
    compiler: Compiler,
    place: Callable[[Site | None], int],
    locks: ReplayedLocks,
) -> Stretches:
    found = spans.cut(ledger, rows)
    singly = _is_changing(ledger, rows, found)
    used = found.spans.where((found.spans.state != spans.WAITING) & ~singly[found.spans.row])
    kind = _KIND_OF_STATE[used.state]
    if len(found.operations.kind):
        is_end = np.isin(found.operations.kind[used.operation], _ENDS) & (used.operation >= 0)
        kind[is_end] = StepKind.FINISH
    what = np.where(used.state == spans.READY, READY, 0)
    parked = np.flatnonzero(used.state == spans.PARKED)
    what[parked] = _places(ledger, found, used.where(parked), place)
    part = running[ledger.site[used.row]]
    untold = np.flatnonzero((used.state == spans.UNSAMPLED) & (part < 1))
    part = part[untold]
    rest = Stretches(
        used.row[untold],
        used.started[untold] + used.duration[untold] * part,
        np.full(len(untold), StepKind.REST.value),
        np.zeros(len(untold), np.int64),
    )
    blocked = np.flatnonzero(used.state == spans.BLOCKED)
    lock = locks.of(used.row[blocked], used.started[blocked])
    blocked, lock = blocked[lock >= 0], lock[lock >= 0]
    kind[blocked], what[blocked] = StepKind.LOCK, lock
    known = Stretches(used.row, used.started.astype(float), kind, what)
    parts = [_lock_marks(known, locks), known, rest, _singly(ledger, rows[singly[rows]], compiler)]
    joined = _joined(parts)
    order = np.lexsort((joined.at, joined.row))
    row, at, kind, what = joined
    return Stretches(row[order], at[order], kind[order], what[order])


def _lock_marks(known: Stretches, locks: ReplayedLocks) -> Stretches:
    """Where locks are taken and given back, as far as a stretch begins there."""
    marks = locks.marks
    begun = set(zip(known.row.tolist(), known.at.tolist(), strict=True))
    pairs = zip(marks.row.tolist(), marks.at.tolist(), strict=True)
    some = np.array([pair in begun for pair in pairs], bool)
    return Stretches(marks.row[some], marks.at[some] * 1.0, marks.kind[some], marks.lock[some])


def _joined(parts: Sequence[Stretches]) -> Stretches:
    return Stretches(*(np.concatenate(column) for column in zip(*parts, strict=True)))


_ENDS = [KINDS.index(kind) for kind in ENDINGS]


def _is_changing(ledger: Ledger, rows: Numbers, found: Cut) -> Flags:
    """Which checkouts were parked, and did not mean the same by that all the time.

    They were collected, or the response began during them; by row.
    """
    is_parked = np.zeros(len(ledger), bool)
    is_parked[found.spans.row[found.spans.state == spans.PARKED]] = True
    change = np.full(len(ledger), NEVER)
    requests, of_request = ledger.requests, ledger.request >= 0
    number = ledger.request[of_request]
    answered = np.minimum(requests.responded, requests.ended)
    change[of_request] = np.minimum(requests.responding, answered)[number]
    changing = is_parked & (change < ledger.over)
    changing[rows] |= ledger.outcome[rows] == OUTCOMES.index(Outcome.COLLECTED)
    return changing


def _places(
    ledger: Ledger, found: Cut, parked: spans.Spans, place: Callable[[Site | None], int]
) -> Numbers:
    """The places of spans that are parked, and mean nothing else."""
    sites = ledger.sites
    keys = np.stack(
        (
            found.samples.site[parked.sample],
            _references(ledger, found)[parked.gap],
            ledger.site[parked.row],
        ),
        axis=1,
    )
    triples, which = np.unique(keys, axis=0, return_inverse=True)
    numbers = [
        place(departure(sites[seen], sites[before]).site or sites[asked])
        for seen, before, asked in triples.tolist()
    ]
    return np.array(numbers, np.int64)[which.ravel()]


def _references(ledger: Ledger, found: Cut) -> Numbers:
    """Where the last operation before each gap was asked for, or else the connection."""
    operations, gaps = found.operations, found.gaps
    number = len(operations.row)
    order = np.lexsort(
        (
            np.concatenate((np.zeros(number), np.ones(len(gaps.row)))),
            np.concatenate((operations.started, gaps.started)),
            np.concatenate((operations.row, gaps.row)),
        )
    )
    is_operation = order < number
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(is_operation) - 1
    latest = place[number:]
    sited = np.where(operations.site > 0, np.arange(number), -1)
    before = np.maximum.accumulate(sited)[latest] if number else latest
    is_near = (latest >= 0) & (before >= 0) & (before > latest - _NEAR)
    is_near[is_near] = operations.row[before[is_near]] == gaps.row[is_near]
    asked_at = ledger.site[gaps.row]
    asked_at[is_near] = operations.site[before[is_near]]
    return asked_at


def _singly(ledger: Ledger, rows: Numbers, compiler: Compiler) -> Stretches:
    began = ledger.process.began
    found = [
        # Digest microseconds, but for where an unsampled gap is split.
        (row, round((segment.started - began) * 1e6, 3), segment.kind or 0, segment.what)
        for row, checkout in zip(rows.tolist(), ledger.checkouts(rows), strict=True)
        for segment in compiler.segments(checkout)
    ]
    row, at, kind, what = np.array(found, float).reshape(-1, 4).T
    return Stretches(row.astype(np.int64), at, kind.astype(np.int64), what.astype(np.int64))
