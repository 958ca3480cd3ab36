"""Drivers' connections that the application took out of SQLAlchemy, and their checkouts.

What SQLAlchemy sends itself is recorded where it does; a driver's probe records the rest.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolhog.recording.records import CheckoutRecord

_checkouts: weakref.WeakKeyDictionary[Any, CheckoutRecord] = weakref.WeakKeyDictionary()

_has_any = False
"""Whether any was ever taken out: drivers ask at each statement, and few applications do."""


def expose(connection: Any, checkout: CheckoutRecord) -> None:
    """The application has this connection, as long as the checkout lasts."""
    global _has_any
    _has_any = True
    # No probe asks for those that take no weak reference.
    with suppress(TypeError):
        _checkouts[connection] = checkout


def exposed(connection: Any) -> CheckoutRecord | None:
    """The checkout of a connection that the application has, if it has it."""
    if not _has_any:
        return None
    checkout = _checkouts.get(connection)
    if checkout is not None and checkout.done:
        del _checkouts[connection]
        return None
    return checkout
