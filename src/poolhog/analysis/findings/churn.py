"""Connections that are opened all the time, instead of being kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhog.model import Pool


@dataclass(slots=True)
class Churning:
    """How many connections a pool lent, and how many of them it opened for that."""

    pool: Pool
    granted: int = 0
    opened: int = 0

    @property
    def group(self) -> str:
        """What pools of several processes have in common that are one to the application."""
        return f"{self.pool.library} {self.pool.kind} {self.pool.name}"

    @property
    def beyond(self) -> int:
        """Connections opened beyond the number that the pool keeps: the first are no churn."""
        return max(self.opened - (self.pool.size or 0), 0)
