"""The SQLAlchemy probe: its pools, what is sent on their connections, and how sessions end."""

from __future__ import annotations

from poolhog.probes.probe import Probe
from poolhog.probes.sqlalchemy.pools import watch_pools
from poolhog.probes.sqlalchemy.raw import watch_raw_connections
from poolhog.probes.sqlalchemy.sessions import watch_async, watch_connections, watch_sessions

PROBE = Probe(
    watches=(
        ("sqlalchemy", watch_pools),
        ("sqlalchemy", watch_raw_connections),
        ("sqlalchemy", watch_connections),
        ("sqlalchemy.orm.session", watch_sessions),
        ("sqlalchemy.ext.asyncio", watch_async),
    ),
    databases=("aiomysql", "aiosqlite", "asyncmy", "psycopg2", "pymysql", "sqlalchemy"),
    infrastructure=("greenlet", "sqlmodel"),
    distributions=("sqlalchemy", "psycopg2", "aiosqlite"),
    # It awaits what runs in a greenlet, also the application.
    relays=("greenlet_spawn",),
)
