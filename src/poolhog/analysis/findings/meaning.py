"""The parts of gaps, and what they mean: by where they lie in a checkout's and request's life."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.accounting import end_of
from poolhog.analysis.findings.lines import NamedLine, departure, is_elsewhere, same_line
from poolhog.analysis.ledger import KINDS
from poolhog.analysis.spans import STATES, UNSAMPLED
from poolhog.model import Activity, OperationKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolhog.analysis.accounting import State
    from poolhog.analysis.ledger import Flags, Ledger, Numbers
    from poolhog.analysis.spans import Cut
    from poolhog.model import Checkout, Operation, Request, Sample, Site

_NEAR = 10
"""Operations around a gap that are looked at: more than a library's own between two others."""


class Gap(NamedTuple):
    """The time between two operations, in seconds on the run's clock."""

    started: float
    ended: float


class Piece(NamedTuple):
    """A piece of a ``gap``. Without a ``sample``, nothing is known about it; its state is ``None``.

    Instants are seconds on the run's clock.
    """

    state: State | None
    started: float
    ended: float
    sample: Sample | None
    gap: Gap

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.started

    @property
    def seen(self) -> Site | None:
        """Where the owner was, if it was seen; when it was ready, what ran instead."""
        return self.sample.site if self.sample is not None else None

    @property
    def activity(self) -> Activity | None:
        """What the owner was seen doing."""
        return self.sample.activity if self.sample is not None else None

    def cut(self, started: float, ended: float) -> Piece:
        """A piece of the piece."""
        return self._replace(started=started, ended=ended)


class Around(NamedTuple):
    """What a gap lies between; ``reference`` is the stack of what was asked for before it."""

    reference: Site | None
    before: Operation | None
    after: Operation | None


class Surroundings(NamedTuple):
    """By gap, the operations around it as indexes, negative where there is none nearby.

    ``reference`` is the last one before it that has a site, ``before`` and ``after`` are the ones
    next to it that a reader would know by name: not a BEGIN, nor what the pool does.
    """

    reference: Numbers
    before: Numbers
    after: Numbers


def piece_of(ledger: Ledger, found: Cut, span: int, checkout: Checkout) -> Piece:
    """The piece that a span of a gap is, of its checkout."""
    spans, gaps = found.spans, found.gaps
    state, sample, gap = int(spans.state[span]), int(spans.sample[span]), int(spans.gap[span])
    place = sample - int(np.searchsorted(found.samples.row, spans.row[span]))
    return Piece(
        None if state == UNSAMPLED else STATES[state],
        ledger.seconds(int(spans.started[span])),
        ledger.seconds(int(spans.ended[span])),
        checkout.samples[place] if sample >= 0 else None,
        Gap(ledger.seconds(int(gaps.started[gap])), ledger.seconds(int(gaps.ended[gap]))),
    )


def surroundings(found: Cut) -> Surroundings:
    """The operations around all gaps that were cut."""
    gaps, operations = found.gaps, found.operations
    begun = _rank(operations.row, operations.started, gaps.row, gaps.started, side="right")
    coming = _rank(operations.row, operations.started, gaps.row, gaps.ended, side="left")
    is_trip = ~_NO_TRIP[operations.kind]
    return Surroundings(
        _near(begun - 1, operations.row, gaps.row, operations.site > 0, step=-1),
        _near(begun - 1, operations.row, gaps.row, is_trip, step=-1),
        _near(coming, operations.row, gaps.row, is_trip, step=1),
    )


_NO_TRIP = np.isin(np.array(KINDS), (OperationKind.BEGIN, OperationKind.RESET))


def _rank(row: Numbers, value: Numbers, rows: Numbers, values: Numbers, *, side: str) -> Numbers:
    """How many of some entries, ordered by row and value, come before each of some others."""
    order = np.lexsort(
        (
            np.concatenate((np.ones(len(row)), np.full(len(rows), 2 if side == "right" else 0))),
            np.concatenate((value, values)),
            np.concatenate((row, rows)),
        )
    )
    is_entry = order < len(row)
    found = np.empty(len(order), np.int64)
    found[order] = np.cumsum(is_entry)
    return found[len(row) :]


