"""The pools of a library: each is described once, its connections are numbered and lent."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from poolhog.recording.pools import PoolRecord
    from poolhog.recording.recorder import Recorder
    from poolhog.recording.records import CheckoutRecord
    from poolhog.recording.sites import SiteRecord

    Origin = tuple[SiteRecord | None, Hashable]

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
        self._origin = f"_poolhog_origin_{number}"

    def ask(self, pool: Any, *_: Any, **__: Any) -> CheckoutRecord | None:
        """The pool is asked for a connection."""
        return self._recorder.ask(pool.__dict__.get(self._pool) or self.learn(pool))

    def made(self, pool: Any, database: Hashable = None) -> None:
        """The application makes the pool, of a database that this identifies, if it is known."""
        site = self._recorder.sites.here(sys._getframe(1))
        pool.__dict__[self._origin] = site, database

    def learn(self, pool: Any) -> PoolRecord:
        """The pool is new."""
        record = self._describe(pool)
        record.made_at, database = pool.__dict__.get(self._origin, (None, None))
        if database is not None:
            record.database = self._recorder.database(database)
        pool.__dict__[self._pool] = self._recorder.pool(record)
        return record

    def fail_to_connect(self, pool: Any, error: BaseException) -> None:
        """The pool could not open a connection that nobody waits for, as far as it is known."""
        record = pool.__dict__.get(self._pool) or self.learn(pool)
        self._recorder.fail_to_connect(record, error)

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
