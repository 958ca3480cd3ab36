"""Await chains: where a suspended task is, through whatever it awaits."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
from anyio.to_thread import run_sync

from poolhog.probes import libraries, threads
from poolhog.probes.patching import Patches
from poolhog.recording.awaiting import Chain, await_chain
from poolhog.recording.recorder import Recorder
from poolhog.recording.threads import workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
    from pathlib import Path

    Main = Callable[[asyncio.Event], Coroutine[Any, Any, object]]
    Run = Callable[[Callable[[], object]], Coroutine[Any, Any, object]]

LIBRARIES = libraries()


def chain_of(main: Main) -> list[str]:
    """The functions, the innermost first, in which ``main`` waits for the event it is given."""

    async def look() -> list[str]:
        event = asyncio.Event()
        task = asyncio.create_task(main(event))
        for _ in range(20):  # far enough to be suspended for good
            await asyncio.sleep(0)
        places = await_chain(task, LIBRARIES).places
        event.set()
        await task
        return [code.co_name for code, _ in places]

    return asyncio.run(look())


async def helper(event: asyncio.Event) -> str:
    return await inner_helper(event)


async def inner_helper(event: asyncio.Event) -> str:
    await event.wait()
    return "done"


def test_through_helpers() -> None:
    async def main(event: asyncio.Event) -> None:
        await helper(event)

    assert chain_of(main) == ["wait", "inner_helper", "helper", "main"]


def test_the_line_is_that_of_the_await() -> None:
    async def main(event: asyncio.Event) -> None:
        await asyncio.sleep(0)
        await event.wait()
        await asyncio.sleep(0)

    async def look() -> int | None:
        event = asyncio.Event()
        task = asyncio.create_task(main(event))
        await asyncio.sleep(0.01)
        (code, instruction) = await_chain(task, LIBRARIES)[0][-1]
        event.set()
        await task
        lines = (n for first, end, n in code.co_lines() if first <= instruction < end)
        return next(lines)

    assert asyncio.run(look()) == main.__code__.co_firstlineno + 2


def test_through_asynchronous_generators() -> None:
    async def rows(event: asyncio.Event) -> AsyncIterator[int]:
        yield 1
        await helper(event)

    async def mapped(event: asyncio.Event) -> AsyncIterator[int]:
        async for row in rows(event):
            yield row

    async def main(event: asyncio.Event) -> None:
        async for _ in mapped(event):
            pass

    assert chain_of(main) == ["wait", "inner_helper", "helper", "rows", "mapped", "main"]


def test_through_anext_with_a_default() -> None:
    async def rows(event: asyncio.Event) -> AsyncIterator[int]:
        await helper(event)
        yield 1

    async def main(event: asyncio.Event) -> None:
        await anext(rows(event), None)

    assert chain_of(main) == ["wait", "inner_helper", "helper", "rows", "main"]


def test_through_a_generator_that_is_closed_or_thrown_into() -> None:
    async def rows(event: asyncio.Event) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await helper(event)

    async def closing(event: asyncio.Event) -> None:
        generator = rows(event)
        await anext(generator)
        await generator.aclose()  # type: ignore[attr-defined] # it is a generator

    async def leaving(event: asyncio.Event) -> None:
        from contextlib import asynccontextmanager

        async with asynccontextmanager(partial(rows, event))():
            pass

    assert chain_of(closing) == ["wait", "inner_helper", "helper", "rows", "closing"]
    assert chain_of(leaving) == ["wait", "inner_helper", "helper", "rows", "__aexit__", "leaving"]


def test_through_objects_with_an_await_method() -> None:
    class Generates:
        def __init__(self, event: asyncio.Event) -> None:
            self.event = event

        def __await__(self) -> Generator[Any, None, str]:
            return (yield from helper(self.event).__await__())

    class Delegates(Generates):
        def __await__(self) -> Generator[Any, None, str]:
            return helper(self.event).__await__()

    def main_of(made: Callable[[asyncio.Event], Awaitable[str]]) -> Main:
        async def main(event: asyncio.Event) -> None:
            await made(event)

        return main

    inside = ["wait", "inner_helper", "helper"]
    assert chain_of(main_of(Generates)) == [*inside, "__await__", "main"]
    assert chain_of(main_of(Delegates)) == [*inside, "main"]


def test_gather_is_waited_for_where_it_was_called() -> None:
    """What it gathers are tasks of their own."""

    async def main(event: asyncio.Event) -> None:
        await asyncio.gather(helper(event), helper(event))

    assert chain_of(main) == ["main"]


def test_wait_for_and_timeout() -> None:
    async def with_wait_for(event: asyncio.Event) -> None:
        await asyncio.wait_for(helper(event), 60)

    async def with_timeout(event: asyncio.Event) -> None:
        async with asyncio.timeout(60):
            await helper(event)

    # From Python 3.12 on, wait_for awaits in the same task.
    assert chain_of(with_wait_for)[-2:] == ["wait_for", "with_wait_for"]
    assert chain_of(with_timeout) == ["wait", "inner_helper", "helper", "with_timeout"]


def test_a_bare_future_is_no_frame() -> None:
    async def main(event: asyncio.Event) -> None:
        future = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(event.wait())
        waiting.add_done_callback(lambda _: future.set_result(None))
        await future

    assert chain_of(main) == ["main"]


def test_a_task_that_is_done_is_nowhere() -> None:
    async def look() -> list[Any]:
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        return await_chain(task, LIBRARIES)[0]

    assert asyncio.run(look()) == []


@pytest.fixture
def patched(tmp_path: Path) -> Iterator[None]:
    """Whoever runs something in a thread is watched, as in a recorded process."""
    recorder, patches = Recorder(tmp_path), Patches()
    threads.watch_anyio(recorder, patches)
    threads.watch_asyncio(recorder, patches)
    yield
    patches.restore()


async def in_thread_of_asyncio(function: Callable[[], object]) -> None:
    await asyncio.to_thread(function)


async def in_thread_of_anyio(function: Callable[[], object]) -> None:
    await anyio.to_thread.run_sync(function)


async def in_thread_by_another_name(function: Callable[[], object]) -> None:
    await run_sync(function)


RUNS = (in_thread_of_asyncio, in_thread_of_anyio, in_thread_by_another_name)


@pytest.mark.parametrize("run", RUNS)
def test_the_worker_thread_that_is_waited_for(run: Run, patched: None) -> None:
    """Starlette and FastAPI run what is not asynchronous in anyio's."""
    inside: list[tuple[int, int]] = []
    ending = threading.Event()

    def blocking() -> None:
        inside.append((threading.get_ident(), threading.get_native_id()))
        ending.wait(60)

    async def look() -> tuple[Chain, bool, bool]:
        task = asyncio.create_task(run(blocking))
        while not inside:
            await asyncio.sleep(0.005)
        chain = await_chain(task, LIBRARIES)
        assert chain.worker is not None
        before = chain.worker.ended_ns is not None
        ending.set()
        time.sleep(0.1)  # the loop cannot be told meanwhile
        after = chain.worker.ended_ns is not None
        await task
        assert await_chain(task, LIBRARIES).worker is None
        return chain, before, after

    chain, before, after = asyncio.run(look())
    assert chain.worker is not None
    assert (chain.worker.ident, chain.worker.native_id) == inside[0]
    assert (before, after) == (False, True)
    assert chain.places[-1][0] is run.__code__
    assert workers == {}


