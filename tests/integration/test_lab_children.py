"""Children are ended whatever happens, and one that fails is told about in one line."""

from __future__ import annotations

import asyncio
import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import pytest

from poolhog.errors import ChildError, PoolhogError
from poolhog.lab import children, external_api, interrupts
from poolhog.lab.service.settings import Settings, Style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = """
    import os, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(grandchild.pid, flush=True)
    time.sleep(60)
"""


def python(code: str, log_directory: Path, *, reads_output: bool = False) -> children.Child:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return children.Child("snake", command, log_directory, reads_output=reads_output)


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_child_lives_in_a_session_of_its_own_while_its_block_runs(tmp_path: Path) -> None:
    with python(SLEEP, tmp_path, reads_output=True) as child:
        assert child.read_line() == "up"
        pid = child.pid
        assert os.getsid(pid) == pid != os.getsid(0)
        child.check()
    assert is_gone(pid)


def test_a_child_that_ignores_its_end_is_killed_with_its_own_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_GRACE_S", 0.1)
    with python(STUBBORN, tmp_path, reads_output=True) as child:
        grandchild = int(child.read_line() or 0)
        pid = child.pid
        assert not is_gone(grandchild)
    assert is_gone(pid)
    assert wait_for(lambda: is_gone(grandchild))


def test_the_children_of_a_child_that_was_killed_are_ended(tmp_path: Path) -> None:
    with python(STUBBORN, tmp_path, reads_output=True) as child:
        grandchild = int(child.read_line() or 0)
        os.kill(child.pid, signal.SIGKILL)
        assert wait_for(lambda: is_gone(child.pid))
        with pytest.raises(ChildError, match="snake was ended by SIGKILL before its work was done"):
            child.check()
    assert wait_for(lambda: is_gone(grandchild))


def test_a_child_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('first\\nlast words\\n\\n'); sys.exit(3)"
    (tmp_path / "snake.log").write_text("an earlier run\n")
    with python(code, tmp_path) as child, pytest.raises(ChildError) as told:
        child.wait_until(lambda: False)
    assert str(told.value) == (
        "snake ended with exit code 3 before it was ready: last words "
        f"(log: {tmp_path / 'snake.log'})"
    )


def test_a_silent_failure_is_not_given_the_words_of_an_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "snake.log").write_text("an earlier run\n")
    with (
        python("raise SystemExit(1)", tmp_path) as child,
        pytest.raises(ChildError, match="ended with exit code 1 before it was ready: it said noth"),
    ):
        child.wait_until(lambda: False)


def test_a_child_that_is_never_ready_is_told(tmp_path: Path) -> None:
    with (
        python(SLEEP, tmp_path) as child,
        pytest.raises(ChildError, match=r"snake was not ready within 0.05 s"),
    ):
        child.wait_until(lambda: False, within=0.05)


def test_a_child_that_does_not_exist_is_told(tmp_path: Path) -> None:
    child = children.Child("nobody", ["/no/such/program"], tmp_path)
    with pytest.raises(ChildError, match=r"nobody cannot be started: .*No such file"), child:
        pass


def test_output_is_read_line_by_line(tmp_path: Path) -> None:
    code = "import time; print('one'); print('two', flush=True); time.sleep(0.1); print('three')"
    with python(code, tmp_path, reads_output=True) as child:
        assert [child.read_line() for _ in range(4)] == ["one", "two", "three", None]


def test_silence_is_an_error(tmp_path: Path) -> None:
    with (
        python("import time; time.sleep(60)", tmp_path, reads_output=True) as child,
        pytest.raises(ChildError, match=r"snake said nothing for 0.05 s"),
    ):
        child.read_line(within=0.05)


