"""SQLAlchemy for the styles that work with a session: the engine, and the session dependency."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from poolhog.lab.service.settings import Settings


def create_engine(settings: Settings) -> AsyncEngine:
    """The engine, with a pool as the settings want it."""
    server_settings = {"search_path": settings.schema} if settings.schema else {}
    return create_async_engine(
        make_url(settings.database_url).set(drivername="postgresql+asyncpg"),
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout,
        connect_args={"server_settings": server_settings},
    )


@asynccontextmanager
async def disposing(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """Close the engine's connections at the end."""
    try:
        yield engine
    finally:
        await engine.dispose()


def session_dependency(engine: AsyncEngine) -> Callable[[], AsyncIterator[AsyncSession]]:
    """The dependency that hands a session to each endpoint."""
    async_session = async_sessionmaker(engine, expire_on_commit=False, class_=AsyncSession)

    async def get_db() -> AsyncIterator[AsyncSession]:
        async with async_session() as session:
            yield session

    return get_db
