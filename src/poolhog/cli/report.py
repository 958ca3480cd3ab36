"""``poolhog report``: which code holds connections without using them, and who waits for it."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poolhog.analysis.dump import Life
from poolhog.cli.dump import life
from poolhog.cli.reading import Reading
from poolhog.cli.target import Directory, Pid, UnusedError, checked, read, trace_directory
from poolhog.errors import PoolhogError
from poolhog.recording.attach.directory import TRACES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.report import Report
    from poolhog.model import Unreadable
    from poolhog.trace.reader import ProcessReader

FINDINGS = 3
ROUTES = 4


def report(
    directory: Directory = None,
    *,
    pid: Pid = None,
    route: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only routes whose name contains this."),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="From when on something is a finding. May be given repeatedly.",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help=f"How many findings and routes are shown; by default {FINDINGS} and {ROUTES}.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for a program.")] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page with pictures, for people."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Another trace, for the same page beside this one."),
    ] = None,
) -> None:
    """Say which code holds connections without using them, how long, and who waited for it.

    What was recorded may still run, or have died.
    """
    if against is not None and html is None:
        raise PoolhogError("--against is for a page of two traces: name its file with --html")
    if html is not None:
        if as_json or route is not None or top is not None:
            raise PoolhogError("--html is a page of all: leave --json, --route and --top out")
        _write_page(html, [directory] if against is None else [directory, against], pid, threshold)
        return
    found = _read(directory, pid, threshold or [])
    if route is not None:
        found = _about(found, route)
    if as_json:
        from poolhog.render.report_json import report_json

        typer.echo(json.dumps(report_json(found), indent=2))
        return
    target = [] if directory is None else [str(directory)]
    target += [] if pid is None else ["--pid", str(pid)]
    _print(found, top, tuple(target))


def _read(given: Path | None, pid: int | None, options: list[str]) -> Report:
    # A large part of the program, which no other verb needs.
    from poolhog.analysis.replay.beside import with_whatif
    from poolhog.analysis.report import EMPTY, read_report
    from poolhog.analysis.thresholds import Thresholds

    thresholds = Thresholds.from_pyproject(Path.cwd()).with_options(options)
    try:
        found = trace_directory(given)
    except UnusedError:
        return EMPTY

    def look(readers: Sequence[ProcessReader]) -> Report:
        report = read_report(readers, thresholds, reading.tell)
        reading.say("replaying what was recorded")
        return with_whatif(report, readers)

    with Reading() as reading:
        made, unreadable = read(found, pid, look)
    return replace(made, unreadable=unreadable)


def _write_page(
    file: Path, given: list[Path | None], pid: int | None, options: list[str] | None
) -> None:
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.analysis.whole import read_whole
    from poolhog.render.files import check_place, write_whole
    from poolhog.render.page import page_html
    from poolhog.render.page.data import page_data
    from poolhog.render.page.summary import summary_lines

    # What takes minutes to read should not be read for nothing.
    check_place(file)
    thresholds = Thresholds.from_pyproject(Path.cwd()).with_options(options or [])
    with Reading() as reading:
        sides = []
        for one in given:
            label, readers, unreadable = _readers(one, pid if one is given[0] else None)
            whole = read_whole(readers, thresholds, reading.tell)
            reading.say("replaying what was recorded")
            whole = whole.with_whatif()
            sides.append((label, whole.without(unreadable)))
        reading.say("making the page")
        data = page_data(sides, version=metadata.version("poolhog"))
        page = page_html(data)
    write_whole(file, page)
    for line in summary_lines(file, data, len(page.encode())):
        typer.echo(line)


def _readers(
    given: Path | None, pid: int | None
) -> tuple[str, Sequence[ProcessReader], Sequence[Unreadable]]:
    """The trace's name, and what reads it: nothing if it is empty. And what cannot be read."""
    try:
        found = trace_directory(given)
    except UnusedError:
        return (given or TRACES).name, (), ()
    return found.resolve().name, *read(found, pid, checked)


def _about(whole: Report, text: str) -> Report:
    found = whole.about(text)
    if not found.routes:
        known = ", ".join(route.name for route in whole.routes[:ROUTES]) or "none"
        raise PoolhogError(f"no route contains {text!r}: recorded were {known}")
    return found


def _print(found: Report, top: int | None, target: tuple[str, ...]) -> None:
    from poolhog.render.console import wide_console
    from poolhog.render.report import Layout, report_lines

    out = wide_console()
    layout = Layout(
        width=out.width,
        findings=top or FINDINGS,
        routes=top or ROUTES,
        in_full=top is not None,
        target=target,
        running=frozenset(p.pid for p in found.processes if life(p) is Life.RUNNING),
    )
    for line in report_lines(found, layout):
        out.print(line, soft_wrap=True)
