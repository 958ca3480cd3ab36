"""A ledger's columns are the facts of the checkouts, from a file as from memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import pytest
from drawn import traces
from factories import make_checkout, trace_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from recorders import pool_record
from scenarios import Scenario

from poolhog.analysis.ledger import ACTIVITIES, KINDS, NEVER, OUTCOMES, Codes, Ledger, text_codes
from poolhog.analysis.memory import ledgers_of
from poolhog.analysis.owners import route_of
from poolhog.model import OperationKind, Outcome
from poolhog.recording.recorder import Recorder
from poolhog.trace.reader import open_trace, stream_trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolhog.model import Checkout, Operation, Request, Sample, Trace

NUMBERS = st.lists(st.integers(0, 20), unique=True)


def instant(checkout: Checkout, at: float | None) -> int:
    return NEVER if at is None else oracle.at(checkout, at)


def check(ledger: Ledger, checkouts: Sequence[Checkout]) -> None:
    """Whether each row is what the checkout says."""
    assert len(ledger) == len(checkouts)
    assert ledger.asked.tolist() == sorted(ledger.asked.tolist())
    askers: dict[int, tuple[str, str]] = {}
    for row, checkout in enumerate(checkouts):
        assert ledger.asked[row] == oracle.at(checkout, checkout.asked)
        assert ledger.left[row] == oracle.end_of_wait(checkout)
        assert ledger.over[row] == oracle.end_of(checkout)
        assert bool(ledger.is_granted[row]) is (checkout.granted is not None)
        assert bool(ledger.is_returned[row]) is (checkout.returned is not None)
        assert bool(ledger.is_closed[row]) is oracle.is_over(checkout)
        for name in ("connecting", "pinging", "busy"):
            assert getattr(ledger, name)[row] == round(getattr(checkout, name) * 1e6)
        assert ledger.pools[ledger.pool[row]].id == checkout.pool.id
        assert ledger.routes[ledger.route[row]] == route_of(checkout)
        assert ledger.sites[ledger.site[row]] == checkout.site
        assert OUTCOMES[ledger.outcome[row]] == checkout.outcome
        check_request(ledger, int(ledger.request[row]), checkout.request, checkout)
        asker = askers.setdefault(int(ledger.asker[row]), oracle.asker_of(checkout))
        assert asker == oracle.asker_of(checkout)
    assert len(set(askers.values())) == len(askers)
    check_operations(ledger, checkouts)
    check_samples(ledger, checkouts)


def check_request(ledger: Ledger, number: int, request: Request | None, checkout: Checkout) -> None:
    assert (number < 0) is (request is None)
    if request is None:
        return
    found = ledger.requests
    assert ledger.routes[found.name[number]] == request.name
    for name in ("started", "responding", "responded", "ended"):
        assert getattr(found, name)[number] == instant(checkout, getattr(request, name))
    is_failure = request.error is not None or (request.status or 0) >= 400
    assert bool(found.failed[number]) is is_failure
    over = request.responded if request.responded is not None else request.ended
    assert found.answered[number] == instant(checkout, over)


def check_operations(ledger: Ledger, checkouts: Iterable[Checkout]) -> None:
    found = ledger.operations(np.arange(len(ledger)))
    texts, sent = ledger.facts.texts, ledger.facts.statements

    def expected(row: int, checkout: Checkout, operation: Operation) -> tuple[Any, ...]:
        started, ended = (instant(checkout, o) for o in (operation.started, operation.ended))
        facts = operation.site, operation.statement, operation.error, operation.cause
        return row, operation.kind, started, ended, *facts

    rows = [
        (
            *(int(o[0]), KINDS[o[1]], int(o[2]), int(o[3]), ledger.sites[o[4]]),
            *(sent.get(o[5]), texts.get(o[6]), texts.get(o[7])),
        )
        for o in zip(*(column.tolist() for column in found), strict=True)
    ]
    every = enumerate(checkouts)
    assert rows == [expected(row, c, operation) for row, c in every for operation in c.operations]


def check_samples(ledger: Ledger, checkouts: Iterable[Checkout]) -> None:
    found = ledger.samples

    def expected(row: int, checkout: Checkout, sample: Sample) -> tuple[Any, ...]:
        started, ended = (instant(checkout, one) for one in (sample.started, sample.ended))
        return row, sample.activity, sample.site, started, ended

    rows = [
        (row, ACTIVITIES[activity], ledger.sites[site], started, ended)
        for row, activity, site, started, ended in zip(
            *(column.tolist() for column in found), strict=True
        )
    ]
    assert rows == [expected(row, c, one) for row, c in enumerate(checkouts) for one in c.samples]


@given(traces())
def test_of_a_trace_in_memory(trace: Trace) -> None:
    for process, ledger in zip(trace.processes, ledgers_of(trace), strict=True):
        own = [c for c in trace.checkouts if c.pool.process is process]
        check(ledger, own)
        assert list(ledger.checkouts(np.arange(len(ledger)))) == own


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(st.data())
def test_of_a_file(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        Scenario(data.draw, directory).write(data.draw(st.integers(1, 8)))
        trace = open_trace(directory)
        (in_memory,) = ledgers_of(trace)
        (reader,) = stream_trace(directory)
        with reader.snapshot() as snapshot:
            ledger = Ledger(snapshot)
            checkouts = [list(one.checkouts(np.arange(len(one)))) for one in (ledger, in_memory)]
            check(ledger, checkouts[0])
            check(in_memory, checkouts[1])
        of_file, of_memory = ([checkout.id for checkout in some] for some in checkouts)
        assert of_file == of_memory == [checkout.id for checkout in trace.checkouts]


def test_instants_are_on_the_clock_of_the_process() -> None:
    (ledger,) = ledgers_of(trace_of([make_checkout("c", 2.0, 2.5, 3.0)]))
    assert ledger.seconds(ledger.process.began + 2_500_000) == 2.5
    assert ledger.microseconds(2.5) == 2_500_000


def test_those_asked_for_at_once_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "trace")
    pool = recorder.pool(pool_record())
    asked = [recorder.ask(pool) for _ in range(5)]
    for checkout in asked:
        checkout.asked_ns = asked[-1].asked_ns
        recorder.grant(checkout, 1)
        recorder.end(checkout)
    recorder.stop()
    (reader,) = stream_trace(recorder.directory)
    with reader.snapshot() as snapshot:
        ledger = Ledger(snapshot)
    assert len(set(ledger.asked.tolist())) == 1
    assert ledger.number.tolist() == sorted(ledger.number.tolist())
    assert ledger.rows_of(ledger.number[::-1]).tolist() == [4, 3, 2, 1, 0]
    assert ledger.rows_of(np.array([ledger.number.max() + 1])).tolist() == [-1]


@given(NUMBERS, st.lists(st.integers(-2, 25)), st.integers(-3, 3))
def test_the_code_of_a_number_is_its_place(
    known: list[int], numbers: list[int], other: int
) -> None:
    expected = [known.index(number) if number in known else other for number in numbers]
    for form in (known, np.array(known, np.int64)):
        found = Codes(form, other).of(np.array(numbers, np.int64))
        assert found.tolist() == expected


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 9)), st.lists(st.integers(-2, 25)))
def test_or_the_code_that_it_is_given(known: dict[int, int], numbers: list[int]) -> None:
    codes = Codes(known, codes=np.array(list(known.values()), np.int64))
    found = codes.of(np.array(numbers, np.int64))
    assert found.tolist() == [known.get(number, -1) for number in numbers]


def test_texts_that_are_wanted_have_codes() -> None:
    texts = {7: "returned", 3: "SELECT 1", 5: "timeout"}
    found = text_codes(texts, OUTCOMES).of(np.array([3, 5, 7, -1]))
    wanted = [OUTCOMES.index(outcome) for outcome in (Outcome.TIMEOUT, Outcome.RETURNED)]
    assert found.tolist() == [-1, *wanted, -1]
    assert text_codes({}, KINDS).of(np.array([1, 2])).tolist() == [-1, -1]


@pytest.mark.parametrize("kind", OperationKind)
def test_every_kind_has_a_code(kind: OperationKind) -> None:
    assert KINDS[KINDS.index(kind)] is kind
