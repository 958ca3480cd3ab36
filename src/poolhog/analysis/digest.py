"""All that a page shows of a run: sums of everything, and as much detail as there is room for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import nlargest
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.accounting import end_of
from poolhog.analysis.downsampling import Reason, ReasonKind, Window, choose
from poolhog.analysis.measured import measured
from poolhog.analysis.occupancy import MOST_BINS, Bins, BlameBins
from poolhog.analysis.owners import Owner, grouped, key_of, owner_of
from poolhog.analysis.replay.study import top_finding_whatif
from poolhog.analysis.report import read_report, report_of
from poolhog.analysis.selection import ledger_of
from poolhog.analysis.shown import shown, shown_of
from poolhog.analysis.usage import Statements, Tree
from poolhog.trace.lookup import (
    by_id,
    counts_within,
    longest,
    numbers_within,
    span,
    span_of_requests,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.measured import Measured
    from poolhog.analysis.replay.study import TopFindingWhatIf
    from poolhog.analysis.report import Companion, Report
    from poolhog.analysis.shown import Shown
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.analysis.usage import StatementUse
    from poolhog.model import Checkout, Site, Trace, Unreadable
    from poolhog.trace.reader import ProcessReader

    Tell = Callable[[int], None]
    SiteShares = Mapping[Site | None, Sequence[float]]

MOST_CHECKOUTS = 20_000
"""Of a run that has more, not all are shown one by one."""

FEW_BINS = 800
"""Enough for the overview of a run of which everything is there."""

SLOWEST = 20
"""Requests that are told step by step because they had connections for the longest."""

_EXAMPLES = 8
"""Findings whose example has a window of its own."""

_SLOW_WINDOWS = 3

ALL_RUNNING = (0.0, 1.0, 0.0)
"""How gaps are split of which no sample tells."""


@dataclass(frozen=True, slots=True)
class Digest:
    """Sums of all checkouts of a run; ``kept`` are all of them by their ids, if they are few.

    ``shares`` are, by a process's pid and start and by site, how gaps without a sample are split.
    ``requests`` counts those that asked for a connection, and owners without a request.
    """

    readers: Sequence[ProcessReader]
    report: Report
    bins: Bins
    blamed: BlameBins
    tree: Tree
    statements: Sequence[StatementUse]
    requests: int
    kept: Mapping[str, Shown] | None
    shares: Mapping[tuple[int, float], SiteShares]
    whatif: TopFindingWhatIf | None = None

    def without(self, unreadable: Sequence[Unreadable]) -> Digest:
        """The same run, of which some files could not be read."""
        return replace(self, report=replace(self.report, unreadable=tuple(unreadable)))

    def with_whatif(self) -> Digest:
        """The same run, with what would be if its first finding were mended.

        Raises :class:`poolhog.TraceError` if a process cannot be read.
        """
        found = top_finding_whatif(self.report, self.readers, with_curve=True)
        return replace(self, whatif=found)


@dataclass(frozen=True, slots=True)
class Detail:
    """What of a run is shown one by one, in order of asking; ``lives`` are told step by step.

    ``shown`` has the spans of the checkouts, by their ids. In each of the windows, everything is
    there.
    """

    windows: Sequence[Window]
    shown: Mapping[str, Shown]
    lives: Sequence[Owner]
    is_complete: bool

    @property
    def checkouts(self) -> Sequence[Checkout]:
        """Those that are shown."""
        return [one.checkout for one in self.shown.values()]


class _SharesOf:
    """A companion of the report that keeps how the gaps of each process are split."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, float], SiteShares] = {}

    def close(self, found: Measured) -> None:
        pairs = zip(found.ledger.sites, found.shares.tolist(), strict=True)
        process = found.ledger.process
        self.found[process.pid, process.began] = dict(pairs)


def read_digest(
    readers: Sequence[ProcessReader],
    thresholds: Thresholds,
    tell: Tell = lambda _: None,
    *,
    most: int = MOST_CHECKOUTS,
    companions: Sequence[Companion] = (),
) -> Digest:
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
    kept = _read_shown(readers, gathered.shares) if is_small else None
    return gathered.whole(readers, report, requests + owners, kept)


def digest_of(trace: Trace, started: float, ended: float) -> Digest:
    """Of a trace in memory, or a part of one, on an axis between two instants."""
    gathered = _Gathered(started, ended, FEW_BINS)
    report = report_of(trace, companions=gathered.companions, observer=gathered.blamed)
    owners = len({key_of(checkout) for checkout in trace.checkouts})
    return gathered.whole((), report, owners, shown_of(trace))


