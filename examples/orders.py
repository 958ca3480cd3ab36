"""Eight threads confirm orders over a pool of two connections.

    poolhog run -- python examples/orders.py

Each confirmation holds one connection while it reads, asks a slow service, and writes the answer.
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import create_engine, event, text

folder = Path(tempfile.mkdtemp())
engine = create_engine(f"sqlite:///{folder / 'orders.db'}", pool_size=2, max_overflow=0)


def assess_risk(amount: int) -> str:
    """Ask another company's service, which takes its time."""
    time.sleep(0.25)
    return "low" if amount < 500 else "high"


def confirm(order: int) -> None:
    """Read the order, have it assessed, and write that down."""
    with engine.begin() as connection:
        find = text("SELECT amount FROM orders WHERE id = :id")
        amount = connection.execute(find, {"id": order}).scalar_one()
        risk = assess_risk(amount)
        update = text("UPDATE orders SET risk = :risk WHERE id = :id")
        connection.execute(update, {"risk": risk, "id": order})


def main(confirm_one: Callable[[int], None] = confirm) -> None:
    """Confirm sixteen orders, eight at a time."""
    # The database answers at once: only the external call is slow.
    event.listen(engine, "connect", lambda new, _: new.execute("PRAGMA synchronous = OFF"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER, amount INTEGER, risk TEXT)"))
        rows = [{"id": order, "amount": 100 * order} for order in range(16)]
        connection.execute(text("INSERT INTO orders VALUES (:id, :amount, NULL)"), rows)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(confirm_one, range(16)))


if __name__ == "__main__":
    main()
