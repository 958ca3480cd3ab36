"""The sampler: what the owners of idle connections do, seen from outside.

States are asked of real tasks and threads for a good while, and majorities count: the machine is
busy with other things too.
"""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import asyncpg
import pytest
from recorders import DEADLINE_S, eventually, pool_record
from views import spent_by

import poolhog
from poolhog.model import Activity, OperationKind
from poolhog.probes import libraries, threads
from poolhog.probes.patching import Patches
from poolhog.recording import sites as sites_module
from poolhog.recording.options import Options
from poolhog.recording.owners import Owners
from poolhog.recording.recorder import Recorder
from poolhog.recording.sampler import in_gap

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FunctionType

    from poolhog.recording.records import CheckoutRecord
    from poolhog.recording.sites import SiteRecord

    Through = FunctionType

ROUNDS = 40
INTERVAL_S = 0.01


POOL = pool_record()


def own_threads(others: set[threading.Thread]) -> list[threading.Thread]:
    """Threads of poolhog's besides those that an earlier test may have left behind."""
    every = set(threading.enumerate()) - others
    return [thread for thread in every if thread.name.startswith("poolhog")]


@pytest.fixture
def others() -> set[threading.Thread]:
    return set(threading.enumerate())


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """One that samples by itself."""
    recorder = Recorder(tmp_path / "trace", libraries=libraries())
    recorder.pool(POOL)
    yield recorder
    recorder.stop()


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Recorder]:
    """One that does not: the test looks."""
    options = Options(sampling_interval_s=0)
    recorder = Recorder(tmp_path / "trace", options=options, libraries=libraries())
    recorder.pool(POOL)
    yield recorder
    recorder.stop()