class _Gathered:
    """What is gathered of a run besides its report."""

    def __init__(self, started: float, ended: float, bins: int) -> None:
        self._bins = Bins(started, ended, bins)
        self._tree, self._statements, self._shares = Tree(), Statements(), _SharesOf()
        self.blamed = BlameBins(self._bins)
        self.companions: tuple[Companion, ...] = (
            *(self._bins, self._tree, self._statements, self._shares),
        )

    @property
    def shares(self) -> Mapping[tuple[int, float], SiteShares]:
        """How gaps without a sample are split."""
        return self._shares.found

    def whole(
        self,
        readers: Sequence[ProcessReader],
        report: Report,
        requests: int,
        kept: Mapping[str, Shown] | None,
    ) -> Digest:
        self._bins.settle()
        return Digest(
            readers=readers,
            report=report,
            bins=self._bins,
            blamed=self.blamed,
            tree=self._tree,
            statements=self._statements.uses(),
            requests=requests,
            kept=kept,
            shares=self.shares,
        )


def _read_shown(
    readers: Sequence[ProcessReader],
    shares: Mapping[tuple[int, float], SiteShares],
    ids: Iterable[str] | None = None,
) -> dict[str, Shown]:
    """The checkouts with these ids, or all, with their spans; by their ids, in order of asking."""
    wanted: dict[str, list[int]] = {}
    for prefix, _, number in (id_.rpartition(".") for id_ in ids or ()):
        wanted.setdefault(prefix, []).append(int(number))
    found: list[Shown] = []
    for reader in readers:
        numbers = wanted.get(reader.name, ())
        if ids is None:
            numbers = [key for (key,) in reader.query("SELECT id FROM packed_checkouts")]
        with ledger_of(reader, numbers) as (ledger, rows):
            process = ledger.process
            split = shares.get((process.pid, process.began), {})
            fractions = np.array([split.get(site, ALL_RUNNING) for site in ledger.sites])
            found += shown(measured(ledger)._replace(shares=fractions), rows)
    found.sort(key=lambda one: (one.checkout.asked, one.checkout.id))
    return {one.checkout.id: one for one in found}


def read_detail(whole: Digest, most: int = MOST_CHECKOUTS, lives: int = 300) -> Detail:
    """As many checkouts as ``most``, and as many requests to be told step by step as ``lives``.

    Raises :class:`poolhog.TraceError` if a process cannot be read.
    """
    bins = whole.bins
    everything = Window(bins.started, bins.ended, (Reason(ReasonKind.WHOLE_RUN),))
    kept = None if whole.kept is None else [one.checkout for one in whole.kept.values()]
    if kept is not None and whole.kept is not None and len(kept) <= most:
        every = list(_lives(kept, whole.report, every=True))[:lives]
        return Detail((everything,), whole.kept, every, is_complete=True)
    if kept is not None:
        chosen_lives = list(_lives(kept, whole.report, every=False))[:lives]
    else:
        chosen_lives = list(_read_lives(whole, lives))
    windows = choose(
        list(_wanted(whole, chosen_lives)), everything, lambda a, b: _count(bins, a, b), most
    )
    ids = {c.id for owner in chosen_lives for c in owner.checkouts}
    ids.update(id_ for window in windows for id_ in _within(whole, window))
    if whole.kept is None:
        found = _read_shown(whole.readers, whole.shares, ids)
    else:
        found = {id_: one for id_, one in whole.kept.items() if id_ in ids}
    return Detail(windows, found, chosen_lives, is_complete=False)


def _within(whole: Digest, window: Window) -> Iterator[str]:
    """The ids of the checkouts that were waiting or lent in a window."""
    if whole.kept is None:
        return (
            f"{reader.name}.{number}"
            for reader in whole.readers
            for number in numbers_within(reader, window.started, window.ended)
        )
    return (
        checkout.id
        for checkout in (one.checkout for one in whole.kept.values())
        if checkout.asked < window.ended
        and end_of(checkout, checkout.pool.process.written) >= window.started
    )


def _lives(checkouts: Sequence[Checkout], report: Report, *, every: bool) -> Iterator[Owner]:
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


def _held(owned: Owner) -> float:
    """Seconds that it waited for connections and had them."""
    return sum(end_of(checkout, owned.until) - checkout.asked for checkout in owned.checkouts)


def _read_lives(whole: Digest, most: int) -> Iterator[Owner]:
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
        checkouts = tuple(one.reader.numbered(one.numbers()))
        if checkouts:
            yield owner_of(one.request(), checkouts, one.total())


def _wanted(whole: Digest, lives: Sequence[Owner]) -> Iterator[Window]:
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
