"""The same orders as in orders.py, confirmed without holding a connection during the slow call.

    poolhog run -- python examples/orders_fixed.py

The block of `begin()` ends before the call, and a second one begins after it.
"""

from orders import assess_risk, engine, main
from sqlalchemy import text


def confirm(order: int) -> None:
    """Read the order, return the connection, have it assessed, and write that down."""
    with engine.begin() as connection:
        find = text("SELECT amount FROM orders WHERE id = :id")
        amount = connection.execute(find, {"id": order}).scalar_one()
    risk = assess_risk(amount)
    with engine.begin() as connection:
        update = text("UPDATE orders SET risk = :risk WHERE id = :id")
        connection.execute(update, {"risk": risk, "id": order})


if __name__ == "__main__":
    main(confirm)