class Owner:
    """A thread that asks for a connection and then does something with it, or an asyncio task."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.checkout: CheckoutRecord | None = None
        self.ending = threading.Event()

    def take(self) -> None:
        """Called by the owner itself."""
        checkout = self.recorder.ask(self.recorder.pool(POOL))
        self.recorder.grant(checkout, 1)
        self.checkout = checkout

    @contextmanager
    def at_work(self, target: Callable[[], object]) -> Iterator[CheckoutRecord]:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        try:
            eventually(lambda: self.checkout is not None)
            assert self.checkout is not None
            yield self.checkout
        finally:
            self.ending.set()
            thread.join(DEADLINE_S)


def look_again(
    recorder: Recorder, checkout: CheckoutRecord
) -> Iterator[tuple[Activity, str | None]]:
    """What is seen each time, and in which function of the application."""
    owners = Owners(recorder.journal)
    for _ in range(ROUNDS):
        time.sleep(INTERVAL_S)
        owners.begin()
        activity, site, *_ = owners.look(checkout)
        yield activity, own_function(site)


def looks(recorder: Recorder, checkout: CheckoutRecord) -> Counter[tuple[Activity, str | None]]:
    """What was seen how often."""
    return Counter(look_again(recorder, checkout))


def mostly(recorder: Recorder, checkout: CheckoutRecord) -> tuple[Activity, str | None]:
    """What was seen most often; who has more than half of all looks needs no more of them."""
    seen: Counter[tuple[Activity, str | None]] = Counter()
    for one in look_again(recorder, checkout):
        seen[one] += 1
        if seen[one] > ROUNDS / 2:
            break
    ((most, _),) = seen.most_common(1)
    return most


def own_function(site: SiteRecord | None) -> str | None:
    """The innermost function of the application."""
    while site is not None and not site.is_application:
        site = site.caller
    return site.code.co_name if site is not None else None


def frames(site: SiteRecord | None) -> list[str]:
    found = []
    while site is not None:
        found.append(site.code.co_name)
        site = site.caller
    return found


def burn(ending: threading.Event) -> None:
    while not ending.is_set():
        sum(range(500))


def run_async(main: Callable[[], Coroutine[Any, Any, object]]) -> Callable[[], object]:
    return lambda: asyncio.run(main())


async def through_task_group(work: Coroutine[Any, Any, object]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work)


async def through_anyio(work: Coroutine[Any, Any, object]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: work)


async def through_wait(work: Coroutine[Any, Any, object]) -> None:
    await asyncio.wait([asyncio.create_task(work)])


async def through_gather(work: Coroutine[Any, Any, object]) -> None:
    await asyncio.gather(work)


async def through_time_limit(work: Coroutine[Any, Any, object]) -> None:
    await asyncio.wait_for(work, 3600)


async def through_shield(work: Coroutine[Any, Any, object]) -> None:
    await asyncio.shield(work)


async def through_task(work: Coroutine[Any, Any, object]) -> None:
    await asyncio.create_task(work)


AWAITING_OTHERS = [
    *(through_task_group, through_anyio, through_wait, through_gather, through_time_limit),
    *(through_shield, through_task),
]


class TestTasks:
    """Owners that are asyncio tasks."""

    async def until_ended(self, owner: Owner) -> None:
        while not owner.ending.is_set():
            await asyncio.sleep(0.005)

    def parked_in(self, recorder: Recorder, wait: Callable[[], Coroutine[Any, Any, object]]) -> Any:
        """What is seen of a task that holds a connection and waits."""
        owner = Owner(recorder)

        async def main() -> None:
            async def hold() -> None:
                owner.take()
                await wait()

            task = asyncio.create_task(hold())
            await self.until_ended(owner)
            task.cancel()

        with owner.at_work(run_async(main)) as checkout:
            return mostly(recorder, checkout)

    def test_asleep_through_two_helpers(self, quiet: Recorder) -> None:
        async def outer() -> None:
            await inner()

        async def inner() -> None:
            await asyncio.sleep(3600)

        assert self.parked_in(quiet, outer) == (Activity.PARKED, "inner")

    def test_waiting_for_a_lock(self, quiet: Recorder) -> None:
        async def wait_for_lock() -> None:
            lock = asyncio.Lock()
            async with lock:
                await lock.acquire()

        assert self.parked_in(quiet, wait_for_lock) == (Activity.PARKED, "wait_for_lock")

    def test_waiting_for_a_queue(self, quiet: Recorder) -> None:
        async def wait_for_item() -> None:
            await asyncio.Queue[int]().get()

        assert self.parked_in(quiet, wait_for_item) == (Activity.PARKED, "wait_for_item")

    def test_waiting_for_a_future(self, quiet: Recorder) -> None:
        async def wait_for_future() -> None:
            await asyncio.get_running_loop().create_future()

        assert self.parked_in(quiet, wait_for_future) == (Activity.PARKED, "wait_for_future")

    def test_waiting_for_others(self, quiet: Recorder) -> None:
        async def gather_them() -> None:
            await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(3600))

        assert self.parked_in(quiet, gather_them) == (Activity.PARKED, "gather_them")

    def test_waiting_for_a_thread(self, quiet: Recorder) -> None:
        ending = threading.Event()

        async def wait_for_thread() -> None:
            await asyncio.to_thread(ending.wait, DEADLINE_S)

        owner = Owner(quiet)

        async def main() -> None:
            owner.take()
            await wait_for_thread()

        with owner.at_work(run_async(main)) as checkout:
            seen = mostly(quiet, checkout)
            ending.set()
        assert seen == (Activity.PARKED, "wait_for_thread")

    @pytest.mark.parametrize("wait", AWAITING_OTHERS)
    def test_waiting_for_tasks_that_are_parked(self, quiet: Recorder, wait: Through) -> None:
        async def wait_for_them() -> None:
            await wait(asyncio.sleep(3600))

        assert self.parked_in(quiet, wait_for_them) == (Activity.PARKED, wait.__name__)

    @pytest.mark.parametrize("wait", AWAITING_OTHERS)
    def test_waiting_for_tasks_that_a_blocked_loop_keeps_waiting(
        self, quiet: Recorder, wait: Through
    ) -> None:
        """As asyncpg's pool takes a connection back: in a task, which has not begun yet."""
        owner = Owner(quiet)

        async def main() -> None:
            async def hold() -> None:
                owner.take()
                asyncio.get_running_loop().call_soon(burn, owner.ending)
                await wait(asyncio.sleep(3600))

            task = asyncio.create_task(hold())
            await self.until_ended(owner)
            task.cancel()

        with owner.at_work(run_async(main)) as checkout:
            assert mostly(quiet, checkout) == (Activity.READY, "burn")

    def test_of_a_loop_that_has_much_to_do_no_task_is_to_blame(self, quiet: Recorder) -> None:
        """Each has the loop for less time than there is between two looks."""
        owner = Owner(quiet)

        async def work() -> None:
            while not owner.ending.is_set():
                until = time.monotonic() + INTERVAL_S / 3
                while time.monotonic() < until:
                    sum(range(50))
                await asyncio.sleep(0)

        async def main() -> None:
            async def hold() -> None:
                owner.take()
                while not owner.ending.is_set():
                    await asyncio.sleep(0)

            await asyncio.gather(hold(), *(work() for _ in range(20)))

        with owner.at_work(run_async(main)) as checkout:
            seen = looks(quiet, checkout)
        ready = Counter[str | None]()
        for (activity, function), times in seen.items():
            if activity is Activity.READY:
                ready[function] += times
        assert ready.total() > ROUNDS / 2
        assert ready[None] > 0.8 * ready.total()

    @pytest.mark.parametrize("wait", AWAITING_OTHERS)
    def test_waiting_for_a_task_that_computes(self, quiet: Recorder, wait: Through) -> None:
        owner = Owner(quiet)

        async def compute() -> None:
            burn(owner.ending)

        async def hold() -> None:
            owner.take()
            await wait(compute())

        with owner.at_work(run_async(hold)) as checkout:
            seen = looks(quiet, checkout)
        parked = sum(times for (activity, _), times in seen.items() if activity == "parked")
        assert parked < ROUNDS / 4
        assert (Activity.BLOCKING, "burn") in seen

    def test_waiting_for_a_group_that_gets_others_meanwhile(self, quiet: Recorder) -> None:
        """The future that it awaits is the same as before."""

        async def grow() -> None:
            async with asyncio.TaskGroup() as group:

                async def first() -> None:
                    # Long enough to be looked at.
                    await asyncio.sleep(5 * INTERVAL_S)
                    group.create_task(asyncio.sleep(3600))

                group.create_task(first())

        assert self.parked_in(quiet, grow) == (Activity.PARKED, "grow")

    def test_waiting_for_the_first_of_some_tasks_is_parked(self, quiet: Recorder) -> None:
        """It could go on long before the last of them is done."""

        async def wait_for_first() -> None:
            tasks = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(2)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

        assert self.parked_in(quiet, wait_for_first) == (Activity.PARKED, "wait_for_first")

    @pytest.mark.parametrize("wait", [None, *AWAITING_OTHERS])
    @pytest.mark.parametrize("is_engaged", [False, True], ids=["alone", "asks-for-another"])
    def test_waiting_in_a_database_library_is_busy_but_for_another_connection(
        self, quiet: Recorder, wait: Through | None, *, is_engaged: bool
    ) -> None:
        owner = Owner(quiet)

        async def connect(port: int) -> None:
            if is_engaged:
                quiet.ask(quiet.pool(POOL))
            await asyncpg.connect(host="127.0.0.1", port=port, user="nobody", ssl=False)

        async def main() -> None:
            async with await asyncio.start_server(lambda *_: None, "127.0.0.1") as mute:
                port = mute.sockets[0].getsockname()[1]

                async def hold() -> None:
                    owner.take()
                    await (wait(connect(port)) if wait is not None else connect(port))

                task = asyncio.create_task(hold())
                await self.until_ended(owner)
                task.cancel()

        with owner.at_work(run_async(main)) as checkout:
            activity, function = mostly(quiet, checkout)
        assert activity is (Activity.PARKED if is_engaged else Activity.BUSY)
        assert function == ("connect" if wait is None else wait.__name__)

    def test_burning_the_processor(self, quiet: Recorder) -> None:
        owner = Owner(quiet)

        async def handler() -> None:
            owner.take()
            burn(owner.ending)

        with owner.at_work(run_async(handler)) as checkout:
            seen = looks(quiet, checkout)
        states = Counter[Activity]()
        for (activity, _), times in seen.items():
            states[activity] += times
        assert states[Activity.PARKED] < ROUNDS / 4
        # All but the first look: nobody else of the loop goes on.
        assert states[Activity.BLOCKING] > ROUNDS / 3
        assert (Activity.BLOCKING, "burn") in seen

    def test_blocking_the_loop_by_a_call_that_waits(self, quiet: Recorder) -> None:
        owner = Owner(quiet)

        def blocking() -> None:
            while not owner.ending.is_set():
                time.sleep(0.5)

        async def handler() -> None:
            owner.take()
            blocking()

        with owner.at_work(run_async(handler)) as checkout:
            assert mostly(quiet, checkout) == (Activity.BLOCKING, "blocking")

    def test_ready_while_another_task_blocks_the_loop(self, quiet: Recorder) -> None:
        """Its site is what runs instead."""
        owner = Owner(quiet)

        async def handler(future: asyncio.Future[None]) -> None:
            owner.take()
            await future

        async def hogs_the_loop(future: asyncio.Future[None]) -> None:
            future.set_result(None)
            burn(owner.ending)

        async def main() -> None:
            future = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(handler(future))
            await asyncio.sleep(0.05)
            await hogs_the_loop(future)
            await task

        with owner.at_work(run_async(main)) as checkout:
            eventually(lambda: _activity(quiet, checkout) is Activity.READY)
            seen = looks(quiet, checkout)
        assert {activity for activity, _ in seen} == {Activity.READY}
        # Where there is no telling, as when the system lets neither run, nobody is named.
        named = {function for _, function in seen} - {None}
        assert named
        assert named <= {"burn", "hogs_the_loop"}

    def test_a_task_that_is_over_is_seen_nowhere(self, quiet: Recorder) -> None:
        owner = Owner(quiet)

        async def forgets() -> None:
            owner.take()

        async def main() -> None:
            await asyncio.create_task(forgets())
            await self.until_ended(owner)

        with owner.at_work(run_async(main)) as checkout:
            time.sleep(0.05)
            assert mostly(quiet, checkout) == (Activity.PARKED, None)
        assert checkout.task is not None
        gc.collect()
        assert checkout.task() is None
        assert mostly(quiet, checkout) == (Activity.PARKED, None)

    def test_a_worker_thread_that_a_task_waits_for(self, quiet: Recorder) -> None:
        """As synchronous endpoints run: the thread's frames first, then those of the task."""
        owner = Owner(quiet)

        def endpoint() -> None:
            owner.take()
            pause()

        def pause() -> None:
            while not owner.ending.is_set():
                time.sleep(0.5)

        async def handle() -> None:
            await anyio.to_thread.run_sync(endpoint)

        patches = Patches()
        threads.watch_anyio(quiet, patches)
        with owner.at_work(run_async(handle)) as checkout:
            assert checkout.in_thread
            assert mostly(quiet, checkout) == (Activity.PARKED, "pause")
            site = Owners(quiet.journal).look(checkout).site
        patches.restore()
        names = frames(site)
        assert names.index("pause") < names.index("endpoint") < names.index("handle")


