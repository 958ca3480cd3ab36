"""The sampler: a thread that looks at the owners of checkouts that are in a gap.

Between two operations the connection does nothing, and its owner is parked (suspended on something
else, or blocked in a call), running, or ready (it could run, but waits for the event loop or the
interpreter). What an owner is doing is looked at from outside, every 10 ms by default; the thread
sleeps while no connection is lent, and looks less often when that would take much time. A task
that still awaits the same future is where it was: it costs next to nothing to see that.
"""

from __future__ import annotations

import asyncio
import contextlib
import dis
import functools
import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from poolhog.model import Activity
from poolhog.recording.awaiting import await_chain, waits_for_thread
from poolhog.recording.records import OPERATIONS_PER_ROW, SampleRecord

try:
    import ctypes
except ImportError:  # an interpreter that was built without it
    _C = None
else:
    # Functions of the C library, called without letting go of the interpreter: one would have to
    # wait for it again, and longest where it matters, while others compute.
    _C = (ctypes.PyDLL(None), ctypes.create_string_buffer) if os.name == "posix" else None

if TYPE_CHECKING:
    from types import CodeType

    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord, SiteRecord

    Places = list[tuple[CodeType, int]]
    Seen = tuple[Activity, SiteRecord | None]

MOST_SHARE = 0.02
"""The sampler's share of a core at the most: it then looks less often."""

LONGEST_TURN_NS = 1_000_000
"""The time after which the sampler lets others have the interpreter.

It would be taken from it after 5 ms, and that may be in the middle of a look: an owner could then
go on, and leave what it let go of to be destroyed by the sampler, in the wrong thread.
"""

RECENTLY_NS = 100_000_000
"""After so long without a look, what a thread used of the processor says nothing about now."""

CONTENDED_SHARE = 0.5
"""Of a core, used by the whole process: threads that compute wait for the interpreter then."""

MOST_REMEMBERED = 10_000

_PAUSE_S = 0.0001
_CALLING = ("CALL", "WITH", "FOR_ITER", "SEND")
_IDLE_SHARE = 0.02
_LONG_NS = 5 * RECENTLY_NS
_NONE = b""
_HALF = 0.5
_FUTEX = {"x86_64": b"202", "aarch64": b"98"}.get(
    os.uname().machine if hasattr(os, "uname") else ""
)


class Sampler(threading.Thread):
    """Looks at the owners of a recorder's checkouts until it is stopped."""

    def __init__(self, recorder: Recorder, interval_s: float) -> None:
        super().__init__(name="poolhog-sampler", daemon=True)
        self._recorder = recorder
        self._interval_s = interval_s
        self._granted: deque[CheckoutRecord] = deque()
        self._wake = threading.Event()
        self._asleep = True
        self._stopping = False
        self._owners = Owners(recorder)

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
                self._recorder.failed()
            interval_s = max(self._interval_s, (time.thread_time() - began) / MOST_SHARE)
        for checkout in watched:
            _close(checkout)

    def _is_over(self, checkout: CheckoutRecord) -> bool:
        if checkout.done:
            _close(checkout)
        return checkout.done

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
                self._recorder.failed()

    def _look_at(self, checkout: CheckoutRecord) -> None:
        # In this order: an operation that begins meanwhile is noticed.
        now_ns = time.monotonic_ns()
        gap = _operations_begun(checkout)
        if checkout.operation is not None:
            _close(checkout)
            return
        seen = self._owners.look(checkout)
        # An operation may have begun meanwhile: then it is not known what was seen.
        if gap == _operations_begun(checkout) and not checkout.done:
            self._note(checkout, (gap, *seen), now_ns)

    def _note(
        self, checkout: CheckoutRecord, seen: tuple[int, Activity, SiteRecord | None], now_ns: int
    ) -> None:
        sample = checkout.sample
        if sample is not None and checkout.looks == seen:
            sample.seen_ns = now_ns
            return
        _close(checkout)
        _, activity, site = seen
        checkout.looks = seen
        checkout.sample = SampleRecord(checkout, activity, site, now_ns)
        self._recorder.sample(checkout.sample)


