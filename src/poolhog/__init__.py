"""poolhog finds the code that hogs your database connection pool.

Record a process with :func:`install`, read what it recorded with :func:`open_trace`.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
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
    Checkout,
    Operation,
    OperationKind,
    Outcome,
    Pool,
    Process,
    Request,
    Stage,
    Trace,
)

if TYPE_CHECKING:
    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder
    from poolhog.trace.reader import open_trace

__all__ = [
    "Checkout",
    "ChildError",
    "DatabaseError",
    "Interrupted",
    "Operation",
    "OperationKind",
    "Outcome",
    "OutputError",
    "Pool",
    "PoolhogError",
    "Process",
    "Request",
    "Stage",
    "Trace",
    "TraceError",
    "install",
    "open_trace",
    "uninstall",
]


@dataclass(frozen=True, slots=True)
class _Installation:
    recorder: Recorder
    patches: Patches


_installation: _Installation | None = None


def install(directory: str | os.PathLike[str] | None = None) -> Path:
    """Record every connection pool of this process from now on.

    ``directory`` is where the trace goes, by default one named after the time and the process in
    ``poolhog-traces``; it is created when there is something to record. Installing again changes
    nothing. Returns the directory in use.
    """
    global _installation
    if _installation is None:
        from poolhog import probes
        from poolhog.recording.recorder import Recorder

        recorder = Recorder(Path(directory) if directory is not None else _default_directory())
        _installation = _Installation(recorder, probes.attach(recorder))
    return _installation.recorder.directory


def uninstall() -> None:
    """Stop recording: finish the trace, and leave no listener and no patch behind."""
    global _installation
    if _installation is not None:
        _installation.patches.restore()
        _installation.recorder.stop()
        _installation = None


def _default_directory() -> Path:
    return Path("poolhog-traces") / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def __getattr__(name: str) -> Any:
    # The reader is loaded when it is asked for: a recorded process does not pay for it.
    if name == "open_trace":
        from poolhog.trace.reader import open_trace

        return open_trace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
