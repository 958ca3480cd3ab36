"""What changed from one run to another, beyond their spread, and conditions on that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from poolhog.analysis.compare.changes import Change, Verdict
from poolhog.analysis.compare.matching import pairs
from poolhog.analysis.compare.measures import (
    ALPHA,
    MEASURES,
    Value,
    least_probability,
    limit,
    measure_of,
    rank_probability,
    tendency,
)
from poolhog.analysis.compare.series import Work
from poolhog.analysis.findings.tally import rank_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.compare.measures import Measure
    from poolhog.analysis.compare.series import Series
    from poolhog.analysis.findings import Finding
    from poolhog.analysis.report import Report

EVERY_ROUTE = "all routes"
THESE_ROUTES = "these routes"


@dataclass(frozen=True, slots=True)
class Run:
    """One of the two: its name, its report, and its checkouts."""

    label: str
    report: Report
    series: Series

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests of each name there were, with a checkout or without."""
        return self.series.requests

    @property
    def routes(self) -> set[str]:
        """Those that were called, or are work of no request."""
        return {*self.requests, *self.series.routes()}

    def work(self, routes: Iterable[str]) -> Work:
        """What these did."""
        chosen = set(routes)
        rows = self.series.of(sorted(chosen))
        requests = sum(number for name, number in self.requests.items() if name in chosen)
        series = self.series
        answered = series.answered(sorted(chosen))
        lasted = max(series.ended - series.began, 0.0) if len(rows) else 0.0
        return Work(requests, rows, lasted, answered, series.counted)


@dataclass(frozen=True, slots=True)
class RouteChange:
    """A route of either run, or all of them: its requests and checkouts in both, and its changes.

    There are no changes of a route that one of the runs does not have.
    """

    name: str
    verdict: Verdict
    before: Work
    after: Work
    changes: Sequence[Change]

    def change(self, name: str) -> Change:
        """That of a measure. Raises ``LookupError`` if there is none."""
        for change in self.changes:
            if change.measure.name == name:
                return change
        raise LookupError(name)

    @property
    def news(self) -> Sequence[Change]:
        """What is better or worse."""
        return [c for c in self.changes if c.verdict in (Verdict.BETTER, Verdict.WORSE)]


