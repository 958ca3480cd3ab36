"""What is added up over a run: occurrences of a kind at a line, and the totals of the run."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from poolhog.analysis.findings.meaning import Gap, around
from poolhog.analysis.owners import route_of
from poolhog.analysis.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from poolhog.analysis.blame.blaming import LineKey
    from poolhog.analysis.blame.queue import Queue
    from poolhog.analysis.findings.lines import NamedLine
    from poolhog.analysis.ledger import Numbers
    from poolhog.model import Checkout, Pool, Site

    Span = tuple[float, float]
    Floats = NDArray[np.float64]

N = TypeVar("N")

MOST_REMEMBERED = 10_000
"""Different notes that are kept of a line's evidence."""


@dataclass(frozen=True, slots=True)
class Example:
    """The occurrence to look at first: the longest one, and the interval in which it was so.

    ``request`` and ``checkout`` are ids, ``pool`` is that of the pool whose connections were wasted
    ("" if it is not known); instants are on the run's clock.
    """

    request: str | None
    checkout: str
    pid: int
    started: float
    ended: float
    pool: str = ""


@dataclass(slots=True)
class Occurrences:
    """When the checkouts of a finding were asked for, and the seconds wasted in each.

    The instants are on the run's clock, in no order; the seconds are 0 for kinds that waste none.
    """

    asked: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))

    def add(self, asked: Iterable[float], seconds: Iterable[float]) -> None:
        """Add some."""
        self.asked.extend(asked)
        self.seconds.extend(seconds)


class Origin(NamedTuple):
    """Where a gap is: where its connection was asked for, and the line of the operation before it.

    The latter is ``None`` for the gaps of checkouts of which only sums are known.
    """

    asked_at: Site | None
    after: Site | None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What was found of one kind at one line in one checkout.

    The connection was wasted in the ``spans``. With a ``weight``, nothing was wasted: the weight
    says how much the occurrence counts for its route, and the spans only where to look. ``notes``
    are evidence, as values that can be counted; those that are ``weighed`` have seconds of their
    own. ``key`` groups occurrences that are one finding although their lines differ. ``pool`` is
    the id of the pool whose connections were wasted, if not the checkout's.
    """

    line: NamedLine
    spans: Sequence[Span]
    notes: Sequence[Hashable] = ()
    weight: float | None = None
    key: str | None = None
    weighed: Mapping[Hashable, float] = field(default_factory=dict)
    pool: str | None = None

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
            pool=self.pool or checkout.pool.id,
        )


class Batch(NamedTuple):
    """Occurrences of one kind at one site, in checkouts of one pool: what they come to.

    ``checkout``, ``line`` and ``example`` are those of the longest. ``asked`` and ``seconds`` have
    an entry for each checkout, ``routes``, ``notes`` and ``origins`` the seconds of each.
    ``wasted`` are starts and ends in microseconds.
    """

    checkout: Checkout
    line: NamedLine
    example: Span
    asked: Floats
    seconds: Floats
    routes: Mapping[str, float]
    notes: Mapping[Hashable, float]
    origins: Mapping[Origin, float]
    wasted: tuple[Numbers, Numbers]


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
    # By pool, starts and ends in microseconds since the process began.
    wasted: dict[str, tuple[array[int], array[int]]] = field(default_factory=dict)
    made_wait: dict[str, float] = field(default_factory=dict)
    # Gaps without a sample are added in proportion.
    origins: dict[Origin, float] = field(default_factory=dict)

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
        self.occurrences.add([checkout.asked], [seconds if weight is None else 0.0])
        self.durations.append(seconds)
        _add(self.routes, {route_of(checkout): weight if weight is not None else seconds})
        for note in occurrence.notes:
            self._note(note, seconds if weight is None else 1.0)
        for note, part in occurrence.weighed.items():
            self._note(note, part)
        if weight is None:
            self.seconds += seconds
            for started, ended in occurrence.spans:
                after = around(checkout, Gap(started, ended)).reference
                _add(self.origins, {Origin(checkout.site, after): ended - started})
            began = checkout.pool.process.began
            spans = [[round((at - began) * 1e6) for at in span] for span in occurrence.spans]
            pool = occurrence.pool or checkout.pool.id
            self._waste(pool, [s for s, _ in spans], [e for _, e in spans])

    def add_batch(self, batch: Batch) -> None:
        """Add what was found in many checkouts."""
        longest = float(batch.seconds.max())
        if not self.checkouts or longest > self.longest:
            self.longest = longest
            self.line = batch.line
            self.example = Occurrence(batch.line, [batch.example]).example_of(batch.checkout)
        self.checkouts += len(batch.asked)
        self.occurrences.add(batch.asked.tolist(), batch.seconds.tolist())
        self.durations.extend(batch.seconds.tolist())
        _add(self.routes, batch.routes)
        for note, seconds in batch.notes.items():
            if note is not None:
                self._note(note, seconds)
        self.seconds += float(batch.seconds.sum())
        _add(self.origins, batch.origins)
        self._waste(batch.checkout.pool.id, *(column.tolist() for column in batch.wasted))

    def charge(self, queues: Mapping[str, Queue]) -> None:
        """Add who waited for what was wasted, by the queues of a process's pools."""
        for pool, queue in queues.items():
            starts, ends = self.wasted.pop(pool, ((), ()))
            for route, seconds in queue.charged(np.array(starts), np.array(ends)).items():
                _add(self.made_wait, {route: seconds})

    def _note(self, note: Hashable, weight: float) -> None:
        if note in self.notes or len(self.notes) < MOST_REMEMBERED:
            _add(self.notes, {note: weight})

    def _waste(self, pool: str, starts: Iterable[int], ends: Iterable[int]) -> None:
        wasted = self.wasted.setdefault(pool, (array("q"), array("q")))
        wasted[0].extend(starts)
        wasted[1].extend(ends)


def _add(totals: dict[N, float], more: Mapping[N, float]) -> None:
    for key, weight in more.items():
        totals[key] = totals.get(key, 0.0) + weight


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


@dataclass(frozen=True, slots=True)
class Crowd:
    """Pools of one database in one process that one ``line`` made, and what came of them.

    ``connects`` is how many connections they opened or should have, ``None`` if some are not seen.
    """

    line: LineKey
    pools: int
    checkouts: int
    connects: int | None
    failed: int
    errors: Mapping[str, int]


@dataclass(slots=True)
class Totals:
    """What the entries of a run are measured against.

    ``use`` is the seconds in which a connection was lent. ``unseen`` is the seconds parked in gaps
    without a sample, by their origin. ``connects`` is how many connections were opened for what was
    asked for at a line, or should have been. ``waits`` are, by pool, when waits for it began and
    ended, if somebody waited for a thread meanwhile. ``starting`` are the routes that are start-up
    code.
    """

    thresholds: Thresholds = field(default_factory=Thresholds)
    use: float = 0.0
    unseen: Mapping[Origin, float] = field(default_factory=dict)
    pools: Sequence[PoolCounts] = ()
    crowds: list[Crowd] = field(default_factory=list)
    connects: Counter[LineKey | None] = field(default_factory=Counter)
    waits: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)
    starting: frozenset[str] = frozenset()

    def waiting_at(self, pool: str, instant: float) -> int:
        """How many waited for a pool's connections at an instant."""
        if pool not in self.waits:
            return 0
        # In halves of microseconds: the middle of two instants is one, whatever floats make of it.
        asked, left = (np.rint(2e6 * instants) for instants in self.waits[pool])
        middle = round(2e6 * instant)
        return int(((asked <= middle) & (middle < left)).sum())
