"""``poolhog export`` of real processes with a real pool: its files, and a user's mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from poolhog.render.export import FORMATS

ORDERS = Path(__file__).parents[2] / "examples" / "orders.py"
DEADLINE_S = 60.0
SUFFIXES = {form.name: form.suffix for form in FORMATS}


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two processes that did the same at the same time."""
    directory = tmp_path_factory.mktemp("orders") / "trace"
    once = f"'{sys.executable}' '{ORDERS}'"
    command = [sys.executable, "-m", "poolhog", "run", "-o", str(directory), "--"]
    both = f"{once} & first=$!; {once}; second=$?; wait $first && exit $second"
    subprocess.run(
        [*command, "sh", "-c", both], check=True, capture_output=True, timeout=DEADLINE_S
    )
    return directory


def poolhog(*arguments: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "poolhog", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, cwd=cwd)
    assert done.returncode == code, done.stderr
    return done


def refused(*arguments: str | Path, cwd: Path) -> str:
    """The one line that a mistake is answered with; nothing is left behind."""
    before = sorted(cwd.iterdir())
    done = poolhog("export", *arguments, cwd=cwd, code=2)
    assert done.stdout == b""
    assert sorted(cwd.iterdir()) == before
    (line,) = done.stderr.decode().splitlines()
    return line


def totals(trace: Path, cwd: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(poolhog("report", trace, "--json", cwd=cwd).stdout)["totals"]
    return found


@pytest.mark.parametrize("form", SUFFIXES)
def test_a_file_is_named_after_the_trace_and_told(trace: Path, tmp_path: Path, form: str) -> None:
    told = poolhog("export", trace, "--format", form, cwd=tmp_path).stdout.decode().splitlines()
    file = tmp_path / f"trace{SUFFIXES[form]}"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    checkouts = totals(trace, tmp_path)["checkouts"]
    assert told[0].startswith(f"{file.name}: {checkouts} checkouts of 2 processes, ")
    assert told[1].startswith("python3 -m ")


def test_the_seconds_are_those_of_the_report(trace: Path, tmp_path: Path) -> None:
    spent = totals(trace, tmp_path)
    for form in ("speedscope", "chrome-trace"):
        poolhog("export", trace, "--format", form, "-o", f"{form}.json", cwd=tmp_path)
    profiles = json.loads((tmp_path / "speedscope.json").read_text())["profiles"]
    lent, waited, *connections = profiles
    assert sum(lent["weights"]) == pytest.approx(spent["use_s"], abs=1e-5)
    assert sum(waited["weights"]) == pytest.approx(spent["wait_s"], abs=1e-5)
    assert len(connections) == 4  # two pools of two
    events = json.loads((tmp_path / "chrome-trace.json").read_text())["traceEvents"]
    gaps = [e for e in events if e["ph"] == "X" and e["cat"] == "gap"]
    parked = sum(e["dur"] for e in gaps if e["name"] == "parked") / 1e6
    assert parked == pytest.approx(spent["parked_s"], rel=0.01)
    line = max(gaps, key=lambda event: int(event["dur"]))["args"]
    assert line["source"] == "time.sleep(0.25)"
    assert len({event["pid"] for event in events}) == 2


def test_one_process(trace: Path, tmp_path: Path) -> None:
    pids = [int(file.stem) for file in trace.glob("*.sqlite")]
    told = poolhog(
        "export", trace, "--format", "csv", "--pid", str(pids[0]), "--json", cwd=tmp_path
    )
    found = json.loads(told.stdout)
    file = tmp_path / found["file"]
    assert found["processes"] == [pids[0]]
    assert found["format"] == "csv"
    assert found["bytes"] == file.stat().st_size
    with zipfile.ZipFile(file) as tables:
        lines = tables.read("checkouts.csv").decode().splitlines()
    assert len(lines) == 1 + found["checkouts"]


def test_standard_output_has_the_file_and_nothing_else(trace: Path, tmp_path: Path) -> None:
    for form in SUFFIXES:
        poolhog("export", trace, "--format", form, "-o", "file", cwd=tmp_path)
        done = poolhog("export", trace, "--format", form, "-o", "-", cwd=tmp_path)
        assert done.stderr == b""
        if form != "csv":  # a zip for a pipe has its sizes elsewhere
            assert done.stdout == (tmp_path / "file").read_bytes()
            continue
        (tmp_path / "piped").write_bytes(done.stdout)
        with zipfile.ZipFile(tmp_path / "piped") as one, zipfile.ZipFile(tmp_path / "file") as two:
            assert one.testzip() is None
            assert one.namelist() == two.namelist()
            assert all(one.read(name) == two.read(name) for name in one.namelist())


def test_a_pipe_that_is_closed_early_is_no_failure(trace: Path, tmp_path: Path) -> None:
    command = (
        f"'{sys.executable}' -m poolhog export '{trace}' --format chrome-trace -o - | head -c 9"
    )
    done = subprocess.run(["sh", "-c", command], capture_output=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (b'{"traceEv', b"")


def test_mistakes_are_told_in_a_line(trace: Path, tmp_path: Path) -> None:
    export = trace, "--format", "csv"
    assert "Missing option '--format'" in refused(trace, cwd=tmp_path)
    assert "'xml' is not one of" in refused(trace, "--format", "xml", cwd=tmp_path)
    assert "does not exist" in refused("nowhere", "--format", "csv", cwd=tmp_path)
    assert "leave nothing" in refused(*export, "--from", "5000", cwd=tmp_path)
    assert "leave --from and --to out" in refused(*export, "--last", "1", "--to", "2", cwd=tmp_path)
    assert "no route contains" in refused(*export, "--route", "nothing", cwd=tmp_path)
    assert "--pid takes one of" in refused(*export, "--pid", "1", cwd=tmp_path)
    assert "name one with --output" in refused(*export, "-o", "-", "--json", cwd=tmp_path)
    assert "name another place" in refused(*export, "-o", "no/such/file", cwd=tmp_path)
    (tmp_path / "directory").mkdir()
    assert "not an ordinary file" in refused(*export, "-o", "directory", cwd=tmp_path)


def test_a_failure_leaves_what_was_there(trace: Path, tmp_path: Path) -> None:
    (tmp_path / "trace").mkdir()
    for file in trace.iterdir():
        (tmp_path / "trace" / file.name).write_bytes(file.read_bytes())
    kept = tmp_path / "kept"
    kept.write_text("what was there")
    for damaged in (tmp_path / "trace").glob("*.sqlite"):
        content = bytearray(damaged.read_bytes())
        content[len(content) // 4 :] = b"\x5a" * (len(content) - len(content) // 4)
        damaged.write_bytes(content)
    line = refused("trace", "--format", "chrome-trace", "-o", "kept", cwd=tmp_path)
    assert "damaged" in line or "cannot be read" in line
    assert kept.read_text() == "what was there"
