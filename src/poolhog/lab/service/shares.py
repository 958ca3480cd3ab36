"""A pool that is divided among workers: each takes one part of it, and nobody the same."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def lay_out(folder: Path, connections: int, workers: int) -> None:
    """Put as many parts of ``connections`` in an empty folder as there are ``workers``.

    They differ by one at most, and none is empty. A part is a file, named by its number and size.
    """
    for number in range(workers):
        size = max(connections // workers + (number < connections % workers), 1)
        (folder / f"{number}-{size}").touch()


def take(folder: Path) -> int:
    """The size of a part that no other worker has. Raises ``RuntimeError`` if none is left."""
    for part in sorted(folder.iterdir()):
        with suppress(FileNotFoundError):  # another worker was faster
            part.unlink()
            return int(part.name.partition("-")[2])
    raise RuntimeError(f"{folder} has no part of the pool left for this worker")
