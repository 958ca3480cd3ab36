"""The pools of a library: each is described once, its connections are numbered and lent."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord, PoolRecord

CHECKOUT = "_poolhog_checkout"
"""The attribute of what a pool lent: the checkout that it is of."""

_hooks = itertools.count(1)


class PoolHooks:
    """The hooks of one recorder into pools, of which all and their connections take attributes.

    ``describe`` says what a pool is: its library, class, name and limits.
    """

    def __init__(self, recorder: Recorder, describe: Callable[[Any], PoolRecord]) -> None:
        self._recorder = recorder
        self._describe = describe
        # What is left on the library's objects means nothing to hooks that come later.
        number = next(_hooks)
        self._pool = f"_poolhog_pool_{number}"
        self._number = f"_poolhog_number_{number}"

    def ask(self, pool: Any, *_: Any, **__: Any) -> CheckoutRecord | None:
        """The pool is asked for a connection."""
        return self._recorder.ask(pool.__dict__.get(self._pool) or self.learn(pool))

    def learn(self, pool: Any) -> PoolRecord:
        """The pool is new."""
        record = pool.__dict__[self._pool] = self._recorder.pool(self._describe(pool))
        return record

    def grant(self, checkout: CheckoutRecord, connection: Any) -> None:
        """The pool lent a connection."""
        connection.__dict__[CHECKOUT] = checkout
        self._recorder.grant(checkout, self.number(checkout, connection), connection)

    def number(self, checkout: CheckoutRecord, connection: Any) -> int:
        """The number of a connection, or of what stands for it as long as it is open."""
        number: int | None = connection.__dict__.get(self._number)
        if number is None:
            number = connection.__dict__[self._number] = next(checkout.pool.connections)
        return number

    def end(self, _: Any, connection: Any, *__: Any, **___: Any) -> None:
        """The pool has the connection back, or closes it."""
        checkout = connection.__dict__.pop(CHECKOUT, None)
        if checkout is not None:
            self._recorder.end(checkout)
