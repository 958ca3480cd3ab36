"""The Celery probe: each run of a task is a request."""

from __future__ import annotations

import functools
import sys
import weakref
from typing import TYPE_CHECKING, Any

from poolhog.probes.guard import guard
from poolhog.probes.probe import Probe
from poolhog.recording.recorder import current_request
from poolhog.recording.requests import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder

    Running = tuple[RequestRecord, Token[RequestRecord | None]]


def watch_tasks(recorder: Recorder, patches: Patches) -> None:
    """Record every run of a task, with what Celery does for it after it: storing its result.

    Workers take their tasks apart when they start, but look for listeners at each run.
    """
    from celery import signals

    probe = _TaskProbe(recorder)
    for signal, hook in (
        (signals.task_prerun, probe.begin),
        (signals.task_postrun, probe.end),
        # A worker's processes end without an exit hook.
        (signals.worker_process_shutdown, probe.settle),
    ):
        _listen(patches, signal, guard(recorder, hook))


def _listen(patches: Patches, signal: Any, listener: Callable[..., None]) -> None:
    signal.connect(listener, weak=False)
    patches.on_restore(functools.partial(signal.disconnect, listener))


class _TaskProbe:
    """The hooks of one recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        # By the run's own context object: a task that is retried at once runs inside itself, with
        # the same id.
        self._running: weakref.WeakKeyDictionary[Any, Running] = weakref.WeakKeyDictionary()

    def begin(self, *, task: Any, **_: Any) -> None:
        """The signal before a task runs."""
        request = self._recorder.request(RequestRecord("task", "", task.name))
        self._running[task.request_stack.top] = request, current_request.set(request)

    def end(self, *, task: Any, state: str | None, retval: Any, **_: Any) -> None:
        """The signal after a task ran and its result was stored."""
        running = self._running.pop(task.request_stack.top, None)
        if running is None:  # it began before the recording
            return
        request, token = running
        current_request.reset(token)
        request.end(_error(state, retval))

    def settle(self, **_: Any) -> None:
        """The signal before a process of a worker ends."""
        self._recorder.settle()


def _error(state: str | None, retval: Any) -> BaseException | None:
    """What the task let out."""
    if state is None:
        # It is on its way through Celery, such as the SystemExit of a worker that is ended.
        return sys.exc_info()[1]
    if state in ("FAILURE", "RETRY") and isinstance(retval, BaseException):
        return retval
    return None


PROBE = Probe(
    watches=(("celery.signals", watch_tasks),),
    infrastructure=("billiard", "celery", "kombu", "vine"),
    distributions=("celery",),
)