def _near(at: Numbers, row: Numbers, rows: Numbers, wanted: Flags, *, step: int) -> Numbers:
    """The first wanted entry of the row from an index on, of those nearby."""
    found = np.full(len(at), -1)
    for _ in range(_NEAR):
        is_there = (found < 0) & (at >= 0) & (at < len(row))
        some = np.flatnonzero(is_there)
        some = some[(row[at[some]] == rows[some]) & wanted[at[some]]]
        found[some] = at[some]
        at = at + step
    return found


def around(checkout: Checkout, gap: Gap) -> Around:
    """What the checkout did before and after a gap."""
    operations = checkout.operations
    first = bisect_right(operations, gap.started, key=_STARTED)
    following = bisect_left(operations, gap.ended, key=_STARTED)
    before = operations[max(first - _NEAR, 0) : first][::-1]
    return Around(
        next((operation.site for operation in before if operation.site is not None), checkout.site),
        _round_trip(before),
        _round_trip(operations[following : following + _NEAR]),
    )


_STARTED = attrgetter("started")


def _round_trip(operations: Sequence[Operation]) -> Operation | None:
    """The first that a reader would know by name: not a BEGIN, nor what the pool does."""
    for operation in operations:
        if operation.kind not in (OperationKind.BEGIN, OperationKind.RESET):
            return operation
    return None


_PASSES_ON = re.compile(r"\bawait (?:self\.)?_?send\(")
_MAIN_THREAD = "MainThread"
_LOOKS = 10
"""Looks that the sampler may miss, on a machine that is busy."""


@dataclass(frozen=True, slots=True)
class Nested:
    """When an owner asked for and had another connection; it then had ``depth`` in all.

    It ``is_stuck`` if it waited until the pool's timeout, or waits at the end of the trace.
    """

    started: float
    ended: float
    line: NamedLine
    depth: int
    is_stuck: bool = False


def is_lost(checkout: Checkout) -> bool:
    """Whether nobody is left to return the connection, or nobody was when it came back.

    One that is open at the end of the trace is not lost while its request or owner goes on.
    """
    if checkout.outcome is not Outcome.OPEN:
        return checkout.outcome is Outcome.COLLECTED
    # Its return may be among what could not be written.
    if checkout.pool.process.is_cut_off:
        return False
    last = checkout.operations[-1] if checkout.operations else None
    if last is not None and last.ended is None:
        return False
    began = last.started if last is not None else checkout.asked
    seen = next((s for s in checkout.samples[-1:] if s.started >= began), None)
    if seen is not None and _is_gone(seen):
        return True
    if checkout.request is None and seen is not None and is_at_rest(seen, checkout.site):
        return True
    if checkout.request is not None:
        is_over = checkout.request.ended is not None
        return is_over and (seen is None or not _is_at_work(seen, checkout.site))
    # A process that exits normally has come to the end of its main thread. Another owner that was
    # seen at last may have gone on until then.
    if not checkout.pool.process.finished:
        return False
    if checkout.owner == _MAIN_THREAD:
        return True
    return seen is None and not _used_at_last(checkout, last)


def _used_at_last(checkout: Checkout, last: Operation | None) -> bool:
    """Whether it was used so shortly before the process ended that nobody looked in between."""
    process = checkout.pool.process
    used = last.ended if last is not None and last.ended is not None else checkout.granted
    return used is not None and process.written - used < _LOOKS * process.sampling_interval


def _is_gone(seen: Sample) -> bool:
    is_gone = seen.activity is Activity.PARKED and seen.site is None
    return is_gone or seen.activity is Activity.IDLE


def is_at_rest(seen: Sample, asked_at: Site | None) -> bool:
    """Whether a thread of a pool, or of a scheduler, has left the function that asked."""
    if seen.activity is not Activity.PARKED or seen.site is None or asked_at is None:
        return False
    return not any(frame.is_application for frame in seen.site.stack)


def _is_at_work(seen: Sample, asked_at: Site | None) -> bool:
    """Whether it is in its code of the application; a thread of a pool may be at rest.

    The task that answers a request may be seen in place of one that is over.
    """
    frames = seen.site.stack if seen.site is not None else ()
    is_own = any(frame.is_application for frame in frames)
    return is_own and seen.site is not None and not is_elsewhere(seen.site, asked_at)


