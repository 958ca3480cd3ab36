"""Finds out who is to blame, in checkouts that come by.

Of a checkout that no sample tells about, what it did is told in proportion to its seconds.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from poolhog.analysis.accounting import GAPS, State, end_of, end_of_wait
from poolhog.analysis.blame import (
    CONNECTING,
    NOBODY,
    PINGING,
    Blame,
    Charge,
    Line,
    Place,
    line_of,
    most_first,
)
from poolhog.analysis.cells import in_microseconds, since
from poolhog.analysis.queues import Queue, Turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.accounting import Shares, Told
    from poolhog.analysis.quiet import Quiet
    from poolhog.model import Checkout, Pool, Process, Site

    _Cause = tuple[str | None, str, Site | None]

_UNTOLD = "untold"
_TOLD = (State.BUSY.value, *(state.value for state in GAPS), _UNTOLD)


class Observer(Protocol):
    """Whoever wants to know when it was that somebody held up others."""

    def see(
        self, place: Place, queue: Queue, process: Process, started: int, ended: int, sign: int
    ) -> None:
        """A checkout held a connection; with a negative sign, not for what was told before."""


class _Key(NamedTuple):
    route: str
    state: str
    site: Site | None
    asked_at: Site | None

    @property
    def place(self) -> Place:
        return Place(self.route, line_of(self.site))


class _Uses(Turns):
    """The checkouts of one route that were asked for at one site, and what each did.

    ``told`` has numbers for each: its microseconds in ``_TOLD``, or zeros if its pieces are told.
    """

    __slots__ = ("connecting", "granted", "pinging", "site", "told")

    def __init__(self, route: str, site: Site | None) -> None:
        super().__init__(route)
        self.site = site
        self.granted = array("q")
        self.told = array("q")
        self.connecting = 0
        self.pinging = 0

    def add(self, asked: int, granted: int, over: int, told: Told, spent: Sequence[int]) -> None:
        wait = granted - asked
        connecting = min(in_microseconds(told.connecting), wait)
        pinging = min(in_microseconds(told.pinging), wait - connecting)
        self.connecting += connecting
        self.pinging += pinging
        self.asked.append(asked)
        self.got.append(granted - connecting - pinging)
        self.granted.append(granted)
        self.over.append(over)
        self.told.extend(spent)

    def each(self) -> Iterator[tuple[int, int, int, Sequence[int]]]:
        told, columns = self.told, len(_TOLD)
        for index in self.contended:
            spent = told[index * columns : (index + 1) * columns]
            yield self.got[index], self.granted[index], self.over[index], spent


class _QuietUses(Turns):
    """The same of quiet checkouts, as they are."""

    __slots__ = ("connecting", "pinging", "quiet", "site")

    def __init__(self, quiet: Quiet) -> None:
        super().__init__(quiet.route)
        self.quiet = quiet
        self.site = quiet.site
        self.asked, self.over = quiet.asked, quiet.returned
        self.connecting, self.pinging = 0, sum(quiet.pinging)
        self.got = quiet.granted
        if self.pinging:
            pairs = zip(quiet.granted, quiet.pinging, strict=True)
            self.got = array("q", (granted - pinging for granted, pinging in pairs))

    def each(self) -> Iterator[tuple[int, int, int, Sequence[int]]]:
        for index in self.contended:
            granted, over = self.quiet.granted[index], self.over[index]
            busy = self.quiet.busy[index]
            yield self.got[index], granted, over, (busy, 0, 0, 0, over - granted - busy)


class _OfPool:
    """What of one pool comes by."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.uses: dict[tuple[str, Site | None], _Uses] = {}
        self.quiet: list[_QuietUses] = []
        # Starts and ends of what looked-at checkouts did, one after the other.
        self.pieces: dict[_Key, array[int]] = {}

    @property
    def turns(self) -> list[_Uses | _QuietUses]:
        return [*self.uses.values(), *self.quiet]