def _activity(recorder: Recorder, checkout: CheckoutRecord) -> Activity:
    return Owners(recorder.journal).look(checkout)[0]


class TestThreads:
    """Owners that are threads."""

    def seen_in(
        self,
        recorder: Recorder,
        work: Callable[[threading.Event], object],
        see: Callable[[Recorder, CheckoutRecord], Any] = mostly,
    ) -> Any:
        owner = Owner(recorder)

        def hold() -> None:
            owner.take()
            work(owner.ending)

        with owner.at_work(hold) as checkout:
            return see(recorder, checkout)

    def test_asleep(self, quiet: Recorder) -> None:
        def nap(ending: threading.Event) -> None:
            while not ending.is_set():
                time.sleep(0.3)

        ((seen, times),) = self.seen_in(quiet, nap, looks).most_common(1)
        assert seen == (Activity.PARKED, "nap")
        assert times > ROUNDS / 2

    def test_waiting_for_a_lock(self, quiet: Recorder) -> None:
        def wait_for_lock(ending: threading.Event) -> None:
            lock = threading.Lock()
            lock.acquire()
            while not ending.is_set():
                lock.acquire(timeout=0.3)

        assert self.seen_in(quiet, wait_for_lock) == (Activity.PARKED, "wait_for_lock")

    def test_waiting_for_a_queue(self, quiet: Recorder) -> None:
        def wait_for_item(ending: threading.Event) -> None:
            items = queue.Queue[int]()
            while not ending.is_set():
                try:
                    items.get(timeout=0.3)
                except queue.Empty:
                    continue

        assert self.seen_in(quiet, wait_for_item) == (Activity.PARKED, "wait_for_item")

    def test_waiting_for_an_event(self, quiet: Recorder) -> None:
        """Whose frames are of the module that runs threads: they do not hide the application's."""

        def wait_for_event(ending: threading.Event) -> None:
            ending.wait()

        assert self.seen_in(quiet, wait_for_event) == (Activity.PARKED, "wait_for_event")

    @pytest.mark.parametrize(
        ("wait", "expected"),
        [
            ("lock.acquire(timeout=0.3)", Activity.PARKED),
            ("queue.Queue().get(timeout=0.3)", Activity.PARKED),
            ("queue.SimpleQueue().get(timeout=0.3)", Activity.PARKED),
            ("select.select([sockets[0]], [], [], 0.3)", Activity.BUSY),
            ("sockets[0].recv(1)", Activity.BUSY),
        ],
    )
    def test_a_driver_that_waits_for_a_socket_is_busy_and_for_a_lock_it_is_parked(
        self, quiet: Recorder, tmp_path: Path, wait: str, expected: Activity
    ) -> None:
        file = tmp_path / "site-packages" / "psycopg2" / "driver.py"
        names: dict[str, Any] = {}
        code = f"""
import queue, select, socket, threading
lock = threading.Lock()
lock.acquire()
sockets = socket.socketpair()
sockets[0].settimeout(0.3)

def wait(ending):
    while not ending.is_set():
        try:
            {wait}
        except (queue.Empty, TimeoutError):
            pass
"""
        exec(compile(code, str(file), "exec"), names)
        activity, _ = self.seen_in(quiet, lambda ending: names["wait"](ending))
        assert activity is expected
        for one in names["sockets"]:
            one.close()

    def test_waiting_for_a_future(self, quiet: Recorder) -> None:
        def wait_for_future(ending: threading.Event) -> None:
            with ThreadPoolExecutor(1) as executor:
                executor.submit(ending.wait).result()

        assert self.seen_in(quiet, wait_for_future) == (Activity.PARKED, "wait_for_future")

    def test_burning_the_processor(self, quiet: Recorder) -> None:
        got: list[float] = []

        def burn_and_tell(ending: threading.Event) -> None:
            began, used = time.monotonic(), time.thread_time()
            burn(ending)
            got.append((time.thread_time() - used) / (time.monotonic() - began))

        seen = self.seen_in(quiet, burn_and_tell, looks)
        running = sum(times for (activity, _), times in seen.items() if activity == "running")
        parked = sum(times for (activity, _), times in seen.items() if activity == "parked")
        # Of a processor that it shares with others, it runs when it has its turn.
        assert running > ROUNDS / 3 * got[0]
        assert parked < ROUNDS / 4
        assert (Activity.RUNNING, "burn") in seen

    def test_a_thread_that_is_over_is_seen_nowhere(self, quiet: Recorder) -> None:
        owner = Owner(quiet)
        with owner.at_work(owner.take) as checkout:
            pass
        assert mostly(quiet, checkout) == (Activity.PARKED, None)

    def test_threads_that_compete_for_the_interpreter_are_running_or_ready(
        self, quiet: Recorder
    ) -> None:
        owners = [Owner(quiet) for _ in range(3)]
        seen: Counter[Activity] = Counter()

        def hold(owner: Owner) -> Callable[[], None]:
            def work() -> None:
                owner.take()
                burn(owner.ending)

            return work

        with (
            owners[0].at_work(hold(owners[0])) as first,
            owners[1].at_work(hold(owners[1])) as second,
            owners[2].at_work(hold(owners[2])) as third,
        ):
            looker = Owners(quiet.journal)
            for _ in range(ROUNDS):
                time.sleep(INTERVAL_S)
                looker.begin()
                seen.update(looker.look(checkout)[0] for checkout in (first, second, third))
        assert seen[Activity.PARKED] < 3 * ROUNDS / 4
        assert seen[Activity.READY] > 3 * ROUNDS / 4
        assert seen[Activity.RUNNING] > 3 * ROUNDS / 10


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a processor of one's own")
def test_threads_that_the_system_starves_are_not_parked(quiet: Recorder) -> None:
    """They wait for the interpreter, whose holder waits for a processor that others have."""
    owners = [Owner(quiet) for _ in range(2)]
    processors = os.sched_getaffinity(0)
    seen = Counter[Activity]()

    def hold(owner: Owner) -> Callable[[], None]:
        def work() -> None:
            owner.take()
            while not owner.ending.is_set():
                sum(range(50_000))

        return work

    os.sched_setaffinity(0, {min(processors)})
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6)]
    try:
        with (
            owners[0].at_work(hold(owners[0])) as first,
            owners[1].at_work(hold(owners[1])) as second,
        ):
            os.sched_setaffinity(0, processors)
            for _ in range(ROUNDS):
                # What is seen first stays so as long as a thread gets nothing of the processor.
                looker = Owners(quiet.journal)
                for _ in range(3):
                    time.sleep(INTERVAL_S)
                    looker.begin()
                    seen.update(looker.look(checkout)[0] for checkout in (first, second))
    finally:
        os.sched_setaffinity(0, processors)
        for process in busy:
            process.kill()
            process.wait()
    assert seen[Activity.PARKED] < 0.05 * seen.total()


