"""Load on a notes service: Locust, in a process of its own, and what it counted.

Locust needs gevent to patch the standard library, so it never runs in the lab's own process: run
as a program, this module is the load generator, and tells how it goes in lines of JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING

from poolhog.lab.children import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from locust import FastHttpUser

_PROGRESS_EVERY_S = 0.2
# Longer than any request of a load test waits.
_REQUEST_WITHIN_S = 600.0


class Phase(StrEnum):
    """What a load test is doing."""

    RAMP = "ramp"
    SETTLE = "settle"
    MEASURE = "measure"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A load test in a closed loop: each user synchronizes a note of its own, again and again.

    All ``users`` are there after ``ramp_s`` seconds, which they take to come evenly; ``settle_s``
    later the counting begins, and it goes on for ``measure_s``. ``notes`` is the highest id: if
    there are more users, some share a note.
    """

    url: str
    users: int
    ramp_s: float
    settle_s: float
    measure_s: float
    notes: int


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a load test is.

    ``requests`` have finished since it began, or in the measured window once that has begun.
    """

    phase: Phase
    elapsed_s: float
    users: int
    requests: int


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What Locust counted between two readings of ``time.monotonic_ns()``.

    ``requests`` is the number that finished, failed ones among them; ``errors`` those that
    failed. The percentiles are of all that finished (nearest rank); ``None`` if none did.
    """

    users: int
    requests: int
    errors: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    began_ns: int
    ended_ns: int

    @property
    def requests_per_s(self) -> float:
        """Requests that succeeded, per second."""
        return (self.requests - self.errors) / ((self.ended_ns - self.began_ns) / 1e9)


def run_load(
    plan: LoadPlan, log_directory: Path, on_progress: Callable[[LoadProgress], None]
) -> LoadResult:
    """Put load on a service as planned, and call ``on_progress`` about five times per second.

    Raises ``ChildError`` if the load generator fails.
    """
    with Child("load", _command(plan), log_directory, reads_output=True) as child:
        while (line := child.read_line()) is not None:
            try:
                told = _parse(line)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise child.failure(f"said {line!r}, which is no report") from None
            if isinstance(told, LoadResult):
                return told
            on_progress(told)
        raise child.failure("before its work was done")


def _command(plan: LoadPlan) -> list[str]:
    # gevent's own runner patches the standard library before anything else is imported.
    runner = [sys.executable, "-P", "-m", "gevent.monkey", "--module", "poolhog.lab.load"]
    return [
        *runner,
        *(f"--{name.replace('_', '-')}={value}" for name, value in asdict(plan).items()),
    ]


def _parse(line: str) -> LoadProgress | LoadResult:
    what, values = json.loads(line).popitem()
    if what == "progress":
        return LoadProgress(**{**values, "phase": Phase(values["phase"])})
    return LoadResult(**values)


class _Generator:
    """Locust's side of a load test."""

    def __init__(self, plan: LoadPlan) -> None:
        from locust.env import Environment

        self._plan = plan
        self._user_class = _user_class(plan)
        self._environment = Environment(user_classes=[self._user_class])
        self._runner = self._environment.create_local_runner()
        self._times_s: list[float] = []
        on_request = self._environment.events.request
        on_request.add_listener(self._note_time)  # type: ignore[no-untyped-call]  # Locust's lack
        self._phase = Phase.RAMP
        self._began = time.monotonic()

    def run(self) -> LoadResult:
        """Put the load on as planned, and leave it on."""
        import gevent

        gevent.spawn(self._tell_progress)
        self._ramp()
        self._phase = Phase.SETTLE
        gevent.sleep(self._plan.settle_s)
        # Users are switched only where one waits: not from here to the sleep, nor while the
        # result is made. So the numbers are those of exactly this window.
        self._phase = Phase.MEASURE
        self._environment.stats.reset_all()
        self._times_s.clear()
        began_ns = time.monotonic_ns()
        gevent.sleep(self._plan.measure_s)
        return self._result(began_ns)

    def _ramp(self) -> None:
        """Let users come one by one: by itself Locust lets them come in a batch per second."""
        import gevent

        for number in range(self._plan.users):
            due = self._began + self._plan.ramp_s * number / self._plan.users
            gevent.sleep(max(due - time.monotonic(), 0))
            self._runner.spawn_users({self._user_class.__name__: 1})

    def _result(self, began_ns: int) -> LoadResult:
        total = self._environment.stats.total
        return LoadResult(
            users=self._runner.user_count,
            requests=total.num_requests,
            errors=total.num_failures,
            p50_s=_percentile(self._times_s, 0.50),
            p95_s=_percentile(self._times_s, 0.95),
            p99_s=_percentile(self._times_s, 0.99),
            began_ns=began_ns,
            ended_ns=time.monotonic_ns(),
        )

    def _note_time(self, response_time: float, **_: object) -> None:
        # Locust's own percentiles are rounded to two digits.
        self._times_s.append(response_time / 1000)

    def _tell_progress(self) -> None:
        import gevent

        while True:
            progress = LoadProgress(
                phase=self._phase,
                elapsed_s=time.monotonic() - self._began,
                users=self._runner.user_count,
                requests=self._environment.stats.num_requests,
            )
            _tell("progress", progress)
            gevent.sleep(_PROGRESS_EVERY_S)


def _user_class(plan: LoadPlan) -> type[FastHttpUser]:
    from locust import FastHttpUser, constant, task

    numbers = itertools.count()

    class NoteUser(FastHttpUser):
        host = plan.url
        wait_time = constant(0)
        concurrency = 1
        network_timeout = _REQUEST_WITHIN_S
        connection_timeout = _REQUEST_WITHIN_S

        def on_start(self) -> None:
            self.path = f"/notes/{next(numbers) % plan.notes + 1}/synchronize"

        @task
        def synchronize(self) -> None:
            self.client.post(self.path, name="/notes/{note_id}/synchronize")

    return NoteUser


def _percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that ``share`` of the values do not exceed (nearest rank)."""
    if not values:
        return None
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _tell(what: str, value: LoadProgress | LoadResult) -> None:
    print(json.dumps({what: asdict(value)}), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Be the load generator. Users that wait for a response when it ends are left waiting."""
    parser = argparse.ArgumentParser(prog="python -m poolhog.lab.load", description=__doc__)
    for field in fields(LoadPlan):
        kind = {"str": str, "int": int, "float": float}[str(field.type)]
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, required=True)
    plan = LoadPlan(**vars(parser.parse_args(arguments)))
    _tell("result", _Generator(plan).run())


if __name__ == "__main__":
    main()
