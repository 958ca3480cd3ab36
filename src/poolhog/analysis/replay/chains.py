"""Makes the chains of a workload from the columns of processes."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Literal

import numpy as np

from poolhog.analysis.garbage import without_garbage_collection
from poolhog.analysis.ledger import NEVER, OUTCOMES, Ledger
from poolhog.analysis.memory import ledgers_of
from poolhog.analysis.replay.completing import GAVE_UP, TIMED_OUT, Completing
from poolhog.analysis.replay.limits import Limits, hanging, waiting_threads
from poolhog.analysis.replay.locks import ReplayedLocks
from poolhog.analysis.replay.loops import loops_of
from poolhog.analysis.replay.overlapping import Compiler, Lane, Mark, is_settled, lanes
from poolhog.analysis.replay.recorded import Recorded
from poolhog.analysis.replay.steps import (
    NO_STEP,
    OUTSIDE,
    Atoms,
    Step,
    StepKind,
    Steps,
    ready_seconds,
    steps_of,
)
from poolhog.analysis.replay.stretches import is_looked_at, running_at_sites, stretches_of
from poolhog.analysis.replay.workload import (
    ChainColumns,
    Chains,
    Loop,
    PoolFacts,
    Workload,
    grouped,
)
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from poolhog.analysis.ledger import Numbers
    from poolhog.analysis.replay.workload import Groups
    from poolhog.model import Process, Site, Trace
    from poolhog.trace.reader import ProcessReader

_AT_ONCE = 50_000
"""Chains that are written at once."""

_REFUSED = [OUTCOMES.index(outcome) for outcome in (Outcome.CANCELLED, Outcome.ERROR)]


def workload_of(trace: Trace) -> Workload:
    """The workload of a trace in memory."""
    builder = WorkloadBuilder()
    for ledger in ledgers_of(trace):
        builder.add(ledger)
    return builder.workload()


def read_workload(
    readers: Sequence[ProcessReader], tell: Callable[[int], None] | None = None
) -> Workload:
    """The workload of some processes of a run; ``tell`` learns how many checkouts were read.

    Raises :class:`poolhog.TraceError` if a process cannot be read.
    """
    builder = WorkloadBuilder()
    done = 0
    with without_garbage_collection():
        for reader in readers:
            with reader.snapshot() as snapshot:
                ledger = Ledger(snapshot)
                builder.add(ledger)
            done += len(ledger)
            if tell is not None:
                tell(done)
    return builder.workload()


def read_part(readers: Sequence[ProcessReader], started: float, ended: float) -> Workload:
    """The workload of the requests that came between two instants of the run's clock.

    Work that belongs to no request counts if it asked for a connection then. Raises
    :class:`poolhog.TraceError` if a process cannot be read.
    """
    builder = WorkloadBuilder()
    with without_garbage_collection():
        for reader in readers:
            with reader.snapshot() as snapshot:
                ledger = Ledger(snapshot)
                came = ledger.asked.copy()
                of_request = ledger.request >= 0
                came[of_request] = ledger.requests.started[ledger.request[of_request]]
                least, most = (ledger.microseconds(at) for at in (started, ended))
                builder.add(ledger, np.flatnonzero((came >= least) & (came <= most)))
    return builder.workload()


class WorkloadBuilder:
    """Makes a workload of the ledgers of processes, one after the other."""

    def __init__(self) -> None:
        self.steps = Steps()
        self.chains = Chains()
        self.recorded = Recorded()
        self._places: dict[Site | None, int] = {}
        self._routes: dict[str, int] = {}
        self._processes: list[Process] = []
        self._askings = array("i")
        self._loops: list[Loop] = []
        self._lines: dict[tuple[str, int] | None, int] = {}
        self._hanging = 0.0
        self._threads = 0
        self.locks = 0.0
        self.guessed = 0.0

    def add(self, ledger: Ledger, rows: Numbers | None = None) -> None:
        """Take in a process, or of it only the checkouts of some rows, which are in order."""
        self._processes.append(ledger.process)
        rows = np.arange(len(ledger)) if rows is None else rows
        pools = self.recorded.know_pools(ledger)
        self._hanging = max(self._hanging, hanging(ledger))
        self._threads = max(self._threads, waiting_threads(ledger))
        if len(rows):
            self.recorded.observe(ledger, rows, pools)
            groups = grouped(ledger, rows)
            self.recorded.time(ledger, groups)
            _ProcessChains(self, ledger, groups, pools).write()

    def workload(self) -> Workload:
        """The workload of the processes that were added."""
        chains, recorded = self.chains, self.recorded.observed
        pools = tuple(facts.terms(len(self._processes)) for facts in self.recorded.pools.values())
        ready = ready_seconds(self.steps)
        completing = Completing(chains, self.steps, self._askings, pools)
        completing.complete()
        if not any(chains.is_request):  # then owners are what there is of them
            self.recorded.take_others(chains, self._loops)
        return Workload(
            pools=pools,
            chains=chains,
            steps=self.steps,
            places=tuple(self._places),
            processes=len(self._processes),
            recorded=recorded,
            began=min(
                (at for at, own in zip(chains.arrived, chains.is_request, strict=True) if own),
                default=min(chains.arrived, default=0.0),
            ),
            until=max((process.written for process in self._processes), default=0.0),
            unfinished=completing.unfinished,
            limits=Limits(
                hanging=self._hanging,
                threads=self._threads,
                unknown=completing.unknown,
                ready=ready,
                locks=self.locks,
                guessed=self.guessed,
            ),
            loops=tuple(self._loops),
        )

    def place(self, site: Site | None) -> int:
        """The number of a place."""
        return self._places.setdefault(site, len(self._places))

    def ask_from(self, ledger: Ledger, rows: Numbers) -> None:
        """Note the lines of askings, whose steps are written in this order."""
        lines = [self._line_number(ledger.sites[code]) for code in np.unique(ledger.site[rows])]
        known = np.zeros(len(ledger.sites), np.int32)
        known[np.unique(ledger.site[rows])] = lines
        self._askings.frombytes(known[ledger.site[rows]].tobytes())

    def ask_at(self, sites: Sequence[Site | None]) -> None:
        """Note the lines of askings, whose steps are written in this order."""
        self._askings.extend(map(self._line_number, sites))

    def _line_number(self, site: Site | None) -> int:
        key = None if site is None else (site.file, site.line)
        return self._lines.setdefault(key, len(self._lines))

    def add_loops(self, loops: Iterable[Loop]) -> None:
        """Add loops of the chains that are added next."""
        before = len(self.chains)
        for members, queue, pauses in loops:
            own, queued = (tuple(before + number for number in some) for some in (members, queue))
            self._loops.append(Loop(own, queued, pauses))

    def add_chains(self, chains: ChainColumns) -> None:
        """Add the chains of the process that was begun last."""
        self.chains.extend(chains, len(self._processes) - 1)

    def route(self, name: str) -> int:
        """The number of a route."""
        return self._routes.setdefault(name, len(self._routes))


class _ProcessChains:
    """Writes the chains of one process."""

    def __init__(
        self,
        builder: WorkloadBuilder,
        ledger: Ledger,
        groups: Groups,
        pools: Sequence[PoolFacts],
    ) -> None:
        self._builder = builder
        self._ledger = ledger
        self._groups = groups
        self._pools = np.array([facts.number for facts in pools], np.int64)
        numbers = {p.id: facts.number for p, facts in zip(ledger.pools, pools, strict=True)}
        looked = np.sort(groups.rows[is_looked_at(ledger)[groups.rows]])
        running = running_at_sites(ledger, looked)
        at_sites = dict(zip(ledger.sites, running.tolist(), strict=True))
        compiler = Compiler(
            builder.place, lambda p: numbers[p.id], at_sites.__getitem__, ledger.process.written
        )
        self._compiler = compiler
        single = groups.rows[groups.is_single[groups.number]]
        self._looked = looked[np.isin(looked, single)]
        locks = ReplayedLocks(ledger, self._looked)
        builder.locks += locks.unplayed
        builder.guessed += locks.guessed
        self._stretches = stretches_of(
            *(ledger, self._looked, running, compiler, builder.place), locks
        )

    def write(self) -> None:
        """Write all of its chains: those of one lane at once, the others one by one."""
        groups, ledger = self._groups, self._ledger
        lanes_of = {n: self._lanes(n) for n in np.flatnonzero(~groups.is_single).tolist()}
        sizes = np.ones(len(groups), np.int64)
        sizes[list(lanes_of)] = [len(found) for found in lanes_of.values()]
        # Children come before the chain that begins them.
        number = np.cumsum(sizes) - 1
        chains = ChainColumns.empty(int(number[-1]) + 1)
        chains.arrived[number] = ledger.process.began + groups.started / 1e6
        chains.is_request[number] = groups.is_request
        chains.is_whole[number] = groups.is_whole
        routes = np.array([self._builder.route(name) for name in ledger.routes], np.int64)
        chains.route[:] = np.repeat(routes[ledger.route[groups.rows[groups.first]]], sizes)
        for first in range(0, len(groups), _AT_ONCE):
            chosen = np.arange(first, min(first + _AT_ONCE, len(groups)))
            chosen = chosen[groups.is_single[chosen]]
            if len(chosen):
                chains.first[number[chosen]] = self._write_single(chosen)
        for group, found in lanes_of.items():
            self._write_lanes(group, found, int(number[group]), chains)
        before = len(self._builder.chains)
        self._builder.add_loops(loops_of(ledger, groups, number))
        self._builder.add_chains(chains)
        for group in np.flatnonzero(groups.is_single & ~groups.is_request).tolist():
            ends = int(groups.started[group]), int(groups.over[group])
            chain = before + int(number[group])
            self._builder.recorded.end_of_owner(chain, *map(ledger.seconds, ends))

    def _write_single(self, chosen: Numbers) -> Numbers:
        """Write groups whose checkouts follow one another; where the steps of each begin."""
        groups, steps, begun = self._groups, self._builder.steps, len(self._builder.steps)
        least, most = groups.first[chosen[0]], groups.end_of(int(chosen[-1]))
        inside = groups.is_single[groups.number[least:most]]
        rows, number = groups.rows[least:most][inside], groups.number[least:most][inside]
        atoms, first = self._atoms(chosen, rows, np.searchsorted(chosen, number))
        found = steps_of(atoms.answered(first, self._answered(chosen, rows, number)))
        steps.extend_columns(found.kinds, found.seconds, found.whats)
        # Each answer before it moved the first atom of a chain by one.
        begins: Numbers = found.first[first + np.arange(len(first))]
        return begins + begun

    def _answered(self, chosen: Numbers, rows: Numbers, number: Numbers) -> Numbers:
        """When each chain was answered; not within the last microsecond of a checkout."""
        ledger = self._ledger
        answered = np.maximum(self._groups.answered, self._groups.started)
        over = ledger.over[rows]
        is_edge = (ledger.asked[rows] < answered[number]) & (answered[number] == over - 1)
        answered[number[is_edge]] = over[is_edge]
        return answered[chosen]

    def _atoms(self, chosen: Numbers, rows: Numbers, chain: Numbers) -> tuple[Atoms, Numbers]:
        """The atoms of groups, without their answers, and where those of each begin."""
        ledger, groups = self._ledger, self._groups
        is_missed = ~ledger.is_granted[rows]
        begins, ends = (np.searchsorted(self._stretches.row, rows, s) for s in _SIDES)
        is_looked = np.isin(rows, self._looked)
        is_plain = ledger.is_granted[rows] & ~is_looked
        inner = np.where(is_looked, ends - begins, np.where(is_plain, 3, 0))
        sizes = inner + 2 + is_missed
        is_first = np.append([True], chain[1:] != chain[:-1])
        at = np.cumsum(sizes) - sizes + 2 * chain + 1
        first = at[is_first] - 1
        total = int(sizes.sum()) + 2 * len(chosen)
        atoms = Atoms.empty(total)
        atoms.put(first, groups.started[chosen], state=OUTSIDE)
        asked, left, over = ledger.asked[rows], ledger.left[rows], ledger.over[rows]
        pool = self._pools[ledger.pool[rows]]
        pinging = ledger.pinging[rows] / 1e6
        atoms.put(at, asked, mark=StepKind.ASK, seconds=pinging, mark_what=pool)
        self._builder.ask_from(ledger, rows)
        is_refused = np.isin(ledger.outcome[rows], _REFUSED)
        atoms.put(
            at[is_missed] + 1,
            asked[is_missed],
            mark=StepKind.MISS,
            seconds=(left - asked)[is_missed] / 1e6,
            mark_what=np.where(is_refused, GAVE_UP, TIMED_OUT)[is_missed],
        )
        busy = ledger.busy[rows]
        gap = (over - left - busy) / np.where(busy > 0, 2, 1)  # the operations are in the middle
        for place, instant, state in (
            (1, left, StepKind.RUN),
            (2, left + gap, StepKind.BUSY),
            (3, left + gap + busy, StepKind.RUN),
        ):
            atoms.put(at[is_plain] + place, instant[is_plain], state=state)
        inner = inner[is_looked]
        within = np.arange(int(inner.sum())) - np.repeat(np.cumsum(inner) - inner, inner)
        source = np.repeat(begins[is_looked], inner) + within
        _, instants, kinds, whats = (column[source] for column in self._stretches)
        where = np.repeat(at[is_looked] + 1, inner) + within
        is_mark = kinds >= StepKind.LOCK
        atoms.put(
            *(where, instants),
            mark=np.where(is_mark, kinds, NO_STEP),
            mark_what=whats,
            state=np.where(is_mark, NO_STEP, kinds),
            state_what=whats,
        )
        is_back = ledger.is_granted[rows] & ledger.is_returned[rows]
        mark = np.where(is_back, StepKind.RETURN, NO_STEP)
        atoms.put(at + sizes - 1, over, mark=mark, mark_what=pool, state=OUTSIDE)
        last = np.append(first[1:], total) - 1
        ended = np.maximum(groups.ended[chosen], groups.over[chosen])
        answered = groups.answered[chosen]
        atoms.put(last, np.maximum(ended, answered), mark=StepKind.END)
        return atoms, first

    def _lanes(self, group: int) -> list[Lane]:
        checkouts = list(self._ledger.checkouts(np.sort(self._groups.rows_of(group))))
        return lanes(checkouts, self._ledger.process.written)

    def _write_lanes(
        self, group: int, found: Sequence[Lane], number: int, chains: ChainColumns
    ) -> None:
        """Write the chains of a group, the last of which has this number."""
        groups, until = self._groups, self._ledger.process.written
        seconds = self._ledger.seconds
        if not groups.is_request[group]:
            for place, lane in enumerate(found, number - len(found) + 1):
                started, ended = lane.items[0].asked, lane.end(until)
                chain = len(self._builder.chains) + place
                self._builder.recorded.end_of_owner(chain, started, ended)
                answer = Mark(ended, Step(StepKind.ANSWER))
                if lane is found[0]:
                    ended = max(ended, seconds(int(groups.ended[group])))
                chains.put(place, self._lane(lane, started, ended, [answer]), started)
            return
        started = seconds(int(groups.started[group]))
        is_ended = groups.ended[group] < NEVER
        ended = seconds(int(groups.ended[group])) if is_ended else max(until, started)
        marks: list[Mark] = []
        for place, lane in enumerate(found[1:], number - len(found) + 1):
            begun, over = lane.items[0].asked, lane.end(until)
            chains.put(place, self._lane(lane, begun, over, [], is_open=not is_ended), math.inf)
            child = len(self._builder.chains) + place
            marks.append(Mark(begun, Step(StepKind.SPAWN, 0.0, child)))
            if over <= ended:
                marks.append(Mark(over, Step(StepKind.JOIN, 0.0, child)))
        if groups.answered[group] < NEVER:
            marks.append(Mark(seconds(int(groups.answered[group])), Step(StepKind.ANSWER)))
        first = self._lane(found[0], started, ended, marks, is_open=not is_ended)
        chains.put(number, first, started)
        chains.is_request[number] = True
        chains.is_whole[number] = is_ended and all(map(is_settled, found[0].items))

    def _lane(
        self,
        lane: Lane,
        started: float,
        ended: float,
        marks: Sequence[Mark],
        *,
        is_open: bool = False,
    ) -> int:
        """Write the steps of a lane; where they begin."""
        steps = self._builder.steps
        first = len(steps)
        steps.extend(self._compiler.steps(lane, started=started, ended=ended, marks=marks))
        self._builder.ask_at([checkout.site for checkout in lane.items])
        if is_open:
            steps.extend(self._compiler.returns(lane))
        steps.add(StepKind.END)
        return first


_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
