"""starved-loop: the owner of a connection could go on, but another task had the event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State
from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import GapKind
from poolhog.analysis.findings.meaning import NamedLine, innermost_line
from poolhog.analysis.thresholds import Threshold

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


class StarvedLoop(GapKind[InOneGo]):
    """The line is the one with the most time, of those of the function that ran in one go."""

    name = "starved-loop"
    thresholds = (STARVED_S,)
    is_hog = True

    def claims(self, piece: Piece, lifetime: Lifetime) -> bool:
        """Whether the owner was ready."""
        return piece.state is State.READY

    def line(self, piece: Piece, lifetime: Lifetime) -> NamedLine:
        """The innermost line of the application that ran instead."""
        return NamedLine(innermost_line(piece.seen) or lifetime.checkout.site)

    def occurrences(
        self, claimed: Sequence[Claimed], lifetime: Lifetime, thresholds: Thresholds
    ) -> Iterator[Occurrence]:
        """What ran in one go instead of the owner, each time that was long."""
        for run in _in_one_go([piece for piece, _ in claimed]):
            if run[-1].ended - run[0].started < thresholds[STARVED_S]:
                continue
            longest = max(run, key=lambda piece: piece.seconds)
            line = innermost_line(longest.seen)
            if line is None:
                continue  # a thread, which has no loop, or a loop that could not be seen
            yield Occurrence(
                line=NamedLine(line, _below(longest.seen, line)),
                spans=[(piece.started, piece.ended) for piece in run],
                key=f"{line.file}:{line.function}",
            )

    def evidence(self, entry: Entry, totals: Totals) -> InOneGo:
        """How long it ran in one go."""
        return InOneGo(entry.longest)


STARVED_LOOP = StarvedLoop()


def _in_one_go(ready: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces that follow one another in which the same function ran."""
    run: list[Piece] = []
    for piece in ready:
        if run and not (
            run[-1].ended == piece.started and _function(run[-1].seen) == _function(piece.seen)
        ):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _function(site: Site | None) -> tuple[str, str] | None:
    line = innermost_line(site)
    return (line.file, line.function) if line is not None else None


def _below(site: Site | None, line: Site) -> tuple[Site, ...]:
    """What was called from a line of the stack, the innermost last."""
    if site is None:
        return ()
    stack = site.stack
    return stack[: stack.index(line)][::-1]
