"""`poolhog lab` as its users run it: a process, its folder, its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import asyncpg
import psutil
import pytest
from views import spent_by

import poolhog
from poolhog.model import OperationKind
from poolhog.render.page.inline import digest

if TYPE_CHECKING:
    from pathlib import Path

POOLHOG = [sys.executable, "-m", "poolhog"]
SMALL = [
    *("--external-latency", "0.5", "--users", "20", "--ramp", "0.5", "--measure", "2"),
    *("--pool-size", "2", "--requests", "2,4"),
]


def run(*arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*POOLHOG, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], *, names: str, code: int = 2) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("poolhog: ")]
    assert len(said) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == said[0]
    assert names in said[0]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "run"
    done = run("lab", *SMALL, "--output", folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def results(output: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((output / "results.json").read_text())
    return loaded


def of(results: dict[str, Any], part: str, **wanted: Any) -> dict[str, Any]:
    (found,) = (r for r in results[part] if all(r[key] == wanted[key] for key in wanted))
    assert isinstance(found, dict)
    return found


def test_the_recorders_lost_nothing_and_finished(results: dict[str, Any], output: Path) -> None:
    assert results["recording"] == {"dropped": 0, "errors": 0}
    traces = sorted((output / "traces").iterdir())
    assert len(traces) == 11
    for directory in traces:
        # The services were ended by SIGTERM, of which uvicorn makes the end of the process.
        assert all(process.finished for process in poolhog.open_trace(directory).processes)


def test_every_experiment_ran_for_every_style(results: dict[str, Any]) -> None:
    assert results["complete"] is True
    assert {r["style"] for r in results["lifecycle"]} == {
        "implicit",
        "implicit-forgotten-commit",
        "implicit-function-scope",
        "explicit",
        "per-query",
    }
    assert len(results["lifecycle"]) == 10
    compared = {"implicit", "explicit", "per-query"}
    assert {(r["style"], r["requests"]) for r in results["burst"]} == {
        (style, requests) for style in compared for requests in (2, 4)
    }
    assert {r["style"] for r in results["load"]} == compared


def test_the_implicit_get_returns_its_connection_after_the_response(
    results: dict[str, Any],
) -> None:
    get = of(results, "lifecycle", style="implicit", endpoint="GET /notes/{note_id}")
    assert get["returned_before_response"] is False
    assert get["ended_with"] == "ROLLBACK"
    starts = [
        *("Connection checked out from pool", "BEGIN (implicit)", "SELECT"),
        *('"GET /notes/1 HTTP/1.1" 200 OK', "ROLLBACK"),
        *("Connection being returned to pool", "Connection rollback-on-return"),
    ]
    events = [event["what"] for event in get["events"]]
    assert len(events) == len(starts)
    assert all(event.startswith(start) for event, start in zip(events, starts, strict=True))
    assert [e["at_s"] for e in get["events"]] == sorted(e["at_s"] for e in get["events"])


def test_the_explicit_get_returns_it_before_with_a_commit(results: dict[str, Any]) -> None:
    get = of(results, "lifecycle", style="explicit", endpoint="GET /notes/{note_id}")
    assert get["returned_before_response"] is True
    assert get["ended_with"] == "COMMIT"
    events = [event["what"] for event in get["events"]]
    assert events.index("COMMIT") < events.index("Connection being returned to pool")
    assert events[-1] == '"GET /notes/1 HTTP/1.1" 200 OK'


def test_function_scope_returns_it_before_with_a_rollback(results: dict[str, Any]) -> None:
    scoped = of(
        results, "lifecycle", style="implicit-function-scope", endpoint="GET /notes/{note_id}"
    )
    assert scoped["returned_before_response"] is True
    assert scoped["ended_with"] == "ROLLBACK"


def test_a_forgotten_commit_answers_200_and_loses_the_write(
    results: dict[str, Any], output: Path
) -> None:
    synchronize = "POST /notes/{note_id}/synchronize"
    for result in results["lifecycle"]:
        if result["endpoint"] == synchronize:
            assert result["status"] == 200
            assert result["written"] is (result["style"] != "implicit-forgotten-commit")
    trace = poolhog.open_trace(output / "traces" / "lifecycle-implicit-forgotten-commit")
    (checkout,) = (c for c in trace.checkouts if c.request and c.request.name == synchronize)
    steps = [
        operation.kind if operation.kind is not OperationKind.STATEMENT else operation.statement
        for operation in checkout.operations
    ]
    update = next(index for index, step in enumerate(steps) if str(step).startswith("UPDATE"))
    assert steps[update + 1] is OperationKind.ROLLBACK


def test_bursts_take_as_many_waves_as_the_pool_needs(results: dict[str, Any]) -> None:
    def makespan(style: str, requests: int) -> float:
        return float(of(results, "burst", style=style, requests=requests)["makespan_s"])

    # Two waves against one, in the same run: a ratio, whatever the machine.
    assert makespan("implicit", 4) > 1.6 * makespan("implicit", 2)
    assert makespan("implicit", 4) > 1.4 * makespan("explicit", 4)
    assert makespan("implicit", 4) > 1.4 * makespan("per-query", 4)


def test_waits_and_uses_are_those_of_the_trace(results: dict[str, Any], output: Path) -> None:
    burst = of(results, "burst", style="implicit", requests=4)
    trace = poolhog.open_trace(output / "traces" / "burst-implicit")
    synchronized = [
        c for c in trace.checkouts if c.request and c.request.path.endswith("/synchronize")
    ][-4:]
    accounts = [spent_by(checkout) for checkout in synchronized]
    assert sum(burst["wait_s"]) == pytest.approx(sum(a.wait for a in accounts), abs=1e-5)
    assert sum(burst["use_s"]) == pytest.approx(sum(a.use for a in accounts), abs=1e-5)
    # The second wave waits for the first, and holds through the call: L each, in the same run.
    assert sum(wait > 0.5 * burst["external_latency_s"] for wait in burst["wait_s"]) == 2
    assert all(use > burst["external_latency_s"] for use in burst["use_s"])
    released = of(results, "burst", style="explicit", requests=4)
    assert max(released["use_s"]) < min(burst["use_s"])


def test_latencies_contain_their_waits(results: dict[str, Any]) -> None:
    for burst in results["burst"]:
        assert len(burst["latencies_s"]) == len(burst["wait_s"]) == burst["requests"]
        pairs = zip(burst["latencies_s"], burst["wait_s"], strict=True)
        assert all(latency > wait for latency, wait in pairs)
        assert burst["makespan_s"] >= max(burst["latencies_s"])


def test_the_pool_limits_the_load_only_where_it_is_held(results: dict[str, Any]) -> None:
    held = of(results, "load", style="implicit")
    assert held["pool_limit_per_s"] == pytest.approx(4.0)
    assert held["requests_per_s"] < 1.5 * held["pool_limit_per_s"]
    for style in ("explicit", "per-query"):
        released = of(results, "load", style=style)
        assert released["requests_per_s"] > 3 * held["requests_per_s"]
        assert released["errors"] == 0


def test_locust_and_the_trace_count_the_same_requests(results: dict[str, Any]) -> None:
    for load in results["load"]:
        # A response that is on its way when the window opens or closes is counted by one of them.
        allowed = max(0.01 * load["requests"], 2)
        assert abs(load["requests"] - load["recorded_requests"]) <= allowed


def test_claims_name_their_slide_and_come_in_order(results: dict[str, Any]) -> None:
    claims = results["claims"]
    slides = [int(claim["id"][1:]) for claim in claims if claim["id"] != "P"]
    assert slides == sorted(slides)
    assert {1, 2, 4, 5, 6, 7, 8, 9, 11, 12, 14, 15} <= set(slides)
    assert {"id", "text", "expected", "measured", "holds", "unit"} <= set(claims[0])
    assert all(c["holds"] for c in claims if c["id"] in ("T1", "T2", "T4", "T5", "T6"))


def test_claims_name_what_the_machine_did_and_how_to_repeat_their_part(
    results: dict[str, Any],
) -> None:
    for claim in results["claims"]:
        assert claim["repeat"].startswith("poolhog lab "), claim["text"]
        assert "--external-latency 0.5" in claim["repeat"]
    # A request of a single style takes too short for the clock of the CPU to tick.
    under_load = [c["machine"] for c in results["claims"] if "--users" in c["repeat"]]
    assert under_load
    assert all(machine["cpus"] == os.cpu_count() for machine in under_load)
    if sys.platform == "linux":
        assert all(machine["service"] > 0 for machine in under_load)
        assert all(0 < machine["used"] <= 1 for machine in under_load)


def test_the_implicit_trace_is_replayed_and_predicts_the_explicit_burst(
    results: dict[str, Any],
) -> None:
    predictions = results["predictions"]
    for prediction in predictions:
        error = prediction["predicted"] / prediction["measured"] - 1
        assert prediction["error"] == pytest.approx(error, abs=1e-4)
    told = {(p["what"], p["quantity"]): p for p in predictions}
    was = told["implicit, 4 requests at once, as it was", "makespan_s"]
    assert was["measured"] == of(results, "burst", style="implicit", requests=4)["makespan_s"]
    assert abs(was["error"]) < 0.2
    # Two waves become one: the truth is explicit's, of which the trace knows nothing.
    released = told["implicit, 4 requests at once, releasing the external call", "makespan_s"]
    assert released["measured"] == of(results, "burst", style="explicit", requests=4)["makespan_s"]
    assert released["predicted"] < 0.8 * was["measured"]
    assert {p["quantity"] for p in predictions} == {"makespan_s", "p95_s", "requests_per_s"}
    assert sum(claim["id"] == "P" for claim in results["claims"]) == len(predictions) == 9


class Page(HTMLParser):
    """The ids in their order, what is referred to, and what would be loaded."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name == "href" and tag == "a" and value:
                self.links.append(value)
            if name in ("src", "srcset") or (name == "href" and tag != "a"):
                self.loaded.append(f"{tag} {value}")


