"""Which chains of a workload begin in a simulation, when, and after which others."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.replay.whatif import WhatIf
    from poolhog.analysis.replay.workload import Loop, Workload


class Arrivals:
    """Chains that come by themselves, that users send, and that follow others of their loop."""

    def __init__(self, workload: Workload, terms: WhatIf) -> None:
        self._workload = workload
        self._terms = terms
        self._answered = 0
        chains = workload.chains
        arrived = np.array(chains.arrived)
        order = np.argsort(arrived, kind="stable")
        order = order[arrived[order] < math.inf]
        self._sent: Sequence[int] = ()
        if terms.users is not None:
            is_request = np.frombuffer(chains.is_request, bool)[order]
            self._sent, order = order[is_request].tolist(), order[~is_request]
        self._following: dict[int, deque[tuple[int, float]]] = {}
        for loop in self._loops():
            queue = deque(zip(loop.queue, loop.pauses, strict=True))
            self._following.update(dict.fromkeys(loop.members, queue))
            order = order[~np.isin(order, loop.queue)]
        self._own = list(zip(arrived[order].tolist(), order.tolist(), strict=True))

    def _loops(self) -> Sequence[Loop]:
        """Those that go on under these terms: if users send their chains, they do not."""
        if self._terms.users is None:
            return self._workload.loops
        is_request = self._workload.chains.is_request
        return [loop for loop in self._workload.loops if not is_request[loop.members[0]]]

    def by_themselves(self) -> list[tuple[float, int]]:
        """When chains come by themselves, in order."""
        began, rate = self._workload.began, self._terms.rate
        if rate == 1.0:
            return self._own
        return [(began + (at - began) / rate, number) for at, number in self._own]

    def of_users(self) -> Iterator[float]:
        """When each user sends the first request."""
        for user in range(self._terms.users or 0 if self._sent else 0):
            yield self._workload.chains.arrived[self._sent[user % len(self._sent)]]

    def sent(self, number: int) -> int:
        """The chain that users send after so many others."""
        return self._sent[number % len(self._sent)]

    def pause(self) -> float:
        """From an answer to the user's next request."""
        pauses = self._terms.pauses
        if not pauses:
            return self._terms.think
        self._answered += 1
        return max(self._terms.think, pauses[(self._answered - 1) % len(pauses)])

    def after(self, chain: int) -> tuple[int, float] | None:
        """The chain that begins when this one has ended, and after how many seconds."""
        queue = self._following.get(chain)
        return queue.popleft() if queue else None
