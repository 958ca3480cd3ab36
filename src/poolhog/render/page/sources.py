"""The lines of code around a site, as they are on this machine, if they are what was recorded.

A trace may be somebody else's, and names whatever files it likes. So lines come only from Python
files below a directory that the reader chose, and from nothing else that a trace names.
"""

from __future__ import annotations

import io
import os
import stat
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AROUND = 3
"""Lines that are shown before a site, and after it."""

LARGEST = 1_000_000
"""Bytes of a file that is still read."""

_LONGEST = 200

_SUFFIX = ".py"

# No terminal takes over the process, and a pipe that nobody writes to does not stop it.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class SourceLine(NamedTuple):
    """A line of a file; ``is_site``: it is the one that matters."""

    number: int
    text: str
    is_site: bool


class Sources:
    """The Python files below a directory; without a directory, none is read."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = None if directory is None else Path(os.path.realpath(directory))
        self._known: dict[str, Sequence[str]] = {}

    def lines_around(self, site: Mapping[str, Any]) -> list[SourceLine]:
        """The lines around a site, or only its own where the file is not here as it was recorded.

        Nothing where no source was recorded.
        """
        number, source = site["line"], site["source"]
        if not source:
            return []
        lines = self._lines(site["file"])
        if not 1 <= number <= len(lines) or visible(lines[number - 1].strip(), keep="\t") != source:
            return [SourceLine(number, source, is_site=True)]
        first, last = max(number - AROUND, 1), min(number + AROUND, len(lines))
        shown = _dedented(lines[first - 1 : last])
        return [SourceLine(n, text, n == number) for n, text in enumerate(shown, first)]

    def _lines(self, file: str) -> Sequence[str]:
        found = self._known.get(file)
        if found is None:
            found = self._known[file] = self._read(file)
        return found

    def _read(self, file: str) -> Sequence[str]:
        """The lines of a file; none if it is not here, or is none that may be read."""
        if self._directory is None or not file.endswith(_SUFFIX) or not Path(file).is_absolute():
            return ()
        try:
            path = Path(os.path.realpath(file))
            if path.suffix != _SUFFIX or not path.is_relative_to(self._directory):
                return ()
            content = _content(path)
            encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
            # Not splitlines(): to Python, a form feed does not end a line.
            return [line.rstrip("\n") for line in io.TextIOWrapper(io.BytesIO(content), encoding)]
        except (OSError, SyntaxError, LookupError, ValueError):
            return ()


def _content(path: Path) -> bytes:
    """What is in a regular file that is not large, of anything else nothing.

    Links were followed by now: what is a link has become one since.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            return b""
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            return opened.read(LARGEST)
    finally:
        os.close(descriptor)


def _dedented(lines: Sequence[str]) -> list[str]:
    """Without the white space that all of them begin with."""
    expanded = [line.expandtabs(4).rstrip() for line in lines]
    margins = [len(line) - len(line.lstrip()) for line in expanded if line]
    margin = min(margins, default=0)
    return [visible(line[margin:], _LONGEST) for line in expanded]
