"""What is said of a claim that does not hold: what differed, the machine, and a command."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_lab_claims import burst, get, load, only, results

from poolhog.lab.claims import check
from poolhog.lab.machine import STOLEN, USED, MachineMeter, MachineUse
from poolhog.lab.parameters import Experiment, Parameters
from poolhog.lab.parts import Part
from poolhog.lab.results_json import results_json
from poolhog.lab.service.settings import Style
from poolhog.lab.talk import claim_text
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterator

QUIET = MachineUse(cpus=2, load_average=0.4, used=0.1, stolen=0.0, service=0.05)
PLAIN = Parameters(output=Path("out"))


def said(found: Any, claim: str) -> str:
    text = claim_text(only(check(found), claim), found.parameters)
    return " ".join([*text.why, text.repeat]) if text.why else ""


def test_a_claim_that_holds_needs_no_words() -> None:
    found = results(burst=[burst(Style.IMPLICIT, 10, 10.1, 5.0)])
    assert said(found, "T8") == ""


def test_on_a_quiet_machine_it_says_what_differed() -> None:
    slow = replace(burst(Style.EXPLICIT, 10, 6.0, 0.1), machine=QUIET)
    slow = replace(slow, latencies=(5.1,) * 6 + (6.0,) + (5.1,) * 3, waits=(0.9,) * 10)
    text = said(results(burst=[slow]), "T12")
    assert "That is 750 ms more than allowed: at most 5.25 s." in text
    assert "Request #7 took the longest: 6.00 s, of which it waited 900 ms" in text
    assert "The machine was not busy: load average 0.4 on 2 CPUs" in text


@pytest.mark.parametrize(
    ("busy", "words"),
    [
        (replace(QUIET, load_average=2.1), "load average 2.1 on 2 CPUs"),
        (replace(QUIET, used=USED), "90 % of the CPU time used"),
        (replace(QUIET, stolen=STOLEN), "5 % stolen by the hypervisor"),
    ],
)
def test_on_a_busy_machine_it_says_so(busy: MachineUse, words: str) -> None:
    slow = replace(load(Style.EXPLICIT, 150.0), machine=busy)
    text = said(results(load=[slow]), "T15")
    assert "The machine was busy, which may explain this: " in text
    assert words in text
    assert "the service used 0.05 CPUs" in text
    assert "poolhog lab load --styles explicit" in text


def test_a_system_that_counts_nothing_is_not_called_busy() -> None:
    unknown = MachineUse(cpus=2, load_average=None, used=None, stolen=None, service=None)
    assert not unknown.is_busy
    slow = replace(load(Style.EXPLICIT, 150.0), machine=unknown)
    assert "not busy: nothing is known of it" in said(results(load=[slow]), "T15")


def test_of_a_log_the_first_line_that_differs_is_named() -> None:
    found = results(lifecycle=[get(Style.IMPLICIT, 0.4, OperationKind.ROLLBACK)])
    text = said(found, "T2")
    assert 'Line 4 should begin with “"GET”, and is “ROLLBACK”.' in text
    assert "poolhog lab lifecycle --styles implicit" in text
    assert "Expected was after the response" in said(found, "T1")


def test_the_command_repeats_the_part_with_the_same_parameters() -> None:
    part = Part(Experiment.BURST, (Style.IMPLICIT, Style.EXPLICIT), 20)
    assert part.command(PLAIN) == "poolhog lab burst --styles implicit,explicit --requests 20"
    chosen = replace(
        PLAIN, external_latency=0.5, pool_size=7, users=20, database_url="postgresql://u:secret@h/d"
    )
    assert part.command(chosen) == (
        "poolhog lab burst --styles implicit,explicit --requests 20 --external-latency 0.5 "
        '--pool-size 7 --database-url "$DATABASE_URL"'
    )
    assert "--users 20" in Part(Experiment.LOAD, (Style.IMPLICIT,)).command(chosen)


def test_every_claim_has_a_command_that_is_understood() -> None:
    found = results(
        lifecycle=[get(Style.IMPLICIT, 0.9, OperationKind.ROLLBACK)],
        burst=[burst(Style.IMPLICIT, 10, 10.1, 5.0)],
        load=[load(Style.IMPLICIT, 2.0)],
    )
    found.claims = check(found)
    found.parameters = found.parameters.quick()
    commands = {claim["repeat"] for claim in results_json(found, ())["claims"]}
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command)
        assert words[:2] == ["poolhog", "lab"]
        assert words[2] in list(Experiment)
        done = subprocess.run(
            [sys.executable, "-m", *words, "--port", "-1"],
            capture_output=True,
            text=True,
            check=False,
        )
        # All else was understood: only what was added is refused.
        assert done.stderr.startswith("poolhog: --port -1"), done.stderr


@contextmanager
def starting(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process in a session of its own, killed with its children."""
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux counts this")
def test_the_cpu_of_a_service_is_that_of_its_processes() -> None:
    # A process and its child, in a session of their own, as services are; and one that sleeps.
    child = "while True: pass"
    busy = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with starting(busy) as process, starting("import time; time.sleep(600)") as sleeping:
        time.sleep(1)  # both have started by now, which takes CPU time
        meter, other = MachineMeter(process.pid), MachineMeter(sleeping.pid)
        deadline = time.monotonic() + 20
        used, idle = meter.use(), other.use()
        while (used.service or 0) <= (idle.service or 0) + 0.05 and time.monotonic() < deadline:
            time.sleep(0.2)
            used, idle = meter.use(), other.use()
    assert used.service is not None
    assert idle.service is not None
    assert used.service > idle.service + 0.05
    assert used.cpus == os.cpu_count()
    assert used.used is not None
    assert 0 < used.used <= 1
    assert used.stolen is not None
    assert 0 <= used.stolen <= 1
