"""What the holders of connections have in common: the conclusion of a dump.

Holders are compared by what keeps them from giving their connections back, and at which line.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from poolhog.analysis.accounting import State
from poolhog.analysis.stacks import innermost_line

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

    from poolhog.analysis.dump import Held, PoolDump, ProcessDump, Waiting
    from poolhog.model import Checkout, Pool, Site

T = TypeVar("T")


class Reason(StrEnum):
    """Why a connection is not back: its holder's state, or what that state comes to.

    - ``nested``: the holder waits for another connection.
    - ``lost``: the task or thread that asked for it is gone, or has nothing to do any more.
    - ``unseen``: nothing tells what its holder does.
    """

    NESTED = "nested"
    LOST = "lost"
    BUSY = "busy"
    BLOCKED = "blocked"
    PARKED = "parked"
    RUNNING = "running"
    READY = "ready"
    UNSEEN = "unseen"


class Holding(NamedTuple):
    """A connection that is lent, and why it is not back.

    ``line`` is the application's: where a nested holder waits for the other connection, where a
    lost connection was asked for, or where the holder is. ``wanted`` is the pool that a nested one
    waits for.
    """

    pool: Pool
    held: Held
    reason: Reason
    line: Site | None
    wanted: Pool | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Connections that are held for one reason at one line, as in :class:`Holding`.

    ``longest`` is for how many seconds the first of them has been held.
    """

    reason: Reason
    line: Site | None
    connections: int
    longest: float
    is_same_pool: bool = True


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Why connections of a pool are not back; the ``parts`` with the most connections come first.

    It is about one pool, or about equal ones of several processes: ``held``, ``capacity`` and
    ``waiting`` are sums, ``capacity`` is ``None`` without a limit. ``longest_wait`` is in seconds.
    """

    pools: tuple[Pool, ...]
    parts: tuple[Part, ...]
    held: int
    capacity: int | None
    is_exhausted: bool
    waiting: int
    longest_wait: float

    @property
    def name(self) -> str:
        """The pool's."""
        return self.pools[0].name

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that the pools are in."""
        return tuple(dict.fromkeys(pool.process.pid for pool in self.pools))

    @property
    def is_deadlock(self) -> bool:
        """Whether no holder can go on, as all of them wait for another connection of the pool."""
        return self.is_exhausted and all(
            part.reason is Reason.NESTED and part.is_same_pool for part in self.parts
        )


def holdings(dump: ProcessDump) -> dict[str, tuple[Holding, ...]]:
    """The connections that are lent, by the ids of their pools, the longest held first."""
    waits = dict(_waits(dump.pools))
    return {
        pool.pool.id: tuple(_holding(pool.pool, h, waits) for h in pool.held) for pool in dump.pools
    }


def conclusions(
    dumps: Iterable[ProcessDump], known: Mapping[str, tuple[Holding, ...]] | None = None
) -> tuple[Conclusion, ...]:
    """What is to be said of the pools, the worst first; their holdings may be ``known`` already.

    Nothing is said of a pool that is not exhausted and that nobody waits for, unless it has lent
    several connections for the same reason; nor of one whose holders were not seen.
    """
    found: dict[Hashable, Conclusion] = {}
    for dump in dumps:
        of_pools = holdings(dump) if known is None else known
        for pool in dump.pools:
            one = _conclusion(pool, of_pools[pool.pool.id])
            if one is not None:
                key = one.name, one.is_exhausted, tuple(map(_part_key, one.parts))
                found[key] = _joined(found[key], one) if key in found else one
    return tuple(sorted(found.values(), key=_worst_first))


def alike(holders: Iterable[Holding]) -> tuple[tuple[Holding, ...], ...]:
    """The holders with equal stacks in the same state, together; the largest group first."""
    return _grouped(holders, lambda one: (one.reason, *_holder_stack(one.held)))


def alike_waiting(waiting: Iterable[Waiting]) -> tuple[tuple[Waiting, ...], ...]:
    """Those who asked for a connection at equal stacks, together; the largest group first."""
    return _grouped(waiting, lambda one: (one.checkout.site, one.operation))


def _holder_stack(held: Held) -> tuple[Hashable, ...]:
    return held.state, held.in_transaction, held.site or held.checkout.site, held.blocker is None


def _grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> tuple[tuple[T, ...], ...]:
    groups: defaultdict[Hashable, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return tuple(map(tuple, sorted(groups.values(), key=len, reverse=True)))


def _waits(pools: Iterable[PoolDump]) -> Iterator[tuple[Hashable, tuple[Pool, Waiting]]]:
    """By the request and by the owner, who waits for a connection of which pool."""
    for pool in pools:
        for waiting in pool.waiting:
            for who in _who(waiting.checkout):
                yield who, (pool.pool, waiting)


def _who(checkout: Checkout) -> Iterator[Hashable]:
    yield "owner", checkout.owner
    if checkout.request is not None:
        yield "request", checkout.request.id


_WORKING = frozenset([State.BUSY, State.BLOCKED, State.RUNNING])


def _holding(pool: Pool, held: Held, waits: Mapping[Hashable, tuple[Pool, Waiting]]) -> Holding:
    second = _second(held, waits) if waits else None
    if second is not None:
        wanted, waiting = second
        return Holding(pool, held, Reason.NESTED, innermost_line(waiting.checkout.site), wanted)
    asked_at = innermost_line(held.checkout.site)
    if held.is_lost:
        return Holding(pool, held, Reason.LOST, asked_at)
    if held.state is None:
        return Holding(pool, held, Reason.UNSEEN, asked_at)
    return Holding(pool, held, Reason(held.state.value), innermost_line(held.site) or asked_at)


def _second(
    held: Held, waits: Mapping[Hashable, tuple[Pool, Waiting]]
) -> tuple[Pool, Waiting] | None:
    """The other connection that the holder waits for."""
    checkout = held.checkout
    found = waits.get(("owner", checkout.owner))
    # Another task of a request may wait while the holder works, and would give back its own.
    if found is None and checkout.request is not None and held.state not in _WORKING:
        found = waits.get(("request", checkout.request.id))
    return found


def _conclusion(pool: PoolDump, holders: tuple[Holding, ...]) -> Conclusion | None:
    parts = tuple(_parts(holders))
    is_told = pool.is_exhausted or pool.waiting or (len(parts) == 1 and len(holders) > 1)
    if not is_told or all(part.line is None for part in parts):
        return None
    return Conclusion(
        pools=(pool.pool,),
        parts=parts,
        held=len(holders),
        capacity=pool.pool.capacity,
        is_exhausted=pool.is_exhausted,
        waiting=len(pool.waiting),
        longest_wait=max((one.seconds for one in pool.waiting), default=0.0),
    )


def _parts(holders: Iterable[Holding]) -> Iterator[Part]:
    for some in _grouped(holders, _holding_key):
        first = some[0]
        longest = max(one.held.seconds for one in some)
        is_same = first.wanted is None or first.wanted.id == first.pool.id
        yield Part(first.reason, first.line, len(some), longest, is_same)


def _holding_key(holding: Holding) -> Hashable:
    wanted = holding.wanted.id if holding.wanted is not None else None
    return holding.reason, _line_key(holding.line), wanted


def _part_key(part: Part) -> Hashable:
    return part.reason, _line_key(part.line), part.is_same_pool


def _line_key(line: Site | None) -> Hashable:
    return None if line is None else (line.file, line.line)


def _joined(one: Conclusion, other: Conclusion) -> Conclusion:
    """The conclusion about equal pools of several processes."""
    limits = (one.capacity, other.capacity)
    return replace(
        one,
        pools=(*one.pools, *other.pools),
        parts=tuple(
            replace(
                part,
                connections=part.connections + more.connections,
                longest=max(part.longest, more.longest),
            )
            for part, more in zip(one.parts, other.parts, strict=True)
        ),
        held=one.held + other.held,
        capacity=None if None in limits else sum(limit or 0 for limit in limits),
        waiting=one.waiting + other.waiting,
        longest_wait=max(one.longest_wait, other.longest_wait),
    )


def _worst_first(one: Conclusion) -> tuple[bool, bool, int, int]:
    return not one.is_deadlock, not one.is_exhausted, -one.waiting, -one.held
