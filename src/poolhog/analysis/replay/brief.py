"""Checkouts of which little matters, and the chains of requests that have no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.analysis.replay.steps import Steps
    from poolhog.model import Pool

LONGEST_RUN_S = 0.002
"""What lasts longer between a request's checkouts is taken for waiting, else for Python's."""

AWAY = 1
"""The ``what`` of a ``REST`` during which no connection is held."""


class Brief(NamedTuple):
    """A checkout of which no more matters than these instants and durations.

    It was returned, nothing was seen in its gaps, and nothing is told of it but by its number.
    """

    number: int
    pool: Pool
    asked: float
    granted: float
    returned: float
    pinging: float
    busy: float


def write_brief(
    steps: Steps,
    briefs: Sequence[Brief],
    pools: Sequence[int],
    started: float,
    answered: float,
    ended: float,
) -> None:
    """What a request did that had nothing but these checkouts, one after the other.

    The same as the steps of a lane, without a step becoming an object: most requests are like this.
    It was ``answered`` while it held no connection.
    """
    add = steps.add
    at = started
    is_answered = False
    for brief, pool in zip(briefs, pools, strict=True):
        if not is_answered and answered <= brief.asked:
            _add_outside(add, at, answered)
            add(8)
            at, is_answered = max(at, answered), True
        _add_outside(add, at, brief.asked)
        add(6, brief.pinging, pool)
        gap = (brief.returned - brief.granted - brief.busy) / 2
        if gap > 0:
            add(1, gap)
        if brief.busy > 0:
            add(4, brief.busy)
        if gap > 0:
            add(1, gap)
        add(7, 0.0, pool)
        at = brief.returned
    if not is_answered:
        _add_outside(add, at, answered)
        add(8)
        at = max(at, answered)
    _add_outside(add, at, ended)


def _add_outside(add: Callable[[int, float, int], None], started: float, ended: float) -> None:
    seconds = ended - started
    if seconds > LONGEST_RUN_S:
        add(2, seconds, AWAY)
    elif seconds > 0:
        add(1, seconds, 0)
