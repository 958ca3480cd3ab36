"""Predicts the result of each remedy from replays of the implicit service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from poolhog.analysis.replay import predict
from poolhog.analysis.replay.whatif import WhatIf
from poolhog.lab.predictions import external_call
from poolhog.lab.remedy_names import RemedyName
from poolhog.lab.remedy_results import Forecast

if TYPE_CHECKING:
    from poolhog.analysis.replay import Performance, Replay
    from poolhog.lab.remedy_catalogue import Remedy

RELEASING = frozenset(
    {
        RemedyName.EXPLICIT,
        RemedyName.PER_QUERY,
        RemedyName.COMMIT_BEFORE_CALL,
        RemedyName.CLOSE_BEFORE_CALL,
        RemedyName.TWO_SESSIONS,
        RemedyName.NO_AUTOBEGIN,
        RemedyName.AUTOCOMMIT,
    }
)
"""The remedies that hold no connection during the external call."""

NOT_PREDICTED = {
    RemedyName.PGBOUNCER: "the waiting moves into PgBouncer, which the trace knows nothing of",
    RemedyName.BACKGROUND_TASK: "an answer that does not wait for the work is another service",
}

UNEVEN = "which worker gets a request of a burst is not for the trace to know"


@dataclass(slots=True)
class Baseline:
    """Replays of the implicit service: of its bursts, by their number of requests, and its load."""

    bursts: dict[int, Replay] = field(default_factory=dict)
    load: Replay | None = None

    def burst(self, remedy: Remedy, requests: int) -> Forecast:
        """Predicts the makespan of simultaneous ``requests`` in seconds."""
        reason = NOT_PREDICTED.get(remedy.name)
        if remedy.workers is not None:
            reason = UNEVEN
        if reason is not None:
            return Forecast(reason=reason)
        return Forecast(_after(self.bursts[requests], remedy).makespan)

    def answers_per_s(self, remedy: Remedy, connections: int, users: int) -> Forecast:
        """Predicts the answers per second of a closed loop over ``connections`` in all."""
        reason = NOT_PREDICTED.get(remedy.name)
        if reason is not None or self.load is None:
            return Forecast(reason=reason)
        if remedy.workers is None:
            return Forecast(_after(self.load, remedy, users=users).throughput)
        # Some workers have one connection more than others: interpolate between the two sizes by
        # the share of those workers.
        size, more = divmod(connections, remedy.workers)
        few, many = (
            _after(self.load, remedy, users=users, pool_size=max(s, 1)).throughput
            for s in (size, size + 1)
        )
        return Forecast(few + (many - few) * more / remedy.workers)


def _after(
    replayed: Replay, remedy: Remedy, *, users: int | None = None, pool_size: int | None = None
) -> Performance:
    releases = remedy.name in RELEASING
    terms = WhatIf(
        release=external_call(replayed.workload) if releases else frozenset(),
        pool_size=pool_size or remedy.pool_size,
        max_overflow=remedy.max_overflow if remedy.keeps_connections else -1,
        workers=remedy.workers,
        users=users,
    )
    return predict(replayed, terms).after
