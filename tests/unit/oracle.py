"""Plain definitions of what is computed on columns, for one checkout at a time.

Instants are whole microseconds since the process began. Nothing here is fast, and nothing is shared
with what it checks.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from poolhog.model import Activity, OperationKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.model import Checkout, Operation, Process, Sample, Site

WAITING, BUSY, BLOCKED = "waiting", "busy", "blocked"
PARKED, RUNNING, READY = "parked", "running", "ready"
STATES = WAITING, BUSY, BLOCKED, PARKED, RUNNING, READY
SEEN = {"blocking": RUNNING, "computing": PARKED, "queued": PARKED, "idle": PARKED}
"""The states of what was seen; of all else they have the same name."""
UNSAMPLED = "unsampled"
"""The state of a gap that no sample fell into."""

GAPS = PARKED, RUNNING, READY
SHORT_INTERVALS = 2

Share = tuple[float, float, float]
"""How much of a gap without a sample was parked, running and ready."""


class Stretch(NamedTuple):
    """A part of a checkout in one state."""

    state: str
    started: int
    ended: int


class Seconds(NamedTuple):
    """The microseconds of a checkout, by what they were spent on."""

    queueing: int
    connecting: int
    pinging: int
    busy: int
    blocked: int
    parked: int
    running: int
    ready: int
    unsampled: int


def instant_of(process: Process, instant: float) -> int:
    """An instant of the run's clock on that of the process."""
    return round((instant - process.began) * 1e6)


def at(checkout: Checkout, instant: float) -> int:
    """An instant of the run's clock on that of the checkout's process."""
    return instant_of(checkout.pool.process, instant)


def until_of(checkout: Checkout) -> int:
    """When the checkout's process was last written."""
    return at(checkout, checkout.pool.process.written)


def end_of_wait(checkout: Checkout) -> int:
    """When the wait ended; until now if it goes on."""
    for ended in (checkout.granted, checkout.gave_up):
        if ended is not None:
            return at(checkout, ended)
    return max(until_of(checkout), at(checkout, checkout.asked))


def end_of(checkout: Checkout) -> int:
    """When the checkout was over; until now if it is not."""
    if checkout.granted is None:
        return end_of_wait(checkout)
    if checkout.returned is not None:
        return at(checkout, checkout.returned)
    return max(until_of(checkout), at(checkout, checkout.granted))


def is_over(checkout: Checkout) -> bool:
    """Whether it came back, or gave up."""
    return checkout.returned is not None or checkout.gave_up is not None


def gaps(checkout: Checkout) -> Iterator[tuple[int, int]]:
    """When it was lent and no operation was in flight."""
    if checkout.granted is None:
        return
    reached, end = at(checkout, checkout.granted), end_of(checkout)
    for operation in checkout.operations:
        started = at(checkout, operation.started)
        ended = end if operation.ended is None else min(at(checkout, operation.ended), end)
        if ended <= reached or ended <= started:
            continue
        if started > reached:
            yield reached, started
        reached = ended
    if end > reached:
        yield reached, end


def busy(checkout: Checkout) -> Iterator[tuple[Operation, int, int]]:
    """The operations of its use, each from where the earlier ones ended."""
    reached, end = end_of_wait(checkout), end_of(checkout)
    for operation in checkout.operations if checkout.granted is not None else ():
        started = at(checkout, operation.started)
        ended = end if operation.ended is None else min(at(checkout, operation.ended), end)
        if ended > reached and ended > started:
            yield operation, max(started, reached), ended
            reached = ended


def sampled(checkout: Checkout, gap: tuple[int, int]) -> Iterator[tuple[Sample, int, int]]:
    """The parts of a gap that are nearer to one sample than to any other."""
    reached, end = gap
    own = [s for s in checkout.samples if reached <= at(checkout, s.started) < end]
    for number, sample in enumerate(own):
        change = end
        if number + 1 < len(own):
            following = at(checkout, own[number + 1].started)
            seen = following if sample.ended is None else at(checkout, sample.ended)
            change = min(round(Fraction(seen + following, 2)), end)
        if change > reached:
            yield sample, reached, change
            reached = change


def stretches(checkout: Checkout) -> list[Stretch]:
    """Its states from the asking to its end, in order."""
    found = [Stretch(WAITING, at(checkout, checkout.asked), end_of_wait(checkout))]
    reached = end_of_wait(checkout)
    for gap in gaps(checkout):
        found.append(Stretch(BUSY, reached, gap[0]))
        parts = [Stretch(state_of(s), a, b) for s, a, b in sampled(checkout, gap)]
        found += parts or [Stretch(UNSAMPLED, *gap)]
        reached = gap[1]
    found.append(Stretch(BUSY, reached, end_of(checkout)))
    return joined(found)


