"""Spans that are too many to be told apart, in as few as can be drawn.

Long spans stay as they are. Those that are shorter than the resolution are added up by their state,
neighbour by neighbour: so the seconds of each state stay what they are, everywhere and in all.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State
from poolhog.analysis.shown import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


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
