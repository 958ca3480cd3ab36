"""Requests per second: which of them are counted, and between which instants.

All that tells how many requests a run answered counts them here, so no two numbers differ. Of users
who send one request after the other, the time in which they come counts for nothing.

Answers per second are counted between two instants. Where they come in waves, as from an exhausted
pool, it matters where these are: each is put into the middle of a long pause near it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from poolhog.analysis.ledger import Flags, Numbers

    Instants = NDArray[np.float64]

_EDGE = 1 / 2
"""The part of the window at either side in which a long pause is looked for."""

_LONG = 1 / 2
"""The part of the longest pause that a long one lasts at least."""

LEAST_PAUSE_US = 5_000

PAUSE = 0.1
"""Within this time of an end, or this part of what work takes, begins what follows from it."""

APART = 0.5
"""The part of the mean time between ends that what follows may take at most."""

_MOST_FOLLOW = 0.8
_MOSTLY = 0.75
_LEAST = 3

_SETTLING = 0.25
"""The part of a closed loop that goes by, once all users have come, before anything is counted."""

_LEAST_ARRIVALS = 10
_NEARLY_ALL = 0.95


class Window(NamedTuple):
    """Between which instants is counted; ``is_steady`` if that is the middle of a closed loop."""

    started: float
    ended: float
    is_steady: bool


class Answers(NamedTuple):
    """Requests, as columns of instants on the run's clock, in seconds.

    ``came`` is when they came, in order, answered or not; ``answered`` when some were answered, in
    any order, and ``took`` for how long each of these.
    """

    came: Instants
    answered: Instants
    took: Instants

    def under_way(self) -> tuple[Instants, Numbers]:
        """The instants at which one came or was answered, and how many there were from then."""
        instants = np.concatenate((self.answered, self.came))
        order = np.argsort(instants, kind="stable")
        changes: Numbers = np.where(order < len(self.answered), -1, 1)
        return instants[order], np.cumsum(changes)

    def pauses(self) -> Instants | None:
        """From answers to the requests that came just after, if users sent these in turns."""
        came = np.rint((self.answered - self.took) * 1e6).astype(np.int64)
        order = np.argsort(came, kind="stable")
        found = follows(came[order], np.rint(self.answered[order] * 1e6).astype(np.int64))
        return None if found is None else found[1] / 1e6

    def users(self) -> int | None:
        """How many users sent one request after the other, if that is what it looks like.

        Then nearly as many requests as ever are under way during all of the second half.
        """
        came = self.came
        if not len(came):
            return None
        if self.pauses() is not None:
            return int(self.under_way()[1].max())
        half, last = float(came[0] + came[-1]) / 2, float(came[-1])
        instants, under_way = self.under_way()
        until = np.clip(np.append(instants, last), half, last)
        area = float(np.dot(under_way, np.diff(until)))
        most = int(under_way[instants <= last].max())
        late = len(came) - int(np.searchsorted(came, half, "right"))
        if most < 2 or late < _LEAST_ARRIVALS or area < _NEARLY_ALL * most * (last - half):
            return None
        return most

    def window(self, users: int | None, began: float, until: float) -> Window:
        """What is counted of a run that lasted ``until`` then; all of it, if it is no closed loop.

        An ``until`` of infinity is the last answer.
        """
        if users is None:
            return Window(began, until, is_steady=False)
        there, ended = float(self.came[min(users, len(self.came)) - 1]), float(self.came[-1])
        return Window(there + _SETTLING * (ended - there), ended, is_steady=True)


def settling(began: float, ended: float) -> Window:
    """What is counted of a closed loop whose users all come when it begins."""
    return Window(began + _SETTLING * (ended - began), ended, is_steady=True)


def counted(answered: Instants, window: Window) -> tuple[float, float]:
    """Between which instants answers are counted; ``answered`` are in order.

    Of a closed loop, that is between two pauses.
    """
    answered = answered[: np.searchsorted(answered, window.ended, "right")]
    started = window.started
    ended = float(answered[-1]) if len(answered) else started
    if not window.is_steady and window.ended < math.inf:
        ended = window.ended
    if window.is_steady and len(answered) > 1:
        edge = (ended - started) * _EDGE
        started = _pause(answered, started, started + edge, 0)
        ended = _pause(answered, ended - edge, ended, -1)
    return started, ended


def throughput(answered: Instants, between: tuple[float, float]) -> float:
    """Answers per second between two instants; ``answered`` are in order."""
    started, ended = between
    first, last = np.searchsorted(answered, started), np.searchsorted(answered, ended, "right")
    return float(last - first) / (ended - started) if ended > started else 0.0


def _pause(answered: Instants, earliest: float, latest: float, which: int) -> float:
    """The middle of the first or last of the long pauses whose middle is in a stretch.

    The nearer it is to the edge of the window, the more waves there are between the two.
    """
    middles = (answered[:-1] + answered[1:]) / 2
    inside = np.flatnonzero((earliest <= middles) & (middles <= latest))
    pauses = np.diff(answered)[inside]
    if not len(pauses) or pauses.max() <= 0:
        return earliest if earliest <= answered[0] else latest
    return float(middles[inside[pauses >= pauses.max() * _LONG][which]])


def follows(started: Numbers, ended: Numbers) -> tuple[Flags, Numbers] | None:
    """Which work followed from the end of other work, and after which pauses; in order.

    ``started`` is in order, ``ended`` belongs to it. ``None`` if work was not begun so.
    """
    number = len(started)
    ends = np.sort(ended)
    # An end comes before a start at the same instant: whoever ends may begin the next.
    under_way = np.arange(1, number + 1) - np.searchsorted(ends, started, "right")
    most = int(under_way.max(initial=0))
    if number - most < _LEAST:
        return None
    longest = max(LEAST_PAUSE_US, PAUSE * float(np.median(ended - started)))
    # Where ends are that close, one of them is just before any start.
    longest = min(longest, APART * float(ends[-1] - ends[0]) / number)
    is_next, pauses = np.zeros(number, bool), []
    free: list[int] = []
    at = 0
    for index, began in enumerate(started.tolist()):
        while at < number and ends[at] <= began:
            free.append(int(ends[at]))
            at += 1
        while free and free[0] < began - longest:
            del free[0]
        if free:
            is_next[index] = True
            pauses.append(began - free.pop(0))
    later = np.arange(number) >= most
    if is_next.sum() < max(_LEAST, _MOST_FOLLOW * (number - most)):
        return None
    if under_way[later].mean() < _MOSTLY * most:
        return None
    return is_next, np.array(pauses, np.int64)