def test_the_page_tells_the_talk_in_order_and_loads_nothing(output: Path) -> None:
    html = (output / "report.html").read_text()
    page = Page(html)
    slides = [int(found[1:]) for found in page.ids if re.fullmatch(r"T\d+", found)]
    assert slides == sorted(slides)
    told = {
        int(n) for n in re.findall(r"T(\d+)", " ".join(re.findall(r'class="number">([^<]+)', html)))
    }
    assert told == set(range(1, 17))
    assert page.loaded == []
    assert "url(http" not in html
    assert all(link.removeprefix("#") in page.ids for link in page.links)
    assert len(set(page.ids)) == len(page.ids), "pictures share ids"
    assert "This run has no" not in html


def test_the_bursts_of_the_page_can_be_moved(output: Path, results: dict[str, Any]) -> None:
    html = (output / "report.html").read_text()
    data, code = re.findall(r"<script type=[^>]*>(.*?)</script>", html, re.DOTALL)
    assert f"script-src {digest(code)};" in unescape(html)
    sides = {side["label"]: side for side in json.loads(data)["sides"]}
    assert set(sides) == {"implicit", "explicit", "per-query"}
    assert html.count("data-timeline=") == len(sides)
    for style, side in sides.items():
        burst = of(results, "burst", style=style, requests=4)
        assert len(side["timeline"]["requests"]["id"]) == 4
        assert side["timeline"]["complete"]
        use = sum(max(used, 0) for used in side["timeline"]["checkouts"]["use"]) / 1e6
        assert use == pytest.approx(sum(burst["use_s"]), abs=1e-4)
    assert sides["explicit"]["timeline"]["request_lanes"] == 4


