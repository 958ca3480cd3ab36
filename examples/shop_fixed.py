"""The same shop as in shop.py, which returns its connection before it asks the payment service.

    poolhog run -- python examples/shop_fixed.py

The commit ends the transaction and returns the connection; the next statement gets one again.
"""

import asyncio
from typing import Annotated

from fastapi import Depends, FastAPI
from shop import charge, get_session, serve
from sqlalchemy import text
from sqlalchemy.orm import Session

app = FastAPI()


@app.post("/orders/{order_id}/pay")
def pay(order_id: int, session: Annotated[Session, Depends(get_session)]) -> str:
    """Read the order, return the connection, charge the customer, and write the receipt down."""
    find = text("SELECT amount FROM orders WHERE id = :id")
    amount = session.execute(find, {"id": order_id}).scalar_one()
    session.commit()
    receipt = charge(amount)
    update = text("UPDATE orders SET receipt = :receipt WHERE id = :id")
    session.execute(update, {"receipt": receipt, "id": order_id})
    session.commit()
    return receipt


if __name__ == "__main__":
    asyncio.run(serve(app))
