"""Two tables of the remedies: what was measured and predicted, and what each remedy costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.lab.remedy_names import RemedyName
from poolhog.render.words import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.lab.parameters import Parameters
    from poolhog.lab.remedy_results import Forecast, RemediesResults, RemedyResult

NEARLY = 0.9
"""The share of the possible answers per second that a remedy must reach."""


@dataclass(frozen=True, slots=True)
class RemedyTable:
    """A table of texts; ``texts`` are the indexes of the columns without numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: frozenset[int]


def measured(
    remedies: RemediesResults, requests: Sequence[int], *, narrow: bool = False
) -> RemedyTable:
    """Bursts, load and server connections of each remedy, with the predictions beside them.

    A ``narrow`` table has only the largest burst, and no column of writes.
    """
    most = max(requests)
    shown = (most,) if narrow else tuple(requests)
    headings = ["remedy"]
    for number in shown:
        headings += [f"{number} at once", "predicted"]
    headings += ["answers/s", "predicted", "failed/s", "written/s", "open"]
    rows = [_numbers(result, shown, most) for result in remedies.measured]
    left_out = {headings.index("written/s")} if narrow else set()
    return RemedyTable(
        "What each remedy comes to",
        _without(headings, left_out),
        tuple(_without(row, left_out) for row in rows),
        texts=frozenset({0}),
    )


def costs(remedies: RemediesResults) -> RemedyTable:
    """The outcome of two requests for one note, and the cost of each remedy."""
    return RemedyTable(
        "What it costs",
        ("remedy", "two at once", "with a version column", "what is given up"),
        tuple(
            (_name(r), r.unchecked.verdict, _checked(r), r.remedy.cost) for r in remedies.measured
        ),
        texts=frozenset(range(4)),
    )


def notes(remedies: RemediesResults) -> list[str]:
    """Notes that a reader of both tables needs."""
    skipped = [f"Not measured: {name}. {reason}." for name, reason in remedies.skipped.items()]
    unpredicted = [
        f"Not predicted: {result.remedy.name}. {reason[0].upper()}{reason[1:]}."
        for result in remedies.measured
        if (reason := result.load.predicted.reason or result.bursts[-1].predicted.reason)
    ]
    return [
        "open: the most connections that PostgreSQL had of the service, in the largest burst and "
        f"under load, asked every {seconds(remedies.poll_s)}; its max_connections is "
        f"{remedies.max_connections}. Predicted: from the trace of implicit alone.",
        *unpredicted,
        *skipped,
    ]


def conclusion(remedies: RemediesResults, parameters: Parameters) -> str:
    """Which remedies cure, and how many lose writes, in three sentences."""
    possible = parameters.users / parameters.external_latency
    tried = [r for r in remedies.measured if r.remedy.name is not RemedyName.IMPLICIT]
    cures = [r for r in tried if _cures(r, possible)]
    names = ", ".join(str(result.remedy.name) for result in cures)
    implicit = remedies.of(RemedyName.IMPLICIT)
    rate = implicit.load.answered_per_s if implicit is not None else 0.0
    losing = sum(result.unchecked.lost > 0 for result in tried)
    return (
        f"{len(cures)} of {len(tried)} remedies come to nine tenths of the {possible:,.0f} answers "
        "per second that are possible, with no more connections and no failure"
        f"{': ' + names if names else ''}. Implicit gets {rate:.1f}. Of two requests for one note "
        f"at once, {losing} of them lose one without an error."
    )


def markdown(remedies: RemediesResults, requests: Sequence[int]) -> str:
    """Both tables and their notes in Markdown."""
    parts = [_markdown(table) for table in (measured(remedies, requests), costs(remedies))]
    return "\n\n".join([*parts, *notes(remedies)]) + "\n"


def _without(cells: Sequence[str], left_out: set[int]) -> tuple[str, ...]:
    return tuple(cell for number, cell in enumerate(cells) if number not in left_out)


def _cures(result: RemedyResult, possible: float) -> bool:
    load, remedy = result.load, result.remedy
    return (
        remedy.answers_when_done
        and remedy.pool_size is None
        and remedy.max_overflow is None
        and (remedy.keeps_connections or remedy.through_pgbouncer)
        and load.failed_per_s == 0
        and load.answered_per_s >= NEARLY * possible
    )


def _numbers(result: RemedyResult, requests: Sequence[int], most: int) -> tuple[str, ...]:
    bursts = {burst.requests: burst for burst in result.bursts}
    cells: list[str] = []
    for number in requests:
        burst = bursts[number]
        failed = f" ({burst.errors} failed)" if burst.errors else ""
        cells += [seconds(burst.makespan) + failed, _predicted(burst.predicted, seconds)]
    load = result.load
    return (
        _name(result),
        *cells,
        _rate(load.answered_per_s),
        _predicted(load.predicted, _rate),
        _rate(load.failed_per_s),
        _rate(load.written_per_s),
        f"{bursts[most].connections} / {load.connections}",
    )


def _predicted(prediction: Forecast, words: Callable[[float], str]) -> str:
    return "-" if prediction.value is None else words(prediction.value)


def _rate(value: float) -> str:
    return f"{value:,.1f}" if value < 99.95 else f"{value:,.0f}"


def _name(result: RemedyResult) -> str:
    number = result.remedy.number
    return f"{number} {result.remedy.name}" if number else str(result.remedy.name)


def _checked(result: RemedyResult) -> str:
    race = result.checked
    if race.kept_after_retry is None or race.kept_after_retry > race.kept:
        return race.verdict
    return f"{race.verdict} for good"


def _markdown(table: RemedyTable) -> str:
    lines = [
        table.headings,
        tuple("---" if i in table.texts else "--:" for i in range(len(table.headings))),
        *table.rows,
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
