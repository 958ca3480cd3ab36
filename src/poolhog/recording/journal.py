"""The journal: facts of this process that wait for the writer, those not over yet, and counters.

The recorder fills it in the application's threads. The writer, the sampler and those who explain a
timeout read it in theirs, and know nothing of the recorder.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import deque
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING

from poolhog.recording.descriptors import Descriptors
from poolhog.recording.sites import Sites
from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from poolhog.recording.libraries import Libraries
    from poolhog.recording.options import Options
    from poolhog.recording.record import Record
    from poolhog.recording.records import CheckoutRecord
    from poolhog.recording.sites import SiteRecord

logger = logging.getLogger("poolhog")


class Journal:
    """The facts of one process, on their way into ``directory``.

    ``most_waiting`` are the bytes of facts that wait at the most. ``start_writer`` is called by the
    first fact, and by those after it until the journal is ``written``; it may fail to start one.
    """

    def __init__(
        self,
        directory: Path,
        options: Options,
        libraries: Libraries,
        most_waiting: int,
        start_writer: Callable[[], None],
    ) -> None:
        self.directory = directory
        self.options = options
        self.libraries = libraries
        self._most_waiting = most_waiting
        self._start_writer = start_writer
        self.closed = False
        self.begin()

    def begin(self) -> None:
        """Begin anew, with nothing recorded: a forked child has a process of its own to tell of."""
        self.queue: deque[Record] = deque()
        self.written = False
        # What the facts took that were ever recorded, up to where that may go before the writer
        # says how much of it is on disk. Only differences count, so a sum that another thread
        # overtakes does no harm. A limit of 0 has the first fact start the writer.
        self._taken = 0
        self._limit = 0
        self.sites = Sites(self.options, self.libraries, self._learn_site, self.lose_site)
        self.learned: list[SiteRecord] = []
        self.open: dict[int, CheckoutRecord] = {}
        # Digest microseconds: instants are written as microseconds from here.
        self.began_ns = monotonic_ns() // 1000 * 1000
        self.began_wall_ns = time_ns()
        # Whether the server is asked for locks: "on", or why not any more; "" if it never was.
        self.lock_watch = ""
        self.dropped = 0
        self.dropped_checkouts = 0
        self.errors = 0
        # Pools that no probe records; of those before this process, a child has its own.
        self.unrecorded: tuple[str, ...] = ()
        self.descriptors = Descriptors()

    def put(self, record: Record, size: int) -> bool:
        """Hand a record of so many bytes to the writer, if there is room for it."""
        self._taken = taken = self._taken + size
        if taken > self._limit and not self._has_room():
            return False
        self.queue.append(record)
        return True

    def take(self, size: int) -> bool:
        """Take room for a part of a record, if there is any."""
        self._taken = taken = self._taken + size
        return taken <= self._limit or self._has_room()

    @property
    def taken(self) -> int:
        """Bytes that all facts up to now took, written or not: see ``free``."""
        return self._taken

    def free(self, taken: int, kept: int) -> None:
        """All is on disk that was ``taken`` at an earlier moment, and ``kept`` is unfinished."""
        self._limit = 0 if self.closed else taken + self._most_waiting - kept

    def begin_writing(self) -> None:
        """There is a writer now."""
        self.written = True
        self._limit = self._most_waiting

    def close(self) -> None:
        """Take no facts any more."""
        self.closed = True
        self._limit = 0

    def refuse(self, reason: str) -> None:
        """Record nothing at all, and say why."""
        self.closed = True
        self.queue.clear()
        # An application's handler of what is logged may raise.
        with contextlib.suppress(Exception):
            logger.warning(reason)

    def tell_unrecorded(self, pool: str) -> None:
        """There is a pool that no probe records: say so, also if nothing else is to be told."""
        if pool not in self.unrecorded and not self.closed:
            self.unrecorded = (*self.unrecorded, pool)
            if not self.written:
                self._start_writer()

    def lose_site(self) -> None:
        """Count a fact that has no site because there are too many of them."""
        self.dropped += 1

    def failed(self) -> None:
        """Count an exception inside poolhog, and tell the first."""
        self.errors += 1
        if self.errors == 1:
            # An application's handler of what is logged may raise.
            with contextlib.suppress(Exception):
                error = _loggable(sys.exception())
                logger.warning("poolhog failed to record a fact and goes on", exc_info=error)

    def _has_room(self) -> bool:
        """Whether what is past the limit is recorded all the same: there was no fact before it."""
        if not self.written:
            self._start_writer()
        if self.closed:
            return False
        # Without a thread, facts wait for one that starts.
        if self._taken <= (self._limit or self._most_waiting):
            return True
        self.dropped += 1
        return False

    def _learn_site(self, record: SiteRecord) -> None:
        # Never dropped: there is a limit to them, and what is dropped once would be missing.
        if not self.closed:
            self.learned.append(record)
            self.queue.append(record)


def _loggable(error: BaseException | None) -> BaseException | None:
    """The exception, or one in its place if a text in it could forge lines of the log."""
    every, link = [], error
    while link is not None and link not in every:
        every.append(link)
        link = link.__cause__ or link.__context__
    if error is None or all(visible(str(one)) == str(one) for one in every):
        return error
    told = RuntimeError(f"{type(error).__name__}: {visible(str(error))}")
    return told.with_traceback(error.__traceback__)
