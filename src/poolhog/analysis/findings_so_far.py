"""The findings of a run that goes on, computed in a thread now and then."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.errors import PoolhogError
from poolhog.trace.files import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from poolhog.analysis.report import Report
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.trace.reader import ProcessReader

LEAST_PAUSE_S = 10.0
MOST_SHARE = 0.02
"""The share of a core that computing findings may take: what takes longer pauses longer."""


@dataclass(frozen=True, slots=True)
class SoFar:
    """A report of what was recorded up to ``at``, a reading of the monotonic clock in seconds.

    Without a ``report``, ``error`` says why there is none.
    """

    at: float
    report: Report | None
    error: str = ""


class FindingsSoFar:
    """Reports a run again and again in a thread, until it is stopped; ``latest`` is the newest.

    The thread is a daemon: it does not keep the program from ending.
    """

    def __init__(
        self, directory: Path, pid: int | None, thresholds: Callable[[], Thresholds]
    ) -> None:
        self.latest: SoFar | None = None
        self._directory = directory
        self._pid = pid
        self._thresholds = thresholds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poolhog-findings", daemon=True)

    def start(self) -> None:
        """Begin with the first report."""
        self._thread.start()

    def stop(self) -> None:
        """End after the report that is being computed."""
        self._stopping.set()

    def compute(self) -> SoFar:
        """The report of now, which becomes the latest; it takes longer the more was recorded."""
        at = time.monotonic()
        try:
            found = SoFar(at, self._report())
        except PoolhogError as error:
            found = SoFar(at, None, str(error))
        self.latest = found
        return found

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.thread_time()
            self.compute()
            took = time.thread_time() - began
            self._stopping.wait(max(LEAST_PAUSE_S, took / MOST_SHARE))

    def _report(self) -> Report:
        # A large part of the program: the first look at a run should not wait for it.
        from poolhog.analysis.report import read_report
        from poolhog.trace.reader import find_processes

        readers, _ = find_processes(self._directory)
        wanted = [one for one in readers if self._pid in (None, one.process.pid)]
        return read_report(list(filter(_is_sound, wanted)), self._thresholds())


def _is_sound(reader: ProcessReader) -> bool:
    """Whether nothing of its file is damaged: otherwise the whole run's dump names it."""
    try:
        reader.check()
    except UnreadableError:
        return False
    return True
