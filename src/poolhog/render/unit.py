"""One unit for numbers that stand below one another."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit for all durations of a kind, so that they can be compared at a glance."""

    name: str
    factor: float
    digits: int

    @classmethod
    def of(cls, longest: float) -> Unit:
        """The unit in which the longest has three digits."""
        name, factor = ("s", 1.0) if longest >= 1.0 else ("ms", 1000.0)
        scaled = longest * factor
        return cls(name, factor, 2 if scaled < 10 else 1 if scaled < 1000 else 0)

    def told(self, value: float) -> str:
        """The number without its unit; 0 is less than its last digit."""
        scaled = value * self.factor
        return f"{scaled:,.{self.digits}f}" if scaled >= 0.5 / 10**self.digits else "0"
