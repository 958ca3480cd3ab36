"""Descriptors of files: what poolhog opens must not be missing to the application.

A process may have a limited number at a time. poolhog raises that limit by what it takes, which
anybody may do below the hard limit, and holds these from its first fact on. So the application can
open as many files as without poolhog, at every moment.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

OF_FILE = 3
"""A trace file has its log and its index beside it."""

TAKEN = OF_FILE + 1
"""One more is for what is read and closed again: the source of a line, say."""

FEWEST_FREE = 256
"""If the limit cannot be raised, poolhog takes some of at least so many free ones, or none."""


class TooFewDescriptorsError(Exception):
    """The application may need all that it can have."""


class Descriptors:
    """What one recorder takes. ``of_files`` are those of its trace file, while it has one."""

    def __init__(self) -> None:
        self.of_files = 0
        self._lent = 0
        self._taken = 0
        self._changing = threading.Lock()
        self._held: list[int] = []
        self._raised_to: int | None = None

    def take(self) -> None:
        """Raise the limit and hold what it gives. Raises ``TooFewDescriptorsError``."""
        if resource is None:
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and not self._raise(soft, hard):
            free = _free(soft)
            if free < FEWEST_FREE:
                raise TooFewDescriptorsError(
                    f"poolhog records nothing: this process may open {free} more files (its limit "
                    f"is {soft}), and the application may need them. Raise the hard limit by "
                    f"{TAKEN} (ulimit -Hn)"
                )
        self._taken = TAKEN
        self.hold()

    def hold(self) -> None:
        """Hold what was taken and is in no use."""
        self._lend(0)

    @contextmanager
    def lent(self, count: int = 1) -> Iterator[None]:
        """So many of those that are held are free, for files that are opened meanwhile.

        The application may take them instead, if it opens all that it can at this moment. Then
        they are held again as soon as it closes some.
        """
        self._lend(count)
        try:
            yield
        finally:
            self._lend(-count)

    def give_back(self) -> None:
        """Let the limit be what it was, unless somebody else has changed it."""
        self._taken = 0
        self.hold()
        raised_to, self._raised_to = self._raised_to, None
        if raised_to is not None:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            if soft == raised_to:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft - TAKEN, hard))

    def _lend(self, more: int) -> None:
        """Hold what is left when so many more are lent."""
        with self._changing:
            self._lent += more
            number = max(self._taken - self.of_files - self._lent, 0)
            while len(self._held) > number:
                os.close(self._held.pop())
            with suppress(OSError):
                while len(self._held) < number:
                    self._held.append(os.open(os.devnull, os.O_RDONLY))

    def _raise(self, soft: int, hard: int) -> bool:
        wanted = soft + TAKEN
        if hard != resource.RLIM_INFINITY and wanted > hard:
            return False
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS has another limit, below the hard one
            return False
        self._raised_to = wanted
        return True


def _free(limit: int) -> int:
    """How many descriptors are free; of a high limit, at least so many."""
    looked_at = min(limit, 4 * FEWEST_FREE)
    free = limit - looked_at
    for number in range(looked_at):
        try:
            os.fstat(number)
        except OSError:
            free += 1
    return free
