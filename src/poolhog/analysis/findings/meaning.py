"""What an instant of a gap means: by where it lies in the life of its checkout and request."""

from __future__ import annotations

import functools
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import end_of
from poolhog.analysis.findings.pieces import around
from poolhog.model import Activity, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolhog.analysis.findings.pieces import Around, Piece
    from poolhog.model import Checkout, Request, Sample, Site

_PASSES_ON = re.compile(r"\bawait (?:self\.)?_?send\(")
_MAIN_THREAD = "MainThread"


@dataclass(frozen=True, slots=True)
class Nested:
    """When an owner asked for and had another connection; it then had ``depth`` in all."""

    started: float
    ended: float
    line: NamedLine
    depth: int


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


class Lifetime:
    """The instants in the life of a checkout at which the meaning of its gaps changes.

    ``nested`` are the other checkouts that its owner had meanwhile. ``responded`` is when the
    response was sent, ``None`` if that was not after the asking. ``lost_from`` is when the
    application used a connection for the last time that was never returned, ``None`` if it was.
    ``end`` is when the checkout was over, or ``until`` if it is open.
    """

    def __init__(self, checkout: Checkout, until: float, nested: Sequence[Nested] = ()) -> None:
        self.checkout = checkout
        self.nested = nested
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


@dataclass(frozen=True, slots=True)
class NamedLine:
    """The line to change, and what was called from there, the innermost last.

    If it ``is_dependency``, it is where the dependency is defined that keeps the connection.
    """

    site: Site | None
    awaiting: tuple[Site, ...] = ()
    is_dependency: bool = False


NOWHERE = NamedLine(None)


@functools.lru_cache(maxsize=10_000)
def departure(seen: Site | None, before: Site | None) -> NamedLine:
    """The first line of the application in which ``seen`` differs from the stack ``before`` it.

    Both are walked from the outermost frame inwards; the frames that they share led to both. So the
    line is in the function that did both, or in the outermost one that did only the second. If all
    lines are the same, it is the innermost line of the application.
    """
    if seen is None:
        return NOWHERE
    frames = seen.stack[::-1]
    lines = [index for index, frame in enumerate(frames) if frame.is_application]
    if not lines:
        return NamedLine(None, frames)
    common = 0
    known = [frame for frame in before.stack[::-1] if frame.is_application] if before else []
    for index, frame in zip(lines[:-1], known, strict=False):
        if not same_line(frames[index], frame):
            break
        common += 1
    at = lines[common]
    return NamedLine(frames[at], frames[at + 1 :])


def same_line(one: Site, other: Site) -> bool:
    """Whether both are the same line of the same function, whoever called it."""
    return (one.line, one.function, one.file) == (other.line, other.function, other.file)


def innermost_line(site: Site | None) -> Site | None:
    """The innermost line of the application; if there is none, the innermost line."""
    if site is None:
        return None
    return next((frame for frame in site.stack if frame.is_application), site)
