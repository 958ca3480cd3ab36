"""What can be chosen for a run of the lab, and the values that follow from it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from poolhog.errors import PoolhogError
from poolhog.lab.service.settings import Style
from poolhog.texts import visible

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.lab.remedy_names import RemedyName


class Experiment(StrEnum):
    """A part of the talk that is measured; ``REMEDIES`` goes beyond the talk."""

    LIFECYCLE = "lifecycle"
    BURST = "burst"
    LOAD = "load"
    REMEDIES = "remedies"


TALK = (Experiment.LIFECYCLE, Experiment.BURST, Experiment.LOAD)
"""The experiments that run by default."""

TALK_STYLES = (
    Style.IMPLICIT,
    Style.IMPLICIT_FORGOTTEN_COMMIT,
    Style.IMPLICIT_FUNCTION_SCOPE,
    Style.EXPLICIT,
    Style.PER_QUERY,
)
"""The styles that the talk shows."""

COMPARED_STYLES = (Style.IMPLICIT, Style.EXPLICIT, Style.PER_QUERY)
"""The styles that the talk measures."""

HOLDING_STYLES = frozenset(
    {Style.IMPLICIT, Style.IMPLICIT_FORGOTTEN_COMMIT, Style.IMPLICIT_FUNCTION_SCOPE}
)
"""The styles that keep their connection through the external call."""

LAST_PORT = 65_535

MOST_CONNECTIONS = 280
"""What the embedded PostgreSQL has for the service; the lab itself needs some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Everything that can be chosen. Times are in seconds.

    Empty ``styles`` are those that the talk shows in each experiment; empty ``only`` are all
    remedies. A ``pool_size`` of ``None`` is the talk's: 5, and 10 under load. Without a
    ``database_url`` PostgreSQL is embedded; ``port`` 0 is any free port. The load is ramped up over
    ``ramp`` and measured for ``measure``; ``None`` is 20 s, and 10 s for each remedy. ``url`` is
    where the report's page will be published: its diagrams get QR codes that lead there.
    """

    output: Path
    experiments: tuple[Experiment, ...] = TALK
    styles: tuple[Style, ...] = ()
    only: tuple[RemedyName, ...] = ()
    external_latency: float = 5.0
    external_jitter: float = 0.0
    external_failure_rate: float = 0.0
    pool_size: int | None = None
    max_overflow: int = 0
    pool_timeout: float = 600.0
    workers: int = 1
    requests: tuple[int, ...] = (5, 10)
    users: int = 1000
    ramp: float = 5.0
    measure: float | None = None
    database_url: str | None = None
    port: int = 0
    url: str | None = None

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            given = getattr(self, name)
            for value in given if isinstance(given, tuple) else (given,):
                if value is not None and not least <= value <= _MOST:
                    option = "--" + name.replace("_", "-")
                    expected = f"{least:g} or more" if value < least else f"{_MOST:,} at most"
                    raise PoolhogError(f"{option} {value:g}: expected {expected}")
        if self.external_failure_rate > 1:
            raise PoolhogError("--external-failure-rate: expected a share from 0 to 1")
        if self.database_url is None:
            for experiment in self._with_pools:
                self._check_connections(experiment)
        if self.port > LAST_PORT:
            raise PoolhogError(f"--port {self.port}: expected at most {LAST_PORT}")
        if self.url is not None:
            _check_url(self.url)
        if self.external_jitter > self.external_latency:
            raise PoolhogError("--external-jitter: expected at most --external-latency")

    def _check_connections(self, experiment: Experiment) -> None:
        wanted = self.connections_in(experiment)
        if wanted > MOST_CONNECTIONS:
            raise PoolhogError(
                f"--pool-size, --max-overflow and --workers make {wanted:,} connections: "
                f"the embedded PostgreSQL allows {MOST_CONNECTIONS}"
            )

    def quick(self) -> Self:
        """A run in under a minute: smaller load and a shorter call."""
        return dataclasses.replace(self, external_latency=1.0, users=200, ramp=1.0, measure=2.0)

    @property
    def _with_pools(self) -> tuple[Experiment, ...]:
        """The experiments whose pool sizes are used: remedies use those of bursts and load."""
        if Experiment.REMEDIES in self.experiments:
            return (*self.experiments, Experiment.BURST, Experiment.LOAD)
        return self.experiments

    def window_in(self, experiment: Experiment) -> float:
        """How long the load is measured: ``measure``, rounded up to whole external calls.

        An exhausted pool answers in waves, one per call: part of a call has all of a wave, or none.
        """
        measure = self.measure
        if measure is None:
            measure = 10.0 if experiment is Experiment.REMEDIES else 20.0
        return math.ceil(round(measure / self.external_latency, 9)) * self.external_latency

    @property
    def most_requests(self) -> int:
        """The number of requests in the largest burst."""
        return max(self.requests)

    @property
    def external_timeout(self) -> float:
        """How long the service waits for the external API: far longer than that takes."""
        return max(30.0, 10 * (self.external_latency + self.external_jitter))

    @property
    def settle(self) -> float:
        """From the end of the ramp to the start of the measurement.

        One latency brings a closed loop to its steady state. The half more puts the edges of the
        measurement between two waves of an exhausted pool, not onto one.
        """
        return 1.5 * self.external_latency

    def pool_size_in(self, experiment: Experiment) -> int:
        """The pool's size: as chosen, or as in the talk."""
        if self.pool_size is not None:
            return self.pool_size
        return 10 if experiment is Experiment.LOAD else 5

    def connections_in(self, experiment: Experiment) -> int:
        """The most connections that all workers together have."""
        return (self.pool_size_in(experiment) + self.max_overflow) * self.workers

    def styles_in(self, experiment: Experiment) -> tuple[Style, ...]:
        """The styles to run: as chosen, or as in the talk."""
        if self.styles:
            return self.styles
        return TALK_STYLES if experiment is Experiment.LIFECYCLE else COMPARED_STYLES


def _check_url(url: str) -> None:
    """Raise ``PoolhogError`` unless diagrams of a page at this address can be linked to."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets that are no IPv6 address
        valid = False
    if "#" in url:
        problem = "expected no fragment (#…): each diagram has its own"
    elif not valid or not url.isprintable() or " " in url:
        problem = "expected an address that begins with http:// or https://"
    elif len(url) > _LONGEST_URL:
        problem = f"expected {_LONGEST_URL} characters at most: phones must read its QR code"
    else:
        return
    raise PoolhogError(f"--url {visible(url, 80)}: {problem}")


_LONGEST_URL = 300
_SHORTEST = 0.001
_MOST = 1_000_000
_LEAST = {
    "external_latency": _SHORTEST,
    "external_jitter": 0,
    "external_failure_rate": 0,
    "pool_size": 1,
    "max_overflow": 0,
    "pool_timeout": _SHORTEST,
    "workers": 1,
    "requests": 1,
    "users": 1,
    "ramp": _SHORTEST,
    "measure": _SHORTEST,
    "port": 0,
}


def waves(style: Style, requests: int, connections: int) -> int:
    """How often a burst has to wait for the external call: once, if it holds no connection."""
    return math.ceil(requests / connections) if style in HOLDING_STYLES else 1
