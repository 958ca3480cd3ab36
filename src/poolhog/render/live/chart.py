"""The last minutes as a picture: how many connections were lent, and how many requests waited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.render.words import count, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.recent import Recent

WIDTH, HEIGHT = 900, 150


@dataclass(frozen=True, slots=True)
class Chart:
    """Paths in a box of ``width`` and ``height``, what they say in words, and the top of the scale.

    ``lent`` is the outline of an area, ``waiting`` a line.
    """

    width: int
    height: int
    lent: str
    waiting: str
    most: int
    told: str
    began: str


def chart_of(recent: Recent) -> Chart:
    """The picture of the last seconds."""
    most = max(*recent.lent, *recent.waiting, 1)
    told = (
        f"In the last {duration(recent.seconds)}, at most {count(max(recent.lent), 'connection')} "
        f"lent and at most {count(max(recent.waiting), 'request')} waiting at a time."
    )
    return Chart(
        width=WIDTH,
        height=HEIGHT,
        lent=f"M0,{HEIGHT}L{_steps(recent.lent, most)}V{HEIGHT}Z",
        waiting=f"M{_steps(recent.waiting, most)}",
        most=most,
        told=told,
        began=f"{duration(recent.seconds)} ago",
    )


def _steps(values: Sequence[int], most: int) -> str:
    """A line that stays at each value until the next one."""
    step = WIDTH / max(len(values) - 1, 1)
    heights = [HEIGHT - value * (HEIGHT - 2) / most for value in values]
    first, *others = heights
    rest = (f"H{index * step:.1f}V{height:.1f}" for index, height in enumerate(others, 1))
    return "".join([f"0,{first:.1f}", *rest])
