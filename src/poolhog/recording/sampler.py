"""The sampler: a thread that looks at the owners of checkouts that are in a gap.

What an owner is doing is looked at from outside, every 10 ms by default. The thread sleeps while no
connection is lent, and looks less often when that would take much time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from poolhog.model import Activity
from poolhog.recording.owners import Owners
from poolhog.recording.processor import interpreter_addresses, waits
from poolhog.recording.records import OPERATIONS_PER_ROW, SAMPLE_BYTES, SampleRecord

if TYPE_CHECKING:
    from poolhog.recording.journal import Journal
    from poolhog.recording.owners import Seen
    from poolhog.recording.records import CheckoutRecord
    from poolhog.recording.sites import SiteRecord
    from poolhog.recording.threads import Worker

MOST_SHARE = 0.02
"""The sampler's share of a core at the most: it then looks less often."""

LONGEST_TURN_NS = 1_000_000
"""The time after which the sampler lets others have the interpreter.

It would be taken from it after 5 ms, and that may be in the middle of a look: an owner could then
go on, and leave what it let go of to be destroyed by the sampler, in the wrong thread.
"""

LATE_NS = 20_000_000
"""If a look is later than that, somebody kept the interpreter, or the processors were busy."""

_LEAST_WAITS = 3
"""Waits of the sampler's thread, with its sleep: if the processors were busy, there is but one."""

_PAUSE_S = 0.0001
_LAST_LOOKS = 2  # one may be under way
_LAST_LOOK_S = 0.1


class _Look:
    """What was last seen of a checkout's owner.

    ``doubts`` are stretches of time in which the owner seemed to be parked, and its event loop was
    kept by the code at a site: the first and the last instant. What it waits for may have been due.
    """

    __slots__ = ("doubts", "gap", "seen")

    def __init__(self, gap: int, seen: Seen) -> None:
        self.gap = gap
        self.seen = seen
        self.doubts: list[_Doubt] = []

    def is_same(self, gap: int, seen: Seen) -> bool:
        return self.gap == gap and self.seen[:2] == seen[:2]

    def doubt(self, seen: Seen, now_ns: int) -> None:
        """Remember a doubt, or that there was none."""
        if seen.doubt is None:
            # It has not gone on although the loop could: it was parked.
            self.doubts.clear()
        else:
            since_ns, site = seen.doubt
            if self.doubts and self.doubts[-1].site is site:
                self.doubts[-1] = self.doubts[-1]._replace(until_ns=now_ns)
            else:
                since_ns = self.doubts[-1].until_ns if self.doubts else since_ns
                self.doubts.append(_Doubt(site, since_ns, now_ns))


class _Doubt(NamedTuple):
    site: SiteRecord | None
    since_ns: int
    until_ns: int


