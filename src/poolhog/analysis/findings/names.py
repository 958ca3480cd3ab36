"""How things are called in sentences: lines, statements, durations, numbers."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhog.model import Site


def place(site: Site | None) -> str:
    """The line in short, such as ``service.py:46``."""
    return f"{_file(site)}:{site.line}" if site is not None else "an unknown line"


def _file(site: Site) -> str:
    return site.file.replace("\\", "/").rpartition("/")[2]


@functools.lru_cache(maxsize=10_000)
def abbreviated(statement: str) -> str:
    """What a statement does to which table; of others, the beginning."""
    text = " ".join(statement.split())
    for pattern, form in _STATEMENTS:
        match = pattern.match(text)
        if match is not None:
            return form.format(match[1])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2].rstrip()} …"


_LONGEST = 40
_TABLE = r'((?:"[^"]+"|[\w$.])+)'
_STATEMENTS = tuple(
    (re.compile(pattern, re.IGNORECASE), form)
    for pattern, form in (  # what is made of them is shown, not sent
        (rf"SELECT\b.*?\bFROM {_TABLE}", "SELECT … FROM {}"),
        (rf"UPDATE (?:ONLY )?{_TABLE}", "UPDATE {} …"),
        (rf"INSERT INTO {_TABLE}", "INSERT INTO {} …"),
        (rf"DELETE FROM (?:ONLY )?{_TABLE}", "DELETE FROM {} …"),  # noqa: S608
    )
)


def duration(seconds: float) -> str:
    """Seconds as a person says them, in three digits."""
    for limit, unit, factor in ((0.0009995, "µs", 1e6), (0.9995, "ms", 1e3)):
        if 0 < seconds < limit:
            return f"{_three_digits(seconds * factor)} {unit}"
    return f"{_three_digits(seconds)} s"


def _three_digits(number: float) -> str:
    return f"{number:.3g}" if number < 99.95 else f"{number:,.0f}"


def count(number: int, noun: str) -> str:
    """So many of something."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
