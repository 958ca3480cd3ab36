"""How things are called in the sentences of findings: operations, lines, durations, numbers."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from poolhog.model import OperationKind

if TYPE_CHECKING:
    from poolhog.analysis.findings.pieces import Around
    from poolhog.model import Checkout, Operation, Site


OTHER = "other"
"""The route of a checkout of no request, asked for by no code of the application."""


def route_of(checkout: Checkout) -> str:
    """The name of the checkout's request; without one, the owner's outermost function."""
    if checkout.request is not None:
        return checkout.request.name
    return owner_of(checkout.site)


@functools.lru_cache(maxsize=10_000)
def owner_of(site: Site | None) -> str:
    """What work of no request is called that asked there: its outermost function."""
    if site is None:
        return OTHER
    outermost = site.stack[-1]
    return f"{_file(outermost)} {outermost.function}"


def between(around: Around) -> str:
    """Between what a gap lies."""
    before = named(around.before) if around.before is not None else "its checkout"
    after = named(around.after) if around.after is not None else "its return"
    return f"between {before} and {after}"


def named(operation: Operation) -> str:
    """An operation and its line, such as ``UPDATE notes (service.py:55)``."""
    return _named(operation.kind, operation.statement, operation.site)


@functools.lru_cache(maxsize=10_000)
def _named(kind: OperationKind, statement: str | None, site: Site | None) -> str:
    if kind is OperationKind.STATEMENT and statement:
        what = f"`{abbreviated(statement)}`"
    elif kind is OperationKind.FETCH:
        what = "a fetch"
    else:
        what = kind.value.upper()
    return f"{what} ({place(site)})" if site is not None else what


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
