"""``poolhog report``: which code holds connections without using them, and who waits for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poolhog.analysis.liveness import ages
from poolhog.cli.page import read_page
from poolhog.cli.reading import Reading
from poolhog.cli.target import (
    AsJson,
    Directory,
    Editor,
    OfReport,
    Pid,
    Source,
    Threshold,
    UnusedError,
    read,
    target_words,
    thresholds_of,
    trace_directory,
)
from poolhog.errors import PoolhogError
from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.replay.study import TopFindingWhatIf
    from poolhog.analysis.report import Report
    from poolhog.trace.reader import ProcessReader

FINDINGS = 3
ROUTES = 4


def report(
    directory: Directory = None,
    *,
    pid: Pid = None,
    route: OfReport = None,
    threshold: Threshold = None,
    top: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help=f"The number of findings and routes to show. By default {FINDINGS} and {ROUTES}.",
        ),
    ] = None,
    blame: Annotated[
        bool, typer.Option("--blame", help="Show which route made which route wait, as a table.")
    ] = False,
    as_json: AsJson = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write an HTML page with the findings, the timeline and all requests.",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="A second trace, which the page of --html shows beside this one."
        ),
    ] = None,
    source: Source = None,
    editor: Editor = None,
) -> None:
    """Name the code that holds connections without using them, and the requests that waited.

    Example: `poolhog report`

    The recorded process may still be running, or may have been killed.
    """
    if against is not None and html is None:
        raise PoolhogError("--against is for a page of two traces: name its file with --html")
    if source is not None and html is None:
        raise PoolhogError("--source is for a page: name its file with --html")
    if editor is not None and html is None:
        raise PoolhogError("--editor is for a page: name its file with --html")
    if html is not None:
        if as_json or blame or route is not None or top is not None:
            raise PoolhogError(
                "--html is a page of all: leave --json, --blame, --route and --top out"
            )
        given = [directory] if against is None else [directory, against]
        _write_page(html, given, pid, threshold, source, editor)
        return
    found, whatif = _read(directory, pid, threshold or [])
    if route is not None:
        found = _about(found, route)
    if as_json:
        from poolhog.render.report import report_json

        typer.echo(json.dumps(report_json(found, whatif), indent=2))
        return
    _print(found, whatif, top, tuple(target_words(directory, pid)), with_blame=blame)


def _read(
    given: Path | None, pid: int | None, options: list[str]
) -> tuple[Report, TopFindingWhatIf | None]:
    # A large part of the program, which no other verb needs.
    from poolhog.analysis.replay.study import top_finding_whatif
    from poolhog.analysis.report import EMPTY, read_report

    thresholds = thresholds_of(Path.cwd(), options)
    try:
        found = trace_directory(given)
    except UnusedError:
        return EMPTY, None

    def look(readers: Sequence[ProcessReader]) -> tuple[Report, TopFindingWhatIf | None]:
        report = read_report(readers, thresholds, reading.tell)
        reading.say("replaying what was recorded")
        return report, top_finding_whatif(report, readers)

    with Reading() as reading:
        (report, whatif), unreadable = read(found, pid, look)
    return replace(report, unreadable=unreadable), whatif


def _write_page(
    file: Path,
    given: list[Path | None],
    pid: int | None,
    options: list[str] | None,
    source: Path | None,
    editor: str | None,
) -> None:
    from poolhog.analysis.compare.comparison import compare
    from poolhog.render.page.verdict import summary_lines

    thresholds = thresholds_of(Path.cwd(), options or ())
    page = read_page(given, thresholds, file, source, pid, editor)
    runs = page.runs
    comparison = compare(runs[0], runs[1]) if len(runs) > 1 else None
    data, size = page.write(comparison)
    for line in summary_lines(file, data, size, comparison):
        typer.echo(visible(line))


def _about(whole: Report, text: str) -> Report:
    found = whole.about(text)
    if not found.routes:
        known = ", ".join(route.name for route in whole.routes[:ROUTES]) or "none"
        raise PoolhogError(f"no route contains {text!r}: recorded were {known}")
    return found


def _print(
    found: Report,
    whatif: TopFindingWhatIf | None,
    top: int | None,
    target: tuple[str, ...],
    *,
    with_blame: bool,
) -> None:
    from poolhog.render.output import print_lines, wide_console
    from poolhog.render.report import Layout, report_lines

    out = wide_console()
    layout = Layout(
        width=out.width,
        findings=top or FINDINGS,
        routes=top or ROUTES,
        in_full=top is not None,
        target=target,
        with_blame=with_blame,
        running=ages(found.processes),
        whatif=whatif,
    )
    print_lines(out, report_lines(found, layout))
