"""A course with so many parts that nobody could tell them apart, in as few as can be drawn.

Long parts stay as they are. Those that are shorter than the resolution are added up by their state,
neighbour by neighbour: so the seconds of each state stay what they are, everywhere and in all.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State
from poolhog.analysis.course import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def downsampled(parts: Iterable[Part], started: float, ended: float, most: int) -> Sequence[Part]:
    """The parts between two instants, in order; of more than ``most``, short ones are added up.

    A sum has the ``number`` of its parts. It has their statement and site if these are all alike.
    ``most`` is at least 12.
    """
    every = iter(parts)
    first = list(islice(every, most + 1))
    if len(first) <= most:
        return first
    # A part that is as long as the resolution has a slot for itself, and so has each group of
    # others; from a group comes a part for each state.
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


def _downsampled(parts: Iterable[Part], resolution: float) -> Iterator[Part]:
    group: list[Part] = []
    for part in parts:
        if part.duration >= resolution:
            yield from _sums(group)
            group = []
            yield part
            continue
        group.append(part)
        if part.ended - group[0].started >= resolution:
            yield from _sums(group)
            group = []
    yield from _sums(group)


def _sums(group: Sequence[Part]) -> Iterator[Part]:
    """One part for each state, in the order of their first ones; together as long as the group."""
    of: dict[State, list[Part]] = {}
    for part in group:
        of.setdefault(part.state, []).append(part)
    at = group[0].started if group else 0.0
    for index, same in enumerate(of.values(), 1):
        is_last = index == len(of)
        ended = group[-1].ended if is_last else at + sum(part.duration for part in same)
        yield _sum(same, at, ended)
        at = ended


def _sum(same: Sequence[Part], started: float, ended: float) -> Part:
    one = same[0]
    if len(same) == 1:
        return one._replace(started=started, ended=ended)
    are_alike = all(part[3:6] == one[3:6] for part in same)
    statement, site = (one.statement, one.site) if are_alike else (None, None)
    return Part(one.state, started, ended, one.state, statement, site, len(same))
