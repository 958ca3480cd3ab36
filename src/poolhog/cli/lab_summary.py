"""The summary that ``poolhog lab`` prints: the conclusion, the pictures, the claims, the paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from poolhog.lab.pictures import latency_group, latency_marks, throughput
from poolhog.lab.remedies.table import RemedyTable, costs, measured, notes
from poolhog.lab.service.settings import Style
from poolhog.lab.talk import claim_text, conclusion
from poolhog.render.charts import latency_bars_text, throughput_bars_text
from poolhog.render.output import console
from poolhog.render.request_log import log_text, logs_side_by_side
from poolhog.render.timeline_text import timeline_text
from poolhog.render.words import command_of, count, seconds
from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import JustifyMethod, RenderableType

    from poolhog.lab.results import Results

_WIDE = 110


def print_summary(results: Results) -> None:
    """Print the run to standard output."""
    out = console()
    out.print(Text(conclusion(results), style="bold"))
    if results.dropped or results.recorder_errors:
        lost = f"{results.dropped} facts dropped, {results.recorder_errors} faults"
        out.print(Text(f"The recorder did not see everything: {lost}.", style="bold red"))
    for part in (
        *_logs(results, out.width),
        *_bursts(results, out.width),
        *_load(results, out.width),
        *_diagnoses(results),
        *_remedies(results, out.width),
        *_claims(results),
    ):
        out.print()
        out.print(part)
    out.print()
    for line in (*_repeats(results), *_paths(results)):
        out.print(visible(line), soft_wrap=True)


def _logs(results: Results, width: int) -> Iterator[RenderableType]:
    for result in results.lifecycle:
        if result.style is Style.IMPLICIT_FORGOTTEN_COMMIT and result.is_synchronize:
            yield Text("What a synchronize does whose author forgot the commit", style="bold")
            yield log_text(result.log, width=width)
    gets = [(str(result.style), result.log) for result in results.distinct_gets]
    if gets:
        yield Text("What a GET does in each style", style="bold")
        yield logs_side_by_side(gets, width=width)


def _bursts(results: Results, width: int) -> Iterator[RenderableType]:
    largest = results.largest_bursts
    requests = count(results.parameters.most_requests, "request")
    for burst in largest:
        title = f"{burst.style}: what {requests} and the connections were doing"
        yield Text(title, style="bold")
        yield timeline_text(burst.timeline, width=width)
    if largest:
        yield Text(f"How long each of {requests} took", style="bold")
        groups = [latency_group(burst) for burst in largest]
        yield latency_bars_text(groups, width=width, marks=latency_marks(largest))


def _load(results: Results, width: int) -> Iterator[RenderableType]:
    if results.load:
        bars, limit = throughput(results)
        yield Text("Answers per second under load", style="bold")
        yield throughput_bars_text(bars, limit, width=width)


def _diagnoses(results: Results) -> Iterator[RenderableType]:
    if not results.diagnoses:
        return
    table = _titled("What poolhog report says of each trace")
    for heading in ("experiment", "style", "finding", "held", "line"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "held" else "left")
    for diagnosis in results.diagnoses:
        named = (str(diagnosis.experiment), str(diagnosis.style))
        if not diagnosis.findings:
            table.add_row(*named, Text("nothing", "green"))
        for finding in diagnosis.findings:
            line = finding.site.source if finding.site is not None else ""
            table.add_row(*named, str(finding.kind), seconds(finding.seconds), line)
    yield table


def _remedies(results: Results, width: int) -> Iterator[RenderableType]:
    remedies = results.remedies
    if remedies is None or not remedies.measured:
        return
    yield _drawn(measured(remedies, results.parameters.requests, narrow=width < _WIDE))
    yield _drawn(costs(remedies))
    yield Text("\n".join(notes(remedies)), style="dim")


def _drawn(remedies: RemedyTable) -> Table:
    table = _titled(remedies.title)
    table.padding = (0, 1, 0, 0)
    for number, heading in enumerate(remedies.headings):
        justify: JustifyMethod = "left" if number in remedies.texts else "right"
        table.add_column(heading, overflow="fold", justify=justify, no_wrap=number == 0)
    for row in remedies.rows:
        table.add_row(*row)
    return table


def _claims(results: Results) -> Iterator[RenderableType]:
    claims = [claim_text(claim, results.parameters) for claim in results.claims]
    if not claims:
        return
    holding = sum(claim.holds for claim in claims)
    table = _titled(f"{holding} of {len(claims)} claims hold")
    for heading in ("slide", "claim", "expected", "measured"):
        table.add_column(heading, overflow="fold")
    table.add_column("holds", no_wrap=True)
    for claim in claims:
        holds = Text("✓ yes", style="green") if claim.holds else Text("✗ no", style="bold red")
        table.add_row(claim.id, claim.text, claim.expected_text, claim.measured_text, holds)
    yield table
    for claim in claims:
        if claim.why:
            yield Text(visible(" ".join([f"{claim.id}, {claim.text}, does not hold.", *claim.why])))


def _titled(title: str) -> Table:
    """An empty table without a box; its columns are added by the caller."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        header_style="dim",
    )


def _repeats(results: Results) -> Iterator[str]:
    """Lines with the commands that repeat what failed, each command once."""
    failed = [claim.part for claim in results.claims if not claim.holds and claim.part is not None]
    if failed:
        yield "Repeat what did not hold:"
        for command in dict.fromkeys(part.command(results.parameters) for part in failed):
            yield f"  {command}"
        yield ""


def _paths(results: Results) -> Iterator[str]:
    output = results.parameters.output
    pictures = len(list(output.glob("*.svg")))
    yield f"{output / 'results.json'}  every number"
    if pictures:
        yield f"{output}/*.svg  {count(pictures, 'picture')}"
    if results.remedies is not None:
        yield f"{output / 'remedies.md'}  the tables, for a document"
    yield f"{output / 'traces'}  what was recorded"
    page = command_of([str(output / "report.html")])
    yield f"Read the talk told with this run: python3 -m webbrowser {page}"
