"""Pools that no probe records: that there was one is told, so that silence is no good news.

A pool is told when it is made: its library may be imported for other reasons.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.probes.guard import before
from poolhog.probes.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder


class _Pool(NamedTuple):
    """A pool: its module and class, what people call it, and the method that makes it.

    Without a method, importing the module is all that can be seen.
    """

    module: str
    kind: str
    name: str
    method: str | None = "__init__"
    is_meant: Callable[[Any], bool] | None = None


def _has_no_pool(connection: Any) -> bool:
    """Django can take psycopg's connections from psycopg_pool, which is recorded."""
    return not connection.settings_dict.get("OPTIONS", {}).get("pool")


POOLS = (
    _Pool("aiomysql.pool", "Pool", "aiomysql's pool"),
    _Pool("aioodbc.pool", "Pool", "aioodbc's pool"),
    _Pool("aiopg.pool", "Pool", "aiopg's pool"),
    _Pool("asyncmy.pool", "Pool", "asyncmy's pool"),
    _Pool("databases.backends.sqlite", "SQLitePool", "databases' SQLite connections"),
    _Pool("dbutils.pooled_db", "PooledDB", "DBUtils' pool"),
    _Pool("dbutils.pooled_pg", "PooledPg", "DBUtils' pool"),
    _Pool("dbutils.persistent_db", "PersistentDB", "DBUtils' persistent connections"),
    _Pool("dbutils.persistent_pg", "PersistentPg", "DBUtils' persistent connections"),
    _Pool(
        *("django.db.backends.base.base", "BaseDatabaseWrapper", "Django's connections"),
        method="connect",
        is_meant=_has_no_pool,
    ),
    _Pool("mysql.connector.pooling", "MySQLConnectionPool", "MySQL Connector's pool"),
    _Pool("mysql.connector.aio.pooling", "MySQLConnectionPool", "MySQL Connector's pool"),
    _Pool("oracledb.pool", "BaseConnectionPool", "oracledb's pool"),
    _Pool("playhouse.pool", "PooledDatabase", "peewee's pool"),
    _Pool("psqlpy", "ConnectionPool", "psqlpy's pool", method=None),
    _Pool("psycopg2.pool", "AbstractConnectionPool", "psycopg2's pool"),
    _Pool(
        *("tortoise.backends.sqlite.client", "SqliteClient", "Tortoise's SQLite connections"),
        method="create_connection",
    ),
)


def _watch(pool: _Pool, recorder: Recorder, patches: Patches) -> None:
    tell = recorder.journal.tell_unrecorded
    if pool.method is None:
        tell(pool.name)
        return

    def made(subject: Any, *_: Any, **__: Any) -> None:
        if pool.is_meant is None or pool.is_meant(subject):
            tell(pool.name)

    kind = getattr(sys.modules[pool.module], pool.kind, None)
    if kind is not None:
        patches.wrap(kind, pool.method, before(recorder, made))


PROBE = Probe(
    watches=tuple((pool.module, functools.partial(_watch, pool)) for pool in POOLS),
    databases=("aioodbc", "aiopg", "dbutils", "mysql", "oracledb", "psqlpy"),
    infrastructure=("django", "peewee", "playhouse", "tortoise"),
)
