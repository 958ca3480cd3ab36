"""What a recorder could not write, as the marker beside its file says.

The marker is a file that anyone may have put there: whatever is not exactly as the recorder writes
it is ignored.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from poolhog.model import Unreadable
from poolhog.trace.files import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIX = ".missing"
NO_ROOM = "disk full"
"""Why a marker is empty: there was no room for its line."""

_FULL = frozenset([NO_ROOM, "disk quota exceeded", "file too large", "buffer full"])
_MOST_BYTES = 200
_LINE = re.compile(
    rb"poolhog-missing 1 checkouts=([0-9]{10}) facts=([0-9]{10}) at_ns=([0-9]{20})"
    rb" reason=([A-Za-z0-9_ /]{32})\n"
)
_STEM = re.compile(r"[0-9]{1,10}(?:-[0-9]{1,3})?")


class Missing(NamedTuple):
    """How many checkouts and other facts are not in a process's file, and why.

    ``at_ns`` is the reading of the monotonic clock at which that was so: what is committed later
    has them. It is ``None`` if the marker is empty, and then nobody knows how many there are.
    """

    checkouts: int
    facts: int
    reason: str
    at_ns: int | None


class UnwrittenError(UnreadableError):
    """Of one file of a trace nothing could be written."""

    def __init__(self, file: Path, missing: Missing) -> None:
        pid = file.stem.partition("-")[0]
        remedy = remedy_for(missing.reason)
        super().__init__(file, "could not be written")
        self.args = (f"process {pid} could write nothing ({missing.reason}): {remedy}",)
        lacking = f"{missing.checkouts:,} checkouts are missing; " if missing.checkouts else ""
        reason = f"could not be written ({missing.reason}): {lacking}{remedy}"
        self.unreadable = Unreadable(str(file), reason)


def remedy_for(reason: str) -> str:
    """What to do about it that something could not be written."""
    return f"{'make room' if reason in _FULL else 'let it write there'}, and record again"


def missing_of(file: Path) -> Missing | None:
    """What the marker of a process's file says is missing; ``None`` if that is nothing."""
    line = _content(file.with_suffix(SUFFIX))
    if line is None:
        return None
    if not line:
        return Missing(0, 0, NO_ROOM, None)
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    checkouts, facts, at_ns = map(int, found.groups()[:3])
    reason = found[4].decode("ascii").strip()
    return Missing(checkouts, facts, reason, at_ns) if reason else None


def unwritten(directory: Path) -> Iterator[tuple[Path, Missing]]:
    """The files that are not there, because nothing could be written, and what is missing."""
    for marker in sorted(directory.glob(f"*{SUFFIX}")):
        file = marker.with_suffix(".sqlite")
        if _STEM.fullmatch(marker.stem) and not os.path.lexists(file):
            missing = missing_of(file)
            if missing is not None:
                yield file, missing


def _content(marker: Path) -> bytes | None:
    """What a small regular file holds; ``None`` if there is none, or it cannot be read."""
    try:
        if not stat.S_ISREG(marker.lstat().st_mode):
            return None
        # Nothing but a regular file is ever opened for long: another may have taken its place.
        opened = os.open(marker, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(opened)
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
                return None
            return os.read(opened, _MOST_BYTES)
        finally:
            os.close(opened)
    except OSError:
        return None
