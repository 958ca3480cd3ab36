"""A workload: what was recorded, as chains of steps that can be played again under other terms."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poolhog.analysis.ledger import NEVER
from poolhog.analysis.replay.limits import Limits
from poolhog.analysis.spans import running_maximum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from poolhog.analysis.ledger import Flags, Ledger, Numbers
    from poolhog.analysis.replay.steps import Steps
    from poolhog.model import Pool, Site


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """The terms of a pool: what it lends, and what getting a connection costs.

    ``size`` and ``max_overflow`` are as in the model (``None``, -1: no limit), ``timeout`` the
    seconds after which a wait is given up, ``connecting`` those that opening a connection takes.
    ``warm`` connections were open before the first was asked for. If the pool ``is_fair``, it hands
    a connection that comes back to the first who waits. Others wake that one up, who takes it after
    one of the ``delays``, and whoever asks meanwhile is faster.
    """

    name: str
    size: int | None
    max_overflow: int | None
    timeout: float | None
    connecting: float = 0.0
    warm: int = 0
    is_fair: bool = True
    delays: tuple[float, ...] = ()

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

    def extend(self, chains: ChainColumns, process: int) -> None:
        """Add the chains of a process."""
        self.first.frombytes(chains.first.tobytes())
        self.arrived.frombytes(chains.arrived.tobytes())
        self.process.extend([process] * len(chains.first))
        self.route.frombytes(chains.route.astype(np.int32).tobytes())
        self.is_request.extend(chains.is_request.tobytes())
        self.is_whole.extend(chains.is_whole.tobytes())


class ChainColumns(NamedTuple):
    """Chains of one process as columns; what they are is that of ``Chains``."""

    first: NDArray[np.int64]
    arrived: NDArray[np.float64]
    route: NDArray[np.int64]
    is_request: NDArray[np.bool_]
    is_whole: NDArray[np.bool_]

    @classmethod
    def empty(cls, number: int) -> ChainColumns:
        """Columns for so many chains, which are whole, and no requests."""
        first, route = np.zeros(number, np.int64), np.zeros(number, np.int64)
        return cls(first, np.zeros(number), route, np.zeros(number, bool), np.ones(number, bool))

    def put(self, number: int, first: int, arrived: float) -> None:
        """Say where the steps of a chain begin, and when it came."""
        self.first[number] = first
        self.arrived[number] = arrived


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


class Loop(NamedTuple):
    """Chains that begin in this order, each some seconds after one of the loop has ended.

    ``members`` are all chains of the loop, ``queue`` those of them that do not begin by themselves;
    ``pauses`` are the seconds of these.
    """

    members: tuple[int, ...]
    queue: tuple[int, ...]
    pauses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """All that a simulation needs to know of a run.

    ``pools`` are those of a process: each of the ``processes`` has them all. ``places`` are the
    lines that steps mean. ``began`` is when the first request came, ``until`` the last instant that
    is known. ``recorded`` is what really came of it. ``unfinished`` chains were not recorded to
    their end, and go on as others of their route did. ``limits`` are what the replay does not know.
    Chains of ``loops`` begin when others have ended.
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
    limits: Limits = field(default_factory=Limits)
    loops: tuple[Loop, ...] = ()


class PoolFacts:
    """What is seen of a pool, in all processes."""

    def __init__(self, number: int, pool: Pool) -> None:
        self.number = number
        self.pool = pool
        self.opened = 0
        self.connecting = 0.0
        self.connections = 0
        self.delays: list[float] = []

    def terms(self, processes: int) -> PoolTerms:
        """What the pool offers, and what that costs."""
        pool = self.pool
        size, overflow = pool.size, pool.max_overflow
        if pool.kind == "NullPool":
            size, overflow = 0, -1
        elif size == 0 and pool.library == "sqlalchemy":  # as QueuePool has it
            size, overflow = None, None
        warm = max(self.connections - self.opened, 0) / max(processes, 1)
        mean = self.connecting / self.opened if self.opened else 0.0
        is_fair = pool.library == "psycopg_pool"
        return PoolTerms(
            pool.name,
            size,
            overflow,
            pool.timeout,
            mean,
            math.ceil(warm),
            is_fair,
            tuple(self.delays),
        )


