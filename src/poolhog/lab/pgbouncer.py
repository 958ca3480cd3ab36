"""PgBouncer in transaction mode in front of the lab's PostgreSQL, for a ``with`` block."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import asyncpg
from sqlalchemy.engine import make_url

from poolhog.errors import ChildError
from poolhog.lab.children import Child
from poolhog.lab.interrupts import run_async
from poolhog.lab.postgres import short_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.lab.postgres import LabDatabase

HOW_TO_GET_IT = "PgBouncer is missing: install Debian's package pgbouncer (make pgbouncer)"

_PORT = 5432
_MOST_CLIENTS = 5_000
_CONNECT_WITHIN_S = 5.0


def program() -> str | None:
    """The path of PgBouncer, or ``None``; Debian installs it outside of ordinary users' path."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def pgbouncer(
    database: LabDatabase, connections: int, wait_s: float, log_directory: Path
) -> Iterator[str]:
    """The URL at which the database is reached through ``connections`` server connections.

    Clients wait up to ``wait_s`` seconds for a connection. Statements run in the database's schema.
    PgBouncer listens on a socket in a folder that nobody else may enter. Raises ``ChildError``.
    """
    command = program()
    if command is None:
        raise ChildError(HOW_TO_GET_IT)
    user = _user(database.url)
    with short_directory() as directory:
        configuration = directory / "pgbouncer.ini"
        configuration.touch(mode=0o600)
        configuration.write_text(_configuration(database, directory, connections, wait_s))
        if user is not None:
            for path in (directory, configuration):
                shutil.chown(path, user)
        name = make_url(database.url).database
        url = f"postgresql://postgres@/{quote(name or '')}?host={quote(str(directory))}"
        with Child(
            "pgbouncer",
            [command, configuration],
            log_directory,
            directory=directory,
            user=user,
            # To PgBouncer this means: do not wait for clients.
            ending=signal.SIGTERM,
        ) as child:
            child.wait_until(lambda: _answers(url))
            yield url


def _user(url: str) -> str | None:
    """The user that PgBouncer runs as if we are root, because it refuses to run as root.

    PostgreSQL's socket accepts its own user only. ``None`` if we are not root.
    """
    if os.geteuid() != 0:
        return None
    host = make_url(url).query.get("host")
    if isinstance(host, str) and Path(host).is_dir():
        return pwd.getpwuid(Path(host).stat().st_uid).pw_name
    # Debian's package creates the user postgres.
    known = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _configuration(database: LabDatabase, directory: Path, connections: int, wait_s: float) -> str:
    server = make_url(database.url)
    target = {
        "host": server.query.get("host") or server.host,
        "port": server.port,
        "dbname": server.database,
        "user": server.username,
        "password": server.password,
        # A setting of a client may not outlast its transaction, so the server connection sets it.
        "connect_query": f"SET search_path TO {database.schema}",
    }
    options = {
        # Nobody else can reach the socket, so clients need no authentication.
        "listen_addr": "",
        "listen_port": _PORT,
        "unix_socket_dir": directory,
        "auth_type": "any",
        "pool_mode": "transaction",
        "default_pool_size": connections,
        "max_client_conn": _MOST_CLIENTS,
        "query_wait_timeout": f"{wait_s:g}",
        "ignore_startup_parameters": "search_path",
    }
    pairs = (f"{key}={_quoted(value)}" for key, value in target.items() if value is not None)
    lines = [
        "[databases]",
        f"{server.database} = {' '.join(pairs)}",
        "[pgbouncer]",
        *(f"{key} = {value}" for key, value in options.items()),
    ]
    return "\n".join(lines) + "\n"


def _quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _answers(url: str) -> bool:
    try:
        run_async(_ask(url))
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


async def _ask(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=_CONNECT_WITHIN_S)
    try:
        # With the simple protocol: nothing is prepared.
        await connection.execute("SELECT 1")
    finally:
        await connection.close(timeout=_CONNECT_WITHIN_S)
