"""The numbers of texts in a trace file: each is written once, when it is first named."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from poolhog.checksum import row_checksum
from poolhog.layout import TextRow, row_maker
from poolhog.recording.secrets.sql import kept_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

MOST_TEXTS = 20_000
"""Distinct texts, and statements, whose number is remembered; an application that puts values into
its SQL makes a new text for each."""

MOST_CHARACTERS = 10_000_000
"""The characters of the texts that are remembered, and of the statements."""

TEXTS_AT_ONCE = 400
"""Texts of a query, of which an older SQLite takes no more than twice as many values."""

_text_row = row_maker(TextRow)


class _Rows(dict[str, int]):
    """The rows of texts, as many as may be remembered."""

    def __init__(self) -> None:
        self._characters = 0

    def remember(self, text: str, number: int) -> None:
        """The text has the row of this number."""
        self._characters += len(text)
        if len(self) >= MOST_TEXTS or self._characters > MOST_CHARACTERS:
            self.forget()
            self._characters = len(text)
        self[text] = number

    def forget(self) -> None:
        """Nothing is known any more."""
        self.clear()
        self._characters = 0


class Numbers(_Rows):
    """The rows of texts; a new one is written when it is looked up, in the open transaction.

    ``checksum`` is the sum of the new ones' since it was last made 0.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        super().__init__()
        self._database = database
        self.checksum = 0

    def learn(self, texts: Iterable[str]) -> None:
        """Look up many at once: for each query, the interpreter may have to be waited for."""
        new = list({encodable(text) for text in texts if text not in self})
        for first in range(0, len(new), TEXTS_AT_ONCE):
            some = new[first : first + TEXTS_AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT text, id FROM texts WHERE text IN ({marks})"  # noqa: S608 - only marks
            known = dict(self._database.execute(query, some).fetchall())
            known |= self._add([text for text in some if text not in known])
            for text, number in known.items():
                self.remember(text, number)

    def _add(self, texts: list[str]) -> dict[str, int]:
        """Write rows of texts that have none."""
        if not texts:
            return {}
        query = "SELECT coalesce(max(id), 0) FROM texts"
        ((last,),) = self._database.execute(query).fetchall()
        rows = [_text_row(id=number, text=text) for number, text in enumerate(texts, last + 1)]
        marks = ",".join(["(?,?)"] * len(rows))
        insert = f"INSERT INTO texts VALUES {marks}"  # noqa: S608 - only marks
        self._database.execute(insert, list(chain.from_iterable(rows)))
        self.checksum += sum(map(row_checksum, rows))
        return {text: number for number, text in enumerate(texts, last + 1)}

    def __missing__(self, text: str) -> int:
        kept = encodable(text)
        self.learn([kept])
        number = self[kept]
        if kept != text:
            self.remember(text, number)
        return number


class _Statements(_Rows):
    """The rows of statements of a dialect, by their text as it was sent.

    It is kept without its literals, which depend on the dialect.
    """

    def __init__(self, numbers: Numbers, dialect: str | None) -> None:
        super().__init__()
        self._numbers = numbers
        self._dialect = dialect

    def learn(self, statements: Iterable[str]) -> None:
        """Look up many at once."""
        new = {sql: kept_of(sql, self._dialect) for sql in statements if sql not in self}
        self._numbers.learn(new.values())
        for sql, kept in new.items():
            self.remember(sql, self._numbers[kept])

    def __missing__(self, sql: str) -> int:
        number = self._numbers[kept_of(sql, self._dialect)]
        self.remember(sql, number)
        return number


class Dialects(dict[str | None, _Statements]):
    """The rows of statements by their dialect."""

    def __init__(self, numbers: Numbers) -> None:
        super().__init__()
        self._numbers = numbers

    def __missing__(self, dialect: str | None) -> _Statements:
        statements = self[dialect] = _Statements(self._numbers, dialect)
        return statements


def encodable(text: str) -> str:
    """The text, with question marks for lone surrogates."""
    return text.encode("utf-8", "replace").decode()