class Owners:
    """Says what the owner of a checkout is doing; also asked when a pool times out."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._processors: dict[int, _Processor] = {}
        # Weak: a future keeps its result, which the application may have let go of long ago.
        self._parked: dict[int, tuple[weakref.ref[Any], SiteRecord | None]] = {}
        self._round = 0
        self._began_ns = 0
        self._used_ns = 0
        self._is_contended = False

    def begin(self) -> None:
        """A round of looks: processor times are read once in it."""
        self._round += 1
        used_ns, now_ns = time.process_time_ns(), time.monotonic_ns()
        used, passed = used_ns - self._used_ns, now_ns - self._began_ns
        self._used_ns, self._began_ns = used_ns, now_ns
        self._is_contended = used > CONTENDED_SHARE * passed
        if len(self._parked) > MOST_REMEMBERED:
            self._parked.clear()
        if len(self._processors) > MOST_REMEMBERED:
            self._processors.clear()

    def look(self, checkout: CheckoutRecord) -> Seen:
        """What the owner is doing now, and where."""
        if checkout.task is None:
            return self._thread(checkout.thread, checkout.thread_id, [])
        task = checkout.task()
        if task is None or task.done():
            return Activity.PARKED, None
        if asyncio.current_task(task.get_loop()) is task:
            if checkout.in_thread:
                return Activity.RUNNING, None
            return self._thread(checkout.thread, checkout.thread_id, [])
        waiter = getattr(task, "_fut_waiter", None)
        if waiter is None or waiter.done():
            return Activity.READY, self._instead(checkout)
        parked = self._parked.get(checkout.id)
        if parked is not None and parked[0]() is waiter:
            return Activity.PARKED, parked[1]
        places, worker = await_chain(task)
        if worker is not None:
            # It goes on in a thread, which does one thing after the other.
            return self._thread(*worker, places)
        site = self._recorder.sites.chain(places)
        if waits_for_thread(places):
            # It queues for one: its future stays the same when it gets it.
            return Activity.PARKED, site
        with contextlib.suppress(TypeError):  # a future of a kind that cannot be remembered so
            self._parked[checkout.id] = weakref.ref(waiter), site
        return Activity.PARKED, site

    def _thread(self, thread: int, thread_id: int, outer: Places) -> Seen:
        """What a thread does, and where; ``outer`` is the stack of the task that waits for it."""
        places = self._recorder.sites.places(thread)
        if not places:
            return Activity.PARKED, None
        processor = self._processors.get(thread_id)
        if processor is None:
            processor = self._processors[thread_id] = _Processor(thread_id)
        activity = processor.activity(self._round, places[0], is_contended=self._is_contended)
        moving = activity is not Activity.PARKED
        return activity, self._recorder.sites.chain([*places, *outer], moving=moving)

    def _instead(self, checkout: CheckoutRecord) -> SiteRecord | None:
        """What occupies the event loop of an owner that could run."""
        if checkout.in_thread:
            return None
        places = self._recorder.sites.places(checkout.thread)
        return self._recorder.sites.chain(places, moving=True)


class _Processor:
    """What a thread does with the processor, from one round of looks to the next.

    Whoever looks has the interpreter at that moment, so a thread is never seen running. It ran if
    it used the processor since the last look (the part of a tick is carried over); if not, it is
    blocked in a call, or waits for its turn.
    """

    def __init__(self, thread_id: int) -> None:
        self._thread_id = thread_id
        # Linux's clock of a thread, as pthread_getcpuclockid(3) makes it, but without a pointer
        # to a thread that may be gone.
        self._clock = (~thread_id << 3) | 6
        self._round = -1
        self._used_ns = 0
        self._at_ns = 0
        self._turn_ns = 0
        self._credit = 0.0
        self._place: tuple[CodeType, int] | None = None
        self._activity = Activity.RUNNING

    def activity(self, round_: int, place: tuple[CodeType, int], *, is_contended: bool) -> Activity:
        """What the thread does, whose innermost frame is at this place."""
        if self._round != round_:
            self._round = round_
            self._activity = self._next(place, is_contended=is_contended)
            self._place = place
        return self._activity

    def _next(self, place: tuple[CodeType, int], *, is_contended: bool) -> Activity:
        used_ns, at_ns = self._read(), time.monotonic_ns()
        used, passed = used_ns - self._used_ns, at_ns - self._at_ns
        self._used_ns, self._at_ns = used_ns, at_ns
        is_new = passed > (_LONG_NS if is_contended else RECENTLY_NS)
        if is_new:
            # What it used in such a long time says nothing about now.
            self._credit = 0.0
        elif not used and place == self._place and self._activity is Activity.PARKED:
            return Activity.PARKED
        share = 0.0 if is_new else used / max(passed, 1)
        if is_new or share > _IDLE_SHARE:
            # It began the gap that is new, so it has just had the interpreter.
            self._turn_ns = at_ns
        self._credit = min(self._credit + share, 1.0)
        if self._credit >= _HALF:
            self._credit -= 1.0
            return Activity.RUNNING
        call = _system_call(self._thread_id) if _calls(*place) else _NONE
        if call == _NONE:
            return Activity.RUNNING if is_new else Activity.READY
        # A lock and the interpreter's own are waited for in the same call. Who waits for the latter
        # wakes up every 5 ms to ask for it, and so uses a little of the processor.
        wakes_up = used > 0 and not is_new
        gets_turns = wakes_up or (is_contended and at_ns - self._turn_ns < RECENTLY_NS)
        return Activity.READY if gets_turns and call == _FUTEX else Activity.PARKED

    def _read(self) -> int:
        try:
            return time.clock_gettime_ns(self._clock)
        except (AttributeError, OSError):
            return 0


def _system_call(thread_id: int) -> bytes:
    """The number of the system call that the thread waits in, as Linux tells it.

    Empty if it waits for nothing or for the processor, ``?`` where there is no telling.
    """
    if _C is None:
        return b"?"
    library, make_buffer = _C
    file = library.open(b"/proc/self/task/%d/syscall" % thread_id, os.O_RDONLY)
    if file < 0:
        return b"?"
    buffer = make_buffer(32)
    length = library.read(file, buffer, len(buffer))
    library.close(file)
    call = buffer.raw[: max(length, 0)].split(b" ", 1)[0]
    return _NONE if call.startswith(b"running") else call or b"?"


@functools.lru_cache(maxsize=10_000)
def _calls(code: CodeType, instruction: int) -> bool:
    """Whether the frame is in a call that is not of a Python function."""
    name = dis.opname[code.co_code[instruction]]
    return any(part in name for part in _CALLING)


def _operations_begun(checkout: CheckoutRecord) -> int:
    """Grows with every operation, but for the moment in which the writer takes some away."""
    return len(checkout.operations) + checkout.earlier * OPERATIONS_PER_ROW


def _close(checkout: CheckoutRecord) -> None:
    if checkout.sample is not None:
        checkout.sample.end()
        checkout.sample = checkout.looks = None
