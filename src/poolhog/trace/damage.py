"""What is wrong with a file that no poolhog wrote, and the limits that the recorder keeps."""

from __future__ import annotations

MOST_US = 2**53
"""Instants and durations: 285 years, and no more than a float tells apart."""

MOST_ID = 2**53
LONGEST = 1_000_000
"""Characters of a text: the recorder cuts what is longer than a hundredth."""


class DamagedError(ValueError):
    """A file holds what no poolhog wrote; the text says where."""
