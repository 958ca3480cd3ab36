"""The timeline of a page: requests, checkouts and what they did, as columns of whole numbers.

Instants are microseconds since the timeline's start, and those of names that end in ``_d`` are
differences from the one before.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from poolhog.analysis.accounting import State, end_of, end_of_wait
from poolhog.analysis.bins import LENT
from poolhog.analysis.course import course
from poolhog.analysis.downsampling import downsampled, level
from poolhog.analysis.lanes import ConnectionLanes, packed
from poolhog.analysis.owned import grouped, key_of
from poolhog.analysis.routes import route_of
from poolhog.render.page.interning import NONE
from poolhog.render.page.verdict import base
from poolhog.render.view import window_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolhog.analysis.bins import Bins
    from poolhog.analysis.blame import Place
    from poolhog.analysis.course import Part
    from poolhog.analysis.owned import Owned
    from poolhog.analysis.whole import Detail, Whole
    from poolhog.model import Checkout, Pool
    from poolhog.render.page.interning import Interned

STATES = (State.WAITING, *LENT)
"""The states of spans, by their numbers."""

NO_REQUEST = -1
"""The status of an owner without a request."""

MOST_SPANS = 10_000
"""Of one checkout: of more, short ones are added up."""

LEAST_SPANS = 60
"""Of one checkout: it has as many, whatever the others have."""

MOST_BLAMED = 4
"""Places of which the queue of the timeline says how many waited for them."""

_DIGITS = 4


class Columns:
    """The columns of one side of a page, of what is shown of a run one by one.

    All spans together are about as many as ``spans``: of checkouts with very many, short ones are
    added up.
    """

    def __init__(self, whole: Whole, detail: Detail, interned: Interned, spans: int) -> None:
        self._whole = whole
        self._detail = detail
        self._interned = interned
        self._zero = whole.bins.started
        owned = sorted(grouped(detail.checkouts), key=lambda one: (one.started, one.key))
        self.owned: Sequence[Owned] = owned
        sizes = [
            2 * len(c.operations) + len(c.samples) + LEAST_SPANS // 4 for c in detail.checkouts
        ]
        self._most = min(max(level(sizes, spans), LEAST_SPANS), MOST_SPANS)
        self._courses: dict[str, Sequence[Part]] = {}
        self.index_of: Mapping[str, int] = {one.key: index for index, one in enumerate(owned)}

    def timeline(self) -> dict[str, Any]:
        """All of it, as told in ``docs/dev/page-data.md``."""
        whole, detail = self._whole, self._detail
        shown = len(detail.checkouts)
        lanes, pools = self._connection_lanes()
        requests = self._requests()
        spans = self._spans()
        courses = self._courses.values()
        added_up = sum(part.number for course in courses for part in course if part.number > 1)
        return {
            "started_s": whole.bins.started,
            "ended_s": whole.bins.ended,
            "complete": detail.is_complete,
            "left_out": {
                "checkouts": max(whole.report.checkouts - shown, 0),
                "requests": max(whole.requests - len(self.owned), 0),
                "spans": added_up,
            },
            "windows": [
                [self.us(w.started), self.us(w.ended), self._interned.text(window_reason(w))]
                for w in detail.windows
            ],
            "bins": {**bins_json(whole.bins), "blame": self._blame()},
            "pools": pools,
            "request_lanes": max(requests["lane"], default=NONE) + 1,
            "requests": requests,
            "checkouts": self._checkouts(lanes),
            "spans": spans,
            "whats": self._interned.whats,
        }

    def course_of(self, checkout: Checkout) -> Sequence[Part]:
        """The course of a checkout, as it is shown."""
        found = self._courses.get(checkout.id)
        if found is None:
            process = checkout.pool.process
            parts = course(checkout, process.written, self._whole.shares_of(process))
            ended = end_of(checkout, process.written)
            found = downsampled(parts, checkout.asked, ended, self._most)
            self._courses[checkout.id] = found
        return found

    def us(self, at: float) -> int:
        """Microseconds since the timeline's start."""
        return round((at - self._zero) * 1e6)

    def _requests(self) -> dict[str, list[int]]:
        text = self._interned.text
        spans = [(self.us(one.started), self.us(one.ended)) for one in self.owned]
        requests = [one.request for one in self.owned]
        names = [route_of(one.checkouts[0]) for one in self.owned]
        return {
            "id": [text(one.key) for one in self.owned],
            "name": [text(name) for name in names],
            "path": [text(r.path if r is not None else "") for r in requests],
            "status": [NO_REQUEST if r is None else r.status or 0 for r in requests],
            "lane": packed(spans),
            "start_d": differences(start for start, _ in spans),
            "length": [end - start for start, end in spans],
            "responding": [
                NONE if r is None or r.responding is None else self.us(r.responding) - start
                for r, (start, _) in zip(requests, spans, strict=True)
            ],
        }

    def _connection_lanes(self) -> tuple[dict[str, int], list[dict[str, Any]]]:
        """The lane of each checkout that got a connection, and the pools with their lanes."""
        lanes: dict[str, ConnectionLanes] = {}
        found: dict[str, int] = {}
        lent = [c for c in self._detail.checkouts if c.granted is not None]
        for checkout in sorted(lent, key=lambda c: (c.granted or 0.0, c.id)):
            of_pool = lanes.setdefault(checkout.pool.id, ConnectionLanes())
            end = end_of(checkout, checkout.pool.process.written)
            granted = checkout.granted or 0.0
            found[checkout.id] = of_pool.take(checkout.connection, granted, end)
        return found, [
            {
                "id": pool.id,
                "name": self._interned.texts[self._interned.text(pool.name)],
                "pid": pool.process.pid,
                "capacity": pool.capacity,
                "lanes": max(len(lanes.get(pool.id, ())), pool.size or 0),
            }
            for pool in self._pools
        ]

    def _checkouts(self, lanes: Mapping[str, int]) -> dict[str, list[int]]:
        checkouts = self._detail.checkouts
        text, site = self._interned.text, self._interned.site
        pools = {pool.id: index for index, pool in enumerate(self._pools)}
        asked = [self.us(c.asked) for c in checkouts]
        answered = [self.us(end_of_wait(c, c.pool.process.written)) for c in checkouts]
        return {
            "id": [text(c.id) for c in checkouts],
            "request": [self.index_of[key_of(c)] for c in checkouts],
            "pool": [pools[c.pool.id] for c in checkouts],
            "lane": [lanes.get(c.id, NONE) for c in checkouts],
            "asked_d": differences(asked),
            "wait": [end - start for start, end in zip(asked, answered, strict=True)],
            "use": [
                NONE if c.granted is None else self._end(c) - at
                for c, at in zip(checkouts, answered, strict=True)
            ],
            "outcome": [text(c.outcome.value) for c in checkouts],
            "site": [site(c.site) for c in checkouts],
        }

    def _spans(self) -> dict[str, list[int]]:
        of: list[int] = []
        state: list[int] = []
        start: list[int] = []
        length: list[int] = []
        what: list[int] = []
        numbers = {one: number for number, one in enumerate(STATES)}
        for index, checkout in enumerate(self._detail.checkouts):
            zero = self.us(checkout.asked)
            for part in self.course_of(checkout):
                # By rounded instants, not durations: so parts meet.
                begin, end = self.us(part.started) - zero, self.us(part.ended) - zero
                if end > begin:
                    of.append(index)
                    state.append(numbers[part.state])
                    start.append(begin)
                    length.append(end - begin)
                    what.append(self._interned.what(part))
        columns = {"state": state, "start": start, "length": length, "what": what}
        return {"checkout_d": differences(of), **columns}

    def _blame(self) -> list[dict[str, Any]]:
        """Whom the most requests waited for, and how many, bin by bin."""
        blamed = self._whole.blamed
        return [
            {
                "name": self._interned.text(_named(place)),
                "waiting": [round(number, _DIGITS) for number in blamed.averages(place)],
            }
            for place in blamed.most(MOST_BLAMED)
        ]

    @property
    def _pools(self) -> list[Pool]:
        """Those that were used in what is shown, and the others of the run, by process."""
        every = {use.pool.id: use.pool for use in self._whole.report.pools}
        every |= {c.pool.id: c.pool for c in self._detail.checkouts}
        return sorted(every.values(), key=lambda pool: (pool.process.began, pool.id))

    def _end(self, checkout: Checkout) -> int:
        return self.us(end_of(checkout, checkout.pool.process.written))


def _named(place: Place) -> str:
    if place.line is None:
        return place.route
    file, line, _ = place.line
    return f"{base(file)}:{line}, {place.route}"


def differences(values: Iterable[int]) -> list[int]:
    """The first value, and then the difference of each from the one before."""
    return [after - before for before, after in pairwise((0, *values))]


def bins_json(bins: Bins) -> dict[str, Any]:
    """Averages over the bins of the whole run: connections in each state, and who waited."""

    def averages(row: Iterable[float]) -> list[float]:
        return [round(max(float(seconds), 0.0) / bins.width, _DIGITS) for seconds in row]

    return {
        "count": bins.count,
        **{state.value: averages(row) for state, row in bins.lent.items()},
        "waiting": averages(bins.waited),
        "most_waiting": bins.peaks,
    }
