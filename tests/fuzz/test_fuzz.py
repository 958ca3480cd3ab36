"""Damaged and crafted traces: a report that says what is missing, or one line, and no harm.

``python tests/fuzz/test_fuzz.py HOURS`` goes on with new cases for so long.
"""

from __future__ import annotations

import json
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = Path(__file__).with_name("service.py")
WORKER = Path(__file__).with_name("worker.py")
CASES = 400
"""Of which half are damaged, and half are crafted."""

AT_ONCE = 100
VERBS = 1
"""Verbs of a case, beside ``report --json``; by hand, all."""

LONGEST_S = 10.0
"""A verb that takes longer hangs; on a busy machine, the worker has three times as long."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three traces of one process each: two that ended, and one that was killed."""
    return record(tmp_path_factory.mktemp("fuzz") / "base")


def record(base: Path) -> Path:
    """Record them there."""
    base.mkdir()
    for name, how in (("ended", "ended"), ("killed", "killed"), ("other", "ended")):
        command = [sys.executable, "-W", "ignore", str(SERVICE)]
        place = [str(base / name), str(base / f"{name}.db"), how]
        done = subprocess.run([*command, *place], check=False, timeout=120)
        assert done.returncode == (-signal.SIGKILL if how == "killed" else 0)
    return base


def results(base: Path, place: Path, first: int, last: int, verbs: int) -> Iterator[dict[str, Any]]:
    """What came of each verb of each case."""
    command = [sys.executable, str(WORKER), str(base), str(place), *map(str, (first, last, verbs))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as worker:
        assert worker.stdout is not None
        pending = b""
        running: dict[str, Any] = {}
        while True:
            ready, _, _ = select.select([worker.stdout], [], [], 3 * LONGEST_S)
            if not ready:
                worker.kill()
                yield {**running, "faults": [f"hangs for {3 * LONGEST_S:.0f} s"]}
                return
            read = worker.stdout.read(1 << 16)
            if not read:
                break
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                running = json.loads(line)
                if "code" in running:
                    yield {**running, "faults": list(faults(running))}
        if worker.wait():
            yield {**running, "faults": [f"ended the process with {worker.returncode}"]}


def faults(result: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a verb's answer to a harmed trace."""
    if result["crash"]:
        yield f"a traceback: {result['crash']}"
    if result["seconds"] > LONGEST_S:
        yield f"took {result['seconds']:.1f} s"
    if result["changed"]:
        yield "changed the trace, or deleted another file"
    if result["strangers"]:
        yield f"touched {result['strangers'][:3]}"
    if result["code"] not in (0, 2):
        yield f"exit code {result['code']}"
    if result["code"] == 2 and not re.fullmatch(r"poolhog: [^\n]+\n", result["errors"]):
        yield f"more than one line: {result['errors'][:300]}"
    if "Traceback" in result["errors"] + result["printed"]:
        yield "prints a traceback"
    is_silent = result["code"] == 0 and not _says_so(result)
    if result["is_damage"] and is_silent and result["printed"] != result["intact"]:
        yield "says something else than of the intact trace, and not why"


def _says_so(result: dict[str, Any]) -> bool:
    told = (result["errors"] + result["printed"]).lower()
    return "not in this:" in told or re.search(r'"unreadable": \[\s*\{', told) is not None


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_harmed_traces(base: Path, tmp_path: Path, first: int) -> None:
    found = list(results(base, tmp_path, first, first + AT_ONCE, VERBS))
    wrong = [one for one in found if one["faults"]]
    assert not wrong, "\n".join(_told(one) for one in wrong[:20])
    assert len(found) == AT_ONCE * (1 + VERBS)
    # Neither is all refused, nor does all pass.
    assert {one["code"] for one in found} == {0, 2}


def _told(one: dict[str, Any]) -> str:
    case = {key: one.get(key) for key in ("case", "kind", "beside", "harm", "verb")}
    return f"{case}: {'; '.join(one['faults'])}"


def main(hours: float) -> None:
    """Try new cases for so long; the first that is wrong ends it."""
    began = time.monotonic()
    first = time.time_ns() // 1_000_000
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        base = Path(place) / "base"
        record(base)
        while time.monotonic() - began < hours * 3600:
            (Path(place) / "cases").mkdir(exist_ok=True)
            for one in results(base, Path(place) / "cases", first, first + AT_ONCE, 16):
                if one["faults"]:
                    sys.exit(_told(one))
            first += AT_ONCE
            print(f"{time.monotonic() - began:,.0f} s: no fault up to case {first - 1}", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
