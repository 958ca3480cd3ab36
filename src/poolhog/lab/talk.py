"""The content of the report's template: sentences, numbers and pictures of one run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata
from typing import TYPE_CHECKING

from poolhog.lab import listing
from poolhog.lab.diagrams import Diagrams
from poolhog.lab.explanations import amount, explanation
from poolhog.lab.parameters import Experiment
from poolhog.lab.pictures import ANIMATED
from poolhog.lab.remedies import table
from poolhog.lab.service.settings import Style
from poolhog.lab.slides import TITLES, notes
from poolhog.render.page.data import page_data
from poolhog.render.words import count, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markupsafe import Markup

    from poolhog.analysis.findings import Finding
    from poolhog.lab.parameters import Parameters
    from poolhog.lab.results import BurstResult, Claim, LifecycleResult, LoadResult, Results
    from poolhog.render.page.data import PageData

MEANINGS = {
    "waiting": "The request asked for a connection and has none yet.",
    "busy": "The database is doing something for the request that holds the connection.",
    "blocked": "The statement waits for a lock that another connection holds.",
    "parked": "The request holds the connection and awaits something that is not the database.",
    "running": "The request holds the connection while Python executes its code.",
    "ready": "The request holds the connection and could go on, but the event loop is occupied.",
    "none": "The request is under way without a connection.",
}
"""The meaning of each colour in a picture."""

SUMMARY = "T16"
"""The chapter of claims that have none of their own."""


@dataclass(frozen=True, slots=True)
class ClaimText:
    """A claim with its numbers in words.

    ``is_main`` says that a slide has room for it; ``why`` are sentences about one that does not
    hold, ``repeat`` is the command that repeats its part of the run.
    """

    id: str
    text: str
    expected_text: str
    measured_text: str
    holds: bool
    unit: str | None
    why: Sequence[str] = ()
    repeat: str = ""
    is_main: bool = False

    @property
    def short(self) -> str:
        """The claim and what was measured, for a slide."""
        if self.holds and self.unit is None:
            return f"{self.text}: {self.measured_text}"
        return f"{self.text}: {self.measured_text} (expected {self.expected_text})"


@dataclass(frozen=True, slots=True)
class ScopedFindings:
    """What ``poolhog report`` finds, and in what: ``scope`` is for people."""

    scope: str
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Summary:
    """The run in numbers: a row for each style."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


