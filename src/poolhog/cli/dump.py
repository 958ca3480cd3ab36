"""``poolhog dump``: who holds what right now, in a process that runs or one that died."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from poolhog.analysis.dump import Liveness, process_dump, written_wall
from poolhog.cli.target import AsJson, Directory, Pid, read, target_words, trace_directory
from poolhog.render.losses import loss_lines, losses_json
from poolhog.render.output import print_lines, wide_console
from poolhog.render.words import command_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from poolhog.analysis.dump import ProcessDump
    from poolhog.model import Process
    from poolhog.trace.reader import ProcessReader

SILENT_S = 3.0
"""A process says at least every second that it lives."""


def dump(
    directory: Directory = None,
    *,
    pid: Pid = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Every frame of a library, and every request that waits."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which request holds which connection right now, and where in the code.

    Example: `poolhog dump`

    The process keeps running undisturbed: poolhog reads what the process wrote a moment ago. If
    that is older, or if the process was killed, the output names the time of the last write.
    """
    from poolhog.render.dump import dump_json, dump_text

    found = trace_directory(directory)
    dumps, unreadable = read(
        found, pid, lambda readers: [_dump(reader) for reader in readers], is_urgent=True
    )
    recorded = [dump.process for dump in dumps]
    if as_json:
        told = {**losses_json(unreadable, recorded), **dump_json(dumps)}
        typer.echo(json.dumps(told, indent=2))
        return
    out = wide_console()
    print_lines(out, loss_lines(unreadable, recorded, out.width))
    out.print(dump_text(dumps, every=every, width=out.width, next_command=_report(directory)))


def _dump(reader: ProcessReader) -> ProcessDump:
    trace = reader.read_open()
    process = reader.process
    how = liveness_of(process)
    age = written_age(process) if how in (Liveness.RUNNING, Liveness.SILENT) else None
    return process_dump(trace, how, age)


def ages(processes: Iterable[Process]) -> dict[int, float]:
    """The ages in seconds of the last commits of those that still run, by process id."""
    running = (p for p in processes if liveness_of(p) in (Liveness.RUNNING, Liveness.SILENT))
    return {process.pid: written_age(process) for process in running}


def written_age(process: Process) -> float:
    """How many seconds ago the process last committed what it recorded."""
    return max(time.time() - written_wall(process), 0.0)


def liveness_of(process: Process) -> Liveness:
    """Whether the process still does what its file says."""
    if process.finished:
        return Liveness.FINISHED
    if not _exists(process.pid):
        return Liveness.DEAD
    return Liveness.RUNNING if written_age(process) < SILENT_S else Liveness.SILENT


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _report(given: Path | None) -> str:
    return command_of(["poolhog", "report", *target_words(given)])
