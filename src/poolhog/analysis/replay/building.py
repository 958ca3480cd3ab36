"""Builds a workload of checkouts that come by in the order of their asking."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import Shares, end_of, told_gaps
from poolhog.analysis.findings.meaning import is_lost
from poolhog.analysis.owners import key_of
from poolhog.analysis.replay.brief import Brief, write_brief
from poolhog.analysis.replay.compiling import Compiler, Lane, Mark, lanes
from poolhog.analysis.replay.continuing import complete
from poolhog.analysis.replay.steps import Kind, Step, Steps
from poolhog.analysis.replay.workload import Chains, Observed, PoolTerms, Workload
from poolhog.analysis.routes import route_of
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from poolhog.model import Checkout, Pool, Process, Site

MOST_OF_OWNER = 1_000
"""Checkouts of an owner without a request that are one chain; the next ones are another."""


_A_MICROSECOND = 1.5e-6
"""Equal instants may be so far apart: they were recorded as microseconds since others."""


class Asker(NamedTuple):
    """A request, or an owner without one (``started`` is ``None``). Instants may not have come."""

    key: str
    route: str
    started: float | None
    responded: float | None
    ended: float | None


class _Group:
    """The checkouts of an asker up to now; ``overlaps``: one began before another was over."""

    __slots__ = ("asker", "end", "items", "overlaps")

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self.items: list[Brief | Checkout] = []
        self.end = -math.inf
        self.overlaps = False

    def take(self, item: Brief | Checkout, end: float) -> None:
        """One more, which is over then."""
        if item.asked < self.end:
            self.overlaps = True
        if end > self.end:
            self.end = end
        self.items.append(item)


class _PoolFacts:
    """What is seen of a pool, in all processes."""

    def __init__(self, number: int, pool: Pool) -> None:
        self.number = number
        self.pool = pool
        self.connecting: list[float] = []
        self.connections: set[tuple[str, int | None]] = set()

    def saw(self, checkout: Checkout) -> None:
        """A connection was opened, or lent."""
        if checkout.connecting:
            self.connecting.append(checkout.connecting)
        self.connections.add((checkout.pool.id, checkout.connection))

    def terms(self, processes: int) -> PoolTerms:
        """What the pool offers, and what that costs."""
        pool, opened = self.pool, len(self.connecting)
        size, overflow = pool.size, pool.max_overflow
        if pool.kind == "NullPool":
            size, overflow = 0, -1
        elif size == 0 and pool.library == "sqlalchemy":  # as QueuePool has it
            size, overflow = None, None
        warm = max(len(self.connections) - opened, 0) / max(processes, 1)
        mean = sum(self.connecting) / opened if opened else 0.0
        return PoolTerms(pool.name, size, overflow, pool.timeout, mean, math.ceil(warm))


class Builder:
    """Takes checkouts of one process after the other, and makes a workload of them."""

    def __init__(self) -> None:
        self._steps = Steps()
        self._chains = Chains()
        self._recorded = Observed()
        self._others = array("d"), array("d")
        self._places: dict[Site | None, int] = {}
        self._pools: dict[tuple[str, str, str, int], _PoolFacts] = {}
        self._facts: dict[str, _PoolFacts] = {}
        self._routes: dict[str, int] = {}
        self._groups: dict[str, _Group] = {}
        self._processes: list[Process] = []
        self._read: Callable[[int], Checkout] = _read_nothing
        self._shares = Shares((), 0.0)
        self._until = 0.0
        self._compiler = Compiler(self._place, self._number)

    def begin(
        self, process: Process, pools: Iterable[Pool], read: Callable[[int], Checkout] | None = None
    ) -> None:
        """Checkouts of this process come next; ``read`` makes one of the number of a brief one."""
        self._processes.append(process)
        self._until = process.written
        self._read = read or _read_nothing
        self._shares = Shares((), 0.0)
        names: Counter[tuple[str, str, str]] = Counter()
        for pool in pools:
            name = pool.library, pool.kind, pool.name
            key = *name, names[name]
            names[name] += 1
            if key not in self._pools:
                self._pools[key] = _PoolFacts(len(self._pools), pool)
            self._facts[pool.id] = self._pools[key]

    def add(self, checkout: Checkout) -> None:
        """Take in a checkout, in the order of asking."""
        if checkout.samples:
            self._shares.add(checkout, told_gaps(checkout, self._until))
        group = self._groups.get(key_of(checkout))
        if group is None:
            group = self._open(_asker(checkout))
        group.take(checkout, end_of(checkout, self._until))
        self._facts[checkout.pool.id].saw(checkout)
        self._observe(checkout)
        if group.asker.started is None and len(group.items) >= MOST_OF_OWNER:
            self._close(self._groups.pop(group.asker.key))

    def pass_by(self, asker: Asker, brief: Brief) -> None:
        """Take in a brief checkout, in the order of asking."""
        group = self._groups.get(asker.key)
        if group is None:
            group = self._open(asker)
        group.take(brief, brief.returned)
        recorded = self._recorded
        recorded.granted.append(brief.granted)
        recorded.waits.append(brief.granted - brief.asked)
        recorded.lent += brief.returned - brief.granted
        recorded.used += brief.returned - brief.granted
        recorded.returned += 1

    def close(self, before: float) -> None:
        """Requests that were over by then do not ask again."""
        over = [
            key
            for key, group in self._groups.items()
            if group.asker.ended is not None and max(group.asker.ended, group.end) < before
        ]
        for key in over:
            self._close(self._groups.pop(key))

    def end(self) -> None:
        """All checkouts of the process have come by."""
        for group in self._groups.values():
            self._close(group)
        self._groups.clear()

    def workload(self) -> Workload:
        """What it all comes to."""
        chains, recorded = self._chains, self._recorded
        if not any(chains.is_request):  # then owners are what there is of them
            chains.is_request = bytearray(arrived < math.inf for arrived in chains.arrived)
            recorded.answered, recorded.responses = self._others
        return Workload(
            pools=tuple(facts.terms(len(self._processes)) for facts in self._pools.values()),
            chains=chains,
            steps=self._steps,
            places=tuple(self._places),
            processes=len(self._processes),
            recorded=recorded,
            began=min(chains.arrived, default=0.0),
            until=max((process.written for process in self._processes), default=0.0),
            unfinished=complete(chains, self._steps),
        )

    def _open(self, asker: Asker) -> _Group:
        group = self._groups[asker.key] = _Group(asker)
        return group

    def _observe(self, checkout: Checkout) -> None:
        recorded = self._recorded
        if checkout.granted is not None:
            recorded.granted.append(checkout.granted)
            recorded.waits.append(checkout.granted - checkout.asked)
            recorded.lent += end_of(checkout, self._until) - checkout.granted
            if checkout.returned is not None:
                recorded.used += checkout.returned - checkout.granted
                recorded.returned += 1
        elif checkout.outcome is Outcome.TIMEOUT and checkout.gave_up is not None:
            recorded.granted.append(checkout.gave_up)
            recorded.waits.append(checkout.gave_up - checkout.asked)
            recorded.timeouts += 1

    def _close(self, group: _Group) -> None:
        """Make chains of a group."""
        asker, items = group.asker, group.items
        is_open = asker.started is not None and asker.ended is None
        over = max(group.end, self._until if is_open else asker.ended or 0.0)
        self._recorded.until = max(self._recorded.until, over)
        if self._is_brief(group):
            self._close_brief(group)
            return
        first = items[0].asked
        started = first if asker.started is None else min(asker.started, first)
        found = [Lane(items)]
        if group.overlaps:
            whole = [self._read(i.number) if isinstance(i, Brief) else i for i in items]
            found = lanes(whole, self._until)
        if asker.started is None:
            for lane in found:
                self._chain(lane, asker, lane.items[0].asked, lane.end(self._until))
                self._others[0].append(lane.end(self._until))
                self._others[1].append(lane.end(self._until) - lane.items[0].asked)
            return
        ended = asker.ended if asker.ended is not None else max(self._until, started)
        marks: list[Mark] = []
        for lane in found[1:]:
            begun, over = lane.items[0].asked, lane.end(self._until)
            number = self._chain(lane, asker, begun, over, is_child=True)
            marks.append(Mark(begun, Step(Kind.SPAWN, 0.0, number)))
            if over <= ended:
                marks.append(Mark(over, Step(Kind.JOIN, 0.0, number)))
        answered = asker.responded if asker.responded is not None else asker.ended
        if answered is not None:
            marks.append(Mark(answered, Step(Kind.ANSWER)))
            self._recorded.answered.append(answered)
            self._recorded.responses.append(answered - started)
        self._chain(found[0], asker, started, ended, marks)

    def _is_brief(self, group: _Group) -> bool:
        """Whether it is a request that was answered without a connection, as most are."""
        asker = group.asker
        if group.overlaps or asker.started is None or asker.ended is None:
            return False
        answered = asker.responded if asker.responded is not None else asker.ended
        return all(
            isinstance(item, Brief) and not item.asked < answered < item.returned - _A_MICROSECOND
            for item in group.items
        )

    def _close_brief(self, group: _Group) -> None:
        """The same as ``_close``, of a group that is brief."""
        asker, recorded = group.asker, self._recorded
        briefs = [item for item in group.items if isinstance(item, Brief)]
        ended = asker.ended if asker.ended is not None else group.end
        asked = briefs[0].asked
        started = asked if asker.started is None else min(asker.started, asked)
        answered = asker.responded if asker.responded is not None else ended
        pools = [self._number(brief.pool) for brief in briefs]
        first = len(self._steps)
        write_brief(self._steps, briefs, pools, started, answered, ended)
        self._steps.add(Kind.END)
        recorded.answered.append(answered)
        recorded.responses.append(answered - started)
        self._chains.add(
            first,
            started,
            len(self._processes) - 1,
            self._routes.setdefault(asker.route, len(self._routes)),
            is_request=True,
            is_whole=True,
        )

    def _chain(
        self,
        lane: Lane,
        asker: Asker,
        started: float,
        ended: float,
        marks: Sequence[Mark] = (),
        *,
        is_child: bool = False,
    ) -> int:
        first = len(self._steps)
        is_request = asker.started is not None
        self._steps.extend(
            self._compiler.steps(
                lane, self._until, self._shares, started=started, ended=ended, marks=marks
            )
        )
        if not is_request:
            self._steps.add(Kind.ANSWER)
        if is_request and asker.ended is None:
            for item in lane.items:
                if not isinstance(item, Brief) and item.granted and item.returned is None:
                    self._steps.add(Kind.RETURN, 0.0, self._number(item.pool))
        self._steps.add(Kind.END)
        return self._chains.add(
            first,
            math.inf if is_child else started,
            len(self._processes) - 1,
            self._routes.setdefault(asker.route, len(self._routes)),
            is_request=is_request and not is_child,
            is_whole=is_child or not is_request or _is_whole(asker, lane),
        )

    def _place(self, site: Site | None) -> int:
        return self._places.setdefault(site, len(self._places))

    def _number(self, pool: Pool) -> int:
        return self._facts[pool.id].number


def _asker(checkout: Checkout) -> Asker:
    request = checkout.request
    if request is None:
        return Asker(key_of(checkout), route_of(checkout), None, None, None)
    return Asker(request.id, request.name, request.started, request.responded, request.ended)


def _is_whole(asker: Asker, lane: Lane) -> bool:
    """Whether all was recorded of a request that it did, or would have done with a connection."""
    return asker.ended is not None and all(
        isinstance(item, Brief)
        or (item.granted is not None and (item.returned is not None or _is_over(item)))
        for item in lane.items
    )


def _is_over(checkout: Checkout) -> bool:
    return checkout.outcome is Outcome.DETACHED or is_lost(checkout)


def _read_nothing(number: int) -> Checkout:
    raise LookupError(f"checkout {number} is not known by its number")
