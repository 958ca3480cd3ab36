"""Pages of the lab, made of runs whose facts are known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from factories import PROCESS, explicit_burst, implicit_burst
from test_lab_claims import burst, get, load, results

from poolhog.analysis.digest import digest_of
from poolhog.analysis.shown import shown_of
from poolhog.analysis.timeline import build_timeline
from poolhog.lab.claims import check
from poolhog.lab.report import publish
from poolhog.lab.service.settings import Style
from poolhog.model import OperationKind, Trace

if TYPE_CHECKING:
    from pathlib import Path

    from factories import Burst

    from poolhog.lab.results import BurstResult, Results


def lab_page(folder: Path, *, url: str | None = None) -> str:
    """The address of a page about a run of all experiments; ``url`` is where it is published."""
    folder.mkdir(exist_ok=True)
    publish(lab_run(folder, url), folder)
    return (folder / "report.html").as_uri()


def lab_run(folder: Path, url: str | None) -> Results:
    found = results(
        lifecycle=[
            get(Style.IMPLICIT, 0.9, OperationKind.ROLLBACK),
            get(Style.EXPLICIT, 0.4, OperationKind.COMMIT),
        ],
        burst=[
            measured(Style.IMPLICIT, implicit_burst()),
            measured(Style.EXPLICIT, explicit_burst()),
            measured(Style.PER_QUERY, explicit_burst()),
        ],
        load=[load(Style.IMPLICIT, 2.0), load(Style.EXPLICIT, 198.0)],
    )
    found.parameters = replace(found.parameters, output=folder, url=url)
    found.claims = check(found)
    found.complete = True
    return found


def measured(style: Style, made: Burst) -> BurstResult:
    """A burst of the lab, of which these are the facts."""
    checkouts, requests, pool, ended = made
    trace = Trace((PROCESS,), (pool,), tuple(requests), tuple(checkouts), ended)
    shown = shown_of(trace).values()
    timeline = build_timeline(shown, requests, [pool], started=0.0, ended=ended)
    found = burst(style, len(requests), ended, 0.0)
    return replace(found, timeline=timeline, whole=digest_of(trace, 0.0, ended))
