"""Charges: which route waited for which, for what it did, and where."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolhog.model import Pool, Site

CONNECTING, PINGING, NOBODY = "connecting", "pinging", "nobody"
"""What is no state of a lent connection: one was opened or pinged; nobody was in the way."""

_MICROSECONDS = 1_000_000

Line = tuple[str, int, str]


class Charge(NamedTuple):
    """So long did requests of the ``waiting`` route wait because of what ``holding`` did.

    ``state`` is that of the connection, or ``connecting`` if it was being opened or pinged for
    ``holding``. Where ``holding`` is ``None``, they opened or pinged connections of their own
    (``connecting``, ``pinging``), or ``nobody`` was in the way. ``site`` is the line that a
    finding would name for it.
    """

    pool: Pool
    waiting: str
    holding: str | None
    state: str
    site: Site | None
    microseconds: int

    @property
    def seconds(self) -> float:
        """How long, added up."""
        return self.microseconds / _MICROSECONDS


@dataclass(frozen=True, slots=True)
class Blame:
    """All waiting of a run by who is to blame, the most seconds first."""

    charges: tuple[Charge, ...] = ()

    @property
    def total(self) -> float:
        """Seconds that were waited, whoever is to blame."""
        return sum(charge.microseconds for charge in self.charges) / _MICROSECONDS

    def made_wait(self) -> Mapping[str, float]:
        """Seconds that requests waited because of each route."""
        found: Counter[str] = Counter()
        for charge in self.charges:
            if charge.holding is not None:
                found[charge.holding] += charge.microseconds
        return {route: microseconds / _MICROSECONDS for route, microseconds in found.items()}

    def about(self, text: str) -> Blame:
        """Only what routes did or suffered whose names contain the text, in any case."""
        wanted = text.casefold()
        return Blame(
            tuple(
                charge
                for charge in self.charges
                if wanted in charge.waiting.casefold()
                or (charge.holding is not None and wanted in charge.holding.casefold())
            )
        )


NO_BLAME = Blame()


class Place(NamedTuple):
    """What a route did, where; equal lines are equal, whoever called them."""

    route: str
    line: Line | None


def line_of(site: Site | None) -> Line | None:
    """What sites at one line of code have in common, whoever called it."""
    return (site.file, site.line, site.function) if site is not None else None


def most_first(charge: Charge) -> tuple[int, str, str, str, str, Line]:
    """Sorts charges: those that made others wait longest come first."""
    line = line_of(charge.site) or ("", 0, "")
    return (
        *(-charge.microseconds, charge.pool.id, charge.waiting),
        *(charge.holding or "", charge.state, line),
    )
