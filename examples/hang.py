"""Two orders that wait for each other: each holds a connection and asks for a second one.

    poolhog run -- python examples/hang.py

The pool has two connections, so nobody ever gets a second one. After 20 s the pool gives up.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from sqlalchemy import create_engine, text

folder = Path(tempfile.mkdtemp())
engine = create_engine(
    f"sqlite:///{folder / 'orders.db'}", pool_size=2, max_overflow=0, pool_timeout=20
)
both_have_one = Barrier(2)


def log_order(order: int) -> None:
    """Note the order in a transaction of its own."""
    with engine.begin() as connection:
        connection.execute(text("SELECT :id"), {"id": order})


def confirm(order: int) -> None:
    """Begin a transaction, and log the order from within."""
    with engine.begin() as connection:
        connection.execute(text("SELECT :id"), {"id": order})
        both_have_one.wait()
        log_order(order)


if __name__ == "__main__":
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(confirm, range(2)))