class Talk:
    """The talk as this run tells it: what was not measured is left out."""

    def __init__(self, results: Results, pictures: Mapping[str, str]) -> None:
        self._results = results
        self._notes = notes(results)
        self.diagrams = Diagrams(results, pictures, results.parameters.url)
        self.complete = results.complete
        self.failure = results.failure
        self.dropped = results.dropped
        self.recorder_errors = results.recorder_errors
        self.started_at = results.started_at
        self.claims = [claim_text(claim, results.parameters) for claim in results.claims]
        self.loads: Sequence[LoadResult] = results.load
        self.latency = seconds(results.parameters.external_latency)
        self.is_told = results.parameters.experiments != (Experiment.REMEDIES,)
        self.has_several_waves = any(
            burst.waves > 1 for burst in results.burst if burst.style is Style.IMPLICIT
        )

    @property
    def timelines(self) -> list[tuple[str, bool]]:
        """The names of all bursts' animated pictures, and which are of a style's largest burst."""
        most = self._results.parameters.most_requests
        return [
            (
                f"timeline-{burst.style}{'' if is_largest else f'-{burst.requests}'}{ANIMATED}",
                is_largest,
            )
            for burst in self._results.burst
            for is_largest in [burst.requests == most]
        ]

    @property
    def data(self) -> PageData:
        """The data of the interactive pictures: the largest burst of each style."""
        sides = [(str(burst.style), burst.whole) for burst in self._movable if burst.whole]
        return page_data(sides, version=metadata.version("poolhog"))

    def movable(self, styles: Sequence[str]) -> list[tuple[int, str]]:
        """The numbers in ``data`` of those styles that this run has an interactive picture of."""
        known = [str(burst.style) for burst in self._movable]
        return [(known.index(style), style) for style in styles if style in known]

    @property
    def _movable(self) -> list[BurstResult]:
        return [burst for burst in self._results.largest_bursts if burst.whole is not None]

    @property
    def remedies(self) -> list[table.RemedyTable]:
        """The tables of the remedies, if any were measured."""
        remedies = self._results.remedies
        if remedies is None or not remedies.measured:
            return []
        return [table.measured(remedies, self._results.parameters.requests), table.costs(remedies)]

    @property
    def remedy_notes(self) -> list[str]:
        """Notes that the reader of the remedies' tables needs."""
        return table.notes(self._results.remedies) if self._results.remedies is not None else []

    @property
    def conclusion(self) -> str:
        """The result of the run, in a sentence or two."""
        return conclusion(self._results)

    @property
    def styles_text(self) -> str:
        """The styles that this run has measured."""
        results = self._results
        remedies = results.remedies.measured if results.remedies is not None else []
        measured = dict.fromkeys(
            [
                *(str(result.style) for result in results.lifecycle),
                *(str(result.style) for result in results.burst),
                *(str(result.style) for result in results.load),
                *(str(result.remedy.style) for result in remedies),
            ]
        )
        return f"in {count(len(measured), 'style')}: {', '.join(measured)}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The run's parameters as pairs of a name and a value."""
        parameters = self._results.parameters
        facts = [
            ("external API takes", self.latency),
            ("pool", _pool(self._results, Experiment.BURST)),
            ("workers", str(parameters.workers)),
            ("PostgreSQL", self._results.versions.get("postgresql", "")),
        ]
        if {Experiment.LOAD, Experiment.REMEDIES} & set(parameters.experiments):
            facts[2:2] = [
                ("pool under load", _pool(self._results, Experiment.LOAD)),
                ("users under load", f"{parameters.users:,}"),
            ]
        return facts

    def burst_sentence(self, *, in_one_wave: bool) -> str:
        """The implicit bursts that find a connection for each request, or those that do not."""
        bursts = [burst for burst in self._results.burst if burst.style is Style.IMPLICIT]
        sizes = [str(burst.requests) for burst in bursts if (burst.waves == 1) is in_one_wave]
        if not sizes:
            return ""
        pool = _pool(self._results, Experiment.BURST)
        return f"{' and '.join(sizes)} simultaneous requests, {pool}."

    @property
    def load_sentence(self) -> str:
        """Describes the load."""
        parameters = self._results.parameters
        return (
            f"{parameters.users:,} users, each asking again as soon as it is answered, "
            f"{_pool(self._results, Experiment.LOAD)}, {count(parameters.workers, 'worker')}. "
            f"If nobody had to wait for a connection, an answer would take {self.latency}, so "
            f"there would be {parameters.users / parameters.external_latency:.0f} of them per "
            "second."
        )

    @property
    def load_method(self) -> str:
        """How the load was measured."""
        measured = seconds(self._results.parameters.window_in(Experiment.LOAD))
        return f"Measured for {measured} after all users had come and the first were answered."

    @property
    def arithmetic(self) -> str:
        """Explains the expected numbers."""
        return (
            "Expected by arithmetic, with L the external call's latency, P the connections, N "
            "simultaneous requests and U users: a burst that holds its connections takes "
            "ceil(N / P) · L, any other L; under load, holding allows P / L requests per second, "
            "and not holding U / L."
        )

    @property
    def versions_text(self) -> str:
        """The versions of everything that took part in the run."""
        return ", ".join(f"{name} {version}" for name, version in self._results.versions.items())

    def claims_of(self, slides: Sequence[str]) -> list[ClaimText]:
        """The claims of these slides; one is the main one, which has room on a slide."""
        found = [claim for claim in self.claims if claim.id in slides]
        timed = [claim for claim in found if claim.unit == "s"]
        main = timed[-1] if timed else found[0] if found else None
        return [replace(claim, is_main=claim is main) for claim in found]

    @property
    def holding(self) -> str:
        """The number of claims that hold."""
        holding = sum(claim.holds for claim in self.claims)
        return f"{holding} of {count(len(self.claims), 'claim')} hold."

    @property
    def summary(self) -> Summary:
        """The bursts and the load in a few numbers, by style."""
        results = self._results
        sizes = sorted({burst.requests for burst in results.burst})
        of_bursts = [burst.style for burst in results.burst]
        styles = dict.fromkeys([*of_bursts, *(load.style for load in results.load)])
        headings = ["style", *(f"{count(size, 'request')} at once" for size in sizes)]
        if results.load:
            headings.append("answers/s under load")
        rows = []
        for style in styles:
            bursts = [results.burst_of(style, size) for size in sizes]
            row = [str(style), *("" if one is None else seconds(one.makespan) for one in bursts)]
            if results.load:
                load = results.load_of(style)
                row.append("" if load is None else f"{load.requests_per_s:,.1f}")
            rows.append(row)
        return Summary(headings, rows)

    @property
    def sections(self) -> list[tuple[str, str]]:
        """The id and the title of each section, in the order of the page."""
        told = list(TITLES.items()) if self.is_told else [(SUMMARY, TITLES[SUMMARY])]
        return [*told[:-1], *([("remedies", "What users try")] if self.remedies else []), told[-1]]

    def title(self, slide: str) -> str:
        """The title of a slide."""
        return TITLES[slide]

    def note(self, slide: str) -> Sequence[str]:
        """What the speaker says on a slide, in sentences."""
        return self._notes[slide]

    def anchor(self, claim: str) -> str:
        """The id of the chapter of a claim."""
        return claim if claim in TITLES else SUMMARY

    def lifecycle(self, style: str, method: str) -> LifecycleResult | None:
        """The recorded request of a style, if it was run."""
        return self._results.lifecycle_of(Style(style), method)

    def findings(self, experiment: str, style: str) -> ScopedFindings | None:
        """The findings in what the page shows of a style; ``None`` if that was not run.

        Of bursts, that is the largest: its drawing and these findings are about the same requests.
        """
        if experiment == Experiment.BURST:
            for burst in self._movable:
                if burst.style == style and burst.whole is not None:
                    scope = f"these {count(burst.requests, 'request')}, {style}"
                    return ScopedFindings(scope, burst.whole.report.findings)
        diagnosis = self._results.diagnosis_of(Experiment(experiment), Style(style))
        return None if diagnosis is None else ScopedFindings(style, diagnosis.findings)

    def listing(self, style: str, endpoint: str) -> Markup:
        """The highlighted source of an endpoint."""
        return listing.highlighted(listing.endpoint(Style(style), endpoint))

    def meaning(self, paint: str) -> str:
        """The meaning of a colour."""
        return MEANINGS[paint]