@pytest.mark.parametrize("run", RUNS)
def test_a_task_that_queues_for_a_thread_has_a_worker_that_has_not_begun(
    run: Run, patched: None
) -> None:
    ending = threading.Event()

    async def look() -> list[int | None]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1
        first = asyncio.create_task(run(partial(ending.wait, 60)))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(run(bool))
        await asyncio.sleep(0.05)
        found = [await_chain(task, LIBRARIES).worker for task in (first, second)]
        idents = [worker.ident if worker is not None else -1 for worker in found]
        ending.set()
        await asyncio.gather(first, second)
        return idents

    first, second = asyncio.run(look())
    assert first not in (None, -1)
    assert second is None


def test_a_cancelled_wait_for_a_thread_leaves_nothing(patched: None) -> None:
    ending = threading.Event()

    async def look() -> None:
        task = asyncio.create_task(
            anyio.to_thread.run_sync(partial(ending.wait, 60), abandon_on_cancel=True)
        )
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        ending.set()
        assert task.cancelled()

    asyncio.run(look())
    assert workers == {}


def test_very_deep_chains_are_cut() -> None:
    async def descend(event: asyncio.Event, depth: int) -> None:
        if depth:
            await descend(event, depth - 1)
        else:
            await event.wait()

    async def main(event: asyncio.Event) -> None:
        await descend(event, 300)

    assert len(chain_of(main)) == 200


def test_what_the_application_awaits_is_not_asked_anything() -> None:
    asked: list[str] = []

    class Curious:
        """An iterator that has every attribute that it is asked for."""

        def __init__(self, steps: Generator[Any, None, Any]) -> None:
            self.steps = steps

        def __getattr__(self, name: str) -> str:
            asked.append(name)
            return name

        def __await__(self) -> Any:
            return self

        def __next__(self) -> Any:
            return next(self.steps)

    async def main(event: asyncio.Event) -> None:
        await Curious(event.wait().__await__())

    assert chain_of(main) == ["main"]
    assert asked == []
