"""What an instant of a gap was, by where it lies in the life of the checkout and its request."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State, end_of
from poolhog.analysis.findings.finding import FindingKind
from poolhog.analysis.findings.where import Where, departure, same_line
from poolhog.model import Activity, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolhog.analysis.findings.pieces import Piece
    from poolhog.model import Checkout, Request, Sample, Site

    Span = tuple[float, float]

_PASSES_ON = re.compile(r"\bawait (?:self\.)?_?send\(")
_MAIN_THREAD = "MainThread"
_WEBSOCKET_CALLS = ("receive", "send", "iter_")


@dataclass(slots=True)
class Nested:
    """When an owner asked for and had another connection, of then ``depth`` in all.

    ``spans`` are the parts of it in which the first one was parked.
    """

    started: float
    ended: float
    where: Where
    depth: int
    spans: list[Span] = field(default_factory=list)


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
    if checkout.request is not None:
        is_over = checkout.request.ended is not None
        return is_over and (seen is None or not _is_at_work(seen))
    # A process that exits normally has come to the end of its main thread. Another owner that was
    # seen at last may have gone on until then.
    is_over = checkout.pool.process.finished
    return is_over and (seen is None or checkout.owner == _MAIN_THREAD)


def _is_gone(seen: Sample) -> bool:
    return seen.activity is Activity.PARKED and seen.site is None


def _is_at_work(seen: Sample) -> bool:
    """Whether it is in code of the application; a thread of a pool may be at rest."""
    frames = seen.site.stack if seen.site is not None else ()
    return any(frame.is_application for frame in frames)


class Moments:
    """The moments of one checkout from which on a gap is something else.

    ``nested`` are the others that its owner had meanwhile. ``lost_from`` is when the application
    had used it for the last time, if it was never returned. ``dependency`` is where the one is
    defined that gave it back when it was closed.
    """

    def __init__(self, checkout: Checkout, until: float, nested: Sequence[Nested]) -> None:
        self._checkout = checkout
        self._nested = nested
        request = checkout.request
        responding = request.responding if request is not None else None
        self._responded = _responded(checkout, request)
        self.lost_from = _last_use(checkout) if is_lost(checkout) else None
        self.dependency = _dependency(checkout) if self._responded is not None else None
        end = end_of(checkout, until)
        instants = {responding, self._responded, self.lost_from}
        instants.update(instant for one in nested for instant in (one.started, one.ended))
        self._cuts = sorted(i for i in instants if i is not None and checkout.asked < i < end)

    @property
    def is_one(self) -> bool:
        """Whether no gap is something else than another: each is at the most parked."""
        return not self._cuts and self.lost_from is None

    def cut(self, found: Iterable[Piece]) -> Iterable[Piece]:
        """The pieces, cut where they become something else."""
        return self._cut(found) if self._cuts else found

    def kind(self, piece: Piece) -> FindingKind | None:
        """What it means that the connection was not used then; ``None``: nothing.

        An owner that is ready is not asked about here. One that was not seen may have been parked.
        """
        at = piece.started
        if self.lost_from is not None and at >= self.lost_from and self._is_gone(piece):
            return FindingKind.NEVER_RETURNED
        if self._responded is not None and at >= self._responded:
            return FindingKind.HELD_AFTER_RESPONSE
        if piece.state is State.RUNNING:
            return None
        if self._nested and self.nested_at(at) is not None:
            return FindingKind.NESTED_CHECKOUT
        if self._is_streaming(piece):
            return FindingKind.HELD_WHILE_STREAMING
        return FindingKind.PARKED_CHECKOUT

    def where(self, kind: FindingKind, seen: Site | None, reference: Site | None) -> Where:
        """The line to change, if the owner was seen there after what it did at ``reference``."""
        asked_at = self._checkout.site
        if kind is FindingKind.NEVER_RETURNED:
            return Where(asked_at)
        found = departure(seen, reference)
        if kind is FindingKind.HELD_AFTER_RESPONSE and self.dependency is not None:
            below = found.awaiting if found.site is None else (found.site, *found.awaiting)
            return Where(self.dependency, below, is_dependency=True)
        if found.site is None:
            return Where(asked_at, found.awaiting)
        if kind is not FindingKind.PARKED_CHECKOUT and _only_passes_on(found.site, reference):
            return Where(asked_at, (found.site, *found.awaiting))
        return found

    def nested_at(self, instant: float) -> Nested | None:
        """What the owner had besides at this instant."""
        return next((one for one in self._nested if one.started <= instant < one.ended), None)

    def _cut(self, found: Iterable[Piece]) -> Iterator[Piece]:
        for piece in found:
            at = piece.started
            first = bisect_right(self._cuts, at)
            for instant in self._cuts[first : bisect_left(self._cuts, piece.ended)]:
                yield piece.cut(at, instant)
                at = instant
            yield piece.cut(at, piece.ended) if at > piece.started else piece

    def _is_gone(self, piece: Piece) -> bool:
        """Whether the owner was not there any more, or had answered."""
        has_answered = self._responded is not None and piece.started >= self._responded
        return has_answered or piece.seen is None

    def _is_streaming(self, piece: Piece) -> bool:
        """Of a websocket, only sending and receiving is: the rest is work like any other."""
        request = self._checkout.request
        if request is None or request.responding is None or piece.started < request.responding:
            return False
        if request.responded is not None and piece.started >= request.responded:
            return False
        if request.kind != "websocket":
            return True
        frames = piece.seen.stack if piece.seen is not None else ()
        return any(
            not frame.is_application
            and frame.function.rpartition(".")[2].startswith(_WEBSOCKET_CALLS)
            for frame in frames
        )


def _responded(checkout: Checkout, request: Request | None) -> float | None:
    """When the response was sent, of a checkout that was asked for before; without, the end."""
    if request is None:
        return None
    instant = request.responded if request.responded is not None else request.ended
    return instant if instant is not None and checkout.asked < instant else None


def _dependency(checkout: Checkout) -> Site | None:
    returned = checkout.returned
    if returned is None or checkout.request is None:
        return None
    for stage in checkout.request.stages:
        over = stage.ended if stage.ended is not None else returned
        if stage.site is not None and stage.started <= returned <= over:
            return stage.site
    return None


def _last_use(checkout: Checkout) -> float:
    """The end of the last operation that the application asked for."""
    granted = checkout.granted if checkout.granted is not None else checkout.asked
    asked_for = (o for o in checkout.operations if o.site is not None and o.ended is not None)
    return max([granted, *(operation.ended or granted for operation in asked_for)])


def _only_passes_on(site: Site, reference: Site | None) -> bool:
    """Whether it is a middleware: on the way to the statement before, or of what is sent."""
    led_there = reference is not None and any(same_line(site, frame) for frame in reference.stack)
    return led_there or _PASSES_ON.search(site.source) is not None