def test_every_picture_is_well_formed(output: Path) -> None:
    pictures = sorted(output.glob("*.svg"))
    assert {"load.svg", "latency-compared.svg", "timeline-implicit-animated.svg"} <= {
        picture.name for picture in pictures
    }
    for picture in pictures:
        assert ET.parse(picture).getroot().tag.endswith("svg")


def test_the_terminal_tells_the_conclusion_first_and_the_next_command_last(output: Path) -> None:
    lines = (output / "stdout").read_text().splitlines()
    assert "20 users get" in lines[0]
    assert "report.html" in lines[-1]
    assert "claims hold" in "\n".join(lines)


def test_a_terminal_shows_the_burst_while_it_goes_on(tmp_path: Path) -> None:
    shown = in_terminal("lab", "burst", *SMALL, "--styles", "implicit", "-o", tmp_path / "run")
    assert "Traceback" not in shown
    drawn, end = shown.index("waiting ≤ 2"), shown.index("implicit: 4 requests at once take")
    assert drawn < end
    assert "burst: implicit · 4 requests at once" in shown[:end]


def in_terminal(*arguments: str | Path) -> str:
    """What a command prints to a terminal of 100 columns, control sequences left out."""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "50"}
    process = subprocess.Popen(
        [*POOLHOG, *map(str, arguments)], stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    printed = b""
    # Reading fails once the last process has closed its side.
    with contextlib.suppress(OSError):
        while received := os.read(controller, 65_536):
            printed += received
    os.close(controller)
    assert process.wait(timeout=60) == 0, printed
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode())


