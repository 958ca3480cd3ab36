"""``poolhog run`` with real commands: each is recorded, with all processes that it starts."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import pty
import signal
import subprocess
import sys
import venv
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from recorded_app import DEADLINE_S, eventually

import poolhog
from poolhog.errors import TraceError
from poolhog.lab.children import Child, free_port
from poolhog.recording.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POOLHOG = (sys.executable, "-m", "poolhog")
BIN = Path(sys.executable).parent

QUERY = """
import os, sqlalchemy
engine = sqlalchemy.create_engine(f"sqlite:///{os.path.abspath('data.db')}")

def query():
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
"""

SERVICE = f"""{QUERY}
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for what in ("startup", "shutdown"):
            await receive()
            await send({{"type": f"lifespan.{{what}}.complete"}})
        return
    query()
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": str(os.getpid()).encode()}})

if "QUERY_AT_IMPORT" in os.environ:
    query()
"""

CHILD = f"""{QUERY}
import sys

if __name__ == "__main__":
    import multiprocessing, subprocess
    query()
    if sys.argv[1] == "subprocess":
        subprocess.run([sys.executable, "-c", "import child; child.query()"], check=True)
    else:
        process = multiprocessing.get_context(sys.argv[1]).Process(target=query)
        process.start()
        process.join()
        assert process.exitcode == 0
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The working directory of the commands, with the programs that they may run."""
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "script.py").write_text(f"{QUERY}\nquery()\n")
    (tmp_path / "test_it.py").write_text(f"{QUERY}\ndef test_query():\n    query()\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(f"{QUERY}\nquery()\n")
    return tmp_path


def start(
    home: Path, *command: str | Path, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """What becomes of a command with this PYTHONPATH."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environ["PYTHONPATH"] = path
    return subprocess.run(
        command,
        cwd=home,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def record(
    home: Path, *command: str | Path, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """What becomes of a command that is recorded into ``trace``."""
    return start(home, *POOLHOG, "run", "-o", "trace", "--", *command, path=path)


def succeed(home: Path, *command: str | Path, path: str | None = None) -> str:
    """What a recorded command prints, which ends well and has nothing to complain about."""
    done = record(home, *command, path=path)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr
    return done.stdout


def processes(trace: Path) -> set[int]:
    """The processes of which a checkout was recorded to its end."""
    try:
        checkouts = poolhog.open_trace(trace).checkouts
    except TraceError:
        return set()
    return {checkout.pool.process.pid for checkout in checkouts if checkout.returned is not None}


class Service:
    """A recorded server of ``service.py``."""

    def __init__(self, home: Path, child: Child, port: int) -> None:
        self.trace = home / "trace"
        self.child = child
        self._port = port

    def ask(self) -> int | None:
        """The process that answered, if one did."""
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, DEADLINE_S)) as asked:
            try:
                asked.request("GET", "/")
                return int(asked.getresponse().read())
            except (OSError, http.client.HTTPException):
                return None


@contextmanager
def serving(home: Path, *command: str | Path, **environ: str) -> Iterator[Service]:
    """The command, with a free port in place of ``PORT``, until it was ended by SIGTERM."""
    port = free_port()
    words = [str(word).replace("PORT", str(port)) for word in command]
    whole = [*POOLHOG, "run", "-o", "trace", "--", *words]
    with Child("server", whole, home, environ={"PYTHONPATH": "", **environ}, directory=home) as c:
        service = Service(home, c, port)
        c.wait_until(lambda: service.ask() is not None)
        yield service


UVICORN = ("service:app", "--port", "PORT", "--log-level", "warning")
GUNICORN = (
    *(BIN / "gunicorn", "service:app", "-b", "127.0.0.1:PORT", "--log-level", "error"),
    *("-k", "uvicorn_worker.UvicornWorker", "-w", "2"),
)


