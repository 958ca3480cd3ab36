"""Tells how far a verb is that takes longer than a moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self, TypeVar

from poolhog.render.console import console

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from rich.status import Status

Item = TypeVar("Item")

PROGRESS_AFTER_S = 1.0
_EVERY = 1_000


class Reading:
    """Tells on standard error, where that is a terminal, how many checkouts were read."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._status: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def counted(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; how many there were is told."""
        for number, item in enumerate(items):
            if number % _EVERY == 0:
                self.tell(number)
            yield item

    def tell(self, done: int) -> None:
        """So many checkouts were read."""
        if self._status is None:
            if time.monotonic() - self._began < PROGRESS_AFTER_S:
                return
            self._status = console(stderr=True).status("")
            self._status.start()
        self._status.update(f"reading the trace: {done:,} checkouts")
