"""Divides the connections of a pool among workers: each takes a different part."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def lay_out(folder: Path, connections: int, workers: int) -> None:
    """Divide ``connections`` into one part for each of the ``workers``, in an empty folder.

    The sizes differ by at most one, and none is 0. A part is a file named by its number and size.
    """
    for number in range(workers):
        size = max(connections // workers + (number < connections % workers), 1)
        (folder / f"{number}-{size}").touch()


def take(folder: Path) -> int:
    """Take a part and return its size. Raises ``RuntimeError`` if none is left."""
    for part in sorted(folder.iterdir()):
        with suppress(FileNotFoundError):  # another worker was faster
            part.unlink()
            return int(part.name.partition("-")[2])
    raise RuntimeError(f"{folder} has no part of the pool left for this worker")
