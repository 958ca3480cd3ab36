"""Connection-seconds as a tree: by route, and below it by the stack that spent them.

Busy seconds belong to where the operation was asked for, parked ones to where the owner was seen,
and running and ready ones to where the connection was asked for. Parked seconds that no sample
tells about are shared out like those that were seen of checkouts of the same route and site. Of
quiet checkouts all busy seconds belong to where the connection was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import GAPS, State, end_of, told_gaps
from poolhog.analysis.course import busy_parts
from poolhog.analysis.routes import route_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.accounting import Gap, Shares, Told
    from poolhog.analysis.quiet import Quiet
    from poolhog.model import Checkout, Process, Site

LENT = (State.BUSY, *GAPS)
"""The states of a node's seconds, in this order."""

ROOT = "all routes"

_READY = GAPS.index(State.READY) + 1

Line = tuple[str, int, str]


class Node:
    """A place in the tree. ``own`` seconds of each state in ``LENT`` are without those below it.

    ``checkouts`` are those that spent some here or below, ``site`` is ``None`` for a route.
    """

    __slots__ = ("below", "checkouts", "name", "own", "parent", "site")

    def __init__(self, name: str, site: Site | None, parent: Node | None) -> None:
        self.name = name
        self.site = site
        self.parent = parent
        self.below: dict[Line | str, Node] = {}
        self.own = [0.0] * len(LENT)
        self.checkouts = 0

    def child(self, key: Line | str, name: str, site: Site | None) -> Node:
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


class _Place(NamedTuple):
    """Checkouts that are alike: of this route, and asked for at this site."""

    route: str
    site: Site | None


class Icicle:
    """Grows the tree, as a companion of the report."""

    def __init__(self) -> None:
        self.root = Node(ROOT, None, None)
        self._leaves: dict[_Place, Node] = {}
        self._untold: dict[_Place, float] = {}
        self._seen: dict[_Place, dict[Node, float]] = {}
        self._lines: dict[Line, SiteUse] = {}

    def add(self, checkout: Checkout, told: Told, gaps: Sequence[Gap] | None) -> None:
        """Add a checkout."""
        place = _Place(route_of(checkout), checkout.site)
        until = checkout.pool.process.written
        asked = self._leaf(*place)
        touched = {asked}
        if checkout.granted is not None:
            gaps = gaps if gaps is not None else told_gaps(checkout, until)
            touched |= self._busy(checkout, place, gaps, told)
            touched |= self._parked(place, gaps)
            asked.own[1] += told.parked - sum(_seconds(gaps, State.PARKED))
            asked.own[2] += told.running
            asked.own[_READY] += told.ready
            self._untold[place] = self._untold.get(place, 0.0) + told.untold
        self._count(touched, 1)

    def pass_by(self, quiet: Quiet, told: Told) -> None:
        """Add quiet checkouts."""
        place = _Place(quiet.route, quiet.site)
        leaf = self._leaf(*place)
        leaf.own[0] += told.busy
        self._untold[place] = self._untold.get(place, 0.0) + told.untold
        self._count({leaf}, len(quiet))

    def close(self, process: Process, shares: Shares) -> None:
        """Share out what no sample told about."""
        for place, seconds in self._untold.items():
            share = shares.at(place.site)
            leaf = self._leaf(*place)
            leaf.own[2] += seconds * share.running
            leaf.own[_READY] += seconds * share.ready
            seen = self._seen.get(place) or {leaf: 1.0}
            whole = sum(seen.values())
            for node, part in seen.items():
                node.own[1] += seconds * share.parked * part / whole
        self._untold.clear()
        self._seen.clear()

    def nodes(self) -> Iterator[Node]:
        """All nodes, parents first, the largest of siblings first."""
        yield from _walk(self.root)

    def lines(self) -> list[SiteUse]:
        """The lines of the tree, the one with the most parked seconds first."""
        found = {key: SiteUse(use.site, use.checkouts) for key, use in self._lines.items()}
        for node in self.nodes():
            if node.site is not None:
                use = found.setdefault(line_of(node.site), SiteUse(node.site))
                for index, seconds in enumerate(node.own):
                    use.seconds[index] += seconds
        spent = [use for use in found.values() if use.checkouts]
        return sorted(spent, key=lambda use: (-use.seconds[1], -sum(use.seconds), use.site.file))

    def _busy(
        self, checkout: Checkout, place: _Place, gaps: Sequence[Gap], told: Told
    ) -> set[Node]:
        """Busy seconds by operation; what rounding leaves belongs to where it was asked for."""
        touched = set()
        at, index, whole = checkout.granted or 0.0, 0, 0.0
        end = end_of(checkout, checkout.pool.process.written)
        for started, ended in (*((gap.started, gap.ended) for gap in gaps), (end, end)):
            for part, after in busy_parts(checkout, at, started, index):
                node = self._leaf(place.route, part.site or checkout.site)
                node.own[0] += part.duration
                whole += part.duration
                touched.add(node)
                index = after
            at = ended
        self._leaf(*place).own[0] += told.busy - whole
        return touched

    def _parked(self, place: _Place, gaps: Sequence[Gap]) -> set[Node]:
        touched = set()
        for gap in gaps:
            for stretch in gap.stretches:
                if stretch.state is State.PARKED:
                    node = self._leaf(place.route, stretch.sample.site or place.site)
                    node.own[1] += stretch.duration
                    seen = self._seen.setdefault(place, {})
                    seen[node] = seen.get(node, 0.0) + stretch.duration
                    touched.add(node)
        return touched

    def _leaf(self, route: str, site: Site | None) -> Node:
        place = _Place(route, site)
        found = self._leaves.get(place)
        if found is None:
            found = self.root.child(route, route, None)
            for frame in _frames(site):
                found = found.child(line_of(frame), frame.function, frame)
            self._leaves[place] = found
        return found

    def _count(self, touched: set[Node], checkouts: int) -> None:
        for node in {above for leaf in touched for above in leaf.up}:
            node.checkouts += checkouts
        for line, site in {line_of(n.site): n.site for n in touched if n.site is not None}.items():
            use = self._lines.get(line)
            if use is None:
                use = self._lines[line] = SiteUse(site)
            use.checkouts += checkouts


def line_of(site: Site) -> Line:
    """What sites at one line of code have in common, whoever called it."""
    return site.file, site.line, site.function


def _seconds(gaps: Sequence[Gap], state: State) -> Iterator[float]:
    return (s.duration for gap in gaps for s in gap.stretches if s.state is state)


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