@pytest.mark.parametrize(
    ("command", "workers", "environ"),
    [
        ((BIN / "uvicorn", *UVICORN), 1, {}),
        ((sys.executable, "-m", "uvicorn", *UVICORN), 1, {}),
        ((BIN / "uvicorn", *UVICORN, "--workers", "2"), 2, {}),
        (GUNICORN, 2, {}),
        ((*GUNICORN, "--preload"), 2, {"QUERY_AT_IMPORT": "1"}),
    ],
    ids=["uvicorn", "python -m uvicorn", "uvicorn --workers", "gunicorn", "gunicorn --preload"],
)
def test_every_worker_of_a_server_is_recorded(
    home: Path, command: Sequence[str | Path], workers: int, environ: dict[str, str]
) -> None:
    with serving(home, *command, **environ) as service:
        answered: set[int] = set()

        def all_answered() -> bool:
            answered.update(filter(None, [service.ask()]))
            return len(answered) == workers

        eventually(all_answered)
        # The master of gunicorn uses the pool as well when it loads the application.
        connected_before = {service.child.pid} if environ else set()
        eventually(lambda: processes(service.trace) == answered | connected_before)


def test_a_reloaded_server_is_recorded_again(home: Path) -> None:
    with serving(home, BIN / "uvicorn", *UVICORN, "--reload", "--reload-dir", home) as service:
        first = service.ask()
        (home / "service.py").write_text(f"{SERVICE}\n# changed\n")
        eventually(lambda: service.ask() not in (None, first))
        second = service.ask()
        eventually(lambda: processes(service.trace) == {first, second})


@pytest.mark.parametrize(
    "command",
    [
        (sys.executable, "script.py"),
        (sys.executable, "-m", "package"),
        (sys.executable, "-c", "import child; child.query()"),
        (sys.executable, "-P", "-X", "dev", "-W", "ignore", "script.py"),
        (BIN / "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"),
        ("sh", "-c", f"cd package && {sys.executable} ../script.py && true"),
        (*POOLHOG, "run", "-o", "trace", "--", sys.executable, "script.py"),
    ],
    ids=["script", "module", "code", "options", "pytest", "shell", "poolhog run"],
)
def test_a_program_is_recorded(home: Path, command: Sequence[str | Path]) -> None:
    done = record(home, *command)
    assert done.returncode == 0, done.stderr
    assert len(processes(home / "trace")) == 1


@pytest.mark.parametrize("how", ["spawn", "fork", "forkserver", "subprocess"])
def test_a_child_is_recorded_with_its_parent(home: Path, how: str) -> None:
    succeed(home, sys.executable, "child.py", how)
    assert len(processes(home / "trace")) == 2


def test_a_fork_by_hand_is_recorded(home: Path) -> None:
    code = """
import os, child
child.query()
if os.fork() == 0:
    child.query()
else:
    os.wait()
"""
    succeed(home, sys.executable, "-c", code)
    assert len(processes(home / "trace")) == 2


def test_processes_that_touch_no_pool_leave_nothing(home: Path) -> None:
    code = """
import multiprocessing.shared_memory, subprocess, sys, sqlalchemy, poolhog
sqlalchemy.create_engine("sqlite:///data.db")
memory = multiprocessing.shared_memory.SharedMemory(create=True, size=1)
memory.unlink()
subprocess.run([sys.executable, "-c", "import sqlalchemy"], check=True)
"""
    succeed(home, sys.executable, "-c", code)
    assert list((home / "trace").iterdir()) == []
    assert (home / "trace").stat().st_mode & 0o777 == 0o700


def test_a_process_without_a_watched_library_pays_for_next_to_nothing(home: Path) -> None:
    code = "import json, sys; modules = sorted(sys.modules); print(json.dumps(modules))"
    bare = start(home, sys.executable, "-c", code)
    recorded = succeed(home, sys.executable, "-c", code)
    more = set(json.loads(recorded)) - set(json.loads(bare.stdout))
    assert {name.partition(".")[0] for name in more} <= {"importlib", "warnings"}