class Lifetime:
    """The instants in the life of a checkout at which the meaning of its gaps changes.

    ``nested`` are the other checkouts that its owner had meanwhile. ``responded`` is when the
    response was sent, ``None`` if that was not after the asking. ``lost_from`` is when the
    application used a connection for the last time that was never returned, ``None`` if it was.
    ``end`` is when the checkout was over, or ``until`` if it is open. ``loop_waits`` are waits for
    connections that kept an event loop of the process.
    """

    def __init__(
        self,
        checkout: Checkout,
        until: float,
        nested: Sequence[Nested] = (),
        loop_waits: Sequence[tuple[float, float]] = (),
    ) -> None:
        self.checkout = checkout
        self.nested = nested
        self._loop_waits = loop_waits
        self.end = end_of(checkout, until)
        request = checkout.request
        self.responded = _responded(checkout, request)
        self.lost_from = _last_use(checkout) if is_lost(checkout) else None
        responding = request.responding if request is not None else None
        instants = {responding, self.responded, self.lost_from}
        instants.update(instant for one in nested for instant in (one.started, one.ended))
        self._cuts = sorted(i for i in instants if i is not None and checkout.asked < i < self.end)

    @property
    def is_plain(self) -> bool:
        """Whether its gaps mean the same at each instant: nothing, or that its owner is parked."""
        return not self._cuts and self.lost_from is None

    def has_responded(self, instant: float) -> bool:
        """Whether the response had been sent by then."""
        return self.responded is not None and instant >= self.responded

    def is_in_loop_wait(self, instant: float) -> bool:
        """Whether the event loop was kept by a wait for a connection at this instant."""
        return any(asked <= instant < left for asked, left in self._loop_waits)

    def nested_at(self, instant: float) -> Nested | None:
        """Another checkout that the owner had at this instant."""
        return next((one for one in self.nested if one.started <= instant < one.ended), None)

    def cut(self, found: Iterable[Piece]) -> Iterable[Piece]:
        """The pieces of its gaps, cut where their meaning changes."""
        return self._cut(found) if self._cuts else found

    def around(self, piece: Piece) -> Around:
        """What the gap of a piece lies between."""
        return around(self.checkout, piece.gap)

    def line_of(self, piece: Piece) -> NamedLine:
        """The line at which the owner was after the operation before the gap.

        It is where the connection was asked for if no line of the application was seen.
        """
        return self._seen_or_asked(departure(piece.seen, self.around(piece).reference))

    def line_behind_middleware(self, piece: Piece) -> NamedLine:
        """The line at which the owner was, or where the connection was asked for.

        The latter if the line is that of a middleware: it led to the statement before the gap as
        well, or only passes on what is sent.
        """
        reference = self.around(piece).reference
        found = departure(piece.seen, reference)
        if found.site is not None and _only_passes_on(found.site, reference):
            return NamedLine(self.checkout.site, (found.site, *found.awaiting))
        return self._seen_or_asked(found)

    def _seen_or_asked(self, found: NamedLine) -> NamedLine:
        return found if found.site is not None else NamedLine(self.checkout.site, found.awaiting)

    def _cut(self, found: Iterable[Piece]) -> Iterator[Piece]:
        for piece in found:
            at = piece.started
            first = bisect_right(self._cuts, at)
            for instant in self._cuts[first : bisect_left(self._cuts, piece.ended)]:
                yield piece.cut(at, instant)
                at = instant
            yield piece.cut(at, piece.ended) if at > piece.started else piece


def _responded(checkout: Checkout, request: Request | None) -> float | None:
    """When the response was sent, of a checkout that was asked for before; without, the end."""
    if request is None:
        return None
    instant = request.responded if request.responded is not None else request.ended
    return instant if instant is not None and checkout.asked < instant else None


def _last_use(checkout: Checkout) -> float:
    """The end of the last operation that the application asked for."""
    granted = checkout.granted if checkout.granted is not None else checkout.asked
    asked_for = (o for o in checkout.operations if o.site is not None and o.ended is not None)
    return max([granted, *(operation.ended or granted for operation in asked_for)])


def _only_passes_on(site: Site, reference: Site | None) -> bool:
    led_there = reference is not None and any(same_line(site, frame) for frame in reference.stack)
    return led_there or _PASSES_ON.search(site.source) is not None
