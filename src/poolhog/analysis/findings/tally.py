"""The tally: what was found of each kind at each line, added up over checkouts and processes."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from poolhog.analysis.cells import since
from poolhog.analysis.findings.finding import Example, Occurrences
from poolhog.analysis.findings.names import route_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.findings.finding import FindingKind
    from poolhog.analysis.findings.where import Where
    from poolhog.analysis.queues import Queue
    from poolhog.model import Checkout, Pool, Site

    Key = tuple[FindingKind, str, int, str]

MOST_REMEMBERED = 10_000
"""Durations of a line that a median is taken of, and texts of which the most frequent is told."""


@dataclass(slots=True)
class Entry:
    """What was found of one kind at one line.

    ``group`` is what its lines have in common, if they differ, and ``pool`` the first pool that it
    was seen in. ``made_wait`` is how long each route waited for what was wasted. ``notes`` are
    texts of evidence with how much each weighs. ``most`` is for what a kind wants to know the
    greatest of.
    """

    kind: FindingKind
    group: str | None
    pool: Pool
    where: Where
    example: Example
    seconds: float = 0.0
    estimated: float = 0.0
    checkouts: int = 0
    longest: float = 0.0
    most: int = 0
    routes: dict[str, float] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)
    durations: array[float] = field(default_factory=lambda: array("d"))
    occurrences: Occurrences = field(default_factory=Occurrences)
    # By pool, in microseconds since the process began: starts and ends, one after the other.
    wasted: dict[str, array[int]] = field(default_factory=dict)
    made_wait: dict[str, float] = field(default_factory=dict)
    # By where the connection was asked for: what no sample told about is added in proportion.
    asked_at: dict[Site | None, float] = field(default_factory=dict)

    @property
    def whole(self) -> float:
        """The seconds that were wasted, as far as was seen and as is estimated besides."""
        return self.seconds + self.estimated

    @property
    def median(self) -> float:
        """Of its seconds in a checkout."""
        ordered = sorted(self.durations)
        return ordered[len(ordered) // 2] if ordered else 0.0

    def add(
        self,
        checkout: Checkout,
        where: Where,
        spans: Sequence[tuple[float, float]],
        weight: float | None = None,
    ) -> None:
        """It was so in this checkout, in these intervals, which were wasted.

        With a ``weight``, nothing was wasted: that is then how much the occurrence counts for its
        route, and the intervals are only to be looked at.
        """
        seconds = sum(ended - started for started, ended in spans)
        if not self.checkouts or seconds > self.longest:
            self.longest = seconds
            self.where = where
            self.example = _example(checkout, spans)
        self.checkouts += 1
        self.occurrences.add(checkout.asked, seconds if weight is None else 0.0)
        route = route_of(checkout)
        counts = weight if weight is not None else seconds
        self.routes[route] = self.routes.get(route, 0.0) + counts
        if len(self.durations) < MOST_REMEMBERED:
            self.durations.append(seconds)
        if weight is None:
            self._waste(checkout, spans, seconds)

    def charge(self, queues: Mapping[str, Queue]) -> None:
        """These are the queues of the pools of a process: what was wasted made some of it wait."""
        for pool, queue in queues.items():
            charged: Counter[str] = Counter()
            spans = iter(self.wasted.pop(pool, ()))
            for started, ended in zip(spans, spans, strict=True):
                for route, units in queue.charge(started, ended):
                    charged[route] += units
            for route, units in charged.items():
                seconds = units / (queue.scale * 1_000_000)
                self.made_wait[route] = self.made_wait.get(route, 0.0) + seconds

    def tell(self, note: str, weight: float = 1.0) -> None:
        """Evidence in words; what weighs the most is told."""
        if note in self.notes or len(self.notes) < MOST_REMEMBERED:
            self.notes[note] = self.notes.get(note, 0.0) + weight

    def _waste(
        self, checkout: Checkout, spans: Sequence[tuple[float, float]], seconds: float
    ) -> None:
        self.seconds += seconds
        self.asked_at[checkout.site] = self.asked_at.get(checkout.site, 0.0) + seconds
        wasted = self.wasted.get(checkout.pool.id)
        if wasted is None:
            wasted = self.wasted[checkout.pool.id] = array("q")
        process = checkout.pool.process
        for span in spans:
            wasted.extend(since(process, instant) for instant in span)


class Tally:
    """All entries, by kind and line."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(
        self,
        kind: FindingKind,
        checkout: Checkout,
        where: Where,
        spans: Sequence[tuple[float, float]],
        *,
        weight: float | None = None,
        key: str | None = None,
    ) -> Entry:
        """Add an occurrence; ``key`` groups what is one thing although the lines differ."""
        full_key = _key(kind, where.site, key)
        entry = self._entries.get(full_key)
        if entry is None:
            entry = self._entries[full_key] = Entry(
                kind, key, checkout.pool, where, _example(checkout, spans)
            )
        entry.add(checkout, where, spans, weight)
        return entry


def _key(kind: FindingKind, site: Site | None, key: str | None) -> Key:
    if key is not None:
        return kind, key, 0, ""
    if site is None:
        return kind, "", 0, ""
    return kind, site.file, site.line, site.function


def _example(checkout: Checkout, spans: Sequence[tuple[float, float]]) -> Example:
    longest = max(spans, key=lambda span: span[1] - span[0])
    return Example(
        request=checkout.request.id if checkout.request is not None else None,
        checkout=checkout.id,
        pid=checkout.pool.process.pid,
        started=longest[0],
        ended=longest[1],
    )
