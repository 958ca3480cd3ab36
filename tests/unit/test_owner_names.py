"""An owner has a name that no other has, and keeps it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from poolhog.recording import owner_names
from poolhog.recording.lengths import LONGEST_NAME
from poolhog.recording.owner_names import OwnerNames

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


async def tasks(names: OwnerNames, called: Sequence[str | None]) -> list[list[str]]:
    """What tasks of these names are called, each asked twice, while all of them are alive."""
    everyone = asyncio.Barrier(len(called))

    async def ask() -> list[str]:
        task = asyncio.current_task()
        assert task is not None
        found = [names.of_task(task)]
        await everyone.wait()
        return [*found, names.of_task(task)]

    return await asyncio.gather(*(asyncio.create_task(ask(), name=name) for name in called))


def thread(names: OwnerNames, name: str, carried: asyncio.Task[None] | None = None) -> str:
    found: list[str] = []
    worker = threading.Thread(target=lambda: found.append(names.of_thread(carried)), name=name)
    worker.start()
    worker.join()
    return found[0]


def test_tasks_of_one_name_are_numbered_and_keep_their_number() -> None:
    found = asyncio.run(tasks(OwnerNames(), ["worker", "worker", "other", "worker"]))
    assert found == [
        ["worker"] * 2,
        ["worker (2)"] * 2,
        ["other"] * 2,
        ["worker (3)"] * 2,
    ]


def test_a_later_task_is_not_taken_for_one_that_is_gone() -> None:
    names = OwnerNames()
    found = [asyncio.run(tasks(names, ["worker"])) for _ in range(3)]
    assert found == [[["worker"] * 2], [["worker (2)"] * 2], [["worker (3)"] * 2]]


def test_names_that_asyncio_makes_are_kept_and_take_no_room() -> None:
    names = OwnerNames()
    found = asyncio.run(tasks(names, [None] * 100))
    assert all(first == second and first.startswith("Task-") for first, second in found)
    assert len({first for first, _ in found}) == 100
    assert names._first == {}


def test_threads_of_one_name_are_numbered() -> None:
    names = OwnerNames()
    assert thread(names, "AnyIO worker thread") == "AnyIO worker thread"
    assert thread(names, "AnyIO worker thread") == "AnyIO worker thread (2)"
    assert names.of_thread(None) == names.of_thread(None) == threading.current_thread().name


def test_a_task_that_goes_on_in_another_thread_is_the_same_owner() -> None:
    names = OwnerNames()

    async def main() -> list[str]:
        one, other = (asyncio.create_task(asyncio.sleep(0)) for _ in range(2))
        return [thread(names, name, task) for name in ("pool_0", "pool_1") for task in (one, other)]

    assert asyncio.run(main()) == ["pool_0", "pool_0 (2)"] * 2


def test_more_names_than_are_remembered_are_all_different(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_names, "MOST_NAMES", 3)
    found = asyncio.run(tasks(OwnerNames(), [f"job {number}" for number in range(6)] * 2))
    called = [first for first, _ in found]
    assert len(set(called)) == 12
    assert called[:3] == ["job 0", "job 1", "job 2"]
    assert all(first == second for first, second in found)


def test_a_number_is_not_cut_off() -> None:
    found = asyncio.run(tasks(OwnerNames(), ["x" * 1_000] * 2))
    second = found[1][0]
    assert second.endswith("x (2)")
    assert len(second) <= LONGEST_NAME