def test_no_frame_and_no_local_is_kept_alive(recorder: Recorder) -> None:
    class Large:
        pass

    async def hold() -> weakref.ref[Large]:
        local = Large()
        checkout = recorder.ask(recorder.pool(POOL))
        recorder.grant(checkout, 1)
        await asyncio.sleep(0.2)
        time.sleep(0.1)
        return weakref.ref(local)

    kept = asyncio.run(hold())
    gc.collect()
    assert kept() is None
    recorder.stop()
    (found,) = poolhog.open_trace(recorder.directory).checkouts
    assert len(found.samples) >= 2


def test_a_gap_becomes_a_few_rows_however_long_it_is(recorder: Recorder) -> None:
    async def hold() -> None:
        checkout = recorder.ask(recorder.pool(POOL))
        recorder.grant(checkout, 1)
        for _ in range(2):
            operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT 1")
            assert operation is not None
            operation.end()
            await asyncio.sleep(0.3)
        recorder.end(checkout)

    asyncio.run(hold())
    recorder.stop()
    (found,) = poolhog.open_trace(recorder.directory).checkouts
    parked = [sample for sample in found.samples if sample.activity is Activity.PARKED]
    assert 2 <= len(parked) <= 6
    second = found.operations[1].started
    # No sample reaches from one gap into the other.
    before = [sample for sample in found.samples if sample.started < second]
    assert before
    assert all(sample.ended is not None and sample.ended < second for sample in before)
    spent = spent_by(found)
    assert spent.parked > 0.9 * spent.use


