"""What can be asked of a trace, and the answers, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from poolhog.texts import LINES, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolhog.trace.query import Question


def schema_text(
    columns: Mapping[str, Sequence[str]], questions: Iterable[Question], command: str
) -> Group:
    """The views with their columns, and a command for each question."""
    views = _two_columns((view, ", ".join(names)) for view, names in columns.items())
    asked = [(f"{command} {question.name}", question.title) for question in questions]
    asked.append((f'{command} "SELECT …"', "Whatever you want to know."))
    return Group(views, Text(), _two_columns(asked))


def _two_columns(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for left, right in rows:
        table.add_row(Text(left), Text(right))
    return table


def answer_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """The answer; numbers to the right, NULL as nothing.

    The second and further lines of a text are indented: none can be taken for a row.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        values = [row[index] for row in rows if row[index] is not None]
        is_number = bool(values) and all(isinstance(value, int | float) for value in values)
        table.add_column(
            Text(visible(column)), justify="right" if is_number else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text("" if value is None else _told(value)) for value in row))
    return table


def _told(value: Any) -> str:
    return visible(str(value), keep=LINES).replace("\n", "\n  ")
