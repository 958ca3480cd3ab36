"""Load on a notes service: Locust in a process of its own, and its counts.

Locust needs gevent to patch the standard library, so it never runs in the lab's own process: run
as a program, this module is the load generator, and reports its progress as lines of JSON.
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
    """A phase of a load test."""

    RAMP = "ramp"
    SETTLE = "settle"
    MEASURE = "measure"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A load test in a closed loop: each user synchronizes a note of its own, again and again.

    The ``users`` start evenly spread over ``ramp_s`` seconds. Counting begins ``settle_s`` later
    and lasts for ``measure_s``. ``notes`` is the highest id: if there are more users, some share a
    note.
    """

    url: str
    users: int
    ramp_s: float
    settle_s: float
    measure_s: float
    notes: int


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """The progress of a load test.

    ``requests`` is the number that finished since it began, or since the measurement began.
    """

    phase: Phase
    elapsed_s: float
    users: int
    requests: int


@dataclass(frozen=True, slots=True)
class LoadCount:
    """Locust's counts between two readings of ``time.monotonic_ns()``.

    ``requests`` is the number of finished requests, including the ``errors`` that failed. The
    percentiles (nearest rank) are of all finished requests; ``None`` if there were none.
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
    def elapsed_s(self) -> float:
        """The length of the measurement."""
        return (self.ended_ns - self.began_ns) / 1e9

    @property
    def requests_per_s(self) -> float:
        """Requests that succeeded, per second."""
        return (self.requests - self.errors) / self.elapsed_s


def run_load(
    plan: LoadPlan, log_directory: Path, on_progress: Callable[[LoadProgress], None]
) -> LoadCount:
    """Put load on a service as planned, and call ``on_progress`` about five times per second.

    Raises ``ChildError`` if the load generator fails.
    """
    with Child("load", _command(plan), log_directory, reads_output=True) as child:
        while (line := child.read_line()) is not None:
            try:
                message = _parse(line)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise child.failure(f"said {line!r}, which is no report") from None
            if isinstance(message, LoadCount):
                return message
            on_progress(message)
        raise child.failure("before its work was done")


def _command(plan: LoadPlan) -> list[str]:
    # gevent's own runner patches the standard library before anything else is imported.
    runner = [sys.executable, "-P", "-m", "gevent.monkey", "--module", "poolhog.lab.load"]
    return [
        *runner,
        *(f"--{name.replace('_', '-')}={value}" for name, value in asdict(plan).items()),
    ]


def _parse(line: str) -> LoadProgress | LoadCount:
    what, values = json.loads(line).popitem()
    if what == "progress":
        return LoadProgress(**{**values, "phase": Phase(values["phase"])})
    return LoadCount(**values)


class _LoadGenerator:
    """The load test in Locust's process."""

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

    def run(self) -> LoadCount:
        """Put the load on as planned; users go on after the result is there."""
        import gevent

        gevent.spawn(self._report_progress)
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
        """Start the users one by one: Locust itself starts one batch per second."""
        import gevent

        for number in range(self._plan.users):
            due = self._began + self._plan.ramp_s * number / self._plan.users
            gevent.sleep(max(due - time.monotonic(), 0))
            self._runner.spawn_users({self._user_class.__name__: 1})

    def _result(self, began_ns: int) -> LoadCount:
        total = self._environment.stats.total
        return LoadCount(
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

    def _report_progress(self) -> None:
        import gevent

        while True:
            progress = LoadProgress(
                phase=self._phase,
                elapsed_s=time.monotonic() - self._began,
                users=self._runner.user_count,
                requests=self._environment.stats.num_requests,
            )
            _report("progress", progress)
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
    """The smallest value that a ``share`` of the values does not exceed (nearest rank)."""
    if not values:
        return None
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _report(what: str, value: LoadProgress | LoadCount) -> None:
    print(json.dumps({what: asdict(value)}), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the load generator. Requests that are under way at its end are abandoned."""
    parser = argparse.ArgumentParser(prog="python -m poolhog.lab.load", description=__doc__)
    for field in fields(LoadPlan):
        kind = {"str": str, "int": int, "float": float}[str(field.type)]
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, required=True)
    plan = LoadPlan(**vars(parser.parse_args(arguments)))
    _report("result", _LoadGenerator(plan).run())


if __name__ == "__main__":
    main()