MOST_OF_OWNER = 1_000
"""Checkouts of an owner without a request that are one chain; the next ones are another."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The checkouts of each request, and of each owner without one, by their first asking.

    ``number`` is the group of each of ``rows``, which begin at ``first``. Of each group are
    whether it ``is_request``, its instants, and whether its checkouts overlap or it is not whole,
    so that it is looked at as objects. What has not come is ``NEVER``.
    """

    rows: Numbers
    number: Numbers
    first: Numbers
    is_request: Flags
    is_whole: Flags
    is_single: Flags
    started: Numbers
    answered: Numbers
    ended: Numbers
    over: Numbers

    def __len__(self) -> int:
        return len(self.first)

    def rows_of(self, group: int) -> Numbers:
        """The rows of a group."""
        return self.rows[self.first[group] : self.end_of(group)]

    def end_of(self, group: int) -> int:
        """The index behind its last row."""
        following = group + 1
        return int(self.first[following]) if following < len(self.first) else len(self.rows)


def grouped(ledger: Ledger, rows: Numbers) -> Groups:
    """The groups of some rows, at least one."""
    asker = ledger.asker[rows]
    order = np.argsort(asker, kind="stable")
    rows, asker = rows[order], asker[order]
    requests = ledger.requests
    is_first = np.append([True], asker[1:] != asker[:-1])
    place = np.arange(len(rows))
    place -= np.maximum.accumulate(np.where(is_first, place, 0))
    is_first |= (asker >= len(requests.number)) & (place % MOST_OF_OWNER == 0)
    is_first |= _is_next_turn(ledger, rows, asker, is_first)
    rank = np.empty(int(is_first.sum()), np.int64)
    goes_on = _goes_on(ledger, rows, np.flatnonzero(is_first), asker[is_first])
    rank[np.lexsort((rows[is_first], goes_on))] = np.arange(len(rank))
    number = rank[np.cumsum(is_first) - 1]
    order = np.argsort(number, kind="stable")
    rows, number, asker = rows[order], number[order], asker[order]
    first = np.searchsorted(number, np.arange(len(rank)))
    asker = asker[first]
    over = np.maximum.reduceat(ledger.over[rows], first)
    asked = ledger.asked[rows[first]]
    is_request = asker < len(requests.number)
    of_request = asker[is_request]
    started, answered, ended = asked.copy(), over.copy(), over.copy()
    ended[~is_request] = _until_next_turn(asker, asked, over)[~is_request]
    started[is_request] = np.minimum(requests.started[of_request], asked[is_request])
    ended[is_request] = requests.ended[of_request]
    responded = requests.responded[of_request]
    answered[is_request] = np.where(responded < NEVER, responded, requests.ended[of_request])
    before = np.append([0], running_maximum(number, ledger.over[rows])[:-1])
    overlaps = ledger.asked[rows] < before
    overlaps[first] = False
    is_open = ~ledger.is_closed[rows]
    is_single = ~np.logical_or.reduceat(overlaps | is_open, first) & (ended < NEVER)
    is_whole = ~is_request | ~np.logical_or.reduceat(is_open, first) & (ended < NEVER)
    return Groups(
        rows, number, first, is_request, is_whole, is_single, started, answered, ended, over
    )


def _is_next_turn(ledger: Ledger, rows: Numbers, asker: Numbers, is_first: Flags) -> Flags:
    """Which rows are where an owner without a request began its work once more.

    It asks again from the line that it first asked from, and holds nothing.
    """
    turn = np.cumsum(is_first) - 1
    first_site = ledger.site[rows[is_first]][turn]
    before = np.append([0], running_maximum(turn, ledger.over[rows])[:-1])
    is_owner = asker >= len(ledger.requests.number)
    is_again = (ledger.site[rows] == first_site) & (ledger.asked[rows] >= before)
    found: Flags = is_owner & is_again & ~is_first
    return found


def _until_next_turn(asker: Numbers, asked: Numbers, over: Numbers) -> Numbers:
    """When each group was over, and what follows until its owner's next one is over as well."""
    order = np.lexsort((asked, asker))
    following = np.append(asked[order[1:]], over[order[-1:]])
    is_same = np.append(asker[order[1:]] == asker[order[:-1]], [False])
    ended = over.copy()
    ended[order[is_same]] = np.maximum(over[order], following)[is_same]
    return ended


def _goes_on(ledger: Ledger, rows: Numbers, first: Numbers, asker: Numbers) -> Flags:
    """Which groups were not over when a connection was asked for last.

    They come behind the others: those of them that did not end go on as the latest that did.
    """
    over = np.maximum.reduceat(ledger.over[rows], first)
    is_request = asker < len(ledger.requests.number)
    ended = np.full(len(first), NEVER)
    ended[is_request] = ledger.requests.ended[asker[is_request]]
    found: Flags = np.maximum(over, ended) >= ledger.asked[rows].max()
    return found
