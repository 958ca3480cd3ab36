"""The tree holds every connection-second once: by route, and where it was spent."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import oracle
import pytest
from drawn import CALL, LIBRARY, traces
from factories import make_checkout, make_request, make_site, op, sample, trace_of
from hypothesis import given

from poolhog.analysis.occupancy import LENT
from poolhog.analysis.owners import route_of
from poolhog.analysis.report import report_of
from poolhog.analysis.usage import ROOT, Tree
from poolhog.model import Activity, OperationKind

if TYPE_CHECKING:
    from poolhog.analysis.usage import Node
    from poolhog.model import Site, Trace

    Line = tuple[str, int, str] | None

NAMES = [state.value for state in LENT]


def whole(node: Node) -> list[float]:
    """The seconds of a node and all below it."""
    below = [whole(child) for child in node.below.values()]
    return [sum(column) for column in zip(node.own, *below, strict=True)]


def line_of(site: Site | None) -> Line:
    """The innermost line of the application, or the innermost."""
    if site is None:
        return None
    frame = next((frame for frame in site.stack if frame.is_application), site)
    return frame.file, frame.line, frame.function


@given(traces())
def test_routes_and_all_of_it_are_those_of_the_report(trace: Trace) -> None:
    tree = Tree()
    report = report_of(trace, companions=[tree])
    assert tree.root.name == ROOT
    assert tree.root.checkouts == report.checkouts
    expected = [getattr(report.spent, name) for name in NAMES]
    assert whole(tree.root) == pytest.approx(expected, abs=1e-9)
    below = {node.name: node for node in tree.root.below.values()}
    assert set(below) == {route.name for route in report.routes if route.checkouts}
    for route in report.routes:
        if route.checkouts:
            expected = [getattr(route.spent, name) for name in NAMES]
            assert whole(below[route.name]) == pytest.approx(expected, abs=1e-9)
            assert below[route.name].checkouts == route.checkouts


@given(traces())
def test_parents_come_first_and_have_all_that_is_below(trace: Trace) -> None:
    tree = Tree()
    report_of(trace, companions=[tree])
    seen = set()
    for node in tree.nodes():
        assert node.parent is None or id(node.parent) in seen
        seen.add(id(node))
        below = sum(child.checkouts for child in node.below.values())
        assert max((c.checkouts for c in node.below.values()), default=0) <= node.checkouts
        assert node.checkouts <= max(below, node.checkouts)
        assert [one.name for one in node.up][-1] == ROOT


@given(traces())
def test_running_and_ready_seconds_are_where_the_connection_was_asked_for(trace: Trace) -> None:
    tree = Tree()
    report_of(trace, companions=[tree])
    expected: dict[tuple[str, Line], np.ndarray] = defaultdict(lambda: np.zeros(2))
    for process in trace.processes:
        own = [c for c in trace.checkouts if c.pool.process is process]
        shares = oracle.shares(own)
        for checkout in own:
            _, running, ready = oracle.gap_seconds(checkout, shares)
            place = route_of(checkout), line_of(checkout.site)
            expected[place] += np.array([running, ready]) / 1e6
    found: dict[tuple[str, Line], np.ndarray] = defaultdict(lambda: np.zeros(2))
    for node in tree.nodes():
        path = list(node.up)
        if len(path) > 1:
            found[path[-2].name, line_of(node.site)] += np.array(node.own[3:])
    for place in {*found, *expected}:
        assert found[place] == pytest.approx(expected[place], abs=1e-9)


@given(traces())
def test_parked_seconds_are_where_the_owner_was_seen(trace: Trace) -> None:
    """And those that nobody saw are shared out like the seen ones of the same route and site."""
    tree = Tree()
    report_of(trace, companions=[tree])
    expected: dict[tuple[str, Line], float] = defaultdict(float)
    for process in trace.processes:
        own = [c for c in trace.checkouts if c.pool.process is process]
        shares = oracle.shares(own)
        seen: dict[tuple[str, Site | None], dict[Line, float]] = defaultdict(dict)
        unseen: dict[tuple[str, Site | None], float] = defaultdict(float)
        for checkout in own:
            key = route_of(checkout), checkout.site
            share, *_ = shares.get(checkout.site, oracle.NO_SHARE)
            unseen[key] += share * oracle.seconds(checkout).unsampled / 1e6
            for gap in oracle.gaps(checkout):
                for one, started, ended in oracle.sampled(checkout, gap):
                    if oracle.state_of(one) == oracle.PARKED:
                        line = line_of(one.site if one.site is not None else checkout.site)
                        seconds = (ended - started) / 1e6
                        seen[key][line] = seen[key].get(line, 0.0) + seconds
        for key, seconds in unseen.items():
            parts = seen[key] or {line_of(key[1]): 1.0}
            for line, part in parts.items():
                own_part = part if seen[key] else 0.0
                share = seconds * part / sum(parts.values())
                expected[key[0], line] += own_part + share
    found: dict[tuple[str, Line], float] = defaultdict(float)
    for node in tree.nodes():
        path = list(node.up)
        if len(path) > 1:
            found[path[-2].name, line_of(node.site)] += node.own[2]
    for place in {*found, *expected}:
        assert found[place] == pytest.approx(expected[place], abs=1e-9)


@given(traces())
def test_busy_seconds_are_where_the_operation_was_asked_for(trace: Trace) -> None:
    """Or the connection, if that is not known, or if it is a sample that says so."""
    tree = Tree()
    report_of(trace, companions=[tree])
    expected: dict[tuple[str, Line], float] = defaultdict(float)
    for checkout in trace.checkouts:
        route = route_of(checkout)
        for operation, started, ended in oracle.busy(checkout):
            site = operation.site if operation.site is not None else checkout.site
            expected[route, line_of(site)] += (ended - started) / 1e6
        for gap in oracle.gaps(checkout):
            for one, started, ended in oracle.sampled(checkout, gap):
                if one.activity is Activity.BUSY:
                    expected[route, line_of(checkout.site)] += (ended - started) / 1e6
    found: dict[tuple[str, Line], float] = defaultdict(float)
    for node in tree.nodes():
        path = list(node.up)
        if len(path) > 1:
            found[path[-2].name, line_of(node.site)] += node.own[0]
    for place in {*found, *expected}:
        assert found[place] == pytest.approx(expected[place], abs=1e-9)


def test_where_each_second_of_a_checkout_is() -> None:
    """Below a route stands the application's stack, and a library's frame is left out."""
    outer = make_site(3, "main()", function="main")
    asked = make_site(10, "connect()", function="endpoint", caller=outer)
    queried = make_site(11, "execute()", function="endpoint", caller=outer)
    checkout = make_checkout(
        *("c", 0.0, 1.0, 10.0),
        request=make_request(),
        site=asked,
        operations=[op(OperationKind.STATEMENT, 1.0, 3.0, "SELECT 1", site=queried)],
        samples=[
            sample(Activity.PARKED, 4.0, 6.0, LIBRARY),
            sample(Activity.READY, 8.0, 9.0, make_site(99)),
        ],
    )
    tree = Tree()
    report_of(trace_of([checkout]), companions=[tree])
    found = {
        (tuple(one.name for one in node.up), node.site): (node.own, node.checkouts)
        for node in tree.nodes()
        if any(node.own)
    }
    route = "GET /notes/{note_id}", ROOT
    assert found == {
        (("endpoint", "main", *route), asked): ([0.0, 0.0, 0.0, 0.0, 3.0], 1),
        (("endpoint", "main", *route), queried): ([2.0, 0.0, 0.0, 0.0, 0.0], 1),
        (("call", *route), CALL): ([0.0, 0.0, 4.0, 0.0, 0.0], 1),
    }
    lines = {use.site: use.seconds for use in tree.lines()}
    assert lines[CALL] == [0.0, 0.0, 4.0, 0.0, 0.0]
    assert lines[asked] == [0.0, 0.0, 0.0, 0.0, 3.0]
    assert lines[queried] == [2.0, 0.0, 0.0, 0.0, 0.0]
    assert [use.checkouts for use in tree.lines()] == [1, 1, 1]
