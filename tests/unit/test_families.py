"""Families of tasks: which one goes on when another is done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from poolhog.probes import libraries
from poolhog.recording.families import Children, parent_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    Start = Callable[[Coroutine[Any, Any, object]], Coroutine[Any, Any, object]]

LIBRARIES = libraries()


async def awaiting(work: Coroutine[Any, Any, object]) -> None:
    await asyncio.create_task(work)


async def gathering(work: Coroutine[Any, Any, object]) -> None:
    await asyncio.gather(work, asyncio.sleep(0))


async def gathering_groups(work: Coroutine[Any, Any, object]) -> None:
    await asyncio.gather(asyncio.gather(asyncio.shield(work)))


async def waiting(work: Coroutine[Any, Any, object]) -> None:
    await asyncio.wait([asyncio.create_task(work)])


async def limiting(work: Coroutine[Any, Any, object]) -> None:
    await asyncio.wait_for(asyncio.create_task(work), 60)


async def shielding(work: Coroutine[Any, Any, object]) -> None:
    await asyncio.shield(work)


async def in_group(work: Coroutine[Any, Any, object]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work)


async def in_group_of_anyio(work: Coroutine[Any, Any, object]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_run, work)


async def in_body_of_group(work: Coroutine[Any, Any, object]) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        await asyncio.wait([task])


async def _run(work: Awaitable[object]) -> None:
    await work


WAYS: tuple[Start, ...] = (
    *(awaiting, gathering, gathering_groups, waiting, limiting, shielding),
    *(in_group, in_group_of_anyio, in_body_of_group),
)


@pytest.mark.parametrize("start", WAYS)
def test_who_waits_for_a_task_is_its_parent(start: Start) -> None:
    async def main() -> None:
        event, running = asyncio.Event(), asyncio.Event()
        found: list[asyncio.Task[Any] | None] = []

        async def work() -> None:
            found.append(asyncio.current_task())
            running.set()
            await event.wait()

        parent = asyncio.create_task(start(work()))
        await running.wait()
        child = found[0]
        assert child is not None
        assert parent_of(child, LIBRARIES) is parent
        children = Children(LIBRARIES)
        assert child in [reference() for reference in children.of(parent)]
        assert children.of(child) == []
        event.set()
        await parent

    asyncio.run(main())


def test_a_task_that_nobody_waits_for_has_no_parent() -> None:
    async def main() -> None:
        other = asyncio.create_task(asyncio.sleep(60))
        task = asyncio.create_task(asyncio.sleep(60))
        task.add_done_callback(lambda _: other.cancel())
        await asyncio.sleep(0)
        assert parent_of(task, LIBRARIES) is None
        task.cancel()
        other.cancel()

    asyncio.run(main())


def test_children_of_children_belong_to_the_family_and_are_found_anew() -> None:
    async def main() -> None:
        event = asyncio.Event()

        async def inner() -> None:
            await asyncio.gather(event.wait(), event.wait())

        parent = asyncio.create_task(gathering(inner()))
        children = Children(LIBRARIES)
        assert children.of(parent) == []
        for _ in range(5):
            await asyncio.sleep(0)
        children.forget()
        assert len(children.of(parent)) == 3
        event.set()
        await parent

    asyncio.run(main())
