"""What event loops do from one round of looks to the next: which code has one, and since when.

A loop that is kept by one task calls nobody: whoever could go on waits, and timers and sockets that
are due are not noticed. Both can be told from outside.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.recording.processor import delayed_ns, used_ns

try:
    from select import POLLIN, poll
except ImportError:  # not on every system
    poll = None  # type: ignore[assignment,misc]  # asked for before it is called

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.recording.sites import SiteRecord, Sites

    Task = asyncio.Task[Any]
    ThreadIds = tuple[int, int]

MOST_LOOPS = 10_000

LEAST_USED_NS = 50_000_000
"""Code that had a processor for so long keeps a loop, however busy the machine is."""

_HALF = 0.5
_SAME_CLOCK_S = 60.0


class Round(NamedTuple):
    """A round of looks, at ``now_ns``.

    ``hole_ns`` is since when there should have been a look, if somebody kept the interpreter until
    now; ``used_ns`` is how long the process had processors since the round before.
    """

    number: int
    now_ns: int
    hole_ns: int | None = None
    used_ns: int = 0

    def is_taken(self, used_ns: int) -> bool:
        """Whether nobody could look because of a thread that had a processor for so long."""
        return self.hole_ns is not None and used_ns > _HALF * self.used_ns


class Loops:
    """The event loops of the owners that are looked at."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._loops: dict[int, Loop] = {}
        self._round = Round(0, 0)

    def begin(self, round_: Round) -> None:
        """A round of looks: each loop is looked at once in it."""
        self._round = round_
        if len(self._loops) > MOST_LOOPS:
            self._loops.clear()

    def learn(self, task: Task, thread: int, thread_id: int) -> None:
        """The task's loop runs in the thread of these Python and native ids."""
        self._known(task.get_loop()).thread = thread, thread_id

    def of(self, task: Task) -> Loop:
        """The loop of a task, as it is in this round."""
        loop = task.get_loop()
        known = self._known(loop)
        known.look(loop, self._round)
        return known

    def _known(self, loop: asyncio.AbstractEventLoop) -> Loop:
        known = self._loops.get(id(loop))
        if known is None or known.loop() is not loop:
            known = self._loops[id(loop)] = Loop(loop, self._sites)
        return known