def test_a_sample_without_a_site_because_there_are_too_many_is_counted_once(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites_module, "MOST_SAMPLED_SITES", 0)

    async def hold() -> None:
        checkout = recorder.ask(recorder.pool(POOL))
        recorder.grant(checkout, 1)
        await asyncio.sleep(0.3)
        recorder.end(checkout)

    asyncio.run(hold())
    recorder.stop()
    (found,) = poolhog.open_trace(recorder.directory).checkouts
    parked = [sample for sample in found.samples if sample.activity is Activity.PARKED]
    assert [sample.site for sample in found.samples] == [None] * len(found.samples)
    assert 1 <= len(parked) <= recorder.journal.dropped <= len(found.samples) < 10


def test_an_open_gap_is_on_disk_while_it_lasts(recorder: Recorder) -> None:
    owner = Owner(recorder)

    def stuck() -> None:
        owner.take()
        owner.ending.wait()

    def samples() -> list[poolhog.Sample]:
        try:
            trace = poolhog.open_trace(recorder.directory)
        except poolhog.TraceError:
            return []
        return [sample for checkout in trace.checkouts for sample in checkout.samples]

    with owner.at_work(stuck):
        eventually(lambda: [s.ended for s in samples()][-1:] == [None])
        newest = samples()[-1]
    assert newest.site is not None
    assert "stuck" in [frame.function.rpartition(".")[2] for frame in newest.site.stack]