def test_json_on_the_terminal_is_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = run("lab", "burst", *SMALL, "--styles", "explicit", "--json", "-o", folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((folder / "results.json").read_text())


def test_a_foreign_database_is_left_as_it_was(postgresql_url: str, tmp_path: Path) -> None:
    before = lab_schemas(postgresql_url)
    folder = tmp_path / "run"
    chosen = [*SMALL, "--styles", "explicit", "--database-url", postgresql_url]
    done = run("lab", "burst", *chosen, "--output", folder)
    assert done.returncode == 0, done.stderr
    assert lab_schemas(postgresql_url) == before


def lab_schemas(url: str) -> set[str]:
    async def fetch() -> set[str]:
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch(
                "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'poolhog_lab_%'"
            )
        finally:
            await connection.close()
        return {row["nspname"] for row in rows}

    return asyncio.run(fetch())


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--users", "0"], "--users"),
        (["--users", "-3"], "--users"),
        (["--external-latency", "0"], "--external-latency"),
        (["--pool-size", "0"], "--pool-size"),
        (["--requests", "5,none"], "--requests"),
        (["--styles", "implicit,modern"], "modern"),
        (["lifecycles"], "lifecycles"),
        (["--url", "example.org"], "--url"),
        (["--no-such-option"], "--no-such-option"),
        (["--users", "many"], "--users"),
        (["--database-url", "not a url"], "postgresql://"),
        (["--database-url", "mysql://localhost/x"], "postgresql://"),
        (["--database-url", "postgresql://nobody:hidden@127.0.0.1:1/none"], "127.0.0.1:1"),
    ],
)
def test_bad_input_gets_one_line(arguments: list[str], names: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = run("lab", *arguments, "--output", folder)
    assert_one_line(done, names=names)
    assert "hidden" not in done.stderr
    assert not folder.exists(), "a run that did not begin leaves a folder"


def test_a_folder_of_the_user_stays_when_a_run_does_not_begin(tmp_path: Path) -> None:
    unreachable = "postgresql://nobody@127.0.0.1:1/none"
    done = run("lab", "--database-url", unreachable, "--output", tmp_path)
    assert_one_line(done, names="127.0.0.1:1")
    assert tmp_path.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_failed_requests_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    chosen = [*SMALL, "--styles", "implicit", "--pool-timeout", "0.1", "--requests", "4"]
    done = run("lab", "burst", *chosen, "--output", folder)
    assert done.returncode == 0, done.stderr
    (burst,) = json.loads((folder / "results.json").read_text())["burst"]
    assert burst["errors"] == 2
    assert "2 of them failed" in done.stdout.splitlines()[1] + done.stdout.splitlines()[0]
    assert "2 of them failed" in (folder / "report.html").read_text()


def test_modules_in_the_folder_of_the_user_are_not_the_services(tmp_path: Path) -> None:
    for name in ("databases", "locust", "code"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong module')")
    command = [*POOLHOG[:1], "-P", *POOLHOG[1:], "lab", "load", *SMALL, "--styles", "per-query"]
    done = subprocess.run(
        [*command, "-o", "run"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert_one_line(run("lab", "--output", tmp_path), names="not empty")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_one_line(run("lab", "--output", tmp_path / "file" / "run"), names="cannot write")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("lab", "burst", *SMALL, "--port", str(port), "-o", tmp_path / "run")
    assert_one_line(done, names=str(port))


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*POOLHOG, "lab", *SMALL, *arguments, "--output", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    wait_for_file(path.parent, path.name, process)


def wait_for_file(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not any(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{pattern} did not appear in {folder}"
        time.sleep(0.02)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_has_and_leaves_no_process(
    ending: signal.Signals, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = started(folder)
    # The second service is under way: the first one's results are there to be kept.
    wait_for(folder / "traces" / "lifecycle-implicit-forgotten-commit", process)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(ending)
    stdout, stderr = process.communicate(timeout=30)
    done = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
    assert_one_line(done, names="interrupted", code=130)
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    kept = json.loads((folder / "results.json").read_text())
    assert kept["complete"] is False
    assert kept["failure"] == "interrupted"
    assert [r["style"] for r in kept["lifecycle"]][:2] == ["implicit", "implicit"]
    assert "This run did not finish" in (folder / "report.html").read_text()


def test_a_service_that_is_killed_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = started(folder, "burst", "--external-latency", "3")
    wait_for_file(folder / "traces" / "burst-implicit", "*.sqlite", process)
    (trace,) = (folder / "traces" / "burst-implicit").glob("*.sqlite")
    children = psutil.Process(process.pid).children(recursive=True)
    time.sleep(1)  # into the first burst
    os.kill(int(trace.stem), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=60)
    done = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
    assert_one_line(done, names="service-implicit")
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    outcomes = {checkout.outcome for checkout in poolhog.open_trace(trace.parent).checkouts}
    assert poolhog.Outcome.OPEN in outcomes
