"""Servers that can be asked who waits for whose lock, through a driver that the application has.

PostgreSQL knows by ``pg_blocking_pids``, MySQL and MariaDB in their tables of lock waits.
"""

from __future__ import annotations

import asyncio
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from poolhog.errors import PoolhogError
from poolhog.recording.lock_watch import Blocked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.recording.lock_watch import LockSession

_POSTGRESQL = ("postgresql", "postgres")
_MYSQL = ("mysql", "mariadb")
SCHEMES = (*_POSTGRESQL, *_MYSQL)

NAME = "poolhog"
"""What the server calls the session, as far as it asks for a name."""

_WAITING = """
    SELECT w.pid, b.pid, {waited}, s.application_name, s.state
    FROM (SELECT pid, {since} AS since FROM pg_locks WHERE NOT granted GROUP BY pid) AS w
    CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) WITH ORDINALITY AS b (pid, number)
    LEFT JOIN pg_stat_activity AS s ON s.pid = b.pid
    ORDER BY w.pid, b.number
"""
_WAITING_NOW = _WAITING.format(
    since="min(waitstart)", waited="extract(epoch FROM clock_timestamp() - w.since)::float8"
)
_WAITING_BEFORE_14 = _WAITING.format(since="NULL::timestamptz", waited="NULL::float8")
_POSTGRESQL_14 = 140_000

_MYSQL_WAITING = """
    SELECT r.PROCESSLIST_ID, b.PROCESSLIST_ID, NULL, b.PROCESSLIST_USER, b.PROCESSLIST_COMMAND
    FROM performance_schema.data_lock_waits AS w
    JOIN performance_schema.threads AS r ON r.THREAD_ID = w.REQUESTING_THREAD_ID
    JOIN performance_schema.threads AS b ON b.THREAD_ID = w.BLOCKING_THREAD_ID
"""
_MARIADB_WAITING = """
    SELECT r.trx_mysql_thread_id, b.trx_mysql_thread_id, NULL, NULL, b.trx_state
    FROM information_schema.INNODB_LOCK_WAITS AS w
    JOIN information_schema.INNODB_TRX AS r ON r.trx_id = w.requesting_trx_id
    JOIN information_schema.INNODB_TRX AS b ON b.trx_id = w.blocking_trx_id
"""


def lock_server(given: str) -> Server:
    """The server at a URL, or at the URL that an environment variable of this name holds.

    Raises :class:`PoolhogError` without quoting the URL, which may hold a password.
    """
    url = given if "://" in given else os.environ.get(given, "")
    if not url:
        raise PoolhogError(
            "watch_locks takes a URL such as postgresql://app@host/db, or the name of an "
            "environment variable that holds one; it is neither"
        )
    scheme = url.partition("://")[0].casefold()
    family, _, driver = scheme.partition("+")
    if family not in SCHEMES:
        raise PoolhogError(
            f"locks are watched in {', '.join(SCHEMES)}: the URL begins with another name"
        )
    return Server(url, family, driver)


