"""What a thread does with the processor: its clock tells, and the system call that it waits in."""

from __future__ import annotations

import dis
import functools
import os
import time
from typing import TYPE_CHECKING

from poolhog.model import Activity

try:
    import ctypes
except ImportError:  # an interpreter that was built without it
    _C = None
else:
    # Functions of the C library, called without letting go of the interpreter: one would have to
    # wait for it again, and longest where it matters, while others compute.
    _C = (ctypes.PyDLL(None), ctypes.create_string_buffer) if os.name == "posix" else None

try:
    import resource
except ImportError:  # not on every system
    _OWN = None
else:
    _OWN = getattr(resource, "RUSAGE_THREAD", None)

if TYPE_CHECKING:
    from types import CodeType

CONTENDED_SHARE = 0.5
"""Of a core, used by the whole process: threads that compute wait for the interpreter then."""

MOST_THREADS = 10_000

RECENTLY_NS = 100_000_000
"""After so long without a look, what a thread used of the processor says nothing about now."""

_CALLING = ("CALL", "WITH", "FOR_ITER", "SEND")
_IDLE_SHARE = 0.02
_LONG_NS = 5 * RECENTLY_NS
_NONE = b""
_HALF = 0.5
_GOLDEN_RATIO = (5**0.5 - 1) / 2
_FUTEX = {"x86_64": b"202", "aarch64": b"98"}.get(
    os.uname().machine if hasattr(os, "uname") else ""
)


class Processors:
    """What each thread of the process does with the processor, from one round of looks to the next.

    Whoever looks has the interpreter at that moment, so a thread is never seen running. It ran if
    it used the processor since the last look (the part of a tick is carried over); if not, it is
    blocked in a call, or waits for its turn. ``used_ns`` is how long the process had processors
    between the last two rounds.
    """

    def __init__(self) -> None:
        self._threads: dict[int, _Thread] = {}
        self._began_ns = 0
        self._used_ns = 0
        self.used_ns = 0
        self._round = _Round(0, is_contended=False)

    def begin(self) -> None:
        """A round of looks: each thread's clock is read once in it."""
        used_ns, now_ns = time.process_time_ns(), time.monotonic_ns()
        used, passed = used_ns - self._used_ns, now_ns - self._began_ns
        self._used_ns, self._began_ns, self.used_ns = used_ns, now_ns, used
        self._round = _Round(self._round.number + 1, is_contended=used > CONTENDED_SHARE * passed)
        if len(self._threads) > MOST_THREADS:
            self._threads.clear()

    def used_lately_ns(self, thread_id: int) -> int:
        """How long a thread had a processor between the last two looks at it."""
        thread = self._threads.get(thread_id)
        return thread.used_lately_ns if thread is not None else 0

    def activity(self, thread_id: int, place: tuple[CodeType, int]) -> Activity:
        """What a thread does, whose innermost frame is at this place."""
        thread = self._threads.get(thread_id)
        if thread is None:
            thread = self._threads[thread_id] = _Thread(thread_id, _offset(len(self._threads)))
        return thread.activity(self._round, place)

    def waits_for_lock(self, thread_id: int) -> bool:
        """Whether a parked thread waits for another thread, and not for a socket or a file.

        It may wait for the interpreter by now: what it waited for before is then over.
        """
        call, address = _system_call(thread_id)
        interpreter = interpreter_addresses()
        return call == _FUTEX and bool(interpreter) and address not in interpreter


class _Round:
    """A round of looks; if ``is_contended``, threads that compute wait for the interpreter."""

    def __init__(self, number: int, *, is_contended: bool) -> None:
        self.number = number
        self.is_contended = is_contended
        self._has_guessed = False

    def guess(self) -> Activity:
        """What threads do that nothing is known of yet, but that they could run.

        They all had the interpreter a moment ago, and one of them has it now.
        """
        if self._has_guessed:
            return Activity.READY
        self._has_guessed = True
        return Activity.RUNNING


