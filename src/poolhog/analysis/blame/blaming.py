"""Who is to blame for the waiting of one process, and the charges that come of it.

What a checkout did that no sample tells about is charged in proportion to its microseconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from poolhog.analysis.accounting import State
from poolhog.analysis.blame.blockers import Answered, behind
from poolhog.analysis.blame.queue import Queue, Turns
from poolhog.analysis.blocks import blocks_of
from poolhog.analysis.spans import BLOCKED, BUSY, STATES, UNSAMPLED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.blame.queue import Units
    from poolhog.analysis.ledger import Flags, Ledger, Numbers
    from poolhog.analysis.spans import Fractions, Split
    from poolhog.model import Pool, Process, Site

    _Cause = tuple[str | None, str, Site | None]

CONNECTING, PINGING, NOBODY = "connecting", "pinging", "nobody"
"""No state of a lent connection: one was opened or pinged; nobody was in the way."""

_MICROSECONDS = 1_000_000

LineKey = tuple[str, int, str]


class Charge(NamedTuple):
    """So long did requests of the ``waiting`` route wait because of what ``holding`` did.

    ``state`` is that of the connection, or ``connecting`` if it was being opened or pinged for
    ``holding``. Where ``holding`` is ``None``, they opened or pinged connections of their own
    (``connecting``, ``pinging``), or ``nobody`` was in the way. ``site`` is the line that a
    finding would name for it.
    """

    pool: Pool
    waiting: str
    holding: str | None
    state: str
    site: Site | None
    microseconds: int

    @property
    def seconds(self) -> float:
        """How long, added up."""
        return self.microseconds / _MICROSECONDS


@dataclass(frozen=True, slots=True)
class Blame:
    """All waiting of a run by who is to blame, the most seconds first."""

    charges: tuple[Charge, ...] = ()

    @property
    def total(self) -> float:
        """Seconds that were waited, whoever is to blame."""
        return sum(charge.microseconds for charge in self.charges) / _MICROSECONDS

    def made_wait(self) -> Mapping[str, float]:
        """Seconds that requests waited because of each route."""
        found: Counter[str] = Counter()
        for charge in self.charges:
            if charge.holding is not None:
                found[charge.holding] += charge.microseconds
        return {route: microseconds / _MICROSECONDS for route, microseconds in found.items()}

    def about(self, text: str) -> Blame:
        """Only what routes did or suffered whose names contain the text, in any case."""
        wanted = text.casefold()
        return Blame(
            tuple(
                charge
                for charge in self.charges
                if wanted in charge.waiting.casefold()
                or (charge.holding is not None and wanted in charge.holding.casefold())
            )
        )


NO_BLAME = Blame()


class Place(NamedTuple):
    """What a route did, where; equal lines are equal, whoever called them."""

    route: str
    line: LineKey | None


def line_of(site: Site | None) -> LineKey | None:
    """What sites at one line of code have in common, whoever called it."""
    return (site.file, site.line, site.function) if site is not None else None


def most_first(charge: Charge) -> tuple[int, str, str, str, str, LineKey]:
    """Sorts charges: those that made others wait longest come first."""
    line = line_of(charge.site) or ("", 0, "")
    return (
        *(-charge.microseconds, charge.pool.id, charge.waiting),
        *(charge.holding or "", charge.state, line),
    )


_CONNECTING = UNSAMPLED + 1
"""The state, as a number, of a connection that is being opened or pinged for its checkout."""

_SPLIT = (BUSY, *range(BUSY + 1, UNSAMPLED + 1))


class Observer(Protocol):
    """Whoever wants to know when it was that some held up others."""

    def see(
        self,
        place: Place,
        queue: Queue,
        process: Process,
        spans: tuple[Numbers, Numbers],
        sign: int,
    ) -> None:
        """Some held connections; with a negative sign, not for what was said before."""


class _Held(NamedTuple):
    """Stretches in which connections were held, and what for: the numbers of causes."""

    started: Numbers
    ended: Numbers
    cause: Numbers


class _Causes:
    """Numbers for what holders did: their route, a state, a line, and where they asked."""

    def __init__(self, ledger: Ledger, sites: Sequence[Site | None]) -> None:
        self._ledger = ledger
        self.sites = (*ledger.sites, *sites)
        self._states = _CONNECTING + 1

    def numbers(
        self, route: Numbers, state: Numbers | int, line: Numbers, asked_at: Numbers
    ) -> Numbers:
        """The number of each cause; a line is an index of ``sites``."""
        found: Numbers = (route * self._states + state) * len(self.sites) + line
        return found * len(self._ledger.sites) + asked_at

    def named(self, number: int) -> tuple[str, int, Site | None, int]:
        """The route, the state, the line, and where the connection was asked for."""
        rest, asked_at = divmod(number, len(self._ledger.sites))
        rest, line = divmod(rest, len(self.sites))
        route, state = divmod(rest, self._states)
        return self._ledger.routes[route], state, self.sites[line], asked_at


def blame_of(
    ledger: Ledger,
    split: Split,
    shares: Fractions,
    is_seen: Flags,
    answered: Answered,
    observer: Observer | None = None,
) -> tuple[list[Charge], Mapping[str, Queue]]:
    """The charges of a process, and the queues of its pools by their ids.

    Of a checkout that ``is_seen``, all that is not busy was ``answered`` for.
    """
    charges: list[Charge] = []
    queues: dict[str, Queue] = {}
    causes = _Causes(ledger, answered.sites)
    for number, pool in enumerate(ledger.pools):
        rows = np.flatnonzero(ledger.pool == number)
        if len(rows):
            own = _Blaming(ledger, split, rows, pool, causes)
            charged = own.charged(is_seen, answered, observer)
            charges += own.settled(_shared(charged, causes, shares))
            queues[pool.id] = own.queue
    return charges, queues


class _Blaming:
    """The checkouts of one pool."""

    def __init__(
        self, ledger: Ledger, split: Split, rows: Numbers, pool: Pool, causes: _Causes
    ) -> None:
        self._ledger, self._split, self._pool, self._causes = ledger, split, pool, causes
        self._rows, self._number = rows, ledger.pools.index(pool)
        asked, left, over = ledger.asked[rows], ledger.left[rows], ledger.over[rows]
        self._connecting = np.minimum(split.connecting[rows], left - asked)
        self._pinging = np.minimum(split.pinging[rows], left - asked - self._connecting)
        got = left - self._connecting - self._pinging
        self._turns = Turns(asked, got, over, ledger.route[rows])
        self.queue = Queue(pool.capacity, self._turns, ledger.routes)

    def charged(
        self, is_seen: Flags, answered: Answered, observer: Observer | None
    ) -> Counter[tuple[int, int]]:
        """Units by the waiting route, and the number of what made it wait."""
        found: Counter[tuple[int, int]] = Counter()
        chosen = self.queue.contended
        if not len(chosen):
            return found
        rows = self._rows[chosen]
        ledger, causes = self._ledger, self._causes
        route, site = ledger.route[rows], ledger.site[rows]
        got, left, over = self._turns.got[chosen], ledger.left[rows], ledger.over[rows]
        self._add(found, _Held(got, left, causes.numbers(route, _CONNECTING, site, site)))
        of_busy = causes.numbers(route, BUSY, site, site)
        self._add(found, _Held(left, over, of_busy))
        self._divide(found, np.flatnonzero(~is_seen[rows]), rows, left, over)
        self._see(observer, _Held(got, over, of_busy), 1)
        self._answer(found, answered, observer)
        self._shift(found, answered, observer)
        return found

    def _divide(
        self,
        found: Counter[tuple[int, int]],
        some: Numbers,
        rows: Numbers,
        left: Numbers,
        over: Numbers,
    ) -> None:
        """Move from busy what some checkouts did besides, in proportion to their microseconds."""
        rows, left, over = rows[some], left[some], over[some]
        route, site = self._ledger.route[rows], self._ledger.site[rows]
        parts = [np.maximum(column[rows], 0) for column in self._split[3:]]
        whole = np.maximum(np.sum(parts, axis=0), 1)
        of_busy = self._causes.numbers(route, BUSY, site, site)
        for waiting, units in self.queue.charges(left, over):
            for state, part in zip(_SPLIT[1:], parts[1:], strict=True):
                cause = self._causes.numbers(route, state, site, site)
                _sum(found, waiting, cause, units * (part / whole), -1, of_busy)

    def _answer(
        self, found: Counter[tuple[int, int]], answered: Answered, observer: Observer | None
    ) -> None:
        """Move from busy what samples tell about."""
        own = np.flatnonzero(self._ledger.pool[answered.row] == self._number)
        own = own[self.queue.concerned(answered.started[own], answered.ended[own])]
        row = answered.row[own]
        route, site = self._ledger.route[row], self._ledger.site[row]
        line = answered.line[own] + len(self._ledger.sites)
        started, ended = answered.started[own], answered.ended[own]
        causes = self._causes.numbers(route, answered.state[own], line, site)
        self._exchange(found, row, _Held(started, ended, causes), observer)

    def _shift(
        self, found: Counter[tuple[int, int]], answered: Answered, observer: Observer | None
    ) -> None:
        """Move what was blocked to the checkouts that held the locks; of others, it is blocked."""
        ledger, number = self._ledger, self._number
        parts = behind(ledger, answered)
        own = np.flatnonzero(ledger.pool[parts.row] == number)
        own = own[self.queue.concerned(parts.started[own], parts.ended[own])]
        parts = parts.where(own)
        blocker, site = parts.blocker, ledger.site[parts.blocker]
        line = np.where(parts.line >= 0, parts.line + len(ledger.sites), site)
        causes = self._causes.numbers(ledger.route[blocker], parts.state, line, site)
        self._exchange(found, parts.row, _Held(parts.started, parts.ended, causes), observer)
        blocks = blocks_of(ledger)
        blocks = blocks.where(
            np.flatnonzero((ledger.pool[blocks.row] == number) & (blocks.blocker < 0))
        )
        site = ledger.site[blocks.row]
        causes = self._causes.numbers(ledger.route[blocks.row], BLOCKED, site, site)
        self._exchange(found, blocks.row, _Held(blocks.started, blocks.ended, causes), observer)

    def _exchange(
        self,
        found: Counter[tuple[int, int]],
        row: Numbers,
        held: _Held,
        observer: Observer | None,
    ) -> None:
        """Charge something else for stretches in which the rows were busy."""
        route, site = self._ledger.route[row], self._ledger.site[row]
        busy = _Held(held.started, held.ended, self._causes.numbers(route, BUSY, site, site))
        for part, sign in ((held, 1), (busy, -1)):
            self._add(found, part, sign)
            self._see(observer, part, sign)

    def _add(self, found: Counter[tuple[int, int]], held: _Held, sign: int = 1) -> None:
        for waiting, units in self.queue.charges(held.started, held.ended):
            _sum(found, waiting, held.cause, units, sign)

    def _see(self, observer: Observer | None, held: _Held, sign: int) -> None:
        if observer is None:
            return
        for cause in np.unique(held.cause).tolist():
            route, _, site, _ = self._causes.named(cause)
            own = held.cause == cause
            spans = held.started[own], held.ended[own]
            observer.see(Place(route, line_of(site)), self.queue, self._ledger.process, spans, sign)

    def settled(self, charged: Mapping[tuple[int, _Cause], int]) -> Iterator[Charge]:
        """The charges in whole microseconds, with what nobody is charged with."""
        routes, turns = self._ledger.routes, self._turns
        for state, column in ((CONNECTING, self._connecting), (PINGING, self._pinging)):
            for route, microseconds in _totals(turns.route, column):
                yield Charge(self._pool, routes[route], None, state, None, microseconds)
        rows: dict[int, list[tuple[_Cause, int]]] = {}
        for (waiting, cause), units in charged.items():
            rows.setdefault(waiting, []).append((cause, units))
        scale = self.queue.scale
        for route, whole in _totals(turns.route, turns.got - turns.asked):
            own = rows.get(route, [])
            own.append(((None, NOBODY, None), whole * scale - sum(units for _, units in own)))
            for cause, microseconds in _rounded(own, scale, whole):
                if microseconds:
                    yield Charge(self._pool, routes[route], *cause, microseconds)


def _sum(
    found: Counter[tuple[int, int]],
    waiting: int,
    causes: Numbers,
    units: Units,
    sign: int,
    others: Numbers | None = None,
) -> None:
    """Add the units of each cause, in whole numbers; or move them there from others."""
    order = np.argsort(causes, kind="stable")
    numbers, first = np.unique(causes[order], return_index=True)
    if not len(numbers):
        return
    sums = np.add.reduceat(units[order], first).tolist()
    for at, (cause, total) in enumerate(zip(numbers.tolist(), sums, strict=True)):
        if others is None:
            found[waiting, cause] += sign * int(total)
        elif total:
            found[waiting, cause] += int(total)
            found[waiting, int(others[order[first[at]]])] -= int(total)


def _totals(codes: Numbers, microseconds: Numbers) -> Iterator[tuple[int, int]]:
    """The sum of each code that has any."""
    for code in np.unique(codes).tolist():
        total = int(microseconds[codes == code].sum())
        if total:
            yield code, total


def _shared(
    charged: Mapping[tuple[int, int], int], causes: _Causes, shares: Fractions
) -> Counter[tuple[int, _Cause]]:
    """The charges with unsampled parts split like their siblings; causes at one line are one."""
    found: Counter[tuple[int, _Cause]] = Counter()
    sites: dict[LineKey | None, Site | None] = {}
    for (waiting, number), units in charged.items():
        route, state, line, asked_at = causes.named(number)
        site = sites.setdefault(line_of(line), line)
        parts = {STATES[state].value if state < UNSAMPLED else CONNECTING: units}
        if state == UNSAMPLED:
            parked, ready = (int(units * shares[asked_at][place]) for place in (0, 2))
            names = State.PARKED.value, State.RUNNING.value, State.READY.value
            parts = dict(zip(names, (parked, units - parked - ready, ready), strict=True))
        for name, part in parts.items():
            found[waiting, (route, name, site)] += part
    return found


def _rounded(
    rows: Sequence[tuple[_Cause, int]], scale: int, whole: int
) -> Iterator[tuple[_Cause, int]]:
    """Each in whole microseconds, up or down, so that they add up to the ``whole``.

    Those that lose most are rounded up: the method of the largest remainder.
    """
    down = [(units // scale, units % scale) for _, units in rows]
    missing = whole - sum(microseconds for microseconds, _ in down)
    order = sorted(range(len(rows)), key=lambda index: (-down[index][1], index))
    up = set(order[:missing])
    for index, (cause, _) in enumerate(rows):
        yield cause, down[index][0] + (index in up)
