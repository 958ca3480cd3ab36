"""A service that hangs: ``hanging_app.py DIRECTORY DATABASE_URL`` serves on the port it prints."""

import asyncio
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated

import sqlalchemy as sa
import uvicorn
from fastapi import Depends, FastAPI
from recorded_app import async_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import poolhog


async def ask_the_model() -> None:
    """The call that does not come back."""
    await wait_for_the_answer()


async def wait_for_the_answer() -> None:
    """Two functions below the endpoint."""
    await asyncio.sleep(3600)


def make_service(url: str) -> FastAPI:
    """A service with a pool of three."""
    engine = create_async_engine(async_url(url), pool_size=3, max_overflow=0, pool_timeout=3600)
    app = FastAPI()

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    Session = Annotated[AsyncSession, Depends(open_session)]  # noqa: N806

    @app.get("/summary/{note_id}")
    async def summarize(note_id: int, session: Session) -> str:
        await session.execute(sa.text("SELECT 1 + :id"), {"id": note_id})
        await ask_the_model()
        return "done"

    @app.get("/report")
    async def report(session: Session) -> str:
        await session.execute(sa.text("SELECT pg_sleep(3600)"))
        return "done"

    @app.get("/burn/{seconds}")
    async def burn(seconds: float, session: Session) -> str:
        await session.execute(sa.text("SELECT 1"))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sum(range(1000))
        return "done"

    @app.get("/quick")
    async def quick(session: Session) -> str:
        await session.execute(sa.text("SELECT 2"))
        return "done"

    return app


def serve(directory: str, url: str) -> None:
    """Record and serve until the process is ended."""
    poolhog.install(directory)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(make_service(url), log_level="warning", loop="asyncio")
    announce = threading.Timer(0, print, [listening.getsockname()[1]], {"flush": True})
    announce.start()
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
