"""The writer: a thread that puts records into a SQLite file, ten times a second.

The file is in WAL mode: what was committed survives a kill -9 of the process, and can be read
while the process runs. What happened after the last commit is lost with the process, which is
fine: it is a tenth of a second.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import time
from itertools import islice
from typing import TYPE_CHECKING

from poolhog.recording.attach.directory import make_private
from poolhog.recording.marker import MissingCounts, Tally, new_marker, reason_of
from poolhog.recording.records import bytes_of
from poolhog.recording.trace_file import TraceFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from poolhog.recording.journal import Journal
    from poolhog.recording.marker import Marker
    from poolhog.recording.record import Record

COMMIT_INTERVAL_S = 0.1
HEARTBEAT_NS = 500_000_000
"""What is silent for twice as long does not run, or cannot write: a dump says so."""

MOST_SHARE_IN_VAIN = 0.05
"""The writer's share of a core at the most while nothing can be written: it tries less often."""

RECORDS_AT_ONCE = 1_000
"""Records of a transaction."""

_LAST = -100


class Writer(threading.Thread):
    """Writes a journal's queue until it is stopped.

    A failed commit is counted, and its records are tried again with the next: nothing is lost
    until the journal is full. Meanwhile a marker beside the file says how much is not in
    it, and it stays if the process ends so.
    """

    def __init__(self, journal: Journal) -> None:
        super().__init__(name="poolhog-writer", daemon=True)
        self._journal = journal
        self._wake = threading.Event()
        self._stopping = False
        self._settling: threading.Event | None = None
        self._pending: list[Record] = []
        # The first ones are in the file as they once were; the others were never written.
        self._known = 0
        self._pending_tally, self._queue_tally = Tally(), Tally()
        self._file: TraceFile | None = None
        self._marker: Marker | None = None
        self._committed_ns = 0
        self._unrecorded: tuple[str, ...] = ()
        self._failed = False
        self._reason = ""
        # Called before the last facts are written: it may add some.
        self.before_end: Callable[[], None] = _nothing

    def start(self) -> None:
        """Start writing, until the process ends."""
        super().start()
        atexit.register(self.stop)
        # Children that multiprocessing forks end without an exit hook, but with its finalizers.
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None:
            multiprocessing.Finalize(None, self.stop, exitpriority=_LAST)

    def run(self) -> None:
        """Commit at every tick; once more at the end."""
        pause_s = COMMIT_INTERVAL_S
        while not self._stopping:
            self._pause(pause_s)
            began = time.thread_time()
            self._tick()
            spent_s = time.thread_time() - began
            # What waits to be written becomes more and more, and is put into rows at every attempt.
            in_vain_s = spent_s / MOST_SHARE_IN_VAIN if self._failed else 0.0
            pause_s = max(COMMIT_INTERVAL_S, in_vain_s)
            if self._settling is not None:
                self._finish()
                self._settling.set()
                self._settling = None
        # The process may not wait for the last attempt to its end.
        self._tell_missing()
        self._tick()
        self._finish()
        if self._file is not None:
            self._file.abandon()
        if self._marker is not None and not self._failed:
            self._marker.remove()
        self._journal.descriptors.give_back()

    def stop(self) -> None:
        """Write what is left, and wait until it is on disk (5 seconds at the most)."""
        atexit.unregister(self.stop)
        self.before_end()
        self._stopping = True
        self._wake.set()
        self.join(timeout=5)

    def disown(self) -> None:
        """Have the end of this process, a forked child, not wait for the parent's writer."""
        # The parent may have held the lock of the event that wakes it, which none lets go of here.
        atexit.unregister(self.stop)

    def settle(self) -> None:
        """Have everything on disk, and the file say so (within a second at the most)."""
        self.before_end()
        settled = self._settling = threading.Event()
        self._wake.set()
        settled.wait(timeout=1)

    def _finish(self) -> None:
        # What could not be written is missing, although there may be room to say the contrary.
        if self._file is not None and not self._failed:
            self._file.finish()

    def _pause(self, seconds: float) -> None:
        """Wait, or be woken; however long that is, what is missing is told at every tick."""
        until = time.monotonic() + seconds
        while not self._wake.wait(min(seconds, COMMIT_INTERVAL_S)):
            seconds = until - time.monotonic()
            if seconds <= 0:
                break
            self._tell_missing()
        self._wake.clear()

    def _tick(self) -> None:
        taken = self._journal.taken
        self._journal.descriptors.hold()
        self._drain()
        unrecorded = self._journal.unrecorded
        if not self._pending and not self._silent_too_long() and unrecorded == self._unrecorded:
            return
        try:
            self._write(self._writable())
            self._journal.free(taken, bytes_of(self._pending))
            self._committed_ns = time.monotonic_ns()
            self._unrecorded = unrecorded
            self._failed = False
        except Exception as error:  # a full disk or a lost folder must not end the thread
            self._failed = True
            self._reason = reason_of(error)
            self._journal.failed()
        self._tell_missing()

    def _tell_missing(self) -> None:
        """Have the marker say what is not in the file; it has nothing to say while all is well."""
        marker = self._marker
        if marker is None:
            return
        try:
            if self._failed or marker.is_telling:
                with self._journal.descriptors.lent():
                    if self._failed:
                        marker.tell(self._missing(), self._reason)
                    else:
                        marker.clear()
        except Exception:  # the next tick tries again
            self._journal.failed()

    def _missing(self) -> MissingCounts:
        journal, known = self._journal, self._known
        pending = self._pending_tally.count(self._pending[known:])
        # Copied in one step of the interpreter: the application adds to it meanwhile.
        queued = self._queue_tally.count([*journal.queue])
        changed = sum(record.done for record in islice(self._pending, known))
        dropped = journal.dropped - journal.dropped_checkouts
        return MissingCounts(
            pending.checkouts + queued.checkouts + journal.dropped_checkouts,
            pending.facts + queued.facts + changed + dropped,
        )

    def _knows(self, number: int) -> None:
        """So many of what is pending are in the file, as they once were: the first ones."""
        self._known = number
        self._pending_tally.forget()

    def _write(self, file: TraceFile) -> None:
        """Commit what is pending, some at a time: an attempt in vain costs no more than these."""
        unfinished: list[Record] = []
        written = 0
        try:
            while True:
                some = self._pending[:RECORDS_AT_ONCE]
                unfinished += file.write(some)
                del self._pending[:RECORDS_AT_ONCE]
                written += len(some)
                if not self._pending:
                    break
        finally:
            self._pending[:0] = unfinished
            if written:
                self._knows(len(unfinished) + max(self._known - written, 0))

    def _writable(self) -> TraceFile:
        """The file, or a new one if there is none or somebody deleted it."""
        if self._file is not None:
            if self._file.exists():
                return self._file
            self._file.abandon()
            self._file = None
            raise FileNotFoundError(
                "the trace was deleted while it was written: beginning a new one"
            )
        self._file = TraceFile(self._journal, self._new_file())
        # Whatever is unfinished goes on in the new file.
        self._pending = list(dict.fromkeys([*self._journal.learned, *self._pending]))
        self._knows(0)
        for record in self._pending:
            record.written = None
            record.checksum = 0
        return self._file

    def _new_file(self) -> Path:
        """Where a new file goes; its marker is made before, so that there is room for that."""
        if self._marker is not None and not self._marker.file.exists():
            # There was no room for the file, or somebody deleted it.
            make_private(self._journal.directory)
            with contextlib.suppress(FileExistsError):
                self._marker.make()
            return self._marker.file
        if self._marker is not None:
            self._marker.remove()
        with self._journal.descriptors.lent():
            self._marker = new_marker(self._journal.directory)
        return self._marker.file

    def _silent_too_long(self) -> bool:
        """Whether to commit although nothing happened, so that a reader sees the process alive."""
        silent_ns = time.monotonic_ns() - self._committed_ns
        return self._file is not None and silent_ns >= HEARTBEAT_NS

    def _drain(self) -> None:
        queue = self._journal.queue
        if queue:
            self._queue_tally.forget()
        self._pending.extend(queue.popleft() for _ in range(len(queue)))


def _nothing() -> None:
    """There is nothing to wait for."""
