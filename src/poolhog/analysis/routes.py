"""The route of a checkout: its request's name, or the function that did work of no request."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhog.model import Checkout, Site

OTHER = "other"
"""The route of a checkout of no request, asked for by no code of the application."""


def route_of(checkout: Checkout) -> str:
    """The name of the checkout's request; without one, the owner's outermost function."""
    if checkout.request is not None:
        return checkout.request.name
    return owner_of(checkout.site)


@functools.lru_cache(maxsize=10_000)
def owner_of(site: Site | None) -> str:
    """The name of work of no request that asked there: its outermost function."""
    if site is None:
        return OTHER
    outermost = site.stack[-1]
    return f"{outermost.file.replace(chr(92), '/').rpartition('/')[2]} {outermost.function}"
