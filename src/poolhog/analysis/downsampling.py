"""What is shown of what is too much: some windows of a long run, and short spans added up.

Long spans stay as they are. Those that are shorter than the resolution are added up by their state,
neighbour by neighbour: so the seconds of each state stay what they are, everywhere and in all.
"""

from __future__ import annotations

from enum import Enum, auto
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import State
from poolhog.analysis.shown import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_MARGIN = 0.25
"""The part of a stretch's length that is also shown before and after the stretch."""

_LEAST_S = 0.05
"""Seconds that are shown around an instant, if there is room."""

_HALVINGS = 40


class ReasonKind(Enum):
    """Why a stretch is worth being shown checkout by checkout."""

    WHOLE_RUN = auto()
    EXAMPLE = auto()
    MOST_WAITING = auto()
    MOST_LENT = auto()
    SLOWEST = auto()
    BEGINNING = auto()


class Reason(NamedTuple):
    """Why a stretch is shown; an example is that of a ``finding``, of which the first is 1."""

    kind: ReasonKind
    finding: int | None = None


class Window(NamedTuple):
    """A stretch in which everything is shown one by one, in seconds on the run's clock."""

    started: float
    ended: float
    reasons: tuple[Reason, ...]


def choose(
    wanted: Sequence[Window],
    whole: Window,
    count: Callable[[float, float], int],
    most: int,
) -> tuple[Window, ...]:
    """Windows around what is ``wanted``, in order, with at most ``most`` checkouts together.

    ``count`` says how many checkouts are in a stretch. Each of the wanted gets an equal part of
    what is left, the first ones first; a stretch that has too many is cut at its end. What is left
    in the end makes all of them wider. None reaches beyond the ``whole``.
    """
    found: list[Window] = []
    left = most
    for index, one in enumerate(wanted):
        if any(other.started <= one.started and one.ended <= other.ended for other in found):
            continue
        window = _fitting(_around(one, whole), count, left // (len(wanted) - index))
        if window is not None:
            found.append(window)
            left -= count(window.started, window.ended)
    if found and left > 0:
        found = _widened(found, whole, count, most)
    return _merged(found)


def _around(one: Window, whole: Window) -> Window:
    margin = max((one.ended - one.started) * _MARGIN, _LEAST_S)
    started = max(one.started - margin, whole.started)
    return Window(started, min(one.ended + margin, whole.ended), one.reasons)


def _fitting(window: Window, count: Callable[[float, float], int], most: int) -> Window | None:
    """The window, cut at its end to at most ``most`` checkouts; ``None`` if not even one fits."""
    started, ended, reasons = window
    for _ in range(_HALVINGS):
        if count(started, ended) <= most:
            return Window(started, ended, reasons)
        ended = started + (ended - started) / 2
    return None


def _widened(
    found: Sequence[Window], whole: Window, count: Callable[[float, float], int], most: int
) -> list[Window]:
    """The windows, made wider as far as there is room for more checkouts."""
    best = list(found)
    by = _LEAST_S
    for _ in range(_HALVINGS):
        wider = [
            Window(
                max(w.started - by / 4, whole.started), min(w.ended + by, whole.ended), w.reasons
            )
            for w in found
        ]
        if sum(count(w.started, w.ended) for w in _merged(wider)) > most or wider == best:
            break
        best = wider
        by *= 1.5
    return best


def _merged(windows: Iterable[Window]) -> tuple[Window, ...]:
    """The windows in order; those that overlap or meet are one, which has all their reasons."""
    found: list[Window] = []
    for window in sorted(windows, key=lambda window: (window.started, window.ended)):
        if found and window.started <= found[-1].ended:
            last = found[-1]
            reasons = tuple(dict.fromkeys((*last.reasons, *window.reasons)))
            found[-1] = Window(last.started, max(last.ended, window.ended), reasons)
        else:
            found.append(window)
    return tuple(found)


def downsampled(spans: Iterable[Span], started: float, ended: float, most: int) -> Sequence[Span]:
    """The spans between two instants, in order; of more than ``most``, short ones are added up.

    A sum has the ``number`` of its spans. It has their statement and site if these are all alike.
    ``most`` is at least 12.
    """
    every = iter(spans)
    first = list(islice(every, most + 1))
    if len(first) <= most:
        return first
    # A span that is as long as the resolution has a slot for itself, and so has each group of
    # others; from a group comes a span for each state.
    slots = max((most - len(State)) // len(State), 1)
    return list(_downsampled(chain(first, every), (ended - started) / slots))


def level(sizes: Iterable[int], total: int) -> int:
    """The size that larger ones have to be cut to, so that all together are no more than ``total``.

    If they are no more, it is the largest.
    """
    ordered = sorted(sizes)
    rest = len(ordered)
    for size in ordered:
        if size * rest > total:
            return total // rest
        total -= size
        rest -= 1
    return ordered[-1] if ordered else 0


def _downsampled(spans: Iterable[Span], resolution: float) -> Iterator[Span]:
    group: list[Span] = []
    for span in spans:
        if span.duration >= resolution:
            yield from _sums(group)
            group = []
            yield span
            continue
        group.append(span)
        if span.ended - group[0].started >= resolution:
            yield from _sums(group)
            group = []
    yield from _sums(group)


def _sums(group: Sequence[Span]) -> Iterator[Span]:
    """One span for each state, in the order of their first ones; together as long as the group."""
    of: dict[State, list[Span]] = {}
    for span in group:
        of.setdefault(span.state, []).append(span)
    at = group[0].started if group else 0.0
    for index, same in enumerate(of.values(), 1):
        is_last = index == len(of)
        ended = group[-1].ended if is_last else at + sum(span.duration for span in same)
        yield _sum(same, at, ended)
        at = ended


def _sum(same: Sequence[Span], started: float, ended: float) -> Span:
    one = same[0]
    if len(same) == 1:
        return one._replace(started=started, ended=ended)
    are_alike = all(span[3:6] == one[3:6] for span in same)
    statement, site = (one.statement, one.site) if are_alike else (None, None)
    return Span(one.state, started, ended, one.state, statement, site, len(same))
