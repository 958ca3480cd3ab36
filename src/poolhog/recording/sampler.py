"""The sampler: a thread that looks at the owners of checkouts that are in a gap.

What an owner is doing is looked at from outside, every 10 ms by default. The thread sleeps while no
connection is lent, and looks less often when that would take much time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from poolhog.recording.owners import Owners
from poolhog.recording.processor import interpreter_addresses
from poolhog.recording.records import OPERATIONS_PER_ROW, SAMPLE_BYTES, SampleRecord

if TYPE_CHECKING:
    from poolhog.model import Activity
    from poolhog.recording.journal import Journal
    from poolhog.recording.records import CheckoutRecord
    from poolhog.recording.sites import SiteRecord

MOST_SHARE = 0.02
"""The sampler's share of a core at the most: it then looks less often."""

LONGEST_TURN_NS = 1_000_000
"""The time after which the sampler lets others have the interpreter.

It would be taken from it after 5 ms, and that may be in the middle of a look: an owner could then
go on, and leave what it let go of to be destroyed by the sampler, in the wrong thread.
"""

_PAUSE_S = 0.0001


class Sampler(threading.Thread):
    """Looks at the owners of a journal's checkouts until it is stopped."""

    def __init__(self, journal: Journal, interval_s: float) -> None:
        super().__init__(name="poolhog-sampler", daemon=True)
        self._journal = journal
        self._interval_s = interval_s
        self._granted: deque[CheckoutRecord] = deque()
        self._wake = threading.Event()
        self._asleep = True
        self._stopping = False
        self._owners = Owners(journal)

    def watch(self, checkout: CheckoutRecord) -> None:
        """Look at this checkout from now on, until it is done."""
        self._granted.append(checkout)
        if self._asleep:
            self._wake.set()

    def stop(self) -> None:
        """Look no more, and wait until the last look is over (a second at the most)."""
        self._stopping = True
        self._wake.set()
        self.join(timeout=1)

    def run(self) -> None:
        """Look at every tick, as long as there is anything to look at."""
        with self._journal.descriptors.lent():
            interpreter_addresses()
        watched: list[CheckoutRecord] = []
        interval_s = self._interval_s
        while not self._stopping:
            if not watched and not self._granted:
                self._asleep = True
                # One may have been granted before that was set.
                if not self._granted:
                    self._wake.wait()
                self._asleep = False
                self._wake.clear()
            time.sleep(interval_s)
            began = time.thread_time()
            try:
                while self._granted:
                    watched.append(self._granted.popleft())
                watched = [checkout for checkout in watched if not self._is_over(checkout)]
                self._look(watched)
            except Exception:  # the application must go on, and so must the next look
                self._journal.failed()
            interval_s = max(self._interval_s, (time.thread_time() - began) / MOST_SHARE)
        for checkout in watched:
            _close(checkout)

    def _is_over(self, checkout: CheckoutRecord) -> bool:
        if checkout.done:
            _close(checkout)
        # One that was dropped has nothing that a sample could belong to.
        return checkout.done or checkout.room < 0

    def _look(self, watched: list[CheckoutRecord]) -> None:
        self._owners.begin()
        turn_ns = time.monotonic_ns()
        for checkout in watched:
            if time.monotonic_ns() - turn_ns > LONGEST_TURN_NS:
                time.sleep(_PAUSE_S)
                turn_ns = time.monotonic_ns()
            try:
                self._look_at(checkout)
            except Exception:  # the others are looked at all the same
                self._journal.failed()

    def _look_at(self, checkout: CheckoutRecord) -> None:
        # In this order: an operation that begins meanwhile is noticed.
        now_ns = time.monotonic_ns()
        gap = _operations_begun(checkout)
        if checkout.operation is not None:
            _close(checkout)
            return
        unseen = self._journal.sites.unseen
        seen = self._owners.look(checkout)
        is_unseen = self._journal.sites.unseen > unseen
        # An operation may have begun meanwhile: then it is not known what was seen.
        if gap == _operations_begun(checkout) and not checkout.done:
            is_new = self._note(checkout, (gap, *seen), now_ns)
            if is_new and is_unseen and seen[1] is None:
                self._journal.lose_site()

    def _note(
        self, checkout: CheckoutRecord, seen: tuple[int, Activity, SiteRecord | None], now_ns: int
    ) -> bool:
        """Record what was seen; whether that is something new."""
        sample = checkout.sample
        if sample is not None and checkout.looks == seen:
            sample.seen_ns = now_ns
            return False
        _close(checkout)
        _, activity, site = seen
        checkout.looks = seen
        checkout.sample = SampleRecord(checkout, activity, site, now_ns)
        self._journal.put(checkout.sample, SAMPLE_BYTES)
        return True


def _operations_begun(checkout: CheckoutRecord) -> int:
    """Grows with every operation, but for the moment in which the writer takes some away."""
    return len(checkout.operations) + checkout.earlier * OPERATIONS_PER_ROW


def _close(checkout: CheckoutRecord) -> None:
    if checkout.sample is not None:
        checkout.sample.end()
        checkout.sample = checkout.looks = None
