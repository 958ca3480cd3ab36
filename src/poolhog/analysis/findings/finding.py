"""What a finding is: a typed conclusion, with the line to change and the evidence for it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhog.model import Site


class FindingKind(StrEnum):
    """What is wrong. Each kind is a section of ``docs/findings.md``."""

    PARKED_CHECKOUT = "parked-checkout"
    HELD_AFTER_RESPONSE = "held-after-response"
    HELD_WHILE_STREAMING = "held-while-streaming"
    NESTED_CHECKOUT = "nested-checkout"
    NEVER_RETURNED = "never-returned"
    LOST_WRITE = "lost-write"
    POOL_TIMEOUT = "pool-timeout"
    CONNECTION_CHURN = "connection-churn"
    STARVED_LOOP = "starved-loop"


@dataclass(frozen=True, slots=True)
class Example:
    """The occurrence to look at first: the longest one, and the interval in which it was so.

    ``request`` and ``checkout`` are ids; instants are on the run's clock.
    """

    request: str | None
    checkout: str
    pid: int
    started: float
    ended: float


@dataclass(slots=True)
class Occurrences:
    """When checkouts were asked for that a finding was seen in, and the seconds wasted there.

    The instants are on the run's clock, in no order; the seconds are 0 for kinds that waste none.
    """

    asked: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))

    def add(self, asked: float, seconds: float) -> None:
        """Add one."""
        self.asked.append(asked)
        self.seconds.append(seconds)


@dataclass(frozen=True, slots=True)
class Finding:
    """A typed conclusion of a run.

    ``site`` is the line to change, ``None`` if nothing was seen of it. ``routes`` are the names of
    the requests it happened in, the one with the most seconds first, and ``checkouts`` how many it
    was seen in. ``seconds`` are the connection-seconds that it wasted, ``share`` is their part of
    all use seconds of the run (to which the seconds of ``connection-churn`` are added: they are
    part of waits). ``made_wait`` is the seconds of waiting that are charged to what
    was wasted here (see ``blame``), as far as it was seen; ``waiters`` are the routes that waited,
    the one that waited most first. ``detail`` is the evidence in one or two sentences, ``advice``
    what to do. ``awaiting`` is what was called from ``site``, down to the library, the innermost
    last. ``occurrences`` are what it was concluded from: ``seconds`` may have an estimate besides.
    """

    kind: FindingKind
    site: Site | None
    routes: tuple[str, ...]
    checkouts: int
    seconds: float
    share: float
    made_wait: float
    waiters: tuple[str, ...]
    detail: str
    advice: str
    awaiting: tuple[Site, ...]
    example: Example
    occurrences: Occurrences = field(default_factory=Occurrences, compare=False, repr=False)
