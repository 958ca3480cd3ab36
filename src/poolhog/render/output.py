"""How results are put out: consoles, progress, blocks, tables, the next command, and files.

A file tells what a trace tells: like the trace, it is readable for its owner only, until the owner
says otherwise.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, Group
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from poolhog.errors import OutputError
from poolhog.render.palette import TERMINAL_ACCENT, TERMINAL_MUTED
from poolhog.render.words import command_of, count, folded_lines
from poolhog.texts import LINES, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from rich.console import RenderableType

    from poolhog.trace.query import Question

WIDE = 110
"""Columns of a terminal from which on there is room for all numbers of a route."""

_NARROWEST = 10

_UNLIMITED = 10_000


def console(*, stderr: bool = False) -> Console:
    """Results go to standard output, progress and errors to standard error.

    Colour is left out where it is not wanted: with NO_COLOR, and in pipes and files. A text is what
    it is: square brackets are no styles, and names between colons no emoji.
    """
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def wide_console() -> Console:
    """A console for standard output; in pipes and files, lines are as long as they need to be."""
    out = console()
    if not out.is_terminal:
        out.width = _UNLIMITED
    return out


def print_lines(out: Console, lines: Iterable[RenderableType]) -> None:
    """Print each line; the terminal, and not the console, breaks one that is too long."""
    for line in lines:
        out.print(line, soft_wrap=True)


def note(text: str) -> None:
    """Print a line on standard error that is not part of the result."""
    typer.echo(f"poolhog: {visible(text)}", err=True)


def progress(target: Console | None = None) -> Progress:
    """A progress bar with a description, a count and the time since it began."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=target or console(stderr=True),
    )


def in_blocks(blocks: Iterable[Sequence[Text]]) -> Iterator[Text]:
    """The lines of all blocks that have any, with an empty line between two blocks."""
    for index, block in enumerate(block for block in blocks if block):
        if index:
            yield Text()
        yield from block


def paragraph(text: str, width: int, style: str = "", hanging: int = 0) -> Iterator[Text]:
    """The text in lines of ``width`` columns, as ``folded_lines`` folds it."""
    for line in folded_lines(text, width, hanging):
        yield Text(line, style)


def aligned(
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    left: Collection[int] = (),
    style: Callable[[int, int], str] = lambda row, _: "none" if row else TERMINAL_MUTED,
) -> Iterator[Text]:
    """Rows of cells in columns, the first row a heading.

    The first column stands to the left, and is cut to the room that the others leave in ``width``.
    The others stand to the right, but those whose number is in ``left``. ``style`` is that of a
    cell, by the numbers of its row and column.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        taken = sum(widths[1:]) + 2 * len(widths[1:])
        widths[0] = min(widths[0], max(width - taken, _NARROWEST))
    for row, cells in enumerate(rows):
        line = Text(cells[0], style(row, 0))
        line.truncate(widths[0], overflow="ellipsis", pad=True)
        for column, (cell, room) in enumerate(zip(cells[1:], widths[1:], strict=True), 1):
            shown = f"{cell:<{room}}" if column in left else f"{cell:>{room}}"
            line.append(f"  {shown}", style(row, column))
        line.rstrip()
        yield line


def more_line(number: int, noun: str) -> Text:
    """That a table leaves something out, and the option that shows it."""
    return Text(f"… and {count(number, noun)} more: --top N", TERMINAL_MUTED)


def next_line(words: Iterable[str], why: str = "", width: int | None = None) -> Text:
    """The verb to type next, with its arguments, and what it shows.

    The command is never cut: if it leaves no room in ``width`` for the reason, that is left out.
    """
    line = Text.assemble(("Next: ", TERMINAL_MUTED), (command_of(["poolhog", *words]), "bold"))
    if why and (width is None or len(line) + len(why) + 2 <= width):
        line.append(f"  {why}", TERMINAL_MUTED)
    return line


@dataclass(frozen=True, slots=True)
class Hint:
    """A command to type next, and what it shows; a verb prints hints last."""

    command: str
    why: str

    @classmethod
    def of(cls, words: Iterable[str], why: str) -> Hint:
        """The hint at a verb of poolhog, with its arguments."""
        return cls(command_of(["poolhog", *words]), why)

    def text(self, width: int) -> Text:
        """The hint for a terminal of ``width`` columns."""
        fits = len(self.command) + 2 + len(self.why) <= width
        between = "  " if fits else "\n  "
        return Text.assemble((self.command, TERMINAL_ACCENT), (between + self.why, TERMINAL_MUTED))


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


def write_whole(file: Path, content: str) -> None:
    """Write the file, in the place of one that is there. Raises ``OutputError`` if that fails."""
    with whole_file(file) as written:
        written.write(content.encode())


@contextmanager
def whole_file(file: Path) -> Iterator[BinaryIO]:
    """Open the file for writing; it replaces one that is there only when all is written.

    Only its owner can read a new file; one that replaces another keeps its permissions.

    Raises ``OutputError`` if that fails. An error of the writer's leaves the file as it was.
    """
    check_place(file)
    # TopFindingWhatIf it: only then is the exchange one step.
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
