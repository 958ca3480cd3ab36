"""Random walks over engines, sessions and pools, and what must hold in the trace of each.

The model knows how every checkout has to end and what ran on it; the invariants know what holds for
all of them.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from invariants import check_trace
from recorded_app import async_url
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

import poolhog
from poolhog import OperationKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from poolhog import Checkout

ONE = sa.text("SELECT 1")
FAILING = sa.text("SELECT nonsense")
SIZE = 2
OVERFLOW = 1
TIMEOUT_S = 0.003
LONGER_S = 0.05
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a trace is finished without waiting for a disk."""

CALLED_FOR = (OperationKind.STATEMENT, OperationKind.COMMIT, OperationKind.ROLLBACK)
"""Operations that the application asks for by name; SQLAlchemy adds others."""

libraries = st.sampled_from(["connection", "session", "asyncpg"])
points = st.none() | st.integers(0, 60)
"""After how many turns of the event loop a task is cancelled, if it is."""

_RELEASED_ALREADY = (asyncpg.InterfaceError, asyncpg.InternalClientError)

bounded = settings(
    max_examples=50,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Expected:
    """What a checkout has to be in the trace."""

    outcome: Outcome
    operations: list[str] = field(default_factory=list)


@dataclass
class Lending:
    """An engine's pool, until it is disposed of; what it lent comes back to it all the same."""

    lent: int = 0


class Holder:
    """A connection or a session, and what the model knows of it."""

    def __init__(self, engine: sa.Engine, *, is_session: bool) -> None:
        self.is_session = is_session
        self.object: Any = Session(engine) if is_session else None
        self.checkout: Expected | None = None
        self.lending: Lending | None = None
        self.nested: list[Any] = []
        self.in_transaction = False
        self.is_lost = False
        """Invalidated within a transaction: it wants a rollback before anything else."""


class Machine(RuleBasedStateMachine):
    """Two engines on SQLite, in one thread."""

    def __init__(self) -> None:
        super().__init__()
        # What is here by now need not be looked at each time that something is dropped.
        gc.freeze()
        self.directory = tempfile.TemporaryDirectory(dir=IN_MEMORY)
        self.trace_directory = poolhog.install(Path(self.directory.name) / "trace")
        self.engines = [self.engine(n) for n in range(2)]
        self.lendings = [Lending(), Lending()]
        self.holders: list[tuple[int, Holder]] = []
        self.expected: list[Expected] = []

    def engine(self, number: int) -> sa.Engine:
        return sa.create_engine(
            f"sqlite:///{self.directory.name}/{number}",
            poolclass=QueuePool,
            pool_size=SIZE,
            max_overflow=OVERFLOW,
            pool_timeout=TIMEOUT_S,
            pool_pre_ping=number == 1,
        )

    # What the pool has to do.

    def asks(self, holder: Holder, number: int, act: Callable[[], Any]) -> bool:
        """Do what needs a connection; whether there was one."""
        if holder.checkout is not None:
            act()
            return True
        lending = self.lendings[number]
        if lending.lent == SIZE + OVERFLOW:
            self.expected.append(Expected(Outcome.TIMEOUT))
            with pytest.raises(PoolTimeout) as caught:
                act()
            assert len(caught.value.__notes__) == 1
            return False
        holder.checkout = Expected(Outcome.OPEN)
        holder.lending = lending
        lending.lent += 1
        self.expected.append(holder.checkout)
        act()
        return True

    def ends(self, holder: Holder, outcome: Outcome = Outcome.RETURNED) -> None:
        """The holder's checkout is over, if it has one."""
        if holder.checkout is not None:
            assert holder.lending is not None
            holder.checkout.outcome = outcome
            holder.lending.lent -= 1
        holder.checkout = holder.lending = None

    def runs(self, holder: Holder, operation: str) -> None:
        if holder.checkout is not None:
            holder.checkout.operations.append(operation)

    def rolls_back(self, holder: Holder) -> None:
        if holder.in_transaction and not holder.is_lost:
            # A connection leaves its savepoints to the rollback, a session does not.
            for _ in holder.nested if holder.is_session else ():
                self.runs(holder, "ROLLBACK TO SAVEPOINT")
            self.runs(holder, "rollback")

    def pick(self, n: int) -> tuple[int, Holder]:
        return self.holders[n % len(self.holders)]

    def forget(self, holder: Holder) -> None:
        self.holders = [(number, other) for number, other in self.holders if other is not holder]

    # What the application does.

    @initialize()
    def begin(self) -> None:
        """A first checkout, so that there is a trace."""
        self.connect(0)

    @rule(number=st.integers(0, 1))
    def connect(self, number: int) -> None:
        holder = Holder(self.engines[number], is_session=False)

        def act() -> None:
            holder.object = self.engines[number].connect()

        if self.asks(holder, number, act):
            self.holders.append((number, holder))

    @rule(number=st.integers(0, 1))
    def open_session(self, number: int) -> None:
        self.holders.append((number, Holder(self.engines[number], is_session=True)))

    @precondition(lambda self: self.holders)
    @rule(n=st.integers(0, 99))
    def execute(self, n: int) -> None:
        number, holder = self.pick(n)
        if holder.is_lost:
            with pytest.raises(PendingRollbackError):
                holder.object.execute(ONE)
        elif self.asks(holder, number, lambda: holder.object.execute(ONE)):
            holder.in_transaction = True
            self.runs(holder, "SELECT ?")

    @precondition(lambda self: self.holders)
    @rule(n=st.integers(0, 99))
    def fail(self, n: int) -> None:
        number, holder = self.pick(n)
        if holder.is_lost:
            return

        def act() -> None:
            with pytest.raises(OperationalError):
                holder.object.execute(FAILING)

        if self.asks(holder, number, act):
            holder.in_transaction = True
            self.runs(holder, "SELECT nonsense!OperationalError")

    @precondition(lambda self: self.holders)
    @rule(n=st.integers(0, 99))
    def begin_nested(self, n: int) -> None:
        number, holder = self.pick(n)
        if holder.is_lost or (holder.checkout is None and self.is_exhausted(number)):
            return

        def act() -> None:
            nested = holder.object.begin_nested()
            if holder.is_session:
                # A session sends the savepoint with the first statement.
                holder.object.connection()
            holder.nested.append(nested)

        self.asks(holder, number, act)
        holder.in_transaction = True
        self.runs(holder, "SAVEPOINT")

    def is_exhausted(self, number: int) -> bool:
        return self.lendings[number].lent == SIZE + OVERFLOW

    @precondition(lambda self: any(holder.nested for _, holder in self.holders))
    @rule(n=st.integers(0, 99), commits=st.booleans())
    def end_nested(self, n: int, commits: bool) -> None:
        nesting = [holder for _, holder in self.holders if holder.nested]
        holder = nesting[n % len(nesting)]
        nested = holder.nested.pop()
        if commits:
            nested.commit()
        else:
            nested.rollback()
        self.runs(holder, "RELEASE SAVEPOINT" if commits else "ROLLBACK TO SAVEPOINT")

    @precondition(lambda self: self.holders)
    @rule(n=st.integers(0, 99), commits=st.booleans())
    def end_transaction(self, n: int, commits: bool) -> None:
        _, holder = self.pick(n)
        if holder.is_lost:
            commits = False
        elif holder.nested and commits:
            # What is nested must be over first, as `with` blocks see to.
            return
        (holder.object.commit if commits else holder.object.rollback)()
        if not commits:
            self.rolls_back(holder)
        elif holder.in_transaction:
            self.runs(holder, "commit")
        holder.nested.clear()
        holder.in_transaction = holder.is_lost = False
        if holder.is_session:
            self.ends(holder)

    @precondition(lambda self: self.holders)
    @rule(n=st.integers(0, 99))
    def close(self, n: int) -> None:
        _, holder = self.pick(n)
        holder.object.close()
        self.rolls_back(holder)
        self.ends(holder)
        self.forget(holder)

    @precondition(lambda self: self.holders)
    @rule(n=st.integers(0, 99))
    def drop(self, n: int) -> None:
        """Nobody closes it, and nobody has it any more."""
        _, holder = self.pick(n)
        self.forget(holder)
        self.ends(holder, Outcome.COLLECTED)
        holder.nested.clear()
        holder.object = None
        gc.collect()

    @precondition(lambda self: any(not holder.is_session for _, holder in self.holders))
    @rule(n=st.integers(0, 99))
    def invalidate(self, n: int) -> None:
        holder = self.some_connection(n)
        if holder.checkout is None:
            return
        holder.object.invalidate()
        holder.is_lost = holder.in_transaction
        holder.nested.clear()
        self.ends(holder)

    @precondition(lambda self: any(not holder.is_session for _, holder in self.holders))
    @rule(n=st.integers(0, 99))
    def detach(self, n: int) -> None:
        """The pool has one less; the application closes what it keeps."""
        holder = self.some_connection(n)
        if holder.checkout is None:
            return
        holder.object.detach()
        self.ends(holder, Outcome.DETACHED)
        holder.object.execute(ONE)
        holder.object.close()
        self.forget(holder)

    def some_connection(self, n: int) -> Holder:
        connections = [holder for _, holder in self.holders if not holder.is_session]
        return connections[n % len(connections)]

    @rule(number=st.integers(0, 1))
    def dispose(self, number: int) -> None:
        """What is lent stays lent, by a pool that is no longer the engine's."""
        self.engines[number].dispose()
        self.lendings[number] = Lending()

    def teardown(self) -> None:
        poolhog.uninstall()
        try:
            trace = poolhog.open_trace(self.trace_directory)
            check_trace(trace)
            assert trace.processes[0].finished
            assert [seen(checkout) for checkout in trace.checkouts] == self.expected
        finally:
            for _, holder in self.holders:
                holder.object.close()
            for engine in self.engines:
                engine.dispose()
            self.directory.cleanup()
            gc.unfreeze()


def seen(checkout: Checkout) -> Expected:
    """What the trace says, in the model's words."""
    return Expected(
        checkout.outcome,
        [
            short(operation.statement) + (f"!{operation.error}" if operation.error else "")
            if operation.statement
            else operation.kind.value
            for operation in checkout.operations
            if operation.kind in CALLED_FOR
        ],
    )


def short(statement: str) -> str:
    return statement.partition(" sa_savepoint")[0]


def test_engines_and_sessions_in_a_thread() -> None:
    run_state_machine_as_test(Machine, settings=bounded)


@dataclass
class Allowed:
    """How the checkout of a step may end; ``is_certain``: the step gets as far as to ask."""

    outcomes: set[Outcome]
    is_certain: bool = True


class AsyncHolder:
    """Something that holds a connection across steps, and how to use it."""

    def __init__(self, library: str) -> None:
        self.library = library
        self.object: Any = None
        self.checkout: Allowed | None = None

    async def execute(self, statement: str) -> None:
        if self.library == "asyncpg":
            await self.object.execute(statement)
        else:
            await self.object.execute(sa.text(statement))


class AsyncMachine(RuleBasedStateMachine):
    """An engine and a pool of asyncpg's own, in tasks that are cancelled at any point.

    Each step is a task with a name, by which the trace knows who asked. How far a task gets before
    it is cancelled is a matter of luck: whatever it did, the next step begins from the same state.
    """

    url = ""

    def __init__(self) -> None:
        super().__init__()
        gc.freeze()
        self.directory = tempfile.TemporaryDirectory(dir=IN_MEMORY)
        self.trace_directory = poolhog.install(Path(self.directory.name) / "trace")
        self.runner = asyncio.Runner()
        self.engine = create_async_engine(
            async_url(self.url), pool_size=SIZE, max_overflow=OVERFLOW, pool_timeout=LONGER_S
        )
        self.pool = self.runner.run(self.open_pool())
        self.capacity = {"connection": SIZE + OVERFLOW, "session": SIZE + OVERFLOW, "asyncpg": SIZE}
        self.holders: list[AsyncHolder] = []
        self.allowed: dict[str, Allowed] = {}
        self.steps = 0

    async def open_pool(self) -> asyncpg.Pool:
        return await asyncpg.create_pool(self.url, min_size=0, max_size=SIZE)

    # Steps, and what the trace must say of them.

    def step(
        self, coroutine: Coroutine[Any, Any, None], cancelled_after: int | None = None
    ) -> tuple[str, BaseException | None]:
        """Run it as a task; its name, and the exception that it ended with."""
        self.steps += 1
        name = f"step {self.steps}"
        return name, self.runner.run(self._step(coroutine, name, cancelled_after))

    async def _step(
        self, coroutine: Coroutine[Any, Any, None], name: str, cancelled_after: int | None
    ) -> BaseException | None:
        task = asyncio.create_task(coroutine, name=name)
        if cancelled_after is not None:
            for _ in range(cancelled_after):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            return asyncio.CancelledError()
        return task.exception()

    def lent(self, library: str) -> int:
        is_asyncpg = library == "asyncpg"
        return sum(
            holder.checkout is not None
            for holder in self.holders
            if (holder.library == "asyncpg") == is_asyncpg
        )

    def is_exhausted(self, library: str) -> bool:
        return self.lent(library) == self.capacity[library]

    async def open(self, holder: AsyncHolder) -> None:
        if holder.library == "asyncpg":
            holder.object = await self.pool.acquire(timeout=LONGER_S)
        elif holder.library == "connection":
            connection = self.engine.connect()
            await connection.start()
            holder.object = connection
        else:
            holder.object = AsyncSession(self.engine)
            await holder.object.execute(ONE)

    async def release(self, holder: AsyncHolder) -> None:
        if holder.object is None:
            return
        if holder.library == "asyncpg":
            await self.pool.release(holder.object)
        else:
            await holder.object.close()

    def pick(self, n: int) -> AsyncHolder:
        return self.holders[n % len(self.holders)]

    def give_up(self, holder: AsyncHolder) -> None:
        """After a cancellation it is in an unknown state, but for that it can be closed.

        What asyncpg shields from a cancellation goes on, and may come first.
        """
        _, error = self.step(self.release(holder))
        assert error is None or isinstance(error, _RELEASED_ALREADY), error
        if holder.checkout is not None:
            holder.checkout.outcomes = {Outcome.RETURNED}
        if holder in self.holders:
            self.holders.remove(holder)

    # What the application does.

    @rule(library=libraries, cancelled_after=points)
    def ask(self, library: str, cancelled_after: int | None) -> None:
        holder = AsyncHolder(library)
        was_exhausted = self.is_exhausted(library)
        name, error = self.step(self.open(holder), cancelled_after)
        if cancelled_after is not None:
            # It had a connection if it was cancelled in the statement of the session, or too late.
            outcomes = {Outcome.CANCELLED, Outcome.RETURNED, Outcome.TIMEOUT}
            self.allowed[name] = Allowed(outcomes, is_certain=cancelled_after > 0)
            self.give_up(holder)
        elif was_exhausted:
            assert isinstance(error, TimeoutError | PoolTimeout)
            assert len(error.__notes__) == 1
            self.allowed[name] = Allowed({Outcome.TIMEOUT})
        else:
            assert error is None, error
            holder.checkout = self.allowed[name] = Allowed({Outcome.OPEN})
            self.holders.append(holder)

    @precondition(lambda self: self.holders)
    @rule(n=st.integers(0, 99), cancelled_after=points)
    def execute(self, n: int, cancelled_after: int | None) -> None:
        holder = self.pick(n)
        _, error = self.step(holder.execute("SELECT pg_sleep(0.002)"), cancelled_after)
        assert error is None or isinstance(error, asyncio.CancelledError), error
        if cancelled_after is not None:
            self.give_up(holder)

    @precondition(lambda self: self.holders)
    @rule(n=st.integers(0, 99))
    def fail(self, n: int) -> None:
        holder = self.pick(n)
        _, error = self.step(holder.execute("SELECT nonsense"))
        assert isinstance(error, DBAPIError | asyncpg.UndefinedColumnError)
        # PostgreSQL wants a rollback before anything else.
        self.give_up(holder)

    @precondition(lambda self: self.holders)
    @rule(n=st.integers(0, 99), cancelled_after=points)
    def close(self, n: int, cancelled_after: int | None) -> None:
        holder = self.pick(n)
        _, error = self.step(self.release(holder), cancelled_after)
        assert error is None or isinstance(error, asyncio.CancelledError), error
        self.give_up(holder)

    @precondition(lambda self: any(h.library == "connection" for h in self.holders))
    @rule(n=st.integers(0, 99))
    def drop(self, n: int) -> None:
        """Nobody closes it, and nobody has it any more: SQLAlchemy ends the connection."""
        connections = [holder for holder in self.holders if holder.library == "connection"]
        holder = connections[n % len(connections)]
        self.holders.remove(holder)
        assert holder.checkout is not None
        holder.checkout.outcomes = {Outcome.COLLECTED}

        async def collect() -> None:
            with warnings.catch_warnings(action="ignore"):
                holder.object = None
                gc.collect()
            await asyncio.sleep(0)

        _, error = self.step(collect())
        assert error is None

    @rule(library=libraries, tasks=st.integers(2, 8), cancelled=st.sets(st.integers(0, 7)))
    def burst(self, library: str, tasks: int, cancelled: set[int]) -> None:
        """More at once than the pool has, of which some are cancelled on their way."""
        if self.is_exhausted(library):
            return
        before = self.steps

        async def one() -> None:
            holder = AsyncHolder(library)
            try:
                await self.open(holder)
                await holder.execute("SELECT pg_sleep(0.001)")
            except (TimeoutError, PoolTimeout):
                pass
            finally:
                await self.release(holder)

        async def all_of_them() -> None:
            made = [asyncio.create_task(one(), name=f"step {before + 2 + n}") for n in range(tasks)]
            for n in sorted(cancelled):
                await asyncio.sleep(0)
                if n < tasks:
                    made[n].cancel()
            await asyncio.wait(made)
            for task in made:
                assert task.cancelled() or task.exception() is None, task.exception()

        _, error = self.step(all_of_them())
        assert error is None, error
        self.steps += tasks
        for n in range(tasks):
            outcomes = {Outcome.RETURNED, Outcome.TIMEOUT}
            if n in cancelled:
                outcomes.add(Outcome.CANCELLED)
            self.allowed[f"step {before + 2 + n}"] = Allowed(outcomes, n not in cancelled)

    def teardown(self) -> None:
        # What the libraries shield from a cancellation is finished in the background.
        self.runner.run(asyncio.sleep(0.02))
        poolhog.uninstall()
        try:
            if self.allowed:
                self.check()
        finally:
            for holder in self.holders:
                self.runner.run(self.release(holder))
            self.runner.run(self.engine.dispose())
            self.runner.run(self.pool.close())
            self.runner.close()
            self.directory.cleanup()
            gc.unfreeze()

    def check(self) -> None:
        """The trace against the model; without a checkout there is no trace."""
        certain = {name for name, allowed in self.allowed.items() if allowed.is_certain}
        try:
            trace = poolhog.open_trace(self.trace_directory)
        except poolhog.TraceError:
            assert not certain
            return
        check_trace(trace)
        told = {checkout.owner: checkout for checkout in trace.checkouts}
        assert len(told) == len(trace.checkouts)
        assert certain <= told.keys() <= self.allowed.keys()
        for name, checkout in told.items():
            assert checkout.outcome in self.allowed[name].outcomes, checkout


def test_tasks_that_are_cancelled(postgresql_url: str) -> None:
    class MachineOfDatabase(AsyncMachine):
        url = postgresql_url

    run_state_machine_as_test(MachineOfDatabase, settings=settings(bounded, max_examples=15))