def test_the_sampler_sleeps_while_nothing_is_lent(
    others: set[threading.Thread], recorder: Recorder
) -> None:
    def processor_s() -> float:
        (sampler,) = [t for t in own_threads(others) if t.name == "poolhog-sampler"]
        used_ns, *_ = Path(f"/proc/self/task/{sampler.native_id}/schedstat").read_text().split()
        return int(used_ns) / 1e9

    checkout = recorder.ask(recorder.pool(POOL))
    recorder.grant(checkout, 1)
    recorder.end(checkout)
    time.sleep(0.3)
    before = processor_s()
    time.sleep(0.5)
    assert processor_s() == before
    # It wakes up again.
    owner = Owner(recorder)

    def nap() -> None:
        owner.take()
        owner.ending.wait()

    with owner.at_work(nap) as lent:
        eventually(lambda: lent.sample is not None)


def test_without_an_interval_there_is_no_sampler(
    others: set[threading.Thread], quiet: Recorder
) -> None:
    checkout = quiet.ask(quiet.pool(POOL))
    quiet.grant(checkout, 1)
    time.sleep(0.05)
    assert [thread.name for thread in own_threads(others)] == ["poolhog-writer"]
    quiet.end(checkout)
    quiet.stop()
    trace = poolhog.open_trace(quiet.directory)
    assert trace.checkouts[0].samples == ()
    assert trace.processes[0].sampling_interval == 0


