"""Tells that a verb reads, and how far it is, once that takes longer than a moment."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self, TypeVar

from rich.text import Text

from poolhog.render.output import console

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from rich.status import Status

Item = TypeVar("Item")

PROGRESS_AFTER_S = 1.0
_EVERY = 1_000


class Reading:
    """On standard error, where that is a terminal: that the trace is read, and how much was."""

    def __init__(self) -> None:
        self._told = "reading the trace"
        self._status: Status | None = None
        self._timer = threading.Timer(PROGRESS_AFTER_S, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._status is not None:
            self._status.stop()

    def counted(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass the items on, and show how many there were."""
        for number, item in enumerate(items):
            if number % _EVERY == 0:
                self.tell(number)
            yield item

    def tell(self, done: int) -> None:
        """Show that ``done`` checkouts were read."""
        self.say(f"reading the trace: {done:,} checkouts")

    def say(self, what: str) -> None:
        """Show what is being done now."""
        self._told = what
        if self._status is not None:
            self._status.update(Text(self._told))

    def _show(self) -> None:
        status = console(stderr=True).status(Text(self._told))
        status.start()
        self._status = status
