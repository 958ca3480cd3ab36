"""What a user may choose about a recording."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from poolhog.errors import PoolhogError

SAMPLING_INTERVAL_S = 0.010


@dataclass(frozen=True, slots=True)
class Options:
    """Choices that hold for a whole process.

    ``include`` and ``exclude`` are globs of file names: whose frames are the application's, on top
    of the usual rule, and whose are not. ``sampling_interval_s`` is the time between two samples
    of what the owners of idle connections do; 0 takes none. ``source`` says whether the text of
    lines of code is recorded with their numbers. ``watch_locks`` is the URL of a server
    that is asked who waits for whose lock, or the environment variable that holds it; "": none is.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    sampling_interval_s: float = SAMPLING_INTERVAL_S
    source: bool = True
    watch_locks: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Refuse what no clock can keep."""
        if not (math.isfinite(self.sampling_interval_s) and self.sampling_interval_s >= 0):
            raise PoolhogError(
                "the sampling interval is a time, or 0 for no samples, "
                f"not {self.sampling_interval_s!r}"
            )
