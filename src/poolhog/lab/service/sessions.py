"""SQLAlchemy's engine, session factory and session dependency, for the styles that use them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import NullPool
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from poolhog.lab.service.settings import APPLICATION_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from poolhog.lab.service.settings import Settings


def create_engine(settings: Settings, **options: Any) -> AsyncEngine:
    """An engine whose pool is as in the settings; ``options`` go to ``create_async_engine``."""
    return create_async_engine(
        make_url(settings.database_url).set(drivername="postgresql+asyncpg"),
        connect_args=_connect_args(settings),
        **(_pool(settings) | options),
    )


def _pool(settings: Settings) -> dict[str, Any]:
    if not settings.keeps_connections:
        return {"poolclass": NullPool}
    return {
        "pool_size": settings.pool_size,
        "max_overflow": settings.max_overflow,
        "pool_timeout": settings.pool_timeout,
    }


def _connect_args(settings: Settings) -> dict[str, Any]:
    server_settings = {"application_name": APPLICATION_NAME}
    if settings.schema:
        server_settings["search_path"] = settings.schema
    if not settings.through_pgbouncer:
        return {"server_settings": server_settings}
    # Behind PgBouncer each transaction may get another server connection: prepared statements are
    # not found again, and another client may have used the same name there.
    return {
        "server_settings": server_settings,
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"__asyncpg_{uuid4()}__",
    }


@asynccontextmanager
async def disposing(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """Close the engine's connections at the end."""
    try:
        yield engine
    finally:
        await engine.dispose()


def create_sessions(
    engine: AsyncEngine, *, autobegin: bool = True
) -> async_sessionmaker[AsyncSession]:
    """The factory of sessions. Without ``autobegin`` a session needs a ``begin()`` first."""
    return async_sessionmaker(
        engine, expire_on_commit=False, class_=AsyncSession, autobegin=autobegin
    )


def session_dependency(
    engine: AsyncEngine, *, autobegin: bool = True
) -> Callable[[], AsyncIterator[AsyncSession]]:
    """The dependency that hands a session to each endpoint."""
    async_session = create_sessions(engine, autobegin=autobegin)

    async def get_db() -> AsyncIterator[AsyncSession]:
        async with async_session() as session:
            yield session

    return get_db
