"""Where two JSON values differ, and which differences are known."""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TOLERANCE = 1e-6
"""Absolute or relative: times are recorded in microseconds."""

MISSING = object()
"""The value of a key that one side does not have."""

_SLACK = 1 + 1e-6
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")


@dataclass(frozen=True)
class Difference:
    """Two values that are not the same, and the path to them: ``findings[0].site.line``."""

    path: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.path or 'the whole'}: {_shown(self.old)} -> {_shown(self.new)}"


def _shown(value: object) -> str:
    if value is MISSING:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 90 else f"{text[:60]} … {text[-25:]}"


def differences(old: Any, new: Any, path: str = "") -> Iterator[Difference]:
    """Where the values differ.

    The order of keys does not matter, that of lists does. Numbers are the same within the
    tolerance.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys() if old.keys() != new.keys() else old:
            inner = f"{path}.{key}" if path else str(key)
            yield from differences(old.get(key, MISSING), new.get(key, MISSING), inner)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield Difference(f"{path}.length", len(old), len(new))
        for index, (one, other) in enumerate(zip(old, new, strict=False)):
            if one is not other and one != other:
                yield from differences(one, other, f"{path}[{index}]")
    elif not is_same(old, new):
        yield Difference(path, old, new)


def is_same(old: object, new: object) -> bool:
    """Whether two plain values are the same. A truth value is no number."""
    if _is_number(old) and _is_number(new):
        a, b = float(old), float(new)  # type: ignore[arg-type] # both were found to be numbers
        close = math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE * _SLACK)
        return close or (math.isnan(a) and math.isnan(b))
    return type(old) is type(new) and old == new


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_number(text: str) -> float | str:
    """The number that a cell of a table holds, or its text if it is none."""
    return float(text) if _NUMBER.fullmatch(text) else text


@dataclass(frozen=True)
class KnownDifference:
    """Differences that are meant to be, and why. In the patterns, ``*`` is any text."""

    trace: str
    answer: str
    path: str
    reason: str

    def matches(self, trace: str, answer: str, path: str) -> bool:
        """Whether a difference of this answer is one of these."""
        pairs = ((self.trace, trace), (self.answer, answer), (self.path, path))
        return all(_pattern(pattern).fullmatch(text) for pattern, text in pairs)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


@dataclass
class KnownDifferences:
    """All known differences, and how often each was met."""

    entries: tuple[KnownDifference, ...]
    met: Counter[KnownDifference] = field(default_factory=Counter)

    @classmethod
    def read(cls, file: Path) -> KnownDifferences:
        """Read a file, of which each entry has a ``path`` and a ``reason``.

        Without the file, no difference is known. Raises ``KeyError``.
        """
        if not file.exists():
            return cls(())
        found: list[Mapping[str, str]] = tomllib.loads(file.read_text()).get("known", [])
        return cls(
            tuple(
                KnownDifference(
                    one.get("trace", "*"), one.get("answer", "*"), one["path"], one["reason"]
                )
                for one in found
            )
        )

    def is_known(self, trace: str, answer: str, difference: Difference) -> bool:
        """Whether a difference is known; it is counted."""
        for entry in self.entries:
            if entry.matches(trace, answer, difference.path):
                self.met[entry] += 1
                return True
        return False
