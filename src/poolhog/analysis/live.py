"""How a run stands now: its pools, its connections that are lent, who waits, and by route."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import State
from poolhog.analysis.dump import Memory, dump_now
from poolhog.analysis.holders import conclusions, holdings
from poolhog.analysis.recent import Recent, recent_of
from poolhog.analysis.stacks import innermost_line
from poolhog.trace.followed_run import FollowedRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from poolhog.analysis.dump import ProcessDump, Waiting
    from poolhog.analysis.holders import Conclusion, Holding
    from poolhog.analysis.liveness import Liveness
    from poolhog.model import Checkout, Pool, Process, Site, Unreadable

OTHER = "other"
"""The route of work that belongs to no request that was seen."""


class LiveCheckout(NamedTuple):
    """A checkout that is open or waits: either ``holding`` or ``waiting`` is not ``None``.

    ``line`` is the application's: where the holder is, or where a connection was asked for.
    """

    pool: Pool
    process: Process
    checkout: Checkout
    holding: Holding | None
    waiting: Waiting | None

    @property
    def state(self) -> State | None:
        """The state; ``None`` of a holder that was not seen."""
        return State.WAITING if self.holding is None else self.holding.held.state

    @property
    def what(self) -> str:
        """The reason for which a connection is not back, or ``waiting``."""
        return State.WAITING.value if self.holding is None else self.holding.reason.value

    @property
    def age(self) -> float:
        """Seconds since the connection was lent, or asked for."""
        if self.holding is not None:
            return self.holding.held.seconds
        return self.waiting.seconds if self.waiting is not None else 0.0

    @property
    def state_seconds(self) -> float:
        """For how many seconds the state has been so."""
        return self.age if self.holding is None else self.holding.held.state_seconds

    @property
    def route(self) -> str:
        """The request's name, or the owner of work that belongs to no request."""
        request = self.checkout.request
        return request.name if request is not None else self.checkout.owner

    @property
    def line(self) -> Site | None:
        """The application's line: where the holder is, or where the connection was asked for."""
        if self.holding is not None:
            return self.holding.line
        return innermost_line(self.checkout.site)

    @property
    def stack(self) -> Site | None:
        """The whole stack that the holder was last seen at, or asked for the connection at."""
        if self.holding is not None and self.holding.held.site is not None:
            return self.holding.held.site
        return self.checkout.site


@dataclass(frozen=True, slots=True)
class LivePool:
    """A pool: its holders and who waits for it, the longest first.

    ``out`` are its connections that are lent, opened or pinged.
    """

    pool: Pool
    process: Process
    liveness: Liveness
    holders: tuple[Holding, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    out: int = 0
    is_exhausted: bool = False

    @property
    def longest_wait(self) -> float:
        """Seconds."""
        return self.waiting[0].seconds if self.waiting else 0.0


@dataclass(frozen=True, slots=True)
class LiveRoute:
    """A route's connections and waits, with the seconds of the longest of each.

    ``unused`` of the connections that it holds have no operation in flight.
    """

    name: str
    held: int
    unused: int
    waiting: int
    longest_held: float
    longest_wait: float


@dataclass(frozen=True, slots=True)
class Live:
    """How a run stands.

    ``pools``: exhausted ones first, then those with the most waits and connections out.
    ``checkouts``: the oldest first. ``routes``: those that hold the most connections first.
    """

    dumps: tuple[ProcessDump, ...]
    pools: tuple[LivePool, ...]
    checkouts: tuple[LiveCheckout, ...]
    routes: tuple[LiveRoute, ...]
    conclusions: tuple[Conclusion, ...]
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether no process runs any more."""
        return all(dump.liveness.is_over for dump in self.dumps)

    @property
    def processes(self) -> tuple[Process, ...]:
        """Those of the run, or the one that was asked for."""
        return tuple(dump.process for dump in self.dumps)


class LiveRun:
    """A run in a directory, or one process of it, to be looked at repeatedly."""

    def __init__(self, directory: Path, pid: int | None = None) -> None:
        self.directory = directory
        self.pid = pid
        self._run = FollowedRun(directory, pid)
        self._memory = Memory()

    def recent(self, live: Live, seconds: float, points: int) -> Recent:
        """The last seconds before a look: how many connections were lent, and how many waited."""
        known = [one.checkout for one in live.checkouts]
        return recent_of(self._run.readers, known, seconds, points)

    def look(self) -> Live:
        """How it stands now.

        Raises :class:`poolhog.TraceError` if there is no trace, or nothing of it can be read, and
        :class:`poolhog.PoolhogError` if there is no such process.
        """
        traces, unreadable = self._run.read_open()
        dumps = [dump_now(trace, self._memory) for trace in traces]
        self._memory.keep(checkout for trace in traces for checkout in trace.checkouts)
        return live_of(dumps, unreadable)


def live_of(dumps: Iterable[ProcessDump], unreadable: Iterable[Unreadable] = ()) -> Live:
    """How the processes of these dumps stand together."""
    every = tuple(dumps)
    held: dict[str, tuple[Holding, ...]] = {}
    for dump in every:
        held |= holdings(dump)
    pools = [pool for dump in every for pool in _pools(dump, held)]
    checkouts = [one for pool in pools for one in _checkouts(pool)]
    return Live(
        dumps=every,
        pools=tuple(sorted(pools, key=_worst_first)),
        checkouts=tuple(sorted(checkouts, key=attrgetter("age"), reverse=True)),
        routes=tuple(sorted(_routes(checkouts), key=lambda r: (-r.held, -r.waiting, r.name))),
        conclusions=conclusions(every, held),
        unreadable=tuple(unreadable),
    )


def _pools(dump: ProcessDump, held: Mapping[str, tuple[Holding, ...]]) -> Iterator[LivePool]:
    for pool in dump.pools:
        yield LivePool(
            pool.pool,
            dump.process,
            dump.liveness,
            held[pool.pool.id],
            pool.waiting,
            pool.out,
            pool.is_exhausted,
        )
    for idle in dump.idle:
        yield LivePool(idle, dump.process, dump.liveness)


def _checkouts(pool: LivePool) -> Iterator[LiveCheckout]:
    whose = pool.pool, pool.process
    for holding in pool.holders:
        yield LiveCheckout(*whose, holding.held.checkout, holding, None)
    for waiting in pool.waiting:
        yield LiveCheckout(*whose, waiting.checkout, None, waiting)


def _routes(checkouts: Iterable[LiveCheckout]) -> Iterator[LiveRoute]:
    of_routes: defaultdict[str, list[LiveCheckout]] = defaultdict(list)
    for one in checkouts:
        of_routes[OTHER if one.checkout.request is None else one.route].append(one)
    for name, some in of_routes.items():
        held = [one for one in some if one.holding is not None]
        waiting = [one for one in some if one.holding is None]
        yield LiveRoute(
            name=name,
            held=len(held),
            unused=sum(one.state not in (State.BUSY, State.BLOCKED) for one in held),
            waiting=len(waiting),
            longest_held=max((one.age for one in held), default=0.0),
            longest_wait=max((one.age for one in waiting), default=0.0),
        )


def _worst_first(pool: LivePool) -> tuple[bool, int, int, int, str]:
    waits = -len(pool.waiting)
    return not pool.is_exhausted, waits, -pool.out, pool.process.pid, pool.pool.id
