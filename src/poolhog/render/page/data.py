"""The data of a page: what its pictures are drawn from, small enough for one file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from poolhog.analysis.whole import MOST_CHECKOUTS, read_detail
from poolhog.render.page.side import side_json
from poolhog.render.page.texts import embedded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.whole import Whole

VERSION = 1
"""Of the form of the data, told in ``docs/dev/page-data.md``."""

MOST_BYTES = 4_300_000
"""Of the data of a page, all sides together."""

MOST_SPANS = 150_000
"""Of a timeline, all checkouts together, but for checkouts with few."""

MOST_LINES = 200
"""Of a request's log."""

_MOST_LIVES = 300
_LEAST_LIVES = 30
_LEAST_LINES = 20
_TRIES = 6


def page_data(sides: Sequence[tuple[str, Whole]], *, version: str) -> dict[str, Any]:
    """The data of a page with one side or several, each a label and a run."""
    most = MOST_BYTES // max(len(sides), 1)
    return {
        "version": VERSION,
        "poolhog": version,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "sides": [fitting_side(label, whole, most) for label, whole in sides],
    }


def fitting_side(label: str, whole: Whole, most: int) -> dict[str, Any]:
    """The side with as much detail as fits into so many bytes."""
    checkouts, lives, spans, lines = MOST_CHECKOUTS, _MOST_LIVES, MOST_SPANS, MOST_LINES
    for _ in range(_TRIES):
        detail = read_detail(whole, checkouts, lives)
        side = side_json(label, whole, detail, spans=spans, lines=lines)
        size = len(embedded(side).encode())
        if size <= most:
            break
        share = most / size * 0.9
        checkouts = int(min(checkouts, len(detail.checkouts)) * share)
        spans = int(min(spans, len(side["timeline"]["spans"]["start"])) * share)
        lives, lines = max(lives // 2, _LEAST_LIVES), max(lines // 2, _LEAST_LINES)
    return side
