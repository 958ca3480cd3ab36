"""All that a page shows of a run: sums of everything, and as much detail as there is room for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import nlargest
from operator import attrgetter
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import Share, Shares, end_of
from poolhog.analysis.bins import MOST_BINS, Bins
from poolhog.analysis.blame.bins import BlameBins
from poolhog.analysis.owned import Owned, grouped, key_of
from poolhog.analysis.replay.top_finding import top_finding_whatif
from poolhog.analysis.report import read_report, report_of
from poolhog.analysis.statements import Statements
from poolhog.analysis.tree import Tree
from poolhog.analysis.windows import Reason, ReasonKind, Window, choose
from poolhog.trace.lookup import (
    by_id,
    checkouts_within,
    counts_within,
    longest,
    span,
    span_of_requests,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.measured import Measured
    from poolhog.analysis.replay.top_finding import TopFindingWhatIf
    from poolhog.analysis.report import Companion, Report
    from poolhog.analysis.statements import StatementUse
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Checkout, Process, Trace, Unreadable
    from poolhog.trace.reader import ProcessReader

    Tell = Callable[[int], None]

MOST_CHECKOUTS = 20_000
"""Of a run that has more, not all are shown one by one."""

FEW_BINS = 800
"""Enough for the overview of a run of which everything is there."""

SLOWEST = 20
"""Requests that are told step by step because they had connections for the longest."""

_EXAMPLES = 8
"""Findings whose example has a window of its own."""

_SLOW_WINDOWS = 3


@dataclass(frozen=True, slots=True)
class Whole:
    """Sums of all checkouts of a run; ``kept`` are all of them, if they are few enough.

    ``requests`` counts those that asked for a connection, and owners without a request.
    """

    readers: Sequence[ProcessReader]
    report: Report
    bins: Bins
    blamed: BlameBins
    tree: Tree
    statements: Sequence[StatementUse]
    requests: int
    kept: Sequence[Checkout] | None
    shares: Mapping[tuple[int, float], Shares]
    whatif: TopFindingWhatIf | None = None

    def without(self, unreadable: Sequence[Unreadable]) -> Whole:
        """The same run, of which some files could not be read."""
        return replace(self, report=replace(self.report, unreadable=tuple(unreadable)))

    def with_whatif(self) -> Whole:
        """The same run, with what would be if its first finding were mended.

        Raises :class:`poolhog.TraceError` if a process cannot be read.
        """
        found = top_finding_whatif(self.report, self.readers, with_curve=True)
        return replace(self, whatif=found)

    def shares_of(self, process: Process) -> Shares:
        """How the gaps without a sample are split that a process's checkouts have."""
        return self.shares[process.pid, process.began]


@dataclass(frozen=True, slots=True)
class Detail:
    """What of a run is shown one by one, in order of asking; ``lives`` are told step by step.

    In each of the windows, everything is there.
    """

    windows: Sequence[Window]
    checkouts: Sequence[Checkout]
    lives: Sequence[Owned]
    is_complete: bool


