"""What a page shows of one run, taken from the analysis, and what is missing in that.

No other module of the page reads the sums of a whole run, the bins or the tree of the analysis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import State, end_of
from poolhog.analysis.digest import MOST_CHECKOUTS, read_detail
from poolhog.analysis.downsampling import downsampled, level
from poolhog.analysis.occupancy import LENT
from poolhog.analysis.owners import grouped
from poolhog.analysis.shown import by_line
from poolhog.model import Outcome
from poolhog.render.losses import (
    dropped_told,
    end_told,
    missing_json,
    missing_told,
    unrecorded_told,
)
from poolhog.render.page.links import NO_LINKS, Links
from poolhog.render.page.texts import NONE
from poolhog.render.words import count, file_name, seconds, short_name, short_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.blame.blaming import Place
    from poolhog.analysis.digest import Detail, Digest
    from poolhog.analysis.downsampling import Window
    from poolhog.analysis.owners import Owner
    from poolhog.analysis.replay.study import TopFindingWhatIf
    from poolhog.analysis.report import Report
    from poolhog.analysis.shown import Shown, Span
    from poolhog.analysis.usage import Node, SiteUse, StatementUse, Tree
    from poolhog.model import Checkout, Pool, Site

MOST_ROWS = 300
"""Rows of a table; the others are counted."""

MOST_NODES = 4_000
"""Nodes of the tree; the seconds of smaller ones stay with their parents."""

MOST_BLAMED = 4
"""Places for which the timeline shows how many requests waited because of them."""

MOST_REQUESTS = 300
"""Requests that the page tells step by step."""

MOST_SPANS = 150_000
"""Spans of the timeline, all checkouts together; checkouts with few spans do not count."""

MOST_SPANS_OF_ONE = 10_000
"""Spans of one checkout; beyond these, short spans are added up."""

LEAST_SPANS_OF_ONE = 60
"""Spans that a checkout may have however many spans the others have."""

_COUNTED = ("routes", "findings", "pools", "processes", "sites", "statements")


@dataclass(frozen=True, slots=True)
class Room:
    """How much detail a page has room for: checkouts, requests told step by step, and spans."""

    checkouts: int = MOST_CHECKOUTS
    requests: int = MOST_REQUESTS
    spans: int = MOST_SPANS


@dataclass(frozen=True, slots=True)
class RunBins:
    """Averages over equal parts of the whole run.

    ``lent`` has the connections in each state, ``waiting`` the requests that waited,
    ``most_waiting`` the most that waited at one instant, and ``blamed`` the requests that waited
    because of one place.
    """

    count: int
    lent: Mapping[State, Sequence[float]]
    waiting: Sequence[float]
    most_waiting: Sequence[int]
    blamed: Sequence[tuple[str, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class TreeColumns:
    """The tree of connection time: node 0 is the root, parents come before their children.

    ``spent`` has microseconds by state, of a node with everything below it; ``left_out`` counts
    the nodes that are too small to be here.
    """

    parents: Sequence[int]
    names: Sequence[str]
    sites: Sequence[Site | None]
    spent: Mapping[State, Sequence[int]]
    checkouts: Sequence[int]
    left_out: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How much the page does not show.

    ``checkouts`` and ``requests`` are not shown one by one, ``spans`` are added up. The others are
    rows of the tables, and ``nodes`` are parts of the tree.
    """

    checkouts: int = 0
    requests: int = 0
    spans: int = 0
    routes: int = 0
    findings: int = 0
    pools: int = 0
    processes: int = 0
    sites: int = 0
    statements: int = 0
    nodes: int = 0


@dataclass(frozen=True, slots=True)
class PageRun:
    """One run as a page shows it: its sums, and as many single checkouts as there is room for.

    Instants are seconds on the run's clock. ``owners`` are requests, and owners without a request,
    by their start; ``told`` are those of them that the page tells step by step. ``shown``
    are the checkouts with all of their spans, ``spans`` those spans that the page has, by ids.
    ``links`` is where commands and editors find the run.
    """

    label: str
    report: Report
    whatif: TopFindingWhatIf | None
    started: float
    ended: float
    windows: Sequence[Window]
    is_complete: bool
    bins: RunBins
    pools: Sequence[Pool]
    checkouts: Sequence[Checkout]
    shown: Mapping[str, Shown]
    spans: Mapping[str, Sequence[Span]]
    owners: Sequence[Owner]
    told: Sequence[Owner]
    index_of: Mapping[str, int]
    lines: Sequence[SiteUse]
    statements: Sequence[StatementUse]
    tree: TreeColumns
    left_out: LeftOut
    links: Links = NO_LINKS

    def us(self, at: float) -> int:
        """Return an instant in microseconds since the timeline's start."""
        return round((at - self.started) * 1e6)


