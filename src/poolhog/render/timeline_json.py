"""A timeline and an occupancy as JSON; instants are seconds on the run's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.analysis.occupancy import LENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from poolhog.analysis.accounting import Interval, State
    from poolhog.analysis.occupancy import Occupancy
    from poolhog.analysis.timeline import Timeline


def timeline_json(timeline: Timeline) -> dict[str, Any]:
    """Every request and every connection with its intervals."""
    return {
        "drawn": "lanes",
        **_window(timeline, timeline.lent),
        "requests": [
            {
                "label": lane.label,
                "id": lane.request.id if lane.request is not None else None,
                "name": lane.request.name if lane.request is not None else None,
                "intervals": _intervals(lane.intervals),
            }
            for lane in timeline.requests
        ],
        "connections": [
            {
                "pool": lane.pool.name,
                "pid": lane.pool.process.pid,
                "number": lane.number,
                "segments": [
                    {
                        "checkout": segment.checkout.id,
                        "request": timeline.requests[segment.lane].label,
                        "intervals": _intervals(segment.intervals),
                    }
                    for segment in lane.segments
                ],
            }
            for lane in timeline.connections
        ],
        "waiting": [{"at_s": _exact(step.at), "count": step.count} for step in timeline.waiting],
    }


def occupancy_json(occupancy: Occupancy) -> dict[str, Any]:
    """Averages and the most that waited, bin by bin; and the seconds of each connection."""
    return {
        "drawn": "bins",
        **_window(occupancy, occupancy.lent),
        "capacity": occupancy.capacity,
        "connections_total": occupancy.connections,
        "bins": [
            {
                "started_s": _exact(b.started),
                "ended_s": _exact(b.ended),
                "waiting": _exact(b.waiting),
                "most_waiting": b.most_waiting,
                **{str(state): _exact(b.lent[state]) for state in LENT},
            }
            for b in occupancy.bins
        ],
        "connections": [
            {
                "pool": lane.pool.name,
                "pid": lane.pool.process.pid,
                "number": lane.number,
                "bins": [
                    {f"{state}_s": _exact(share.get(state, 0.0)) for state in LENT}
                    for share in lane.seconds
                ],
            }
            for lane in occupancy.lanes
        ],
    }


def _window(shown: Timeline | Occupancy, lent: Callable[[State], float]) -> dict[str, Any]:
    return {
        "started_s": _exact(shown.started),
        "ended_s": _exact(shown.ended),
        "wait_s": _exact(shown.waited()),
        "use_s": _exact(sum(lent(state) for state in LENT)),
        **{f"{state}_s": _exact(lent(state)) for state in LENT},
    }


def _intervals(parts: Iterable[Interval]) -> list[dict[str, Any]]:
    return [
        {"state": part.state, "started_s": _exact(part.started), "ended_s": _exact(part.ended)}
        for part in parts
    ]


def _exact(value: float) -> float:
    """Without what is left of a difference of instants, which are whole microseconds."""
    return round(float(value), 9)
