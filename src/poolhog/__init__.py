"""poolhog finds the code that hogs your database connection pool.

Record a process with :func:`install` or :func:`recording`, read what it recorded with
:func:`open_trace`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolhog.errors import (
    ChildError,
    DatabaseError,
    Interrupted,
    OutputError,
    PoolhogError,
    TraceError,
)
from poolhog.model import (
    Activity,
    Cause,
    Checkout,
    LockWait,
    Operation,
    OperationKind,
    Outcome,
    Pool,
    Process,
    Request,
    Sample,
    Sharing,
    SharingKind,
    Site,
    Stage,
    Trace,
    Unreadable,
)

# The first import of the package ``poolhog.recording`` makes it an attribute of this module. It
# stands here so that the function of that name, below, comes later and stays; modules inside the
# package are imported by their full names, which do not go through the attribute.
from poolhog.recording.options import SAMPLING_INTERVAL_S, Options

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.trace.reader import open_trace

__all__ = [
    "Activity",
    "Cause",
    "Checkout",
    "ChildError",
    "DatabaseError",
    "Interrupted",
    "LockWait",
    "Operation",
    "OperationKind",
    "Outcome",
    "OutputError",
    "Pool",
    "PoolhogError",
    "Process",
    "Recording",
    "Request",
    "Sample",
    "Sharing",
    "SharingKind",
    "Site",
    "Stage",
    "Trace",
    "TraceError",
    "Unreadable",
    "install",
    "open_trace",
    "recorded_into",
    "recording",
    "uninstall",
]


@dataclass(frozen=True, slots=True)
class _Installation:
    recorder: Recorder
    patches: Patches


_installation: _Installation | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """What ``with poolhog.recording() as trace`` records; ``directory`` is where it goes."""

    directory: Path
    _installation: _Installation = field(repr=False)

    def read(self) -> Trace:
        """What has happened up to now, inside the block or after it.

        Raises :class:`TraceError` if no pool was used.
        """
        from poolhog.trace.reader import open_trace

        if self._installation is _installation:
            self._installation.recorder.settle()
        return open_trace(self.directory)


def install(
    directory: str | os.PathLike[str] | None = None,
    *,
    include: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    sampling_interval: float = SAMPLING_INTERVAL_S,
    source: bool = True,
    watch_locks: str | None = None,
) -> Path:
    """Record every connection pool of this process from now on.

    ``directory`` is where the trace goes, by default one named after the time and the process in
    ``poolhog-traces``; it is created when there is something to record. ``include`` and
    ``exclude`` are globs of file names, whose frames are the application's, or are not.
    ``sampling_interval`` is the time in seconds between two samples of what the owners of idle
    connections do; 0 takes none. Without ``source``, no text of your code is recorded, but the
    numbers of its lines. ``watch_locks`` is the URL of the database's server (PostgreSQL, MySQL or
    MariaDB), or the name of an environment variable that holds it: a connection of poolhog's own
    asks it who waits for whose lock.

    Installing again changes nothing, and neither does installing in a process that ``poolhog run``
    records. Returns the directory in use. Raises :class:`PoolhogError` if the interval is no
    time, or ``watch_locks`` no such URL.
    """
    if _installation is not None:
        return _installation.recorder.directory
    options = Options(
        *(_globs(include), _globs(exclude), sampling_interval, source), watch_locks or ""
    )
    return _install(_path(directory), options).recorder.directory


def recorded_into() -> Path | None:
    """The directory of the trace that this process is recorded into; ``None`` if it is not."""
    return _installation.recorder.directory if _installation is not None else None


def uninstall() -> None:
    """Stop recording: finish the trace, and leave no listener and no patch behind."""
    global _installation
    if _installation is not None:
        _installation.patches.restore()
        _installation.recorder.stop()
        _installation = None


@contextmanager
def recording(
    directory: str | os.PathLike[str] | None = None,
    *,
    include: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    sampling_interval: float = SAMPLING_INTERVAL_S,
    source: bool = True,
    watch_locks: str | None = None,
) -> Iterator[Recording]:
    """Record this process inside a ``with`` block; the arguments are those of :func:`install`.

    Raises :class:`PoolhogError` if the process is recorded already, be it by an outer block, by
    :func:`install` or by ``poolhog run``, and :class:`OutputError` if the directory holds a trace.
    """
    if _installation is not None:
        raise PoolhogError(
            f"this process is recorded into {_installation.recorder.directory} already: "
            "end that, or leave poolhog.recording() out"
        )
    from poolhog.recording.attach.directory import check_unused

    options = Options(
        *(_globs(include), _globs(exclude), sampling_interval, source), watch_locks or ""
    )
    path = _path(directory)
    check_unused(path)
    installation = _install(path, options)
    try:
        yield Recording(installation.recorder.directory, installation)
    finally:
        if _installation is installation:
            uninstall()


def _globs(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _path(directory: str | os.PathLike[str] | None) -> Path:
    from poolhog.recording.attach.directory import default_directory

    return Path(directory) if directory is not None else default_directory()


def _install(directory: Path, options: Options) -> _Installation:
    global _installation
    from poolhog import probes
    from poolhog.recording.recorder import Recorder

    locks = None
    if options.watch_locks:
        from poolhog.probes.lock_servers import lock_server

        locks = lock_server(options.watch_locks)
    recorder = Recorder(directory, options=options, libraries=probes.libraries(), locks=locks)
    _installation = _Installation(recorder, probes.attach(recorder))
    return _installation


def __getattr__(name: str) -> Any:
    # The reader is loaded when it is asked for: a recorded process does not pay for it.
    if name == "open_trace":
        from poolhog.trace.reader import open_trace

        return open_trace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
