"""A workload: what was recorded, as chains of steps that can be played again under other terms."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhog.analysis.replay.steps import Steps
    from poolhog.model import Site


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """The terms of a pool: what it lends, and what getting a connection costs.

    ``size`` and ``max_overflow`` are as in the model (``None``, -1: no limit), ``timeout`` the
    seconds after which a wait is given up, ``connecting`` those that opening a connection takes.
    ``warm`` connections were open before the first was asked for.
    """

    name: str
    size: int | None
    max_overflow: int | None
    timeout: float | None
    connecting: float = 0.0
    warm: int = 0

    @property
    def is_unpooled(self) -> bool:
        """Whether each connection is opened for one checkout and closed after it."""
        return self.size == 0

    @property
    def capacity(self) -> int | None:
        """The most connections it lends at once, or ``None`` if it has no limit."""
        if self.size is None or self.max_overflow is None or self.max_overflow < 0:
            return None
        return self.size + self.max_overflow


@dataclass(slots=True)
class Chains:
    """Where each chain begins in the steps, when it came, and which process worked on it.

    ``arrived`` is infinite for a chain that another one begins. ``is_request`` tells whether it is
    a request, which users send; ``is_whole`` whether it was recorded to its end.
    """

    first: array[int] = field(default_factory=lambda: array("q"))
    arrived: array[float] = field(default_factory=lambda: array("d"))
    process: array[int] = field(default_factory=lambda: array("i"))
    route: array[int] = field(default_factory=lambda: array("i"))
    is_request: bytearray = field(default_factory=bytearray)
    is_whole: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.first)

    def add(
        self,
        first: int,
        arrived: float,
        process: int,
        route: int,
        *,
        is_request: bool,
        is_whole: bool,
    ) -> int:
        """Add a chain; its number."""
        self.first.append(first)
        self.arrived.append(arrived)
        self.process.append(process)
        self.route.append(route)
        self.is_request.append(is_request)
        self.is_whole.append(is_whole)
        return len(self.first) - 1


@dataclass(slots=True)
class Observed:
    """What came of a run, recorded or simulated: instants and durations, in no order.

    Of each answer when it was sent and how long it took; of each wait that ended when it did and
    how long it was; and how many of the waits were given up. ``lent`` are the seconds for which
    connections were lent, ``ran`` those in which Python was executed, as far as is known, both up
    to ``until``. Of them, ``used`` are those of the checkouts that came back, ``returned`` of them.
    """

    answered: array[float] = field(default_factory=lambda: array("d"))
    responses: array[float] = field(default_factory=lambda: array("d"))
    granted: array[float] = field(default_factory=lambda: array("d"))
    waits: array[float] = field(default_factory=lambda: array("d"))
    timeouts: int = 0
    lent: float = 0.0
    used: float = 0.0
    returned: int = 0
    ran: float = 0.0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """All that a simulation needs to know of a run.

    ``pools`` are those of a process: each of the ``processes`` has them all. ``places`` are the
    lines that steps mean. ``began`` is when the first request came, ``until`` the last instant that
    is known. ``recorded`` is what really came of it. ``unfinished`` chains were not recorded to
    their end, and go on as others of their route.
    """

    pools: tuple[PoolTerms, ...]
    chains: Chains
    steps: Steps
    places: tuple[Site | None, ...]
    processes: int
    recorded: Observed
    began: float
    until: float
    unfinished: int