def page_run(label: str, whole: Digest, room: Room = Room(), links: Links = NO_LINKS) -> PageRun:
    """Take from a run what a page with this room shows of it.

    Raises :class:`poolhog.TraceError` if a process cannot be read.
    """
    detail = read_detail(whole, room.checkouts, room.requests)
    owners = sorted(grouped(detail.checkouts), key=lambda one: (one.started, one.key))
    index_of = {one.key: index for index, one in enumerate(owners)}
    spans = _spans(detail, room.spans)
    lines, tree = whole.tree.lines(), tree_of(whole.tree)
    report = whole.report
    rows = (report.routes, report.findings, report.pools, report.processes, lines, whole.statements)
    return PageRun(
        label=label,
        report=report,
        whatif=whole.whatif,
        started=whole.bins.started,
        ended=whole.bins.ended,
        windows=detail.windows,
        is_complete=detail.is_complete,
        bins=_bins(whole),
        pools=_pools(report, detail.checkouts),
        checkouts=detail.checkouts,
        shown=detail.shown,
        spans=spans,
        owners=owners,
        told=[owned for owned in detail.lives if owned.key in index_of],
        index_of=index_of,
        lines=lines[:MOST_ROWS],
        statements=whole.statements[:MOST_ROWS],
        tree=tree,
        links=links,
        left_out=LeftOut(
            checkouts=max(report.checkouts - len(detail.checkouts), 0),
            requests=max(whole.requests - len(owners), 0),
            spans=sum(s.number for of in spans.values() for s in of if s.number > 1),
            nodes=tree.left_out,
            **{key: max(len(of) - MOST_ROWS, 0) for key, of in zip(_COUNTED, rows, strict=True)},
        ),
    )


def _spans(detail: Detail, room: int) -> dict[str, Sequence[Span]]:
    """The spans of each checkout; all together these are about as many as there is ``room`` for."""
    sizes = [
        2 * len(c.operations) + len(c.samples) + LEAST_SPANS_OF_ONE // 4 for c in detail.checkouts
    ]
    most = min(max(level(sizes, room), LEAST_SPANS_OF_ONE), MOST_SPANS_OF_ONE)
    found = {}
    for checkout, spans, _ in detail.shown.values():
        ended = end_of(checkout, checkout.pool.process.written)
        found[checkout.id] = downsampled(by_line(spans), checkout.asked, ended, most)
    return found


def _pools(report: Report, checkouts: Sequence[Checkout]) -> list[Pool]:
    """The pools of the run, by process; those of the shown checkouts are among them."""
    every = {use.pool.id: use.pool for use in report.pools}
    every |= {checkout.pool.id: checkout.pool for checkout in checkouts}
    return sorted(every.values(), key=lambda pool: (pool.process.began, pool.id))


def _bins(whole: Digest) -> RunBins:
    bins, blamed = whole.bins, whole.blamed

    def averages(row: Iterable[float]) -> list[float]:
        return [max(float(seconds), 0.0) / bins.width for seconds in row]

    return RunBins(
        count=bins.count,
        lent={state: averages(row) for state, row in bins.lent.items()},
        waiting=averages(bins.waited),
        most_waiting=bins.peaks,
        blamed=[(_named(at), blamed.averages(at)) for at in blamed.most(MOST_BLAMED)],
    )


def _named(place: Place) -> str:
    if place.line is None:
        return place.route
    file, line, _ = place.line
    return f"{file_name(file)}:{line}, {place.route}"


def tree_of(tree: Tree) -> TreeColumns:
    """Return the tree in columns, with the ``MOST_NODES`` largest of its nodes."""
    nodes = list(tree.nodes())
    index_of = {node: index for index, node in enumerate(nodes)}
    spent = [[round(seconds * 1e6) for seconds in node.own] for node in nodes]
    for index in range(len(nodes) - 1, 0, -1):
        parent = nodes[index].parent
        if parent is not None:
            above = spent[index_of[parent]]
            for state, us in enumerate(spent[index]):
                above[state] += us
    # A parent is at least as large as what is below it, and comes first: it is kept with it.
    largest = sorted(range(len(nodes)), key=lambda index: (-sum(spent[index]), index))
    kept = sorted(largest[:MOST_NODES])
    number_of: dict[Node | None, int] = {None: NONE}
    number_of |= {nodes[at]: number for number, at in enumerate(kept)}
    return TreeColumns(
        parents=[number_of[nodes[at].parent] for at in kept],
        names=[_node_name(nodes[at]) for at in kept],
        sites=[nodes[at].site for at in kept],
        spent={
            state: [max(spent[at][column], 0) for at in kept] for column, state in enumerate(LENT)
        },
        checkouts=[nodes[at].checkouts for at in kept],
        left_out=len(nodes) - len(kept),
    )


