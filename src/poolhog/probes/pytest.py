"""The pytest probe: each test is a request, with the setup and the teardown of its fixtures."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from poolhog.probes.guard import guard
from poolhog.probes.probe import Probe
from poolhog.recording.recorder import current_request
from poolhog.recording.requests import RequestRecord

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
    patches.wrap(runner, "runtestprotocol", probe.wrap_protocol)
    patches.wrap(runner.CallInfo, "from_call", probe.wrap_phase)
    patches.wrap(asyncio.Runner, "run", probe.wrap_run)
    patches.when_imported(
        "anyio._backends._asyncio", guard(recorder, functools.partial(probe.watch_anyio, patches))
    )


def watch_assertions(recorder: Recorder, patches: Patches) -> None:
    """Stay ahead of the hook by which pytest takes the imports of plugins, such as anyio."""
    from _pytest import assertion

    put_first = guard(recorder, patches.put_hooks_first)

    def wrap_install(install: Function) -> Function:
        def install_importhook(*args: Any, **kwargs: Any) -> Any:
            hook = install(*args, **kwargs)
            put_first()
            return hook

        return install_importhook

    patches.wrap(assertion, "install_importhook", wrap_install)


class _TestProbe:
    """The hooks of one recorder.

    Tests run one after the other, in one thread. An event loop that several of them share may have
    the context of an earlier one, so that what runs in it has to be told.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._test: RequestRecord | None = None

    def wrap_protocol(self, protocol: Function) -> Function:
        """Wrap the function that runs a test from its setup to its teardown."""
        begin = guard(self._recorder, self._begin)

        def recorded_protocol(item: Any, *args: Any, **kwargs: Any) -> Any:
            request = begin(item)
            if request is None:
                return protocol(item, *args, **kwargs)
            outer, self._test = self._test, request
            token = current_request.set(request)
            try:
                reports = protocol(item, *args, **kwargs)
            except BaseException as error:  # the end of all tests, such as Ctrl-C
                request.end(error)
                raise
            else:
                request.end()
                return reports
            finally:
                current_request.reset(token)
                self._test = outer

        return recorded_protocol

    def wrap_phase(self, from_call: Function) -> Function:
        """Wrap what calls a phase of a test and keeps the exception that it raised."""
        note = guard(self._recorder, self._note)

        def noting_from_call(*args: Any, **kwargs: Any) -> Any:
            call = from_call(*args, **kwargs)
            note(call)
            return call

        return noting_from_call

    def wrap_run(self, run: Function) -> Function:
        """Wrap ``asyncio.Runner.run``, to which plugins give the context of a fixture or a test."""
        inform = guard(self._recorder, self._inform)

        def informed_run(runner: Any, main: Any, *, context: Context | None = None) -> Any:
            inform(context if context is not None else runner._context)
            return run(runner, main, context=context)

        return informed_run

    def watch_anyio(self, patches: Patches) -> None:
        """Inform the task in which anyio's plugin runs fixtures and tests."""
        from anyio._backends._asyncio import TestRunner

        patches.wrap(TestRunner, "_call_in_runner_task", self._wrap_call_in_task)

    def _wrap_call_in_task(self, call_in_task: Function) -> Function:
        def informed_call(runner: Any, function: Function, *args: Any, **kwargs: Any) -> Any:
            return call_in_task(runner, self._informed(function), *args, **kwargs)

        return informed_call

    def _informed(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def informed(*args: Any, **kwargs: Any) -> Any:
            token = current_request.set(self._test)
            try:
                return await function(*args, **kwargs)
            finally:
                current_request.reset(token)

        return informed

    def _begin(self, item: Any) -> RequestRecord:
        return self._recorder.request(RequestRecord("test", "", item.nodeid))

    def _note(self, call: Any) -> None:
        raised = call.excinfo
        if self._test is None or raised is None or raised.typename in _SKIPS:
            return
        self._test.error = self._test.error or raised.typename

    def _inform(self, context: Context | None) -> None:
        """Replace an earlier test; a request inside of this one stays."""
        if context is None or self._test is None:
            return
        known = context.get(current_request)
        if known is None or known.ended_ns is not None:
            context.run(current_request.set, self._test)


PROBE = Probe(
    watches=(("_pytest.assertion", watch_assertions), ("_pytest.runner", watch_tests)),
    infrastructure=("_pytest", "pluggy", "pytest", "pytest_asyncio"),
    distributions=("pytest",),
)
