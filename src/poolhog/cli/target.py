"""Which trace a verb means, and which of its processes; the arguments that say so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from poolhog.analysis.liveness import written_wall
from poolhog.errors import PoolhogError, TraceError
from poolhog.recording.attach.directory import TRACES
from poolhog.render.losses import missing_json, missing_told, unrecorded_told
from poolhog.render.output import note
from poolhog.texts import visible
from poolhog.trace.files import UnreadableError
from poolhog.trace.missing import SUFFIX, unwritten
from poolhog.trace.reader import find_processes, stream_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Unreadable
    from poolhog.trace.reader import ProcessReader

    Readers = tuple[ProcessReader, ...]

T = TypeVar("T")


def as_shown(value: str | list[str] | None) -> str | list[str] | None:
    """A search text, made visible as texts of the trace are: a raw text finds its visible form."""
    if isinstance(value, list):
        return [visible(text) for text in value]
    return value if value is None else visible(value)


Directory = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR",
        help=f"A trace, or a directory of traces: poolhog reads the newest. By default {TRACES}.",
        show_default=False,
    ),
]
Pid = Annotated[int | None, typer.Option(metavar="N", help="Only the process with this id.")]

Started = Annotated[
    float | None, typer.Option("--from", metavar="S", help="Start at this second of the run.")
]
Ended = Annotated[
    float | None, typer.Option("--to", metavar="S", help="End at this second of the run.")
]
Last = Annotated[
    float | None, typer.Option("--last", metavar="S", help="Only the last S seconds of the run.")
]
OfRoute = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Only requests of the routes whose name contains this text.",
        callback=as_shown,
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

OfReport = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="Only routes whose name contains this text.", callback=as_shown
    ),
]
Threshold = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Minimum value for reporting a finding. May be given repeatedly.",
    ),
]

Source = Annotated[
    Path | None,
    typer.Option(
        "--source",
        metavar="DIR",
        help="The directory below which the page may read code. By default the working directory.",
        show_default=False,
    ),
]

Editor = Annotated[
    str | None,
    typer.Option(
        "--editor",
        metavar="ADDRESS",
        help="The address that opens a line of code from the page, with {path} and {line}; none: "
        "link no lines. By default vscode://file/{path}:{line}.",
        show_default=False,
    ),
]

_RECORD_ONE = "record one with: poolhog run -- COMMAND"
_LET_IT_WORK = "let the application ask for a connection, and ask again"


def check_window(started: float | None, ended: float | None, last: float | None) -> None:
    """Raise ``PoolhogError`` if the window is empty, or is chosen in two ways."""
    if last is not None and last <= 0:
        raise PoolhogError(f"--last {last:g}: give a number of seconds above 0")
    if last is not None and (started is not None or ended is not None):
        raise PoolhogError("--last says where it starts and ends: leave --from and --to out")


def target_words(directory: Path | None, pid: int | None = None) -> list[str]:
    """The arguments with which another verb reads what this one read; none if it finds it alone."""
    words = [] if directory is None else [str(directory)]
    return words if pid is None else [*words, "--pid", str(pid)]


class UnusedError(TraceError):
    """A run has made the directory, and has not asked for a connection yet."""


def thresholds_of(directory: Path, options: Iterable[str] = ()) -> Thresholds:
    """The thresholds in the pyproject.toml of a directory, changed by options.

    Raises :class:`PoolhogError` if one of them cannot be read, or is no threshold.
    """
    # A large part of the program, which most verbs do not need.
    from poolhog.analysis.findings import known_thresholds
    from poolhog.analysis.thresholds import Thresholds

    return Thresholds.from_pyproject(directory, known_thresholds()).with_options(options)


def trace_directory(given: Path | None) -> Path:
    """The trace that is meant: the given one, or the newest one in it, or in ``poolhog-traces``.

    The newest is the one that was recorded into last. If a later run has recorded nothing, that
    is told on standard error. Raises :class:`PoolhogError` if there is none.
    """
    directory = TRACES if given is None else given
    if given is not None and not given.exists():
        raise TraceError(f"{given} does not exist: name a directory that a run was recorded into")
    if directory.is_file():
        raise TraceError(f"{directory} is a file: name the directory that it is in")
    if _files(directory):
        return directory
    if is_unwritten(directory):
        return directory  # reading it says why
    if given is not None and is_unused(given):
        raise UnusedError(f"{given} has recorded nothing yet: {_LET_IT_WORK}")
    entries = list(_directories(directory))
    found = _newest(entry for entry in entries if _files(entry))
    empty = (entry for entry in entries if is_unused(entry) or is_unwritten(entry))
    newest = max(empty, key=_made, default=None)
    if found is None:
        if newest is None:
            raise TraceError(f"no trace in {_told(directory)}: {_RECORD_ONE}")
        if is_unwritten(newest):
            return newest
        raise UnusedError(f"{newest} has recorded nothing yet: {_LET_IT_WORK}")
    if newest is not None and _made(newest) > (_written(found) or _modified(found)):
        what = "could write nothing" if is_unwritten(newest) else "has recorded nothing yet"
        note(f"the newest run, {newest}, {what}: this is {found}")
    return found


def directory_with(target: str | None) -> Path | None:
    """The directory that a target names: itself, or the run that has a process of this id.

    A number is a process, unless there is a directory of that name. Of several runs, it is the one
    that was written last. Raises :class:`TraceError` if there is no trace of the process.
    """
    if target is None or not (target.isascii() and target.isdecimal()) or Path(target).exists():
        return None if target is None else Path(target)
    number = int(target)
    runs = {
        file.parent
        for file in TRACES.glob(f"*/{number}*.sqlite")
        if file.stem.partition("-")[0] == str(number)
    }
    found = _newest(runs)
    if found is None:
        raise TraceError(
            f"no trace of process {number} in {_told(TRACES)}: name the directory that it is in"
        )
    return found


def is_unused(directory: Path) -> bool:
    """Whether a run has made the directory, and no process of it has asked for a connection."""
    try:
        return (
            directory.is_dir()
            # One that has just asked makes the marker first, which says nothing yet.
            and all(entry.suffix == SUFFIX for entry in directory.iterdir())
            and not is_unwritten(directory)
        )
    except OSError:
        return False


def is_unwritten(directory: Path) -> bool:
    """Whether connections were asked for, and nothing of that could be written."""
    return not _files(directory) and next(unwritten(directory), None) is not None


def read(
    directory: Path, pid: int | None, act: Callable[[Readers], T], *, is_urgent: bool = False
) -> tuple[T, tuple[Unreadable, ...]]:
    """Call ``act`` with the trace's sound processes, or with the one of this id; return its result.

    Also returned are the files that could not be read. If ``act`` finds another one, it is called
    again without that file. If the call ``is_urgent``, files that their processes have open are not
    checked beforehand, since a check takes longer the larger a file is.

    Raises :class:`PoolhogError` if there is no such process, or none can be read.
    """
    readers, unreadable = find_processes(directory)
    wanted, broken = _sound(_wanted(readers, unreadable, directory, pid), is_urgent=is_urgent)
    unreadable = (*unreadable, *broken)
    while True:
        try:
            return act(wanted), unreadable
        except UnreadableError as error:
            left = tuple(reader for reader in wanted if reader.file != error.file)
            if not left or len(left) == len(wanted):
                raise
            wanted, unreadable = left, (*unreadable, error.unreadable)


def processes(directory: Path, pid: int | None = None) -> Readers:
    """The trace's readers, or only those of the process with this id, of files that are sound.

    What cannot be read, and what could not be written, is told on standard error. Raises
    :class:`PoolhogError` as ``read`` does.
    """
    wanted, unreadable = read(directory, pid, lambda readers: readers)
    for one in unreadable:
        note(f"not in this: {one.file} {one.reason}")
    told = lacking(wanted)
    if told is not None:
        note(told)
    return wanted


def lacking(readers: Iterable[ProcessReader]) -> str | None:
    """A sentence on what the processes could not write or record; ``None`` if that is nothing."""
    processes = [reader.process for reader in readers]
    return missing_told(missing_json(processes)) or unrecorded_told(processes)


def _sound(readers: Readers, *, is_urgent: bool) -> tuple[Readers, tuple[Unreadable, ...]]:
    """The readers whose files are sound, or need not be checked now; and why others are not.

    Raises :class:`poolhog.TraceError` if there are none.
    """
    found: list[ProcessReader] = []
    errors: list[UnreadableError] = []
    for reader in readers:
        try:
            if not (is_urgent and reader.is_shared):
                reader.check()
            found.append(reader)
        except UnreadableError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return tuple(found), tuple(error.unreadable for error in errors)


def _wanted(
    readers: Readers, unreadable: Iterable[Unreadable], directory: Path, pid: int | None
) -> Readers:
    wanted = tuple(reader for reader in readers if pid in (None, reader.process.pid))
    if wanted:
        return wanted
    for one in unreadable:
        if Path(one.file).stem.partition("-")[0] == str(pid):
            raise TraceError(f"{one.file} {one.reason}")
    known = ", ".join(str(reader.process.pid) for reader in readers)
    raise PoolhogError(f"no process {pid} in {directory}: --pid takes one of {known}")


def _newest(traces: Iterable[Path]) -> Path | None:
    """The trace that was written last, as it says itself.

    The files' times are not enough: reading what a killed process left behind folds its log into
    its file, and that makes it look new. They are never earlier, though, so few are opened.
    """
    best: tuple[float, Path] | None = None
    by_time = sorted(((_modified(trace), trace) for trace in traces), reverse=True)
    for modified, trace in by_time:
        if best is not None and modified < best[0]:
            break
        written = _written(trace)
        if written is not None and (best is None or written > best[0]):
            best = written, trace
    if best is not None:
        return best[1]
    # None can be read: reading the newest will say why.
    return by_time[0][1] if by_time else None


def _modified(trace: Path) -> float:
    """The latest time of its files and their logs; one may vanish while we look."""
    times = []
    for file in trace.glob("*.sqlite*"):
        try:
            times.append(file.stat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)


def _made(directory: Path) -> float:
    """When an empty directory was made, or emptied."""
    try:
        return directory.stat().st_mtime
    except OSError:
        return 0.0


def _written(trace: Path) -> float | None:
    """The Unix time of the last write, ``None`` if it cannot be read."""
    try:
        found = [reader.process for reader in stream_trace(trace)]
    except TraceError:
        return None
    return max(map(written_wall, found))


def _files(directory: Path) -> list[Path]:
    return list(directory.glob("*.sqlite"))


def _directories(directory: Path) -> Iterator[Path]:
    if not directory.is_dir():
        return
    try:
        with os.scandir(directory) as entries:
            yield from (Path(entry.path) for entry in entries if entry.is_dir())
    except OSError as error:
        raise TraceError(f"{directory} cannot be read ({error.strerror})") from error


def _told(directory: Path) -> str:
    return f"./{directory}" if directory == TRACES else str(directory)