class Loop:
    """One event loop.

    ``thread`` has the Python and native ids of the thread that it runs in, if they are known.
    ``is_kept`` tells whether the code that has it has had it since the round before, and
    ``kept_ns`` since when. It ``has_hole`` if that code began when nobody could look.
    It ``is_delayed`` if its thread waited for a processor for most of that time, and had one for
    less than :data:`LEAST_USED_NS`: then it is the machine that keeps the loop, not the code.
    ``pending_ns`` is since when a socket, or a call from another thread, is known to wait for a
    loop that is kept.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sites: Sites) -> None:
        self._sites = sites
        self.loop = weakref.ref(loop)
        self.thread = _thread_of(loop)
        self.is_kept = False
        self.kept_ns = 0
        self.has_hole = False
        self.pending_ns: int | None = None
        self._round = -1
        self._now_ns = 0
        self._running: Callable[[], Any] = _nothing
        self._used_ns = 0
        self._clocks = 0, 0
        self._is_delayed: bool | None = None
        self._site: tuple[SiteRecord | None] | None = None
        self._events = _events_of(loop)

    def look(self, loop: asyncio.AbstractEventLoop, round_: Round) -> None:
        """Look at it, once in each round."""
        if self._round == round_.number:
            return
        is_next, self._round = self._round == round_.number - 1, round_.number
        self._now_ns = round_.now_ns
        self._site = self._is_delayed = None
        if self.thread is None:
            self.thread = _thread_of(loop)
        running = asyncio.current_task(loop)
        is_same = self._running() is running
        if not is_same:
            self._running = weakref.ref(running) if running is not None else _nothing
        has_taken = running is not None and self._has_taken(round_, is_next=is_next)
        self.has_hole = has_taken and not (is_next and is_same)
        if not is_next or not is_same:
            self.kept_ns = (round_.hole_ns if has_taken else None) or round_.now_ns
            if running is not None and self.thread is not None:
                self._clocks = used_ns(self.thread[1]), delayed_ns(self.thread[1])
        # If there was no round before, nothing tells that it was another task then.
        self.is_kept = not is_next or is_same or has_taken
        if running is None or not self.is_kept or not self._has_events():
            self.pending_ns = None
        elif self.pending_ns is None:
            self.pending_ns = (round_.hole_ns if has_taken else None) or round_.now_ns

    @property
    def site(self) -> SiteRecord | None:
        """What keeps it; ``None`` if nothing is known to."""
        if self.thread is None or not self.is_kept or self.is_delayed:
            return None
        if self._site is None:
            self._site = (self._sites.chain(self._sites.places(self.thread[0]), moving=True),)
        return self._site[0]

    @property
    def is_delayed(self) -> bool:
        """Whether it is kept because no processor was free for its thread."""
        if self._is_delayed is None and self.thread is not None:
            (used, delayed), thread = self._clocks, self.thread[1]
            is_late = delayed_ns(thread) - delayed > _HALF * (self._now_ns - self.kept_ns)
            self._is_delayed = is_late and used_ns(thread) - used < LEAST_USED_NS
        return bool(self._is_delayed)

    @property
    def doubt(self) -> tuple[int, SiteRecord | None] | None:
        """Since when something has waited for it, and what keeps it; ``None``: nothing waits."""
        return (self.pending_ns, self.site) if self.pending_ns is not None else None

    def _has_taken(self, round_: Round, *, is_next: bool) -> bool:
        """Whether its thread computed in most of the time in which nobody could look."""
        before_ns, self._used_ns = self._used_ns, used_ns(self.thread[1]) if self.thread else 0
        if not is_next:
            return round_.hole_ns is not None
        return round_.is_taken(self._used_ns - before_ns)

    def _has_events(self) -> bool:
        try:
            return self._events is not None and bool(self._events.poll(0))
        except (OSError, ValueError):  # the loop is closed
            return False


def _thread_of(loop: asyncio.AbstractEventLoop) -> ThreadIds | None:
    """The Python and native ids of the thread that a loop runs in.

    uvloop does not tell: it is known once a connection was asked for in that thread.
    """
    ident = getattr(loop, "_thread_id", None)
    native_ids = {thread.ident: thread.native_id for thread in threading.enumerate()}
    native_id = native_ids.get(ident)
    return (ident, native_id) if ident is not None and native_id is not None else None


def _events_of(loop: asyncio.AbstractEventLoop) -> Any:
    """Tells whether something has happened that a loop waits for; ``None``: it cannot be told.

    The descriptor that a loop waits at (epoll's or kqueue's) is readable if any of its own is.
    """
    if poll is None:
        return None
    try:
        selector = getattr(loop, "_selector", None)
        descriptor = selector.fileno() if selector is not None else loop._get_backend_id()  # type: ignore[attr-defined]  # uvloop's
        found = poll()
        found.register(descriptor, POLLIN)
    except (AttributeError, OSError, TypeError, ValueError):
        return None
    return found


def due_ns(task: Task, frame: Any) -> int | None:
    """When the timer of a task that sleeps is due, on the monotonic clock; ``None``: unknown."""
    if frame is None or frame.f_code is not asyncio.sleep.__code__:
        return None
    try:
        # A loop may have a clock of its own, as in tests.
        if abs(task.get_loop().time() - time.monotonic()) > _SAME_CLOCK_S:
            return None
        when = getattr(frame.f_locals.get("h"), "when", None)
        return round(when() * 1e9) if when is not None else None
    except Exception:  # a loop or a timer of a kind that is not known
        return None


def _nothing() -> None:
    """What has gone."""