class Blaming:
    """Finds out who is to blame, of one process after the other."""

    def __init__(self, observer: Observer | None = None) -> None:
        self._observer = observer
        self._pools: dict[str, _OfPool] = {}
        self._charges: list[Charge] = []

    def add(self, checkout: Checkout, route: str, told: Told, until: float, *, seen: bool) -> None:
        """A checkout; of one that is ``seen``, all but what is busy is ``put`` as well."""
        process = checkout.pool.process
        granted, over = end_of_wait(checkout, until), end_of(checkout, until)
        pool = self._pool(checkout.pool)
        key = route, checkout.site
        uses = pool.uses.get(key)
        if uses is None:
            uses = pool.uses[key] = _Uses(*key)
        spent = _NOTHING if seen else [max(in_microseconds(seconds), 0) for seconds in told[3:]]
        uses.add(since(process, checkout.asked), *_both(process, granted, over), told, spent)

    def pass_by(self, quiet: Quiet) -> None:
        """Quiet checkouts, when all of them are known."""
        self._pool(quiet.pool).quiet.append(_QuietUses(quiet))

    def put(
        self,
        checkout: Checkout,
        route: str,
        state: State | None,
        site: Site | None,
        started: float,
        ended: float,
    ) -> None:
        """A part of a gap and the line that answers for it; ``None``: not known what it was."""
        key = _Key(route, _UNTOLD if state is None else state.value, site, checkout.site)
        pool = self._pool(checkout.pool)
        spans = pool.pieces.get(key)
        if spans is None:
            spans = pool.pieces[key] = array("q")
        spans.extend(_both(checkout.pool.process, started, ended))

    def close(self, shares: Shares) -> Mapping[str, Queue]:
        """All checkouts of the process came by: who waited for each pool, by its id."""
        queues = {}
        for key, pool in self._pools.items():
            turns = pool.turns
            queue = queues[key] = Queue(pool.pool.capacity, turns)
            charged = self._charged(pool, queue, turns)
            self._charges += _settled(pool.pool, turns, _shared(charged, shares), queue.scale)
        self._pools = {}
        return queues

    def found(self) -> Blame:
        """All of it."""
        return Blame(tuple(sorted(self._charges, key=most_first)))

    def _pool(self, pool: Pool) -> _OfPool:
        found = self._pools.get(pool.id)
        if found is None:
            found = self._pools[pool.id] = _OfPool(pool)
        return found

    def _charged(
        self, pool: _OfPool, queue: Queue, turns: Iterable[_Uses | _QuietUses]
    ) -> Counter[tuple[str, _Key]]:
        """By who waited, and what made them."""
        found: Counter[tuple[str, _Key]] = Counter()
        for uses in turns:
            keys = [_Key(uses.route, state, uses.site, uses.site) for state in (*_TOLD, CONNECTING)]
            for got, granted, over, told in uses.each():
                if got < granted:
                    for waiting, units in queue.charge(got, granted):
                        found[waiting, keys[-1]] += units
                for waiting, units in queue.charge(granted, over):
                    _divide(found, waiting, keys, units, told)
                self._see(pool.pool, queue, keys[0], got, over, 1)
        for key, spans in pool.pieces.items():
            busy = key._replace(state=State.BUSY.value, site=key.asked_at)
            starts, ends = spans[::2], spans[1::2]
            for index in queue.concerned(starts, ends):
                started, ended = starts[index], ends[index]
                for waiting, units in queue.charge(started, ended):
                    found[waiting, key] += units
                    found[waiting, busy] -= units
                self._see(pool.pool, queue, key, started, ended, 1)
                self._see(pool.pool, queue, busy, started, ended, -1)
        return found

    def _see(
        self, pool: Pool, queue: Queue, key: _Key, started: int, ended: int, sign: int
    ) -> None:
        if self._observer is not None:
            self._observer.see(key.place, queue, pool.process, started, ended, sign)


_NOTHING = [0] * len(_TOLD)


def _divide(
    found: Counter[tuple[str, _Key]],
    waiting: str,
    keys: Sequence[_Key],
    units: int,
    told: Sequence[int],
) -> None:
    """Charge what a checkout did in proportion to its seconds; what rounding leaves is busy."""
    whole = sum(told)
    rest = units
    if whole:
        for key, part in zip(keys[1 : len(_TOLD)], told[1:], strict=True):
            if part:
                share = units * part // whole
                found[waiting, key] += share
                rest -= share
    found[waiting, keys[0]] += rest


def _shared(charged: Mapping[tuple[str, _Key], int], shares: Shares) -> Counter[tuple[str, _Cause]]:
    """What no sample told about, split like its siblings; lines that are the same are one."""
    found: Counter[tuple[str, _Cause]] = Counter()
    sites: dict[Line | None, Site | None] = {}
    for (waiting, key), units in charged.items():
        site = sites.setdefault(line_of(key.site), key.site)
        parts = {key.state: units}
        if key.state == _UNTOLD:
            share = shares.at(key.asked_at)
            parked, ready = int(units * share.parked), int(units * share.ready)
            parts = dict(zip(_TOLD[1:4], (parked, units - parked - ready, ready), strict=True))
        for state, part in parts.items():
            found[waiting, (key.route, state, site)] += part
    return found


def _settled(
    pool: Pool,
    turns: Sequence[_Uses | _QuietUses],
    charged: Mapping[tuple[str, _Cause], int],
    scale: int,
) -> Iterator[Charge]:
    """The charges in whole microseconds, with what nobody is charged with."""
    queued, others = Counter[str](), Counter[tuple[str, str]]()
    for uses in turns:
        queued[uses.route] += uses.queued
        others[uses.route, CONNECTING] += uses.connecting
        others[uses.route, PINGING] += uses.pinging
    for (route, state), microseconds in others.items():
        if microseconds:
            yield Charge(pool, route, None, state, None, microseconds)
    rows: dict[str, list[tuple[_Cause, int]]] = {}
    for (waiting, cause), units in charged.items():
        rows.setdefault(waiting, []).append((cause, units))
    for route, whole in queued.items():
        own = rows.get(route, [])
        own.append(((None, NOBODY, None), whole * scale - sum(units for _, units in own)))
        for key, microseconds in _rounded(own, scale, whole):
            if microseconds:
                yield Charge(pool, route, *key, microseconds)


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
    for index, (key, _) in enumerate(rows):
        yield key, down[index][0] + (index in up)


def _both(process: Process, started: float, ended: float) -> tuple[int, int]:
    return since(process, started), since(process, ended)
