"""``poolhog dump``: who holds what right now, in a process that runs or one that died."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from poolhog.analysis.dump import Life, process_dump, written_wall
from poolhog.cli.target import Directory, Pid, read, trace_directory
from poolhog.render.console import wide_console
from poolhog.render.hints import command_of
from poolhog.render.unreadable import unreadable_json, unreadable_lines

if TYPE_CHECKING:
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
    as_json: Annotated[bool, typer.Option("--json", help="Print it for a program.")] = False,
) -> None:
    """Show who holds which connection right now, and who waits for one, with stacks.

    The process runs on undisturbed: what it wrote a moment ago is read. Of one that was killed or
    that crashed it is shown how it stood.
    """
    from poolhog.render.dump import dump_json, dump_text

    found = trace_directory(directory)
    dumps, unreadable = read(
        found, pid, lambda readers: [_dump(reader) for reader in readers], is_urgent=True
    )
    if as_json:
        told = {"unreadable": unreadable_json(unreadable), **dump_json(dumps)}
        typer.echo(json.dumps(told, indent=2))
        return
    out = wide_console()
    for line in unreadable_lines(unreadable, out.width):
        out.print(line, soft_wrap=True)
    out.print(dump_text(dumps, every=every, width=out.width, next_command=_report(directory)))


def _dump(reader: ProcessReader) -> ProcessDump:
    trace = reader.read_open()
    return process_dump(trace, life(reader.process))


def life(process: Process) -> Life:
    """Whether the process still does what its file says."""
    if process.finished:
        return Life.FINISHED
    if not _exists(process.pid):
        return Life.DEAD
    return Life.RUNNING if time.time() - written_wall(process) < SILENT_S else Life.SILENT


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _report(given: Path | None) -> str:
    return command_of(["poolhog", "report", *([str(given)] if given is not None else [])])
