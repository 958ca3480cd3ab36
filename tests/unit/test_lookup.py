"""Requests are found in a trace without reading it, and windows of it are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from recorders import pool_record, request_record

from poolhog.analysis import selection
from poolhog.analysis.accounting import NOTHING
from poolhog.analysis.ledger import Ledger
from poolhog.analysis.measured import measured
from poolhog.analysis.occupancy import Occupancy
from poolhog.analysis.request_log import request_log
from poolhog.analysis.selection import names_of, select, view
from poolhog.analysis.shown import shown
from poolhog.analysis.timeline import Timeline
from poolhog.errors import PoolhogError
from poolhog.model import Activity, Outcome
from poolhog.recording.recorder import Recorder, current_request
from poolhog.recording.records import SAMPLE_BYTES, SampleRecord
from poolhog.trace.lookup import (
    MOST_CHECKOUTS,
    by_id,
    checkouts_within,
    counts_within,
    longest,
    names_like,
    numbers_within,
    span,
)
from poolhog.trace.reader import ProcessReader, stream_trace

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.recording.pools import PoolRecord
    from poolhog.recording.records import CheckoutRecord
    from poolhog.recording.requests import RequestRecord

MS = 1_000_000


class Script:
    """Records what a test says, at milliseconds of its own clock."""

    def __init__(self, directory: Path) -> None:
        self.recorder = Recorder(directory)
        self.pool: PoolRecord = self.recorder.pool(pool_record())

    def request(self, started: int, route: str = "/notes") -> RequestRecord:
        record = request_record(route, route)
        record.started_ns = self.at(started)
        return self.recorder.request(record)

    def checkout(
        self,
        asked: int,
        granted: int | None,
        returned: int | None,
        request: RequestRecord | None = None,
        owner: str | None = None,
    ) -> CheckoutRecord:
        token = current_request.set(request)
        record = self.recorder.ask(self.pool)
        current_request.reset(token)
        record.asked_ns = self.at(asked)
        if owner is not None:
            record.owner = owner
        if granted is not None:
            record.connection, record.outcome = 1, Outcome.OPEN
            record.granted_ns = self.at(granted)
        if returned is not None:
            record.outcome = Outcome.RETURNED
            record.returned_ns = self.at(returned)
        return record

    def parked(self, checkout: CheckoutRecord, started: int, ended: int) -> None:
        record = SampleRecord(checkout, Activity.PARKED, None, self.at(started))
        record.ended_ns = self.at(ended)
        self.recorder.journal.put(record, SAMPLE_BYTES)

    def end(self, request: RequestRecord, ended: int) -> None:
        request.ended_ns = self.at(ended)

    def read(self) -> tuple[ProcessReader, ...]:
        self.recorder.stop()
        return stream_trace(self.recorder.directory)

    def at(self, milliseconds: int) -> int:
        return self.recorder.journal.began_ns + milliseconds * MS


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path / "trace")


@pytest.fixture
def readers(script: Script) -> tuple[ProcessReader, ...]:
    """A short request, one that waits, one with two checkouts, one without; and a job."""
    short, waits, twice, none = (
        script.request(at, route)
        for at, route in ((10, "/notes"), (20, "/notes"), (30, "/notes/{id}"), (40, "/health"))
    )
    script.checkout(10, 11, 14, short)
    script.checkout(20, 50, 60, waits)
    script.checkout(30, 31, 50, twice)
    script.checkout(60, 61, 90, twice)
    script.checkout(1, 2, 400, owner="job")
    for request in (short, waits, twice, none):
        script.end(request, 100)
    return script.read()


def test_the_slowest_is_the_one_that_waited_and_held_for_the_longest(
    readers: tuple[ProcessReader, ...],
) -> None:
    found = longest(readers, 2)
    assert [one.name for _, one in found] == ["GET /notes/{id}", "GET /notes"]
    assert [held for held, _ in found] == pytest.approx([0.050, 0.040])
    ((_, of_route),) = longest(readers, 1, names=["GET /notes"])
    assert of_route == found[1][1]
    assert longest(readers, 1, names=["GET /health"]) == []
    log = request_log(found[0][1])
    assert (log.total, len(log.checkouts)) == (2, 2)
    assert log.spent.use == pytest.approx(0.048)
    assert log.spent.wait == pytest.approx(0.002)
    assert not log.is_open


def test_without_requests_it_is_the_slowest_owner(script: Script) -> None:
    script.checkout(0, 1, 5, owner="short job")
    script.checkout(0, 1, 9, owner="long job")
    ((held, found), _) = longest(script.read(), 5)
    assert found.id == "long job"
    assert held == pytest.approx(0.009)
    log = request_log(found)
    assert log.request is None
    assert log.life is None
    assert log.started == pytest.approx(0.0, abs=1e-6)
    assert log.ended == pytest.approx(0.009)


def test_a_checkout_that_is_open_counts_up_to_now(script: Script) -> None:
    request = script.request(0)
    script.checkout(0, 1, None, request)
    script.recorder.settle()
    readers = stream_trace(script.recorder.directory)
    ((held, found),) = longest(readers, 5)
    assert held == pytest.approx(readers[0].process.written, abs=1e-3)
    assert request_log(found).is_open
    script.recorder.stop()


def test_a_request_is_found_by_its_id_its_number_and_its_checkout(
    readers: tuple[ProcessReader, ...],
) -> None:
    ((_, slowest),) = longest(readers, 1)
    prefix, _, number = slowest.id.rpartition(".")
    checkout = next(slowest.reader.numbered(slowest.numbers()))
    for wanted in (slowest.id, number, checkout.id):
        assert by_id(readers, wanted) == slowest
    for wanted in ("99999", f"{prefix}.99999", f"1{prefix}.{number}", "no job", ""):
        assert by_id(readers, wanted) is None


def test_a_request_without_a_checkout_is_found_too(readers: tuple[ProcessReader, ...]) -> None:
    (request,) = readers[0].select_requests("WHERE path = '/health'")
    found = by_id(readers, request.id)
    assert found is not None
    log = request_log(found)
    assert log.checkouts == []
    assert log.spent == NOTHING
    assert log.ended - log.started == pytest.approx(0.060)


def test_an_owner_is_found_by_its_name_or_its_checkout(
    readers: tuple[ProcessReader, ...],
) -> None:
    found = by_id(readers, "job")
    assert found is not None
    (checkout,) = found.reader.numbered(found.numbers())
    assert (found.request(), found.total()) == (None, 1)
    assert by_id(readers, checkout.id) == found


def test_of_an_owner_with_many_checkouts_the_first_are_read(script: Script) -> None:
    for number in range(MOST_CHECKOUTS + 5):
        script.checkout(number, number, number + 1, owner="job")
    found = by_id(script.read(), "job")
    assert found is not None
    log = request_log(found)
    assert (log.total, len(log.checkouts)) == (MOST_CHECKOUTS + 5, MOST_CHECKOUTS)
    assert log.ended == pytest.approx(MOST_CHECKOUTS / 1000)


def test_gaps_are_split_like_those_of_other_requests_at_the_same_site(script: Script) -> None:
    for _ in range(2):
        request = script.request(0)
        checkout = script.checkout(0, 0, 15, request)
        script.end(request, 15)
    script.parked(checkout, 5, 10)
    readers = script.read()
    unsampled = next(c for c in readers[0].checkouts() if not c.samples)
    found = by_id(readers, unsampled.id)
    assert found is not None
    assert request_log(found).spent.parked == pytest.approx(0.015)


def test_routes_are_found_by_their_names(readers: tuple[ProcessReader, ...]) -> None:
    assert names_like(readers, "GET /notes") == ["GET /notes"]
    assert names_like(readers, "/notes") == ["GET /notes"]
    assert names_like(readers, "note") == ["GET /notes", "GET /notes/{id}"]
    assert names_like(readers, "HEALTH") == ["GET /health"]
    assert names_like(readers, "users") == []
    with pytest.raises(PoolhogError, match=r"no route contains 'users': recorded were GET /health"):
        names_of(readers, "users")


def test_a_window_has_what_was_waiting_or_lent_in_it(readers: tuple[ProcessReader, ...]) -> None:
    assert span(readers) == pytest.approx((0.001, 0.400))
    found = list(checkouts_within(readers[0], 0.015, 0.055))
    assert [round(c.asked, 6) for c in found] == [0.001, 0.020, 0.030]
    numbers = [int(c.id.rpartition(".")[2]) for c in found]
    assert sorted(numbers_within(readers[0], 0.015, 0.055)) == sorted(numbers)
    assert counts_within(readers, 0.015, 0.055) == (2, 1, 3)
    assert counts_within(readers, 0.0, 1.0, names=["GET /notes"]) == (2, 0, 2)


def test_few_requests_are_drawn_one_by_one(readers: tuple[ProcessReader, ...]) -> None:
    drawn = view(select(readers), most_lanes=4, bins=10)
    assert isinstance(drawn.picture, Timeline)
    assert (drawn.requests, drawn.owners, drawn.checkouts) == (3, 1, 5)
    ids = [by_id(readers, lane.label) for lane in drawn.picture.requests]
    assert None not in ids
    many = view(select(readers), most_lanes=3, bins=10)
    assert isinstance(many.picture, Occupancy)
    assert many.picture.waited() == pytest.approx(drawn.picture.waited())


@pytest.mark.parametrize("most", [0, 100])
def test_a_ledger_of_some_checkouts_shows_them_as_one_of_all(
    script: Script, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """An excerpt of a file, or all of it, of which some rows are chosen."""
    monkeypatch.setattr(selection, "MOST_OF_EXCERPT", most)
    requests = [script.request(at, f"/{at}") for at in (10, 20, 30)]
    kept = [script.checkout(20 * n, 20 * n + 1, 20 * n + 9, one) for n, one in enumerate(requests)]
    script.parked(kept[1], 23, 28)
    script.checkout(5, 6, None, owner="job")
    for request in requests:
        script.end(request, 200)
    (reader,) = script.read()
    with reader.snapshot() as snapshot:
        found = measured(Ledger(snapshot))
        every = {one.checkout.id: one for one in shown(found, np.arange(len(found.ledger)))}
        spans = {id_: list(one.spans) for id_, one in every.items()}
    assert len(every) == 4
    for number in (1, 2, 3):
        chosen = [int(id_.rpartition(".")[2]) for id_ in list(every)[:number]]
        with selection.ledger_of(reader, chosen) as (ledger, rows):
            assert len(ledger) == (number if most else 4)
            some = list(shown(measured(ledger)._replace(shares=found.shares), rows))
            assert [one.checkout.id for one in some] == list(every)[:number]
            for one in some:
                assert list(one.spans) == spans[one.checkout.id]
                assert one.spent == every[one.checkout.id].spent
                assert one.checkout.request == every[one.checkout.id].checkout.request


@pytest.mark.parametrize("most", [0, 100])
def test_a_picture_is_the_same_of_an_excerpt_and_of_a_whole_file(
    readers: tuple[ProcessReader, ...], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    expected = [view(select(readers, route="/notes"), most_lanes=lanes, bins=7) for lanes in (4, 0)]
    monkeypatch.setattr(selection, "MOST_OF_EXCERPT", most)
    found = [view(select(readers, route="/notes"), most_lanes=lanes, bins=7) for lanes in (4, 0)]
    assert found[1] == expected[1]
    one, other = (made[0].picture for made in (found, expected))
    assert isinstance(one, Timeline)
    assert isinstance(other, Timeline)
    assert one.waiting == other.waiting
    assert [lane.intervals for lane in one.requests] == [lane.intervals for lane in other.requests]


def test_a_window_is_chosen(readers: tuple[ProcessReader, ...]) -> None:
    everything = select(readers)
    assert (everything.started, everything.ended) == span(readers)
    assert select(readers, last=0.1).started == pytest.approx(0.300)
    assert select(readers, started=0.2, ended=9.0).ended == everything.ended
    assert select(readers, started=0.2, ended=0.3).ended == 0.3
    assert select(readers, route="/notes").names == ["GET /notes"]
    for started, ended in ((9.0, None), (0.3, 0.3), (float("nan"), None)):
        with pytest.raises(PoolhogError, match=r"from 0\.001 s to 0\.400 s"):
            select(readers, started=started, ended=ended)
    with pytest.raises(PoolhogError, match="in this window"):
        view(select(readers, ended=0.005, route="/notes"), most_lanes=3, bins=10)


def test_a_trace_without_checkouts_has_nothing_to_show(script: Script) -> None:
    script.end(script.request(0), 1)
    readers = script.read()
    assert span(readers) is None
    assert longest(readers, 1) == []
    with pytest.raises(PoolhogError, match="no connection was asked for"):
        select(readers)
