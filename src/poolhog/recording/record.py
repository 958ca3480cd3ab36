"""What is common to all records: their numbers, and how each becomes a row of its table."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# One sequence for all records of the process: an id is never used twice, whatever is reinstalled.
ids = itertools.count(1)

Row = tuple[Any, ...]


class Line(Protocol):
    """A line of code."""

    @property
    def source(self) -> str:
        """Its text, which is read when it is asked for."""


class Texts(Protocol):
    """Where a record learns the numbers of its texts, and from where instants are counted."""

    began_ns: int

    @property
    def numbers(self) -> Mapping[str, int]:
        """The row of every text, which is written when it is first looked up."""

    @property
    def statements(self) -> Mapping[str | None, Mapping[str, int]]:
        """The row of every statement, without its literals, by the dialect and the text."""

    def source_of(self, line: Line) -> str:
        """The text of a line of code, if it is wanted."""

    def learn(self, sent: Iterable[tuple[str | None, str]]) -> None:
        """Look up many statements at once, each with its dialect."""


class Record:
    """What the writer needs of a fact: its table, its row, and whether it can still change.

    ``written`` is the row as it is in the file, and ``checksum`` that row's; ``None`` and 0 if it
    is not there.
    """

    __slots__ = ("checksum", "id", "written")
    table: ClassVar[str]
    id: int
    written: Row | None
    checksum: int

    @property
    def done(self) -> bool:
        """Whether the row is final."""
        raise NotImplementedError

    def row(self, texts: Texts) -> Row:
        """The columns of the table, in order."""
        raise NotImplementedError


def since(start_us: int, instant_ns: int | None) -> int | None:
    """Microseconds between two instants of a clock of microseconds, so that sums come out even."""
    return None if instant_ns is None else instant_ns // 1000 - start_us