class Server:
    """A server, and the driver that its URL names, if any."""

    def __init__(self, url: str, family: str, driver: str) -> None:
        self._url = url
        self._family = family
        self._driver = driver

    def __repr__(self) -> str:
        return f"<{self._family} server>"

    def open(self) -> LockSession:
        """Connect by the driver that the URL names, or one that is loaded, or one that is there."""
        drivers = _DRIVERS["postgresql" if self._family in _POSTGRESQL else "mysql"]
        named = [driver for driver in drivers if driver.module == self._driver]
        loaded = [driver for driver in drivers if driver.module in sys.modules]
        for driver in dict.fromkeys((*named, *loaded, *drivers)):
            try:
                import_module(driver.module)
            except ImportError:
                continue
            return driver.connect(self._url)
        names = ", ".join(driver.module for driver in drivers)
        raise PoolhogError(f"none of {names} is installed")

    def pid_of(self, connection: Any) -> int | None:
        """The number of the server's process that a connection of any driver talks to."""
        try:
            own = getattr(connection, "driver_connection", connection)
            for name in ("get_server_pid", "get_backend_pid", "thread_id"):
                method = getattr(own, name, None)
                if callable(method):
                    return int(method())
            pid = getattr(getattr(own, "info", None), "backend_pid", None)
            return int(pid) if pid is not None else None
        except Exception:  # a connection that is lost: nobody waits for it
            return None

    def described(self, error: BaseException) -> str:
        """The error in one line, without what the URL keeps secret."""
        text = " ".join(f"{type(error).__name__}: {error}".split())
        parts = urlsplit(self._url)
        secrets = {parts.password or "", unquote(parts.password or "")}
        secrets |= {value for key, value in parse_qsl(parts.query) if "pass" in key.casefold()}
        for secret in sorted(secrets - {""}, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text.replace(self._url, "the URL")


class _Driver(NamedTuple):
    module: str
    connect: Callable[[str], LockSession]


class _Session:
    """A connection with a cursor, as most drivers have it."""

    def __init__(self, connection: Any, query: str) -> None:
        self._connection = connection
        self._query = query

    def blocked(self) -> Sequence[Blocked]:
        """Who waits for whom."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(self._query)
            return _rows(cursor.fetchall())
        finally:
            cursor.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class _AsyncpgSession:
    """A connection of asyncpg's, on a loop of this thread's own."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        try:
            self._connection = self._loop.run_until_complete(self._connect(url))
        except BaseException:
            self._loop.close()
            raise
        version = self._connection.get_server_version()
        is_new = version.major >= _POSTGRESQL_14 // 10_000
        self._query = _WAITING_NOW if is_new else _WAITING_BEFORE_14

    async def _connect(self, url: str) -> Any:
        asyncpg = import_module("asyncpg")
        return await asyncpg.connect(url, timeout=10, server_settings={"application_name": NAME})

    def blocked(self) -> Sequence[Blocked]:
        """Who waits for whom."""
        return _rows(self._loop.run_until_complete(self._connection.fetch(self._query)))

    def close(self) -> None:
        """Close the connection."""
        try:
            self._loop.run_until_complete(self._connection.close(timeout=1))
        finally:
            self._loop.close()


def _rows(rows: Sequence[Any]) -> Sequence[Blocked]:
    return [
        Blocked(
            int(pid),
            int(blocker),
            None if waited is None else float(waited),
            ", ".join(filter(None, (name, f"server process {blocker}", state))),
        )
        for pid, blocker, waited, name, state in rows
    ]


def _plain(url: str) -> str:
    """The URL without the name of a driver."""
    return urlunsplit(urlsplit(url)._replace(scheme="postgresql"))


def _psycopg(url: str) -> LockSession:
    psycopg = import_module("psycopg")
    connection = psycopg.connect(
        _plain(url), autocommit=True, application_name=NAME, connect_timeout=10
    )
    is_new = connection.info.server_version >= _POSTGRESQL_14
    return _Session(connection, _WAITING_NOW if is_new else _WAITING_BEFORE_14)


def _psycopg2(url: str) -> LockSession:
    psycopg2 = import_module("psycopg2")
    connection = psycopg2.connect(_plain(url), application_name=NAME, connect_timeout=10)
    connection.autocommit = True
    is_new = connection.server_version >= _POSTGRESQL_14
    return _Session(connection, _WAITING_NOW if is_new else _WAITING_BEFORE_14)


def _asyncpg(url: str) -> LockSession:
    return _AsyncpgSession(_plain(url))


def _mysql(module: str, password: str) -> Callable[[str], LockSession]:
    def connect(url: str) -> LockSession:
        parts = urlsplit(url)
        given = {
            "host": parts.hostname or "localhost",
            "port": parts.port or 3306,
            "user": unquote(parts.username or ""),
            password: unquote(parts.password or ""),
            "connect_timeout": 10,
        }
        socket = dict(parse_qsl(parts.query)).get("unix_socket")
        if socket:
            given["unix_socket"] = socket
        connection = import_module(module).connect(**given, autocommit=True)
        cursor = connection.cursor()
        cursor.execute("SELECT VERSION()")
        (version,) = cursor.fetchone()
        cursor.close()
        is_mariadb = "mariadb" in str(version).casefold()
        return _Session(connection, _MARIADB_WAITING if is_mariadb else _MYSQL_WAITING)

    return connect


_DRIVERS = {
    "postgresql": (
        _Driver("psycopg", _psycopg),
        _Driver("psycopg2", _psycopg2),
        _Driver("asyncpg", _asyncpg),
    ),
    "mysql": (
        _Driver("pymysql", _mysql("pymysql", "password")),
        _Driver("MySQLdb", _mysql("MySQLdb", "passwd")),
    ),
}