def test_a_fault_of_a_look_is_counted_and_the_next_one_is_taken(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(owners: Owners, checkout: CheckoutRecord) -> Any:
        raise RuntimeError("looked away")

    owner = Owner(recorder)

    def nap() -> None:
        owner.take()
        owner.ending.wait()

    with monkeypatch.context() as patched:
        patched.setattr(Owners, "look", fail)
        with owner.at_work(nap) as checkout:
            eventually(lambda: recorder.journal.errors >= 2)
            patched.undo()
            eventually(lambda: checkout.sample is not None)
    assert "looked away" in caplog.text


FORK = """
import os, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recorders import pool_record
from poolhog.recording import sites as sites_module
from poolhog.recording.recorder import Recorder

def hold():
    checkout = recorder.ask(pool)
    recorder.grant(checkout, 1)
    time.sleep(0.3)
    recorder.end(checkout)

recorder = Recorder(Path(sys.argv[1]))
pool = recorder.pool(pool_record())
hold()
child = os.fork()
hold()
if child:
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
def test_after_a_fork_each_process_samples_its_own(tmp_path: Path) -> None:
    directory = tmp_path / "trace"
    code = [sys.executable, "-W", "error", "-c", FORK, str(directory), str(Path(__file__).parent)]
    done = subprocess.run(code, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    trace = poolhog.open_trace(directory)
    counts = Counter(checkout.pool.process.pid for checkout in trace.checkouts)
    assert sorted(counts.values()) == [1, 2]
    for checkout in trace.checkouts:
        assert Activity.PARKED in {sample.activity for sample in checkout.samples}


def test_what_was_so_before_a_gap_began_counts_from_its_beginning(quiet: Recorder) -> None:
    checkout = quiet.ask(POOL)
    connect = quiet.operate(checkout, OperationKind.CONNECT)
    assert connect is not None
    connect.end()
    quiet.grant(checkout, 1)
    assert connect.ended_ns is not None
    assert checkout.granted_ns is not None
    now_ns = time.monotonic_ns()
    # The connection was opened before it was lent.
    assert in_gap(checkout, connect.ended_ns - 1, now_ns) == checkout.granted_ns
    assert in_gap(checkout, now_ns + 1, now_ns) == now_ns
    statement = quiet.operate(checkout, OperationKind.STATEMENT, "SELECT 1")
    assert statement is not None
    statement.end()
    now_ns = time.monotonic_ns()
    assert in_gap(checkout, checkout.granted_ns, now_ns) == statement.ended_ns
