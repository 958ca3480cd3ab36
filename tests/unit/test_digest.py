"""All that a page is made of adds up to what the report says, whatever happened in the run."""

from __future__ import annotations

import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from factories import (
    EXTERNAL_CALL,
    PROCESS,
    implicit_burst,
    make_checkout,
    make_pool,
    make_request,
    make_site,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scenarios import Scenario

from poolhog.analysis.accounting import State, end_of, end_of_wait
from poolhog.analysis.digest import digest_of, read_detail, read_digest
from poolhog.analysis.occupancy import LENT
from poolhog.analysis.owners import key_of
from poolhog.analysis.shown import by_line
from poolhog.analysis.thresholds import Thresholds
from poolhog.analysis.usage import ROOT
from poolhog.model import Trace
from poolhog.render.page import run
from poolhog.render.page.data import timeline_data
from poolhog.render.page.run import page_run, tree_of
from poolhog.render.page.texts import Interned
from poolhog.render.palette import STATES
from poolhog.trace.reader import open_trace, stream_trace

if TYPE_CHECKING:
    from poolhog.analysis.accounting import Account
    from poolhog.analysis.digest import Digest

MICROSECOND = 1e-6

UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""To make a failing example small takes minutes, as each writes files."""


def written(draw: st.DataObject, directory: Path, processes: int = 1) -> Path:
    # These have the same pid and the same beginning, which no real ones have.
    for _ in range(draw.draw(st.integers(1, processes))):
        Scenario(draw.draw, directory).write(draw.draw(st.integers(1, 8)))
    return directory


def by_state(account: Account) -> dict[str, float]:
    return {state.value: getattr(account, state.value) for state in LENT}


def check_tree(whole: Digest, precision: float) -> None:
    """The tree's seconds are those of the report, in all, and of each route."""
    tree = tree_of(whole.tree)
    top = [index for index, parent in enumerate(tree.parents) if parent == 0]
    named = {tree.names[index]: index for index in top}
    assert tree.names[0] == ROOT
    assert set(named) == {route.name for route in whole.report.routes if route.checkouts}
    for state, seconds in by_state(whole.report.spent).items():
        assert tree.spent[State(state)][0] / 1e6 == pytest.approx(seconds, abs=precision)
    for route in whole.report.routes:
        if route.checkouts:
            index = named[route.name]
            assert tree.checkouts[index] == route.checkouts
            for state, seconds in by_state(route.spent).items():
                assert tree.spent[State(state)][index] / 1e6 == pytest.approx(
                    seconds, abs=precision
                )


def check_bins(whole: Digest) -> None:
    bins, spent = whole.bins, whole.report.spent
    for state, seconds in by_state(spent).items():
        assert sum(bins.lent[State(state)]) == pytest.approx(seconds, abs=1e-5)
    assert sum(bins.waited) == pytest.approx(spent.wait, abs=1e-5)
    assert max(bins.peaks, default=0) >= max(use.peak_waiting for use in whole.report.pools)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow], phases=UNSHRUNK
)
@given(st.data())
def test_sums_are_those_of_the_report(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = written(data, Path(temporary), processes=2)
        for most in (1_000, 0):
            whole = read_digest(stream_trace(directory), Thresholds(), most=most)
            assert (whole.kept is None) == (most == 0)
            check_tree(whole, precision=5e-5)
            check_bins(whole)
            lines = whole.tree.lines()
            told = sum(sum(use.seconds) for use in lines)
            assert told <= whole.report.spent.use + 1e-5


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow], phases=UNSHRUNK
)
@given(st.data())
def test_spans_cover_every_checkout(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = written(data, Path(temporary))
        whole = read_digest(stream_trace(directory), Thresholds())
        detail = read_detail(whole)
        timeline = timeline_data(page_run("run", whole), Interned())
        assert timeline["complete"]
        assert timeline["left_out"] == {"checkouts": 0, "requests": 0, "spans": 0}
        checkouts, spans = timeline["checkouts"], timeline["spans"]
        at = [w + max(u, 0) for w, u in zip(checkouts["wait"], checkouts["use"], strict=True)]
        ends, checkout = [0] * len(at), 0
        seconds: Counter[State] = Counter()
        for step, state, start, length in zip(
            *(spans[name] for name in ("checkout_d", "state", "start", "length")), strict=True
        ):
            checkout += step
            assert start == ends[checkout], "spans meet"
            assert (state == 0) == (start < checkouts["wait"][checkout])
            ends[checkout] += length
            seconds[STATES[state]] += length
        assert ends == at
        # Each span is rounded once, also those that are too short to be shown.
        parts = sum(len(list(by_line(one.spans))) for one in detail.shown.values())
        rounding = MICROSECOND * (parts + 1)
        for state, expected in by_state(whole.report.spent).items():
            assert seconds[State(state)] / 1e6 == pytest.approx(expected, abs=rounding)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow], phases=UNSHRUNK
)
@given(st.data())
def test_spans_come_to_what_each_checkout_spent(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = written(data, Path(temporary))
        most = data.draw(st.sampled_from([0, 1_000]))
        whole = read_digest(stream_trace(directory), Thresholds(), most=most)
        every = read_detail(whole).shown
        for checkout in open_trace(directory).checkouts:
            until = checkout.pool.process.written
            shown = every[checkout.id]
            assert shown.checkout.id == checkout.id
            spans = list(shown.spans)
            assert all(one.ended == other.started for one, other in pairwise(spans))
            expected = (shown.spent.wait, *(getattr(shown.spent, state) for state in LENT))
            for state, seconds in zip(STATES, expected, strict=True):
                lasted = sum(span.duration for span in spans if span.state is state)
                assert lasted == pytest.approx(seconds, abs=MICROSECOND)
            if spans:
                assert spans[0].started == checkout.asked
                assert spans[-1].ended == end_of(checkout, until)
            waits = [span for span in spans if span.state is State.WAITING]
            assert all(span.ended <= end_of_wait(checkout, until) for span in waits)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow], phases=UNSHRUNK
)
@given(st.data(), st.integers(1, 6))
def test_everything_in_a_window_is_there(data: st.DataObject, most: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = written(data, Path(temporary))
        kept = data.draw(st.sampled_from([0, 1_000]))
        whole = read_digest(stream_trace(directory), Thresholds(), most=kept)
        detail = read_detail(whole, most, lives=2)
        shown = {checkout.id for checkout in detail.checkouts}
        every = whole.report.checkouts
        assert detail.is_complete == (kept > 0 and every <= most)
        for checkout in open_trace(directory).checkouts:
            end = end_of(checkout, checkout.pool.process.written)
            for window in detail.windows:
                if checkout.asked < window.ended and end > window.started:
                    assert checkout.id in shown
        owners = {key_of(checkout) for checkout in detail.checkouts}
        assert {owned.key for owned in detail.lives} <= owners


def test_a_part_of_a_trace_in_memory_is_whole_too() -> None:
    checkouts, requests, pool, ended = implicit_burst()
    trace = Trace((PROCESS,), (pool,), tuple(requests), tuple(checkouts), 60.0)
    whole = digest_of(trace, 0.0, ended)
    detail = read_detail(whole)
    assert detail.is_complete
    assert len(detail.lives) == whole.requests == len(requests)
    parked = whole.report.spent.parked
    assert parked > 0.9 * whole.report.spent.use
    (line,) = (use for use in whole.tree.lines() if use.site is EXTERNAL_CALL)
    assert line.seconds[LENT.index(State.PARKED)] == pytest.approx(parked)
    assert line.checkouts == len(checkouts)
    few = read_detail(whole, most=4, lives=2)
    assert 0 < len(few.checkouts) < len(checkouts)


def test_a_tree_that_is_too_large_keeps_its_largest_parts_and_all_sums(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = make_pool(size=None)
    checkouts = [
        make_checkout(
            *(f"c{n:03}", float(n), float(n), n + 1.0),
            pool=pool,
            request=make_request(f"r{n}", route=f"/{n}"),
            site=make_site(function="load", caller=make_site(function=f"read_{n}")),
        )
        for n in range(50)
    ]
    trace = Trace((PROCESS,), (pool,), (), tuple(checkouts), 60.0)
    whole = digest_of(trace, 0.0, 60.0)
    monkeypatch.setattr(run, "MOST_NODES", 20)
    tree = tree_of(whole.tree)
    assert len(tree.parents) == 20
    assert tree.left_out == 1 + 3 * 50 - 20
    assert all(parent < index for index, parent in enumerate(tree.parents))
    assert tree.spent[State.RUNNING][0] == pytest.approx(50_000_000)
