"""Writes a result into a file of the user's: all of it, or nothing.

It tells what a trace tells, so as the trace it is for nobody else: until its owner says otherwise.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from poolhog.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO


def write_whole(file: Path, content: str) -> None:
    """Write the file, in the place of one that is there. Raises ``OutputError`` if that fails."""
    with whole_file(file) as written:
        written.write(content.encode())


@contextmanager
def whole_file(file: Path) -> Iterator[BinaryIO]:
    """What is written becomes the file, in the place of one that is there, or nothing does.

    Only its owner can read a new file; one in the place of another is for whom that one was.

    Raises ``OutputError`` if that fails. An error of the writer's leaves the file as it was.
    """
    check_place(file)
    # Beside it: only then is the exchange one step.
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(unfinished, _NEW, _PRIVATE), "wb") as written:
            yield written
            with suppress(FileNotFoundError):
                os.fchmod(written.fileno(), file.stat().st_mode & _PERMISSIONS)
        unfinished.replace(file)
    except OSError as error:
        raise OutputError(
            f"{file} cannot be written ({error.strerror}): name another place"
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_PRIVATE = 0o600
_PERMISSIONS = 0o777


def check_place(file: Path) -> None:
    """Raise ``OutputError`` if nothing can be written there, as far as is known beforehand."""
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise OutputError(f"{file} is not an ordinary file: name another place")
    if not file.parent.is_dir():
        raise OutputError(f"{file} cannot be written (no such directory): name another place")
