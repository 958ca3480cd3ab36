"""What connections were used for: their seconds as a tree of routes and stacks, and statements."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from poolhog.analysis.accounting import State
from poolhog.analysis.blame.blaming import line_of
from poolhog.analysis.ledger import KINDS, NEVER
from poolhog.analysis.measured import percentile
from poolhog.analysis.occupancy import LENT
from poolhog.analysis.spans import BLOCKED, BUSY, GAPS, PARKED, UNSAMPLED, WAITING
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from poolhog.analysis.blame.blaming import LineKey
    from poolhog.analysis.ledger import Flags, Numbers
    from poolhog.analysis.measured import Measured
    from poolhog.analysis.spans import Cut
    from poolhog.model import Site

    Floats = NDArray[np.float64]

ROOT = "all routes"

_PARKED = LENT.index(State.PARKED)


class Node:
    """A place in the tree. ``own`` seconds of each state in ``LENT`` are without those below it.

    ``checkouts`` are those that spent some here or below, ``site`` is ``None`` for a route.
    """

    __slots__ = ("below", "checkouts", "name", "own", "parent", "site")

    def __init__(self, name: str, site: Site | None, parent: Node | None) -> None:
        self.name = name
        self.site = site
        self.parent = parent
        self.below: dict[LineKey | str, Node] = {}
        self.own = [0.0] * len(LENT)
        self.checkouts = 0

    def child(self, key: LineKey | str, name: str, site: Site | None) -> Node:
        """The node below this one that the key names."""
        found = self.below.get(key)
        if found is None:
            found = self.below[key] = Node(name, site, self)
        return found

    @property
    def up(self) -> Iterator[Node]:
        """The node and all above it."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent


@dataclass(slots=True)
class SiteUse:
    """A line of code: in how many checkouts it was seen, and the seconds of ``LENT`` spent there.

    ``site`` is one of the sites at this line.
    """

    site: Site
    checkouts: int = 0
    seconds: list[float] = field(default_factory=lambda: [0.0] * len(LENT))


