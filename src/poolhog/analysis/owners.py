"""Checkouts by whose they are, and what that is called: a request, or an owner without one."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import end_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolhog.model import Checkout, Request, Site

OTHER = "other"
"""The route of a checkout without a request that no code of the application asked for."""


def route_of(checkout: Checkout) -> str:
    """The name of the checkout's request; without one, the owner's outermost function."""
    if checkout.request is not None:
        return checkout.request.name
    return route_at(checkout.site)


@functools.lru_cache(maxsize=10_000)
def route_at(site: Site | None) -> str:
    """The route of work without a request that asked for its connection at ``site``."""
    if site is None:
        return OTHER
    outermost = site.stack[-1]
    file = outermost.file.replace("\\", "/").rpartition("/")[2]
    return f"{file} {outermost.function}"


@dataclass(frozen=True, slots=True)
class Owner:
    """A request, or an owner without one, with its checkouts in the order of their asking.

    ``key`` is the request's id, or names the owner; ``total`` is how many checkouts it has,
    ``until`` the last instant that is known of its process.
    """

    key: str
    request: Request | None
    name: str
    checkouts: Sequence[Checkout]
    total: int
    until: float

    @property
    def started(self) -> float:
        """When it began, or first asked for a connection."""
        starts = [checkout.asked for checkout in self.checkouts[:1]]
        if self.request is not None:
            starts.append(self.request.started)
        return min(starts, default=self.until)

    @property
    def ended(self) -> float:
        """When it was over, and had given its connections back.

        A checkout that outlives its request is held on its behalf.
        """
        ends = [end_of(checkout, self.until) for checkout in self.checkouts]
        if self.request is not None:
            ended = self.request.ended
            ends.append(ended if ended is not None else max(self.until, self.request.started))
        return max(ends)


def grouped(checkouts: Iterable[Checkout]) -> Iterator[Owner]:
    """The requests and owners of these checkouts, which are in order of their asking."""
    found: dict[str, list[Checkout]] = {}
    for checkout in checkouts:
        found.setdefault(key_of(checkout), []).append(checkout)
    for owned in found.values():
        yield owner_of(owned[0].request, owned)


def owner_of(
    request: Request | None, checkouts: Sequence[Checkout], total: int | None = None
) -> Owner:
    """The owner that has these checkouts, of ``total``; only a request may have none."""
    first = checkouts[0] if checkouts else None
    if first is not None:
        key, name, process = key_of(first), first.owner, first.pool.process
    elif request is not None:
        key, name, process = request.id, "", request.process
    else:
        raise ValueError("an owner without a request has a checkout")
    count = len(checkouts) if total is None else total
    return Owner(key, request, name, checkouts, count, process.written)


def key_of(checkout: Checkout) -> str:
    """The id of its request, or a name for the owner that is unique in the run."""
    if checkout.request is not None:
        return checkout.request.id
    return f"{checkout.id.rpartition('.')[0]} {checkout.owner}"
