"""Looks for the open checkouts of a process again and again, at the cost of what changed.

The table of checkouts has no index of those that are open, so the first look goes through all of
it. Later ones go through those that were open, and newer ones: records get their numbers in order,
and are written nearly in order.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhog.model import Checkout
    from poolhog.trace.snapshot import Rows, Snapshot
    from poolhog.trace.unpacking import Unpacker

_KNOWN = "SELECT value FROM json_each(:known)"
_IS_OPEN = "returned IS NULL AND gave_up IS NULL"
_ALL = f"WHERE {_IS_OPEN}"
_NEWER = f"WHERE (id > :since OR id IN ({_KNOWN})) AND {_IS_OPEN}"

_OVERLAP = 1_000
"""Numbers before the latest one that are looked at again: one of these may be written late."""


class OpenCheckouts:
    """The checkouts of a process that wait or are open; ``unpack`` has what was read with them."""

    def __init__(self) -> None:
        self.unpack: Unpacker | None = None
        self._latest: int | None = None
        self._known: dict[int, tuple[Rows, Checkout]] = {}

    def read(self, snapshot: Snapshot) -> tuple[Checkout, ...]:
        """Those of now, in order of their asking; one that did not change is the same object."""
        if self._latest is None:
            found = snapshot.changed(_ALL, (), self._known)
        else:
            since = self._latest - _OVERLAP
            values = {"since": since, "known": json.dumps(list(self._known))}
            found = snapshot.changed(_NEWER, values, self._known)
        ((latest,),) = snapshot.query("SELECT max(id) FROM packed_checkouts")
        self._latest, self._known, self.unpack = latest, found, snapshot.unpack
        return tuple(checkout for _, checkout in found.values())
