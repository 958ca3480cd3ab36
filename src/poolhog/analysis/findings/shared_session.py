"""shared-session: two tasks or threads use one session or connection at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.findings.entry import Occurrence
from poolhog.analysis.findings.finding import FindingKind
from poolhog.analysis.findings.lines import NamedLine
from poolhog.analysis.stacks import innermost_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.model import Checkout, Sharing, Site


class Clash(NamedTuple):
    """The line of the operation that was in flight, and the line that wanted another one.

    If the connection was not there yet, ``using`` is where it was asked for. ``gathered`` is where
    one task waits for both; ``None``: it is not known.
    """

    using: Site | None
    wanting: Site | None
    gathered: Site | None


@dataclass(frozen=True, slots=True)
class Clashes:
    """How often each two lines used one connection at the same time."""

    lines: Mapping[Clash, float]


class SharedSession(FindingKind[Clashes]):
    """The line is where both tasks are waited for, or else where the second one wanted something.

    One occurrence is enough.
    """

    name = "shared-session"

    def occurrences(self, checkout: Checkout) -> Iterator[Occurrence]:
        """Each line that wanted the connection of a checkout while it was in use."""
        for sharing in checkout.sharings:
            gathered = innermost_line(sharing.gathered)
            wanting = innermost_line(sharing.site)
            clash = Clash(innermost_line(_in_use(checkout, sharing)), wanting, gathered)
            yield Occurrence(
                line=NamedLine(gathered or wanting),
                spans=[(sharing.at, sharing.at)],
                notes=(clash,),
                weight=1.0,
            )

    def evidence(self, entry: Entry, totals: Totals) -> Clashes:
        """The lines."""
        return Clashes(entry.noted(Clash))


SHARED_SESSION = SharedSession()


def _in_use(checkout: Checkout, sharing: Sharing) -> Site | None:
    """Where the operation was asked for that was in flight, or the connection."""
    for operation in checkout.operations:
        is_over = operation.ended is not None and operation.ended < sharing.at
        if operation.site is not None and operation.started <= sharing.at and not is_over:
            return operation.site
    return checkout.site
