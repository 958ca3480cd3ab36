"""A call that keeps the event loop or the interpreter is found at its line, with its seconds."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import blocked_app
import pytest
from places import line_of

from poolhog import open_trace
from poolhog.analysis.findings import PARKED_CHECKOUT, STARVED_LOOP
from poolhog.analysis.report import report_of

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
