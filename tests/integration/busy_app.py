"""A service and its clients in one process: some requests hog a pool of two, and one hangs.

    poolhog run -o TRACE -- python busy_app.py DATABASE_URL QUICK

It starts with work that belongs to no request, serves so many quick requests, prints a line when
one holds a connection for ever, and goes on until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import httpx
from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CALL_S, CRUNCH_S = 0.3, 0.1
HOGS = 3

url, quick_ones = sys.argv[1].replace("postgresql:", "postgresql+asyncpg:"), int(sys.argv[2])
engine = create_async_engine(url, pool_size=2, max_overflow=0, pool_timeout=60)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


Session = Depends(get_session)


async def call_the_llm(seconds: float) -> None:
    await asyncio.sleep(seconds)


def crunch() -> None:
    until = time.thread_time() + CRUNCH_S
    while time.thread_time() < until:
        sum(range(1000))


@app.get("/quick/{number}")
async def quick(number: int, session: AsyncSession = Session) -> int:
    found = await session.scalar(text("SELECT :number + 1"), {"number": number})
    return int(found or 0)


@app.post("/hog/{number}")
async def hog(number: int, session: AsyncSession = Session) -> None:
    await session.execute(text("SELECT 1"))
    await call_the_llm(CALL_S)
    crunch()
    await session.execute(text("SELECT pg_sleep(0.05)"))
    await session.commit()


@app.post("/hang")
async def hang(session: AsyncSession = Session) -> None:
    await session.execute(text("SELECT 1"))
    print("hanging", flush=True)
    await call_the_llm(3600)


async def main() -> None:
    async with engine.begin() as connection:
        await connection.execute(text("SELECT 1"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://busy") as client:
        await asyncio.gather(*(client.post(f"/hog/{number}") for number in range(HOGS)))
        for number in range(quick_ones):
            await client.get(f"/quick/{number}")
        await client.post("/hang")


if __name__ == "__main__":
    asyncio.run(main(), debug=False)