def test_poolhog_need_not_be_installed_where_the_command_is(home: Path) -> None:
    """As when it was installed by pipx: the environment has SQLAlchemy, and no poolhog."""
    venv.create(home / "env", symlinks=True)
    python = home / "env" / "bin" / "python"
    (packages,) = home.glob("env/lib/python*/site-packages")
    for name in ("greenlet", "sqlalchemy", "typing_extensions"):
        source = Path(str(importlib.import_module(name).__file__))
        source = source.parent if source.name == "__init__.py" else source
        (packages / source.name).symlink_to(source)
    assert "No module named 'poolhog'" in start(home, python, "-c", "import poolhog").stderr

    code = """
import sys
before = list(sys.path)
import child
child.query()
assert sys.path == before
print("\\n".join(sys.path))
"""
    path = succeed(home, python, "-c", code).splitlines()
    assert str(Path(poolhog.__file__).parents[1]) not in path
    assert len(processes(home / "trace")) == 1


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("recorded", [False, True])
def test_the_users_own_sitecustomize_is_run(home: Path, recorded: bool, fails: bool) -> None:
    own = home / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text(
        "import sys\nsys.path.append('/added')\nname = __name__\n" + "1 / 0\n" * fails
    )
    code = """
import child, sys
child.query()
own = sys.modules.get("sitecustomize")
print(own and (own.__name__, own.name, own.__file__, own.__spec__.origin))
print("/added" in sys.path)
"""
    command = record if recorded else start
    done = command(home, sys.executable, "-c", code, path=str(own))
    assert bool(processes(home / "trace")) is recorded
    file = str(own / "sitecustomize.py")
    module = None if fails else ("sitecustomize", "sitecustomize", file, file)
    assert done.stdout == f"{module}\nTrue\n"
    assert ("ZeroDivisionError" in done.stderr) is fails


@pytest.mark.parametrize("path", [None, "", "own", f"own{os.pathsep}"])
def test_the_path_of_the_user_is_kept(home: Path, path: str | None) -> None:
    code = "import sys; print(sys.path)"
    bare = start(home, sys.executable, "-P", "-c", code, path=path)
    printed = succeed(home, sys.executable, "-P", "-c", code, path=path)
    added, *rest = eval(printed)
    assert Path(added).name == "bootstrap"
    assert rest == eval(bare.stdout)


def test_what_it_records_into_and_how_to_read_it_is_said_first(home: Path) -> None:
    done = start(home, *POOLHOG, "run", "--", sys.executable, "script.py")
    (trace,) = (home / "poolhog-traces").iterdir()
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"poolhog: recording into {trace.relative_to(home)}",
        "poolhog: to read it, now or later: poolhog report",
    ]
    assert len(processes(trace)) == 1

    done = start(home, *POOLHOG, "run", "-o", "my trace", sys.executable, "script.py")
    assert done.stderr.splitlines() == [
        "poolhog: recording into my trace",
        "poolhog: to read it, now or later: poolhog report 'my trace'",
    ]
    assert len(processes(home / "my trace")) == 1


def test_the_options_reach_the_process(home: Path) -> None:
    code = "import poolhog; print(poolhog._installation.recorder.journal.options)"
    options = ("--include", "*/a/*", "--include", "b.py", "--exclude", "c", "--interval", "2.5")
    done = start(home, *POOLHOG, "run", *options, "--", sys.executable, "-c", code)
    expected = Options(("*/a/*", "b.py"), ("c",), 0.0025)
    assert done.stdout == f"{expected}\n", done.stderr
    # A run inside a run has its own.
    nested = (*POOLHOG, "run", "-o", "trace", sys.executable, "-c", code)
    done = start(home, *POOLHOG, "run", *options, "--", *nested)
    assert done.stdout == f"{Options()}\n", done.stderr


def test_an_application_that_installs_poolhog_itself_is_recorded_with_the_run(home: Path) -> None:
    code = """
import poolhog
print(poolhog.install("elsewhere"))
try:
    with poolhog.recording("elsewhere"):
        pass
except poolhog.PoolhogError as error:
    print(error)
import child
child.query()
"""
    directory, refusal = succeed(home, sys.executable, "-c", code).splitlines()
    assert directory == str(home / "trace")
    assert refusal.startswith(f"this process is recorded into {home / 'trace'} already")
    assert len(processes(home / "trace")) == 1
    assert not (home / "elsewhere").exists()


