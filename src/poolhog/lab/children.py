"""Processes that the lab starts, watches and ends: each one lives for a ``with`` block."""

from __future__ import annotations

import atexit
import errno
import http.client
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self
from urllib.parse import urlsplit

import poolhog
from poolhog.errors import ChildError, PoolhogError
from poolhog.lab.interrupts import interrupts_deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from poolhog.lab.service.settings import Settings

READY_WITHIN_S = 30.0
_POLL_S = 0.02
_GRACE_S = 5.0
# A load test of 1000 users needs 2000 sockets in the service, and many systems allow 1024. No
# system that Python runs on refuses this many.
_OPEN_FILES = 10_240


class Child:
    """A process in a session of its own, so that Ctrl-C in the terminal does not reach it.

    Its output goes to ``<log_directory>/<name>.log``; with ``reads_output``, :meth:`read_line`
    reads its standard output instead. Leaving the ``with`` block sends it the signal ``ending``,
    and after a grace period kills it and all processes that it started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log_directory: Path,
        *,
        environ: Mapping[str, str] | None = None,
        directory: Path | None = None,
        user: str | None = None,
        reads_output: bool = False,
        ending: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log_directory / f"{name}.log"
        self._command = command
        self._environ = {**os.environ, **(environ or {})}
        self._directory = directory
        self._user = user
        self._reads_output = reads_output
        self._ending = ending
        self._unread = b""
        self._log_began = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        _allow_open_files()
        # An interrupt may arrive between the start and the ``with`` block that ends the process.
        atexit.register(self.stop)
        try:
            with self.log.open("ab") as log, interrupts_deferred():
                self._log_began = log.tell()
                self._process = self._start(log)
        except OSError as error:
            self.stop()
            raise ChildError(f"{self.name} cannot be started: {error}") from error
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._reads_output else log,
            stderr=log,
            env=self._environ,
            cwd=self._directory,
            user=self._user,
            start_new_session=True,
        )

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.name} lives inside its with block only")
        return self._process

    @property
    def pid(self) -> int:
        """The id of the process, and of its process group."""
        return self._running.pid

    def check(self, before: str = "its work was done") -> None:
        """Raise ``ChildError`` if the process has ended ``before`` it should have."""
        if self._running.poll() is not None:
            raise self.failure(f"before {before}")

    def wait_until(self, ready: Callable[[], bool], within: float = READY_WITHIN_S) -> None:
        """Return when ``ready()`` is true.

        Raises ``ChildError`` at once if the process ends before, or after ``within`` seconds.
        """
        deadline = time.monotonic() + within
        while not ready():
            self.check(before="it was ready")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready within {within:g} s")
            time.sleep(_POLL_S)

    def read_line(self, within: float = READY_WITHIN_S) -> str | None:
        """The next line of its standard output, or ``None`` after the last.

        Raises ``ChildError`` if it prints none for ``within`` seconds.
        """
        output = self._running.stdout
        if output is None:
            raise RuntimeError(f"the output of {self.name} goes to its log")
        deadline = time.monotonic() + within
        while b"\n" not in self._unread:
            left = max(deadline - time.monotonic(), 0)
            if not select.select([output], [], [], left)[0]:
                raise self.failure(f"said nothing for {within:g} s")
            received = os.read(output.fileno(), 65_536)
            if not received:
                return None
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace")

    def failure(self, what: str) -> ChildError:
        """The error for a failed process: ``what`` failed, its exit, and its last line of log."""
        with suppress(subprocess.TimeoutExpired):
            # The output of a process ends a moment before the process does.
            self._running.wait(timeout=1)
        ending = _describe_ending(self._running.returncode)
        return ChildError(
            " ".join(filter(None, [self.name, ending, what]))
            + f": {self._last_words()} (log: {self.log})"
        )

    def _last_words(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_began)
            lines = log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def stop(self) -> None:
        """End the process and every process that it started, even if this raises."""
        if self._process is not None:
            self._end(self._process)
            self._process = None
        atexit.unregister(self.stop)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.send_signal(self._ending)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
        finally:
            # Its children may have outlived it, or a second Ctrl-C ended the grace period.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@dataclass(frozen=True, slots=True)
class Server:
    """A child that answers HTTP at ``url``."""

    url: str
    child: Child

    @property
    def pid(self) -> int:
        """The id of the process; with several workers, of their supervisor."""
        return self.child.pid


@contextmanager
def external_api(
    latency: float, jitter: float, failure_rate: float, log_directory: Path
) -> Iterator[Server]:
    """The external API in a process of its own, at a free port. Raises ``ChildError``."""
    command = external_api_command(0, latency, jitter, failure_rate)
    with Child("external-api", command, log_directory, reads_output=True) as child:
        port = child.read_line()
        if port is None:
            raise child.failure("before it was ready")
        yield Server(f"http://127.0.0.1:{int(port)}", child)


@contextmanager
def service(
    settings: Settings,
    port: int | None,
    workers: int,
    log_directory: Path,
    trace_directory: Path | None = None,
) -> Iterator[Server]:
    """A notes service in processes of its own, at ``port`` or at a free one.

    With a ``trace_directory``, ``poolhog run`` starts it and records into that directory.
    Raises ``PoolhogError`` if the port is taken, ``ChildError`` if the service does not start.
    """
    if port is None:
        port = free_port()
    else:
        check_port(port)
    url = f"http://127.0.0.1:{port}"
    command = service_command(port, workers)
    if trace_directory is not None:
        command = [*_python("poolhog", {}), "run", "-o", str(trace_directory), "--", *command]
    name = f"service-{settings.style}"
    with Child(name, command, log_directory, environ=settings.to_environ()) as child:
        child.wait_until(lambda: answers(url))
        yield Server(url, child)


def external_api_command(
    port: int, latency: float, jitter: float, failure_rate: float
) -> list[str]:
    """The command that starts the external API."""
    return _python(
        "poolhog.lab.external_api",
        {
            "--port": port,
            "--latency": latency,
            "--jitter": jitter,
            "--failure-rate": failure_rate,
        },
    )


def service_command(port: int, workers: int) -> list[str]:
    """The command that starts the notes service; its settings are in the environment."""
    command = _python(
        "uvicorn",
        {
            "--host": "127.0.0.1",
            "--port": port,
            "--workers": workers,
            "--loop": "uvloop",
            "--http": "httptools",
            "--backlog": 4096,
            "--log-level": "warning",
            "--timeout-graceful-shutdown": 1,
            "--app-dir": Path(poolhog.__file__).parents[1],
        },
    )
    return [*command, "--factory", "poolhog.lab.service:create_app"]


def _python(module: str, options: Mapping[str, object]) -> list[str]:
    arguments = [str(text) for option in options.items() for text in option]
    # -P: the current folder may have modules of the same names.
    return [sys.executable, "-P", "-m", module, *arguments]


def answers(url: str) -> bool:
    """Whether the server at ``url`` answers its health check."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A free TCP port of loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def check_port(port: int) -> None:
    """Raise ``PoolhogError`` unless a server can listen at ``port``."""
    with socket.socket() as listener:
        # As the server does: without it, a port that was just released would be refused.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            what = "taken" if error.errno == errno.EADDRINUSE else f"refused ({error.strerror})"
            raise PoolhogError(
                f"port {port} is {what}: choose another with --port, "
                "or leave it out for any free port"
            ) from None


def _describe_ending(code: int | None) -> str:
    if code is None:
        return ""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _allow_open_files() -> None:
    """Raise the limit of open files, which the children inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
