"""Packed operations and stages: whether they can be unpacked, and name what is there.

Their form is checked by their shapes, of which there are few.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from poolhog.model import Cause, OperationKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable


class DamagedError(ValueError):
    """A file holds what no poolhog wrote; the text says where."""


_ONES = bytes.maketrans(b"23456789", b"11111111")
_ZEROS = bytes.maketrans(b"1", b"0")
_LEADING_ZEROS = tuple(b + b"0" + d for b in (b"[", b",", b"-") for d in (b"0", b"1"))
_TOO_LARGE = b"0" * 17

# What is left of an operation and of a stage when each number is made 0.
_OPERATION = rb"\[0,-?0(?:,(?:0|null)){0,5}\]"
_STAGE = rb"\[0,-?0,(?:0|null)(?:,(?:0|null))?\]"
_OPERATIONS_SHAPE = re.compile(rb"\[" + _OPERATION + rb"(?:," + _OPERATION + rb")*\]")
_STAGES_SHAPE = re.compile(rb"\[" + _STAGE + rb"(?:," + _STAGE + rb")*\]")
# The kind, and what comes after the duration: there are few of these.
_NAMED = re.compile(rb"(?<=\[)(\d+),-?\d+(?:,(?:\d+|null)(?:,([^]]*))?)?\]")


class Packed:
    """Checks packed operations and stages: their form, by its few shapes, and what they name."""

    def __init__(self, database: sqlite3.Connection) -> None:
        texts = dict(database.execute("SELECT id, text FROM texts"))
        self._texts = texts.keys()
        self._kinds = {number for number, text in texts.items() if text in frozenset(OperationKind)}
        self._causes = {number for number, text in texts.items() if text in frozenset(Cause)}
        self._known: set[tuple[bytes, bytes]] = set()
        self._shapes: dict[re.Pattern[bytes], set[bytes]] = {}
        self.checks: dict[tuple[str, str], Callable[[list[bytes]], None]] = {
            ("packed_checkouts", "operations"): self.check_operations,
            ("packed_operations", "operations"): self.check_operations,
            ("packed_requests", "stages"): self.check_stages,
        }

    def check_operations(self, packed: list[bytes]) -> None:
        """Raise :class:`DamagedError` if one cannot be unpacked, or names what is not there."""
        self._check_shapes(packed, _OPERATIONS_SHAPE)
        found = set(_NAMED.findall(b"".join(packed))) - self._known
        for kind, rest in found:
            _, statement, error, cause = (*_numbers(rest), None, None, None, None)[:4]
            if not (
                int(kind) in self._kinds
                and (statement is None or statement in self._texts)
                and (error is None or error in self._texts)
                and (cause is None or cause in self._causes)
            ):
                raise DamagedError("an operation names what is not there")
        self._known |= found

    def check_stages(self, packed: list[bytes]) -> None:
        """Raise :class:`DamagedError` if one cannot be unpacked, or names what is not there."""
        self._check_shapes(packed, _STAGES_SHAPE)
        found = set(_NAMED.findall(b"".join(packed)))
        if not self._texts >= {int(name) for name, _ in found}:
            raise DamagedError("a stage names what is not there")

    def _check_shapes(self, packed: list[bytes], shape: re.Pattern[bytes]) -> None:
        joined = b"\n".join(packed).translate(_ONES)
        has_leading_zero = any(map(joined.__contains__, _LEADING_ZEROS))
        joined = joined.translate(_ZEROS)
        if has_leading_zero or _TOO_LARGE in joined:
            raise DamagedError("what is packed has what is no number")
        for run in (b"0000", b"000", b"00", b"00"):
            joined = joined.replace(run, b"0")
        known = self._shapes.setdefault(shape, set())
        for found in set(joined.split(b"\n")) - known:
            if not shape.fullmatch(found):
                raise DamagedError("what is packed is not what poolhog packs")
            known.add(found)


def _numbers(packed: bytes) -> list[int | None]:
    """Numbers with commas between them, and nulls."""
    return [None if part == b"null" else int(part) for part in packed.split(b",") if part]