def test_a_child_may_open_as_many_files_as_the_system_allows(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    try:
        with python(code, tmp_path, reads_output=True) as child:
            assert int(child.read_line() or 0) > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_interrupt_waits_for_what_must_not_be_lost() -> None:
    done: list[str] = []

    def make_something() -> None:
        with interrupts.interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            done.append("made")

    with pytest.raises(KeyboardInterrupt):
        make_something()
    assert done == ["made"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PoolhogError) as told:
            children.check_port(port)
    assert str(told.value) == (
        f"port {port} is taken: choose another with --port, or leave it out for any free port"
    )
    children.check_port(port)


def test_a_service_that_cannot_start_is_told(tmp_path: Path) -> None:
    settings = Settings(Style.PER_QUERY, "postgresql://x@127.0.0.1:1/x", "http://127.0.0.1:1")
    with (
        pytest.raises(ChildError, match="service-per-query ended with exit code") as told,
        children.service(settings, None, 1, tmp_path),
    ):
        pass
    assert "\n" not in str(told.value)
    assert str(tmp_path / "service-per-query.log") in str(told.value)


def test_a_service_runs_at_the_port_of_the_user_and_no_other_can(tmp_path: Path) -> None:
    settings = Settings(Style.EXPLICIT, "postgresql://x@127.0.0.1:1/x", "http://127.0.0.1:1")
    port = children.free_port()
    with children.service(settings, port, 2, tmp_path) as server:
        assert server.url == f"http://127.0.0.1:{port}"
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
        assert len(processes) >= 3
        with (
            pytest.raises(PoolhogError, match=f"port {port} is taken"),
            children.service(settings, port, 1, tmp_path),
        ):
            pass
    assert not psutil.wait_procs(processes, timeout=5)[1]


def ask(server: children.Server) -> int:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    try:
        connection.request("POST", "/notes/1")
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_external_api_fails_as_often_as_it_is_told(tmp_path: Path) -> None:
    for failure_rate, status in ((0.0, 200), (1.0, 503)):
        with children.external_api(0, 0, failure_rate, tmp_path) as server:
            assert {ask(server) for _ in range(10)} == {status}


@pytest.mark.parametrize(
    "wrong", [["--latency", "-1"], ["--jitter", "inf"], ["--failure-rate", "1.5"], ["--port", "x"]]
)
def test_the_external_api_refuses_nonsense(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        external_api.main(wrong)
    assert f"argument {wrong[0]}:" in capsys.readouterr().err


EVERYTHING = """
    import signal, sys
    from pathlib import Path
    from poolhog.lab import children, load, postgres
    from poolhog.lab.interrupts import interrupts_remembered
    from poolhog.lab.service.settings import Settings, Style

    signal.signal(signal.SIGINT, signal.default_int_handler)
    logs = Path(sys.argv[1])
    with interrupts_remembered() as check:
        print("starting", flush=True)
        with postgres.database(None, logs) as database:
            check()
            database.create_notes(5)
            check()
            print("database", flush=True)
            with children.external_api(0.1, 0, 0, logs) as api:
                check()
                print("api", flush=True)
                settings = Settings(Style.IMPLICIT, database.url, api.url, database.schema)
                with children.service(settings, None, 2, logs) as service:
                    check()
                    print("service", flush=True)
                    plan = load.LoadPlan(service.url, 5, 0.1, 0.1, 60, 5)
                    load.run_load(plan, logs, lambda progress: print(progress.phase, flush=True))
"""


def marked(mark: str) -> list[str]:
    """The processes that were started with this mark in their environment."""

    def has_mark(process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get("POOLHOG_TEST_MARK") == mark)
        except psutil.Error:
            return False

    return [str(process) for process in psutil.process_iter() if has_mark(process)]


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A place for temporary files whose path leaves room for that of a unix socket."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_ctrl_c_is_not_lost_on_a_task_that_fails_just_then() -> None:
    async def fail() -> None:
        signal.raise_signal(signal.SIGINT)
        try:
            await asyncio.sleep(10)
        except BaseException:
            raise ValueError("as a connection attempt that is refused") from None

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            interrupts.run_async(fail())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_while_a_child_is_ended_kills_it(tmp_path: Path) -> None:
    interrupt = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    with python(STUBBORN, tmp_path, reads_output=True) as child:
        child.read_line()
        pid = child.pid
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            child.stop()
    assert is_gone(pid)


@pytest.mark.parametrize(
    ("after", "delay"),
    [("starting", 0.1), ("starting", 0.5), ("api", 0.5), ("measure", 0.3)],
)
def test_ctrl_c_leaves_no_process_and_no_directory(
    after: str, delay: float, tmp_path: Path, short_directory: Path
) -> None:
    mark = uuid4().hex
    lab = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(EVERYTHING), str(tmp_path)],
        env={**os.environ, "POOLHOG_TEST_MARK": mark, "TMPDIR": str(short_directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert lab.stdout is not None
    while after not in lab.stdout.readline():
        assert lab.poll() is None, lab.communicate()
    time.sleep(delay)
    assert marked(mark)
    lab.send_signal(signal.SIGINT)
    _, errors = lab.communicate(timeout=30)
    assert lab.returncode == -signal.SIGINT, errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert wait_for(lambda: not marked(mark)), marked(mark)
    assert not list(short_directory.iterdir())
