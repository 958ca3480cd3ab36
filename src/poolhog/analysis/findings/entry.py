"""What is added up over a run: occurrences of a kind at a line, and the totals of the run."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from poolhog.analysis.cells import since
from poolhog.analysis.routes import route_of
from poolhog.analysis.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from poolhog.analysis.findings.lines import NamedLine
    from poolhog.analysis.queues import Queue
    from poolhog.model import Checkout, Pool, Site

    Span = tuple[float, float]

N = TypeVar("N")

MOST_REMEMBERED = 10_000
"""Durations kept for the median of a line, and different notes kept of its evidence."""


@dataclass(frozen=True, slots=True)
class Example:
    """The occurrence to look at first: the longest one, and the interval in which it was so.

    ``request`` and ``checkout`` are ids; instants are on the run's clock.
    """

    request: str | None
    checkout: str
    pid: int
    started: float
    ended: float


@dataclass(slots=True)
class Occurrences:
    """When the checkouts of a finding were asked for, and the seconds wasted in each.

    The instants are on the run's clock, in no order; the seconds are 0 for kinds that waste none.
    """

    asked: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))

    def add(self, asked: float, seconds: float) -> None:
        """Add one."""
        self.asked.append(asked)
        self.seconds.append(seconds)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What was found of one kind at one line in one checkout.

    The connection was wasted in the ``spans``. With a ``weight``, nothing was wasted: the weight
    says how much the occurrence counts for its route, and the spans only where to look. ``notes``
    are evidence, as values that can be counted. ``key`` groups occurrences that are one finding
    although their lines differ.
    """

    line: NamedLine
    spans: Sequence[Span]
    notes: Sequence[Hashable] = ()
    weight: float | None = None
    key: str | None = None

    @property
    def seconds(self) -> float:
        """The length of all spans."""
        return sum(ended - started for started, ended in self.spans)

    def example_of(self, checkout: Checkout) -> Example:
        """The longest span, to look at in this checkout."""
        longest = max(self.spans, key=lambda span: span[1] - span[0])
        return Example(
            request=checkout.request.id if checkout.request is not None else None,
            checkout=checkout.id,
            pid=checkout.pool.process.pid,
            started=longest[0],
            ended=longest[1],
        )


class Spread(NamedTuple):
    """The median and the longest of the seconds in one checkout."""

    median: float
    longest: float


@dataclass(slots=True)
class Entry:
    """What was found of one kind at one line, added up over checkouts and processes.

    ``key`` is what its occurrences have in common if their lines differ, and ``pool`` the first
    pool that they were seen in. ``made_wait`` is how long each route waited for what was wasted.
    ``notes`` are the values that occurrences noted, with the weight of each: the seconds wasted
    with it, or the number of occurrences of what wastes nothing.
    """

    key: str | None
    pool: Pool
    line: NamedLine
    example: Example
    seconds: float = 0.0
    estimated: float = 0.0
    checkouts: int = 0
    longest: float = 0.0
    routes: dict[str, float] = field(default_factory=dict)
    notes: dict[Hashable, float] = field(default_factory=dict)
    durations: array[float] = field(default_factory=lambda: array("d"))
    occurrences: Occurrences = field(default_factory=Occurrences)
    # By pool, in microseconds since the process began: starts and ends, one after the other.
    wasted: dict[str, array[int]] = field(default_factory=dict)
    made_wait: dict[str, float] = field(default_factory=dict)
    # By where the connection was asked for: gaps without a sample are added in proportion.
    asked_at: dict[Site | None, float] = field(default_factory=dict)

    @property
    def whole(self) -> float:
        """The wasted seconds: those that samples tell about, and the estimate for other gaps."""
        return self.seconds + self.estimated

    @property
    def spread(self) -> Spread:
        """Of the seconds in one checkout."""
        ordered = sorted(self.durations)
        return Spread(ordered[len(ordered) // 2] if ordered else 0.0, self.longest)

    def noted(self, of: type[N]) -> Mapping[N, float]:
        """The notes of one type, with their weights."""
        return {note: weight for note, weight in self.notes.items() if isinstance(note, of)}

    def add(self, checkout: Checkout, occurrence: Occurrence) -> None:
        """Add what was found in one checkout."""
        seconds, weight = occurrence.seconds, occurrence.weight
        if not self.checkouts or seconds > self.longest:
            self.longest = seconds
            self.line = occurrence.line
            self.example = occurrence.example_of(checkout)
        self.checkouts += 1
        self.occurrences.add(checkout.asked, seconds if weight is None else 0.0)
        route = route_of(checkout)
        counts = weight if weight is not None else seconds
        self.routes[route] = self.routes.get(route, 0.0) + counts
        for note in occurrence.notes:
            if note in self.notes or len(self.notes) < MOST_REMEMBERED:
                more = seconds if weight is None else 1.0
                self.notes[note] = self.notes.get(note, 0.0) + more
        if len(self.durations) < MOST_REMEMBERED:
            self.durations.append(seconds)
        if weight is None:
            self._waste(checkout, occurrence.spans, seconds)

    def charge(self, queues: Mapping[str, Queue]) -> None:
        """Add who waited for what was wasted, by the queues of a process's pools."""
        for pool, queue in queues.items():
            charged: Counter[str] = Counter()
            spans = iter(self.wasted.pop(pool, ()))
            for started, ended in zip(spans, spans, strict=True):
                for route, units in queue.charge(started, ended):
                    charged[route] += units
            for route, units in charged.items():
                seconds = units / (queue.scale * 1_000_000)
                self.made_wait[route] = self.made_wait.get(route, 0.0) + seconds

    def _waste(self, checkout: Checkout, spans: Sequence[Span], seconds: float) -> None:
        self.seconds += seconds
        self.asked_at[checkout.site] = self.asked_at.get(checkout.site, 0.0) + seconds
        wasted = self.wasted.get(checkout.pool.id)
        if wasted is None:
            wasted = self.wasted[checkout.pool.id] = array("q")
        process = checkout.pool.process
        for span in spans:
            wasted.extend(since(process, instant) for instant in span)


@dataclass(slots=True)
class PoolCounts:
    """How many connections a pool lent, and how many of them it opened for that."""

    pool: Pool
    granted: int = 0
    opened: int = 0

    @property
    def group(self) -> str:
        """What the pools of several processes have in common that are one to the application."""
        return f"{self.pool.library} {self.pool.kind} {self.pool.name}"

    @property
    def beyond(self) -> int:
        """Connections opened beyond the number that the pool keeps: the first are no churn."""
        return max(self.opened - (self.pool.size or 0), 0)


@dataclass(slots=True)
class Totals:
    """What the entries of a run are measured against.

    ``use`` is the seconds in which a connection was lent. ``unseen`` is the seconds parked in gaps
    without a sample, by where the connection was asked for.
    """

    thresholds: Thresholds = field(default_factory=Thresholds)
    use: float = 0.0
    unseen: Mapping[Site | None, float] = field(default_factory=dict)
    pools: Sequence[PoolCounts] = ()