def test_what_fails_in_poolhog_is_told_and_does_not_stop_the_command(home: Path) -> None:
    code = """
import os, subprocess, sys
broken = {**os.environ, "POOLHOG_OPTIONS": "{"}
subprocess.run([sys.executable, "script.py"], env=broken, check=True)
subprocess.run([sys.executable, "script.py"], env={**broken, "POOLHOG_TRACE": ""}, check=True)
"""
    done = record(home, sys.executable, "-c", code)
    assert done.returncode == 0
    told = done.stderr.splitlines()[2:]
    assert len(told) == 1
    assert told[0].startswith("poolhog: not recording process ")
    assert processes(home / "trace") == set()


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ([], "what is to run?"),
        (["no-such-command"], "there is no command no-such-command on the PATH"),
        (["poolhog"], f"name it as {BIN / 'poolhog'}"),
        (["./no-such-file"], "./no-such-file is not a program that you may execute"),
        (["script.py"], "try poolhog run -- python script.py"),
        (["./script"], "./script cannot be started: Exec format error"),
        ([sys.executable, "-I", "script.py"], "python -I cannot be recorded from outside"),
        ([sys.executable, "-bsE", "script.py"], "python -E cannot be recorded from outside"),
        (["./isolated", "--key", "hunter2"], f"poolhog run -- {sys.executable} isolated …"),
        (["./split"], "script for python -S"),
    ],
)
def test_a_command_that_cannot_be_recorded_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], complaint: str
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    scripts = {
        "script": "",
        "isolated": f"#!{sys.executable} -I\n",
        "split": "#!/usr/bin/env -S A=1 python3 -u -S\n",
    }
    for name, text in scripts.items():
        (home / name).write_text(text)
        (home / name).chmod(0o755)
    done = record(home, *command)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr.splitlines()[-1]
    assert done.stderr.startswith("poolhog: ")
    assert len(done.stderr.splitlines()) == (3 if command == ["./script"] else 1)


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("script.py", "not a directory that you may write to"),
        ("script.py/trace", "Not a directory"),
        ("/proc/trace", "No such file or directory"),
        ("old", "old holds a trace already"),
    ],
)
def test_a_directory_that_cannot_hold_the_trace_is_refused(
    home: Path, output: str, complaint: str
) -> None:
    (home / "old").mkdir()
    (home / "old" / "1.sqlite").touch()
    done = start(home, *POOLHOG, "run", "-o", output, "--", sys.executable, "-c", "print(1)")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("poolhog: ")
    assert complaint in line


def test_folders_that_it_makes_are_their_owners(home: Path) -> None:
    done = start(home, *POOLHOG, "run", "-o", "a/b", "--", "true")
    assert done.returncode == 0
    assert [(home / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o700] * 2


def test_exit_codes_and_signals_are_the_commands_own(home: Path) -> None:
    assert record(home, "sh", "-c", "exit 7").returncode == 7
    assert record(home, "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    # Python ignores this one.
    assert record(home, "sh", "-c", "kill -PIPE $$; exit 7").returncode == -signal.SIGPIPE


def test_the_command_has_the_terminal_and_gets_the_signals(home: Path) -> None:
    code = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(sys.stdin.read(3) == "in\\n" and 3))
print(all(stream.isatty() for stream in (sys.stdin, sys.stdout)), flush=True)
signal.pause()
"""
    ours, theirs = pty.openpty()
    command = [*POOLHOG, "run", "-o", "trace", "--", sys.executable, "-c", code]
    with (
        os.fdopen(ours, "r+b", buffering=0) as keyboard,
        os.fdopen(theirs, "r+b", buffering=0) as terminal,
        subprocess.Popen(
            command, cwd=home, stdin=terminal, stdout=terminal, stderr=subprocess.DEVNULL
        ) as process,
    ):
        try:
            assert keyboard.readline() == b"True\r\n"
            process.terminate()
            keyboard.write(b"in\n")
            assert process.wait(DEADLINE_S) == 3
        finally:
            process.kill()
