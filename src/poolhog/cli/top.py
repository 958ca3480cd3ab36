"""``poolhog top``: who holds what, and who waits, as a screen that refreshes itself."""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poolhog.analysis.live import LiveRun
from poolhog.cli.reading import Reading
from poolhog.cli.target import AsJson, Pid, directory_with, thresholds_of, trace_directory
from poolhog.render.output import note, print_lines, wide_console

if TYPE_CHECKING:
    from poolhog.analysis.findings_so_far import FindingsSoFar
    from poolhog.render.top_views import Showing

INTERVAL_S = 1.0


def top(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR|PID",
            help="A trace, a directory of traces, or a process of which there is a trace in "
            "poolhog-traces: its whole run is shown. By default the newest run there.",
            show_default=False,
        ),
    ] = None,
    *,
    pid: Pid = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print it as text, once, instead of a screen.")
    ] = False,
    interval: Annotated[
        float,
        typer.Option(metavar="S", min=0.2, help="Seconds from one look to the next."),
    ] = INTERVAL_S,
    as_json: AsJson = False,
) -> None:
    """Watch who holds connections, who waits for one, and where, while it happens.

    Example: `poolhog top`

    Only the trace is read: nothing listens in the application. Where there is no terminal to
    draw on, it is printed once.
    """
    from poolhog.analysis.findings_so_far import FindingsSoFar
    from poolhog.render.words import short_path

    directory = trace_directory(directory_with(target))
    run = LiveRun(directory, pid)
    findings = FindingsSoFar(directory, pid, lambda: thresholds_of(Path.cwd()))
    title = short_path(str(directory))
    if once or as_json or not _has_terminal():
        showing = _look_once(run, findings, title)
        if not once and not as_json:
            note("this is not a terminal: printed once, as with --once")
        _print(showing, as_json=as_json)
        return
    # Textual takes as long to load as a small report: only the screen needs it.
    from poolhog.cli.top_screen import TopScreen

    run.look()  # what cannot be read at all is said in a line, not on a screen
    findings.start()
    gc.freeze()  # what was loaded stays: the collector need not go through it at every look
    TopScreen(run, findings, title, interval).run()


def _has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _look_once(run: LiveRun, findings: FindingsSoFar, title: str) -> Showing:
    from poolhog.render.top_views import Showing

    with Reading():
        showing = Showing(run.look(), title)
        so_far = findings.compute()
        return replace(showing, so_far=so_far, now=time.monotonic())


def _print(showing: Showing, *, as_json: bool) -> None:
    from poolhog.render.top import top_json, top_lines
    from poolhog.render.top_views import Choice

    if as_json:
        typer.echo(json.dumps(top_json(showing), indent=2))
        return
    out = wide_console()
    print_lines(out, top_lines(showing, Choice(), min(out.width, 200)))