class Tree:
    """Grows the tree, as a companion of the report."""

    def __init__(self) -> None:
        self.root = Node(ROOT, None, None)
        self._leaves: dict[tuple[str, Site | None], Node] = {}
        self._lines: dict[LineKey, SiteUse] = {}
        # Of the process that comes by, by route and site as numbers.
        self._nodes: dict[int, Node] = {}
        self._unsampled: dict[int, float] = {}
        self._seen: dict[int, dict[Node, float]] = {}

    def see(self, found: Measured, rows: Numbers, parts: Cut) -> None:
        """Add some checkouts."""
        ledger, spans = found.ledger, parts.spans
        spans = spans.where(spans.state != WAITING)
        route, asked_at = ledger.route[spans.row], ledger.site[spans.row]
        site = asked_at.copy()
        for state, named, sites in (
            (BUSY, spans.operation, parts.operations.site),
            (BLOCKED, spans.operation, parts.operations.site),
            (PARKED, spans.sample, parts.samples.site),
        ):
            own = np.flatnonzero((spans.state == state) & (named >= 0))
            known = sites[named[own]] if len(own) else own
            site[own] = np.where(known > 0, known, asked_at[own])
        place, asking = self._codes(found, route, site), self._codes(found, route, asked_at)
        seconds = spans.duration / 1e6
        for index, state in enumerate((BUSY, BLOCKED, *GAPS)):
            self._spend(found, index, place, seconds, spans.state == state)
        for code, total in _sums(asking, seconds, spans.state == UNSAMPLED):
            self._unsampled[code] = self._unsampled.get(code, 0.0) + total
        self._learn(found, place, asking, seconds, spans.state == PARKED)
        of_rows = self._codes(found, ledger.route[rows], ledger.site[rows])
        is_placed = np.isin(spans.state, (BUSY, BLOCKED, PARKED))
        touched = np.concatenate((of_rows, place[is_placed]))
        self._count(found, np.concatenate((rows, spans.row[is_placed])), touched)

    def close(self, found: Measured) -> None:
        """Share out the gaps of a process that no sample fell into."""
        for code, seconds in self._unsampled.items():
            share = found.shares[code % len(found.ledger.sites)].tolist()
            leaf = self._node(found, code)
            for index, state in enumerate(GAPS, _PARKED):
                if state != PARKED:
                    leaf.own[index] += seconds * share[index - _PARKED]
            seen = self._seen.get(code) or {leaf: 1.0}
            whole = sum(seen.values())
            for node, part in seen.items():
                node.own[_PARKED] += seconds * share[0] * part / whole
        self._nodes, self._unsampled, self._seen = {}, {}, {}

    def nodes(self) -> Iterator[Node]:
        """All nodes, parents first, the largest of siblings first."""
        yield from _walk(self.root)

    def lines(self) -> list[SiteUse]:
        """The lines of the tree, the one with the most parked seconds first."""
        found = {key: SiteUse(use.site, use.checkouts) for key, use in self._lines.items()}
        for node in self.nodes():
            line = line_of(node.site)
            if node.site is not None and line is not None:
                use = found.setdefault(line, SiteUse(node.site))
                for index, seconds in enumerate(node.own):
                    use.seconds[index] += seconds
        spent = [use for use in found.values() if use.checkouts]
        return sorted(
            spent, key=lambda use: (-use.seconds[_PARKED], -sum(use.seconds), use.site.file)
        )

    def _codes(self, found: Measured, route: Numbers, site: Numbers) -> Numbers:
        codes: Numbers = route * len(found.ledger.sites) + site
        return codes

    def _spend(
        self, found: Measured, index: int, place: Numbers, seconds: Floats, chosen: Flags
    ) -> None:
        for code, total in _sums(place, seconds, chosen):
            self._node(found, code).own[index] += total

    def _learn(
        self, found: Measured, place: Numbers, asking: Numbers, seconds: Floats, chosen: Flags
    ) -> None:
        """Where those were seen to be parked that asked at the same place."""
        number = int(place.max(initial=0)) + 1
        for code, total in _sums(asking * number + place, seconds, chosen):
            seen = self._seen.setdefault(code // number, {})
            node = self._node(found, code % number)
            seen[node] = seen.get(node, 0.0) + total

    def _count(self, found: Measured, rows: Numbers, places: Numbers) -> None:
        """Count each checkout at the nodes, and the lines, at which it spent any time.

        Nearly all checkouts touch the same places as many others, so these are counted together.
        """
        pairs = np.unique(np.stack((rows, places), axis=1), axis=0)
        known, codes = np.unique(pairs[:, 1], return_inverse=True)
        marks = np.random.default_rng(len(known)).integers(1, 2**62, len(known))
        starts = np.flatnonzero(np.concatenate(([True], pairs[1:, 0] != pairs[:-1, 0])))
        patterns = np.add.reduceat(marks[codes], starts)
        ends = np.append(starts[1:], len(pairs))
        _, first, times = np.unique(patterns, return_index=True, return_counts=True)
        for at, number in zip(first.tolist(), times.tolist(), strict=True):
            touched = pairs[starts[at] : ends[at], 1].tolist()
            self._touch({self._node(found, code) for code in touched}, number)

    def _touch(self, touched: set[Node], checkouts: int) -> None:
        for node in {above for leaf in touched for above in leaf.up}:
            node.checkouts += checkouts
        sites = {line_of(node.site): node.site for node in touched}
        for line, site in sites.items():
            if line is not None and site is not None:
                self._lines.setdefault(line, SiteUse(site)).checkouts += checkouts

    def _node(self, found: Measured, code: int) -> Node:
        node = self._nodes.get(code)
        if node is None:
            route, site = divmod(code, len(found.ledger.sites))
            node = self._leaf(found.ledger.routes[route], found.ledger.sites[site])
            self._nodes[code] = node
        return node

    def _leaf(self, route: str, site: Site | None) -> Node:
        found = self._leaves.get((route, site))
        if found is None:
            found = self.root.child(route, route, None)
            for frame in _frames(site):
                found = found.child(line_of(frame) or "", frame.function, frame)
            self._leaves[route, site] = found
        return found


def _sums(codes: Numbers, seconds: Floats, chosen: Flags) -> Iterator[tuple[int, float]]:
    """The seconds of each code, of those that are chosen."""
    known, places = np.unique(codes[chosen], return_inverse=True)
    totals = np.bincount(places, seconds[chosen], len(known))
    return zip(known.tolist(), totals.tolist(), strict=True)


def _frames(site: Site | None) -> list[Site]:
    """The application's frames, the outermost first; of a stack that has none, all."""
    if site is None:
        return []
    stack = site.stack[::-1]
    return [frame for frame in stack if frame.is_application] or list(stack)


def _walk(node: Node) -> Iterator[Node]:
    pending = [node]
    while pending:
        node = pending.pop()
        yield node
        pending += sorted(node.below.values(), key=lambda child: (sum(child.own), child.name))


_SENT_NOTHING = np.isin(np.array(KINDS), (OperationKind.BEGIN, OperationKind.RESET))
"""Without a statement, these are no round trip."""


@dataclass(slots=True)
class StatementUse:
    """One statement, or a kind of operation that has none.

    ``count`` is how often it was sent, ``errors`` how often it failed, ``durations`` the
    microseconds of those that are over, sorted. ``routes`` are the names of the requests that sent
    it, the one that did most often first.
    """

    kind: OperationKind
    statement: str | None
    count: int = 0
    errors: int = 0
    durations: Numbers = field(default_factory=lambda: np.array([], np.int64))
    routes: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Seconds in flight."""
        return float(self.durations.sum()) / 1e6

    def at(self, share: float) -> float:
        """The seconds that so large a share of them does not exceed."""
        return percentile(self.durations, share) / 1e6 if len(self.durations) else 0.0


class Statements:
    """Counts what was sent, as a companion of the report."""

    def __init__(self) -> None:
        self._uses: dict[tuple[OperationKind, str | None], StatementUse] = {}
        self._durations: dict[tuple[OperationKind, str | None], list[Numbers]] = {}

    def see(self, found: Measured, rows: Numbers, parts: Cut) -> None:
        """Count the operations of some checkouts."""
        operations, ledger = parts.operations, found.ledger
        statement = np.maximum(operations.statement, -1)
        is_sent = np.flatnonzero(~(_SENT_NOTHING[operations.kind] & (statement < 0)))
        kind, statement = operations.kind[is_sent], statement[is_sent]
        duration = (operations.ended - operations.started)[is_sent]
        is_over, has_failed = operations.ended[is_sent] < NEVER, operations.error[is_sent] >= 0
        route = ledger.route[operations.row[is_sent]]
        known, places = np.unique(statement * len(KINDS) + kind, return_inverse=True)
        for place, code in enumerate(known.tolist()):
            own = places == place
            text, number = divmod(code, len(KINDS))
            key = KINDS[number], ledger.facts.statements.get(text)
            use = self._uses.setdefault(key, StatementUse(*key))
            use.count += int(own.sum())
            use.errors += int((own & has_failed).sum())
            self._durations.setdefault(key, []).append(duration[own & is_over])
            times = Counter(use.routes)
            for at, number in enumerate(np.bincount(route[own]).tolist()):
                if number:
                    times[ledger.routes[at]] += number
            use.routes = dict(times)

    def close(self, found: Measured) -> None:
        """Nothing is known better at the end of a process."""

    def uses(self) -> tuple[StatementUse, ...]:
        """All that was sent, the one with the most seconds in flight first."""
        for key, use in self._uses.items():
            use.durations = np.sort(np.concatenate(self._durations[key]))
            use.routes = dict(sorted(use.routes.items(), key=lambda item: (-item[1], item[0])))
        return tuple(
            sorted(self._uses.values(), key=lambda use: (-use.total, -use.count, use.kind))
        )
