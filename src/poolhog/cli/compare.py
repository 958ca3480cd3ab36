"""``poolhog compare``: what changed from one run to another, and a gate for CI."""

from __future__ import annotations

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poolhog.analysis.liveness import ages
from poolhog.cli.page import read_page
from poolhog.cli.reading import Reading
from poolhog.cli.target import (
    AsJson,
    Editor,
    OfReport,
    Source,
    Threshold,
    read,
    thresholds_of,
    trace_directory,
)
from poolhog.errors import PoolhogError
from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.compare.comparison import Comparison, ConditionResult, Run
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.trace.reader import ProcessReader

MOST = 5
GATE = "new-findings"


class Form(StrEnum):
    """How it is printed."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def compare(
    before: Annotated[
        Path,
        typer.Argument(
            metavar="BEFORE", help="A trace, or a directory of traces: poolhog reads the newest."
        ),
    ],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="The trace of the changed code.")],
    *,
    route: OfReport = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit with 1 if this holds: new-findings, a limit such as wait-p95>50ms, or a "
            "change such as parked>+10%. With never, always exit with 0. May be given repeatedly, "
            "or separated by commas.",
            show_default=GATE,
        ),
    ] = None,
    threshold: Threshold = None,
    top: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="The number of findings and routes to show."),
    ] = MOST,
    as_json: AsJson = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, for a comment on a pull request.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write a page with both runs."),
    ] = None,
    source: Source = None,
    editor: Editor = None,
) -> None:
    """Show what became better or worse between two runs, and fail a build.

    Example: `poolhog compare BEFORE AFTER --fail-on new-findings`

    Changes within normal variation are reported but do not fail the build. Exits with 1 if a
    condition of --fail-on holds.
    """
    if source is not None and html is None:
        raise PoolhogError("--source is for a page: name its file with --html")
    if editor is not None and html is None:
        raise PoolhogError("--editor is for a page: name its file with --html")
    if as_json and as_markdown:
        raise PoolhogError("--json and --markdown are two forms: choose one")
    from poolhog.analysis.compare.comparison import compare as compare_runs
    from poolhog.analysis.compare.comparison import results
    from poolhog.cli.conditions import conditions

    wanted = conditions(fail_on if fail_on is not None else [GATE])
    thresholds = thresholds_of(Path.cwd(), threshold or ())
    if html is None:
        with Reading() as reading:
            one, other = (_read(given, thresholds, reading) for given in (before, after))
        comparison = _checked(compare_runs(one, other, route), route)
    else:
        for given in (before, after):
            trace_directory(given)
        page = read_page((before, after), thresholds, html, source, editor=editor)
        one, other = page.runs
        comparison = _checked(compare_runs(one, other, route), route)
        page.write(comparison)
    found = tuple(results(comparison, wanted))
    form = Form.JSON if as_json else Form.MARKDOWN if as_markdown else Form.TEXT
    _print(comparison, found, form, top, (str(before), str(after)))
    if any(result.holds for result in found):
        raise typer.Exit(1)


def _read(given: Path, thresholds: Thresholds, reading: Reading) -> Run:
    from poolhog.analysis.compare.comparison import Run
    from poolhog.analysis.compare.series import Series
    from poolhog.analysis.report import read_report

    directory = trace_directory(given)

    def read_run(readers: Sequence[ProcessReader]) -> Run:
        series = Series()
        report = read_report(readers, thresholds, reading.tell, companions=[series])
        return Run(visible(directory.resolve().name), report, series)

    run, unreadable = read(directory, None, read_run)
    return replace(run, report=replace(run.report, unreadable=unreadable))


def _checked(comparison: Comparison, text: str | None) -> Comparison:
    if text is not None and not comparison.routes:
        known = ", ".join(sorted(comparison.before.routes | comparison.after.routes)[:MOST])
        raise PoolhogError(f"no route contains {text!r}: recorded were {known or 'none'}")
    return comparison


def _print(
    comparison: Comparison,
    found: Sequence[ConditionResult],
    form: Form,
    top: int,
    targets: tuple[str, str],
) -> None:
    if form is Form.JSON:
        from poolhog.render.comparison_ci import comparison_json

        typer.echo(json.dumps(comparison_json(comparison, found), indent=2))
        return
    if form is Form.MARKDOWN:
        from poolhog.render.comparison_ci import comparison_markdown

        typer.echo(comparison_markdown(comparison, found), nl=False)
        return
    from poolhog.render.comparison import ComparisonLayout, comparison_lines
    from poolhog.render.output import print_lines, wide_console

    out = wide_console()
    sides = (comparison.before.report, comparison.after.report)
    recorded = [process for side in sides for process in side.processes]
    layout = ComparisonLayout(out.width, top, targets, ages(recorded))
    print_lines(out, comparison_lines(comparison, found, layout))
