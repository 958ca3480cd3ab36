"""Blame: every instant in which a request waits is charged to the checkouts that hold its pool.

In equal parts, and within each checkout to its route, and to what it did, where. What nobody held
up is kept apart: opening and pinging connections, and queueing although one was free, or although
nobody had one. So the sum of all blame is the sum of all waiting, to the microsecond.
"""

from __future__ import annotations

from poolhog.analysis.blame.charges import (
    CONNECTING,
    NO_BLAME,
    NOBODY,
    PINGING,
    Blame,
    Charge,
    Line,
    Place,
    line_of,
)

__all__ = [
    "CONNECTING",
    "NOBODY",
    "NO_BLAME",
    "PINGING",
    "Blame",
    "Charge",
    "Line",
    "Place",
    "line_of",
]