@dataclass(frozen=True, slots=True)
class FindingChange:
    """A finding of either run, as it is in each. ``change`` is there if both runs called it."""

    verdict: Verdict
    before: Finding | None
    after: Finding | None
    change: Change | None

    @property
    def finding(self) -> Finding:
        """That of the second run, or else of the first."""
        found = self.after or self.before
        if found is None:
            raise LookupError("a finding of neither run")
        return found

    @property
    def has_moved(self) -> bool:
        """Whether its line has another number in the second run."""
        one, other = (f.site if f is not None else None for f in (self.before, self.after))
        return one is not None and other is not None and one.line != other.line


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both runs, and what changed: the worst news first.

    ``total`` is all routes, or all that were asked for, as one.
    """

    before: Run
    after: Run
    total: RouteChange
    routes: Sequence[RouteChange]
    findings: Sequence[FindingChange]

    def found(self, verdict: Verdict) -> Sequence[FindingChange]:
        """The findings of which this became."""
        return [finding for finding in self.findings if finding.verdict is verdict]


def compare(before: Run, after: Run, text: str | None = None) -> Comparison:
    """Compare two runs, or only the routes whose names contain a text."""
    named = _naming(text)
    known = sorted(name for name in before.routes | after.routes if named(name))
    drafts = [_route(name, before.work([name]), after.work([name])) for name in known]
    total = _route(THESE_ROUTES if text else EVERY_ROUTE, before.work(known), after.work(known))
    findings = [_finding(one, other, before, after) for one, other in _pairs(before, after, named)]
    changes = [
        *(change for route in (total, *drafts) for change in route.changes),
        *(finding.change for finding in findings if finding.change is not None),
    ]
    judge = _judge(changes)
    return Comparison(
        before,
        after,
        _judged_route(total, judge),
        sorted((_judged_route(route, judge) for route in drafts), key=_newsworthy),
        sorted((_judged_finding(finding, judge) for finding in findings), key=_worst_first),
    )


def _naming(text: str | None) -> Callable[[str], bool]:
    wanted = (text or "").casefold()
    return lambda name: wanted in name.casefold()


def _route(name: str, before: Work, after: Work) -> RouteChange:
    """Before it is judged."""
    changes = [_change(m, before, after) for m in MEASURES] if before.units and after.units else []
    verdict = Verdict.SAME
    if not changes and before.units + after.units:
        verdict = Verdict.NEW if after.units else Verdict.GONE
    return RouteChange(name, verdict, before, after, changes)


def _change(measure: Measure, before: Work, after: Work) -> Change:
    return _change_of(measure, measure.of(before), measure.of(after))


def _change_of(measure: Measure, before: Value, after: Value) -> Change:
    ones, others = before.parts, after.parts
    if least_probability(len(ones), len(others)) > ALPHA:
        return Change(measure, before, after, None)
    probability = rank_probability(ones, others)
    # Means are moved by few values, ranks are not: what they do not agree on is not certain.
    is_agreed = tendency(ones, others) * (after.whole - before.whole) > 0
    return Change(measure, before, after, probability if is_agreed else 1.0)


def _judge(changes: Sequence[Change]) -> Callable[[Change], Change]:
    """Gives each a verdict, all of them taken together."""
    probabilities = [c.probability for c in changes if c.probability is not None]
    most, tests = limit(probabilities), len(probabilities)
    return lambda change: change.judged(most, tests)


def _judged_route(route: RouteChange, judge: Callable[[Change], Change]) -> RouteChange:
    if not route.changes:
        return route
    changes = [judge(change) for change in route.changes]
    verdicts = [change.verdict for change in changes if change.verdict is not None]
    return replace(route, verdict=_summary(verdicts), changes=changes)


def _summary(verdicts: Sequence[Verdict]) -> Verdict:
    """What is worse comes before what is better, and news before what is not known."""
    for verdict in (Verdict.WORSE, Verdict.BETTER, Verdict.TOO_FEW):
        if verdict in verdicts:
            return verdict
    return Verdict.SAME


def _pairs(
    before: Run, after: Run, named: Callable[[str], bool]
) -> Iterator[tuple[Finding | None, Finding | None]]:
    """The findings of either run, each with what there is of it in the other.

    Also what is no finding there, but nearly: thresholds would be crossed by chance else.
    """
    ones = (*before.report.findings, *before.report.near)
    others = (*after.report.findings, *after.report.near)
    told = {id(f) for run in (before, after) for f in run.report.findings}
    for one, other in pairs(ones, others):
        both = [finding for finding in (one, other) if finding is not None]
        is_told = any(id(finding) in told for finding in both)
        if is_told and any(named(route) for finding in both for route in finding.routes):
            yield one, other


def _finding(one: Finding | None, other: Finding | None, before: Run, after: Run) -> FindingChange:
    """Before it is judged."""
    if one is not None and other is not None:
        routes = {*one.routes, *other.routes}
        is_wasteful = one.seconds + other.seconds > 0.0
        measures = [measure_of(finding, is_wasteful=is_wasteful) for finding in (one, other)]
        values = [m.of(run.work(routes)) for m, run in zip(measures, (before, after), strict=True)]
        return FindingChange(Verdict.SAME, one, other, _change_of(measures[1], *values))
    if one is None:
        return FindingChange(Verdict.NEW, one, other, None)
    is_called = not after.routes.isdisjoint(one.routes)
    return FindingChange(Verdict.GONE if is_called else Verdict.NOT_CALLED, one, other, None)


def _judged_finding(finding: FindingChange, judge: Callable[[Change], Change]) -> FindingChange:
    if finding.change is None:
        return finding
    change = judge(finding.change)
    return replace(finding, change=change, verdict=change.verdict or Verdict.TOO_FEW)


_ORDER = list(Verdict)
_ROUTE_ORDER = [
    *(Verdict.WORSE, Verdict.BETTER, Verdict.NEW, Verdict.GONE, Verdict.SAME, Verdict.TOO_FEW),
]


def _newsworthy(route: RouteChange) -> tuple[int, float, str]:
    moved = [abs(c.difference) for c in route.changes if c.measure.name == "use"]
    return _ROUTE_ORDER.index(route.verdict), -sum(moved), route.name


def _worst_first(change: FindingChange) -> tuple[int, tuple[Any, ...]]:
    return _ORDER.index(change.verdict), rank_of(change.finding)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, with the ``text`` that asked for it; without a ``measure``, of new findings.

    ``limit`` is in seconds, a share or a rate. If the condition ``is_relative``, it is a part of
    the first run's value, and then the change also has to be larger than the spread.
    """

    text: str
    measure: Measure | None = None
    is_less: bool = False
    is_relative: bool = False
    limit: float = 0.0


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """Whether a condition holds, and the change that it is about, if both runs tell of it.

    ``is_uncertain``: it would hold, but the change is not known to be larger than the spread.
    """

    condition: Condition
    holds: bool
    change: Change | None = None
    is_uncertain: bool = False


def results(comparison: Comparison, wanted: Iterable[Condition]) -> Iterator[ConditionResult]:
    """Whether each condition holds for all compared routes together."""
    for condition in wanted:
        yield _result(comparison, condition)


def _result(comparison: Comparison, condition: Condition) -> ConditionResult:
    if condition.measure is None:
        return ConditionResult(condition, bool(comparison.found(Verdict.NEW)))
    if not comparison.total.changes:
        return ConditionResult(condition, _holds_alone(comparison, condition))
    change = comparison.total.change(condition.measure.name)
    value = change.relative if condition.is_relative else change.after.whole
    # To the last digit that is told: -0.1 is 10 % less also in binary.
    beyond = value - condition.limit
    holds = beyond < -_NOTHING if condition.is_less else beyond > _NOTHING
    if not condition.is_relative or not holds:
        return ConditionResult(condition, holds, change)
    is_tiny = abs(change.difference) < change.measure.least
    is_certain = (change.is_certain or change.verdict is None) and not is_tiny
    return ConditionResult(condition, is_certain, change, not is_certain)


_NOTHING = 1e-9


def _holds_alone(comparison: Comparison, condition: Condition) -> bool:
    """Where one of the runs has nothing: only what the second one comes to can be told."""
    measure = condition.measure
    if measure is None or condition.is_relative or not comparison.total.after.units:
        return False
    value = measure.of(comparison.total.after).whole
    return value < condition.limit if condition.is_less else value > condition.limit
