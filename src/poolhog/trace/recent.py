"""What happened in the last seconds of a process, counted by SQLite, however long it has run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.trace.reader import ProcessReader

_IS_OLDER = """
    (SELECT asked FROM packed_checkouts WHERE id >= (low + high) / 2 ORDER BY id LIMIT 1)
    < :earliest
"""
# Checkouts have their numbers in the order of their asking: the first one is found by halving.
_COUNTS = f"""
    WITH RECURSIVE search (low, high) AS (
        SELECT min(id), max(id) FROM packed_checkouts
        UNION ALL
        SELECT CASE WHEN {_IS_OLDER} THEN (low + high) / 2 + 1 ELSE low END,
               CASE WHEN {_IS_OLDER} THEN high ELSE (low + high) / 2 END
        FROM search WHERE low < high
    ), recent AS MATERIALIZED (
        SELECT asked, asked + granted AS granted, asked + gave_up AS gave_up,
               asked + returned AS returned
        FROM packed_checkouts
        WHERE id >= (SELECT low FROM search WHERE low >= high)
           OR id IN (SELECT value FROM json_each(:known))
    ), events AS (
        SELECT 0 AS kind, asked AS at FROM recent
        UNION ALL SELECT 1, granted FROM recent WHERE granted IS NOT NULL
        UNION ALL SELECT 2, gave_up FROM recent WHERE gave_up IS NOT NULL
        UNION ALL SELECT 3, returned FROM recent WHERE returned IS NOT NULL
    )
    SELECT kind, CASE WHEN at <= :started THEN 0 ELSE (at - :started - 1) / :width + 1 END, count(*)
    FROM events GROUP BY 1, 2
"""  # noqa: S608 - a constant of this module
_ASKED, _GRANTED, _GAVE_UP, _RETURNED = range(4)


class RecentCounts(NamedTuple):
    """At equally distant instants: how many connections were lent, and how many requests waited."""

    lent: list[int]
    waiting: list[int]


def recent_counts(
    reader: ProcessReader, started: float, width: float, points: int, known: Iterable[int]
) -> RecentCounts:
    """The counts at ``points`` instants, the first at ``started``, each ``width`` seconds later.

    Instants are seconds on the run's clock. Checkouts that were asked for earlier than one more
    such window before count only if they are ``known``, by their numbers. Raises
    :class:`poolhog.TraceError` if the file cannot be read.
    """
    started_us = round((started - reader.process.began) * 1e6)
    width_us = max(round(width * 1e6), 1)
    values = {
        "earliest": started_us - width_us * points,
        "known": json.dumps(list(known)),
        "started": started_us,
        "width": width_us,
    }
    lent, waiting = [0] * points, [0] * points
    for kind, index, number in reader.query(_COUNTS, values):
        if index >= points:
            continue
        if kind in (_GRANTED, _RETURNED):
            lent[index] += number if kind == _GRANTED else -number
        if kind != _RETURNED:
            waiting[index] += number if kind == _ASKED else -number
    return RecentCounts(_summed(lent), _summed(waiting))


def _summed(changes: Iterable[int]) -> list[int]:
    found, total = [], 0
    for change in changes:
        total += change
        found.append(total)
    return found