class Sampler(threading.Thread):
    """Looks at the owners of a journal's checkouts until it is stopped."""

    def __init__(self, journal: Journal, interval_s: float) -> None:
        super().__init__(name="poolhog-sampler", daemon=True)
        self._journal = journal
        self._interval_s = interval_s
        self._granted: deque[CheckoutRecord] = deque()
        self._asked: deque[CheckoutRecord] = deque()
        self._wake = threading.Event()
        self._asleep = True
        self._stopping = False
        self._owners = Owners(journal)
        self._looked = threading.Event()

    def watch(self, checkout: CheckoutRecord) -> None:
        """Look at this checkout from now on, until it is done."""
        self._granted.append(checkout)
        if self._asleep:
            self._wake.set()

    def watch_wait(self, checkout: CheckoutRecord) -> None:
        """Note if this checkout, which was asked for on an event loop's thread, has to wait."""
        self._asked.append(checkout)
        if self._asleep:
            self._wake.set()

    def settle(self) -> None:
        """Wait until what is over by now was looked at for the last time (not for long)."""
        if self.is_alive() and not (self._asleep and not self._granted and not self._asked):
            for _ in range(_LAST_LOOKS):
                self._looked.clear()
                self._looked.wait(_LAST_LOOK_S)

    def stop(self) -> None:
        """Look no more, and wait until the last look is over (a second at the most)."""
        self._stopping = True
        self._wake.set()
        if self.is_alive():
            self.join(timeout=1)

    def run(self) -> None:
        """Look at every tick, as long as there is anything to look at."""
        with self._journal.descriptors.lent():
            interpreter_addresses()
        watched: list[CheckoutRecord] = []
        interval_s = self._interval_s
        self._asleep = False
        while not self._stopping:
            if not watched and not self._granted and not self._asked:
                self._asleep = True
                # One may have been granted before that was set.
                if not self._granted and not self._asked:
                    self._wake.wait()
                self._asleep = False
                self._wake.clear()
            due_ns, waited = time.monotonic_ns() + round(interval_s * 1e9), waits()
            time.sleep(interval_s)
            is_late = time.monotonic_ns() - due_ns > LATE_NS
            is_kept = is_late and (not waited or waits() - waited >= _LEAST_WAITS)
            began = time.thread_time()
            try:
                while self._granted:
                    watched.append(self._granted.popleft())
                watched = [checkout for checkout in watched if not self._is_over(checkout)]
                self._look_at_waits()
                self._look(watched, due_ns if is_kept else None)
            except Exception:  # the application must go on, and so must the next look
                self._journal.failed()
            self._looked.set()
            interval_s = max(self._interval_s, (time.thread_time() - began) / MOST_SHARE)
        for checkout in watched:
            look = checkout.looks
            if not checkout.done and look is not None and look.gap == _operations_begun(checkout):
                look.doubts.clear()  # it is not known what these come to
            self._close(checkout)

    def _is_over(self, checkout: CheckoutRecord) -> bool:
        if checkout.done:
            self._close(checkout)
        # One that was dropped has nothing that a sample could belong to.
        return checkout.done or checkout.room < 0

    def _look_at_waits(self) -> None:
        """Note the waits that keep an event loop; who opens a connection does not queue for one."""
        for _ in range(len(self._asked)):
            checkout = self._asked.popleft()
            over_ns = checkout.granted_ns or checkout.gave_up_ns
            now_ns = over_ns or time.monotonic_ns()
            is_queueing = not checkout.operations and checkout.room >= 0
            sample = checkout.sample
            if is_queueing and sample is None and now_ns - checkout.asked_ns > LATE_NS:
                sample = SampleRecord(checkout, Activity.BLOCKING, checkout.site, checkout.asked_ns)
                self._journal.put(sample, SAMPLE_BYTES)
                checkout.sample = sample
            if sample is not None:
                sample.seen_ns = now_ns
            if over_ns is None:
                self._asked.append(checkout)
            elif sample is not None:
                self._close(checkout)

    def _look(self, watched: list[CheckoutRecord], hole_ns: int | None) -> None:
        self._owners.begin(hole_ns)
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
            self._close(checkout)
            return
        unseen = self._journal.sites.unseen
        seen = self._owners.look(checkout)
        is_unseen = self._journal.sites.unseen > unseen
        # An operation may have begun meanwhile: then it is not known what was seen.
        if gap == _operations_begun(checkout) and not checkout.done:
            is_new = self._note(checkout, gap, seen, now_ns)
            if is_new and is_unseen and seen.site is None:
                self._journal.lose_site()

    def _note(self, checkout: CheckoutRecord, gap: int, seen: Seen, now_ns: int) -> bool:
        """Record what was seen; whether that is something new."""
        sample, look = checkout.sample, checkout.looks
        if sample is None or look is None or look.gap != gap:
            self._close(checkout)
            self._begin(checkout, gap, seen, _since(checkout, seen, now_ns), now_ns)
        elif look.is_same(gap, seen):
            sample.seen_ns = now_ns
            look.doubt(seen, now_ns)
            return False
        else:
            since_ns = _since(checkout, seen, now_ns)
            if seen.activity is look.seen.activity and seen.call_ns is not None:
                if look.seen.site is None:
                    # It was not known then that the loop was kept.
                    since_ns = in_gap(checkout, seen.call_ns, now_ns)
                elif look.seen.call_ns == seen.call_ns:
                    # One call that is somewhere else now: its samples touch each other.
                    sample.seen_ns = since_ns = now_ns
            if seen.activity is Activity.READY and look.doubts:
                # It could go on since it was first in doubt, at the latest.
                since_ns = min(since_ns, in_gap(checkout, look.doubts[0].since_ns, now_ns))
                look.doubts.clear()
            if sample.started_ns >= since_ns:
                # It did so all the time that is recorded as something else.
                sample.activity, sample.site, sample.seen_ns = seen.activity, seen.site, now_ns
                checkout.looks = _Look(gap, seen)
                return True
            sample.seen_ns = min(sample.seen_ns, since_ns)
            self._close(checkout)
            self._begin(checkout, gap, seen, since_ns, now_ns)
        return True

    def _begin(
        self, checkout: CheckoutRecord, gap: int, seen: Seen, since_ns: int, now_ns: int
    ) -> None:
        look = _Look(gap, seen)
        look.doubt(seen, now_ns)
        checkout.looks = look
        checkout.sample = sample = SampleRecord(checkout, seen.activity, seen.site, since_ns)
        sample.seen_ns = now_ns
        self._journal.put(sample, SAMPLE_BYTES)

    def _close(self, checkout: CheckoutRecord) -> None:
        """The owner does something else, or an operation has begun."""
        sample, look = checkout.sample, checkout.looks
        if sample is None:
            return
        doubts = look.doubts if look is not None else ()
        if doubts:
            # It went on as soon as the loop could: what it waited for was due while it could not.
            sample.seen_ns = max(min(sample.seen_ns, doubts[0].since_ns), sample.started_ns)
        worker = look.seen.worker if look is not None else None
        if worker is not None and _is_used_later(checkout, sample, worker):
            # The thread computed for what it then used the connection for.
            sample.activity = Activity.RUNNING
        sample.end()
        for site, since_ns, until_ns in doubts:
            # The loop may have been kept since before the gap.
            ready = SampleRecord(
                checkout, Activity.READY, site, min(max(since_ns, sample.started_ns), until_ns)
            )
            ready.seen_ns = until_ns
            ready.end()
            self._journal.put(ready, SAMPLE_BYTES)
        checkout.sample = checkout.looks = None


def _is_used_later(checkout: CheckoutRecord, sample: SampleRecord, worker: Worker) -> bool:
    """Whether the connection was used next in the thread that was seen computing."""
    later = [o.started_ns for o in [*checkout.operations] if o.started_ns > sample.started_ns]
    return bool(later) and (worker.ended_ns is None or later[0] <= worker.ended_ns)


def _since(checkout: CheckoutRecord, seen: Seen, now_ns: int) -> int:
    """Since when in its gap the owner has done what was seen."""
    return now_ns if seen.since_ns is None else in_gap(checkout, seen.since_ns, now_ns)


def in_gap(checkout: CheckoutRecord, since_ns: int, now_ns: int) -> int:
    """The instant, or the start of the checkout's gap if that is later."""
    last = checkout.operations[-1].ended_ns if checkout.operations else None
    # What opened the connection was over before that was lent.
    began_ns = max(last or 0, checkout.granted_ns or 0) or now_ns
    return min(max(since_ns, began_ns), now_ns)


def _operations_begun(checkout: CheckoutRecord) -> int:
    """Grows with every operation, but for the moment in which the writer takes some away."""
    return len(checkout.operations) + checkout.earlier * OPERATIONS_PER_ROW