def _node_name(node: Node) -> str:
    return node.name if node.site is None else short_name(node.name)


_NOUNS = {
    "routes": ("route", "routes"),
    "findings": ("finding", "findings"),
    "pools": ("pool", "pools"),
    "processes": ("process", "processes"),
    "sites": ("line of code", "lines of code"),
    "statements": ("statement", "statements"),
}
"""The tables that may leave rows out, and what a row is."""


class Unseen(NamedTuple):
    """Something that is not in what is shown; ``is_grave``: numbers may be wrong because of it."""

    text: str
    is_grave: bool = False


def unseen(report: Report, left_out: LeftOut) -> Iterator[Unseen]:
    """Yield what is missing in a run, the gravest first."""
    for one in report.unreadable:
        told = f"Not in this: {short_path(one.file)} {one.reason}."
        yield Unseen(told, is_grave=True)
    lacking = missing_told(missing_json(report.processes), report.checkouts)
    if lacking is not None:
        yield Unseen(lacking, is_grave=True)
    unrecorded = unrecorded_told(report.processes)
    if unrecorded is not None:
        yield Unseen(unrecorded, is_grave=True)
    yield from _lost(report)
    yield from _unfinished(report)
    told = left_out_words(report, left_out)
    if told:
        yield Unseen(f"{told[0].upper()}{told[1:]}.")
    if left_out.nodes:
        yield Unseen(
            f"Where connection time goes leaves out {count(left_out.nodes, 'part')}, the smallest: "
            "their time is in those above them."
        )
    yield from _sampling(report)
    sites = [finding.site for finding in report.findings if finding.site is not None]
    if sites and not any(site.source for site in sites):
        yield Unseen("The recording has no source text, so no lines of code can be shown.")


def left_out_words(report: Report, left_out: LeftOut) -> str:
    """Return what the page does not show of a run, in a sentence; "" if it shows everything."""
    parts = []
    if left_out.checkouts:
        shown = report.checkouts - left_out.checkouts
        of = count(report.checkouts, "checkout")
        parts.append(f"{shown:,} of {of} are shown one by one, all are in the sums")
    if left_out.spans:
        parts.append(
            f"{left_out.spans:,} short spans are added up by state: their checkouts have too many "
            "to show one by one"
        )
    rows = [counted_rows(key, getattr(left_out, key)) for key in _NOUNS if getattr(left_out, key)]
    if rows:
        parts.append(f"{' and '.join(rows)} left out of the tables")
    return "; ".join(parts)


def counted_rows(key: str, number: int) -> str:
    """Return how many rows of a table there are, such as ``12 lines of code``."""
    one, several = _NOUNS[key]
    return f"{number:,} {one if number == 1 else several}"


def _lost(report: Report) -> Iterator[Unseen]:
    for process in report.processes:
        lost = dropped_told(process)
        if lost is not None:
            text = f"The recorder did not see everything of process {process.pid}: {lost}."
            yield Unseen(text, is_grave=True)


def _unfinished(report: Report) -> Iterator[Unseen]:
    unfinished = [process for process in report.processes if not process.finished]
    pids = sorted({process.pid for process in unfinished if not process.is_cut_off})
    if pids:
        which = f"Process {pids[0]}" if len(pids) == 1 else f"{len(pids)} processes"
        was = "was" if len(pids) == 1 else "were"
        yield Unseen(
            f"{which} exited abnormally, or {was} still running: the last moments may be missing.",
            is_grave=True,
        )
    lent, waiting = (report.outcomes.get(one, 0) for one in (Outcome.OPEN, Outcome.WAITING))
    if lent or waiting:
        is_cut_off = any(process.is_cut_off for process in unfinished)
        yield Unseen(end_told(lent, waiting, is_cut_off=is_cut_off), is_grave=True)


def _sampling(report: Report) -> Iterator[Unseen]:
    intervals = {process.sampling_interval for process in report.processes}
    if 0 in intervals:
        yield Unseen(
            "Owners of idle connections were not looked at (--interval 0): "
            "what they did in gaps is unknown, and counts as running."
        )
    told = [seconds(interval) for interval in sorted(intervals) if interval]
    if told:
        yield Unseen(
            f"Owners of idle connections were looked at every {' or '.join(told)}. A gap that no "
            "look fell into is split into parked, running and ready like others whose connection "
            "was asked for on the same line."
        )
