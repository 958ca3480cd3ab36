"""What a file format of another program declares, and what every format says of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata as packages
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

from poolhog.model import OperationKind
from poolhog.render.losses import missing_json
from poolhog.render.output import Hint
from poolhog.render.words import abbreviated, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from poolhog.analysis.selection import Extract
    from poolhog.analysis.shown import Span
    from poolhog.model import Pool, Process, Site


MOST_CHARACTERS = 200
"""The longest beginning of a text that an export has written in full before."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format of another program.

    ``name`` is what ``--format`` takes, ``purpose`` what the format is for ("" if the name says
    it), and ``suffix`` what names of its files end with. ``write`` writes an extract into an open
    file as it is read, since it need not fit into memory; it returns how often a long text was
    shortened because it had been written in full before. ``hint`` is how to open a file.

    ``binary`` says what the file is if no terminal can show it. ``is_for_browsers``: a browser
    opens the file, and takes long if it is large.
    """

    name: str
    purpose: str
    suffix: str
    write: Callable[[Extract, BinaryIO], int]
    hint: Callable[[Path], Hint]
    binary: str | None = None
    is_for_browsers: bool = False


def drop_at(address: str) -> Callable[[Path], Hint]:
    """The hint for a format whose program is a page that takes dropped files."""
    command = f"python3 -m webbrowser {address}"
    return lambda _: Hint(command, "drop the file there: it stays in your browser")


def exporter() -> str:
    """The program that wrote the file, and its version."""
    return f"poolhog@{packages.version('poolhog')}"


def iso_time(wall: float) -> str:
    """A Unix time as ISO 8601 in UTC, to the microsecond."""
    at = datetime.fromtimestamp(round(wall * 1e6) // 1_000_000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{round(wall * 1e6) % 1_000_000:06}Z"


def metadata(extract: Extract) -> dict[str, Any]:
    """Where the file is from, and what the recorder lost or did not see the end of."""
    processes = [part.process for part in extract.parts]
    return {
        "exporter": exporter(),
        "began": iso_time(extract.began_wall),
        "processes": [
            {
                "pid": process.pid,
                "command": command(process),
                "finished": process.finished,
                "dropped": process.dropped,
                "recorder_errors": process.errors,
            }
            for process in processes
        ],
        "missing": missing_json(processes),
    }


def command(process: Process) -> str:
    """The command line without the directories of programs, and the process id."""
    words = [PurePath(word).name if word.startswith("/") else word for word in process.argv]
    return f"{' '.join(words)} ({process.pid})"


def operation_name(operation: Span) -> str:
    """An operation and its line, such as ``SELECT … FROM notes (notes.py:20)``."""
    statement = operation.statement
    is_statement = operation.kind == OperationKind.STATEMENT and statement is not None
    what = abbreviated(statement or "") if is_statement else operation.kind.upper()
    return f"{what} ({place(operation.site)})" if operation.site is not None else what


class LongTexts:
    """Writes a long text in full where it comes first, and then only how it begins.

    ``shortened`` is how often the rest was left out.
    """

    def __init__(self) -> None:
        self.shortened = 0
        self._known: set[str] = set()

    def written(self, text: str) -> str:
        """The text as it is written now."""
        if len(text) <= MOST_CHARACTERS:
            return text
        if text not in self._known:
            self._known.add(text)
            return text
        self.shortened += 1
        return f"{text[:MOST_CHARACTERS]} …"


def pool_names(pools: Iterable[Pool]) -> Mapping[str, str]:
    """The names of a process's pools by their ids; those that share one are told apart."""
    every = tuple(pools)
    counts = Counter(pool.name for pool in every)
    return {
        pool.id: f"pool {pool.name}" + (f" ({pool.id})" if counts[pool.name] > 1 else "")
        for pool in every
    }


def frame_name(site: Site) -> str:
    """A function and its line, such as ``add_note (notes.py:20)``."""
    return f"{site.function} ({place(site)})"
