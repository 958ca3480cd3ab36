"""The sum that a process keeps of its file's rows, so that none of them can change unnoticed.

It adds up the checksums of all rows, modulo 2**64, in whatever order: so the recorder keeps it up
to date row by row, and writes it with them. It is made so that SQLite can add up the numbers of a
million rows by itself. A change of one column is found for certain, any other but for one in 2**32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = "checksum"
"""Where the sum stands in ``meta``; that row itself is not in it."""

MODULUS = 1 << 64
PRIME = 4_294_967_291
"""The largest below 2**32: no power of two is a multiple of it, as the change of one bit is."""

WEIGHTS = tuple(range(3, 67, 2))
"""Of a row's columns, in order."""


def row_checksum(row: Sequence[object]) -> int:
    """The weighted sum of a row's columns: numbers, -1 for ``NULL``, and the CRC-32 of texts.

    The sum of the numbers and nulls is taken modulo :data:`PRIME`. Raises ``TypeError`` if a column
    is none of these, and ``UnicodeEncodeError`` if a text has a lone surrogate: neither can be
    stored as it is.
    """
    numbers = texts = 0
    for weight, value in zip(WEIGHTS, row, strict=False):
        if value is None:
            numbers -= weight
        elif isinstance(value, int):
            numbers += weight * value
        elif isinstance(value, str):
            texts += weight * crc32(value.encode())
        elif isinstance(value, float):
            texts += weight * crc32(str(value).encode())
        else:
            raise TypeError(f"a column cannot be of {type(value).__name__}")
    return numbers % PRIME + texts
