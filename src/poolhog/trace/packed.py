"""Packed lists of a trace's rows, in JSON: unpacked as arrays of numbers, and checked meanwhile."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from poolhog.trace.damage import MOST_US, DamagedError

if TYPE_CHECKING:
    from collections.abc import Sequence

Numbers = NDArray[np.int64]
"""Digest numbers; instants and durations among them are microseconds."""

NULL = -1
"""Stands for ``NULL`` in a column; where that is allowed, no number is negative."""

NEWLINE = b"\n"


def unpacked(texts: Sequence[bytes], width: int, *, least: int) -> tuple[Numbers, Numbers]:
    """Lists of lists of numbers, in JSON: how many each text has, and the numbers by their place.

    Each inner list has at least ``least`` numbers and at most ``width``; what it lacks is ``NULL``.
    Only the second number may be negative. Raises :class:`DamagedError` if a text is anything else.
    """
    joined = NEWLINE.join(texts)
    # Before the numbers are left out: none may stand between brackets.
    marks = joined.replace(b"]]\n[[", b"\x02").replace(b"],[", b"\x01").translate(None, _NUMERIC)
    is_nested = joined.startswith(b"[[") and joined.endswith(b"]]")
    if not is_nested or marks[2:-2].translate(None, _ENDS) or _has_leading_zero(joined):
        raise DamagedError("what is packed is not what poolhog packs")
    ends = np.frombuffer(marks[2:-2] + b"\x02", np.uint8)
    nulls, signs = joined.count(b"null"), joined.count(b"-")
    values = numbers_of(joined.replace(b"null", b"-1").translate(_COMMAS, b"[]"), len(ends))
    last = np.flatnonzero(ends != _COMMA)
    first = np.concatenate(([0], last[:-1] + 1))
    length = last + 1 - first
    if length.min() < least or length.max() > width or values.max() > MOST_US:
        raise DamagedError("what is packed is not what poolhog packs")
    found = np.full((width, len(first)), NULL, np.int64)
    for place in range(width):
        has = slice(None) if place < least else np.flatnonzero(length > place)
        found[place, has] = values[first[has] + place]
    negative = int((found[1] < 0).sum())
    is_signed = negative != signs or int((values < 0).sum()) - negative != nulls
    if is_signed or found[1].min() < -MOST_US or found[0].min() < 0 or found[2:].min() < NULL:
        raise DamagedError("what is packed has a number that is negative")
    return np.diff(np.flatnonzero(np.concatenate(([True], ends[last] == _LAST)))), found


_NUMERIC = b"0123456789-nul"
_COMMAS = bytes.maketrans(NEWLINE, b",")
_COMMA, _LAST = b",\x02"
_ENDS = b",\x01\x02"
"""What follows a number: another one, the next inner list, or the next text."""


def _has_leading_zero(joined: bytes) -> bool:
    """Whether a number begins with a zero and goes on, which JSON does not allow."""
    characters = np.frombuffer(joined, np.uint8)
    digits = (characters - 48) < 10
    return bool(((characters[1:-1] == 48) & ~digits[:-2] & digits[2:]).any())


def numbers_of(text: str | bytes, count: int) -> Numbers:
    """So many numbers with commas between them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            found: Numbers = np.fromstring(text, np.int64, sep=",")
        except (DeprecationWarning, TypeError, ValueError) as error:
            raise DamagedError("it holds what is no number") from error
    if len(found) != count:
        raise DamagedError("it holds what is no number")
    return found