def claim_text(claim: Claim, parameters: Parameters) -> ClaimText:
    """The claim of a run with these parameters, with its numbers in words."""
    return ClaimText(
        claim.id,
        claim.text,
        amount(claim.expected, claim.unit),
        amount(claim.measured, claim.unit),
        claim.holds,
        claim.unit,
        explanation(claim),
        claim.part.command(parameters) if claim.part is not None else "",
    )


def conclusion(results: Results) -> str:
    """The cost of holding connections through the external call, from whatever was run."""
    if results.parameters.experiments == (Experiment.REMEDIES,):
        remedies = results.remedies
        return table.conclusion(remedies, results.parameters) if remedies is not None else ""
    held, released = results.load_of(Style.IMPLICIT), results.load_of(Style.EXPLICIT)
    if held is not None and released is not None and held.requests_per_s > 0:
        return (
            f"{held.users:,} users get {held.requests_per_s:.1f} answers per second from a service "
            f"that holds its connection through an external call, and "
            f"{released.requests_per_s:.0f} from the same service if it gives the connection back "
            f"first: {released.requests_per_s / held.requests_per_s:.0f} times as many."
        )
    most = results.parameters.most_requests
    slow, fast = results.burst_of(Style.IMPLICIT, most), results.burst_of(Style.EXPLICIT, most)
    if slow is not None and fast is not None and not (slow.errors or fast.errors):
        return (
            f"{count(most, 'request')} at once take {seconds(slow.makespan)} if each holds its "
            "connection through the external call, and "
            f"{seconds(fast.makespan)} if it gives it back first."
        )
    return " ".join(_each(results)) or "Nothing was finished in this run."


def _each(results: Results) -> Iterator[str]:
    """A sentence on each style that was measured without the other one to compare it with."""
    if results.load:
        for load in results.load:
            yield (
                f"{load.style}: {load.users:,} users get {load.requests_per_s:.1f} answers per "
                f"second, {load.limit_per_s:.1f} are possible."
            )
    elif results.burst:
        for burst in results.largest_bursts:
            failed = f" {burst.errors} of them failed." if burst.errors else ""
            yield (
                f"{burst.style}: {count(burst.requests, 'request')} at once take "
                f"{seconds(burst.makespan)}, of which the external call takes "
                f"{seconds(burst.external_latency)}.{failed}"
            )
    else:
        for get in (result for result in results.lifecycle if not result.is_synchronize):
            side = "before" if get.lifecycle.returned_before_response else "after"
            yield f"{get.style}: the connection of a GET goes back {side} the response."


def _pool(results: Results, experiment: Experiment) -> str:
    parameters = results.parameters
    size = count(parameters.pool_size_in(experiment), "connection")
    return f"{size} and {parameters.max_overflow} overflow" if parameters.max_overflow else size
