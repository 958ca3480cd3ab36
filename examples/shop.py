"""A shop that asks a payment service for each order, and twenty customers who order at once.

    poolhog run -- python examples/shop.py

The pool has SQLAlchemy's default size. Its timeout is 1 s instead of 30 s, so that the example is
short.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import aiohttp
import uvicorn
from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session

folder = Path(tempfile.mkdtemp())
engine = create_engine(f"sqlite:///{folder / 'shop.db'}", pool_timeout=1)
event.listen(engine, "connect", lambda new, _: new.execute("PRAGMA synchronous = OFF"))
app = FastAPI()


def get_session() -> Iterator[Session]:
    """A session for each request, closed when the request is over."""
    with Session(engine) as session:
        yield session


def charge(amount: int) -> str:
    """Ask the payment service, which takes its time."""
    time.sleep(1.5)
    return f"receipt for {amount}"


@app.post("/orders/{order_id}/pay")
def pay(order_id: int, session: Annotated[Session, Depends(get_session)]) -> str:
    """Read the order, charge the customer, and write the receipt down."""
    find = text("SELECT amount FROM orders WHERE id = :id")
    amount = session.execute(find, {"id": order_id}).scalar_one()
    receipt = charge(amount)
    update = text("UPDATE orders SET receipt = :receipt WHERE id = :id")
    session.execute(update, {"receipt": receipt, "id": order_id})
    session.commit()
    return receipt


async def order(client: aiohttp.ClientSession, url: str) -> int:
    """Send one order, and return the status of its answer."""
    async with client.post(url) as response:
        return response.status


async def serve(service: FastAPI) -> None:
    """Answer twenty orders that come at once."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER, amount INTEGER, receipt TEXT)"))
        rows = [{"id": order_id, "amount": 100 * order_id} for order_id in range(20)]
        connection.execute(text("INSERT INTO orders VALUES (:id, :amount, NULL)"), rows)
    server = uvicorn.Server(uvicorn.Config(service, port=0, log_level="error"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as client:
        urls = [f"http://127.0.0.1:{port}/orders/{row['id']}/pay" for row in rows]
        statuses = await asyncio.gather(*(order(client, url) for url in urls))
    print(f"{statuses.count(200)} orders paid, {statuses.count(500)} failed")
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(serve(app))
