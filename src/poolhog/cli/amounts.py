"""Numbers, ranges and durations as they are typed, such as ``20``, ``5..50`` and ``50ms``."""

from __future__ import annotations

import re

from poolhog.errors import PoolhogError

MOST = 1_000_000

_RANGE = re.compile(r"(\d+)(?:\.\.(\d+))?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|)")


def number_or_range(option: str, text: str, least: int = 1) -> tuple[int, int]:
    """The first and the last of ``5..50``; of a number it is both. Raises ``PoolhogError``."""
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise PoolhogError(f"{option} {text}: expected a number such as 20, or a range as 5..50")
    first = int(match[1])
    last = int(match[2]) if match[2] is not None else first
    if not least <= first <= last <= MOST:
        raise PoolhogError(
            f"{option} {text}: expected numbers from {least} to {MOST:,}, the lower one first"
        )
    return first, last


def duration(option: str, text: str) -> float:
    """The seconds of ``50ms``, ``0.05s`` or ``0.05``. Raises ``PoolhogError``."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise PoolhogError(f"{option} {text}: expected a duration such as 50ms or 0.05s")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)