def joined(parts: Iterable[Stretch]) -> list[Stretch]:
    """Parts that take any time, neighbours of one state as one."""
    found: list[Stretch] = []
    for part in parts:
        if part.ended <= part.started:
            continue
        if found and found[-1].state == part.state and found[-1].ended == part.started:
            part = Stretch(part.state, found.pop().started, part.ended)
        found.append(part)
    return found


def seconds(checkout: Checkout) -> Seconds:
    """How it spent its time; of what is over and was not sampled, the recorder knows it."""
    wait = end_of_wait(checkout) - at(checkout, checkout.asked)
    use = end_of(checkout) - end_of_wait(checkout)
    if is_over(checkout):
        connecting, pinging = (round(s * 1e6) for s in (checkout.connecting, checkout.pinging))
    else:
        kinds = OperationKind.CONNECT, OperationKind.PING
        connecting, pinging = (in_wait(checkout, kind) for kind in kinds)
    totals = Counter[str]()
    if is_over(checkout) and not checkout.samples:
        busy = min(round(checkout.busy * 1e6), use)
        totals[UNSAMPLED] = use - busy
    else:
        for state, started, ended in stretches(checkout):
            totals[state] += ended - started
        busy = max(use - sum(totals[state] for state in (*GAPS, UNSAMPLED)), 0)
    queueing = wait - connecting - pinging
    states = (*GAPS, UNSAMPLED)
    return Seconds(queueing, connecting, pinging, busy, 0, *(totals[state] for state in states))


def in_wait(checkout: Checkout, kind: OperationKind) -> int:
    """The part of the wait in which operations of this kind were in flight."""
    end = end_of_wait(checkout)
    return sum(
        (end if o.ended is None else min(at(checkout, o.ended), end)) - at(checkout, o.started)
        for o in checkout.operations
        if o.kind is kind and at(checkout, o.started) < end
    )


def state_of(sample: Sample) -> str:
    return SEEN.get(sample.activity.value, sample.activity.value)


def shares(checkouts: Iterable[Checkout]) -> Mapping[Site | None, Share]:
    """By where they asked, how gaps without a sample are split; elsewhere they are running."""
    short: dict[Site | None, Counter[str]] = {}
    every: dict[Site | None, Counter[str]] = {}
    for checkout in checkouts:
        limit = SHORT_INTERVALS * checkout.pool.process.sampling_interval * 1e6
        for gap in gaps(checkout):
            for sample, started, ended in sampled(checkout, gap):
                if sample.activity is Activity.BUSY:
                    continue
                for table in (short, every) if gap[1] - gap[0] <= limit else (every,):
                    counts = table.setdefault(checkout.site, Counter())
                    counts[state_of(sample)] += ended - started
    found = {}
    for site in every:
        counts = short.get(site) or every[site]
        parked, running, ready = (counts[state] / counts.total() for state in GAPS)
        found[site] = parked, running, ready
    return found


NO_SHARE: Share = 0.0, 1.0, 0.0


def gap_seconds(checkout: Checkout, known: Mapping[Site | None, Share]) -> Sequence[float]:
    """The microseconds parked, running and ready, with gaps without a sample split."""
    spent, share = seconds(checkout), known.get(checkout.site, NO_SHARE)
    own = spent.parked, spent.running, spent.ready
    return [one + spent.unsampled * part for one, part in zip(own, share, strict=True)]


def nested(checkouts: Sequence[Checkout]) -> dict[str, list[tuple[str, int]]]:
    """By the id of the one that was held, those that its asker asked for meanwhile.

    With each is how many its asker had then, with the one that it asked for.
    """
    found: dict[str, list[tuple[str, int]]] = {}
    for number, inner in enumerate(checkouts):
        asked = at(inner, inner.asked)
        holding = [
            outer
            for place, outer in enumerate(checkouts)
            if place < number
            and outer.pool.id == inner.pool.id
            and asker_of(outer) == asker_of(inner)
            and outer.granted is not None
            and at(outer, outer.granted) <= asked
            and (not is_over(outer) or end_of(outer) > asked)
        ]
        for outer in holding:
            found.setdefault(outer.id, []).append((inner.id, len(holding) + 1))
    return found


def asker_of(checkout: Checkout) -> tuple[str, str]:
    """The request, or the owner where there is none."""
    if checkout.request is not None:
        return "request", checkout.request.id
    return "owner", checkout.owner


def covered(number: int, intervals: Sequence[tuple[int, int]]) -> int:
    """The time in which at least so many half-open intervals cover the instant."""
    edges = sorted({edge for interval in intervals for edge in interval})
    return sum(
        after - before
        for before, after in pairwise(edges)
        if sum(started <= before < ended for started, ended in intervals) >= number
    )


def peak(intervals: Sequence[tuple[int, int]]) -> int:
    """The most half-open intervals that cover one instant."""
    starts = [started for started, _ in intervals]
    return max((sum(s <= at < e for s, e in intervals) for at in starts), default=0)


def is_timeout(checkout: Checkout) -> bool:
    """Whether the pool ended its wait."""
    return checkout.outcome is Outcome.TIMEOUT
