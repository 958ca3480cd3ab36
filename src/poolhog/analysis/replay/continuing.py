"""How requests go on that were not recorded to their end: as others of their route did."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from poolhog.analysis.replay.steps import Kind

if TYPE_CHECKING:
    from poolhog.analysis.replay.steps import Steps
    from poolhog.analysis.replay.workload import Chains


def complete(chains: Chains, steps: Steps) -> int:
    """Let chains that were not recorded to their end go on as the next of their route did.

    Those that would not have waited longer still would not. The number of such chains.
    """
    following: dict[int, int] = {}
    donors: dict[int, int] = {}
    for number in reversed(range(len(chains))):
        if chains.is_whole[number]:
            following[chains.route[number]] = number
        elif chains.route[number] in following:
            donors[number] = following[chains.route[number]]
    latest: dict[int, int] = {}
    unfinished = 0
    for number in range(len(chains)):
        route = chains.route[number]
        if chains.is_whole[number]:
            if chains.arrived[number] < math.inf:
                latest[route] = number
            continue
        unfinished += 1
        donor = donors.get(number, latest.get(route))
        if donor is not None:
            chains.first[number] = _continued(steps, chains.first[number], chains.first[donor])
    return unfinished


def _continued(steps: Steps, own: int, donor: int) -> int:
    """Where the donor's steps are, with the patience of the own ones."""
    asked = 0
    patience = None
    for step in steps.since(own):
        if step.kind is Kind.LIMIT:
            patience = asked, step.seconds
        asked += step.kind is Kind.ASK
    if patience is None:
        return donor
    first = len(steps)
    asked = 0
    for step in list(steps.since(donor)):
        if step.kind is Kind.ASK:
            if asked == patience[0]:
                steps.add(Kind.LIMIT, patience[1])
            asked += 1
        steps.add(*step)
    return first
