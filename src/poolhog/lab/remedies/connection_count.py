"""The number of connections that PostgreSQL has of the service, polled from outside."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import asyncpg

from poolhog.errors import DatabaseError
from poolhog.lab.service.settings import APPLICATION_NAME

if TYPE_CHECKING:
    from types import TracebackType

    from poolhog.lab.postgres import LabDatabase

POLL_S = 0.05
"""The polling interval: what lasts less may be missed."""

_READY_WITHIN_S = 10.0
_COUNT = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1
"""


@dataclass(frozen=True, slots=True)
class _PolledCount:
    at_ns: int
    connections: int


class ConnectionCount:
    """Counts the service's connections during its ``with`` block.

    It opens its own connection before the service does, in case the service uses up all of them.
    """

    def __init__(self, database: LabDatabase) -> None:
        self._database = database
        self._samples: list[_PolledCount] = []
        self._failure: Exception | None = None
        self._ready = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="connection-count", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_READY_WITHIN_S):
            self._failure = TimeoutError(f"no answer within {_READY_WITHIN_S:g} s")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def peak(self, began_ns: int, ended_ns: int) -> int:
        """The peak between two readings of ``time.monotonic_ns()``.

        Raises ``DatabaseError`` if PostgreSQL did not answer.
        """
        if self._failure is not None:
            raise DatabaseError(
                f"PostgreSQL did not say how many connections it has ({self._failure}): run it anew"
            ) from self._failure
        between = [s for s in self._samples if began_ns <= s.at_ns <= ended_ns]
        return max((sample.connections for sample in between), default=0)

    def _run(self) -> None:
        try:
            asyncio.run(self._poll())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _poll(self) -> None:
        connection = await asyncpg.connect(self._database.url)
        try:
            statement = await connection.prepare(_COUNT)
            while not self._over.is_set():
                connections = await statement.fetchval(APPLICATION_NAME)
                self._samples.append(_PolledCount(time.monotonic_ns(), connections))
                self._ready.set()
                await asyncio.sleep(POLL_S)
        finally:
            await connection.close()
