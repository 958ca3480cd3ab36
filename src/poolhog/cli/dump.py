"""``poolhog dump``: who holds what right now, in a process that runs or one that died."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from poolhog.analysis.dump import dump_now
from poolhog.cli.target import AsJson, Directory, Pid, read, target_words, trace_directory
from poolhog.errors import PoolhogError
from poolhog.render.losses import loss_lines, losses_json
from poolhog.render.output import print_lines, wide_console
from poolhog.render.words import command_of

if TYPE_CHECKING:
    from pathlib import Path

INTERVAL_S = 2.0


def dump(
    directory: Directory = None,
    *,
    pid: Pid = None,
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Every connection and every request that waits, each with its whole stack.",
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Print it again and again, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=0.1,
            help=f"With --watch: seconds from one dump to the next; by default {INTERVAL_S:g}.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which request holds which connection right now, and where in the code.

    Example: `poolhog dump`

    The conclusion comes first; requests with equal stacks are shown as one.

    The process keeps running undisturbed: poolhog reads what the process wrote a moment ago. If
    that is older, or if the process was killed, the output names the time of the last write.
    """
    if interval is not None and not watch:
        raise PoolhogError("--interval is for a dump that is printed again: add --watch")
    if not watch:
        _print(directory, pid, every=every, as_json=as_json, indent=2)
        return
    try:
        while True:
            if not as_json:
                _clear()
            _print(directory, pid, every=every, as_json=as_json, indent=None)
            time.sleep(interval or INTERVAL_S)
    except KeyboardInterrupt:
        typer.echo()  # behind the ^C of the terminal


def _print(
    given: Path | None, pid: int | None, *, every: bool, as_json: bool, indent: int | None
) -> None:
    from poolhog.render.dump import dump_text
    from poolhog.render.dump_json import dump_json

    dumps, unreadable = read(
        trace_directory(given),
        pid,
        lambda readers: [dump_now(reader.read_open()) for reader in readers],
        is_urgent=True,
    )
    recorded = [dump.process for dump in dumps]
    if as_json:
        told = {**losses_json(unreadable, recorded), **dump_json(dumps)}
        typer.echo(json.dumps(told, indent=indent))
        return
    out = wide_console()
    print_lines(out, loss_lines(unreadable, recorded, out.width))
    next_command = command_of(["poolhog", "report", *target_words(given)])
    out.print(dump_text(dumps, every=every, width=out.width, next_command=next_command))


def _clear() -> None:
    """Make room for the next dump: on a terminal the last one goes, elsewhere a line is empty."""
    out = wide_console()
    if out.is_terminal:
        out.clear()
    else:
        out.print()
