"""What work is called: the route of a checkout's request, or its owner's outermost function."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhog.model import Checkout, Site

OTHER = "other"
"""The route of a checkout without a request that no code of the application asked for."""


def route_of(checkout: Checkout) -> str:
    """The name of the checkout's request; without one, the owner's outermost function."""
    if checkout.request is not None:
        return checkout.request.name
    return owner_of(checkout.site)


@functools.lru_cache(maxsize=10_000)
def owner_of(site: Site | None) -> str:
    """The name of work without a request that asked for its connection at ``site``."""
    if site is None:
        return OTHER
    outermost = site.stack[-1]
    file = outermost.file.replace("\\", "/").rpartition("/")[2]
    return f"{file} {outermost.function}"
