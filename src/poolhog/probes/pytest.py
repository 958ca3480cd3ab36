"""The pytest probe: each test is a request, with the setup and the teardown of its fixtures."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.probes.guard import before, guard, recording, reset
from poolhog.probes.probe import Probe
from poolhog.probes.wrapping import around
from poolhog.recording.recorder import current_request
from poolhog.recording.requests import RequestRecord
from poolhog.recording.unseen import hide, unseen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import Context

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder

    Function = Callable[..., Any]

_SKIPS = frozenset(["Skipped", "SkipTest"])
"""Exceptions by which a test says that it does not want to run."""


def watch_tests(recorder: Recorder, patches: Patches) -> None:
    """Record every test that runs, and let asynchronous ones know which they are."""
    import asyncio

    from _pytest import runner

    probe = _TestProbe(recorder)
    patches.wrap(runner, "runtestprotocol", recording(recorder, probe.begin_test))
    note = around(recorder.failed, lambda *_: probe, gives=True)
    patches.wrap(runner.CallInfo, "from_call", note)
    patches.wrap(asyncio.Runner, "run", before(recorder, probe.inform))
    patches.when_imported(
        "anyio._backends._asyncio", guard(recorder, functools.partial(probe.watch_anyio, patches))
    )


def watch_assertions(recorder: Recorder, patches: Patches) -> None:
    """Stay ahead of the hook by which pytest takes the imports of plugins, such as anyio."""
    from _pytest import assertion

    class Installing:
        def __init__(self, *_: Any) -> None:
            """Pytest is about to install its hook."""

        def end(self, _: BaseException | None = None) -> None:
            """It has."""
            patches.put_hooks_first()

    patches.wrap(assertion, "install_importhook", recording(recorder, Installing))


class _TestProbe:
    """The hooks of one recorder.

    Tests run one after the other, in one thread. An event loop that several of them share may have
    the context of an earlier one, so that what runs in it has to be told.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._test: RequestRecord | None = None

    def begin_test(self, item: Any, *_: Any) -> _Test:
        """A test runs from its setup to its teardown."""
        request = self._recorder.request(RequestRecord("test", "", item.nodeid))
        outer, self._test = self._test, request
        return _Test(self, request, outer)

    def go_back(self, outer: RequestRecord | None) -> None:
        """A test is over, which ran inside of this one."""
        self._test = outer

    def give(self, call: Any) -> Any:
        """A phase of a test is over; ``call`` has the exception that it raised."""
        raised = call.excinfo
        if self._test is not None and raised is not None and raised.typename not in _SKIPS:
            self._test.error = self._test.error or raised.typename
        return call

    def end(self, _: BaseException | None = None) -> None:
        """The end of all tests, such as Ctrl-C."""

    def inform(self, runner: Any, main: Any, *, context: Context | None = None) -> None:
        """``asyncio.Runner.run``, to which plugins give the context of a fixture or a test.

        Replaces an earlier test; a request inside of this one stays.
        """
        if context is None:
            context = runner._context
        if context is None or self._test is None:
            return
        known = context.get(current_request)
        if known is None or known.ended_ns is not None:
            context.run(current_request.set, self._test)

    def watch_anyio(self, patches: Patches) -> None:
        """Inform the task in which anyio's plugin runs fixtures and tests."""
        from anyio._backends._asyncio import TestRunner

        call = around(self._recorder.failed, self._begin_call, awaits=True, changes=True)
        patches.wrap(TestRunner, "_call_in_runner_task", call)

    def _begin_call(self, runner: Any, function: Function, *args: Any, **kwargs: Any) -> _Call:
        return _Call((runner, self._informed(function), *args), kwargs)

    def _informed(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @unseen
        async def informed(*args: Any, **kwargs: Any) -> Any:
            token = current_request.set(self._test)
            try:
                return await function(*args, **kwargs)
            except BaseException as error:
                hide(error)
                raise
            finally:
                current_request.reset(token)

        return informed


class _Test:
    """A test that runs."""

    __slots__ = ("_outer", "_probe", "_request", "_token")

    def __init__(
        self, probe: _TestProbe, request: RequestRecord, outer: RequestRecord | None
    ) -> None:
        self._probe = probe
        self._request = request
        self._outer = outer
        self._token = current_request.set(request)

    def end(self, error: BaseException | None = None) -> None:
        """It is over; with an exception only if all tests are, as after Ctrl-C."""
        self._request.end(error)
        self._probe.go_back(self._outer)
        reset(current_request, self._token)


class _Call(NamedTuple):
    """The call of a function in the task of anyio's plugin."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def end(self, _: BaseException | None = None) -> None:
        """It is over."""


PROBE = Probe(
    watches=(("_pytest.assertion", watch_assertions), ("_pytest.runner", watch_tests)),
    infrastructure=("_pytest", "pluggy", "pytest", "pytest_asyncio"),
    distributions=("pytest",),
)