class _Thread:
    """One thread. ``offset`` is what others have not, so that they do not all run in one round."""

    def __init__(self, thread_id: int, offset: float) -> None:
        self._thread_id = thread_id
        self._offset = offset
        self._round = -1
        self._used_ns = 0
        self._at_ns = 0
        self.used_lately_ns = 0
        self._turn_ns = 0
        self._credit = offset
        self._place: tuple[CodeType, int] | None = None
        self._activity = Activity.RUNNING

    def activity(self, round_: _Round, place: tuple[CodeType, int]) -> Activity:
        if self._round != round_.number:
            self._round = round_.number
            self._activity = self._next(round_, place)
            self._place = place
        return self._activity

    def _next(self, round_: _Round, place: tuple[CodeType, int]) -> Activity:
        total_ns, at_ns = used_ns(self._thread_id), time.monotonic_ns()
        used, passed = total_ns - self._used_ns, at_ns - self._at_ns
        self._used_ns, self._at_ns = total_ns, at_ns
        self.used_lately_ns = used
        is_new = passed > (_LONG_NS if round_.is_contended else RECENTLY_NS)
        if is_new:
            # What it used in such a long time says nothing about now.
            self._credit = self._offset
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
        call, address = _system_call(self._thread_id) if _calls(*place) else (_NONE, 0)
        interpreter = interpreter_addresses()
        if call == _NONE or (call == _FUTEX and address in interpreter):
            return round_.guess() if is_new else Activity.READY
        if interpreter or call != _FUTEX:
            return Activity.PARKED
        # A lock and the interpreter's own are waited for in the same call. Who waits for the latter
        # wakes up every 5 ms to ask for it, and so uses a little of the processor.
        wakes_up = used > 0 and not is_new
        gets_turns = wakes_up or (round_.is_contended and at_ns - self._turn_ns < RECENTLY_NS)
        return Activity.READY if gets_turns else Activity.PARKED


def used_ns(thread_id: int) -> int:
    """How long a thread has had a processor, 0 if that cannot be told."""
    try:
        # Linux's clock of a thread, as pthread_getcpuclockid(3) makes it, but without a pointer
        # to a thread that may be gone.
        return time.clock_gettime_ns((~thread_id << 3) | 6)
    except (AttributeError, OSError):
        return 0


def waits() -> int:
    """How often the running thread has waited for something, 0 if that cannot be told.

    A thread that wants the interpreter looks again every 5 ms whether it can have it.
    """
    return resource.getrusage(_OWN).ru_nvcsw if _OWN is not None else 0


def _offset(number: int) -> float:
    """From -0.5 to 0.5: far from those of the threads before (multiples of the golden ratio)."""
    return number * _GOLDEN_RATIO % 1.0 - _HALF


@functools.cache
def interpreter_addresses() -> range:
    """The addresses of the interpreter's own state, in which the lock is that all threads need.

    No other lock is among them. Empty where these cannot be found out. It is best asked for before
    threads compute: a file is read for it, and the interpreter may have to be waited for.
    """
    if _C is None:
        return range(0)
    try:
        state = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
        with open("/proc/self/maps", "rb") as maps:  # noqa: PTH123 - no object for it
            areas = [line.split(b" ", 1)[0].split(b"-") for line in maps.read().splitlines()]
    except (AttributeError, OSError, ValueError):
        return range(0)
    found = (range(int(first, 16), int(end, 16)) for first, end in areas)
    return next((area for area in found if state in area), range(0))


def _system_call(thread_id: int) -> tuple[bytes, int]:
    """The number of the system call that the thread waits in, as Linux tells it, and its argument.

    Empty if it waits for nothing or for the processor, ``?`` where there is no telling.
    """
    told = _told(b"/proc/self/task/%d/syscall" % thread_id)
    if told is None:
        return b"?", 0
    call, *arguments = told.split(b" ", 2)
    if call.startswith(b"running"):
        return _NONE, 0
    return call or b"?", int(arguments[0], 16) if len(arguments) > 1 else 0


def delayed_ns(thread_id: int) -> int:
    """How long a thread was ready to run while no processor was free, 0 if that cannot be told."""
    told = (_told(b"/proc/self/task/%d/schedstat" % thread_id) or b"").split()
    return int(told[1]) if len(told) > 1 and told[1].isdigit() else 0


def _told(path: bytes) -> bytes | None:
    """What a file of the system's says in its first 64 bytes; ``None``: it cannot be read."""
    if _C is None:
        return None
    library, make_buffer = _C
    file = library.open(path, os.O_RDONLY)
    if file < 0:
        return None
    buffer = make_buffer(64)
    length = library.read(file, buffer, len(buffer))
    library.close(file)
    found: bytes = buffer.raw[: max(length, 0)]
    return found


@functools.lru_cache(maxsize=10_000)
def _calls(code: CodeType, instruction: int) -> bool:
    """Whether the frame is in a call that is not of a Python function."""
    name = dis.opname[code.co_code[instruction]]
    return any(part in name for part in _CALLING)
