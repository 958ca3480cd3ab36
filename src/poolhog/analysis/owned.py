"""Checkouts by whose they are: those of a request, or of an owner that belongs to none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import end_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolhog.model import Checkout, Request


@dataclass(frozen=True, slots=True)
class Owned:
    """A request, or an owner without one, with its checkouts in the order of their asking.

    ``key`` is the request's id, or names the owner; ``total`` is how many checkouts it has,
    ``until`` the last instant that is known of its process.
    """

    key: str
    request: Request | None
    owner: str
    checkouts: Sequence[Checkout]
    total: int
    until: float

    @property
    def started(self) -> float:
        """When it began, or first asked for a connection."""
        asked = self.checkouts[0].asked if self.checkouts else self.until
        return asked if self.request is None else min(self.request.started, asked)

    @property
    def ended(self) -> float:
        """When it was over, and had given its connections back."""
        ends = [end_of(checkout, self.until) for checkout in self.checkouts]
        if self.request is not None:
            ended = self.request.ended
            ends.append(ended if ended is not None else max(self.until, self.request.started))
        return max(ends)


def grouped(checkouts: Iterable[Checkout]) -> Iterator[Owned]:
    """The requests and owners of these checkouts, which are in order of their asking."""
    found: dict[str, list[Checkout]] = {}
    for checkout in checkouts:
        found.setdefault(key_of(checkout), []).append(checkout)
    for key, owned in found.items():
        first = owned[0]
        until = first.pool.process.written
        yield Owned(key, first.request, first.owner, owned, len(owned), until)


def key_of(checkout: Checkout) -> str:
    """The id of its request, or a name for the owner that is unique in the run."""
    if checkout.request is not None:
        return checkout.request.id
    return f"{checkout.id.rpartition('.')[0]} {checkout.owner}"
