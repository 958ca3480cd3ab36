"""The lines of code around a site, as they are on this machine, if they are what was recorded."""

from __future__ import annotations

import functools
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AROUND = 3
"""Lines that are shown before a site, and after it."""

_LARGEST = 2_000_000
"""Bytes of a file that is still read."""

_LONGEST = 200


class SourceLine(NamedTuple):
    """A line of a file; ``is_site``: it is the one that matters."""

    number: int
    text: str
    is_site: bool


def lines_around(site: Mapping[str, Any]) -> list[SourceLine]:
    """The lines around a site, or only its own where the file is not here as it was recorded.

    Nothing where no source was recorded.
    """
    number, source = site["line"], site["source"]
    if not source:
        return []
    lines = _lines(site["file"])
    if not 1 <= number <= len(lines) or visible(lines[number - 1].strip(), keep="\t") != source:
        return [SourceLine(number, source, is_site=True)]
    first, last = max(number - AROUND, 1), min(number + AROUND, len(lines))
    shown = _dedented(lines[first - 1 : last])
    return [SourceLine(n, text, n == number) for n, text in enumerate(shown, first)]


@functools.lru_cache(maxsize=200)
def _lines(file: str) -> Sequence[str]:
    """Of a Python file; none if it is not here, or is not one."""
    path = Path(file)
    try:
        if not path.is_absolute() or not path.is_file() or path.stat().st_size > _LARGEST:
            return ()
        with tokenize.open(path) as opened:
            return opened.read().splitlines()
    except (OSError, SyntaxError, UnicodeError, ValueError):
        return ()


def _dedented(lines: Sequence[str]) -> list[str]:
    """Without the white space that all of them begin with."""
    expanded = [line.expandtabs(4).rstrip() for line in lines]
    margins = [len(line) - len(line.lstrip()) for line in expanded if line]
    margin = min(margins, default=0)
    return [visible(line[margin:], _LONGEST) for line in expanded]
