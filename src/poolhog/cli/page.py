"""Reads one run or two for a page, and writes it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from poolhog.cli.reading import Reading
from poolhog.cli.target import UnusedError, read, trace_directory
from poolhog.errors import PoolhogError
from poolhog.recording.attach.directory import TRACES
from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.compare.comparison import Comparison, Run
    from poolhog.analysis.compare.series import Series
    from poolhog.analysis.digest import Digest
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Unreadable
    from poolhog.render.page.data import PageData
    from poolhog.trace.reader import ProcessReader


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is to be written: of each run its name, what is shown, and its checkouts.

    The lines around findings are read below ``source``. ``targets`` name the traces in a shell, and
    ``editor`` is the template of addresses that open a line, "" for none.
    """

    file: Path
    source: Path
    sides: Sequence[tuple[str, Digest, Series]]
    targets: Sequence[str]
    editor: str

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs, to be compared."""
        from poolhog.analysis.compare.comparison import Run

        return tuple(Run(label, whole.report, series) for label, whole, series in self.sides)

    def write(self, comparison: Comparison | None = None) -> tuple[PageData, int]:
        """Write it, whole or not at all; the data that is in it, and how many bytes it has.

        Raises :class:`poolhog.PoolhogError` if it cannot be written.
        """
        from poolhog.render.output import write_whole
        from poolhog.render.page import page_html
        from poolhog.render.page.data import page_data
        from poolhog.render.page.links import Links
        from poolhog.render.page.source import SourceFiles

        with Reading() as reading:
            reading.say("making the page")
            sides = [(label, whole) for label, whole, _ in self.sides]
            sources = SourceFiles(self.source)
            links = [Links(target, self.editor, sources) for target in self.targets]
            data = page_data(sides, version=metadata.version("poolhog"), links=links)
            page = page_html(data, comparison, self.source)
        write_whole(self.file, page)
        return data, len(page.encode())


def read_page(
    given: Sequence[Path | None],
    thresholds: Thresholds,
    file: Path,
    source: Path | None,
    pid: int | None = None,
    editor: str | None = None,
) -> Page:
    """Read the runs, of the first one only a process if its id is given.

    Code is read below ``source``, or below the working directory. ``editor`` is the template of
    addresses that open a line.

    Raises :class:`poolhog.PoolhogError` as other verbs do, and before anything is read if the file
    cannot be written.
    """
    from poolhog.analysis.compare.series import Series
    from poolhog.analysis.digest import read_digest
    from poolhog.render.output import check_place

    check_place(file)
    if source is not None and not source.is_dir():
        raise PoolhogError(f"--source {source}: there is no such directory")
    template = _editor(editor)
    sides, targets = [], []
    with Reading() as reading:
        for index, one in enumerate(given):
            found = _found(one)
            only = None if index else pid
            label, readers, unreadable = _readers(one, found, only)
            targets.append(_target(found, only))
            series = Series()
            companions = [series] if len(given) > 1 else []
            whole = read_digest(readers, thresholds, reading.tell, companions=companions)
            reading.say("replaying what was recorded")
            whole = whole.with_whatif()
            sides.append((label, whole.without(unreadable), series))
    directory = Path.cwd() if source is None else source
    return Page(file, directory, sides, targets, template)


def _found(given: Path | None) -> Path | None:
    """The trace that is meant, ``None`` if it is empty."""
    try:
        return trace_directory(given)
    except UnusedError:
        return None


def _readers(
    given: Path | None, found: Path | None, pid: int | None
) -> tuple[str, Sequence[ProcessReader], Sequence[Unreadable]]:
    """The trace's name, and what reads it: nothing if it is empty. And what cannot be read."""
    if found is None:
        return visible((given or TRACES).name), (), ()
    return visible(found.resolve().name), *read(found, pid, lambda readers: readers)


def _target(found: Path | None, pid: int | None) -> str:
    from poolhog.render.page.links import target_text

    if found is None:
        return ""
    return target_text(found, working=Path.cwd(), home=Path.home(), pid=pid)


def _editor(given: str | None) -> str:
    from poolhog.render.page.links import EDITOR, checked_editor

    template = EDITOR if given is None else given
    try:
        return checked_editor(template)
    except ValueError as error:
        raise PoolhogError(f"--editor {template}: {error}") from error