class _SharesOf:
    """A companion of the report that keeps how the gaps of each process are split."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, float], Shares] = {}

    def close(self, found: Measured) -> None:
        process = found.ledger.process
        pairs = zip(found.ledger.sites, found.shares.tolist(), strict=True)
        shares = Shares.known({site: Share(*parts) for site, parts in pairs})
        self.found[process.pid, process.began] = shares


def read_whole(
    readers: Sequence[ProcessReader],
    thresholds: Thresholds,
    tell: Tell = lambda _: None,
    *,
    most: int = MOST_CHECKOUTS,
    companions: Sequence[Companion] = (),
) -> Whole:
    """Read some processes of a run; all checkouts are kept if there are no more than ``most``.

    ``companions`` see them as well.

    Raises :class:`poolhog.TraceError` if one of them cannot be read.
    """
    asked, ran = span(readers), span_of_requests(readers)
    spans = [found for found in (asked, ran) if found is not None]
    started = min((first for first, _ in spans), default=0.0)
    ended = max((last for _, last in spans), default=started)
    requests, owners, checkouts = counts_within(readers, started, ended + 1.0)
    is_small = checkouts <= most
    gathered = _Gathered(started, ended, FEW_BINS if is_small else MOST_BINS)
    report = read_report(
        readers,
        thresholds,
        tell,
        companions=(*gathered.companions, *companions),
        observer=gathered.blamed,
    )
    kept = [c for reader in readers for c in reader.checkouts()] if is_small else None
    return gathered.whole(readers, report, requests + owners, kept)


def whole_of(trace: Trace, started: float, ended: float) -> Whole:
    """Of a trace in memory, or a part of one, on an axis between two instants."""
    gathered = _Gathered(started, ended, FEW_BINS)
    report = report_of(trace, companions=gathered.companions, observer=gathered.blamed)
    owners = len({key_of(checkout) for checkout in trace.checkouts})
    return gathered.whole((), report, owners, trace.checkouts)


class _Gathered:
    """What is gathered of a run besides its report."""

    def __init__(self, started: float, ended: float, bins: int) -> None:
        self._bins = Bins(started, ended, bins)
        self._tree, self._statements, self._shares = Tree(), Statements(), _SharesOf()
        self.blamed = BlameBins(self._bins)
        self.companions: tuple[Companion, ...] = (
            *(self._bins, self._tree, self._statements, self._shares),
        )

    def whole(
        self,
        readers: Sequence[ProcessReader],
        report: Report,
        requests: int,
        kept: Iterable[Checkout] | None,
    ) -> Whole:
        self._bins.settle()
        return Whole(
            readers=readers,
            report=report,
            bins=self._bins,
            blamed=self.blamed,
            tree=self._tree,
            statements=self._statements.uses(),
            requests=requests,
            kept=None if kept is None else sorted(kept, key=_IN_ORDER),
            shares=self._shares.found,
        )


_IN_ORDER = attrgetter("asked", "id")


def read_detail(whole: Whole, most: int = MOST_CHECKOUTS, lives: int = 300) -> Detail:
    """As many checkouts as ``most``, and so many requests to be told step by step.

    Raises :class:`poolhog.TraceError` if a process cannot be read.
    """
    bins = whole.bins
    everything = Window(bins.started, bins.ended, (Reason(ReasonKind.WHOLE_RUN),))
    if whole.kept is not None and len(whole.kept) <= most:
        told = list(_lives(whole.kept, whole.report, every=True))[:lives]
        return Detail((everything,), whole.kept, told, is_complete=True)
    if whole.kept is not None:
        chosen_lives = list(_lives(whole.kept, whole.report, every=False))[:lives]
    else:
        chosen_lives = list(_read_lives(whole, lives))
    windows = choose(
        list(_wanted(whole, chosen_lives)), everything, lambda a, b: _count(bins, a, b), most
    )
    found = {c.id: c for owned in chosen_lives for c in owned.checkouts}
    for window in windows:
        for checkout in _within(whole, window):
            found.setdefault(checkout.id, checkout)
    ordered = sorted(found.values(), key=_IN_ORDER)
    return Detail(windows, ordered, chosen_lives, is_complete=False)


def _within(whole: Whole, window: Window) -> Iterator[Checkout]:
    """The checkouts that were waiting or lent in a window."""
    if whole.kept is None:
        return checkouts_within(whole.readers, window.started, window.ended)
    return (
        checkout
        for checkout in whole.kept
        if checkout.asked < window.ended
        and end_of(checkout, checkout.pool.process.written) >= window.started
    )


def _lives(checkouts: Sequence[Checkout], report: Report, *, every: bool) -> Iterator[Owned]:
    """The requests of the findings' examples, the slowest, and ``every`` other one by its start."""
    groups = {owned.key: owned for owned in grouped(checkouts)}
    owner_of = {checkout.id: key_of(checkout) for checkout in checkouts}
    examples = (owner_of.get(finding.example.checkout) for finding in report.findings)
    slowest = nlargest(SLOWEST, groups.values(), key=_held)
    chosen = dict.fromkeys(key for key in (*examples, *(one.key for one in slowest)) if key)
    yield from (groups[key] for key in chosen)
    if every:
        others = sorted(groups.values(), key=lambda owned: owned.started)
        yield from (owned for owned in others if owned.key not in chosen)


def _held(owned: Owned) -> float:
    """Seconds that it waited for connections and had them."""
    return sum(end_of(checkout, owned.until) - checkout.asked for checkout in owned.checkouts)


def _read_lives(whole: Whole, most: int) -> Iterator[Owned]:
    """The requests of the findings' examples, and the slowest."""
    found = [
        by_id(whole.readers, finding.example.request or finding.example.checkout)
        for finding in whole.report.findings
    ]
    found += [one for _, one in longest(whole.readers, SLOWEST)]
    known: set[str] = set()
    for one in found:
        if one is None or f"{one.reader.file} {one.id}" in known or len(known) >= most:
            continue
        known.add(f"{one.reader.file} {one.id}")
        life = one.read()
        if life.checkouts:
            first = life.checkouts[0]
            yield Owned(
                *(key_of(first), life.request, first.owner, life.checkouts, life.total),
                life.until,
            )


def _wanted(whole: Whole, lives: Sequence[Owned]) -> Iterator[Window]:
    """What is most worth to be looked at closely, first things first."""
    for number, finding in enumerate(whole.report.findings[:_EXAMPLES], 1):
        example = finding.example
        yield Window(example.started, example.ended, (Reason(ReasonKind.EXAMPLE, number),))
    bins = whole.bins
    lent = [sum(row) for row in zip(*bins.lent.values(), strict=True)]
    busiest = max(range(bins.count), key=lambda index: (bins.peaks[index], lent[index]))
    kind = ReasonKind.MOST_WAITING if bins.peaks[busiest] else ReasonKind.MOST_LENT
    yield Window(bins.begin(busiest), bins.begin(busiest + 1), (Reason(kind),))
    slowest = sorted(lives, key=lambda owned: owned.started - owned.ended)
    for owned in slowest[:_SLOW_WINDOWS]:
        yield Window(owned.started, owned.ended, (Reason(ReasonKind.SLOWEST),))
    yield Window(bins.started, bins.started, (Reason(ReasonKind.BEGINNING),))


def _count(bins: Bins, started: float, ended: float) -> int:
    since = bins.started
    return bins.overlapping(round((started - since) * 1e6), round((ended - since) * 1e6))
