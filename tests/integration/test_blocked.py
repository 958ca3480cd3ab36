"""A call that keeps the event loop or the interpreter is found at its line, with its seconds."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import blocked_app
import pytest
from places import line_of

from poolhog import open_trace
from poolhog.analysis.findings import (
    BLOCKING_CHECKOUT,
    NEVER_RETURNED,
    PARKED_CHECKOUT,
    POOL_TIMEOUT,
    STARVED_LOOP,
    THREAD_STARVED,
)
from poolhog.analysis.report import report_of
from poolhog.render.findings import detail

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from poolhog.analysis.findings import Finding

CLOSE = 0.2
"""The part of the call's time by which a finding may differ: samples are late under load."""


def found(tmp_path: Path, service: str, *options: str) -> tuple[float, tuple[Finding, ...]]:
    """How long the call of the service took, and what is found in its run."""
    program = [sys.executable, blocked_app.__file__, service, *options]
    command = [
        sys.executable,
        "-m",
        "poolhog",
        "run",
        "-o",
        str(tmp_path / "trace"),
        "--",
        *program,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout), report_of(open_trace(tmp_path / "trace")).findings


@pytest.mark.parametrize(
    ("service", "function"),
    [
        *(("timer", blocked_app.sleep), ("socket", blocked_app.sleep)),
        *(("many", blocked_app.steps), ("interpreter", blocked_app.sort)),
        *(("own", blocked_app.sleep), ("client", blocked_app.ask_a_server)),
        ("computing", blocked_app.steps),
    ],
)
def test_what_keeps_the_loop_is_found_with_all_its_seconds(
    tmp_path: Path, service: str, function: Callable[[], None]
) -> None:
    took, findings = found(tmp_path, service, *(["sort"] if service == "interpreter" else []))
    starved = next(finding for finding in findings if finding.kind is STARVED_LOOP)
    assert starved.site is not None
    assert (starved.site.file, starved.site.line) == line_of(function, "# HERE")
    assert starved.seconds == pytest.approx(took, rel=CLOSE)
    parked = sum(finding.seconds for finding in findings if finding.kind is PARKED_CHECKOUT)
    assert parked < CLOSE * took


def test_what_is_not_due_meanwhile_is_parked(tmp_path: Path) -> None:
    took, findings = found(tmp_path, "later")
    (parked,) = findings
    assert parked.kind is PARKED_CHECKOUT
    assert parked.seconds == pytest.approx(took, rel=CLOSE)


@pytest.mark.parametrize("service", [blocked_app.hashing, blocked_app.hashing_in_executor])
def test_a_thread_that_computes_for_who_holds_a_connection(
    tmp_path: Path, service: Callable[..., object]
) -> None:
    took, findings = found(tmp_path, service.__name__)
    (parked,) = findings
    assert parked.kind is PARKED_CHECKOUT
    assert parked.site is not None
    assert (parked.site.file, parked.site.line) == line_of(service, "# HERE")
    assert parked.seconds == pytest.approx(took, rel=CLOSE)
    assert "while it computed in a thread" in detail(parked)


def test_a_thread_that_computes_for_its_own_statements_uses_the_connection(tmp_path: Path) -> None:
    _, findings = found(tmp_path, "using_it_there")
    assert findings == ()


def test_a_thread_at_rest_that_keeps_the_connection_of_a_job(tmp_path: Path) -> None:
    took, findings = found(tmp_path, "leaving_it_open")
    (left,) = findings
    assert left.kind is NEVER_RETURNED
    assert left.checkouts == 2
    assert left.seconds == pytest.approx(took, rel=CLOSE)
    assert "returned without closing its session" in detail(left)


def test_a_holder_that_waits_for_a_thread_while_all_threads_wait_for_it(tmp_path: Path) -> None:
    _, findings = found(tmp_path, "without_a_thread")
    (starved,) = (finding for finding in findings if finding.kind is THREAD_STARVED)
    assert starved.site is not None
    assert (starved.site.file, starved.site.line) == line_of(blocked_app.without_a_thread, "# HERE")
    assert starved.seconds == pytest.approx(blocked_app.BLOCKED_S, rel=CLOSE)
    assert "2 by work that waited for a connection of this pool" in detail(starved)
    assert PARKED_CHECKOUT not in {finding.kind for finding in findings}


def test_a_task_that_waits_for_a_synchronous_pool(tmp_path: Path) -> None:
    took, findings = found(tmp_path, "waiting_on_the_loop")
    (blocking,) = (finding for finding in findings if finding.kind is not POOL_TIMEOUT)
    assert blocking.kind is BLOCKING_CHECKOUT
    assert blocking.site is not None
    expected = line_of(blocked_app.waiting_on_the_loop, "# HERE")
    assert (blocking.site.file, blocking.site.line) == expected
    assert blocking.seconds == pytest.approx(took, rel=CLOSE)
