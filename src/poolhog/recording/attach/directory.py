"""Where a trace goes: a directory of its own, which only its owner can read."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

from poolhog.errors import OutputError

TRACES = Path("poolhog-traces")
"""The directory, in the working one, whose directories are traces."""


def default_directory() -> Path:
    """A new one, named after the time and the process."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    names = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
    # What cannot be looked at is told when it is to be made.
    return next(path for path in map(TRACES.joinpath, names) if not os.path.lexists(path))


def check_unused(directory: Path) -> None:
    """Raise ``OutputError`` if there is a trace: two runs in one would be read as one."""
    files = itertools.chain.from_iterable(map(directory.glob, ("*.sqlite", "*.missing")))
    if next(files, None) is not None:
        raise OutputError(
            f"{directory} holds a trace already: name another directory, or delete this one"
        )


def make_private(directory: Path) -> None:
    """Make the directory and what is missing above it, for its owner only."""
    for missing in reversed([d for d in (directory, *directory.parents) if not d.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def make_directory(directory: Path) -> None:
    """Make it, and what is missing above it. Raises ``OutputError`` if it cannot hold a trace."""
    try:
        make_private(directory)
        check_unused(directory)
    except OSError as error:
        raise OutputError(
            f"{directory} cannot hold a trace ({error.strerror}): name another directory with -o"
        ) from error
    if not directory.is_dir() or not os.access(directory, os.W_OK | os.X_OK):
        raise OutputError(
            f"{directory} cannot hold a trace (it is not a directory that you may write to): "
            "name another directory with -o"
        )
