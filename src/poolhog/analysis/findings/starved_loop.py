"""starved-loop: owners of connections cannot go on, as one call keeps the event loop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State
from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import GapKind
from poolhog.analysis.findings.lines import NamedLine, outermost_line, same_line
from poolhog.analysis.stacks import innermost_line
from poolhog.analysis.thresholds import Threshold
from poolhog.model import Activity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.findings.finding import Claimed
    from poolhog.analysis.findings.meaning import Lifetime, Piece
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Site

STARVED_S = Threshold("starved_s", 0.1)
"""How long the other task ran in one go while a checkout was ready."""


@dataclass(frozen=True, slots=True)
class InOneGo:
    """The longest time for which it ran in one go."""

    longest: float


MOST = 0.8
"""The part of a stretch for which a line must have been the same to be named."""

_TOUCHING_S = 2e-6


class StarvedLoop(GapKind[InOneGo]):
    """The line is the innermost one of those that were the same nearly all of the time."""

    name = "starved-loop"
    thresholds = (STARVED_S,)
    is_hog = True

    def claims(self, piece: Piece, lifetime: Lifetime) -> bool:
        """Whether the owner was ready, or kept the others from going on."""
        if piece.state is State.READY:
            return True
        # One that nobody gives back is lost, whatever its owner does afterwards.
        is_lost = lifetime.lost_from is not None and piece.started >= lifetime.lost_from
        return is_blocking(piece) and not is_lost

    def line(self, piece: Piece, lifetime: Lifetime) -> NamedLine:
        """The innermost line of the application that ran instead."""
        return NamedLine(innermost_line(piece.seen) or lifetime.checkout.site)

    def occurrences(
        self, claimed: Sequence[Claimed], lifetime: Lifetime, thresholds: Thresholds
    ) -> Iterator[Occurrence]:
        """What ran in one go instead of the owner, each time that was long."""
        found: list[tuple[NamedLine, Site, list[tuple[float, float]]]] = []
        for run in _in_one_go([piece for piece, _ in claimed]):
            started, ended = run[0].started, run[-1].ended
            if ended - started < thresholds[STARVED_S]:
                continue
            if lifetime.is_in_loop_wait((started + ended) / 2):
                continue  # a finding of its own
            line = _line_of(run)
            if line.site is None:
                continue
            for _, site, runs in found:
                if same_line(site, line.site):
                    runs.append((started, ended))
                    break
            else:
                found.append((line, line.site, [(started, ended)]))
        for line, _, runs in found:
            longest = max(ended - started for started, ended in runs)
            yield Occurrence(line, runs, (InOneGo(longest),))

    def evidence(self, entry: Entry, totals: Totals) -> InOneGo:
        """How long it ran in one go."""
        return max(entry.noted(InOneGo), key=lambda go: go.longest, default=InOneGo(entry.longest))


STARVED_LOOP = StarvedLoop()


def is_blocking(piece: Piece) -> bool:
    """Whether the owner kept its event loop from going on."""
    return piece.activity is Activity.BLOCKING


def _in_one_go(claimed: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces that follow one another in which one call ran.

    Its outermost line stays the same, whatever it calls, and its samples touch each other.
    """
    run: list[Piece] = []
    for piece in claimed:
        if piece.seen is None:
            continue  # a thread, which has no loop, or a loop that could not be seen
        if run and not (run[-1].ended == piece.started and _goes_on(run[-1], piece)):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _goes_on(before: Piece, after: Piece) -> bool:
    """Whether both are of one call."""
    if before.sample is after.sample:
        return True
    ended = before.sample.ended if before.sample is not None else None
    if ended is None or after.sample is None or after.sample.started - ended > _TOUCHING_S:
        return False
    one, other = outermost_line(before.seen), outermost_line(after.seen)
    return one is not None and other is not None and same_line(one, other)


def _line_of(run: Sequence[Piece]) -> NamedLine:
    """The innermost line of the application that was the same for most of a run."""
    whole = math.fsum(piece.seconds for piece in run)
    seconds: dict[tuple[Site | None, ...], float] = {}
    for piece in run:
        outer = _outer_lines(piece.seen)
        for depth in range(1, len(outer) + 1):
            seconds[outer[:depth]] = seconds.get(outer[:depth], 0.0) + piece.seconds
    named = [lines for lines, lasted in seconds.items() if lasted >= MOST * whole]
    if not named:
        return NamedLine(None)
    lines = max(named, key=len)
    longest = max(
        (piece for piece in run if _outer_lines(piece.seen)[: len(lines)] == lines),
        key=lambda piece: piece.seconds,
    )
    return NamedLine(lines[-1], _below(longest.seen, lines[-1]))


def _outer_lines(site: Site | None) -> tuple[Site, ...]:
    """The lines of the application, the outermost first; if there are none, all lines."""
    stack = site.stack[::-1] if site is not None else ()
    return tuple(frame for frame in stack if frame.is_application) or stack


def _below(site: Site | None, line: Site | None) -> tuple[Site, ...]:
    """What was called from a line of the stack, the innermost last."""
    if site is None or line is None:
        return ()
    stack = site.stack
    return stack[: stack.index(line)][::-1]
